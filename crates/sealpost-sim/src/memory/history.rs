//! Reading back, and making deliveries again.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sealpost_core::analytics::AnalyticFilter;
use sealpost_core::audit::By;
use sealpost_core::delivery::DeliveryRecord;
use sealpost_core::id::{AnalyticId, DeliveryId, EventId, TenantNo, WebhookId, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::audit::Change;
use sealpost_store::history::{
    AnalyticRecord, AuditEntry, BulkFilter, BulkRedelivery, DeliveryDetail, DeliveryFilter, DeliveryMeasure,
    EventDelivery, EventFilter, EventRecord, History, PayloadRead, PayloadState, Redelivered,
};
use sealpost_store::page::{Page, PageRequest};
use serde_json::json;

use super::rows::{DeliveryRow, EventRow, Kept};
use super::upkeep::{Job, chosen};
use super::{MemoryStore, State, Verb};

#[async_trait]
impl History for MemoryStore {
    async fn events(
        &self,
        tenant: TenantNo,
        filter: EventFilter,
        page: PageRequest<EventId>,
    ) -> Result<Page<EventRecord>, StoreError> {
        self.call(Verb::Read, move |state| state.list_events(tenant, &filter, page)).await
    }

    async fn event(&self, tenant: TenantNo, id: EventId) -> Result<Option<EventRecord>, StoreError> {
        self.call(Verb::Read, move |state| {
            state.event_ids.get(&(tenant, id)).map(|no| state.event_record(*no)).transpose()
        })
        .await
    }

    async fn payload(&self, tenant: TenantNo, id: EventId) -> Result<PayloadRead, StoreError> {
        self.call(Verb::Read, move |state| {
            let kept = state.event_ids.get(&(tenant, id)).and_then(|no| state.kept(*no));
            Ok(match kept {
                None => PayloadRead::NotFound,
                Some(Kept::Payload(payload)) => PayloadRead::Payload(payload.clone()),
                Some(gone) => PayloadRead::Gone(payload_state(gone)),
            })
        })
        .await
    }

    async fn deliveries(
        &self,
        tenant: TenantNo,
        filter: DeliveryFilter,
        page: PageRequest<DeliveryId>,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        self.call(Verb::Read, move |state| state.list_deliveries(tenant, &filter, page)).await
    }

    async fn delivery_measures(
        &self,
        tenant: TenantNo,
        from: Timestamp,
        most: u32,
    ) -> Result<Vec<DeliveryMeasure>, StoreError> {
        self.call(Verb::Read, move |state| {
            let rows = state.deliveries.values().rev();
            let rows = rows.filter(|row| row.tenant == tenant && row.created_at >= from).take(most as usize);
            rows.map(|row| {
                Ok(DeliveryMeasure {
                    created_at: row.created_at,
                    status: row.shown_state(state.hook(row.webhook)?).status(),
                    took_ms: row.attempts.first().map(|attempt| attempt.took_ms),
                })
            })
            .collect()
        })
        .await
    }

    async fn delivery(&self, tenant: TenantNo, id: DeliveryId) -> Result<Option<DeliveryDetail>, StoreError> {
        self.call(Verb::Read, move |state| {
            let Some(row) = state.delivery_of(tenant, id) else { return Ok(None) };
            let delivery = state.delivery_record(row)?;
            Ok(Some(DeliveryDetail { delivery, attempts: row.attempts.clone() }))
        })
        .await
    }

    async fn redeliver(
        &self,
        tenant: TenantNo,
        source: DeliveryId,
        new: DeliveryId,
        by: By,
    ) -> Result<Redelivered, StoreError> {
        self.call(Verb::Change, move |state| state.redeliver(tenant, source, new, &by)).await
    }

    async fn redeliver_all(
        &self,
        tenant: TenantNo,
        webhook: WebhookId,
        filter: BulkFilter,
        dry_run: bool,
        by: By,
    ) -> Result<BulkRedelivery, StoreError> {
        self.call(Verb::Change, move |state| state.redeliver_all(tenant, webhook, &filter, dry_run, &by))
            .await
    }

    async fn audit(&self, tenant: TenantNo, by: By, object: String) -> Result<(), StoreError> {
        self.call(Verb::Change, move |state| {
            state.log(tenant, &by, object, Change::default());
            Ok(())
        })
        .await
    }

    async fn audit_entries(
        &self,
        tenant: TenantNo,
        page: PageRequest<i64>,
    ) -> Result<Page<AuditEntry>, StoreError> {
        self.call(Verb::Read, move |state| {
            let before = page.after.map_or(i64::MAX, |after| after.id);
            let own = state.audit.iter().rev().filter(|(of, entry)| *of == tenant && entry.no < before);
            Ok(cut(own.map(|(_, entry)| entry.clone()).collect(), page.limit))
        })
        .await
    }

    async fn analytic_events(
        &self,
        tenant: TenantNo,
        filter: AnalyticFilter,
        page: PageRequest<AnalyticId>,
    ) -> Result<Page<AnalyticRecord>, StoreError> {
        self.call(Verb::Read, move |state| state.tell(tenant, &filter, page)).await
    }

    async fn pending_count(&self, webhook: WebhookNo, most: u32) -> Result<u64, StoreError> {
        self.call(Verb::Read, move |state| {
            let Some(hook) = state.webhooks.get(&webhook) else { return Ok(0) };
            let rows = state.pending.iter().filter_map(|no| state.deliveries.get(no));
            let count = rows.filter(|row| row.webhook == webhook && !row.is_stale(hook)).count() as u64;
            Ok(count.min(u64::from(most)))
        })
        .await
    }
}

/// A page of what is there in order.
pub(super) fn cut<T>(mut rows: Vec<T>, limit: u32) -> Page<T> {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    Page { rows, more }
}

fn payload_state(kept: &Kept) -> PayloadState {
    match kept {
        Kept::Payload(_) => PayloadState::Kept,
        Kept::Pruned => PayloadState::Pruned,
        Kept::Erased => PayloadState::Erased,
    }
}

fn within(at: Timestamp, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
    from.is_none_or(|from| at >= from) && to.is_none_or(|to| at <= to)
}

impl State {
    fn event_record(&self, no: i64) -> Result<EventRecord, StoreError> {
        let row = self.events.get(&no).ok_or(StoreError::Corrupt { what: "event" })?;
        let rows = row.deliveries.iter().filter_map(|no| self.deliveries.get(no));
        let deliveries = rows.map(|row| {
            let hook = self.hook(row.webhook)?;
            Ok(EventDelivery { id: row.id, webhook: hook.webhook.id, state: row.shown_state(hook) })
        });
        Ok(EventRecord {
            id: row.id,
            event_type: row.event_type.clone(),
            timestamp: row.timestamp,
            accepted_at: row.accepted_at,
            derived: self.derived_of(no),
            deliveries: deliveries.collect::<Result<_, StoreError>>()?,
            payload: self.kept(no).map_or(PayloadState::Pruned, payload_state),
            test: row.test,
        })
    }

    fn list_events(
        &self,
        tenant: TenantNo,
        filter: &EventFilter,
        page: PageRequest<EventId>,
    ) -> Result<Page<EventRecord>, StoreError> {
        let fits = |row: &EventRow| {
            row.tenant == tenant
                && filter.event_type.as_ref().is_none_or(|name| *name == row.event_type)
                && within(row.accepted_at, filter.from, filter.to)
        };
        let last = page.after.map(|after| (after.at, self.event_ids.get(&(tenant, after.id))));
        let before = |no: i64, row: &EventRow| match last {
            None => true,
            Some((_, Some(last))) => no < *last,
            Some((at, None)) => row.accepted_at < at,
        };
        let found = self.events.iter().rev().filter(|(no, row)| fits(row) && before(**no, row));
        let rows = found.take(page.limit as usize + 1).map(|(no, _)| self.event_record(*no));
        Ok(cut(rows.collect::<Result<_, _>>()?, page.limit))
    }

    fn delivery_of(&self, tenant: TenantNo, id: DeliveryId) -> Option<&DeliveryRow> {
        let row = self.deliveries.get(self.delivery_ids.get(&id)?)?;
        (row.tenant == tenant).then_some(row)
    }

    fn delivery_record(&self, row: &DeliveryRow) -> Result<DeliveryRecord, StoreError> {
        let hook = self.hook(row.webhook)?;
        let event = self.events.get(&row.event).ok_or(StoreError::Corrupt { what: "event of a delivery" })?;
        let state = row.shown_state(hook);
        Ok(DeliveryRecord {
            id: row.id,
            event: event.id,
            event_type: event.event_type.as_str().to_owned(),
            webhook: hook.webhook.id,
            state,
            created_at: row.created_at,
            due_at: row.due.filter(|_| !state.is_final() && row.claimer.is_none()),
            attempts_used: row.attempt,
            test: event.test,
        })
    }

    fn list_deliveries(
        &self,
        tenant: TenantNo,
        filter: &DeliveryFilter,
        page: PageRequest<DeliveryId>,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        let last = page.after.map(|after| (after.at, self.delivery_of(tenant, after.id).map(|row| row.no)));
        let before = |row: &DeliveryRow| match last {
            None => true,
            Some((_, Some(last))) => row.no < last,
            Some((at, None)) => row.created_at < at,
        };
        let mut rows = Vec::new();
        for row in self.deliveries.values().rev().filter(|row| row.tenant == tenant && before(row)) {
            let record = self.delivery_record(row)?;
            let fits = filter.webhook.is_none_or(|webhook| record.webhook == webhook)
                && filter.event.is_none_or(|event| record.event == event)
                && filter.status.is_none_or(|status| record.state.status() == status)
                && filter.event_type.as_ref().is_none_or(|name| name.as_str() == record.event_type)
                && within(record.created_at, filter.from, filter.to);
            if fits {
                rows.push(record);
            }
            if rows.len() > page.limit as usize {
                break;
            }
        }
        Ok(cut(rows, page.limit))
    }

    fn redeliver(
        &mut self,
        tenant: TenantNo,
        source: DeliveryId,
        new: DeliveryId,
        by: &By,
    ) -> Result<Redelivered, StoreError> {
        let Some(row) = self.delivery_of(tenant, source) else { return Ok(Redelivered::NotFound) };
        let (event, webhook) = (row.event, row.webhook);
        if !matches!(self.kept(event), Some(Kept::Payload(_))) {
            return Ok(Redelivered::PayloadGone);
        }
        let hook = self.hook(webhook)?;
        if !hook.takes_deliveries() {
            return Ok(Redelivered::WebhookUnavailable);
        }
        let (lane, lane_epoch) = (LaneNo::ordinary(webhook), hook.webhook.lane_epoch);
        self.put_again(new, event, webhook, lane, lane_epoch, by.at);
        self.log(tenant, by, source.to_string(), Change::made(json!({"delivery": new})));
        Ok(Redelivered::Created { id: new, lane })
    }

    fn redeliver_all(
        &mut self,
        tenant: TenantNo,
        webhook: WebhookId,
        filter: &BulkFilter,
        dry_run: bool,
        by: &By,
    ) -> Result<BulkRedelivery, StoreError> {
        let found = self.webhooks.values().find(|hook| hook.webhook.id == webhook && !hook.deleted);
        let Some(hook) = found.filter(|hook| hook.webhook.tenant == tenant) else {
            return Ok(BulkRedelivery::NotFound);
        };
        if !hook.takes_deliveries() {
            return Ok(BulkRedelivery::WebhookUnavailable);
        }
        let no = hook.webhook.no;
        let rows = self.deliveries.values().filter(|row| {
            row.webhook == no
                && chosen(row.shown_state(hook), filter.status)
                && within(row.created_at, filter.from, filter.to)
                && matches!(self.kept(row.event), Some(Kept::Payload(_)))
        });
        // Each event once, however often it was delivered.
        let events: BTreeSet<i64> = rows.map(|row| row.event).collect();
        let count = events.len() as u64;
        if !dry_run {
            let lane_epoch = hook.webhook.lane_epoch;
            self.jobs.push(Job { webhook: no, lane_epoch, events: events.into_iter().collect() });
            let status = filter.status.map(|status| status.as_str());
            let change = json!({"from": filter.from, "to": filter.to, "status": status, "count": count});
            self.log(tenant, by, webhook.to_string(), Change::made(change));
        }
        Ok(BulkRedelivery::Counted { count, lane: LaneNo::replay(no) })
    }
}
