//! Settings and secrets of a webhook.

use expect_test::expect;
use sealpost_core::role::Role;
use sealpost_signature::WebhookSecret;
use serde_json::{Value, json};

use crate::support::{Said, World, call, get, post, put};

#[tokio::test]
async fn settings_show_what_is_in_force_and_can_be_put_back() {
    let world = World::new().await;
    let path = format!("/v1/webhooks/{}/settings", world.webhook(&["did_create"]).await);
    let mut said = Said::default();
    let shown = world.get(&path).await;
    said.note("default", &shown);
    assert_eq!(world.call(put(&path, shown.json())).await.json(), shown.json());

    let written = json!({
        "description": "mine", "payload": {"claims": ["/userId"]}, "timeoutMs": 1000, "retry": {"intervals": ["1s", "5m"]},
        "maxInFlight": 2, "ratePerSecond": 5, "ordering": "none", "headers": {"X-Api-Key": "hunter2"},
        "signatures": ["http-message-signatures", "standard-webhooks"], "signatureExpires": "off", "retention": "none",
        "alertAfter": 3,
    });
    let put_back = world.call(put(&path, written)).await;
    said.note("written", &put_back);
    assert_eq!(world.get(&path).await.json(), put_back.json());
    let kept = world.call(put(&path, put_back.json())).await;
    assert_eq!(kept.json()["headers"], json!({"x-api-key": null}), "null keeps the value that is stored");
    said.note("replaced by nothing", &world.call(put(&path, json!({}))).await);
    said.is(expect![[r#"
        default: 200 {"description":"","payload":"full","timeoutMs":3000,"retry":{"intervals":["10s","60s","360s"]},"maxInFlight":8,"ratePerSecond":null,"ordering":"none","headers":{},"signatures":["http-message-signatures"],"signatureExpires":"300s","encryption":null,"retention":"standard","alertAfter":5}
        written: 200 {"description":"mine","payload":{"claims":["/userId"]},"timeoutMs":1000,"retry":{"intervals":["1s","300s"]},"maxInFlight":2,"ratePerSecond":5,"ordering":"none","headers":{"x-api-key":null},"signatures":["http-message-signatures","standard-webhooks"],"signatureExpires":"off","encryption":null,"retention":"none","alertAfter":3}
        replaced by nothing: 200 {"description":"","payload":"full","timeoutMs":3000,"retry":{"intervals":["10s","60s","360s"]},"maxInFlight":8,"ratePerSecond":null,"ordering":"none","headers":{},"signatures":["http-message-signatures"],"signatureExpires":"300s","encryption":null,"retention":"standard","alertAfter":5}
    "#]]);
}

#[tokio::test]
async fn each_refused_setting_is_named_and_its_secret_is_not_repeated() {
    let world = World::new().await;
    let path = format!("/v1/webhooks/{}/settings", world.webhook(&["did_create"]).await);
    let before = world.get(&path).await.json();
    let mut said = Said::default();
    for body in [
        json!([]),
        json!({"colour": "red"}),
        json!({"ordering": "webhook"}),
        json!({"encryption": {"jwksUrl": "https://example.com"}}),
        json!({"payload": "everything"}),
        json!({"timeoutMs": 0, "maxInFlight": "8"}),
        json!({"retry": {"intervals": ["-1s"]}}),
        json!({"headers": {"host": "secret-value"}}),
        json!({"headers": {"x-new": null}}),
        json!({"signatures": ["standard-webhooks"]}),
        json!({"signatureExpires": "soon"}),
        json!({"retention": "forever"}),
        json!({"alertAfter": 0}),
    ] {
        said.note(&body.to_string(), &world.call(put(&path, body)).await);
    }
    said.note("no body", &world.call(call("PUT", &path)).await);
    said.is(expect![[r#"
        []: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be an object","param":"","location":"body"}]}
        {"colour":"red"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"red","msg":"Unknown field","param":"colour","location":"body"}]}
        {"ordering":"webhook"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"webhook","msg":"Not supported yet","param":"ordering","location":"body"}]}
        {"encryption":{"jwksUrl":"https://example.com"}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":{"jwksUrl":"https://example.com"},"msg":"Not supported yet","param":"encryption","location":"body"}]}
        {"payload":"everything"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"everything","msg":"must be \"full\", \"summary\", \"thin\" or {\"claims\": [JSON pointers]}","param":"payload","location":"body"}]}
        {"timeoutMs":0,"maxInFlight":"8"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":0,"msg":"must be a whole number from 100 to 30000","param":"timeoutMs","location":"body"},{"value":"8","msg":"must be a whole number from 1 to 256","param":"maxInFlight","location":"body"}]}
        {"retry":{"intervals":["-1s"]}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":{"intervals":["-1s"]},"msg":"must be a span such as 10s, 500ms, 5m, 24h or 7d","param":"retry","location":"body"}]}
        {"headers":{"host":"secret-value"}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"header `host` is set by Sealpost","param":"headers","location":"body"}]}
        {"headers":{"x-new":null}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"header `x-new` must have a string value","param":"headers","location":"body"}]}
        {"signatures":["standard-webhooks"]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":["standard-webhooks"],"msg":"must include http-message-signatures","param":"signatures","location":"body"}]}
        {"signatureExpires":"soon"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"soon","msg":"must be a span such as 300s, or off","param":"signatureExpires","location":"body"}]}
        {"retention":"forever"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"forever","msg":"must be standard or none","param":"retention","location":"body"}]}
        {"alertAfter":0}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":0,"msg":"must be a whole number from 1 to 1000","param":"alertAfter","location":"body"}]}
        no body: 415 {"code":"UnsupportedMediaType","message":"the body must be application/json in UTF-8"}
    "#]]);
    assert_eq!(world.get(&path).await.json(), before);
}

