//! Deliveries, their attempts, and making them again.

use sealpost_core::delivery::{CancelReason, FailReason, Status};
use sealpost_core::outcome::Outcome;
use serde_json::{Value, json};

use super::{Schema, list, object, reference};

const MEMBERS: [&str; 8] =
    ["id", "eventId", "type", "webhookId", "status", "createdAt", "attemptsUsed", "test"];

pub(super) fn schemas() -> Vec<Schema> {
    let reasons: Vec<&str> = FailReason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .chain(CancelReason::ALL.iter().map(|reason| reason.as_str()))
        .collect();
    let properties = json!({
        "id": reference("Uuid"),
        "eventId": reference("Uuid"),
        "type": reference("EventTypeName"),
        "webhookId": reference("Uuid"),
        "status": reference("DeliveryStatus"),
        "reason": {"enum": reasons, "description": "Of a failed or cancelled delivery"},
        "createdAt": reference("Time"),
        "nextAttemptAt": {"$ref": "#/components/schemas/Time", "description": "Of a pending delivery that waits; absent while an attempt is under way"},
        "attemptsUsed": {"type": "integer", "minimum": 0},
        "test": {"type": "boolean", "description": "Made by a test call"},
    });
    let mut detailed = properties.clone();
    detailed["attempts"] = json!({"type": "array", "items": reference("Attempt")});
    let detailed_members: Vec<&str> = MEMBERS.into_iter().chain(["attempts"]).collect();
    let statuses: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    let outcomes: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
    vec![
        ("DeliveryStatus", json!({"enum": statuses})),
        ("Delivery", object(properties, &MEMBERS)),
        ("DeliveryDetail", object(detailed, &detailed_members)),
        ("DeliveryList", list("Delivery")),
        ("Attempt", attempt(&outcomes)),
        (
            "RedeliveryFilter",
            object(
                json!({
                    "from": {"$ref": "#/components/schemas/Time", "description": "Made not before"},
                    "to": {"$ref": "#/components/schemas/Time", "description": "Made not after"},
                    "status": {"enum": ["delivered", "failed", "cancelled"], "description": "Ended so; any end if absent"},
                }),
                &[],
            ),
        ),
    ]
}

fn attempt(outcomes: &[&str]) -> Value {
    object(
        json!({
            "number": {"type": "integer", "minimum": 1},
            "startedAt": reference("Time"),
            "durationMs": {"type": "integer", "minimum": 0},
            "outcome": {"enum": outcomes, "description": "`unknown`: the process died while sending"},
            "statusCode": {"type": "integer"},
            "error": {"type": "string"},
            "responseExcerpt": {"type": "string", "description": "The beginning of what the receiver answered; for callers with `excerpts:read`, which `auditor` is not"},
        }),
        &["number", "startedAt", "durationMs", "outcome"],
    )
}
