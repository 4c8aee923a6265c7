//! What is kept for how long: payloads go a time after the last delivery of any event that shares them ended,
//! metadata a time after acceptance.
//!
//! `payload.until` says when to look at a payload again. Looking prunes it, or sets a later time: the one when it
//! may go, or, while something is pending, one that backs off with the event's age. Old events are looked at in
//! their order by a cursor, so that the common event, delivered at once, is looked at once. Webhooks that keep no
//! payload have `until` set by the settlement.

mod family;
mod leftovers;

use std::collections::HashMap;

use rusqlite::Connection;

use sealpost_core::tenant::Retention;
use sealpost_core::time::Timestamp;

use crate::sqlite::context::WriterCtx;
use crate::sqlite::listing::List;
use crate::sqlite::rows::from_json;
use crate::sqlite::schema;
use crate::sqlite::upkeep::Budget;
use crate::sqlite::writer::WriteError;

pub(super) use family::{Family, Gone};
use family::{KeptUntil, millis};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The name of the cursor of [`look_at_old`].
pub(super) const AGED_EVENT: &str = "aged_event";
/// Rows asked for at once.
const BATCH: i64 = 100;

/// Retention of every tenant. Read once per slice; there are few tenants beside rows.
pub(super) struct Rules {
    of: HashMap<i64, Retention>,
}

impl Rules {
    pub(super) fn load(conn: &Connection) -> Result<Self, WriteError> {
        let mut statement = conn.prepare_cached("SELECT no, retention FROM tenant")?;
        let mut rows = statement.query([])?;
        let mut of = HashMap::new();
        while let Some(row) = rows.next()? {
            let text: String = row.get(1)?;
            of.insert(row.get(0)?, from_json(&text, "retention")?);
        }
        Ok(Self { of })
    }

    fn of(&self, tenant: i64) -> Retention {
        self.of.get(&tenant).copied().unwrap_or_default()
    }

    /// Nothing younger than this needs a look.
    fn shortest(&self, which: impl Fn(&Retention) -> std::time::Duration) -> i64 {
        self.of.values().map(|retention| millis(which(retention))).min().unwrap_or(0)
    }
}

