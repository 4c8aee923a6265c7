// What pages gain with JavaScript: times as people say them, copying, and pages that follow what happens.
// Without it every page and every action works the same.
"use strict";

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const exact = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function said(at) {
  const seconds = Math.round((at - Date.now()) / 1000);
  const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) || ["second", 1];
  return relative.format(Math.trunc(seconds / size), unit);
}

function times(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    const due = time.closest(".due") && at <= Date.now();
    const text = due ? "now" : said(at);
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) time.title = exact.format(at);
  }
}

function copying(within) {
  if (!navigator.clipboard) return;
  for (const place of within.querySelectorAll("[data-copy]")) {
    if (place.querySelector("button")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(place.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    place.append(button);
  }
}

function enrich(within) {
  times(within);
  copying(within);
}

// Replaces the parts that are live, unless somebody is in one: what is under the hand or the keyboard stays, until they
// are out of it.
let latest = null;

function update(html) {
  latest = html;
  const page = new DOMParser().parseFromString(html, "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh || part.contains(document.activeElement) || part.querySelector("details[open]")) continue;
    const part2 = document.importNode(fresh, true);
    enrich(part2);
    if (part.innerHTML !== part2.innerHTML) part.replaceWith(part2);
  }
}

// What had to wait. Not at once: a click that takes the focus away is to end where it began.
function catchUp() {
  setTimeout(() => { if (latest !== null) update(latest); }, 200);
}

function follow() {
  if (!document.querySelector("[data-live-page]") || !window.EventSource) return;
  let stream = null;
  const begin = () => {
    if (stream || document.hidden) return;
    stream = new EventSource(location.href);
    stream.addEventListener("page", (event) => update(event.data));
    // The browser asks again by itself, but not after a refusal.
    stream.addEventListener("error", () => {
      if (!stream || stream.readyState !== EventSource.CLOSED) return;
      stream = null;
      setTimeout(begin, 60000);
    });
  };
  const end = () => {
    if (stream) stream.close();
    stream = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? end() : begin()));
  document.addEventListener("focusout", catchUp);
  document.addEventListener("toggle", catchUp, true);
  addEventListener("pagehide", end);
  begin();
}

// On a narrow page the navigation scrolls; where one is, is in sight.
function showPlace() {
  const nav = document.querySelector(".side nav");
  const here = nav && nav.querySelector("[aria-current]");
  if (!here) return;
  const [outer, inner] = [nav.getBoundingClientRect(), here.getBoundingClientRect()];
  nav.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
}

enrich(document);
showPlace();
setInterval(() => times(document), 1000);
follow();
