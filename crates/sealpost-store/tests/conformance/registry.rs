//! What an administrator changes, and how caches learn of it.

use std::num::NonZeroU32;

use sealpost_core::dialect::Dialect;
use sealpost_core::domain::CustomDomain;
use sealpost_core::event_type::{EventType, Origin};
use sealpost_core::id::{ClientId, OperatorId, TenantId, TenantNo, WebhookId};
use sealpost_core::key_ring::{KeyRecord, KeyRing, KeyState};
use sealpost_core::minimise::SummaryForm;
use sealpost_core::quota::OwnQuota;
use sealpost_core::role::{Role, Roles};
use sealpost_core::secret::Secret;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::webhook::{Subscription, WebhookSecrets};
use sealpost_store::inbox::{Accept, Accepted};
use sealpost_store::page::{After, PageRequest};
use sealpost_store::registry::{
    Client, DeletedTenant, NewTenant, NewWebhook, Operator, VerifiedDomain, WebhookChange,
};

use super::Backend;
use super::world::{
    World, at, by, chance, facts, new_domain, new_tenant, new_webhook, token, type_name, url,
};

pub(crate) async fn a_tenant_needs_an_id_and_a_subdomain_of_its_own<B: Backend>(world: World<B>) {
    let taken_subdomain = new_tenant("one");
    assert!(world.store.create_tenant(taken_subdomain, by(at(0))).await.unwrap().is_none());
    let taken_id = NewTenant { id: world.tenant.id, ..new_tenant("three") };
    assert!(world.store.create_tenant(taken_id, by(at(0))).await.unwrap().is_none());

    let (two, _) = world.other_tenant().await;
    let world = world.reopen().await;
    assert_eq!(world.store.tenants().await.unwrap(), [world.tenant.clone(), two]);
    assert_eq!(world.tenant.retention, Default::default());
}

pub(crate) async fn clients_are_found_by_their_key_and_gone_when_deleted<B: Backend>(world: World<B>) {
    let store = &world.store;
    let client = |n: u8, role: Role, webhook| Client {
        id: ClientId::from_bytes([n; 16]),
        tenant: world.tenant.no,
        name: format!("client {n}"),
        roles: role.into(),
        webhook,
        key_hash: [n; 32],
        created_at: at(0),
        expires_at: (n == 2).then(|| at(5)),
    };
    let admin = client(1, Role::Admin, None);
    let subscriber = client(2, Role::Subscriber, Some(WebhookId::from_bytes([9; 16])));
    assert!(store.create_client(admin.clone(), by(at(0))).await.unwrap());
    assert!(store.create_client(subscriber.clone(), by(at(0))).await.unwrap());
    let nobodys = Client { tenant: TenantNo(99), key_hash: [9; 32], ..client(9, Role::Admin, None) };
    assert!(!store.create_client(nobodys, by(at(0))).await.unwrap());

    assert_eq!(store.client_by_key_hash([2; 32]).await.unwrap(), Some(subscriber.clone()));
    assert_eq!(store.client_by_key_hash([3; 32]).await.unwrap(), None);
    assert_eq!(store.client_by_id(subscriber.id).await.unwrap(), Some(subscriber.clone()));
    assert_eq!(store.client_by_id(ClientId::from_bytes([3; 16])).await.unwrap(), None);
    assert_eq!(store.clients(world.tenant.no).await.unwrap().len(), 2);

    let (other, _) = world.other_tenant().await;
    assert!(!store.delete_client(other.no, admin.id, by(at(0))).await.unwrap());
    assert!(store.delete_client(world.tenant.no, admin.id, by(at(0))).await.unwrap());
    assert!(!store.delete_client(world.tenant.no, admin.id, by(at(0))).await.unwrap());
    assert_eq!(store.client_by_key_hash([1; 32]).await.unwrap(), None);
    assert_eq!(store.clients(world.tenant.no).await.unwrap(), [subscriber]);
}

