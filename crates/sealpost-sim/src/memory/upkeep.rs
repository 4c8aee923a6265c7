//! Housekeeping: cancelled lanes, bulk redelivery, retention, erasure.

use std::path::PathBuf;

use async_trait::async_trait;
use sealpost_core::audit::By;
use sealpost_core::delivery::{CancelReason, FailReason, State as DeliveryState, Status};
use sealpost_core::id::{DeliveryId, DeliveryNo, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::limits::UPKEEP_ROWS;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::audit::Change;
use sealpost_store::upkeep::{
    Erasure, ErasureScope, Finding, RecordedCall, Rewrapped, StoreStats, Swept, Upkeep,
};
use serde_json::json;

use super::rows::{DeliveryRow, Kept};
use super::{MemoryStore, Plant, State, Verb};

/// Calls dropped at once.
const FORGOTTEN_AT_ONCE: usize = 1000;

/// A bulk redelivery: what is left of it to make.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) webhook: WebhookNo,
    pub(super) lane_epoch: i64,
    /// Events, each once.
    pub(super) events: Vec<i64>,
}

#[async_trait]
impl Upkeep for MemoryStore {
    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        self.call(Verb::Sweep, move |state| Ok(state.sweep(now))).await
    }

    async fn record_calls(&self, calls: Vec<RecordedCall>) -> Result<(), StoreError> {
        self.call(Verb::Record, move |state| {
            for call in calls {
                if !state.calls.iter().any(|known| known.tenant == call.tenant && known.id == call.id) {
                    state.calls.push(call);
                }
            }
            Ok(())
        })
        .await
    }

    async fn forget_calls(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.call(Verb::Record, move |state| {
            let mut left = FORGOTTEN_AT_ONCE;
            state.calls.retain(|call| {
                let goes = call.at < before && left > 0;
                left -= usize::from(goes);
                !goes
            });
            Ok((FORGOTTEN_AT_ONCE - left) as u64)
        })
        .await
    }

    async fn erase(&self, erasure: Erasure) -> Result<u64, StoreError> {
        let nothing = self.has(Plant::NoErasure);
        self.call(Verb::Erase, move |state| Ok(if nothing { 1 } else { state.erase(&erasure) })).await
    }

    async fn backup(&self, _: PathBuf) -> Result<(), StoreError> {
        Err(StoreError::Refused("a store in memory has no backups".into()))
    }

    async fn rewrap(&self, by: By) -> Result<Rewrapped, StoreError> {
        // Nothing is wrapped here; that it happened is told.
        self.call(Verb::Change, move |state| {
            state.log_for_installation(&by, String::new(), Change::default());
            Ok(Rewrapped { keys: state.tenants.len() as u64, former: PathBuf::new(), cleared: true })
        })
        .await
    }

    /// One process at a time holds the disk.
    fn is_shared(&self) -> bool {
        false
    }

    async fn stats(&self) -> Result<StoreStats, StoreError> {
        self.call(Verb::Read, |state| Ok(StoreStats { file_bytes: 1, free_disk_bytes: None, ..state.stats }))
            .await
    }

    async fn examine(&self) -> Result<Vec<Finding>, StoreError> {
        self.call(Verb::Read, |state| {
            let unknown = DeliveryState::Failed(FailReason::OutcomeUnknown);
            let count = state.deliveries.values().filter(|row| row.state == unknown).count();
            let good = |what: &str| Finding { ok: true, what: what.into(), advice: None };
            Ok(vec![
                Finding {
                    ok: count == 0,
                    what: format!("{count} deliveries failed without anybody knowing whether they arrived"),
                    advice: (count > 0).then(|| "redeliver them".into()),
                },
                good("the store is in memory"),
                good("it needs no disk"),
                good("it needs no keys"),
            ])
        })
        .await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}

impl State {
    fn sweep(&mut self, now: Timestamp) -> Swept {
        let mut swept = Swept::default();
        let mut left = UPKEEP_ROWS as usize;
        self.cancel_stale(now, &mut left);
        self.go_on_with_jobs(now, &mut left, &mut swept.woken);
        self.prune(now, &mut left);
        self.forget(now, &mut left);
        swept.rows = (UPKEEP_ROWS as usize - left) as u64;
        swept
    }

    fn cancel_stale(&mut self, now: Timestamp, left: &mut usize) {
        while let Some(webhook) = self.stale.first().copied() {
            let Some(hook) = self.webhooks.get(&webhook) else { return };
            let of_hook = |row: &&DeliveryRow| row.webhook == webhook && row.is_stale(hook);
            let rows = self.pending.iter().filter_map(|no| self.deliveries.get(no)).filter(of_hook);
            let rows: Vec<i64> = rows.map(|row| row.no.0).take(*left).collect();
            let reason = hook.stale_reason();
            for no in &rows {
                if let Some(row) = self.deliveries.get_mut(no) {
                    row.end_cancelled(reason, now);
                    row.fence += 1;
                }
                self.ended(*no, now);
            }
            *left -= rows.len();
            if *left == 0 {
                return;
            }
            self.stale.remove(&webhook);
        }
    }

