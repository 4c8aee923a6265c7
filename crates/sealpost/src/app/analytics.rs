//! Analytic events. Calls are recorded in memory, never waiting for anything, and stored many at once behind everybody
//! else; what happened to events and deliveries is told from their rows when somebody reads.
//!
//! So publishing costs nothing here, and neither does delivering: no row is written for either.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sealpost_core::analytics::{
    AnalyticFilter, AnalyticType, LogLevel, Operation, Phase, RequestId, without_large,
};
use sealpost_core::audit::Action;
use sealpost_core::delivery::{AttemptRecord, State};
use sealpost_core::event_type::{EventTypeName, OPENID_CREDENTIAL_ISSUED_SUMMARY};
use sealpost_core::id::{AnalyticId, Chance, ClientId, DeliveryId, EventId, TenantNo, WebhookId};
use sealpost_core::limits as bound;
use sealpost_core::minimise::derived_summary;
use sealpost_core::payload::Payload;
use sealpost_core::role::Permission;
use sealpost_core::tenant::Tenant;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::history::{AnalyticFacts, AnalyticRecord, PayloadRead};
use sealpost_store::page::{Page, PageRequest};
use sealpost_store::upkeep::RecordedCall;
use serde_json::Value;
use tokio::sync::Notify;

use super::clients::Caller;
use super::registry::TenantEntry;
use super::{App, detached};

/// Recorded calls on their way to the store.
#[derive(Debug, Default)]
pub struct Recorded {
    waiting: Mutex<Waiting>,
    some: Notify,
    /// One write at a time: whoever got in has everything before it on disk.
    storing: tokio::sync::Mutex<()>,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: VecDeque<RecordedCall>,
    /// The newest time, and how many ids were given for it.
    newest: (Timestamp, u16),
}

impl Waiting {
    /// Ids rise with the calls, also within a millisecond: the place takes the twelve bits after the time.
    fn id(&mut self, at: Timestamp, mut chance: Chance) -> AnalyticId {
        let place = if self.newest.0 == at { self.newest.1.saturating_add(1) } else { 0 };
        self.newest = (at, place);
        [chance[0], chance[1]] = place.min(0xfff).to_be_bytes();
        AnalyticId::new(at, chance)
    }

    /// The oldest of them; some may be gone already, for lack of room.
    fn take(&mut self, calls: usize) -> Vec<RecordedCall> {
        self.calls.drain(..calls.min(self.calls.len())).collect()
    }

    /// Puts `calls` before those that wait. Beyond the bound the oldest go; says how many.
    fn put_back(&mut self, calls: Vec<RecordedCall>) -> usize {
        let room = bound::ANALYTICS_WAITING.saturating_sub(self.calls.len());
        let dropped = calls.len().saturating_sub(room);
        for call in calls.into_iter().skip(dropped).rev() {
            self.calls.push_front(call);
        }
        dropped
    }

    fn put(&mut self, call: RecordedCall) -> usize {
        self.calls.push_back(call);
        let dropped = self.calls.len().saturating_sub(bound::ANALYTICS_WAITING);
        self.calls.drain(..dropped);
        dropped
    }
}

impl Recorded {
    fn change<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count_dropped(&self, calls: usize) {
        self.dropped.fetch_add(calls as u64, Ordering::Relaxed);
    }

    /// Calls that were forgotten because too many waited for the store.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Until something waits to be stored.
    pub async fn some(&self) {
        self.some.notified().await;
    }
}

/// One end of a call.
#[derive(Debug)]
pub struct CallEnd {
    pub operation: Operation,
    pub phase: Phase,
    pub request: RequestId,
    pub client: Option<ClientId>,
    pub data: Value,
}

/// An analytic event as its reader may see it.
#[derive(Debug)]
pub struct AnalyticEvent {
    pub id: AnalyticId,
    pub at: Timestamp,
    pub kind: AnalyticType,
    pub request: RequestId,
    pub client: Option<ClientId>,
    pub data: Option<AnalyticData>,
}

#[derive(Debug)]
pub enum AnalyticData {
    Call(Value),
    Received {
        event: EventId,
        event_type: EventTypeName,
        timestamp: Timestamp,
        payload: Option<Payload>,
    },
    Attempted {
        event: EventId,
        event_type: EventTypeName,
        delivery: DeliveryId,
        webhook: WebhookId,
        attempt: AttemptRecord,
        state: State,
    },
}

impl App {
    /// Whether calls are recorded at all.
    pub fn records_calls(&self) -> bool {
        self.config.analytics_retention.is_some()
    }

