//! Reading request bodies: bounded in size, in time and in memory taken by all callers together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use sealpost_core::json::{MAX_DEPTH, normalise};
use sealpost_core::limits::{REQUEST_BYTES, SMALL_REQUEST_BYTES};
use sealpost_core::publish::BodyKind;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// Bodies of all calls together: sixteen of the largest at once, or many thousand common ones.
const BODIES_KIB: usize = 16 * REQUEST_BYTES / 1024;
/// A caller waits this long for room before it is told to come back.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
/// A body arrives within this, or its room goes to somebody else.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// Room for bodies in memory, shared by all calls.
#[derive(Clone, Debug)]
pub(super) struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_KIB)))
    }
}

/// A whole body. Its room is given back when this is dropped.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

pub(super) async fn read(body: Body, limit: usize, budget: &BodyBudget) -> Result<Whole, Problem> {
    let too_large = || Problem::TooLarge(format!("the body must be at most {limit} bytes"));
    let declared = body.size_hint();
    if declared.lower() > limit as u64 {
        return Err(too_large());
    }
    let most = declared.upper().map_or(limit, |upper| upper.min(limit as u64) as usize);
    let room = Arc::clone(&budget.0).acquire_many_owned(most as u32 / 1024 + 1);
    let busy = Problem::Unavailable { message: "The service is busy", retry_after_s: 1 };
    let Ok(Ok(room)) = tokio::time::timeout(ROOM_WITHIN, room).await else { return Err(busy) };
    let Ok(collected) = tokio::time::timeout(ARRIVES_WITHIN, Limited::new(body, limit).collect()).await
    else {
        return Err(Problem::TooSlow);
    };
    match collected {
        Ok(collected) => Ok(Whole { bytes: collected.to_bytes(), _room: room }),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Problem::Refused("the body ended early".into())),
    }
}

/// The `Content-Type`, if it is one of those that Sealpost reads.
pub(super) fn kind(headers: &HeaderMap) -> Option<BodyKind> {
    BodyKind::of(headers.get(CONTENT_TYPE)?.to_str().ok()?)
}

pub(super) async fn json(body: Body, headers: &HeaderMap, budget: &BodyBudget) -> Result<Value, Problem> {
    only_json(headers)?;
    parse(&read(body, SMALL_REQUEST_BYTES, budget).await?.bytes)
}

/// An empty body is nothing, whatever its type.
pub(super) async fn json_if_any(
    body: Body,
    headers: &HeaderMap,
    budget: &BodyBudget,
) -> Result<Option<Value>, Problem> {
    let whole = read(body, SMALL_REQUEST_BYTES, budget).await?;
    if whole.bytes.is_empty() {
        return Ok(None);
    }
    only_json(headers)?;
    parse(&whole.bytes).map(Some)
}

fn only_json(headers: &HeaderMap) -> Result<(), Problem> {
    match kind(headers) {
        Some(BodyKind::Json) => Ok(()),
        _ => Err(Problem::UnsupportedMediaType("the body must be application/json in UTF-8".into())),
    }
}

/// Strict: UTF-8, one value, bounded depth, no member twice.
fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let refused =
        |why: &dyn std::fmt::Display| Problem::Refused(format!("the body is not acceptable JSON: {why}"));
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::Refused(format!("the body is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    if text.trim().is_empty() {
        return Err(Problem::Refused("the body is empty".into()));
    }
    let normal = normalise(text, MAX_DEPTH).map_err(|error| refused(&error))?;
    serde_json::from_str(&normal).map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> String {
        match parse(bytes) {
            Ok(value) => value.to_string(),
            Err(Problem::Refused(message)) => message,
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_strictly_json_is_refused() {
        let deep = "[".repeat(100_000);
        for (bytes, want) in [
            (&b" {\"a\" : 1} "[..], r#"{"a":1}"#),
            (b"", "the body is empty"),
            (b" \n", "the body is empty"),
            (b"\xff{}", "the body is not UTF-8 at byte 0"),
            (br#"{"a":1,"a":2}"#, "the body is not acceptable JSON: repeated member name `/a` at byte 7"),
            (
                br#"{"a":1,"\u0061":2}"#,
                "the body is not acceptable JSON: repeated member name `/a` at byte 7",
            ),
            (b"{} {}", "the body is not acceptable JSON: text after the end of the value at byte 3"),
            (b"{'a':1}", "the body is not acceptable JSON: expected a member name or `}` at byte 1"),
            (b"[1e999]", "the body is not acceptable JSON: number out of range at line 1 column 6"),
            (
                deep.as_bytes(),
                "the body is not acceptable JSON: more than 64 nested arrays and objects at byte 64",
            ),
        ] {
            assert_eq!(said(bytes), want);
        }
    }
}