pub(crate) async fn several_roles_of_a_client_read_back<B: Backend>(world: World<B>) {
    let client = Client {
        id: ClientId::from_bytes([1; 16]),
        tenant: world.tenant.no,
        name: "both".into(),
        roles: Roles::of([Role::Publisher, Role::Auditor]).unwrap(),
        webhook: None,
        key_hash: [1; 32],
        created_at: at(0),
        expires_at: None,
    };
    assert!(world.store.create_client(client.clone(), by(at(0))).await.unwrap());
    let world = world.reopen().await;
    assert_eq!(world.store.clients(world.tenant.no).await.unwrap(), [client]);
}

pub(crate) async fn operators_are_found_by_their_key_and_gone_when_deleted<B: Backend>(world: World<B>) {
    let operator = |n: u8| Operator {
        id: OperatorId::from_bytes([n; 16]),
        name: format!("operator {n}"),
        key_hash: [n; 32],
        created_at: at(i64::from(n)),
        expires_at: (n == 2).then(|| at(5)),
    };
    world.store.create_operator(operator(1), by(at(0))).await.unwrap();
    world.store.create_operator(operator(2), by(at(0))).await.unwrap();
    let world = world.reopen().await;
    let store = &world.store;
    assert_eq!(store.operators().await.unwrap(), [operator(1), operator(2)]);
    assert_eq!(store.operator_by_key_hash([2; 32]).await.unwrap(), Some(operator(2)));
    assert_eq!(store.operator_by_key_hash([3; 32]).await.unwrap(), None);
    // An operator is no client, whatever its key.
    assert_eq!(store.client_by_key_hash([2; 32]).await.unwrap(), None);
    assert!(store.delete_operator(operator(1).id, by(at(0))).await.unwrap());
    assert!(!store.delete_operator(operator(1).id, by(at(0))).await.unwrap());
    assert_eq!(store.operator_by_key_hash([1; 32]).await.unwrap(), None);
}

pub(crate) async fn token_keys_retire_one_after_the_other_and_are_forgotten<B: Backend>(world: World<B>) {
    let key = |n: u8| KeyRecord {
        kid: format!("kid {n}"),
        public: [n; 32],
        seed: Secret::new([n; 32]),
        created_at: at(i64::from(n)),
        state: KeyState::Current,
    };
    assert_eq!(world.store.token_keys().await.unwrap(), KeyRing::default());
    for n in 1..=3 {
        world.store.add_token_key(key(n), at(i64::from(n) - 1), by(at(i64::from(n)))).await.unwrap();
    }
    let world = world.reopen().await;
    let retired = |n: u8| KeyRecord { state: KeyState::Retired { since: at(i64::from(n) + 1) }, ..key(n) };
    assert_eq!(world.store.token_keys().await.unwrap().keys, [key(3), retired(2), retired(1)]);
    world.store.add_token_key(key(9), at(3), by(at(9))).await.unwrap();
    let left: Vec<_> = world.store.token_keys().await.unwrap().keys.into_iter().map(|key| key.kid).collect();
    assert_eq!(left, ["kid 9", "kid 3", "kid 2"]);
}

