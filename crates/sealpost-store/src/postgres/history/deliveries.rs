//! Deliveries and attempts as history shows them.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use sealpost_core::delivery::{AttemptRecord, DeliveryRecord, State, Status};
use sealpost_core::id::{DeliveryId, EventId, TenantNo, WebhookId};
use sealpost_core::outcome::Outcome;
use sealpost_core::time::Timestamp;

use super::STEP;
use crate::error::StoreError;
use crate::history::{DeliveryDetail, DeliveryFilter, DeliveryMeasure};
use crate::page::{Page, PageRequest};
use crate::postgres::fault::Fault;
use crate::postgres::inbox::FLAG_TEST;
use crate::postgres::pool::{Columns as _, Conn};
use crate::rows::{corrupt, shown_state, state};
use crate::vault::TenantKey;

const COLUMNS: &str = "d.id, e.id, t.name, w.id, d.state, d.reason, d.lane_epoch, w.lane_epoch,
                       w.deleted_at IS NOT NULL, d.claimer IS NOT NULL, d.created_at, d.due, d.attempt, e.flags, d.seq";
const TABLES: &str = "delivery d JOIN webhook w ON w.no = d.webhook JOIN event e ON e.seq = d.event
                      JOIN type_name t ON t.no = e.type";
const COLUMN_COUNT: usize = 15;

fn delivery_record(row: &Row) -> Result<DeliveryRecord, Fault> {
    let stored = state(row.code(4)?, row.code(5)?)?;
    let claimed: bool = row.col(9)?;
    let shown = shown_state(stored, (row.col(6)?, row.col(7)?), row.col(8)?, claimed);
    let due: Option<i64> = row.col(11)?;
    Ok(DeliveryRecord {
        id: DeliveryId::from_bytes(row.bytes(0)?),
        event: EventId::from_bytes(row.bytes(1)?),
        event_type: row.col(2)?,
        webhook: WebhookId::from_bytes(row.bytes(3)?),
        state: shown,
        created_at: Timestamp::from_millis(row.col(10)?),
        due_at: due.filter(|_| shown == State::Pending && !claimed).map(Timestamp::from_millis),
        attempts_used: row.code(12)?,
        test: row.col::<i64>(13)? & FLAG_TEST != 0,
    })
}

pub(super) async fn one(
    conn: &Conn,
    tenant: TenantNo,
    id: DeliveryId,
    key: &TenantKey,
) -> Result<Option<DeliveryDetail>, Fault> {
    let sql = format!(
        "SELECT {COLUMNS}, d.started, d.took, d.outcome, d.http, s.id, k.salt
         FROM {TABLES} LEFT JOIN event s ON s.seq = e.payload LEFT JOIN payload_salt k ON k.seq = e.payload
         WHERE d.id = $1 AND d.tenant = $2"
    );
    let Some(row) = conn.optional(&sql, &[&id.bytes().as_slice(), &tenant.0]).await? else { return Ok(None) };
    let delivery = delivery_record(&row)?;
    let mut attempts = Vec::new();
    let started: Option<i64> = row.col(COLUMN_COUNT)?;
    let code: Option<i16> = row.col(COLUMN_COUNT + 2)?;
    if let (Some(started), Some(code)) = (started, code) {
        attempts.push(AttemptRecord {
            number: 1,
            started_at: Timestamp::from_millis(started),
            took_ms: took(row.col::<Option<i64>>(COLUMN_COUNT + 1)?.unwrap_or(0)),
            outcome: outcome(code)?,
            http_status: status(row.col(COLUMN_COUNT + 3)?),
            error: None,
            excerpt: None,
        });
    }
    let source: Option<&[u8]> = row.col(COLUMN_COUNT + 4)?;
    let source = source.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(EventId::from_bytes);
    let salt: Option<&[u8]> = row.col(COLUMN_COUNT + 5)?;
    let sql = "SELECT number, started, took, outcome, http, error, salt, excerpt FROM attempt
               WHERE delivery = $1 ORDER BY number";
    let seq: i64 = row.col(14)?;
    for row in conn.rows(sql, &[&seq]).await? {
        let number = row.code(0)?;
        let (own_salt, sealed): (Option<&[u8]>, Option<&[u8]>) = (row.col(6)?, row.col(7)?);
        let excerpt = match (source, salt, own_salt, sealed) {
            // What does not open is gone, as far as anybody can tell; the attempt itself still shows.
            (Some(source), Some(salt), Some(own), Some(sealed)) => {
                key.open_excerpt(source, salt, own, id, number, sealed).ok()
            }
            _ => None,
        };
        // The first attempt is in the delivery's row; a row of its own says more of it.
        attempts.retain(|known: &AttemptRecord| known.number != number);
        attempts.push(AttemptRecord {
            number,
            started_at: Timestamp::from_millis(row.col(1)?),
            took_ms: took(row.col(2)?),
            outcome: outcome(row.col(3)?)?,
            http_status: status(row.col(4)?),
            error: row.col(5)?,
            excerpt,
        });
    }
    Ok(Some(DeliveryDetail { delivery, attempts }))
}

