//! One webhook: how it is, what it gets, and what can be done about it.

use std::time::Duration;

use maud::{Markup, html};
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::{EventTypeName, Origin};
use sealpost_core::minimise::PayloadLevel;
use sealpost_core::role::Permission;
use sealpost_core::secret::Secret;
use sealpost_core::settings::{RetentionKind, SignatureKind};
use sealpost_core::webhook::{Subscription, Webhook};
use sealpost_signature::WebhookSecret;
use sealpost_store::history::DeliveryFilter;
use sealpost_store::page::PageRequest;

use super::{deliveries, webhooks};
use crate::app::events::PublishRefused;
use crate::app::webhooks::{WebhookPatch, WebhookRefused};
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::session::Notice;
use crate::console::visit::{Visit, refused};
use crate::console::{curl, form, parts};

/// A rotated secret signs beside the new one for this long.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);

fn page(webhook: &Webhook) -> String {
    format!("/console/webhooks/{}", webhook.id)
}

pub(super) async fn show(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let tenant = visit.tenant()?;
    let filter = DeliveryFilter { webhook: Some(webhook.id), ..DeliveryFilter::default() };
    let recent =
        visit.app().deliveries(tenant, filter, PageRequest { limit: webhooks::RECENT, after: None }).await?;
    let id = webhook.id.to_string();
    let all = form::link("/console/deliveries", &[("webhook", &id)]);
    let main = html! {
        div.head #state data-live {
            p {
                (parts::webhook_state(&webhook)) " "
                span.muted { (parts::dialect(webhook.dialect)) " dialect" }
            }
            @if !webhook.settings.description.is_empty() { p.lead { (webhook.settings.description) } }
        }
        (actions(&visit, &webhook).await?)
        section {
            div.bar { h2 { "Recent deliveries" } (webhooks::sparkline(&recent.rows)) a href=(all) { "All deliveries" } }
            div #recent data-live {
                @if recent.rows.is_empty() {
                    (parts::empty("Nothing was sent yet", html! { p { "A test event shows at once whether the endpoint answers." } }))
                } @else {
                    (deliveries::table(&visit, &recent.rows.iter().take(10).collect::<Vec<_>>(), false).await?)
                }
            }
        }
        section {
            h2 { "Events" }
            (events(&webhook))
        }
        section {
            div.bar {
                h2 { "Settings" }
                @if visit.may(Permission::ManageWebhooks) { a href={ (page(&webhook)) "/settings" } { "Change settings" } }
            }
            (settings(&visit, &webhook))
        }
        @if visit.may(Permission::ManageWebhooks) { (dangerous(&visit, &webhook)) }
        @if visit.visitor()?.only.is_none() {
            (curl::get(&visit, &format!("/v1/webhooks/{}/settings", webhook.id), &[]))
        }
    };
    Ok(Sheet::new(Section::Webhooks, webhook.url.shown(), main).live().into())
}

async fn actions(visit: &Visit, webhook: &Webhook) -> Result<Markup, Refused> {
    let page = page(webhook);
    let types = visit.app().tenant(visit.tenant()?).await?.event_types();
    let named = webhook.subscription.named();
    let others = types.iter().map(|entry| &entry.event_type);
    let others = others.filter(|t| t.origin != Origin::Own && !named.contains(&t.name)).map(|t| &t.name);
    let choices: Vec<&EventTypeName> = named.iter().chain(others).collect();
    Ok(html! {
        div.actions {
            @if visit.may(Permission::RepairDeliveries) {
                form.inline method="post" action={ (page) "/test" } {
                    (parts::csrf(visit))
                    label.hidden for="type" { "Type of the test event" }
                    select id="type" name="type" {
                        @for name in choices { option value=(name) { (name) } }
                    }
                    button.main type="submit" { "Send test event" }
                }
            }
            @if visit.may(Permission::ManageWebhooks) {
                a.button href={ (page) "/edit" } { "Edit" }
                (parts::button(visit, &format!("{page}/portal"), "", "Make portal link"))
                @if webhook.disabled { (parts::button(visit, &format!("{page}/resume"), "", "Resume")) }
                @else { (parts::button(visit, &format!("{page}/pause"), "", "Pause")) }
            }
        }
    })
}

fn events(webhook: &Webhook) -> Markup {
    html! {
        @if matches!(webhook.subscription, Subscription::ReceiveAll { .. }) {
            p { strong { "Receive All" } ": Truvera's types and those of your own that are marked so, also later ones." }
        }
        ul.tags { @for name in webhook.subscription.named() { li { code { (name) } } } }
    }
}

