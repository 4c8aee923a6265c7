//! Publishing: the four forms, repeats, and every refusal. What is refused leaves nothing behind.

use expect_test::expect;
use sealpost_core::role::Role;
use serde_json::{Value, json};

use crate::support::{Call, Said, World, call, get, post};

const EVENTS: &str = "/v1/webhooks/events";
const ID: &str = "6f1c2f0e-7a44-4d9c-9a55-0f6f1f9d2b11";

fn event() -> Value {
    json!({"type": "did_create", "payload": {"a": 1}})
}

fn raw(content_type: &str, body: impl Into<axum::body::Body>) -> Call {
    call("POST", EVENTS).raw(content_type, body)
}

#[tokio::test]
async fn one_event_is_answered_alone_and_several_as_a_list() {
    let world = World::new().await;
    world.webhook(&["did_create"]).await;
    let body =
        json!({"id": ID, "type": "did_create", "payload": {}, "timestamp": "2026-01-02T04:04:05.6789+01:00"});
    let answer = world.call(post(EVENTS, body)).await;
    assert_eq!(
        answer.to_string(),
        format!(
            r#"202 {{"id":"{ID}","type":"did_create","timestamp":"2026-01-02T03:04:05.678Z","deliveries":1,"derived":[]}}"#
        )
    );
    let answer = world.call(post(EVENTS, json!([event(), {"type": "did_delete", "payload": {}}]))).await;
    let data = &answer.json()["data"];
    assert_eq!(answer.status, 202);
    assert_eq!(
        (&data[0]["deliveries"], &data[1]["type"], &data[1]["deliveries"]),
        (&json!(1), &json!("did_delete"), &json!(0))
    );
    // An array of one stays an array.
    assert_eq!(world.call(post(EVENTS, json!([event()]))).await.json()["data"].as_array().unwrap().len(), 1);

    let lines = format!("{}\n{}\r\n", event(), event());
    let answer = world.call(raw("application/x-ndjson", lines)).await;
    assert_eq!((answer.status, answer.ids().len()), (202, 2));
}

#[tokio::test]
async fn an_issued_credential_also_yields_its_summary() {
    let world = World::new().await;
    world.webhook(&["OpenIdCredentialIssued", "OpenIdCredentialIssuedSummary"]).await;
    world.webhook(&["OpenIdCredentialIssuedSummary"]).await;
    let body =
        json!({"id": ID, "type": "OpenIdCredentialIssued", "payload": {"userId": "u", "credential": {}}});
    let first = world.call(post(EVENTS, body.clone())).await.json();
    assert_eq!(first["deliveries"], 1);
    assert_eq!(first["derived"][0]["type"], "OpenIdCredentialIssuedSummary");
    assert_eq!(first["derived"][0]["deliveries"], 2);
    let again = world.call(post(EVENTS, body)).await;
    assert_eq!((again.status, again.json()), (200, first));
}

