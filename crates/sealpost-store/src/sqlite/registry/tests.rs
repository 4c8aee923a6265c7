use sealpost_core::event_type::{Origin, built_in};
use sealpost_core::key_ring::KeyState;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::target_url::{TargetUrl, UrlRules};
use sealpost_core::webhook::WebhookSecrets;

use sealpost_core::secret::Secret;

use super::*;
use crate::page::After;
use crate::sqlite::testing::{Fixture, at, by, new_tenant};

fn told(delta: &RegistryDelta) -> String {
    let types = delta.event_types.as_ref().map(|types| types.len());
    let keys = delta.keys.as_ref().map(|ring| ring.keys.len());
    let changed: Vec<i64> = delta.changed.iter().map(|w| w.no.0).collect();
    let deleted: Vec<i64> = delta.deleted.iter().map(|no| no.0).collect();
    format!("{} changed {changed:?} deleted {deleted:?} types {types:?} keys {keys:?}", delta.version)
}

fn key(kid: &str, state: KeyState) -> KeyRecord {
    KeyRecord { kid: kid.into(), public: [1; 32], seed: Secret::new([2; 32]), created_at: at(0), state }
}

#[tokio::test]
async fn a_cache_is_told_what_changed_and_nothing_else() {
    let fixture = Fixture::new().await;
    let (store, tenant) = (&fixture.store, fixture.tenant);
    let delta = async |since| told(&store.registry_delta(tenant, since).await.unwrap());
    assert_eq!(delta(0).await, "1 changed [] deleted [] types Some(0) keys Some(0)");
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    fixture.webhook(WebhookSettings::default()).await;
    assert_eq!(delta(1).await, "3 changed [1, 2] deleted [] types None keys None");
    fixture.disable(&webhook, true).await;
    assert_eq!(delta(3).await, "4 changed [1] deleted [] types None keys None");
    store.delete_webhook(tenant, webhook.id, by(at(9))).await.unwrap().unwrap();
    assert_eq!(delta(3).await, "5 changed [] deleted [1] types None keys None");
    assert_eq!(delta(0).await, "5 changed [2] deleted [] types Some(0) keys Some(0)");
    let mut operators = built_in("credential_issued").unwrap();
    operators.origin = Origin::Operator;
    store.put_event_type(tenant, operators.clone(), by(at(0))).await.unwrap().unwrap();
    let changed = store.registry_delta(tenant, 5).await.unwrap();
    assert_eq!(changed.event_types, Some(vec![operators.clone()]));
    assert!(store.delete_event_type(tenant, operators.name.clone(), by(at(0))).await.unwrap());
    assert!(!store.delete_event_type(tenant, operators.name, by(at(0))).await.unwrap());
    assert_eq!(delta(6).await, "7 changed [] deleted [] types Some(0) keys None");
    assert_eq!(delta(7).await, "7 changed [] deleted [] types None keys None");
}

#[tokio::test]
async fn keys_are_replaced_only_if_the_ring_is_the_one_decided_on() {
    let fixture = Fixture::new().await;
    let (store, tenant) = (&fixture.store, fixture.tenant);
    let since = at(77);
    let ring = KeyRing { keys: vec![key("a", KeyState::Next), key("b", KeyState::Retired { since })] };
    fixture.webhook(WebhookSettings::default()).await;
    // The webhook raised the registry version but left the ring alone.
    assert!(store.put_keys(tenant, ring.clone(), 1, by(at(0))).await.unwrap());
    assert!(!store.put_keys(tenant, KeyRing::default(), 2, by(at(0))).await.unwrap());
    let read = store.registry_delta(tenant, 2).await.unwrap();
    assert_eq!((read.version, read.keys), (3, Some(ring)));
}

