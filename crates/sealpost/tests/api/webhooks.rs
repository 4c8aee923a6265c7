//! The MATTR face: exactly `{id, events, url, disabled}`, and its refusals.

use expect_test::expect;
use sealpost_core::id::WebhookNo;
use serde_json::{Value, json};

use crate::support::{Said, World, call, delete, get, post, put};

#[tokio::test]
async fn a_webhook_is_created_read_replaced_and_deleted() {
    let world = World::new().await;
    let input = json!({"events": ["OpenIdCredentialIssued"], "url": "https://example.com"});
    let created = world.call(post("/v1/webhooks", input)).await;
    let id = created.text_of("id");
    assert_eq!(
        created.to_string(),
        format!(
            r#"201 {{"id":"{id}","events":["OpenIdCredentialIssued"],"url":"https://example.com","disabled":false}}"#
        )
    );
    let path = format!("/v1/webhooks/{id}");
    assert_eq!(created.header("location"), Some(path.as_str()));
    assert_eq!(created.header("content-type"), Some("application/json"));
    assert_eq!(world.get(&path).await.json(), created.json());
    assert_eq!(world.get(&format!("/core{path}")).await.json(), created.json());
    assert_eq!(
        world.get(&path.to_uppercase().replace("/V1/WEBHOOKS", "/v1/webhooks")).await.json(),
        created.json()
    );
    assert_eq!(world.get("/v1/webhooks").await.json(), json!({"data": [created.json()]}));

    // An object that was read can be put back, and `disabled` absent means false.
    let mut object = created.json();
    object["disabled"] = true.into();
    object["events"] = json!(["did_create", "OpenIdCredentialIssued"]);
    let replaced = world.call(put(&path, object.clone())).await;
    assert_eq!((replaced.status, replaced.json()), (200, object.clone()));
    object.as_object_mut().unwrap().remove("disabled");
    let replaced = world.call(put(&path, object)).await;
    assert_eq!(replaced.json()["disabled"], false);
    assert_eq!(world.get(&path).await.json(), replaced.json());

    assert_eq!(world.call(delete(&path)).await.to_string(), "204");
    let gone = world.get(&path).await;
    assert_eq!(
        gone.to_string(),
        format!(
            r#"404 {{"code":"NotFound","message":"Validation Error","details":[{{"value":"{id}","msg":"Resource Not Found","param":"id","location":"params"}}]}}"#
        )
    );
    assert_eq!(world.call(delete(&path)).await.to_string(), gone.to_string());
    let input = json!({"events": ["did_create"], "url": "https://example.com"});
    assert_eq!(world.call(put(&path, input)).await.to_string(), gone.to_string());
    assert_eq!(world.get("/v1/webhooks").await.to_string(), r#"200 {"data":[]}"#);
}

#[tokio::test]
async fn the_core_prefix_is_kept_in_links() {
    let world = World::new().await;
    let input = json!({"events": ["did_create"], "url": "https://example.com"});
    let created = world.call(post("/core/v1/webhooks", input)).await;
    assert_eq!(
        created.header("location"),
        Some(format!("/core/v1/webhooks/{}", created.text_of("id")).as_str())
    );
}

#[tokio::test]
async fn urls_come_back_normalised() {
    let world = World::new().await;
    for (given, shown) in [
        ("https://example.com", "https://example.com"),
        ("https://example.com/", "https://example.com/"),
        ("https://EXAMPLE.com:443/Hook", "https://example.com/Hook"),
        ("https://bücher.example.org/ä'|^", "https://xn--bcher-kva.example.org/%C3%A4%27%7C%5E"),
    ] {
        let created = world.call(post("/v1/webhooks", json!({"events": ["did_create"], "url": given}))).await;
        assert_eq!((created.status, created.text_of("url").as_str()), (201, shown), "{given}");
        assert_eq!(world.get(created.header("location").unwrap()).await.text_of("url"), shown);
    }
}

#[tokio::test]
async fn each_refusal_names_the_member() {
    let world = World::new().await;
    let mut said = Said::default();
    let url = "https://example.com";
    for body in [
        json!({}),
        json!([]),
        json!(null),
        json!({"events": ["did_create"]}),
        json!({"events": ["did_create"], "url": 1}),
        json!({"events": ["did_create"], "url": "http://example.com"}),
        json!({"events": ["did_create"], "url": "https://192.0.2.1"}),
        json!({"events": ["did_create"], "url": "https://example.com/?"}),
        json!({"events": ["did_create"], "url": "https://example.com/#a"}),
        json!({"events": ["did_create"], "url": "https://localhost"}),
        json!({"events": ["did_create"], "url": "https://user:secret@example.com"}),
        json!({"events": ["did_create"], "url": ""}),
        json!({"events": [], "url": url}),
        json!({"events": "did_create", "url": url}),
        json!({"events": ["did_create", "did_delete", "did_create"], "url": url}),
        json!({"events": ["did_create", 7, "no spaces"], "url": url}),
        json!({"events": ["did_create", "Nope"], "url": url}),
        json!({"events": ["did_create"], "url": url, "disabled": "no"}),
        json!({"events": ["did_create"], "url": url, "disabled": null}),
        json!({"events": ["did_create"], "url": url, "name": "mine", "type": 1}),
        json!({"id": "0190c0de-0000-7000-8000-000000000000", "events": ["did_create"], "url": url}),
        json!({"url": "ftp://x", "disabled": 1, "x": 2}),
    ] {
        said.note(&body.to_string(), &world.call(post("/v1/webhooks", body)).await);
    }
    said.is(expect![[r#"
        {}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Invalid value","param":"events","location":"body"},{"msg":"Invalid value","param":"url","location":"body"}]}
        []: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be an object","param":"","location":"body"}]}
        null: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be an object","param":"","location":"body"}]}
        {"events":["did_create"]}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Invalid value","param":"url","location":"body"}]}
        {"events":["did_create"],"url":1}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":1,"msg":"must be a string","param":"url","location":"body"}]}
        {"events":["did_create"],"url":"http://example.com"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"http://example.com","msg":"must use https","param":"url","location":"body"}]}
        {"events":["did_create"],"url":"https://192.0.2.1"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"https://192.0.2.1","msg":"must not be an IP address","param":"url","location":"body"}]}
        {"events":["did_create"],"url":"https://example.com/?"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"https://example.com/?","msg":"must not have a query","param":"url","location":"body"}]}
        {"events":["did_create"],"url":"https://example.com/#a"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"https://example.com/#a","msg":"must not have a fragment","param":"url","location":"body"}]}
        {"events":["did_create"],"url":"https://localhost"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"https://localhost","msg":"must not name a local or reserved host","param":"url","location":"body"}]}
        {"events":["did_create"],"url":"https://user:secret@example.com"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"https://user:secret@example.com","msg":"must not contain a user name or password","param":"url","location":"body"}]}
        {"events":["did_create"],"url":""}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"","msg":"must be a valid absolute URL (relative URL without a base)","param":"url","location":"body"}]}
        {"events":[],"url":"https://example.com"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":[],"msg":"must hold at least one event type","param":"events","location":"body"}]}
        {"events":"did_create","url":"https://example.com"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"did_create","msg":"must be an array","param":"events","location":"body"}]}
        {"events":["did_create","did_delete","did_create"],"url":"https://example.com"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"did_create","msg":"must not be repeated","param":"events[2]","location":"body"}]}
        {"events":["did_create",7,"no spaces"],"url":"https://example.com"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":7,"msg":"must be a string","param":"events[1]","location":"body"},{"value":"no spaces","msg":"must be 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter","param":"events[2]","location":"body"}]}
        {"events":["did_create","Nope"],"url":"https://example.com"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"Nope","msg":"`Nope` is not a registered event type","param":"events[1]","location":"body"}]}
        {"events":["did_create"],"url":"https://example.com","disabled":"no"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"no","msg":"must be a boolean","param":"disabled","location":"body"}]}
        {"events":["did_create"],"url":"https://example.com","disabled":null}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":null,"msg":"must be a boolean","param":"disabled","location":"body"}]}
        {"events":["did_create"],"url":"https://example.com","name":"mine","type":1}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"mine","msg":"Unknown field","param":"name","location":"body"},{"value":1,"msg":"Unknown field","param":"type","location":"body"}]}
        {"id":"0190c0de-0000-7000-8000-000000000000","events":["did_create"],"url":"https://example.com"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"Unknown field","param":"id","location":"body"}]}
        {"url":"ftp://x","disabled":1,"x":2}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Invalid value","param":"events","location":"body"},{"value":"ftp://x","msg":"must use https","param":"url","location":"body"},{"value":1,"msg":"must be a boolean","param":"disabled","location":"body"},{"value":2,"msg":"Unknown field","param":"x","location":"body"}]}
    "#]]);
    assert_eq!(world.get("/v1/webhooks").await.to_string(), r#"200 {"data":[]}"#);
}

