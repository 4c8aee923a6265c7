//! How deliveries went lately: how many, with what success, how quickly, and what waits.

use std::time::Duration;

use maud::{Markup, html};
use sealpost_core::time::Timestamp;

use crate::console::charts::{self, Bar, Line};
use crate::console::figures::{Bucket, Figures, figures};
use crate::console::form::link;
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{curl, parts};

/// So many of the newest deliveries are looked at.
const MOST: u32 = 20_000;

struct Range {
    name: &'static str,
    label: &'static str,
    each: Duration,
    many: usize,
}

const RANGES: [Range; 3] = [
    Range { name: "hour", label: "Last hour", each: Duration::from_secs(120), many: 30 },
    Range { name: "day", label: "Last 24 hours", each: Duration::from_secs(3600), many: 24 },
    Range { name: "week", label: "Last 7 days", each: Duration::from_secs(6 * 3600), many: 28 },
];

pub(super) async fn show(visit: Visit) -> Result<Reply, Refused> {
    let wanted = visit.query.given("range").unwrap_or("day");
    let range = RANGES.iter().find(|range| range.name == wanted).unwrap_or(&RANGES[1]);
    let until = end_of_part(visit.app().clock.now(), range.each);
    let whole = range.each * u32::try_from(range.many).unwrap_or(u32::MAX);
    let from = until - whole + Duration::from_millis(1);
    let measures = visit.app().store.delivery_measures(visit.tenant()?, from, MOST).await?;
    let cut = measures.len() >= MOST as usize;
    let figures = figures(&measures, until, range.each, range.many);
    let main = html! {
        nav.tabs aria-label="Span of time" {
            @for other in &RANGES {
                a href=(link("/console/overview", &[("range", other.name)])) aria-current=[(other.name == range.name).then_some("true")] { (other.label) }
            }
        }
        div #figures data-live {
            @if measures.is_empty() {
                (parts::empty("No deliveries in this span", html! {
                    p { "Events that webhooks are subscribed to show here as soon as they are published." }
                    p { a.button href="/console/webhooks" { "Webhooks" } }
                }))
            } @else {
                @if cut { p.muted { "These are the newest " (MOST) " deliveries; there were more." } }
                (numbers(&figures.whole))
                (pictures(&figures, from, range))
            }
        }
        (curl::get(&visit, "/v1/webhooks/deliveries", &[("from", &from.to_string())]))
    };
    Ok(Sheet::new(Section::Overview, "Overview", main).live_slowly().into())
}

/// Parts begin and end on the clock, so that a picture does not move with every look.
fn end_of_part(now: Timestamp, each: Duration) -> Timestamp {
    let each = i64::try_from(each.as_millis()).unwrap_or(i64::MAX).max(1);
    Timestamp::from_millis(now.millis() - now.millis().rem_euclid(each) + each - 1)
}

fn numbers(whole: &Bucket) -> Markup {
    let took = |percent| whole.percentile(percent).map_or("–".to_owned(), parts::millis);
    html! {
        dl.figures {
            div { dt { "Deliveries" } dd { (whole.all()) } }
            div { dt { "Success" } dd { (whole.success().map_or("–".to_owned(), |percent| format!("{percent:.1} %"))) } }
            div { dt { "Median time" } dd { (took(50)) } }
            div { dt { "95 % within" } dd { (took(95)) } }
            div { dt { "Waiting" } dd { (whole.pending) } }
            div { dt { "Failed" } dd { (whole.failed) } }
        }
    }
}

fn pictures(figures: &Figures, from: Timestamp, range: &Range) -> Markup {
    let parts = &figures.parts;
    let times: Vec<Timestamp> =
        (0..parts.len()).map(|at| from + range.each * u32::try_from(at).unwrap_or(u32::MAX)).collect();
    let bars: Vec<[u32; 4]> =
        parts.iter().map(|part| [part.delivered, part.pending, part.failed, part.cancelled]).collect();
    let of = |percent| -> Vec<Option<f64>> {
        parts.iter().map(|part| part.percentile(percent).map(f64::from)).collect()
    };
    let success: Vec<Option<f64>> = parts.iter().map(Bucket::success).collect();
    let waiting: Vec<[u32; 4]> = parts.iter().map(|part| [0, part.pending, 0, 0]).collect();
    let kinds = [
        Bar { kind: "good", label: "delivered" },
        Bar { kind: "wait", label: "pending" },
        Bar { kind: "bad", label: "failed" },
        Bar { kind: "off", label: "cancelled" },
    ];
    html! {
        div.charts {
            (charts::bars("Deliveries", "By the time they were made", &times, &kinds, &bars))
            (charts::lines("Success", "Per cent of those that ended", &times, "%", Some(100.0), &[
                Line { class: "", label: "delivered", values: &success },
            ]))
            (charts::lines("Time to answer", "Of the first attempt", &times, "ms", None, &[
                Line { class: "", label: "median", values: &of(50) },
                Line { class: "second", label: "95 %", values: &of(95) },
                Line { class: "third", label: "99 %", values: &of(99) },
            ]))
            (charts::bars("Waiting", "Not delivered yet, by the time they were made", &times, &kinds[1..2], &waiting))
        }
    }
}
