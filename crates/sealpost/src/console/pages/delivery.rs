//! One delivery: each attempt and what came of it, and what can be done about it.

use maud::{Markup, html};
use sealpost_core::delivery::{AttemptRecord, State, Status};
use sealpost_core::id::DeliveryId;
use sealpost_core::outcome::Outcome;
use sealpost_core::role::Permission;
use sealpost_store::history::{DeliveryDetail, Redelivered};

use super::{deliveries, event, request};
use crate::app::payloads::RequestSeen;
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{curl, form, parts};

/// The delivery in the path, if the visitor may know of it.
async fn found(visit: &Visit) -> Result<DeliveryDetail, Refused> {
    let id: DeliveryId = visit.id()?;
    let detail = visit.app().delivery(visit.tenant()?, id).await?.ok_or(Refused::NotFound)?;
    if visit.visitor()?.sees(detail.delivery.webhook) { Ok(detail) } else { Err(Refused::NotFound) }
}

pub(super) async fn show(visit: Visit) -> Result<Reply, Refused> {
    let detail = found(&visit).await?;
    let request = request::without_payload(&visit, &detail).await?;
    Ok(sheet(&visit, &detail, &request).await?.live().into())
}

/// `POST .../request`: the page with the whole request, payload included.
pub(super) async fn reveal(visit: Visit) -> Result<Reply, Refused> {
    let detail = found(&visit).await?;
    let is_subscriber = visit.visitor()?.only.is_some();
    let seen = visit.app().show_request(visit.tenant()?, &detail, is_subscriber, visit.who()?).await;
    let shown = match seen.map_err(event::refused)? {
        RequestSeen::Draft(draft, target) => request::whole(&draft, &target),
        RequestSeen::Gone(state) => event::gone(state),
        RequestSeen::NoWebhook => request::no_webhook(),
    };
    Ok(sheet(&visit, &detail, &shown).await?.into())
}

async fn sheet(visit: &Visit, detail: &DeliveryDetail, request: &Markup) -> Result<Sheet, Refused> {
    let delivery = &detail.delivery;
    let entry = visit.app().tenant(visit.tenant()?).await?;
    let target = entry.target_by_id(delivery.webhook);
    let event = delivery.event.to_string();
    let main = html! {
        div.head #state data-live {
            p {
                (parts::status(delivery.state))
                @if delivery.test { " " (parts::chip("off", "test")) }
            }
            dl.facts {
                div { dt { "Delivery" } dd { (parts::copyable("Delivery id", &delivery.id.to_string())) } }
                div { dt { "Event" } dd { a href={ "/console/events/" (delivery.event) } { code { (delivery.event) } } } }
                div { dt { "Webhook" } dd {
                    @match &target {
                        Some(target) => a href={ "/console/webhooks/" (delivery.webhook) } { (parts::address(target.webhook.url.shown())) },
                        None => span.muted { "deleted (" (delivery.webhook) ")" },
                    }
                } }
                div { dt { "Accepted" } dd { (parts::time(delivery.created_at)) } }
                div { dt { "Attempts" } dd { (delivery.attempts_used) } }
                @if delivery.state == State::Pending { div { dt { "Next try" } dd { (deliveries::next_try(delivery)) } } }
            }
        }
        (actions(visit, detail))
        section {
            h2 { "Attempts" }
            div #attempts data-live { (timeline(visit, detail)) }
        }
        section {
            h2 { "Request" }
            (request)
        }
        p { a href=(form::link("/console/deliveries", &[("event", &event)])) { "All deliveries of this event" } }
        (curl::get(visit, &format!("/v1/webhooks/deliveries/{}", delivery.id), &[]))
    };
    let title = format!("Delivery of {}", delivery.event_type);
    Ok(Sheet::new(Section::Deliveries, title, main))
}

fn actions(visit: &Visit, detail: &DeliveryDetail) -> Markup {
    let page = format!("/console/deliveries/{}", detail.delivery.id);
    html! {
        @if visit.may(Permission::RepairDeliveries) {
            div.actions #actions data-live {
                (parts::button(visit, &format!("{page}/redeliver"), "main", "Redeliver"))
                @if detail.delivery.state == State::Pending {
                    (parts::button(visit, &format!("{page}/cancel"), "", "Cancel delivery"))
                }
            }
        }
    }
}

