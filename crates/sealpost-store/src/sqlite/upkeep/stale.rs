//! Pending deliveries of an older lane epoch are cancelled already, as claims and readers see them; here their rows
//! are brought to say so.

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::delivery::State;
use sealpost_core::id::WebhookNo;
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use super::Budget;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::rows::stale_reason;
use crate::sqlite::writer::WriteError;

pub(super) fn cancel(
    conn: &Connection,
    ctx: &mut WriterCtx,
    now: Timestamp,
    budget: &mut Budget,
) -> Result<(), WriteError> {
    while budget.rows_left() > 0 {
        let lane: Option<(i64, Option<i64>, Option<bool>)> = conn
            .prepare_cached(
                "SELECT s.webhook, w.lane_epoch, w.deleted_at IS NOT NULL
                 FROM stale_lane s LEFT JOIN webhook w ON w.no = s.webhook ORDER BY s.webhook LIMIT 1",
            )?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((webhook, epoch, deleted)) = lane else { return Ok(()) };
        let reason = State::Cancelled(stale_reason(deleted.unwrap_or(true)));
        // `due` of a row that ended without an attempt says when, so that its payload is kept from then on.
        let cancelled = conn
            .prepare_cached(
                "UPDATE delivery SET state = ?1, reason = ?2, due = ?3, fence = fence + 1
                 WHERE seq IN (SELECT seq FROM delivery
                               WHERE lane IN (?4, ?5) AND state = 0 AND claimer IS NULL AND due IS NOT NULL
                                 AND lane_epoch < ?6
                               LIMIT ?7)
                 RETURNING event",
            )?
            .query_map(
                (
                    reason.status().code(),
                    reason.reason_code(),
                    now.millis(),
                    LaneNo::ordinary(WebhookNo(webhook)).0,
                    LaneNo::replay(WebhookNo(webhook)).0,
                    epoch.unwrap_or(i64::MAX),
                    budget.rows_left(),
                ),
                |row| row.get(0),
            )?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        if ctx.is_forgetful(WebhookNo(webhook)) {
            look_now(conn, &cancelled, now)?;
        }
        ctx.tally.delivery_writes += cancelled.len() as u64;
        let left = budget.rows_left() - cancelled.len() as i64;
        budget.take(cancelled.len() as u64, 0);
        if left > 0 {
            // Fewer than asked for: none is left. Who is in flight ends by its own settlement.
            conn.prepare_cached("DELETE FROM stale_lane WHERE webhook = ?1")?.execute([webhook])?;
            budget.take(1, 0);
        }
    }
    Ok(())
}

/// The payload of a webhook with retention `none` goes with the end of its last delivery.
fn look_now(conn: &Connection, events: &[i64], now: Timestamp) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(
        "UPDATE payload SET until = ?2 WHERE gone = 0 AND seq = (SELECT payload FROM event WHERE seq = ?1)",
    )?;
    for event in events {
        statement.execute((event, now.millis()))?;
    }
    Ok(())
}
