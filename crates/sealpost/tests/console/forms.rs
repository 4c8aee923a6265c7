//! What can be done: each form does what it says, says what is wrong with it, and tells a secret once.

use sealpost_core::id::WebhookId;
use sealpost_core::role::{Role, Roles};
use sealpost_core::webhook::Subscription;
use serde_json::json;

use crate::support::{Browser, Console, Shown};

const URL: (&str, &str) = ("url", "https://example.com/in");

fn id_of(path: &str) -> WebhookId {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_endpoint_is_added_and_its_secret_told_once() {
    let console = Console::new().await;
    for (dialect, name) in [("truvera", "Secret token"), ("mattr", "Signing secret")] {
        let mut browser = console.admin().await;
        let fields = [
            URL,
            ("description", "CRM"),
            ("dialect", dialect),
            ("events", "did_create"),
            ("events", "did_delete"),
        ];
        let made = browser.post("/console/webhooks", &fields).await;
        let path = made.to().to_owned();
        assert!(!path.contains('?'), "nothing in the address");
        let webhook = console.world.app.webhook(console.world.tenant, id_of(&path)).await.unwrap();
        let secret = match &webhook.secrets.token {
            Some(token) => token.reveal().clone(),
            None => console.world.get(&format!("/v1/webhooks/{}/secret", webhook.id)).await.text_of("secret"),
        };
        assert!(!made.has(&secret));
        assert!(!browser.get("/console/webhooks").await.has(&secret), "another page does not take it");
        let first = browser.get(&path).await;
        assert!(first.has(&secret) && first.has(name) && first.has("did_delete"), "{}", first.text());
        assert!(!browser.get(&path).await.has(&secret), "once");
        assert!(!console.admin().await.get(&path).await.has(&secret), "and to nobody else");
    }
    let mut browser = console.role(Role::ManagedIssuer, None).await;
    let shown =
        browser.submit("/console/webhooks", &[URL, ("dialect", "truvera"), ("events", "did_create")]).await;
    assert!(shown.has("was created") && !shown.has("Secret token"), "who may not read secrets is told none");
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_nothing_is_made() {
    let console = Console::new().await;
    let mut browser = console.admin().await;
    let did = ("events", "did_create");
    let mattr = ("dialect", "mattr");
    let long = "x".repeat(1025);
    for (fields, said) in [
        (vec![mattr, did], "Write the URL that events are sent to."),
        (vec![("url", "http://example.com"), mattr, did], "The URL must use https."),
        (vec![("url", "https://example.com/?a=b"), mattr, did], "The URL must not have a query."),
        (vec![("url", "https://10.0.0.1/"), mattr, did], "The URL must not be an IP address."),
        (vec![URL, did], "Choose a dialect."),
        (vec![URL, mattr], "Choose at least one event type."),
        (vec![URL, mattr, ("events", "<script>")], "Choose event types of the list."),
        (vec![URL, mattr, ("events", "no.such")], "`no.such` is not a registered event type."),
        (vec![URL, mattr, did, did], "Choose each event type once."),
        (vec![URL, mattr, ("receiveAll", "yes")], "Receive All is Truvera&#39;s."),
        (vec![URL, mattr, did, ("description", &long)], "Write at most 1024 bytes."),
    ] {
        let shown = browser.post("/console/webhooks", &fields).await;
        assert_eq!(shown.status, 422, "{said}");
        let text = shown.text().replace("&#39;", "'").replace("&#x27;", "'");
        assert!(text.contains(&said.replace("&#39;", "'")), "{said}: {text}");
    }
    assert!(console.world.get("/v1/webhooks").await.ids().is_empty());
}

#[tokio::test]
async fn receive_all_is_kept_as_what_it_is() {
    let console = Console::new().await;
    let mut browser = console.admin().await;
    let fields = [URL, ("dialect", "truvera"), ("receiveAll", "yes"), ("events", "OpenIdCredentialIssued")];
    let path = browser.post("/console/webhooks", &fields).await.to().to_owned();
    let webhook = console.world.app.webhook(console.world.tenant, id_of(&path)).await.unwrap();
    assert!(matches!(&webhook.subscription, Subscription::ReceiveAll { named } if named.len() == 1));
    let form = browser.get(&format!("{path}/edit")).await;
    assert!(form.has("name=\"receiveAll\" value=\"yes\" checked"));
    // Sent as it was shown, nothing changes but what was written anew.
    let fields = [
        ("url", "https://example.com/new"),
        ("receiveAll", "yes"),
        ("events", "OpenIdCredentialIssued"),
        ("description", "d"),
    ];
    assert!(browser.submit(&format!("{path}/edit"), &fields).await.has("was changed"));
    let after = console.world.app.webhook(console.world.tenant, webhook.id).await.unwrap();
    assert_eq!((after.url.shown(), &after.subscription), ("https://example.com/new", &webhook.subscription));
    assert_eq!((after.settings.description.as_str(), after.secrets), ("d", webhook.secrets));
}

/// What a browser would send of the form that it was shown.
fn shown_fields(shown: &Shown) -> Vec<(String, String)> {
    let hidden = shown.text().split("<input type=\"hidden\" name=\"shown").skip(1).map(|rest| {
        let (name, rest) = rest.split_once("\" value=\"").unwrap();
        (format!("shown{name}"), rest.split('"').next().unwrap().to_owned())
    });
    hidden.collect()
}

#[tokio::test]
async fn two_who_edit_one_webhook_change_what_each_of_them_changed() {
    let console = Console::new().await;
    let id = console.world.webhook(&["did_create"]).await;
    let (page, edit) = (format!("/console/webhooks/{id}"), format!("/console/webhooks/{id}/edit"));
    let (mut one, mut other) = (console.admin().await, console.admin().await);
    let first = shown_fields(&one.get(&edit).await);
    let second = shown_fields(&other.get(&edit).await);
    assert_eq!(first.len(), 3, "{first:?}");
    let send = async |browser: &mut Browser, shown: &[(String, String)], fields: &[(&str, &str)]| {
        let shown = shown.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fields: Vec<_> = shown.chain(fields.iter().copied()).collect();
        browser.post(&edit, &fields).await
    };
    let new = ("url", "https://example.com/new");
    let made = send(&mut one, &first, &[new, ("description", ""), ("events", "did_create")]).await;
    assert_eq!(made.to(), page);
    // The other still has the address of before in its form, makes a mistake first, and pauses in between.
    let wrong = send(&mut other, &second, &[URL, ("description", "CRM")]).await;
    assert_eq!((wrong.status, shown_fields(&wrong)), (422, second.clone()));
    one.post(&format!("{page}/pause"), &[]).await;
    let before = console.world.get("/v1/webhooks/audit").await.json()["data"].as_array().unwrap().len();
    let fields = [URL, ("description", "CRM"), ("events", "did_create"), ("events", "did_delete")];
    assert_eq!(send(&mut other, &second, &fields).await.to(), page);
    let read = || console.world.app.webhook(console.world.tenant, id_of(&page));
    let after = read().await.unwrap();
    let named: Vec<String> = after.subscription.named().iter().map(ToString::to_string).collect();
    assert_eq!((after.url.shown(), after.disabled), (new.1, true), "what the other did not touch");
    assert_eq!((after.settings.description.as_str(), named.len()), ("CRM", 2));
    let log = console.world.get("/v1/webhooks/audit").await.json();
    assert_eq!(log["data"].as_array().unwrap().len(), before + 1, "one change is one entry");
    // Nothing was touched: nothing is written.
    let shown = shown_fields(&one.get(&edit).await);
    let fields = [new, ("description", "CRM"), ("events", "did_delete"), ("events", "did_create")];
    send(&mut one, &shown, &fields).await;
    assert_eq!(read().await.unwrap(), after);
    assert_eq!(console.world.get("/v1/webhooks/audit").await.json(), log);
}

/// Between the look of one form and its write another may write.
#[tokio::test]
async fn what_happens_at_once_is_kept_of_both() {
    let console = Console::new().await;
    let id = console.world.webhook(&["did_create"]).await;
    let page = format!("/console/webhooks/{id}");
    let (mut one, mut other) = (console.admin().await, console.admin().await);
    for round in 0..20 {
        let url = format!("https://example.com/{round}");
        let (verb, disabled) = if round % 2 == 0 { ("pause", true) } else { ("resume", false) };
        let (edit, switch) = (format!("{page}/edit"), format!("{page}/{verb}"));
        let fields = [("url", url.as_str()), ("events", "did_create")];
        let (edited, switched) = tokio::join!(one.post(&edit, &fields), other.post(&switch, &[]));
        assert_eq!((edited.status, switched.status), (303, 303));
        let after = console.world.app.webhook(console.world.tenant, id_of(&page)).await.unwrap();
        assert_eq!((after.url.shown(), after.disabled), (url.as_str(), disabled));
    }
}

#[tokio::test]
async fn a_webhook_is_paused_tested_resumed_rotated_and_deleted() {
    let console = Console::new().await;
    let id = console.world.webhook(&["did_create"]).await;
    let path = format!("/console/webhooks/{id}");
    let mut browser = console.admin().await;
    assert!(browser.submit(&format!("{path}/pause"), &[]).await.has("The webhook is paused."));
    assert_eq!(console.world.get(&format!("/v1/webhooks/{id}")).await.json()["disabled"], true);
    assert!(browser.submit(&format!("{path}/resume"), &[]).await.has("active again"));
    assert_eq!(console.world.get(&format!("/v1/webhooks/{id}")).await.json()["disabled"], false);
    let tested = browser.submit(&format!("{path}/test"), &[("type", "credential_issued")]).await;
    assert!(tested.has("A test event of type credential_issued was sent."));
    let list = console.world.get(&format!("/v1/webhooks/deliveries?webhookId={id}")).await.json();
    assert_eq!(
        (&list["data"][0]["type"], &list["data"][0]["test"]),
        (&json!("credential_issued"), &json!(true))
    );
    for bad in ["no.such", "<b>", "sealpost.webhook.failing"] {
        assert!(browser.submit(&format!("{path}/test"), &[("type", bad)]).await.has("notice bad"), "{bad}");
    }

    let before = console.world.get(&format!("/v1/webhooks/{id}/secret")).await.text_of("secret");
    let shown = browser.submit(&format!("{path}/secret"), &[]).await;
    let after = console.world.get(&format!("/v1/webhooks/{id}/secret")).await.text_of("secret");
    assert!(before != after && shown.has(&after) && !browser.get(&path).await.has(&after));

    assert!(browser.get(&format!("{path}/delete")).await.has("This cannot be taken back."));
    assert!(browser.submit(&format!("{path}/delete"), &[]).await.has("was deleted"));
    assert_eq!(console.world.get(&format!("/v1/webhooks/{id}")).await.status, 404);
    let log = console.world.get("/v1/webhooks/audit?limit=5").await.json();
    let whats: Vec<&str> =
        log["data"].as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    assert_eq!(whats[0], "delete webhook");
}

#[tokio::test]
async fn a_truvera_token_is_rotated_and_shown_once() {
    let console = Console::new().await;
    let before = console.truvera(&["did_create"]).await;
    let path = format!("/console/webhooks/{}", before.id);
    let mut browser = console.admin().await;
    let shown = browser.submit(&format!("{path}/token"), &[]).await;
    let after = console.world.app.webhook(console.world.tenant, before.id).await.unwrap();
    let token = after.secrets.token.unwrap();
    assert!(before.secrets.token.as_ref() != Some(&token) && shown.has(token.reveal()));
    assert!(!browser.get(&path).await.has(token.reveal()));
    let other = console.world.webhook(&["did_create"]).await;
    assert_eq!(browser.post(&format!("/console/webhooks/{other}/token"), &[]).await.status, 400);
}

#[tokio::test]
async fn settings_are_judged_as_the_api_judges_them() {
    let console = Console::new().await;
    let id = console.world.webhook(&["did_create"]).await;
    let path = format!("/console/webhooks/{id}/settings");
    let mut browser = console.admin().await;
    let good = [
        ("payload", "thin"),
        ("maxInFlight", "3"),
        ("retention", "none"),
        ("alertAfter", "7"),
        ("retry", "1s, 1m"),
        ("headers", "x-a: secret-value"),
    ];
    assert!(browser.submit(&path, &good).await.has("The settings were saved."));
    let settings = console.world.get(&format!("/v1/webhooks/{id}/settings")).await.json();
    assert_eq!(
        (&settings["payload"], &settings["maxInFlight"], &settings["retry"]["intervals"]),
        (&json!("thin"), &json!(3), &json!(["1s", "60s"]))
    );
    let form = browser.get(&path).await;
    assert!(form.has("x-a") && !form.has("secret-value"), "values are never shown");
    let bad = [("payload", "thin"), ("maxInFlight", "0"), ("retention", "none"), ("alertAfter", "7")];
    let shown = browser.post(&path, &bad).await;
    assert!(shown.status == 422 && shown.has("must be a whole number from 1 to 256"));
    let after = console.world.get(&format!("/v1/webhooks/{id}/settings")).await.json();
    assert_eq!(settings, after);
}

#[tokio::test]
async fn a_delivery_is_cancelled_and_redelivered() {
    let mut console = Console::new().await;
    let id = console.world.webhook(&["did_create"]).await;
    console.world.publish(json!({"type": "did_create", "payload": {"did": "d"}})).await;
    let failed =
        sealpost_core::delivery::State::Failed(sealpost_core::delivery::FailReason::AttemptsExhausted);
    console.world.settle(503, Some(b"<script>alert(1)</script>"), failed).await;
    let delivery = console.world.newest_delivery(&format!("webhookId={id}")).await;
    let mut browser = console.admin().await;
    let shown = browser.get(&format!("/console/deliveries/{delivery}")).await;
    assert!(shown.has("answered 503") && shown.has("attempts exhausted"), "{}", shown.text());
    assert!(shown.has("&lt;script&gt;alert(1)") && !shown.has("<script>alert"));
    let again = browser.post(&format!("/console/deliveries/{delivery}/redeliver"), &[]).await;
    let new = again.to().to_owned();
    assert!(!new.ends_with(&delivery));
    assert!(browser.get(&new).await.has("This is the new delivery"));
    assert!(browser.submit(&format!("{new}/cancel"), &[]).await.has("cancelled"));
    let ended = browser.submit(&format!("/console/deliveries/{delivery}/cancel"), &[]).await;
    assert!(ended.has("has ended as failed"));

    let auditor = Roles::from(Role::Auditor);
    for (roles, sees) in [
        (auditor, false),
        (auditor.and(Role::Publisher), false),
        (auditor.and(Role::Verifier), false),
        (auditor.and(Role::Issuer), true),
        (Role::ManagedIssuer.into(), true),
        (Role::Subscriber.into(), true),
    ] {
        let own = roles.has(Role::Subscriber).then_some(id.parse().unwrap());
        let shown = console.role(roles, own).await.get(&format!("/console/deliveries/{delivery}")).await;
        assert!(shown.has("answered 503") && shown.has("alert(1)") == sees, "{roles}");
    }
}
