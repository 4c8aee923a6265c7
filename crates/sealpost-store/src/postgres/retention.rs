//! What is kept for how long: payloads go a time after the last delivery of any event that shares them ended, metadata
//! a time after acceptance.
//!
//! `payload.until` says when to look at a payload again; accepting sets it to the earliest time the payload could have
//! to go. Looking prunes it, or sets a later time: the one when it may go, or, while something is pending, one that
//! backs off with the event's age.

mod family;

use std::collections::HashMap;

use sealpost_core::tenant::Retention;
use sealpost_core::time::Timestamp;

use super::fault::Fault;
use super::pool::{Columns as _, Conn};
use super::registry::millis;
use super::schema;
use super::upkeep::{Budget, DAY_MS};
use crate::rows::from_json;
pub(super) use family::{Gone, cancel_pending, destroy};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
/// Families looked at in one statement.
const BATCH: i64 = 100;

/// Retention of every tenant. Read once per slice; there are few tenants beside rows.
pub(super) struct Rules {
    of: HashMap<i64, Retention>,
}

impl Rules {
    pub(super) async fn load(conn: &Conn) -> Result<Self, Fault> {
        let mut of = HashMap::new();
        for row in conn.rows("SELECT no, retention FROM tenant", &[]).await? {
            of.insert(row.col(0)?, from_json(row.col(1)?, "retention")?);
        }
        Ok(Self { of })
    }

    fn metadata_of(&self, tenant: i64) -> i64 {
        millis(self.of.get(&tenant).copied().unwrap_or_default().metadata)
    }

    fn metadata(&self) -> (i64, i64) {
        let each = || self.of.values().map(|retention| millis(retention.metadata));
        (each().min().unwrap_or(0), each().max().unwrap_or(0))
    }
}

/// Payloads whose time to be looked at has come.
pub(super) async fn prune_due(
    conn: &Conn,
    rules: &Rules,
    now: Timestamp,
    budget: &mut Budget,
) -> Result<(), Fault> {
    let now = now.millis();
    let tenants: Vec<i64> = rules.of.keys().copied().collect();
    let of = |which: fn(&Retention) -> std::time::Duration| -> Vec<i64> {
        rules.of.values().map(|retention| millis(which(retention))).collect()
    };
    let (delivered, failed) =
        (of(|retention| retention.payload_after_delivered), of(|retention| retention.payload_after_failed));
    while budget.left() > 0 {
        // Each delivery keeps the payload for a time from its own end on; the last one counts. An event that nobody is
        // subscribed to counts as delivered when it was accepted.
        let sql = "WITH due AS (
                       SELECT seq FROM payload WHERE until IS NOT NULL AND until <= $1 AND gone = 0
                       ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED),
                   rule AS (SELECT * FROM unnest($3::bigint[], $4::bigint[], $5::bigint[]) AS r (tenant, delivered, failed))
                   SELECT due.seq, o.accepted_at, coalesce(f.count, 0), coalesce(f.pending, FALSE),
                          coalesce(f.until, o.accepted_at + r.delivered)
                   FROM due LEFT JOIN event o ON o.seq = due.seq LEFT JOIN rule r ON r.tenant = o.tenant
                   LEFT JOIN LATERAL (
                       SELECT count(*) AS count, bool_or(d.state = 0) AS pending,
                              max(coalesce(d.ended, d.created_at) + CASE WHEN w.retention = 1 THEN 0
                                  WHEN d.state = 1 THEN r.delivered ELSE r.failed END) AS until
                       FROM event e CROSS JOIN LATERAL (
                           SELECT seq FROM delivery
                           WHERE seq >= e.first_delivery AND seq < e.first_delivery + e.deliveries
                           UNION ALL SELECT delivery FROM redelivery WHERE event = e.seq) s
                       JOIN delivery d ON d.seq = s.seq JOIN webhook w ON w.no = d.webhook
                       WHERE e.seq = due.seq OR e.derived_of = due.seq) f ON TRUE";
        let most = budget.left().min(BATCH);
        let looked = conn.rows(sql, &[&now, &most, &tenants, &delivered, &failed]).await?;
        if looked.is_empty() {
            return Ok(());
        }
        let (mut over, mut forgotten): (Vec<i64>, Vec<i64>) = Default::default();
        let (mut later, mut times): (Vec<i64>, Vec<i64>) = Default::default();
        for row in &looked {
            let (seq, accepted_at): (i64, Option<i64>) = (row.col(0)?, row.col(1)?);
            let (count, pending): (i64, bool) = (row.col(2)?, row.col(3)?);
            let until: Option<i64> = row.col(4)?;
            budget.take(1 + count.unsigned_abs());
            match (accepted_at, until) {
                (Some(accepted_at), _) if pending => {
                    later.push(seq);
                    times.push(now + ((now - accepted_at) / 4).clamp(MINUTE_MS, HOUR_MS));
                }
                (Some(_), Some(until)) if until > now => {
                    later.push(seq);
                    times.push(until);
                }
                (Some(_), _) => over.push(seq),
                // Its event is forgotten; nothing can ask for it.
                (None, _) => forgotten.push(seq),
            }
        }
        destroy(conn, &over, Gone::Pruned).await?;
        if !later.is_empty() {
            let sql = "UPDATE payload p SET until = l.until FROM unnest($1::bigint[], $2::bigint[]) AS l (seq, until)
                       WHERE p.seq = l.seq";
            conn.run(sql, &[&later, &times]).await?;
        }
        if !forgotten.is_empty() {
            conn.run("DELETE FROM payload_salt WHERE seq = ANY($1)", &[&forgotten]).await?;
            conn.run("DELETE FROM payload WHERE seq = ANY($1)", &[&forgotten]).await?;
        }
    }
    Ok(())
}

