//! The upkeep role. `sweep` is one bounded transaction; of all nodes one sweeps at a time, and what it does not finish is
//! found again the next time, from cursors that it writes in the same transaction.

mod calls;
mod examine;
mod partitions;
mod replay;
mod stale;

use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use sealpost_core::audit::By;
use sealpost_core::limits::UPKEEP_ROWS;
use sealpost_core::time::Timestamp;

use super::fault::Fault;
use super::pool::{Columns as _, Conn, reading, transaction};
use super::schema::LOCK_CLASS;
use super::{PostgresStore, Shared, count, erase, node, retention, rewrap};
use crate::error::StoreError;
use crate::upkeep::{Erasure, Finding, RecordedCall, Rewrapped, StoreStats, Swept, Upkeep};

pub(super) use partitions::{make_from_now as make_partitions_from_now, make_of as make_partitions_of};

pub(super) const DAY_MS: i64 = 86_400_000;

/// What is left of one slice.
#[derive(Debug)]
pub(super) struct Budget {
    left: i64,
    used: u64,
}

impl Budget {
    fn slice() -> Self {
        Self { left: i64::from(UPKEEP_ROWS), used: 0 }
    }

    pub(super) fn take(&mut self, rows: u64) {
        self.used += rows;
        self.left = self.left.saturating_sub_unsigned(rows).max(0);
    }

    /// Rows that may still be touched.
    pub(super) fn left(&self) -> i64 {
        self.left
    }
}

#[async_trait]
impl Upkeep for PostgresStore {
    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        self.turn_day(now).await?;
        let (swept, written) = transaction!(self.shared, |conn| slice(conn, &self.shared, now).await)?;
        count(&self.shared.tally.delivery_writes, written);
        Ok(swept)
    }

    async fn record_calls(&self, calls: Vec<RecordedCall>) -> Result<(), StoreError> {
        transaction!(self.shared, |conn| calls::insert(conn, &calls).await)
    }

    async fn forget_calls(&self, before: Timestamp) -> Result<u64, StoreError> {
        transaction!(self.shared, |conn| calls::forget(conn, before).await)
    }

    async fn erase(&self, erasure: Erasure) -> Result<u64, StoreError> {
        erase::erase(&self.shared, erasure).await
    }

    async fn backup(&self, _: PathBuf) -> Result<(), StoreError> {
        let why = "this store is a PostgreSQL database: make its backups with pg_dump, or with pg_basebackup and \
                   archived WAL for a point in time; keep the master key file apart from them";
        Err(StoreError::Refused(why.into()))
    }

    async fn rewrap(&self, by: By) -> Result<Rewrapped, StoreError> {
        rewrap::rewrap(&self.shared, by).await
    }

    async fn stats(&self) -> Result<StoreStats, StoreError> {
        let tally = &self.shared.tally;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let sql = "SELECT pg_database_size(current_database())";
        let bytes: i64 = reading!(self.shared, |conn| async { conn.one(sql, &[]).await?.col(0) }.await)?;
        Ok(StoreStats {
            commits: read(&self.shared.pool.commits),
            accepts: read(&tally.accepts),
            claims: read(&tally.claims),
            settles: read(&tally.settles),
            delivery_writes: read(&tally.delivery_writes),
            file_bytes: bytes.unsigned_abs(),
            ..StoreStats::default()
        })
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn examine(&self) -> Result<Vec<Finding>, StoreError> {
        examine::examine(&self.shared).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.shared.shut().await
    }
}

impl PostgresStore {
    /// Once a day: partitions for the days to come, none for the days that are over.
    async fn turn_day(&self, now: Timestamp) -> Result<(), StoreError> {
        let today = now.millis().div_euclid(DAY_MS);
        let known = || self.shared.partitioned.lock().unwrap_or_else(PoisonError::into_inner);
        if *known() == Some(today) {
            return Ok(());
        }
        transaction!(self.shared, |conn| async {
            if alone(conn).await? {
                partitions::make(conn, today).await?;
                partitions::drop_old(conn, today).await?;
                node::forget_old(conn).await?;
            }
            Ok::<_, Fault>(())
        }
        .await)?;
        *known() = Some(today);
        Ok(())
    }
}

/// Whether no other node sweeps, until the end of the transaction.
async fn alone(conn: &Conn) -> Result<bool, Fault> {
    let sql = "SELECT pg_try_advisory_xact_lock($1, hashtext('sweep ' || current_schema()))";
    conn.one(sql, &[&LOCK_CLASS]).await?.col(0)
}

/// First what others wait for or read wrong without, last what only takes room. With it the delivery rows it wrote.
async fn slice(conn: &Conn, shared: &Shared, now: Timestamp) -> Result<(Swept, u64), Fault> {
    if !alone(conn).await? {
        return Ok((Swept::default(), 0));
    }
    let mut budget = Budget::slice();
    let mut woken = Vec::new();
    let mut written = stale::cancel(conn, now, &mut budget).await?;
    written += replay::go_on(conn, shared, now, &mut budget, &mut woken).await?;
    let rules = retention::Rules::load(conn).await?;
    retention::prune_due(conn, &rules, now, &mut budget).await?;
    retention::forget(conn, &rules, now, &mut budget).await?;
    Ok((Swept { rows: budget.used, woken }, written))
}