fn outcome(code: i16) -> Result<Outcome, StoreError> {
    u8::try_from(code).ok().and_then(Outcome::from_code).ok_or(corrupt("outcome"))
}

fn took(ms: i64) -> u32 {
    ms.try_into().unwrap_or(u32::MAX)
}

fn status(code: Option<i32>) -> Option<u16> {
    code.and_then(|code| code.try_into().ok())
}

/// Where candidates come from: a condition on `$1`, and on `$7` and `$8` where there are such.
enum Source {
    Tenant,
    Webhook(i64),
    /// Failed or cancelled ones of a webhook, which have an index of their own.
    EndedBadly(i64),
    /// All deliveries of one event: those that accept made, and redeliveries.
    Event {
        seq: i64,
        first: i64,
        behind: i64,
    },
    Nothing,
}

pub(super) async fn list(
    conn: &Conn,
    tenant: TenantNo,
    filter: &DeliveryFilter,
    page: &PageRequest<DeliveryId>,
) -> Result<Page<DeliveryRecord>, Fault> {
    let source = source(conn, tenant, filter).await?;
    let from = filter.from.map_or(i64::MIN, Timestamp::millis);
    let to = filter.to.map_or(i64::MAX, Timestamp::millis);
    let mut before = match page.after {
        None => (i64::MAX, i64::MAX),
        Some(after) => {
            let sql = "SELECT created_at, seq FROM delivery WHERE id = $1 AND tenant = $2";
            match conn.optional(sql, &[&after.id.bytes().as_slice(), &tenant.0]).await? {
                Some(row) => (row.col(0)?, row.col(1)?),
                // The row may be gone by now, or another tenant's; then everything older than it.
                None => (after.at.millis(), i64::MIN),
            }
        }
    };
    let (condition, key, range) = match source {
        Source::Nothing => return Ok(Page { rows: Vec::new(), more: false }),
        Source::Tenant => ("d.tenant = $1", tenant.0, None),
        Source::Webhook(webhook) => ("d.webhook = $1", webhook, None),
        Source::EndedBadly(webhook) => ("d.webhook = $1 AND d.state IN (2, 3)", webhook, None),
        Source::Event { seq, first, behind } => (
            "d.seq IN (SELECT seq FROM delivery WHERE seq >= $7 AND seq < $8
                       UNION ALL SELECT delivery FROM redelivery WHERE event = $1)",
            seq,
            Some((first, behind)),
        ),
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES}
         WHERE {condition} AND d.created_at >= $2 AND d.created_at <= $3 AND (d.created_at, d.seq) < ($4, $5)
         ORDER BY d.created_at DESC, d.seq DESC LIMIT $6"
    );
    let wanted = page.limit as usize;
    let filtered = filter.status.is_some() || filter.event_type.is_some() || filter.webhook.is_some();
    let mut found: Vec<DeliveryRecord> = Vec::new();
    let mut more = false;
    while !more {
        let most = if filtered { STEP } else { STEP.min((wanted - found.len()) as i64 + 1) };
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&key, &from, &to, &before.0, &before.1, &most];
        if let Some((first, behind)) = &range {
            params.extend([first as &(dyn ToSql + Sync), behind]);
        }
        let rows = conn.rows(&sql, &params).await?;
        for row in &rows {
            let record = delivery_record(row)?;
            before = (record.created_at.millis(), row.col(14)?);
            if !fits(filter, &record) {
                continue;
            }
            if found.len() >= wanted {
                more = true;
                break;
            }
            found.push(record);
        }
        if (rows.len() as i64) < most {
            break;
        }
    }
    Ok(Page { rows: found, more })
}

