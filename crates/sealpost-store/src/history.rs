//! Reading back: events, deliveries, attempts, payloads; and making deliveries again from them.

use async_trait::async_trait;

use serde_json::Value;

use sealpost_core::analytics::{AnalyticFilter, AnalyticType, RequestId};
use sealpost_core::audit::By;
use sealpost_core::delivery::{AttemptRecord, DeliveryRecord, State, Status};
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{AnalyticId, ClientId, DeliveryId, EventId, TenantNo, WebhookId, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::payload::Payload;
use sealpost_core::time::Timestamp;

use crate::audit::Change;
use crate::error::StoreError;
use crate::inbox::DerivedEvent;
use crate::page::{Page, PageRequest};

#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub event_type: Option<EventTypeName>,
    /// By acceptance; both inclusive.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    pub id: EventId,
    pub event_type: EventTypeName,
    pub timestamp: Timestamp,
    pub accepted_at: Timestamp,
    pub derived: Vec<DerivedEvent>,
    pub deliveries: Vec<EventDelivery>,
    pub payload: PayloadState,
    pub test: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventDelivery {
    pub id: DeliveryId,
    pub webhook: WebhookId,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadState {
    Kept,
    /// Retention removed it.
    Pruned,
    Erased,
}

#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub webhook: Option<WebhookId>,
    pub event: Option<EventId>,
    pub status: Option<Status>,
    pub event_type: Option<EventTypeName>,
    /// By creation; both inclusive.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryDetail {
    pub delivery: DeliveryRecord,
    pub attempts: Vec<AttemptRecord>,
}

/// What pictures of deliveries are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryMeasure {
    pub created_at: Timestamp,
    pub status: Status,
    /// Of the first attempt, which nearly all deliveries end with.
    pub took_ms: Option<u32>,
}

/// The answer to a single redelivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Redelivered {
    /// A new, waiting delivery of the same event.
    Created {
        id: DeliveryId,
        lane: LaneNo,
    },
    /// Unknown delivery.
    NotFound,
    PayloadGone,
    /// The webhook is disabled or deleted.
    WebhookUnavailable,
}

/// Which deliveries of a webhook a bulk redelivery makes again.
#[derive(Clone, Debug)]
pub struct BulkFilter {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub status: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkRedelivery {
    /// This many deliveries will be made, in the webhook's replay lane, by upkeep. On a dry run: would be.
    Counted {
        count: u64,
        lane: LaneNo,
    },
    NotFound,
    WebhookUnavailable,
}

/// Whether the payload of an event can be read.
#[derive(Clone, Debug)]
pub enum PayloadRead {
    Payload(Payload),
    Gone(PayloadState),
    NotFound,
}

/// Who did what to which thing; never content.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Its number in the store; a tenant's own numbers have gaps.
    pub no: i64,
    pub at: Timestamp,
    pub who: String,
    pub what: String,
    pub object: String,
    pub change: Change,
}

/// One analytic event as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalyticRecord {
    pub id: AnalyticId,
    pub at: Timestamp,
    pub kind: AnalyticType,
    pub request: RequestId,
    pub facts: AnalyticFacts,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AnalyticFacts {
    Call {
        client: Option<ClientId>,
        data: Option<Value>,
    },
    Received {
        event: EventId,
        event_type: EventTypeName,
        timestamp: Timestamp,
        /// Of the stored payload's text.
        payload_bytes: u64,
    },
    Attempted {
        event: EventId,
        event_type: EventTypeName,
        delivery: DeliveryId,
        webhook: WebhookId,
        attempt: AttemptRecord,
        /// Of the delivery now.
        state: State,
    },
}

#[async_trait]
pub trait History: Send + Sync {
    /// Newest first by (accepted_at, id).
    async fn events(
        &self,
        tenant: TenantNo,
        filter: EventFilter,
        page: PageRequest<EventId>,
    ) -> Result<Page<EventRecord>, StoreError>;
    async fn event(&self, tenant: TenantNo, id: EventId) -> Result<Option<EventRecord>, StoreError>;
    /// The payload of an event as accepted; for a derived event the payload it shares.
    async fn payload(&self, tenant: TenantNo, id: EventId) -> Result<PayloadRead, StoreError>;

    /// Newest first by (created_at, id).
    async fn deliveries(
        &self,
        tenant: TenantNo,
        filter: DeliveryFilter,
        page: PageRequest<DeliveryId>,
    ) -> Result<Page<DeliveryRecord>, StoreError>;
    /// The tenant's deliveries since `from`, newest first, at most `most`; for people, not for decisions.
    async fn delivery_measures(
        &self,
        tenant: TenantNo,
        from: Timestamp,
        most: u32,
    ) -> Result<Vec<DeliveryMeasure>, StoreError>;
    async fn delivery(&self, tenant: TenantNo, id: DeliveryId) -> Result<Option<DeliveryDetail>, StoreError>;

    /// Leaves an entry in the audit log, as every change does.
    async fn redeliver(
        &self,
        tenant: TenantNo,
        source: DeliveryId,
        new: DeliveryId,
        by: By,
    ) -> Result<Redelivered, StoreError>;
    /// A dry run leaves no entry.
    async fn redeliver_all(
        &self,
        tenant: TenantNo,
        webhook: WebhookId,
        filter: BulkFilter,
        dry_run: bool,
        by: By,
    ) -> Result<BulkRedelivery, StoreError>;

    /// Records that a payload or secret was read, and by whom.
    async fn audit(&self, tenant: TenantNo, by: By, object: String) -> Result<(), StoreError>;

    /// The audit log of a tenant, newest first, by number.
    async fn audit_entries(
        &self,
        tenant: TenantNo,
        page: PageRequest<i64>,
    ) -> Result<Page<AuditEntry>, StoreError>;

    /// Newest first by (at, id): recorded calls, and what the rows of events and deliveries tell. An attempt is told
    /// when it has ended.
    async fn analytic_events(
        &self,
        tenant: TenantNo,
        filter: AnalyticFilter,
        page: PageRequest<AnalyticId>,
    ) -> Result<Page<AnalyticRecord>, StoreError>;

    /// Deliveries per state of a webhook, at most `most` rows looked at; for people, not for decisions.
    async fn pending_count(&self, webhook: WebhookNo, most: u32) -> Result<u64, StoreError>;
}
