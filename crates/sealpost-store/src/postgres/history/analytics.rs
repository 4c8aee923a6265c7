//! Analytic events: recorded calls, and what the rows of events, deliveries and attempts tell, merged into one list; see
//! [`crate::told`]. Every source is in the order of an index of its own, so its bound is the last time it showed.

mod shown;

use std::sync::Arc;

use tokio_postgres::Row as SqlRow;

use sealpost_core::analytics::{AnalyticFilter, AnalyticType, Phase, RequestId, Step, call_from_code};
use sealpost_core::id::{AnalyticId, ClientId, TenantNo};

use super::STEP;
use crate::history::AnalyticRecord;
use crate::page::{Page, PageRequest};
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::rows::{corrupt, shown_state, state};
use crate::told::{Bound, Delivery, Found, PROMPT_MS, Row, Wanted, end_of, tell_attempt};
use crate::vault::TenantHasher;

pub(super) async fn page(
    conn: &Conn,
    tenant: TenantNo,
    hasher: &Arc<TenantHasher>,
    filter: &AnalyticFilter,
    page: &PageRequest<AnalyticId>,
) -> Result<Page<AnalyticRecord>, Fault> {
    let mut wanted = Wanted::new(tenant, Arc::clone(hasher), filter.clone(), page);
    match wanted.requests() {
        // Request ids name rows: there is nothing to look through.
        Some(requests) => look_up(conn, &mut wanted, &requests).await?,
        None => {
            let mut sources = sources(&wanted);
            while let Some(index) = wanted.next(sources.iter().map(|source| source.bound)) {
                let Some(source) = sources.get_mut(index) else { break };
                source.go_on(conn, &mut wanted).await?;
            }
        }
    }
    let (found, more) = wanted.newest.into_sorted();
    Ok(Page { rows: shown::records(conn, found).await?, more })
}

struct Source {
    place: Place,
    bound: Bound,
}

/// Where a source goes on: before this row, in the order of its index.
enum Place {
    Calls(i64, [u8; 16]),
    Events(i64, i64),
    /// First attempts that ended soon after their delivery was made, by that.
    Prompt(i64, i64),
    /// The other first attempts, by their end.
    Late(i64, i64),
    Retried(i64, i64, i16),
}

/// Those that can have what is asked for.
fn sources(wanted: &Wanted) -> Vec<Source> {
    let ends = [Step::ProcessSuccess, Step::ProcessFail];
    let mut places = Vec::new();
    if wanted.admits_calls() {
        // Nothing has the time after the last.
        places.push(match wanted.after {
            Some((at, id)) if at <= wanted.to => Place::Calls(at, *id.bytes()),
            _ => Place::Calls(wanted.to.saturating_add(1), [0; 16]),
        });
    }
    if wanted.admits(&[Step::Receive]) {
        places.push(Place::Events(wanted.to, i64::MAX));
    }
    if wanted.admits(&[&ends[..], &[Step::ProcessStart]].concat()) {
        places.push(Place::Prompt(wanted.to, i64::MAX));
        places.push(Place::Late(wanted.ends_until(), i64::MAX));
    }
    if wanted.admits(&[&ends[..], &[Step::Retry]].concat()) {
        places.push(Place::Retried(wanted.ends_until(), i64::MAX, i16::MAX));
    }
    places.into_iter().map(|place| Source { bound: Bound::At(wanted.to), place }).collect()
}

/// The end of an attempt, as the indexes have it.
const D_END: &str = "d.started + least(d.took, 60000)";
const A_END: &str = "a.started + least(a.took, 60000)";

impl Source {
    async fn go_on(&mut self, conn: &Conn, wanted: &mut Wanted) -> Result<(), Fault> {
        let (seen, last) = match &mut self.place {
            Place::Calls(at, id) => (calls(conn, wanted, at, id).await?, *at),
            Place::Events(at, seq) => (events(conn, wanted, at, seq).await?, *at),
            Place::Prompt(at, seq) => (prompt(conn, wanted, at, seq).await?, at.saturating_add(PROMPT_MS)),
            Place::Late(end, seq) => (late(conn, wanted, end, seq).await?, *end),
            Place::Retried(end, seq, number) => (retried(conn, wanted, end, seq, number).await?, *end),
        };
        self.bound = if seen as i64 == STEP { Bound::At(last) } else { Bound::Ended };
        Ok(())
    }
}

