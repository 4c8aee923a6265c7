//! Subjects and idempotency keys name events by number and are not indexed by it; those of forgotten events are
//! collected by walking both tables, at most once a day and only after something was forgotten.

use rusqlite::Connection;

use sealpost_core::time::Timestamp;

use super::{BATCH, DAY_MS};
use crate::sqlite::schema;
use crate::sqlite::upkeep::Budget;
use crate::sqlite::writer::WriteError;

/// Where the walk is: 0 not walking, 1 in `subject`, 2 in `repeat_key`; then the last row seen.
const STAGE: &str = "leftovers_stage";
const AFTER_TENANT: &str = "leftovers_tenant";
const AFTER_KEY: &str = "leftovers_key";
const AFTER_EVENT: &str = "leftovers_event";
const NOT_BEFORE: &str = "leftovers_not_before";

pub(super) fn collect(conn: &Connection, now: Timestamp, budget: &mut Budget) -> Result<(), WriteError> {
    let mut stage: i64 = schema::meta(conn, STAGE)?.unwrap_or(0);
    if stage == 0 {
        let any = schema::meta::<i64>(conn, "leftovers")?.unwrap_or(0) != 0;
        let not_before: i64 = schema::meta(conn, NOT_BEFORE)?.unwrap_or(i64::MIN);
        if !any || now.millis() < not_before || budget.rows_left() == 0 {
            return Ok(());
        }
        schema::set_meta(conn, "leftovers", &0i64)?;
        schema::set_meta(conn, NOT_BEFORE, &(now.millis() + DAY_MS))?;
        stage = 1;
        set_after(conn, stage, &After::default())?;
        budget.take(1, 0);
    }
    while stage != 0 && budget.rows_left() > 0 {
        let after = After {
            tenant: schema::meta(conn, AFTER_TENANT)?.unwrap_or(i64::MIN),
            key: schema::meta(conn, AFTER_KEY)?.unwrap_or_default(),
            event: schema::meta(conn, AFTER_EVENT)?.unwrap_or(i64::MIN),
        };
        let last = if stage == 1 { subjects(conn, &after, budget)? } else { keys(conn, &after, budget)? };
        match last {
            Some(last) => set_after(conn, stage, &last)?,
            None => {
                stage = if stage == 1 { 2 } else { 0 };
                set_after(conn, stage, &After::default())?;
            }
        }
    }
    Ok(())
}

#[derive(Debug)]
struct After {
    tenant: i64,
    key: Vec<u8>,
    event: i64,
}

impl Default for After {
    fn default() -> Self {
        Self { tenant: i64::MIN, key: Vec::new(), event: i64::MIN }
    }
}

fn set_after(conn: &Connection, stage: i64, after: &After) -> rusqlite::Result<()> {
    schema::set_meta(conn, STAGE, &stage)?;
    schema::set_meta(conn, AFTER_TENANT, &after.tenant)?;
    schema::set_meta(conn, AFTER_KEY, &after.key)?;
    schema::set_meta(conn, AFTER_EVENT, &after.event)
}

fn is_forgotten(conn: &Connection, event: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM event WHERE seq = ?1)")?
        .query_row([event], |row| row.get(0))
}

/// The last row of this batch; `None`: the table ended.
fn subjects(conn: &Connection, after: &After, budget: &mut Budget) -> Result<Option<After>, WriteError> {
    let rows: Vec<After> = conn
        .prepare_cached(
            "SELECT tenant, subject, event FROM subject WHERE (tenant, subject, event) > (?1, ?2, ?3)
             ORDER BY tenant, subject, event LIMIT ?4",
        )?
        .query_map((after.tenant, &after.key, after.event, BATCH), |row| {
            Ok(After { tenant: row.get(0)?, key: row.get(1)?, event: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    budget.take(rows.len() as u64, 0);
    for row in &rows {
        if is_forgotten(conn, row.event)? {
            conn.prepare_cached("DELETE FROM subject WHERE tenant = ?1 AND subject = ?2 AND event = ?3")?
                .execute((row.tenant, &row.key, row.event))?;
        }
    }
    Ok(rows.into_iter().next_back())
}

fn keys(conn: &Connection, after: &After, budget: &mut Budget) -> Result<Option<After>, WriteError> {
    let rows: Vec<(After, Vec<u8>)> = conn
        .prepare_cached(
            "SELECT tenant, key, events FROM repeat_key WHERE (tenant, key) > (?1, ?2)
             ORDER BY tenant, key LIMIT ?3",
        )?
        .query_map((after.tenant, &after.key, BATCH), |row| {
            Ok((After { tenant: row.get(0)?, key: row.get(1)?, event: i64::MIN }, row.get(2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    budget.take(rows.len() as u64, 0);
    for (row, events) in &rows {
        let (numbers, _) = events.as_chunks::<8>();
        let mut forgotten = true;
        for number in numbers {
            forgotten &= is_forgotten(conn, i64::from_be_bytes(*number))?;
        }
        if forgotten {
            conn.prepare_cached("DELETE FROM repeat_key WHERE tenant = ?1 AND key = ?2")?
                .execute((row.tenant, &row.key))?;
        }
    }
    Ok(rows.into_iter().next_back().map(|(row, _)| row))
}
