//! Where analytic events come from, each source newest first.

use rusqlite::{Connection, Row as SqlRow};

use sealpost_core::analytics::{AnalyticType, Phase, Step, call_from_code};
use sealpost_core::delivery::{State, Status};
use sealpost_core::id::{AnalyticId, ClientId};
use sealpost_core::time::Timestamp;

use super::{Found, Row, Wanted};
use crate::error::StoreError;
use crate::sqlite::history::STEP;
use crate::sqlite::listing::{self, DISORDER_MS, List, Table};
use crate::sqlite::rows::{corrupt, shown_state, state};
use crate::sqlite::writer::WriteError;
use sealpost_core::analytics::RequestId;

/// A first attempt that ended this long after its delivery was made is found by its delivery; the index `late` has the
/// others. Both numbers stand in the migration too.
const PROMPT_MS: i64 = 2_000;
const TOOK_MS_MAX: i64 = 60_000;

/// What a source has not shown yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    /// Nothing that happened later.
    At(i64),
    Ended,
}

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
    let filter = &wanted.filter;
    let steps = |steps: &[Step]| {
        filter.admits_caller(None)
            && steps.iter().any(|step| filter.admits_type(AnalyticType::Delivery(*step)))
    };
    let ends = [Step::ProcessSuccess, Step::ProcessFail];
    let mut places = Vec::new();
    if AnalyticType::all().any(|kind| matches!(kind, AnalyticType::Call(..)) && filter.admits_type(kind)) {
        // Nothing has the time after the last.
        places.push(match wanted.after {
            Some((at, id)) if at <= wanted.to => Place::Calls(at, *id.bytes()),
            _ => Place::Calls(wanted.to.saturating_add(1), [0; 16]),
        });
    }
    if steps(&[Step::Receive]) {
        places.push(Place::Listed(Listed::begin(conn, wanted, Table::Event, 0)?));
    }
    if steps(&[&ends[..], &[Step::ProcessStart]].concat()) {
        places.push(Place::Listed(Listed::begin(conn, wanted, Table::Delivery, PROMPT_MS)?));
        places.push(Place::Late(ends_until(wanted), i64::MAX));
    }
    if steps(&[&ends[..], &[Step::Retry]].concat()) {
        places.push(Place::Retried(ends_until(wanted), (i64::MAX, u8::MAX)));
    }
    Ok(places.into_iter().map(|place| Source { bound: Bound::At(wanted.to), place }).collect())
}

/// What began by the last time asked for has ended by this one.
fn ends_until(wanted: &Wanted) -> i64 {
    wanted.to.saturating_add(TOOK_MS_MAX)
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
                tell_attempt(wanted, &Delivery::of(row)?, 1, started, end);
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
        let delivery = Delivery::of(row)?;
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
        let delivery = Delivery::of(row)?;
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

/// What a delivery says about how its attempts count.
pub(super) struct Delivery {
    pub(super) seq: i64,
    pub(super) id: [u8; 16],
    pub(super) state: State,
    attempts: u8,
}

impl Delivery {
    pub(super) fn of(row: &SqlRow<'_>) -> Result<Self, StoreError> {
        Self::read(row).map_err(|error: WriteError| error.for_caller())
    }

    fn read(row: &SqlRow<'_>) -> Result<Self, WriteError> {
        let stored = state(row.get(2)?, row.get(3)?)?;
        let state = shown_state(stored, (row.get(4)?, row.get(5)?), row.get(6)?, row.get(7)?);
        Ok(Self { seq: row.get(0)?, id: row.get(1)?, state, attempts: row.get(8)? })
    }
}

pub(super) fn end_of(started: i64, took: i64) -> i64 {
    started.saturating_add(took.min(TOOK_MS_MAX))
}

/// What an attempt tells: that it began, and, if it was the last of a delivery that is over, how that ended. A delivery
/// that was cancelled between its attempts failed with the one before.
pub(super) fn tell_attempt(wanted: &mut Wanted, delivery: &Delivery, number: u8, started: i64, end: i64) {
    let row = Row::Attempt { delivery: delivery.seq, number };
    let begun = if number == 1 { Step::ProcessStart } else { Step::Retry };
    wanted.tell(delivery.id, begun, number, started, row);
    if number == delivery.attempts && delivery.state.is_final() {
        let ended = match delivery.state.status() {
            Status::Delivered => Step::ProcessSuccess,
            Status::Pending | Status::Failed | Status::Cancelled => Step::ProcessFail,
        };
        wanted.tell(delivery.id, ended, number, end, row);
    }
}