/// In steps, as a page is.
pub(super) async fn measures(
    conn: &Conn,
    tenant: TenantNo,
    from: Timestamp,
    most: u32,
) -> Result<Vec<DeliveryMeasure>, Fault> {
    let sql = "SELECT d.created_at, d.state, d.reason, d.lane_epoch, w.lane_epoch, w.deleted_at IS NOT NULL,
                      d.claimer IS NOT NULL, d.took, d.seq
               FROM delivery d JOIN webhook w ON w.no = d.webhook
               WHERE d.tenant = $1 AND d.created_at >= $2 AND (d.created_at, d.seq) < ($3, $4)
               ORDER BY d.created_at DESC, d.seq DESC LIMIT $5";
    let mut before = (i64::MAX, i64::MAX);
    let mut found: Vec<DeliveryMeasure> = Vec::new();
    loop {
        let step = STEP.min(i64::from(most) - found.len() as i64);
        let rows = conn.rows(sql, &[&tenant.0, &from.millis(), &before.0, &before.1, &step]).await?;
        for row in &rows {
            before = (row.col(0)?, row.col(8)?);
            let stored = state(row.code(1)?, row.code(2)?)?;
            let shown = shown_state(stored, (row.col(3)?, row.col(4)?), row.col(5)?, row.col(6)?);
            found.push(DeliveryMeasure {
                created_at: Timestamp::from_millis(before.0),
                status: shown.status(),
                took_ms: row.col::<Option<i64>>(7)?.map(took),
            });
        }
        if (rows.len() as i64) < STEP {
            return Ok(found);
        }
    }
}

fn fits(filter: &DeliveryFilter, delivery: &DeliveryRecord) -> bool {
    filter.webhook.is_none_or(|webhook| delivery.webhook == webhook)
        && filter.status.is_none_or(|status| delivery.state.status() == status)
        && filter.event_type.as_ref().is_none_or(|name| name.as_str() == delivery.event_type)
}

/// The source with the fewest candidates. What is not of this tenant is nothing.
async fn source(conn: &Conn, tenant: TenantNo, filter: &DeliveryFilter) -> Result<Source, Fault> {
    if let Some(event) = filter.event {
        let sql = "SELECT seq, first_delivery, first_delivery + deliveries FROM event WHERE tenant = $1 AND id = $2";
        let found = conn.optional(sql, &[&tenant.0, &event.bytes().as_slice()]).await?;
        return Ok(match found {
            Some(row) => Source::Event { seq: row.col(0)?, first: row.col(1)?, behind: row.col(2)? },
            None => Source::Nothing,
        });
    }
    let Some(webhook) = filter.webhook else { return Ok(Source::Tenant) };
    let sql = "SELECT w.no, s.webhook IS NOT NULL FROM webhook w LEFT JOIN stale_lane s ON s.webhook = w.no
               WHERE w.id = $1 AND w.tenant = $2";
    let Some(row) = conn.optional(sql, &[&webhook.bytes().as_slice(), &tenant.0]).await? else {
        return Ok(Source::Nothing);
    };
    let (webhook, stale): (i64, bool) = (row.col(0)?, row.col(1)?);
    Ok(match filter.status {
        Some(Status::Failed) => Source::EndedBadly(webhook),
        // While upkeep has not rewritten a stale lane, its rows are cancelled without being in that index.
        Some(Status::Cancelled) if !stale => Source::EndedBadly(webhook),
        _ => Source::Webhook(webhook),
    })
}
