//! Analytic events: what calls leave, what deliveries tell, and who sees how much of it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use expect_test::expect;
use sealpost_core::analytics::{AnalyticType, LogLevel, Operation, Phase};
use sealpost_core::delivery::{FailReason, State};
use sealpost_core::outcome::Outcome;
use sealpost_core::role::Role;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::name_server::Names;
use crate::support::{ABSENT, Answer, Said, World, call, delete, get, post, put, txt_lookup};

const DOMAIN: &str = "/v1/config/domain";
const EVENTS: &str = "/v1/events?limit=1000";

async fn events(world: &World, query: &str) -> Vec<Value> {
    let answer = world.get(&format!("{EVENTS}{query}")).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer.json()["data"].as_array().unwrap().clone()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// `WEBHOOK_CREATE_START {..}`, oldest first; ids by the order in which they were first seen.
fn told(events: &[Value]) -> Said {
    let mut said = Said::default();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for event in events.iter().rev() {
        let mut line = format!("{} {}", event["type"].as_str().unwrap(), event["data"]);
        for word in line.clone().split(|c: char| !(c.is_ascii_hexdigit() || c == '-')) {
            if word.len() == 36 && word.matches('-').count() == 4 {
                let next = known.len();
                let number = *known.entry(word.to_owned()).or_insert(next);
                line = line.replace(word, &format!("ID{number}"));
            }
        }
        said.line(line);
    }
    said
}

fn webhook(url: &str) -> Value {
    json!({"events": ["OpenIdCredentialIssued"], "url": url})
}

fn domain(name: &str) -> Value {
    json!({"name": "Acme", "logoUrl": "https://acme.example/logo.png", "domain": name})
}

/// Each of the ten operations once with success and once without.
async fn every_operation(world: &World, names: &Names) {
    let step = async |call| {
        world.tick();
        world.call(call).await
    };
    let id = step(post("/v1/webhooks", webhook("https://a.example/"))).await.text_of("id");
    step(post("/v1/webhooks", webhook("http://a.example/"))).await;
    step(get("/v1/webhooks?limit=5")).await;
    step(get("/core/v1/webhooks?limit=0")).await;
    step(get(&format!("/v1/webhooks/{id}"))).await;
    step(get("/v1/webhooks/abc")).await;
    step(put(&format!("/v1/webhooks/{id}"), webhook("https://b.example/"))).await;
    step(put(&format!("/v1/webhooks/{ABSENT}"), webhook("https://b.example/"))).await;
    step(delete(&format!("/v1/webhooks/{id}"))).await;
    step(delete(&format!("/v1/webhooks/{id}"))).await;
    step(get(DOMAIN)).await;
    let token = step(post(DOMAIN, domain("id.a.example"))).await.text_of("verificationToken");
    step(post(DOMAIN, domain("id.a.example"))).await;
    step(get(DOMAIN)).await;
    step(call("POST", "/v1/config/domain/verify")).await;
    names.set("id.a.example", &[&format!("txt:{token}")]);
    step(call("PUT", "/v1/config/domain/verify")).await;
    step(put(DOMAIN, domain("id.a.example"))).await;
    step(put(DOMAIN, json!({}))).await;
    step(delete(DOMAIN)).await;
    step(delete(DOMAIN)).await;
}

#[tokio::test]
async fn every_operation_leaves_a_start_and_a_success_or_a_failure() {
    let names = Names::serving(&[]).await;
    let world = World::with_txt(None, 0, txt_lookup(names.address)).await;
    every_operation(&world, &names).await;
    let events = events(&world, "").await;
    assert_eq!(events.len(), 40);
    for pair in events.chunks(2) {
        let [end, start] = pair else { unreachable!() };
        assert_eq!(start["requestId"], end["requestId"]);
        let request = start["requestId"].as_str().unwrap();
        assert!(request.len() == 22 && request.bytes().all(|b| b.is_ascii_alphanumeric()), "{request}");
        let operation = start["type"].as_str().unwrap().strip_suffix("_START").unwrap();
        assert!(end["type"].as_str().unwrap().starts_with(operation), "{pair:?}");
        assert_eq!(start["metadata"], json!({}));
        assert!(start["clientId"].is_string() && start["clientId"] == end["clientId"]);
    }
    let seen = types(&events);
    for kind in AnalyticType::all().filter(|kind| matches!(kind, AnalyticType::Call(..))) {
        assert!(seen.contains(&kind.as_str()), "{}", kind.as_str());
    }
    let requests: std::collections::HashSet<_> = events.iter().map(|event| &event["requestId"]).collect();
    assert_eq!(requests.len(), 20);
    told(&events).is(expect![[r#"
        WEBHOOK_CREATE_START {}
        WEBHOOK_CREATE_SUCCESS {"id":"ID0","events":["OpenIdCredentialIssued"],"url":"https://a.example/","disabled":false}
        WEBHOOK_CREATE_START {}
        WEBHOOK_CREATE_FAIL {"error":{"message":"Validation Error","type":"BadRequest"}}
        WEBHOOK_RETRIEVE_LIST_START {"limit":5}
        WEBHOOK_RETRIEVE_LIST_SUCCESS {"entriesCount":1}
        WEBHOOK_RETRIEVE_LIST_START {}
        WEBHOOK_RETRIEVE_LIST_FAIL {"error":{"message":"Validation Error","type":"BadRequest"}}
        WEBHOOK_RETRIEVE_START {"id":"ID0"}
        WEBHOOK_RETRIEVE_SUCCESS {"id":"ID0","events":["OpenIdCredentialIssued"],"url":"https://a.example/","disabled":false}
        WEBHOOK_RETRIEVE_START {}
        WEBHOOK_RETRIEVE_FAIL {"error":{"message":"Validation Error","type":"BadRequest"}}
        WEBHOOK_UPDATE_START {"id":"ID0"}
        WEBHOOK_UPDATE_SUCCESS {"id":"ID0","events":["OpenIdCredentialIssued"],"url":"https://b.example/","disabled":false}
        WEBHOOK_UPDATE_START {"id":"ID1"}
        WEBHOOK_UPDATE_FAIL {"error":{"message":"Validation Error","type":"NotFound"}}
        WEBHOOK_DELETE_START {"id":"ID0"}
        WEBHOOK_DELETE_SUCCESS {"id":"ID0"}
        WEBHOOK_DELETE_START {"id":"ID0"}
        WEBHOOK_DELETE_FAIL {"error":{"message":"Validation Error","type":"NotFound"}}
        CONFIG_CUSTOM_DOMAIN_RETRIEVE_START {}
        CONFIG_CUSTOM_DOMAIN_RETRIEVE_FAIL {"error":{"message":"Resource Not Found","type":"NotFound"}}
        CONFIG_CUSTOM_DOMAIN_CREATE_START {}
        CONFIG_CUSTOM_DOMAIN_CREATE_SUCCESS {"name":"Acme","logoUrl":"https://acme.example/logo.png","domain":"id.a.example","isVerified":false}
        CONFIG_CUSTOM_DOMAIN_CREATE_START {}
        CONFIG_CUSTOM_DOMAIN_CREATE_FAIL {"error":{"message":"A custom domain is configured already; replace it with PUT, or delete it first","type":"BadRequest"}}
        CONFIG_CUSTOM_DOMAIN_RETRIEVE_START {}
        CONFIG_CUSTOM_DOMAIN_RETRIEVE_SUCCESS {"name":"Acme","logoUrl":"https://acme.example/logo.png","domain":"id.a.example","isVerified":false}
        CONFIG_CUSTOM_DOMAIN_VERIFY_START {}
        CONFIG_CUSTOM_DOMAIN_VERIFY_FAIL {"error":{"message":"No TXT record was found at id.a.example; publish one whose value is the verificationToken, and allow time for it to spread","type":"BadRequest"}}
        CONFIG_CUSTOM_DOMAIN_VERIFY_START {}
        CONFIG_CUSTOM_DOMAIN_VERIFY_SUCCESS {}
        CONFIG_CUSTOM_DOMAIN_UPDATE_START {}
        CONFIG_CUSTOM_DOMAIN_UPDATE_SUCCESS {"name":"Acme","logoUrl":"https://acme.example/logo.png","domain":"id.a.example","isVerified":true,"verifiedAt":1767323045694}
        CONFIG_CUSTOM_DOMAIN_UPDATE_START {}
        CONFIG_CUSTOM_DOMAIN_UPDATE_FAIL {"error":{"message":"Validation Error","type":"BadRequest"}}
        CONFIG_CUSTOM_DOMAIN_DELETE_START {}
        CONFIG_CUSTOM_DOMAIN_DELETE_SUCCESS {}
        CONFIG_CUSTOM_DOMAIN_DELETE_START {}
        CONFIG_CUSTOM_DOMAIN_DELETE_FAIL {"error":{"message":"Resource Not Found","type":"NotFound"}}
    "#]]);
}

#[tokio::test]
async fn what_is_not_let_in_and_other_calls_leave_nothing() {
    let world = World::new().await;
    let auditor = world.key(Role::Auditor, None).await;
    for call in [
        get("/v1/webhooks").by_nobody(),
        get("/v1/webhooks").by("spk_unknown"),
        get("/v1/webhooks").by(&auditor),
        get("/v1/webhooks/jwks"),
        get("/v1/webhooks/deliveries"),
        get("/v1/webhooks/audit"),
        get("/v1/events"),
        get("/v1/analytics/event-types"),
        get(&format!("/v1/webhooks/{ABSENT}/settings")),
    ] {
        world.call(call).await;
    }
    assert_eq!(events(&world, "").await, Vec::<Value>::new());
    world.call(get("/v1/webhooks").by(&auditor)).await;
    let list = world.call(get("/v1/events").by(&auditor)).await;
    assert_eq!(list.to_string(), r#"200 {"data":[]}"#, "an auditor reads, and may not list webhooks");
}

/// One event delivered, one that failed, and one to nobody, with a call between each.
async fn deliveries(world: &mut World) -> String {
    world.webhook(&["OpenIdCredentialIssued", "OpenIdCredentialIssuedSummary", "did_create"]).await;
    let event = |profile: &str| {
        json!({"type": "OpenIdCredentialIssued", "payload": {"format": "mso_mdoc", "userId": profile,
            "credentialProfile": "mobile", "credentialConfigurationId": "c", "credential": "canary"}})
    };
    let first = world.publish(event("u1")).await;
    for _ in 0..2 {
        end(world, 200, State::Delivered).await;
    }
    world.get("/v1/webhooks").await;
    world.publish(json!({"type": "did_create", "payload": {"did": "d"}})).await;
    end(world, 503, State::Failed(FailReason::AttemptsExhausted)).await;
    world.publish(json!({"type": "did_delete", "payload": {"did": "d"}})).await;
    first
}

/// Ends what is to be sent next, after an attempt of 12 ms.
async fn end(world: &mut World, status: u16, state: State) {
    world.tick();
    let now = world.app.clock.now();
    world.settle_at(now, Outcome::of_status(status), Some(status), None, state).await;
    world.clock.advance(Duration::from_millis(20));
}

#[tokio::test]
async fn deliveries_and_calls_stand_in_one_list_newest_first() {
    let mut world = World::new().await;
    deliveries(&mut world).await;
    let events = events(&world, "").await;
    let keys: Vec<_> =
        events.iter().map(|event| (event["timestamp"].as_str(), event["id"].as_str())).collect();
    assert!(keys.windows(2).all(|pair| pair[0] > pair[1]), "{keys:?}");
    told(&events).is(expect![[r#"
        WEBHOOK_CREATE_START {}
        WEBHOOK_CREATE_SUCCESS {"id":"ID0","events":["OpenIdCredentialIssued","OpenIdCredentialIssuedSummary","did_create"],"url":"https://example.com/in","disabled":false}
        WEBHOOK_EVENT_RECEIVE {"id":"ID1","type":"OpenIdCredentialIssued","timestamp":"2026-01-02T03:04:05.680Z"}
        WEBHOOK_EVENT_RECEIVE {"id":"ID2","type":"OpenIdCredentialIssuedSummary","timestamp":"2026-01-02T03:04:05.680Z"}
        WEBHOOK_EVENT_PROCESS_START {"deliveryId":"ID3","webhookId":"ID0","eventId":"ID1","eventType":"OpenIdCredentialIssued","attempt":1}
        WEBHOOK_EVENT_PROCESS_SUCCESS {"deliveryId":"ID3","webhookId":"ID0","eventId":"ID1","eventType":"OpenIdCredentialIssued","attempt":1,"statusCode":200}
        WEBHOOK_EVENT_PROCESS_START {"deliveryId":"ID4","webhookId":"ID0","eventId":"ID2","eventType":"OpenIdCredentialIssuedSummary","attempt":1}
        WEBHOOK_EVENT_PROCESS_SUCCESS {"deliveryId":"ID4","webhookId":"ID0","eventId":"ID2","eventType":"OpenIdCredentialIssuedSummary","attempt":1,"statusCode":200}
        WEBHOOK_RETRIEVE_LIST_START {"limit":100}
        WEBHOOK_RETRIEVE_LIST_SUCCESS {"entriesCount":1}
        WEBHOOK_EVENT_RECEIVE {"id":"ID5","type":"did_create","timestamp":"2026-01-02T03:04:05.723Z"}
        WEBHOOK_EVENT_PROCESS_START {"deliveryId":"ID6","webhookId":"ID0","eventId":"ID5","eventType":"did_create","attempt":1}
        WEBHOOK_EVENT_PROCESS_FAIL {"deliveryId":"ID6","webhookId":"ID0","eventId":"ID5","eventType":"did_create","attempt":1,"statusCode":503,"error":{"message":"answered 503","type":"attempts_exhausted"}}
        WEBHOOK_EVENT_RECEIVE {"id":"ID7","type":"did_delete","timestamp":"2026-01-02T03:04:05.745Z"}
    "#]]);
    // Everything of one delivery has one request id; nothing of a delivery has a client.
    let of_deliveries: Vec<_> = events.iter().filter(|event| event["clientId"].is_null()).collect();
    assert_eq!(of_deliveries.len(), 10);
    let start = events.iter().find(|event| event["type"] == "WEBHOOK_EVENT_PROCESS_START").unwrap();
    let request = start["requestId"].as_str().unwrap();
    let same = self::events(&world, &format!("&requestIds={request}")).await;
    assert_eq!(types(&same), ["WEBHOOK_EVENT_PROCESS_FAIL", "WEBHOOK_EVENT_PROCESS_START"]);
}

#[tokio::test]
async fn older_paths_answer_the_same() {
    let mut world = World::new().await;
    deliveries(&mut world).await;
    let first = world.get("/v1/events").await.json();
    for path in ["/v1/analytics/events", "/core/v1/analytics/events", "/core/v1/events"] {
        assert_eq!(world.get(path).await.json(), first, "{path}");
    }
    let types = world.get("/v1/analytics/event-types").await.json();
    assert_eq!(types["data"].as_array().unwrap().len(), 35);
    assert_eq!(types["data"][0], json!({"type": "WEBHOOK_CREATE_START", "category": "webhook"}));
    assert_eq!(world.get("/core/v1/analytics/event-types").await.json(), types);
}

#[tokio::test]
async fn pages_go_through_both_sources_without_gaps_or_repeats() {
    let mut world = World::new().await;
    deliveries(&mut world).await;
    let all = events(&world, "").await;
    for limit in [1, 3, 5] {
        let (mut seen, mut path) = (Vec::new(), format!("/v1/events?limit={limit}"));
        loop {
            let page = world.get(&path).await.json();
            seen.extend(page["data"].as_array().unwrap().clone());
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            let last = seen.last().unwrap();
            let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(cursor).unwrap();
            let time = last["timestamp"].as_str().unwrap().replace(':', "%3A");
            let expected = format!("timestamp={time}&id={}", last["id"].as_str().unwrap());
            assert_eq!(String::from_utf8(decoded).unwrap(), expected);
            path = format!("/v1/events?limit={limit}&cursor={cursor}");
        }
        assert_eq!(seen, all, "by {limit}");
    }
    // Past the end, also behind something that never was.
    let cursor = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(format!("timestamp=2020-01-01T00%3A00%3A00.000Z&id={ABSENT}"));
    assert_eq!(world.get(&format!("/v1/events?cursor={cursor}")).await.to_string(), r#"200 {"data":[]}"#);
}

#[tokio::test]
async fn filters_are_categories_or_types_and_the_rest() {
    let mut world = World::new().await;
    deliveries(&mut world).await;
    world.tick();
    world.get(DOMAIN).await;
    let all = events(&world, "").await;
    let is = |event: &Value, prefix: &str| event["type"].as_str().unwrap().starts_with(prefix);
    let text = |event: &Value, member: &str| event[member].as_str().unwrap().to_owned();
    let client = text(all.iter().find(|event| event["clientId"].is_string()).unwrap(), "clientId");
    let (one, two) = (&all[2], &all[7]);
    let middle = text(&all[5], "timestamp");
    type Fits<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let cases: Vec<(String, Fits<'_>)> = vec![
        ("&types=WEBHOOK_CREATE_START".into(), Box::new(|e| is(e, "WEBHOOK_CREATE_START"))),
        (
            "&types=WEBHOOK_CREATE_START,WEBHOOK_EVENT_RECEIVE".into(),
            Box::new(|e| is(e, "WEBHOOK_CREATE_START") || is(e, "WEBHOOK_EVENT_RECEIVE")),
        ),
        (
            "&types=WEBHOOK_CREATE_START&types=WEBHOOK_EVENT_RECEIVE".into(),
            Box::new(|e| is(e, "WEBHOOK_CREATE_START") || is(e, "WEBHOOK_EVENT_RECEIVE")),
        ),
        ("&categories=config-custom-domain".into(), Box::new(|e| is(e, "CONFIG_"))),
        ("&categories=webhook".into(), Box::new(|e| is(e, "WEBHOOK_"))),
        (
            "&categories=config-custom-domain&types=WEBHOOK_EVENT_PROCESS_FAIL".into(),
            Box::new(|e| is(e, "CONFIG_") || is(e, "WEBHOOK_EVENT_PROCESS_FAIL")),
        ),
        ("&types=USER_CREDENTIAL_ISSUE_START&categories=user".into(), Box::new(|_| false)),
        (
            format!("&ids={},{}", text(one, "id"), text(two, "id")),
            Box::new(|e| e["id"] == one["id"] || e["id"] == two["id"]),
        ),
        (format!("&ids={}&types=WEBHOOK_CREATE_FAIL", text(one, "id")), Box::new(|_| false)),
        (
            format!("&requestIds={}&requestIds={}", text(one, "requestId"), text(two, "requestId")),
            Box::new(|e| e["requestId"] == one["requestId"] || e["requestId"] == two["requestId"]),
        ),
        (format!("&dateFrom={middle}"), Box::new(|e| text(e, "timestamp") >= middle)),
        (format!("&dateTo={middle}"), Box::new(|e| text(e, "timestamp") <= middle)),
        (format!("&dateFrom={middle}&dateTo={middle}"), Box::new(|e| text(e, "timestamp") == middle)),
        (format!("&clientIds={client}"), Box::new(|e| e["clientId"] == client.as_str())),
        (format!("&clientIds={ABSENT}"), Box::new(|_| false)),
        ("&clientIds=*".into(), Box::new(|e| e["clientId"].is_string())),
        ("&clientIds=none".into(), Box::new(|e| e["clientId"].is_null())),
        (format!("&clientIds=none,{client}"), Box::new(|_| true)),
        ("&managementUserIds=none".into(), Box::new(|_| true)),
        ("&managementUserIds=*".into(), Box::new(|_| false)),
        ("&managementUserIds=someone".into(), Box::new(|_| false)),
    ];
    for (query, fits) in cases {
        let wanted: Vec<Value> = all.iter().filter(|event| fits(event)).cloned().collect();
        assert_eq!(events(&world, &query).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn wrong_filters_are_refused_by_name() {
    let world = World::new().await;
    let mut said = Said::default();
    for query in [
        "limit=1001",
        "cursor=abc",
        "ids=abc",
        "requestIds=abc",
        "types=",
        "categories=webhook,,x",
        "dateFrom=yesterday",
        "dateTo=2026-01-01",
        "clientIds=me",
        "dateTo=2026-01-01T00:00:00Z&dateTo=2026-01-02T00:00:00Z",
        "status=failed",
    ] {
        said.note(query, &world.get(&format!("/v1/events?{query}")).await);
    }
    said.is(expect![[r#"
        limit=1001: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"1001","msg":"must be a whole number from 1 to 1000","param":"limit","location":"query"}]}
        cursor=abc: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"Invalid value","param":"cursor","location":"query"}]}
        ids=abc: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"must be a UUID","param":"ids","location":"query"}]}
        requestIds=abc: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"must be 22 letters and digits","param":"requestIds","location":"query"}]}
        types=: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"","msg":"must not be empty","param":"types","location":"query"}]}
        categories=webhook,,x: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"","msg":"must not be empty","param":"categories","location":"query"}]}
        dateFrom=yesterday: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"yesterday","msg":"must be an RFC 3339 time such as 2022-08-30T01:26:38.308Z","param":"dateFrom","location":"query"}]}
        dateTo=2026-01-01: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"2026-01-01","msg":"must be an RFC 3339 time such as 2022-08-30T01:26:38.308Z","param":"dateTo","location":"query"}]}
        clientIds=me: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"me","msg":"must be a UUID, none (without a client) or * (with any)","param":"clientIds","location":"query"}]}
        dateTo=2026-01-01T00:00:00Z&dateTo=2026-01-02T00:00:00Z: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"2026-01-02T00:00:00Z","msg":"Duplicate field","param":"dateTo","location":"query"}]}
        status=failed: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"failed","msg":"Unknown field","param":"status","location":"query"}]}
    "#]]);
    let many = |count: usize| format!("/v1/events?types={}", vec!["T"; count].join(","));
    assert_eq!(world.get(&many(100)).await.status, 200);
    assert_eq!(world.get(&many(101)).await.status, 400);
    // The webhooks' cursor says another name for the time.
    let cursor = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(format!("createdAt=2026-01-01T00%3A00%3A00.000Z&id={ABSENT}"));
    assert_eq!(world.get(&format!("/v1/events?cursor={cursor}")).await.status, 400);
    assert_eq!(world.get(&format!("/v1/webhooks?cursor={cursor}")).await.status, 200);
}

