//! What holds for every route: who may call it, which methods there are, what is no route at all.

use expect_test::expect;
use sealpost_core::id::WebhookId;
use sealpost_core::role::Role;
use serde_json::{Value, json};

use crate::support::{ABSENT, DOCUMENT, Said, World, call, get, has_core, is_truvera, post};

/// Every listed operation: method, path with something in its parameters, roles; no roles means public.
fn operations() -> Vec<(String, String, Vec<String>, Value)> {
    let mut all = Vec::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(roles) = operation["x-required-roles"].as_array() else { continue };
            let roles = roles.iter().map(|role| role.as_str().unwrap().to_owned()).collect();
            let path = path.replace("{id}", ABSENT).replace("{clientId}", ABSENT).replace("{name}", "absent");
            all.push((method.to_uppercase(), path, roles, operation.clone()));
        }
    }
    assert_eq!(all.len(), 59);
    all
}

#[tokio::test]
async fn every_route_lets_in_the_roles_it_lists_and_nobody_else() {
    let world = World::new().await;
    let webhook: WebhookId = world.webhook(&["did_create"]).await.parse().unwrap();
    let mut keys = Vec::new();
    for role in Role::ALL {
        let bound = (role == Role::Subscriber).then_some(webhook);
        keys.push((role.as_str(), world.key(role, bound).await));
    }
    let operator = world.operator().await;
    for (method, path, roles, operation) in operations() {
        let public = operation["security"] == serde_json::json!([]);
        for base in ["", "/core"] {
            if base == "/core" && !has_core(&path) {
                continue;
            }
            let path = format!("{base}{path}");
            let nobody = world.call(call(&method, &path).by_nobody()).await;
            let operator_only = !public && roles.is_empty();
            let by_operator = world.call(call(&method, &path).by(&operator)).await;
            assert!(
                public || (by_operator.status == 401) != operator_only && by_operator.status != 403,
                "{method} {path} by an operator: {by_operator}"
            );
            let unknown = world.call(call(&method, &path).by("spk_unknown")).await;
            if public {
                // A token request that says nothing is refused for what it lacks.
                assert!(nobody.status < 400 || path == "/oauth/token", "{method} {path}: {nobody}");
                continue;
            }
            for answer in [nobody, unknown] {
                assert_eq!(answer.to_string(), refused(&path, 401), "{method} {path}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
            for (role, key) in &keys {
                let answer = world.call(call(&method, &path).by(key)).await;
                match answer.status {
                    403 => {
                        assert!(!roles.iter().any(|r| r == role), "{method} {path} refuses {role}");
                        assert_eq!(answer.to_string(), refused(&path, 403));
                    }
                    _ => assert!(roles.iter().any(|r| r == role), "{method} {path} lets in {role}: {answer}"),
                }
            }
        }
    }
}

/// How each face says 401 and 403.
fn refused(path: &str, status: u16) -> String {
    let name = if status == 401 { "Unauthorized" } else { "Forbidden" };
    match (is_truvera(path), status) {
        (true, _) => format!(r#"{status} {{"status":{status},"type":"{name}","message":"{name}"}}"#),
        (false, 401) => "401 [text/plain] Unauthorized".to_owned(),
        (false, _) => "403 [text/plain]".to_owned(),
    }
}

/// A body that the call would take if its id were known.
fn body_of(operation: &str) -> Option<Value> {
    let webhook = json!({"events": ["did_create"], "url": "https://example.com/x"});
    Some(match operation {
        "updateWebhook" => webhook,
        "putSettings" | "testWebhook" | "rotateSecret" => json!({}),
        "redeliverAll" => json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}),
        "putEventType" => json!({"description": "changed"}),
        "createClient" => json!({"name": "n", "roles": ["admin"]}),
        _ => return None,
    })
}

/// Every route with an id x the tenant's own, another tenant's, one that nothing has: what is another's answers exactly
/// as what is not there, and is not changed by being asked for.
#[tokio::test]
async fn what_is_another_tenants_answers_as_what_is_not_there() {
    let world = World::new().await;
    let webhook = world.webhook(&["did_create"]).await;
    let event = world.publish(json!({"type": "did_create", "payload": {"did": "d"}})).await;
    let delivery = world.newest_delivery("limit=1").await;
    world.call(post("/v1/webhooks/event-types", json!({"name": "ours.only"}))).await;
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default(), "test").await.unwrap();
    let stranger = world.app.create_client(other.no, "a", Role::Admin, None, None, "test").await.unwrap();
    let stranger = stranger.key.reveal();
    let state = async || {
        let mut state = Vec::new();
        for path in [
            format!("/v1/webhooks/{webhook}"),
            format!("/v1/webhooks/{webhook}/settings"),
            format!("/v1/webhooks/{webhook}/secret"),
            format!("/v1/webhooks/events/{event}?include=payload"),
            format!("/v1/webhooks/deliveries/{delivery}"),
            "/v1/webhooks/deliveries".to_owned(),
            "/v1/webhooks/event-types/ours.only".to_owned(),
        ] {
            state.push(world.get(&path).await.to_string());
        }
        state
    };
    let before = state().await;
    let mut asked = 0;
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        let own = match path.split('/').nth(3) {
            _ if !path.starts_with("/v1/webhooks") => continue,
            Some("{id}") => &webhook,
            Some("events") => &event,
            Some("deliveries") => &delivery,
            _ => "ours.only",
        };
        for (method, operation) in item.as_object().unwrap() {
            let Some(name) = operation["operationId"].as_str().filter(|_| path.contains('{')) else {
                continue;
            };
            let answer = async |id: &str| {
                let path = path.replace("{id}", id).replace("{name}", id);
                let mut call = call(&method.to_uppercase(), &path).by(stranger);
                if let Some(body) = body_of(name) {
                    call = call.json(&body);
                }
                world.call(call).await.to_string().replace(id, "ID")
            };
            let absent = if own == "ours.only" { "ours.none" } else { ABSENT };
            let (foreign, absent) = (answer(own).await, answer(absent).await);
            assert_eq!(foreign, absent, "{name}");
            assert!(foreign.starts_with("404 "), "{name}: {foreign}");
            asked += 1;
        }
    }
    assert_eq!(asked, 18);
    assert_eq!(state().await, before);
    // A foreign id in a query or body finds nothing either.
    for (own, absent) in [("webhookId", &webhook), ("eventId", &event)] {
        let path = |id: &str| format!("/v1/webhooks/deliveries?{own}={id}");
        let foreign = world.call(get(&path(absent)).by(stranger)).await.to_string();
        assert_eq!(foreign, world.call(get(&path(ABSENT)).by(stranger)).await.to_string());
    }
    let erased = world.call(post("/v1/webhooks/erasures", json!({"eventIds": [event]})).by(stranger)).await;
    assert_eq!(erased.json()["count"], 0);
    assert_eq!(state().await, before);
}

