//! The lanes in memory: permits shared between accepting and claiming, and the bell that wakes the engine.
//!
//! The decisions are [`table`]'s; this is its lock, its bell and the permit that gives itself back.

pub mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealpost_core::id::{TenantNo, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::limits as bound;
use sealpost_core::time::Timestamp;
use tokio::sync::Notify;

use table::Table;
pub use table::{Caps, Grant, HookInfo};

#[derive(Debug)]
pub struct Lanes {
    table: Mutex<Table>,
    /// Rung without data: "look", never "do this".
    bell: Notify,
    /// Rung when a permit comes back, for whoever waits for all of them.
    idle: Notify,
}

impl Lanes {
    pub fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self { table: Mutex::new(Table::new(caps)), bell: Notify::new(), idle: Notify::new() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Permits for one delivery about to be accepted; `None`: let it wait on disk.
    pub fn reserve(
        self: &Arc<Self>,
        webhook: WebhookNo,
        info: &HookInfo,
        bytes: usize,
        now: Timestamp,
    ) -> Option<Permit> {
        self.table().reserve(webhook, info, bytes, now).then(|| Permit {
            lanes: Arc::clone(self),
            lane: LaneNo::ordinary(webhook),
            tenant: info.tenant,
            bytes,
        })
    }

    /// Says that deliveries of a lane wait on disk, and wakes the engine.
    pub fn note_waiting(&self, lane: LaneNo, info: &HookInfo, due: Timestamp, now: Timestamp) {
        self.table().note_waiting(lane, info, due, now);
        self.bell.notify_one();
    }

    pub fn ring(&self) {
        self.bell.notify_one();
    }

    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// The next claims to make and the bytes they may bring; empty if there is nothing to do now.
    pub fn grants(&self, now: Timestamp, lanes_most: usize, bytes_most: usize) -> (Vec<Grant>, usize) {
        let mut table = self.table();
        let Some(bytes) = table.reserve_bytes(bound::EVENT_BYTES, bytes_most) else { return (Vec::new(), 0) };
        let grants = table.grants(now, lanes_most);
        if grants.is_empty() {
            table.return_bytes(bytes);
            return (grants, 0);
        }
        (grants, bytes)
    }

    /// Hands the bytes of one round back: those of the payloads that came stay with their permits.
    pub fn return_bytes(&self, bytes: usize) {
        self.table().return_bytes(bytes);
    }

    /// The answer to a grant; one permit for each delivery that was claimed.
    pub fn claimed(
        self: &Arc<Self>,
        grant: &Grant,
        payload_bytes: &[usize],
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<Permit> {
        let bytes = payload_bytes.iter().sum();
        self.table().claimed(grant, payload_bytes.len() as u32, bytes, next_due, now);
        payload_bytes
            .iter()
            .map(|bytes| Permit {
                lanes: Arc::clone(self),
                lane: grant.lane,
                tenant: grant.tenant,
                bytes: *bytes,
            })
            .collect()
    }

    pub fn next_wake(&self) -> Option<Timestamp> {
        self.table().next_wake()
    }

    /// After an unclean start: one at a time, doubling.
    pub fn begin_recovery(&self, now: Timestamp, again_at: Vec<Timestamp>) {
        self.table().begin_recovery(now, again_at);
    }

    pub fn in_flight(&self) -> u32 {
        self.table().in_flight()
    }

    /// No permit is given any more.
    pub fn close(&self) {
        self.table().close();
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

/// The right to make one request. Dropping it frees the slot.
#[derive(Debug)]
pub struct Permit {
    lanes: Arc<Lanes>,
    lane: LaneNo,
    tenant: TenantNo,
    bytes: usize,
}

impl Permit {
    pub fn lane(&self) -> LaneNo {
        self.lane
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (idle, wake) = {
            let mut table = self.lanes.table();
            table.release(self.lane, self.tenant, self.bytes);
            (table.in_flight() == 0, table.has_ready())
        };
        if wake {
            self.lanes.bell.notify_one();
        }
        if idle {
            self.lanes.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_permit_frees_its_slot_and_wakes_the_engine() {
        let lanes = Lanes::new(Caps { global: 1, ..Caps::default() });
        let tenant = TenantNo(1);
        let info = HookInfo {
            tenant,
            host: (tenant, "a".into(), 443),
            max_in_flight: 8,
            rate_per_second: None,
            version: 1,
        };
        let now = Timestamp::from_millis(0);
        let permit = lanes.reserve(WebhookNo(1), &info, 10, now).expect("a slot is free");
        assert!(lanes.reserve(WebhookNo(2), &info, 10, now).is_none());
        assert!(lanes.grants(now, 8, 1 << 20).0.is_empty());
        drop(permit);
        lanes.rung().await;
        assert_eq!(lanes.grants(now, 8, 1 << 20).0.len(), 1);
    }
}
