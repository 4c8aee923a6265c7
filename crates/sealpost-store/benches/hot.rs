//! The store's part of a delivery: sealing, accepting, claiming, settling. The payload is a real one of 1.4 KB. The
//! store is new and on the disk of the temporary folder, whose sync is most of what the small groups cost.
//!
//! What is in a group is asked for at once, as requests and sends do. `round` is both sides of as many deliveries, as
//! under load: accepts of the next beside settlements of the last.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sealpost_core::audit::{Action, By};
use sealpost_core::delivery::{AttemptRecord, State};
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{Chance, DeliveryId, EventId, TenantId, WebhookId};
use sealpost_core::lane::LaneNo;
use sealpost_core::outcome::Outcome;
use sealpost_core::payload::Payload;
use sealpost_core::publish::{BodyKind, parse};
use sealpost_core::settings::WebhookSettings;
use sealpost_core::target_url::{TargetUrl, UrlRules};
use sealpost_core::tenant::Retention;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{Subscription, Webhook, WebhookSecrets};
use sealpost_store::inbox::{Accept, Accepted, NewDelivery, NewEvent};
use sealpost_store::queue::{Next, Settled, Settlement, Want};
use sealpost_store::registry::{NewTenant, NewWebhook};
use sealpost_store::sqlite::{OpenOptions, SqliteStore};
use sealpost_store::vault::{MasterKey, Vault, new_salt};
use sealpost_store::{Inbox as _, Queue as _, Registry as _};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const TYPE: &str = "OpenIdCredentialIssued";

fn now() -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000)
}

/// Rises, so that ids lie beside each other as those of one moment do.
fn chance() -> Chance {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&DRAWN.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

fn payload() -> Payload {
    let line = include_str!("../../../fixtures/real-events.jsonl").lines().nth(1).unwrap();
    parse(BodyKind::Json, line.as_bytes()).unwrap().events.remove(0).payload
}

/// A store with one tenant and one webhook.
struct World {
    runtime: Runtime,
    store: Arc<SqliteStore>,
    webhook: Webhook,
    registry_version: i64,
    payload: Payload,
    _folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(OpenOptions::new(folder.path().join("sealpost.db"))).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (webhook, registry_version) = runtime.block_on(async {
            let tenant = NewTenant {
                id: TenantId::new(now(), chance()),
                name: "one".into(),
                subdomain: "one".parse().unwrap(),
                retention: Retention::default(),
                created_at: now(),
                keys: Vec::new(),
            };
            let tenant = store
                .create_tenant(tenant, By::new("bench", Action::CreateWebhook, Timestamp::from_millis(0)))
                .await
                .unwrap()
                .unwrap()
                .no;
            let webhook = NewWebhook {
                id: WebhookId::new(now(), chance()),
                tenant,
                dialect: Dialect::Mattr,
                subscription: Subscription::Types(vec![EventTypeName::parse(TYPE).unwrap()]),
                url: TargetUrl::parse("https://example.com/hook", &UrlRules::default()).unwrap(),
                disabled: false,
                settings: WebhookSettings::default(),
                secrets: WebhookSecrets::default(),
                created_at: now(),
                at_most: 1000,
            };
            let webhook = store
                .create_webhook(webhook, By::new("bench", Action::CreateWebhook, Timestamp::from_millis(0)))
                .await
                .unwrap()
                .unwrap();
            (webhook, store.registry_delta(tenant, 0).await.unwrap().version)
        });
        Self {
            runtime,
            store: Arc::new(store),
            webhook,
            registry_version,
            payload: payload(),
            _folder: folder,
        }
    }

    /// One request with `events` events, each for the one webhook.
    fn request(&self, events: usize, claim: bool) -> Accept {
        let event = |_| NewEvent {
            id: EventId::new(now(), chance()),
            id_given: false,
            event_type: EventTypeName::parse(TYPE).unwrap(),
            timestamp: now(),
            payload: self.payload.clone(),
            content: [7; 32],
            subjects: Vec::new(),
            test: false,
            deliveries: vec![NewDelivery {
                id: DeliveryId::new(now(), chance()),
                webhook: self.webhook.no,
                lane_epoch: self.webhook.lane_epoch,
                claim,
                cancelled: None,
            }],
            derived: None,
        };
        Accept {
            tenant: self.webhook.tenant,
            registry_version: self.registry_version,
            now: now(),
            events: (0..events).map(event).collect(),
            keys: Vec::new(),
        }
    }

    /// Requests of one event, whose delivery is sent at once.
    fn requests(&self, count: usize) -> Vec<Accept> {
        (0..count).map(|_| self.request(1, true)).collect()
    }

    /// Accepts deliveries and gives what is written after each was sent.
    fn sent(&self, count: usize) -> Vec<Settlement> {
        let accepted = self.runtime.block_on(self.store.accept(self.request(count, true)));
        let Ok(Accepted::Events(events)) = accepted else { panic!("{accepted:?}") };
        let settlement = |ticket| Settlement {
            ticket,
            attempt: AttemptRecord {
                number: 1,
                started_at: now(),
                took_ms: 100,
                outcome: Outcome::Delivered,
                http_status: Some(200),
                error: None,
                excerpt: None,
            },
            next: Next::End(State::Delivered),
            alert_after: 5,
        };
        events.into_iter().flat_map(|event| event.claims).map(settlement).collect()
    }

    /// Asks for all of it at once and waits for every answer.
    fn together(&self, settlements: Vec<Settlement>, requests: Vec<Accept>) {
        let mut asked = JoinSet::new();
        let on = self.runtime.handle();
        for settlement in settlements {
            let store = Arc::clone(&self.store);
            let settle = async move {
                let settled = store.settle(vec![settlement]).await.unwrap();
                assert!(matches!(settled[..], [Settled::Settled { state: State::Delivered, .. }]));
            };
            asked.spawn_on(settle, on);
        }
        if requests.is_empty() {
            // Settlements alone would wait up to 5 ms for company, or not, by chance. A claim of nothing is company.
            let store = Arc::clone(&self.store);
            let company = async move { assert!(store.claim(Vec::new(), now(), 0).await.unwrap().is_empty()) };
            asked.spawn_on(company, on);
        }
        for request in requests {
            let store = Arc::clone(&self.store);
            let accept =
                async move { assert!(matches!(store.accept(request).await, Ok(Accepted::Events(_)))) };
            asked.spawn_on(accept, on);
        }
        self.runtime.block_on(asked.join_all());
    }
}

