//! Erasing payloads: `DELETE /v1/webhooks/events/{id}/payload` and `POST /v1/webhooks/erasures`.
//!
//! Both answer when nothing in the store opens any more.

use axum::http::StatusCode;
use axum::response::Response;
use sealpost_core::id::{ErasureId, EventId};
use sealpost_core::limits::{EVENTS_PER_REQUEST, SUBJECT_BYTES};
use sealpost_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::api::answer;
use crate::api::call::Call;
use crate::api::fields::{Fields, parsed, text};
use crate::api::problem::{Location, Problem};
use crate::app::erasures::EraseWhat;

#[derive(Serialize)]
struct Shown {
    id: ErasureId,
    count: u64,
}

pub(in crate::api) async fn erase_one(call: Call) -> Result<Response, Problem> {
    let id: EventId = call.id()?;
    let caller = call.caller()?;
    if call.app().event(caller.tenant, id).await?.is_none() {
        return Err(call.no_such());
    }
    call.app().erase(caller.tenant, EraseWhat::Events(vec![id]), &caller.who).await?;
    Ok(answer::no_content())
}

pub(in crate::api) async fn erase(mut call: Call) -> Result<Response, Problem> {
    let what = what(call.json().await?)?;
    let caller = call.caller()?;
    let (id, count) = call.app().erase(caller.tenant, what, &caller.who).await?;
    answer::json(StatusCode::ACCEPTED, &Shown { id, count })
}

/// Exactly one of `{subject}`, `{eventIds}` and `{from, to}`.
fn what(body: Value) -> Result<EraseWhat, Problem> {
    let mut fields = Fields::of(body)?;
    let forms = [fields.has("subject"), fields.has("eventIds"), fields.has("from") || fields.has("to")];
    let what = match forms {
        [true, false, false] => fields.required("subject", subject).map(EraseWhat::Subject),
        [false, true, false] => {
            fields.list("eventIds", parsed::<EventId>, some_but_not_too_many).map(EraseWhat::Events)
        }
        [false, false, true] => {
            let from = fields.required("from", parsed::<Timestamp>);
            let to = fields.required("to", |value| match parsed::<Timestamp>(value)? {
                to if from.is_some_and(|from| to < from) => Err("must not be before `from`".into()),
                to => Ok(to),
            });
            from.zip(to).map(|(from, to)| EraseWhat::Range { from, to })
        }
        _ => {
            let msg = "must hold exactly one of `subject`, `eventIds`, and `from` with `to`";
            return Err(Problem::invalid(Location::Body, "", msg, None));
        }
    };
    fields.finish()?;
    // Whatever was wrong was reported by `finish`.
    what.ok_or(Problem::Internal)
}

fn subject(value: &Value) -> Result<String, String> {
    match text(value)? {
        subject if (1..=SUBJECT_BYTES).contains(&subject.len()) => Ok(subject.into()),
        _ => Err(format!("must be 1 to {SUBJECT_BYTES} bytes")),
    }
}

fn some_but_not_too_many(ids: &[EventId]) -> Result<(), (usize, String)> {
    if (1..=EVENTS_PER_REQUEST).contains(&ids.len()) {
        Ok(())
    } else {
        Err((usize::MAX, format!("must hold 1 to {EVENTS_PER_REQUEST} event ids")))
    }
}
