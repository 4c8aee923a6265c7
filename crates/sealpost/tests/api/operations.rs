//! What machines ask: liveness, readiness, metrics, the document.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use expect_test::expect_file;
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{DOCUMENT, World, get};

#[tokio::test]
async fn ready_follows_the_engine_and_live_does_not() {
    let world = World::new().await;
    assert_eq!(world.call(get("/livez").by_nobody()).await.to_string(), r#"200 {"status":"live"}"#);
    assert_eq!(world.call(get("/readyz").by_nobody()).await.to_string(), r#"200 {"status":"ready"}"#);
    world.ready.store(false, Ordering::Relaxed);
    let not_ready = world.call(get("/readyz").by_nobody()).await;
    assert_eq!(
        not_ready.to_string(),
        r#"503 {"code":"ServiceUnavailable","message":"The service is starting or stopping"}"#
    );
    assert_eq!(not_ready.header("retry-after"), Some("1"));
    assert_eq!(world.get("/livez").await.status, 200);
}

#[tokio::test]
async fn metrics_count_and_name_no_url() {
    let world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    let event = world.publish(json!({"type": "did_create", "payload": {}})).await;
    let fetch = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = world.metrics.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (
            status,
            String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap(),
        )
    };
    let (status, text) = fetch("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "sealpost_events_accepted_total 1",
        "sealpost_deliveries_in_flight 1",
        "# TYPE sealpost_store_wal_bytes gauge",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    for private in [webhook.as_str(), event.as_str(), "example.com", "{"] {
        assert!(!text.contains(private), "{private} is in\n{text}");
    }
    assert_eq!(fetch("/livez").await.0, 404, "the metrics listener serves nothing else");
    assert_eq!(world.get("/metrics").await.to_string(), "403 [text/plain]", "a tenant's key");
    let operator = world.operator().await;
    let answer = world.call(get("/metrics").by(&operator)).await;
    assert!(answer.text().contains("sealpost_store_commits_total"), "{answer}");
}

#[tokio::test]
async fn the_document_is_served_and_is_the_snapshot() {
    let world = World::new().await;
    assert_eq!(world.call(get("/openapi.json").by_nobody()).await.json(), *DOCUMENT);
    // `UPDATE_EXPECT=1 cargo test` writes it anew.
    let pretty = serde_json::to_string_pretty(&*DOCUMENT).unwrap() + "\n";
    expect_file!["../openapi.json"].assert_eq(&pretty);
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    fn walk(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    match value.as_str() {
                        Some(reference) if name == "$ref" => found.push(reference.to_owned()),
                        _ => walk(value, found),
                    }
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let mut references = Vec::new();
    walk(&DOCUMENT, &mut references);
    for reference in &references {
        assert!(DOCUMENT.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    for name in DOCUMENT["components"]["schemas"].as_object().unwrap().keys() {
        let used = references.contains(&format!("#/components/schemas/{name}"));
        assert!(used, "nothing uses the schema {name}");
    }
    let mut ids: Vec<&str> = DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| {
            item.as_object().unwrap().values().filter_map(|operation| operation["operationId"].as_str())
        })
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "operation ids are unique");
}
