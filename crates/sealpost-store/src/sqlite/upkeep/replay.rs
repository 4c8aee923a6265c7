//! Bulk redelivery: works off one stored job after the other. The cursor and the new rows share a transaction, and
//! (job, event) is unique, so a job makes each delivery once however often it is interrupted.
//!
//! Ids of the new deliveries are made of `now` and of chance that is drawn here: nobody else needs to know them.

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::id::{DeliveryId, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use super::Budget;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::history::{Again, Chosen, insert};
use crate::sqlite::listing::{Table, watermark};
use crate::sqlite::writer::WriteError;
use crate::vault;

struct Job {
    no: i64,
    webhook: i64,
    lane_epoch: i64,
    chosen: Chosen,
    next_seq: i64,
    last_seq: i64,
    /// The webhook's epoch now; `None` when it is disabled, deleted or gone.
    open_epoch: Option<i64>,
}

pub(super) fn go_on(
    conn: &Connection,
    ctx: &mut WriterCtx,
    now: Timestamp,
    budget: &mut Budget,
    woken: &mut Vec<LaneNo>,
) -> Result<(), WriteError> {
    while budget.rows_left() > 0 {
        let Some(job) = next_job(conn)? else { return Ok(()) };
        if job.open_epoch != Some(job.lane_epoch) {
            // Disabled or deleted since: what was made is cancelled by its epoch, the rest is not made.
            move_to(conn, &job, job.last_seq + 1, 0)?;
            budget.take(1, 0);
            continue;
        }
        if watermark(conn, Table::Delivery)? < job.last_seq {
            // Its sources are not all in the listing index yet; filling it comes before this in every slice.
            return Ok(());
        }
        let most = budget.rows_left();
        let sources: Vec<i64> = conn
            .prepare_cached(
                "SELECT seq FROM listing WHERE kind = 2 AND key = ?1 AND seq >= ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4",
            )?
            .query_map((job.webhook, job.next_seq, job.last_seq, most), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let lane = LaneNo::replay(WebhookNo(job.webhook));
        let mut made = 0;
        for seq in &sources {
            let Some(event) = job.chosen.event_of(conn, *seq)? else { continue };
            let again = Again {
                id: DeliveryId::new(now, vault::random()),
                event,
                webhook: job.webhook,
                lane,
                lane_epoch: job.lane_epoch,
                job: Some(job.no),
            };
            made += i64::from(insert(conn, ctx, &again, now)?);
        }
        let next = match sources.last() {
            Some(last) if sources.len() as i64 == most => last + 1,
            _ => job.last_seq + 1,
        };
        move_to(conn, &job, next, made)?;
        if made > 0 && !woken.contains(&lane) {
            woken.push(lane);
        }
        budget.take(1 + sources.len() as u64, 0);
    }
    Ok(())
}

/// The oldest job that is not done. Jobs stay as rows, so that a number never names two of them.
fn next_job(conn: &Connection) -> rusqlite::Result<Option<Job>> {
    conn.prepare_cached(
        "SELECT j.no, j.webhook, j.lane_epoch, j.from_at, j.to_at, j.status, j.next_seq, j.last_seq,
                CASE WHEN w.disabled OR w.deleted_at IS NOT NULL THEN NULL ELSE w.lane_epoch END
         FROM replay_job j LEFT JOIN webhook w ON w.no = j.webhook
         WHERE j.next_seq <= j.last_seq ORDER BY j.no LIMIT 1",
    )?
    .query_row([], |row| {
        Ok(Job {
            no: row.get(0)?,
            webhook: row.get(1)?,
            lane_epoch: row.get(2)?,
            chosen: Chosen { from: row.get(3)?, to: row.get(4)?, status: row.get(5)? },
            next_seq: row.get(6)?,
            last_seq: row.get(7)?,
            open_epoch: row.get(8)?,
        })
    })
    .optional()
}

fn move_to(conn: &Connection, job: &Job, next: i64, made: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE replay_job SET next_seq = ?2, done = done + ?3 WHERE no = ?1")?
        .execute((job.no, next, made))?;
    Ok(())
}
