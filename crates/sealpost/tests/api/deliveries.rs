//! Deliveries: lists, attempts, redelivering, cancelling, and what a subscriber sees of them.

use expect_test::expect;
use sealpost_core::delivery::{FailReason, State};
use sealpost_core::role::{Role, Roles};
use serde_json::{Value, json};

use crate::support::{ABSENT, Said, World, call, delete, get, post, put};

const DELIVERIES: &str = "/v1/webhooks/deliveries";

fn did(name: &str) -> Value {
    json!({"type": name, "payload": {}})
}

#[tokio::test]
async fn a_delivery_is_shown_with_its_attempts() {
    let mut world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    let event = world.publish(did("did_create")).await;
    let id = world.newest_delivery("").await;
    let listed = world.get(DELIVERIES).await.json()["data"][0].clone();
    assert_eq!(
        listed,
        json!({
            "id": id, "eventId": event, "type": "did_create", "webhookId": webhook, "status": "pending",
            "createdAt": "2026-01-02T03:04:05.680Z", "attemptsUsed": 1,
            "test": false,
        })
    );
    world.settle(500, Some(b"no \xff\x00 thanks"), State::Failed(FailReason::AttemptsExhausted)).await;
    let path = format!("{DELIVERIES}/{id}");
    let shown = world.get(&path).await.json();
    assert_eq!(
        shown,
        json!({
            "id": id, "eventId": event, "type": "did_create", "webhookId": webhook, "status": "failed",
            "reason": "attempts_exhausted", "createdAt": "2026-01-02T03:04:05.680Z", "attemptsUsed": 1, "test": false,
            "attempts": [{
                "number": 1, "startedAt": "2026-01-02T03:04:05.678Z", "durationMs": 12, "outcome": "http_status",
                "statusCode": 500, "error": "answered 500", "responseExcerpt": "no \u{fffd}\u{0} thanks",
            }],
        })
    );
}

