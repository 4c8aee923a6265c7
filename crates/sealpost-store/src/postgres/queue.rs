//! The queue: claim, hand back, settle, find work, cancel.
//!
//! A claim names the node that holds it; claims of nodes that are gone are orphans, which any node may take up. Every
//! claim and every settlement raises the row's fence, so whoever holds an older ticket changes nothing, however late it
//! wakes up.

mod claim;
mod open;
mod payload;
mod settle;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio_postgres::Row;

use sealpost_core::audit::By;
use sealpost_core::delivery::{CancelReason, State};
use sealpost_core::id::{DeliveryId, DeliveryNo, TenantNo, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use super::audit as log;
use super::fault::Fault;
use super::node::is_gone;
use super::pool::{Columns as _, Conn, reading, transaction};
use super::{PostgresStore, Shared, count};
use crate::audit::Change;
use crate::error::StoreError;
use crate::queue::{ClaimTicket, ClaimedLane, LaneHint, Queue, Settled, Settlement, Standing, Want};
use crate::rows;

pub(super) use payload::destroy_if_forgetful;
pub(super) use settle::SettleWork;

/// Rows that one call reads or claims at most, whatever it was asked for.
const ROWS_MAX: u32 = 1000;

/// What makes a row waiting, as the index `waiting` has it.
const WAITING: &str = "state = 0 AND claimer IS NULL AND due IS NOT NULL";

#[async_trait]
impl Queue for PostgresStore {
    async fn claim(
        &self,
        wants: Vec<Want>,
        now: Timestamp,
        most_bytes: usize,
    ) -> Result<Vec<ClaimedLane>, StoreError> {
        // A claim that nobody knows of would stay in flight as long as this process lives. So the work goes on when the
        // caller stops waiting, and what nobody takes is given back.
        let shared = Arc::clone(&self.shared);
        let (reply, answer) = oneshot::channel();
        tokio::spawn(async move {
            let claimed = claim::claim(&shared, &wants, now, most_bytes).await;
            if let Err(Ok(lanes)) = reply.send(claimed) {
                let tickets = lanes.iter().flat_map(|lane| lane.claims.iter().map(|claim| claim.ticket));
                give_back(&shared, tickets.collect(), now).await;
            }
        });
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn unclaim(&self, tickets: Vec<ClaimTicket>, due: Timestamp) -> Result<(), StoreError> {
        claim::unclaim(&self.shared, &tickets, due).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, StoreError> {
        let excerpts = self.shared.seal_excerpts(&settlements).await?;
        self.settles.run(SettleWork::new(settlements, excerpts)).await
    }

    async fn lanes(&self, after: Option<LaneNo>, limit: u32) -> Result<Vec<LaneHint>, StoreError> {
        reading!(self.shared, |conn| lanes(conn, after, limit.min(ROWS_MAX)).await)
    }

    async fn rung(&self) -> Vec<LaneNo> {
        self.shared.bell.heard().await
    }

    async fn orphans(&self, limit: u32) -> Result<Vec<ClaimTicket>, StoreError> {
        let me = self.shared.node.no();
        reading!(self.shared, |conn| orphans(conn, me, limit.min(ROWS_MAX)).await)
    }

    async fn standing(&self) -> Result<Option<Standing>, StoreError> {
        let node = &self.shared.node;
        reading!(self.shared, |conn| node.standing(conn).await).map(Some)
    }

    async fn cancel(
        &self,
        tenant: TenantNo,
        id: DeliveryId,
        reason: CancelReason,
        by: By,
    ) -> Result<Option<State>, StoreError> {
        let cancelled = transaction!(self.shared, |conn| cancel(conn, tenant, id, reason, &by).await)?;
        count(&self.shared.tally.delivery_writes, cancelled.1);
        Ok(cancelled.0)
    }
}

/// For claims whose caller is gone. Should that fail, they are orphans when this process ends.
pub(super) async fn give_back(shared: &Shared, tickets: Vec<ClaimTicket>, due: Timestamp) {
    if tickets.is_empty() {
        return;
    }
    if let Err(error) = claim::unclaim(shared, &tickets, due).await {
        tracing::warn!(error = %error, claims = tickets.len(), "claims that nobody waits for could not be given back");
    }
}

/// Columns of `delivery` that make a ticket, for [`ticket`].
const TICKET_COLUMNS: &str =
    "d.seq, d.id, d.webhook, d.lane, d.lane_epoch, d.attempt, d.fence, d.only_unknown";

/// The ticket for the attempt and fence that the row has.
fn ticket(row: &Row) -> Result<ClaimTicket, Fault> {
    Ok(ClaimTicket {
        delivery: DeliveryNo(row.col(0)?),
        id: DeliveryId::from_bytes(row.bytes(1)?),
        webhook: WebhookNo(row.col(2)?),
        lane: LaneNo(row.col(3)?),
        lane_epoch: row.col(4)?,
        attempt: row.code(5)?,
        fence: row.col(6)?,
        only_unknown_before: row.col(7)?,
    })
}

/// A loose index scan: one seek for each lane, however many wait in it.
async fn lanes(conn: &Conn, after: Option<LaneNo>, limit: u32) -> Result<Vec<LaneHint>, Fault> {
    let seek = |after: &str| {
        format!(
            "SELECT lane, due FROM delivery WHERE lane > {after} AND {WAITING} ORDER BY lane, due LIMIT 1"
        )
    };
    let sql = format!(
        "WITH RECURSIVE found (lane, due) AS (
             ({first}) UNION ALL
             SELECT next.lane, next.due FROM found CROSS JOIN LATERAL ({next}) next)
         SELECT f.lane, w.tenant, f.due FROM (SELECT * FROM found LIMIT $2) f JOIN webhook w ON w.no = f.lane / 2
         ORDER BY f.lane",
        first = seek("$1"),
        next = seek("found.lane"),
    );
    let after = after.map_or(i64::MIN, |lane| lane.0);
    let hint = |row: &Row| {
        Ok(LaneHint {
            lane: LaneNo(row.col(0)?),
            tenant: TenantNo(row.col(1)?),
            next_due: Timestamp::from_millis(row.col(2)?),
        })
    };
    conn.rows(&sql, &[&after, &i64::from(limit)]).await?.iter().map(hint).collect()
}

/// Claims of nodes that are gone, as far as the node `me` can tell; nodes of the claims first, they are few.
async fn orphans(conn: &Conn, me: i64, limit: u32) -> Result<Vec<ClaimTicket>, Fault> {
    let sql = format!(
        "WITH RECURSIVE claimers (no) AS (
             (SELECT claimer FROM delivery WHERE claimer IS NOT NULL ORDER BY claimer LIMIT 1) UNION ALL
             SELECT next.claimer FROM claimers CROSS JOIN LATERAL (
                 SELECT claimer FROM delivery WHERE claimer IS NOT NULL AND claimer > claimers.no
                 ORDER BY claimer LIMIT 1) next)
         SELECT {TICKET_COLUMNS} FROM delivery d
         WHERE d.claimer IN (SELECT c.no FROM claimers c WHERE {gone})
         ORDER BY d.claimer, d.seq LIMIT $1",
        gone = is_gone("c.no", "$2"),
    );
    conn.rows(&sql, &[&i64::from(limit), &me]).await?.iter().map(ticket).collect()
}

/// The state after the call, and rows of deliveries written.
async fn cancel(
    conn: &Conn,
    tenant: TenantNo,
    id: DeliveryId,
    reason: CancelReason,
    by: &By,
) -> Result<(Option<State>, u64), Fault> {
    let sql = "SELECT d.seq, d.state, d.reason, d.lane_epoch, d.claimer IS NOT NULL, d.event, d.cancel, w.lane_epoch,
                      w.deleted_at IS NOT NULL, w.retention = 1
               FROM delivery d JOIN webhook w ON w.no = d.webhook
               WHERE d.id = $1 AND d.tenant = $2 FOR UPDATE OF d";
    let Some(row) = conn.optional(sql, &[&id.bytes().as_slice(), &tenant.0]).await? else {
        return Ok((None, 0));
    };
    let seq: i64 = row.col(0)?;
    let state = rows::state(row.code(1)?, row.code(2)?)?;
    let (epoch, open_epoch): (i64, i64) = (row.col(3)?, row.col(7)?);
    let (claimed, deleted, forgetful): (bool, bool, bool) = (row.col(4)?, row.col(8)?, row.col(9)?);
    if state.is_final() {
        return Ok((Some(state), 0));
    }
    if row.code(6)? != reason.code() {
        log::insert(conn, tenant, by, &id.to_string(), &Change::default()).await?;
    }
    if claimed {
        let mark = "UPDATE delivery SET cancel = $2 WHERE seq = $1";
        conn.run(mark, &[&seq, &i16::from(reason.code())]).await?;
        return Ok((Some(State::Pending), 1));
    }
    // What an older epoch cancelled before is not cancelled for another reason now.
    let reason = if epoch < open_epoch { rows::stale_reason(deleted) } else { reason };
    end_cancelled(conn, &[seq], reason, by.at).await?;
    if forgetful {
        destroy_if_forgetful(conn, &[row.col(5)?], by.at).await?;
    }
    Ok((Some(State::Cancelled(reason)), 1))
}

/// Deliveries that wait end here.
async fn end_cancelled(conn: &Conn, seqs: &[i64], reason: CancelReason, now: Timestamp) -> Result<(), Fault> {
    let state = State::Cancelled(reason);
    let codes = (i16::from(state.status().code()), i16::from(state.reason_code()));
    let sql = "UPDATE delivery SET state = $2, reason = $3, due = NULL, ended = $4 WHERE seq = ANY($1)";
    conn.run(sql, &[&seqs, &codes.0, &codes.1, &now.millis()]).await.map(drop)
}