async fn set_level(world: &World, level: Value) -> Answer {
    let operator = world.operator().await;
    let tenants = world.call(get("/v1/tenants").by(&operator)).await.json();
    let id = tenants["data"][0]["id"].as_str().unwrap();
    world.call(put(&format!("/v1/tenants/{id}/analytics"), json!({"level": level})).by(&operator)).await
}

#[tokio::test]
async fn each_level_tells_its_part_and_payloads_and_tokens_only_to_an_administrator() {
    let mut world = World::new().await;
    let auditor = world.key(Role::Auditor, None).await;
    let seen_by_auditor = async |world: &World| world.call(get(EVENTS).by(&auditor)).await.text().to_owned();
    let token = world.call(post(DOMAIN, domain("id.a.example"))).await.text_of("verificationToken");
    deliveries(&mut world).await;

    // 2: neither token nor payload, for nobody.
    let page = world.get(EVENTS).await;
    assert!(!page.text().contains(&token) && !page.text().contains("canary"), "{page}");
    assert!(page.text().contains("id.a.example") && page.text().contains("deliveryId"));

    // 1: no data; of calls that were recorded before it stays, deliveries are told as it is now.
    assert_eq!(set_level(&world, json!(1)).await.to_string(), r#"200 {"level":1}"#);
    world.tick();
    world.get(DOMAIN).await;
    for event in &events(&world, "").await {
        let newly = event["type"].as_str().unwrap().starts_with("CONFIG_CUSTOM_DOMAIN_RETRIEVE");
        let of_a_delivery = event["type"].as_str().unwrap().starts_with("WEBHOOK_EVENT");
        assert_eq!(event["data"].is_null(), newly || of_a_delivery, "{event}");
    }

    // 3: both, for an administrator.
    assert_eq!(set_level(&world, json!(3)).await.status, 200);
    world.tick();
    world.get(DOMAIN).await;
    let retrieved = events(&world, "&types=CONFIG_CUSTOM_DOMAIN_RETRIEVE_SUCCESS").await;
    assert_eq!(retrieved[0]["data"]["verificationToken"], token);
    let received: Vec<Value> = events(&world, "&types=WEBHOOK_EVENT_RECEIVE").await;
    let payload = |kind: &str| {
        received.iter().find(|event| event["data"]["type"] == kind).unwrap()["data"]["payload"].clone()
    };
    assert_eq!(payload("OpenIdCredentialIssued")["credential"], "canary");
    assert_eq!(payload("OpenIdCredentialIssuedSummary")["credential"], Value::Null);
    assert_eq!(payload("OpenIdCredentialIssuedSummary")["userId"], "u1");
    let text = seen_by_auditor(&world).await;
    assert!(!text.contains(&token) && !text.contains("canary") && !text.contains("payload"), "{text}");
    assert!(text.contains("id.a.example") && text.contains("deliveryId"));
    let log = world.get("/v1/webhooks/audit").await.json();
    let entries = log["data"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["what"] == "read payload"));
    assert!(entries.iter().any(|entry| {
        entry["what"] == "change analytics"
            && entry["before"] == json!({"logLevel": 1})
            && entry["after"] == json!({"logLevel": 3})
    }));
    // What was recorded stays as it was; what is told falls back with the level.
    set_level(&world, json!(2)).await;
    let page = world.get(EVENTS).await;
    assert!(page.text().contains(&token) && !page.text().contains("canary"), "{page}");
}

