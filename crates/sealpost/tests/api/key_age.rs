//! Signing keys that are rotated for their age, where the settings ask for it.

use std::time::Duration;

use serde_json::json;

use crate::support::{World, get, post};

const DAY: Duration = Duration::from_secs(86_400);

/// The key ids a receiver is told, the one that signs first.
async fn kids(world: &World) -> Vec<String> {
    let keys = world.get("/v1/webhooks/jwks").await.json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_key_that_signed_long_enough_gives_way_to_the_next() {
    let world = World::rotating(Some(90 * DAY)).await;
    let first = kids(&world).await;
    assert_eq!(first.len(), 2);
    world.clock.advance(90 * DAY - Duration::from_millis(1));
    assert_eq!(world.app.rotate_aged_keys().await.unwrap(), 0);
    assert_eq!(kids(&world).await, first);

    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.app.rotate_aged_keys().await.unwrap(), 1);
    let second = kids(&world).await;
    // What was next signs, and the former is known for as long as what it signed may be on the way.
    assert_eq!((&second[0], &second[2]), (&first[1], &first[0]));
    // Once, however often it is looked at.
    assert_eq!(world.app.rotate_aged_keys().await.unwrap(), 0);
    world.clock.advance(31 * DAY);
    assert_eq!(kids(&world).await, second[..2]);
    world.clock.advance(59 * DAY);
    assert_eq!(world.app.rotate_aged_keys().await.unwrap(), 1);
    assert_eq!(kids(&world).await[0], second[1]);

    let log = world.get("/v1/webhooks/audit?limit=2").await.json();
    for entry in log["data"].as_array().unwrap() {
        assert_eq!((&entry["who"], &entry["what"]), (&json!("sealpost"), &json!("rotate keys")));
    }
}

#[tokio::test]
async fn every_tenant_that_is_due_is_rotated_and_nothing_where_it_is_off() {
    let off = World::rotating(None).await;
    off.clock.advance(3650 * DAY);
    let before = kids(&off).await;
    assert_eq!(off.app.rotate_aged_keys().await.unwrap(), 0);
    assert_eq!(kids(&off).await, before);

    let world = World::rotating(Some(30 * DAY)).await;
    let operator = world.operator().await;
    // More than are looked up in one go.
    for n in 0..120 {
        let tenant = json!({"name": "t", "subdomain": format!("t{n}")});
        assert_eq!(world.call(post("/v1/tenants", tenant).by(&operator)).await.status, 201);
    }
    world.clock.advance(15 * DAY);
    let young = world.call(post("/v1/tenants", json!({"name": "y", "subdomain": "y"})).by(&operator)).await;
    world.clock.advance(15 * DAY);
    assert_eq!(world.app.rotate_aged_keys().await.unwrap(), 121);
    let key = young.json()["client"]["clientSecret"].as_str().unwrap().to_owned();
    let log = world.call(get("/v1/webhooks/audit").by(&key)).await;
    assert!(!log.text().contains("rotate keys"), "{log}");
}
