//! The queue in SQLite: claim, hand back, settle, find work, cancel.
//!
//! A claim names this incarnation of the process; claims of earlier ones are orphans. Every claim and every
//! settlement raises the row's fence, so whoever holds an older ticket changes nothing.

mod claim;
mod kept;
mod open;
mod payload;
mod settle;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};

use sealpost_core::audit::By;
use sealpost_core::delivery::{CancelReason, State};
use sealpost_core::id::{DeliveryId, DeliveryNo, TenantNo, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::outcome::Outcome;
use sealpost_core::time::Timestamp;

use crate::audit::Change;
use crate::error::StoreError;
use crate::queue::{Claim, ClaimTicket, ClaimedLane, LaneHint, Queue, Settled, Settlement, Want};
use crate::sqlite::SqliteStore;
use crate::sqlite::audit as log;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::registry::lane_facts;
use crate::sqlite::rows;
use crate::sqlite::writer::{Cost, Kind, WriteError};

pub(crate) use kept::KeptClaims;
pub(crate) use payload::destroy_if_forgetful;

/// Rows that one call reads or claims at most, whatever it was asked for.
const ROWS_MAX: u32 = 1000;

#[async_trait]
impl Queue for SqliteStore {
    async fn claim(
        &self,
        wants: Vec<Want>,
        now: Timestamp,
        most_bytes: usize,
    ) -> Result<Vec<ClaimedLane>, StoreError> {
        let cost = Cost::rows(wants.iter().map(|want| want.most as usize).sum());
        let writer = self.writer.handle();
        let write =
            move |conn: &Connection, ctx: &mut WriterCtx| claim::claim(conn, ctx, &wants, now, most_bytes);
        let keep = move |lanes: Vec<claim::ClaimedRows>| {
            let tickets = lanes.iter().flat_map(|lane| lane.claims.iter().map(|row| row.ticket)).collect();
            KeptClaims::new(lanes, tickets, now, writer)
        };
        let kept = self.writer.run_then(Kind::Claim, cost, write, keep).await?;
        // Until they are open, the claims are given back if anything fails or nobody waits any more.
        let events = kept.get().iter().flat_map(|lane| lane.claims.iter().map(|row| row.event)).collect();
        let mut opened = self.open_events(events).await?.into_iter();
        let mut lanes = Vec::with_capacity(kept.get().len());
        for lane in kept.get() {
            let claims = lane.claims.iter().zip(&mut opened).map(|(row, (event, open))| Claim {
                ticket: row.ticket,
                event,
                open,
            });
            lanes.push(ClaimedLane { lane: lane.lane, claims: claims.collect(), next_due: lane.next_due });
        }
        kept.taken();
        Ok(lanes)
    }

    async fn unclaim(&self, tickets: Vec<ClaimTicket>, due: Timestamp) -> Result<(), StoreError> {
        let write = move |conn: &Connection, ctx: &mut WriterCtx| claim::unclaim(conn, ctx, &tickets, due);
        self.writer.run(Kind::Settle, Cost::rows(1), write).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, StoreError> {
        let excerpts = self.seal_excerpts(&settlements).await?;
        let cost = Cost::rows(2 * settlements.len());
        let write = move |conn: &Connection, ctx: &mut WriterCtx| {
            let each = settlements.iter().zip(&excerpts);
            each.map(|(settlement, excerpt)| settle::settle(conn, ctx, settlement, excerpt.as_ref()))
                .collect()
        };
        self.writer.run(Kind::Settle, cost, write).await
    }

    async fn lanes(&self, after: Option<LaneNo>, limit: u32) -> Result<Vec<LaneHint>, StoreError> {
        self.readers.run(move |conn| lanes(conn, after, limit.min(ROWS_MAX))).await
    }

    async fn orphans(&self, limit: u32) -> Result<Vec<ClaimTicket>, StoreError> {
        let incarnation = self.incarnation;
        self.readers.run(move |conn| orphans(conn, incarnation, limit.min(ROWS_MAX))).await
    }

    async fn cancel(
        &self,
        tenant: TenantNo,
        id: DeliveryId,
        reason: CancelReason,
        by: By,
    ) -> Result<Option<State>, StoreError> {
        let write = move |conn: &Connection, ctx: &mut WriterCtx| cancel(conn, ctx, tenant, id, reason, &by);
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }
}

/// Columns of `delivery` that make a ticket, for [`ticket`].
const TICKET_COLUMNS: &str = "d.seq, d.id, d.webhook, d.lane, d.lane_epoch, d.attempt, d.fence, d.outcome";

/// The ticket for the attempt and fence that the row has.
fn ticket(conn: &Connection, row: &Row<'_>) -> rusqlite::Result<ClaimTicket> {
    let delivery = DeliveryNo(row.get(0)?);
    let attempt = row.get(5)?;
    Ok(ClaimTicket {
        delivery,
        id: DeliveryId::from_bytes(row.get(1)?),
        webhook: WebhookNo(row.get(2)?),
        lane: LaneNo(row.get(3)?),
        lane_epoch: row.get(4)?,
        attempt,
        fence: row.get(6)?,
        only_unknown_before: only_unknown_before(conn, delivery, attempt, row.get(7)?)?,
    })
}

/// Whether all attempts before this one ended `unknown`. Every attempt before it has a recorded outcome, since a
/// claim ends by settling or by being given back; the first one's stands in the delivery's own row.
fn only_unknown_before(
    conn: &Connection,
    delivery: DeliveryNo,
    attempt: u8,
    first: Option<u8>,
) -> rusqlite::Result<bool> {
    let unknown = Outcome::Unknown.code();
    if attempt <= 1 {
        return Ok(true);
    }
    if first != Some(unknown) || attempt == 2 {
        return Ok(first == Some(unknown));
    }
    let known: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM attempt WHERE delivery = ?1 AND number BETWEEN 2 AND ?2 AND outcome <> ?3)",
        )?
        .query_row((delivery.0, attempt - 1, unknown), |row| row.get(0))?;
    Ok(!known)
}