const CALL: &str = "seq, at, id, kind, request, client";

fn call(row: &SqlRow) -> Result<(Found, Option<ClientId>), Fault> {
    let (operation, phase): (_, Phase) = call_from_code(row.code(3)?).ok_or(corrupt("recorded call"))?;
    let client: Option<&[u8]> = row.col(5)?;
    let client = client.map(<[u8; 16]>::try_from).transpose().map_err(|_| corrupt("client of a call"))?;
    let found = Found {
        at: row.col(1)?,
        id: AnalyticId::from_bytes(row.bytes(2)?),
        kind: AnalyticType::Call(operation, phase),
        request: RequestId::from_bytes(row.bytes(4)?),
        row: Row::Call { seq: row.col(0)? },
    };
    Ok((found, client.map(ClientId::from_bytes)))
}

async fn calls(conn: &Conn, wanted: &mut Wanted, at: &mut i64, id: &mut [u8; 16]) -> Result<usize, Fault> {
    let sql = format!(
        "SELECT {CALL} FROM analytic_call WHERE tenant = $1 AND (at, id) < ($2, $3) AND at >= $4
         ORDER BY at DESC, id DESC LIMIT $5"
    );
    let before = id.as_slice();
    let rows = conn.rows(&sql, &[&wanted.tenant.0, &*at, &before, &wanted.from, &STEP]).await?;
    for row in &rows {
        let (found, client) = call(row)?;
        (*at, *id) = (found.at, *found.id.bytes());
        wanted.call(found, client);
    }
    Ok(rows.len())
}

async fn events(conn: &Conn, wanted: &mut Wanted, at: &mut i64, seq: &mut i64) -> Result<usize, Fault> {
    let sql = "SELECT id, accepted_at, derived_of IS NOT NULL, seq FROM event
               WHERE tenant = $1 AND (accepted_at, seq) < ($2, $3) AND accepted_at >= $4
               ORDER BY accepted_at DESC, seq DESC LIMIT $5";
    let rows = conn.rows(sql, &[&wanted.tenant.0, &*at, &*seq, &wanted.from, &STEP]).await?;
    for row in &rows {
        (*at, *seq) = (row.col(1)?, row.col(3)?);
        wanted.tell(row.bytes(0)?, Step::Receive, row.col::<bool>(2)?.into(), *at, Row::Event { seq: *seq });
    }
    Ok(rows.len())
}

async fn prompt(conn: &Conn, wanted: &mut Wanted, at: &mut i64, seq: &mut i64) -> Result<usize, Fault> {
    let sql = format!(
        "SELECT {DELIVERY}, d.created_at, d.started, d.took FROM delivery d JOIN webhook w ON w.no = d.webhook
         WHERE d.tenant = $1 AND (d.created_at, d.seq) < ($2, $3) AND d.created_at >= $4
         ORDER BY d.created_at DESC, d.seq DESC LIMIT $5"
    );
    let from = wanted.from.saturating_sub(PROMPT_MS);
    let rows = conn.rows(&sql, &[&wanted.tenant.0, &*at, &*seq, &from, &STEP]).await?;
    for row in &rows {
        let delivery = delivery_of(row)?;
        (*at, *seq) = (row.col(DELIVERY_COLUMNS)?, delivery.seq);
        let started: Option<i64> = row.col(DELIVERY_COLUMNS + 1)?;
        let Some(started) = started else { continue };
        let end = end_of(started, row.col::<Option<i64>>(DELIVERY_COLUMNS + 2)?.unwrap_or(0));
        if end <= at.saturating_add(PROMPT_MS) {
            tell_attempt(wanted, &delivery, 1, started, end);
        }
    }
    Ok(rows.len())
}

async fn late(conn: &Conn, wanted: &mut Wanted, end: &mut i64, seq: &mut i64) -> Result<usize, Fault> {
    let sql = format!(
        "SELECT {DELIVERY}, d.started, {D_END} FROM delivery d JOIN webhook w ON w.no = d.webhook
         WHERE d.tenant = $1 AND {D_END} > d.created_at + 2000 AND ({D_END}, d.seq) < ($2, $3) AND {D_END} >= $4
         ORDER BY {D_END} DESC, d.seq DESC LIMIT $5"
    );
    let rows = conn.rows(&sql, &[&wanted.tenant.0, &*end, &*seq, &wanted.from, &STEP]).await?;
    for row in &rows {
        let delivery = delivery_of(row)?;
        (*end, *seq) = (row.col(DELIVERY_COLUMNS + 1)?, delivery.seq);
        tell_attempt(wanted, &delivery, 1, row.col(DELIVERY_COLUMNS)?, *end);
    }
    Ok(rows.len())
}

