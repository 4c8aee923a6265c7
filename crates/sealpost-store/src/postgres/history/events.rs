//! Events as history shows them.

use std::collections::HashMap;

use tokio_postgres::Row;

use sealpost_core::id::{DeliveryId, EventId, TenantNo, WebhookId};
use sealpost_core::time::Timestamp;

use super::STEP;
use crate::error::StoreError;
use crate::history::{EventDelivery, EventFilter, EventRecord, PayloadRead, PayloadState};
use crate::page::{Page, PageRequest};
use crate::postgres::fault::Fault;
use crate::postgres::inbox::{FLAG_TEST, derived_of};
use crate::postgres::pool::{Columns as _, Conn};
use crate::rows::{corrupt, event_type_name, shown_state, state};
use crate::vault::TenantKey;

const COLUMNS: &str =
    "e.seq, e.id, t.name, e.at, e.accepted_at, e.flags, e.first_delivery, e.deliveries, p.gone";
const TABLES: &str = "event e JOIN type_name t ON t.no = e.type LEFT JOIN payload p ON p.seq = e.payload";
/// A page with fewer rows than were asked for is cut here: so many deliveries of its events are enough.
const DELIVERIES_PER_PAGE: i64 = 20_000;

struct EventRow {
    seq: i64,
    record: EventRecord,
    first_delivery: i64,
    deliveries: i64,
}

fn event_row(row: &Row) -> Result<EventRow, Fault> {
    let flags: i64 = row.col(5)?;
    Ok(EventRow {
        seq: row.col(0)?,
        record: EventRecord {
            id: EventId::from_bytes(row.bytes(1)?),
            event_type: event_type_name(row.col(2)?)?,
            timestamp: Timestamp::from_millis(row.col(3)?),
            accepted_at: Timestamp::from_millis(row.col(4)?),
            derived: Vec::new(),
            deliveries: Vec::new(),
            payload: payload_state(row.col(8)?)?,
            test: flags & FLAG_TEST != 0,
        },
        first_delivery: row.col(6)?,
        deliveries: row.col(7)?,
    })
}

/// From `gone`; a payload without a row went with its metadata.
fn payload_state(gone: Option<i16>) -> Result<PayloadState, StoreError> {
    match gone {
        Some(0) => Ok(PayloadState::Kept),
        Some(1) | None => Ok(PayloadState::Pruned),
        Some(2) => Ok(PayloadState::Erased),
        Some(_) => Err(corrupt("payload state")),
    }
}

/// The rows with their deliveries and derived events: those that accept made, then those made later.
async fn completed(conn: &Conn, rows: Vec<EventRow>) -> Result<Vec<EventRecord>, Fault> {
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let firsts: Vec<i64> = rows.iter().map(|row| row.first_delivery).collect();
    let counts: Vec<i64> = rows.iter().map(|row| row.deliveries).collect();
    let sql = "SELECT s.event, d.id, w.id, d.state, d.reason, d.lane_epoch, w.lane_epoch, w.deleted_at IS NOT NULL,
                      d.claimer IS NOT NULL
               FROM (SELECT k.event, d.seq, FALSE AS later FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
                         AS k (event, first, count)
                     JOIN delivery d ON d.seq >= k.first AND d.seq < k.first + k.count
                     UNION ALL
                     SELECT event, delivery, TRUE FROM redelivery WHERE event = ANY($1)) s
               JOIN delivery d ON d.seq = s.seq JOIN webhook w ON w.no = d.webhook
               ORDER BY s.later, CASE WHEN s.later THEN d.created_at END, d.seq";
    let mut places: HashMap<i64, usize> = HashMap::new();
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        places.insert(row.seq, records.len());
        records.push(row.record);
    }
    if records.is_empty() {
        return Ok(records);
    }
    let (deliveries, derived) =
        tokio::try_join!(async { conn.rows(sql, &[&seqs, &firsts, &counts]).await }, async {
            derived_of(conn, &seqs).await
        },)?;
    for row in deliveries {
        let stored = state(row.code(3)?, row.code(4)?)?;
        let delivery = EventDelivery {
            id: DeliveryId::from_bytes(row.bytes(1)?),
            webhook: WebhookId::from_bytes(row.bytes(2)?),
            state: shown_state(stored, (row.col(5)?, row.col(6)?), row.col(7)?, row.col(8)?),
        };
        if let Some(record) = places.get(&row.col(0)?).and_then(|place| records.get_mut(*place)) {
            record.deliveries.push(delivery);
        }
    }
    for (source, event) in derived {
        if let Some(record) = places.get(&source).and_then(|place| records.get_mut(*place)) {
            record.derived.push(event);
        }
    }
    Ok(records)
}