#[tokio::test]
async fn a_repeat_gets_the_first_result_and_other_content_a_conflict() {
    let world = World::new().await;
    world.webhook(&["did_create"]).await;
    let mut said = Said::default();

    let by_id = |payload: Value| post(EVENTS, json!({"id": ID, "type": "did_create", "payload": payload}));
    let first = world.call(by_id(json!({"a": 1}))).await;
    world.tick();
    let again = world.call(by_id(json!({"a": 1}))).await;
    assert_eq!((first.status, again.status, first.json()), (202, 200, again.json()));
    said.note("id", &world.call(by_id(json!({"a": 2}))).await);

    let by_key = |body: &Value| post(EVENTS, body.clone()).header("idempotency-key", "order-7");
    let first = world.call(by_key(&event())).await;
    let again = world.call(by_key(&event())).await;
    assert_eq!((first.status, again.status, first.json()), (202, 200, again.json()));
    said.note("key", &world.call(by_key(&json!({"type": "did_delete", "payload": {}}))).await);
    said.note("key of several", &world.call(by_key(&json!([event(), event()]))).await);

    let cloud = |data: Value| {
        let body =
            json!({"specversion": "1.0", "id": "7", "source": "/issuer", "type": "did_create", "data": data});
        raw("application/cloudevents+json", body.to_string())
    };
    let first = world.call(cloud(json!({"a": 1}))).await;
    let again = world.call(cloud(json!({"a": 1}))).await;
    assert_eq!((first.status, again.status, first.json()), (202, 200, again.json()));
    said.note("source and id", &world.call(cloud(json!({"a": 2}))).await);

    let twice = json!([{"id": "6f1c2f0e-7a44-4d9c-9a55-0f6f1f9d2b12", "type": "did_create", "payload": {}}, {"id": "6f1c2f0e-7a44-4d9c-9a55-0f6f1f9d2b12", "type": "did_delete", "payload": {}}]);
    said.note("twice in one request", &world.call(post(EVENTS, twice)).await);
    said.is(expect![[r#"
        id: 409 {"code":"Conflict","message":"event id 6f1c2f0e-7a44-4d9c-9a55-0f6f1f9d2b11 was used before with other content"}
        key: 409 {"code":"Conflict","message":"the idempotency key was used before with other content"}
        key of several: 409 {"code":"Conflict","message":"the idempotency key was used before with other content"}
        source and id: 409 {"code":"Conflict","message":"the idempotency key was used before with other content"}
        twice in one request: 409 {"code":"Conflict","message":"event id 6f1c2f0e-7a44-4d9c-9a55-0f6f1f9d2b12 was used before with other content"}
    "#]]);
    assert_eq!(world.get(EVENTS).await.ids().len(), 3);
}

#[tokio::test]
async fn cloud_events_map_their_attributes() {
    let world = World::new().await;
    let body = json!({
        "specversion": "1.0", "id": "7", "source": "/issuer", "type": "did_create", "subject": "holder-1",
        "time": "2026-01-02T03:04:05Z", "datacontenttype": "application/json", "data": {"did": "did:web:x"},
    });
    let answer = world.call(raw("application/cloudevents+json", body.to_string())).await;
    assert_eq!((answer.status, answer.text_of("timestamp").as_str()), (202, "2026-01-02T03:04:05.000Z"));
    let shown = world.get(&format!("{EVENTS}/{}?include=payload", answer.text_of("id"))).await;
    assert_eq!(shown.json()["payload"], json!({"did": "did:web:x"}));
    let erased = world.call(post("/v1/webhooks/erasures", json!({"subject": "holder-1"}))).await;
    assert_eq!(erased.json()["count"], 1);

    let mut other = body.clone();
    other["id"] = "8".into();
    let answer =
        world.call(raw("application/cloudevents-batch+json", json!([body, other]).to_string())).await;
    assert_eq!((answer.status, answer.ids().len()), (202, 2));
}

#[tokio::test]
async fn each_refusal_names_the_member_and_stores_nothing() {
    let world = World::new().await;
    let mut said = Said::default();
    for body in [
        json!({"payload": {}}),
        json!({"type": "did_create"}),
        json!({"type": "nope", "payload": {}}),
        json!({"type": 7, "payload": {}}),
        json!({"type": "sealpost.webhook.failing", "payload": {}}),
        json!({"type": "did_create", "payload": []}),
        json!({"type": "did_create", "payload": null}),
        json!({"type": "did_create", "payload": {}, "id": "abc"}),
        json!({"type": "did_create", "payload": {}, "timestamp": "yesterday"}),
        json!({"type": "did_create", "payload": {}, "subjects": "me"}),
        json!({"type": "did_create", "payload": {}, "colour": "red"}),
        json!({"type": "did_create", "payload": {}, "orderingKey": "k"}),
        json!({"type": "did_create", "payload": {}, "urgent": true}),
        json!([]),
        json!([event(), {"type": "did_create", "payload": {}, "timestamp": 1}]),
        json!([event(), event(), {"type": "nope", "payload": {}}]),
    ] {
        said.note(&body.to_string(), &world.call(post(EVENTS, body)).await);
    }
    let cloud = json!({"specversion": "1.0", "id": "1", "source": "/x", "type": "did_create"});
    for (name, value) in [
        ("data_base64", json!("e30=")),
        ("data", json!([1])),
        ("specversion", json!("0.3")),
        ("type", json!("nope")),
        ("traceparent", json!("00-1-2-3")),
    ] {
        let mut body = cloud.clone();
        if name != "data" && name != "data_base64" {
            body["data"] = json!({});
        }
        body[name] = value;
        said.note(
            &format!("cloud {name}"),
            &world.call(raw("application/cloudevents+json", body.to_string())).await,
        );
    }
    said.is(expect![[r#"
        {"payload":{}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Invalid value","param":"type","location":"body"}]}
        {"type":"did_create"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Invalid value","param":"payload","location":"body"}]}
        {"type":"nope","payload":{}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"`nope` is not a registered event type","param":"type","location":"body"}]}
        {"type":7,"payload":{}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be a string","param":"type","location":"body"}]}
        {"type":"sealpost.webhook.failing","payload":{}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"`sealpost.webhook.failing` is published by Sealpost itself","param":"type","location":"body"}]}
        {"type":"did_create","payload":[]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"the payload must be a JSON object","param":"payload","location":"body"}]}
        {"type":"did_create","payload":null}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"the payload must be a JSON object","param":"payload","location":"body"}]}
        {"type":"did_create","payload":{},"id":"abc"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be a UUID","param":"id","location":"body"}]}
        {"type":"did_create","payload":{},"timestamp":"yesterday"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be an RFC 3339 time such as 2022-08-30T01:26:38.308Z","param":"timestamp","location":"body"}]}
        {"type":"did_create","payload":{},"subjects":"me"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be an array of strings","param":"subjects","location":"body"}]}
        {"type":"did_create","payload":{},"colour":"red"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Unknown field","param":"colour","location":"body"}]}
        {"type":"did_create","payload":{},"orderingKey":"k"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Not supported yet","param":"orderingKey","location":"body"}]}
        {"type":"did_create","payload":{},"urgent":true}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Not supported yet","param":"urgent","location":"body"}]}
        []: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must hold at least one event","param":"","location":"body"}]}
        [{"type":"did_create","payload":{"a":1}},{"type":"did_create","payload":{},"timestamp":1}]: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be a string","param":"[1].timestamp","location":"body"}]}
        [{"type":"did_create","payload":{"a":1}},{"type":"did_create","payload":{"a":1}},{"type":"nope","payload":{}}]: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"`nope` is not a registered event type","param":"[2].type","location":"body"}]}
        cloud data_base64: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"data must be a JSON object","param":"data_base64","location":"body"}]}
        cloud data: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"the payload must be a JSON object","param":"data","location":"body"}]}
        cloud specversion: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be 1.0","param":"specversion","location":"body"}]}
        cloud type: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"`nope` is not a registered event type","param":"type","location":"body"}]}
        cloud traceparent: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Unknown field","param":"traceparent","location":"body"}]}
    "#]]);
    nothing_is_stored(&world).await;
}

