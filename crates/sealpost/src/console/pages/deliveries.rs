//! Deliveries: what was sent where, what came of it, and when it is tried again.

use std::collections::BTreeSet;

use maud::{Markup, html};
use sealpost_core::delivery::{DeliveryRecord, Status};
use sealpost_core::event_type::{Origin, built_in};
use sealpost_core::id::{EventId, WebhookId};
use sealpost_store::history::DeliveryFilter;
use sealpost_store::page::Page;

use super::filters::{api_time, choice, event_type, moment, not_understood, read, time};
use crate::app::registry::TenantEntry;
use crate::app::sign_in::Visitor;
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{curl, cursor, parts};

/// More are not chosen from a list.
const CHOICES: usize = 50;

/// What the list is filtered by, as it was written.
struct Asked<'a> {
    webhook: &'a str,
    event: &'a str,
    status: &'a str,
    event_type: &'a str,
    from: &'a str,
    to: &'a str,
}

impl<'a> Asked<'a> {
    fn of(visit: &'a Visit) -> Self {
        let text = |name| visit.query.text(name);
        Self {
            webhook: text("webhook"),
            event: text("event"),
            status: text("status"),
            event_type: text("type"),
            from: text("from"),
            to: text("to"),
        }
    }

    fn query(&self) -> [(&'static str, &'a str); 6] {
        [
            ("webhook", self.webhook),
            ("event", self.event),
            ("status", self.status),
            ("type", self.event_type),
            ("from", self.from),
            ("to", self.to),
        ]
    }

    fn is_nothing(&self) -> bool {
        self.query().iter().all(|(_, value)| value.is_empty())
    }

    /// What can be looked for, or what was not understood.
    fn filter(&self) -> Result<DeliveryFilter, &'static str> {
        let webhook: Option<WebhookId> =
            read(self.webhook, |t| t.parse().ok(), "A webhook is named by its id.")?;
        let event: Option<EventId> = read(self.event, |t| t.parse().ok(), "An event is named by its id.")?;
        Ok(DeliveryFilter {
            webhook,
            event,
            status: read(self.status, Status::parse, "There is no such status.")?,
            event_type: event_type(self.event_type)?,
            from: time(self.from)?,
            to: time(self.to)?,
        })
    }
}

pub(super) async fn list(visit: Visit) -> Result<Reply, Refused> {
    let asked = Asked::of(&visit);
    let found = match asked.filter() {
        Ok(filter) => Ok(find(&visit, filter).await?),
        Err(why) => Err(why),
    };
    let main = html! {
        (filters(&visit, &asked).await?)
        div #deliveries data-live {
            @match &found {
                Err(why) => (not_understood(why)),
                Ok(page) if page.rows.is_empty() => (nothing(&asked)),
                Ok(page) => {
                    (table(&visit, &page.rows.iter().collect::<Vec<_>>(), true).await?)
                    @let next = cursor::next(page, |delivery| (delivery.created_at, delivery.id));
                    (parts::pager(&visit, &asked.query(), next.as_deref()))
                },
            }
        }
        (curl::get(&visit, "/v1/webhooks/deliveries", &[("webhookId", asked.webhook), ("eventId", asked.event), ("status", asked.status),
            ("type", asked.event_type), ("from", &api_time(asked.from)), ("to", &api_time(asked.to))]))
    };
    Ok(Sheet::new(Section::Deliveries, "Deliveries", main).live().into())
}

/// A subscriber sees those of its own webhooks, one webhook at a time; another's is not there.
async fn find(visit: &Visit, mut filter: DeliveryFilter) -> Result<Page<DeliveryRecord>, Refused> {
    if let Some(only) = &visit.visitor()?.only {
        match filter.webhook {
            Some(asked) if !only.contains(&asked) => return Err(Refused::NotFound),
            Some(_) => {}
            None => match only.first() {
                Some(first) => filter.webhook = Some(*first),
                None => return Ok(Page { rows: Vec::new(), more: false }),
            },
        }
    }
    Ok(visit.app().deliveries(visit.tenant()?, filter, cursor::page(visit)).await?)
}

fn nothing(asked: &Asked<'_>) -> Markup {
    if asked.is_nothing() {
        parts::empty(
            "No deliveries yet",
            html! { p { "As soon as an event is published that a webhook is subscribed to, it shows here." } },
        )
    } else {
        parts::empty("No delivery fits", html! { p { a href="/console/deliveries" { "Show all" } } })
    }
}

