//! Which rows a list shows, newest first: the listing index that upkeep fills behind the hot path, and before it
//! the tail of the tables that is not indexed yet. Also the way from a time to a row number.
//!
//! Row numbers rise with acceptance, so a list in their order is a list by time.

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::time::Timestamp;

use crate::sqlite::schema;

/// One list of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    EventsOfTenant(i64),
    DeliveriesOfTenant(i64),
    DeliveriesOfWebhook(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Event,
    Delivery,
}

/// Rows of the unindexed tail looked at in one step, whoever's they are.
const TAIL_STEP: i64 = 2000;

/// Times of neighbouring rows may be out of order by as long as a request waits between taking its time and being
/// written; a range of times begins and ends this much wider and is checked row by row.
pub(super) const DISORDER_MS: i64 = 10_000;

impl Table {
    fn watermark_name(self) -> &'static str {
        match self {
            Table::Event => "listed_event",
            Table::Delivery => "listed_delivery",
        }
    }
}

/// The highest number of the table that is in the index.
pub(super) fn watermark(conn: &Connection, table: Table) -> rusqlite::Result<i64> {
    Ok(schema::meta(conn, table.watermark_name())?.unwrap_or(0))
}

/// The highest number of the table; 0 if it is empty.
pub(super) fn newest(conn: &Connection, table: Table) -> rusqlite::Result<i64> {
    let sql = match table {
        Table::Event => "SELECT ifnull(max(seq), 0) FROM event",
        Table::Delivery => "SELECT ifnull(max(seq), 0) FROM delivery",
    };
    conn.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// Candidates of one step, newest first, and where to go on.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) seqs: Vec<i64>,
    /// Everything from here on upwards was looked at; `None`: everything was.
    pub(super) below: Option<i64>,
}

