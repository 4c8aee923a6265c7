//! The rows of a group's new events, collected column by column and inserted table by table: as many statements for a
//! thousand events as for one.

use std::collections::BTreeSet;

use sealpost_core::delivery::State;
use sealpost_core::id::{DeliveryNo, EventId, EventNo, TenantNo};
use sealpost_core::lane::LaneNo;

use super::{FLAG_TEST, SealedPayload};
use crate::inbox::{Accept, AcceptedEvent, DerivedEvent, NewDelivery, NewEvent, RepeatKey};
use crate::postgres::Shared;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Conn, Params};
use crate::queue::ClaimTicket;

const DROP_KEYS: &str = "DELETE FROM repeat_key r USING unnest($1::bigint[], $2::bytea[]) AS k (tenant, key)
     WHERE r.tenant = k.tenant AND r.key = k.key";
const INSERT_EVENTS: &str = "INSERT INTO event (seq, tenant, id, type, at, accepted_at, content, flags, derived_of, payload,
                        bytes, first_delivery, deliveries)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[],
                          $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[])";
const INSERT_KEYS: &str = "INSERT INTO repeat_key (tenant, key, content, events, event)
     SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[])";
const INSERT_PAYLOADS: &str = "INSERT INTO payload (seq, sealed, until)
     SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[])";
const INSERT_SALTS: &str =
    "INSERT INTO payload_salt (seq, salt) SELECT * FROM unnest($1::bigint[], $2::bytea[])";
const INSERT_SUBJECTS: &str = "INSERT INTO subject (tenant, subject, event)
     SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) ON CONFLICT DO NOTHING";
const INSERT_DELIVERIES: &str = "INSERT INTO delivery (seq, id, tenant, event, webhook, lane, lane_epoch, created_at, state,
                           reason, attempt, fence, due, claimer, ended)
     SELECT seq, id, tenant, event, webhook, lane, lane_epoch, created_at, state, reason, claimed, claimed, due, claimer,
            ended
     FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                 $8::bigint[], $9::smallint[], $10::smallint[], $11::smallint[], $12::bigint[], $13::bigint[],
                 $14::bigint[])
          AS d (seq, id, tenant, event, webhook, lane, lane_epoch, created_at, state, reason, claimed, due, claimer, ended)";

#[derive(Default)]
pub(super) struct Rows<'a> {
    payloads: Payloads<'a>,
    events: Events<'a>,
    subjects: Subjects<'a>,
    deliveries: Deliveries<'a>,
    keys: Keys<'a>,
}

#[derive(Default)]
struct Payloads<'a> {
    seq: Vec<i64>,
    sealed: Vec<&'a [u8]>,
    salt: Vec<&'a [u8]>,
    until: Vec<i64>,
}

#[derive(Default)]
struct Events<'a> {
    seq: Vec<i64>,
    tenant: Vec<i64>,
    id: Vec<&'a [u8]>,
    kind: Vec<i64>,
    at: Vec<i64>,
    accepted_at: Vec<i64>,
    content: Vec<&'a [u8]>,
    flags: Vec<i64>,
    derived_of: Vec<Option<i64>>,
    payload: Vec<i64>,
    bytes: Vec<i64>,
    first_delivery: Vec<i64>,
    deliveries: Vec<i64>,
}

#[derive(Default)]
struct Subjects<'a> {
    tenant: Vec<i64>,
    subject: Vec<&'a [u8]>,
    event: Vec<i64>,
}

#[derive(Default)]
struct Deliveries<'a> {
    seq: Vec<i64>,
    id: Vec<&'a [u8]>,
    tenant: Vec<i64>,
    event: Vec<i64>,
    webhook: Vec<i64>,
    lane: Vec<i64>,
    lane_epoch: Vec<i64>,
    created_at: Vec<i64>,
    state: Vec<i16>,
    reason: Vec<i16>,
    claimed: Vec<i16>,
    due: Vec<Option<i64>>,
    claimer: Vec<Option<i64>>,
    ended: Vec<Option<i64>>,
}

#[derive(Default)]
struct Keys<'a> {
    tenant: Vec<i64>,
    key: Vec<&'a [u8]>,
    content: Vec<&'a [u8]>,
    events: Vec<Vec<u8>>,
    event: Vec<i64>,
    dead_tenant: Vec<i64>,
    dead_key: Vec<&'a [u8]>,
}

/// What `event` needs beyond what the request says once.
struct EventRow<'a> {
    no: EventNo,
    id: &'a EventId,
    kind: i64,
    content: &'a [u8],
    derived_of: Option<EventNo>,
    payload: EventNo,
    deliveries: &'a [NewDelivery],
}

impl<'a> Rows<'a> {
    pub(super) fn first_event(&self) -> Option<(i64, EventId)> {
        let id = (*self.events.id.first()?).try_into().ok()?;
        Some((*self.events.seq.first()?, EventId::from_bytes(id)))
    }

    pub(super) fn delivery_count(&self) -> u64 {
        self.deliveries.seq.len() as u64
    }

