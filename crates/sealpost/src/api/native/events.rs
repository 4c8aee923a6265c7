//! Reading events back: `GET /v1/webhooks/events` and `.../{id}`, the payload only where it may be seen.

use axum::response::Response;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{DeliveryId, EventId, WebhookId};
use sealpost_core::role::Permission;
use sealpost_core::time::Timestamp;
use sealpost_store::history::{EventDelivery, EventFilter, EventRecord, PayloadState};
use serde::Serialize;
use serde_json::value::RawValue;

use super::publish::Derived;
use crate::api::call::Call;
use crate::api::problem::Problem;
use crate::api::{answer, cursor};
use crate::app::payloads::{PayloadRefused, PayloadSeen};

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
    if !caller.roles.may(Permission::ReadPayloads) {
        return Err(Problem::Forbidden);
    }
    let only = only.as_ref().map(std::slice::from_ref);
    match call.app().show_payload(caller.tenant, event, only, &caller.who).await {
        Ok(PayloadSeen::Text(text)) => {
            let raw = RawValue::from_string(text.into_revealed()).map_err(|_| Problem::Internal)?;
            Ok(PayloadShown { payload: Some(raw), payload_state: name(PayloadState::Kept) })
        }
        Ok(PayloadSeen::Gone(state)) => Ok(PayloadShown { payload: None, payload_state: name(state) }),
        Err(PayloadRefused::NotSent) => Err(Problem::Forbidden),
        Err(PayloadRefused::NotFound) => Err(call.no_such()),
        Err(PayloadRefused::Unreadable) => Err(Problem::Internal),
        Err(PayloadRefused::Store(error)) => Err(error.into()),
    }
}

const fn name(state: PayloadState) -> &'static str {
    match state {
        PayloadState::Kept => "kept",
        PayloadState::Pruned => "pruned",
        PayloadState::Erased => "erased",
    }
}
