//! Events: what was published, and to whom it went.

use maud::{Markup, html};
use sealpost_core::delivery::Status;
use sealpost_core::event_type::EventTypeName;
use sealpost_store::history::{EventFilter, EventRecord};

use super::deliveries::{minute, moment};
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{curl, cursor, parts};

pub(super) async fn list(visit: Visit) -> Result<Reply, Refused> {
    let (name, from, to) = (visit.query.text("type"), visit.query.text("from"), visit.query.text("to"));
    let filter =
        EventFilter { event_type: EventTypeName::parse(name).ok(), from: minute(from), to: minute(to) };
    let page = visit.app().events(visit.tenant()?, filter, cursor::page(&visit)).await?;
    let types = visit.app().tenant(visit.tenant()?).await?.event_types();
    let query = [("type", name), ("from", from), ("to", to)];
    let next = cursor::next(&page, |event| (event.accepted_at, event.id));
    let main = html! {
        form.filters method="get" action="/console/events" {
            div {
                label for="type" { "Event type" }
                select id="type" name="type" {
                    option value="" { "Any" }
                    @for entry in types {
                        @let known = entry.event_type.name.as_str();
                        option value=(known) selected[known == name] { (known) }
                    }
                }
            }
            (moment("from", "From (UTC)", from))
            (moment("to", "To (UTC)", to))
            button type="submit" { "Filter" }
        }
        div #events data-live {
            @if page.rows.is_empty() {
                @if query.iter().all(|(_, value)| value.is_empty()) {
                    (parts::empty("No events yet", html! { p { "Publish one with " code { "sealpost publish" } ", or " code { "POST /v1/webhooks/events" } "." } }))
                } @else {
                    (parts::empty("No event fits", html! { p { a href="/console/events" { "Show all" } } }))
                }
            } @else {
                (table(&page.rows))
                (parts::pager(&visit, &query, next.as_deref()))
            }
        }
        (curl::get(&visit, "/v1/webhooks/events", &[("type", name)]))
    };
    Ok(Sheet::new(Section::Events, "Events", main).live().into())
}

fn table(rows: &[EventRecord]) -> Markup {
    html! {
        table {
            thead { tr { th { "Type" } th { "Deliveries" } th { "Accepted" } } }
            tbody {
                @for event in rows {
                    tr {
                        td.wide data-label="Type" {
                            a.title href={ "/console/events/" (event.id) } { (event.event_type) }
                            p.muted { (parts::short(event.id)) @if event.test { " · test" } }
                        }
                        td data-label="Deliveries" { (counts(event)) }
                        td data-label="Accepted" { (parts::time(event.accepted_at)) }
                    }
                }
            }
        }
    }
}

/// How many deliveries of an event are in each state.
fn counts(event: &EventRecord) -> Markup {
    let of = |status| event.deliveries.iter().filter(|delivery| delivery.state.status() == status).count();
    html! {
        @if event.deliveries.is_empty() { span.muted { "nobody is subscribed" } }
        span.chips {
            @for status in Status::ALL.iter().copied().filter(|status| of(*status) > 0) {
                (parts::chip(parts::kind_of(status), &format!("{} {status}", of(status)))) " "
            }
        }
    }
}
