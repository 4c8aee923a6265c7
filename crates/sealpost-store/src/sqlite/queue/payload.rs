//! Retention `none`: the payload goes in the same commit as the end of its last delivery.

use rusqlite::Connection;

use sealpost_core::id::WebhookNo;

use crate::sqlite::context::WriterCtx;
use crate::sqlite::writer::WriteError;

/// A delivery of `event` to `webhook` has just ended. If the webhook keeps nothing, and neither does any other that
/// got this payload, and none of their deliveries is pending, the payload is destroyed. Where a webhook with
/// retention `standard` shares it, that webhook's time counts, and upkeep sees to it.
pub(crate) fn destroy_if_forgetful(
    conn: &Connection,
    ctx: &WriterCtx,
    webhook: WebhookNo,
    event: i64,
) -> Result<(), WriteError> {
    if !ctx.is_forgetful(webhook) {
        return Ok(());
    }
    let payload: i64 = conn
        .prepare_cached("SELECT payload FROM event WHERE seq = ?1")?
        .query_row([event], |row| row.get(0))?;
    // The event it came with, and the ones derived from that.
    let mut sharers = conn.prepare_cached(
        "SELECT seq, first_delivery, deliveries FROM event WHERE seq = ?1 \
         UNION ALL SELECT seq, first_delivery, deliveries FROM event WHERE derived_of = ?1",
    )?;
    let sharers = sharers
        .query_map([payload], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut deliveries = conn.prepare_cached(
        "SELECT webhook, state FROM delivery WHERE seq >= ?2 AND seq < ?2 + ?3 UNION ALL \
         SELECT d.webhook, d.state FROM redelivery r JOIN delivery d ON d.seq = r.delivery WHERE r.event = ?1",
    )?;
    for sharer in sharers {
        let mut rows = deliveries.query(sharer)?;
        while let Some(row) = rows.next()? {
            let (webhook, state) = (WebhookNo(row.get(0)?), row.get::<_, u8>(1)?);
            if state == 0 || !ctx.is_forgetful(webhook) {
                return Ok(());
            }
        }
    }
    conn.prepare_cached(
        "UPDATE payload SET salt = NULL, sealed = NULL, gone = 1, until = NULL WHERE seq = ?1 AND gone = 0",
    )?
    .execute([payload])?;
    Ok(())
}
