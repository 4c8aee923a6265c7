//! Bodies as such: what they may be packed in, where there must be none, and how much of them there may be at once.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use expect_test::expect;
use futures_util::future::join_all;
use sealpost_core::delivery::{FailReason, State};
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{Said, World, call, delete, get, post};

const EVENTS: &str = "/v1/webhooks/events";

#[tokio::test]
async fn packed_bodies_are_refused_by_name() {
    let world = World::new().await;
    let event = json!({"type": "did_create", "payload": {}});
    let mut said = Said::default();
    for coding in ["gzip", "identity, br", "zstd"] {
        said.note(coding, &world.call(post(EVENTS, event.clone()).header("content-encoding", coding)).await);
    }
    let webhook = json!({"events": ["did_create"], "url": "https://example.com/in"});
    said.note("webhook", &world.call(post("/v1/webhooks", webhook).header("content-encoding", "gzip")).await);
    assert_eq!(world.call(post(EVENTS, event).header("content-encoding", "Identity")).await.status, 202);
    assert_eq!(world.call(get(EVENTS).header("content-encoding", "gzip")).await.ids().len(), 1);
    said.is(expect![[r#"
        gzip: 415 {"code":"UnsupportedMediaType","message":"the Content-Encoding `gzip` is not read; send the body as it is"}
        identity, br: 415 {"code":"UnsupportedMediaType","message":"the Content-Encoding `br` is not read; send the body as it is"}
        zstd: 415 {"code":"UnsupportedMediaType","message":"the Content-Encoding `zstd` is not read; send the body as it is"}
        webhook: 415 {"code":"UnsupportedMediaType","message":"the Content-Encoding `gzip` is not read; send the body as it is"}
    "#]]);
}

#[tokio::test]
async fn calls_without_a_body_refuse_one_and_do_nothing() {
    let mut world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    let event = world.publish(json!({"type": "did_create", "payload": {"a": 1}})).await;
    world.settle(500, None, State::Failed(FailReason::AttemptsExhausted)).await;
    let delivery = world.newest_delivery("").await;
    let deliveries = format!("/v1/webhooks/deliveries/{delivery}");
    let refused = r#"400 {"code":"BadRequest","message":"this call takes no body"}"#;
    for (method, path) in [
        ("POST", format!("{deliveries}/redeliver")),
        ("POST", format!("{deliveries}/cancel")),
        ("DELETE", format!("{EVENTS}/{event}/payload")),
        ("DELETE", format!("/v1/webhooks/{webhook}")),
    ] {
        for body in [r#"{"dryRun":true}"#, "[]", "null", "{}{}", "x", &" ".repeat(65)] {
            assert_eq!(
                world.call(call(method, &path).bare(body.to_owned())).await.to_string(),
                refused,
                "{path} {body}"
            );
        }
    }
    let shown = world.get(&format!("{EVENTS}/{event}?include=payload")).await.json();
    assert_eq!((&shown["payloadState"], shown["deliveries"].as_array().unwrap().len()), (&json!("kept"), 1));
    assert_eq!(world.call(post(&format!("{deliveries}/redeliver"), json!({}))).await.status, 202);
    assert_eq!(world.call(delete(&format!("/v1/webhooks/{webhook}")).bare(" { }\n")).await.status, 204);
}

/// An upload that has sent `bytes` and then waits until it is dropped.
fn stuck(bytes: usize) -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    sender.try_send(Bytes::from(vec![b' '; bytes])).unwrap();
    let pieces = futures_util::stream::unfold(receiver, |mut pieces| async move {
        pieces.recv().await.map(|piece| (Ok::<_, Infallible>(piece), pieces))
    });
    (sender, Body::from_stream(pieces))
}

#[tokio::test]
async fn uploads_that_never_end_delay_nobody_and_one_too_many_is_told_at_once() {
    let world = World::new().await;
    let large = 16 * 1024 * 1024 - 1024;
    let event = json!({"type": "did_create", "payload": {}});
    let padded = || call("POST", EVENTS).raw("application/json", format!("{event}{}", " ".repeat(large)));
    // A declared length takes nothing: only what has arrived does.
    let (begun, bodies): (Vec<_>, Vec<_>) = [large, large, large, 1, 1, 1, 1].map(stuck).into_iter().unzip();
    let uploads =
        bodies.into_iter().map(|body| world.call(call("POST", EVENTS).raw("application/json", body)));
    let others = async {
        for sender in &begun {
            let _taken = sender.reserve().await.unwrap();
        }
        let busy = world.call(padded()).await;
        assert_eq!(busy.to_string(), r#"503 {"code":"ServiceUnavailable","message":"The service is busy"}"#);
        assert_eq!(busy.header("retry-after"), Some("1"));
        assert_eq!(world.call(post(EVENTS, event.clone())).await.status, 202);
        drop(begun);
    };
    let (ended, ()) = futures_util::join!(join_all(uploads), others);
    assert!(ended.iter().all(|answer| answer.status == 400), "{ended:?}");
    assert_eq!(world.call(padded()).await.status, 202, "their room came back");
}
