//! What is written after an attempt: one update of the delivery's row, and in the common case nothing is read.

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::delivery::State;

use super::claim::{Held, held};
use super::open::SealedExcerpt;
use super::payload::destroy_if_forgetful;
use crate::queue::{ClaimTicket, Next, Settled, Settlement};
use crate::sqlite::context::WriterCtx;
use crate::sqlite::writer::WriteError;

pub(super) fn settle(
    conn: &Connection,
    ctx: &mut WriterCtx,
    settlement: &Settlement,
    excerpt: Option<&SealedExcerpt>,
) -> Result<Settled, WriteError> {
    let ticket = &settlement.ticket;
    if let Some(settled) = at_first(conn, ctx, settlement)? {
        return Ok(settled);
    }
    let Some(held) = held(conn, ticket)? else { return not_held(conn, ticket) };
    let (state, due) = decide(conn, &held, settlement.next)?;
    update(conn, settlement, state, due)?;
    ctx.tally.settles += 1;
    ctx.tally.delivery_writes += 1;
    let attempt = &settlement.attempt;
    if ticket.attempt > 1 || attempt.error.is_some() || excerpt.is_some() {
        conn.prepare_cached(
            "INSERT INTO attempt (delivery, number, started, took, outcome, http, error, salt, excerpt, tenant) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, (SELECT tenant FROM webhook WHERE no = ?10))",
        )?
        .execute((
            ticket.delivery.0,
            ticket.attempt,
            attempt.started_at.millis(),
            attempt.took_ms,
            attempt.outcome.code(),
            attempt.http_status,
            &attempt.error,
            excerpt.map(|excerpt| &excerpt.salt),
            excerpt.map(|excerpt| &excerpt.sealed),
            held.webhook.0,
        ))?;
    }
    let health = match state {
        State::Delivered => ctx.ended(held.webhook, true, settlement.alert_after),
        State::Failed(_) => ctx.ended(held.webhook, false, settlement.alert_after),
        State::Pending | State::Cancelled(_) => None,
    };
    if state.is_final() {
        destroy_if_forgetful(conn, ctx, held.webhook, held.event)?;
    }
    Ok(Settled::Settled { state, health })
}

/// The common end in one statement: delivered by the first attempt. What arrived stays delivered whatever happened to
/// the webhook meanwhile, so nothing has to be read first. `None`: it is not that, or the claim does not hold.
fn at_first(
    conn: &Connection,
    ctx: &mut WriterCtx,
    settlement: &Settlement,
) -> Result<Option<Settled>, WriteError> {
    let (ticket, attempt) = (&settlement.ticket, &settlement.attempt);
    let state = State::Delivered;
    if ticket.attempt != 1 || settlement.next != Next::End(state) || attempt.error.is_some() {
        return Ok(None);
    }
    // Without RETURNING: that makes SQLite copy each page it touches, to be able to undo half a statement.
    let updated = conn
        .prepare_cached(
            "UPDATE delivery SET state = ?4, reason = 0, due = NULL, claimer = NULL, fence = fence + 1, cancel = 0, \
             started = ?5, took = ?6, outcome = ?7, http = ?8 \
             WHERE seq = ?1 AND attempt = ?2 AND fence = ?3 AND claimer IS NOT NULL",
        )?
        .execute((
            ticket.delivery.0,
            ticket.attempt,
            ticket.fence,
            state.status().code(),
            attempt.started_at.millis(),
            attempt.took_ms,
            attempt.outcome.code(),
            attempt.http_status,
        ))?;
    if updated == 0 {
        return Ok(None);
    }
    ctx.tally.settles += 1;
    ctx.tally.delivery_writes += 1;
    let health = ctx.ended(ticket.webhook, true, settlement.alert_after);
    if ctx.is_forgetful(ticket.webhook) {
        let event = conn
            .prepare_cached("SELECT event FROM delivery WHERE seq = ?1")?
            .query_row([ticket.delivery.0], |row| row.get(0))?;
        destroy_if_forgetful(conn, ctx, ticket.webhook, event)?;
    }
    Ok(Some(Settled::Settled { state, health }))
}

/// What arrived stays delivered; everything else gives way to a cancellation.
fn decide(conn: &Connection, held: &Held, next: Next) -> Result<(State, Option<i64>), WriteError> {
    if next == Next::End(State::Delivered) {
        return Ok((State::Delivered, None));
    }
    if let Some(reason) = held.cancelled(conn)? {
        return Ok((State::Cancelled(reason), None));
    }
    Ok(match next {
        Next::RetryAt(due) => (State::Pending, Some(due.millis())),
        Next::End(state) => (state, None),
    })
}

fn update(
    conn: &Connection,
    settlement: &Settlement,
    state: State,
    due: Option<i64>,
) -> rusqlite::Result<()> {
    let (seq, attempt) = (settlement.ticket.delivery.0, &settlement.attempt);
    let codes = (state.status().code(), state.reason_code());
    if settlement.ticket.attempt == 1 {
        conn.prepare_cached(
            "UPDATE delivery SET state = ?2, reason = ?3, due = ?4, claimer = NULL, fence = fence + 1, cancel = 0, \
             started = ?5, took = ?6, outcome = ?7, http = ?8 WHERE seq = ?1",
        )?
        .execute((
            seq,
            codes.0,
            codes.1,
            due,
            attempt.started_at.millis(),
            attempt.took_ms,
            attempt.outcome.code(),
            attempt.http_status,
        ))?;
    } else {
        conn.prepare_cached(
            "UPDATE delivery SET state = ?2, reason = ?3, due = ?4, claimer = NULL, fence = fence + 1, cancel = 0 \
             WHERE seq = ?1",
        )?
        .execute((seq, codes.0, codes.1, due))?;
    }
    Ok(())
}

/// Settling raises the fence by one and keeps the attempt; handing back lowers the attempt.
fn not_held(conn: &Connection, ticket: &ClaimTicket) -> Result<Settled, WriteError> {
    let already: Option<bool> = conn
        .prepare_cached(
            "SELECT attempt = ?2 AND fence = ?3 + 1 AND claimer IS NULL FROM delivery WHERE seq = ?1",
        )?
        .query_row((ticket.delivery.0, ticket.attempt, ticket.fence), |row| row.get(0))
        .optional()?;
    Ok(if already == Some(true) { Settled::Already } else { Settled::Stale })
}
