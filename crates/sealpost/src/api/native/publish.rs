//! `POST /v1/webhooks/events`: one event, an array, NDJSON or CloudEvents; and the test event of a webhook.
//!
//! 202 only after everything is on stable storage; 200 for what was accepted before.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::EventId;
use sealpost_core::limits::{IDEMPOTENCY_KEY_BYTES, REQUEST_BYTES};
use sealpost_core::publish::{BodyKind, Publications, PublishError, parse};
use sealpost_core::time::Timestamp;
use sealpost_store::inbox::{AcceptedEvent, DerivedEvent};
use serde::Serialize;
use serde_json::Value;

use crate::api::call::Call;
use crate::api::fields::{Fields, text};
use crate::api::problem::{Location, Problem};
use crate::api::{answer, body};
use crate::app::events::PublishRefused;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Larger bodies are parsed beside the runtime's own threads: reading 16 MiB takes a tenth of a second.
const PARSED_IN_PLACE_BYTES: usize = 256 * 1024;

#[derive(Serialize)]
struct Shown<'a> {
    id: EventId,
    r#type: &'a EventTypeName,
    timestamp: Timestamp,
    deliveries: u32,
    derived: Vec<Derived<'a>>,
}

/// An event made from another one, with the number of its deliveries.
#[derive(Serialize)]
pub(super) struct Derived<'a> {
    id: EventId,
    r#type: &'a EventTypeName,
    deliveries: u32,
}

impl<'a> Derived<'a> {
    pub(super) fn of(event: &'a DerivedEvent) -> Self {
        Self { id: event.id, r#type: &event.event_type, deliveries: event.deliveries }
    }
}

impl<'a> Shown<'a> {
    fn of(event: &'a AcceptedEvent) -> Self {
        Self {
            id: event.id,
            r#type: &event.event_type,
            timestamp: event.timestamp,
            deliveries: event.deliveries,
            derived: event.derived.iter().map(Derived::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct Several<'a> {
    data: Vec<Shown<'a>>,
}

pub(in crate::api) async fn publish(mut call: Call) -> Result<Response, Problem> {
    let tenant = call.tenant()?;
    let kind = body::kind(&call.headers).ok_or_else(unsupported)?;
    let key = idempotency_key(&call.headers)?;
    let whole = call.whole(REQUEST_BYTES).await?;
    let (whole, parsed) = if whole.bytes.len() <= PARSED_IN_PLACE_BYTES {
        let parsed = parse(kind, &whole.bytes);
        (whole, parsed)
    } else {
        let parsing = tokio::task::spawn_blocking(move || {
            let parsed = parse(kind, &whole.bytes);
            (whole, parsed)
        });
        parsing.await.map_err(|_| Problem::Internal)?
    };
    let publications: Publications = parsed.map_err(malformed)?;
    let several = publications.several;
    let published =
        call.app().publish(tenant, publications, key).await.map_err(|error| refused(error, Some(kind)))?;
    // What was parsed of the body is in memory until here.
    drop(whole);
    call.state.count_accepted(&published.events);
    let status = if published.repeated { StatusCode::OK } else { StatusCode::ACCEPTED };
    match published.events.as_slice() {
        [event] if !several => answer::json(status, &Shown::of(event)),
        events => answer::json(status, &Several { data: events.iter().map(Shown::of).collect() }),
    }
}

/// `POST /v1/webhooks/{id}/test`
pub(in crate::api) async fn test(mut call: Call) -> Result<Response, Problem> {
    let webhook = call.webhook().await?;
    let event_type = match call.json_if_any().await? {
        None => None,
        Some(body) => {
            let mut fields = Fields::of(body)?;
            let name = |value: &Value| EventTypeName::parse(text(value)?).map_err(|error| error.to_string());
            let event_type = fields.optional("type", name);
            fields.finish()?;
            event_type
        }
    };
    let sent = call.app().send_test(call.tenant()?, webhook, event_type).await;
    let event = sent.map_err(|error| refused(error, None))?.ok_or_else(|| call.no_such())?;
    call.state.count_accepted(std::slice::from_ref(&event));
    answer::json(StatusCode::ACCEPTED, &Shown::of(&event))
}

fn unsupported() -> Problem {
    let known = "application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json";
    Problem::UnsupportedMediaType(format!("events are one of {known}, in UTF-8"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let visible = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(bytes) {
        Ok(key) if visible && bytes.len() <= IDEMPOTENCY_KEY_BYTES && given.next().is_none() => {
            Ok(Some(key.into()))
        }
        _ => {
            let msg = format!("must be one header of 1 to {IDEMPOTENCY_KEY_BYTES} visible ASCII characters");
            let value = String::from_utf8_lossy(bytes).into_owned();
            Err(Problem::invalid(Location::Headers, "Idempotency-Key", msg, Some(value.into())))
        }
    }
}

/// Values are not repeated: they may be personal data.
fn malformed(error: PublishError) -> Problem {
    match error {
        PublishError::Invalid { param, msg } => Problem::invalid(Location::Body, &param, msg, None),
        PublishError::TooLarge(message) => Problem::TooLarge(message),
        PublishError::Malformed(message) => Problem::Refused(message),
    }
}

fn refused(error: PublishRefused, kind: Option<BodyKind>) -> Problem {
    match error {
        PublishRefused::Invalid { param, msg } => {
            // CloudEvents calls the payload `data`.
            let cloud = matches!(kind, Some(BodyKind::CloudEvent | BodyKind::CloudEventBatch));
            let param = match param.strip_suffix("payload") {
                Some(place) if cloud => format!("{place}data"),
                _ => param,
            };
            Problem::invalid(Location::Body, &param, msg, None)
        }
        PublishRefused::TooLarge(message) => Problem::TooLarge(message),
        PublishRefused::TooFast(wait) => Problem::TooFast(wait),
        PublishRefused::Conflict(message) => Problem::Conflict(message),
        PublishRefused::Store(error) => error.into(),
    }
}
