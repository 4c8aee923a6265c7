//! Reading events back: `GET /v1/webhooks/events` and `.../{id}`, the payload only where it may be seen.
//!
//! An administrator sees a payload as it was accepted. A subscriber sees what its webhook is entitled to: the same
//! as in the request it got, except that a webhook with `thin` payloads is told to come here for the whole.

use axum::response::Response;
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::{EventTypeName, OPENID_CREDENTIAL_ISSUED_SUMMARY};
use sealpost_core::id::{DeliveryId, EventId, WebhookId};
use sealpost_core::minimise::{
    MinimiseContext, MinimiseError, PayloadLevel, SummaryForm, derived_summary, minimise,
};
use sealpost_core::outcome::Outcome;
use sealpost_core::payload::Payload;
use sealpost_core::role::Permission;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::Webhook;
use sealpost_store::history::{EventDelivery, EventFilter, EventRecord, PayloadRead, PayloadState};
use serde::Serialize;
use serde_json::value::RawValue;

use super::publish::Derived;
use crate::api::call::Call;
use crate::api::problem::Problem;
use crate::api::{answer, cursor};
use crate::app::webhooks::WebhookRefused;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: EventId,
    r#type: &'a EventTypeName,
    timestamp: Timestamp,
    derived: Vec<Derived<'a>>,
    deliveries: Vec<DeliveryShown>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    payload: Option<PayloadShown>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryShown {
    id: DeliveryId,
    webhook_id: WebhookId,
    status: &'static str,
}

/// The text goes out as it is, numbers spelled as they came.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PayloadShown {
    payload: Option<Box<RawValue>>,
    payload_state: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    data: Vec<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl<'a> Shown<'a> {
    /// `only`: the webhook of a subscriber; of others' deliveries it learns nothing.
    fn of(event: &'a EventRecord, only: Option<WebhookId>) -> Self {
        let seen = |delivery: &&EventDelivery| only.is_none_or(|webhook| delivery.webhook == webhook);
        let delivery = |delivery: &EventDelivery| DeliveryShown {
            id: delivery.id,
            webhook_id: delivery.webhook,
            status: delivery.state.status().as_str(),
        };
        Self {
            id: event.id,
            r#type: &event.event_type,
            timestamp: event.timestamp,
            derived: if only.is_none() {
                event.derived.iter().map(Derived::of).collect()
            } else {
                Vec::new()
            },
            deliveries: event.deliveries.iter().filter(seen).map(delivery).collect(),
            payload: None,
        }
    }
}

pub(in crate::api) async fn list(call: Call) -> Result<Response, Problem> {
    let filter = EventFilter {
        event_type: call.query.read("type", |text| EventTypeName::parse(text).map_err(|e| e.to_string()))?,
        from: call.query.parsed("from")?,
        to: call.query.parsed("to")?,
    };
    let page = call.app().events(call.tenant()?, filter, call.query.page()?).await?;
    let next_cursor = cursor::next(&page, |event| (event.accepted_at, event.id));
    answer::ok(&List { data: page.rows.iter().map(|event| Shown::of(event, None)).collect(), next_cursor })
}

pub(in crate::api) async fn get(call: Call) -> Result<Response, Problem> {
    let id: EventId = call.id()?;
    let with_payload = call.query.read("include", |text| match text {
        "payload" => Ok(()),
        _ => Err("must be payload".into()),
    })?;
    let only = call.bound_to()?;
    let event = call.app().event(call.tenant()?, id).await?.ok_or_else(|| call.no_such())?;
    let mut shown = Shown::of(&event, only);
    if only.is_some() && shown.deliveries.is_empty() {
        return Err(call.no_such());
    }
    if with_payload.is_some() {
        shown.payload = Some(payload(&call, &event, only).await?);
    }
    answer::ok(&shown)
}