fn timeline(visit: &Visit, detail: &DeliveryDetail) -> Markup {
    let under_way = usize::from(detail.delivery.attempts_used) > detail.attempts.len();
    // It may be made of a payload.
    let excerpts = visit.may(Permission::ReadExcerpts);
    html! {
        @if detail.attempts.is_empty() && !under_way {
            p.muted { "No attempt was made." }
        }
        ol.timeline {
            @for attempt in &detail.attempts { (step(attempt, excerpts)) }
            @if under_way && detail.delivery.state == State::Pending {
                li.wait { p { strong { "Under way" } } }
            }
            @if let (Some(due), State::Pending) = (detail.delivery.due_at, detail.delivery.state) {
                li.wait { p { strong { "Next try" } " " span.due { (parts::time(due)) } } }
            }
        }
    }
}

fn step(attempt: &AttemptRecord, excerpts: bool) -> Markup {
    let delivered = attempt.outcome == Outcome::Delivered;
    let kind = if delivered { "good" } else { "bad" };
    html! {
        li class=(kind) {
            p {
                strong { "Attempt " (attempt.number) } " "
                (parts::chip(kind, &words(attempt)))
                " " span.muted { (parts::time(attempt.started_at)) " · " (parts::millis(attempt.took_ms)) }
            }
            @if let Some(error) = &attempt.error { p { (error) } }
            @if let Some(excerpt) = attempt.excerpt.as_ref().filter(|excerpt| excerpts && !excerpt.is_empty()) {
                details {
                    summary { "What the receiver answered" }
                    pre tabindex="0" { (text(excerpt)) }
                }
            }
        }
    }
}

fn words(attempt: &AttemptRecord) -> String {
    let outcome = match attempt.outcome {
        Outcome::HttpStatus => "answered",
        Outcome::AddressRefused => "address refused",
        Outcome::Tls => "TLS",
        Outcome::Dns => "DNS",
        Outcome::Unknown => "outcome unknown",
        other => other.as_str(),
    };
    match attempt.http_status {
        Some(status) => format!("{outcome} {status}"),
        None => outcome.to_owned(),
    }
}

/// Somebody else's bytes as a text: control and direction characters would play tricks on the reader.
fn text(bytes: &[u8]) -> String {
    let tricky = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
    };
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| *c != '\r')
        .map(|c| if tricky(c) { '\u{FFFD}' } else { c })
        .collect()
}

pub(super) async fn redeliver(visit: Visit) -> Result<Reply, Refused> {
    let id = found(&visit).await?.delivery.id;
    let page = format!("/console/deliveries/{id}");
    Ok(match visit.app().redeliver(visit.tenant()?, id, visit.who()?).await? {
        Redelivered::Created { id, .. } => {
            Reply::done(format!("/console/deliveries/{id}"), "This is the new delivery of the event.")
        }
        Redelivered::NotFound => return Err(Refused::NotFound),
        Redelivered::PayloadGone => Reply::failed(page, "The payload of the event is gone."),
        Redelivered::WebhookUnavailable => Reply::failed(page, "The webhook is paused or deleted."),
    })
}

pub(super) async fn cancel(visit: Visit) -> Result<Reply, Refused> {
    let id = found(&visit).await?.delivery.id;
    let page = format!("/console/deliveries/{id}");
    let state = visit.app().cancel(visit.tenant()?, id, visit.who()?).await?.ok_or(Refused::NotFound)?;
    Ok(match state.status() {
        Status::Cancelled => Reply::done(page, "The delivery was cancelled."),
        Status::Pending => Reply::done(page, "An attempt is under way; there will be no other."),
        ended => Reply::failed(page, format!("The delivery has ended as {ended}.")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_as_a_text_without_tricks() {
        assert_eq!(text(b"a\r\nb\tc"), "a\nb\tc");
        assert_eq!(
            text("x\u{202E}y\u{1b}[31m\0\u{200b}".as_bytes()),
            "x\u{FFFD}y\u{FFFD}[31m\u{FFFD}\u{FFFD}"
        );
        assert_eq!(text(b"\xff"), "\u{FFFD}");
    }
}
