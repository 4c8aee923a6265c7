//! Events: publishing in four forms, reading, erasing.

use sealpost_core::limits as bound;
use serde_json::{Value, json};

use super::{Schema, list, object, reference};

/// What `POST /v1/webhooks/events` reads.
pub(super) fn bodies() -> Value {
    let several = |of: &str| json!({"type": "array", "minItems": 1, "maxItems": bound::EVENTS_PER_REQUEST, "items": reference(of)});
    json!({
        "application/json": {"schema": {"oneOf": [reference("NewEvent"), several("NewEvent")]}},
        "application/x-ndjson": {"schema": {"type": "string", "description": "1 to 1000 lines, each a `NewEvent`"}},
        "application/cloudevents+json": {"schema": reference("CloudEvent")},
        "application/cloudevents-batch+json": {"schema": several("CloudEvent")},
    })
}

pub(super) fn schemas() -> Vec<Schema> {
    let payload = json!({
        "type": "object",
        "description": "At most 1 MiB and 64 levels; member order and the spelling of numbers are kept",
    });
    let derived = json!({"type": "array", "items": reference("DerivedEvent")});
    let count = json!({"type": "integer", "minimum": 0, "description": "Deliveries made"});
    vec![
        (
            "NewEvent",
            object(
                json!({
                    "id": {"$ref": "#/components/schemas/Uuid", "description": "Made if absent; repeated with the same content it is accepted once"},
                    "type": reference("EventTypeName"),
                    "payload": payload,
                    "timestamp": {"$ref": "#/components/schemas/Time", "description": "The time of acceptance if absent"},
                    "subjects": {
                        "type": "array", "maxItems": bound::SUBJECTS_PER_EVENT,
                        "items": {"type": "string", "minLength": 1, "maxLength": bound::SUBJECT_BYTES},
                        "description": "Whom it is about, to erase by; stored as keyed hashes only",
                    },
                    "orderingKey": {"type": "null", "description": "Not supported yet"},
                    "urgent": {"enum": [false, null], "description": "Not supported yet"},
                }),
                &["type", "payload"],
            ),
        ),
        (
            "CloudEvent",
            object(
                json!({
                    "specversion": {"const": "1.0"},
                    "id": {"type": "string", "minLength": 1},
                    "source": {"type": "string", "minLength": 1, "description": "With `id` it names the event for repeats"},
                    "type": reference("EventTypeName"),
                    "time": reference("Time"),
                    "subject": {"type": "string", "minLength": 1},
                    "datacontenttype": {"type": "string"},
                    "dataschema": {"type": "string", "minLength": 1},
                    "data": payload,
                }),
                &["specversion", "id", "source", "type", "data"],
            ),
        ),
        (
            "DerivedEvent",
            object(
                json!({"id": reference("Uuid"), "type": reference("EventTypeName"), "deliveries": count}),
                &["id", "type", "deliveries"],
            ),
        ),
        (
            "PublishedEvent",
            object(
                json!({
                    "id": reference("Uuid"), "type": reference("EventTypeName"), "timestamp": reference("Time"),
                    "deliveries": count, "derived": derived,
                }),
                &["id", "type", "timestamp", "deliveries", "derived"],
            ),
        ),
        (
            "Published",
            json!({
                "description": "The event, or of several a list in their order",
                "oneOf": [
                    reference("PublishedEvent"),
                    object(json!({"data": {"type": "array", "items": reference("PublishedEvent")}}), &["data"]),
                ],
            }),
        ),
        (
            "Event",
            object(
                json!({
                    "id": reference("Uuid"), "type": reference("EventTypeName"), "timestamp": reference("Time"),
                    "derived": derived,
                    "deliveries": {"type": "array", "items": object(
                        json!({"id": reference("Uuid"), "webhookId": reference("Uuid"), "status": reference("DeliveryStatus")}),
                        &["id", "webhookId", "status"],
                    )},
                    "payload": {"type": ["object", "null"], "description": "With `include=payload`; `null` once it is gone"},
                    "payloadState": {"enum": ["kept", "pruned", "erased"], "description": "With `include=payload`"},
                }),
                &["id", "type", "timestamp", "derived", "deliveries"],
            ),
        ),
        ("EventList", list("Event")),
        (
            "ErasureInput",
            json!({
                "oneOf": [
                    object(json!({"subject": {"type": "string", "minLength": 1, "maxLength": bound::SUBJECT_BYTES}}), &["subject"]),
                    object(
                        json!({"eventIds": {"type": "array", "minItems": 1, "maxItems": bound::EVENTS_PER_REQUEST, "items": reference("Uuid")}}),
                        &["eventIds"],
                    ),
                    object(json!({"from": reference("Time"), "to": reference("Time")}), &["from", "to"]),
                ],
            }),
        ),
        (
            "Erasure",
            object(
                json!({"id": reference("Uuid"), "count": {"type": "integer", "minimum": 0, "description": "Events that lost their payload"}}),
                &["id", "count"],
            ),
        ),
    ]
}
