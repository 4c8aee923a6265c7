//! Whose call it is: keys, and hosts below a base domain.

use expect_test::expect;
use sealpost_core::role::Role;
use sealpost_core::tenant::Retention;
use std::time::Duration;

use crate::support::{Call, Said, World, get, post};
use serde_json::json;

fn at(host: &str, call: Call) -> Call {
    call.header("host", host)
}

#[tokio::test]
async fn a_key_is_a_bearer_and_ends_when_it_expires_or_is_deleted() {
    let world = World::new().await;
    let expires = world.app.clock.now() + Duration::from_secs(60);
    let made =
        world.app.create_client(world.tenant, "ci", Role::Issuer, None, Some(expires), "test").await.unwrap();
    let key = made.key.reveal();
    let status = async |call: Call| world.call(call).await.status;
    assert_eq!(status(get("/v1/webhooks").by(key)).await, 200);
    assert_eq!(status(get("/v1/webhooks").by(&format!("{key}x"))).await, 401);
    assert_eq!(status(get("/v1/webhooks").by("")).await, 401);
    for header in [format!("Basic {key}"), key.clone(), format!("Bearer{key}")] {
        assert_eq!(status(get("/v1/webhooks").by_nobody().header("authorization", &header)).await, 401);
    }
    let twice = get("/v1/webhooks").by(key).header("authorization", &format!("Bearer {key}"));
    assert_eq!(status(twice).await, 401);
    assert_eq!(status(get("/v1/webhooks").by_nobody().header("dock-api-token", key)).await, 401);

    world.clock.advance(Duration::from_secs(60));
    assert_eq!(status(get("/v1/webhooks").by(key)).await, 401);

    let made = world.app.create_client(world.tenant, "cd", Role::Issuer, None, None, "test").await.unwrap();
    let key = made.key.reveal();
    assert_eq!(status(get("/v1/webhooks").by(key)).await, 200);
    world.app.delete_client(world.tenant, made.client.id, "test").await.unwrap();
    assert_eq!(status(get("/v1/webhooks").by(key)).await, 401);
}

#[tokio::test]
async fn without_a_base_domain_every_host_is_tenant_default() {
    let world = World::new().await;
    for host in ["127.0.0.1:8080", "anything.example", "acme.posts.example"] {
        assert_eq!(world.call(at(host, get("/v1/webhooks"))).await.status, 200);
        assert_eq!(
            world.call(at(host, get("/v1/webhooks/jwks").by_nobody())).await.json()["keys"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
}

#[tokio::test]
async fn a_host_below_the_base_domain_and_the_key_must_agree() {
    let world = World::with(Some("posts.example"), 0).await;
    let acme =
        world.app.create_tenant("Acme", "acme".parse().unwrap(), Retention::default(), "test").await.unwrap();
    let acme_key = world.app.create_client(acme.no, "admin", Role::Admin, None, None, "test").await.unwrap();
    let acme_key = acme_key.key.reveal();
    let mut said = Said::default();
    for host in [
        "acme.posts.example",
        "ACME.posts.example.:443",
        "default.posts.example",
        "nobody.posts.example",
        "a.b.posts.example",
        "posts.example",
        "10.0.0.1",
    ] {
        let tried = [
            world.call(at(host, get("/v1/webhooks").by(acme_key))).await.status,
            world.call(at(host, get("/v1/webhooks").by_nobody())).await.status,
            world.call(at(host, get("/v1/webhooks/jwks").by_nobody())).await.status,
            world.call(at(host, get("/livez").by_nobody())).await.status,
        ];
        said.line(format!(
            "{host}: key of acme {}, no key {}, jwks {}, livez {}",
            tried[0], tried[1], tried[2], tried[3]
        ));
    }
    said.is(expect![[r#"
        acme.posts.example: key of acme 200, no key 401, jwks 200, livez 200
        ACME.posts.example.:443: key of acme 200, no key 401, jwks 200, livez 200
        default.posts.example: key of acme 401, no key 401, jwks 200, livez 200
        nobody.posts.example: key of acme 404, no key 404, jwks 404, livez 200
        a.b.posts.example: key of acme 404, no key 404, jwks 404, livez 200
        posts.example: key of acme 200, no key 401, jwks 404, livez 200
        10.0.0.1: key of acme 200, no key 401, jwks 404, livez 200
    "#]]);

    let keys = async |host: &str| world.call(at(host, get("/v1/webhooks/jwks").by_nobody())).await.json();
    assert_ne!(keys("acme.posts.example").await, keys("default.posts.example").await);
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    let event = world.publish(json!({"type": "did_create", "payload": {}})).await;
    let delivery = world.newest_delivery("").await;
    let acme =
        world.app.create_tenant("Acme", "acme".parse().unwrap(), Retention::default(), "test").await.unwrap();
    let other = world.app.create_client(acme.no, "admin", Role::Admin, None, None, "test").await.unwrap();
    let other = other.key.reveal();
    for path in [
        format!("/v1/webhooks/{webhook}"),
        format!("/v1/webhooks/{webhook}/settings"),
        format!("/v1/webhooks/{webhook}/secret"),
        format!("/v1/webhooks/events/{event}"),
        format!("/v1/webhooks/events/{event}?include=payload"),
        format!("/v1/webhooks/deliveries/{delivery}"),
    ] {
        assert_eq!(world.call(get(&path)).await.status, 200, "{path}");
        assert_eq!(world.call(get(&path).by(other)).await.status, 404, "{path}");
    }
    for path in ["/v1/webhooks", "/v1/webhooks/events", "/v1/webhooks/deliveries"] {
        assert_eq!(world.call(get(path).by(other)).await.to_string(), r#"200 {"data":[]}"#, "{path}");
    }
    // The id of another tenant's event is free.
    let same = json!({"id": event, "type": "did_delete", "payload": {"other": true}});
    assert_eq!(world.call(post("/v1/webhooks/events", same).by(other)).await.status, 202);
}