async fn filters(visit: &Visit, asked: &Asked<'_>) -> Result<Markup, Refused> {
    let entry = visit.app().tenant(visit.tenant()?).await?;
    let visitor = visit.visitor()?;
    let mut webhooks: Vec<(String, String)> = entry
        .targets()
        .iter()
        .filter(|target| visitor.sees(target.webhook.id))
        .map(|target| (target.webhook.id.to_string(), target.webhook.url.shown().to_owned()))
        .take(CHOICES + 1)
        .collect();
    webhooks.sort_by(|a, b| a.1.cmp(&b.1));
    let chosen = webhooks.iter().any(|(id, _)| id == asked.webhook);
    let is_list = webhooks.len() <= CHOICES && (chosen || asked.webhook.is_empty());
    let types: Vec<String> = entry
        .event_types()
        .iter()
        .map(|entry| &entry.event_type)
        // What else the tenant publishes is not for whoever sees single webhooks.
        .filter(|event_type| visitor.only.is_none() || event_type.origin != Origin::Operator)
        .map(|event_type| event_type.name.to_string())
        .chain(of_own(&entry, visitor))
        .collect();
    Ok(html! {
        form.filters method="get" action="/console/deliveries" {
            @if !asked.event.is_empty() { input type="hidden" name="event" value=(asked.event); }
            (choice("status", "Status", Status::ALL.iter().map(|status| status.as_str()), asked.status))
            div {
                label for="webhook" { "Webhook" }
                @if is_list {
                    select id="webhook" name="webhook" {
                        @if visitor.only.is_none() { option value="" { "Any" } }
                        @for (id, url) in &webhooks { option value=(id) selected[id == asked.webhook] { (url) } }
                    }
                } @else {
                    input id="webhook" name="webhook" type="text" value=(asked.webhook) placeholder="Id of a webhook";
                }
            }
            (choice("type", "Event type", types.iter().map(String::as_str), asked.event_type))
            (moment("from", "From (UTC)", asked.from))
            (moment("to", "To (UTC)", asked.to))
            button type="submit" { "Filter" }
            @if !asked.event.is_empty() { p.muted { "Of event " (parts::short(asked.event)) " " a href="/console/deliveries" { "Show all" } } }
        }
    })
}

/// The tenant's own types that the webhooks of a subscriber are subscribed to by name.
fn of_own(entry: &TenantEntry, visitor: &Visitor) -> BTreeSet<String> {
    let webhooks = visitor.only.iter().flatten().filter_map(|id| entry.target_by_id(*id));
    let named = webhooks.flat_map(|target| target.webhook.subscription.named().to_vec());
    named.filter(|name| built_in(name.as_str()).is_none()).map(|name| name.to_string()).collect()
}

/// `with_webhook`: the rows are of several.
pub(super) async fn table(
    visit: &Visit,
    rows: &[&DeliveryRecord],
    with_webhook: bool,
) -> Result<Markup, Refused> {
    let entry = visit.app().tenant(visit.tenant()?).await?;
    Ok(html! {
        table {
            thead {
                tr {
                    th { "Event" } @if with_webhook { th { "Webhook" } }
                    th { "Status" } th { "Attempts" } th { "Accepted" } th { "Next try" }
                }
            }
            tbody {
                @for delivery in rows {
                    tr {
                        td.wide data-label="Event" {
                            a.title href={ "/console/deliveries/" (delivery.id) } { (delivery.event_type) }
                            p.muted { (parts::short(delivery.id)) @if delivery.test { " · test" } }
                        }
                        @if with_webhook {
                            td data-label="Webhook" {
                                @match entry.target_by_id(delivery.webhook) {
                                    Some(target) => a href={ "/console/webhooks/" (delivery.webhook) } { (parts::address(target.webhook.url.shown())) },
                                    None => span.muted { "deleted " (parts::short(delivery.webhook)) },
                                }
                            }
                        }
                        td data-label="Status" { (parts::status(delivery.state)) }
                        td data-label="Attempts" { (delivery.attempts_used) }
                        td data-label="Accepted" { (parts::time(delivery.created_at)) }
                        td data-label="Next try" { (next_try(delivery)) }
                    }
                }
            }
        }
    })
}

/// The script counts down to it.
pub(super) fn next_try(delivery: &DeliveryRecord) -> Markup {
    match (delivery.due_at, delivery.state.status()) {
        (Some(due), Status::Pending) => html! { span.due { (parts::time(due)) } },
        (None, Status::Pending) => html! { span.muted { "under way" } },
        _ => html! { span.muted aria-label="none" { "–" } },
    }
}
