//! Truvera's webhooks: the objects, how a key is shown, and refusals of their own shape.

use sealpost_core::limits as bound;
use serde_json::{Map, Value, json};

use super::{Schema, object, reference};

/// Where a key may be shown on this face; one of them is enough.
pub(super) fn security() -> Value {
    json!([{"bearer": []}, {"dockApiToken": []}, {"truveraApiToken": []}])
}

/// Schemes that only this face knows.
pub(super) fn schemes() -> Map<String, Value> {
    let header = |name: &str| json!({"type": "apiKey", "in": "header", "name": name, "description": "The same key, for Truvera's clients"});
    let all = [("dockApiToken", "DOCK-API-TOKEN"), ("truveraApiToken", "TRUVERA-API-TOKEN")];
    all.into_iter().map(|(name, of)| (name.to_owned(), header(of))).collect()
}

pub(super) fn id() -> Value {
    json!({"type": "string", "pattern": "^[0-9]+$", "examples": ["17"]})
}

pub(super) fn schemas() -> Vec<Schema> {
    let url = || json!({"type": "string", "format": "uri", "description": "As on MATTR's face", "examples": ["https://example.com/in"]});
    let description = || json!({"type": "string", "maxLength": bound::DESCRIPTION_BYTES});
    let status = |about: &str| json!({"type": "integer", "enum": [0, 1], "description": about});
    let wanted = || {
        json!({
            "type": "array", "minItems": 1, "uniqueItems": true,
            "items": {"anyOf": [reference("EventTypeName"), {"const": "*"}]},
            "description": "`*` is Receive All: every type of Truvera's and every type registered with `receiveAll`, later ones too",
        })
    };
    let token = || json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{64}$", "description": "The `token` in each body that is sent"});
    let input = || {
        json!({
            "url": url(),
            "events": wanted(),
            "description": description(),
            "status": status("1 enabled (default), 0 disabled"),
        })
    };
    let mut patch = input();
    for (name, schema) in [("id", id()), ("created", reference("Time")), ("secret", token())] {
        patch[name] = schema;
        patch[name]["description"] = "Only as it is, so that an object that was read can be sent back".into();
    }
    let members = ["events", "url", "id", "created", "secret", "description", "status"];
    vec![
        (
            "TruveraWebhook",
            object(
                json!({
                    "events": {"type": "array", "minItems": 1, "items": reference("EventTypeName"), "description": "Receive All is shown as the types it stands for now"},
                    "url": url(),
                    "id": id(),
                    "created": reference("Time"),
                    "secret": token(),
                    "description": description(),
                    "status": status("1 enabled, 0 disabled"),
                }),
                &members,
            ),
        ),
        (
            "TruveraWebhookList",
            json!({"type": "array", "maxItems": bound::TRUVERA_PAGE_MAX, "items": reference("TruveraWebhook")}),
        ),
        ("TruveraWebhookInput", object(input(), &["url", "events"])),
        ("TruveraWebhookPatch", object(patch, &[])),
        (
            "TruveraProblem",
            object(
                json!({
                    "status": {"type": "integer", "minimum": 400, "maximum": 599},
                    "type": {"type": "string", "examples": ["BadRequest"]},
                    "message": {"type": "string", "description": "A sentence for a person"},
                }),
                &["status", "type", "message"],
            ),
        ),
        ("Nothing", object(json!({}), &[])),
        ("WebhookToken", object(json!({"token": token()}), &["token"])),
    ]
}

/// The refusals of this face: as the others', in its own shape.
pub(super) fn refusals(shared: &Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, response) in shared {
        let mut response = response.clone();
        response["content"] = json!({"application/json": {"schema": reference("TruveraProblem")}});
        all.insert(format!("Truvera{name}"), response);
    }
    let content = json!({"application/json": {"schema": reference("TruveraProblem")}});
    for (name, about) in [
        ("TruveraLimitReached", "The tenant has reached its number of webhooks"),
        ("TruveraMethodNotAllowed", "The id in the path is empty"),
    ] {
        all.insert(name.to_owned(), json!({"description": about, "content": content}));
    }
    all
}
