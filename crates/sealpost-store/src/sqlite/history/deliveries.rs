//! Deliveries and attempts as history shows them.

use rusqlite::{Connection, OptionalExtension, Row};

use sealpost_core::delivery::{AttemptRecord, DeliveryRecord, State, Status};
use sealpost_core::id::{DeliveryId, EventId, TenantNo, WebhookId};
use sealpost_core::outcome::Outcome;
use sealpost_core::time::Timestamp;

use super::STEP;
use crate::error::StoreError;
use crate::history::{DeliveryDetail, DeliveryFilter};
use crate::page::{After, Page, PageRequest};
use crate::sqlite::listing::{self, List, Step, Table};
use crate::sqlite::rows::{corrupt, shown_state, state, timestamp};
use crate::sqlite::writer::WriteError;
use crate::vault::TenantKey;

const COLUMNS: &str = "d.id, e.id, t.name, w.id, d.state, d.reason, d.lane_epoch, w.lane_epoch, \
                       w.deleted_at IS NOT NULL, d.claimer IS NOT NULL, d.created_at, d.due, d.attempt, e.flags";
const TABLES: &str = "delivery d CROSS JOIN webhook w ON w.no = d.webhook CROSS JOIN event e ON e.seq = d.event \
                      CROSS JOIN type_name t ON t.no = e.type";
const COLUMN_COUNT: usize = 14;

fn delivery_record(row: &Row<'_>) -> Result<DeliveryRecord, WriteError> {
    let stored = state(row.get(4)?, row.get(5)?)?;
    let claimed: bool = row.get(9)?;
    let shown = shown_state(stored, (row.get(6)?, row.get(7)?), row.get(8)?, claimed);
    let due: Option<i64> = row.get(11)?;
    let flags: i64 = row.get(13)?;
    Ok(DeliveryRecord {
        id: DeliveryId::from_bytes(row.get(0)?),
        event: EventId::from_bytes(row.get(1)?),
        event_type: row.get(2)?,
        webhook: WebhookId::from_bytes(row.get(3)?),
        state: shown,
        created_at: timestamp(row, 10)?,
        // A claimed row's due time is when its claim would lapse, which is nobody's business.
        due_at: due.filter(|_| shown == State::Pending && !claimed).map(Timestamp::from_millis),
        attempts_used: row.get(12)?,
        test: flags & 1 != 0,
    })
}

pub(super) fn one(
    conn: &Connection,
    tenant: TenantNo,
    id: DeliveryId,
    key: &TenantKey,
) -> Result<Option<DeliveryDetail>, WriteError> {
    let sql = format!(
        "SELECT {COLUMNS}, d.seq, d.started, d.took, d.outcome, d.http, s.id, p.salt
         FROM {TABLES} LEFT JOIN event s ON s.seq = e.payload LEFT JOIN payload p ON p.seq = e.payload
         WHERE d.id = ?1 AND w.tenant = ?2"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query((id.bytes(), tenant.0))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let delivery = delivery_record(row)?;
    let mut attempts = Vec::new();
    let started: Option<i64> = row.get(COLUMN_COUNT + 1)?;
    let outcome_code: Option<u8> = row.get(COLUMN_COUNT + 3)?;
    if let (Some(started), Some(code)) = (started, outcome_code) {
        attempts.push(AttemptRecord {
            number: 1,
            started_at: Timestamp::from_millis(started),
            took_ms: row.get::<_, Option<u32>>(COLUMN_COUNT + 2)?.unwrap_or(0),
            outcome: outcome(code)?,
            http_status: row.get(COLUMN_COUNT + 4)?,
            error: None,
            excerpt: None,
        });
    }
    let source: Option<[u8; 16]> = row.get(COLUMN_COUNT + 5)?;
    let salt: Option<Vec<u8>> = row.get(COLUMN_COUNT + 6)?;
    let seq: i64 = row.get(COLUMN_COUNT)?;
    let mut statement = conn.prepare_cached(
        "SELECT number, started, took, outcome, http, error, salt, excerpt FROM attempt
         WHERE delivery = ?1 ORDER BY number",
    )?;
    let mut rows = statement.query([seq])?;
    while let Some(row) = rows.next()? {
        let number: u8 = row.get(0)?;
        let (own_salt, sealed): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(6)?, row.get(7)?);
        let excerpt = match (&source, &salt, own_salt, sealed) {
            // What does not open is gone, as far as anybody can tell; the attempt itself still shows.
            (Some(source), Some(salt), Some(own), Some(sealed)) => {
                key.open_excerpt(EventId::from_bytes(*source), salt, &own, id, number, &sealed).ok()
            }
            _ => None,
        };
        // The first attempt is in the delivery's row; a row of its own says more of it.
        attempts.retain(|known: &AttemptRecord| known.number != number);
        attempts.push(AttemptRecord {
            number,
            started_at: timestamp(row, 1)?,
            took_ms: row.get(2)?,
            outcome: outcome(row.get(3)?)?,
            http_status: row.get(4)?,
            error: row.get(5)?,
            excerpt,
        });
    }
    Ok(Some(DeliveryDetail { delivery, attempts }))
}

fn outcome(code: u8) -> Result<Outcome, StoreError> {
    Outcome::from_code(code).ok_or(corrupt("outcome"))
}

/// Where candidates come from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    List(List),
    /// All deliveries of one event: those that accept made, and redeliveries.
    Event {
        seq: i64,
        first: i64,
        count: i64,
    },
    /// Failed or cancelled ones of a webhook, which have an index of their own.
    EndedBadly {
        webhook: i64,
    },
    Nothing,
}

pub(super) struct Search {
    filter: DeliveryFilter,
    source: Source,
    wanted: usize,
    floor: i64,
    below: Option<i64>,
    found: Vec<DeliveryRecord>,
    more: bool,
}

