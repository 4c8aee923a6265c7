"""A webhook added with the keyboard alone. Each stop of the way is seen, and none is a trap."""

from __future__ import annotations

from pathlib import Path

from browser.chromium import chromium
from browser.furnished import furnished
from support.checks import Checks
from support.service import ADMIN_KEY

# What has the focus, and whether that can be seen: an outline that is not of the colour of what is around it.
FOCUS = """() => {
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    const seen = one.matches('input[type=checkbox], input[type=radio]') && one.closest('label') || one;
    const drawn = [one, seen].some((what) => {
        const style = getComputedStyle(what);
        return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1.5
            && style.outlineColor !== getComputedStyle(document.body).backgroundColor;
    });
    const place = one.getBoundingClientRect();
    const name = (one.getAttribute("aria-label") || one.labels?.[0]?.innerText || one.innerText || one.name || "").trim();
    return { name: name.split("\\n")[0], drawn, inside: place.width > 0 && place.right > 0 && place.bottom > 0 && place.top < innerHeight };
}"""
MOST_STOPS = 80


def run(checks: Checks, folder: Path) -> None:
    with furnished(folder) as house, chromium() as browser:
        with browser.visitor(house.service.address) as visitor:
            page, keys = visitor.page, visitor.page.keyboard
            visitor.go("/console/sign-in")
            checks.equal("the sign-in page begins in its field", _focus(visitor)["name"], "Key")
            keys.type(ADMIN_KEY)
            with page.expect_navigation():
                keys.press("Enter")

            visitor.go("/console/webhooks")
            stops = [_tab(visitor)]
            checks.equal("the first stop skips the navigation", stops[0]["name"], "Skip to content")
            checks.that("and is seen when it is reached", stops[0]["inside"] and stops[0]["drawn"], stops[0])
            stops += _to(visitor, "Add Endpoint")
            checks.equal("Tab reaches Add Endpoint", stops[-1]["name"], "Add Endpoint")
            _seen(checks, "on the way every stop is seen", stops)
            with page.expect_navigation():
                keys.press("Enter")
            checks.equal("Enter follows it", visitor.path, "/console/webhooks/new")

            keys.press("Tab")
            keys.press("Enter")
            checks.equal("skipping leads into the page", page.evaluate("document.activeElement.id"), "main")
            stops = _to(visitor, "Endpoint URL")
            keys.type(house.receiver.url("/keyboard"))
            stops += _to(visitor, "MATTR")
            keys.press("ArrowDown")
            checks.that("arrows choose the dialect", page.get_by_role("radio", name="Truvera").is_checked())
            stops += _to(visitor, "Receive All")
            keys.press("Space")
            checks.that("Space chooses Receive All", page.get_by_label("Receive All").is_checked())
            stops += _to(visitor, "Create Webhook")
            _seen(checks, "every stop of the form is seen", stops)
            with page.expect_navigation():
                keys.press("Enter")
            checks.that("Enter creates the webhook", visitor.has_secret(), visitor.text())

            stops = _to(visitor, "Copy")
            checks.equal("Tab reaches the button that copies the token", stops[-1]["name"], "Copy")
            stops += _to(visitor, "Delete…")
            checks.equal("and the way to delete it", stops[-1]["name"], "Delete…")
            _seen(checks, "every stop of the webhook's page is seen", stops)
            ends = [_tab(visitor) for _ in range(MOST_STOPS)]
            checks.that("no stop is a trap", any(stop is None or stop["name"] == "Skip to content" for stop in ends), ends[-3:])
            checks.equal("nothing went wrong in the browser", visitor.complaints, [])


def _focus(visitor) -> dict | None:
    return visitor.page.evaluate(FOCUS)


def _tab(visitor) -> dict | None:
    visitor.page.keyboard.press("Tab")
    return _focus(visitor)


def _to(visitor, name: str) -> list[dict]:
    """Tab by Tab until something of this name has the focus, or too long."""
    stops: list[dict] = []
    while len(stops) < MOST_STOPS:
        stop = _tab(visitor)
        if stop is not None:
            stops.append(stop)
            if stop["name"] == name:
                return stops
    raise AssertionError(f"Tab did not reach {name}: {[stop['name'] for stop in stops][:40]}")


def _seen(checks: Checks, statement: str, stops: list[dict]) -> None:
    checks.each(statement, stops, lambda stop: None if stop["drawn"] and stop["inside"] else f"{stop}")