    pub(super) fn waiting_lanes(&self) -> BTreeSet<LaneNo> {
        let rows = self.deliveries.lane.iter().zip(&self.deliveries.due);
        rows.filter(|(_, due)| due.is_some()).map(|(lane, _)| LaneNo(*lane)).collect()
    }

    pub(super) async fn event(
        &mut self,
        shared: &Shared,
        request: &Accept,
        event: &'a NewEvent,
        sealed: &'a SealedPayload,
        look_after: i64,
    ) -> Result<(EventNo, AcceptedEvent), Fault> {
        let no = EventNo(shared.numbers.events(&shared.pool, 2).await?);
        let mut answer = AcceptedEvent {
            id: event.id,
            event_type: event.event_type.clone(),
            timestamp: event.timestamp,
            deliveries: event.deliveries.len() as u32,
            derived: Vec::new(),
            repeated: false,
            claims: Vec::new(),
        };
        let row = EventRow {
            no,
            id: &event.id,
            kind: shared.type_no(event.event_type.as_str()).await?,
            content: &event.content,
            derived_of: None,
            payload: no,
            deliveries: &event.deliveries,
        };
        self.row(shared, request, event, row, &mut answer.claims).await?;
        let mut cancelled = event.deliveries.iter().any(|delivery| delivery.cancelled.is_some());
        for subject in &event.subjects {
            self.subjects.tenant.push(request.tenant.0);
            self.subjects.subject.push(subject);
            self.subjects.event.push(no.0);
        }
        if let Some(derived) = &event.derived {
            let row = EventRow {
                no: EventNo(no.0 + 1),
                id: &derived.id,
                kind: shared.type_no(derived.event_type.as_str()).await?,
                content: &[],
                derived_of: Some(no),
                payload: no,
                deliveries: &derived.deliveries,
            };
            self.row(shared, request, event, row, &mut answer.claims).await?;
            cancelled |= derived.deliveries.iter().any(|delivery| delivery.cancelled.is_some());
            answer.derived.push(DerivedEvent {
                id: derived.id,
                event_type: derived.event_type.clone(),
                deliveries: derived.deliveries.len() as u32,
            });
        }
        // What ended before it began may be of a webhook that keeps no payload.
        let until = if cancelled { 0 } else { look_after };
        self.payloads.seq.push(no.0);
        self.payloads.sealed.push(&sealed.sealed);
        self.payloads.salt.push(&sealed.salt);
        self.payloads.until.push(request.now.millis().saturating_add(until));
        Ok((no, answer))
    }

    async fn row(
        &mut self,
        shared: &Shared,
        request: &Accept,
        event: &NewEvent,
        row: EventRow<'a>,
        claims: &mut Vec<ClaimTicket>,
    ) -> Result<(), Fault> {
        let count = row.deliveries.len();
        let first = if count == 0 { 0 } else { shared.numbers.deliveries(&shared.pool, count).await? };
        for (seq, delivery) in (first..).zip(row.deliveries) {
            claims.extend(self.delivery(shared, request, row.no, DeliveryNo(seq), delivery));
        }
        let events = &mut self.events;
        events.seq.push(row.no.0);
        events.tenant.push(request.tenant.0);
        events.id.push(row.id.bytes());
        events.kind.push(row.kind);
        events.at.push(event.timestamp.millis());
        events.accepted_at.push(request.now.millis());
        events.content.push(row.content);
        events.flags.push(if event.test { FLAG_TEST } else { 0 });
        events.derived_of.push(row.derived_of.map(|no| no.0));
        events.payload.push(row.payload.0);
        events.bytes.push(event.payload.size() as i64);
        events.first_delivery.push(first);
        events.deliveries.push(count as i64);
        Ok(())
    }

    /// Waiting, claimed already, or ended as cancelled. A claim begins with attempt 1 and fence 1.
    fn delivery(
        &mut self,
        shared: &Shared,
        request: &Accept,
        event: EventNo,
        no: DeliveryNo,
        new: &'a NewDelivery,
    ) -> Option<ClaimTicket> {
        let lane = LaneNo::ordinary(new.webhook);
        let now = request.now.millis();
        let claim = new.claim && new.cancelled.is_none();
        let state = new.cancelled.map_or(State::Pending, State::Cancelled);
        let rows = &mut self.deliveries;
        rows.seq.push(no.0);
        rows.id.push(new.id.bytes());
        rows.tenant.push(request.tenant.0);
        rows.event.push(event.0);
        rows.webhook.push(new.webhook.0);
        rows.lane.push(lane.0);
        rows.lane_epoch.push(new.lane_epoch);
        rows.created_at.push(now);
        rows.state.push(state.status().code().into());
        rows.reason.push(state.reason_code().into());
        rows.claimed.push(claim.into());
        rows.due.push((!claim && new.cancelled.is_none()).then_some(now));
        rows.claimer.push(claim.then_some(shared.node.no()));
        rows.ended.push(new.cancelled.map(|_| now));
        claim.then_some(ClaimTicket {
            delivery: no,
            id: new.id,
            webhook: new.webhook,
            lane,
            lane_epoch: new.lane_epoch,
            attempt: 1,
            fence: 1,
            only_unknown_before: true,
        })
    }