#[tokio::test]
async fn a_level_is_1_2_or_3() {
    let world = World::new().await;
    let mut said = Said::default();
    for level in [json!(0), json!(4), json!("2"), json!(2.5), json!(null), json!(258)] {
        said.note(&level.to_string(), &set_level(&world, level).await);
    }
    said.is(expect![[r#"
        0: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":0,"msg":"must be 1 (metadata only), 2 (sanitised) or 3 (full)","param":"level","location":"body"}]}
        4: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":4,"msg":"must be 1 (metadata only), 2 (sanitised) or 3 (full)","param":"level","location":"body"}]}
        "2": 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"2","msg":"must be 1 (metadata only), 2 (sanitised) or 3 (full)","param":"level","location":"body"}]}
        2.5: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":2.5,"msg":"must be 1 (metadata only), 2 (sanitised) or 3 (full)","param":"level","location":"body"}]}
        null: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":null,"msg":"must be 1 (metadata only), 2 (sanitised) or 3 (full)","param":"level","location":"body"}]}
        258: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":258,"msg":"must be 1 (metadata only), 2 (sanitised) or 3 (full)","param":"level","location":"body"}]}
    "#]]);
    let operator = world.operator().await;
    let path = format!("/v1/tenants/{ABSENT}/analytics");
    assert_eq!(world.call(put(&path, json!({"level": 1})).by(&operator)).await.status, 404);
    let shown = world.call(get("/v1/tenants").by(&operator)).await.json();
    assert_eq!(shown["data"][0]["analytics"], json!({"level": 2}));
    assert_eq!(world.app.tenant(world.tenant).await.unwrap().log_level(), LogLevel::Sanitised);
}