/// One bench for each size of a group, each in a store of its own.
fn in_groups<T>(
    c: &mut Criterion,
    name: &str,
    prepare: impl Fn(&World, usize) -> T,
    run: impl Fn(&World, T),
) {
    let mut group = c.benchmark_group(name);
    for count in [1, 16, 64] {
        let world = World::new();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter_batched(|| prepare(&world, count), |ready| run(&world, ready), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn accepting(c: &mut Criterion) {
    in_groups(c, "accept", World::requests, |world, requests| world.together(Vec::new(), requests));
}

/// One call for all of them, as the engine's one loop claims.
fn claiming(c: &mut Criterion) {
    let waiting = |world: &World, count| {
        let accepted = world.runtime.block_on(world.store.accept(world.request(count, false)));
        assert!(matches!(accepted, Ok(Accepted::Events(_))));
        count
    };
    in_groups(c, "claim", waiting, |world, count| {
        let want = Want { lane: LaneNo::ordinary(world.webhook.no), most: count as u32 };
        let claimed = world.runtime.block_on(world.store.claim(vec![want], now(), usize::MAX)).unwrap();
        assert_eq!(claimed[0].claims.len(), count);
    });
}

fn settling(c: &mut Criterion) {
    in_groups(c, "settle", World::sent, |world, sent| world.together(sent, Vec::new()));
    let both = |world: &World, count| (world.sent(count), world.requests(count));
    in_groups(c, "round", both, |world, (sent, requests)| world.together(sent, requests));
}

fn sealing(c: &mut Criterion) {
    let vault = Vault::new(MasterKey::from_bytes([1; 32]));
    let (key, _) = vault.new_tenant_key(TenantId::new(now(), chance()));
    let (event, payload, salt, hasher) = (EventId::new(now(), chance()), payload(), new_salt(), key.hasher());
    let sealed = key.seal_payload(event, &salt, &payload);
    let mut group = c.benchmark_group("vault");
    group.bench_function("seal", |b| b.iter(|| key.seal_payload(event, &new_salt(), black_box(&payload))));
    group.bench_function("open", |b| b.iter(|| key.open_payload(event, &salt, black_box(&sealed)).unwrap()));
    group.bench_function("content hash", |b| {
        b.iter(|| hasher.content(TYPE, black_box(payload.as_str()), None))
    });
    group.finish();
}

criterion_group!(hot, sealing, accepting, claiming, settling);
criterion_main!(hot);
