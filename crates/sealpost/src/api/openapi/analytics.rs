//! Analytic events as MATTR VII shows them.

use sealpost_core::analytics::AnalyticType;
use serde_json::{Value, json};

use super::{Schema, list, object, reference};

pub(super) fn schemas() -> Vec<Schema> {
    let names: Vec<&str> = AnalyticType::all().map(AnalyticType::as_str).collect();
    vec![
        ("AnalyticEventType", json!({"enum": names})),
        ("AnalyticEvent", event()),
        ("AnalyticEventList", list("AnalyticEvent")),
        (
            "AnalyticEventTypes",
            object(
                json!({"data": {"type": "array", "items": object(
                    json!({"type": reference("AnalyticEventType"), "category": category()}),
                    &["type", "category"],
                )}}),
                &["data"],
            ),
        ),
        ("LogLevel", level()),
        ("AnalyticsInput", object(json!({"level": reference("LogLevel")}), &["level"])),
    ]
}

pub(super) fn level() -> Value {
    json!({
        "enum": [1, 2, 3],
        "description": "1: metadata only, `data` is null. 2: without payloads and tokens. 3: full, for `admin`",
    })
}

fn category() -> Value {
    json!({"enum": ["webhook", "config-custom-domain"]})
}

fn event() -> Value {
    object(
        json!({
            "id": reference("Uuid"),
            "type": reference("AnalyticEventType"),
            "timestamp": reference("Time"),
            "category": category(),
            "requestId": {
                "type": "string", "pattern": "^[0-9A-Za-z]{22}$",
                "description": "One for all events of a call, one for all of a delivery, one for the receipt of an event",
            },
            "metadata": {"type": "object"},
            "data": {"type": ["object", "null"], "description": "As much as the tenant's logging level tells"},
            "clientId": {"$ref": "#/components/schemas/Uuid", "description": "Who made the call, if it was a client"},
        }),
        &["id", "type", "timestamp", "category", "requestId", "metadata", "data"],
    )
}