    /// What a repeat of this key is answered with. `dead`: it meant something else, which is forgotten.
    pub(super) fn key(&mut self, tenant: TenantNo, key: &'a RepeatKey, events: &[EventNo], dead: bool) {
        let rows = &mut self.keys;
        rows.tenant.push(tenant.0);
        rows.key.push(&key.key);
        rows.content.push(&key.content);
        rows.events.push(events.iter().flat_map(|no| no.0.to_be_bytes()).collect());
        rows.event.push(events.first().map_or(0, |no| no.0));
        if dead {
            rows.dead_tenant.push(tenant.0);
            rows.dead_key.push(&key.key);
        }
    }

    pub(super) async fn prepare(&self, conn: &Conn) -> Result<(), Fault> {
        let wanted = [
            (DROP_KEYS, self.keys.dead_key.is_empty()),
            (INSERT_EVENTS, self.events.seq.is_empty()),
            (INSERT_KEYS, self.keys.key.is_empty()),
            (INSERT_PAYLOADS, self.payloads.seq.is_empty()),
            (INSERT_SALTS, self.payloads.seq.is_empty()),
            (INSERT_SUBJECTS, self.subjects.event.is_empty()),
            (INSERT_DELIVERIES, self.deliveries.seq.is_empty()),
        ];
        for (sql, _) in wanted.into_iter().filter(|(_, empty)| !empty) {
            conn.prepare(sql).await?;
        }
        Ok(())
    }

    /// Sent together: none waits for another's answer. An id or key that somebody else stored meanwhile is an error, and
    /// ends the transaction.
    pub(super) async fn insert(&self, conn: &Conn) -> Result<(), Fault> {
        tokio::try_join!(
            biased;
            self.drop_keys(conn),
            self.insert_events(conn),
            self.insert_keys(conn),
            self.insert_payloads(conn),
            self.insert_salts(conn),
            self.insert_subjects(conn),
            self.insert_deliveries(conn),
        )
        .map(drop)
    }

    async fn drop_keys(&self, conn: &Conn) -> Result<(), Fault> {
        if self.keys.dead_key.is_empty() {
            return Ok(());
        }
        conn.run(DROP_KEYS, &[&self.keys.dead_tenant, &self.keys.dead_key]).await.map(drop)
    }

    async fn insert_events(&self, conn: &Conn) -> Result<(), Fault> {
        let rows = &self.events;
        if rows.seq.is_empty() {
            return Ok(());
        }
        conn.run(
            INSERT_EVENTS,
            &[
                &rows.seq,
                &rows.tenant,
                &rows.id,
                &rows.kind,
                &rows.at,
                &rows.accepted_at,
                &rows.content,
                &rows.flags,
                &rows.derived_of,
                &rows.payload,
                &rows.bytes,
                &rows.first_delivery,
                &rows.deliveries,
            ],
        )
        .await
        .map(drop)
    }

    async fn insert_payloads(&self, conn: &Conn) -> Result<(), Fault> {
        let rows = &self.payloads;
        if rows.seq.is_empty() {
            return Ok(());
        }
        conn.run(INSERT_PAYLOADS, &[&rows.seq, &rows.sealed, &rows.until]).await.map(drop)
    }

    async fn insert_salts(&self, conn: &Conn) -> Result<(), Fault> {
        let rows = &self.payloads;
        if rows.seq.is_empty() {
            return Ok(());
        }
        conn.run(INSERT_SALTS, &[&rows.seq, &rows.salt]).await.map(drop)
    }

    async fn insert_subjects(&self, conn: &Conn) -> Result<(), Fault> {
        let rows = &self.subjects;
        if rows.event.is_empty() {
            return Ok(());
        }
        conn.run(INSERT_SUBJECTS, &[&rows.tenant, &rows.subject, &rows.event]).await.map(drop)
    }

    async fn insert_deliveries(&self, conn: &Conn) -> Result<(), Fault> {
        let rows = &self.deliveries;
        if rows.seq.is_empty() {
            return Ok(());
        }
        conn.run(
            INSERT_DELIVERIES,
            &[
                &rows.seq,
                &rows.id,
                &rows.tenant,
                &rows.event,
                &rows.webhook,
                &rows.lane,
                &rows.lane_epoch,
                &rows.created_at,
                &rows.state,
                &rows.reason,
                &rows.claimed,
                &rows.due,
                &rows.claimer,
                &rows.ended,
            ],
        )
        .await
        .map(drop)
    }

    async fn insert_keys(&self, conn: &Conn) -> Result<(), Fault> {
        let rows = &self.keys;
        if rows.key.is_empty() {
            return Ok(());
        }
        let columns: Params<'_> = &[&rows.tenant, &rows.key, &rows.content, &rows.events, &rows.event];
        conn.run(INSERT_KEYS, columns).await.map(drop)
    }
}
