//! Reading events back, who sees a payload, and erasing it.

use expect_test::expect;
use sealpost_core::delivery::{FailReason, State};
use sealpost_core::outcome::Outcome;
use sealpost_core::role::Role;
use serde_json::{Value, json};

use crate::support::{ABSENT, Said, World, call, delete, get, post, put};

const EVENTS: &str = "/v1/webhooks/events";

#[tokio::test]
async fn an_event_is_shown_with_its_deliveries() {
    let world = World::new().await;
    let webhook = world.webhook(&["OpenIdCredentialIssued", "OpenIdCredentialIssuedSummary"]).await;
    let id = world
        .publish(json!({"type": "OpenIdCredentialIssued", "payload": {"userId": "u", "credential": {}}}))
        .await;
    let shown = world.get(&format!("{EVENTS}/{id}")).await.json();
    let delivery = shown["deliveries"][0]["id"].clone();
    let derived = shown["derived"][0]["id"].clone();
    assert_eq!(
        shown,
        json!({
            "id": id, "type": "OpenIdCredentialIssued", "timestamp": "2026-01-02T03:04:05.680Z",
            "derived": [{"id": derived, "type": "OpenIdCredentialIssuedSummary", "deliveries": 1}],
            "deliveries": [{"id": delivery, "webhookId": webhook, "status": "pending"}],
        })
    );
    let derived = world.get(&format!("{EVENTS}/{}", derived.as_str().unwrap())).await.json();
    assert_eq!(
        (&derived["type"], &derived["deliveries"][0]["webhookId"]),
        (&json!("OpenIdCredentialIssuedSummary"), &json!(webhook))
    );
}

#[tokio::test]
async fn events_are_listed_newest_first_and_filtered() {
    let world = World::new().await;
    let mut made = Vec::new();
    for name in ["did_create", "did_delete", "did_create"] {
        made.push(world.publish(json!({"type": name, "payload": {}})).await);
    }
    made.reverse();
    assert_eq!(world.get(EVENTS).await.ids(), made);
    assert_eq!(world.get(&format!("{EVENTS}?type=did_delete")).await.ids(), made[1..2]);
    assert_eq!(world.get(&format!("{EVENTS}?type=never_heard_of")).await.ids(), [""; 0]);
    // They were accepted at .679, .680 and .681.
    let from = format!("{EVENTS}?from=2026-01-02T03:04:05.680Z");
    assert_eq!(world.get(&from).await.ids(), made[..2]);
    assert_eq!(world.get(&format!("{from}&to=2026-01-02T03:04:05.680Z")).await.ids(), made[1..2]);
    let page = world.get(&format!("{EVENTS}?limit=2")).await;
    assert_eq!(page.ids(), made[..2]);
    let rest = world.get(&format!("{EVENTS}?limit=2&cursor={}", page.text_of("nextCursor"))).await;
    assert_eq!((rest.ids(), rest.json().get("nextCursor")), (made[2..].to_vec(), None));
}