/// A loose index scan: one seek for each lane, however many wait in it.
fn lanes(conn: &Connection, after: Option<LaneNo>, limit: u32) -> Result<Vec<LaneHint>, WriteError> {
    let mut seek = conn.prepare_cached(
        "SELECT lane, due FROM delivery INDEXED BY waiting \
         WHERE lane > ?1 AND state = 0 AND claimer IS NULL AND due IS NOT NULL ORDER BY lane, due LIMIT 1",
    )?;
    let mut hints = Vec::new();
    let mut last = after.map_or(i64::MIN, |lane| lane.0);
    while hints.len() < limit as usize {
        let found: Option<(i64, i64)> =
            seek.query_row([last], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((lane, due)) = found else { break };
        last = lane;
        let lane = LaneNo(lane);
        let facts = lane_facts(conn, lane.webhook())?.ok_or(rows::corrupt("webhook of a delivery"))?;
        hints.push(LaneHint { lane, tenant: facts.tenant, next_due: Timestamp::from_millis(due) });
    }
    Ok(hints)
}

fn orphans(conn: &Connection, incarnation: i64, limit: u32) -> Result<Vec<ClaimTicket>, WriteError> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {TICKET_COLUMNS} FROM delivery d INDEXED BY claimed \
         WHERE d.claimer IS NOT NULL AND d.claimer < ?1 ORDER BY d.claimer, d.seq LIMIT ?2"
    ))?;
    let found = statement.query_map((incarnation, limit), |row| ticket(conn, row))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn cancel(
    conn: &Connection,
    ctx: &mut WriterCtx,
    tenant: TenantNo,
    id: DeliveryId,
    reason: CancelReason,
    by: &By,
) -> Result<Option<State>, WriteError> {
    let found = conn
        .prepare_cached(
            "SELECT d.seq, d.webhook, d.lane_epoch, d.state, d.reason, d.claimer IS NOT NULL, d.event, d.cancel \
             FROM delivery d JOIN event e ON e.seq = d.event WHERE d.id = ?1 AND e.tenant = ?2",
        )?
        .query_row((id.bytes(), tenant.0), |row| {
            let codes: (u8, u8) = (row.get(3)?, row.get(4)?);
            Ok((
                row.get::<_, i64>(0)?,
                WebhookNo(row.get(1)?),
                row.get::<_, i64>(2)?,
                codes,
                row.get(5)?,
                row.get(6)?,
                row.get::<_, u8>(7)?,
            ))
        })
        .optional()?;
    let Some((seq, webhook, epoch, codes, claimed, event, asked)) = found else { return Ok(None) };
    let state = rows::state(codes.0, codes.1)?;
    if state.is_final() {
        return Ok(Some(state));
    }
    if asked != reason.code() {
        log::insert(conn, tenant, by, &id.to_string(), &Change::default())?;
    }
    ctx.tally.delivery_writes += 1;
    if claimed {
        conn.prepare_cached("UPDATE delivery SET cancel = ?2 WHERE seq = ?1")?
            .execute((seq, reason.code()))?;
        return Ok(Some(State::Pending));
    }
    // What an older epoch cancelled before is not cancelled for another reason now.
    let facts = lane_facts(conn, webhook)?.ok_or(rows::corrupt("webhook of a delivery"))?;
    let reason = if epoch < facts.epoch { rows::stale_reason(facts.deleted) } else { reason };
    end_cancelled(conn, seq, reason, by.at)?;
    destroy_if_forgetful(conn, ctx, webhook, event)?;
    Ok(Some(State::Cancelled(reason)))
}

/// A delivery that waits ends here. `due` of a row that ended without an attempt says when, for retention.
fn end_cancelled(conn: &Connection, seq: i64, reason: CancelReason, now: Timestamp) -> rusqlite::Result<()> {
    let state = State::Cancelled(reason);
    conn.prepare_cached("UPDATE delivery SET state = ?2, reason = ?3, due = ?4 WHERE seq = ?1")?
        .execute((seq, state.status().code(), state.reason_code(), now.millis()))?;
    Ok(())
}

#[cfg(test)]
mod tests;
