//! Accepting in SQLite: look first, then write, all in one transaction.
//!
//! Everything that could refuse a request is looked up before its first row is written; there is one writer, so
//! what was seen holds. Common case per event: one row each in `event` and `payload`, one per delivery.

mod insert;
mod plan;

use async_trait::async_trait;
use rusqlite::Connection;

use sealpost_core::id::{EventId, EventNo};
use sealpost_core::time::Timestamp;

use crate::error::StoreError;
use crate::inbox::plan::{Plan, Planned, plan};
use crate::inbox::{Accept, Accepted, AcceptedEvent, DerivedEvent, Inbox, NewEvent, RepeatKey};
use crate::sqlite::SqliteStore;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::queue::KeptClaims;
use crate::sqlite::writer::{Cost, Kind, WriteError};
use crate::sqlite::{off_thread, rows};
use crate::vault::{Salt, TenantKey, new_salt};
pub(crate) use insert::FLAG_TEST;
use insert::insert_event;

#[async_trait]
impl Inbox for SqliteStore {
    async fn accept(&self, request: Accept) -> Result<Accepted, StoreError> {
        let Some(key) = self.tenant_key(request.tenant).await? else {
            return Err(rows::corrupt("tenant"));
        };
        let bytes = request.events.iter().map(|event| event.payload.size()).sum();
        let (request, sealed) = off_thread(bytes, move || {
            let sealed: Vec<SealedPayload> = request.events.iter().map(|event| seal(&key, event)).collect();
            (request, sealed)
        })
        .await?;
        let cost = Cost { rows: row_count(&request), bytes };
        let writer = self.writer.handle();
        let due = request.now;
        let write = move |conn: &Connection, ctx: &mut WriterCtx| accept(conn, ctx, &request, &sealed);
        let keep = move |accepted| {
            let tickets = match &accepted {
                Accepted::Events(events) => {
                    events.iter().flat_map(|event| event.claims.iter().copied()).collect()
                }
                Accepted::RegistryChanged | Accepted::Conflict { .. } => Vec::new(),
            };
            KeptClaims::new(accepted, tickets, due, writer)
        };
        Ok(self.writer.run_then(Kind::Accept, cost, write, keep).await?.taken())
    }
}

struct SealedPayload {
    salt: Salt,
    sealed: Vec<u8>,
}

fn seal(key: &TenantKey, event: &NewEvent) -> SealedPayload {
    let salt = new_salt();
    SealedPayload { sealed: key.seal_payload(event.id, &salt, &event.payload), salt }
}

fn row_count(request: &Accept) -> usize {
    let of_event = |event: &NewEvent| {
        let derived = event.derived.as_ref().map_or(0, |derived| 1 + derived.deliveries.len());
        2 + event.subjects.len() + event.deliveries.len() + derived
    };
    request.keys.len() + request.events.iter().map(of_event).sum::<usize>()
}

fn accept(
    conn: &Connection,
    ctx: &mut WriterCtx,
    request: &Accept,
    sealed: &[SealedPayload],
) -> Result<Accepted, WriteError> {
    if ctx.registry_version(conn, request.tenant)? != request.registry_version {
        return Ok(Accepted::RegistryChanged);
    }
    let plans = match plan(conn, request)? {
        Planned::Conflict { index } => return Ok(Accepted::Conflict { index }),
        Planned::Plans(plans) => plans,
    };
    let mut answers: Vec<(EventNo, AcceptedEvent)> = Vec::with_capacity(plans.len());
    for ((event, sealed), plan) in request.events.iter().zip(sealed).zip(plans) {
        let answer = match plan {
            Plan::New => insert_event(conn, ctx, request, event, sealed)?,
            Plan::Stored(no) => (no, first_result(conn, no)?),
            Plan::SameAs(index) => {
                let (no, first) = answers.get(index).cloned().ok_or(rows::corrupt("accept plan"))?;
                (no, AcceptedEvent { repeated: true, claims: Vec::new(), ..first })
            }
        };
        answers.push(answer);
    }
    for key in &request.keys {
        keep_key(conn, request, key, &answers)?;
    }
    ctx.tally.accepts += 1;
    Ok(Accepted::Events(answers.into_iter().map(|(_, answer)| answer).collect()))
}

/// What was answered when the event was accepted.
fn first_result(conn: &Connection, no: EventNo) -> Result<AcceptedEvent, WriteError> {
    let (id, name, at, deliveries): ([u8; 16], String, i64, u32) = conn
        .prepare_cached(
            "SELECT e.id, t.name, e.at, e.deliveries FROM event e JOIN type_name t ON t.no = e.type WHERE e.seq = ?1",
        )?
        .query_row([no.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(AcceptedEvent {
        id: EventId::from_bytes(id),
        event_type: rows::event_type_name(&name)?,
        timestamp: Timestamp::from_millis(at),
        deliveries,
        derived: derived_of(conn, no)?,
        repeated: true,
        claims: Vec::new(),
    })
}

/// The events that were derived from this one.
pub(crate) fn derived_of(conn: &Connection, no: EventNo) -> Result<Vec<DerivedEvent>, WriteError> {
    let mut statement = conn.prepare_cached(
        "SELECT e.id, t.name, e.deliveries FROM event e JOIN type_name t ON t.no = e.type \
         WHERE e.derived_of = ?1 ORDER BY e.seq",
    )?;
    statement
        .query_and_then([no.0], |row| {
            let name: String = row.get(1)?;
            Ok(DerivedEvent {
                id: EventId::from_bytes(row.get(0)?),
                event_type: rows::event_type_name(&name)?,
                deliveries: row.get(2)?,
            })
        })?
        .collect()
}

/// Remembers which events a repeat of this key is answered with. A key that is still known was planned to the same
/// events, so only one whose events were forgotten gets a new meaning.
fn keep_key(
    conn: &Connection,
    request: &Accept,
    key: &RepeatKey,
    answers: &[(EventNo, AcceptedEvent)],
) -> Result<(), WriteError> {
    let named = answers.get(key.events.clone()).ok_or(rows::corrupt("range of an idempotency key"))?;
    let events: Vec<u8> = named.iter().flat_map(|(no, _)| no.0.to_be_bytes()).collect();
    conn.prepare_cached(
        "INSERT INTO repeat_key (tenant, key, content, events) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET content = excluded.content, events = excluded.events",
    )?
    .execute((request.tenant.0, &key.key, &key.content, events))?;
    Ok(())
}

#[cfg(test)]
mod tests;
