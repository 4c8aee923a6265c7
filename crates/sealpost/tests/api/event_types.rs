//! The catalogue of event types.

use expect_test::expect;
use serde_json::json;

use crate::support::{Said, World, delete, post, put};

const TYPES: &str = "/v1/webhooks/event-types";

#[tokio::test]
async fn the_catalogue_begins_with_what_is_built_in() {
    let world = World::new().await;
    let mut said = Said::default();
    for object in world.get(TYPES).await.json()["data"].as_array().unwrap() {
        said.line(format!("{} {} {}", object["name"], object["summary"], object["receiveAll"]));
    }
    said.note("one", &world.get(&format!("{TYPES}/did_create")).await);
    said.is(expect![[r#"
        "OidcIssuerCredentialIssued" {"without":[]} false
        "OpenIdCredentialIssued" {"without":[]} false
        "OpenIdCredentialIssuedSummary" {"without":[]} false
        "credential_create" {"without":[]} true
        "credential_issued" {"without":[]} true
        "credential_revoke" null true
        "credential_unrevoke" null true
        "did_create" null true
        "did_delete" null true
        "did_update_controller" null true
        "did_update_key" null true
        "didcomm_message_received" null true
        "proof_submitted" null true
        "registry_create" null true
        "registry_delete" null true
        "schema_create" null true
        "sealpost.webhook.failing" null false
        "sealpost.webhook.recovered" null false
        one: 200 {"name":"did_create","description":"A DID was created.","schema":null,"summary":null,"receiveAll":true}
    "#]]);
}

#[tokio::test]
async fn a_type_is_registered_used_replaced_and_deleted() {
    let world = World::new().await;
    let input = json!({
        "name": "invoice.paid", "description": "An invoice was paid.",
        "schema": {"type": "object", "required": ["total"]}, "summary": {"without": ["lines"]}, "receiveAll": true,
    });
    let created = world.call(post(TYPES, input.clone())).await;
    assert_eq!((created.status, created.json()), (201, input.clone()));
    assert_eq!(created.header("location"), Some("/v1/webhooks/event-types/invoice.paid"));
    let path = format!("{TYPES}/invoice.paid");
    assert_eq!(world.get(&path).await.json(), input);

    let mut said = Said::default();
    said.note("again", &world.call(post(TYPES, input)).await);
    let event = |payload| post("/v1/webhooks/events", json!({"type": "invoice.paid", "payload": payload}));
    assert_eq!(world.call(event(json!({"total": 7}))).await.status, 202);
    said.note("against its schema", &world.call(event(json!({"amount": "Maria"}))).await);

    let webhook = world.webhook(&["invoice.paid"]).await;
    said.note("in use", &world.call(delete(&path)).await);
    assert_eq!(world.call(delete(&format!("/v1/webhooks/{webhook}"))).await.status, 204);

    let replaced = world.call(put(&path, json!({"name": "invoice.paid", "description": "Paid"}))).await;
    said.note("replaced", &replaced);
    assert_eq!(world.call(event(json!({}))).await.status, 202, "the schema is gone");
    assert_eq!(world.call(delete(&path)).await.to_string(), "204");
    said.note("gone", &world.get(&path).await);
    said.note("deleted again", &world.call(delete(&path)).await);
    said.note("put", &world.call(put(&path, json!({}))).await);
    said.note("published", &world.call(event(json!({}))).await);
    said.is(expect![[r#"
        again: 409 {"code":"Conflict","message":"`invoice.paid` is registered already"}
        against its schema: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"does not fit its schema at / (rule /required): member `total` is missing","param":"payload","location":"body"}]}
        in use: 409 {"code":"Conflict","message":"some webhook is subscribed to `invoice.paid`"}
        replaced: 200 {"name":"invoice.paid","description":"Paid","schema":null,"summary":null,"receiveAll":false}
        gone: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"invoice.paid","msg":"Resource Not Found","param":"name","location":"params"}]}
        deleted again: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"invoice.paid","msg":"Resource Not Found","param":"name","location":"params"}]}
        put: 404 {"code":"NotFound","message":"Validation Error","details":[{"value":"invoice.paid","msg":"Resource Not Found","param":"name","location":"params"}]}
        published: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"`invoice.paid` is not a registered event type","param":"type","location":"body"}]}
    "#]]);
}