async fn retried(
    conn: &Conn,
    wanted: &mut Wanted,
    end: &mut i64,
    seq: &mut i64,
    number: &mut i16,
) -> Result<usize, Fault> {
    let sql = format!(
        "SELECT {DELIVERY}, a.started, {A_END}, a.number FROM attempt a
         JOIN delivery d ON d.seq = a.delivery JOIN webhook w ON w.no = d.webhook
         WHERE a.tenant = $1 AND a.number > 1 AND ({A_END}, a.delivery, a.number) < ($2, $3, $4) AND {A_END} >= $5
         ORDER BY {A_END} DESC, a.delivery DESC, a.number DESC LIMIT $6"
    );
    let rows = conn.rows(&sql, &[&wanted.tenant.0, &*end, &*seq, &*number, &wanted.from, &STEP]).await?;
    for row in &rows {
        let delivery = delivery_of(row)?;
        (*end, *seq, *number) =
            (row.col(DELIVERY_COLUMNS + 1)?, delivery.seq, row.col(DELIVERY_COLUMNS + 2)?);
        tell_attempt(wanted, &delivery, row.code(DELIVERY_COLUMNS + 2)?, row.col(DELIVERY_COLUMNS)?, *end);
    }
    Ok(rows.len())
}

/// Everything of these request ids: that of a call was drawn for it, that of an event or a delivery is its own id.
async fn look_up(conn: &Conn, wanted: &mut Wanted, requests: &[RequestId]) -> Result<(), Fault> {
    let tenant = wanted.tenant.0;
    let ids: Vec<Vec<u8>> = requests.iter().map(|request| request.bytes().to_vec()).collect();
    let sql = format!("SELECT {CALL} FROM analytic_call WHERE tenant = $1 AND request = ANY($2)");
    for row in conn.rows(&sql, &[&tenant, &ids]).await? {
        let (found, client) = call(&row)?;
        wanted.call(found, client);
    }
    let sql =
        "SELECT id, accepted_at, derived_of IS NOT NULL, seq FROM event WHERE tenant = $1 AND id = ANY($2)";
    for row in conn.rows(sql, &[&tenant, &ids]).await? {
        let told = Row::Event { seq: row.col(3)? };
        wanted.tell(row.bytes(0)?, Step::Receive, row.col::<bool>(2)?.into(), row.col(1)?, told);
    }
    // The first attempt from the delivery's row, the others from their own.
    let sql = format!(
        "SELECT {DELIVERY}, 1::smallint, d.started, d.took FROM delivery d JOIN webhook w ON w.no = d.webhook
         WHERE d.id = ANY($2) AND d.tenant = $1 AND d.started IS NOT NULL
         UNION ALL
         SELECT {DELIVERY}, a.number, a.started, a.took FROM delivery d JOIN webhook w ON w.no = d.webhook
         JOIN attempt a ON a.delivery = d.seq WHERE d.id = ANY($2) AND d.tenant = $1 AND a.number > 1"
    );
    for row in conn.rows(&sql, &[&tenant, &ids]).await? {
        let started = row.col(DELIVERY_COLUMNS + 1)?;
        let end = end_of(started, row.col::<Option<i64>>(DELIVERY_COLUMNS + 2)?.unwrap_or(0));
        tell_attempt(wanted, &delivery_of(&row)?, row.code(DELIVERY_COLUMNS)?, started, end);
    }
    Ok(())
}

const DELIVERY: &str = "d.seq, d.id, d.state, d.reason, d.lane_epoch, w.lane_epoch, w.deleted_at IS NOT NULL,
                        d.claimer IS NOT NULL, d.attempt";
const DELIVERY_COLUMNS: usize = 9;

fn delivery_of(row: &SqlRow) -> Result<Delivery, Fault> {
    let stored = state(row.code(2)?, row.code(3)?)?;
    let state = shown_state(stored, (row.col(4)?, row.col(5)?), row.col(6)?, row.col(7)?);
    Ok(Delivery { seq: row.col(0)?, id: row.bytes(1)?, state, attempts: row.code(8)? })
}
