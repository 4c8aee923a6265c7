//! Answers that are not refusals.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::problem::Problem;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        Problem::Internal
    })?;
    Ok((status, [(CONTENT_TYPE, JSON)], body).into_response())
}

pub(super) fn ok(body: &impl Serialize) -> Result<Response, Problem> {
    json(StatusCode::OK, body)
}

/// 201 with the place of what was made.
pub(super) fn created(location: &str, body: &impl Serialize) -> Result<Response, Problem> {
    let mut response = json(StatusCode::CREATED, body)?;
    let location = HeaderValue::from_str(location).map_err(|_| Problem::Internal)?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// What a call tells its analytic event about its success.
#[derive(Clone, Debug)]
pub(super) struct Told(pub(super) Value);

pub(super) fn telling(mut response: Response, data: Value) -> Response {
    response.extensions_mut().insert(Told(data));
    response
}

pub(super) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// What was asked for with a credential stays with whoever asked.
pub(super) fn not_to_be_stored(response: &mut Response) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
