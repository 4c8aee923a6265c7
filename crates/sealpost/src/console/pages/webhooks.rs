//! The list of webhooks: where they lead, how they are, and what happened last.

use std::sync::Arc;

use maud::{Markup, html};
use sealpost_core::delivery::{DeliveryRecord, Status};
use sealpost_core::id::WebhookId;
use sealpost_core::role::Permission;
use sealpost_core::webhook::{Subscription, Webhook};
use sealpost_store::history::DeliveryFilter;
use sealpost_store::page::PageRequest;

use crate::app::registry::Target;
use crate::app::webhooks::WebhookRefused;
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::{Visit, refused};
use crate::console::{charts, curl, parts};

/// Each row asks the store for its own recent deliveries.
const ROWS: usize = 25;
/// So many are looked through seldom.
const MANY: usize = 2000;
/// Deliveries that a sparkline shows.
pub(super) const RECENT: u32 = 24;

struct Row {
    webhook: Webhook,
    recent: Vec<DeliveryRecord>,
}

pub(super) async fn list(visit: Visit) -> Result<Reply, Refused> {
    let tenant = visit.tenant()?;
    let visitor = visit.visitor()?;
    let all: Vec<Arc<Target>> = visit.app().tenant(tenant).await?.targets();
    let mut seen: Vec<&Webhook> =
        all.iter().map(|target| &target.webhook).filter(|webhook| visitor.sees(webhook.id)).collect();
    let none = seen.is_empty();
    let (wanted, state) = (visit.query.text("q"), visit.query.text("state"));
    let words = wanted.to_lowercase();
    seen.retain(|webhook| fits(webhook, &words, state));
    seen.sort_by_key(|webhook| std::cmp::Reverse((webhook.created_at, webhook.id)));
    let count = seen.len();
    let after: Option<WebhookId> = visit.query.given("after").and_then(|id| id.parse().ok());
    let first = after.and_then(|id| seen.iter().position(|webhook| webhook.id == id)).map_or(0, |at| at + 1);
    let more = count > first + ROWS;
    let mut rows = Vec::with_capacity(ROWS);
    for webhook in seen.into_iter().skip(first).take(ROWS) {
        // What is in memory knows nothing of how deliveries went.
        let webhook = match visit.app().webhook(tenant, webhook.id).await {
            Ok(webhook) => webhook,
            // Deleted a moment ago.
            Err(WebhookRefused::NotFound) => continue,
            Err(why) => return Err(refused(why)),
        };
        let filter = DeliveryFilter { webhook: Some(webhook.id), ..DeliveryFilter::default() };
        let page = visit.app().deliveries(tenant, filter, PageRequest { limit: RECENT, after: None }).await?;
        rows.push(Row { webhook, recent: page.rows });
    }
    let next = rows.last().filter(|_| more).map(|row| row.webhook.id.to_string());
    let query = [("q", wanted), ("state", state)];
    let main = html! {
        div.bar {
            form.filters method="get" action="/console/webhooks" role="search" {
                label.hidden for="q" { "Search" }
                input id="q" name="q" type="search" value=(wanted) placeholder="Search URL, description, event or id";
                label.hidden for="state" { "State" }
                select id="state" name="state" {
                    @for (value, text) in [("", "Any state"), ("active", "Active"), ("paused", "Paused")] {
                        option value=(value) selected[value == state] { (text) }
                    }
                }
                button type="submit" { "Search" }
            }
            @if visit.may(Permission::ManageWebhooks) { a.button.main href="/console/webhooks/new" { "Add Endpoint" } }
        }
        div #webhooks data-live {
            @if none { (nothing(&visit)) }
            @else if rows.is_empty() {
                (parts::empty("No webhook fits", html! { p { a href="/console/webhooks" { "Show all" } } }))
            } @else {
                p.muted.above { (count) @if count == 1 { " webhook" } @else { " webhooks" } }
                (table(&rows))
                (parts::pager(&visit, &query, next.as_deref()))
            }
        }
        @if visit.visitor()?.only.is_none() { (curl::get(&visit, "/v1/webhooks", &[])) }
    };
    let sheet = Sheet::new(Section::Webhooks, "Webhooks", main);
    Ok(if all.len() > MANY { sheet.live_slowly() } else { sheet.live() }.into())
}

fn nothing(visit: &Visit) -> Markup {
    parts::empty(
        "No webhooks yet",
        html! {
            @if visit.may(Permission::ManageWebhooks) {
                p { "A webhook is a URL of yours that events are sent to, signed, as they happen." }
                p { a.button.main href="/console/webhooks/new" { "Add Endpoint" } }
            } @else {
                p { "An administrator or issuer of the tenant adds the first one." }
            }
        },
    )
}

fn fits(webhook: &Webhook, words: &str, state: &str) -> bool {
    let of_state = match state {
        "active" => !webhook.disabled,
        "paused" => webhook.disabled,
        _ => true,
    };
    let has = |text: &str| text.to_lowercase().contains(words);
    of_state
        && (words.is_empty()
            || has(webhook.url.shown())
            || has(&webhook.settings.description)
            || has(&webhook.id.to_string())
            || webhook.subscription.named().iter().any(|name| has(name.as_str())))
}

fn table(rows: &[Row]) -> Markup {
    html! {
        table {
            thead {
                tr { th { "Endpoint" } th { "Events" } th { "State" } th { "Recent deliveries" } th { "Last delivery" } }
            }
            tbody {
                @for Row { webhook, recent } in rows {
                    tr {
                        td.wide data-label="Endpoint" {
                            a.title href={ "/console/webhooks/" (webhook.id) } { (parts::address(webhook.url.shown())) }
                            p.muted {
                                (parts::dialect(webhook.dialect))
                                @if !webhook.settings.description.is_empty() { " · " (webhook.settings.description) }
                            }
                        }
                        td data-label="Events" { (events(webhook)) }
                        td data-label="State" { (parts::webhook_state(webhook)) }
                        td data-label="Recent" { (sparkline(recent)) }
                        td data-label="Last" {
                            @match recent.first() {
                                Some(last) => { (parts::time(last.created_at)) " " (parts::status(last.state)) },
                                None => span.muted { "none yet" },
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn sparkline(recent: &[DeliveryRecord]) -> Markup {
    let states: Vec<Status> = recent.iter().rev().map(|delivery| delivery.state.status()).collect();
    charts::sparkline(&states)
}

fn events(webhook: &Webhook) -> Markup {
    html! {
        @match &webhook.subscription {
            Subscription::ReceiveAll { named } if named.is_empty() => "Receive All",
            Subscription::ReceiveAll { named } => { "Receive All and " (named.len()) },
            Subscription::Types(types) => {
                @match types.as_slice() {
                    [one] => code { (one) },
                    several => span title=(names(several)) { (several.len()) " types" },
                }
            },
        }
    }
}

fn names(types: &[sealpost_core::event_type::EventTypeName]) -> String {
    types.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}
