//! Erasure: cancel what is pending, overwrite salts, payloads and excerpts where they lie, and answer only when the
//! log holds no older copy either.
//!
//! Each erasure is written to `erasures.jsonl` beside the database before anything is destroyed: ids, keyed hashes
//! and times, never content. A restored backup that is older than an erasure has it applied again from there.

mod journal;

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use sealpost_core::delivery::CancelReason;
use sealpost_core::id::TenantNo;
use sealpost_core::time::Timestamp;

use crate::audit::Change;
use crate::error::StoreError;
use crate::sqlite::SqliteStore;
use crate::sqlite::audit as log;
use crate::sqlite::listing::{Table, seqs_between};
use crate::sqlite::retention::{Family, Gone};
use crate::sqlite::rows::corrupt;
use crate::sqlite::upkeep::Budget;
use crate::sqlite::writer::{Cost, Kind, WriteError, folder_of};
use crate::upkeep::{Erasure, ErasureScope};

pub use journal::FILE as ERASURES_FILE;
pub(super) use journal::{Entry, append_missing, read as read_journal, read_named as read_named_journal};

/// While a backup reads, the log cannot be emptied; it is tried again for this long.
const LOG_TRIES: u32 = 600;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

pub(super) async fn erase(store: &SqliteStore, erasure: Erasure) -> Result<u64, StoreError> {
    let tenant = erasure.tenant;
    let uuid = store.tenant_key(tenant).await?.ok_or(corrupt("tenant"))?.tenant();
    let entry = Entry::new(&erasure, uuid);
    let folder = folder_of(&store.path).to_owned();
    let line = entry.clone();
    tokio::task::spawn_blocking(move || journal::append(&folder, &line))
        .await
        .map_err(|_| StoreError::Closed)??;

    let mut walk = Walk::new(tenant, erasure.scope);
    loop {
        let (entry, by) = (entry.clone(), erasure.by.clone());
        let (next, known) = store
            .writer
            // Not as upkeep, which would wait behind a steady load for every slice.
            .run(Kind::Registry, Cost::rows(100), move |conn, ctx| {
                if let Some(count) = recorded(conn, &entry)? {
                    return Ok((walk.clone(), Some(count)));
                }
                let mut walk = walk.clone();
                ctx.tally.delivery_writes += walk.go_on(conn, by.at)?;
                if walk.is_done() {
                    record(conn, &entry, tenant, walk.count)?;
                    let change = Change::made(json!({"events": walk.count}));
                    log::insert(conn, tenant, &by, &entry.id.to_string(), &change)?;
                }
                Ok((walk, None))
            })
            .await?;
        walk = next;
        if known.is_some() || walk.is_done() {
            empty_log(store).await?;
            return Ok(known.unwrap_or(walk.count));
        }
    }
}

/// Copies of overwritten pages live on in the log until it is cut to nothing.
pub(super) async fn empty_log(store: &SqliteStore) -> Result<(), StoreError> {
    // Everything is overwritten, but older copies are left in the log; asking again finishes it.
    if try_to_empty_log(store, LOG_TRIES).await? { Ok(()) } else { Err(StoreError::Busy) }
}

