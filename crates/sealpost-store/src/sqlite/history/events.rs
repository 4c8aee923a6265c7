//! Events as history shows them.

use rusqlite::{Connection, OptionalExtension, Row, Rows};

use sealpost_core::id::{DeliveryId, EventId, EventNo, TenantNo, WebhookId};
use sealpost_core::time::Timestamp;

use super::{DELIVERIES_PER_PAGE, STEP};
use crate::error::StoreError;
use crate::history::{EventDelivery, EventFilter, EventRecord, PayloadRead, PayloadState};
use crate::page::{After, Page, PageRequest};
use crate::sqlite::inbox::{FLAG_TEST, derived_of};
use crate::sqlite::listing::{self, List, Table};
use crate::sqlite::rows::{corrupt, event_type_name, shown_state, state, timestamp};
use crate::sqlite::writer::WriteError;
use crate::vault::TenantKey;

const COLUMNS: &str =
    "e.seq, e.id, t.name, e.at, e.accepted_at, e.flags, e.first_delivery, e.deliveries, p.gone";
/// Joins in this order: the planner has no statistics to know better.
const TABLES: &str =
    "event e CROSS JOIN type_name t ON t.no = e.type LEFT JOIN payload p ON p.seq = e.payload";

struct EventRow {
    seq: i64,
    record: EventRecord,
    first_delivery: i64,
    deliveries: i64,
}

fn event_row(row: &Row<'_>) -> Result<EventRow, WriteError> {
    let name: String = row.get(2)?;
    let flags: i64 = row.get(5)?;
    Ok(EventRow {
        seq: row.get(0)?,
        record: EventRecord {
            id: EventId::from_bytes(row.get(1)?),
            event_type: event_type_name(&name)?,
            timestamp: timestamp(row, 3)?,
            accepted_at: timestamp(row, 4)?,
            derived: Vec::new(),
            deliveries: Vec::new(),
            payload: payload_state(row.get(8)?)?,
            test: flags & FLAG_TEST != 0,
        },
        first_delivery: row.get(6)?,
        deliveries: row.get(7)?,
    })
}

/// From `gone`; a payload without a row went with its metadata.
fn payload_state(gone: Option<i64>) -> Result<PayloadState, StoreError> {
    match gone {
        Some(0) => Ok(PayloadState::Kept),
        Some(1) | None => Ok(PayloadState::Pruned),
        Some(2) => Ok(PayloadState::Erased),
        Some(_) => Err(corrupt("payload state")),
    }
}

const DELIVERY: &str = "d.id, w.id, d.state, d.reason, d.lane_epoch, w.lane_epoch, w.deleted_at IS NOT NULL, \
                        d.claimer IS NOT NULL";

fn push_deliveries(mut rows: Rows<'_>, deliveries: &mut Vec<EventDelivery>) -> Result<(), WriteError> {
    while let Some(row) = rows.next()? {
        let stored = state(row.get(2)?, row.get(3)?)?;
        let epochs = (row.get(4)?, row.get(5)?);
        deliveries.push(EventDelivery {
            id: DeliveryId::from_bytes(row.get(0)?),
            webhook: WebhookId::from_bytes(row.get(1)?),
            state: shown_state(stored, epochs, row.get(6)?, row.get(7)?),
        });
    }
    Ok(())
}

/// The row with its deliveries and derived events.
fn completed(conn: &Connection, row: EventRow) -> Result<EventRecord, WriteError> {
    let EventRow { seq, mut record, first_delivery, deliveries } = row;
    let made_by_accept = format!(
        "SELECT {DELIVERY} FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook
         WHERE d.seq >= ?1 AND d.seq < ?2 ORDER BY d.seq"
    );
    let mut statement = conn.prepare_cached(&made_by_accept)?;
    push_deliveries(statement.query((first_delivery, first_delivery + deliveries))?, &mut record.deliveries)?;
    let made_later = format!(
        "SELECT {DELIVERY} FROM redelivery r CROSS JOIN delivery d ON d.seq = r.delivery
         CROSS JOIN webhook w ON w.no = d.webhook WHERE r.event = ?1 ORDER BY r.delivery"
    );
    let mut statement = conn.prepare_cached(&made_later)?;
    push_deliveries(statement.query([seq])?, &mut record.deliveries)?;
    record.derived = derived_of(conn, EventNo(seq))?;
    Ok(record)
}

pub(super) fn one(
    conn: &Connection,
    tenant: TenantNo,
    id: EventId,
) -> Result<Option<EventRecord>, WriteError> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.tenant = ?1 AND e.id = ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query((tenant.0, id.bytes()))?;
    let row = rows.next()?.map(event_row).transpose()?;
    row.map(|row| completed(conn, row)).transpose()
}