/// The page for people, made from the document that programs read, which is made from the table that is enforced.
#[test]
fn who_may_call_what() {
    let mut page = String::from(
        "# Who may call what\n\n\
         The table that the service enforces, as `GET /openapi.json` shows it (`x-required-roles`). One of the roles is \
         enough.\n`auditor` never sees secrets, payloads or response excerpts; `subscriber` is bound to one webhook and \
         sees its deliveries and payloads only;\n`verifier`, `dts-provider` and `dts-consumer` are roles of the MATTR \
         platform.\n\n| call | roles |\n|---|---|\n",
    );
    for (method, path, roles, operation) in operations() {
        let path = path.replacen(ABSENT, "{id}", 1).replace(ABSENT, "{clientId}").replace("absent", "{name}");
        let who = match roles.is_empty() {
            false => roles.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>().join(" "),
            true if operation["security"] == json!([]) => "anybody".to_owned(),
            true => "an operator's key".to_owned(),
        };
        page.push_str(&format!("| `{method} {path}` | {who} |\n"));
    }
    expect_test::expect_file!["../../../../docs/roles.md"].assert_eq(&page);
}

#[tokio::test]
async fn what_is_no_route_is_404_and_a_wrong_method_405() {
    let world = World::new().await;
    let mut said = Said::default();
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/v1/webhooks/"),
        ("GET", "/core/livez"),
        ("POST", "/oauth/token"),
        ("GET", "/v1/tenants"),
        ("GET", "/webhooks"),
        ("PUT", "/webhooks"),
        ("PUT", "/webhooks/17"),
        ("GET", "/webhooks/"),
        ("GET", "/webhooks/17/deliveries"),
        ("GET", "/webhooks2"),
        ("GET", "/core/webhooks"),
        ("GET", "/v1/config"),
        ("PATCH", "/v1/config/domain"),
        ("GET", "/core/v1/config/domain/verify"),
        ("POST", "/v1/config/domain/invalidate"),
        ("POST", "/v1/events"),
        ("POST", "/v1/webhooks/x/token/rotate"),
        ("GET", "/v2/webhooks"),
        ("PATCH", "/v1/webhooks"),
        ("PATCH", "/v1/webhooks/x"),
        ("POST", "/v1/webhooks/jwks"),
        ("GET", "/v1/webhooks/erasures"),
        ("PUT", "/core/v1/webhooks/events"),
        ("OPTIONS", "/livez"),
    ] {
        let answer = world.call(call(method, path).by_nobody()).await;
        said.line(format!("{method} {path}: {answer} {}", answer.header("allow").unwrap_or_default()));
    }
    said.is(expect![[r#"
        GET /: 404 {"code":"NotFound","message":"Resource Not Found"}
        GET /v1/webhooks/: 404 {"code":"NotFound","message":"Resource Not Found"}
        GET /core/livez: 404 {"code":"NotFound","message":"Resource Not Found"}
        POST /oauth/token: 415 {"code":"UnsupportedMediaType","message":"the body must be application/json in UTF-8"}
        GET /v1/tenants: 401 [text/plain] Unauthorized
        GET /webhooks: 401 {"status":401,"type":"Unauthorized","message":"Unauthorized"}
        PUT /webhooks: 405 {"status":405,"type":"MethodNotAllowed","message":"Method Not Allowed"} POST, GET, HEAD
        PUT /webhooks/17: 405 {"status":405,"type":"MethodNotAllowed","message":"Method Not Allowed"} GET, HEAD, PATCH, DELETE
        GET /webhooks/: 405 {"status":405,"type":"MethodNotAllowed","message":"Method Not Allowed"}
        GET /webhooks/17/deliveries: 404 {"status":404,"type":"NotFound","message":"Resource Not Found"}
        GET /webhooks2: 404 {"code":"NotFound","message":"Resource Not Found"}
        GET /core/webhooks: 404 {"code":"NotFound","message":"Resource Not Found"}
        GET /v1/config: 404 {"code":"NotFound","message":"Resource Not Found"}
        PATCH /v1/config/domain: 405 {"code":"MethodNotAllowed","message":"Method Not Allowed"} POST, GET, HEAD, PUT, DELETE
        GET /core/v1/config/domain/verify: 405 {"code":"MethodNotAllowed","message":"Method Not Allowed"} POST, PUT
        POST /v1/config/domain/invalidate: 404 {"code":"NotFound","message":"Resource Not Found"}
        POST /v1/events: 405 {"code":"MethodNotAllowed","message":"Method Not Allowed"} GET, HEAD
        POST /v1/webhooks/x/token/rotate: 401 [text/plain] Unauthorized
        GET /v2/webhooks: 404 {"code":"NotFound","message":"Resource Not Found"}
        PATCH /v1/webhooks: 405 {"code":"MethodNotAllowed","message":"Method Not Allowed"} POST, GET, HEAD
        PATCH /v1/webhooks/x: 405 {"code":"MethodNotAllowed","message":"Method Not Allowed"} GET, HEAD, PUT, DELETE
        POST /v1/webhooks/jwks: 405 {"code":"MethodNotAllowed","message":"Method Not Allowed"} GET, HEAD
        GET /v1/webhooks/erasures: 405 {"code":"MethodNotAllowed","message":"Method Not Allowed"} POST
        PUT /core/v1/webhooks/events: 405 {"code":"MethodNotAllowed","message":"Method Not Allowed"} POST, GET, HEAD
        OPTIONS /livez: 405 {"code":"MethodNotAllowed","message":"Method Not Allowed"} GET, HEAD
    "#]]);
}

#[tokio::test]
async fn whoever_answers_get_answers_head() {
    let world = World::new().await;
    for path in ["/v1/webhooks", "/v1/webhooks/jwks", "/livez"] {
        let (get, head) = (world.get(path).await, world.call(call("HEAD", path)).await);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(get.header("content-type"), head.header("content-type"));
    }
}

#[tokio::test]
async fn what_was_asked_for_with_a_key_is_not_to_be_stored_by_caches() {
    let world = World::new().await;
    assert_eq!(world.get("/v1/webhooks").await.header("cache-control"), Some("no-store"));
    assert_eq!(world.get("/livez").await.header("cache-control"), None);
}

#[tokio::test]
async fn a_query_holds_what_the_route_lists_and_each_once() {
    let world = World::new().await;
    let mut said = Said::default();
    for target in [
        "/v1/webhooks?status=failed",
        "/v1/webhooks?limit=1&limit=2",
        "/v1/webhooks?limit=0",
        "/v1/webhooks?limit=1001",
        "/v1/webhooks?limit=x",
        "/v1/webhooks?limit=%2B5",
        "/v1/webhooks?limit=",
        "/v1/webhooks?cursor=abc",
        "/v1/webhooks/events?from=yesterday",
        "/v1/webhooks/events?type=a%20b",
        "/v1/webhooks/deliveries?status=lost",
        "/v1/webhooks/deliveries?webhookId=abc",
        "/v1/webhooks/deliveries?webhookId=99",
        "/v1/webhooks/deliveries?eventId=abc",
        "/v1/webhooks/events/0190c0de-0000-7000-8000-000000000000?include=everything",
        "/v1/webhooks/event-types?cursor=abc",
        "/livez?x=1",
    ] {
        said.note(target, &world.get(target).await);
    }
    said.is(expect![[r#"
        /v1/webhooks?status=failed: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"failed","msg":"Unknown field","param":"status","location":"query"}]}
        /v1/webhooks?limit=1&limit=2: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"2","msg":"Duplicate field","param":"limit","location":"query"}]}
        /v1/webhooks?limit=0: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"0","msg":"must be a whole number from 1 to 1000","param":"limit","location":"query"}]}
        /v1/webhooks?limit=1001: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"1001","msg":"must be a whole number from 1 to 1000","param":"limit","location":"query"}]}
        /v1/webhooks?limit=x: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"x","msg":"must be a whole number from 1 to 1000","param":"limit","location":"query"}]}
        /v1/webhooks?limit=%2B5: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"+5","msg":"must be a whole number from 1 to 1000","param":"limit","location":"query"}]}
        /v1/webhooks?limit=: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"","msg":"must be a whole number from 1 to 1000","param":"limit","location":"query"}]}
        /v1/webhooks?cursor=abc: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"Invalid value","param":"cursor","location":"query"}]}
        /v1/webhooks/events?from=yesterday: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"yesterday","msg":"must be an RFC 3339 time such as 2022-08-30T01:26:38.308Z","param":"from","location":"query"}]}
        /v1/webhooks/events?type=a%20b: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"a b","msg":"must be 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter","param":"type","location":"query"}]}
        /v1/webhooks/deliveries?status=lost: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"lost","msg":"must be pending, delivered, failed or cancelled","param":"status","location":"query"}]}
        /v1/webhooks/deliveries?webhookId=abc: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"Invalid value","param":"webhookId","location":"query"}]}
        /v1/webhooks/deliveries?webhookId=99: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"99","msg":"Resource Not Found","param":"webhookId","location":"query"}]}
        /v1/webhooks/deliveries?eventId=abc: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"must be a UUID","param":"eventId","location":"query"}]}
        /v1/webhooks/events/0190c0de-0000-7000-8000-000000000000?include=everything: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"everything","msg":"must be payload","param":"include","location":"query"}]}
        /v1/webhooks/event-types?cursor=abc: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"Invalid value","param":"cursor","location":"query"}]}
        /livez?x=1: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"1","msg":"Unknown field","param":"x","location":"query"}]}
    "#]]);
    for target in ["/v1/webhooks?limit=1", "/v1/webhooks?limit=1000", "/v1/webhooks?"] {
        assert_eq!(world.get(target).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn ids_in_paths_are_uuids_and_an_unknown_one_is_404() {
    let world = World::new().await;
    let mut said = Said::default();
    for path in [
        "/v1/webhooks/abc",
        "/v1/webhooks/7",
        "/core/v1/webhooks/%7Babc%7D",
        "/v1/webhooks/events/abc",
        "/v1/webhooks/events/settings",
        "/v1/webhooks/deliveries/0190c0de000070008000000000000000",
        "/v1/webhooks/abc/settings",
        "/v1/webhooks/7/settings",
        "/v1/webhooks/99999999999999999999/secret",
        "/v1/webhooks/event-types/nothing",
        "/v1/webhooks/%FF",
    ] {
        said.note(path, &world.call(get(path)).await);
    }
    for path in ["", "/settings", "/secret"] {
        said.note(path, &world.get(&format!("/v1/webhooks/{ABSENT}{path}")).await);
    }
    said.note("event", &world.get(&format!("/v1/webhooks/events/{ABSENT}")).await);
    said.note("delivery", &world.get(&format!("/v1/webhooks/deliveries/{ABSENT}")).await);
    said.is(expect![[r#"
        /v1/webhooks/abc: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"Invalid value","param":"id","location":"params"}]}
        /v1/webhooks/7: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"7","msg":"Invalid value","param":"id","location":"params"}]}
        /core/v1/webhooks/%7Babc%7D: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"{abc}","msg":"Invalid value","param":"id","location":"params"}]}
        /v1/webhooks/events/abc: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"Invalid value","param":"id","location":"params"}]}
        /v1/webhooks/events/settings: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"settings","msg":"Invalid value","param":"id","location":"params"}]}
        /v1/webhooks/deliveries/0190c0de000070008000000000000000: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"0190c0de000070008000000000000000","msg":"Invalid value","param":"id","location":"params"}]}
        /v1/webhooks/abc/settings: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"Invalid value","param":"id","location":"params"}]}
        /v1/webhooks/7/settings: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"7","msg":"Resource Not Found","param":"id","location":"params"}]}
        /v1/webhooks/99999999999999999999/secret: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"99999999999999999999","msg":"Invalid value","param":"id","location":"params"}]}
        /v1/webhooks/event-types/nothing: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"nothing","msg":"Resource Not Found","param":"name","location":"params"}]}
        /v1/webhooks/%FF: 400 {"code":"BadRequest","message":"the path is not UTF-8"}
        : 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Resource Not Found","param":"id","location":"params"}]}
        /settings: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Resource Not Found","param":"id","location":"params"}]}
        /secret: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Resource Not Found","param":"id","location":"params"}]}
        event: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Resource Not Found","param":"id","location":"params"}]}
        delivery: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Resource Not Found","param":"id","location":"params"}]}
    "#]]);
}
