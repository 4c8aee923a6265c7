//! The Truvera face: recorded exchanges, and what a record cannot show.

use std::fmt::Write as _;

use expect_test::{expect, expect_file};
use sealpost_core::delivery::State;
use sealpost_core::event_type::TRUVERA;
use sealpost_core::quota::OwnQuota;
use sealpost_core::role::Role;
use serde_json::{Value, json};

use crate::support::{ABSENT, Answer, Said, World, call, delete, get, patch, post};

/// Plays a record: sends what it sends, and writes down what comes back.
struct Player {
    world: World,
    publisher: String,
    managed: String,
    tokens: Vec<String>,
}

impl Player {
    async fn new() -> Self {
        let world = World::new().await;
        let publisher = world.key(Role::Publisher, None).await;
        let managed = world.key(Role::ManagedIssuer, None).await;
        Self { world, publisher, managed, tokens: Vec::new() }
    }

    async fn play(&mut self, record: &str) -> String {
        let sections = record.split("\n\n").map(|section| {
            let kept = |line: &&str| !line.starts_with('<') && !line.is_empty();
            section.lines().filter(kept).collect::<Vec<_>>()
        });
        let mut played = String::new();
        for lines in sections.filter(|lines| !lines.is_empty()) {
            let sent: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix('>')).collect();
            let _ = write!(played, "{}", lines.iter().fold(String::new(), |text, line| text + line + "\n"));
            if !sent.is_empty() {
                self.world.tick();
                let answer = self.send(&sent).await;
                played.push_str(&self.shown(&answer));
            }
            played.push('\n');
        }
        played.trim_end().to_owned() + "\n"
    }

    async fn send(&self, sent: &[&str]) -> Answer {
        let (method, path) = sent[0].trim().split_once(' ').unwrap();
        let mut request = call(method, path).by_nobody();
        let mut lines = sent[1..].iter().map(|line| line.trim());
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            let value = value
                .replace("<key>", &self.world.admin)
                .replace("<publisher>", &self.publisher)
                .replace("<managed-issuer>", &self.managed);
            request = request.header(name, &value);
        }
        if let Some(body) = lines.next() {
            request = request.raw("application/json", body.to_owned());
        }
        self.world.call(request).await
    }

    fn shown(&mut self, answer: &Answer) -> String {
        let mut shown = format!("< {}\n", answer.status);
        for name in ["www-authenticate", "allow", "retry-after", "location"] {
            if let Some(value) = answer.header(name) {
                shown.push_str(format!("< {name}: {value}").trim_end());
                shown.push('\n');
            }
        }
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer}");
        let mut body = answer.text().to_owned();
        for webhook in answer.json().as_array().unwrap_or(&vec![answer.json()]) {
            let Some(token) = webhook["secret"].as_str() else { continue };
            assert!(is_token(token), "{token}");
            if !self.tokens.iter().any(|known| known == token) {
                self.tokens.push(token.to_owned());
            }
        }
        for (index, token) in self.tokens.iter().enumerate() {
            body = body.replace(token, &format!("<token {}>", index + 1));
        }
        shown + "<\n< " + &body + "\n"
    }
}

/// 64 characters, base64url of 48 bytes.
fn is_token(text: &str) -> bool {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text);
    text.len() == 64 && bytes.is_ok_and(|bytes| bytes.len() == 48)
}

#[tokio::test]
async fn the_record_is_answered_as_written() {
    let record = include_str!("truvera/exchanges.txt");
    let played = Player::new().await.play(record).await;
    expect_file!["truvera/exchanges.txt"].assert_eq(&played);
}

