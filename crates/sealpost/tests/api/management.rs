//! What the operator calls: tenants and their clients.

use expect_test::expect;
use sealpost_core::role::Role;
use serde_json::json;

use crate::support::{ABSENT, Said, World, call, delete, get, post};

#[tokio::test]
async fn a_tenant_comes_with_a_client_that_is_its_admin() {
    let world = World::with(Some("posts.example"), 0).await;
    let operator = world.operator().await;
    let made =
        world.call(post("/v1/tenants", json!({"name": "Acme", "subdomain": "acme"})).by(&operator)).await;
    assert_eq!(made.status, 201, "{made}");
    let id = made.text_of("id");
    assert_eq!(made.header("location"), Some(&*format!("/v1/tenants/{id}")));
    assert_eq!(made.text_of("subdomain"), "acme.posts.example");
    let client = &made.json()["client"];
    assert_eq!((&client["name"], &client["roles"]), (&json!("admin"), &json!(["admin"])));
    let secret = client["clientSecret"].as_str().unwrap();
    assert!(secret.starts_with("spk_"));
    let at_host = |host: &str| get("/v1/webhooks").by(secret).header("host", host);
    assert_eq!(world.call(at_host("acme.posts.example")).await.status, 200);
    assert_eq!(world.call(at_host("default.posts.example")).await.status, 401);

    // The secret is never shown again, nor stored.
    for path in [format!("/v1/tenants/{id}"), "/v1/tenants".into(), format!("/v1/tenants/{id}/clients")] {
        let shown = world.call(get(&path).by(&operator)).await;
        assert_eq!(shown.status, 200, "{path}");
        assert!(!shown.text().contains(secret), "{path}");
        assert!(shown.text().contains("Acme") || shown.text().contains("\"admin\""), "{path}: {shown}");
    }
}

