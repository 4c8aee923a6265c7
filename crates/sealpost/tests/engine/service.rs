//! A whole service without network: store on disk, engine, scripted egress, manual clock.

use std::sync::Arc;
use std::time::Duration;

use sealpost::app::lanes::Caps;
use sealpost::app::starts::StartMarks;
use sealpost::app::webhooks::WebhookInput;
use sealpost::app::{App, AppConfig};
use sealpost::clock::{Clock, ManualClock};
use sealpost::engine::{Engine, TakenUp};
use sealpost_core::delivery::Status;
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{DeliveryId, EventId, TenantNo};
use sealpost_core::payload::Payload;
use sealpost_core::publish::{BodyKind, parse};
use sealpost_core::settings::{ServerDefaults, WebhookSettings};
use sealpost_core::target_url::{TargetUrl, UrlPolicy, UrlRules};
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{Subscription, Webhook};
use sealpost_egress::Scripted;
use sealpost_store::Store;
use sealpost_store::history::DeliveryFilter;
use sealpost_store::inbox::{Accept, Accepted, AcceptedEvent, NewDelivery, NewEvent};
use sealpost_store::page::PageRequest;
use sealpost_store::sqlite::{OpenOptions, SqliteStore};
use tempfile::TempDir;

/// 2026-01-02T03:04:05.000Z
pub(crate) const START_MS: i64 = 1_767_323_045_000;

pub(crate) struct Service {
    pub(crate) app: App,
    pub(crate) out: Arc<Scripted>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) tenant: TenantNo,
    pub(crate) taken_up: TakenUp,
    engine: Option<Engine>,
    folder: Arc<TempDir>,
}

pub(crate) fn rules() -> UrlRules {
    UrlRules { policy: UrlPolicy::Strict, allow_localhost: false, plain_http_loopback: false }
}

impl Service {
    pub(crate) async fn start(out: Scripted) -> Self {
        Self::start_rotating(out, None).await
    }