pub(crate) async fn a_deleted_tenant_accepts_nothing_and_keeps_its_name<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let client = Client {
        id: ClientId::from_bytes([1; 16]),
        tenant: world.tenant.no,
        name: "c".into(),
        roles: Role::Admin.into(),
        webhook: None,
        key_hash: [1; 32],
        created_at: at(0),
        expires_at: None,
    };
    world.store.create_client(client.clone(), by(at(0))).await.unwrap();
    let (other, _) = world.other_tenant().await;
    let domain = world.domain(&world.tenant, "a.example").await;
    assert!(matches!(world.verify(&domain, at(0)).await, VerifiedDomain::Verified(_)));
    let before = world.store.registry_delta(world.tenant.no, 0).await.unwrap();

    let deleted = world.store.delete_tenant(world.tenant.no, by(at(1))).await.unwrap();
    assert_eq!(deleted, Some(DeletedTenant { webhooks: 1, clients: 1 }));
    assert_eq!(world.store.delete_tenant(world.tenant.no, by(at(2))).await.unwrap(), None);
    assert_eq!(world.store.delete_tenant(TenantNo(99), by(at(2))).await.unwrap(), None);

    let world = world.reopen().await;
    let store = &world.store;
    let left: Vec<_> = store.tenants().await.unwrap().into_iter().map(|tenant| tenant.no).collect();
    assert_eq!(left, [other.no]);
    assert_eq!(store.verified_domains().await.unwrap(), []);
    assert_eq!(store.client_by_key_hash([1; 32]).await.unwrap(), None);
    assert!(!store.create_client(client, by(at(0))).await.unwrap());
    assert_eq!(store.webhook(world.tenant.no, webhook.id).await.unwrap(), None);
    assert_eq!(store.create_webhook(new_webhook(&world.tenant), by(at(0))).await.unwrap(), None);
    // Whoever matched before it was deleted, and whoever matched after, is told to look again.
    let after = store.registry_delta(world.tenant.no, before.version).await.unwrap();
    assert_eq!(after.deleted, [webhook.no]);
    for version in [before.version, after.version] {
        let request = Accept {
            tenant: world.tenant.no,
            registry_version: version,
            now: at(3),
            events: Vec::new(),
            keys: Vec::new(),
        };
        assert!(matches!(store.accept(request).await.unwrap(), Accepted::RegistryChanged), "{version}");
    }
    let again = NewTenant { subdomain: world.tenant.subdomain.clone(), ..new_tenant("again") };
    assert_eq!(store.create_tenant(again, by(at(0))).await.unwrap(), None);
}

pub(crate) async fn a_tenants_own_limits_are_replaced_and_read_back<B: Backend>(world: World<B>) {
    let tenant = world.tenant.no;
    let (other, _) = world.other_tenant().await;
    let before = world.store.registry_delta(tenant, 0).await.unwrap();
    assert_eq!(before.quota, OwnQuota::default());
    let most = NonZeroU32::new;
    let first = OwnQuota { requests_per_second: most(5), webhooks: most(1), ..OwnQuota::default() };
    let second =
        OwnQuota { events_per_second: most(u32::MAX), payload_bytes: most(9), ..OwnQuota::default() };
    for quota in [first, second] {
        let changed = world.store.change_quota(tenant, quota, by(at(1))).await.unwrap().unwrap();
        assert_eq!((changed.quota, changed.id), (quota, world.tenant.id));
    }
    assert_eq!(world.store.change_quota(TenantNo(99), first, by(at(1))).await.unwrap(), None);

    let world = world.reopen().await;
    let after = world.store.registry_delta(tenant, before.version).await.unwrap();
    assert!(after.version > before.version);
    assert_eq!(after.quota, second);
    // Who is up to date reads them as well.
    assert_eq!(world.store.registry_delta(tenant, after.version).await.unwrap().quota, second);
    let quotas: Vec<_> = world.store.tenants().await.unwrap().into_iter().map(|t| (t.no, t.quota)).collect();
    assert_eq!(quotas, [(tenant, second), (other.no, OwnQuota::default())]);

    // So many webhooks, counted where they are stored; a deleted one counts no more.
    let new = || NewWebhook { at_most: 2, ..new_webhook(&world.tenant) };
    let made = world.store.create_webhook(new(), by(at(2))).await.unwrap().unwrap();
    assert!(world.store.create_webhook(new(), by(at(2))).await.unwrap().is_some());
    assert!(world.store.create_webhook(new(), by(at(2))).await.unwrap().is_none());
    world.store.delete_webhook(tenant, made.id, by(at(3))).await.unwrap();
    assert!(world.store.create_webhook(new(), by(at(4))).await.unwrap().is_some());

    world.store.delete_tenant(tenant, by(at(5))).await.unwrap();
    assert_eq!(world.store.change_quota(tenant, first, by(at(6))).await.unwrap(), None);
}

