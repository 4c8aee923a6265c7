//! Claim, hand back, settle, find work, cancel.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sealpost_core::audit::By;
use sealpost_core::delivery::{CancelReason, State as DeliveryState};
use sealpost_core::event::{Event, OpenEvent};
use sealpost_core::health::after_end;
use sealpost_core::id::{DeliveryId, EventNo, TenantNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::audit::Change;
use sealpost_store::queue::{
    Claim, ClaimTicket, ClaimedLane, LaneHint, Next, Queue, Settled, Settlement, Want,
};

use super::rows::Kept;
use super::{MemoryStore, Plant, State, Verb};

#[async_trait]
impl Queue for MemoryStore {
    async fn claim(
        &self,
        wants: Vec<Want>,
        now: Timestamp,
        most_bytes: usize,
    ) -> Result<Vec<ClaimedLane>, StoreError> {
        let rules = Rules {
            incarnation: self.incarnation,
            stale_too: self.has(Plant::StaleClaims),
            uncounted: self.has(Plant::UncountedClaim),
            untold: self.has(Plant::LostWakeUp),
        };
        let tickets = |lanes: &Vec<ClaimedLane>| {
            lanes.iter().flat_map(|lane| lane.claims.iter().map(|claim| claim.ticket)).collect()
        };
        self.claiming(Verb::Claim, now, move |state| state.claim(&rules, &wants, now, most_bytes), tickets)
            .await
    }

    async fn unclaim(&self, tickets: Vec<ClaimTicket>, due: Timestamp) -> Result<(), StoreError> {
        let lost = self.has(Plant::LostHandBack);
        self.call(Verb::Unclaim, move |state| {
            if !lost {
                state.unclaim(&tickets, due);
            }
            Ok(())
        })
        .await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, StoreError> {
        let (unfenced, hasty) = (self.has(Plant::NoFence), self.has(Plant::ShortWait));
        self.call(Verb::Settle, move |state| {
            state.stats.commits += 1;
            settlements.into_iter().map(|one| state.settle(one, unfenced, hasty)).collect()
        })
        .await
    }

    async fn lanes(&self, after: Option<LaneNo>, limit: u32) -> Result<Vec<LaneHint>, StoreError> {
        let untold = self.has(Plant::LostWakeUp);
        self.call(Verb::Read, move |state| if untold { Ok(Vec::new()) } else { state.lanes(after, limit) })
            .await
    }

    async fn orphans(&self, limit: u32) -> Result<Vec<ClaimTicket>, StoreError> {
        let (incarnation, lost) = (self.incarnation, self.has(Plant::NoOrphans));
        self.call(Verb::Read, move |state| {
            Ok(if lost { Vec::new() } else { state.orphans(incarnation, limit) })
        })
        .await
    }

    async fn cancel(
        &self,
        tenant: TenantNo,
        id: DeliveryId,
        reason: CancelReason,
        by: By,
    ) -> Result<Option<DeliveryState>, StoreError> {
        self.call(Verb::Cancel, move |state| state.cancel(tenant, id, reason, &by)).await
    }
}

struct Rules {
    incarnation: i64,
    stale_too: bool,
    uncounted: bool,
    untold: bool,
}

impl State {
    fn claim(
        &mut self,
        rules: &Rules,
        wants: &[Want],
        now: Timestamp,
        most_bytes: usize,
    ) -> Result<Vec<ClaimedLane>, StoreError> {
        let mut bytes_left = most_bytes;
        let mut lanes = Vec::with_capacity(wants.len());
        for want in wants {
            let claims = self.claim_lane(rules, want, now, &mut bytes_left)?;
            let open = self.webhooks.get(&want.lane.webhook()).is_some_and(|hook| hook.takes_deliveries());
            let next_due = self.waiting_in(want.lane).map(|(due, _)| due).min();
            let told = (open || rules.stale_too) && !rules.untold;
            lanes.push(ClaimedLane { lane: want.lane, claims, next_due: next_due.filter(|_| told) });
        }
        Ok(lanes)
    }

    /// Waiting deliveries of a lane with their due times.
    fn waiting_in(&self, lane: LaneNo) -> impl Iterator<Item = (Timestamp, i64)> {
        let rows = self.pending.iter().filter_map(|no| self.deliveries.get(no));
        let waiting = rows.filter(move |row| row.lane == lane && row.waits());
        waiting.filter_map(|row| row.due.map(|due| (due, row.no.0)))
    }

    fn claim_lane(
        &mut self,
        rules: &Rules,
        want: &Want,
        now: Timestamp,
        bytes_left: &mut usize,
    ) -> Result<Vec<Claim>, StoreError> {
        let Some(hook) = self.webhooks.get(&want.lane.webhook()).cloned() else { return Ok(Vec::new()) };
        let mut due: Vec<_> = self.waiting_in(want.lane).filter(|(due, _)| *due <= now).collect();
        due.sort_unstable();
        let mut claims = Vec::new();
        for (_, no) in due {
            if claims.len() >= want.most as usize {
                break;
            }
            let Some(row) = self.deliveries.get_mut(&no) else { continue };
            let stale = row.lane_epoch != hook.webhook.lane_epoch || !hook.takes_deliveries();
            if stale && !rules.stale_too {
                row.end_cancelled(hook.stale_reason(), now);
                self.ended(no, now);
                continue;
            }
            let event =
                self.events.get(&row.event).ok_or(StoreError::Corrupt { what: "event of a delivery" })?;
            if event.bytes > *bytes_left {
                break;
            }
            *bytes_left -= event.bytes;
            row.attempt += u8::from(!rules.uncounted || row.attempt == 0);
            row.fence += 1;
            row.due = None;
            row.claimer = Some(rules.incarnation);
            let told = Event {
                no: EventNo(row.event),
                id: event.id,
                event_type: event.event_type.clone(),
                timestamp: event.timestamp,
                test: event.test,
            };
            let payload = self.payloads.get(&event.derived_of.unwrap_or(row.event)).map(|row| &row.kept);
            let open = match payload {
                Some(Kept::Payload(payload)) => {
                    Some(OpenEvent { event: told.clone(), payload: payload.clone() })
                }
                _ => None,
            };
            claims.push(Claim { ticket: row.ticket(), event: told, open });
            self.stats.claims += 1;
            self.stats.delivery_writes += 1;
        }
        Ok(claims)
    }

    /// Back to waiting, as if never claimed; but what was cancelled meanwhile ends.
    pub(super) fn unclaim(&mut self, tickets: &[ClaimTicket], due: Timestamp) {
        for ticket in tickets {
            let no = ticket.delivery.0;
            let Some(row) = self.deliveries.get_mut(&no).filter(|row| row.holds(ticket)) else {
                self.count("handed back too late", 1);
                continue;
            };
            let cancelled = row.cancel.take();
            row.attempt -= 1;
            row.fence += 1;
            row.claimer = None;
            row.due = Some(due);
            *self.tally.entry("handed back").or_default() += 1;
            let stale = self.webhooks.get(&row.webhook).filter(|hook| row.is_stale(hook));
            if let Some(reason) = cancelled.or(stale.map(|hook| hook.stale_reason())) {
                row.end_cancelled(reason, due);
                self.ended(no, due);
            }
        }
    }

    fn settle(&mut self, settlement: Settlement, unfenced: bool, hasty: bool) -> Result<Settled, StoreError> {
        let Settlement { ticket, attempt, next, alert_after } = settlement;
        let no = ticket.delivery.0;
        let Some(row) = self.deliveries.get(&no) else { return Ok(Settled::Stale) };
        if !row.holds(&ticket) && !unfenced {
            let already =
                row.claimer.is_none() && row.attempt == ticket.attempt && row.fence == ticket.fence + 1;
            self.count(if already { "settled already" } else { "settled too late" }, 1);
            return Ok(if already { Settled::Already } else { Settled::Stale });
        }
        let hook = self.hook(row.webhook)?;
        let stale = (row.lane_epoch < hook.webhook.lane_epoch).then(|| hook.stale_reason());
        let cancelled = row.cancel.or(stale);
        // What arrived stays delivered; everything else gives way to a cancellation.
        let (state, due) = match (next, cancelled) {
            (Next::End(DeliveryState::Delivered), _) => (DeliveryState::Delivered, None),
            (_, Some(reason)) => (DeliveryState::Cancelled(reason), None),
            (Next::RetryAt(due), None) => (DeliveryState::Pending, Some(due)),
            (Next::End(state), None) => (state, None),
        };
        let (event, webhook) = (row.event, row.webhook);
        let erased = !matches!(self.kept(event), Some(Kept::Payload(_)));
        let ended = Timestamp::from_millis(attempt.started_at.millis() + i64::from(attempt.took_ms));
        let Some(row) = self.deliveries.get_mut(&no) else { return Ok(Settled::Stale) };
        row.state = state;
        row.due = due.map(|due| if hasty { ended + due.since(ended) / 2 } else { due });
        row.claimer = None;
        row.cancel = None;
        row.fence += 1;
        // Kept under the event's key, so gone with it.
        let excerpt = attempt.excerpt.filter(|_| !erased);
        row.attempts.push(sealpost_core::delivery::AttemptRecord { excerpt, ..attempt });
        self.stats.settles += 1;
        self.stats.delivery_writes += 1;
        let mut health = None;
        if let Some(hook) = self.webhooks.get_mut(&webhook)
            && matches!(state, DeliveryState::Delivered | DeliveryState::Failed(_))
        {
            let delivered = state == DeliveryState::Delivered;
            (hook.webhook.health, health) = after_end(hook.webhook.health, delivered, alert_after);
        }
        if state.is_final() {
            self.ended(no, ended);
        }
        Ok(Settled::Settled { state, health })
    }

    pub(super) fn kept(&self, event: i64) -> Option<&Kept> {
        let row = self.events.get(&event)?;
        self.payloads.get(&row.derived_of.unwrap_or(event)).map(|row| &row.kept)
    }

    /// A delivery is over.
    pub(super) fn ended(&mut self, no: i64, now: Timestamp) {
        self.pending.remove(&no);
        let Some(row) = self.deliveries.get(&no) else { return };
        let of = self.events.get(&row.event).map_or(row.event, |event| event.derived_of.unwrap_or(row.event));
        let forgets = self.webhooks.get(&row.webhook).is_some_and(|hook| hook.forgets());
        if forgets {
            self.let_go(of, now);
        }
        self.look_later(of, now);
    }

    fn lanes(&self, after: Option<LaneNo>, limit: u32) -> Result<Vec<LaneHint>, StoreError> {
        let mut first: BTreeMap<LaneNo, Timestamp> = BTreeMap::new();
        let rows = self.pending.iter().filter_map(|no| self.deliveries.get(no)).filter(|row| row.waits());
        for row in rows.filter(|row| after.is_none_or(|after| row.lane > after)) {
            if let Some(due) = row.due {
                let known = first.entry(row.lane).or_insert(due);
                *known = due.min(*known);
            }
        }
        let lanes = first.into_iter().take(limit as usize);
        lanes
            .map(|(lane, next_due)| {
                let tenant = self.hook(lane.webhook())?.webhook.tenant;
                Ok(LaneHint { lane, tenant, next_due })
            })
            .collect()
    }

    fn orphans(&self, incarnation: i64, limit: u32) -> Vec<ClaimTicket> {
        let rows = self.pending.iter().filter_map(|no| self.deliveries.get(no));
        let mut orphans: Vec<_> = rows
            .filter_map(|row| {
                row.claimer.filter(|by| *by < incarnation).map(|by| (by, row.no.0, row.ticket()))
            })
            .collect();
        orphans.sort_by_key(|(by, no, _)| (*by, *no));
        orphans.into_iter().take(limit as usize).map(|(.., ticket)| ticket).collect()
    }

    fn cancel(
        &mut self,
        tenant: TenantNo,
        id: DeliveryId,
        reason: CancelReason,
        by: &By,
    ) -> Result<Option<DeliveryState>, StoreError> {
        let Some(no) = self.delivery_ids.get(&id).copied() else { return Ok(None) };
        let Some(row) = self.deliveries.get(&no).filter(|row| row.tenant == tenant) else { return Ok(None) };
        if row.state.is_final() {
            return Ok(Some(row.state));
        }
        let hook = self.hook(row.webhook)?;
        let stale = row.is_stale(hook).then(|| hook.stale_reason());
        let (claimed, asked) = (row.claimer.is_some(), row.cancel == Some(reason));
        if !asked {
            self.log(tenant, by, id.to_string(), Change::default());
        }
        let Some(row) = self.deliveries.get_mut(&no) else { return Ok(None) };
        if claimed {
            row.cancel = Some(reason);
            return Ok(Some(DeliveryState::Pending));
        }
        row.end_cancelled(stale.unwrap_or(reason), by.at);
        let state = row.state;
        self.ended(no, by.at);
        Ok(Some(state))
    }
}
