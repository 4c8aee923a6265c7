//! The facts behind each row of a page.

use rusqlite::Connection;

use sealpost_core::delivery::AttemptRecord;
use sealpost_core::id::{ClientId, DeliveryId, EventId, WebhookId};
use sealpost_core::outcome::Outcome;
use sealpost_core::time::Timestamp;

use super::source::{DELIVERY, DELIVERY_COLUMNS, delivery_of};
use crate::history::{AnalyticFacts, AnalyticRecord};
use crate::sqlite::rows::{corrupt, event_type_name, from_json, timestamp};
use crate::sqlite::writer::WriteError;
use crate::told::{Found, Row};

/// `None`: the row is gone.
pub(super) fn record(conn: &Connection, found: Found) -> Result<Option<AnalyticRecord>, WriteError> {
    let facts = match found.row {
        Row::Call { seq } => call(conn, seq)?,
        Row::Event { seq } => event(conn, seq)?,
        Row::Attempt { delivery, number } => attempt(conn, delivery, number)?,
    };
    let Found { at, id, kind, request, .. } = found;
    Ok(facts.map(|facts| AnalyticRecord { id, at: Timestamp::from_millis(at), kind, request, facts }))
}

fn call(conn: &Connection, seq: i64) -> Result<Option<AnalyticFacts>, WriteError> {
    let mut statement = conn.prepare_cached("SELECT client, data FROM analytic_call WHERE seq = ?1")?;
    let mut rows = statement.query([seq])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let client: Option<[u8; 16]> = row.get(0)?;
    let data: Option<String> = row.get(1)?;
    let data = data.map(|text| from_json(&text, "data of a recorded call")).transpose()?;
    Ok(Some(AnalyticFacts::Call { client: client.map(ClientId::from_bytes), data }))
}

fn event(conn: &Connection, seq: i64) -> Result<Option<AnalyticFacts>, WriteError> {
    let mut statement = conn.prepare_cached(
        "SELECT e.id, t.name, e.at, e.bytes FROM event e CROSS JOIN type_name t ON t.no = e.type WHERE e.seq = ?1",
    )?;
    let mut rows = statement.query([seq])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let name: String = row.get(1)?;
    Ok(Some(AnalyticFacts::Received {
        event: EventId::from_bytes(row.get(0)?),
        event_type: event_type_name(&name)?,
        timestamp: timestamp(row, 2)?,
        payload_bytes: row.get::<_, i64>(3)?.unsigned_abs(),
    }))
}

fn attempt(conn: &Connection, delivery: i64, number: u8) -> Result<Option<AnalyticFacts>, WriteError> {
    // The first attempt is in the delivery's row, and has one of its own only for its error.
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {DELIVERY}, e.id, t.name, w.id, ifnull(a.started, d.started), ifnull(a.took, d.took), \
                ifnull(a.outcome, d.outcome), CASE WHEN a.number IS NULL THEN d.http ELSE a.http END, a.error \
         FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook CROSS JOIN event e ON e.seq = d.event \
         CROSS JOIN type_name t ON t.no = e.type \
         LEFT JOIN attempt a ON a.delivery = d.seq AND a.number = ?2 WHERE d.seq = ?1 AND d.started IS NOT NULL"
    ))?;
    let mut rows = statement.query((delivery, number))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let known = delivery_of(row)?;
    let column = |more: usize| DELIVERY_COLUMNS + more;
    let name: String = row.get(column(1))?;
    Ok(Some(AnalyticFacts::Attempted {
        event: EventId::from_bytes(row.get(column(0))?),
        event_type: event_type_name(&name)?,
        delivery: DeliveryId::from_bytes(known.id),
        webhook: WebhookId::from_bytes(row.get(column(2))?),
        attempt: AttemptRecord {
            number,
            started_at: timestamp(row, column(3))?,
            took_ms: row.get(column(4))?,
            outcome: Outcome::from_code(row.get(column(5))?).ok_or(corrupt("outcome"))?,
            http_status: row.get(column(6))?,
            error: row.get(column(7))?,
            excerpt: None,
        },
        state: known.state,
    }))
}
