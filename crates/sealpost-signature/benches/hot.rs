//! What signing and verifying one delivery costs, whole and in its steps. The body is a real event of 1.5 KB.
//!
//! `ed25519` is the library's part alone, so that a change of ours is told apart from one of theirs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sealpost_signature::standard_webhooks::{self, WebhookSigner, WebhookVerifier};
use sealpost_signature::{
    Components, Jwk, Jwks, Parameter, Parameters, RequestParts, SignatureProfile, SigningKey, VerifyOptions,
    WebhookSecret, content_digest_sha256, sign_delivery, signature_base, verify_request,
};

const CREATED: i64 = 1_661_822_798;
const EXPIRES: i64 = CREATED + 300;
const DELIVERY: &str = "9a8b0b72-5c4f-4925-b101-528edbb5d75d";
const COVERED: [(&str, &str); 3] = [
    ("content-type", "application/json"),
    ("x-mattr-event-type", "OpenIdCredentialIssued"),
    ("x-mattr-webhook-id", "5be4f663-af93-41d8-8542-f5c9a2a2d588"),
];

fn body() -> &'static [u8] {
    include_str!("../../../fixtures/real-events.jsonl").lines().nth(1).unwrap().as_bytes()
}

fn post<'a>(headers: &'a [(&'a str, &'a str)]) -> RequestParts<'a> {
    RequestParts {
        method: "POST",
        request_target: "/mattr/receiver",
        authority: "hooks.example.com",
        scheme: "https",
        headers,
    }
}

fn message_signatures(c: &mut Criterion) {
    let body = body();
    let key = SigningKey::from_seed(&[7; 32]);
    let jwks = Jwks::new([Jwk::from(&key)]).unwrap();
    let sign = || {
        sign_delivery(&key, SignatureProfile::MATTR, &post(&COVERED), black_box(body), CREATED, Some(EXPIRES))
            .unwrap()
    };

    // As the receiver gets it.
    let signed = sign();
    let mut headers = COVERED.to_vec();
    headers.push(("content-digest", &signed.content_digest));
    headers.push(("signature-input", &signed.signature_input));
    headers.push(("signature", &signed.signature));
    let received = post(&headers);

    let components = Components::new(SignatureProfile::MATTR.components().iter().cloned()).unwrap();
    let key_id = Parameter::KeyId(key.key_id().as_str().to_owned());
    let parameters =
        Parameters::new([Parameter::Created(CREATED), Parameter::Expires(EXPIRES), key_id]).unwrap();
    let base = signature_base(&received, &components, &parameters).unwrap();
    let signature = key.sign(base.as_bytes());

    c.bench_function("content digest", |b| b.iter(|| content_digest_sha256(black_box(body))));
    c.bench_function("signature base", |b| {
        b.iter(|| signature_base(black_box(&received), &components, &parameters).unwrap())
    });
    let mut group = c.benchmark_group("sign");
    group.bench_function("ed25519", |b| b.iter(|| key.sign(black_box(base.as_bytes()))));
    group.bench_function("delivery", |b| b.iter(sign));
    group.finish();
    let mut group = c.benchmark_group("verify");
    group.bench_function("ed25519", |b| {
        b.iter(|| assert!(key.verifying_key().verify(black_box(base.as_bytes()), &signature)))
    });
    let options = VerifyOptions::at(CREATED);
    group.bench_function("delivery", |b| {
        b.iter(|| verify_request(black_box(&received), body, &jwks, &options).unwrap())
    });
    group.finish();
}

fn standard_webhooks_v1(c: &mut Criterion) {
    let body = body();
    let secret = WebhookSecret::from_bytes(&[9; 32]).unwrap();
    let sign = || {
        standard_webhooks::sign(DELIVERY, CREATED, black_box(body), &[WebhookSigner::V1(&secret)]).unwrap()
    };
    let signed = sign();
    let mut group = c.benchmark_group("standard webhooks v1");
    group.bench_function("sign", |b| b.iter(sign));
    group.bench_function("verify", |b| {
        let keys = [WebhookVerifier::V1(&secret)];
        b.iter(|| {
            standard_webhooks::verify(&signed.as_received(), black_box(body), &keys, CREATED, 300).unwrap()
        })
    });
    group.finish();
}

criterion_group!(hot, message_signatures, standard_webhooks_v1);
criterion_main!(hot);