#[tokio::test]
async fn an_erased_payload_is_in_no_analytic_event() {
    let mut world = World::new().await;
    set_level(&world, json!(3)).await;
    let event = deliveries(&mut world).await;
    assert!(world.get(EVENTS).await.text().contains("canary"));
    let before = events(&world, "").await.len();
    assert_eq!(world.call(delete(&format!("/v1/webhooks/events/{event}/payload"))).await.status, 204);
    let page = world.get(EVENTS).await;
    assert!(!page.text().contains("canary"), "{page}");
    assert_eq!(page.json()["data"].as_array().unwrap().len(), before);
}

#[tokio::test]
async fn many_large_payloads_are_on_several_pages() {
    let world = World::new().await;
    set_level(&world, json!(3)).await;
    let large = "x".repeat(900_000);
    for _ in 0..12 {
        world.publish(json!({"type": "did_create", "payload": {"did": large}})).await;
    }
    let (mut seen, mut path, mut pages) = (Vec::new(), "/v1/events".to_owned(), 0);
    loop {
        let page = world.get(&path).await;
        assert!(page.body.len() < 10_000_000, "{}", page.body.len());
        pages += 1;
        seen.extend(page.ids());
        let Some(cursor) = page.json()["nextCursor"].as_str().map(str::to_owned) else { break };
        path = format!("/v1/events?cursor={cursor}");
    }
    assert_eq!((seen.len(), pages), (12, 2));
    set_level(&world, json!(2)).await;
    assert_eq!(world.get("/v1/events").await.ids(), seen);
}

