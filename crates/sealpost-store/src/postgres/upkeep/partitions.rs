//! Attempts lie in one partition for each day they began on. A day is dropped whole when every event that is left is
//! younger than it: an attempt is never older than its event.

use std::collections::BTreeSet;

use super::DAY_MS;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::postgres::schema::LOCK_CLASS;

/// Made beforehand, so that a stop of upkeep for a day or two puts nothing in the partition of all other days.
const DAYS_AHEAD: i64 = 3;

/// For a start: by the database's clock, since nobody has said yet what time it is.
pub(in crate::postgres) async fn make_from_now(conn: &Conn) -> Result<(), Fault> {
    conn.begin().await?;
    let lock = "SELECT pg_advisory_xact_lock($1, hashtext('sweep ' || current_schema()))::text";
    conn.rows(lock, &[&LOCK_CLASS]).await?;
    let today = "SELECT floor(extract(epoch FROM clock_timestamp()) / 86400)::bigint";
    make(conn, conn.one(today, &[]).await?.col(0)?).await?;
    conn.batch("COMMIT").await?;
    conn.settled();
    Ok(())
}

pub(super) async fn make(conn: &Conn, today: i64) -> Result<(), Fault> {
    make_days(conn, today..=today + DAYS_AHEAD).await
}

/// For attempts that began at these times.
pub(in crate::postgres) async fn make_of(
    conn: &Conn,
    started: impl Iterator<Item = i64>,
) -> Result<(), Fault> {
    let days: BTreeSet<i64> = started.map(|ms| ms.div_euclid(DAY_MS)).collect();
    make_days(conn, days.into_iter()).await
}

async fn make_days(conn: &Conn, days: impl Iterator<Item = i64>) -> Result<(), Fault> {
    for day in days {
        let (from, to) = (day * DAY_MS, (day + 1) * DAY_MS);
        // A day that has rows among the others stays there: making its partition would fail on them.
        let sql = "SELECT to_regclass('attempt_d' || $1::bigint) IS NULL
                          AND NOT EXISTS (SELECT 1 FROM attempt_other WHERE started >= $2 AND started < $3)";
        if conn.one(sql, &[&day, &from, &to]).await?.col(0)? {
            let make = format!(
                "CREATE TABLE attempt_d{day} PARTITION OF attempt FOR VALUES FROM ({from}) TO ({to})"
            );
            conn.batch(&make).await?;
        }
    }
    Ok(())
}

pub(super) async fn drop_old(conn: &Conn, today: i64) -> Result<(), Fault> {
    let oldest: Option<i64> = conn.one("SELECT min(accepted_at) FROM event", &[]).await?.col(0)?;
    let oldest = oldest.unwrap_or(i64::MAX).min(today * DAY_MS);
    let days = "SELECT substr(c.relname, 10)::bigint FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'attempt'::regclass AND c.relname ~ '^attempt_d[0-9]+$'";
    for row in conn.rows(days, &[]).await? {
        let day: i64 = row.col(0)?;
        if (day + 1) * DAY_MS <= oldest {
            conn.batch(&format!("DROP TABLE attempt_d{day}")).await?;
        }
    }
    conn.run("DELETE FROM attempt_other WHERE started < $1", &[&oldest]).await.map(drop)
}
