//! What lists are filtered by: the fields, and how what was written is understood.

use maud::{Markup, html};
use sealpost_core::event_type::EventTypeName;
use sealpost_core::time::Timestamp;

use crate::console::parts;

/// An empty field asks for nothing; one that is not understood is told, and nothing is shown as if it were.
pub(super) fn read<T>(
    text: &str,
    read: impl FnOnce(&str) -> Option<T>,
    why: &'static str,
) -> Result<Option<T>, &'static str> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some).ok_or(why) }
}

pub(super) fn event_type(text: &str) -> Result<Option<EventTypeName>, &'static str> {
    read(text, |text| EventTypeName::parse(text).ok(), "There is no such event type.")
}

pub(super) fn time(text: &str) -> Result<Option<Timestamp>, &'static str> {
    read(text, minute, "A time is written as 2026-01-31T14:30, in UTC.")
}

/// The same for the API, which takes times with seconds and zone only.
pub(super) fn api_time(text: &str) -> String {
    time(text).ok().flatten().map(|at| at.to_string()).unwrap_or_default()
}

/// As a browser's field writes it, or with seconds and zone.
fn minute(text: &str) -> Option<Timestamp> {
    [text.to_owned(), format!("{text}:00Z"), format!("{text}Z")]
        .iter()
        .find_map(|text| Timestamp::parse(text).ok())
}

pub(super) fn not_understood(why: &str) -> Markup {
    html! { p.notice.bad role="alert" { (parts::mark("bad")) (why) } }
}

/// The field for a time. A browser complains of a value that it would not have written, and drops it.
pub(super) fn moment(name: &str, label: &str, text: &str) -> Markup {
    let fits = !text.ends_with('Z') && minute(text).is_some();
    html! {
        div {
            label for=(name) { (label) }
            input id=(name) name=(name) type="datetime-local" value=[fits.then_some(text)];
        }
    }
}

/// One of these, or any.
pub(super) fn choice<'a>(
    name: &str,
    label: &str,
    all: impl Iterator<Item = &'a str>,
    chosen: &str,
) -> Markup {
    html! {
        div {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                option value="" { "Any" }
                @for one in all { option value=(one) selected[one == chosen] { (one) } }
            }
        }
    }
}
