//! The audit log: one entry for each change, of the transaction of the change.

use std::collections::HashSet;
use std::num::NonZeroU32;

use sealpost_core::analytics::LogLevel;
use sealpost_core::audit::{Action, By};
use sealpost_core::delivery::CancelReason;
use sealpost_core::event_type::{EventType, EventTypeName, built_in};
use sealpost_core::id::{ClientId, ErasureId, OperatorId, TenantNo};
use sealpost_core::key_ring::{KeyRecord, KeyRing, KeyState};
use sealpost_core::quota::OwnQuota;
use sealpost_core::role::Role;
use sealpost_core::secret::Secret;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::tenant::DEFAULT_TENANT;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{SigningSecret, WebhookSecrets};
use sealpost_store::history::{AuditEntry, BulkFilter};
use sealpost_store::page::{After, PageRequest};
use sealpost_store::registry::{Client, Operator, WebhookChange};
use sealpost_store::upkeep::{Erasure, ErasureScope};
use serde_json::{Value, json};

use super::Backend;
use super::world::{World, at, chance, facts, new_delivery, new_domain, new_tenant, new_webhook, token, url};

const ALL: PageRequest<i64> = PageRequest { limit: 1000, after: None };

async fn log<B: Backend>(world: &World<B>, tenant: TenantNo) -> Vec<AuditEntry> {
    let mut rows = world.store.audit_entries(tenant, ALL).await.unwrap().rows;
    rows.reverse();
    rows
}

fn by(action: Action) -> By {
    By::new("client 7", action, at(9))
}

fn client(tenant: TenantNo) -> Client {
    Client {
        id: ClientId::new(at(0), chance()),
        tenant,
        name: "ci".into(),
        roles: Role::Issuer.into(),
        webhook: None,
        key_hash: [7; 32],
        created_at: at(0),
        expires_at: Some(at(5000)),
    }
}

fn key(kid: &str, state: KeyState) -> KeyRecord {
    KeyRecord { kid: kid.into(), public: [1; 32], seed: Secret::new([2; 32]), created_at: at(0), state }
}

fn own_type(description: &str) -> EventType {
    let name = EventTypeName::parse("invoice.sent").unwrap();
    EventType { name, description: description.into(), ..built_in("did_create").unwrap() }
}

