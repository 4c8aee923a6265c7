//! Webhooks as MATTR VII shows them, their keys and their secrets.

use serde_json::{Value, json};

use super::{Schema, list, object, reference};

pub(super) fn schemas() -> Vec<Schema> {
    let url = json!({
        "type": "string", "format": "uri",
        "description": "https, a host name instead of an IP address, no query, no fragment; non-ASCII characters are normalised",
        "examples": ["https://example.com"],
    });
    let input = |more: Value| {
        let mut properties = json!({
            "events": {"type": "array", "minItems": 1, "uniqueItems": true, "items": reference("EventTypeName")},
            "url": url,
            "disabled": {"type": "boolean", "default": false},
        });
        if let (Value::Object(properties), Value::Object(more)) = (&mut properties, more) {
            properties.extend(more);
        }
        object(properties, &["events", "url"])
    };
    let jwk = object(
        json!({
            "kty": {"const": "OKP"},
            "crv": {"const": "Ed25519"},
            "x": {"type": "string"},
            "use": {"const": "sig"},
            "kid": {"type": "string", "description": "RFC 7638 thumbprint"},
        }),
        &["kty", "crv", "x", "use", "kid"],
    );
    let secret = json!({"type": "string", "pattern": "^whsec_", "description": "Standard Webhooks: base64 of 32 bytes"});
    vec![
        (
            "Webhook",
            object(
                json!({
                    "id": reference("Uuid"),
                    "events": {"type": "array", "minItems": 1, "items": reference("EventTypeName")},
                    "url": url,
                    "disabled": {"type": "boolean"},
                }),
                &["id", "events", "url", "disabled"],
            ),
        ),
        ("WebhookInput", input(json!({}))),
        (
            "WebhookReplacement",
            input(
                json!({"id": {"$ref": "#/components/schemas/Uuid", "description": "The id in the path, if anything"}}),
            ),
        ),
        ("WebhookList", list("Webhook")),
        ("Jwks", object(json!({"keys": {"type": "array", "items": jwk}}), &["keys"])),
        ("Secret", object(json!({"secret": secret}), &["secret"])),
        (
            "RotatedSecret",
            object(
                json!({"secret": secret, "previousUntil": {"$ref": "#/components/schemas/Time", "description": "Until then the secret before signs too"}}),
                &["secret", "previousUntil"],
            ),
        ),
        (
            "RotationInput",
            object(
                json!({"overlap": {"$ref": "#/components/schemas/Span", "default": "24h", "description": "How long both secrets sign, at most 7d"}}),
                &[],
            ),
        ),
        (
            "TestInput",
            object(
                json!({"type": {"$ref": "#/components/schemas/EventTypeName", "description": "The webhook's first type if absent"}}),
                &[],
            ),
        ),
    ]
}