#[tokio::test]
async fn tenants_are_listed_newest_first_page_by_page() {
    let world = World::new().await;
    let operator = world.operator().await;
    for name in ["a", "b", "c"] {
        world.tick();
        world.call(post("/v1/tenants", json!({"name": name, "subdomain": name})).by(&operator)).await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/tenants?limit=3".to_owned();
    loop {
        let page = world.call(get(&path).by(&operator)).await.json();
        seen.extend(
            page["data"].as_array().unwrap().iter().map(|t| t["subdomain"].as_str().unwrap().to_owned()),
        );
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("/v1/tenants?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["c", "b", "a", "default"]);
}

#[tokio::test]
async fn a_deleted_tenant_is_gone_at_once_with_what_it_owned() {
    let world = World::new().await;
    let operator = world.operator().await;
    let made =
        world.call(post("/v1/tenants", json!({"name": "a", "subdomain": "a"})).by(&operator)).await.json();
    let (id, key) = (made["id"].as_str().unwrap(), made["client"]["clientSecret"].as_str().unwrap());
    let hook = json!({"events": ["did_create"], "url": "https://example.com/x"});
    assert_eq!(world.call(post("/v1/webhooks", hook).by(key)).await.status, 201);
    let event = json!({"type": "did_create", "payload": {"did": "canary"}});
    let event = world.call(post("/v1/webhooks/events", event).by(key)).await.text_of("id");
    let tenant = world.app.tenant_by_name("a").await.unwrap().unwrap();

    assert_eq!(world.call(delete(&format!("/v1/tenants/{id}")).by(&operator)).await.to_string(), "204");
    let mut said = Said::default();
    said.note("get", &world.call(get(&format!("/v1/tenants/{ABSENT}")).by(&operator)).await);
    said.note("its key", &world.call(get("/v1/webhooks").by(key)).await);
    let again = json!({"name": "a", "subdomain": "a"});
    said.note("its name", &world.call(post("/v1/tenants", again).by(&operator)).await);
    said.is(expect![[r#"
        get: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Resource Not Found","param":"id","location":"params"}]}
        its key: 401 [text/plain] Unauthorized
        its name: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"a","msg":"is taken","param":"subdomain","location":"body"}]}
    "#]]);
    let gone = world.call(get(&format!("/v1/tenants/{id}")).by(&operator)).await;
    assert_eq!(gone.status, 404);
    let payload = world.app.store.payload(tenant.no, event.parse().unwrap()).await.unwrap();
    assert!(!format!("{payload:?}").contains("Payload("), "{payload:?}");
    let default = world.app.tenant_by_name("default").await.unwrap().unwrap();
    let refused = world.call(delete(&format!("/v1/tenants/{}", default.id)).by(&operator)).await;
    assert_eq!(
        refused.to_string(),
        r#"400 {"code":"BadRequest","message":"tenant `default` stays as long as the store does"}"#
    );
}

#[tokio::test]
async fn a_client_has_the_roles_it_was_given_until_it_is_deleted() {
    let world = World::new().await;
    let operator = world.operator().await;
    let tenant = world.app.tenant_by_name("default").await.unwrap().unwrap().id;
    let clients = format!("/v1/tenants/{tenant}/clients");
    let input = json!({"name": "both", "roles": ["publisher", "auditor"]});
    let made = world.call(post(&clients, input).by(&operator)).await;
    assert_eq!(made.status, 201, "{made}");
    assert_eq!(made.json()["roles"], json!(["publisher", "auditor"]));
    assert_eq!(
        made.json()["permissions"],
        json!([
            "webhooks:read",
            "events:publish",
            "deliveries:read",
            "event-types:read",
            "audit:read",
            "analytics:read"
        ])
    );
    let secret = made.text_of("clientSecret");
    let status = async |method: &str, path: &str| world.call(call(method, path).by(&secret)).await.status;
    assert_eq!(status("GET", "/v1/webhooks/deliveries").await, 200, "as auditor");
    assert_eq!(status("POST", "/v1/webhooks/events").await, 415, "as publisher");
    assert_eq!(status("GET", "/v1/webhooks").await, 403, "as neither");
    let one = format!("{clients}/{}", made.text_of("clientId"));
    assert_eq!(world.call(delete(&one).by(&operator)).await.to_string(), "204");
    assert_eq!(status("GET", "/v1/webhooks/deliveries").await, 401);
    assert_eq!(world.call(delete(&one).by(&operator)).await.status, 404);
}

#[tokio::test]
async fn wrong_input_is_named_and_changes_nothing() {
    let world = World::new().await;
    let operator = world.operator().await;
    let webhook = world.webhook(&["did_create"]).await;
    let tenant = world.app.tenant_by_name("default").await.unwrap().unwrap().id;
    let clients = format!("/v1/tenants/{tenant}/clients");
    let mut said = Said::default();
    for body in [
        json!({}),
        json!({"name": "", "subdomain": "A"}),
        json!({"name": "n", "subdomain": "default"}),
        json!({"name": "n", "subdomain": "n", "environmentId": ABSENT, "logo": 1}),
        json!({"name": "n", "subdomain": "n", "retention": {"metadata": "1x"}}),
    ] {
        said.note(&body.to_string(), &world.call(post("/v1/tenants", body).by(&operator)).await);
    }
    for body in [
        json!({"name": "n", "roles": []}),
        json!({"name": "n", "roles": ["admin", "admin"]}),
        json!({"name": "n", "roles": ["root"]}),
        json!({"name": "n", "roles": ["admin"], "webhookId": webhook}),
        json!({"name": "n", "roles": ["subscriber"]}),
        json!({"name": "n", "roles": ["subscriber", "admin"], "webhookId": webhook}),
        json!({"name": "n", "roles": ["admin"], "expiresAt": "2020-01-01T00:00:00Z"}),
    ] {
        let shown = body.to_string().replace(&webhook, "ID");
        let answer = world.call(post(&clients, body).by(&operator)).await;
        said.line(format!("{shown}: {}", answer.to_string().replace(&webhook, "ID")));
    }
    said.is(expect![[r#"
        {}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Invalid value","param":"name","location":"body"},{"msg":"Invalid value","param":"subdomain","location":"body"}]}
        {"name":"","subdomain":"A"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"","msg":"must be 1 to 128 bytes","param":"name","location":"body"},{"value":"A","msg":"must be 1 to 63 of a-z 0-9 -, not beginning or ending with a hyphen","param":"subdomain","location":"body"}]}
        {"name":"n","subdomain":"default"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"default","msg":"is taken","param":"subdomain","location":"body"}]}
        {"name":"n","subdomain":"n","environmentId":"0190c0de-0000-7000-8000-000000000000","logo":1}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Not supported yet","param":"environmentId","location":"body"},{"value":1,"msg":"Unknown field","param":"logo","location":"body"}]}
        {"name":"n","subdomain":"n","retention":{"metadata":"1x"}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":{"metadata":"1x"},"msg":"must be a span such as 10s, 500ms, 5m, 24h or 7d","param":"retention","location":"body"}]}
        {"name":"n","roles":[]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":[],"msg":"at least one role is needed","param":"roles","location":"body"}]}
        {"name":"n","roles":["admin","admin"]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":["admin","admin"],"msg":"the role `admin` is named twice","param":"roles","location":"body"}]}
        {"name":"n","roles":["root"]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":["root"],"msg":"`root` is not a role; roles are admin, issuer, managed-issuer, publisher, auditor, subscriber, verifier, dts-provider, dts-consumer","param":"roles","location":"body"}]}
        {"name":"n","roles":["admin"],"webhookId":"ID"}: 400 {"code":"BadRequest","message":"only a subscriber is bound to a webhook"}
        {"name":"n","roles":["subscriber"]}: 400 {"code":"BadRequest","message":"a subscriber must be bound to a webhook of the tenant"}
        {"name":"n","roles":["subscriber","admin"],"webhookId":"ID"}: 400 {"code":"BadRequest","message":"a subscriber has no other role"}
        {"name":"n","roles":["admin"],"expiresAt":"2020-01-01T00:00:00Z"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"2020-01-01T00:00:00Z","msg":"has passed","param":"expiresAt","location":"body"}]}
    "#]]);
    assert_eq!(world.app.tenants().await.unwrap().len(), 1);
    assert_eq!(world.app.store.clients(world.tenant).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_an_operator_manages_and_an_operator_does_nothing_else() {
    let world = World::new().await;
    let operator = world.operator().await;
    let admin = world.key(Role::Admin, None).await;
    let expired = world.app.create_operator("old", Some(world.app.clock.wall()), "test").await.unwrap();
    let mut said = Said::default();
    said.note("admin", &world.call(get("/v1/tenants").by(&admin)).await);
    said.note("expired", &world.call(get("/v1/tenants").by(expired.key.reveal())).await);
    said.note("nobody", &world.call(get("/v1/tenants").by_nobody()).await);
    said.note("operator's webhooks", &world.call(get("/v1/webhooks").by(&operator)).await);
    said.is(expect![[r#"
        admin: 403 [text/plain]
        expired: 401 [text/plain] Unauthorized
        nobody: 401 [text/plain] Unauthorized
        operator's webhooks: 401 [text/plain] Unauthorized
    "#]]);
}
