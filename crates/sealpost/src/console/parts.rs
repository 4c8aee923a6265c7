//! Pieces that pages are made of. What comes from outside goes through `maud`'s escaping like everything else, is never an
//! address, and never part of a script or style.

use std::fmt::Display;

use maud::{Markup, html};
use sealpost_core::delivery::{State, Status};
use sealpost_core::dialect::Dialect;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::Webhook;

use super::CSRF;
use super::form::link;
use super::visit::Visit;

/// The session's token, in each form.
pub(super) fn csrf(visit: &Visit) -> Markup {
    html! {
        @if let Some(token) = visit.csrf() { input type="hidden" name=(CSRF) value=(token.reveal()); }
    }
}

/// A form of one button.
pub(super) fn button(visit: &Visit, action: &str, kind: &str, label: &str) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            (csrf(visit))
            button class=(kind) type="submit" { (label) }
        }
    }
}

/// A point in time, for people and for programs; the script adds how long ago that is.
pub(super) fn time(at: Timestamp) -> Markup {
    let iso = at.to_string();
    let (date, rest) = iso.split_once('T').unwrap_or((&iso, ""));
    let clock = rest.get(..8).unwrap_or(rest);
    html! { time datetime=(iso) { (date) " " (clock) " UTC" } }
}

pub(super) fn millis(ms: u32) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{:02} s", ms / 1000, ms % 1000 / 10) }
}

/// The end of an id, where ids of one time differ.
pub(super) fn short(id: impl Display) -> Markup {
    let id = id.to_string();
    let end = id.get(id.len().saturating_sub(8)..).unwrap_or(&id);
    html! { code title=(id) { "…" (end) } }
}

/// An address, which breaks behind its slashes before it breaks anywhere.
pub(super) fn address(url: &str) -> Markup {
    let path = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(path);
    html! {
        (scheme)
        @for (at, part) in rest.split_inclusive('/').enumerate() { @if at > 0 { wbr; } (part) }
    }
}

/// A sign that says what a colour says.
pub(super) fn mark(kind: &str) -> Markup {
    let sign = match kind {
        "good" => "✓",
        "bad" => "✕",
        "wait" => "◔",
        "off" => "–",
        _ => "•",
    };
    html! { span.mark aria-hidden="true" { (sign) } }
}

pub(super) fn chip(kind: &'static str, text: &str) -> Markup {
    html! { span class={ "chip " (kind) } { (mark(kind)) (text) } }
}

pub(super) const fn kind_of(status: Status) -> &'static str {
    match status {
        Status::Pending => "wait",
        Status::Delivered => "good",
        Status::Failed => "bad",
        Status::Cancelled => "off",
    }
}

pub(super) fn status(state: State) -> Markup {
    let status = state.status();
    html! {
        (chip(kind_of(status), status.as_str()))
        @if let Some(reason) = state.reason() { " " span.muted { (reason.replace('_', " ")) } }
    }
}

pub(super) fn webhook_state(webhook: &Webhook) -> Markup {
    match (webhook.disabled, webhook.health.failing, webhook.health.failed_in_a_row) {
        (true, ..) => chip("off", "paused"),
        (_, true, _) => chip("bad", "failing"),
        (.., 0) => chip("good", "active"),
        (.., 1) => html! { (chip("wait", "active")) " " span.muted { "last delivery failed" } },
        (.., failed) => {
            html! { (chip("wait", "active")) " " span.muted { "last " (failed) " deliveries failed" } }
        }
    }
}

pub(super) const fn dialect(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Mattr => "MATTR",
        Dialect::Truvera => "Truvera",
    }
}

/// A text that is there to be copied; the script adds the button.
pub(super) fn copyable(label: &str, text: &str) -> Markup {
    html! { div.copy data-copy { code tabindex="0" aria-label=(label) { (text) } } }
}

/// What to do where there is nothing yet.
pub(super) fn empty(heading: &str, next: Markup) -> Markup {
    html! { div.empty { h2 { (heading) } (next) } }
}

/// The way to older rows. `query` is what the list is filtered by.
pub(super) fn pager(visit: &Visit, query: &[(&str, &str)], next: Option<&str>) -> Markup {
    let is_first = visit.query.given("after").is_none();
    html! {
        @if !is_first || next.is_some() {
            nav.pager aria-label="Pages" {
                @if !is_first { a href=(link(&visit.path, query)) { "Newest" } }
                @if let Some(next) = next {
                    @let query: Vec<_> = query.iter().copied().chain([("after", next)]).collect();
                    a rel="next" href=(link(&visit.path, &query)) { "Older" }
                }
            }
        }
    }
}

/// A field with its label, its help and what was wrong with it.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) help: Option<&'a str>,
    pub(super) wrong: Option<&'a str>,
}

impl Field<'_> {
    /// For `aria-describedby`.
    pub(super) fn described_by(&self) -> Option<String> {
        let help = self.help.map(|_| format!("{}-help", self.name));
        let wrong = self.wrong.map(|_| format!("{}-wrong", self.name));
        let ids: Vec<String> = help.into_iter().chain(wrong).collect();
        (!ids.is_empty()).then(|| ids.join(" "))
    }

    pub(super) fn around(&self, control: &Markup) -> Markup {
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                (control)
                (self.notes())
            }
        }
    }

    pub(super) fn notes(&self) -> Markup {
        html! {
            @if let Some(help) = self.help { p.help id={ (self.name) "-help" } { (help) } }
            @if let Some(wrong) = self.wrong { p.wrong id={ (self.name) "-wrong" } { (mark("bad")) (wrong) } }
        }
    }

    pub(super) fn input(&self, kind: &str, value: &str, required: bool) -> Markup {
        self.around(&html! {
            input id=(self.name) name=(self.name) type=(kind) value=(value) required[required] autocomplete="off"
                spellcheck="false" aria-describedby=[self.described_by()] aria-invalid=[self.wrong.map(|_| "true")];
        })
    }

    pub(super) fn select(&self, chosen: &str, options: &[(&str, &str)]) -> Markup {
        self.around(&html! {
            select id=(self.name) name=(self.name) aria-describedby=[self.described_by()]
                aria-invalid=[self.wrong.map(|_| "true")] {
                @for (value, text) in options {
                    option value=(value) selected[*value == chosen] { (text) }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_breaks_behind_the_slashes_of_its_path() {
        for (url, written) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/b//c/", "https://a.example/<wbr>b/<wbr>/<wbr>c/"),
            ("Change <b>", "Change &lt;b&gt;"),
        ] {
            assert_eq!(address(url).into_string(), written);
        }
    }
}
