//! Retention `none`: the payload goes in the same commit as the end of its last delivery.

use sealpost_core::time::Timestamp;

use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};

/// Deliveries of these events to webhooks that keep nothing have just ended. If all webhooks that got a payload keep
/// nothing, and none of its deliveries is pending, it is destroyed. Otherwise it is looked at by the next sweep: the
/// last two deliveries may end at the same time, neither seeing the other's end.
pub(in crate::postgres) async fn destroy_if_forgetful(
    conn: &Conn,
    events: &[i64],
    now: Timestamp,
) -> Result<(), Fault> {
    // The event it came with, and the ones derived from that.
    let sql = "SELECT p.payload, NOT EXISTS (
                   SELECT 1 FROM event e JOIN delivery d
                       ON d.seq >= e.first_delivery AND d.seq < e.first_delivery + e.deliveries
                   JOIN webhook w ON w.no = d.webhook
                   WHERE (e.seq = p.payload OR e.derived_of = p.payload) AND (d.state = 0 OR w.retention <> 1)
                   UNION ALL
                   SELECT 1 FROM event e JOIN redelivery r ON r.event = e.seq JOIN delivery d ON d.seq = r.delivery
                   JOIN webhook w ON w.no = d.webhook
                   WHERE (e.seq = p.payload OR e.derived_of = p.payload) AND (d.state = 0 OR w.retention <> 1))
               FROM (SELECT DISTINCT payload FROM event WHERE seq = ANY($1)) p";
    let (mut over, mut shared): (Vec<i64>, Vec<i64>) = Default::default();
    for row in conn.rows(sql, &[&events]).await? {
        if row.col(1)? { over.push(row.col(0)?) } else { shared.push(row.col(0)?) }
    }
    if !over.is_empty() {
        conn.run("DELETE FROM payload_salt WHERE seq = ANY($1)", &[&over]).await?;
        let sql = "UPDATE payload SET sealed = NULL, gone = 1, until = NULL WHERE seq = ANY($1) AND gone = 0";
        conn.run(sql, &[&over]).await?;
    }
    if !shared.is_empty() {
        let sql = "UPDATE payload SET until = $2 WHERE seq = ANY($1) AND gone = 0 AND until > $2";
        conn.run(sql, &[&shared, &now.millis()]).await?;
    }
    Ok(())
}