/// The next rows of a list with `floor <= seq < below`, at most `most`.
pub(super) fn step(
    conn: &Connection,
    list: List,
    below: i64,
    floor: i64,
    most: i64,
) -> rusqlite::Result<Step> {
    let (kind, key, table) = list.parts();
    let listed = watermark(conn, table)?;
    let below = below.min(newest(conn, table)? + 1);
    if below > listed + 1 {
        let from = floor.max(listed + 1).max(below - TAIL_STEP);
        let sql = match list {
            List::EventsOfTenant(_) => {
                "SELECT seq FROM event WHERE seq >= ?1 AND seq < ?2 AND tenant = ?3 ORDER BY seq DESC LIMIT ?4"
            }
            List::DeliveriesOfTenant(_) => {
                "SELECT d.seq FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook
                 WHERE d.seq >= ?1 AND d.seq < ?2 AND w.tenant = ?3 ORDER BY d.seq DESC LIMIT ?4"
            }
            List::DeliveriesOfWebhook(_) => {
                "SELECT seq FROM delivery NOT INDEXED WHERE seq >= ?1 AND seq < ?2 AND webhook = ?3
                 ORDER BY seq DESC LIMIT ?4"
            }
        };
        let seqs: Vec<i64> = conn
            .prepare_cached(sql)?
            .query_map((from, below, key, most), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let reached = if seqs.len() as i64 == most { seqs.last().copied().unwrap_or(from) } else { from };
        return Ok(Step { seqs, below: (reached > floor.max(1)).then_some(reached) });
    }
    let seqs: Vec<i64> = conn
        .prepare_cached(
            "SELECT seq FROM listing WHERE kind = ?1 AND key = ?2 AND seq >= ?3 AND seq < ?4
             ORDER BY seq DESC LIMIT ?5",
        )?
        .query_map((kind, key, floor, below, most), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let below = if seqs.len() as i64 == most { seqs.last().copied() } else { None };
    Ok(Step { seqs, below })
}

impl List {
    fn parts(self) -> (i64, i64, Table) {
        match self {
            List::EventsOfTenant(tenant) => (0, tenant, Table::Event),
            List::DeliveriesOfTenant(tenant) => (1, tenant, Table::Delivery),
            List::DeliveriesOfWebhook(webhook) => (2, webhook, Table::Delivery),
        }
    }

    /// Takes a row out of the index.
    pub(super) fn forget(self, conn: &Connection, seq: i64) -> rusqlite::Result<()> {
        let (kind, key, _) = self.parts();
        conn.prepare_cached("DELETE FROM listing WHERE kind = ?1 AND key = ?2 AND seq = ?3")?
            .execute((kind, key, seq))?;
        Ok(())
    }
}

/// Brings up to `most` rows of each table into the index. Returns how many. Deliveries that ended before they began
/// (accepted for a disabled webhook) of webhooks that keep no payload are noticed here.
pub(super) fn fill(conn: &Connection, most: i64, now: Timestamp) -> rusqlite::Result<u64> {
    let mut rows = 0;
    if let Some((from, to)) = next_rows(conn, Table::Event, most)? {
        rows += conn
            .prepare_cached(
                "INSERT OR IGNORE INTO listing (kind, key, seq)
                 SELECT 0, tenant, seq FROM event WHERE seq > ?1 AND seq <= ?2 ORDER BY tenant, seq",
            )?
            .execute((from, to))?;
        schema::set_meta(conn, Table::Event.watermark_name(), &to)?;
    }
    if let Some((from, to)) = next_rows(conn, Table::Delivery, most)? {
        rows += conn
            .prepare_cached(
                "INSERT OR IGNORE INTO listing (kind, key, seq)
                 SELECT 1, w.tenant, d.seq FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook
                 WHERE d.seq > ?1 AND d.seq <= ?2 ORDER BY w.tenant, d.seq",
            )?
            .execute((from, to))?;
        conn.prepare_cached(
            "INSERT OR IGNORE INTO listing (kind, key, seq)
             SELECT 2, webhook, seq FROM delivery NOT INDEXED WHERE seq > ?1 AND seq <= ?2 ORDER BY webhook, seq",
        )?
        .execute((from, to))?;
        conn.prepare_cached(
            "UPDATE payload SET until = ?3 WHERE gone = 0 AND until IS NULL AND seq IN (
                 SELECT e.payload FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook
                 CROSS JOIN event e ON e.seq = d.event
                 WHERE d.seq > ?1 AND d.seq <= ?2 AND d.state <> 0 AND w.retention = 1)",
        )?
        .execute((from, to, now.millis()))?;
        schema::set_meta(conn, Table::Delivery.watermark_name(), &to)?;
    }
    Ok(rows as u64)
}

/// The range (exclusive, inclusive) of the next `most` rows behind the watermark, if there are any.
fn next_rows(conn: &Connection, table: Table, most: i64) -> rusqlite::Result<Option<(i64, i64)>> {
    let from = watermark(conn, table)?;
    let sql = match table {
        Table::Event => "SELECT max(seq) FROM (SELECT seq FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2)",
        Table::Delivery => {
            "SELECT max(seq) FROM (SELECT seq FROM delivery WHERE seq > ?1 ORDER BY seq LIMIT ?2)"
        }
    };
    let to: Option<i64> = conn.prepare_cached(sql)?.query_row((from, most), |row| row.get(0))?;
    Ok(to.map(|to| (from, to)))
}

/// The numbers (inclusive, exclusive) outside of which no row of the table has a time in the range. Times inside
/// still have to be compared.
pub(super) fn seqs_between(
    conn: &Connection,
    table: Table,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> rusqlite::Result<(i64, i64)> {
    let floor = match from {
        Some(from) => first_at(conn, table, from.millis().saturating_sub(DISORDER_MS))?,
        None => 0,
    };
    let below = match to {
        Some(to) => first_at(conn, table, to.millis().saturating_add(DISORDER_MS))?,
        None => i64::MAX,
    };
    Ok((floor, below))
}

/// The first row that is not older than `at`, by halving; `i64::MAX` if all are older.
pub(super) fn first_at(conn: &Connection, table: Table, at: i64) -> rusqlite::Result<i64> {
    let (ends, probe) = match table {
        Table::Event => (
            "SELECT (SELECT min(seq) FROM event), (SELECT max(seq) FROM event)",
            "SELECT seq, accepted_at FROM event WHERE seq >= ?1 ORDER BY seq LIMIT 1",
        ),
        Table::Delivery => (
            "SELECT (SELECT min(seq) FROM delivery), (SELECT max(seq) FROM delivery)",
            "SELECT seq, created_at FROM delivery WHERE seq >= ?1 ORDER BY seq LIMIT 1",
        ),
    };
    let ends: (Option<i64>, Option<i64>) =
        conn.prepare_cached(ends)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(mut low), Some(newest)) = ends else { return Ok(i64::MAX) };
    let mut high = newest + 1;
    let mut probe = conn.prepare_cached(probe)?;
    // Every row below `low` is older; the row at `high`, if any, is not.
    while low < high {
        let middle = low + (high - low) / 2;
        let row: Option<(i64, i64)> =
            probe.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match row {
            Some((seq, row_at)) if row_at < at => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(if low > newest { i64::MAX } else { low })
}