#[tokio::test]
async fn receive_all_goes_on_with_later_types_and_never_takes_mattrs() {
    let world = World::new().await;
    let made = world.truvera_webhook(&["*"]).await;
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    let events = async || world.get(&path).await.json()["events"].clone();
    assert_eq!(made["events"], json!(TRUVERA));
    for (name, all) in [("ours.all", true), ("ours.some", false)] {
        let own = json!({"name": name, "receiveAll": all});
        assert_eq!(world.call(post("/v1/webhooks/event-types", own)).await.status, 201);
    }
    let mut later = TRUVERA.to_vec();
    later.push("ours.all");
    assert_eq!(events().await, json!(later));

    // What was read can be sent back, and is Receive All still.
    let read = world.get(&path).await.json();
    let sent_back = world.call(patch(&path, read.clone())).await;
    assert_eq!((sent_back.status, sent_back.json()), (200, read));
    world.call(delete("/v1/webhooks/event-types/ours.all")).await;
    assert_eq!(events().await, json!(TRUVERA));

    for (name, deliveries) in [
        ("did_create", 1),
        ("didcomm_message_received", 1),
        ("ours.some", 0),
        ("OpenIdCredentialIssued", 0),
        ("OidcIssuerCredentialIssued", 0),
    ] {
        let event = json!({"type": name, "payload": {"credential": {"id": "c"}}});
        let published = world.call(post("/v1/webhooks/events", event)).await.json();
        assert_eq!(published["deliveries"], deliveries, "{published}");
    }

    // A shorter list is what it says.
    world.call(patch(&path, json!({"events": TRUVERA[1..]}))).await;
    world.call(post("/v1/webhooks/event-types", json!({"name": "ours.all", "receiveAll": true}))).await;
    assert_eq!(events().await, json!(TRUVERA[1..]));
}

#[tokio::test]
async fn a_list_is_counted_and_has_sixty_four_at_most() {
    let world = World::new().await;
    let mut made = Vec::new();
    for _ in 0..70 {
        made.insert(0, world.truvera_webhook(&["did_create"]).await);
        world.webhook(&["did_create"]).await;
    }
    for (query, range) in [
        ("", 0..64),
        ("?limit=64", 0..64),
        ("?offset=60", 60..70),
        ("?offset=69&limit=1", 69..70),
        ("?offset=70", 70..70),
        ("?offset=2147483647&limit=64", 70..70),
    ] {
        let listed = world.get(&format!("/webhooks{query}")).await.json();
        assert_eq!(listed, json!(made[range]), "{query}");
    }
}

