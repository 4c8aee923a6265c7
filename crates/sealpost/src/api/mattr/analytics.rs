//! `GET /v1/events` and its older paths, and `GET /v1/analytics/event-types`: what happened in the caller's tenant.

use std::str::FromStr;

use axum::response::Response;
use sealpost_core::analytics::{Among, AnalyticFilter, AnalyticType, Phase, RequestId, Step};
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{AnalyticId, ClientId, DeliveryId, EventId, WebhookId};
use sealpost_core::time::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::call::Call;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::{answer, cursor};
use crate::app::analytics::{AnalyticData, AnalyticEvent};

/// In cursors.
const TIME: &str = "timestamp";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: AnalyticId,
    r#type: &'static str,
    timestamp: Timestamp,
    category: &'static str,
    request_id: RequestId,
    metadata: Metadata,
    data: Option<Data>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
}

/// Always there, and always empty: what MATTR VII's holds is not published.
#[derive(Serialize)]
struct Metadata {}

#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Call(Value),
    Received(Received),
    Attempted(Attempted),
}

#[derive(Serialize)]
struct Received {
    id: EventId,
    r#type: EventTypeName,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attempted {
    delivery_id: DeliveryId,
    webhook_id: WebhookId,
    event_id: EventId,
    event_type: EventTypeName,
    attempt: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    data: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub(in crate::api) async fn list(call: Call) -> Result<Response, Problem> {
    let filter = filter(&call.query)?;
    let page = call.query.page_by(TIME)?;
    let page = call.app().analytic_events(call.caller()?, filter, page).await?;
    let next_cursor = cursor::next_by(TIME, &page, |event| (event.at, event.id));
    let data = page.rows.into_iter().map(shown).collect::<Result<_, _>>()?;
    answer::ok(&List { data, next_cursor })
}

pub(in crate::api) async fn types(_call: Call) -> Result<Response, Problem> {
    let types =
        AnalyticType::all().map(|kind| json!({"type": kind.as_str(), "category": kind.category().as_str()}));
    answer::ok(&json!({ "data": types.collect::<Vec<_>>() }))
}

fn filter(query: &Query) -> Result<AnalyticFilter, Problem> {
    let name = |text: &str| match text {
        "" => Err("must not be empty".to_owned()),
        // What this service does not know matches nothing: MATTR VII has many more.
        name => Ok(name.to_owned()),
    };
    Ok(AnalyticFilter {
        ids: query.list("ids", parsed)?,
        requests: query.list("requestIds", parsed)?,
        categories: query.list("categories", name)?,
        types: query.list("types", name)?,
        from: query.parsed("dateFrom")?,
        to: query.parsed("dateTo")?,
        management_users: query.list("managementUserIds", |text| one_of(text, name))?.map(among),
        clients: query
            .list("clientIds", |text| {
                one_of(text, |text| {
                    text.parse()
                        .map_err(|_| "must be a UUID, none (without a client) or * (with any)".to_owned())
                })
            })?
            .map(among),
    })
}

fn parsed<T: FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| error.to_string())
}

enum OneOf<Id> {
    None,
    Any,
    Id(Id),
}

fn one_of<Id>(text: &str, read: impl Fn(&str) -> Result<Id, String>) -> Result<OneOf<Id>, String> {
    match text {
        "none" => Ok(OneOf::None),
        "*" => Ok(OneOf::Any),
        text => read(text).map(OneOf::Id),
    }
}

fn among<Id>(values: Vec<OneOf<Id>>) -> Among<Id> {
    let mut among = Among::default();
    for value in values {
        match value {
            OneOf::None => among.none = true,
            OneOf::Any => among.any = true,
            OneOf::Id(id) => among.named.push(id),
        }
    }
    among
}

fn shown(event: AnalyticEvent) -> Result<Shown, Problem> {
    let AnalyticEvent { id, at, kind, request, client, data } = event;
    Ok(Shown {
        id,
        r#type: kind.as_str(),
        timestamp: at,
        category: kind.category().as_str(),
        request_id: request,
        metadata: Metadata {},
        data: data.map(|data| of(kind, data)).transpose()?,
        client_id: client,
    })
}

fn of(kind: AnalyticType, data: AnalyticData) -> Result<Data, Problem> {
    Ok(match data {
        AnalyticData::Call(data) => Data::Call(data),
        AnalyticData::Received { event, event_type, timestamp, payload } => {
            let payload = payload
                .map(|payload| RawValue::from_string(payload.as_str().to_owned()))
                .transpose()
                .map_err(|_| Problem::Internal)?;
            Data::Received(Received { id: event, r#type: event_type, timestamp, payload })
        }
        AnalyticData::Attempted { event, event_type, delivery, webhook, attempt, state } => {
            let ended = matches!(
                kind,
                AnalyticType::Delivery(Step::ProcessSuccess | Step::ProcessFail)
                    | AnalyticType::Call(_, Phase::Success | Phase::Fail)
            );
            // Why the delivery is over, and how its last attempt went.
            let error = (kind == AnalyticType::Delivery(Step::ProcessFail)).then(|| {
                let message = attempt.error.as_deref().unwrap_or(attempt.outcome.as_str());
                json!({"message": message, "type": state.reason().unwrap_or("failed")})
            });
            Data::Attempted(Attempted {
                delivery_id: delivery,
                webhook_id: webhook,
                event_id: event,
                event_type,
                attempt: attempt.number,
                status_code: attempt.http_status.filter(|_| ended),
                error,
            })
        }
    })
}