pub(crate) async fn every_change_leaves_one_entry_and_a_refused_one_leaves_none<B: Backend>(world: World<B>) {
    let (store, tenant) = (&world.store, world.tenant.no);
    let no = TenantNo(99);
    let mut expected = log(&world, tenant).await.len();
    let mut seen = HashSet::new();
    // Each step says which action it was and whether it changed anything.
    macro_rules! step {
        ($action:ident, $changed:literal, $call:expr) => {{
            $call;
            expected += usize::from($changed);
            let entries = log(&world, tenant).await;
            assert_eq!(entries.len(), expected, "{}", stringify!($call));
            if $changed {
                let last = entries.last().unwrap();
                assert_eq!(last.what, Action::$action.as_str());
                assert_eq!((last.who.as_str(), last.at), ("client 7", at(9)));
                seen.insert(last.what.clone());
            }
        }};
    }
    let ci = client(tenant);
    step!(
        CreateClient,
        true,
        assert!(store.create_client(ci.clone(), by(Action::CreateClient)).await.unwrap())
    );
    let nobodys = Client { tenant: no, id: ClientId::new(at(1), chance()), key_hash: [8; 32], ..ci.clone() };
    step!(
        CreateClient,
        false,
        assert!(!store.create_client(nobodys, by(Action::CreateClient)).await.unwrap())
    );
    step!(
        DeleteClient,
        true,
        assert!(store.delete_client(tenant, ci.id, by(Action::DeleteClient)).await.unwrap())
    );
    step!(
        DeleteClient,
        false,
        assert!(!store.delete_client(tenant, ci.id, by(Action::DeleteClient)).await.unwrap())
    );

    let new = new_webhook(&world.tenant);
    let id = new.id;
    step!(CreateWebhook, true, store.create_webhook(new, by(Action::CreateWebhook)).await.unwrap().unwrap());
    let webhook = store.webhook(tenant, id).await.unwrap().unwrap();
    for action in [Action::ChangeWebhook, Action::ChangeSettings, Action::RotateSecret] {
        let change =
            WebhookChange { url: Some(url("https://a.example/elsewhere")), ..WebhookChange::default() };
        store.change_webhook(tenant, webhook.id, change, by(action)).await.unwrap().unwrap();
        expected += 1;
        assert_eq!(log(&world, tenant).await.last().unwrap().what, action.as_str());
        seen.insert(action.as_str().to_owned());
    }
    let nothing = WebhookChange::default;
    step!(
        ChangeWebhook,
        false,
        store.change_webhook(no, webhook.id, nothing(), by(Action::ChangeWebhook)).await.unwrap()
    );

    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    step!(
        CancelDelivery,
        true,
        store.cancel(tenant, delivery, CancelReason::ByHand, by(Action::CancelDelivery)).await.unwrap()
    );
    step!(
        CancelDelivery,
        false,
        store.cancel(tenant, delivery, CancelReason::ByHand, by(Action::CancelDelivery)).await.unwrap()
    );
    let new = new_delivery(&webhook).id;
    step!(Redeliver, true, store.redeliver(tenant, delivery, new, by(Action::Redeliver)).await.unwrap());
    step!(Redeliver, false, store.redeliver(no, delivery, new, by(Action::Redeliver)).await.unwrap());
    let filter = || BulkFilter { from: None, to: None, status: None };
    step!(
        RedeliverAll,
        false,
        store.redeliver_all(tenant, webhook.id, filter(), true, by(Action::RedeliverAll)).await.unwrap()
    );
    step!(
        RedeliverAll,
        true,
        store.redeliver_all(tenant, webhook.id, filter(), false, by(Action::RedeliverAll)).await.unwrap()
    );
    let erasure = Erasure {
        id: ErasureId::new(at(0), chance()),
        tenant,
        scope: ErasureScope::Events(vec![event]),
        by: by(Action::ErasePayloads),
    };
    step!(ErasePayloads, true, store.erase(erasure.clone()).await.unwrap());
    step!(ErasePayloads, false, store.erase(erasure).await.unwrap());
    step!(
        DeleteWebhook,
        true,
        store.delete_webhook(tenant, webhook.id, by(Action::DeleteWebhook)).await.unwrap()
    );
    step!(
        DeleteWebhook,
        false,
        store.delete_webhook(tenant, webhook.id, by(Action::DeleteWebhook)).await.unwrap()
    );

    let name = own_type("").name;
    step!(
        PutEventType,
        true,
        store.put_event_type(tenant, own_type("a"), by(Action::PutEventType)).await.unwrap()
    );
    step!(
        PutEventType,
        true,
        store.put_event_type(tenant, own_type("b"), by(Action::PutEventType)).await.unwrap()
    );
    step!(
        DeleteEventType,
        true,
        store.delete_event_type(tenant, name.clone(), by(Action::DeleteEventType)).await.unwrap()
    );
    step!(
        DeleteEventType,
        false,
        store.delete_event_type(tenant, name, by(Action::DeleteEventType)).await.unwrap()
    );
    let ring = || KeyRing { keys: vec![key("k", KeyState::Current)] };
    step!(
        RotateKeys,
        true,
        assert!(store.put_keys(tenant, ring(), 99, by(Action::RotateKeys)).await.unwrap())
    );
    step!(
        RotateKeys,
        false,
        assert!(!store.put_keys(tenant, ring(), 0, by(Action::RotateKeys)).await.unwrap())
    );

    let domain = new_domain(&world.tenant, "a.example");
    step!(
        CreateDomain,
        true,
        assert!(store.create_domain(domain.clone(), by(Action::CreateDomain)).await.unwrap())
    );
    step!(
        CreateDomain,
        false,
        assert!(!store.create_domain(domain.clone(), by(Action::CreateDomain)).await.unwrap())
    );
    step!(VerifyDomain, false, store.verify_domain(tenant, token(), by(Action::VerifyDomain)).await.unwrap());
    step!(
        VerifyDomain,
        true,
        store.verify_domain(tenant, domain.token, by(Action::VerifyDomain)).await.unwrap()
    );
    step!(
        VerifyDomain,
        false,
        store.verify_domain(tenant, domain.token, by(Action::VerifyDomain)).await.unwrap()
    );
    let moved = facts("b.example", "B");
    step!(
        ChangeDomain,
        true,
        store.change_domain(tenant, moved, token(), by(Action::ChangeDomain)).await.unwrap()
    );
    step!(DeleteDomain, true, store.delete_domain(tenant, by(Action::DeleteDomain)).await.unwrap());
    step!(DeleteDomain, false, store.delete_domain(tenant, by(Action::DeleteDomain)).await.unwrap());
    let quota = OwnQuota { webhooks: NonZeroU32::new(7), ..OwnQuota::default() };
    step!(ChangeQuota, true, store.change_quota(tenant, quota, by(Action::ChangeQuota)).await.unwrap());
    step!(ChangeQuota, false, store.change_quota(no, quota, by(Action::ChangeQuota)).await.unwrap());
    let full = LogLevel::Full;
    step!(
        ChangeAnalytics,
        true,
        store.change_log_level(tenant, full, by(Action::ChangeAnalytics)).await.unwrap()
    );
    step!(
        ChangeAnalytics,
        false,
        store.change_log_level(no, full, by(Action::ChangeAnalytics)).await.unwrap()
    );
    step!(DeleteTenant, true, store.delete_tenant(tenant, by(Action::DeleteTenant)).await.unwrap());
    step!(DeleteTenant, false, store.delete_tenant(tenant, by(Action::DeleteTenant)).await.unwrap());

    // The installation's own stand in the log of tenant `default`.
    let default =
        store.create_tenant(new_tenant(DEFAULT_TENANT), by(Action::CreateTenant)).await.unwrap().unwrap();
    let id = OperatorId::new(at(0), chance());
    let operator =
        Operator { id, name: "ops".into(), key_hash: [3; 32], created_at: at(0), expires_at: None };
    store.create_operator(operator, by(Action::CreateOperator)).await.unwrap();
    assert!(store.delete_operator(id, by(Action::DeleteOperator)).await.unwrap());
    assert!(!store.delete_operator(id, by(Action::DeleteOperator)).await.unwrap());
    store.add_token_key(key("t", KeyState::Current), at(0), by(Action::RotateTokenKeys)).await.unwrap();
    store.rewrap(by(Action::RotateMasterKey)).await.unwrap();
    let whats: Vec<String> = log(&world, default.no).await.into_iter().map(|entry| entry.what).collect();
    let expected =
        ["create tenant", "create operator", "delete operator", "rotate token keys", "rotate master key"];
    assert_eq!(whats, expected);
    assert_eq!(seen.len(), 21, "{seen:?}");
}