pub(crate) async fn a_webhook_reads_back_as_it_was_written<B: Backend>(world: World<B>) {
    let settings =
        WebhookSettings { description: "ours".into(), timeout_ms: Some(700), ..WebhookSettings::default() };
    let new = NewWebhook {
        settings,
        dialect: Dialect::Truvera,
        subscription: Subscription::ReceiveAll { named: vec![type_name("invoice.paid")] },
        ..new_webhook(&world.tenant)
    };
    let made = world.store.create_webhook(new.clone(), by(at(0))).await.unwrap().unwrap();
    assert_eq!(
        (made.id, made.tenant, made.dialect, made.disabled, made.created_at),
        (new.id, new.tenant, new.dialect, false, new.created_at)
    );
    assert_eq!((&made.subscription, &made.url, &made.settings), (&new.subscription, &new.url, &new.settings));
    assert_eq!(made.secrets, new.secrets);

    let world = world.reopen().await;
    assert_eq!(world.store.webhook(world.tenant.no, made.id).await.unwrap(), Some(made));
}

pub(crate) async fn another_tenants_webhook_is_unknown<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (other, _) = world.other_tenant().await;
    let store = &world.store;
    assert_eq!(store.webhook(other.no, webhook.id).await.unwrap(), None);
    assert_eq!(
        store.change_webhook(other.no, webhook.id, WebhookChange::default(), by(at(1))).await.unwrap(),
        None
    );
    assert_eq!(store.delete_webhook(other.no, webhook.id, by(at(1))).await.unwrap(), None);
    assert_eq!(store.webhook(world.tenant.no, webhook.id).await.unwrap(), Some(webhook));
}

pub(crate) async fn a_change_raises_the_version_and_only_disabling_raises_the_epoch<B: Backend>(
    world: World<B>,
) {
    let made = world.webhook().await;
    let secrets = WebhookSecrets { token: Some(Secret::new("fresh".into())), ..WebhookSecrets::default() };
    let steps = [
        (
            "url",
            WebhookChange { url: Some(url("https://example.org/new")), ..WebhookChange::default() },
            false,
        ),
        ("secrets", WebhookChange { secrets: Some(secrets), ..WebhookChange::default() }, false),
        ("disabled", WebhookChange { disabled: Some(true), ..WebhookChange::default() }, true),
        ("disabled again", WebhookChange { disabled: Some(true), ..WebhookChange::default() }, false),
        ("enabled", WebhookChange { disabled: Some(false), ..WebhookChange::default() }, false),
    ];
    let mut before = made.clone();
    for (what, change, raises) in steps {
        let after = world.change(&before, change).await;
        assert!(after.version > before.version, "{what}");
        assert_eq!(after.lane_epoch, before.lane_epoch + i64::from(raises), "{what}");
        assert_eq!(after.version, world.version().await, "{what}");
        before = after;
    }
    assert_eq!(before.url.as_str(), "https://example.org/new");
    assert_eq!(before.secrets.token, Some(Secret::new("fresh".into())));
    assert_eq!((before.no, before.id, &before.settings), (made.no, made.id, &made.settings));
    assert_eq!(world.store.webhook(world.tenant.no, made.id).await.unwrap(), Some(before));
}

pub(crate) async fn a_deleted_webhook_is_listed_no_more<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let kept = world.webhook().await;
    let last = world.store.delete_webhook(world.tenant.no, webhook.id, by(at(5))).await.unwrap().unwrap();
    assert_eq!((last.id, last.no), (webhook.id, webhook.no));

    let store = &world.store;
    assert_eq!(store.webhook(world.tenant.no, webhook.id).await.unwrap(), None);
    assert_eq!(store.delete_webhook(world.tenant.no, webhook.id, by(at(6))).await.unwrap(), None);
    assert!(
        store
            .change_webhook(world.tenant.no, webhook.id, WebhookChange::default(), by(at(6)))
            .await
            .unwrap()
            .is_none()
    );
    let page = store.webhooks(world.tenant.no, None, PageRequest { limit: 10, after: None }).await.unwrap();
    assert_eq!(page.rows, [kept]);
}

