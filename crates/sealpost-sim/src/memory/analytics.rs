//! Analytic events: every one there is, then those that were asked for.

use sealpost_core::analytics::{AnalyticFilter, AnalyticType, RequestId, Step};
use sealpost_core::delivery::State as DeliveryState;
use sealpost_core::id::{AnalyticId, TenantNo};
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::history::{AnalyticFacts, AnalyticRecord};
use sealpost_store::page::{Page, PageRequest};
use sealpost_store::vault::TenantHasher;

use super::State;
use super::history::cut;
use super::registry::hasher_of;
use super::rows::{DeliveryRow, EventRow};

/// An attempt's end is told no later than this after it began.
const TOOK_MS_MAX: u32 = 60_000;

impl State {
    pub(super) fn tell(
        &self,
        tenant: TenantNo,
        filter: &AnalyticFilter,
        page: PageRequest<AnalyticId>,
    ) -> Result<Page<AnalyticRecord>, StoreError> {
        let Some(row) = self.tenants.get(&tenant) else { return Ok(Page { rows: Vec::new(), more: false }) };
        let hasher = hasher_of(row.tenant.id);
        let mut all = self.told_calls(tenant);
        for event in self.events.values().filter(|row| row.tenant == tenant) {
            all.push(told_event(&hasher, event));
            for delivery in event.deliveries.iter().filter_map(|no| self.deliveries.get(no)) {
                self.tell_delivery(&hasher, event, delivery, &mut all)?;
            }
        }
        let (from, to) = filter.times();
        let asked = |row: &AnalyticRecord| {
            let caller = match &row.facts {
                AnalyticFacts::Call { client, .. } => *client,
                AnalyticFacts::Received { .. } | AnalyticFacts::Attempted { .. } => None,
            };
            (from..=to).contains(&row.at)
                && page.after.is_none_or(|after| (row.at, row.id) < (after.at, after.id))
                && filter.admits_type(row.kind)
                && filter.admits_caller(caller)
                && filter.admits_id(row.id)
                && filter.requests.as_ref().is_none_or(|requests| requests.contains(&row.request))
        };
        all.retain(asked);
        all.sort_by_key(|row| std::cmp::Reverse((row.at, row.id)));
        Ok(cut(all, page.limit))
    }

    fn told_calls(&self, tenant: TenantNo) -> Vec<AnalyticRecord> {
        let calls = self.calls.iter().filter(|call| call.tenant == tenant);
        calls
            .map(|call| AnalyticRecord {
                id: call.id,
                at: call.at,
                kind: AnalyticType::Call(call.operation, call.phase),
                request: call.request,
                facts: AnalyticFacts::Call { client: call.client, data: call.data.clone() },
            })
            .collect()
    }

    /// That each attempt began, and, of the last one of a delivery that is over, how that ended.
    fn tell_delivery(
        &self,
        hasher: &TenantHasher,
        event: &EventRow,
        row: &DeliveryRow,
        all: &mut Vec<AnalyticRecord>,
    ) -> Result<(), StoreError> {
        let hook = self.hook(row.webhook)?;
        let state = row.shown_state(hook);
        for attempt in &row.attempts {
            let mut tell = |step: Step, at: Timestamp| {
                all.push(AnalyticRecord {
                    id: hasher.analytic_event(row.id.bytes(), step, attempt.number, at),
                    at,
                    kind: AnalyticType::Delivery(step),
                    request: RequestId::from_bytes(*row.id.bytes()),
                    facts: AnalyticFacts::Attempted {
                        event: event.id,
                        event_type: event.event_type.clone(),
                        delivery: row.id,
                        webhook: hook.webhook.id,
                        attempt: sealpost_core::delivery::AttemptRecord { excerpt: None, ..attempt.clone() },
                        state,
                    },
                });
            };
            tell(if attempt.number == 1 { Step::ProcessStart } else { Step::Retry }, attempt.started_at);
            if attempt.number == row.attempt && state.is_final() {
                let took = i64::from(attempt.took_ms.min(TOOK_MS_MAX));
                let ended = Timestamp::from_millis(attempt.started_at.millis() + took);
                let well = state == DeliveryState::Delivered;
                tell(if well { Step::ProcessSuccess } else { Step::ProcessFail }, ended);
            }
        }
        Ok(())
    }
}

fn told_event(hasher: &TenantHasher, row: &EventRow) -> AnalyticRecord {
    let derived = u8::from(row.derived_of.is_some());
    AnalyticRecord {
        id: hasher.analytic_event(row.id.bytes(), Step::Receive, derived, row.accepted_at),
        at: row.accepted_at,
        kind: AnalyticType::Delivery(Step::Receive),
        request: RequestId::from_bytes(*row.id.bytes()),
        facts: AnalyticFacts::Received {
            event: row.id,
            event_type: row.event_type.clone(),
            timestamp: row.timestamp,
            payload_bytes: row.bytes as u64,
        },
    }
}
