//! What a caller is told when a call is refused: status, body and headers of every refusal, in one place.
//!
//! The JSON shape is MATTR's, `{code, message, details?}`; 401, 403 and 500 are `text/plain` as its clients expect.
//! Truvera's face makes its own shape of the same facts ([`super::truvera::refusal`]).
//! A 500 says nothing: the cause is logged here, once.

use std::time::Duration;

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sealpost_core::settings::FieldError;
use sealpost_store::StoreError;
use serde::Serialize;
use serde_json::Value;

use crate::app::clients::CannotTell;

/// Where a refused value stood.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Location {
    Body,
    Params,
    Query,
    Headers,
}

/// One thing wrong with one part of a request. `value` is there only if the caller gave one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Detail {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Value>,
    pub(super) msg: String,
    pub(super) param: String,
    pub(super) location: Location,
}

impl Detail {
    pub(super) fn new(
        location: Location,
        param: impl Into<String>,
        msg: impl ToString,
        value: Option<Value>,
    ) -> Self {
        Self { value, msg: msg.to_string(), param: param.into(), location }
    }
}

impl From<FieldError> for Detail {
    fn from(error: FieldError) -> Self {
        Self { value: error.value, msg: error.msg, param: error.param, location: Location::Body }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Problem {
    /// 400: these parts are wrong.
    Invalid(Vec<Detail>),
    /// 400: a sentence about the request as a whole.
    Refused(String),
    Unauthorized,
    /// 402: the tenant has all it may have; only Truvera's clients know it by this status.
    LimitReached(String),
    Forbidden,
    /// 404; the detail names the id that nothing has.
    NotFound(Option<Box<Detail>>),
    MethodNotAllowed {
        allow: String,
    },
    /// 408: the body did not arrive in time.
    TooSlow,
    Conflict(String),
    TooLarge(String),
    UnsupportedMediaType(String),
    /// 429: the tenant is ahead of its rate.
    TooFast(Duration),
    /// 503: nothing is wrong with the request; it may be repeated.
    Unavailable {
        message: &'static str,
        retry_after_s: u32,
    },
    Internal,
}

impl Problem {
    pub(super) const fn not_found() -> Self {
        Problem::NotFound(None)
    }

    pub(super) fn invalid(location: Location, param: &str, msg: impl ToString, value: Option<Value>) -> Self {
        Problem::Invalid(vec![Detail::new(location, param, msg, value)])
    }

    /// The id in the path names nothing.
    pub(super) fn no_such(param: &str, value: &str) -> Self {
        let detail = Detail::new(Location::Params, param, "Resource Not Found", Some(value.into()));
        Problem::NotFound(Some(Box::new(detail)))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (message, retry_after_s) = match &error {
            StoreError::Full => ("The disk of the service is full", 30),
            StoreError::Busy => ("The service is busy", 1),
            StoreError::Closed => ("The service is stopping", 5),
            StoreError::Unreachable(_) => {
                tracing::error!(error = %error, "a call failed in the store");
                ("The database of the service cannot be reached", 2)
            }
            _ => {
                tracing::error!(error = %error, "a call failed in the store");
                return Problem::Internal;
            }
        };
        Problem::Unavailable { message, retry_after_s }
    }
}

impl From<CannotTell> for Problem {
    fn from(error: CannotTell) -> Self {
        let again_in = match error {
            CannotTell::Store(error) => return error.into(),
            CannotTell::Keys { again_in } => again_in,
        };
        let retry_after_s = u32::try_from(whole_seconds(again_in)).unwrap_or(u32::MAX);
        let message = "The provider that issued the token does not give its keys";
        Problem::Unavailable { message, retry_after_s }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    details: &'a [Detail],
}

const VALIDATION: &str = "Validation Error";
const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Problem {
    /// Status, code and sentence, which each face says in its own shape.
    pub(super) fn facts(&self) -> (StatusCode, &'static str, &str) {
        use Problem as P;
        use StatusCode as S;
        match self {
            P::Invalid(_) => (S::BAD_REQUEST, "BadRequest", VALIDATION),
            P::Refused(message) => (S::BAD_REQUEST, "BadRequest", message),
            P::Unauthorized => (S::UNAUTHORIZED, "Unauthorized", "Unauthorized"),
            P::LimitReached(message) => (S::PAYMENT_REQUIRED, "LimitReached", message),
            P::Forbidden => (S::FORBIDDEN, "Forbidden", "Forbidden"),
            P::NotFound(None) => (S::NOT_FOUND, "NotFound", "Resource Not Found"),
            P::NotFound(Some(_)) => (S::NOT_FOUND, "NotFound", VALIDATION),
            P::MethodNotAllowed { .. } => (S::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Method Not Allowed"),
            P::TooSlow => (S::REQUEST_TIMEOUT, "RequestTimeout", "The body did not arrive in time"),
            P::Conflict(message) => (S::CONFLICT, "Conflict", message),
            P::TooLarge(message) => (S::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message),
            P::UnsupportedMediaType(message) => (S::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message),
            P::TooFast(_) => {
                let message = "The tenant makes more calls, or publishes more events, than it may";
                (S::TOO_MANY_REQUESTS, "TooManyRequests", message)
            }
            P::Unavailable { message, .. } => (S::SERVICE_UNAVAILABLE, "ServiceUnavailable", message),
            P::Internal => (S::INTERNAL_SERVER_ERROR, "InternalServerError", "Internal Server Error"),
        }
    }

    /// The header that belongs to a refusal on every face, if one does.
    pub(super) fn header(&self) -> Option<(HeaderName, String)> {
        Some(match self {
            Problem::Unauthorized => (WWW_AUTHENTICATE, "Bearer".to_owned()),
            Problem::MethodNotAllowed { allow } => (ALLOW, allow.clone()),
            Problem::TooFast(wait) => (RETRY_AFTER, whole_seconds(*wait).to_string()),
            Problem::Unavailable { retry_after_s, .. } => (RETRY_AFTER, retry_after_s.to_string()),
            _ => return None,
        })
    }

    /// A response of this problem, whatever its shape, with the header that belongs to it.
    pub(super) fn with_header(&self, mut response: Response) -> Response {
        if let Some((name, value)) = self.header()
            && let Ok(value) = HeaderValue::from_str(&value)
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, message) = self.facts();
        self.with_header(match &self {
            Problem::Unauthorized => (status, [(CONTENT_TYPE, TEXT)], message.to_owned()).into_response(),
            Problem::Forbidden | Problem::Internal => (status, [(CONTENT_TYPE, TEXT)], "").into_response(),
            Problem::Invalid(details) => shown(status, code, message, details),
            Problem::NotFound(Some(detail)) => {
                shown(status, code, message, std::slice::from_ref(detail.as_ref()))
            }
            _ => shown(status, code, message, &[]),
        })
    }
}

/// Never too few.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn shown(status: StatusCode, code: &'static str, message: &str, details: &[Detail]) -> Response {
    match serde_json::to_vec(&Shown { code, message, details }) {
        Ok(body) => (status, [(CONTENT_TYPE, JSON)], body).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, TEXT)], "").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_refuses_for_now_may_be_repeated() {
        for (error, status, retry_after) in [
            (StoreError::Full, 503, Some("30")),
            (StoreError::Busy, 503, Some("1")),
            (StoreError::Unreachable("db1".into()), 503, Some("2")),
            (StoreError::Closed, 503, Some("5")),
            (StoreError::Backend("secret path".into()), 500, None),
            (StoreError::Corrupt { what: "row" }, 500, None),
        ] {
            let response = Problem::from(error).into_response();
            let header = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!((response.status().as_u16(), header.as_deref()), (status, retry_after));
        }
    }
}