/// Payloads whose time to be looked at has come.
pub(super) fn prune_due(
    conn: &Connection,
    rules: &Rules,
    now: Timestamp,
    budget: &mut Budget,
) -> Result<(), WriteError> {
    while budget.rows_left() > 0 {
        let due: Vec<i64> = conn
            .prepare_cached(
                "SELECT seq FROM payload WHERE until IS NOT NULL AND until <= ?1 AND gone = 0 ORDER BY until LIMIT ?2",
            )?
            .query_map((now.millis(), budget.rows_left().min(BATCH)), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if due.is_empty() {
            return Ok(());
        }
        for seq in due {
            if budget.rows_left() == 0 {
                return Ok(());
            }
            look(conn, rules, seq, now, budget)?;
        }
    }
    Ok(())
}

/// Events that are now older than the shortest time any payload is kept, each once.
pub(super) fn look_at_old(
    conn: &Connection,
    rules: &Rules,
    now: Timestamp,
    budget: &mut Budget,
) -> Result<(), WriteError> {
    if budget.rows_left() == 0 {
        return Ok(());
    }
    let cut = now
        .millis()
        .saturating_sub(rules.shortest(|r| r.payload_after_delivered.min(r.payload_after_failed)));
    let begin: i64 = schema::meta(conn, AGED_EVENT)?.unwrap_or(0);
    let mut cursor = begin;
    while budget.rows_left() > 0 {
        let rows: Vec<(i64, i64, i64)> = conn
            .prepare_cached(
                "SELECT seq, accepted_at, payload FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?
            .query_map((cursor, budget.rows_left().min(BATCH)), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let old: Vec<_> = rows.iter().take_while(|(_, accepted_at, _)| *accepted_at <= cut).collect();
        for (seq, _, payload) in &old {
            if budget.rows_left() == 0 {
                break;
            }
            if seq == payload {
                look_first(conn, rules, *seq, now, budget)?;
            } else {
                budget.take(1, 0);
            }
            cursor = *seq;
        }
        if old.is_empty() || old.len() < rows.len() {
            break;
        }
    }
    if cursor != begin {
        schema::set_meta(conn, AGED_EVENT, &cursor)?;
    }
    Ok(())
}

fn look_first(
    conn: &Connection,
    rules: &Rules,
    seq: i64,
    now: Timestamp,
    budget: &mut Budget,
) -> Result<(), WriteError> {
    let unseen: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM payload WHERE seq = ?1 AND gone = 0 AND until IS NULL)",
        )?
        .query_row([seq], |row| row.get(0))?;
    if unseen {
        look(conn, rules, seq, now, budget)
    } else {
        budget.take(1, 0);
        Ok(())
    }
}

/// Prunes the payload, or says when to look again, which is always later than `now`.
fn look(
    conn: &Connection,
    rules: &Rules,
    seq: i64,
    now: Timestamp,
    budget: &mut Budget,
) -> Result<(), WriteError> {
    let Some(family) = Family::load(conn, seq)? else {
        // Its event is forgotten; nothing can ask for it.
        conn.prepare_cached("DELETE FROM payload WHERE seq = ?1")?.execute([seq])?;
        budget.take(1, 0);
        return Ok(());
    };
    budget.take(1 + family.delivery_count(), 0);
    let now = now.millis();
    let again = match family.kept_until(conn, &rules.of(family.tenant))? {
        KeptUntil::At(until) if until <= now => {
            family.destroy(conn, Gone::Pruned)?;
            budget.take(1, family.bytes);
            return Ok(());
        }
        KeptUntil::At(until) => until,
        KeptUntil::Pending => now + ((now - family.accepted_at) / 4).clamp(MINUTE_MS, HOUR_MS),
    };
    conn.prepare_cached("UPDATE payload SET until = ?2 WHERE seq = ?1")?.execute((seq, again))?;
    Ok(())
}

/// Deletes the metadata of old events, except of what is still pending, in the order of acceptance. Families that
/// were passed over, because something of them is pending or their tenant keeps longer, come again within a day.
pub(super) fn forget(
    conn: &Connection,
    ctx: &mut WriterCtx,
    rules: &Rules,
    now: Timestamp,
    budget: &mut Budget,
) -> Result<(), WriteError> {
    if budget.rows_left() == 0 {
        return Ok(());
    }
    let cut = now.millis().saturating_sub(rules.shortest(|retention| retention.metadata));
    let begin: i64 = schema::meta(conn, "forget_event")?.unwrap_or(0);
    let mut cursor = begin;
    let mut deleted = false;
    let mut at_end = false;
    while budget.rows_left() > 0 && !at_end {
        let rows: Vec<(i64, i64, i64)> = conn
            .prepare_cached(
                "SELECT seq, accepted_at, payload FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?
            .query_map((cursor, budget.rows_left().min(BATCH)), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let old: Vec<_> = rows.iter().take_while(|(_, accepted_at, _)| *accepted_at <= cut).collect();
        at_end = old.len() < rows.len() || rows.is_empty();
        for (seq, _, payload) in old {
            budget.take(1, 0);
            let family = if seq == payload { Family::load(conn, *seq)? } else { None };
            if let Some(family) = family {
                let own_cut = now.millis().saturating_sub(millis(rules.of(family.tenant).metadata));
                if family.accepted_at <= own_cut && !family.has_pending(conn)? {
                    deleted = true;
                    if !delete_some(conn, &family, budget)? {
                        // The rest of it in the next slice.
                        at_end = false;
                        budget.stop();
                        break;
                    }
                }
            }
            cursor = *seq;
        }
    }
    if deleted {
        ctx.keep_numbers(conn)?;
        schema::set_meta(conn, "leftovers", &1i64)?;
    }
    if at_end && cursor > 0 {
        let passed_over: i64 = schema::meta(conn, "forget_again_at")?.unwrap_or(i64::MIN);
        if passed_over <= now.millis() {
            cursor = 0;
            budget.take(1, 0);
            schema::set_meta(conn, "forget_again_at", &(now.millis() + DAY_MS))?;
        }
    }
    if cursor != begin {
        schema::set_meta(conn, "forget_event", &cursor)?;
    }
    if at_end { leftovers::collect(conn, now, budget) } else { Ok(()) }
}

/// `true` when all of it is gone.
fn delete_some(conn: &Connection, family: &Family, budget: &mut Budget) -> Result<bool, WriteError> {
    for member in &family.members {
        loop {
            let deliveries = member.deliveries(conn, budget.rows_left().max(1))?;
            if deliveries.is_empty() {
                break;
            }
            for (seq, webhook) in &deliveries {
                conn.prepare_cached("DELETE FROM attempt WHERE delivery = ?1")?.execute([seq])?;
                List::DeliveriesOfTenant(family.tenant).forget(conn, *seq)?;
                List::DeliveriesOfWebhook(*webhook).forget(conn, *seq)?;
                conn.prepare_cached("DELETE FROM redelivery WHERE event = ?1 AND delivery = ?2")?
                    .execute((member.event, seq))?;
                conn.prepare_cached("DELETE FROM delivery WHERE seq = ?1")?.execute([seq])?;
            }
            budget.take(deliveries.len() as u64, 0);
            if budget.rows_left() == 0 {
                return Ok(false);
            }
        }
    }
    for member in &family.members {
        List::EventsOfTenant(family.tenant).forget(conn, member.event)?;
        conn.prepare_cached("DELETE FROM event WHERE seq = ?1")?.execute([member.event])?;
    }
    conn.prepare_cached("DELETE FROM payload WHERE seq = ?1")?.execute([family.seq])?;
    Ok(true)
}