#[tokio::test]
async fn another_tenant_sees_nothing() {
    let mut world = World::new().await;
    deliveries(&mut world).await;
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default(), "test").await.unwrap();
    let stranger = world.app.create_client(other.no, "a", Role::Admin, None, None, "test").await.unwrap();
    let all = events(&world, "").await;
    let of =
        |member: &str| all.iter().map(|event| event[member].as_str().unwrap()).collect::<Vec<_>>().join(",");
    for query in [String::new(), format!("ids={}", of("id")), format!("requestIds={}", of("requestId"))] {
        let page = world.call(get(&format!("/v1/events?{query}")).by(stranger.key.reveal())).await;
        assert_eq!(page.to_string(), r#"200 {"data":[]}"#, "{query}");
    }
    world.call(get("/v1/webhooks").by(stranger.key.reveal())).await;
    assert_eq!(world.call(get("/v1/events").by(stranger.key.reveal())).await.ids().len(), 2);
    assert_eq!(events(&world, "").await, all);
}

#[tokio::test]
async fn they_are_kept_for_their_time_and_through_a_restart() {
    let mut world = World::analytics(Some(Duration::from_secs(3600))).await;
    deliveries(&mut world).await;
    let all = events(&world, "").await;
    // Read before the end, so they are on disk; what only waits is stored by whoever stops the process.
    let mut world = world.restart().await;
    assert_eq!(events(&world, "").await, all);

    world.clock.advance(Duration::from_secs(3599));
    world.get(DOMAIN).await;
    world.clock.advance(Duration::from_secs(2));
    let kept = events(&world, "").await;
    assert_eq!(types(&kept), ["CONFIG_CUSTOM_DOMAIN_RETRIEVE_FAIL", "CONFIG_CUSTOM_DOMAIN_RETRIEVE_START"]);
    let calls = all.iter().filter(|event| event["clientId"].is_string()).count() as u64;
    assert_eq!(world.app.forget_calls().await.unwrap(), calls);
    assert_eq!(world.app.forget_calls().await.unwrap(), 0);
    assert_eq!(events(&world, "").await, kept);
    deliveries(&mut world).await;
    assert!(events(&world, "").await.len() > kept.len());
}

