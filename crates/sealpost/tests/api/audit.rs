//! The audit log, as its readers see it.

use sealpost_core::role::Role;
use serde_json::{Value, json};

use crate::support::{World, get, post};

fn whats(page: &Value) -> Vec<String> {
    let entries = page["data"].as_array().unwrap();
    entries.iter().map(|entry| entry["what"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_was_done_is_listed_newest_first_with_who_did_it_and_nothing_secret() {
    let world = World::new().await;
    let auditor = world.key(Role::Auditor, None).await;
    let webhook = world.webhook(&["did_create"]).await;
    let secret = world.get(&format!("/v1/webhooks/{webhook}/secret")).await.text_of("secret");
    world.call(post(&format!("/v1/webhooks/{webhook}/secret/rotate"), json!({}))).await;
    world.call(post("/v1/webhooks/erasures", json!({"subject": "canary"}))).await;

    let page = world.call(get("/v1/webhooks/audit").by(&auditor)).await;
    assert_eq!(whats(&page.json()), ["erase payloads", "rotate secret", "read secret"]);
    assert_eq!(page.json()["data"][1]["object"], webhook);
    assert!(page.json()["data"][1]["who"].as_str().unwrap().starts_with("client "));
    assert!(!page.text().contains(&secret) && !page.text().contains("canary"), "{page}");

    let mut seen = Vec::new();
    let mut path = "/v1/webhooks/audit?limit=2".to_owned();
    loop {
        let page = world.call(get(&path).by(&auditor)).await.json();
        seen.extend(whats(&page));
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("/v1/webhooks/audit?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["erase payloads", "rotate secret", "read secret"]);
}

#[tokio::test]
async fn another_tenants_log_is_not_seen() {
    let world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    world.get(&format!("/v1/webhooks/{webhook}/secret")).await;
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default()).await.unwrap();
    let stranger = world.app.create_client(other.no, "a", Role::Admin, None, None).await.unwrap();
    let log = world.call(get("/v1/webhooks/audit").by(stranger.key.reveal())).await;
    assert_eq!(log.json()["data"], json!([]));
}