pub(crate) async fn webhooks_are_listed_newest_first_by_time_and_id<B: Backend>(world: World<B>) {
    let mut made = Vec::new();
    for created in [5, 1, 5, 9, 5] {
        made.push(world.webhook_with(WebhookSettings::default(), at(created)).await);
    }
    made.sort_by_key(|webhook| (webhook.created_at, webhook.id));
    made.reverse();

    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page =
            world.store.webhooks(world.tenant.no, None, PageRequest { limit: 2, after }).await.unwrap();
        assert!(page.rows.len() == 2 || !page.more);
        after = page.rows.last().map(|last| After { at: last.created_at, id: last.id });
        listed.extend(page.rows);
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, made);
    let past = world.store.webhooks(world.tenant.no, None, PageRequest { limit: 2, after }).await.unwrap();
    assert_eq!((past.rows.len(), past.more), (0, false));
}

pub(crate) async fn webhooks_are_listed_by_dialect<B: Backend>(world: World<B>) {
    let mattr = world.webhook().await;
    let truvera = NewWebhook { dialect: Dialect::Truvera, ..new_webhook(&world.tenant) };
    let truvera = world.store.create_webhook(truvera, by(at(0))).await.unwrap().unwrap();
    for (dialect, ids) in [(Dialect::Mattr, [mattr.id]), (Dialect::Truvera, [truvera.id])] {
        let page = PageRequest { limit: 10, after: None };
        let page = world.store.webhooks(world.tenant.no, Some(dialect), page).await.unwrap();
        assert_eq!(page.rows.iter().map(|webhook| webhook.id).collect::<Vec<_>>(), ids);
    }
}

pub(crate) async fn webhooks_of_a_dialect_are_counted_from_the_newest<B: Backend>(world: World<B>) {
    let mut made = Vec::new();
    for created in [5, 1, 5, 9, 5] {
        world.webhook().await;
        let new =
            NewWebhook { dialect: Dialect::Truvera, created_at: at(created), ..new_webhook(&world.tenant) };
        made.push(world.store.create_webhook(new, by(at(created))).await.unwrap().unwrap());
    }
    let gone = made.swap_remove(0);
    world.store.delete_webhook(world.tenant.no, gone.id, by(at(10))).await.unwrap();
    made.sort_by_key(|webhook| std::cmp::Reverse((webhook.created_at, webhook.id)));
    let (other, _) = world.other_tenant().await;
    for (tenant, offset, limit, found) in [
        (world.tenant.no, 0, 64, &made[..]),
        (world.tenant.no, 0, 2, &made[..2]),
        (world.tenant.no, 1, 2, &made[1..3]),
        (world.tenant.no, 3, 2, &made[3..]),
        (world.tenant.no, u32::MAX, 64, &[]),
        (other.no, 0, 64, &[]),
    ] {
        let listed = world.store.webhooks_behind(tenant, Dialect::Truvera, offset, limit).await.unwrap();
        assert_eq!(listed, found, "{offset} {limit}");
    }
}

