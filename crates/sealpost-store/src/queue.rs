//! What the engine asks of a store: hand out work, take back results.
//!
//! A claim raises the attempt number and the fence, and is on disk before the first byte leaves; so a crash can
//! never add a send beyond the cap. A claim that outlives its process is an attempt with outcome `unknown`.

use async_trait::async_trait;

use sealpost_core::audit::By;
use sealpost_core::delivery::{AttemptRecord, CancelReason, State};
use sealpost_core::event::{Event, OpenEvent};
use sealpost_core::health::HealthChange;
use sealpost_core::id::{DeliveryId, DeliveryNo, TenantNo, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use crate::error::StoreError;

/// Proof of a claim: whoever holds an older one changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimTicket {
    pub delivery: DeliveryNo,
    pub id: DeliveryId,
    pub webhook: WebhookNo,
    pub lane: LaneNo,
    pub lane_epoch: i64,
    /// 1-based number of the attempt this claim is for.
    pub attempt: u8,
    pub fence: i64,
    /// Whether all attempts before this one ended `unknown` (true for the first).
    pub only_unknown_before: bool,
}

/// A claim with what there is to send.
#[derive(Clone, Debug)]
pub struct Claim {
    pub ticket: ClaimTicket,
    pub event: Event,
    /// `None`: erased, pruned, or it does not open.
    pub open: Option<OpenEvent>,
}

#[derive(Clone, Copy, Debug)]
pub struct Want {
    pub lane: LaneNo,
    pub most: u32,
}

#[derive(Clone, Debug)]
pub struct ClaimedLane {
    pub lane: LaneNo,
    pub claims: Vec<Claim>,
    /// When the next waiting delivery of the lane is due (it may be now); `None` if none waits.
    pub next_due: Option<Timestamp>,
}

/// Everything that is written after one attempt, decided by pure functions beforehand.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub ticket: ClaimTicket,
    pub attempt: AttemptRecord,
    pub next: Next,
    /// The webhook's `alertAfter`; 0 for deliveries that must not alert.
    pub alert_after: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Try again then; becomes cancelled instead if the lane's epoch rose since.
    RetryAt(Timestamp),
    /// Delivered or failed.
    End(State),
}

/// All three are harmless to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Settled {
        state: State,
        /// The webhook crossed into or out of failing with this settlement.
        health: Option<HealthChange>,
    },
    /// This very settlement was stored before.
    Already,
    /// The claim is no longer this ticket's.
    Stale,
}

/// How a process is seen by the others on the same store, and the time that all of them go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The store's own clock, read while this was asked.
    pub now: Timestamp,
    /// For [`limits::HOLDS`](sealpost_core::limits::HOLDS) from when this was asked nobody takes this process for dead, and
    /// its claims are its own.
    pub holds: bool,
}

/// A lane with at least one waiting delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneHint {
    pub lane: LaneNo,
    pub tenant: TenantNo,
    pub next_due: Timestamp,
}

#[async_trait]
pub trait Queue: Send + Sync {
    /// Claims the earliest due deliveries of each wanted lane, up to its number and to `most_bytes` of payload in
    /// all (at least one if `most_bytes` allows the largest payload). Rows of an older lane epoch are skipped.
    async fn claim(
        &self,
        wants: Vec<Want>,
        now: Timestamp,
        most_bytes: usize,
    ) -> Result<Vec<ClaimedLane>, StoreError>;

    /// Hands claims back unsent, attempt numbers included; they are due at `due`. Stale ones are ignored.
    async fn unclaim(&self, tickets: Vec<ClaimTicket>, due: Timestamp) -> Result<(), StoreError>;

    /// Stores outcomes; one answer each, in order. May share its commit with other verbs' work.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, StoreError>;

    /// Lanes with waiting deliveries after `after` in lane order, with the earliest due time of each.
    async fn lanes(&self, after: Option<LaneNo>, limit: u32) -> Result<Vec<LaneHint>, StoreError>;

    /// Waits until another process left deliveries waiting, and says in which lanes. A hint that may be lost: for whoever
    /// finds them later anyway. Never ends where no other process uses the store.
    async fn rung(&self) -> Vec<LaneNo> {
        std::future::pending().await
    }

    /// Claims of earlier incarnations of this process, oldest first, without payload. Settling them removes them.
    async fn orphans(&self, limit: u32) -> Result<Vec<ClaimTicket>, StoreError>;

    /// Where this process stands among those that use the store; `None` where there are no others.
    async fn standing(&self) -> Result<Option<Standing>, StoreError> {
        Ok(None)
    }

    /// Ends one pending delivery that is not being sent right now, or marks the one in flight so that it is not
    /// retried. `None`: no such delivery in the tenant; otherwise the state after the call.
    async fn cancel(
        &self,
        tenant: TenantNo,
        id: DeliveryId,
        reason: CancelReason,
        by: By,
    ) -> Result<Option<State>, StoreError>;
}