    fn go_on_with_jobs(&mut self, now: Timestamp, left: &mut usize, woken: &mut Vec<LaneNo>) {
        for number in 0..self.jobs.len() {
            let Job { webhook, lane_epoch, events } = self.jobs[number].clone();
            let open = self
                .webhooks
                .get(&webhook)
                .is_some_and(|hook| hook.takes_deliveries() && hook.webhook.lane_epoch == lane_epoch);
            if !open {
                // What was made is cancelled by its epoch, the rest is not made.
                self.jobs[number].events.clear();
                continue;
            }
            let lane = LaneNo::replay(webhook);
            let now_made = events.len().min(*left);
            for event in events.iter().take(now_made) {
                if matches!(self.kept(*event), Some(Kept::Payload(_))) {
                    let id = DeliveryId::new(now, self.chance());
                    self.put_again(id, *event, webhook, lane, lane_epoch, now);
                    if !woken.contains(&lane) {
                        woken.push(lane);
                    }
                }
            }
            self.jobs[number].events.drain(..now_made);
            self.count("redelivered many", now_made as u64);
            *left -= now_made;
        }
        self.jobs.retain(|job| !job.events.is_empty());
    }

    /// Ids that upkeep makes need only differ.
    fn chance(&self) -> [u8; 10] {
        let mut bytes = [0xA5; 10];
        bytes[2..].copy_from_slice(&self.last_delivery.to_be_bytes());
        bytes
    }

    /// A waiting delivery beside those that accepting made.
    pub(super) fn put_again(
        &mut self,
        id: DeliveryId,
        event: i64,
        webhook: WebhookNo,
        lane: LaneNo,
        lane_epoch: i64,
        now: Timestamp,
    ) {
        let Some(row) = self.events.get_mut(&event) else { return };
        self.last_delivery += 1;
        row.deliveries.push(self.last_delivery);
        let row = DeliveryRow {
            no: DeliveryNo(self.last_delivery),
            id,
            tenant: row.tenant,
            event,
            webhook,
            lane,
            lane_epoch,
            created_at: now,
            state: DeliveryState::Pending,
            attempt: 0,
            fence: 0,
            due: Some(now),
            claimer: None,
            cancel: None,
            cancelled_at: None,
            attempts: Vec::new(),
        };
        self.put_delivery(row);
    }

    // --- retention ------------------------------------------------------------------------------------------

    /// An event with the events derived from it, by number.
    fn family(&self, first: i64) -> Vec<i64> {
        let derived =
            self.events.range(first + 1..=first + 1).filter(|(_, row)| row.derived_of == Some(first));
        std::iter::once(first).chain(derived.map(|(no, _)| *no)).collect()
    }

    fn family_rows(&self, first: i64) -> Vec<&DeliveryRow> {
        let members = self.family(first).into_iter().filter_map(|no| self.events.get(&no));
        members.flat_map(|row| row.deliveries.iter().filter_map(|no| self.deliveries.get(no))).collect()
    }

    /// Each delivery keeps the payload for a time from its own end on; the last one counts. `None`: one is pending.
    fn kept_until(&self, first: i64) -> Option<Timestamp> {
        let event = self.events.get(&first)?;
        let retention = self.tenants.get(&event.tenant)?.tenant.retention;
        let rows = self.family_rows(first);
        if rows.iter().any(|row| row.state == DeliveryState::Pending) {
            return None;
        }
        let until = rows.iter().map(|row| {
            let forgets = self.webhooks.get(&row.webhook).is_some_and(|hook| hook.forgets());
            let ended = row.ended_at();
            match row.state {
                _ if forgets => ended,
                DeliveryState::Delivered => ended + retention.payload_after_delivered,
                _ => ended + retention.payload_after_failed,
            }
        });
        Some(until.max().unwrap_or(event.accepted_at + retention.payload_after_delivered))
    }

    /// Prunes a payload whose time has come.
    pub(super) fn let_go(&mut self, first: i64, now: Timestamp) {
        if self.kept_until(first).is_some_and(|until| until <= now) {
            self.destroy(first, Kept::Pruned);
        }
    }

    /// `false`: it was gone already.
    fn destroy(&mut self, first: i64, gone: Kept) -> bool {
        let Some(payload) = self.payloads.get_mut(&first) else { return false };
        let was_kept = matches!(payload.kept, Kept::Payload(_));
        if was_kept || gone == Kept::Erased {
            payload.kept = gone;
        }
        for member in self.family(first) {
            let numbers = self.events.get(&member).map(|row| row.deliveries.clone()).unwrap_or_default();
            for no in numbers {
                for attempt in self.deliveries.get_mut(&no).into_iter().flat_map(|row| &mut row.attempts) {
                    attempt.excerpt = None;
                }
            }
        }
        was_kept
    }