pub(crate) async fn a_delta_gives_exactly_what_changed<B: Backend>(world: World<B>) {
    let (store, tenant) = (&world.store, world.tenant.no);
    let kept = world.webhook().await;
    let doomed = world.webhook().await;
    let all = store.registry_delta(tenant, 0).await.unwrap();
    let mut ids: Vec<_> = all.changed.iter().map(|webhook| webhook.id).collect();
    ids.sort_unstable();
    let mut both = [kept.id, doomed.id];
    both.sort_unstable();
    assert_eq!(ids, both);
    assert_eq!(all.keys.as_ref().map(|ring| ring.keys.len()), Some(2));

    let nothing = store.registry_delta(tenant, all.version).await.unwrap();
    assert_eq!(nothing.version, all.version);
    assert!(nothing.changed.is_empty() && nothing.deleted.is_empty());
    assert!(nothing.event_types.is_none() && nothing.keys.is_none());

    let disabled = world.disable(&kept, true).await;
    let delta = store.registry_delta(tenant, all.version).await.unwrap();
    assert!(delta.version > all.version);
    assert_eq!(delta.changed, [disabled]);
    assert!(delta.deleted.is_empty() && delta.event_types.is_none() && delta.keys.is_none());

    store.delete_webhook(tenant, doomed.id, by(at(1))).await.unwrap().unwrap();
    let gone = store.registry_delta(tenant, delta.version).await.unwrap();
    assert_eq!((gone.changed.len(), gone.deleted.as_slice()), (0, [doomed.no].as_slice()));

    let own_type = EventType {
        name: type_name("invoice.paid"),
        origin: Origin::Operator,
        description: "An invoice was paid.".into(),
        schema: None,
        summary: SummaryForm::Unknown,
        receive_all: true,
    };
    store.put_event_type(tenant, own_type.clone(), by(at(0))).await.unwrap().unwrap();
    let typed = store.registry_delta(tenant, gone.version).await.unwrap();
    assert_eq!(typed.event_types, Some(vec![own_type.clone()]));
    assert!(typed.changed.is_empty() && typed.deleted.is_empty() && typed.keys.is_none());
    assert!(store.delete_event_type(tenant, own_type.name.clone(), by(at(0))).await.unwrap());
    assert!(!store.delete_event_type(tenant, own_type.name, by(at(0))).await.unwrap());
    let untyped = store.registry_delta(tenant, typed.version).await.unwrap();
    assert_eq!(untyped.event_types, Some(Vec::new()));

    let (other, _) = world.other_tenant().await;
    assert!(store.registry_delta(other.no, 0).await.unwrap().changed.is_empty());
}

pub(crate) async fn the_versions_tell_whose_registry_changed<B: Backend>(world: World<B>) {
    let (other, _) = world.other_tenant().await;
    let versions = async || world.store.registry_versions().await.unwrap();
    let before = versions().await;
    assert_eq!(before, [(world.tenant.no, world.version().await), (other.no, before[1].1)]);
    let webhook = world.webhook().await;
    world.disable(&webhook, true).await;
    assert_eq!(versions().await, [(world.tenant.no, world.version().await), before[1]]);
    assert!(world.version().await > before[0].1);
    world.store.delete_tenant(world.tenant.no, by(at(1))).await.unwrap();
    assert_eq!(versions().await, [before[1]]);
}

pub(crate) async fn a_key_ring_is_replaced_only_on_the_version_it_was_decided_on<B: Backend>(
    world: World<B>,
) {
    let (store, tenant) = (&world.store, world.tenant.no);
    let before = store.registry_delta(tenant, 0).await.unwrap();
    let ring = before.keys.unwrap();
    let mut fresh = ring.keys[0].clone();
    fresh.kid = "fresh".into();
    let rotated = ring.rotated(fresh, at(1), std::time::Duration::ZERO, true).unwrap();

    assert!(store.put_keys(tenant, rotated.clone(), before.version, by(at(0))).await.unwrap());
    assert!(!store.put_keys(tenant, KeyRing::default(), before.version, by(at(0))).await.unwrap());
    let after = store.registry_delta(tenant, before.version).await.unwrap().keys.unwrap();
    let shape = |ring: &KeyRing| {
        let mut keys: Vec<_> =
            ring.keys.iter().map(|key| (key.kid.clone(), key.state, key.seed.clone())).collect();
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        keys
    };
    assert_eq!(shape(&after), shape(&rotated));
    assert_eq!(after.current().unwrap().kid, "one-next");
    assert!(after.keys.iter().any(|key| key.state == KeyState::Retired { since: at(1) }));
}

