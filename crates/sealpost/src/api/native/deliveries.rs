//! Deliveries: looking at them and their attempts, redelivering, cancelling.
//!
//! A subscriber sees those of its own webhook, and others not even as existing. What a receiver answered is shown to
//! whoever may read excerpts: it may be made of a payload.

use axum::http::StatusCode;
use axum::response::Response;
use sealpost_core::delivery::{AttemptRecord, DeliveryRecord, Status};
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{DeliveryId, EventId, WebhookId};
use sealpost_core::outcome::Outcome;
use sealpost_core::role::Permission;
use sealpost_core::time::Timestamp;
use sealpost_store::history::{BulkFilter, BulkRedelivery, DeliveryDetail, DeliveryFilter, Redelivered};
use serde::Serialize;
use serde_json::Value;

use crate::api::call::Call;
use crate::api::fields::{Fields, parsed, text};
use crate::api::problem::Problem;
use crate::api::{answer, cursor};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: DeliveryId,
    event_id: EventId,
    r#type: &'a str,
    webhook_id: WebhookId,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Timestamp>,
    attempts_used: u8,
    test: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptShown<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptShown<'a> {
    number: u8,
    started_at: Timestamp,
    duration_ms: u32,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_excerpt: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    data: Vec<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Count {
    count: u64,
}

impl<'a> Shown<'a> {
    fn of(delivery: &'a DeliveryRecord) -> Self {
        Self {
            id: delivery.id,
            event_id: delivery.event,
            r#type: &delivery.event_type,
            webhook_id: delivery.webhook,
            status: delivery.state.status(),
            reason: delivery.state.reason(),
            created_at: delivery.created_at,
            next_attempt_at: delivery.due_at,
            attempts_used: delivery.attempts_used,
            test: delivery.test,
            attempts: None,
        }
    }

    fn detailed(detail: &'a DeliveryDetail, excerpts: bool) -> Self {
        let attempts = detail.attempts.iter().map(|attempt| AttemptShown::of(attempt, excerpts)).collect();
        Self { attempts: Some(attempts), ..Self::of(&detail.delivery) }
    }
}

impl<'a> AttemptShown<'a> {
    fn of(attempt: &'a AttemptRecord, excerpts: bool) -> Self {
        let excerpt = attempt.excerpt.as_ref().filter(|_| excerpts);
        Self {
            number: attempt.number,
            started_at: attempt.started_at,
            duration_ms: attempt.took_ms,
            outcome: attempt.outcome,
            status_code: attempt.http_status,
            error: attempt.error.as_deref(),
            response_excerpt: excerpt.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

fn status(text: &str) -> Result<Status, String> {
    Status::parse(text).ok_or_else(|| "must be pending, delivered, failed or cancelled".into())
}

pub(in crate::api) async fn list(call: Call) -> Result<Response, Problem> {
    let asked = call.webhook_in_query("webhookId").await?;
    let webhook = match (call.bound_to()?, asked) {
        (Some(own), Some(asked)) if own != asked => {
            return Err(Problem::no_such("webhookId", call.query.text("webhookId").unwrap_or_default()));
        }
        (own, asked) => own.or(asked),
    };
    let filter = DeliveryFilter {
        webhook,
        event: call.query.parsed("eventId")?,
        status: call.query.read("status", status)?,
        event_type: call.query.read("type", |text| EventTypeName::parse(text).map_err(|e| e.to_string()))?,
        from: call.query.parsed("from")?,
        to: call.query.parsed("to")?,
    };
    let page = call.app().deliveries(call.tenant()?, filter, call.query.page()?).await?;
    let next_cursor = cursor::next(&page, |delivery| (delivery.created_at, delivery.id));
    answer::ok(&List { data: page.rows.iter().map(Shown::of).collect(), next_cursor })
}

pub(in crate::api) async fn get(call: Call) -> Result<Response, Problem> {
    let detail = detail(&call, call.id()?).await?;
    if call.bound_to()?.is_some_and(|own| own != detail.delivery.webhook) {
        return Err(call.no_such());
    }
    let excerpts = call.caller()?.roles.may(Permission::ReadExcerpts);
    answer::ok(&Shown::detailed(&detail, excerpts))
}

async fn detail(call: &Call, id: DeliveryId) -> Result<DeliveryDetail, Problem> {
    call.app().delivery(call.tenant()?, id).await?.ok_or_else(|| call.no_such())
}

pub(in crate::api) async fn redeliver(call: Call) -> Result<Response, Problem> {
    let made = match call.app().redeliver(call.tenant()?, call.id()?, call.who()?).await? {
        Redelivered::Created { id, .. } => id,
        Redelivered::NotFound => return Err(call.no_such()),
        Redelivered::PayloadGone => return Err(Problem::Conflict("the payload of the event is gone".into())),
        Redelivered::WebhookUnavailable => return Err(unavailable()),
    };
    answer::json(StatusCode::ACCEPTED, &Shown::of(&detail(&call, made).await?.delivery))
}

/// `POST /v1/webhooks/{id}/redeliver`: many of one webhook.
pub(in crate::api) async fn redeliver_all(mut call: Call) -> Result<Response, Problem> {
    let dry_run = call.query.flag("dryRun")?;
    let webhook = call.webhook().await?;
    let filter = bulk_filter(call.json().await?)?;
    match call.app().redeliver_all(call.tenant()?, webhook, filter, dry_run, call.who()?).await? {
        BulkRedelivery::Counted { count, .. } => answer::json(StatusCode::ACCEPTED, &Count { count }),
        BulkRedelivery::NotFound => Err(call.no_such()),
        BulkRedelivery::WebhookUnavailable => Err(unavailable()),
    }
}

fn unavailable() -> Problem {
    Problem::Conflict("the webhook is disabled or deleted".into())
}

fn bulk_filter(body: Value) -> Result<BulkFilter, Problem> {
    let mut fields = Fields::of(body)?;
    let from = fields.optional("from", parsed::<Timestamp>);
    let to = fields.optional("to", |value| match parsed::<Timestamp>(value)? {
        to if from.is_some_and(|from| to < from) => Err("must not be before `from`".into()),
        to => Ok(to),
    });
    let status = fields.optional("status", |value| match status(text(value)?)? {
        // They are on their way already.
        Status::Pending => Err("must be delivered, failed or cancelled".into()),
        ended => Ok(ended),
    });
    fields.finish()?;
    Ok(BulkFilter { from, to, status })
}

pub(in crate::api) async fn cancel(call: Call) -> Result<Response, Problem> {
    let id = call.id()?;
    let state = call.app().cancel(call.tenant()?, id, call.who()?).await?.ok_or_else(|| call.no_such())?;
    match state.status() {
        // Pending: an attempt is under way; whatever comes of it, there will be no other.
        Status::Cancelled | Status::Pending => answer::ok(&Shown::of(&detail(&call, id).await?.delivery)),
        ended => Err(Problem::Conflict(format!("the delivery has ended as {ended}"))),
    }
}
