//! Settings of a webhook.

use sealpost_core::limits as bound;
use serde_json::{Value, json};

use super::{Schema, object, reference};

pub(super) fn schemas() -> Vec<Schema> {
    let shown = properties(&json!({"type": ["null"]}));
    let names: Vec<String> =
        shown.as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // `null` where a setting follows the server's default, and for a header whose stored value is kept.
    let written = properties(&json!({"type": ["string", "null"]}));
    vec![
        (
            "PayloadLevel",
            json!({
                "description": "How much of a payload leaves: all, without credential and claims, only where to ask, or these JSON Pointers",
                "oneOf": [
                    {"enum": ["full", "summary", "thin"]},
                    object(json!({"claims": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "json-pointer"}}}), &["claims"]),
                ],
            }),
        ),
        ("Settings", object(shown.clone(), &names)),
        ("SettingsInput", object(written, &[])),
    ]
}

fn properties(header: &Value) -> Value {
    json!({
        "description": {"type": "string", "maxLength": bound::DESCRIPTION_BYTES},
        "payload": reference("PayloadLevel"),
        "timeoutMs": {"type": ["integer", "null"], "minimum": bound::TIMEOUT_MS_MIN, "maximum": bound::TIMEOUT_MS_MAX},
        "retry": {
            "type": ["object", "null"],
            "properties": {"intervals": {"type": "array", "maxItems": bound::RETRY_WAITS_MAX, "items": reference("Span")}},
            "required": ["intervals"],
            "additionalProperties": false,
        },
        "maxInFlight": {"type": "integer", "minimum": 1, "maximum": bound::MAX_IN_FLIGHT_MAX},
        "ratePerSecond": {"type": ["integer", "null"], "minimum": 1, "maximum": bound::RATE_PER_SECOND_MAX},
        "ordering": {"const": "none", "description": "Other values are not supported yet"},
        "headers": {
            "type": "object", "maxProperties": bound::HEADERS_MAX, "additionalProperties": header,
            "description": "Of every request; values are never shown again",
        },
        "signatures": {
            "type": "array", "minItems": 1, "uniqueItems": true,
            "items": {"enum": ["http-message-signatures", "standard-webhooks", "standard-webhooks-ed25519"]},
            "contains": {"const": "http-message-signatures"},
        },
        "signatureExpires": {"anyOf": [reference("Span"), {"const": "off"}, {"type": "null"}]},
        "encryption": {"type": "null", "description": "Not supported yet"},
        "retention": {"enum": ["standard", "none"]},
        "alertAfter": {"type": "integer", "minimum": 1, "maximum": bound::ALERT_AFTER_MAX},
    })
}
