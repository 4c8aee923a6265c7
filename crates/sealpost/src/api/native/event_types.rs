//! The catalogue of event types: `GET/POST /v1/webhooks/event-types`, `GET/PUT/DELETE .../{name}`.

use axum::http::StatusCode;
use axum::response::Response;
use sealpost_core::event_type::{EventType, EventTypeName, Origin};
use sealpost_core::limits::DESCRIPTION_BYTES;
use sealpost_core::minimise::SummaryForm;
use serde::Serialize;
use serde_json::Value;

use crate::api::call::Call;
use crate::api::fields::{Fields, boolean, text};
use crate::api::problem::{Location, Problem};
use crate::api::{answer, cursor};
use crate::app::event_types::EventTypeRefused;

/// Members that one summary form may remove.
const WITHOUT_MAX: usize = 64;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a EventTypeName,
    description: &'a str,
    schema: Option<&'a Value>,
    summary: Option<Without<'a>>,
    receive_all: bool,
}

#[derive(Serialize)]
struct Without<'a> {
    without: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    data: Vec<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(event_type: &'a EventType) -> Self {
        Self {
            name: &event_type.name,
            description: &event_type.description,
            schema: event_type.schema.as_ref(),
            summary: match &event_type.summary {
                SummaryForm::Without(members) => Some(Without { without: members }),
                SummaryForm::Unknown => None,
            },
            receive_all: event_type.receive_all,
        }
    }
}

/// By name; built-in types and the operator's.
pub(in crate::api) async fn list(call: Call) -> Result<Response, Problem> {
    let limit = call.query.limit()? as usize;
    let after =
        call.query.read("cursor", |text| cursor::decode_name(text).ok_or_else(|| "Invalid value".into()))?;
    let all = call.app().tenant(call.tenant()?).await?.event_types();
    let after = after.as_deref().unwrap_or_default();
    let first = all.partition_point(|entry| entry.event_type.name.as_str() <= after);
    let rest = all.get(first..).unwrap_or_default();
    let page = rest.get(..limit).unwrap_or(rest);
    let more = rest.len() > page.len();
    let next_cursor =
        page.last().filter(|_| more).map(|entry| cursor::encode_name(entry.event_type.name.as_str()));
    answer::ok(&List { data: page.iter().map(|entry| Shown::of(&entry.event_type)).collect(), next_cursor })
}

pub(in crate::api) async fn get(call: Call) -> Result<Response, Problem> {
    let entry = call.app().tenant(call.tenant()?).await?;
    let found = entry.event_type(call.param("name")).ok_or_else(|| no_such(&call))?;
    answer::ok(&Shown::of(&found.event_type))
}

pub(in crate::api) async fn create(mut call: Call) -> Result<Response, Problem> {
    let event_type = input(call.json().await?, None)?;
    let name = event_type.name.as_str();
    if call.app().tenant(call.tenant()?).await?.event_type(name).is_some() {
        return Err(Problem::Conflict(format!("`{name}` is registered already")));
    }
    let location = format!("{}/v1/webhooks/event-types/{name}", call.base);
    put(&call, &event_type).await?;
    answer::created(&location, &Shown::of(&event_type))
}

pub(in crate::api) async fn replace(mut call: Call) -> Result<Response, Problem> {
    let entry = call.app().tenant(call.tenant()?).await?;
    let found = entry.event_type(call.param("name")).ok_or_else(|| no_such(&call))?;
    let event_type = input(call.json().await?, Some(&found.event_type.name))?;
    put(&call, &event_type).await?;
    answer::json(StatusCode::OK, &Shown::of(&event_type))
}

pub(in crate::api) async fn delete(call: Call) -> Result<Response, Problem> {
    let name = EventTypeName::parse(call.param("name")).map_err(|_| no_such(&call))?;
    let deleted = call.app().delete_event_type(call.tenant()?, name, call.who()?).await;
    deleted.map_err(|refused| problem(&call, refused))?;
    Ok(answer::no_content())
}

async fn put(call: &Call, event_type: &EventType) -> Result<(), Problem> {
    let put = call.app().put_event_type(call.tenant()?, event_type.clone(), call.who()?).await;
    put.map_err(|refused| problem(call, refused))
}

fn no_such(call: &Call) -> Problem {
    Problem::no_such("name", call.param("name"))
}

fn problem(call: &Call, refused: EventTypeRefused) -> Problem {
    match refused {
        EventTypeRefused::Schema(_) => Problem::invalid(Location::Body, "schema", &refused, None),
        EventTypeRefused::BuiltIn(_) | EventTypeRefused::TooMany | EventTypeRefused::InUse(_) => {
            Problem::Conflict(refused.to_string())
        }
        EventTypeRefused::NotFound(_) => no_such(call),
        EventTypeRefused::Store(error) => error.into(),
    }
}

/// `named`: the type in the path of a `PUT`, whose body may repeat the name.
fn input(body: Value, named: Option<&EventTypeName>) -> Result<EventType, Problem> {
    let mut fields = Fields::of(body)?;
    let read = |value: &Value| match (EventTypeName::parse(text(value)?), named) {
        (Ok(given), Some(name)) if given != *name => Err("must be the name in the path".into()),
        (given, _) => given.map_err(|error| error.to_string()),
    };
    let name = match named {
        None => fields.required("name", read),
        Some(name) => {
            fields.optional("name", read);
            Some(name.clone())
        }
    };
    let description = fields.optional("description", |value| match text(value)? {
        text if text.len() <= DESCRIPTION_BYTES => Ok(text.to_owned()),
        _ => Err(format!("must be at most {DESCRIPTION_BYTES} bytes")),
    });
    let schema = fields.optional("schema", |value| Ok((!value.is_null()).then(|| value.clone())));
    let summary = fields.optional("summary", summary);
    let receive_all = fields.optional("receiveAll", boolean);
    fields.finish()?;
    Ok(EventType {
        // Whatever was missing was reported by `finish`.
        name: name.ok_or(Problem::Internal)?,
        origin: Origin::Operator,
        description: description.unwrap_or_default(),
        schema: schema.flatten(),
        summary: summary.unwrap_or_default(),
        receive_all: receive_all.unwrap_or(false),
    })
}

fn summary(value: &Value) -> Result<SummaryForm, String> {
    let wrong = || format!("must be null or {{\"without\":[...]}} with at most {WITHOUT_MAX} member names");
    if value.is_null() {
        return Ok(SummaryForm::Unknown);
    }
    let members =
        value.as_object().filter(|object| object.len() == 1).and_then(|object| object.get("without"));
    let names =
        members.and_then(Value::as_array).filter(|names| names.len() <= WITHOUT_MAX).ok_or_else(wrong)?;
    let names: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    names.map(SummaryForm::Without).ok_or_else(wrong)
}
