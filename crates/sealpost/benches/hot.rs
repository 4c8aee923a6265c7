//! What a delivery costs in memory between the store and the socket: matching, permits, and the request of one attempt
//! (body, headers, signatures). Webhooks and keys are made the way the service makes them; the event is a real one of
//! 1.5 KB.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use sealpost::app::lanes::table::{Reserved, Table};
use sealpost::app::lanes::{Caps, HookInfo};
use sealpost::app::registry::TenantEntry;
use sealpost::app::webhooks::WebhookInput;
use sealpost::app::{App, AppConfig};
use sealpost::clock::ManualClock;
use sealpost::engine::{Attempt, build};
use sealpost_core::dialect::Dialect;
use sealpost_core::event::Event;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{Chance, EventId, EventNo, TenantNo, WebhookId, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::minimise::PayloadLevel;
use sealpost_core::payload::Payload;
use sealpost_core::publish::{BodyKind, parse};
use sealpost_core::settings::{ServerDefaults, SignatureKind, WebhookSettings};
use sealpost_core::target_url::{TargetUrl, UrlRules};
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::Subscription;
use sealpost_egress::{Gate, OpenGate};
use sealpost_store::sqlite::{OpenOptions, SqliteStore};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const ISSUED: &str = "OpenIdCredentialIssued";
const DELIVERY: &str = "9a8b0b72-5c4f-4925-b101-528edbb5d75d";
const PUBLIC_URL: &str = "https://issuer.example";

fn now() -> Timestamp {
    Timestamp::from_millis(1_767_323_045_000)
}

fn payload() -> Payload {
    let line = include_str!("../../../fixtures/real-events.jsonl").lines().nth(1).unwrap();
    parse(BodyKind::Json, line.as_bytes()).unwrap().events.remove(0).payload
}

fn named(types: &[&str]) -> Vec<EventTypeName> {
    types.iter().map(|name| EventTypeName::parse(name).unwrap()).collect()
}

/// The verbs over a new store with one tenant; nothing is sent.
struct World {
    runtime: Runtime,
    app: App,
    tenant: TenantNo,
    _folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(OpenOptions::new(folder.path().join("sealpost.db"))).unwrap();
        let config = AppConfig {
            defaults: ServerDefaults::default(),
            url_rules: UrlRules::default(),
            public_url: PUBLIC_URL.into(),
            base_domain: None,
            bootstrap_api_key: None,
            quota: sealpost_core::quota::Quota::default(),
            analytics_retention: Some(Duration::from_secs(30 * 86_400)),
            publish_ahead: Duration::from_secs(86_400),
            rotate_every: None,
        };
        let clock = Arc::new(ManualClock::at(now()));
        let (app, _) = App::new(Arc::new(store), clock, Caps::default(), config);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let tenant = runtime.block_on(app.ensure_default_tenant()).unwrap().no;
        Self { runtime, app, tenant, _folder: folder }
    }

    /// Registers `count` webhooks; the id of the last.
    fn webhooks(
        &self,
        count: usize,
        dialect: Dialect,
        subscription: Subscription,
        settings: WebhookSettings,
    ) -> WebhookId {
        let url = TargetUrl::parse("https://hooks.example.com/receiver", &UrlRules::default()).unwrap();
        let input = WebhookInput { subscription, url, disabled: false };
        let made = (0..count)
            .map(|_| self.app.create_webhook(self.tenant, dialect, input.clone(), settings.clone(), "test"));
        let mut made = self.runtime.block_on(join_all(made));
        made.pop().unwrap().unwrap().id
    }

    fn entry(&self) -> Arc<TenantEntry> {
        self.runtime.block_on(self.app.tenant(self.tenant)).unwrap()
    }
}