pub(crate) async fn tenants_with_an_old_next_key_are_found_oldest_first<B: Backend>(world: World<B>) {
    let key = |n: u8, ms: i64, state| KeyRecord {
        kid: format!("kid {n}"),
        public: [n; 32],
        seed: Secret::new([n; 32]),
        created_at: at(ms),
        state,
    };
    let ring = |next: i64| vec![key(1, 0, KeyState::Current), key(2, next, KeyState::Next)];
    let mut tenants = Vec::new();
    for (name, next) in [("a", 20), ("b", 10), ("c", 30), ("d", 10)] {
        let new = NewTenant { keys: ring(next), ..new_tenant(name) };
        tenants.push(world.store.create_tenant(new, by(at(0))).await.unwrap().unwrap().no);
    }
    let found = async |ms: i64, limit: u32| {
        let found = world.store.tenants_with_next_key_since(at(ms), limit).await.unwrap();
        // The tenant of every world is there as well.
        let name =
            |no| tenants.iter().position(|tenant| *tenant == no).map_or("w", |n| ["a", "b", "c", "d"][n]);
        found.into_iter().map(name).collect::<String>()
    };
    assert_eq!(found(9, 10).await, "w");
    assert_eq!(found(10, 10).await, "wbd");
    assert_eq!(found(30, 3).await, "wbd");
    world.store.delete_tenant(tenants[1], by(at(40))).await.unwrap();
    assert_eq!(found(30, 10).await, "wdac");
}

pub(crate) async fn hashes_are_the_same_after_opening_again<B: Backend>(world: World<B>) {
    let before = world.hasher.subject("holder 7");
    let world = world.reopen().await;
    let again = world.store.hasher(world.tenant.no).await.unwrap().unwrap();
    assert_eq!(again.subject("holder 7"), before);
    let (_, other) = world.other_tenant().await;
    assert_ne!(other.subject("holder 7"), before);
    let unknown = TenantId::new(at(0), chance());
    assert_ne!(unknown, world.tenant.id);
    assert!(world.store.hasher(TenantNo(99)).await.unwrap().is_none());
}

pub(crate) async fn a_tenant_has_one_domain_and_no_other_tenant_sees_it<B: Backend>(world: World<B>) {
    let (other, _) = world.other_tenant().await;
    assert_eq!(world.store.domain(world.tenant.no).await.unwrap(), None);
    let made = world.domain(&world.tenant, "a.example").await;
    let second = new_domain(&world.tenant, "b.example");
    assert!(!world.store.create_domain(second, by(at(1))).await.unwrap());

    let world = world.reopen().await;
    let store = &world.store;
    assert_eq!(store.domain(world.tenant.no).await.unwrap(), Some(made.clone()));
    assert_eq!(store.domain(other.no).await.unwrap(), None);
    let facts = made.facts.clone();
    assert_eq!(store.change_domain(other.no, facts, token(), by(at(1))).await.unwrap(), None);
    assert_eq!(store.delete_domain(other.no, by(at(1))).await.unwrap(), None);
    let foreign = store.verify_domain(other.no, made.token, by(at(1))).await.unwrap();
    assert_eq!(foreign, VerifiedDomain::Changed);

    assert_eq!(store.delete_domain(world.tenant.no, by(at(1))).await.unwrap(), Some(made));
    assert_eq!(store.delete_domain(world.tenant.no, by(at(1))).await.unwrap(), None);
    world.domain(&world.tenant, "b.example").await;
}

