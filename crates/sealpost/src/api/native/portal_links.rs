//! `POST /v1/webhooks/portal-links`: a link into the console to some of the tenant's webhooks, for whoever runs the receivers.

use std::time::Duration;

use axum::response::Response;
use sealpost_core::id::{WebhookId, WebhookName};
use sealpost_core::time::{Span, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::api::answer;
use crate::api::call::Call;
use crate::api::fields::{Fields, parsed};
use crate::api::problem::{Location, Problem};
use crate::app::portal::{
    LINK_HOLDS, LINK_HOLDS_AT_LEAST, LINK_HOLDS_AT_MOST, LinkRefused, WEBHOOKS_OF_A_LINK,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    url: &'a str,
    webhook_ids: &'a [WebhookId],
    /// It opens until then, once.
    expires_at: Timestamp,
}

pub(in crate::api) async fn create(mut call: Call) -> Result<Response, Problem> {
    let (names, holds) = input(call.json().await?)?;
    let caller = call.caller()?;
    let mut webhooks = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let found = call.app().webhook_named(caller.tenant, name).await?;
        let found = found.ok_or_else(|| no_such(index, name))?;
        if webhooks.contains(&found) {
            return Err(wrong(index, "is named twice", name));
        }
        webhooks.push(found);
    }
    let by = call.app().credential_of(caller);
    let made = call.app().make_portal_link(caller.tenant, webhooks.clone(), holds, &by, &caller.who).await;
    let link = made.map_err(|refused| match refused {
        LinkRefused::NotFound { index } => no_such(index, WebhookName::Id(webhooks[index])),
        LinkRefused::TooMany => {
            Problem::Unavailable { message: "Too many portal links wait to be followed", retry_after_s: 60 }
        }
        LinkRefused::Store(error) => error.into(),
    })?;
    let shown = Shown { url: link.url.reveal(), webhook_ids: &webhooks, expires_at: link.until };
    answer::ok(&shown)
}

fn input(body: Value) -> Result<(Vec<WebhookName>, Duration), Problem> {
    let mut fields = Fields::of(body)?;
    let names = fields.list("webhookIds", parsed::<WebhookName>, some_but_not_too_many);
    let holds = fields.optional("expiresIn", |value| match parsed::<Span>(value)?.0 {
        holds if (LINK_HOLDS_AT_LEAST..=LINK_HOLDS_AT_MOST).contains(&holds) => Ok(holds),
        _ => Err("must be 1m to 24h".into()),
    });
    fields.finish()?;
    // Whatever was wrong was reported by `finish`.
    Ok((names.ok_or(Problem::Internal)?, holds.unwrap_or(LINK_HOLDS)))
}

fn some_but_not_too_many(names: &[WebhookName]) -> Result<(), (usize, String)> {
    match names.len() {
        1..=WEBHOOKS_OF_A_LINK => Ok(()),
        _ => Err((usize::MAX, format!("must hold 1 to {WEBHOOKS_OF_A_LINK} ids of webhooks"))),
    }
}

fn no_such(index: usize, name: WebhookName) -> Problem {
    wrong(index, "Resource Not Found", name)
}

fn wrong(index: usize, msg: &str, name: WebhookName) -> Problem {
    let param = format!("webhookIds[{index}]");
    Problem::invalid(Location::Body, &param, msg, Some(name.to_string().into()))
}
