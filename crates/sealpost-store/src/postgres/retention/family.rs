//! An event with the events derived from it: what shares one payload, and so ends, is erased and is forgotten together.
//! A family is named by the number of its payload, which is the number of the event it came with.

use std::collections::HashSet;

use sealpost_core::delivery::{CancelReason, State};
use sealpost_core::time::Timestamp;

use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::rows::{shown_state, state};

/// `payload.gone`, beside 0 for kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::postgres) enum Gone {
    Pruned = 1,
    Erased = 2,
}

/// The deliveries of the families `$1`: those that accept made, and those made later.
const DELIVERIES: &str = "SELECT e.payload, d.seq FROM event e
         JOIN delivery d ON d.seq >= e.first_delivery AND d.seq < e.first_delivery + e.deliveries
         WHERE e.seq = ANY($1) OR e.derived_of = ANY($1)
         UNION ALL
         SELECT e.payload, r.delivery FROM event e JOIN redelivery r ON r.event = e.seq
         WHERE e.seq = ANY($1) OR e.derived_of = ANY($1)";

/// Destroys the salts, lets the sealed payloads and every response excerpt go. How many were kept until now.
pub(in crate::postgres) async fn destroy(conn: &Conn, families: &[i64], gone: Gone) -> Result<u64, Fault> {
    if families.is_empty() {
        return Ok(0);
    }
    let kept = "SELECT seq FROM payload WHERE seq = ANY($1) AND gone = 0 ORDER BY seq FOR UPDATE";
    let kept = conn.rows(kept, &[&families]).await?.len() as u64;
    conn.run("DELETE FROM payload_salt WHERE seq = ANY($1)", &[&families]).await?;
    let sql = "UPDATE payload SET sealed = NULL, gone = greatest(gone, $2), until = NULL WHERE seq = ANY($1)";
    conn.run(sql, &[&families, &(gone as i16)]).await?;
    let sql = format!(
        "UPDATE attempt SET salt = NULL, excerpt = NULL
         WHERE salt IS NOT NULL AND delivery IN (SELECT seq FROM ({DELIVERIES}) f)"
    );
    conn.run(&sql, &[&families]).await?;
    Ok(kept)
}

/// Ends what is pending; what is being sent right now is marked, so that it is not tried again. Returns the rows
/// written.
pub(in crate::postgres) async fn cancel_pending(
    conn: &Conn,
    families: &[i64],
    reason: CancelReason,
    now: Timestamp,
) -> Result<u64, Fault> {
    let sql = format!(
        "SELECT d.seq, d.reason, d.lane_epoch, w.lane_epoch, w.deleted_at IS NOT NULL, d.claimer IS NOT NULL
         FROM ({DELIVERIES}) f JOIN delivery d ON d.seq = f.seq JOIN webhook w ON w.no = d.webhook
         WHERE d.state = 0 ORDER BY d.seq FOR UPDATE OF d"
    );
    let mut written = 0;
    for row in conn.rows(&sql, &[&families]).await? {
        let (seq, claimed): (i64, bool) = (row.col(0)?, row.col(5)?);
        let shown = shown_state(state(0, row.code(1)?)?, (row.col(2)?, row.col(3)?), row.col(4)?, claimed);
        if claimed {
            let mark = "UPDATE delivery SET cancel = $2 WHERE seq = $1";
            conn.run(mark, &[&seq, &i16::from(reason.code())]).await?;
        } else {
            // A row of an older epoch was cancelled before, for a reason of its own.
            let end = if shown.is_final() { shown } else { State::Cancelled(reason) };
            let sql = "UPDATE delivery SET state = $2, reason = $3, due = NULL, ended = $4, fence = fence + 1
                       WHERE seq = $1";
            let codes = (i16::from(end.status().code()), i16::from(end.reason_code()));
            conn.run(sql, &[&seq, &codes.0, &codes.1, &now.millis()]).await?;
        }
        written += 1;
    }
    Ok(written)
}

/// Deletes everything of those families of which nothing is pending; attempts only of the `brief` ones, the others' go
/// with their day. How many deliveries were deleted.
pub(super) async fn forget(conn: &Conn, families: &[i64], brief: &[i64]) -> Result<u64, Fault> {
    if families.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "SELECT f.payload, f.seq, d.state = 0 FROM ({DELIVERIES}) f JOIN delivery d ON d.seq = f.seq FOR UPDATE OF d"
    );
    let rows = conn.rows(&sql, &[&families]).await?;
    let mut pending: HashSet<i64> = HashSet::new();
    for row in &rows {
        if row.col(2)? {
            pending.insert(row.col(0)?);
        }
    }
    let (mut deliveries, mut of_brief): (Vec<i64>, Vec<i64>) = Default::default();
    for row in &rows {
        let (family, seq): (i64, i64) = (row.col(0)?, row.col(1)?);
        if !pending.contains(&family) {
            deliveries.push(seq);
            if brief.contains(&family) {
                of_brief.push(seq);
            }
        }
    }
    let over: Vec<i64> = families.iter().copied().filter(|family| !pending.contains(family)).collect();
    if over.is_empty() {
        return Ok(0);
    }
    if !of_brief.is_empty() {
        conn.run("DELETE FROM attempt WHERE delivery = ANY($1)", &[&of_brief]).await?;
    }
    let members = "SELECT seq FROM event WHERE seq = ANY($1) OR derived_of = ANY($1)";
    let found = conn.rows(members, &[&over]).await?;
    let members = found.iter().map(|row| row.col(0)).collect::<Result<Vec<i64>, _>>()?;
    for sql in [
        "DELETE FROM redelivery WHERE event = ANY($1)",
        "DELETE FROM subject WHERE event = ANY($1)",
        "DELETE FROM repeat_key WHERE event = ANY($1)",
        "DELETE FROM event WHERE seq = ANY($1)",
    ] {
        conn.run(sql, &[&members]).await?;
    }
    conn.run("DELETE FROM delivery WHERE seq = ANY($1)", &[&deliveries]).await?;
    conn.run("DELETE FROM payload_salt WHERE seq = ANY($1)", &[&over]).await?;
    conn.run("DELETE FROM payload WHERE seq = ANY($1)", &[&over]).await?;
    Ok(deliveries.len() as u64)
}
