//! Where analytic events come from, each source newest first.

use rusqlite::{Connection, Row as SqlRow};

use sealpost_core::analytics::{AnalyticType, Phase, RequestId, Step, call_from_code};
use sealpost_core::id::{AnalyticId, ClientId};
use sealpost_core::time::Timestamp;

use crate::sqlite::history::STEP;
use crate::sqlite::listing::{self, DISORDER_MS, List, Table};
use crate::sqlite::rows::{corrupt, shown_state, state};
use crate::sqlite::writer::WriteError;
use crate::told::{Bound, Delivery, Found, PROMPT_MS, Row, Wanted, end_of, tell_attempt};

pub(super) struct Source {
    place: Place,
    bound: Bound,
}

/// Where a source goes on.
enum Place {
    /// Before this (time, id) in the list.
    Calls(i64, [u8; 16]),
    Listed(Listed),
    /// Attempts that ended before this one: its end and its row, (delivery, number).
    Late(i64, i64),
    Retried(i64, (i64, u8)),
}

/// A walk along the listing index. `lowest` is the oldest time of the rows seen: later ones may be out of order a little.
struct Listed {
    table: Table,
    below: i64,
    floor: i64,
    lowest: i64,
}

/// Those that can have what is asked for.
pub(super) fn all(conn: &Connection, wanted: &Wanted) -> Result<Vec<Source>, WriteError> {
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
        places.push(Place::Listed(Listed::begin(conn, wanted, Table::Event, 0)?));
    }
    if wanted.admits(&[&ends[..], &[Step::ProcessStart]].concat()) {
        places.push(Place::Listed(Listed::begin(conn, wanted, Table::Delivery, PROMPT_MS)?));
        places.push(Place::Late(wanted.ends_until(), i64::MAX));
    }
    if wanted.admits(&[&ends[..], &[Step::Retry]].concat()) {
        places.push(Place::Retried(wanted.ends_until(), (i64::MAX, u8::MAX)));
    }
    Ok(places.into_iter().map(|place| Source { bound: Bound::At(wanted.to), place }).collect())
}

impl Source {
    pub(super) fn bound(&self) -> Bound {
        self.bound
    }

    pub(super) fn go_on(&mut self, conn: &Connection, wanted: &mut Wanted) -> Result<(), WriteError> {
        self.bound = match &mut self.place {
            Place::Calls(at, id) => calls(conn, wanted, at, id)?,
            Place::Listed(listed) => match listed.table {
                Table::Event => listed.events(conn, wanted)?,
                Table::Delivery => listed.deliveries(conn, wanted)?,
            },
            Place::Late(end, seq) => late(conn, wanted, end, seq)?,
            Place::Retried(end, row) => retried(conn, wanted, end, row)?,
        };
        Ok(())
    }
}

pub(super) const CALL: &str = "seq, at, id, kind, request, client";

pub(super) fn call(row: &SqlRow<'_>) -> Result<(Found, Option<ClientId>), WriteError> {
    let (operation, phase): (_, Phase) = call_from_code(row.get(3)?).ok_or(corrupt("recorded call"))?;
    let client: Option<[u8; 16]> = row.get(5)?;
    let found = Found {
        at: row.get(1)?,
        id: AnalyticId::from_bytes(row.get(2)?),
        kind: AnalyticType::Call(operation, phase),
        request: RequestId::from_bytes(row.get(4)?),
        row: Row::Call { seq: row.get(0)? },
    };
    Ok((found, client.map(ClientId::from_bytes)))
}

fn calls(
    conn: &Connection,
    wanted: &mut Wanted,
    at: &mut i64,
    id: &mut [u8; 16],
) -> Result<Bound, WriteError> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {CALL} FROM analytic_call WHERE tenant = ?1 AND (at, id) < (?2, ?3) AND at >= ?4 \
         ORDER BY at DESC, id DESC LIMIT ?5"
    ))?;
    let mut rows = statement.query((wanted.tenant.0, *at, &id[..], wanted.from, STEP))?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let (found, client) = call(row)?;
        (*at, *id) = (found.at, *found.id.bytes());
        wanted.call(found, client);
        seen += 1;
    }
    Ok(if seen == STEP { Bound::At(*at) } else { Bound::Ended })
}

impl Listed {
    /// `spread`: how long after a row's time something of it may have happened.
    fn begin(conn: &Connection, wanted: &Wanted, table: Table, spread: i64) -> Result<Self, WriteError> {
        let time = |ms: i64| Timestamp::from_millis(ms);
        let from = wanted.from.saturating_sub(spread);
        let (floor, below) = listing::seqs_between(conn, table, Some(time(from)), Some(time(wanted.to)))?;
        Ok(Self { table, below, floor, lowest: i64::MAX })
    }

    fn step(&mut self, conn: &Connection, list: List) -> Result<(Vec<i64>, bool), WriteError> {
        if self.below <= self.floor {
            return Ok((Vec::new(), true));
        }
        let step = listing::step(conn, list, self.below, self.floor, STEP)?;
        self.below = step.below.unwrap_or(self.floor);
        Ok((step.seqs, step.below.is_none()))
    }

    fn bound(&self, ended: bool, spread: i64) -> Bound {
        if ended { Bound::Ended } else { Bound::At(self.lowest.saturating_add(DISORDER_MS + spread)) }
    }

