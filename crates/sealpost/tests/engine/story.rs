//! Single deliveries from acceptance to their end.

use std::time::Duration;

use expect_test::expect;
use sealpost_core::delivery::Status;
use sealpost_core::event_type::WEBHOOK_FAILING;
use sealpost_core::settings::WebhookSettings;
use sealpost_egress::{Reply, Scripted};
use serde_json::Value;

use crate::service::Service;

const URL: &str = "https://hooks.example.com/in";

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_recovers_is_served() {
    let service = Service::start(Scripted::answering([503, 503, 200])).await;
    service.webhook(URL, &["did_create"]).await;
    let event = service.publish("did_create", "{}").await.id;
    service.attempts_at(event, 1).await;
    service.advance(seconds(11)).await;
    service.attempts_at(event, 2).await;
    service.advance(seconds(66)).await;
    service.until_count(Status::Delivered, 1).await;
    expect![[r#"
        +0s attempt 1: http_status 503
        +11s attempt 2: http_status 503
        +77s attempt 3: delivered 200
        delivered
    "#]]
    .assert_eq(&service.timeline(event).await);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_retries_and_then_failed() {
    let service = Service::start(Scripted::answering([Reply::status(500)])).await;
    service.webhook(URL, &["did_create"]).await;
    let event = service.publish("did_create", "{}").await.id;
    for (attempt, wait) in [(1, 11), (2, 66), (3, 396)] {
        service.attempts_at(event, attempt).await;
        service.advance(seconds(wait)).await;
    }
    service.until_count(Status::Failed, 1).await;
    service.advance(seconds(100_000)).await;
    assert_eq!(service.out.requests().len(), 4);
    expect![[r#"
        +0s attempt 1: http_status 500
        +11s attempt 2: http_status 500
        +77s attempt 3: http_status 500
        +473s attempt 4: http_status 500
        failed (attempts_exhausted)
    "#]]
    .assert_eq(&service.timeline(event).await);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_never_early() {
    let service = Service::start(Scripted::answering([503, 200])).await;
    service.webhook(URL, &["did_create"]).await;
    let event = service.publish("did_create", "{}").await.id;
    service.attempts_at(event, 1).await;
    service.advance(Duration::from_millis(9_999)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(service.out.requests().len(), 1);
    service.advance(Duration::from_millis(1_001)).await;
    service.until_count(Status::Delivered, 1).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_delivery_id_stays_and_everything_of_the_attempt_is_fresh() {
    let service = Service::start(Scripted::answering([503, 200])).await;
    service.webhook(URL, &["did_create"]).await;
    let event = service.publish("did_create", "{}").await.id;
    service.attempts_at(event, 1).await;
    service.advance(seconds(11)).await;
    service.until_count(Status::Delivered, 1).await;
    let requests = service.out.requests();
    let bodies: Vec<Value> = requests.iter().map(|r| serde_json::from_slice(&r.body).unwrap()).collect();
    assert_eq!(bodies[0]["deliveryId"], bodies[1]["deliveryId"]);
    assert_eq!(bodies[0]["event"], bodies[1]["event"]);
    assert_ne!(bodies[0]["deliveryTimestamp"], bodies[1]["deliveryTimestamp"]);
    let header = |n: usize, name: &str| requests[n].headers[name].to_str().unwrap().to_owned();
    assert_eq!([header(0, "x-sealpost-attempt"), header(1, "x-sealpost-attempt")], ["1", "2"]);
    assert_ne!(header(0, "signature-input"), header(1, "signature-input"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_delivery_costs_two_durable_writes() {
    let service = Service::start(Scripted::answering([200])).await;
    service.webhook(URL, &["did_create"]).await;
    let before = service.app.store.stats().await.unwrap().delivery_writes;
    for _ in 0..50 {
        service.publish("did_create", "{}").await;
    }
    service.until_count(Status::Delivered, 50).await;
    let after = service.app.store.stats().await.unwrap();
    assert_eq!(after.delivery_writes - before, 100, "accept and settle, nothing else");
    assert_eq!(after.claims, 0, "nothing was claimed from disk");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuance_also_yields_its_summary() {
    let service = Service::start(Scripted::answering([200])).await;
    let full = service.webhook("https://full.example.com/", &["OpenIdCredentialIssued"]).await;
    let summary = service.webhook("https://summary.example.com/", &["OpenIdCredentialIssuedSummary"]).await;
    let payload = r#"{"format":"ldp_vc","credential":{"secret":"claims"},"userId":"u"}"#;
    let accepted = service.publish("OpenIdCredentialIssued", payload).await;
    assert_eq!((accepted.deliveries, accepted.derived[0].deliveries), (1, 1));
    service.until_count(Status::Delivered, 2).await;
    let mut seen: Vec<String> = service
        .out
        .requests()
        .iter()
        .map(|r| {
            let body: Value = serde_json::from_slice(&r.body).unwrap();
            let whose = if body["webhookId"] == full.id.to_string() { "full" } else { "summary" };
            assert!(whose == "full" || body["webhookId"] == summary.id.to_string());
            format!("{whose} {} {}", body["event"]["type"], body["event"]["payload"])
        })
        .collect();
    seen.sort();
    expect![[r#"
        full "OpenIdCredentialIssued" {"format":"ldp_vc","credential":{"secret":"claims"},"userId":"u"}
        summary "OpenIdCredentialIssuedSummary" {"format":"ldp_vc","userId":"u"}"#]]
    .assert_eq(&seen.join("\n"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_webhook_is_told_about_once_and_its_recovery_too() {
    let ok = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let now_ok = ok.clone();
    let script = Scripted::by(move |request| {
        let alarm = &*request.host == "alarm.example.com";
        (if alarm || now_ok.load(std::sync::atomic::Ordering::SeqCst) { 200 } else { 500 }).into()
    });
    let service = Service::start(script).await;
    let once = sealpost_core::retry::RetryPolicy::new(vec![]).unwrap();
    let settings = WebhookSettings { retry: Some(once), alert_after: 2, ..WebhookSettings::default() };
    let bad =
        service.webhook_with(URL, &["did_create"], sealpost_core::dialect::Dialect::Mattr, settings).await;
    service.webhook("https://alarm.example.com/", &[WEBHOOK_FAILING, "sealpost.webhook.recovered"]).await;
    for n in 1..=4 {
        service.publish("did_create", "{}").await;
        service.until_count(Status::Failed, n).await;
    }
    ok.store(true, std::sync::atomic::Ordering::SeqCst);
    service.publish("did_create", "{}").await;
    service.until_count(Status::Delivered, 3).await;
    let mut alarms: Vec<String> = service
        .out
        .requests()
        .iter()
        .filter(|r| r.host == "alarm.example.com")
        .map(|r| serde_json::from_slice::<Value>(&r.body).unwrap())
        .map(|body| {
            format!("{} {}", body["event"]["type"], body["event"]["payload"])
                .replace(&bad.id.to_string(), "<bad>")
        })
        .collect();
    alarms.sort();
    expect![[r#"
        "sealpost.webhook.failing" {"webhookId":"<bad>"}
        "sealpost.webhook.recovered" {"webhookId":"<bad>"}"#]]
    .assert_eq(&alarms.join("\n"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_goes_to_its_webhook_alone_and_says_so() {
    let service = Service::start(Scripted::answering([200])).await;
    let tested = service.webhook(URL, &["did_create"]).await;
    service.webhook("https://other.example.com/", &["did_create"]).await;
    service.app.send_test(service.tenant, tested.id, None).await.unwrap().unwrap();
    service.until_count(Status::Delivered, 1).await;
    let requests = service.out.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].headers["x-sealpost-test"], "true");
    service.stop().await;
}