async fn nothing_is_stored(world: &World) {
    assert_eq!(world.get(EVENTS).await.to_string(), r#"200 {"data":[]}"#);
    assert_eq!(world.get("/v1/webhooks/deliveries").await.to_string(), r#"200 {"data":[]}"#);
}

#[tokio::test]
async fn hostile_bodies_are_refused_whole() {
    let world = World::new().await;
    world.webhook(&["did_create"]).await;
    let with = |payload: &str| format!(r#"{{"type":"did_create","payload":{payload}}}"#).into_bytes();
    let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    let mut said = Said::default();
    for (what, body) in [
        ("empty", Vec::new()),
        ("not JSON", b"{".to_vec()),
        ("a string", br#""did_create""#.to_vec()),
        ("text behind", with("{} x")),
        ("not UTF-8", b"{\"type\":\"did_create\",\"payload\":{\"a\":\"\xff\"}}".to_vec()),
        ("control character", with("{\"a\":\"\x01\"}")),
        ("leading zero", with(r#"{"a":01}"#)),
        ("member twice", with(r#"{"x":[{"a":1,"\u0061":2}]}"#)),
        ("65 levels", with(&nested(65))),
        ("100000 levels", with(&nested(100_000))),
        ("100000 open", with(&r#"{"a":"#.repeat(100_000))),
        ("an event over 1 MiB", with(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1024 * 1024)))),
    ] {
        said.note(what, &world.call(raw("application/json", body)).await);
    }
    let many: Vec<Value> = (0..1001).map(|_| event()).collect();
    said.note("1001 events", &world.call(post(EVENTS, json!(many))).await);
    said.is(expect![[r#"
        empty: 400 {"code":"BadRequest","message":"the body is not JSON: EOF while parsing a value at line 1 column 0"}
        not JSON: 400 {"code":"BadRequest","message":"the body is not JSON: EOF while parsing an object at line 1 column 1"}
        a string: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be an event object","param":"","location":"body"}]}
        text behind: 400 {"code":"BadRequest","message":"the body is not JSON: expected `,` or `}` at line 1 column 35"}
        not UTF-8: 400 {"code":"BadRequest","message":"the body is not UTF-8 at byte 37"}
        control character: 400 {"code":"BadRequest","message":"the body is not JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 37"}
        leading zero: 400 {"code":"BadRequest","message":"the body is not JSON: invalid number at line 1 column 38"}
        member twice: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"the payload is not acceptable JSON: repeated member name `/x/0/a` at byte 13","param":"payload","location":"body"}]}
        65 levels: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"the payload is not acceptable JSON: more than 64 nested arrays and objects at byte 68","param":"payload","location":"body"}]}
        100000 levels: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"the payload is not acceptable JSON: more than 64 nested arrays and objects at byte 68","param":"payload","location":"body"}]}
        100000 open: 400 {"code":"BadRequest","message":"the body is not JSON: expected value at line 1 column 500032"}
        an event over 1 MiB: 413 {"code":"PayloadTooLarge","message":"the payload has 1048584 bytes, more than 1048576"}
        1001 events: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must hold at most 1000 events","param":"","location":"body"}]}
    "#]]);
    nothing_is_stored(&world).await;

    assert_eq!(world.call(raw("application/json", with(&nested(64)))).await.status, 202);
    let largest = format!(r#"{{"a":"{}"}}"#, "x".repeat(1024 * 1024 - 8));
    assert_eq!(world.call(raw("application/json", with(&largest))).await.status, 202);
    let many: Vec<Value> = (0..1000).map(|_| event()).collect();
    assert_eq!(world.call(post(EVENTS, json!(many))).await.status, 202);
}

#[tokio::test]
async fn a_request_is_at_most_16_mib_declared_or_not() {
    let world = World::new().await;
    let limit = 16 * 1024 * 1024;
    let padded = |bytes: usize| {
        let body = event().to_string();
        format!("{body}{}", " ".repeat(bytes - body.len()))
    };
    let mut said = Said::default();
    said.note("declared", &world.call(raw("application/json", padded(limit + 1))).await);
    let chunks = padded(limit + 1)
        .into_bytes()
        .chunks(1 << 20)
        .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
        .collect::<Vec<_>>();
    let stream = axum::body::Body::from_stream(futures_util::stream::iter(chunks));
    said.note("in chunks", &world.call(raw("application/json", stream)).await);
    let broken = vec![Ok(b"{".to_vec()), Err(std::io::Error::other("gone"))];
    let stream = axum::body::Body::from_stream(futures_util::stream::iter(broken));
    said.note("cut off", &world.call(raw("application/json", stream)).await);
    said.is(expect![[r#"
        declared: 413 {"code":"PayloadTooLarge","message":"the body must be at most 16777216 bytes"}
        in chunks: 413 {"code":"PayloadTooLarge","message":"the body must be at most 16777216 bytes"}
        cut off: 400 {"code":"BadRequest","message":"the body ended early"}
    "#]]);
    nothing_is_stored(&world).await;
    assert_eq!(world.call(raw("application/json", padded(limit))).await.status, 202);
}

#[tokio::test]
async fn content_types_and_idempotency_keys_are_judged() {
    let world = World::new().await;
    let mut said = Said::default();
    for content_type in
        ["text/plain", "application/json; charset=latin1", "application/cloudevents+xml", "application/jsonx"]
    {
        said.note(content_type, &world.call(raw(content_type, event().to_string())).await);
    }
    said.note("none", &world.call(call("POST", EVENTS).bare(event().to_string())).await);
    for key in ["", "a b", "é", &"k".repeat(256)] {
        said.note(
            &format!("key {key:.8}"),
            &world.call(post(EVENTS, event()).header("idempotency-key", key)).await,
        );
    }
    let twice = post(EVENTS, event()).header("idempotency-key", "a").header("idempotency-key", "b");
    said.note("two keys", &world.call(twice).await);
    said.is(expect![[r#"
        text/plain: 415 {"code":"UnsupportedMediaType","message":"events are one of application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json, in UTF-8"}
        application/json; charset=latin1: 415 {"code":"UnsupportedMediaType","message":"events are one of application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json, in UTF-8"}
        application/cloudevents+xml: 415 {"code":"UnsupportedMediaType","message":"events are one of application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json, in UTF-8"}
        application/jsonx: 415 {"code":"UnsupportedMediaType","message":"events are one of application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json, in UTF-8"}
        none: 415 {"code":"UnsupportedMediaType","message":"events are one of application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json, in UTF-8"}
        key : 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"","msg":"must be one header of 1 to 255 visible ASCII characters","param":"Idempotency-Key","location":"headers"}]}
        key a b: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"a b","msg":"must be one header of 1 to 255 visible ASCII characters","param":"Idempotency-Key","location":"headers"}]}
        key é: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"é","msg":"must be one header of 1 to 255 visible ASCII characters","param":"Idempotency-Key","location":"headers"}]}
        key kkkkkkkk: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk","msg":"must be one header of 1 to 255 visible ASCII characters","param":"Idempotency-Key","location":"headers"}]}
        two keys: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"a","msg":"must be one header of 1 to 255 visible ASCII characters","param":"Idempotency-Key","location":"headers"}]}
    "#]]);
    nothing_is_stored(&world).await;
    assert_eq!(
        world.call(post(EVENTS, event()).header("idempotency-key", &"k".repeat(255))).await.status,
        202
    );
}

