//! The rows of one new event: itself, its payload, its deliveries, and the event derived from it.

use rusqlite::Connection;

use sealpost_core::delivery::State;
use sealpost_core::id::{DeliveryNo, EventId, EventNo};
use sealpost_core::lane::LaneNo;

use super::SealedPayload;
use crate::inbox::{Accept, AcceptedEvent, DerivedEvent, NewDelivery, NewEvent};
use crate::queue::ClaimTicket;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::rows::LEASE_MS;
use crate::sqlite::writer::WriteError;

/// The bit of `event.flags` for events that a test call made.
pub(crate) const FLAG_TEST: i64 = 1;

/// What `event` needs beyond what the request says once.
struct EventRow<'a> {
    no: EventNo,
    id: EventId,
    type_no: i64,
    content: &'a [u8],
    derived_of: Option<EventNo>,
    payload: EventNo,
    deliveries: &'a [NewDelivery],
}

pub(super) fn insert_event(
    conn: &Connection,
    ctx: &mut WriterCtx,
    request: &Accept,
    event: &NewEvent,
    sealed: &SealedPayload,
) -> Result<(EventNo, AcceptedEvent), WriteError> {
    let no = EventNo(ctx.next_event());
    let mut answer = AcceptedEvent {
        id: event.id,
        event_type: event.event_type.clone(),
        timestamp: event.timestamp,
        deliveries: event.deliveries.len() as u32,
        derived: Vec::new(),
        repeated: false,
        claims: Vec::new(),
    };
    conn.prepare_cached("INSERT INTO payload (seq, salt, sealed) VALUES (?1, ?2, ?3)")?.execute((
        no.0,
        &sealed.salt,
        &sealed.sealed,
    ))?;
    let row = EventRow {
        no,
        id: event.id,
        type_no: ctx.type_no(conn, &event.event_type)?,
        content: &event.content,
        derived_of: None,
        payload: no,
        deliveries: &event.deliveries,
    };
    insert_row(conn, ctx, request, event, &row, &mut answer.claims)?;
    for subject in &event.subjects {
        conn.prepare_cached(
            "INSERT INTO subject (tenant, subject, event) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute((request.tenant.0, subject, no.0))?;
    }
    if let Some(derived) = &event.derived {
        let row = EventRow {
            no: EventNo(ctx.next_event()),
            id: derived.id,
            type_no: ctx.type_no(conn, &derived.event_type)?,
            content: &[],
            derived_of: Some(no),
            payload: no,
            deliveries: &derived.deliveries,
        };
        insert_row(conn, ctx, request, event, &row, &mut answer.claims)?;
        answer.derived.push(DerivedEvent {
            id: derived.id,
            event_type: derived.event_type.clone(),
            deliveries: derived.deliveries.len() as u32,
        });
    }
    Ok((no, answer))
}

/// An event's row and its deliveries, which get numbers in a row: nothing else takes numbers meanwhile.
fn insert_row(
    conn: &Connection,
    ctx: &mut WriterCtx,
    request: &Accept,
    event: &NewEvent,
    row: &EventRow<'_>,
    claims: &mut Vec<ClaimTicket>,
) -> Result<(), WriteError> {
    let mut first_delivery = 0;
    for delivery in row.deliveries {
        let no = DeliveryNo(ctx.next_delivery());
        if first_delivery == 0 {
            first_delivery = no.0;
        }
        claims.extend(insert_delivery(conn, ctx, request, row.no, no, delivery)?);
    }
    conn.prepare_cached(
        "INSERT INTO event (seq, tenant, id, type, at, accepted_at, content, flags, derived_of, payload, bytes, \
         first_delivery, deliveries) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute((
        row.no.0,
        request.tenant.0,
        row.id.bytes(),
        row.type_no,
        event.timestamp.millis(),
        request.now.millis(),
        row.content,
        if event.test { FLAG_TEST } else { 0 },
        row.derived_of.map(|no| no.0),
        row.payload.0,
        event.payload.size() as i64,
        first_delivery,
        row.deliveries.len() as i64,
    ))?;
    Ok(())
}

/// Waiting, claimed already, or ended as cancelled. A claim begins with attempt 1 and fence 1.
fn insert_delivery(
    conn: &Connection,
    ctx: &mut WriterCtx,
    request: &Accept,
    event: EventNo,
    no: DeliveryNo,
    new: &NewDelivery,
) -> Result<Option<ClaimTicket>, WriteError> {
    let lane = LaneNo::ordinary(new.webhook);
    let now = request.now.millis();
    let claim = new.claim && new.cancelled.is_none();
    let state = new.cancelled.map_or(State::Pending, State::Cancelled);
    let due = match (new.cancelled, claim) {
        (Some(_), _) => None,
        (None, true) => Some(now + LEASE_MS),
        (None, false) => Some(now),
    };
    conn.prepare_cached(
        "INSERT INTO delivery (seq, id, event, webhook, lane, lane_epoch, created_at, state, reason, attempt, fence, \
         due, claimer, tenant) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11, ?12, ?13)",
    )?
    .execute((
        no.0,
        new.id.bytes(),
        event.0,
        new.webhook.0,
        lane.0,
        new.lane_epoch,
        now,
        state.status().code(),
        state.reason_code(),
        i64::from(claim),
        due,
        claim.then_some(ctx.incarnation),
        request.tenant.0,
    ))?;
    ctx.tally.delivery_writes += 1;
    Ok(claim.then_some(ClaimTicket {
        delivery: no,
        id: new.id,
        webhook: new.webhook,
        lane,
        lane_epoch: new.lane_epoch,
        attempt: 1,
        fence: 1,
        only_unknown_before: true,
    }))
}