pub(super) async fn one(conn: &Conn, tenant: TenantNo, id: EventId) -> Result<Option<EventRecord>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.tenant = $1 AND e.id = $2");
    let row = conn.optional(&sql, &[&tenant.0, &id.bytes().as_slice()]).await?;
    let rows = row.iter().map(event_row).collect::<Result<_, _>>()?;
    Ok(completed(conn, rows).await?.pop())
}

pub(super) async fn payload(
    conn: &Conn,
    tenant: TenantNo,
    id: EventId,
    key: &TenantKey,
) -> Result<PayloadRead, Fault> {
    let sql = "SELECT p.gone, k.salt, p.sealed, s.id FROM event e LEFT JOIN payload p ON p.seq = e.payload
               LEFT JOIN payload_salt k ON k.seq = e.payload LEFT JOIN event s ON s.seq = e.payload
               WHERE e.tenant = $1 AND e.id = $2";
    let Some(row) = conn.optional(sql, &[&tenant.0, &id.bytes().as_slice()]).await? else {
        return Ok(PayloadRead::NotFound);
    };
    let (salt, sealed): (Option<&[u8]>, Option<&[u8]>) = (row.col(1)?, row.col(2)?);
    match (payload_state(row.col(0)?)?, salt, sealed) {
        // Sealed under the event it came with, also where a derived event shares it.
        (PayloadState::Kept, Some(salt), Some(sealed)) => {
            let source = EventId::from_bytes(row.bytes(3)?);
            Ok(PayloadRead::Payload(key.open_payload(source, salt, sealed)?))
        }
        (PayloadState::Kept, ..) => Err(corrupt("payload").into()),
        (gone, ..) => Ok(PayloadRead::Gone(gone)),
    }
}

pub(super) async fn list(
    conn: &Conn,
    tenant: TenantNo,
    filter: &EventFilter,
    page: &PageRequest<EventId>,
) -> Result<Page<EventRecord>, Fault> {
    let from = filter.from.map_or(i64::MIN, Timestamp::millis);
    let to = filter.to.map_or(i64::MAX, Timestamp::millis);
    let mut before = match page.after {
        None => (i64::MAX, i64::MAX),
        Some(after) => {
            let sql = "SELECT accepted_at, seq FROM event WHERE tenant = $1 AND id = $2";
            match conn.optional(sql, &[&tenant.0, &after.id.bytes().as_slice()]).await? {
                Some(row) => (row.col(0)?, row.col(1)?),
                // The row may be gone by now; then everything older than it.
                None => (after.at.millis(), i64::MIN),
            }
        }
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES}
         WHERE e.tenant = $1 AND e.accepted_at >= $2 AND e.accepted_at <= $3 AND (e.accepted_at, e.seq) < ($4, $5)
         ORDER BY e.accepted_at DESC, e.seq DESC LIMIT $6"
    );
    let wanted = page.limit as usize;
    let mut found: Vec<EventRow> = Vec::new();
    let (mut deliveries, mut more) = (0, false);
    while !more {
        let most =
            if filter.event_type.is_some() { STEP } else { STEP.min((wanted - found.len()) as i64 + 1) };
        let rows = conn.rows(&sql, &[&tenant.0, &from, &to, &before.0, &before.1, &most]).await?;
        for row in &rows {
            let row = event_row(row)?;
            before = (row.record.accepted_at.millis(), row.seq);
            if filter.event_type.as_ref().is_some_and(|name| *name != row.record.event_type) {
                continue;
            }
            if found.len() >= wanted || deliveries > DELIVERIES_PER_PAGE {
                more = true;
                break;
            }
            deliveries += row.deliveries;
            found.push(row);
        }
        if (rows.len() as i64) < most {
            break;
        }
    }
    Ok(Page { rows: completed(conn, found).await?, more })
}
