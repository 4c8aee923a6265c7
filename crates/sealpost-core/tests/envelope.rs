//! Bodies, byte for byte.

use sealpost_core::envelope::{MattrDelivery, mattr_body, truvera_body};

fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).unwrap()
}

/// The worked example of a MATTR delivery: one line of 463 bytes.
const MATTR_EXAMPLE: &str = r#"{"deliveryId":"9a8b0b72-5c4f-4925-b101-528edbb5d75d","deliveryTimestamp":"2022-08-30T01:26:38.325Z","webhookId":"5be4f663-af93-41d8-8542-f5c9a2a2d588","event":{"id":"de347800-d56f-4262-9f19-52b34856a933","type":"OpenIdCredentialIssuedSummary","payload":{"format":"ldp_vc","userId":"64a39a9d-c15b-4c78-9149-30f6376f1fbc","credentialProfile":"web-semantic","credentialConfigurationId":"bddb2a96-8b67-439a-b5af-2818bcfc716f"},"timestamp":"2022-08-30T01:26:38.308Z"}}"#;

const DELIVERY: MattrDelivery<'_> = MattrDelivery {
    delivery_id: "9a8b0b72-5c4f-4925-b101-528edbb5d75d",
    delivery_timestamp: "2022-08-30T01:26:38.325Z",
    webhook_id: "5be4f663-af93-41d8-8542-f5c9a2a2d588",
    event_id: "de347800-d56f-4262-9f19-52b34856a933",
    event_type: "OpenIdCredentialIssuedSummary",
    event_timestamp: "2022-08-30T01:26:38.308Z",
};

#[test]
fn a_mattr_body_is_that_of_the_worked_example() {
    let payload = r#"{"format":"ldp_vc","userId":"64a39a9d-c15b-4c78-9149-30f6376f1fbc","credentialProfile":"web-semantic","credentialConfigurationId":"bddb2a96-8b67-439a-b5af-2818bcfc716f"}"#;
    let body = mattr_body(&DELIVERY, payload);
    assert_eq!(body.len(), 463);
    assert_eq!(text(body), MATTR_EXAMPLE);
}

#[test]
fn a_truvera_body_has_three_members() {
    assert_eq!(
        text(truvera_body("t0k-en_", "proof_submitted", r#"{"id":"p","verified":true}"#)),
        r#"{"token":"t0k-en_","event":"proof_submitted","data":{"id":"p","verified":true}}"#
    );
}

#[test]
fn texts_are_escaped_and_payloads_are_not_touched() {
    let delivery = MattrDelivery { event_type: "a\"b\\\u{1}é", ..DELIVERY };
    let body = text(mattr_body(&delivery, r#"{"n":1e-07,"s":"\ud800\u0000"}"#));
    assert!(
        body.contains(r#""type":"a\"b\\\u0001é","payload":{"n":1e-07,"s":"\ud800\u0000"},"timestamp""#),
        "{body}"
    );
}

#[test]
fn a_body_is_allocated_once() {
    let body = mattr_body(&DELIVERY, "{}");
    assert_eq!(body.capacity(), body.len());
}
