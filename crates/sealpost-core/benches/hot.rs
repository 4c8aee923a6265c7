//! The pure part of one delivery: reading what was published, reducing it, wrapping it, deciding what comes next.
//!
//! The event is a real one of 1.5 KB, compact as most publishers send it. `spaced` is one with spaces and `\u` escapes,
//! which has to be rewritten and not only copied.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sealpost_core::envelope::{MattrDelivery, mattr_body, truvera_body};
use sealpost_core::json::{MAX_DEPTH, normalise};
use sealpost_core::minimise::{
    JsonPointer, MinimiseContext, PayloadLevel, SummaryForm, derived_summary, minimise,
};
use sealpost_core::outcome::Outcome;
use sealpost_core::payload::Payload;
use sealpost_core::publish::{BodyKind, parse};
use sealpost_core::retry::{Ended, Jitter, RetryPolicy, next_step};
use sealpost_core::time::Timestamp;

/// By number, from 1.
fn line(number: usize) -> &'static str {
    include_str!("../../../fixtures/real-events.jsonl").lines().nth(number - 1).unwrap()
}

fn compact() -> &'static str {
    line(2)
}

fn spaced() -> &'static str {
    line(73)
}

fn payload() -> Payload {
    parse(BodyKind::Json, compact().as_bytes()).unwrap().events.remove(0).payload
}

fn reading(c: &mut Criterion) {
    let hundred = format!("[{}]", [compact(); 100].join(","));
    let mut group = c.benchmark_group("parse");
    for (name, body) in [("one", compact()), ("one spaced", spaced()), ("array of 100", &hundred)] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| b.iter(|| parse(BodyKind::Json, black_box(body.as_bytes())).unwrap()));
    }
    group.finish();

    let mut group = c.benchmark_group("normalise");
    for (name, text) in [("compact", compact()), ("spaced", spaced())] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| normalise(black_box(text), MAX_DEPTH).unwrap()));
    }
    group.finish();
}

fn reducing(c: &mut Criterion) {
    let payload = payload();
    let summary = SummaryForm::known();
    let context = MinimiseContext {
        summary: &summary,
        event_id: "de347800-d56f-4262-9f19-52b34856a933",
        href: "https://issuer.example/v1/webhooks/events/de347800-d56f-4262-9f19-52b34856a933",
        truvera: false,
    };
    let pointers = ["/userId", "/credential/type/1", "/credential/credentialSubject/achievement/name"];
    let pointers = pointers.map(|text| JsonPointer::parse(text).unwrap()).to_vec();
    let mut group = c.benchmark_group("minimise");
    for (name, level) in [
        ("full", PayloadLevel::Full),
        ("summary", PayloadLevel::Summary),
        ("claims", PayloadLevel::Claims(pointers)),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| minimise(black_box(&payload), &level, &context).unwrap().len())
        });
    }
    group.finish();
    c.bench_function("derived summary", |b| b.iter(|| derived_summary(black_box(&payload)).unwrap()));
}

fn wrapping(c: &mut Criterion) {
    let payload = payload();
    let delivery = MattrDelivery {
        delivery_id: "9a8b0b72-5c4f-4925-b101-528edbb5d75d",
        delivery_timestamp: "2022-08-30T01:26:38.325Z",
        webhook_id: "5be4f663-af93-41d8-8542-f5c9a2a2d588",
        event_id: "de347800-d56f-4262-9f19-52b34856a933",
        event_type: "OpenIdCredentialIssued",
        event_timestamp: "2022-08-30T01:26:38.308Z",
    };
    let token = "n2Yc4pT0".repeat(8);
    let mut group = c.benchmark_group("body");
    group.bench_function("mattr", |b| b.iter(|| mattr_body(black_box(&delivery), payload.as_str())));
    group.bench_function("truvera", |b| {
        b.iter(|| truvera_body(black_box(&token), "credential_issued", payload.as_str()))
    });
    group.finish();
}

fn deciding(c: &mut Criterion) {
    let policy = RetryPolicy::default();
    let now = Timestamp::from_millis(1_661_822_798_325);
    let ended =
        Ended { attempt: 2, outcome: Outcome::HttpStatus, asked_wait: None, only_unknown_before: false };
    c.bench_function("retry decision", |b| {
        b.iter(|| next_step(&policy, black_box(ended), now, black_box(Jitter(40_000))))
    });
}

criterion_group!(hot, reading, reducing, wrapping, deciding);
criterion_main!(hot);