/// Whatever else somebody is, what a receiver answered is shown for one reason only.
#[tokio::test]
async fn what_a_receiver_answered_is_for_whoever_may_read_excerpts() {
    let mut world = World::new().await;
    let own = world.webhook(&["did_create"]).await.parse().unwrap();
    world.publish(did("did_create")).await;
    let path = format!("{DELIVERIES}/{}", world.newest_delivery("").await);
    world.settle(500, Some(b"no"), State::Failed(FailReason::AttemptsExhausted)).await;
    let mut said = String::new();
    let singles = Role::ALL.map(Roles::from).into_iter();
    for roles in singles.chain(Role::ALL.map(|role| Roles::from(Role::Auditor).and(role))) {
        if roles.has(Role::Subscriber) && !roles.is_only(Role::Subscriber) {
            continue;
        }
        let key = world.key(roles, roles.has(Role::Subscriber).then_some(own)).await;
        let answer = world.call(get(&path).by(&key)).await;
        let seen = match answer.status {
            200 => {
                assert_eq!(answer.json()["attempts"][0]["error"], "answered 500", "{roles}");
                answer.json()["attempts"][0].get("responseExcerpt").map_or("none", |_| "shown").to_owned()
            }
            status => status.to_string(),
        };
        said += &format!("{roles}: {seen}\n");
    }
    expect![[r#"
        admin: shown
        issuer: shown
        managed-issuer: shown
        publisher: 403
        auditor: none
        subscriber: shown
        verifier: 403
        dts-provider: 403
        dts-consumer: 403
        admin,auditor: shown
        issuer,auditor: shown
        managed-issuer,auditor: shown
        publisher,auditor: none
        auditor: none
        auditor,verifier: none
        auditor,dts-provider: none
        auditor,dts-consumer: none
    "#]]
    .assert_eq(&said);
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_and_filtered() {
    let mut world = World::new().await;
    let first = world.webhook(&["did_create"]).await;
    let second = world.webhook(&["did_delete"]).await;
    let event = world.publish(did("did_create")).await;
    world.settle(200, None, State::Delivered).await;
    world.publish(did("did_delete")).await;
    world.publish(did("did_create")).await;
    let all = world.get(DELIVERIES).await.ids();
    assert_eq!(all.len(), 3);
    let found = async |query: &str| world.get(&format!("{DELIVERIES}?{query}")).await.ids();
    assert_eq!(found(&format!("webhookId={first}")).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(found(&format!("webhookId={second}")).await, all[1..2]);
    assert_eq!(found(&format!("webhookId={ABSENT}")).await, [""; 0]);
    assert_eq!(found(&format!("eventId={event}")).await, all[2..]);
    assert_eq!(found("status=delivered").await, all[2..]);
    assert_eq!(found("status=pending&type=did_create").await, all[..1]);
    assert_eq!(found("type=did_delete").await, all[1..2]);
    // They were made at .681, .682 and .683.
    assert_eq!(found("from=2026-01-02T03:04:05.682Z&to=2026-01-02T03:04:05.682Z").await, all[1..2]);
    let page = world.get(&format!("{DELIVERIES}?limit=2")).await;
    assert_eq!(page.ids(), all[..2]);
    assert_eq!(found(&format!("limit=2&cursor={}", page.text_of("nextCursor"))).await, all[2..]);
}

#[tokio::test]
async fn a_subscriber_sees_its_own_webhook_and_nothing_else() {
    let world = World::new().await;
    let own = world.webhook(&["did_create"]).await;
    let other = world.webhook(&["did_create"]).await;
    world.publish(did("did_create")).await;
    let key = world.key(Role::Subscriber, Some(own.parse().unwrap())).await;
    let mine = world.newest_delivery(&format!("webhookId={own}")).await;
    let theirs = world.newest_delivery(&format!("webhookId={other}")).await;
    assert_eq!(world.call(get(DELIVERIES).by(&key)).await.ids(), [mine.as_str()]);
    assert_eq!(
        world.call(get(&format!("{DELIVERIES}?webhookId={own}")).by(&key)).await.ids(),
        [mine.as_str()]
    );
    assert_eq!(world.call(get(&format!("{DELIVERIES}/{mine}")).by(&key)).await.status, 200);
    for path in [format!("{DELIVERIES}/{theirs}"), format!("{DELIVERIES}?webhookId={other}")] {
        assert_eq!(world.call(get(&path).by(&key)).await.status, 404, "{path}");
    }
    assert_eq!(
        world.call(call("POST", &format!("{DELIVERIES}/{mine}/redeliver")).by(&key)).await.status,
        403
    );
}

#[tokio::test]
async fn a_redelivery_is_a_new_delivery_of_the_same_event() {
    let mut world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    let event = world.publish(did("did_create")).await;
    world.settle(200, None, State::Delivered).await;
    let first = world.newest_delivery("").await;
    world.tick();
    let again = world.call(call("POST", &format!("{DELIVERIES}/{first}/redeliver"))).await;
    let json = again.json();
    assert_eq!(
        (again.status, &json["eventId"], &json["webhookId"], &json["status"]),
        (202, &json!(event), &json!(webhook), &json!("pending"))
    );
    assert_eq!(json["nextAttemptAt"], json["createdAt"], "it waits and is due at once");
    assert_ne!(again.text_of("id"), first);
    assert_eq!(
        world.get(&format!("/v1/webhooks/events/{event}")).await.json()["deliveries"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    assert_eq!(world.call(delete(&format!("/v1/webhooks/{webhook}"))).await.status, 204);
    let gone = world.call(call("POST", &format!("{DELIVERIES}/{first}/redeliver"))).await;
    assert_eq!(gone.to_string(), r#"409 {"code":"Conflict","message":"the webhook is disabled or deleted"}"#);
    assert_eq!(world.call(call("POST", &format!("{DELIVERIES}/{ABSENT}/redeliver"))).await.status, 404);
}

#[tokio::test]
async fn many_are_redelivered_or_only_counted() {
    let mut world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    for state in [
        State::Delivered,
        State::Failed(FailReason::AttemptsExhausted),
        State::Failed(FailReason::AttemptsExhausted),
    ] {
        world.publish(did("did_create")).await;
        world.settle(if state == State::Delivered { 200 } else { 500 }, None, state).await;
    }
    let path = format!("/v1/webhooks/{webhook}/redeliver");
    let failed = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "status": "failed"});
    let counted = world.call(post(&format!("{path}?dryRun=true"), failed.clone())).await;
    assert_eq!(counted.to_string(), r#"202 {"count":2}"#);
    let made = world.call(post(&format!("{path}?dryRun=false"), failed)).await;
    assert_eq!(made.to_string(), r#"202 {"count":2}"#);
    assert_eq!(
        world.call(post(&format!("{path}?dryRun=true"), json!({"status": "delivered"}))).await.to_string(),
        r#"202 {"count":1}"#
    );

    let mut said = Said::default();
    for body in [
        json!([]),
        json!({"from": "yesterday"}),
        json!({"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}),
        json!({"status": "lost"}),
        json!({"status": "pending"}),
        json!({"limit": 1}),
    ] {
        said.note(&body.to_string(), &world.call(post(&path, body)).await);
    }
    said.note("dryRun=1", &world.call(post(&format!("{path}?dryRun=1"), json!({}))).await);
    said.note("no body", &world.call(call("POST", &path)).await);
    said.note("absent", &world.call(post(&format!("/v1/webhooks/{ABSENT}/redeliver"), json!({}))).await);
    let disabled = json!({"events": ["did_create"], "url": "https://example.com/in", "disabled": true});
    world.call(put(&format!("/v1/webhooks/{webhook}"), disabled)).await;
    said.note("disabled", &world.call(post(&path, json!({}))).await);
    said.is(expect![[r#"
        []: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be an object","param":"","location":"body"}]}
        {"from":"yesterday"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"yesterday","msg":"must be an RFC 3339 time such as 2022-08-30T01:26:38.308Z","param":"from","location":"body"}]}
        {"from":"2026-02-01T00:00:00Z","to":"2026-01-01T00:00:00Z"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"2026-01-01T00:00:00Z","msg":"must not be before `from`","param":"to","location":"body"}]}
        {"status":"lost"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"lost","msg":"must be pending, delivered, failed or cancelled","param":"status","location":"body"}]}
        {"status":"pending"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"pending","msg":"must be delivered, failed or cancelled","param":"status","location":"body"}]}
        {"limit":1}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":1,"msg":"Unknown field","param":"limit","location":"body"}]}
        dryRun=1: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"1","msg":"must be true or false","param":"dryRun","location":"query"}]}
        no body: 415 {"code":"UnsupportedMediaType","message":"the body must be application/json in UTF-8"}
        absent: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Resource Not Found","param":"id","location":"params"}]}
        disabled: 409 {"code":"Conflict","message":"the webhook is disabled or deleted"}
    "#]]);
}

#[tokio::test]
async fn a_pending_delivery_is_cancelled_and_an_ended_one_is_not() {
    let mut world = World::new().await;
    world.webhook(&["did_create"]).await;
    world.publish(did("did_create")).await;
    world.settle(200, None, State::Delivered).await;
    let ended = world.newest_delivery("").await;
    let cancel =
        async |world: &World, id: &str| world.call(call("POST", &format!("{DELIVERIES}/{id}/cancel"))).await;
    let refused = cancel(&world, &ended).await;
    assert_eq!(
        refused.to_string(),
        r#"409 {"code":"Conflict","message":"the delivery has ended as delivered"}"#
    );

    world.tick();
    // A redelivery waits on disk, so nothing of it is under way.
    let waiting = world.call(call("POST", &format!("{DELIVERIES}/{ended}/redeliver"))).await.text_of("id");
    for _ in 0..2 {
        let cancelled = cancel(&world, &waiting).await;
        let json = cancelled.json();
        assert_eq!(
            (cancelled.status, &json["status"], &json["reason"]),
            (200, &json!("cancelled"), &json!("cancelled_by_caller"))
        );
    }
    assert_eq!(cancel(&world, ABSENT).await.status, 404);
}