#[tokio::test]
async fn each_refusal_names_the_member() {
    let world = World::new().await;
    let mut said = Said::default();
    for body in [
        json!({}),
        json!({"name": "no spaces"}),
        json!({"name": "did_create"}),
        json!({"name": "a", "colour": "red"}),
        json!({"name": "a", "description": 1, "receiveAll": "yes"}),
        json!({"name": "a", "schema": "x"}),
        json!({"name": "a", "schema": {"type": "nonsense"}}),
        json!({"name": "a", "schema": {"$ref": "https://example.com/schema.json"}}),
        json!({"name": "a", "summary": {"only": ["x"]}}),
        json!({"name": "a", "summary": {"without": [1]}}),
        json!({"name": "a", "summary": "none"}),
    ] {
        said.note(&body.to_string(), &world.call(post(TYPES, body)).await);
    }
    said.note("put built-in", &world.call(put(&format!("{TYPES}/did_create"), json!({}))).await);
    said.note("put other name", &world.call(put(&format!("{TYPES}/did_create"), json!({"name": "x"}))).await);
    said.note("delete built-in", &world.call(delete(&format!("{TYPES}/did_create"))).await);
    said.is(expect![[r#"
        {}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Invalid value","param":"name","location":"body"}]}
        {"name":"no spaces"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"no spaces","msg":"must be 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter","param":"name","location":"body"}]}
        {"name":"did_create"}: 409 {"code":"Conflict","message":"`did_create` is registered already"}
        {"name":"a","colour":"red"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"red","msg":"Unknown field","param":"colour","location":"body"}]}
        {"name":"a","description":1,"receiveAll":"yes"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":1,"msg":"must be a string","param":"description","location":"body"},{"value":"yes","msg":"must be a boolean","param":"receiveAll","location":"body"}]}
        {"name":"a","schema":"x"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"the schema is not usable: must be an object or a boolean","param":"schema","location":"body"}]}
        {"name":"a","schema":{"type":"nonsense"}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"the schema is not usable: does not fit its schema at /type (rule /properties/type/anyOf)","param":"schema","location":"body"}]}
        {"name":"a","schema":{"$ref":"https://example.com/schema.json"}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"the schema is not usable: external references are not allowed","param":"schema","location":"body"}]}
        {"name":"a","summary":{"only":["x"]}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":{"only":["x"]},"msg":"must be null or {\"without\":[...]} with at most 64 member names","param":"summary","location":"body"}]}
        {"name":"a","summary":{"without":[1]}}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":{"without":[1]},"msg":"must be null or {\"without\":[...]} with at most 64 member names","param":"summary","location":"body"}]}
        {"name":"a","summary":"none"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"none","msg":"must be null or {\"without\":[...]} with at most 64 member names","param":"summary","location":"body"}]}
        put built-in: 409 {"code":"Conflict","message":"`did_create` is built in and cannot be changed"}
        put other name: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"x","msg":"must be the name in the path","param":"name","location":"body"}]}
        delete built-in: 409 {"code":"Conflict","message":"`did_create` is built in and cannot be changed"}
    "#]]);
    assert_eq!(world.get(TYPES).await.json()["data"].as_array().unwrap().len(), 18);
}

#[tokio::test]
async fn the_list_goes_on_at_the_cursor() {
    let world = World::new().await;
    let mut names = Vec::new();
    let mut target = format!("{TYPES}?limit=7");
    loop {
        let page = world.get(&target).await.json();
        names.extend(
            page["data"].as_array().unwrap().iter().map(|object| object["name"].as_str().unwrap().to_owned()),
        );
        match page.get("nextCursor") {
            Some(cursor) => target = format!("{TYPES}?limit=7&cursor={}", cursor.as_str().unwrap()),
            None => break,
        }
    }
    assert_eq!(names.len(), 18);
    assert!(names.is_sorted());
}