/// Deletes the metadata of old events, except of what is still pending, in the order of acceptance. Families that
/// were passed over, because something of them is pending or their tenant keeps longer, come again within a day; so do
/// events that were stored late with an earlier time.
pub(super) async fn forget(
    conn: &Conn,
    rules: &Rules,
    now: Timestamp,
    budget: &mut Budget,
) -> Result<(), Fault> {
    if budget.left() == 0 {
        return Ok(());
    }
    let now = now.millis();
    let (shortest, longest) = rules.metadata();
    let cut = now.saturating_sub(shortest);
    let begin = (
        schema::number(conn, "forget_at").await?.unwrap_or(i64::MIN),
        schema::number(conn, "forget_seq").await?.unwrap_or(i64::MIN),
    );
    let mut cursor = begin;
    let mut at_end = false;
    while budget.left() > 0 && !at_end {
        let sql = "SELECT accepted_at, seq, tenant, payload, deliveries FROM event
                   WHERE (accepted_at, seq) > ($1, $2) AND accepted_at <= $3 ORDER BY accepted_at, seq LIMIT $4";
        let most = budget.left().min(BATCH);
        let rows = conn.rows(sql, &[&cursor.0, &cursor.1, &cut, &most]).await?;
        at_end = (rows.len() as i64) < most;
        // Those whose attempts are not left to the days that are dropped whole.
        let (mut sources, mut brief): (Vec<i64>, Vec<i64>) = Default::default();
        let mut deliveries = 0;
        for row in &rows {
            let (accepted_at, seq, tenant): (i64, i64, i64) = (row.col(0)?, row.col(1)?, row.col(2)?);
            cursor = (accepted_at, seq);
            budget.take(1);
            if seq == row.col::<i64>(3)? && accepted_at <= now.saturating_sub(rules.metadata_of(tenant)) {
                sources.push(seq);
                if rules.metadata_of(tenant) < longest {
                    brief.push(seq);
                }
                deliveries += row.col::<i64>(4)?;
                if deliveries > budget.left() {
                    // The rest of them in the next slice.
                    at_end = false;
                    break;
                }
            }
        }
        let deleted = family::forget(conn, &sources, &brief).await?;
        budget.take(deleted);
    }
    if at_end && cursor.0 > i64::MIN {
        let passed_over = schema::number(conn, "forget_again_at").await?.unwrap_or(i64::MIN);
        if passed_over <= now {
            cursor = (i64::MIN, i64::MIN);
            budget.take(1);
            schema::set_number(conn, "forget_again_at", now + DAY_MS).await?;
        }
    }
    if cursor != begin {
        schema::set_number(conn, "forget_at", cursor.0).await?;
        schema::set_number(conn, "forget_seq", cursor.1).await?;
    }
    Ok(())
}
