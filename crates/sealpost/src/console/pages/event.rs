//! One event: its deliveries, and its payload to whoever may see it.
//!
//! A payload is hidden until it is asked for, and asking is a form, because it leaves an entry in the audit log.

use maud::{Markup, html};
use sealpost_core::id::EventId;
use sealpost_core::role::Permission;
use sealpost_store::history::{EventDelivery, EventRecord, PayloadState};

use crate::app::erasures::EraseWhat;
use crate::app::payloads::{PayloadRefused, PayloadSeen};
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{curl, parts, pretty};

/// The event in the path, if the visitor may know of it, with the deliveries it may know of.
async fn found(visit: &Visit) -> Result<(EventRecord, Vec<EventDelivery>), Refused> {
    let id: EventId = visit.id()?;
    let event = visit.app().event(visit.tenant()?, id).await?.ok_or(Refused::NotFound)?;
    let visitor = visit.visitor()?;
    let seen: Vec<_> =
        event.deliveries.iter().filter(|delivery| visitor.sees(delivery.webhook)).cloned().collect();
    // A subscriber learns of events by its deliveries only.
    if visitor.only.is_some() && seen.is_empty() { Err(Refused::NotFound) } else { Ok((event, seen)) }
}

pub(super) async fn show(visit: Visit) -> Result<Reply, Refused> {
    let (event, deliveries) = found(&visit).await?;
    let payload = hidden(&visit, &event);
    Ok(sheet(&visit, &event, &deliveries, &payload).await?.live().into())
}

/// `POST .../payload`: the page with the payload, which the answer to a form is the only place for.
pub(super) async fn reveal(visit: Visit) -> Result<Reply, Refused> {
    let (event, deliveries) = found(&visit).await?;
    let only = visit.visitor()?.only.clone();
    let seen = visit.app().show_payload(visit.tenant()?, &event, only.as_deref(), visit.who()?).await;
    let payload = match seen {
        Ok(PayloadSeen::Text(text)) => html! {
            p.muted { "That you looked at it stands in the audit log." }
            pre tabindex="0" { (pretty::json(text.reveal())) }
        },
        Ok(PayloadSeen::Gone(state)) => gone(state),
        Err(why) => return Err(refused(why)),
    };
    Ok(sheet(&visit, &event, &deliveries, &payload).await?.into())
}

pub(super) fn refused(why: PayloadRefused) -> Refused {
    match why {
        PayloadRefused::NotSent => Refused::Forbidden,
        PayloadRefused::NotFound => Refused::NotFound,
        PayloadRefused::Unreadable => Refused::Internal,
        PayloadRefused::Store(error) => error.into(),
    }
}

pub(super) fn gone(state: PayloadState) -> Markup {
    html! {
        p.muted {
            @match state {
                PayloadState::Erased => "The payload was erased.",
                PayloadState::Pruned | PayloadState::Kept => "The payload is past its retention and gone.",
            }
        }
    }
}

fn hidden(visit: &Visit, event: &EventRecord) -> Markup {
    match event.payload {
        PayloadState::Kept => html! {
            div.bar {
                p { span.masked aria-hidden="true" { "••••••••••••" } span.muted { " Hidden: payloads are people's data." } }
                @if visit.may(Permission::ReadPayloads) {
                    (parts::button(visit, &format!("/console/events/{}/payload", event.id), "", "Reveal payload"))
                }
            }
        },
        state => gone(state),
    }
}

async fn sheet(
    visit: &Visit,
    event: &EventRecord,
    deliveries: &[EventDelivery],
    payload: &Markup,
) -> Result<Sheet, Refused> {
    let entry = visit.app().tenant(visit.tenant()?).await?;
    let whole = visit.visitor()?.only.is_none();
    let url = |delivery: &EventDelivery| {
        entry.target_by_id(delivery.webhook).map(|t| t.webhook.url.shown().to_owned())
    };
    let main = html! {
        dl.facts {
            div { dt { "Event" } dd { (parts::copyable("Event id", &event.id.to_string())) } }
            div { dt { "Type" } dd { code { (event.event_type) } @if event.test { " " (parts::chip("off", "test")) } } }
            div { dt { "Time" } dd { (parts::time(event.timestamp)) } }
            div { dt { "Accepted" } dd { (parts::time(event.accepted_at)) } }
            @if whole {
                @for derived in &event.derived {
                    div { dt { "Derived" } dd { a href={ "/console/events/" (derived.id) } { (derived.event_type) } } }
                }
            }
        }
        section {
            h2 { "Deliveries" }
            div #deliveries data-live {
                @if deliveries.is_empty() {
                    p.muted { "No webhook was subscribed to this type when the event was accepted." }
                } @else {
                    table {
                        thead { tr { th { "Webhook" } th { "Status" } } }
                        tbody {
                            @for delivery in deliveries {
                                tr {
                                    td.wide data-label="Webhook" {
                                        a.title href={ "/console/deliveries/" (delivery.id) } {
                                            @match url(delivery) { Some(url) => (parts::address(&url)), None => { "deleted webhook" } }
                                        }
                                    }
                                    td data-label="Status" { (parts::status(delivery.state)) }
                                }
                            }
                        }
                    }
                }
            }
        }
        section {
            h2 { "Payload" }
            (payload)
        }
        @if visit.may(Permission::Erase) && event.payload == PayloadState::Kept {
            section.danger-zone {
                h2 { "Erasure" }
                div.bar {
                    p { strong { "Erase the payload" } br; span.muted { "What waits is cancelled; what was delivered stays where it is." } }
                    a.button.danger href={ "/console/events/" (event.id) "/erase" } { "Erase…" }
                }
            }
        }
        (curl::get(visit, &format!("/v1/webhooks/events/{}", event.id), &[]))
    };
    Ok(Sheet::new(Section::Events, format!("Event {}", event.event_type), main))
}

pub(super) async fn confirm_erasure(visit: Visit) -> Result<Reply, Refused> {
    let (event, _) = found(&visit).await?;
    let page = format!("/console/events/{}", event.id);
    let main = html! {
        p.lead { "The payload of this event, and everything that was kept of answers to it, is destroyed, here and in backups that are restored later." }
        p { "Deliveries that wait are cancelled. Nothing can be redelivered. This cannot be taken back." }
        form method="post" action={ (page) "/erase" } {
            (parts::csrf(&visit))
            div.actions {
                button.danger type="submit" { "Erase payload" }
                a.button href=(page) { "Keep it" }
            }
        }
    };
    Ok(Sheet::new(Section::Events, "Erase this payload?", main).into())
}

pub(super) async fn erase(visit: Visit) -> Result<Reply, Refused> {
    let (event, _) = found(&visit).await?;
    visit.app().erase(visit.tenant()?, EraseWhat::Events(vec![event.id]), visit.who()?).await?;
    Ok(Reply::done(format!("/console/events/{}", event.id), "The payload was erased."))
}