    pub fn new_request_id(&self) -> RequestId {
        let mut bytes = [0; 16];
        self.clock.fill(&mut bytes);
        RequestId::from_bytes(bytes)
    }

    /// Takes note of one end of a call, at the level of its tenant now.
    pub fn record(&self, entry: &TenantEntry, end: CallEnd) {
        let CallEnd { operation, phase, request, client, data } = end;
        let data = entry.log_level().of(data).map(without_large);
        let chance = self.clock.chance();
        let dropped = self.recorded.change(|waiting| {
            // Read inside: the list is in the order of time.
            let at = self.clock.now();
            let id = waiting.id(at, chance);
            let tenant = entry.tenant.no;
            waiting.put(RecordedCall { tenant, id, at, operation, phase, request, client, data })
        });
        self.recorded.count_dropped(dropped);
        self.recorded.some.notify_one();
    }

    /// Stores what was recorded until now. What the store does not take for now waits on.
    pub async fn store_recorded(&self) -> Result<(), StoreError> {
        let app = self.clone();
        // A reader that goes away must not take with it what it was about to store.
        detached(async move { app.store_slices().await }).await
    }

    async fn store_slices(&self) -> Result<(), StoreError> {
        let _alone = self.recorded.storing.lock().await;
        let mut left = self.recorded.change(|waiting| waiting.calls.len());
        while left > 0 {
            let slice = left.min(bound::UPKEEP_ROWS as usize);
            let calls = self.recorded.change(|waiting| waiting.take(slice));
            left -= slice;
            if let Err(error) = self.store.record_calls(calls.clone()).await {
                let dropped = self.recorded.change(|waiting| waiting.put_back(calls));
                self.recorded.count_dropped(dropped);
                self.recorded.some.notify_one();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Drops some of what was recorded too long ago; 0: nothing is left.
    pub async fn forget_calls(&self) -> Result<u64, StoreError> {
        let now = self.clock.now();
        self.store.forget_calls(self.config.analytics_retention.map_or(now, |kept| now - kept)).await
    }

    /// How much a tenant's analytic events tell; in force when this returns. `None`: no such tenant.
    pub async fn change_log_level(
        &self,
        tenant: TenantNo,
        level: LogLevel,
        who: &str,
    ) -> Result<Option<Tenant>, StoreError> {
        let entry = self.tenant(tenant).await?;
        let by = self.by(who, Action::ChangeAnalytics);
        let changed = self.store.change_log_level(tenant, level, by).await?;
        self.registry.refresh_after_change(&entry).await?;
        Ok(changed)
    }

    /// Newest first. Whoever may not read payloads sees no more than level 2 tells, whatever was recorded.
    pub async fn analytic_events(
        &self,
        caller: &Caller,
        mut filter: AnalyticFilter,
        page: PageRequest<AnalyticId>,
    ) -> Result<Page<AnalyticEvent>, StoreError> {
        let Some(kept) = self.config.analytics_retention else {
            return Ok(Page { rows: Vec::new(), more: false });
        };
        // Callers see their own calls; if the store takes none for now, they still see the others.
        if let Err(error) = self.store_recorded().await {
            tracing::warn!(%error, "recorded calls are not stored yet");
        }
        let oldest = self.clock.now() - kept;
        filter.from = Some(filter.from.map_or(oldest, |from| from.max(oldest)));
        let level = self.tenant(caller.tenant).await?.log_level();
        let trusted = caller.roles.may(Permission::ReadPayloads);
        let with_payload = trusted && level == LogLevel::Full;
        let mut page = self.store.analytic_events(caller.tenant, filter, page).await?;
        if with_payload {
            cut(&mut page);
        }
        let mut rows = Vec::with_capacity(page.rows.len());
        for record in page.rows {
            let payload = match &record.facts {
                AnalyticFacts::Received { event, event_type, .. } if with_payload => {
                    self.payload_of(caller, *event, event_type).await?
                }
                _ => None,
            };
            rows.push(told(record, level, trusted, payload));
        }
        Ok(Page { rows, more: page.more })
    }

    /// Read through the event's key, and audited like any other reading: what was erased or pruned is gone here too.
    async fn payload_of(
        &self,
        caller: &Caller,
        event: EventId,
        event_type: &EventTypeName,
    ) -> Result<Option<Payload>, StoreError> {
        let PayloadRead::Payload(payload) = self.read_payload(caller.tenant, event, &caller.who).await?
        else {
            return Ok(None);
        };
        if event_type.as_str() != OPENID_CREDENTIAL_ISSUED_SUMMARY {
            return Ok(Some(payload));
        }
        // A summary shares the stored payload of the event it was derived from; the credential is not part of it.
        match derived_summary(&payload) {
            Ok(summary) => Ok(Some(summary)),
            Err(error) => {
                tracing::error!(%event, %error, "a payload could not be reduced to its summary");
                Ok(None)
            }
        }
    }
}

/// Ends a page before its payloads get too many bytes; one row stays in any case.
fn cut(page: &mut Page<AnalyticRecord>) {
    let mut bytes = 0;
    let fits = |record: &&AnalyticRecord| {
        if let AnalyticFacts::Received { payload_bytes, .. } = record.facts {
            bytes += payload_bytes;
        }
        bytes <= bound::ANALYTICS_PAYLOAD_BYTES as u64
    };
    let fitting = page.rows.iter().take_while(fits).count().max(1);
    if fitting < page.rows.len() {
        page.rows.truncate(fitting);
        page.more = true;
    }
}

/// `trusted`: may read payloads. A call was recorded at the level of its time; deliveries are told at that of now.
fn told(record: AnalyticRecord, level: LogLevel, trusted: bool, payload: Option<Payload>) -> AnalyticEvent {
    let AnalyticRecord { id, at, kind, request, facts } = record;
    let told_now = level != LogLevel::Metadata;
    let (client, data) = match facts {
        AnalyticFacts::Call { client, data } => {
            let seen = if trusted { LogLevel::Full } else { LogLevel::Sanitised };
            (client, data.and_then(|data| seen.of(data)).map(AnalyticData::Call))
        }
        AnalyticFacts::Received { event, event_type, timestamp, .. } => {
            let data = AnalyticData::Received { event, event_type, timestamp, payload };
            (None, told_now.then_some(data))
        }
        AnalyticFacts::Attempted { event, event_type, delivery, webhook, attempt, state } => {
            let data = AnalyticData::Attempted { event, event_type, delivery, webhook, attempt, state };
            (None, told_now.then_some(data))
        }
    };
    AnalyticEvent { id, at, kind, request, client, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + ms)
    }

    fn call(waiting: &mut Waiting, ms: i64) -> RecordedCall {
        RecordedCall {
            tenant: TenantNo(1),
            id: waiting.id(at(ms), [0xff; 10]),
            at: at(ms),
            operation: Operation::WebhookCreate,
            phase: Phase::Start,
            request: RequestId::from_bytes([0; 16]),
            client: None,
            data: None,
        }
    }

    #[test]
    fn ids_rise_within_a_millisecond() {
        let mut waiting = Waiting::default();
        let ids: Vec<_> = [1, 1, 1, 2, 2, 3].map(|ms| waiting.id(at(ms), [0xff; 10])).into();
        assert!(ids.is_sorted() && ids.iter().all(|id| id.uuid().get_version_num() == 7));
        assert_eq!(ids[3].at(), at(2));
        // More than there are places: in no order any more, but still different.
        let many: Vec<_> = (0..5000u16)
            .map(|n| {
                let mut chance = [0; 10];
                chance[8..].copy_from_slice(&n.to_be_bytes());
                waiting.id(at(9), chance)
            })
            .collect();
        assert_eq!(many.iter().collect::<std::collections::HashSet<_>>().len(), 5000);
        assert!(many[..4096].is_sorted());
    }

    #[test]
    fn the_oldest_go_when_too_many_wait() {
        let mut waiting = Waiting::default();
        for ms in 0..bound::ANALYTICS_WAITING as i64 {
            let call = call(&mut waiting, ms);
            assert_eq!(waiting.put(call), 0);
        }
        let one_more = call(&mut waiting, 1_000_000);
        assert_eq!(waiting.put(one_more), 1);
        assert_eq!(waiting.calls.front().map(|call| call.at), Some(at(1)));

        let taken: Vec<_> = waiting.calls.drain(..).collect();
        for ms in 2_000_000..2_000_003 {
            let call = call(&mut waiting, ms);
            waiting.put(call);
        }
        assert_eq!(waiting.put_back(taken), 3);
        let ends = (waiting.calls.front().map(|c| c.at), waiting.calls.back().map(|c| c.at));
        assert_eq!(ends, (Some(at(4)), Some(at(2_000_002))));
        assert_eq!(waiting.calls.len(), bound::ANALYTICS_WAITING);
    }
}
