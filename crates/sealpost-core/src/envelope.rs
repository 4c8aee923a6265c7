//! The exact bodies receivers get, in either dialect: compact, members in the documented order.
//!
//! The payload goes in as the text it is. A body is built once per attempt, in one allocation, and the
//! same bytes are digested, signed and sent.

use crate::json::write_string;

/// The parts of a MATTR delivery. Ids and times are given in the spelling of the wire.
#[derive(Clone, Copy, Debug)]
pub struct MattrDelivery<'a> {
    pub delivery_id: &'a str,
    /// When this attempt is made, ISO 8601 with milliseconds.
    pub delivery_timestamp: &'a str,
    pub webhook_id: &'a str,
    pub event_id: &'a str,
    pub event_type: &'a str,
    pub event_timestamp: &'a str,
}

/// `{"deliveryId","deliveryTimestamp","webhookId","event":{"id","type","payload","timestamp"}}`
pub fn mattr_body(delivery: &MattrDelivery<'_>, payload_json: &str) -> Vec<u8> {
    write_body([
        ("{\"deliveryId\":", Text(delivery.delivery_id)),
        (",\"deliveryTimestamp\":", Text(delivery.delivery_timestamp)),
        (",\"webhookId\":", Text(delivery.webhook_id)),
        (",\"event\":{\"id\":", Text(delivery.event_id)),
        (",\"type\":", Text(delivery.event_type)),
        (",\"payload\":", Json(payload_json)),
        (",\"timestamp\":", Text(delivery.event_timestamp)),
        ("}}", Json("")),
    ])
}

/// `{"token","event","data"}`
pub fn truvera_body(token: &str, event_type: &str, data_json: &str) -> Vec<u8> {
    write_body([
        ("{\"token\":", Text(token)),
        (",\"event\":", Text(event_type)),
        (",\"data\":", Json(data_json)),
        ("}", Json("")),
    ])
}

/// What follows a fixed piece of a body: a text to be quoted, or JSON as it is.
#[derive(Clone, Copy)]
enum Part<'a> {
    Text(&'a str),
    Json(&'a str),
}

use Part::{Json, Text};

fn write_body<const N: usize>(pieces: [(&str, Part<'_>); N]) -> Vec<u8> {
    let size = |(fixed, part): &(&str, Part<'_>)| {
        fixed.len()
            + match part {
                Text(text) => text.len() + 2,
                Json(json) => json.len(),
            }
    };
    // Exact for texts without escapes, which ids, times, tokens and type names are.
    let mut body = String::with_capacity(pieces.iter().map(size).sum());
    for (fixed, part) in pieces {
        body.push_str(fixed);
        match part {
            Text(text) => write_string(&mut body, text),
            Json(json) => body.push_str(json),
        }
    }
    body.into_bytes()
}