#[tokio::test]
async fn a_full_disk_is_503_with_retry_after_and_reading_goes_on() {
    let world = World::with(None, u64::MAX).await;
    let answer = world.call(post(EVENTS, event())).await;
    assert_eq!(
        answer.to_string(),
        r#"503 {"code":"ServiceUnavailable","message":"The disk of the service is full"}"#
    );
    assert_eq!(answer.header("retry-after"), Some("30"));
    nothing_is_stored(&world).await;
}

#[tokio::test]
async fn a_closed_store_is_503_with_retry_after() {
    let world = World::new().await;
    world.webhook(&["did_create"]).await;
    world.app.store.close().await.unwrap();
    let answer = world.call(post(EVENTS, event())).await;
    assert_eq!(
        answer.to_string(),
        r#"503 {"code":"ServiceUnavailable","message":"The service is stopping"}"#
    );
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[tokio::test]
async fn a_publisher_publishes_and_sees_nothing() {
    let world = World::new().await;
    let key = world.key(Role::Publisher, None).await;
    assert_eq!(world.call(post(EVENTS, event()).by(&key)).await.status, 202);
    assert_eq!(world.call(get(EVENTS).by(&key)).await.status, 403);
    assert_eq!(world.call(get("/v1/webhooks/event-types").by(&key)).await.status, 200);
}

#[tokio::test]
async fn a_test_event_goes_to_its_webhook_alone() {
    let world = World::new().await;
    let webhook = world.webhook(&["credential_revoke", "did_create"]).await;
    world.webhook(&["credential_revoke"]).await;
    let path = format!("/v1/webhooks/{webhook}/test");
    let sent = world.call(call("POST", &path)).await;
    assert_eq!(
        (sent.status, sent.text_of("type").as_str(), &sent.json()["deliveries"]),
        (202, "credential_revoke", &json!(1))
    );
    let delivery = world.newest_delivery(&format!("eventId={}", sent.text_of("id"))).await;
    let delivery = world.get(&format!("/v1/webhooks/deliveries/{delivery}")).await.json();
    assert_eq!((&delivery["webhookId"], &delivery["test"]), (&json!(webhook), &json!(true)));
    let named = world.call(post(&path, json!({"type": "OpenIdCredentialIssued"}))).await;
    assert_eq!((named.status, named.text_of("type").as_str()), (202, "OpenIdCredentialIssued"));
    assert_eq!(world.call(post(&path, json!({}))).await.status, 202);

    let mut said = Said::default();
    for body in [
        json!({"type": "nope"}),
        json!({"type": "no spaces"}),
        json!({"type": 1}),
        json!({"kind": "x"}),
        json!([]),
    ] {
        said.note(&body.to_string(), &world.call(post(&path, body)).await);
    }
    said.note("not JSON", &world.call(call("POST", &path).raw("text/plain", "x")).await);
    said.is(expect![[r#"
        {"type":"nope"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"`nope` is not a registered event type","param":"type","location":"body"}]}
        {"type":"no spaces"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"no spaces","msg":"must be 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter","param":"type","location":"body"}]}
        {"type":1}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":1,"msg":"must be a string","param":"type","location":"body"}]}
        {"kind":"x"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"x","msg":"Unknown field","param":"kind","location":"body"}]}
        []: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be an object","param":"","location":"body"}]}
        not JSON: 415 {"code":"UnsupportedMediaType","message":"the body must be application/json in UTF-8"}
    "#]]);
}
