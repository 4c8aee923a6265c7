//! Claiming and handing back.

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::delivery::CancelReason;
use sealpost_core::id::{EventNo, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use super::{ROWS_MAX, TICKET_COLUMNS, destroy_if_forgetful, end_cancelled, ticket};
use crate::queue::{ClaimTicket, Want};
use crate::sqlite::context::WriterCtx;
use crate::sqlite::registry::{LaneFacts, lane_facts};
use crate::sqlite::rows::{self, LEASE_MS};
use crate::sqlite::writer::WriteError;

/// Rows of an older epoch that one claim of a lane ends.
const STALE_ROWS: u32 = 500;

/// A claimed delivery; its event is opened after the commit.
pub(super) struct ClaimedRow {
    pub(super) ticket: ClaimTicket,
    pub(super) event: EventNo,
}

pub(super) struct ClaimedRows {
    pub(super) lane: LaneNo,
    pub(super) claims: Vec<ClaimedRow>,
    pub(super) next_due: Option<Timestamp>,
}

pub(super) fn claim(
    conn: &Connection,
    ctx: &mut WriterCtx,
    wants: &[Want],
    now: Timestamp,
    most_bytes: usize,
) -> Result<Vec<ClaimedRows>, WriteError> {
    let mut bytes_left = i64::try_from(most_bytes).unwrap_or(i64::MAX);
    let mut lanes = Vec::with_capacity(wants.len());
    for want in wants {
        let facts = lane_facts(conn, want.lane.webhook())?;
        let claims = match facts {
            Some(facts) => claim_lane(conn, ctx, want, facts, now, &mut bytes_left)?,
            None => Vec::new(),
        };
        let next_due = match facts {
            Some(facts) if !facts.disabled && !facts.deleted => next_due(conn, want.lane)?,
            _ => None,
        };
        lanes.push(ClaimedRows { lane: want.lane, claims, next_due });
    }
    Ok(lanes)
}

fn claim_lane(
    conn: &Connection,
    ctx: &mut WriterCtx,
    want: &Want,
    facts: LaneFacts,
    now: Timestamp,
    bytes_left: &mut i64,
) -> Result<Vec<ClaimedRow>, WriteError> {
    // Rows that an older epoch cancelled stand at the head: they go now, a bounded number of them, so that they
    // cannot hide what waits behind them.
    let mut stale_left = STALE_ROWS;
    let mut claims = Vec::new();
    let most = want.most.min(ROWS_MAX) as usize;
    let mut seek = conn.prepare_cached(&format!(
        "SELECT {TICKET_COLUMNS}, d.event, e.bytes FROM delivery d INDEXED BY waiting \
         CROSS JOIN event e ON e.seq = d.event \
         WHERE d.lane = ?1 AND d.due <= ?2 AND d.state = 0 AND d.claimer IS NULL AND d.due IS NOT NULL \
         ORDER BY d.due, d.seq LIMIT ?3"
    ))?;
    while claims.len() < most {
        // What is claimed or cancelled leaves the index, so each round begins at the head again.
        let batch = (most - claims.len()).max(1);
        let found = seek
            .query_map((want.lane.0, now.millis(), batch as i64), |row| {
                Ok((ticket(conn, row)?, EventNo(row.get(8)?), row.get::<_, i64>(9)?))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let stale =
            |ticket: &ClaimTicket| ticket.lane_epoch != facts.epoch || facts.disabled || facts.deleted;
        let any_stale = found.iter().any(|(ticket, ..)| stale(ticket));
        for (mut ticket, event, bytes) in found {
            if stale(&ticket) {
                if stale_left == 0 {
                    return Ok(claims);
                }
                stale_left -= 1;
                ctx.tally.delivery_writes += 1;
                end_cancelled(conn, ticket.delivery.0, rows::stale_reason(facts.deleted), now)?;
                destroy_if_forgetful(conn, ctx, ticket.webhook, event.0)?;
                continue;
            }
            if bytes > *bytes_left {
                return Ok(claims);
            }
            *bytes_left -= bytes;
            take(conn, ctx, &mut ticket, now)?;
            claims.push(ClaimedRow { ticket, event });
        }
        if !any_stale {
            break;
        }
    }
    Ok(claims)
}

/// Makes the ticket of a waiting row the ticket of its claim.
fn take(
    conn: &Connection,
    ctx: &mut WriterCtx,
    ticket: &mut ClaimTicket,
    now: Timestamp,
) -> Result<(), WriteError> {
    let attempt = ticket.attempt.checked_add(1).ok_or(rows::corrupt("number of attempts"))?;
    let (fence, first): (i64, Option<u8>) = conn
        .prepare_cached(
            "UPDATE delivery SET attempt = attempt + 1, fence = fence + 1, due = ?2, claimer = ?3 WHERE seq = ?1 \
             RETURNING fence, outcome",
        )?
        .query_row((ticket.delivery.0, now.millis() + LEASE_MS, ctx.incarnation), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    ticket.attempt = attempt;
    ticket.fence = fence;
    ticket.only_unknown_before = super::only_unknown_before(conn, ticket.delivery, attempt, first)?;
    ctx.tally.claims += 1;
    ctx.tally.delivery_writes += 1;
    Ok(())
}

fn next_due(conn: &Connection, lane: LaneNo) -> rusqlite::Result<Option<Timestamp>> {
    let due: Option<i64> = conn
        .prepare_cached(
            "SELECT min(due) FROM delivery INDEXED BY waiting \
             WHERE lane = ?1 AND state = 0 AND claimer IS NULL AND due IS NOT NULL",
        )?
        .query_row([lane.0], |row| row.get(0))?;
    Ok(due.map(Timestamp::from_millis))
}

/// Back to waiting, as if never claimed; but what was cancelled meanwhile ends.
pub(super) fn unclaim(
    conn: &Connection,
    ctx: &mut WriterCtx,
    tickets: &[ClaimTicket],
    due: Timestamp,
) -> Result<(), WriteError> {
    for ticket in tickets {
        let Some(held) = held(conn, ticket)? else { continue };
        conn.prepare_cached(
            "UPDATE delivery SET attempt = attempt - 1, fence = fence + 1, due = ?2, claimer = NULL, cancel = 0 \
             WHERE seq = ?1",
        )?
        .execute((ticket.delivery.0, due.millis()))?;
        ctx.tally.delivery_writes += 1;
        if let Some(reason) = held.cancelled(conn)? {
            end_cancelled(conn, ticket.delivery.0, reason, due)?;
            destroy_if_forgetful(conn, ctx, held.webhook, held.event)?;
        }
    }
    Ok(())
}

/// What a ticket's row says while the claim is still the ticket's.
pub(super) struct Held {
    pub(super) webhook: WebhookNo,
    pub(super) event: i64,
    lane_epoch: i64,
    cancel: u8,
}

/// `None` if the claim is no longer this ticket's.
pub(super) fn held(conn: &Connection, ticket: &ClaimTicket) -> rusqlite::Result<Option<Held>> {
    conn.prepare_cached(
        "SELECT webhook, event, lane_epoch, cancel FROM delivery \
         WHERE seq = ?1 AND attempt = ?2 AND fence = ?3 AND claimer IS NOT NULL",
    )?
    .query_row((ticket.delivery.0, ticket.attempt, ticket.fence), |row| {
        Ok(Held {
            webhook: WebhookNo(row.get(0)?),
            event: row.get(1)?,
            lane_epoch: row.get(2)?,
            cancel: row.get(3)?,
        })
    })
    .optional()
}

impl Held {
    /// Why this delivery must not be tried again: somebody asked while it was in flight, or its lane's epoch rose.
    pub(super) fn cancelled(&self, conn: &Connection) -> Result<Option<CancelReason>, WriteError> {
        if self.cancel != 0 {
            let reason = CancelReason::from_code(self.cancel).ok_or(rows::corrupt("cancel reason"))?;
            return Ok(Some(reason));
        }
        let facts = lane_facts(conn, self.webhook)?.ok_or(rows::corrupt("webhook of a delivery"))?;
        Ok((self.lane_epoch < facts.epoch).then(|| rows::stale_reason(facts.deleted)))
    }
}