pub(crate) async fn an_entry_shows_what_a_change_changed<B: Backend>(world: World<B>) {
    let (store, tenant) = (&world.store, world.tenant.no);
    let webhook =
        store.create_webhook(new_webhook(&world.tenant), by(Action::CreateWebhook)).await.unwrap().unwrap();
    let settings = WebhookSettings { max_in_flight: 3, ..webhook.settings.clone() };
    let change = WebhookChange {
        url: Some(url("https://a.example/moved")),
        disabled: Some(true),
        settings: Some(settings),
        ..WebhookChange::default()
    };
    let changed =
        store.change_webhook(tenant, webhook.id, change, by(Action::ChangeWebhook)).await.unwrap().unwrap();
    store.delete_webhook(tenant, webhook.id, by(Action::DeleteWebhook)).await.unwrap().unwrap();
    let entries = log(&world, tenant).await;
    let [.., made, moved, gone] = entries.as_slice() else { panic!("{entries:?}") };
    let whole = made.change.after.clone().unwrap();
    assert_eq!((&made.change.before, &whole["url"]), (&None, &json!(webhook.url.shown())));
    assert_eq!((&whole["dialect"], &whole["settings"]["maxInFlight"]), (&json!("mattr"), &json!(8)));
    let side = |url: &str, disabled: bool, most: u32| {
        Some(json!({"url": url, "disabled": disabled, "settings": {"maxInFlight": most}}))
    };
    assert_eq!(moved.change.before, side(webhook.url.shown(), false, 8));
    assert_eq!(moved.change.after, side(changed.url.shown(), true, 3));
    assert_eq!((&gone.change.after, &gone.change.before.clone().unwrap()["disabled"]), (&None, &json!(true)));
    assert!([made, moved, gone].into_iter().all(|entry| entry.object == webhook.id.to_string()));
}