    pub(crate) async fn start_rotating(out: Scripted, every: Option<Duration>) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START_MS)));
        Self::on(folder, Arc::new(out), clock, every).await
    }

    async fn on(
        folder: Arc<TempDir>,
        out: Arc<Scripted>,
        clock: Arc<ManualClock>,
        rotate_every: Option<Duration>,
    ) -> Self {
        let store = SqliteStore::open(OpenOptions::new(folder.path().join("sealpost.db"))).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let config = AppConfig {
            defaults: ServerDefaults::default(),
            url_rules: rules(),
            public_url: "https://issuer.example".into(),
            base_domain: None,
            bootstrap_api_key: None,
            quota: sealpost_core::quota::Quota::default(),
            analytics_retention: Some(Duration::from_secs(30 * 86_400)),
            publish_ahead: Duration::from_secs(86_400),
            rotate_every,
        };
        let dyn_clock: Arc<dyn Clock> = clock.clone();
        let (app, ready) = App::new(store, dyn_clock, Caps::default(), config);
        let app = app.with_starts(StartMarks::open(folder.path(), "this boot").unwrap());
        let tenant = app.ensure_default_tenant().await.unwrap().no;
        let (engine, taken_up) = Engine::start(app.clone(), ready, out.clone()).await.unwrap();
        Self { app, out, clock, tenant, taken_up, engine: Some(engine), folder }
    }

    pub(crate) async fn stop(mut self) {
        let engine = self.engine.take().unwrap();
        assert!(engine.drain(Duration::from_secs(10)).await, "the drain ends in time");
        self.app.store.close().await.unwrap();
    }

    /// As SIGTERM leaves it, and the next process.
    pub(crate) async fn drained_and_restarted(mut self, out: Scripted) -> Self {
        assert!(self.engine.take().unwrap().drain(Duration::from_secs(10)).await, "the drain ends in time");
        self.app.store.close().await.unwrap();
        let (folder, clock) = (self.folder.clone(), self.clock.clone());
        drop(self);
        Self::on(folder, Arc::new(out), clock, None).await
    }

    /// As `kill -9` leaves it: whatever was claimed stays claimed. Then the next process, with other receivers.
    pub(crate) async fn killed_and_restarted(mut self, out: Scripted) -> Self {
        // Dropping the engine's tasks would settle nothing; draining with no time aborts them where they stand.
        self.engine.take().unwrap().drain(Duration::ZERO).await;
        self.app.store.close().await.unwrap();
        let (folder, clock) = (self.folder.clone(), self.clock.clone());
        drop(self);
        Self::on(folder, Arc::new(out), clock, None).await
    }

    pub(crate) async fn webhook(&self, url: &str, types: &[&str]) -> Webhook {
        self.webhook_with(url, types, Dialect::Mattr, WebhookSettings::default()).await
    }

    pub(crate) async fn webhook_with(
        &self,
        url: &str,
        types: &[&str],
        dialect: Dialect,
        settings: WebhookSettings,
    ) -> Webhook {
        self.app
            .create_webhook(self.tenant, dialect, input(url, types, false), settings, "test")
            .await
            .unwrap()
    }

    pub(crate) async fn publish(&self, event_type: &str, payload: &str) -> AcceptedEvent {
        let body = format!(r#"{{"type":"{event_type}","payload":{payload}}}"#);
        let publications = parse(BodyKind::Json, body.as_bytes()).unwrap();
        self.app.publish(self.tenant, publications, None).await.unwrap().events.remove(0)
    }

    /// Stores an event with its delivery claimed, as accepting does, and dies before anything began.
    pub(crate) async fn publish_claimed_and_left(&self, event_type: &str) -> EventId {
        let entry = self.app.tenant(self.tenant).await.unwrap();
        let event_type = entry.event_type(event_type).unwrap();
        let (version, matched) = entry.matching(&[&event_type.event_type]);
        let now = self.clock.now();
        let deliveries = matched[0].iter().map(|target| NewDelivery {
            id: DeliveryId::new(now, self.clock.chance()),
            webhook: target.webhook.no,
            lane_epoch: target.webhook.lane_epoch,
            claim: true,
            cancelled: None,
        });
        let payload = Payload::parse("{}").unwrap();
        let event = NewEvent {
            id: EventId::new(now, self.clock.chance()),
            id_given: false,
            event_type: event_type.event_type.name.clone(),
            timestamp: now,
            content: entry.hasher.content(event_type.event_type.name.as_str(), payload.as_str(), None),
            payload,
            subjects: Vec::new(),
            test: false,
            deliveries: deliveries.collect(),
            derived: None,
        };
        let id = event.id;
        let accept = Accept {
            tenant: self.tenant,
            registry_version: version,
            now,
            events: vec![event],
            keys: Vec::new(),
        };
        assert!(matches!(self.app.store.accept(accept).await.unwrap(), Accepted::Events(_)));
        id
    }

    pub(crate) async fn publish_many(&self, event_type: &str, count: usize) {
        for chunk in 0..count.div_ceil(1000) {
            let n = (count - chunk * 1000).min(1000);
            let one = format!(r#"{{"type":"{event_type}","payload":{{"n":1}}}}"#);
            let body = format!("[{}]", vec![one; n].join(","));
            let publications = parse(BodyKind::Json, body.as_bytes()).unwrap();
            self.app.publish(self.tenant, publications, None).await.unwrap();
        }
    }

    pub(crate) async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.app.lanes.ring();
    }

    /// Waits (in real time, bounded) until the condition holds.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let began = tokio::time::Instant::now();
        while !holds(self).await {
            assert!(began.elapsed() < Duration::from_secs(20), "never happened: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn count(&self, status: Status) -> usize {
        let filter = DeliveryFilter { status: Some(status), ..DeliveryFilter::default() };
        let page = PageRequest { limit: 1000, after: None };
        self.app.deliveries(self.tenant, filter, page).await.unwrap().rows.len()
    }

    pub(crate) async fn until_count(&self, status: Status, n: usize) {
        self.until(&format!("{n} {status}"), async |s| s.count(status).await == n).await;
    }

    /// Attempts of the event's deliveries as lines, relative to the start of the test.
    pub(crate) async fn timeline(&self, event: EventId) -> String {
        let filter = DeliveryFilter { event: Some(event), ..DeliveryFilter::default() };
        let page = PageRequest { limit: 100, after: None };
        let mut text = String::new();
        for row in self.app.deliveries(self.tenant, filter, page).await.unwrap().rows {
            let detail = self.app.delivery(self.tenant, row.id).await.unwrap().unwrap();
            for attempt in &detail.attempts {
                let at = (attempt.started_at.millis() - START_MS) / 1000;
                let status = attempt.http_status.map(|s| format!(" {s}")).unwrap_or_default();
                text += &format!("+{at}s attempt {}: {}{status}\n", attempt.number, attempt.outcome);
            }
            let reason = detail.delivery.state.reason().map(|r| format!(" ({r})")).unwrap_or_default();
            text += &format!("{}{reason}\n", detail.delivery.state.status());
        }
        text
    }

    pub(crate) async fn attempts_at(&self, event: EventId, n: usize) {
        self.until(&format!("{n} attempts stored"), async |s| {
            s.timeline(event).await.lines().filter(|line| line.contains("attempt")).count() == n
        })
        .await;
    }
}

pub(crate) fn input(url: &str, types: &[&str], disabled: bool) -> WebhookInput {
    WebhookInput {
        subscription: Subscription::Types(types.iter().map(|t| EventTypeName::parse(t).unwrap()).collect()),
        url: TargetUrl::parse(url, &rules()).unwrap(),
        disabled,
    }
}
