//! Bulk redelivery: works off one stored job after the other. The cursor and the new rows share a transaction, and
//! (job, event) is unique, so a job makes each delivery once however often it is interrupted.
//!
//! Ids of the new deliveries are made of `now` and of chance that is drawn here: nobody else needs to know them.

use sealpost_core::id::{DeliveryId, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use super::Budget;
use crate::postgres::Shared;
use crate::postgres::fault::Fault;
use crate::postgres::history::{Again, CHOSEN, insert};
use crate::postgres::pool::{Columns as _, Conn};
use crate::vault;

/// How many deliveries it made.
pub(super) async fn go_on(
    conn: &Conn,
    shared: &Shared,
    now: Timestamp,
    budget: &mut Budget,
    woken: &mut Vec<LaneNo>,
) -> Result<u64, Fault> {
    let mut written = 0;
    while budget.left() > 0 {
        // The oldest job that is not done, and the webhook's epoch now if it takes deliveries.
        let next = "SELECT j.no, j.webhook, j.lane_epoch, j.status, j.from_at, j.to_at, j.next_at, j.next_seq, w.tenant,
                           CASE WHEN w.disabled OR w.deleted_at IS NOT NULL THEN NULL ELSE w.lane_epoch END
                    FROM replay_job j JOIN webhook w ON w.no = j.webhook WHERE NOT j.done ORDER BY j.no LIMIT 1";
        let Some(job) = conn.optional(next, &[]).await? else { return Ok(written) };
        let (no, webhook, lane_epoch): (i64, i64, i64) = (job.col(0)?, job.col(1)?, job.col(2)?);
        let status: Option<i16> = job.col(3)?;
        let (from, to): (i64, i64) = (job.col(4)?, job.col(5)?);
        let mut after: (i64, i64) = (job.col(6)?, job.col(7)?);
        let open_epoch: Option<i64> = job.col(9)?;
        if open_epoch != Some(lane_epoch) {
            // Disabled or deleted since: what was made is cancelled by its epoch, the rest is not made.
            conn.run("UPDATE replay_job SET done = TRUE WHERE no = $1", &[&no]).await?;
            budget.take(1);
            continue;
        }
        let most = budget.left();
        let sql = format!(
            "SELECT s.created_at, s.seq, s.event, s.chosen AND p.gone = 0 FROM (
                 SELECT d.created_at, d.seq, d.event, {CHOSEN} AND d.job IS DISTINCT FROM $8 AS chosen
                 FROM delivery d JOIN webhook w ON w.no = d.webhook
                 WHERE d.webhook = $1 AND d.created_at >= $3 AND d.created_at <= $4 AND (d.created_at, d.seq) > ($5, $6)
                 ORDER BY d.created_at, d.seq LIMIT $7) s
             JOIN event e ON e.seq = s.event JOIN payload p ON p.seq = e.payload
             ORDER BY s.created_at, s.seq"
        );
        let sources =
            conn.rows(&sql, &[&webhook, &status, &from, &to, &after.0, &after.1, &most, &no]).await?;
        let lane = LaneNo::replay(WebhookNo(webhook));
        let mut again = Vec::new();
        for row in &sources {
            after = (row.col(0)?, row.col(1)?);
            if row.col::<Option<bool>>(3)? == Some(true) {
                again.push(Again {
                    id: DeliveryId::new(now, vault::random()),
                    tenant: job.col(8)?,
                    event: row.col(2)?,
                    webhook,
                    lane,
                    lane_epoch,
                    job: Some(no),
                });
            }
        }
        let made = insert(conn, shared, &again, now).await?;
        written += made;
        let done = (sources.len() as i64) < most;
        let go_on =
            "UPDATE replay_job SET next_at = $2, next_seq = $3, made = made + $4, done = $5 WHERE no = $1";
        conn.run(go_on, &[&no, &after.0, &after.1, &(made as i64), &done]).await?;
        if made > 0 && !woken.contains(&lane) {
            woken.push(lane);
        }
        budget.take(1 + sources.len() as u64);
    }
    Ok(written)
}