    fn events(&mut self, conn: &Connection, wanted: &mut Wanted) -> Result<Bound, WriteError> {
        let (seqs, ended) = self.step(conn, List::EventsOfTenant(wanted.tenant.0))?;
        let mut statement =
            conn.prepare_cached("SELECT id, accepted_at, derived_of IS NOT NULL FROM event WHERE seq = ?1")?;
        for seq in seqs {
            let mut rows = statement.query([seq])?;
            let Some(row) = rows.next()? else { continue };
            let at: i64 = row.get(1)?;
            self.lowest = self.lowest.min(at);
            wanted.tell(row.get(0)?, Step::Receive, row.get(2)?, at, Row::Event { seq });
        }
        Ok(self.bound(ended, 0))
    }

    fn deliveries(&mut self, conn: &Connection, wanted: &mut Wanted) -> Result<Bound, WriteError> {
        let (seqs, ended) = self.step(conn, List::DeliveriesOfTenant(wanted.tenant.0))?;
        let mut statement = conn.prepare_cached(&format!(
            "SELECT {DELIVERY}, d.created_at, d.started, d.took FROM delivery d \
             CROSS JOIN webhook w ON w.no = d.webhook WHERE d.seq = ?1"
        ))?;
        for seq in seqs {
            let mut rows = statement.query([seq])?;
            let Some(row) = rows.next()? else { continue };
            let created_at: i64 = row.get(DELIVERY_COLUMNS)?;
            self.lowest = self.lowest.min(created_at);
            let started: Option<i64> = row.get(DELIVERY_COLUMNS + 1)?;
            let Some(started) = started else { continue };
            let end = end_of(started, row.get(DELIVERY_COLUMNS + 2)?);
            if end <= created_at + PROMPT_MS {
                tell_attempt(wanted, &delivery_of(row)?, 1, started, end);
            }
        }
        Ok(self.bound(ended, PROMPT_MS))
    }
}

fn late(conn: &Connection, wanted: &mut Wanted, end: &mut i64, seq: &mut i64) -> Result<Bound, WriteError> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {DELIVERY}, d.started, d.started + min(d.took, 60000) FROM delivery d INDEXED BY late \
         CROSS JOIN webhook w ON w.no = d.webhook \
         WHERE d.tenant = ?1 AND d.started + min(d.took, 60000) > d.created_at + 2000 \
         AND d.started + min(d.took, 60000) <= ?2 AND d.started + min(d.took, 60000) >= ?4 \
         AND NOT (d.started + min(d.took, 60000) = ?2 AND d.seq >= ?3) \
         ORDER BY d.started + min(d.took, 60000) DESC, d.seq DESC LIMIT ?5"
    ))?;
    let mut rows = statement.query((wanted.tenant.0, *end, *seq, wanted.from, STEP))?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let delivery = delivery_of(row)?;
        (*end, *seq) = (row.get(DELIVERY_COLUMNS + 1)?, delivery.seq);
        tell_attempt(wanted, &delivery, 1, row.get(DELIVERY_COLUMNS)?, *end);
        seen += 1;
    }
    Ok(if seen == STEP { Bound::At(*end) } else { Bound::Ended })
}

fn retried(
    conn: &Connection,
    wanted: &mut Wanted,
    end: &mut i64,
    last: &mut (i64, u8),
) -> Result<Bound, WriteError> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {DELIVERY}, a.started, a.started + min(a.took, 60000), a.number FROM attempt a INDEXED BY retried \
         CROSS JOIN delivery d ON d.seq = a.delivery CROSS JOIN webhook w ON w.no = d.webhook \
         WHERE a.tenant = ?1 AND a.number > 1 \
         AND a.started + min(a.took, 60000) <= ?2 AND a.started + min(a.took, 60000) >= ?5 \
         AND NOT (a.started + min(a.took, 60000) = ?2 AND (a.delivery, a.number) >= (?3, ?4)) \
         ORDER BY a.started + min(a.took, 60000) DESC, a.delivery DESC, a.number DESC LIMIT ?6"
    ))?;
    let mut rows = statement.query((wanted.tenant.0, *end, last.0, last.1, wanted.from, STEP))?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let delivery = delivery_of(row)?;
        let number: u8 = row.get(DELIVERY_COLUMNS + 2)?;
        (*end, *last) = (row.get(DELIVERY_COLUMNS + 1)?, (delivery.seq, number));
        tell_attempt(wanted, &delivery, number, row.get(DELIVERY_COLUMNS)?, *end);
        seen += 1;
    }
    Ok(if seen == STEP { Bound::At(*end) } else { Bound::Ended })
}

pub(super) const DELIVERY: &str = "d.seq, d.id, d.state, d.reason, d.lane_epoch, w.lane_epoch, w.deleted_at IS NOT NULL, \
                                   d.claimer IS NOT NULL, d.attempt";
pub(super) const DELIVERY_COLUMNS: usize = 9;

pub(super) fn delivery_of(row: &SqlRow<'_>) -> Result<Delivery, WriteError> {
    let stored = state(row.get(2)?, row.get(3)?)?;
    let state = shown_state(stored, (row.get(4)?, row.get(5)?), row.get(6)?, row.get(7)?);
    Ok(Delivery { seq: row.get(0)?, id: row.get(1)?, state, attempts: row.get(8)? })
}
