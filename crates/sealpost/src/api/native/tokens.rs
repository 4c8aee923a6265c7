//! `POST /v1/webhooks/{id}/token/rotate`: a new token in the bodies of a webhook of Truvera's dialect.
//!
//! There is no overlap: a body has room for one token, so a receiver accepts both until the answer of this call.

use axum::response::Response;
use serde::Serialize;

use crate::api::answer;
use crate::api::call::Call;
use crate::api::mattr::webhooks::problem;
use crate::api::problem::Problem;

#[derive(Serialize)]
struct Shown<'a> {
    token: &'a str,
}

pub(in crate::api) async fn rotate(call: Call) -> Result<Response, Problem> {
    let id = call.webhook().await?;
    let caller = call.caller()?;
    let token = call.app().rotate_token(caller.tenant, id, &caller.who).await;
    let token = token.map_err(|refused| problem(&call, refused))?;
    answer::ok(&Shown { token: token.reveal() })
}
