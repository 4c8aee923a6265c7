//! The upkeep role. `sweep` is one transaction of at most [`UPKEEP_ROWS`] rows that runs when nobody else wants to
//! write; what it does not finish it finds again the next time, from cursors that it writes in the same transaction.

mod calls;
mod examine;
mod replay;
mod stale;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use rusqlite::Connection;

use sealpost_core::audit::By;
use sealpost_core::limits::UPKEEP_ROWS;
use sealpost_core::time::Timestamp;

use crate::error::StoreError;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::writer::{Cost, Kind, WriteError, folder_of, free_bytes};
use crate::sqlite::{SqliteStore, backup, erase, listing, retention, rewrap};
use crate::upkeep::{Erasure, Finding, RecordedCall, Rewrapped, StoreStats, Swept, Upkeep};
use crate::vault::key_file::beside;

/// Payload bytes overwritten in one slice: they go through the log.
const SLICE_BYTES: u64 = 4 * 1024 * 1024;

/// What is left of one slice.
#[derive(Debug)]
pub(super) struct Budget {
    rows: u64,
    bytes: u64,
    used: u64,
}

impl Budget {
    pub(super) fn slice() -> Self {
        Self { rows: u64::from(UPKEEP_ROWS), bytes: SLICE_BYTES, used: 0 }
    }

    pub(super) fn take(&mut self, rows: u64, bytes: u64) {
        self.used += rows;
        self.rows = self.rows.saturating_sub(rows);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Nothing more in this slice.
    pub(super) fn stop(&mut self) {
        self.rows = 0;
    }

    /// Rows that may still be touched; 0 also when the bytes are used up.
    pub(super) fn rows_left(&self) -> i64 {
        if self.bytes == 0 { 0 } else { self.rows as i64 }
    }
}

#[async_trait]
impl Upkeep for SqliteStore {
    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        self.writer
            .run(Kind::Upkeep, Cost::rows(UPKEEP_ROWS as usize), move |conn, ctx| slice(conn, ctx, now))
            .await
    }

    async fn record_calls(&self, calls: Vec<RecordedCall>) -> Result<(), StoreError> {
        let cost = Cost::rows(calls.len());
        self.writer.run(Kind::Record, cost, move |conn, _| calls::insert(conn, &calls)).await
    }

    async fn forget_calls(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.writer
            .run(Kind::Upkeep, Cost::rows(calls::FORGOTTEN_AT_ONCE), move |conn, _| {
                calls::forget(conn, before)
            })
            .await
    }

    async fn erase(&self, erasure: Erasure) -> Result<u64, StoreError> {
        erase::erase(self, erasure).await
    }

    async fn backup(&self, to: PathBuf) -> Result<(), StoreError> {
        backup::backup(self, to).await
    }

    async fn rewrap(&self, by: By) -> Result<Rewrapped, StoreError> {
        rewrap::rewrap(self, by).await
    }

    async fn stats(&self) -> Result<StoreStats, StoreError> {
        let counters = self.writer.counters();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = StoreStats {
            commits: read(&counters.commits),
            accepts: read(&counters.accepts),
            claims: read(&counters.claims),
            settles: read(&counters.settles),
            delivery_writes: read(&counters.delivery_writes),
            ..StoreStats::default()
        };
        let path = self.path.clone();
        let of_files = tokio::task::spawn_blocking(move || {
            let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |file| file.len());
            (size(&path), size(&wal_of(&path)), free_bytes(folder_of(&path)))
        });
        (stats.file_bytes, stats.wal_bytes, stats.free_disk_bytes) =
            of_files.await.map_err(|_| StoreError::Closed)?;
        Ok(stats)
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn examine(&self) -> Result<Vec<Finding>, StoreError> {
        examine::examine(self).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.shut().await
    }
}

/// The write-ahead log beside a database file.
pub(super) fn wal_of(database: &std::path::Path) -> PathBuf {
    beside(database, "-wal")
}

/// First what others wait for or read wrong without, last what only takes room.
fn slice(conn: &Connection, ctx: &mut WriterCtx, now: Timestamp) -> Result<Swept, WriteError> {
    let mut budget = Budget::slice();
    let mut woken = Vec::new();
    stale::cancel(conn, ctx, now, &mut budget)?;
    // A delivery is in two lists, and comes with an event at times.
    let filled = listing::fill(conn, budget.rows_left() / 2, now)?;
    budget.take(filled, 0);
    replay::go_on(conn, ctx, now, &mut budget, &mut woken)?;
    let rules = retention::Rules::load(conn)?;
    retention::prune_due(conn, &rules, now, &mut budget)?;
    retention::look_at_old(conn, &rules, now, &mut budget)?;
    retention::forget(conn, ctx, &rules, now, &mut budget)?;
    Ok(Swept { rows: budget.used, woken })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_ends_with_its_rows_or_its_bytes() {
        let mut budget = Budget::slice();
        let all = i64::from(UPKEEP_ROWS);
        assert_eq!(budget.rows_left(), all);
        budget.take(all as u64 - 1, 10);
        assert_eq!(budget.rows_left(), 1);
        budget.take(0, SLICE_BYTES);
        assert_eq!((budget.rows_left(), budget.used), (0, all as u64 - 1));
    }
}