#[tokio::test]
async fn a_webhook_is_read_back_as_it_was_written() {
    let fixture = Fixture::new().await;
    let (store, tenant) = (&fixture.store, fixture.tenant);
    let made = fixture.webhook(WebhookSettings::default()).await;
    assert_eq!(store.webhook(tenant, made.id).await.unwrap(), Some(made.clone()));
    let mut secrets =
        WebhookSecrets { token: Some(Secret::new("canary".into())), ..WebhookSecrets::default() };
    secrets.rotate_signing([3; 32], at(1));
    secrets.headers.push(("x-key".into(), Secret::new("canary".into())));
    let change = WebhookChange {
        url: Some(TargetUrl::parse("https://example.org/canary", &UrlRules::default()).unwrap()),
        secrets: Some(secrets.clone()),
        ..WebhookChange::default()
    };
    let changed = store.change_webhook(tenant, made.id, change, by(at(1))).await.unwrap().unwrap();
    // A new URL does not cancel what waits.
    assert_eq!((changed.lane_epoch, changed.version), (made.lane_epoch, made.version + 1));
    assert_eq!(changed.secrets, secrets);
    let disabled = WebhookChange { disabled: Some(true), ..WebhookChange::default() };
    let disabled = store.change_webhook(tenant, made.id, disabled, by(at(1))).await.unwrap().unwrap();
    assert_eq!((disabled.lane_epoch, &disabled.secrets), (made.lane_epoch + 1, &secrets));
    assert_eq!(store.webhook(tenant, made.id).await.unwrap(), Some(disabled.clone()));
    assert_eq!(store.webhook(TenantNo(99), made.id).await.unwrap(), None);

    assert_eq!(store.delete_webhook(tenant, made.id, by(at(2))).await.unwrap(), Some(disabled));
    assert_eq!(store.delete_webhook(tenant, made.id, by(at(2))).await.unwrap(), None);
    assert_eq!(store.webhook(tenant, made.id).await.unwrap(), None);
    let left = "SELECT count(*) FROM webhook WHERE url = '' AND length(sealed) = 0 AND lane_epoch = 2";
    assert_eq!(fixture.count(left), 1);
}

#[tokio::test]
async fn webhooks_are_listed_newest_first_in_pages() {
    let fixture = Fixture::new().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.insert(0, fixture.webhook(WebhookSettings::default()).await.id);
    }
    fixture.store.delete_webhook(fixture.tenant, all.remove(2), by(at(0))).await.unwrap();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let request = PageRequest { limit: 2, after };
        let page = fixture.store.webhooks(fixture.tenant, Some(Dialect::Mattr), request).await.unwrap();
        seen.extend(page.rows.iter().map(|w| w.id));
        after = page.rows.last().map(|w| After { at: w.created_at, id: w.id });
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, all);
    let request = PageRequest { limit: 2, after: None };
    let none = fixture.store.webhooks(fixture.tenant, Some(Dialect::Truvera), request).await.unwrap();
    assert_eq!(none, Page { rows: vec![], more: false });
}

#[tokio::test]
async fn tenants_and_clients_are_found_by_what_is_unique() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    assert_eq!(store.create_tenant(new_tenant("acme"), by(at(0))).await.unwrap(), None);
    let other = store.create_tenant(new_tenant("other"), by(at(0))).await.unwrap().unwrap();
    let names: Vec<_> = store.tenants().await.unwrap().into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["acme", "other"]);
    assert!(store.hasher(other.no).await.unwrap().is_some());
    assert!(store.hasher(TenantNo(99)).await.unwrap().is_none());

    let client = Client {
        id: ClientId::from_bytes([1; 16]),
        tenant: other.no,
        name: "c".into(),
        roles: sealpost_core::role::Role::ManagedIssuer.into(),
        webhook: Some(WebhookId::from_bytes([2; 16])),
        key_hash: [3; 32],
        created_at: at(0),
        expires_at: Some(at(5)),
    };
    store.create_client(client.clone(), by(at(0))).await.unwrap();
    assert_eq!(store.client_by_key_hash([3; 32]).await.unwrap(), Some(client.clone()));
    assert_eq!(store.clients(other.no).await.unwrap(), std::slice::from_ref(&client));
    assert!(!store.delete_client(fixture.tenant, client.id, by(at(0))).await.unwrap());
    assert!(store.delete_client(other.no, client.id, by(at(0))).await.unwrap());
    assert_eq!(store.client_by_key_hash([3; 32]).await.unwrap(), None);
}

#[tokio::test]
async fn keys_and_secrets_survive_a_restart() {
    let fixture = Fixture::new().await;
    let ring = KeyRing { keys: vec![key("a", KeyState::Current)] };
    assert!(fixture.store.put_keys(fixture.tenant, ring.clone(), 1, by(at(0))).await.unwrap());
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    let fixture = fixture.restart(|_| ());
    let delta = fixture.store.registry_delta(fixture.tenant, 0).await.unwrap();
    assert_eq!((delta.keys, delta.changed), (Some(ring), vec![webhook]));
}