impl Search {
    pub(super) fn begin(
        conn: &Connection,
        tenant: TenantNo,
        filter: DeliveryFilter,
        page: PageRequest<DeliveryId>,
    ) -> Result<Self, WriteError> {
        let source = source(conn, tenant, &filter)?;
        let (floor, mut below) = listing::seqs_between(conn, Table::Delivery, filter.from, filter.to)?;
        if let Some(After { at, id }) = page.after {
            let seq: Option<i64> = conn
                .prepare_cached(
                    "SELECT d.seq FROM delivery d CROSS JOIN event e ON e.seq = d.event
                     WHERE d.id = ?1 AND e.tenant = ?2",
                )?
                .query_row((id.bytes(), tenant.0), |row| row.get(0))
                .optional()?;
            // The row may be gone by now, or another tenant's; then everything older than it.
            below = below.min(match seq {
                Some(seq) => seq,
                None => listing::first_at(conn, Table::Delivery, at.millis())?,
            });
        }
        let below = (below > floor && source != Source::Nothing).then_some(below);
        Self { filter, source, wanted: page.limit as usize, floor, below, found: Vec::new(), more: false }
            .go_on(conn)
    }

    pub(super) fn is_full(&self) -> bool {
        self.more || self.below.is_none()
    }

    pub(super) fn into_page(self) -> Page<DeliveryRecord> {
        Page { rows: self.found, more: self.more }
    }

    pub(super) fn go_on(mut self, conn: &Connection) -> Result<Self, WriteError> {
        let Some(below) = self.below else { return Ok(self) };
        let filtered = self.filter.status.is_some() || self.filter.event_type.is_some();
        let most = if filtered { STEP } else { STEP.min((self.wanted - self.found.len()) as i64 + 1) };
        let step = self.source.step(conn, below, self.floor, most)?;
        self.below = step.below;
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE d.seq = ?1");
        let mut statement = conn.prepare_cached(&sql)?;
        for seq in step.seqs {
            let mut rows = statement.query([seq])?;
            let Some(row) = rows.next()? else { continue };
            let record = delivery_record(row)?;
            if !self.fits(&record) {
                continue;
            }
            if self.found.len() >= self.wanted {
                self.more = true;
                break;
            }
            self.found.push(record);
        }
        Ok(self)
    }

    fn fits(&self, delivery: &DeliveryRecord) -> bool {
        let filter = &self.filter;
        filter.webhook.is_none_or(|webhook| delivery.webhook == webhook)
            && filter.status.is_none_or(|status| delivery.state.status() == status)
            && filter.event_type.as_ref().is_none_or(|name| name.as_str() == delivery.event_type)
            && filter.from.is_none_or(|from| delivery.created_at >= from)
            && filter.to.is_none_or(|to| delivery.created_at <= to)
    }
}

/// The source with the fewest candidates. What is not of this tenant is nothing.
fn source(conn: &Connection, tenant: TenantNo, filter: &DeliveryFilter) -> Result<Source, WriteError> {
    if let Some(event) = filter.event {
        let found = conn
            .prepare_cached(
                "SELECT seq, first_delivery, deliveries FROM event WHERE tenant = ?1 AND id = ?2",
            )?
            .query_row((tenant.0, event.bytes()), |row| {
                Ok(Source::Event { seq: row.get(0)?, first: row.get(1)?, count: row.get(2)? })
            })
            .optional()?;
        return Ok(found.unwrap_or(Source::Nothing));
    }
    let Some(webhook) = filter.webhook else {
        return Ok(Source::List(List::DeliveriesOfTenant(tenant.0)));
    };
    let found: Option<(i64, bool)> = conn
        .prepare_cached(
            "SELECT w.no, s.webhook IS NOT NULL FROM webhook w LEFT JOIN stale_lane s ON s.webhook = w.no
             WHERE w.id = ?1 AND w.tenant = ?2",
        )?
        .query_row((webhook.bytes(), tenant.0), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(match (found, filter.status) {
        (None, _) => Source::Nothing,
        (Some((webhook, _)), Some(Status::Failed)) => Source::EndedBadly { webhook },
        // While upkeep has not rewritten a stale lane, its rows are cancelled without being in that index.
        (Some((webhook, false)), Some(Status::Cancelled)) => Source::EndedBadly { webhook },
        (Some((webhook, _)), _) => Source::List(List::DeliveriesOfWebhook(webhook)),
    })
}

impl Source {
    fn step(self, conn: &Connection, below: i64, floor: i64, most: i64) -> Result<Step, WriteError> {
        let seqs: Vec<i64> = match self {
            Source::Nothing => return Ok(Step::default()),
            Source::List(list) => return Ok(listing::step(conn, list, below, floor, most)?),
            Source::Event { seq, first, count } => conn
                .prepare_cached(
                    "SELECT seq FROM (
                         SELECT seq FROM delivery WHERE seq >= ?1 AND seq < ?2
                         UNION SELECT delivery FROM redelivery WHERE event = ?3)
                     WHERE seq >= ?4 AND seq < ?5 ORDER BY seq DESC LIMIT ?6",
                )?
                .query_map((first, first + count, seq, floor, below, most), |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?,
            Source::EndedBadly { webhook } => conn
                .prepare_cached(
                    "SELECT seq FROM delivery WHERE webhook = ?1 AND state IN (2, 3) AND seq >= ?2 AND seq < ?3
                     ORDER BY seq DESC LIMIT ?4",
                )?
                .query_map((webhook, floor, below, most), |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?,
        };
        let below = if seqs.len() as i64 == most { seqs.last().copied() } else { None };
        Ok(Step { seqs, below })
    }
}