#[tokio::test]
async fn a_payload_comes_back_to_the_last_digit() {
    let world = World::new().await;
    let text = r#"{"n":1e-07,"big":12345678901234567890123,"half":0.50,"s":"\u0001é","z":1,"a":-0}"#;
    let body = format!(r#"{{"type":"did_create","payload":{}}}"#, text.replace(',', " ,\n"));
    let published = world.call(call("POST", EVENTS).raw("application/json", body)).await;
    let shown = world.get(&format!("{EVENTS}/{}?include=payload", published.text_of("id"))).await;
    assert!(
        shown.text().ends_with(&format!(r#","deliveries":[],"payload":{text},"payloadState":"kept"}}"#)),
        "{shown}"
    );
}

#[tokio::test]
async fn a_payload_is_for_administrators_and_bound_subscribers() {
    let mut world = World::new().await;
    let own = world.webhook(&["did_create"]).await;
    let other = world.webhook(&["did_create", "did_delete"]).await;
    let id = world.publish(json!({"type": "did_create", "payload": {"did": "did:web:x"}})).await;
    for _ in 0..2 {
        world.settle(200, None, State::Delivered).await;
    }
    let foreign = world.publish(json!({"type": "did_delete", "payload": {}})).await;
    let subscriber = world.key(Role::Subscriber, Some(own.parse().unwrap())).await;
    let path = format!("{EVENTS}/{id}");
    let with_payload = format!("{path}?include=payload");

    for role in [Role::Issuer, Role::Auditor] {
        let key = world.key(role, None).await;
        let without = world.call(get(&path).by(&key)).await;
        assert_eq!((without.status, without.json().get("payload")), (200, None));
        assert_eq!(world.call(get(&with_payload).by(&key)).await.to_string(), "403 [text/plain]", "{role}");
    }

    let seen = world.call(get(&with_payload).by(&subscriber)).await.json();
    assert_eq!(seen["payload"], json!({"did": "did:web:x"}));
    let webhooks: Vec<&Value> =
        seen["deliveries"].as_array().unwrap().iter().map(|d| &d["webhookId"]).collect();
    assert_eq!(webhooks, [&json!(own)], "of the delivery to {other} it learns nothing");
    assert_eq!(world.call(get(&format!("{EVENTS}/{foreign}")).by(&subscriber)).await.status, 404);
    assert_eq!(
        world.call(get(&format!("{EVENTS}/{foreign}?include=payload")).by(&subscriber)).await.status,
        404
    );
    assert_eq!(world.call(get(EVENTS).by(&subscriber)).await.status, 403);
}

#[tokio::test]
async fn a_subscriber_sees_what_its_webhook_may_see() {
    let mut world = World::new().await;
    let webhook = world.webhook(&["OpenIdCredentialIssued"]).await;
    let subscriber = world.key(Role::Subscriber, Some(webhook.parse().unwrap())).await;
    let payload =
        json!({"format": "ldp_vc", "userId": "u", "credential": {"name": "Maria"}, "userClaims": {"a": 1}});
    let id = world.publish(json!({"type": "OpenIdCredentialIssued", "payload": payload})).await;
    world.settle(200, None, State::Delivered).await;
    let mut said = Said::default();
    for level in
        [json!("full"), json!("thin"), json!("summary"), json!({"claims": ["/userId", "/credential/name"]})]
    {
        let settings = put(&format!("/v1/webhooks/{webhook}/settings"), json!({"payload": level}));
        assert_eq!(world.call(settings).await.status, 200);
        let seen = world.call(get(&format!("{EVENTS}/{id}?include=payload")).by(&subscriber)).await.json();
        said.line(format!("{level}: {}", seen["payload"]));
    }
    said.is(expect![[r#"
        "full": {"format":"ldp_vc","userId":"u","credential":{"name":"Maria"},"userClaims":{"a":1}}
        "thin": {"format":"ldp_vc","userId":"u","credential":{"name":"Maria"},"userClaims":{"a":1}}
        "summary": {"format":"ldp_vc","userId":"u"}
        {"claims":["/userId","/credential/name"]}: {"userId":"u","credential":{"name":"Maria"}}
    "#]]);
}

#[tokio::test]
async fn a_summary_never_shows_the_credential() {
    let mut world = World::new().await;
    let webhook = world.webhook(&["OpenIdCredentialIssuedSummary"]).await;
    let subscriber = world.key(Role::Subscriber, Some(webhook.parse().unwrap())).await;
    let payload = json!({"userId": "u", "credential": {"name": "Maria"}});
    let id = world.publish(json!({"type": "OpenIdCredentialIssued", "payload": payload})).await;
    world.settle(200, None, State::Delivered).await;
    let derived =
        world.get(&format!("{EVENTS}/{id}")).await.json()["derived"][0]["id"].as_str().unwrap().to_owned();
    for key in [&subscriber, &world.admin] {
        let seen = world.call(get(&format!("{EVENTS}/{derived}?include=payload")).by(key)).await;
        assert_eq!(seen.json()["payload"], json!({"userId": "u"}));
    }
    assert_eq!(world.call(get(&format!("{EVENTS}/{id}?include=payload")).by(&subscriber)).await.status, 404);
}

#[tokio::test]
async fn what_was_never_sent_to_a_webhook_is_not_for_its_subscriber() {
    let world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    let subscriber = world.key(Role::Subscriber, Some(webhook.parse().unwrap())).await;
    let disabled = json!({"events": ["did_create"], "url": "https://example.com/in", "disabled": true});
    assert_eq!(world.call(put(&format!("/v1/webhooks/{webhook}"), disabled)).await.status, 200);
    let id = world.publish(json!({"type": "did_create", "payload": {}})).await;
    let shown = world.call(get(&format!("{EVENTS}/{id}")).by(&subscriber)).await;
    assert_eq!(shown.json()["deliveries"][0]["status"], "cancelled");
    assert_eq!(world.call(get(&format!("{EVENTS}/{id}?include=payload")).by(&subscriber)).await.status, 403);
}

#[tokio::test]
async fn a_subscriber_sees_only_what_may_have_reached_its_webhook() {
    let mut world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    let subscriber = world.key(Role::Subscriber, Some(webhook.parse().unwrap())).await;
    for (outcome, status) in [
        (Outcome::Dns, 403),
        (Outcome::AddressRefused, 403),
        (Outcome::Connect, 403),
        (Outcome::Tls, 403),
        (Outcome::Delivered, 200),
        (Outcome::HttpStatus, 200),
        (Outcome::Timeout, 200),
        (Outcome::Protocol, 200),
        (Outcome::Unknown, 200),
    ] {
        let id = world.publish(json!({"type": "did_create", "payload": {}})).await;
        let path = format!("{EVENTS}/{id}?include=payload");
        let under_way = world.call(get(&path).by(&subscriber)).await.status;
        assert_eq!(under_way, 200, "a receiver may fetch it before it answers");
        world.settle_with(outcome, None, None, State::Failed(FailReason::AttemptsExhausted)).await;
        assert_eq!(world.call(get(&path).by(&subscriber)).await.status, status, "after {outcome}");
    }
}

#[tokio::test]
async fn one_payload_is_erased() {
    let mut world = World::new().await;
    world.webhook(&["did_create"]).await;
    let id = world.publish(json!({"type": "did_create", "payload": {"secret": "x"}})).await;
    world.settle(200, None, State::Delivered).await;
    let delivery = world.newest_delivery("").await;
    let path = format!("{EVENTS}/{id}");
    for _ in 0..2 {
        assert_eq!(world.call(delete(&format!("{path}/payload"))).await.to_string(), "204");
    }
    let shown = world.get(&format!("{path}?include=payload")).await.json();
    assert_eq!(
        (&shown["payload"], &shown["payloadState"], &shown["type"]),
        (&Value::Null, &json!("erased"), &json!("did_create"))
    );
    let again = world.call(call("POST", &format!("/v1/webhooks/deliveries/{delivery}/redeliver"))).await;
    assert_eq!(again.to_string(), r#"409 {"code":"Conflict","message":"the payload of the event is gone"}"#);
    let repeat = json!({"id": id, "type": "did_create", "payload": {"secret": "x"}});
    assert_eq!(
        world.call(post(EVENTS, repeat)).await.status,
        200,
        "it is known still, and nothing is stored again"
    );
    assert_eq!(world.get(&format!("{path}?include=payload")).await.json()["payload"], Value::Null);
    assert_eq!(world.call(delete(&format!("{EVENTS}/{ABSENT}/payload"))).await.status, 404);
    assert_eq!(world.call(delete(&format!("{EVENTS}/abc/payload"))).await.status, 400);
}

#[tokio::test]
async fn payloads_are_erased_by_subject_event_and_time() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for subject in ["a", "b", "a", "c"] {
        ids.push(world.publish(json!({"type": "did_create", "payload": {}, "subjects": [subject]})).await);
    }
    let erase = async |body: Value| world.call(post("/v1/webhooks/erasures", body)).await;
    let by_subject = erase(json!({"subject": "a"})).await;
    assert_eq!((by_subject.status, &by_subject.json()["count"]), (202, &json!(2)));
    assert_eq!(erase(json!({"subject": "a"})).await.json()["count"], 0);
    assert_eq!(erase(json!({"eventIds": [ids[1], ids[0], ABSENT]})).await.json()["count"], 1);
    let range = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"});
    assert_eq!(erase(range).await.json()["count"], 1);
    for id in ids {
        assert_eq!(
            world.get(&format!("{EVENTS}/{id}?include=payload")).await.json()["payloadState"],
            "erased"
        );
    }
}

#[tokio::test]
async fn an_erasure_has_exactly_one_form() {
    let world = World::new().await;
    let id = world.publish(json!({"type": "did_create", "payload": {}, "subjects": ["a"]})).await;
    let mut said = Said::default();
    for body in [
        json!({}),
        json!([]),
        json!({"subject": "a", "eventIds": [id.clone()]}),
        json!({"subject": "a", "to": "2030-01-01T00:00:00Z"}),
        json!({"subject": ""}),
        json!({"subject": 1}),
        json!({"eventIds": []}),
        json!({"eventIds": ["abc"]}),
        json!({"from": "2030-01-01T00:00:00Z"}),
        json!({"from": "2030-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}),
        json!({"from": "now", "to": "2026-01-01T00:00:00Z"}),
        json!({"subject": "a", "dryRun": true}),
    ] {
        let shown = body.to_string().replace(&id, "ID");
        said.note(&shown, &world.call(post("/v1/webhooks/erasures", body)).await);
    }
    let many = json!({"eventIds": vec![ABSENT; 1001]});
    let answer = world.call(post("/v1/webhooks/erasures", many)).await;
    said.line(format!("1001 ids: {} {}", answer.status, answer.json()["details"][0]["msg"]));
    said.is(expect![[r#"
        {}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must hold exactly one of `subject`, `eventIds`, and `from` with `to`","param":"","location":"body"}]}
        []: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be an object","param":"","location":"body"}]}
        {"subject":"a","eventIds":["ID"]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must hold exactly one of `subject`, `eventIds`, and `from` with `to`","param":"","location":"body"}]}
        {"subject":"a","to":"2030-01-01T00:00:00Z"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must hold exactly one of `subject`, `eventIds`, and `from` with `to`","param":"","location":"body"}]}
        {"subject":""}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"","msg":"must be 1 to 512 bytes","param":"subject","location":"body"}]}
        {"subject":1}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":1,"msg":"must be a string","param":"subject","location":"body"}]}
        {"eventIds":[]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":[],"msg":"must hold 1 to 1000 event ids","param":"eventIds","location":"body"}]}
        {"eventIds":["abc"]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"must be a UUID","param":"eventIds[0]","location":"body"}]}
        {"from":"2030-01-01T00:00:00Z"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Invalid value","param":"to","location":"body"}]}
        {"from":"2030-01-01T00:00:00Z","to":"2026-01-01T00:00:00Z"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"2026-01-01T00:00:00Z","msg":"must not be before `from`","param":"to","location":"body"}]}
        {"from":"now","to":"2026-01-01T00:00:00Z"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"now","msg":"must be an RFC 3339 time such as 2022-08-30T01:26:38.308Z","param":"from","location":"body"}]}
        {"subject":"a","dryRun":true}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":true,"msg":"Unknown field","param":"dryRun","location":"body"}]}
        1001 ids: 400 "must hold 1 to 1000 event ids"
    "#]]);
    assert_eq!(world.get(&format!("{EVENTS}/{id}?include=payload")).await.json()["payloadState"], "kept");
}
