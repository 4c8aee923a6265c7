//! The history role: lists, single rows, payloads, and redelivery.
//!
//! Lists are by time, then number, newest first, straight from an index: numbers are no order of commits here, so there
//! is no index that is filled behind. A page is read in bounded steps, however little its filter lets through.

mod analytics;
mod deliveries;
mod events;
mod redelivery;

use async_trait::async_trait;

use sealpost_core::analytics::AnalyticFilter;
use sealpost_core::audit::By;
use sealpost_core::delivery::DeliveryRecord;
use sealpost_core::id::{AnalyticId, DeliveryId, EventId, TenantNo, WebhookId, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use super::PostgresStore;
use super::audit as log;
use super::count;
use super::pool::{Columns as _, reading, transaction};
use crate::audit::Change;
use crate::error::StoreError;
use crate::history::{
    AnalyticRecord, AuditEntry, BulkFilter, BulkRedelivery, DeliveryDetail, DeliveryFilter, DeliveryMeasure,
    EventFilter, EventRecord, History, PayloadRead, Redelivered,
};
use crate::page::{Page, PageRequest};

pub(super) use redelivery::{Again, CHOSEN, insert};

/// Candidates looked at in one statement; a few milliseconds.
const STEP: i64 = 1000;

#[async_trait]
impl History for PostgresStore {
    async fn events(
        &self,
        tenant: TenantNo,
        filter: EventFilter,
        page: PageRequest<EventId>,
    ) -> Result<Page<EventRecord>, StoreError> {
        reading!(self.shared, |conn| events::list(conn, tenant, &filter, &page).await)
    }

    async fn event(&self, tenant: TenantNo, id: EventId) -> Result<Option<EventRecord>, StoreError> {
        reading!(self.shared, |conn| events::one(conn, tenant, id).await)
    }

    async fn payload(&self, tenant: TenantNo, id: EventId) -> Result<PayloadRead, StoreError> {
        let Some(key) = self.shared.tenant_key(tenant).await? else { return Ok(PayloadRead::NotFound) };
        reading!(self.shared, |conn| events::payload(conn, tenant, id, &key).await)
    }

    async fn deliveries(
        &self,
        tenant: TenantNo,
        filter: DeliveryFilter,
        page: PageRequest<DeliveryId>,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        reading!(self.shared, |conn| deliveries::list(conn, tenant, &filter, &page).await)
    }

    async fn delivery_measures(
        &self,
        tenant: TenantNo,
        from: Timestamp,
        most: u32,
    ) -> Result<Vec<DeliveryMeasure>, StoreError> {
        reading!(self.shared, |conn| deliveries::measures(conn, tenant, from, most).await)
    }

    async fn delivery(&self, tenant: TenantNo, id: DeliveryId) -> Result<Option<DeliveryDetail>, StoreError> {
        let Some(key) = self.shared.tenant_key(tenant).await? else { return Ok(None) };
        reading!(self.shared, |conn| deliveries::one(conn, tenant, id, &key).await)
    }

    async fn redeliver(
        &self,
        tenant: TenantNo,
        source: DeliveryId,
        new: DeliveryId,
        by: By,
    ) -> Result<Redelivered, StoreError> {
        let made =
            transaction!(self.shared, |conn| redelivery::one(conn, &self.shared, tenant, source, new, &by)
                .await)?;
        count(&self.shared.tally.delivery_writes, matches!(made, Redelivered::Created { .. }).into());
        Ok(made)
    }

    async fn redeliver_all(
        &self,
        tenant: TenantNo,
        webhook: WebhookId,
        filter: BulkFilter,
        dry_run: bool,
        by: By,
    ) -> Result<BulkRedelivery, StoreError> {
        let counted =
            reading!(self.shared, |conn| redelivery::Count::make(conn, tenant, webhook, &filter, &by).await)?;
        let counted = match counted {
            Ok(counted) => counted,
            Err(refused) => return Ok(refused),
        };
        if dry_run {
            return Ok(counted.answer());
        }
        transaction!(self.shared, |conn| counted.make_job(conn, tenant, webhook, &by).await)
    }

    async fn audit(&self, tenant: TenantNo, by: By, object: String) -> Result<(), StoreError> {
        transaction!(self.shared, |conn| log::insert(conn, tenant, &by, &object, &Change::default()).await)
    }

    async fn audit_entries(
        &self,
        tenant: TenantNo,
        page: PageRequest<i64>,
    ) -> Result<Page<AuditEntry>, StoreError> {
        reading!(self.shared, |conn| log::list(conn, tenant, &page).await)
    }

    async fn analytic_events(
        &self,
        tenant: TenantNo,
        filter: AnalyticFilter,
        page: PageRequest<AnalyticId>,
    ) -> Result<Page<AnalyticRecord>, StoreError> {
        let Some(known) = self.shared.known_tenant(tenant).await? else {
            return Ok(Page { rows: Vec::new(), more: false });
        };
        reading!(self.shared, |conn| analytics::page(conn, tenant, &known.hasher, &filter, &page).await)
    }

    async fn pending_count(&self, webhook: WebhookNo, most: u32) -> Result<u64, StoreError> {
        let lanes = vec![LaneNo::ordinary(webhook).0, LaneNo::replay(webhook).0];
        let sql = "SELECT (SELECT count(*) FROM (SELECT 1 FROM delivery d WHERE d.claimer IS NOT NULL AND d.webhook = $1
                                                 LIMIT $3) in_flight)
                        + (SELECT count(*) FROM (SELECT 1 FROM delivery d JOIN webhook w ON w.no = d.webhook
                                                 WHERE d.lane = ANY($2) AND d.state = 0 AND d.claimer IS NULL
                                                   AND d.due IS NOT NULL AND d.lane_epoch >= w.lane_epoch
                                                 LIMIT $3) waiting)";
        let most = i64::from(most);
        let counted: i64 = reading!(self.shared, |conn| async {
            conn.one(sql, &[&webhook.0, &lanes, &most]).await?.col(0)
        }
        .await)?;
        Ok(counted.min(most).unsigned_abs())
    }
}
