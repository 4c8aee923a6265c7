//! What one tenant may use: calls and events by rate, webhooks by number, payloads by size.

use expect_test::expect;
use sealpost_core::id::TenantNo;
use sealpost_core::quota::OwnQuota;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::support::{ABSENT, Answer, Said, World, get, post, put};

/// Two tenants: `default`, and another with an administrator's key and its id.
async fn two() -> (World, String, String) {
    let world = World::new().await;
    let operator = world.operator().await;
    let made =
        world.call(post("/v1/tenants", json!({"name": "b", "subdomain": "b"})).by(&operator)).await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (world, text(&made["id"]), text(&made["client"]["clientSecret"]))
}

async fn limit(world: &World, tenant: &str, limits: Value) -> Answer {
    let operator = world.operator().await;
    world.call(put(&format!("/v1/tenants/{tenant}/limits"), limits).by(&operator)).await
}

fn event() -> Value {
    json!({"type": "did_create", "payload": {"id": "did:example:1"}})
}

#[tokio::test]
async fn a_tenant_that_calls_too_often_waits_and_nobody_else_does() {
    let (world, tenant, key) = two().await;
    assert_eq!(limit(&world, &tenant, json!({"requestsPerSecond": 2})).await.status, 200);
    let mut said = Said::default();
    for _ in 0..3 {
        said.note("get", &world.call(get("/v1/webhooks").by(&key)).await);
    }
    let refused = world.call(get("/v1/webhooks").by(&key)).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    said.is(expect![[r#"
        get: 200 {"data":[]}
        get: 200 {"data":[]}
        get: 429 {"code":"TooManyRequests","message":"The tenant makes more calls, or publishes more events, than it may"}
    "#]]);
    // A call that is refused changes nothing, whatever it asks for.
    let hook = json!({"events": ["did_create"], "url": "https://example.com/x"});
    assert_eq!(world.call(post("/v1/webhooks", hook).by(&key)).await.status, 429);
    assert_eq!(world.get("/v1/webhooks").await.status, 200);
    // Public calls are no tenant's; wrong keys are not counted as anyone's.
    assert_eq!(world.call(get("/v1/webhooks/jwks").by_nobody()).await.status, 200);
    assert_eq!(world.call(get("/v1/webhooks").by("spk_wrong")).await.status, 401);

    world.clock.advance(Duration::from_millis(500));
    let listed = world.call(get("/v1/webhooks").by(&key)).await;
    assert_eq!(listed.to_string(), r#"200 {"data":[]}"#);
    assert_eq!(world.call(get("/v1/webhooks").by(&key)).await.status, 429);
}

#[tokio::test]
async fn a_tenant_that_publishes_too_fast_waits_as_long_as_it_is_told() {
    let (world, tenant, key) = two().await;
    limit(&world, &tenant, json!({"eventsPerSecond": 10})).await;
    let publish = async |many: usize| {
        world.call(post("/v1/webhooks/events", json!(vec![event(); many])).by(&key)).await
    };
    assert_eq!(publish(10).await.status, 202);
    assert_eq!(publish(1).await.header("retry-after"), Some("1"));
    // Reading is not publishing.
    assert_eq!(world.call(get("/v1/webhooks/events").by(&key)).await.ids().len(), 10);
    world.clock.advance(Duration::from_secs(1));
    // A batch is taken whole, and paid for afterwards.
    assert_eq!(publish(40).await.status, 202);
    let refused = publish(1).await;
    let wait = refused.header("retry-after").unwrap().parse().unwrap();
    assert_eq!((refused.status, wait), (429, 4));
    world.clock.advance(Duration::from_secs(wait - 1));
    assert_eq!(publish(1).await.status, 429);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(publish(1).await.status, 202);
    assert_eq!(world.call(get("/v1/webhooks/events").by(&key)).await.ids().len(), 51);
    world.publish(event()).await;

    // A test is an event like the others.
    let hook = json!({"events": ["did_create"], "url": "https://example.com/x"});
    let hook = world.call(post("/v1/webhooks", hook).by(&key)).await.text_of("id");
    let test = async || world.call(post(&format!("/v1/webhooks/{hook}/test"), json!({})).by(&key)).await;
    world.clock.advance(Duration::from_secs(10));
    for _ in 0..10 {
        assert_eq!(test().await.status, 202);
    }
    let refused = test().await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(publish(1).await.status, 429);

    // What is refused for its content costs nothing.
    world.clock.advance(Duration::from_secs(10));
    for _ in 0..20 {
        let wrong = post("/v1/webhooks/events", json!({"type": "no_such_type", "payload": {}})).by(&key);
        assert_eq!(world.call(wrong).await.status, 400);
    }
    assert_eq!(publish(1).await.status, 202);
}

#[tokio::test]
async fn a_tenant_has_so_many_webhooks_and_payloads_so_large() {
    let (world, tenant, key) = two().await;
    limit(&world, &tenant, json!({"webhooks": 2, "payloadBytes": 30})).await;
    let hook = || post("/v1/webhooks", json!({"events": ["did_create"], "url": "https://example.com/x"}));
    let mut made = Vec::new();
    for _ in 0..2 {
        made.push(world.call(hook().by(&key)).await.text_of("id"));
    }
    let mut said = Said::default();
    said.note("a third", &world.call(hook().by(&key)).await);
    let exactly = json!({"type": "did_create", "payload": {"id": "0123456789012345678901"}});
    let one_more = json!({"type": "did_create", "payload": {"id": "01234567890123456789012"}});
    assert_eq!(exactly["payload"].to_string().len(), 31);
    said.note("31 bytes", &world.call(post("/v1/webhooks/events", exactly.clone()).by(&key)).await);
    said.note(
        "in a batch",
        &world.call(post("/v1/webhooks/events", json!([event(), one_more])).by(&key)).await,
    );
    said.is(expect![[r#"
        a third: 409 {"code":"Conflict","message":"the tenant has reached its number of webhooks"}
        31 bytes: 413 {"code":"PayloadTooLarge","message":"a payload of this tenant has at most 30 bytes"}
        in a batch: 413 {"code":"PayloadTooLarge","message":"a payload of this tenant has at most 30 bytes"}
    "#]]);
    assert_eq!(world.call(get("/v1/webhooks/events").by(&key)).await.ids().len(), 0);

    // The place of a deleted one is free again; a raised limit is in force at once.
    let path = format!("/v1/webhooks/{}", made[0]);
    assert_eq!(world.call(crate::support::delete(&path).by(&key)).await.status, 204);
    assert_eq!(world.call(hook().by(&key)).await.status, 201);
    limit(&world, &tenant, json!({"webhooks": 3, "payloadBytes": 31})).await;
    assert_eq!(world.call(hook().by(&key)).await.status, 201);
    assert_eq!(world.call(post("/v1/webhooks/events", exactly).by(&key)).await.status, 202);
    // Other tenants have theirs.
    world.webhook(&["did_create"]).await;
}

#[tokio::test]
async fn limits_are_replaced_shown_and_refused_by_name() {
    let (world, tenant, _) = two().await;
    let operator = world.operator().await;
    let mut said = Said::default();
    said.note("set", &limit(&world, &tenant, json!({"requestsPerSecond": 5, "webhooks": 7})).await);
    let shown = world.call(get(&format!("/v1/tenants/{tenant}")).by(&operator)).await.json();
    said.line(&shown["limits"]);
    said.note("zero", &limit(&world, &tenant, json!({"webhooks": 0})).await);
    said.note("fraction", &limit(&world, &tenant, json!({"eventsPerSecond": 0.5})).await);
    said.note("text", &limit(&world, &tenant, json!({"payloadBytes": "1"})).await);
    said.note("unknown", &limit(&world, &tenant, json!({"requests": 1})).await);
    said.note("absent tenant", &limit(&world, ABSENT, json!({})).await);
    let shown = world.call(get(&format!("/v1/tenants/{tenant}")).by(&operator)).await.json();
    said.line(&shown["limits"]);
    said.note("none", &limit(&world, &tenant, json!({})).await);
    said.is(expect![[r#"
        set: 200 {"requestsPerSecond":5,"webhooks":7}
        {"requestsPerSecond":5,"webhooks":7}
        zero: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":0,"msg":"must be a whole number from 1 to 4294967295","param":"webhooks","location":"body"}]}
        fraction: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":0.5,"msg":"must be a whole number from 1 to 4294967295","param":"eventsPerSecond","location":"body"}]}
        text: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"1","msg":"must be a whole number from 1 to 4294967295","param":"payloadBytes","location":"body"}]}
        unknown: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":1,"msg":"Unknown field","param":"requests","location":"body"}]}
        absent tenant: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Resource Not Found","param":"id","location":"params"}]}
        {"requestsPerSecond":5,"webhooks":7}
        none: 200 {}
    "#]]);
}

#[tokio::test]
async fn the_installations_limits_hold_for_who_has_none() {
    let rate = |many| NonZeroU32::new(many);
    let mut world =
        World::limited(OwnQuota { requests_per_second: rate(3), webhooks: rate(1), ..OwnQuota::default() })
            .await;
    world.webhook(&["did_create"]).await;
    let hook = json!({"events": ["did_create"], "url": "https://example.com/x"});
    assert_eq!(world.call(post("/v1/webhooks", hook)).await.status, 409);
    assert_eq!(world.get("/v1/webhooks").await.status, 200);
    assert_eq!(world.get("/v1/webhooks").await.status, 429);
    // A tenant's own come first, before and after the process ends.
    let own = OwnQuota { requests_per_second: rate(100), ..OwnQuota::default() };
    assert!(world.app.change_quota(world.tenant, |_| own, "test").await.unwrap().is_some());
    assert_eq!(world.app.change_quota(TenantNo(99), |_| own, "test").await.ok(), None);
    for _ in 0..2 {
        for _ in 0..20 {
            assert_eq!(world.get("/v1/webhooks").await.status, 200);
        }
        world = world.restart().await;
    }
}
