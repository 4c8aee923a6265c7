//! Garbage in every place a stranger can fill: no panic, and nothing forged is accepted.

mod common;

use common::{Sequence, vector};
use sealpost_signature::standard_webhooks::{self, ReceivedWebhook, WebhookVerifier};
use sealpost_signature::structured_fields::Dictionary;
use sealpost_signature::{
    Component, Jwks, VerifyOptions, WebhookSecret, received_base, verify_content_digest, verify_request,
};

const PIECES: &[&str] = &[
    "sig1",
    "=",
    "(",
    ")",
    "\"",
    "@method",
    "@query-param",
    ";name=",
    ";",
    "created",
    "keyid",
    ":",
    "aGk=",
    ",",
    " ",
    "\t",
    "\\",
    "?1",
    "@",
    "1",
    "-",
    ".",
    "999999999999999",
    "\u{0}",
    "\u{e9}",
    "\n",
    "\r\n ",
    "*",
    "%",
    "sha-256",
];

fn garbage(sequence: &mut Sequence) -> String {
    (0..sequence.below(24)).map(|_| PIECES[sequence.below(PIECES.len())]).collect()
}

#[test]
fn garbage_from_the_grammar_never_panics() {
    let mut sequence = Sequence(1);
    let vector = vector("current format");
    let secret = WebhookSecret::from_bytes(&[1; 32]).unwrap();
    for _ in 0..30_000 {
        let (a, b) = (garbage(&mut sequence), garbage(&mut sequence));
        let _ = Dictionary::parse(&a);
        let _ = verify_content_digest(&a, b.as_bytes());
        let _ = Component::parse(&a);
        let _ = Jwks::parse(a.as_bytes());
        let received = ReceivedWebhook { webhook_id: &a, webhook_timestamp: "1", webhook_signature: &b };
        assert!(standard_webhooks::verify(&received, b"", &[WebhookVerifier::V1(&secret)], 1, 300).is_err());
        let mut request = vector.request.clone().with("signature-input", &a).with("signature", &b);
        request.target = garbage(&mut sequence);
        request.authority = garbage(&mut sequence);
        request.parts(|parts| {
            let _ = received_base(parts, Some("sig1"));
            assert!(verify_request(parts, b"", &vector.jwks(), &VerifyOptions::at(1)).is_err());
        });
    }
}

#[test]
fn a_damaged_genuine_request_is_refused_or_means_the_same() {
    let mut sequence = Sequence(2);
    let vector = vector("current format");
    let genuine = vector.signed();
    for _ in 0..30_000 {
        let mut request = genuine.clone();
        let header = ["signature-input", "signature", "content-digest"][sequence.below(3)];
        let value = request.header(header);
        for _ in 0..=sequence.below(2) {
            let mut bytes = value.clone().into_bytes();
            let at = sequence.below(bytes.len());
            match sequence.below(4) {
                0 => drop(bytes.splice(at..at, PIECES[sequence.below(PIECES.len())].bytes())),
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.remove(at)),
                _ => bytes[at] ^= 1 << sequence.below(7),
            }
            *value = String::from_utf8_lossy(&bytes).into_owned();
            if value.is_empty() {
                break;
            }
        }
        let accepted = request.parts(|parts| {
            verify_request(parts, genuine.body.as_bytes(), &vector.jwks(), &VerifyOptions::at(1_661_822_798))
                .is_ok()
                && received_base(parts, None).unwrap() != vector.base()
        });
        assert!(!accepted, "{:?}", request.headers);
    }
}

#[test]
fn damaged_key_sets_never_panic() {
    let mut sequence = Sequence(3);
    let document = serde_json::to_vec(&vector("current format").jwks()).unwrap();
    for _ in 0..20_000 {
        let mut bytes = document.clone();
        for _ in 0..=sequence.below(3) {
            let at = sequence.below(bytes.len());
            bytes[at] = u8::try_from(sequence.below(256)).unwrap();
        }
        let _ = Jwks::parse(&bytes);
    }
}
