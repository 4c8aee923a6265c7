//! `/webhooks` and `/webhooks/{id}`: the object is `{events, url, id, created, secret, description, status}`, its id the
//! webhook's number, and the token is in every answer, as Truvera documents it.
//!
//! `"*"` among the events is Receive All. It is kept as such, so that later types are received too, and shown as the
//! list it stands for. Webhooks of the other dialect do not exist on this face.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::response::Response;
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::limits as bound;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::target_url::{TargetUrl, UrlRules};
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{Subscription, Webhook};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::answer;
use crate::api::call::Call;
use crate::api::fields::{Fields, text};
use crate::api::mattr::webhooks::{self as mattr, some_and_distinct};
use crate::api::problem::{Location, Problem};
use crate::app::registry::TypeEntry;
use crate::app::webhooks::{WebhookInput, WebhookPatch, WebhookRefused};

/// Receive All, among the events.
const ALL: &str = "*";

#[derive(Serialize)]
struct Shown<'a> {
    events: Vec<EventTypeName>,
    url: &'a str,
    id: String,
    created: Timestamp,
    secret: &'a str,
    description: &'a str,
    status: u8,
}

impl<'a> Shown<'a> {
    fn of(webhook: &'a Webhook, catalogue: &[Arc<TypeEntry>]) -> Self {
        Self {
            events: expanded(webhook, catalogue),
            url: webhook.url.shown(),
            id: webhook.no.to_string(),
            created: webhook.created_at,
            secret: webhook.secrets.token.as_ref().map_or("", |token| token.reveal()),
            description: &webhook.settings.description,
            status: u8::from(!webhook.disabled),
        }
    }
}

fn expanded(webhook: &Webhook, catalogue: &[Arc<TypeEntry>]) -> Vec<EventTypeName> {
    webhook.subscription.expanded(catalogue.iter().map(|entry| &entry.event_type))
}

/// The tenant's event types as they are now.
async fn catalogue(call: &Call) -> Result<Vec<Arc<TypeEntry>>, Problem> {
    Ok(call.app().tenant(call.tenant()?).await?.event_types())
}

async fn shown(call: &Call, webhook: &Webhook) -> Result<Response, Problem> {
    answer::ok(&Shown::of(webhook, &catalogue(call).await?))
}

pub(in crate::api) async fn create(mut call: Call) -> Result<Response, Problem> {
    let (input, description) = input(call.json().await?, &call.app().config.url_rules)?;
    let settings = WebhookSettings { description, ..WebhookSettings::default() };
    let created =
        call.app().create_webhook(call.tenant()?, Dialect::Truvera, input, settings, call.who()?).await;
    shown(&call, &created.map_err(|refused| problem(&call, refused))?).await
}

pub(in crate::api) async fn list(call: Call) -> Result<Response, Problem> {
    let offset = call.query.whole("offset", 0, bound::TRUVERA_OFFSET_MAX)?.unwrap_or(0);
    let limit = call.query.whole("limit", 1, bound::TRUVERA_PAGE_MAX)?.unwrap_or(bound::TRUVERA_PAGE_MAX);
    let found = call.app().webhooks_behind(call.tenant()?, Dialect::Truvera, offset, limit).await?;
    let catalogue = catalogue(&call).await?;
    answer::ok(&found.iter().map(|webhook| Shown::of(webhook, &catalogue)).collect::<Vec<_>>())
}

pub(in crate::api) async fn get(call: Call) -> Result<Response, Problem> {
    let id = call.numbered_webhook().await?;
    let found = call.app().webhook(call.tenant()?, id).await;
    let webhook = found.map_err(|refused| problem(&call, refused))?;
    match webhook.dialect {
        Dialect::Truvera => shown(&call, &webhook).await,
        Dialect::Mattr => Err(call.no_such()),
    }
}

pub(in crate::api) async fn update(mut call: Call) -> Result<Response, Problem> {
    let id = call.numbered_webhook().await?;
    let body = call.json().await?;
    let catalogue = catalogue(&call).await?;
    let rules = &call.app().config.url_rules;
    let decide = |before: &Webhook| patch(body, rules, before, &catalogue).map_err(Refused::Body);
    let changed =
        call.app().patch_webhook(call.tenant()?, id, Dialect::Truvera, call.who()?, decide).await.map_err(
            |refused| match refused {
                Refused::Body(problem) => problem,
                Refused::Webhook(refused) => problem(&call, refused),
            },
        )?;
    answer::ok(&Shown::of(&changed, &catalogue))
}