#[tokio::test]
async fn a_secret_is_read_and_rotated() {
    let world = World::new().await;
    let path = format!("/v1/webhooks/{}/secret", world.webhook(&["did_create"]).await);
    let first = world.get(&path).await;
    assert_eq!(first.json().as_object().unwrap().len(), 1);
    assert_eq!(WebhookSecret::parse(&first.text_of("secret")).unwrap().expose().len(), 32);
    assert_eq!(world.get(&path).await.text_of("secret"), first.text_of("secret"));
    assert_eq!(first.header("cache-control"), Some("no-store"));

    let rotate = format!("{path}/rotate");
    let rotated = world.call(call("POST", &rotate)).await;
    assert_eq!(
        (rotated.status, rotated.text_of("previousUntil").as_str()),
        (200, "2026-01-03T03:04:05.679Z")
    );
    assert_ne!(rotated.text_of("secret"), first.text_of("secret"));
    assert_eq!(world.get(&path).await.text_of("secret"), rotated.text_of("secret"));
    let longest = world.call(post(&rotate, json!({"overlap": "7d"}))).await;
    assert_eq!(longest.text_of("previousUntil"), "2026-01-09T03:04:05.679Z");
    assert_eq!(world.call(post(&rotate, json!({}))).await.status, 200);
    assert_eq!(
        world.call(post(&rotate, json!({"overlap": "0s"}))).await.text_of("previousUntil"),
        "2026-01-02T03:04:05.679Z"
    );

    let before = world.get(&path).await.json();
    let mut said = Said::default();
    for body in
        [json!({"overlap": "8d"}), json!({"overlap": 24}), json!({"overlap": "soon"}), json!({"now": true})]
    {
        said.note(&body.to_string(), &world.call(post(&rotate, body)).await);
    }
    said.is(expect![[r#"
        {"overlap":"8d"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"8d","msg":"must be at most 168h","param":"overlap","location":"body"}]}
        {"overlap":24}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":24,"msg":"must be a string","param":"overlap","location":"body"}]}
        {"overlap":"soon"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"soon","msg":"must be a span such as 10s, 500ms, 5m, 24h or 7d","param":"overlap","location":"body"}]}
        {"now":true}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":true,"msg":"Unknown field","param":"now","location":"body"}]}
    "#]]);
    assert_eq!(world.get(&path).await.json(), before);
}

#[tokio::test]
async fn secrets_are_for_administrators_and_issuers() {
    let world = World::new().await;
    let path = format!("/v1/webhooks/{}/secret", world.webhook(&["did_create"]).await);
    let mut seen: Vec<(&str, u16)> = Vec::new();
    for role in [Role::Admin, Role::Issuer, Role::ManagedIssuer, Role::Auditor] {
        let key = world.key(role, None).await;
        seen.push((role.as_str(), world.call(get(&path).by(&key)).await.status));
    }
    assert_eq!(seen, [("admin", 200), ("issuer", 200), ("managed-issuer", 403), ("auditor", 403)]);
}

#[tokio::test]
async fn no_answer_about_a_webhook_holds_a_secret() {
    let world = World::new().await;
    let id = world.webhook(&["did_create"]).await;
    let written = json!({"headers": {"authorization": "Bearer hunter2"}});
    let put_back = world.call(put(&format!("/v1/webhooks/{id}/settings"), written)).await;
    assert_eq!(put_back.json()["headers"], json!({"authorization": Value::Null}));
    let secret = world.get(&format!("/v1/webhooks/{id}/secret")).await.text_of("secret");
    world.publish(json!({"type": "did_create", "payload": {}})).await;
    let mut paths =
        vec!["/v1/webhooks".to_owned(), "/v1/webhooks/deliveries".into(), "/v1/webhooks/events".into()];
    paths.push(format!("/v1/webhooks/{id}"));
    paths.push(format!("/v1/webhooks/{id}/settings"));
    for path in paths {
        let text = world.get(&path).await.to_string();
        assert!(!text.contains("hunter2") && !text.contains(&secret), "{path}: {text}");
    }
}