#[tokio::test]
async fn each_face_serves_its_own_dialect_only() {
    let world = World::new().await;
    let mattr = world.webhook(&["did_create"]).await;
    let event = world.publish(json!({"type": "did_create", "payload": {}})).await;
    let number = "1";
    let mut said = Said::default();
    for id in [number, &mattr, ABSENT, "2", &event] {
        for request in [
            get(&format!("/webhooks/{id}")),
            patch(&format!("/webhooks/{id}"), json!({"status": 0})),
            delete(&format!("/webhooks/{id}")),
        ] {
            let answer = world.call(request).await;
            assert_eq!(
                answer.to_string(),
                r#"404 {"status":404,"type":"NotFound","message":"Resource Not Found"}"#
            );
        }
    }
    said.note("list", &world.get("/webhooks").await);
    said.note("rotate", &world.call(post(&format!("/v1/webhooks/{mattr}/token/rotate"), json!({}))).await);
    said.is(expect![[r#"
        list: 200 []
        rotate: 409 {"code":"Conflict","message":"only a webhook of Truvera's dialect has a token"}
    "#]]);
    assert_eq!(world.get(&format!("/v1/webhooks/{mattr}")).await.json()["disabled"], false);
}

#[tokio::test]
async fn another_tenants_webhook_answers_as_none() {
    let world = World::new().await;
    let made = world.truvera_webhook(&["did_create"]).await;
    let id = made["id"].as_str().unwrap();
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default(), "test").await.unwrap();
    let stranger = world.app.create_client(other.no, "a", Role::Admin, None, None, "test").await.unwrap();
    let stranger = stranger.key.reveal();
    for request in [
        get(&format!("/webhooks/{id}")),
        patch(&format!("/webhooks/{id}"), json!({"status": 0})),
        delete(&format!("/webhooks/{id}")),
        post(&format!("/v1/webhooks/{id}/token/rotate"), json!({})),
    ] {
        assert_eq!(world.call(request.by(stranger)).await.status, 404);
    }
    assert_eq!(world.call(get("/webhooks").by(stranger)).await.to_string(), "200 []");
    assert_eq!(world.get("/webhooks").await.json(), json!([made]));
}

#[tokio::test]
async fn a_token_is_rotated_at_once_by_either_id_and_audited() {
    let world = World::new().await;
    let made = world.truvera_webhook(&["did_create"]).await;
    let (id, old) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let rotated = world.call(post(&format!("/v1/webhooks/{id}/token/rotate"), json!({}))).await;
    let token = rotated.text_of("token");
    assert!(is_token(&token) && token != old, "{rotated}");
    let mut now = made.clone();
    now["secret"] = token.as_str().into();
    assert_eq!(world.get(&format!("/webhooks/{id}")).await.json(), now);

    // By the id that deliveries show as well.
    world.publish(json!({"type": "did_create", "payload": {}})).await;
    let uuid = world.get("/v1/webhooks/deliveries").await.json()["data"][0]["webhookId"].clone();
    let path = format!("/v1/webhooks/{}/token/rotate", uuid.as_str().unwrap());
    assert_ne!(world.call(call("POST", &path)).await.text_of("token"), token);

    let audit = world.get("/v1/webhooks/audit").await;
    let whats: Vec<String> = audit.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{} {}", entry["what"], entry["object"] == uuid))
        .collect();
    assert_eq!(whats[..3], [r#""rotate token" true"#, r#""rotate token" true"#, r#""create webhook" true"#]);
    assert!(!audit.text().contains(old) && !audit.text().contains(&token), "{audit}");
}

#[tokio::test]
async fn a_subscriber_is_bound_by_the_number_too() {
    let world = World::new().await;
    let made = world.truvera_webhook(&["did_create"]).await;
    world.webhook(&["did_create"]).await;
    let operator = world.operator().await;
    let tenants = world.call(get("/v1/tenants").by(&operator)).await;
    let path = format!("/v1/tenants/{}/clients", tenants.ids()[0]);
    let input = |number: &Value| json!({"name": "s", "roles": ["subscriber"], "webhookId": number});
    let client = world.call(post(&path, input(&made["id"])).by(&operator)).await;
    world.publish(json!({"type": "did_create", "payload": {}})).await;
    let seen = world.call(get("/v1/webhooks/deliveries").by(&client.text_of("clientSecret"))).await.json();
    let seen = seen["data"].as_array().unwrap();
    assert_eq!((seen.len(), &seen[0]["webhookId"]), (1, &client.json()["webhookId"]));
    let absent = world.call(post(&path, input(&"99".into())).by(&operator)).await;
    assert_eq!(
        absent.to_string(),
        r#"400 {"code":"BadRequest","message":"a subscriber must be bound to a webhook of the tenant"}"#
    );
}

/// Every answer that is not made to show the token, asked for by everybody who may.
#[tokio::test]
async fn the_token_is_in_no_other_answer() {
    let mut world = World::new().await;
    let made = world.truvera_webhook(&["did_create"]).await;
    let (id, token) = (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap());
    let event = world.publish(json!({"type": "did_create", "payload": {"did": "d"}})).await;
    world.settle(500, Some(b"no"), State::Delivered).await;
    let delivery = world.newest_delivery("limit=1").await;
    let auditor = world.key(Role::Auditor, None).await;
    let paths = [
        format!("/v1/webhooks/{id}/settings"),
        format!("/v1/webhooks/{id}/secret"),
        format!("/v1/webhooks/events/{event}?include=payload"),
        format!("/v1/webhooks/deliveries/{delivery}"),
        "/v1/webhooks/deliveries".to_owned(),
        "/v1/webhooks/audit".to_owned(),
        "/v1/webhooks".to_owned(),
    ];
    for path in paths {
        let admin = world.get(&path).await;
        assert_eq!(admin.status, 200, "{admin}");
        let auditor = world.call(get(&path).by(&auditor)).await;
        assert!(!admin.text().contains(token) && !auditor.text().contains(token), "{path}");
    }
    // A refusal does not repeat what was sent.
    let wrong =
        world.call(patch(&format!("/webhooks/{id}"), json!({"id": token, "secret": [token], "x": token})));
    let wrong = wrong.await;
    assert_eq!((wrong.status, wrong.text().contains(token)), (400, false), "{wrong}");
}

#[tokio::test]
async fn what_was_read_can_be_sent_back_and_a_change_is_audited() {
    let world = World::new().await;
    let made = world.truvera_webhook(&["did_create"]).await;
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    let entries = async || world.get("/v1/webhooks/audit").await.json()["data"].as_array().unwrap().len();
    let before = entries().await;
    assert_eq!(world.call(patch(&path, json!({}))).await.json(), made);
    assert_eq!(entries().await, before, "what changes nothing leaves no entry");

    let mut object = made.clone();
    object["description"] = "new".into();
    object["status"] = 0.into();
    assert_eq!(world.call(patch(&path, object.clone())).await.json(), object);
    let audit = world.get("/v1/webhooks/audit").await.json();
    let entry = &audit["data"][0];
    assert_eq!(entry["what"], "change webhook");
    assert_eq!(entry["after"], json!({"disabled": true, "settings": {"description": "new"}}));
    // The description is the one of the settings, and changing it leaves the other settings.
    let settings = format!("/v1{path}/settings");
    assert_eq!(world.get(&settings).await.json()["description"], "new");
    let put = call("PUT", &settings).json(&json!({"description": "mine", "alertAfter": 7}));
    world.call(put).await;
    assert_eq!(
        world.call(patch(&path, json!({"description": "yours"}))).await.text_of("description"),
        "yours"
    );
    assert_eq!(world.get(&settings).await.json()["alertAfter"], 7);
}

#[tokio::test]
async fn limits_are_told_in_this_shape_too() {
    let one = 1.try_into().ok();
    let limits = OwnQuota { webhooks: one, requests_per_second: "1".parse().ok(), ..OwnQuota::default() };
    let world = World::limited(limits).await;
    let input = || post("/webhooks", json!({"events": ["did_create"], "url": "https://example.com/in"}));
    let mut said = Said::default();
    assert_eq!(world.call(input()).await.status, 200);
    said.note("too fast", &world.call(input()).await);
    world.clock.advance(std::time::Duration::from_secs(2));
    said.note("too many", &world.call(input()).await);
    said.is(expect![[r#"
        too fast: 429 {"status":429,"type":"TooManyRequests","message":"The tenant makes more calls, or publishes more events, than it may"}
        too many: 402 {"status":402,"type":"LimitReached","message":"the tenant has reached its number of webhooks"}
    "#]]);
}

#[tokio::test]
async fn a_bare_credential_is_completed_and_may_be_repeated() {
    let world = World::new().await;
    world.truvera_webhook(&["credential_create", "credential_issued"]).await;
    for name in ["credential_create", "credential_issued"] {
        // Without an id of its own, so that one is made of chance.
        let event = json!({"type": name, "payload": {"credential": {"type": ["X"]}, "key": "did:x#1"}});
        let publish = || post("/v1/webhooks/events", event.clone()).header("idempotency-key", name);
        let first = world.call(publish()).await;
        let again = world.call(publish()).await;
        assert_eq!((first.status, again.status), (202, 200), "{again}");
        assert_eq!(first.json(), again.json());
        let id = first.text_of("id");
        let payload = world.get(&format!("/v1/webhooks/events/{id}?include=payload")).await.json();
        assert_eq!(
            payload["payload"],
            json!({"id": format!("urn:uuid:{id}"), "signingOps": 1, "byteSize": 14, "key": "did:x#1",
                "credential": {"type": ["X"]}})
        );
    }
}

#[tokio::test]
async fn a_host_and_a_key_must_agree_on_this_face_too() {
    let world = World::with(Some("posts.example"), 0).await;
    let mut said = Said::default();
    for host in ["default.posts.example", "nobody.posts.example", "posts.example"] {
        said.note(host, &world.call(get("/webhooks").header("host", host)).await);
    }
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default(), "test").await.unwrap();
    let stranger = world.app.create_client(other.no, "a", Role::Admin, None, None, "test").await.unwrap();
    let request = get("/webhooks").header("host", "default.posts.example").by_nobody();
    said.note("b's key", &world.call(request.header("dock-api-token", stranger.key.reveal())).await);
    said.is(expect![[r#"
        default.posts.example: 200 []
        nobody.posts.example: 404 {"status":404,"type":"NotFound","message":"Resource Not Found"}
        posts.example: 200 []
        b's key: 401 {"status":401,"type":"Unauthorized","message":"Unauthorized"}
    "#]]);
}
