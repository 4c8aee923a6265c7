//! `GET /v1/webhooks/{id}/secret` and `POST .../secret/rotate`: the secret of Standard Webhooks. Every reading is
//! audited before it is answered.

use std::time::Duration;

use axum::response::Response;
use sealpost_core::limits::SECRET_OVERLAP_MAX;
use sealpost_core::secret::Secret;
use sealpost_core::time::{Span, Timestamp};
use sealpost_signature::WebhookSecret;
use serde::Serialize;

use crate::api::answer;
use crate::api::call::Call;
use crate::api::fields::{Fields, parsed};
use crate::api::mattr::webhooks::problem;
use crate::api::problem::Problem;

const OVERLAP: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    secret: &'a str,
    /// Until then the secret before this one signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_until: Option<Timestamp>,
}

pub(in crate::api) async fn get(call: Call) -> Result<Response, Problem> {
    let id = call.webhook().await?;
    let caller = call.caller()?;
    let secret = call.app().read_secret(caller.tenant, id, &caller.who).await;
    shown(&secret.map_err(|refused| problem(&call, refused))?, None)
}

pub(in crate::api) async fn rotate(mut call: Call) -> Result<Response, Problem> {
    let id = call.webhook().await?;
    let overlap = match call.json_if_any().await? {
        None => OVERLAP,
        Some(body) => {
            let mut fields = Fields::of(body)?;
            let overlap = fields.optional("overlap", |value| match parsed::<Span>(value)?.0 {
                overlap if overlap <= SECRET_OVERLAP_MAX => Ok(overlap),
                _ => Err(format!("must be at most {}h", SECRET_OVERLAP_MAX.as_secs() / 3600)),
            });
            fields.finish()?;
            overlap.unwrap_or(OVERLAP)
        }
    };
    let caller = call.caller()?;
    let rotated = call.app().rotate_secret(caller.tenant, id, overlap, &caller.who).await;
    let (secret, until) = rotated.map_err(|refused| problem(&call, refused))?;
    shown(&secret, Some(until))
}

fn shown(secret: &Secret<[u8; 32]>, previous_until: Option<Timestamp>) -> Result<Response, Problem> {
    let secret = WebhookSecret::from_bytes(secret.reveal()).map_err(|_| Problem::Internal)?;
    answer::ok(&Shown { secret: &secret.reveal(), previous_until })
}