pub(crate) async fn only_a_domain_of_another_name_loses_its_verification<B: Backend>(world: World<B>) {
    let (store, tenant) = (&world.store, world.tenant.no);
    assert_eq!(
        store.change_domain(tenant, facts("a.example", "Acme"), token(), by(at(0))).await.unwrap(),
        None
    );
    let made = world.domain(&world.tenant, "a.example").await;
    let verified = world.verify(&made, at(5)).await;
    let verified = match verified {
        VerifiedDomain::Verified(domain) => domain,
        other => panic!("{other:?}"),
    };
    assert_eq!(verified, CustomDomain { verified_at: Some(at(5)), ..made.clone() });

    let change = async |name: &str, label: &str| {
        let changed = store.change_domain(tenant, facts(name, label), token(), by(at(6))).await;
        changed.unwrap().unwrap()
    };
    let renamed = change("a.example", "Acme Ltd").await;
    assert_eq!(renamed.before, verified);
    assert_eq!(renamed.after, CustomDomain { facts: facts("a.example", "Acme Ltd"), ..verified });

    let moved = change("b.example", "Acme Ltd").await;
    assert_eq!((moved.before, moved.after.verified_at), (renamed.after, None));
    assert_ne!(moved.after.token, made.token);
    assert_eq!(store.domain(tenant).await.unwrap(), Some(moved.after));
    assert_eq!(store.verified_domains().await.unwrap(), []);
}

pub(crate) async fn a_verification_holds_for_the_token_that_was_proven<B: Backend>(world: World<B>) {
    let made = world.domain(&world.tenant, "a.example").await;
    let stale = CustomDomain { token: token(), ..made.clone() };
    assert_eq!(world.verify(&stale, at(1)).await, VerifiedDomain::Changed);
    assert_eq!(world.store.verified_domains().await.unwrap(), []);

    let first = CustomDomain { verified_at: Some(at(2)), ..made.clone() };
    assert_eq!(world.verify(&made, at(2)).await, VerifiedDomain::Verified(first.clone()));
    assert_eq!(
        world.verify(&made, at(3)).await,
        VerifiedDomain::Verified(first.clone()),
        "the first time stays"
    );
    let world = world.reopen().await;
    let verified = [(first.facts.domain.clone(), world.tenant.no)];
    assert_eq!(world.store.verified_domains().await.unwrap(), verified);
    assert_eq!(world.store.domain(world.tenant.no).await.unwrap(), Some(first));
}

pub(crate) async fn a_domain_is_verified_for_one_tenant_at_a_time<B: Backend>(world: World<B>) {
    let (other, _) = world.other_tenant().await;
    let mine = world.domain(&world.tenant, "a.example").await;
    let theirs = world.domain(&other, "a.example").await;
    assert!(matches!(world.verify(&mine, at(1)).await, VerifiedDomain::Verified(_)));
    assert_eq!(world.verify(&theirs, at(2)).await, VerifiedDomain::Taken);
    assert_eq!(world.store.domain(other.no).await.unwrap(), Some(theirs.clone()), "and nothing changed");

    world.store.delete_domain(world.tenant.no, by(at(3))).await.unwrap().unwrap();
    assert!(matches!(world.verify(&theirs, at(4)).await, VerifiedDomain::Verified(_)));
    assert_eq!(world.store.verified_domains().await.unwrap(), [(theirs.facts.domain, other.no)]);
}

pub(crate) async fn of_two_verifications_at_once_one_wins<B: Backend>(world: World<B>) {
    let (other, _) = world.other_tenant().await;
    for round in 0..20 {
        let name = format!("r{round}.example");
        let mine = world.domain(&world.tenant, &name).await;
        let theirs = world.domain(&other, &name).await;
        let (a, b) = tokio::join!(world.verify(&mine, at(1)), world.verify(&theirs, at(1)));
        let won = |verified: &VerifiedDomain| matches!(verified, VerifiedDomain::Verified(_));
        assert_eq!(u8::from(won(&a)) + u8::from(won(&b)), 1, "{a:?} {b:?}");
        assert!(a == VerifiedDomain::Taken || b == VerifiedDomain::Taken, "{a:?} {b:?}");
        assert_eq!(world.store.verified_domains().await.unwrap().len(), 1);
        for tenant in [world.tenant.no, other.no] {
            world.store.delete_domain(tenant, by(at(2))).await.unwrap().unwrap();
        }
    }
}
