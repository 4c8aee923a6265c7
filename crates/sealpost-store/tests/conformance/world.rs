//! An open store with one tenant, and short words for what cases do with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sealpost_core::audit::{Action, By};
use sealpost_core::delivery::{AttemptRecord, DeliveryRecord, FailReason, State};
use sealpost_core::dialect::Dialect;
use sealpost_core::domain::{CustomDomain, DisplayName, DomainFacts, DomainName, LogoUrl};
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{Chance, DeliveryId, ErasureId, EventId, TenantId, VerificationToken, WebhookId};
use sealpost_core::key_ring::{KeyRecord, KeyState};
use sealpost_core::lane::LaneNo;
use sealpost_core::outcome::Outcome;
use sealpost_core::payload::Payload;
use sealpost_core::secret::Secret;
use sealpost_core::settings::{RetentionKind, WebhookSettings};
use sealpost_core::tenant::{Retention, Tenant};
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{SigningSecret, Subscription, Webhook, WebhookSecrets};
use sealpost_store::Store;
use sealpost_store::history::{DeliveryDetail, DeliveryFilter, EventFilter, EventRecord, PayloadRead};
use sealpost_store::inbox::{Accept, Accepted, AcceptedEvent, NewDelivery, NewDerived, NewEvent, RepeatKey};
use sealpost_store::page::PageRequest;
use sealpost_store::queue::{Claim, ClaimTicket, Next, Settled, Settlement, Want};
use sealpost_store::registry::{NewTenant, NewWebhook, VerifiedDomain, WebhookChange};
use sealpost_store::upkeep::{Erasure, ErasureScope};
use sealpost_store::vault::TenantHasher;

use super::Backend;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const EVENT_TYPE: &str = "invoice.paid";
/// Who changes things, for the audit log.
pub(crate) const WHO: &str = "client 1";

/// What a case does is done by the same client; which action it says is the case's affair only in the audit cases.
pub(crate) fn by(at: Timestamp) -> By {
    By::new(WHO, Action::ChangeWebhook, at)
}

/// Milliseconds after the beginning of every case.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + ms)
}

pub(crate) fn type_name(text: &str) -> EventTypeName {
    EventTypeName::parse(text).unwrap()
}