pub(super) fn payload(
    conn: &Connection,
    tenant: TenantNo,
    id: EventId,
    key: &TenantKey,
) -> Result<PayloadRead, WriteError> {
    let sealed = conn
        .prepare_cached(
            "SELECT p.gone, p.salt, p.sealed, s.id
             FROM event e LEFT JOIN payload p ON p.seq = e.payload LEFT JOIN event s ON s.seq = e.payload
             WHERE e.tenant = ?1 AND e.id = ?2",
        )?
        .query_row((tenant.0, id.bytes()), |row| {
            let gone: Option<i64> = row.get(0)?;
            let salt: Option<Vec<u8>> = row.get(1)?;
            let sealed: Option<Vec<u8>> = row.get(2)?;
            let source: Option<[u8; 16]> = row.get(3)?;
            Ok((gone, salt, sealed, source))
        })
        .optional()?;
    let Some((gone, salt, sealed, source)) = sealed else { return Ok(PayloadRead::NotFound) };
    match (payload_state(gone)?, salt, sealed, source) {
        // Sealed under the event it came with, also where a derived event shares it.
        (PayloadState::Kept, Some(salt), Some(sealed), Some(source)) => {
            Ok(PayloadRead::Payload(key.open_payload(EventId::from_bytes(source), &salt, &sealed)?))
        }
        (PayloadState::Kept, ..) => Err(corrupt("payload").into()),
        (gone, ..) => Ok(PayloadRead::Gone(gone)),
    }
}

/// A page on its way: what was found, and where to look next.
pub(super) struct Search {
    tenant: TenantNo,
    filter: EventFilter,
    wanted: usize,
    floor: i64,
    /// `None`: the list ended.
    below: Option<i64>,
    found: Vec<EventRecord>,
    deliveries: usize,
    more: bool,
}

impl Search {
    pub(super) fn begin(
        conn: &Connection,
        tenant: TenantNo,
        filter: EventFilter,
        page: PageRequest<EventId>,
    ) -> Result<Self, WriteError> {
        let (floor, mut below) = listing::seqs_between(conn, Table::Event, filter.from, filter.to)?;
        if let Some(After { at, id }) = page.after {
            let seq: Option<i64> = conn
                .prepare_cached("SELECT seq FROM event WHERE tenant = ?1 AND id = ?2")?
                .query_row((tenant.0, id.bytes()), |row| row.get(0))
                .optional()?;
            // The row may be gone by now; then everything older than it.
            below = below.min(match seq {
                Some(seq) => seq,
                None => listing::first_at(conn, Table::Event, at.millis())?,
            });
        }
        Self {
            tenant,
            filter,
            wanted: page.limit as usize,
            floor,
            below: (below > floor).then_some(below),
            found: Vec::new(),
            deliveries: 0,
            more: false,
        }
        .go_on(conn)
    }

    pub(super) fn is_full(&self) -> bool {
        self.more || self.below.is_none()
    }

    pub(super) fn into_page(self) -> Page<EventRecord> {
        Page { rows: self.found, more: self.more }
    }

    pub(super) fn go_on(mut self, conn: &Connection) -> Result<Self, WriteError> {
        let Some(below) = self.below else { return Ok(self) };
        // Without a filter no more candidates are needed than rows, and one to know whether there are more.
        let filtered = self.filter.event_type.is_some();
        let most = if filtered { STEP } else { STEP.min((self.wanted - self.found.len()) as i64 + 1) };
        let step = listing::step(conn, List::EventsOfTenant(self.tenant.0), below, self.floor, most)?;
        self.below = step.below;
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.seq = ?1");
        let mut statement = conn.prepare_cached(&sql)?;
        for seq in step.seqs {
            let mut rows = statement.query([seq])?;
            let Some(row) = rows.next()?.map(event_row).transpose()? else { continue };
            if !self.fits(&row.record) {
                continue;
            }
            if self.found.len() >= self.wanted || self.deliveries > DELIVERIES_PER_PAGE {
                self.more = true;
                break;
            }
            let record = completed(conn, row)?;
            self.deliveries += record.deliveries.len();
            self.found.push(record);
        }
        Ok(self)
    }

    fn fits(&self, event: &EventRecord) -> bool {
        let within = |from: Option<Timestamp>, to: Option<Timestamp>| {
            from.is_none_or(|from| event.accepted_at >= from) && to.is_none_or(|to| event.accepted_at <= to)
        };
        self.filter.event_type.as_ref().is_none_or(|name| *name == event.event_type)
            && within(self.filter.from, self.filter.to)
    }
}