fn settings(visit: &Visit, webhook: &Webhook) -> Markup {
    let settings = &webhook.settings;
    let defaults = &visit.app().config.defaults;
    let waits: Vec<String> = settings.retry(defaults).waits().iter().map(ToString::to_string).collect();
    let payload = match &settings.payload {
        PayloadLevel::Full => "whole".to_owned(),
        PayloadLevel::Summary => "summary".to_owned(),
        PayloadLevel::Thin => "id and link only".to_owned(),
        PayloadLevel::Claims(pointers) => format!("{} chosen claims", pointers.len()),
    };
    let signatures: Vec<&str> = settings.signatures.iter().copied().map(signature).collect();
    let headers: Vec<&str> = webhook.secrets.headers.iter().map(|(name, _)| name.as_str()).collect();
    html! {
        dl.facts {
            div { dt { "Id" } dd { (parts::copyable("Webhook id", &webhook.id.to_string())) } }
            @if webhook.dialect == Dialect::Truvera { div { dt { "Truvera id" } dd { (webhook.no) } } }
            div { dt { "Since" } dd { (parts::time(webhook.created_at)) } }
            div { dt { "Payload" } dd { (payload) } }
            div { dt { "Signatures" } dd { (signatures.join(", ")) } }
            div { dt { "Timeout" } dd { (settings.timeout(defaults).as_millis()) " ms" } }
            div { dt { "Retries after" } dd { @if waits.is_empty() { "none" } @else { (waits.join(", ")) } } }
            div { dt { "At once" } dd { "at most " (settings.max_in_flight) @if let Some(rate) = settings.rate_per_second { ", " (rate) " per second" } } }
            div { dt { "Payload kept" } dd { @match settings.retention { RetentionKind::Standard => "as the tenant's retention says", RetentionKind::None => "until its last delivery ended" } } }
            div { dt { "Alert after" } dd { (settings.alert_after) " failed deliveries in a row" } }
            @if !headers.is_empty() { div { dt { "Own headers" } dd { (headers.join(", ")) } } }
        }
    }
}

const fn signature(kind: SignatureKind) -> &'static str {
    match kind {
        SignatureKind::HttpMessageSignatures => "HTTP message signatures",
        SignatureKind::StandardWebhooks => "Standard Webhooks",
        SignatureKind::StandardWebhooksEd25519 => "Standard Webhooks (Ed25519)",
    }
}

fn dangerous(visit: &Visit, webhook: &Webhook) -> Markup {
    let page = page(webhook);
    html! {
        section.danger-zone {
            h2 { "Secret and deletion" }
            @if visit.may(Permission::ReadSecrets) && webhook.dialect == Dialect::Truvera {
                div.bar {
                    p {
                        strong { "Rotate the secret token" } br;
                        span.muted { "From then on each request carries the new one only." }
                    }
                    (parts::button(visit, &format!("{page}/token"), "", "Rotate token"))
                }
            }
            @if visit.may(Permission::ReadSecrets) {
                div.bar {
                    p {
                        strong { "Rotate the signing secret" } br;
                        span.muted { "For Standard Webhooks. The old one signs beside the new one for 24 hours." }
                    }
                    (parts::button(visit, &format!("{page}/secret"), "", "Rotate secret"))
                }
            }
            div.bar {
                p { strong { "Delete this webhook" } br; span.muted { "What waits is cancelled." } }
                a.button.danger href={ (page) "/delete" } { "Delete…" }
            }
        }
    }
}

pub(super) async fn pause(visit: Visit) -> Result<Reply, Refused> {
    switch(visit, true, "The webhook is paused. Its events are recorded as cancelled and can be redelivered.")
        .await
}

pub(super) async fn resume(visit: Visit) -> Result<Reply, Refused> {
    switch(visit, false, "The webhook is active again.").await
}

async fn switch(visit: Visit, disabled: bool, done: &str) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let (id, dialect) = (webhook.id, webhook.dialect);
    let decide = |before: &Webhook| {
        let disabled = (before.disabled != disabled).then_some(disabled);
        Ok::<_, WebhookRefused>(WebhookPatch { disabled, ..WebhookPatch::default() })
    };
    let changed = visit.app().patch_webhook(visit.tenant()?, id, dialect, visit.who()?, decide).await;
    changed.map_err(refused)?;
    Ok(Reply::done(page(&webhook), done))
}

pub(super) async fn test(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let path = page(&webhook);
    let name = match visit.form.given("type").map(EventTypeName::parse).transpose() {
        Ok(name) => name,
        Err(_) => return Ok(Reply::failed(path, "There is no such event type.")),
    };
    match visit.app().send_test(visit.tenant()?, webhook.id, name).await {
        Ok(Some(event)) => {
            Ok(Reply::done(path, format!("A test event of type {} was sent.", event.event_type)))
        }
        Ok(None) => Err(Refused::NotFound),
        Err(PublishRefused::Store(error)) => Err(error.into()),
        Err(why) => Ok(Reply::failed(path, format!("No test event was sent: {why}."))),
    }
}

pub(super) async fn rotate(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let rotated = visit.app().rotate_secret(visit.tenant()?, webhook.id, OVERLAP, visit.who()?).await;
    let (secret, _) = rotated.map_err(refused)?;
    let secret = WebhookSecret::from_bytes(secret.reveal()).map_err(|_| Refused::Internal)?;
    let notices = vec![
        Notice::Done("The secret was rotated. The old one signs beside the new one for 24 hours.".into()),
        Notice::Shown {
            name: "Signing secret",
            value: Secret::new(secret.reveal().to_string()),
            about: "Give it to the receiver. It is shown here only now.",
        },
    ];
    Ok(Reply::See(page(&webhook), notices))
}

pub(super) async fn rotate_token(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let token = visit.app().rotate_token(visit.tenant()?, webhook.id, visit.who()?).await.map_err(refused)?;
    let notices = vec![
        Notice::Done("The secret token was rotated.".into()),
        Notice::Shown {
            name: "Secret token",
            value: token,
            about: "Give it to the receiver, which checks it first. It is shown here only now.",
        },
    ];
    Ok(Reply::See(page(&webhook), notices))
}
