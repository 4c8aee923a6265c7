//! Pending deliveries of an older lane epoch are cancelled already, as claims and readers see them; here their rows
//! are brought to say so.

use sealpost_core::delivery::State;
use sealpost_core::id::WebhookNo;
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use super::Budget;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::postgres::queue::destroy_if_forgetful;
use crate::rows::stale_reason;

/// Longer than a request that was matched before can take to be stored.
const KEPT_S: i32 = 60;

/// How many deliveries it ended.
pub(super) async fn cancel(conn: &Conn, now: Timestamp, budget: &mut Budget) -> Result<u64, Fault> {
    let lanes = "SELECT s.webhook, w.lane_epoch, w.deleted_at IS NOT NULL, w.retention = 1,
                        s.made_at < clock_timestamp() - make_interval(secs => $1)
                 FROM stale_lane s JOIN webhook w ON w.no = s.webhook ORDER BY s.made_at, s.webhook LIMIT 1000";
    let mut written = 0;
    for lane in conn.rows(lanes, &[&f64::from(KEPT_S)]).await? {
        if budget.left() == 0 {
            break;
        }
        let (webhook, epoch): (i64, i64) = (lane.col(0)?, lane.col(1)?);
        let (deleted, forgetful, over): (bool, bool, bool) = (lane.col(2)?, lane.col(3)?, lane.col(4)?);
        let reason = State::Cancelled(stale_reason(deleted));
        let codes = (i16::from(reason.status().code()), i16::from(reason.reason_code()));
        let lanes = vec![LaneNo::ordinary(WebhookNo(webhook)).0, LaneNo::replay(WebhookNo(webhook)).0];
        let sql = "UPDATE delivery SET state = $1, reason = $2, due = NULL, ended = $3, fence = fence + 1
                   WHERE seq IN (SELECT seq FROM delivery
                                 WHERE lane = ANY($4) AND state = 0 AND claimer IS NULL AND due IS NOT NULL
                                   AND lane_epoch < $5
                                 ORDER BY seq LIMIT $6 FOR UPDATE SKIP LOCKED)
                   RETURNING event";
        let most = budget.left();
        let rows = conn.rows(sql, &[&codes.0, &codes.1, &now.millis(), &lanes, &epoch, &most]).await?;
        let events = rows.iter().map(|row| row.col(0)).collect::<Result<Vec<i64>, _>>()?;
        if forgetful && !events.is_empty() {
            destroy_if_forgetful(conn, &events, now).await?;
        }
        written += events.len() as u64;
        budget.take(events.len() as u64);
        if events.is_empty() && over {
            conn.run("DELETE FROM stale_lane WHERE webhook = $1", &[&webhook]).await?;
            budget.take(1);
        }
    }
    Ok(written)
}
