//! The audit log, as its readers see it.

use sealpost_core::role::Role;
use serde_json::{Value, json};

use crate::support::{World, delete, get, post, put};

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
    let all = [
        "erase payloads",
        "rotate secret",
        "read secret",
        "create webhook",
        "create client", // the auditor
        "create client", // whoever calls
        "create tenant",
    ];
    assert_eq!(whats(&page.json()), all);
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
    assert_eq!(seen, all);
}

/// Every changing call of the table, and who made it.
#[tokio::test]
async fn each_call_names_its_caller_and_shows_before_and_after() {
    let world = World::new().await;
    let auditor = world.key(Role::Auditor, None).await;
    let webhook = world.webhook(&["did_create"]).await;
    let path = format!("/v1/webhooks/{webhook}");
    let url = world.get(&path).await.text_of("url");
    let moved = json!({"events": ["did_delete"], "url": url, "disabled": true});
    world.call(put(&path, moved)).await;
    world
        .call(put(&format!("{path}/settings"), json!({"maxInFlight": 2, "headers": {"x-key": "canary"}})))
        .await;
    let own = json!({"name": "invoice.paid", "description": "a"});
    world.call(post("/v1/webhooks/event-types", own)).await;
    world.call(put("/v1/webhooks/event-types/invoice.paid", json!({"description": "b"}))).await;
    world.call(delete("/v1/webhooks/event-types/invoice.paid")).await;
    world.call(delete(&path)).await;
    let page = world.call(get("/v1/webhooks/audit").by(&auditor)).await;
    let entries: Vec<Value> = page.json()["data"].as_array().unwrap()[..6].to_vec();
    let told: Vec<Value> =
        entries.iter().rev().map(|e| json!([e["what"], e["before"], e["after"]])).collect();
    assert_eq!(
        told[..4],
        [
            json!(["change webhook", {"events": ["did_create"], "disabled": false}, {"events": ["did_delete"], "disabled": true}]),
            json!(["change settings", {"settings": {"maxInFlight": 8}, "headers": []}, {"settings": {"maxInFlight": 2}, "headers": ["x-key"]}]),
            json!(["put event type", null, {"description": "a", "schema": null, "summary": told[2][2]["summary"], "receiveAll": false}]),
            json!(["put event type", {"description": "a"}, {"description": "b"}]),
        ]
    );
    assert_eq!((&told[4][0], &told[4][2]), (&json!("delete event type"), &json!(null)));
    assert_eq!((&told[5][0], &told[5][1]["url"]), (&json!("delete webhook"), &json!(url)));
    let callers: Vec<&Value> = entries.iter().map(|entry| &entry["who"]).collect();
    assert!(callers.iter().all(|who| *who == callers[0] && who.as_str().unwrap().starts_with("client ")));
    assert!(!page.text().contains("canary"), "{page}");
}

#[tokio::test]
async fn another_tenants_log_is_not_seen() {
    let world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    world.get(&format!("/v1/webhooks/{webhook}/secret")).await;
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default(), "test").await.unwrap();
    let stranger = world.app.create_client(other.no, "a", Role::Admin, None, None, "test").await.unwrap();
    let log = world.call(get("/v1/webhooks/audit").by(stranger.key.reveal())).await;
    assert_eq!(whats(&log.json()), ["create client", "create tenant"]);
    assert!(!log.text().contains(&webhook));
}
