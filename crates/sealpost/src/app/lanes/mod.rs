//! The lanes in memory: permits shared between accepting and claiming, what is parked between the two, and the bell that
//! wakes the engine.
//!
//! The decisions are [`table`]'s; this is its lock, its bell, the parked deliveries, and the permit that gives itself
//! back and, if its lane has a parked delivery, begins that one.

pub mod table;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sealpost_core::id::{TenantNo, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::limits as bound;
use sealpost_core::time::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::Ready;
use table::Table;
pub use table::{Caps, Grant, HookInfo};
use table::{Lack, Reserved};

/// Whether a lane still flows is looked at this often by those who wait for it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What the lanes give the engine to do.
#[derive(Debug)]
pub enum Work {
    /// Send this: it is claimed on disk and holds every permit.
    Begin(Ready, Permit),
    /// Give these claims back to the disk: their receiver is slow, or nothing may begin any more.
    HandBack(Vec<Ready>),
}

#[derive(Debug)]
pub struct Lanes {
    inner: Mutex<Inner>,
    /// Rung without data: "look", never "do this".
    bell: Notify,
    /// Rung when a permit comes back, for whoever waits for all of them.
    idle: Notify,
    /// Bounded by permits and places.
    work: mpsc::UnboundedSender<Work>,
}

#[derive(Debug)]
struct Inner {
    table: Table,
    parked: HashMap<LaneNo, VecDeque<Ready>>,
    /// Publishers that wait for a place of a lane, or for bytes that any lane frees.
    waiting: HashMap<Option<LaneNo>, Arc<Notify>>,
    closed: bool,
}

/// Every place of a lane is taken, but it flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Inner {
    fn take_first(&mut self, lane: LaneNo) -> Option<Ready> {
        let queue = self.parked.get_mut(&lane)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.parked.remove(&lane);
        }
        self.place_freed(lane);
        first
    }

    /// One publisher may look again. Who waits no more leaves its entry, which goes with the next ring.
    fn place_freed(&mut self, lane: LaneNo) {
        for freed in [Some(lane), None] {
            let Some(waiting) = self.waiting.get(&freed) else { continue };
            waiting.notify_one();
            if Arc::strong_count(waiting) == 1 {
                self.waiting.remove(&freed);
            }
        }
    }

    /// The first parked delivery of a lane, if a permit for it can be had without asking other lanes.
    fn promote(&mut self, lane: LaneNo) -> Option<Ready> {
        let bytes = self.parked.get(&lane)?.front()?.payload.size();
        if self.table.promote(lane, bytes) { self.take_first(lane) } else { None }
    }

    /// Takes parked deliveries out, for them to be handed back.
    fn withdraw(&mut self, lanes: Vec<LaneNo>, mut which: impl FnMut(&Ready) -> bool) -> Vec<Ready> {
        let mut out = Vec::new();
        for lane in lanes {
            let Some(queue) = self.parked.remove(&lane) else { continue };
            let mut kept = VecDeque::with_capacity(queue.len());
            for ready in queue {
                if which(&ready) {
                    self.table.unpark(lane, ready.tenant.tenant.no, ready.payload.size());
                    out.push(ready);
                } else {
                    kept.push_back(ready);
                }
            }
            if !kept.is_empty() {
                self.parked.insert(lane, kept);
            }
            self.place_freed(lane);
        }
        out
    }
}

