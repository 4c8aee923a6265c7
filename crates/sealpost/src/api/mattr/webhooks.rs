//! `/v1/webhooks` and `/v1/webhooks/{id}`: the object is exactly `{id, events, url, disabled}`.
//!
//! Webhooks of the other dialect do not exist on this face.

use std::collections::HashSet;
use std::hash::Hash;

use axum::response::Response;
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::WebhookId;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::target_url::{TargetUrl, UrlRules};
use sealpost_core::webhook::{Subscription, Webhook};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::call::Call;
use crate::api::fields::{Fields, boolean, text};
use crate::api::problem::{Location, Problem};
use crate::api::{answer, cursor};
use crate::app::webhooks::{WebhookInput, WebhookRefused};

#[derive(Serialize)]
struct Shown<'a> {
    id: WebhookId,
    events: &'a [EventTypeName],
    url: &'a str,
    disabled: bool,
}

impl<'a> Shown<'a> {
    fn of(webhook: &'a Webhook) -> Self {
        Self {
            id: webhook.id,
            events: webhook.subscription.named(),
            url: webhook.url.shown(),
            disabled: webhook.disabled,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    data: Vec<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub(in crate::api) async fn create(mut call: Call) -> Result<Response, Problem> {
    let input = input(call.json().await?, &call.app().config.url_rules, None)?;
    let created = call
        .app()
        .create_webhook(call.tenant()?, Dialect::Mattr, input, WebhookSettings::default(), call.who()?)
        .await;
    let webhook = created.map_err(|refused| problem(&call, refused))?;
    let shown = Shown::of(&webhook);
    let created = answer::created(&format!("{}/v1/webhooks/{}", call.base, webhook.id), &shown)?;
    Ok(answer::telling(created, json!(shown)))
}

pub(in crate::api) async fn list(call: Call) -> Result<Response, Problem> {
    let page = call.query.page()?;
    let page = call.app().webhooks(call.tenant()?, Some(Dialect::Mattr), page).await?;
    let next_cursor = cursor::next(&page, |webhook| (webhook.created_at, webhook.id));
    let mut told = json!({"entriesCount": page.rows.len()});
    if let Some(cursor) = &next_cursor {
        told["nextCursor"] = json!(cursor);
    }
    let listed = answer::ok(&List { data: page.rows.iter().map(Shown::of).collect(), next_cursor })?;
    Ok(answer::telling(listed, told))
}

pub(in crate::api) async fn get(call: Call) -> Result<Response, Problem> {
    let found = call.app().webhook(call.tenant()?, call.id()?).await;
    let webhook = found.map_err(|refused| problem(&call, refused))?;
    match webhook.dialect {
        Dialect::Mattr => shown(&webhook),
        Dialect::Truvera => Err(call.no_such()),
    }
}

pub(in crate::api) async fn replace(mut call: Call) -> Result<Response, Problem> {
    let id = call.id()?;
    let input = input(call.json().await?, &call.app().config.url_rules, Some(id))?;
    let replaced = call.app().replace_webhook(call.tenant()?, id, Dialect::Mattr, input, call.who()?).await;
    shown(&replaced.map_err(|refused| problem(&call, refused))?)
}

pub(in crate::api) async fn delete(call: Call) -> Result<Response, Problem> {
    let id: WebhookId = call.id()?;
    let deleted = call.app().delete_webhook(call.tenant()?, id, Dialect::Mattr, call.who()?).await;
    deleted.map_err(|refused| problem(&call, refused))?;
    Ok(answer::telling(answer::no_content(), json!({"id": id})))
}

fn shown(webhook: &Webhook) -> Result<Response, Problem> {
    let shown = Shown::of(webhook);
    Ok(answer::telling(answer::ok(&shown)?, json!(shown)))
}

/// Reads `{events, url, disabled?}`. `id`: the one in the path of a `PUT`, whose body may repeat it, so that an
/// object that was read can be put back.
fn input(body: Value, rules: &UrlRules, id: Option<WebhookId>) -> Result<WebhookInput, Problem> {
    let mut fields = Fields::of(body)?;
    if let Some(id) = id {
        fields.optional("id", |value| match text(value)?.parse() {
            Ok(given) if id == given => Ok(()),
            _ => Err("must be the id in the path".to_owned()),
        });
    }
    let name = |value: &Value| EventTypeName::parse(text(value)?).map_err(|error| error.to_string());
    let events = fields.list("events", name, some_and_distinct);
    let url =
        fields.required("url", |value| TargetUrl::parse(text(value)?, rules).map_err(|e| e.to_string()));
    let disabled = fields.optional("disabled", boolean).unwrap_or(false);
    fields.finish()?;
    match (events, url) {
        (Some(events), Some(url)) => {
            Ok(WebhookInput { subscription: Subscription::Types(events), url, disabled })
        }
        // Whatever was missing was reported by `finish`.
        _ => Err(Problem::Internal),
    }
}

/// The error carries the position it is about; one past the end is about the whole list.
pub(in crate::api) fn some_and_distinct<T: Eq + Hash>(names: &[T]) -> Result<(), (usize, String)> {
    if names.is_empty() {
        return Err((0, "must hold at least one event type".into()));
    }
    let mut seen = HashSet::with_capacity(names.len());
    match names.iter().position(|name| !seen.insert(name)) {
        Some(index) => Err((index, "must not be repeated".into())),
        None => Ok(()),
    }
}

/// What a refused verb means to the caller; also for Sealpost's own calls about a webhook.
pub(in crate::api) fn problem(call: &Call, refused: WebhookRefused) -> Problem {
    match refused {
        WebhookRefused::NotFound => call.no_such(),
        WebhookRefused::UnknownType { index, ref name } => {
            let value = Value::from(name.as_str());
            Problem::invalid(Location::Body, &format!("events[{index}]"), &refused, Some(value))
        }
        WebhookRefused::TooMany | WebhookRefused::NoToken => Problem::Conflict(refused.to_string()),
        WebhookRefused::Store(error) => error.into(),
    }
}