#[tokio::test]
async fn without_retention_nothing_is_recorded_or_shown_and_what_was_goes() {
    let mut world = World::new().await;
    world.get("/v1/webhooks").await;
    world.app.store_recorded().await.unwrap();
    world.tick();
    world = world.restart_with(|config| config.analytics_retention = None).await;
    deliveries(&mut world).await;
    assert_eq!(world.get("/v1/events").await.to_string(), r#"200 {"data":[]}"#);
    world.app.store_recorded().await.unwrap();
    assert_eq!(
        world.app.forget_calls().await.unwrap(),
        2,
        "the start and the success of the one call from before"
    );
    assert_eq!(world.app.forget_calls().await.unwrap(), 0);
}

#[tokio::test]
async fn a_call_whose_caller_hung_up_is_recorded_as_it_ended() {
    let world = World::new().await;
    let request = Request::post("/v1/webhooks")
        .header("authorization", format!("Bearer {}", world.admin))
        .header("content-type", "application/json")
        .body(Body::from(webhook("https://a.example/").to_string()))
        .unwrap();
    let mut answer = Box::pin(world.router.clone().oneshot(request));
    // Until the call is carried out by a task of its own; then nobody waits for it any more.
    while events(&world, "").await.is_empty() {
        assert!(futures_util::poll!(&mut answer).is_pending());
    }
    drop(answer);
    let operation = |phase| AnalyticType::Call(Operation::WebhookCreate, phase).as_str();
    loop {
        let seen = events(&world, "").await;
        if let [end, start] = seen.as_slice() {
            assert_eq!(start["type"], operation(Phase::Start));
            let made = !world.get("/v1/webhooks").await.ids().is_empty();
            assert_eq!(end["type"], operation(if made { Phase::Success } else { Phase::Fail }));
            break;
        }
        tokio::task::yield_now().await;
    }
}