async fn payload(call: &Call, event: &EventRecord, only: Option<WebhookId>) -> Result<PayloadShown, Problem> {
    let caller = call.caller()?;
    if !caller.roles.iter().any(|role| role.may(Permission::ReadPayloads)) {
        return Err(Problem::Forbidden);
    }
    let webhook = match only {
        None => None,
        Some(id) => Some(sent_to(call, event, id).await?),
    };
    let (payload, state) = match call.app().read_payload(caller.tenant, event.id, &caller.who).await? {
        PayloadRead::Payload(payload) => (payload, PayloadState::Kept),
        PayloadRead::Gone(state) => return Ok(PayloadShown { payload: None, payload_state: name(state) }),
        PayloadRead::NotFound => return Err(call.no_such()),
    };
    let summary = call.app().tenant(caller.tenant).await?.event_type(event.event_type.as_str());
    let summary = summary.map_or(SummaryForm::Unknown, |entry| entry.event_type.summary.clone());
    let seen = entitled(event, &payload, webhook.as_ref(), &summary, &call.app().config.public_url);
    let text = seen.map_err(|error| {
        tracing::error!(event = %event.id, %error, "a payload could not be reduced to what its reader may see");
        Problem::Internal
    })?;
    let raw = RawValue::from_string(text).map_err(|_| Problem::Internal)?;
    Ok(PayloadShown { payload: Some(raw), payload_state: name(state) })
}

/// The subscriber's webhook, if the event may have reached it: by an attempt that ended, or by one that is under way now,
/// since a receiver may fetch the payload before it answers. What waits may still be cancelled, so its payload is
/// nobody's yet.
async fn sent_to(call: &Call, event: &EventRecord, id: WebhookId) -> Result<Webhook, Problem> {
    let tenant = call.tenant()?;
    let mut reached = false;
    for delivery in event.deliveries.iter().filter(|delivery| delivery.webhook == id) {
        let Some(detail) = call.app().delivery(tenant, delivery.id).await? else { continue };
        let under_way = usize::from(detail.delivery.attempts_used) > detail.attempts.len();
        if under_way || detail.attempts.iter().any(|attempt| may_have_reached(attempt.outcome)) {
            reached = true;
            break;
        }
    }
    if !reached {
        return Err(Problem::Forbidden);
    }
    call.app().webhook(tenant, id).await.map_err(|refused| match refused {
        WebhookRefused::Store(error) => error.into(),
        _ => Problem::Forbidden,
    })
}

/// The others end before the first byte of a request.
const fn may_have_reached(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Delivered
        | Outcome::HttpStatus
        | Outcome::Timeout
        | Outcome::Protocol
        | Outcome::Unknown => true,
        Outcome::Dns | Outcome::AddressRefused | Outcome::Connect | Outcome::Tls => false,
    }
}

/// What the reader may see of a payload; `webhook` is a subscriber's.
fn entitled(
    event: &EventRecord,
    payload: &Payload,
    webhook: Option<&Webhook>,
    summary: &SummaryForm,
    public_url: &str,
) -> Result<String, MinimiseError> {
    // A summary shares the stored payload of the event it was derived from; the credential is not part of it.
    let reduced;
    let payload = if event.event_type.as_str() == OPENID_CREDENTIAL_ISSUED_SUMMARY {
        reduced = derived_summary(payload)?;
        &reduced
    } else {
        payload
    };
    let Some(webhook) = webhook else { return Ok(payload.as_str().to_owned()) };
    let level = match &webhook.settings.payload {
        PayloadLevel::Thin => &PayloadLevel::Full,
        other => other,
    };
    let context = MinimiseContext {
        summary,
        event_id: &event.id.to_string(),
        href: &format!("{public_url}/v1/webhooks/events/{}", event.id),
        truvera: webhook.dialect == Dialect::Truvera,
    };
    Ok(minimise(payload, level, &context)?.into_owned())
}

const fn name(state: PayloadState) -> &'static str {
    match state {
        PayloadState::Kept => "kept",
        PayloadState::Pruned => "pruned",
        PayloadState::Erased => "erased",
    }
}
