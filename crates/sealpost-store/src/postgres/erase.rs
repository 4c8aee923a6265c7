//! Erasure: cancel what is pending, destroy salts, let payloads and excerpts go, and answer only when no old version of
//! a salt is left in the table.
//!
//! What the database server keeps beside its tables is not in reach from here: archived WAL, base backups and dumps
//! hold the salts until they are thrown away.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_postgres::Row;

use sealpost_core::delivery::CancelReason;
use sealpost_core::time::Timestamp;

use super::audit as log;
use super::fault::Fault;
use super::pool::{Columns as _, Conn, reading, transaction};
use super::retention::{Gone, cancel_pending, destroy};
use super::{Shared, count};
use crate::audit::Change;
use crate::error::StoreError;
use crate::rows::corrupt;
use crate::upkeep::{Erasure, ErasureScope};

/// Events of one transaction.
const BATCH: usize = 100;

pub(super) async fn erase(shared: &Arc<Shared>, erasure: Erasure) -> Result<u64, StoreError> {
    shared.tenant_key(erasure.tenant).await?.ok_or(corrupt("tenant"))?;
    let mut erased = 0;
    let known = reading!(shared, |conn| recorded(conn, &erasure).await)?;
    if known.is_none() {
        let mut cursor = Cursor::default();
        while !cursor.done {
            let (next, count_now, written) =
                transaction!(shared, |conn| slice(conn, &erasure, cursor).await)?;
            cursor = next;
            erased += count_now;
            count(&shared.tally.delivery_writes, written);
        }
        erased = transaction!(shared, |conn| record(conn, &erasure, erased).await)?;
    }
    let conn = shared.pool.get().await.map_err(Fault::for_caller)?;
    // Old versions of rows live on until they are removed. Should that fail, asking again finishes it.
    conn.batch_unhurried("VACUUM payload_salt").await.map_err(Fault::for_caller)?;
    Ok(known.unwrap_or(erased))
}

/// How far an erasure is in its scope: ids done, or the last event seen by time and number.
#[derive(Clone, Copy)]
struct Cursor {
    ids: usize,
    at: i64,
    seq: i64,
    done: bool,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { ids: 0, at: i64::MIN, seq: i64::MIN, done: false }
    }
}

/// Where it is then, how many payloads it destroyed, and how many deliveries it wrote.
async fn slice(conn: &Conn, erasure: &Erasure, mut cursor: Cursor) -> Result<(Cursor, u64, u64), Fault> {
    let families = next(conn, erasure, &mut cursor).await?;
    if families.is_empty() {
        return Ok((cursor, 0, 0));
    }
    let written = cancel_pending(conn, &families, CancelReason::PayloadErased, erasure.by.at).await?;
    let destroyed = destroy(conn, &families, Gone::Erased).await?;
    Ok((cursor, destroyed, written))
}

/// The next families in scope.
async fn next(conn: &Conn, erasure: &Erasure, cursor: &mut Cursor) -> Result<Vec<i64>, Fault> {
    let tenant = erasure.tenant.0;
    let first = |row: &Row| row.col::<i64>(0);
    let mut families: Vec<i64> = match &erasure.scope {
        ErasureScope::Events(ids) => {
            let batch = ids.get(cursor.ids..).unwrap_or_default();
            let batch = &batch[..batch.len().min(BATCH)];
            cursor.ids += batch.len();
            cursor.done = cursor.ids >= ids.len();
            let batch: Vec<&[u8]> = batch.iter().map(|id| id.bytes().as_slice()).collect();
            let sql = "SELECT payload FROM event WHERE tenant = $1 AND id = ANY($2)";
            conn.rows(sql, &[&tenant, &batch]).await?.iter().map(first).collect::<Result<_, _>>()?
        }
        ErasureScope::Subject(subject) => {
            let sql = "SELECT e.payload, s.event FROM subject s LEFT JOIN event e ON e.seq = s.event
                       WHERE s.tenant = $1 AND s.subject = $2 AND s.event > $3 ORDER BY s.event LIMIT $4";
            let rows = conn.rows(sql, &[&tenant, &subject.as_slice(), &cursor.seq, &(BATCH as i64)]).await?;
            cursor.done = rows.len() < BATCH;
            let mut families = Vec::new();
            for row in &rows {
                cursor.seq = row.col(1)?;
                families.extend(row.col::<Option<i64>>(0)?);
            }
            families
        }
        ErasureScope::Range { from, to } => {
            let sql = "SELECT payload, accepted_at, seq FROM event
                       WHERE tenant = $1 AND accepted_at >= $2 AND accepted_at <= $3 AND (accepted_at, seq) > ($4, $5)
                       ORDER BY accepted_at, seq LIMIT $6";
            let (from, to) = (from.millis(), to.millis());
            let rows =
                conn.rows(sql, &[&tenant, &from, &to, &cursor.at, &cursor.seq, &(BATCH as i64)]).await?;
            cursor.done = rows.len() < BATCH;
            if let Some(last) = rows.last() {
                (cursor.at, cursor.seq) = (last.col(1)?, last.col(2)?);
            }
            rows.iter().map(first).collect::<Result<_, _>>()?
        }
    };
    families.sort_unstable();
    families.dedup();
    Ok(families)
}

/// The count of an erasure that was carried out before: asking twice is harmless.
async fn recorded(conn: &Conn, erasure: &Erasure) -> Result<Option<u64>, Fault> {
    let sql = "SELECT count FROM erasure WHERE id = $1";
    let found = conn.optional(sql, &[&erasure.id.bytes().as_slice()]).await?;
    found.map(|row| Ok(row.col::<i64>(0)?.unsigned_abs())).transpose()
}

/// The count that stands: another call under the same id may have been first.
async fn record(conn: &Conn, erasure: &Erasure, erased: u64) -> Result<u64, Fault> {
    let sql = "INSERT INTO erasure (id, tenant, at, scope, count) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let (at, scope) = (erasure.by.at.millis(), scope(&erasure.scope).to_string());
    let id = erasure.id.bytes().as_slice();
    let number = i64::try_from(erased).unwrap_or(i64::MAX);
    if conn.run(sql, &[&id, &erasure.tenant.0, &at, &scope, &number]).await? == 0 {
        return Ok(recorded(conn, erasure).await?.unwrap_or(erased));
    }
    let change = Change::made(json!({"events": erased}));
    log::insert(conn, erasure.tenant, &erasure.by, &erasure.id.to_string(), &change).await?;
    Ok(erased)
}

/// Ids, keyed hashes and times, never content.
fn scope(scope: &ErasureScope) -> Value {
    let ms = |at: &Timestamp| at.millis();
    match scope {
        ErasureScope::Events(ids) => json!({"events": ids}),
        ErasureScope::Subject(hash) => {
            json!({"subject": hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
        }
        ErasureScope::Range { from, to } => json!({"range": {"from": ms(from), "to": ms(to)}}),
    }
}
