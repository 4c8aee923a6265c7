//! The catalogue of event types.

use sealpost_core::limits as bound;
use serde_json::{Value, json};

use super::{Schema, list, object, reference};

const MEMBERS: [&str; 5] = ["name", "description", "schema", "summary", "receiveAll"];

pub(super) fn schemas() -> Vec<Schema> {
    vec![
        ("EventType", object(properties(), &MEMBERS)),
        ("EventTypeInput", object(properties(), &["name"])),
        ("EventTypeReplacement", object(properties(), &[])),
        ("EventTypeList", list("EventType")),
    ]
}

fn properties() -> Value {
    let without = json!({"without": {"type": "array", "maxItems": 64, "items": {"type": "string"}}});
    json!({
        "name": reference("EventTypeName"),
        "description": {"type": "string", "maxLength": bound::DESCRIPTION_BYTES},
        "schema": {"type": ["object", "boolean", "null"], "description": "JSON Schema that payloads must satisfy"},
        "summary": {
            "anyOf": [object(without, &["without"]), {"type": "null"}],
            "description": "Members a summary leaves out besides `credential`, `oidcClaims` and `userClaims`; `null`: no summary is known, webhooks that ask for one get `thin`",
        },
        "receiveAll": {"type": "boolean", "description": "Webhooks that receive all of Truvera's types get it too"},
    })
}
