//! Events: what was published, and to whom it went.

use maud::{Markup, html};
use sealpost_core::delivery::Status;
use sealpost_store::history::{EventFilter, EventRecord};

use super::filters::{api_time, choice, event_type, moment, not_understood, time};
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{curl, cursor, parts};

pub(super) async fn list(visit: Visit) -> Result<Reply, Refused> {
    let (name, from, to) = (visit.query.text("type"), visit.query.text("from"), visit.query.text("to"));
    let found = match filter(name, from, to) {
        Ok(filter) => Ok(visit.app().events(visit.tenant()?, filter, cursor::page(&visit)).await?),
        Err(why) => Err(why),
    };
    let types = visit.app().tenant(visit.tenant()?).await?.event_types();
    let query = [("type", name), ("from", from), ("to", to)];
    let main = html! {
        form.filters method="get" action="/console/events" {
            (choice("type", "Event type", types.iter().map(|entry| entry.event_type.name.as_str()), name))
            (moment("from", "From (UTC)", from))
            (moment("to", "To (UTC)", to))
            button type="submit" { "Filter" }
        }
        div #events data-live {
            @match &found {
                Err(why) => (not_understood(why)),
                Ok(page) if page.rows.is_empty() => (nothing(query.iter().all(|(_, value)| value.is_empty()))),
                Ok(page) => {
                    (table(&page.rows))
                    @let next = cursor::next(page, |event| (event.accepted_at, event.id));
                    (parts::pager(&visit, &query, next.as_deref()))
                },
            }
        }
        (curl::get(&visit, "/v1/webhooks/events", &[("type", name), ("from", &api_time(from)), ("to", &api_time(to))]))
    };
    Ok(Sheet::new(Section::Events, "Events", main).live().into())
}

fn filter(name: &str, from: &str, to: &str) -> Result<EventFilter, &'static str> {
    Ok(EventFilter { event_type: event_type(name)?, from: time(from)?, to: time(to)? })
}

/// `at_all`: nothing was left out.
fn nothing(at_all: bool) -> Markup {
    if at_all {
        let how = html! { p { "Publish one with " code { "sealpost publish" } ", or " code { "POST /v1/webhooks/events" } "." } };
        parts::empty("No events yet", how)
    } else {
        parts::empty("No event fits", html! { p { a href="/console/events" { "Show all" } } })
    }
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
