//! What a payload may be, what it looks like printed, and how Truvera's credential events are completed.

use sealpost_core::payload::{MAX_PAYLOAD_BYTES, Payload, PayloadError, complete_credential};

fn refused(raw: &str) -> String {
    Payload::parse(raw).unwrap_err().to_string()
}

#[test]
fn a_payload_is_a_normalised_object() {
    let payload =
        Payload::parse("{\"name\": \"Zo\\u00eb\",\n \"n\": 9007199254740993, \"e\": 1e-07}").unwrap();
    assert_eq!(payload.as_str(), r#"{"name":"Zoë","n":9007199254740993,"e":1e-07}"#);
    assert_eq!(payload.size(), 46);
    assert_eq!(Payload::from_stored(payload.as_str().to_owned()), payload);
    assert_eq!(Payload::parse(" {} ").unwrap().as_str(), "{}");
}

#[test]
fn anything_else_is_refused() {
    assert_eq!(refused("[]"), "the payload must be a JSON object");
    assert_eq!(refused(" \"text\""), "the payload must be a JSON object");
    assert_eq!(
        refused("{} {}"),
        "the payload is not acceptable JSON: text after the end of the value at byte 3"
    );
    assert_eq!(
        refused(r#"{"a":1,"\u0061":2}"#),
        "the payload is not acceptable JSON: repeated member name `/a` at byte 7"
    );
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(Payload::parse(&nested(64)).is_ok());
    assert_eq!(
        refused(&nested(65)),
        "the payload is not acceptable JSON: more than 64 nested arrays and objects at byte 68"
    );
    let sized = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    assert_eq!(Payload::parse(&sized(MAX_PAYLOAD_BYTES)).unwrap().size(), MAX_PAYLOAD_BYTES);
    assert_eq!(
        Payload::parse(&sized(MAX_PAYLOAD_BYTES + 1)),
        Err(PayloadError::TooLarge(MAX_PAYLOAD_BYTES + 1))
    );
}

#[test]
fn printing_a_payload_shows_no_content() {
    assert_eq!(format!("{:?}", Payload::parse(r#"{"name":"Ada"}"#).unwrap()), "Payload(14 bytes)");
}

fn completed(raw: &str) -> String {
    complete_credential(&Payload::parse(raw).unwrap(), "urn:uuid:1").as_str().to_owned()
}

#[test]
fn a_credential_with_its_key_is_completed_as_truvera_sends_it() {
    assert_eq!(
        completed(r#"{"credential": {"id": "http://example.com/39", "n": 1.0}, "key": "did:dock:x#1"}"#),
        r#"{"id":"http://example.com/39","signingOps":1,"byteSize":38,"key":"did:dock:x#1","credential":{"id":"http://example.com/39","n":1.0}}"#
    );
    // Bytes, not characters; member order does not matter; without an id the caller's is used.
    assert_eq!(
        completed(r#"{"key":"k","credential":{"name":"Zo\u00eb"}}"#),
        r#"{"id":"urn:uuid:1","signingOps":1,"byteSize":15,"key":"k","credential":{"name":"Zoë"}}"#
    );
    assert_eq!(
        completed(r#"{"\u006bey":"k","credential":{"id":7}}"#),
        r#"{"id":"urn:uuid:1","signingOps":1,"byteSize":8,"key":"k","credential":{"id":7}}"#
    );
}

#[test]
fn every_other_payload_stays_as_it_is() {
    for payload in [
        r#"{"id":"i","signingOps":1,"byteSize":2,"key":"k","credential":{}}"#,
        r#"{"credential":{}}"#,
        r#"{"key":"k"}"#,
        r#"{"credential":"ey..","key":"k"}"#,
        r#"{"credential":{},"key":1}"#,
        r#"{"credential":{},"key":"k","more":1}"#,
        "{}",
    ] {
        assert_eq!(completed(payload), payload);
    }
}
