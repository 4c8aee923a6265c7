//! `GET` and `PUT /v1/webhooks/{id}/settings`. What was read can be put back: header values are shown as `null`, and
//! `null` keeps the value that is stored.

use axum::response::Response;
use sealpost_core::settings::{FieldError, parse, view};
use sealpost_core::webhook::Webhook;
use serde_json::Value;

use crate::api::answer;
use crate::api::call::Call;
use crate::api::mattr::webhooks::problem;
use crate::api::problem::Problem;
use crate::app::webhooks::WebhookRefused;

pub(in crate::api) async fn get(call: Call) -> Result<Response, Problem> {
    let id = call.webhook().await?;
    let webhook = call.app().webhook(call.tenant()?, id).await.map_err(|refused| problem(&call, refused))?;
    answer::ok(&shown(&call, &webhook))
}

pub(in crate::api) async fn put(mut call: Call) -> Result<Response, Problem> {
    let id = call.webhook().await?;
    let body = call.json().await?;
    let tenant = call.tenant()?;
    let decide = |before: &Webhook| parse(&body, &before.secrets.headers).map_err(Refused::Fields);
    let changed =
        call.app().put_settings(tenant, id, call.who()?, decide).await.map_err(|refused| match refused {
            Refused::Fields(errors) => Problem::Invalid(errors.into_iter().map(Into::into).collect()),
            Refused::Webhook(refused) => problem(&call, refused),
        })?;
    answer::ok(&shown(&call, &changed))
}

/// By what it asks for, or by what it asks it of.
enum Refused {
    Fields(Vec<FieldError>),
    Webhook(WebhookRefused),
}

impl From<WebhookRefused> for Refused {
    fn from(refused: WebhookRefused) -> Self {
        Self::Webhook(refused)
    }
}

fn shown(call: &Call, webhook: &Webhook) -> Value {
    let names: Vec<&str> = webhook.secrets.headers.iter().map(|(name, _)| name.as_str()).collect();
    view(&webhook.settings, &names, &call.app().config.defaults)
}
