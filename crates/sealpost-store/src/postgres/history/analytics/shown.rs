//! The facts behind the rows of a page, read kind by kind.

use std::collections::HashMap;

use sealpost_core::delivery::AttemptRecord;
use sealpost_core::id::{ClientId, DeliveryId, EventId, WebhookId};
use sealpost_core::outcome::Outcome;
use sealpost_core::time::Timestamp;

use super::{DELIVERY, DELIVERY_COLUMNS, delivery_of};
use crate::history::{AnalyticFacts, AnalyticRecord};
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::rows::{corrupt, event_type_name, from_json};
use crate::told::{Found, Row};

/// Without those whose rows are gone: retention may have taken them meanwhile.
pub(super) async fn records(conn: &Conn, found: Vec<Found>) -> Result<Vec<AnalyticRecord>, Fault> {
    let (mut seqs, mut events): (Vec<i64>, Vec<i64>) = Default::default();
    let (mut deliveries, mut numbers): (Vec<i64>, Vec<i16>) = Default::default();
    for found in &found {
        match found.row {
            Row::Call { seq } => seqs.push(seq),
            Row::Event { seq } => events.push(seq),
            Row::Attempt { delivery, number } => {
                deliveries.push(delivery);
                numbers.push(number.into());
            }
        }
    }
    let (calls, events, attempts) = (
        calls(conn, &seqs).await?,
        received(conn, &events).await?,
        attempted(conn, &deliveries, &numbers).await?,
    );
    let record = |found: Found| {
        let facts = match found.row {
            Row::Call { seq } => calls.get(&seq),
            Row::Event { seq } => events.get(&seq),
            Row::Attempt { delivery, number } => attempts.get(&(delivery, number)),
        };
        let Found { at, id, kind, request, .. } = found;
        let at = Timestamp::from_millis(at);
        facts.map(|facts| AnalyticRecord { id, at, kind, request, facts: facts.clone() })
    };
    Ok(found.into_iter().filter_map(record).collect())
}

async fn calls(conn: &Conn, seqs: &[i64]) -> Result<HashMap<i64, AnalyticFacts>, Fault> {
    let mut facts = HashMap::new();
    if seqs.is_empty() {
        return Ok(facts);
    }
    let sql = "SELECT seq, client, data FROM analytic_call WHERE seq = ANY($1)";
    for row in conn.rows(sql, &[&seqs]).await? {
        let (client, data): (Option<&[u8]>, Option<&str>) = (row.col(1)?, row.col(2)?);
        let client = client.map(<[u8; 16]>::try_from).transpose().map_err(|_| corrupt("client of a call"))?;
        let data = data.map(|text| from_json(text, "data of a recorded call")).transpose()?;
        facts.insert(row.col(0)?, AnalyticFacts::Call { client: client.map(ClientId::from_bytes), data });
    }
    Ok(facts)
}

async fn received(conn: &Conn, seqs: &[i64]) -> Result<HashMap<i64, AnalyticFacts>, Fault> {
    let mut facts = HashMap::new();
    if seqs.is_empty() {
        return Ok(facts);
    }
    let sql = "SELECT e.seq, e.id, t.name, e.at, e.bytes FROM event e JOIN type_name t ON t.no = e.type
               WHERE e.seq = ANY($1)";
    for row in conn.rows(sql, &[&seqs]).await? {
        let fact = AnalyticFacts::Received {
            event: EventId::from_bytes(row.bytes(1)?),
            event_type: event_type_name(row.col(2)?)?,
            timestamp: Timestamp::from_millis(row.col(3)?),
            payload_bytes: row.col::<i64>(4)?.unsigned_abs(),
        };
        facts.insert(row.col(0)?, fact);
    }
    Ok(facts)
}

async fn attempted(
    conn: &Conn,
    deliveries: &[i64],
    numbers: &[i16],
) -> Result<HashMap<(i64, u8), AnalyticFacts>, Fault> {
    let mut facts = HashMap::new();
    if deliveries.is_empty() {
        return Ok(facts);
    }
    // The first attempt is in the delivery's row, and has one of its own only for its error.
    let sql = format!(
        "SELECT {DELIVERY}, e.id, t.name, w.id, coalesce(a.started, d.started), coalesce(a.took, d.took),
                coalesce(a.outcome, d.outcome), CASE WHEN a.number IS NULL THEN d.http ELSE a.http END, a.error, k.number
         FROM unnest($1::bigint[], $2::smallint[]) AS k (delivery, number)
         JOIN delivery d ON d.seq = k.delivery JOIN webhook w ON w.no = d.webhook JOIN event e ON e.seq = d.event
         JOIN type_name t ON t.no = e.type
         LEFT JOIN attempt a ON a.delivery = d.seq AND a.number = k.number WHERE d.started IS NOT NULL"
    );
    for row in conn.rows(&sql, &[&deliveries, &numbers]).await? {
        let known = delivery_of(&row)?;
        let column = |more: usize| DELIVERY_COLUMNS + more;
        let (number, took): (u8, i64) = (row.code(column(8))?, row.col(column(4))?);
        let http: Option<i32> = row.col(column(6))?;
        let fact = AnalyticFacts::Attempted {
            event: EventId::from_bytes(row.bytes(column(0))?),
            event_type: event_type_name(row.col(column(1))?)?,
            delivery: DeliveryId::from_bytes(known.id),
            webhook: WebhookId::from_bytes(row.bytes(column(2))?),
            attempt: AttemptRecord {
                number,
                started_at: Timestamp::from_millis(row.col(column(3))?),
                took_ms: took.try_into().unwrap_or(u32::MAX),
                outcome: Outcome::from_code(row.code(column(5))?).ok_or(corrupt("outcome"))?,
                http_status: http.and_then(|code| code.try_into().ok()),
                error: row.col(column(7))?,
                excerpt: None,
            },
            state: known.state,
        };
        facts.insert((known.seq, number), fact);
    }
    Ok(facts)
}
