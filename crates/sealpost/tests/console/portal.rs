//! Portal links: one webhook, for a while, and no more power than to look.

use std::time::Duration;

use sealpost_core::role::Role;
use serde_json::json;

use crate::support::{Browser, Console};
use crate::table::CHANGES;

/// The path of a link to this webhook, as its maker is shown it.
async fn link(maker: &mut Browser, webhook: &str) -> String {
    let shown = maker.submit(&format!("/console/webhooks/{webhook}/portal"), &[]).await;
    let (_, rest) = shown.text().split_once("https://posts.example/console/portal/").expect("a link");
    rest.split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_link_shows_its_webhook_and_nothing_else() {
    let console = Console::new().await;
    let webhook = console.world.webhook(&["did_create"]).await;
    let other = console.world.webhook(&["did_create"]).await;
    console.world.publish(json!({"type": "did_create", "payload": {"did": "d"}})).await;
    let mine = console.world.newest_delivery(&format!("webhookId={webhook}")).await;
    let theirs = console.world.newest_delivery(&format!("webhookId={other}")).await;
    let mut admin = console.admin().await;
    let token = link(&mut admin, &webhook).await;
    assert!(!admin.get(&format!("/console/webhooks/{webhook}")).await.has(&token), "shown once");

    let mut guest = console.browser();
    for _ in 0..2 {
        // What looks at links in messages does not use them up.
        assert!(guest.get(&format!("/console/portal/{token}")).await.has("Open"));
        assert!(guest.cookie.is_none());
    }
    assert_eq!(guest.post("/console/portal", &[("token", &token)]).await.to(), "/console");
    assert_eq!(guest.get("/console").await.to(), "/console/webhooks");
    let list = guest.get("/console/webhooks").await;
    assert!(list.has(&webhook) && !list.has(&other) && !list.has("Add Endpoint"));
    let page = guest.get(&format!("/console/webhooks/{webhook}")).await;
    assert!(page.status == 200 && !page.has("Send test event") && !page.has("Rotate") && !page.has("Pause"));
    let deliveries = guest.get("/console/deliveries").await;
    assert!(deliveries.has(&mine) && !deliveries.has(&theirs));
    assert_eq!(guest.get(&format!("/console/deliveries/{mine}")).await.status, 200);
    for path in [
        format!("/console/webhooks/{other}"),
        format!("/console/deliveries/{theirs}"),
        format!("/console/deliveries?webhook={other}"),
    ] {
        assert_eq!(guest.get(&path).await.status, 404, "{path}");
    }
    for path in
        ["/console/overview", "/console/events", "/console/event-types", "/console/audit", "/console/tenants"]
    {
        assert_eq!(guest.get(path).await.status, 403, "{path}");
    }
    for path in CHANGES.iter().filter(|path| !path.contains("request") && !path.contains("payload")) {
        let path = path.replace("{webhook}", &webhook).replace("{delivery}", &mine);
        assert_eq!(guest.post(&path, &[]).await.status, 403, "{path}");
    }
    assert_eq!(guest.post(&format!("/console/webhooks/{webhook}/portal"), &[]).await.status, 403);
    let log = console.world.get("/v1/webhooks/audit?limit=1").await.json();
    assert_eq!(
        (&log["data"][0]["what"], &log["data"][0]["object"]),
        (&json!("make portal link"), &json!(webhook))
    );
}

#[tokio::test]
async fn what_else_the_tenant_publishes_is_not_a_guests() {
    let console = Console::new().await;
    for name in ["ours.secret-plan", "ours.shared"] {
        let made =
            console.world.call(crate::api::post("/v1/webhooks/event-types", json!({"name": name}))).await;
        assert_eq!(made.status, 201, "{made}");
    }
    let webhook = console.world.webhook(&["did_create", "ours.shared"]).await;
    let mut admin = console.admin().await;
    assert!(admin.get("/console/deliveries").await.has("ours.secret-plan"));
    let token = link(&mut admin, &webhook).await;
    let mut guest = console.browser();
    guest.post("/console/portal", &[("token", &token)]).await;
    let mut subscriber = console.role(Role::Subscriber, Some(webhook.parse().unwrap())).await;
    for browser in [&mut guest, &mut subscriber] {
        let shown = browser.get("/console/deliveries").await;
        assert!(shown.has("did_create") && shown.has("ours.shared") && !shown.has("ours.secret-plan"));
    }
}

#[tokio::test]
async fn a_link_opens_once_and_in_time_and_from_its_own_page() {
    let console = Console::new().await;
    let webhook = console.world.webhook(&["did_create"]).await;
    let mut admin = console.admin().await;
    let token = link(&mut admin, &webhook).await;
    let elsewhere = crate::support::form("/console/portal").header("sec-fetch-site", "cross-site");
    let body = crate::support::body(&[("token", &token)]);
    assert_eq!(console.browser().send(elsewhere.body(body).unwrap()).await.status, 403);
    assert_eq!(console.browser().post("/console/portal", &[("token", &token)]).await.status, 303);
    for bad in [token.as_str(), "spl_unknown", ""] {
        let shown = console.browser().post("/console/portal", &[("token", bad)]).await;
        assert!(shown.status == 400 && shown.has("Ask for another"), "{bad}");
    }
    let token = link(&mut admin, &webhook).await;
    console.world.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(console.browser().post("/console/portal", &[("token", &token)]).await.status, 400);
}

#[tokio::test]
async fn what_a_link_opened_ends_with_its_maker_and_its_webhook() {
    let console = Console::new().await;
    let world = &console.world;
    let webhook = world.webhook(&["did_create"]).await;
    let made = world.app.create_client(world.tenant, "c", Role::Issuer, None, None, "test").await.unwrap();
    let mut maker = console.with_key(made.key.reveal()).await;
    let token = link(&mut maker, &webhook).await;
    let mut guest = console.browser();
    guest.post("/console/portal", &[("token", &token)]).await;
    assert_eq!(guest.get(&format!("/console/webhooks/{webhook}")).await.status, 200);
    world.call(crate::api::delete(&format!("/v1/webhooks/{webhook}"))).await;
    assert_eq!(guest.get(&format!("/console/webhooks/{webhook}")).await.status, 404);
    assert_eq!(guest.get("/console/webhooks").await.status, 200);
    world.app.delete_client(world.tenant, made.client.id, "test").await.unwrap();
    assert_eq!(guest.get("/console/webhooks").await.status, 303, "signed out");
}