    /// Prunes the payloads that are due. Of one that is pending the end says when to look again.
    fn prune(&mut self, now: Timestamp, left: &mut usize) {
        while let Some((at, first)) = self.to_prune.first().copied().filter(|(at, _)| *at <= now && *left > 0)
        {
            self.to_prune.remove(&(at, first));
            match self.kept_until(first) {
                Some(until) if until <= now => {
                    let kept = self.destroy(first, Kept::Pruned);
                    *left -= usize::from(kept);
                    self.count("payload pruned", u64::from(kept));
                }
                Some(until) => drop(self.to_prune.insert((until, first))),
                None => {}
            }
        }
    }

    /// Deletes the metadata of old events, except of what is pending.
    fn forget(&mut self, now: Timestamp, left: &mut usize) {
        while let Some((at, first)) =
            self.to_forget.first().copied().filter(|(at, _)| *at <= now && *left > 0)
        {
            self.to_forget.remove(&(at, first));
            if self.family_rows(first).iter().any(|row| row.state == DeliveryState::Pending) {
                continue;
            }
            for member in self.family(first) {
                let Some(row) = self.events.remove(&member) else { continue };
                self.event_ids.remove(&(row.tenant, row.id));
                for no in row.deliveries {
                    if let Some(delivery) = self.deliveries.remove(&no) {
                        self.delivery_ids.remove(&delivery.id);
                    }
                }
            }
            self.payloads.remove(&first);
            let events = &self.events;
            self.repeat_keys.retain(|_, (_, named)| named.iter().all(|no| events.contains_key(no)));
            *left -= 1;
            self.count("metadata forgotten", 1);
        }
    }

    /// Says when upkeep is to look at a payload and its events: now that one of them was made, or one of their
    /// deliveries ended.
    pub(super) fn look_later(&mut self, first: i64, now: Timestamp) {
        let Some(event) = self.events.get(&first) else { return };
        let keeps = self.tenants.get(&event.tenant).map(|row| row.tenant.retention.metadata);
        let forget_at = (event.accepted_at + keeps.unwrap_or_default()).max(now);
        if let Some(until) = self.kept_until(first) {
            self.to_prune.insert((until, first));
            self.to_forget.insert((forget_at, first));
        }
    }

    // --- erasure --------------------------------------------------------------------------------------------

    fn erase(&mut self, erasure: &Erasure) -> u64 {
        if let Some(count) = self.erasures.get(&erasure.id) {
            return *count;
        }
        let in_scope = |no: &i64| {
            let row = self.events.get(no).filter(|row| row.tenant == erasure.tenant)?;
            let inside = match &erasure.scope {
                ErasureScope::Events(ids) => ids.contains(&row.id),
                ErasureScope::Subject(subject) => row.subjects.contains(subject),
                ErasureScope::Range { from, to } => (*from..=*to).contains(&row.accepted_at),
            };
            inside.then_some(row.derived_of.unwrap_or(*no))
        };
        let mut firsts: Vec<i64> = self.events.keys().filter_map(in_scope).collect();
        firsts.dedup();
        let mut count = 0;
        for first in firsts {
            let rows: Vec<i64> = self.family_rows(first).iter().map(|row| row.no.0).collect();
            for no in rows {
                self.cancel_erased(no, erasure.by.at);
            }
            count += u64::from(self.destroy(first, Kept::Erased));
        }
        self.erasures.insert(erasure.id, count);
        let change = Change::made(json!({"events": count}));
        self.log(erasure.tenant, &erasure.by, erasure.id.to_string(), change);
        count
    }

    /// Ends what is pending; what is being sent right now is marked, so that it is not tried again.
    fn cancel_erased(&mut self, no: i64, now: Timestamp) {
        let Some(row) = self.deliveries.get_mut(&no) else { return };
        if row.state.is_final() {
            return;
        }
        if row.claimer.is_some() {
            row.cancel = Some(CancelReason::PayloadErased);
            return;
        }
        // A row of an older epoch was cancelled before, for a reason of its own.
        let stale = self.webhooks.get(&row.webhook).filter(|hook| row.is_stale(hook));
        row.end_cancelled(stale.map_or(CancelReason::PayloadErased, |hook| hook.stale_reason()), now);
        row.fence += 1;
        self.ended(no, now);
    }
}

/// Whether a delivery is one that a bulk redelivery makes again.
pub(super) fn chosen(state: DeliveryState, status: Option<Status>) -> bool {
    status.map_or(state != DeliveryState::Pending, |status| state.status() == status)
}
