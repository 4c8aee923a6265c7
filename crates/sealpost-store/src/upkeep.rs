//! Housekeeping: retention, erasure, bulk redelivery, the listing index, checkpoints and backups.

use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::Value;

use sealpost_core::analytics::{Operation, Phase, RequestId};
use sealpost_core::audit::By;
use sealpost_core::id::{AnalyticId, ClientId, ErasureId, EventId, TenantNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use crate::error::StoreError;

#[derive(Clone, Debug)]
pub enum ErasureScope {
    Events(Vec<EventId>),
    /// Keyed hash of the subject.
    Subject([u8; 32]),
    /// By acceptance; both inclusive.
    Range {
        from: Timestamp,
        to: Timestamp,
    },
}

#[derive(Clone, Debug)]
pub struct Erasure {
    pub id: ErasureId,
    pub tenant: TenantNo,
    pub scope: ErasureScope,
    pub by: By,
}

/// One end of a call, for the analytic events.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedCall {
    pub tenant: TenantNo,
    pub id: AnalyticId,
    pub at: Timestamp,
    pub operation: Operation,
    pub phase: Phase,
    pub request: RequestId,
    pub client: Option<ClientId>,
    pub data: Option<Value>,
}

/// What one slice of housekeeping did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows touched; 0 means there is nothing to do now.
    pub rows: u64,
    /// Lanes that got waiting deliveries (bulk redelivery).
    pub woken: Vec<LaneNo>,
}

/// What came of a new master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrapped {
    /// Keys that it wraps now.
    pub keys: u64,
    /// Where the former master key is: backups that were made under it open with nothing else.
    pub former: PathBuf,
    /// Nothing that the former key opens is left in the store's own files. `false`: a long reader kept an older copy,
    /// which goes when the store next clears up.
    pub cleared: bool,
}

/// Counters since start, for tests, metrics and `doctor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    pub commits: u64,
    pub accepts: u64,
    pub claims: u64,
    pub settles: u64,
    /// Statements that wrote a delivery row, by verb that asked: the durable writes of a delivery.
    pub delivery_writes: u64,
    pub wal_bytes: u64,
    pub file_bytes: u64,
    /// `None`: the disk is another machine's.
    pub free_disk_bytes: Option<u64>,
}

#[async_trait]
pub trait Upkeep: Send + Sync {
    /// One bounded slice: cancel what an older epoch left, continue bulk redeliveries, fill the listing index,
    /// apply retention. Short enough to run between other work.
    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError>;

    /// Stores calls in one write that waits for everybody else's; refused like an accept while there is no room.
    async fn record_calls(&self, calls: Vec<RecordedCall>) -> Result<(), StoreError>;
    /// Drops recorded calls that are older, a bounded number at once. Returns how many; 0: none is left.
    async fn forget_calls(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Destroys payloads, excerpts and keys of everything in scope, cancels what is pending of it, and answers
    /// only when no current key opens any copy in the store's files. Returns how many events lost their payload.
    async fn erase(&self, erasure: Erasure) -> Result<u64, StoreError>;

    /// A consistent copy while serving. Holds neither the master key nor anything that opens without it.
    async fn backup(&self, to: PathBuf) -> Result<(), StoreError>;

    /// Makes a new master key and wraps with it whatever the present one wraps, while serving. After a crash at any point the
    /// store opens with the key file that is named in its options.
    async fn rewrap(&self, by: By) -> Result<Rewrapped, StoreError>;

    async fn stats(&self) -> Result<StoreStats, StoreError>;

    /// Whether other processes may use the same store at the same time. Then what is in memory may be out of date, and
    /// orphans may come at any time.
    fn is_shared(&self) -> bool;

    /// Findings for `doctor`: integrity, outcome_unknown deliveries, settings.
    async fn examine(&self) -> Result<Vec<Finding>, StoreError>;

    /// Finishes what was begun, checkpoints, closes.
    async fn close(&self) -> Result<(), StoreError>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub ok: bool,
    pub what: String,
    pub advice: Option<String>,
}