/// `false`: whoever reads did not leave.
pub(super) async fn try_to_empty_log(store: &SqliteStore, tries: u32) -> Result<bool, StoreError> {
    for _ in 0..tries {
        if store.writer.truncate_wal().await? {
            return Ok(true);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    Ok(false)
}

/// The count of an erasure that was carried out before: asking twice is harmless.
pub(super) fn recorded(conn: &Connection, entry: &Entry) -> rusqlite::Result<Option<u64>> {
    conn.prepare_cached("SELECT count FROM erasure WHERE id = ?1")?
        .query_row([entry.id.bytes()], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
        .optional()
}

pub(super) fn record(
    conn: &Connection,
    entry: &Entry,
    tenant: TenantNo,
    count: u64,
) -> Result<(), WriteError> {
    conn.prepare_cached(
        "INSERT OR IGNORE INTO erasure (id, tenant, at, scope, count) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((
        entry.id.bytes(),
        tenant.0,
        entry.at,
        journal::scope_text(entry)?,
        i64::try_from(count).unwrap_or(i64::MAX),
    ))?;
    Ok(())
}

/// An erasure on its way through what is in its scope, in slices.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    tenant: TenantNo,
    scope: ErasureScope,
    /// Event ids done, or the last event number seen.
    cursor: i64,
    done: bool,
    /// Payloads destroyed.
    pub(super) count: u64,
}

impl Walk {
    pub(super) fn new(tenant: TenantNo, scope: ErasureScope) -> Self {
        Self { tenant, scope, cursor: 0, done: false, count: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// One slice. Returns how many delivery rows it wrote.
    pub(super) fn go_on(&mut self, conn: &Connection, now: Timestamp) -> Result<u64, WriteError> {
        let mut budget = Budget::slice();
        let mut written = 0;
        let bounds = match &self.scope {
            ErasureScope::Range { from, to } => seqs_between(conn, Table::Event, Some(*from), Some(*to))?,
            ErasureScope::Events(_) | ErasureScope::Subject(_) => (0, i64::MAX),
        };
        while budget.rows_left() > 0 && !self.done {
            let Some((cursor, payload)) = self.next(conn, bounds)? else {
                self.done = true;
                break;
            };
            self.cursor = cursor;
            budget.take(1, 0);
            let family = match payload {
                Some(payload) => Family::load(conn, payload)?,
                None => None,
            };
            let Some(family) = family else { continue };
            written += family.cancel_pending(conn, CancelReason::PayloadErased, now)?;
            if family.destroy(conn, Gone::Erased)? {
                self.count += 1;
            }
            budget.take(family.delivery_count(), family.bytes);
        }
        Ok(written)
    }

    /// Where the cursor is after the next event in scope, and the event's payload, if there is such an event.
    /// `bounds` are the numbers (inclusive, exclusive) outside of which nothing is in a range.
    fn next(&self, conn: &Connection, bounds: (i64, i64)) -> Result<Option<(i64, Option<i64>)>, WriteError> {
        match &self.scope {
            ErasureScope::Events(ids) => {
                let at = usize::try_from(self.cursor).map_err(|_| corrupt("erasure cursor"))?;
                let Some(id) = ids.get(at) else { return Ok(None) };
                let payload = conn
                    .prepare_cached("SELECT payload FROM event WHERE tenant = ?1 AND id = ?2")?
                    .query_row((self.tenant.0, id.bytes()), |row| row.get(0))
                    .optional()?;
                Ok(Some((self.cursor + 1, payload)))
            }
            ErasureScope::Subject(subject) => {
                let event: Option<i64> = conn
                    .prepare_cached(
                        "SELECT event FROM subject WHERE tenant = ?1 AND subject = ?2 AND event > ?3
                         ORDER BY event LIMIT 1",
                    )?
                    .query_row((self.tenant.0, subject, self.cursor), |row| row.get(0))
                    .optional()?;
                let Some(event) = event else { return Ok(None) };
                let payload = conn
                    .prepare_cached("SELECT payload FROM event WHERE seq = ?1 AND tenant = ?2")?
                    .query_row((event, self.tenant.0), |row| row.get(0))
                    .optional()?;
                Ok(Some((event, payload)))
            }
            ErasureScope::Range { from, to } => {
                let (floor, below) = bounds;
                let row: Option<(i64, i64, i64, i64)> = conn
                    .prepare_cached(
                        "SELECT seq, tenant, accepted_at, payload FROM event WHERE seq > ?1 AND seq >= ?2 AND seq < ?3
                         ORDER BY seq LIMIT 1",
                    )?
                    .query_row((self.cursor, floor, below), |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })
                    .optional()?;
                let Some((seq, tenant, accepted_at, payload)) = row else { return Ok(None) };
                let inside = (from.millis()..=to.millis()).contains(&accepted_at);
                Ok(Some((seq, (tenant == self.tenant.0 && inside).then_some(payload))))
            }
        }
    }
}
