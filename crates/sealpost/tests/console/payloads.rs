//! Payloads: hidden, shown to whoever may see them, and never without an entry in the audit log.

use sealpost_core::delivery::{FailReason, State};
use sealpost_core::id::WebhookId;
use sealpost_core::role::Role;
use serde_json::json;

use crate::support::Console;

const SECRET: &str = "Maria Muster";

/// One event that was sent to a webhook and failed: webhook, event, delivery.
async fn one_event(console: &mut Console) -> (String, String, String) {
    let webhook = console.world.webhook(&["did_create"]).await;
    let event =
        console.world.publish(json!({"type": "did_create", "payload": {"name": SECRET, "n": 1.50}})).await;
    let delivery = console.world.newest_delivery("limit=1").await;
    let failed = State::Failed(FailReason::AttemptsExhausted);
    console.world.settle(503, Some(b"no"), failed).await;
    (webhook, event, delivery)
}

async fn audited(console: &Console) -> Vec<(String, String, String)> {
    let log = console.world.get("/v1/webhooks/audit").await.json();
    let entries = log["data"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    entries.map(|e| (text(&e["what"]), text(&e["object"]), text(&e["who"]))).collect()
}

#[tokio::test]
async fn a_payload_is_hidden_until_it_is_asked_for_and_that_is_audited() {
    let mut console = Console::new().await;
    let (_, event, delivery) = one_event(&mut console).await;
    let mut admin = console.admin().await;
    let pages = [
        format!("/console/events/{event}"),
        format!("/console/deliveries/{delivery}"),
        "/console/events".into(),
    ];
    for page in &pages {
        let shown = admin.get(page).await;
        assert!(shown.status == 200 && !shown.has(SECRET), "{page}");
    }
    assert!(admin.get(&pages[0]).await.has("Reveal payload"));
    assert!(
        !audited(&console).await.iter().any(|(what, ..)| what == "read payload"),
        "looking at pages reads nothing"
    );
    for (path, reads) in [(format!("{}/payload", pages[0]), 1), (format!("{}/request", pages[1]), 2)] {
        let shown = admin.post(&path, &[]).await;
        assert!(shown.status == 200 && shown.has(SECRET), "{}", shown.text());
        assert_eq!(shown.header("cache-control"), Some("no-store"));
        let entries = audited(&console).await;
        let read: Vec<_> = entries.iter().filter(|(what, ..)| what == "read payload").collect();
        assert_eq!(read.len(), reads);
        assert!(read.iter().all(|(_, object, who)| *object == event && who.starts_with("client ")));
    }
    assert!(!admin.get(&pages[0]).await.has(SECRET), "the next look hides it again");
    for role in [Role::Issuer, Role::ManagedIssuer, Role::Auditor] {
        let mut browser = console.role(role, None).await;
        assert!(!browser.get(&pages[0]).await.has("Reveal payload"), "{role}");
        for path in [format!("{}/payload", pages[0]), format!("{}/request", pages[1])] {
            assert_eq!(browser.post(&path, &[]).await.status, 403, "{role} {path}");
        }
    }
    assert_eq!(audited(&console).await.iter().filter(|(what, ..)| what == "read payload").count(), 2);
}

#[tokio::test]
async fn a_subscriber_sees_what_was_sent_to_it_and_as_it_was_sent() {
    let mut console = Console::new().await;
    let (webhook, event, delivery) = one_event(&mut console).await;
    let own: WebhookId = webhook.parse().unwrap();
    let mut subscriber = console.role(Role::Subscriber, Some(own)).await;
    let payload = format!("/console/events/{event}/payload");
    let request = format!("/console/deliveries/{delivery}/request");
    assert!(subscriber.post(&payload, &[]).await.has(SECRET));
    assert!(subscriber.post(&request, &[]).await.has(SECRET));
    let thin = json!({"payload": {"claims": ["/n"]}});
    console.world.call(crate::api::put(&format!("/v1/webhooks/{webhook}/settings"), thin)).await;
    for path in [&payload, &request] {
        let shown = subscriber.post(path, &[]).await;
        assert!(shown.has("1.5") && !shown.has(SECRET), "{path}: {}", shown.text());
    }
    // What waits has been sent to nobody.
    let waiting = console.world.publish(json!({"type": "did_create", "payload": {"name": SECRET}})).await;
    let cancelled = console.world.newest_delivery("limit=1").await;
    let by_hand = State::Cancelled(sealpost_core::delivery::CancelReason::ByHand);
    console.world.settle_with(sealpost_core::outcome::Outcome::Connect, None, None, by_hand).await;
    assert_eq!(subscriber.get(&format!("/console/events/{waiting}")).await.status, 200);
    assert_eq!(subscriber.post(&format!("/console/events/{waiting}/payload"), &[]).await.status, 403);
    assert_eq!(subscriber.post(&format!("/console/deliveries/{cancelled}/request"), &[]).await.status, 403);
    let other = console.world.webhook(&["did_delete"]).await;
    let mut stranger = console.role(Role::Subscriber, Some(other.parse().unwrap())).await;
    for path in [&payload, &request] {
        assert_eq!(stranger.post(path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_request_is_shown_with_headers_and_signature_base_and_without_the_receivers_secrets() {
    let mut console = Console::new().await;
    let (webhook, _, delivery) = one_event(&mut console).await;
    let headers = json!({"headers": {"x-own": "own-secret"}});
    console.world.call(crate::api::put(&format!("/v1/webhooks/{webhook}/settings"), headers)).await;
    let mut admin = console.admin().await;
    let shown = admin.get(&format!("/console/deliveries/{delivery}")).await;
    for part in [
        "POST /in HTTP",
        "host: example.com",
        "x-mattr-event-type: did_create",
        &format!("x-mattr-webhook-id: {webhook}"),
        &format!("x-sealpost-delivery-id: {delivery}"),
        "&quot;@request-target&quot;: /in",
        "&quot;content-digest&quot;: ••••",
        "content-digest: ••••",
        "signature: ••••",
    ] {
        assert!(shown.has(part), "{part}: {}", shown.text());
    }
    let whole = admin.post(&format!("/console/deliveries/{delivery}/request"), &[]).await;
    assert!(whole.has("&quot;content-digest&quot;: sha-256=:") && whole.has("signature: sig1=:"));
    assert!(whole.has("x-own: ••••") && !whole.has("own-secret"));

    let truvera = console.truvera(&["did_delete"]).await;
    let token = truvera.secrets.token.unwrap();
    console.world.publish(json!({"type": "did_delete", "payload": {"did": "d"}})).await;
    let delivery = console.world.newest_delivery(&format!("webhookId={}", truvera.id)).await;
    let whole = admin.post(&format!("/console/deliveries/{delivery}/request"), &[]).await;
    assert!(whole.has("&quot;token&quot;: &quot;••••") && !whole.has(token.reveal()), "{}", whole.text());
}

#[tokio::test]
async fn an_erased_payload_is_gone() {
    let mut console = Console::new().await;
    let (_, event, delivery) = one_event(&mut console).await;
    let path = format!("/console/events/{event}");
    let mut admin = console.admin().await;
    assert!(admin.get(&format!("{path}/erase")).await.has("This cannot be taken back."));
    let mut issuer = console.role(Role::Issuer, None).await;
    assert_eq!(issuer.post(&format!("{path}/erase"), &[]).await.status, 403);
    let shown = admin.submit(&format!("{path}/erase"), &[]).await;
    assert!(shown.has("The payload was erased.") && !shown.has("Reveal payload"));
    for path in [format!("{path}/payload"), format!("/console/deliveries/{delivery}/request")] {
        let shown = admin.post(&path, &[]).await;
        assert!(shown.status == 200 && shown.has("was erased") && !shown.has(SECRET), "{path}");
    }
}

#[tokio::test]
async fn an_overview_counts_what_happened() {
    let mut console = Console::new().await;
    let mut admin = console.admin().await;
    assert!(admin.get("/console/overview").await.has("No deliveries in this span"));
    one_event(&mut console).await;
    console.world.publish(json!({"type": "did_create", "payload": {"did": "d"}})).await;
    console.world.settle(200, None, State::Delivered).await;
    let shown = console.admin().await.get("/console/overview").await;
    for part in [
        "<dt>Deliveries</dt><dd>2</dd>",
        "<dd>50.0 %</dd>",
        "<dt>Median time</dt><dd>12 ms</dd>",
        "<dt>Failed</dt><dd>1</dd>",
    ] {
        assert!(shown.has(part), "{part}: {}", shown.text());
    }
    assert!(shown.has("aria-label=\"Deliveries: 2 in all"));
}

#[tokio::test]
async fn types_are_registered_and_deleted_and_keys_rotated() {
    let console = Console::new().await;
    let mut admin = console.admin().await;
    let good = [
        ("name", "invoice.paid"),
        ("description", "Paid."),
        ("schema", "{\"type\":\"object\"}"),
        ("receiveAll", "yes"),
    ];
    assert!(admin.submit("/console/event-types", &good).await.has("The type invoice.paid was registered."));
    let made = console.world.get("/v1/webhooks/event-types/invoice.paid").await.json();
    assert_eq!((&made["receiveAll"], &made["schema"]["type"]), (&json!(true), &json!("object")));
    for (fields, said) in [
        (vec![("name", "1x")], "beginning with a letter"),
        (vec![("name", "did_create")], "registered already"),
        (vec![("name", "a.b"), ("schema", "{")], "The schema is not JSON."),
        (vec![("name", "a.b"), ("schema", "7")], "must be an object or a boolean"),
    ] {
        let shown = admin.post("/console/event-types", &fields).await;
        assert!(shown.status == 422 && shown.has(said), "{said}: {}", shown.text());
    }
    console.world.webhook(&["invoice.paid"]).await;
    let name = [("name", "invoice.paid")];
    assert!(admin.submit("/console/event-types/delete", &name).await.has("some webhook is subscribed"));

    let kid = |jwks: &serde_json::Value| jwks["keys"][0]["kid"].clone();
    let before = console.world.get("/v1/webhooks/jwks").await.json();
    assert!(admin.submit("/console/keys/rotate", &[]).await.has("too young"));
    assert_eq!(kid(&console.world.get("/v1/webhooks/jwks").await.json()), kid(&before));
    assert!(admin.submit("/console/keys/rotate", &[("now", "yes")]).await.has("The keys were rotated."));
    let after = console.world.get("/v1/webhooks/jwks").await.json();
    assert_eq!((&kid(&after), after["keys"].as_array().unwrap().len()), (&before["keys"][1]["kid"], 3));
}
