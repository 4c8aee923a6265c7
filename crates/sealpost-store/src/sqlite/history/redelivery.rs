//! Making deliveries again: one at once, many by a stored job that upkeep works off.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use sealpost_core::audit::By;
use sealpost_core::delivery::{State, Status};
use sealpost_core::id::{DeliveryId, TenantNo, WebhookId, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use super::STEP;
use crate::audit::Change;
use crate::history::{BulkFilter, BulkRedelivery, Redelivered};
use crate::sqlite::audit as log;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::listing::{self, List, Table};
use crate::sqlite::rows::{shown_state, state};
use crate::sqlite::writer::WriteError;

/// A delivery that is to be inserted beside those that accept made.
pub(in crate::sqlite) struct Again {
    pub(in crate::sqlite) id: DeliveryId,
    pub(in crate::sqlite) event: i64,
    pub(in crate::sqlite) webhook: i64,
    pub(in crate::sqlite) lane: LaneNo,
    pub(in crate::sqlite) lane_epoch: i64,
    pub(in crate::sqlite) job: Option<i64>,
}

/// Inserts it waiting and due. `false`: the job made one of this event already.
pub(in crate::sqlite) fn insert(
    conn: &Connection,
    ctx: &mut WriterCtx,
    again: &Again,
    now: Timestamp,
) -> Result<bool, WriteError> {
    let seq = ctx.next_delivery();
    let inserted = conn
        .prepare_cached(
            "INSERT INTO delivery (seq, id, event, webhook, lane, lane_epoch, created_at, state, attempt, fence, \
                                   due, job, tenant)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, ?7, ?8, (SELECT tenant FROM webhook WHERE no = ?4))
             ON CONFLICT (job, event) WHERE job IS NOT NULL DO NOTHING",
        )?
        .execute((
            seq,
            again.id.bytes(),
            again.event,
            again.webhook,
            again.lane.0,
            again.lane_epoch,
            now.millis(),
            again.job,
        ))?;
    if inserted == 0 {
        return Ok(false);
    }
    conn.prepare_cached("INSERT INTO redelivery (event, delivery) VALUES (?1, ?2)")?
        .execute((again.event, seq))?;
    ctx.tally.delivery_writes += 1;
    Ok(true)
}

pub(super) fn one(
    conn: &Connection,
    ctx: &mut WriterCtx,
    tenant: TenantNo,
    source: DeliveryId,
    new: DeliveryId,
    by: &By,
) -> Result<Redelivered, WriteError> {
    let found = conn
        .prepare_cached(
            "SELECT d.event, d.webhook, w.lane_epoch, w.disabled OR w.deleted_at IS NOT NULL, ifnull(p.gone, 1)
             FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook CROSS JOIN event e ON e.seq = d.event
             LEFT JOIN payload p ON p.seq = e.payload
             WHERE d.id = ?1 AND w.tenant = ?2",
        )?
        .query_row((source.bytes(), tenant.0), |row| {
            let (event, webhook, lane_epoch): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (unavailable, gone): (bool, i64) = (row.get(3)?, row.get(4)?);
            Ok((event, webhook, lane_epoch, unavailable, gone))
        })
        .optional()?;
    let Some((event, webhook, lane_epoch, unavailable, gone)) = found else {
        return Ok(Redelivered::NotFound);
    };
    if gone != 0 {
        return Ok(Redelivered::PayloadGone);
    }
    if unavailable {
        return Ok(Redelivered::WebhookUnavailable);
    }
    let lane = LaneNo::ordinary(WebhookNo(webhook));
    insert(conn, ctx, &Again { id: new, event, webhook, lane, lane_epoch, job: None }, by.at)?;
    let change = Change::made(json!({"delivery": new}));
    log::insert(conn, tenant, by, &source.to_string(), &change)?;
    Ok(Redelivered::Created { id: new, lane })
}

/// What a bulk redelivery takes: deliveries of the webhook in a range of times and in a state. Without a state all
/// that have ended; what is pending will be sent anyway.
#[derive(Clone, Copy, Debug)]
pub(in crate::sqlite) struct Chosen {
    pub(in crate::sqlite) from: Option<i64>,
    pub(in crate::sqlite) to: Option<i64>,
    pub(in crate::sqlite) status: Option<u8>,
}

impl Chosen {
    /// The event of the delivery at `seq`, if it is to be made again: chosen, and with a payload.
    pub(in crate::sqlite) fn event_of(self, conn: &Connection, seq: i64) -> Result<Option<i64>, WriteError> {
        let mut statement = conn.prepare_cached(
            "SELECT d.event, d.created_at, d.state, d.reason, d.lane_epoch, w.lane_epoch, w.deleted_at IS NOT NULL, \
                    d.claimer IS NOT NULL
             FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook CROSS JOIN event e ON e.seq = d.event
             CROSS JOIN payload p ON p.seq = e.payload
             WHERE d.seq = ?1 AND p.gone = 0",
        )?;
        let mut rows = statement.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let created_at: i64 = row.get(1)?;
        let stored = state(row.get(2)?, row.get(3)?)?;
        let shown = shown_state(stored, (row.get(4)?, row.get(5)?), row.get(6)?, row.get(7)?);
        let in_state = match self.status {
            Some(code) => shown.status().code() == code,
            None => shown != State::Pending,
        };
        let in_range =
            self.from.is_none_or(|from| created_at >= from) && self.to.is_none_or(|to| created_at <= to);
        Ok(if in_state && in_range { Some(row.get(0)?) } else { None })
    }
}

/// Counts, in short reads, what a job would make.
pub(super) struct Count {
    webhook: i64,
    lane_epoch: i64,
    chosen: Chosen,
    /// The job takes rows above this ...
    floor: i64,
    /// ... up to this, fixed now: what it makes itself comes after.
    last: i64,
    below: Option<i64>,
    /// Each event once, however often it was delivered.
    events: HashSet<i64>,
}

impl Count {
    pub(super) fn begin(
        conn: &Connection,
        tenant: TenantNo,
        webhook: WebhookId,
        filter: &BulkFilter,
    ) -> Result<Result<Self, BulkRedelivery>, WriteError> {
        let found: Option<(i64, i64, bool, bool)> = conn
            .prepare_cached(
                "SELECT no, lane_epoch, disabled, deleted_at IS NOT NULL FROM webhook WHERE id = ?1 AND tenant = ?2",
            )?
            .query_row((webhook.bytes(), tenant.0), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let (webhook, lane_epoch) = match found {
            None | Some((.., true)) => return Ok(Err(BulkRedelivery::NotFound)),
            Some((_, _, true, _)) => return Ok(Err(BulkRedelivery::WebhookUnavailable)),
            Some((no, lane_epoch, ..)) => (no, lane_epoch),
        };
        let (floor, below) = listing::seqs_between(conn, Table::Delivery, filter.from, filter.to)?;
        let last = listing::newest(conn, Table::Delivery)?.min(below.saturating_sub(1));
        Ok(Ok(Self {
            webhook,
            lane_epoch,
            chosen: Chosen {
                from: filter.from.map(Timestamp::millis),
                to: filter.to.map(Timestamp::millis),
                status: filter.status.map(Status::code),
            },
            floor,
            last,
            below: (last >= floor).then_some(last + 1),
            events: HashSet::new(),
        }))
    }

    pub(super) fn is_done(&self) -> bool {
        self.below.is_none()
    }

    pub(super) fn go_on(mut self, conn: &Connection) -> Result<Self, WriteError> {
        let Some(below) = self.below else { return Ok(self) };
        let step = listing::step(conn, List::DeliveriesOfWebhook(self.webhook), below, self.floor, STEP)?;
        self.below = step.below;
        for seq in step.seqs {
            self.events.extend(self.chosen.event_of(conn, seq)?);
        }
        Ok(self)
    }

    pub(super) fn answer(&self) -> BulkRedelivery {
        let lane = LaneNo::replay(WebhookNo(self.webhook));
        BulkRedelivery::Counted { count: self.events.len() as u64, lane }
    }

    /// Stores the job, unless the webhook was disabled since.
    pub(super) fn make_job(
        &self,
        conn: &Connection,
        tenant: TenantNo,
        webhook: WebhookId,
        by: &By,
    ) -> Result<BulkRedelivery, WriteError> {
        let still: bool = conn
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM webhook
                                WHERE no = ?1 AND lane_epoch = ?2 AND NOT disabled AND deleted_at IS NULL)",
            )?
            .query_row((self.webhook, self.lane_epoch), |row| row.get(0))?;
        if !still {
            return Ok(BulkRedelivery::WebhookUnavailable);
        }
        if !self.events.is_empty() {
            conn.prepare_cached(
                "INSERT INTO replay_job (webhook, lane_epoch, from_at, to_at, status, next_seq, last_seq, count)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute((
                self.webhook,
                self.lane_epoch,
                self.chosen.from,
                self.chosen.to,
                self.chosen.status,
                self.floor,
                self.last,
                self.events.len() as i64,
            ))?;
        }
        let Chosen { from, to, status } = self.chosen;
        let time = |millis: Option<i64>| millis.map(Timestamp::from_millis);
        let status = status.and_then(Status::from_code).map(Status::as_str);
        let chosen =
            json!({"from": time(from), "to": time(to), "status": status, "count": self.events.len()});
        log::insert(conn, tenant, by, &webhook.to_string(), &Change::made(chosen))?;
        Ok(self.answer())
    }
}
