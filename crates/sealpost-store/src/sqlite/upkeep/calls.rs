//! Recorded calls: written many at once, and dropped in the order they were written when their time is over.

use rusqlite::Connection;

use sealpost_core::analytics::call_code;
use sealpost_core::time::Timestamp;

use crate::sqlite::rows::to_json;
use crate::sqlite::writer::WriteError;
use crate::upkeep::RecordedCall;

/// Deletes of neighbouring rows are cheap; a few milliseconds.
pub(super) const FORGOTTEN_AT_ONCE: usize = 1000;

/// A call that is there already stays: whoever does not know whether a write came through may repeat it.
pub(super) fn insert(conn: &Connection, calls: &[RecordedCall]) -> Result<(), WriteError> {
    let mut insert = conn.prepare_cached(
        "INSERT OR IGNORE INTO analytic_call (tenant, at, id, kind, request, client, data) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for call in calls {
        insert.execute((
            call.tenant.0,
            call.at.millis(),
            call.id.bytes(),
            call_code(call.operation, call.phase),
            call.request.bytes(),
            call.client.as_ref().map(|client| client.bytes()),
            call.data.as_ref().map(to_json).transpose()?,
        ))?;
    }
    Ok(())
}

/// Rows are almost in the order of time, so the first that is too young ends it.
pub(super) fn forget(conn: &Connection, before: Timestamp) -> Result<u64, WriteError> {
    let oldest: Vec<(i64, i64)> = conn
        .prepare_cached("SELECT seq, at FROM analytic_call ORDER BY seq LIMIT ?1")?
        .query_map([FORGOTTEN_AT_ONCE as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let old = oldest.iter().take_while(|(_, at)| *at < before.millis()).count();
    let Some((last, _)) = old.checked_sub(1).and_then(|last| oldest.get(last)) else { return Ok(0) };
    conn.prepare_cached("DELETE FROM analytic_call WHERE seq <= ?1")?.execute([last])?;
    Ok(old as u64)
}