#[tokio::test]
async fn put_takes_the_id_of_its_path_and_no_other() {
    let world = World::new().await;
    let id = world.webhook(&["did_create"]).await;
    let mut said = Said::default();
    for given in [json!("0190c0de-0000-7000-8000-000000000000"), json!(7), json!("abc")] {
        let body = json!({"id": given, "events": ["did_create"], "url": "https://example.com"});
        said.note(&given.to_string(), &world.call(put(&format!("/v1/webhooks/{id}"), body)).await);
    }
    said.is(expect![[r#"
        "0190c0de-0000-7000-8000-000000000000": 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"0190c0de-0000-7000-8000-000000000000","msg":"must be the id in the path","param":"id","location":"body"}]}
        7: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":7,"msg":"must be a string","param":"id","location":"body"}]}
        "abc": 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"abc","msg":"must be the id in the path","param":"id","location":"body"}]}
    "#]]);
    let upper = json!({"id": id.to_uppercase(), "events": ["did_create"], "url": "https://example.com"});
    assert_eq!(world.call(put(&format!("/v1/webhooks/{id}"), upper)).await.status, 200);
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused() {
    let world = World::new().await;
    let mut said = Said::default();
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let large =
        format!(r#"{{"events":["did_create"],"url":"https://example.com/{}"}}"#, "a".repeat(256 * 1024));
    for (what, content_type, body) in [
        ("empty", "application/json", Vec::new()),
        ("cut", "application/json", br#"{"events":["#.to_vec()),
        (
            "twice",
            "application/json",
            br#"{"events":["did_create"],"url":"https://a.example","url":"https://b.example"}"#.to_vec(),
        ),
        ("not UTF-8", "application/json", b"{\"url\":\"\xff\"}".to_vec()),
        ("deep", "application/json", deep.into_bytes()),
        ("form", "application/x-www-form-urlencoded", b"url=https%3A%2F%2Fexample.com".to_vec()),
        ("charset", "application/json; charset=latin1", b"{}".to_vec()),
        ("large", "application/json", large.into_bytes()),
    ] {
        said.note(what, &world.call(call("POST", "/v1/webhooks").raw(content_type, body)).await);
    }
    said.note("no type", &world.call(call("POST", "/v1/webhooks").bare("{}")).await);
    said.is(expect![[r#"
        empty: 400 {"code":"BadRequest","message":"the body is empty"}
        cut: 400 {"code":"BadRequest","message":"the body is not acceptable JSON: the text ends where a value or `]` was expected, at byte 11"}
        twice: 400 {"code":"BadRequest","message":"the body is not acceptable JSON: repeated member name `/url` at byte 51"}
        not UTF-8: 400 {"code":"BadRequest","message":"the body is not UTF-8 at byte 8"}
        deep: 400 {"code":"BadRequest","message":"the body is not acceptable JSON: more than 64 nested arrays and objects at byte 64"}
        form: 415 {"code":"UnsupportedMediaType","message":"the body must be application/json in UTF-8"}
        charset: 415 {"code":"UnsupportedMediaType","message":"the body must be application/json in UTF-8"}
        large: 413 {"code":"PayloadTooLarge","message":"the body must be at most 262144 bytes"}
        no type: 415 {"code":"UnsupportedMediaType","message":"the body must be application/json in UTF-8"}
    "#]]);
    let charset = call("POST", "/v1/webhooks")
        .raw("application/json;charset=UTF-8", r#"{"events":["did_create"],"url":"https://example.com"}"#);
    assert_eq!(world.call(charset).await.status, 201);
}

#[tokio::test]
async fn lists_are_newest_first_and_go_on_at_the_cursor() {
    let world = World::new().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(world.webhook(&["did_create"]).await);
    }
    made.reverse();
    let all = world.get("/v1/webhooks").await;
    assert_eq!(all.ids(), made);
    assert_eq!(all.json().get("nextCursor"), None);

    let mut seen = Vec::new();
    let mut target = "/v1/webhooks?limit=2".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page = world.get(&target).await;
        sizes.push(page.ids().len());
        seen.extend(page.ids());
        match page.json().get("nextCursor").and_then(Value::as_str) {
            Some(cursor) => target = format!("/v1/webhooks?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!((seen, sizes), (made.clone(), vec![2, 2, 1]));
    assert_eq!(world.get("/v1/webhooks?limit=5").await.json().get("nextCursor"), None);

    // The cursor names the last object: past the end there is nothing; padded and standard base64 are read too.
    use base64::Engine as _;
    let oldest = format!("createdAt=2026-01-02T03%3A04%3A05.679Z&id={}", made[4]);
    let past = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&oldest);
    assert_eq!(world.get(&format!("/v1/webhooks?cursor={past}")).await.to_string(), r#"200 {"data":[]}"#);
    let padded = base64::engine::general_purpose::STANDARD
        .encode(format!("createdAt=2030-01-02T03:04:05Z&id={}", made[4]));
    let padded = padded.replace('=', "%3D");
    assert_eq!(world.get(&format!("/v1/webhooks?limit=1&cursor={padded}")).await.ids(), made[..1]);
}

#[tokio::test]
async fn webhooks_of_the_other_dialect_are_not_on_this_face() {
    let world = World::new().await;
    let no: i64 = world.truvera_webhook(&["did_create"]).await["id"].as_str().unwrap().parse().unwrap();
    let id = world.app.webhook_numbered(world.tenant, WebhookNo(no)).await.unwrap().unwrap();
    let path = format!("/v1/webhooks/{id}");
    let input = json!({"events": ["did_create"], "url": "https://example.com"});
    for call in [get(&path), put(&path, input), delete(&path)] {
        assert_eq!(world.call(call).await.status, 404);
    }
    assert_eq!(world.get("/v1/webhooks").await.to_string(), r#"200 {"data":[]}"#);
    // Sealpost's own calls take it, by its number too.
    for id in [id.to_string(), no.to_string()] {
        assert_eq!(world.get(&format!("/v1/webhooks/{id}/settings")).await.status, 200);
        assert_eq!(world.get(&format!("/v1/webhooks/deliveries?webhookId={id}")).await.status, 200);
    }
}

#[tokio::test]
async fn the_keys_are_public_and_may_be_cached() {
    let world = World::new().await;
    for call in [
        get("/v1/webhooks/jwks").by_nobody(),
        get("/v1/webhooks/jwks").by("wrong"),
        get("/core/v1/webhooks/jwks"),
    ] {
        let answer = world.call(call).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json()["keys"].as_array().unwrap().len(), 2, "the key that signs and the next one");
    }
}