impl Lanes {
    /// The lanes, and what they give to do.
    pub fn new(caps: Caps) -> (Arc<Self>, mpsc::UnboundedReceiver<Work>) {
        let (work, receiver) = mpsc::unbounded_channel();
        let inner =
            Inner { table: Table::new(caps), parked: HashMap::new(), waiting: HashMap::new(), closed: false };
        let lanes = Self { inner: Mutex::new(inner), bell: Notify::new(), idle: Notify::new(), work };
        (Arc::new(lanes), receiver)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit or a place for one delivery about to be accepted. `Ok(None)`: let it wait on disk; `Err`: the same, or
    /// ask again after [`room`](Self::room).
    pub fn reserve(
        self: &Arc<Self>,
        webhook: WebhookNo,
        info: &HookInfo,
        bytes: usize,
        now: Timestamp,
    ) -> Result<Option<Reservation>, Full> {
        let (lane, tenant) = (LaneNo::ordinary(webhook), info.tenant);
        match self.inner().table.reserve(webhook, info, bytes, now) {
            Reserved::Slot => Ok(Some(Reservation::Slot(self.permit(lane, tenant, bytes)))),
            Reserved::Place => Ok(Some(Reservation::Place(self.place(lane, tenant, bytes)))),
            Reserved::Nothing => Ok(None),
            Reserved::Full => Err(Full),
        }
    }

    fn permit(self: &Arc<Self>, lane: LaneNo, tenant: TenantNo, bytes: usize) -> Permit {
        Permit { lanes: Arc::clone(self), lane, tenant, bytes, ended: None }
    }

    fn place(self: &Arc<Self>, lane: LaneNo, tenant: TenantNo, bytes: usize) -> Place {
        Place { lanes: Arc::clone(self), lane, tenant, bytes, parked: false }
    }

    /// Waits until a lane that flows has places for so many deliveries, and all lanes together the bytes, or waiting for that makes no sense, or
    /// the time is over. Going by the disk is right, but costs more than a short wait.
    pub async fn room(
        &self,
        webhook: WebhookNo,
        needed: u32,
        bytes: usize,
        until: tokio::time::Instant,
        now: impl Fn() -> Timestamp,
    ) {
        let lane = LaneNo::ordinary(webhook);
        let free = async {
            loop {
                let freed = {
                    let mut inner = self.inner();
                    let wait_for = match inner.table.lacks(lane, needed, bytes, now()) {
                        None => return,
                        Some(Lack::Places) => Some(lane),
                        Some(Lack::Bytes) => None,
                    };
                    Arc::clone(inner.waiting.entry(wait_for).or_default())
                };
                // Rung with the memory of one ring, so one that comes before the wait is not lost. Others may get the
                // rings, so whether the lane still flows is looked at from time to time.
                let _ = tokio::time::timeout(LOOK_AGAIN, freed.notified()).await;
            }
        };
        // In time or not: the next reservation tells.
        let _ = tokio::time::timeout_at(until, free).await;
    }

    /// A delivery that was stored claimed: sent now, or parked until a slot of its lane is free.
    pub fn hand_on(&self, ready: Ready, reservation: Reservation) {
        match reservation {
            Reservation::Slot(permit) => self.give(Work::Begin(ready, permit)),
            Reservation::Place(place) => place.park(ready),
        }
    }

    /// Claims that the store did not take back: the engine goes on trying.
    pub fn hand_back(&self, parked: Vec<Ready>) {
        self.give(Work::HandBack(parked));
    }

    /// Sends a delivery that was parked; the table has taken its permit.
    fn begin(self: &Arc<Self>, ready: Ready, lane: LaneNo, tenant: TenantNo) {
        let permit = self.permit(lane, tenant, ready.payload.size());
        self.give(Work::Begin(ready, permit));
    }

    fn give(&self, work: Work) {
        // The engine is gone only when the process ends; a claim is then an orphan of the next start.
        let _ = self.work.send(work);
    }

    /// Says that deliveries of a lane wait on disk, and wakes the engine.
    pub fn note_waiting(&self, lane: LaneNo, info: &HookInfo, due: Timestamp, now: Timestamp) {
        self.inner().table.note_waiting(lane, info, due, now);
        self.bell.notify_one();
    }

    /// The same of one delivery that has just been accepted.
    pub fn note_stored(&self, lane: LaneNo, info: &HookInfo, now: Timestamp) {
        self.inner().table.note_stored(lane, info, now);
        self.bell.notify_one();
    }

    pub fn ring(&self) {
        self.bell.notify_one();
    }

    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// The next claims to make and the bytes they may bring; empty if nothing is to be claimed now. Parked deliveries
    /// that got permits are on their way already.
    pub fn grants(
        self: &Arc<Self>,
        now: Timestamp,
        lanes_most: usize,
        bytes_most: usize,
    ) -> (Vec<Grant>, usize) {
        let mut inner = self.inner();
        let Some(bytes) = inner.table.reserve_bytes(bound::EVENT_BYTES, bytes_most) else {
            return (Vec::new(), 0);
        };
        let mut grants = inner.table.grants(now, lanes_most);
        let mut begin = Vec::new();
        for grant in &grants {
            for _ in 0..grant.parked {
                // There are as many as the table says: both change under one lock.
                let Some(ready) = inner.take_first(grant.lane) else { break };
                inner.table.unpark_to_permit(grant.lane, grant.tenant, ready.payload.size());
                begin.push((ready, grant.lane, grant.tenant));
            }
        }
        grants.retain(|grant| grant.claims() > 0);
        if grants.is_empty() {
            inner.table.return_bytes(bytes);
        }
        drop(inner);
        for (ready, lane, tenant) in begin {
            self.begin(ready, lane, tenant);
        }
        let bytes = if grants.is_empty() { 0 } else { bytes };
        (grants, bytes)
    }

    /// Hands the bytes of one round back: those of the payloads that came stay with their permits.
    pub fn return_bytes(&self, bytes: usize) {
        self.inner().table.return_bytes(bytes);
    }

    /// The answer to a grant; one reservation for each delivery that was claimed.
    pub fn claimed(
        self: &Arc<Self>,
        grant: &Grant,
        payload_bytes: &[usize],
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<Reservation> {
        self.inner().table.claimed(grant, payload_bytes, next_due, now);
        let (lane, tenant) = (grant.lane, grant.tenant);
        let each = payload_bytes.iter().enumerate();
        each.map(|(index, bytes)| match index < grant.most as usize {
            true => Reservation::Slot(self.permit(lane, tenant, *bytes)),
            false => Reservation::Place(self.place(lane, tenant, *bytes)),
        })
        .collect()
    }

    pub fn next_wake(&self) -> Option<Timestamp> {
        self.inner().table.next_wake()
    }

    /// After an unclean start: one at a time, doubling.
    pub fn begin_recovery(&self, now: Timestamp, again_at: Vec<Timestamp>) {
        self.inner().table.begin_recovery(now, again_at);
    }

    pub fn in_flight(&self) -> u32 {
        self.inner().table.in_flight()
    }

    /// Nothing is in flight, parked or reserved. Where nothing is to be done and this is not so, something leaked.
    pub fn holds_nothing(&self) -> bool {
        let inner = self.inner();
        inner.parked.is_empty() && inner.table.holds_nothing()
    }

    /// Takes out the parked deliveries of a webhook, or of all, that `which` names. The caller hands them back.
    pub fn withdraw(&self, webhook: Option<WebhookNo>, which: impl FnMut(&Ready) -> bool) -> Vec<Ready> {
        let mut inner = self.inner();
        let mut lanes = match webhook {
            Some(webhook) => vec![LaneNo::ordinary(webhook)],
            None => inner.parked.keys().copied().collect(),
        };
        // In the order of their numbers, so that a simulated run repeats.
        lanes.sort_unstable();
        inner.withdraw(lanes, which)
    }

    /// No permit is given any more, and nothing is parked.
    pub fn close(&self) {
        let mut inner = self.inner();
        inner.table.close();
        inner.closed = true;
        drop(inner);
        self.bell.notify_one();
    }

    /// Waits until every permit is back.
    pub async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// What a delivery that is stored claimed has until it is handed on. Dropping it gives it back.
#[derive(Debug)]
pub enum Reservation {
    Slot(Permit),
    Place(Place),
}

/// The right to make one request. Dropping it frees the slot, for the first parked delivery of the lane or for whoever
/// is next.
#[derive(Debug)]
pub struct Permit {
    lanes: Arc<Lanes>,
    lane: LaneNo,
    tenant: TenantNo,
    bytes: usize,
    /// When the request ended, and whether it took long.
    ended: Option<(Timestamp, bool)>,
}

impl Permit {
    pub fn lane(&self) -> LaneNo {
        self.lane
    }

    /// The request ended. How long it took decides whether the lane may have parked deliveries.
    pub fn ended(&mut self, at: Timestamp, took: Duration) {
        self.ended = Some((at, took >= bound::SLOW_ATTEMPT));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (mut next, mut back) = (None, Vec::new());
        let (idle, wake) = {
            let mut inner = self.lanes.inner();
            if let Some((at, slow)) = self.ended
                && inner.table.ended(self.lane.webhook(), at, slow)
            {
                back = inner.withdraw(vec![self.lane], |_| true);
            }
            let first = inner.parked.get(&self.lane).and_then(VecDeque::front).map(|r| r.payload.size());
            match first {
                Some(bytes) if inner.table.pass_on(self.lane, self.tenant, self.bytes, bytes) => {
                    next = inner.take_first(self.lane);
                }
                _ => inner.table.release(self.lane, self.tenant, self.bytes),
            }
            (inner.table.in_flight() == 0, inner.table.has_ready())
        };
        if let Some(ready) = next {
            self.lanes.begin(ready, self.lane, self.tenant);
        }
        if !back.is_empty() {
            self.lanes.give(Work::HandBack(back));
        }
        if wake {
            self.lanes.bell.notify_one();
        }
        if idle {
            self.lanes.idle.notify_waiters();
        }
    }
}

/// The right to be parked. Dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    lanes: Arc<Lanes>,
    lane: LaneNo,
    tenant: TenantNo,
    bytes: usize,
    parked: bool,
}

impl Place {
    fn park(mut self, ready: Ready) {
        let mut inner = self.lanes.inner();
        if inner.closed {
            drop(inner);
            // The place is given back by dropping it.
            return self.lanes.give(Work::HandBack(vec![ready]));
        }
        self.parked = true;
        inner.table.park(self.lane);
        inner.parked.entry(self.lane).or_default().push_back(ready);
        // Every slot may have become free while the claim was committed; then nobody else would begin it.
        let next = inner.promote(self.lane);
        inner.table.requeue(self.lane);
        let wake = inner.table.has_ready();
        drop(inner);
        if let Some(ready) = next {
            self.lanes.begin(ready, self.lane, self.tenant);
        }
        if wake {
            self.lanes.bell.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.parked {
            self.lanes.inner().table.leave_place(self.lane, self.tenant, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_permit_frees_its_slot_and_wakes_the_engine() {
        let (lanes, _work) = Lanes::new(Caps { global: 1, ..Caps::default() });
        let tenant = TenantNo(1);
        let info = HookInfo {
            tenant,
            host: (tenant, "a".into(), 443),
            max_in_flight: 8,
            rate_per_second: None,
            version: 1,
        };
        let now = Timestamp::from_millis(0);
        let permit = lanes.reserve(WebhookNo(1), &info, 10, now).unwrap().expect("a slot is free");
        assert!(lanes.reserve(WebhookNo(2), &info, 10, now).unwrap().is_none());
        assert!(lanes.grants(now, 8, 1 << 20).0.is_empty());
        drop(permit);
        lanes.rung().await;
        assert_eq!(lanes.grants(now, 8, 1 << 20).0.len(), 1);
    }
}
