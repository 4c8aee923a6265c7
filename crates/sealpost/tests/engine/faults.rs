//! Crashes and drains: nothing is lost, nothing is sent more often than promised.

use std::time::Duration;

use expect_test::expect;
use sealpost_core::delivery::Status;
use sealpost_egress::{Reply, Scripted};

use crate::service::Service;

const URL: &str = "https://hooks.example.com/in";

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_a_dead_process_is_unknown_and_tried_again() {
    let service = Service::start(Scripted::answering([Reply::never()])).await;
    service.webhook(URL, &["did_create"]).await;
    let event = service.publish("did_create", "{}").await.id;
    service.until("the request is out", async |s| s.out.requests().len() == 1).await;
    let service = service.killed_and_restarted(Scripted::answering([200])).await;
    assert_eq!(service.taken_up.orphans, 1);
    assert!(service.out.requests().is_empty(), "taking up sends nothing");
    service.advance(Duration::from_secs(11)).await;
    service.until_count(Status::Delivered, 1).await;
    expect![[r#"
        +0s attempt 1: unknown
        +11s attempt 2: delivered 200
        delivered
    "#]]
    .assert_eq(&service.timeline(event).await);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_crashes_use_the_four_attempts_up() {
    let mut service = Service::start(Scripted::answering([Reply::never()])).await;
    service.webhook(URL, &["did_create"]).await;
    let event = service.publish("did_create", "{}").await.id;
    for wait in [11, 66, 396] {
        service.until("the request is out", async |s| s.out.requests().len() == 1).await;
        service = service.killed_and_restarted(Scripted::answering([Reply::never()])).await;
        service.advance(Duration::from_secs(wait)).await;
    }
    service.until("the last request is out", async |s| s.out.requests().len() == 1).await;
    service = service.killed_and_restarted(Scripted::answering([200])).await;
    service.advance(Duration::from_secs(100_000)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(service.out.requests().is_empty(), "no fifth send");
    expect![[r#"
        +0s attempt 1: unknown
        +11s attempt 2: unknown
        +77s attempt 3: unknown
        +473s attempt 4: unknown
        failed (outcome_unknown)
    "#]]
    .assert_eq(&service.timeline(event).await);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_survives_and_is_sent_after_the_restart() {
    let service = Service::start(Scripted::answering([Reply::never()])).await;
    service.webhook(URL, &["did_create"]).await;
    service.publish_many("did_create", 500).await;
    service.until("its slots are used", async |s| s.out.requests().len() == 8).await;
    let service = service.killed_and_restarted(Scripted::answering([200])).await;
    assert_eq!((service.taken_up.orphans, service.taken_up.lanes), (8, 1));
    service.until_count(Status::Delivered, 492).await;
    service.advance(Duration::from_secs(11)).await;
    service.until_count(Status::Delivered, 500).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_what_was_begun_end_and_leaves_the_rest() {
    let slow = Reply::status(200).after(Duration::from_millis(200));
    let service = Service::start(Scripted::answering([slow])).await;
    service.webhook(URL, &["did_create"]).await;
    service.publish_many("did_create", 100).await;
    service.until("its slots are used", async |s| s.out.requests().len() == 8).await;
    let out = service.out.clone();
    let service = service.drained_and_restarted(Scripted::answering([200])).await;
    let sent = out.requests().len();
    assert!(sent < 100, "the rest is left: {sent}");
    assert_eq!((service.taken_up.orphans, service.taken_up.handed_back), (0, 0), "every outcome was stored");
    service.until_count(Status::Delivered, 100).await;
    assert_eq!(service.out.requests().len(), 100 - sent, "nothing is sent twice");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_hangs_up_strands_nothing() {
    let service = Service::start(Scripted::answering([200])).await;
    service.webhook(URL, &["did_create"]).await;
    for _ in 0..50 {
        let body = br#"{"type":"did_create","payload":{}}"#;
        let publications =
            sealpost_core::publish::parse(sealpost_core::publish::BodyKind::Json, body).unwrap();
        let (app, tenant) = (service.app.clone(), service.tenant);
        let call = tokio::spawn(async move { app.publish(tenant, publications, None).await.map(drop) });
        tokio::task::yield_now().await;
        call.abort();
    }
    // One that is waited for, behind all the others; then nothing of them may be left.
    service.publish("did_create", "{}").await;
    service
        .until("everything stored was delivered", async |s| {
            let sent = s.out.requests().len();
            s.count(Status::Pending).await == 0 && sent > 0 && s.count(Status::Delivered).await == sent
        })
        .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_never_began_costs_no_attempt() {
    let service = Service::start(Scripted::answering([200])).await;
    service.webhook(URL, &["did_create"]).await;
    let event = service.publish_claimed_and_left("did_create").await;
    let service = service.killed_and_restarted(Scripted::answering([200])).await;
    assert_eq!((service.taken_up.orphans, service.taken_up.handed_back), (0, 1));
    service.until_count(Status::Delivered, 1).await;
    expect![[r#"
        +0s attempt 1: delivered 200
        delivered
    "#]]
    .assert_eq(&service.timeline(event).await);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_one_attempt_and_nothing_else() {
    let script = Scripted::by(|request| {
        assert!(request.headers["x-sealpost-attempt"] != "1", "a planted panic");
        200.into()
    });
    let service = Service::start(script).await;
    service.webhook(URL, &["did_create"]).await;
    let event = service.publish("did_create", "{}").await.id;
    service.attempts_at(event, 1).await;
    service.advance(Duration::from_secs(11)).await;
    service.until_count(Status::Delivered, 1).await;
    expect![[r#"
        +0s attempt 1: unknown
        +11s attempt 2: delivered 200
        delivered
    "#]]
    .assert_eq(&service.timeline(event).await);
    service.stop().await;
}
