//! What a publisher sends, parsed: one event, an array, NDJSON, or CloudEvents 1.0 (structured or batch).
//!
//! Everything that can be judged from the text alone is judged here; whether the type is registered is the
//! catalogue's to say. Errors name the member and, in a batch, its position (`[3].timestamp`).

use std::str::FromStr;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event_type::EventTypeName;
use crate::id::EventId;
use crate::limits::{EVENTS_PER_REQUEST, SUBJECT_BYTES, SUBJECTS_PER_EVENT};
use crate::payload::{Payload, PayloadError};
use crate::time::Timestamp;

/// One event as a publisher described it.
#[derive(Clone, Debug)]
pub struct Publication {
    pub id: Option<EventId>,
    pub event_type: EventTypeName,
    pub payload: Payload,
    pub timestamp: Option<Timestamp>,
    pub subjects: Vec<String>,
    /// CloudEvents: `source` and `id`, which name the event for repeats.
    pub key: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/json`: one object, or an array.
    Json,
    /// `application/x-ndjson`
    Ndjson,
    /// `application/cloudevents+json`
    CloudEvent,
    /// `application/cloudevents-batch+json`
    CloudEventBatch,
}

impl BodyKind {
    /// From a `Content-Type`; parameters such as `charset=utf-8` are allowed, another charset is not.
    pub fn of(content_type: &str) -> Option<Self> {
        let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let foreign_charset =
            parameters.split(';').filter_map(|p| p.trim().split_once('=')).any(|(name, value)| {
                name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            });
        if foreign_charset {
            return None;
        }
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/json" => Some(BodyKind::Json),
            "application/x-ndjson" => Some(BodyKind::Ndjson),
            "application/cloudevents+json" => Some(BodyKind::CloudEvent),
            "application/cloudevents-batch+json" => Some(BodyKind::CloudEventBatch),
            _ => None,
        }
    }
}

/// A parsed request: one event answered alone, or several answered as a list.
#[derive(Clone, Debug)]
pub struct Publications {
    pub events: Vec<Publication>,
    pub several: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("{msg}")]
    Invalid { param: String, msg: String },
    /// An event is too large.
    #[error("{0}")]
    TooLarge(String),
    /// Not even JSON, or not UTF-8.
    #[error("{0}")]
    Malformed(String),
}

pub fn parse(kind: BodyKind, body: &[u8]) -> Result<Publications, PublishError> {
    let text = std::str::from_utf8(body)
        .map_err(|e| PublishError::Malformed(format!("the body is not UTF-8 at byte {}", e.valid_up_to())))?;
    match kind {
        BodyKind::Json if text.trim_start().starts_with('[') => several(array(text)?, parse_native),
        BodyKind::Json => one(text, parse_native),
        BodyKind::Ndjson => {
            // A final line end is not a further line; an empty line in between is an error of its own.
            let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
            several(lines, parse_native)
        }
        BodyKind::CloudEvent => one(text, parse_cloud_event),
        BodyKind::CloudEventBatch => several(array(text)?, parse_cloud_event),
    }
}

fn array(text: &str) -> Result<Vec<&str>, PublishError> {
    begins_with('[', text, "must be an array of event objects")?;
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(malformed)?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

/// JSON of another kind is told apart from what is not JSON at all, and never repeated.
fn begins_with(first: char, text: &str, msg: &str) -> Result<(), PublishError> {
    if text.trim_start().starts_with(first) {
        return Ok(());
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Err(invalid("", msg)),
        Err(error) => Err(malformed(error)),
    }
}

fn malformed(error: serde_json::Error) -> PublishError {
    PublishError::Malformed(format!("the body is not JSON: {error}"))
}

type ParseOne = fn(&str) -> Result<Publication, PublishError>;

fn one(text: &str, parse: ParseOne) -> Result<Publications, PublishError> {
    Ok(Publications { events: vec![parse(text)?], several: false })
}

fn several(texts: Vec<&str>, parse: ParseOne) -> Result<Publications, PublishError> {
    if texts.is_empty() {
        return Err(PublishError::Invalid {
            param: String::new(),
            msg: "must hold at least one event".into(),
        });
    }
    if texts.len() > EVENTS_PER_REQUEST {
        let msg = format!("must hold at most {EVENTS_PER_REQUEST} events");
        return Err(PublishError::Invalid { param: String::new(), msg });
    }
    let events = texts
        .into_iter()
        .enumerate()
        .map(|(index, text)| parse(text).map_err(|error| at(index, error)))
        .collect::<Result<_, _>>()?;
    Ok(Publications { events, several: true })
}

/// Puts the position in front of an error's member name.
fn at(index: usize, error: PublishError) -> PublishError {
    match error {
        PublishError::Invalid { param, msg } if param.is_empty() => {
            PublishError::Invalid { param: format!("[{index}]"), msg }
        }
        PublishError::Invalid { param, msg } => {
            PublishError::Invalid { param: format!("[{index}].{param}"), msg }
        }
        PublishError::TooLarge(msg) => PublishError::TooLarge(format!("event [{index}]: {msg}")),
        PublishError::Malformed(msg) => PublishError::Malformed(format!("event [{index}]: {msg}")),
    }
}

fn invalid(param: &str, msg: impl ToString) -> PublishError {
    PublishError::Invalid { param: param.into(), msg: msg.to_string() }
}

const MEMBERS_MAX: usize = 64;

/// Members of an object, each once, as raw text. Any JSON value type may stand behind a name; the caller judges.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an event object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &'de RawValue)> = Vec::with_capacity(6);
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Visit)
    }
}

fn members(text: &str) -> Result<Members<'_>, PublishError> {
    begins_with('{', text, "must be an event object")?;
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| match error.is_data() {
        true => invalid("", format!("must have at most {MEMBERS_MAX} members")),
        false => malformed(error),
    })?;
    for (index, (name, _)) in members.0.iter().enumerate() {
        if members.0.iter().take(index).any(|(earlier, _)| earlier == name) {
            return Err(invalid(name, "Duplicate field"));
        }
    }
    Ok(members)
}

fn string(param: &str, value: &RawValue) -> Result<String, PublishError> {
    serde_json::from_str::<String>(value.get()).map_err(|_| invalid(param, "must be a string"))
}

fn parsed<T: FromStr>(param: &str, value: &RawValue) -> Result<T, PublishError>
where
    T::Err: ToString,
{
    string(param, value)?.parse().map_err(|e: T::Err| invalid(param, e))
}

fn event_type(value: &RawValue) -> Result<EventTypeName, PublishError> {
    EventTypeName::parse(&string("type", value)?).map_err(|e| invalid("type", e))
}

fn payload(param: &str, value: &RawValue) -> Result<Payload, PublishError> {
    Payload::parse(value.get()).map_err(|error| match error {
        too_large @ PayloadError::TooLarge(_) => PublishError::TooLarge(too_large.to_string()),
        other => invalid(param, other),
    })
}

fn subjects(param: &str, value: &RawValue) -> Result<Vec<String>, PublishError> {
    let texts: Vec<String> =
        serde_json::from_str(value.get()).map_err(|_| invalid(param, "must be an array of strings"))?;
    if texts.len() > SUBJECTS_PER_EVENT {
        return Err(invalid(param, format!("must hold at most {SUBJECTS_PER_EVENT} subjects")));
    }
    if texts.iter().any(|text| text.is_empty() || text.len() > SUBJECT_BYTES) {
        return Err(invalid(param, format!("a subject must be 1 to {SUBJECT_BYTES} bytes")));
    }
    Ok(texts)
}

const NOT_YET: &str = "Not supported yet";

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

fn parse_native(text: &str) -> Result<Publication, PublishError> {
    let (mut id, mut kind, mut body, mut timestamp, mut subject_list) = (None, None, None, None, Vec::new());
    for (name, value) in members(text)?.0 {
        match name.as_str() {
            "id" => id = Some(parsed::<EventId>("id", value)?),
            "type" => kind = Some(event_type(value)?),
            "payload" => body = Some(payload("payload", value)?),
            "timestamp" => timestamp = Some(parsed::<Timestamp>("timestamp", value)?),
            "subjects" => subject_list = subjects("subjects", value)?,
            "orderingKey" if is_null(value) => {}
            "urgent" if is_null(value) || value.get() == "false" => {}
            "orderingKey" | "urgent" => return Err(invalid(&name, NOT_YET)),
            _ => return Err(invalid(&name, "Unknown field")),
        }
    }
    Ok(Publication {
        id,
        event_type: kind.ok_or_else(|| invalid("type", "Invalid value"))?,
        payload: body.ok_or_else(|| invalid("payload", "Invalid value"))?,
        timestamp,
        subjects: subject_list,
        key: None,
    })
}

/// CloudEvents 1.0, JSON format. Extension attributes are allowed by that specification and carry nothing for a
/// webhook, so they are refused by name rather than dropped.
fn parse_cloud_event(text: &str) -> Result<Publication, PublishError> {
    let (mut id, mut source, mut kind, mut body, mut timestamp, mut subject) =
        (None, None, None, None, None, None);
    let mut version = None;
    for (name, value) in members(text)?.0 {
        match name.as_str() {
            "specversion" => version = Some(string("specversion", value)?),
            "id" => id = Some(non_empty("id", value)?),
            "source" => source = Some(non_empty("source", value)?),
            "type" => kind = Some(event_type(value)?),
            "time" => timestamp = Some(parsed::<Timestamp>("time", value)?),
            "subject" => subject = Some(non_empty("subject", value)?),
            "data" => body = Some(payload("data", value)?),
            "data_base64" => return Err(invalid("data_base64", "data must be a JSON object")),
            "datacontenttype" => {
                let of = string("datacontenttype", value)?;
                if BodyKind::of(&of) != Some(BodyKind::Json) {
                    return Err(invalid("datacontenttype", "must be application/json"));
                }
            }
            // Describes the data to people and tools; says nothing that a delivery could carry.
            "dataschema" => drop(non_empty("dataschema", value)?),
            _ => return Err(invalid(&name, "Unknown field")),
        }
    }
    if version.as_deref() != Some("1.0") {
        return Err(invalid("specversion", "must be 1.0"));
    }
    let id = id.ok_or_else(|| invalid("id", "Invalid value"))?;
    let source = source.ok_or_else(|| invalid("source", "Invalid value"))?;
    let subjects = match subject {
        Some(text) if text.len() > SUBJECT_BYTES => {
            return Err(invalid("subject", format!("must be at most {SUBJECT_BYTES} bytes")));
        }
        other => other.into_iter().collect(),
    };
    Ok(Publication {
        id: None,
        event_type: kind.ok_or_else(|| invalid("type", "Invalid value"))?,
        payload: body.ok_or_else(|| invalid("data", "must be a JSON object"))?,
        timestamp,
        subjects,
        // Lengths keep ("a", "bc") and ("ab", "c") apart.
        key: Some(format!("ce:{}:{source}{id}", source.len())),
    })
}

fn non_empty(param: &str, value: &RawValue) -> Result<String, PublishError> {
    let text = string(param, value)?;
    if text.is_empty() || text.len() > 2048 {
        Err(invalid(param, "must be 1 to 2048 bytes"))
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: BodyKind, body: &[u8]) -> String {
        match parse(kind, body) {
            Ok(parsed) => parsed
                .events
                .iter()
                .map(|e| format!("{} {}", e.event_type, e.payload.as_str()))
                .collect::<Vec<_>>()
                .join(" | "),
            Err(PublishError::Invalid { param, msg }) => format!("400 {param}: {msg}"),
            Err(PublishError::TooLarge(msg)) => format!("413 {msg}"),
            Err(PublishError::Malformed(msg)) => format!("400 {msg}"),
        }
    }

    #[test]
    fn json_one_or_several() {
        for (body, want) in [
            (r#"{"type":"did_create","payload":{"a" : 1e-07}}"#, r#"did_create {"a":1e-07}"#),
            (r#" [{"type":"a","payload":{}},{"type":"b","payload":{}}]"#, "a {} | b {}"),
            (r#"{"type":"a","payload":{},"urgent":false,"orderingKey":null}"#, "a {}"),
            (r#"{"type":"a","payload":{},"urgent":true}"#, "400 urgent: Not supported yet"),
            (r#"{"type":"a","payload":{},"orderingKey":"k"}"#, "400 orderingKey: Not supported yet"),
            (r#"{"type":"a","payload":{},"x":1}"#, "400 x: Unknown field"),
            (r#"{"type":"a","payload":{},"type":"b"}"#, "400 type: Duplicate field"),
            (r#"{"type":"a","payload":{},"ty\u0070e":"b"}"#, "400 type: Duplicate field"),
            (r#"{"payload":{}}"#, "400 type: Invalid value"),
            (r#"{"type":"a"}"#, "400 payload: Invalid value"),
            (r#"{"type":1,"payload":{}}"#, "400 type: must be a string"),
            (
                r#"{"type":"a b","payload":{}}"#,
                "400 type: must be 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter",
            ),
            (r#"{"type":"a","payload":{},"id":"x"}"#, "400 id: must be a UUID"),
            (
                r#"{"type":"a","payload":{},"timestamp":"today"}"#,
                "400 timestamp: must be an RFC 3339 time such as 2022-08-30T01:26:38.308Z",
            ),
            (r#"{"type":"a","payload":{},"subjects":"x"}"#, "400 subjects: must be an array of strings"),
            (
                r#"{"type":"a","payload":{},"subjects":[""]}"#,
                "400 subjects: a subject must be 1 to 512 bytes",
            ),
            (r#"[]"#, "400 : must hold at least one event"),
            (r#"[{"type":"a","payload":{}},{"type":"a","payload":{},"y":0}]"#, "400 [1].y: Unknown field"),
            (r#"[{"type":"a","payload":{}},7]"#, "400 [1]: must be an event object"),
            (r#" "Maria Muster""#, "400 : must be an event object"),
            ("7", "400 : must be an event object"),
            ("null", "400 : must be an event object"),
            ("{7}", "400 the body is not JSON: key must be a string at line 1 column 2"),
            ("Maria", "400 the body is not JSON: expected value at line 1 column 1"),
            ("", "400 the body is not JSON: EOF while parsing a value at line 1 column 0"),
        ] {
            assert_eq!(said(BodyKind::Json, body.as_bytes()), want, "{body}");
        }
        assert_eq!(said(BodyKind::Json, b"{\"type\":\"\xff\"}"), "400 the body is not UTF-8 at byte 9");
    }

    #[test]
    fn the_kind_of_body_is_what_its_type_says() {
        let event = r#"{"specversion":"1.0","id":"7","source":"s","type":"a","data":{}}"#;
        for (kind, body, want) in [
            (BodyKind::CloudEvent, format!("[{event}]"), "400 : must be an event object"),
            (BodyKind::CloudEventBatch, event.to_owned(), "400 : must be an array of event objects"),
            (BodyKind::CloudEventBatch, "[[]]".to_owned(), "400 [0]: must be an event object"),
            (BodyKind::Ndjson, "[]".to_owned(), "400 [0]: must be an event object"),
        ] {
            assert_eq!(said(kind, body.as_bytes()), want, "{body}");
        }
        let members: Vec<String> = (0..65).map(|n| format!(r#""m{n}":0"#)).collect();
        let body = format!("{{{}}}", members.join(","));
        assert_eq!(said(BodyKind::Json, body.as_bytes()), "400 : must have at most 64 members");
    }

    #[test]
    fn ndjson_is_a_line_an_event() {
        let two = "{\"type\":\"a\",\"payload\":{}}\r\n{\"type\":\"b\",\"payload\":{}}\n";
        assert_eq!(said(BodyKind::Ndjson, two.as_bytes()), "a {} | b {}");
        let gap = "{\"type\":\"a\",\"payload\":{}}\n\n{\"type\":\"b\",\"payload\":{}}";
        assert!(said(BodyKind::Ndjson, gap.as_bytes()).starts_with("400 event [1]: the body is not JSON"));
        let many = "{\"type\":\"a\",\"payload\":{}}\n".repeat(1001);
        assert_eq!(said(BodyKind::Ndjson, many.as_bytes()), "400 : must hold at most 1000 events");
    }

    #[test]
    fn cloud_events_map_by_name() {
        let body = r#"{"specversion":"1.0","id":"7","source":"/issuer","type":"did_create","time":"2026-01-02T03:04:05+01:00","subject":"did:key:z6","data":{"x":1}}"#;
        let parsed = parse(BodyKind::CloudEvent, body.as_bytes()).unwrap();
        let event = &parsed.events[0];
        assert_eq!(event.timestamp.unwrap().to_string(), "2026-01-02T02:04:05.000Z");
        assert_eq!(event.subjects, ["did:key:z6"]);
        assert_eq!(event.key.as_deref(), Some("ce:7:/issuer7"));
        assert_eq!(event.id, None);
        for (body, want) in [
            (
                r#"{"specversion":"0.3","id":"7","source":"s","type":"a","data":{}}"#,
                "400 specversion: must be 1.0",
            ),
            (r#"{"specversion":"1.0","source":"s","type":"a","data":{}}"#, "400 id: Invalid value"),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"a","data_base64":"AA=="}"#,
                "400 data_base64: data must be a JSON object",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"a","data":"x"}"#,
                "400 data: the payload must be a JSON object",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"a","data":{},"traceid":"x"}"#,
                "400 traceid: Unknown field",
            ),
        ] {
            assert_eq!(said(BodyKind::CloudEvent, body.as_bytes()), want, "{body}");
        }
        assert_eq!(said(BodyKind::CloudEventBatch, format!("[{body}]").as_bytes()), r#"did_create {"x":1}"#);
    }

    #[test]
    fn content_types() {
        for (text, kind) in [
            ("application/json", Some(BodyKind::Json)),
            ("Application/JSON; charset=UTF-8", Some(BodyKind::Json)),
            ("application/json; charset=latin1", None),
            ("application/x-ndjson", Some(BodyKind::Ndjson)),
            ("application/cloudevents+json; charset=\"utf-8\"", Some(BodyKind::CloudEvent)),
            ("application/cloudevents-batch+json", Some(BodyKind::CloudEventBatch)),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(BodyKind::of(text), kind, "{text}");
        }
    }
}
