//! The request of a delivery: its headers, and the text its signature is made over.
//!
//! Requests are not kept. What is shown is built as the engine builds it, from what is stored now; what depends on the
//! payload is hidden until the payload is revealed. What is a secret of the receiver stays hidden.

use maud::{Markup, html};
use sealpost_core::payload::Payload;
use sealpost_core::role::Permission;
use sealpost_store::history::DeliveryDetail;

use super::event;
use crate::app::payloads::RequestSeen;
use crate::app::registry::Target;
use crate::app::request::Draft;
use crate::console::reply::Refused;
use crate::console::visit::Visit;
use crate::console::{parts, pretty};

const HIDDEN: &str = "••••••••";
/// Made from the body.
const OF_THE_BODY: [&str; 3] = ["content-digest", "signature", "webhook-signature"];

/// Without anything that depends on the payload.
pub(super) async fn without_payload(visit: &Visit, detail: &DeliveryDetail) -> Result<Markup, Refused> {
    let nothing = Payload::parse("{}").map_err(|_| Refused::Internal)?;
    let seen = visit.app().draft_request(visit.tenant()?, detail, &nothing).await.map_err(event::refused)?;
    let RequestSeen::Draft(draft, target) = seen else { return Ok(no_webhook()) };
    let path = format!("/console/deliveries/{}/request", detail.delivery.id);
    Ok(html! {
        (parts_of(&draft, &target, false))
        div.bar {
            p { span.masked aria-hidden="true" { "••••••••••••" } span.muted { " The body is hidden: payloads are people's data." } }
            @if visit.may(Permission::ReadPayloads) { (parts::button(visit, &path, "", "Reveal body and signature")) }
        }
    })
}

pub(super) fn whole(draft: &Draft, target: &Target) -> Markup {
    let body = String::from_utf8_lossy(&draft.body);
    // In Truvera's dialect the receiver's secret is part of the body.
    let body = match &target.webhook.secrets.token {
        Some(token) => body.replace(token.reveal().as_str(), HIDDEN),
        None => body.into_owned(),
    };
    html! {
        p.muted { "Built anew for the last attempt's time, from what is stored now. That you looked at it stands in the audit log." }
        (parts_of(draft, target, true))
        h3 { "Body" }
        pre tabindex="0" { (pretty::json(&body)) }
    }
}

pub(super) fn no_webhook() -> Markup {
    html! { p.muted { "The webhook was deleted, and with it what its requests are made of." } }
}

fn parts_of(draft: &Draft, target: &Target, whole: bool) -> Markup {
    let url = &target.webhook.url;
    let own = |name: &str| target.headers.iter().any(|(own, _)| own.as_str() == name);
    let shown = |name: &str, value: &str| match own(name) || (!whole && OF_THE_BODY.contains(&name)) {
        true => HIDDEN.to_owned(),
        false => value.to_owned(),
    };
    let mut lines = format!("POST {} HTTP\nhost: {}\n", url.request_target(), url.authority());
    for (name, value) in &draft.headers {
        lines.push_str(&format!("{name}: {}\n", shown(name.as_str(), value.to_str().unwrap_or(HIDDEN))));
    }
    let base: Vec<String> = draft.signature_base.lines().map(|line| base_line(line, whole)).collect();
    html! {
        h3 { "Headers" }
        pre tabindex="0" { (lines.trim_end()) }
        h3 { "Signature base" }
        pre tabindex="0" { (base.join("\n")) }
    }
}

fn base_line(line: &str, whole: bool) -> String {
    match line.split_once("\"content-digest\": ") {
        Some(("", _)) if !whole => format!("\"content-digest\": {HIDDEN}"),
        _ => line.to_owned(),
    }
}
