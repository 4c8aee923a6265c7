//! What receivers get: one request in either dialect.

use serde_json::{Value, json};

use super::{object, reference};

pub(super) fn webhooks() -> Value {
    let event = object(
        json!({
            "id": {"$ref": "#/components/schemas/Uuid", "description": "The same in every delivery of the event: drop what was seen before"},
            "type": reference("EventTypeName"),
            "payload": {"type": "object"},
            "timestamp": reference("Time"),
        }),
        &["id", "type", "payload", "timestamp"],
    );
    let mattr = object(
        json!({
            "deliveryId": {"$ref": "#/components/schemas/Uuid", "description": "One per event and webhook, the same in every retry"},
            "deliveryTimestamp": {"$ref": "#/components/schemas/Time", "description": "The time of this attempt"},
            "webhookId": reference("Uuid"),
            "event": event,
        }),
        &["deliveryId", "deliveryTimestamp", "webhookId", "event"],
    );
    let truvera = object(
        json!({
            "token": {"type": "string", "description": "The webhook's secret"},
            "event": reference("EventTypeName"),
            "data": {"type": "object"},
        }),
        &["token", "event", "data"],
    );
    let of_mattr = [
        header("x-mattr-webhook-id", true, "The webhook"),
        header("x-mattr-event-type", true, "The event's type"),
    ];
    json!({
        "mattrDelivery": {"post": request("receiveMattrDelivery", "An event, in the dialect of MATTR VII", &of_mattr, &mattr)},
        "truveraDelivery": {"post": request("receiveTruveraDelivery", "An event, in the dialect of Truvera", &[], &truvera)},
    })
}

fn request(operation: &str, summary: &str, more: &[Value], body: &Value) -> Value {
    let mut parameters = vec![
        header("Content-Digest", true, "RFC 9530, `sha-256` of the body"),
        header(
            "Signature-Input",
            true,
            "RFC 9421, one signature labelled `sig1`; its `keyid` is in the JWKS",
        ),
        header("Signature", true, "RFC 9421, Ed25519"),
        header("x-sealpost-event-id", true, "The event"),
        header("x-sealpost-delivery-id", true, "The delivery"),
        header("x-sealpost-attempt", true, "1 for the first attempt"),
        header("x-sealpost-test", false, "`true` for an event of a test call"),
        header("webhook-id", false, "Standard Webhooks, where the webhook's settings ask for it"),
        header("webhook-timestamp", false, "Standard Webhooks"),
        header("webhook-signature", false, "Standard Webhooks, `v1` or `v1a`"),
    ];
    parameters.extend_from_slice(more);
    json!({
        "operationId": operation,
        "summary": summary,
        "security": [],
        "parameters": parameters,
        "requestBody": {"required": true, "content": {"application/json": {"schema": body}}},
        "responses": {
            "2XX": {"description": "Delivered, if the head arrives within the webhook's timeout (3 s by default)"},
            "default": {"description": "A failed attempt; redirects are not followed. Retried as the webhook's settings say"},
        },
    })
}

fn header(name: &str, required: bool, about: &str) -> Value {
    json!({"name": name, "in": "header", "required": required, "description": about, "schema": {"type": "string"}})
}