pub(in crate::api) async fn delete(call: Call) -> Result<Response, Problem> {
    let id = call.numbered_webhook().await?;
    let deleted = call.app().delete_webhook(call.tenant()?, id, Dialect::Truvera, call.who()?).await;
    deleted.map_err(|refused| problem(&call, refused))?;
    // An object rather than nothing: some clients parse every answer.
    answer::ok(&json!({}))
}

/// By what it asks for, or by what it asks it of.
enum Refused {
    Body(Problem),
    Webhook(WebhookRefused),
}

impl From<WebhookRefused> for Refused {
    fn from(refused: WebhookRefused) -> Self {
        Self::Webhook(refused)
    }
}

/// Reads `{url, events, description?, status?}`.
fn input(body: Value, rules: &UrlRules) -> Result<(WebhookInput, String), Problem> {
    let mut fields = Fields::of(body)?;
    for name in ["events", "url"] {
        if !fields.has(name) {
            fields.refuse(name, "must be given", None);
        }
    }
    let WebhookPatch { subscription, url, disabled, description } = named(&mut fields, rules);
    fields.finish()?;
    let (Some(subscription), Some(url)) = (subscription, url) else {
        // Whatever was missing was reported by `finish`.
        return Err(Problem::Internal);
    };
    let input = WebhookInput { subscription, url, disabled: disabled.unwrap_or(false) };
    Ok((input, description.unwrap_or_default()))
}

/// Reads what a `PATCH` changes. An object that was read can be sent back: members that nobody may change are taken if
/// they say what is, and the list that Receive All was shown as leaves it as it is.
fn patch(
    body: Value,
    rules: &UrlRules,
    before: &Webhook,
    catalogue: &[Arc<TypeEntry>],
) -> Result<WebhookPatch, Problem> {
    let mut fields = Fields::of(body)?;
    let now = Shown::of(before, catalogue);
    let same = |value: &Value, now: &str| match value.as_str() {
        Some(given) if verify_slices_are_equal(given.as_bytes(), now.as_bytes()).is_ok() => Ok(()),
        _ => Err("cannot be changed by this call".to_owned()),
    };
    fields.optional("id", |value| same(value, &now.id));
    fields.optional("created", |value| same(value, &now.created.to_string()));
    fields.optional("secret", |value| same(value, now.secret));
    let mut patch = named(&mut fields, rules);
    fields.finish()?;
    if let (Subscription::ReceiveAll { .. }, Some(Subscription::Types(given))) =
        (&before.subscription, &patch.subscription)
    {
        let set = |names: &[EventTypeName]| names.iter().cloned().collect::<HashSet<_>>();
        if set(given) == set(&now.events) {
            patch.subscription = None;
        }
    }
    Ok(patch)
}

/// The members that a caller may write, as far as they are there.
fn named(fields: &mut Fields, rules: &UrlRules) -> WebhookPatch {
    let name = |value: &Value| match text(value)? {
        ALL => Ok(None),
        name => EventTypeName::parse(name).map(Some).map_err(|error| error.to_string()),
    };
    let events = if fields.has("events") { fields.list("events", name, some_and_distinct) } else { None };
    WebhookPatch {
        subscription: events.map(subscription),
        url: fields.optional("url", |value| TargetUrl::parse(text(value)?, rules).map_err(|e| e.to_string())),
        disabled: fields.optional("status", |value| match value.as_u64() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err("must be 0 or 1".to_owned()),
        }),
        description: fields.optional("description", |value| match text(value)? {
            text if text.len() <= bound::DESCRIPTION_BYTES => Ok(text.to_owned()),
            _ => Err(format!("must be at most {} bytes", bound::DESCRIPTION_BYTES)),
        }),
    }
}

/// `None` stands for Receive All.
fn subscription(events: Vec<Option<EventTypeName>>) -> Subscription {
    let all = events.contains(&None);
    let named = events.into_iter().flatten().collect();
    if all { Subscription::ReceiveAll { named } } else { Subscription::Types(named) }
}

fn problem(call: &Call, refused: WebhookRefused) -> Problem {
    match refused {
        WebhookRefused::UnknownType { .. } => Problem::invalid(Location::Body, "events", refused, None),
        WebhookRefused::TooMany => Problem::LimitReached(refused.to_string()),
        refused => mattr::problem(call, refused),
    }
}
