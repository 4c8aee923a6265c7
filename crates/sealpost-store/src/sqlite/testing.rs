//! What the tests of this backend share: a store in a fresh folder, a tenant, webhooks and events.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use sealpost_core::audit::{Action, By};
use sealpost_core::delivery::AttemptRecord;
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{DeliveryId, EventId, TenantId, TenantNo, WebhookId};
use sealpost_core::lane::LaneNo;
use sealpost_core::outcome::Outcome;
use sealpost_core::payload::Payload;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::target_url::{TargetUrl, UrlRules};
use sealpost_core::tenant::Retention;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{Subscription, Webhook, WebhookSecrets};
use tempfile::TempDir;

use super::{OpenOptions, SqliteStore};
use crate::error::StoreError;
use crate::inbox::{Accept, Accepted, AcceptedEvent, Inbox, NewDelivery, NewEvent};
use crate::queue::{Claim, ClaimTicket, Next, Queue, Settlement, Want};
use crate::registry::{NewTenant, NewWebhook, Registry, WebhookChange};

pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

pub(super) fn by(at: Timestamp) -> By {
    By::new("client 1", Action::ChangeWebhook, at)
}

/// Sixteen bytes nobody else got.
pub(super) fn fresh() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

/// A folder and the options for a store in it.
pub(super) fn folder() -> (TempDir, OpenOptions) {
    let folder = tempfile::tempdir().unwrap();
    let options =
        OpenOptions { disk_reserve_bytes: 0, ..OpenOptions::new(folder.path().join("sealpost.db")) };
    (folder, options)
}

pub(super) struct Fixture {
    pub(super) store: SqliteStore,
    pub(super) tenant: TenantNo,
    pub(super) options: OpenOptions,
    folder: TempDir,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let (folder, options) = folder();
        let store = SqliteStore::open(options.clone()).unwrap();
        let tenant = store.create_tenant(new_tenant("acme"), by(at(0))).await.unwrap().unwrap();
        Self { store, tenant: tenant.no, options, folder }
    }

    /// The process ends without a word and starts again.
    pub(super) fn restart(self, change: impl FnOnce(&mut OpenOptions)) -> Self {
        let Self { store, tenant, mut options, folder } = self;
        drop(store);
        change(&mut options);
        Self { store: SqliteStore::open(options.clone()).unwrap(), tenant, options, folder }
    }

    pub(super) async fn webhook(&self, settings: WebhookSettings) -> Webhook {
        self.store.create_webhook(new_webhook(self.tenant, settings), by(at(0))).await.unwrap().unwrap()
    }

    pub(super) async fn disable(&self, webhook: &Webhook, disabled: bool) {
        let change = WebhookChange { disabled: Some(disabled), ..WebhookChange::default() };
        self.store.change_webhook(self.tenant, webhook.id, change, by(at(0))).await.unwrap().unwrap();
    }

    pub(super) async fn version(&self) -> i64 {
        self.store.registry_delta(self.tenant, 0).await.unwrap().version
    }

    pub(super) async fn request(&self, events: Vec<NewEvent>) -> Accept {
        Accept {
            tenant: self.tenant,
            registry_version: self.version().await,
            now: at(0),
            events,
            keys: Vec::new(),
        }
    }

    pub(super) async fn try_accept(&self, events: Vec<NewEvent>) -> Result<Accepted, StoreError> {
        self.store.accept(self.request(events).await).await
    }

    pub(super) async fn accept(&self, events: Vec<NewEvent>) -> Vec<AcceptedEvent> {
        match self.try_accept(events).await.unwrap() {
            Accepted::Events(events) => events,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn claim(&self, webhook: &Webhook, now: Timestamp) -> Vec<Claim> {
        let want = Want { lane: LaneNo::ordinary(webhook.no), most: 100 };
        self.store.claim(vec![want], now, 64 * 1024 * 1024).await.unwrap().remove(0).claims
    }

    pub(super) fn count(&self, sql: &str) -> i64 {
        let conn = rusqlite::Connection::open(&self.options.path).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

pub(super) fn new_tenant(name: &str) -> NewTenant {
    NewTenant {
        id: TenantId::from_bytes(fresh()),
        name: name.into(),
        subdomain: name.parse().unwrap(),
        retention: Retention::default(),
        created_at: at(0),
        keys: Vec::new(),
    }
}

pub(super) fn new_webhook(tenant: TenantNo, settings: WebhookSettings) -> NewWebhook {
    NewWebhook {
        id: WebhookId::from_bytes(fresh()),
        tenant,
        dialect: Dialect::Mattr,
        subscription: Subscription::Types(vec![type_name()]),
        url: TargetUrl::parse("https://example.com", &UrlRules::default()).unwrap(),
        disabled: false,
        settings,
        secrets: WebhookSecrets::default(),
        created_at: at(0),
        at_most: 1000,
    }
}

pub(super) fn type_name() -> EventTypeName {
    EventTypeName::parse("OpenIdCredentialIssued").unwrap()
}

pub(super) fn event(deliveries: Vec<NewDelivery>) -> NewEvent {
    static CONTENT: AtomicU8 = AtomicU8::new(1);
    NewEvent {
        id: EventId::from_bytes(fresh()),
        id_given: true,
        event_type: type_name(),
        timestamp: at(-5),
        payload: Payload::parse(r#"{"credential":"canary"}"#).unwrap(),
        content: [CONTENT.fetch_add(1, Ordering::Relaxed); 32],
        subjects: Vec::new(),
        test: false,
        deliveries,
        derived: None,
    }
}

pub(super) fn waiting(webhook: &Webhook) -> NewDelivery {
    NewDelivery {
        id: DeliveryId::from_bytes(fresh()),
        webhook: webhook.no,
        lane_epoch: webhook.lane_epoch,
        claim: false,
        cancelled: None,
    }
}

pub(super) fn claimed(webhook: &Webhook) -> NewDelivery {
    NewDelivery { claim: true, ..waiting(webhook) }
}

pub(super) fn settlement(ticket: ClaimTicket, outcome: Outcome, next: Next) -> Settlement {
    Settlement {
        ticket,
        attempt: AttemptRecord {
            number: ticket.attempt,
            started_at: at(10),
            took_ms: 7,
            outcome,
            http_status: None,
            error: None,
            excerpt: None,
        },
        next,
        alert_after: 2,
    }
}