/// Chance that never repeats and is the same every run.
pub(crate) fn chance() -> Chance {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&DRAWN.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

pub(crate) fn token() -> VerificationToken {
    VerificationToken::new(at(0), chance())
}

pub(crate) fn facts(domain: &str, name: &str) -> DomainFacts {
    DomainFacts {
        name: DisplayName::parse(name).unwrap(),
        logo_url: LogoUrl::parse("https://example.com/logo.png").unwrap(),
        domain: DomainName::parse(domain, None).unwrap(),
    }
}

pub(crate) fn new_domain(tenant: &Tenant, domain: &str) -> CustomDomain {
    CustomDomain { tenant: tenant.no, facts: facts(domain, "Acme"), token: token(), verified_at: None }
}

pub(crate) fn ordinary(webhook: &Webhook) -> LaneNo {
    LaneNo::ordinary(webhook.no)
}

pub(crate) fn replay(webhook: &Webhook) -> LaneNo {
    LaneNo::replay(webhook.no)
}

pub(crate) struct World<B> {
    pub(crate) backend: B,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tenant: Tenant,
    pub(crate) hasher: Arc<TenantHasher>,
}

impl<B: Backend> World<B> {
    pub(crate) async fn start() -> Self {
        let backend = B::new();
        let store = backend.open();
        let tenant = store.create_tenant(new_tenant("one"), by(at(0))).await.unwrap().unwrap();
        let hasher = store.hasher(tenant.no).await.unwrap().unwrap();
        Self { backend, store, tenant, hasher }
    }

    /// Closes the store and opens it again, as a restart does. Claims stay as they are.
    pub(crate) async fn reopen(self) -> Self {
        self.store.close().await.unwrap();
        let Self { backend, store, tenant, hasher } = self;
        drop(store);
        let store = backend.open();
        Self { backend, store, tenant, hasher }
    }

    /// The same store as another tenant sees it.
    pub(crate) async fn other_tenant(&self) -> (Tenant, Arc<TenantHasher>) {
        let tenant = self.store.create_tenant(new_tenant("two"), by(at(0))).await.unwrap().unwrap();
        let hasher = self.store.hasher(tenant.no).await.unwrap().unwrap();
        (tenant, hasher)
    }

    // --- webhooks -----------------------------------------------------------------------------------------

    pub(crate) async fn webhook(&self) -> Webhook {
        self.webhook_with(WebhookSettings::default(), at(0)).await
    }

    pub(crate) async fn forgetful_webhook(&self) -> Webhook {
        self.webhook_with(
            WebhookSettings { retention: RetentionKind::None, ..WebhookSettings::default() },
            at(0),
        )
        .await
    }

    pub(crate) async fn webhook_with(&self, settings: WebhookSettings, created_at: Timestamp) -> Webhook {
        let new = NewWebhook { settings, created_at, ..new_webhook(&self.tenant) };
        self.store.create_webhook(new, by(at(0))).await.unwrap().unwrap()
    }

    pub(crate) async fn change(&self, webhook: &Webhook, change: WebhookChange) -> Webhook {
        self.store.change_webhook(self.tenant.no, webhook.id, change, by(at(0))).await.unwrap().unwrap()
    }

    pub(crate) async fn disable(&self, webhook: &Webhook, disabled: bool) -> Webhook {
        self.change(webhook, WebhookChange { disabled: Some(disabled), ..WebhookChange::default() }).await
    }

    // --- domains ------------------------------------------------------------------------------------------

    pub(crate) async fn domain(&self, tenant: &Tenant, name: &str) -> CustomDomain {
        let new = new_domain(tenant, name);
        assert!(self.store.create_domain(new.clone(), by(at(0))).await.unwrap());
        new
    }

    /// As if the TXT record of the domain had been found.
    pub(crate) async fn verify(&self, proven: &CustomDomain, now: Timestamp) -> VerifiedDomain {
        self.store.verify_domain(proven.tenant, proven.token, by(now)).await.unwrap()
    }

    // --- accepting ----------------------------------------------------------------------------------------

    pub(crate) fn event(&self) -> EventMaker {
        EventMaker::new(&self.hasher)
    }

    pub(crate) async fn version(&self) -> i64 {
        self.store.registry_delta(self.tenant.no, 0).await.unwrap().version
    }

    pub(crate) async fn try_accept(
        &self,
        events: Vec<EventMaker>,
        keys: Vec<RepeatKey>,
        now: Timestamp,
    ) -> Accepted {
        let events = events.into_iter().map(EventMaker::finish).collect();
        let request =
            Accept { tenant: self.tenant.no, registry_version: self.version().await, now, events, keys };
        self.store.accept(request).await.unwrap()
    }

    pub(crate) async fn accept_all(&self, events: Vec<EventMaker>, now: Timestamp) -> Vec<AcceptedEvent> {
        match self.try_accept(events, Vec::new(), now).await {
            Accepted::Events(events) => events,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn accept(&self, event: EventMaker, now: Timestamp) -> AcceptedEvent {
        self.accept_all(vec![event], now).await.remove(0)
    }

    /// One event with one delivery to `webhook`, waiting since `now`.
    pub(crate) async fn waiting(&self, webhook: &Webhook, now: Timestamp) -> (EventId, DeliveryId) {
        let event = self.event().to(webhook);
        let delivery = event.first_delivery();
        (self.accept(event, now).await.id, delivery)
    }

    // --- delivering ---------------------------------------------------------------------------------------

    pub(crate) async fn claim_lane(&self, lane: LaneNo, most: u32, now: Timestamp) -> Vec<Claim> {
        let claimed = self.store.claim(vec![Want { lane, most }], now, usize::MAX).await.unwrap();
        let mut claimed = claimed.into_iter();
        let lane_claims = claimed.next().map(|claimed| claimed.claims).unwrap_or_default();
        assert!(claimed.next().is_none(), "one answer for one wanted lane");
        lane_claims
    }

    pub(crate) async fn claim(&self, webhook: &Webhook, now: Timestamp) -> Vec<Claim> {
        self.claim_lane(ordinary(webhook), 1000, now).await
    }

    pub(crate) async fn claim_one(&self, webhook: &Webhook, now: Timestamp) -> ClaimTicket {
        let claims = self.claim(webhook, now).await;
        assert_eq!(claims.len(), 1);
        claims[0].ticket
    }

    pub(crate) async fn settle(&self, settlement: Settlement) -> Settled {
        self.store.settle(vec![settlement]).await.unwrap().remove(0)
    }

    /// Claims what is due of the webhook and settles it with a 200 that took 100 ms.
    pub(crate) async fn deliver_due(&self, webhook: &Webhook, now: Timestamp) -> usize {
        let claims = self.claim(webhook, now).await;
        for claim in &claims {
            let settled = self.settle(delivered(&claim.ticket, now)).await;
            assert!(matches!(settled, Settled::Settled { state: State::Delivered, .. }), "{settled:?}");
        }
        claims.len()
    }

    // --- reading ------------------------------------------------------------------------------------------

    pub(crate) async fn read(&self, event: EventId) -> EventRecord {
        self.store.event(self.tenant.no, event).await.unwrap().unwrap()
    }

    pub(crate) async fn detail(&self, delivery: DeliveryId) -> DeliveryDetail {
        self.store.delivery(self.tenant.no, delivery).await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self, delivery: DeliveryId) -> State {
        self.detail(delivery).await.delivery.state
    }

    /// The payload's text, or why there is none.
    pub(crate) async fn payload(&self, event: EventId) -> String {
        match self.store.payload(self.tenant.no, event).await.unwrap() {
            PayloadRead::Payload(payload) => payload.as_str().to_owned(),
            PayloadRead::Gone(state) => format!("{state:?}"),
            PayloadRead::NotFound => "NotFound".into(),
        }
    }

    pub(crate) async fn all_deliveries(&self, filter: DeliveryFilter) -> Vec<DeliveryRecord> {
        let page = PageRequest { limit: 10_000, after: None };
        let page = self.store.deliveries(self.tenant.no, filter, page).await.unwrap();
        assert!(!page.more);
        page.rows
    }

    pub(crate) async fn all_events(&self, filter: EventFilter) -> Vec<EventRecord> {
        let page = PageRequest { limit: 10_000, after: None };
        let page = self.store.events(self.tenant.no, filter, page).await.unwrap();
        assert!(!page.more);
        page.rows
    }

    // --- upkeep -------------------------------------------------------------------------------------------

    /// Sweeps until nothing is left to do; lanes that were woken.
    pub(crate) async fn sweep(&self, now: Timestamp) -> Vec<LaneNo> {
        let mut woken = Vec::new();
        for _ in 0..1000 {
            let swept = self.store.sweep(now).await.unwrap();
            woken.extend(swept.woken);
            if swept.rows == 0 {
                return woken;
            }
        }
        panic!("upkeep does not come to an end");
    }

    pub(crate) async fn erase(&self, scope: ErasureScope, now: Timestamp) -> u64 {
        let id = ErasureId::new(now, chance());
        self.store.erase(Erasure { id, tenant: self.tenant.no, scope, by: by(now) }).await.unwrap()
    }
}

pub(crate) fn new_tenant(name: &str) -> NewTenant {
    let key = |kid: &str, state| KeyRecord {
        kid: format!("{name}-{kid}"),
        public: [1; 32],
        seed: Secret::new([2; 32]),
        created_at: at(0),
        state,
    };
    NewTenant {
        id: TenantId::new(at(0), chance()),
        name: name.to_owned(),
        subdomain: name.parse().unwrap(),
        retention: Retention::default(),
        created_at: at(0),
        keys: vec![key("current", KeyState::Current), key("next", KeyState::Next)],
    }
}

pub(crate) fn new_webhook(tenant: &Tenant) -> NewWebhook {
    NewWebhook {
        id: WebhookId::new(at(0), chance()),
        tenant: tenant.no,
        dialect: Dialect::Mattr,
        subscription: Subscription::Types(vec![type_name(EVENT_TYPE)]),
        url: url("https://example.com/hook"),
        disabled: false,
        settings: WebhookSettings::default(),
        secrets: WebhookSecrets {
            signing: vec![SigningSecret { bytes: Secret::new([7; 32]), until: None }],
            token: Some(Secret::new("token".into())),
            headers: vec![("x-key".into(), Secret::new("value".into()))],
        },
        created_at: at(0),
        at_most: 1000,
    }
}

pub(crate) fn url(text: &str) -> sealpost_core::target_url::TargetUrl {
    sealpost_core::target_url::TargetUrl::parse(text, &Default::default()).unwrap()
}

/// A publication of `invoice.paid` on its way to a request.
pub(crate) struct EventMaker {
    event: NewEvent,
    hasher: Arc<TenantHasher>,
}

impl EventMaker {
    pub(crate) fn new(hasher: &Arc<TenantHasher>) -> Self {
        let event = NewEvent {
            id: EventId::new(at(0), chance()),
            id_given: false,
            event_type: type_name(EVENT_TYPE),
            timestamp: at(0),
            payload: Payload::parse(r#"{"id":7}"#).unwrap(),
            content: [0; 32],
            subjects: Vec::new(),
            test: false,
            deliveries: Vec::new(),
            derived: None,
        };
        Self { event, hasher: Arc::clone(hasher) }
    }

    /// As if the publisher had chosen the id.
    pub(crate) fn id(mut self, id: EventId) -> Self {
        self.event.id = id;
        self.event.id_given = true;
        self
    }

    pub(crate) fn payload(mut self, text: &str) -> Self {
        self.event.payload = Payload::parse(text).unwrap();
        self
    }

    pub(crate) fn of_type(mut self, name: &str) -> Self {
        self.event.event_type = type_name(name);
        self
    }

    pub(crate) fn subject(mut self, text: &str) -> Self {
        self.event.subjects.push(self.hasher.subject(text));
        self
    }

    pub(crate) fn test(mut self) -> Self {
        self.event.test = true;
        self
    }

    pub(crate) fn to(mut self, webhook: &Webhook) -> Self {
        self.event.deliveries.push(new_delivery(webhook));
        self
    }

    /// To a webhook whose permits are at hand.
    pub(crate) fn claimed_to(mut self, webhook: &Webhook) -> Self {
        self.event.deliveries.push(NewDelivery { claim: true, ..new_delivery(webhook) });
        self
    }

    pub(crate) fn cancelled_to(
        mut self,
        webhook: &Webhook,
        reason: sealpost_core::delivery::CancelReason,
    ) -> Self {
        self.event.deliveries.push(NewDelivery { cancelled: Some(reason), ..new_delivery(webhook) });
        self
    }

    pub(crate) fn derived_to(mut self, name: &str, webhook: &Webhook) -> Self {
        let id = self.hasher.derived_event(self.event.id);
        self.event.derived =
            Some(NewDerived { id, event_type: type_name(name), deliveries: vec![new_delivery(webhook)] });
        self
    }

    pub(crate) fn event_id(&self) -> EventId {
        self.event.id
    }

    pub(crate) fn first_delivery(&self) -> DeliveryId {
        self.event.deliveries[0].id
    }

    pub(crate) fn content(&self) -> [u8; 32] {
        self.hasher.content(self.event.event_type.as_str(), self.event.payload.as_str(), None)
    }

    pub(crate) fn finish(mut self) -> NewEvent {
        self.event.content = self.content();
        self.event
    }
}

pub(crate) fn new_delivery(webhook: &Webhook) -> NewDelivery {
    NewDelivery {
        id: DeliveryId::new(at(0), chance()),
        webhook: webhook.no,
        lane_epoch: webhook.lane_epoch,
        claim: false,
        cancelled: None,
    }
}

// --- settlements --------------------------------------------------------------------------------------------

fn attempt(
    ticket: &ClaimTicket,
    outcome: Outcome,
    http_status: Option<u16>,
    now: Timestamp,
) -> AttemptRecord {
    AttemptRecord {
        number: ticket.attempt,
        started_at: now,
        took_ms: 100,
        outcome,
        http_status,
        error: None,
        excerpt: None,
    }
}

pub(crate) fn delivered(ticket: &ClaimTicket, now: Timestamp) -> Settlement {
    Settlement {
        ticket: *ticket,
        attempt: attempt(ticket, Outcome::Delivered, Some(200), now),
        next: Next::End(State::Delivered),
        alert_after: 3,
    }
}

/// A 503, and another try later.
pub(crate) fn retried(ticket: &ClaimTicket, now: Timestamp, due: Timestamp) -> Settlement {
    Settlement {
        ticket: *ticket,
        attempt: attempt(ticket, Outcome::HttpStatus, Some(503), now),
        next: Next::RetryAt(due),
        alert_after: 3,
    }
}

/// A time-out, and no try left.
pub(crate) fn failed(ticket: &ClaimTicket, now: Timestamp) -> Settlement {
    Settlement {
        ticket: *ticket,
        attempt: attempt(ticket, Outcome::Timeout, None, now),
        next: Next::End(State::Failed(FailReason::AttemptsExhausted)),
        alert_after: 3,
    }
}

pub(crate) fn unknown(ticket: &ClaimTicket, now: Timestamp, next: Next) -> Settlement {
    Settlement {
        ticket: *ticket,
        attempt: attempt(ticket, Outcome::Unknown, None, now),
        next,
        alert_after: 0,
    }
}