fn matching(c: &mut Criterion) {
    let world = World::new();
    let settings = WebhookSettings::default;
    let types = |name| Subscription::Types(named(&[name]));
    world.webhooks(1, Dialect::Mattr, types(ISSUED), settings());
    world.webhooks(256, Dialect::Mattr, types("OidcIssuerCredentialIssued"), settings());
    world.webhooks(256, Dialect::Truvera, types("credential_issued"), settings());
    let all = Subscription::ReceiveAll { named: Vec::new() };
    world.webhooks(256, Dialect::Truvera, all, settings());

    let entry = world.entry();
    let mut group = c.benchmark_group("match");
    for (name, event_type, found) in [
        ("1", ISSUED, 1),
        ("256", "OidcIssuerCredentialIssued", 256),
        ("256 of all", "did_create", 256),
        ("256 and 256 of all", "credential_issued", 512),
    ] {
        let event_type = entry.event_type(event_type).unwrap();
        assert_eq!(entry.matching(&[&event_type.event_type]).1[0].len(), found);
        group.bench_function(name, |b| b.iter(|| entry.matching(black_box(&[&event_type.event_type]))));
    }
    group.finish();
}

fn building(c: &mut Criterion) {
    let world = World::new();
    let standard = vec![SignatureKind::HttpMessageSignatures, SignatureKind::StandardWebhooks];
    let with_standard = WebhookSettings { signatures: standard, ..WebhookSettings::default() };
    let summary = WebhookSettings { payload: PayloadLevel::Summary, ..WebhookSettings::default() };
    let webhooks = [
        ("mattr", Dialect::Mattr, WebhookSettings::default()),
        ("mattr summary", Dialect::Mattr, summary),
        ("mattr and standard webhooks v1", Dialect::Mattr, with_standard),
        ("truvera", Dialect::Truvera, WebhookSettings::default()),
    ];
    let webhooks = webhooks.map(|(name, dialect, settings)| {
        (name, world.webhooks(1, dialect, Subscription::Types(named(&[ISSUED])), settings))
    });

    let entry = world.entry();
    let key = entry.keys().signing.clone().unwrap();
    let event_type = entry.event_type(ISSUED).unwrap();
    let (payload, defaults) = (payload(), ServerDefaults::default());
    let event = Event {
        no: EventNo(1),
        id: EventId::new(now(), Chance::default()),
        event_type: event_type.event_type.name.clone(),
        timestamp: now(),
        test: false,
    };
    let gate: Arc<dyn Gate> = Arc::new(OpenGate);
    let mut group = c.benchmark_group("build");
    for (name, id) in webhooks {
        let target = entry.target_by_id(id).unwrap();
        let attempt = Attempt {
            target: &target,
            event: &event,
            payload: &payload,
            summary: &event_type.event_type.summary,
            delivery_id: DELIVERY,
            number: 1,
            key: &key,
            now: now(),
            public_url: PUBLIC_URL,
            defaults: &defaults,
        };
        group.bench_function(name, |b| b.iter(|| build(black_box(&attempt), Arc::clone(&gate)).unwrap()));
    }
    group.finish();
}

/// One permit taken and given back, while so many other webhooks hold one each.
fn permits(c: &mut Criterion) {
    const BYTES: usize = 1500;
    let tenant = TenantNo(1);
    let info = |webhook: i64| HookInfo {
        tenant,
        host: (tenant, format!("hook-{webhook}.example.com").into(), 443),
        max_in_flight: 8,
        rate_per_second: None,
        version: 1,
    };
    let mut group = c.benchmark_group("permit");
    for others in [0, 200] {
        let mut table = Table::new(Caps::default());
        for webhook in 1..=others {
            assert_eq!(table.reserve(WebhookNo(webhook), &info(webhook), BYTES, now()), Reserved::Slot);
        }
        let (webhook, own) = (WebhookNo(1000), info(1000));
        group.bench_function(BenchmarkId::new("among", others), |b| {
            b.iter(|| {
                assert_eq!(table.reserve(black_box(webhook), &own, BYTES, now()), Reserved::Slot);
                table.release(LaneNo::ordinary(webhook), tenant, BYTES);
            });
        });
    }
    group.finish();
}

criterion_group!(hot, matching, building, permits);
criterion_main!(hot);
