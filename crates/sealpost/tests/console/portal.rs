//! Portal links: one webhook, for a while, and no more power than to look.

use std::time::Duration;

use expect_test::expect;
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

const LINKS: &str = "/v1/webhooks/portal-links";

/// Follows a link of the API.
async fn follow(console: &Console, made: &crate::api::Answer) -> Browser {
    assert_eq!(made.status, 200, "{made}");
    let url = made.text_of("url");
    let token = url.strip_prefix("https://posts.example/console/portal/").unwrap().to_owned();
    let mut guest = console.browser();
    assert_eq!(guest.post("/console/portal", &[("token", &token)]).await.to(), "/console");
    let again = console.browser().post("/console/portal", &[("token", &token)]).await;
    assert_eq!(again.status, 400, "once");
    guest
}

#[tokio::test]
async fn a_link_of_the_api_opens_a_set_of_webhooks() {
    let console = Console::new().await;
    let world = &console.world;
    let (first, other) = (world.webhook(&["did_create"]).await, world.webhook(&["did_create"]).await);
    let second = console.truvera(&["did_create"]).await;
    let made =
        world.call(crate::api::post(LINKS, json!({"webhookIds": [first, second.no.to_string()]}))).await;
    assert_eq!(made.json()["webhookIds"], json!([first, second.id]));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let log = world.get("/v1/webhooks/audit?limit=2").await.json();
    let entry = &log["data"][0];
    assert_eq!(
        (&entry["what"], &entry["object"]),
        (&json!("make portal link"), &json!(format!("{first},{}", second.id))),
        "one link is one entry"
    );
    assert_ne!(log["data"][1]["what"], "make portal link");
    assert!(!log.to_string().contains("spl_"));
    let mut guest = follow(&console, &made).await;
    let list = guest.get("/console/webhooks").await;
    assert!(list.has(&first) && list.has(&second.id.to_string()) && !list.has(&other));
    for (webhook, status) in [(&first, 200), (&second.id.to_string(), 200), (&other, 404)] {
        assert_eq!(guest.get(&format!("/console/webhooks/{webhook}")).await.status, status);
        assert_eq!(guest.get(&format!("/console/deliveries?webhook={webhook}")).await.status, status);
    }
}

#[tokio::test]
async fn a_link_of_the_api_is_for_own_webhooks_and_for_a_while() {
    let console = Console::new().await;
    let world = &console.world;
    let webhook = world.webhook(&["did_create"]).await;
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default(), "test").await.unwrap();
    let stranger = world.app.create_client(other.no, "a", Role::Admin, None, None, "test").await.unwrap();
    let ask =
        async |body: serde_json::Value, key: &str| world.call(crate::api::post(LINKS, body).by(key)).await;
    let audited = async || world.get("/v1/webhooks/audit").await.to_string();
    let before = audited().await;
    let foreign = ask(json!({"webhookIds": [webhook]}), stranger.key.reveal()).await.to_string();
    let absent = ask(json!({"webhookIds": [crate::api::ABSENT]}), stranger.key.reveal()).await.to_string();
    assert_eq!(foreign.replace(&webhook, "ID"), absent.replace(crate::api::ABSENT, "ID"));
    let mut said = crate::api::Said::default();
    for body in [
        json!({"webhookIds": [crate::api::ABSENT]}),
        json!({"webhookIds": ["7"]}),
        json!({"webhookIds": ["x"]}),
        json!({"webhookIds": []}),
        json!({"webhookIds": vec![crate::api::ABSENT; 33]}),
        json!({"webhookIds": [webhook, webhook]}),
        json!({}),
        json!({"webhookIds": [webhook], "expiresIn": "59s"}),
        json!({"webhookIds": [webhook], "expiresIn": "25h"}),
        json!({"webhookIds": [webhook], "who": "me"}),
    ] {
        let answer = ask(body.clone(), &world.admin).await;
        let [asked, told] = [body.to_string(), answer.to_string()].map(|text| text.replace(&webhook, "ID"));
        said.line(format!("{asked:.60}: {told:.230}"));
    }
    said.is(expect![[r#"
        {"webhookIds":["0190c0de-0000-7000-8000-000000000000"]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Resource Not Found","param":"webhookIds[0]","location":"body"}]}
        {"webhookIds":["7"]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"7","msg":"Resource Not Found","param":"webhookIds[0]","location":"body"}]}
        {"webhookIds":["x"]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"x","msg":"must be a UUID or a number","param":"webhookIds[0]","location":"body"}]}
        {"webhookIds":[]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":[],"msg":"must hold 1 to 32 ids of webhooks","param":"webhookIds","location":"body"}]}
        {"webhookIds":["0190c0de-0000-7000-8000-000000000000","0190c: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":["0190c0de-0000-7000-8000-000000000000","0190c0de-0000-7000-8000-000000000000","0190c0de-0000-7000-8000-000000000000","0190c0de-0000-7000-8000-000000000000"
        {"webhookIds":["ID","ID"]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"ID","msg":"is named twice","param":"webhookIds[1]","location":"body"}]}
        {}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Invalid value","param":"webhookIds","location":"body"}]}
        {"webhookIds":["ID"],"expiresIn":"59s"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"59s","msg":"must be 1m to 24h","param":"expiresIn","location":"body"}]}
        {"webhookIds":["ID"],"expiresIn":"25h"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"25h","msg":"must be 1m to 24h","param":"expiresIn","location":"body"}]}
        {"webhookIds":["ID"],"who":"me"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"me","msg":"Unknown field","param":"who","location":"body"}]}
    "#]]);
    assert_eq!(audited().await, before, "what was refused made nothing");

    let issuer = world.app.create_client(world.tenant, "i", Role::Issuer, None, None, "test").await.unwrap();
    let made = ask(json!({"webhookIds": [webhook]}), issuer.key.reveal()).await;
    let mut guest = follow(&console, &made).await;
    assert_eq!(guest.get("/console/webhooks").await.status, 200);
    world.app.delete_client(world.tenant, issuer.client.id, "test").await.unwrap();
    assert_eq!(guest.get("/console/webhooks").await.status, 303, "it ends with its maker");
    let made = ask(json!({"webhookIds": [webhook], "expiresIn": "24h"}), &world.admin).await;
    world.clock.advance(Duration::from_secs(24 * 3600 - 1));
    follow(&console, &made).await;
    let made = ask(json!({"webhookIds": [webhook], "expiresIn": "1m"}), &world.admin).await;
    let url = made.text_of("url");
    world.clock.advance(Duration::from_secs(60));
    let token = url.rsplit('/').next().unwrap();
    assert_eq!(console.browser().post("/console/portal", &[("token", token)]).await.status, 400);
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