pub(crate) async fn no_secret_stands_in_the_audit_log<B: Backend>(world: World<B>) {
    let (store, tenant) = (&world.store, world.tenant.no);
    let secrets = |canary: &str| WebhookSecrets {
        signing: vec![SigningSecret { bytes: Secret::new([0x5a; 32]), until: None }],
        token: Some(Secret::new(format!("{canary}-token"))),
        headers: vec![("x-api-key".into(), Secret::new(format!("{canary}-header")))],
    };
    let new =
        sealpost_store::registry::NewWebhook { secrets: secrets("canary"), ..new_webhook(&world.tenant) };
    let webhook = store.create_webhook(new, by(Action::CreateWebhook)).await.unwrap().unwrap();
    let mut fresh = secrets("canary2");
    fresh.headers.push(("x-more".into(), Secret::new("canary-more".into())));
    let change = WebhookChange { secrets: Some(fresh), ..WebhookChange::default() };
    store.change_webhook(tenant, webhook.id, change, by(Action::ChangeSettings)).await.unwrap().unwrap();
    let domain = world.domain(&world.tenant, "a.example").await;
    store.create_client(client(tenant), by(Action::CreateClient)).await.unwrap();
    let entries = log(&world, tenant).await;
    let shown = |entry: &AuditEntry| {
        let side = |side: &Option<Value>| side.as_ref().map(Value::to_string).unwrap_or_default();
        format!("{} {} {}", entry.object, side(&entry.change.before), side(&entry.change.after))
    };
    let text: String = entries.iter().map(shown).collect();
    for secret in ["canary", "5a5a", "WlpaWlpa", "0707", &domain.token.to_string()] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    // What is not secret about a header is there.
    assert!(text.contains(r#"{"headers":["x-api-key","x-more"]}"#), "{text}");
}

pub(crate) async fn entries_are_listed_by_tenant_newest_first<B: Backend>(world: World<B>) {
    let (other, _) = world.other_tenant().await;
    for n in 0..5 {
        let read = By::new("client 7", Action::ReadSecret, Timestamp::from_millis(n));
        world.store.audit(world.tenant.no, read.clone(), n.to_string()).await.unwrap();
        world.store.audit(other.no, read, format!("other {n}")).await.unwrap();
    }
    let world = world.reopen().await;
    let mut objects = Vec::new();
    let mut after = None;
    loop {
        let page = PageRequest { limit: 2, after };
        let page = world.store.audit_entries(world.tenant.no, page).await.unwrap();
        objects.extend(page.rows.iter().map(|entry| entry.object.clone()));
        let Some(last) = page.rows.last().filter(|_| page.more) else { break };
        after = Some(After { at: last.at, id: last.no });
    }
    assert_eq!(objects[..5], ["4", "3", "2", "1", "0"]);
    assert_eq!(objects.len(), 6, "the tenant's own making comes before");
}
