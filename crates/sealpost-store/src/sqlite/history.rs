//! The history role: lists, single rows, payloads, and redelivery.
//!
//! A read is one page, or one bounded step towards one, in a transaction of its own. Lists are in the order of
//! acceptance, newest first; a row never moves in them, so that pages neither skip nor repeat while new rows come.

mod analytics;
mod deliveries;
mod events;
mod measures;
mod redelivery;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};

use sealpost_core::analytics::AnalyticFilter;
use sealpost_core::audit::By;
use sealpost_core::delivery::DeliveryRecord;
use sealpost_core::id::{AnalyticId, DeliveryId, EventId, TenantNo, WebhookId, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use crate::audit::Change;
use crate::error::StoreError;
use crate::history::{
    AnalyticRecord, AuditEntry, BulkFilter, BulkRedelivery, DeliveryDetail, DeliveryFilter, DeliveryMeasure,
    EventFilter, EventRecord, History, PayloadRead, Redelivered,
};
use crate::page::{Page, PageRequest};
use crate::registry::Registry as _;
use crate::sqlite::SqliteStore;
use crate::sqlite::audit as log;
use crate::sqlite::writer::{Cost, Kind};

pub(super) use redelivery::{Again, Chosen, insert};

/// A page with fewer rows than were asked for is cut here: so many deliveries of its events are enough.
const DELIVERIES_PER_PAGE: usize = 20_000;
/// Candidates looked at in one read transaction; a few milliseconds.
const STEP: i64 = 1000;

#[async_trait]
impl History for SqliteStore {
    async fn events(
        &self,
        tenant: TenantNo,
        filter: EventFilter,
        page: PageRequest<EventId>,
    ) -> Result<Page<EventRecord>, StoreError> {
        let mut search =
            self.readers.run(move |conn| events::Search::begin(conn, tenant, filter, page)).await?;
        while !search.is_full() {
            search = self.readers.run(move |conn| search.go_on(conn)).await?;
        }
        Ok(search.into_page())
    }

    async fn event(&self, tenant: TenantNo, id: EventId) -> Result<Option<EventRecord>, StoreError> {
        self.readers.run(move |conn| events::one(conn, tenant, id)).await
    }

    async fn payload(&self, tenant: TenantNo, id: EventId) -> Result<PayloadRead, StoreError> {
        let Some(key) = self.tenant_key(tenant).await? else { return Ok(PayloadRead::NotFound) };
        self.readers.run(move |conn| events::payload(conn, tenant, id, &key)).await
    }

    async fn deliveries(
        &self,
        tenant: TenantNo,
        filter: DeliveryFilter,
        page: PageRequest<DeliveryId>,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        let mut search =
            self.readers.run(move |conn| deliveries::Search::begin(conn, tenant, filter, page)).await?;
        while !search.is_full() {
            search = self.readers.run(move |conn| search.go_on(conn)).await?;
        }
        Ok(search.into_page())
    }

    async fn delivery_measures(
        &self,
        tenant: TenantNo,
        from: Timestamp,
        most: u32,
    ) -> Result<Vec<DeliveryMeasure>, StoreError> {
        let mut measured = measures::Measured::new(tenant, from, most);
        while !measured.is_full() {
            measured = self.readers.run(move |conn| measured.go_on(conn)).await?;
        }
        Ok(measured.found)
    }

    async fn delivery(&self, tenant: TenantNo, id: DeliveryId) -> Result<Option<DeliveryDetail>, StoreError> {
        let Some(key) = self.tenant_key(tenant).await? else { return Ok(None) };
        self.readers.run(move |conn| deliveries::one(conn, tenant, id, &key)).await
    }

    async fn redeliver(
        &self,
        tenant: TenantNo,
        source: DeliveryId,
        new: DeliveryId,
        by: By,
    ) -> Result<Redelivered, StoreError> {
        self.writer
            .run(Kind::Registry, Cost::rows(3), move |conn, ctx| {
                redelivery::one(conn, ctx, tenant, source, new, &by)
            })
            .await
    }

    async fn redeliver_all(
        &self,
        tenant: TenantNo,
        webhook: WebhookId,
        filter: BulkFilter,
        dry_run: bool,
        by: By,
    ) -> Result<BulkRedelivery, StoreError> {
        let begun =
            self.readers.run(move |conn| redelivery::Count::begin(conn, tenant, webhook, &filter)).await?;
        let mut count = match begun {
            Ok(count) => count,
            Err(refused) => return Ok(refused),
        };
        while !count.is_done() {
            count = self.readers.run(move |conn| count.go_on(conn)).await?;
        }
        if dry_run {
            return Ok(count.answer());
        }
        self.writer
            .run(Kind::Registry, Cost::rows(2), move |conn, _| count.make_job(conn, tenant, webhook, &by))
            .await
    }

    async fn audit(&self, tenant: TenantNo, by: By, object: String) -> Result<(), StoreError> {
        let write =
            move |conn: &Connection, _: &mut _| log::insert(conn, tenant, &by, &object, &Change::default());
        self.writer.run(Kind::Registry, Cost::rows(1), write).await
    }

    async fn audit_entries(
        &self,
        tenant: TenantNo,
        page: PageRequest<i64>,
    ) -> Result<Page<AuditEntry>, StoreError> {
        self.readers.run(move |conn| log::list(conn, tenant, page)).await
    }

    async fn analytic_events(
        &self,
        tenant: TenantNo,
        filter: AnalyticFilter,
        page: PageRequest<AnalyticId>,
    ) -> Result<Page<AnalyticRecord>, StoreError> {
        let Some(hasher) = self.hasher(tenant).await? else {
            return Ok(Page { rows: Vec::new(), more: false });
        };
        let mut search = self
            .readers
            .run(move |conn| analytics::Search::begin(conn, tenant, hasher, filter, page))
            .await?;
        while !search.is_done() {
            search = self.readers.run(move |conn| search.go_on(conn)).await?;
        }
        self.readers.run(move |conn| search.into_page(conn)).await
    }

    async fn pending_count(&self, webhook: WebhookNo, most: u32) -> Result<u64, StoreError> {
        self.readers
            .run(move |conn| {
                let epoch: Option<i64> = conn
                    .prepare_cached("SELECT lane_epoch FROM webhook WHERE no = ?1")?
                    .query_row([webhook.0], |row| row.get(0))
                    .optional()?;
                let Some(epoch) = epoch else { return Ok(0) };
                let in_flight: i64 = conn
                    .prepare_cached(
                        "SELECT count(*) FROM delivery WHERE claimer IS NOT NULL AND webhook = ?1",
                    )?
                    .query_row([webhook.0], |row| row.get(0))?;
                let lanes = [LaneNo::ordinary(webhook).0, LaneNo::replay(webhook).0];
                let waiting: i64 = conn
                    .prepare_cached(
                        "SELECT count(*) FROM (
                             SELECT 1 FROM delivery
                             WHERE lane IN (?1, ?2) AND state = 0 AND claimer IS NULL AND due IS NOT NULL
                               AND lane_epoch >= ?3
                             LIMIT ?4)",
                    )?
                    .query_row((lanes[0], lanes[1], epoch, most), |row| row.get(0))?;
                Ok((in_flight + waiting).unsigned_abs().min(u64::from(most)))
            })
            .await
    }
}
