//! Reading request bodies: bounded in size, in time and in memory taken by all callers together.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use sealpost_core::json::{MAX_DEPTH, normalise};
use sealpost_core::limits::SMALL_REQUEST_BYTES;
use sealpost_core::publish::BodyKind;
use serde_json::Value;

use super::budget::Room;
use super::problem::Problem;

/// A body arrives within this, or its room goes to somebody else.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);
/// Enough for `{}` and white space around it.
const NOTHING_BYTES: usize = 64;

/// A whole body. Its room is given back when this is dropped.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    _room: Room,
}

/// Reads a body of at most `limit` bytes, paying for each byte when it is there: one that is only announced, or
/// comes slowly, takes no room from others.
pub(super) async fn read(body: Body, limit: usize, room: Room) -> Result<Whole, Problem> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    tokio::time::timeout(ARRIVES_WITHIN, collected(body, limit, room)).await.unwrap_or(Err(Problem::TooSlow))
}

fn too_large(limit: usize) -> Problem {
    Problem::TooLarge(format!("the body must be at most {limit} bytes"))
}

async fn collected(mut body: Body, limit: usize, mut room: Room) -> Result<Whole, Problem> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::Refused("the body ended early".into()))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - whole.len() {
            return Err(too_large(limit));
        }
        if !room.take(data.len()) {
            return Err(Problem::Unavailable { message: "The service is busy", retry_after_s: 1 });
        }
        whole.extend_from_slice(&data);
    }
    Ok(Whole { bytes: whole.freeze(), _room: room })
}

/// For calls without a body: `{}`, which some clients always send, is none.
pub(super) async fn nothing(body: Body, room: Room) -> Result<(), Problem> {
    let refused = || Problem::Refused("this call takes no body".into());
    let whole = match read(body, NOTHING_BYTES, room).await {
        Err(Problem::TooLarge(_)) => return Err(refused()),
        other => other?,
    };
    let text = whole.bytes.trim_ascii();
    let inner = text.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    if inner.unwrap_or(text).trim_ascii().is_empty() { Ok(()) } else { Err(refused()) }
}

/// Bodies are read as they come: nothing is unpacked.
pub(super) fn not_encoded(headers: &HeaderMap) -> Result<(), Problem> {
    let lines = headers.get_all(CONTENT_ENCODING).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    for line in lines {
        let mut codings = line.split(',').map(str::trim).filter(|coding| !coding.is_empty());
        if let Some(coding) = codings.find(|coding| !coding.eq_ignore_ascii_case("identity")) {
            let coding: String = coding.chars().take(64).collect();
            let message = format!("the Content-Encoding `{coding}` is not read; send the body as it is");
            return Err(Problem::UnsupportedMediaType(message));
        }
    }
    Ok(())
}

/// The `Content-Type`, if it is one of those that Sealpost reads.
pub(super) fn kind(headers: &HeaderMap) -> Option<BodyKind> {
    BodyKind::of(headers.get(CONTENT_TYPE)?.to_str().ok()?)
}

pub(super) async fn json(body: Body, headers: &HeaderMap, room: Room) -> Result<Value, Problem> {
    only_json(headers)?;
    parse(&read(body, SMALL_REQUEST_BYTES, room).await?.bytes)
}

/// An empty body is nothing, whatever its type.
pub(super) async fn json_if_any(
    body: Body,
    headers: &HeaderMap,
    room: Room,
) -> Result<Option<Value>, Problem> {
    let whole = read(body, SMALL_REQUEST_BYTES, room).await?;
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
