//! Accepting: look first, then write, all in one transaction that many requests share.
//!
//! What is looked up may be overtaken by another node. So nothing is overwritten: a row that is there already at the
//! end (an id, a key) undoes the transaction, and the requests look again.

mod insert;
mod known;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::error::SqlState;

use sealpost_core::id::{EventId, EventNo, TenantNo};
use sealpost_core::lane::LaneNo;

use super::fault::Fault;
use super::group::Work;
use super::pool::{Columns as _, Conn, Proof};
use super::{PostgresStore, Shared, count, queue};
use crate::error::StoreError;
use crate::inbox::plan::{Plan, Planned, plan};
use crate::inbox::{Accept, Accepted, AcceptedEvent, Inbox, NewEvent};
use crate::off_thread::off_thread;
use crate::rows;
use crate::vault::{Salt, TenantKey, new_salt};
use insert::Rows;
pub(super) use known::derived_of;
use known::{Found, first_results};

/// The bit of `event.flags` for events that a test call made.
pub(super) const FLAG_TEST: i64 = 1;

#[async_trait]
impl Inbox for PostgresStore {
    async fn accept(&self, request: Accept) -> Result<Accepted, StoreError> {
        let key = self.shared.tenant_key(request.tenant).await?.ok_or(rows::corrupt("tenant"))?;
        let bytes = request.events.iter().map(|event| event.payload.size()).sum();
        let work = off_thread(bytes, move || {
            let sealed = request.events.iter().map(|event| seal(&key, event)).collect();
            AcceptWork { request, sealed, bytes }
        })
        .await?;
        self.accepts.run(work).await
    }
}

pub(super) struct AcceptWork {
    request: Accept,
    sealed: Vec<SealedPayload>,
    bytes: usize,
}

struct SealedPayload {
    salt: Salt,
    sealed: Vec<u8>,
}

fn seal(key: &TenantKey, event: &NewEvent) -> SealedPayload {
    let salt = new_salt();
    SealedPayload { sealed: key.seal_payload(event.id, &salt, &event.payload), salt }
}

impl Work for AcceptWork {
    type Answer = Accepted;

    fn size(&self) -> (usize, usize) {
        let of_event = |event: &NewEvent| {
            let derived = event.derived.as_ref().map_or(0, |derived| 1 + derived.deliveries.len());
            2 + event.subjects.len() + event.deliveries.len() + derived
        };
        (self.request.keys.len() + self.request.events.iter().map(of_event).sum::<usize>(), self.bytes)
    }

    async fn store(shared: &Arc<Shared>, group: &[&Self]) -> Result<Vec<Option<Accepted>>, Fault> {
        let mut types = HashSet::new();
        for event in group.iter().flat_map(|work| &work.request.events) {
            types.insert(event.event_type.as_str());
            types.extend(event.derived.as_ref().map(|derived| derived.event_type.as_str()));
        }
        for name in types {
            shared.type_no(name).await?;
        }
        let conn = shared.pool.get().await?;
        let (answers, stored) = accept_all(conn, shared, group).await?;
        shared.bell.left(stored.waiting.into_iter());
        count(&shared.tally.accepts, stored.requests);
        count(&shared.tally.delivery_writes, stored.deliveries);
        Ok(answers)
    }

    async fn unheard(&self, shared: &Arc<Shared>, answer: Accepted) {
        let Accepted::Events(events) = answer else { return };
        let tickets: Vec<_> = events.into_iter().flat_map(|event| event.claims).collect();
        queue::give_back(shared, tickets, self.request.now).await;
    }
}

#[derive(Default)]
struct Stored {
    requests: u64,
    deliveries: u64,
    /// Lanes with deliveries that this process has not claimed.
    waiting: BTreeSet<LaneNo>,
}

/// What a request's event becomes: a new row, with its answer; or the number of the event it repeats.
enum Line {
    New(EventNo, AcceptedEvent),
    Stored(EventNo),
    SameAs(usize),
}

/// Two rounds to the server: what it knows, then everything that is new together with the COMMIT.
async fn accept_all(
    owned: Conn,
    shared: &Shared,
    group: &[&AcceptWork],
) -> Result<(Vec<Option<Accepted>>, Stored), Fault> {
    let conn = &owned;
    let requests = group.iter().map(|work| &work.request);
    let (begun, versions, found) =
        tokio::join!(biased; conn.begin(), versions(conn, group), Found::load(conn, requests));
    begun?;
    let (versions, found) = (versions?, found?);
    let mut rows = Rows::default();
    let mut stored = Stored::default();
    let mut ids: HashSet<(TenantNo, EventId)> = HashSet::new();
    let mut keys: HashSet<(TenantNo, [u8; 32])> = HashSet::new();
    // By member: its answer at once, or its lines, or nothing yet.
    let mut members: Vec<Option<Result<Accepted, Vec<Line>>>> = Vec::with_capacity(group.len());
    for work in group {
        let request = &work.request;
        let tenant = request.tenant;
        let of_tenant = versions.iter().find(|row| row.0 == tenant.0);
        let (_, version, look_after) = *of_tenant.ok_or(rows::corrupt("tenant"))?;
        if version != request.registry_version {
            members.push(Some(Ok(Accepted::RegistryChanged)));
            continue;
        }
        // What an earlier member is about to store is seen in the next transaction.
        let meets = |id: EventId| ids.contains(&(tenant, id));
        if request.keys.iter().any(|key| keys.contains(&(tenant, key.key)))
            || request.events.iter().any(|event| {
                meets(event.id) || event.derived.as_ref().is_some_and(|derived| meets(derived.id))
            })
        {
            members.push(None);
            continue;
        }
        let plans = match plan(&found, request)? {
            Planned::Conflict { index } => {
                members.push(Some(Ok(Accepted::Conflict { index })));
                continue;
            }
            Planned::Plans(plans) => plans,
        };
        let mut lines = Vec::with_capacity(plans.len());
        for ((event, sealed), plan) in request.events.iter().zip(&work.sealed).zip(plans) {
            lines.push(match plan {
                Plan::New => {
                    ids.insert((tenant, event.id));
                    ids.extend(event.derived.as_ref().map(|derived| (tenant, derived.id)));
                    let (no, answer) = rows.event(shared, request, event, sealed, look_after).await?;
                    Line::New(no, answer)
                }
                Plan::Stored(no) => Line::Stored(no),
                Plan::SameAs(index) => Line::SameAs(index),
            });
        }
        for key in request.keys.iter().filter(|key| !found.is_live(tenant, &key.key)) {
            if !keys.insert((tenant, key.key)) {
                // A repeat inside the request: it names the same events.
                continue;
            }
            let named = lines.get(key.events.clone()).ok_or(rows::corrupt("range of an idempotency key"))?;
            let numbers = named.iter().map(|line| number_of(line, &lines)).collect::<Result<Vec<_>, _>>()?;
            rows.key(tenant, key, &numbers, found.is_dead(tenant, &key.key));
        }
        stored.requests += 1;
        members.push(Some(Err(lines)));
    }
    stored.deliveries = rows.delivery_count();
    stored.waiting = rows.waiting_lanes();
    let repeated = members.iter().flatten().filter_map(|member| member.as_ref().err()).flatten();
    let repeated = repeated.filter_map(|line| match line {
        Line::Stored(no) => Some(no.0),
        Line::New(..) | Line::SameAs(_) => None,
    });
    let first = first_results(conn, repeated.collect()).await?;
    let mut answers = Vec::with_capacity(members.len());
    for member in members {
        answers.push(match member {
            None => None,
            Some(Ok(answer)) => Some(answer),
            Some(Err(lines)) => {
                let mut events: Vec<AcceptedEvent> = Vec::with_capacity(lines.len());
                for line in lines {
                    events.push(match line {
                        Line::New(_, answer) => answer,
                        Line::Stored(no) => first.get(&no.0).cloned().ok_or(Fault::Again)?,
                        Line::SameAs(index) => {
                            let first = events.get(index).cloned().ok_or(rows::corrupt("accept plan"))?;
                            AcceptedEvent { repeated: true, claims: Vec::new(), ..first }
                        }
                    });
                }
                Some(Accepted::Events(events))
            }
        });
    }
    if let Some((first, id)) = rows.first_event() {
        conn.prove(Proof::Event(first, id));
    }
    rows.prepare(conn).await?;
    let done = owned.commit_behind(async |conn: &Conn| rows.insert(conn).await).await;
    done.map_err(met_another)?;
    Ok((answers, stored))
}

/// An id or a key that another node stored meanwhile: look again.
fn met_another(fault: Fault) -> Fault {
    match fault {
        Fault::Sql(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Fault::Again,
        other => other,
    }
}

fn number_of(line: &Line, lines: &[Line]) -> Result<EventNo, Fault> {
    match line {
        Line::New(no, _) | Line::Stored(no) => Ok(*no),
        Line::SameAs(index) => match lines.get(*index) {
            Some(Line::New(no, _) | Line::Stored(no)) => Ok(*no),
            _ => Err(rows::corrupt("accept plan").into()),
        },
    }
}

/// Of each tenant its number, the version that deliveries must have been matched against, and how soon a payload of it
/// has to be looked at. Nothing is ever matched against the version of a tenant that is gone.
async fn versions(conn: &Conn, group: &[&AcceptWork]) -> Result<Vec<(i64, i64, i64)>, Fault> {
    let tenants: HashSet<i64> = group.iter().map(|work| work.request.tenant.0).collect();
    let tenants: Vec<i64> = tenants.into_iter().collect();
    let sql = "SELECT no, CASE WHEN deleted_at IS NULL THEN registry_version ELSE -1 END, look_after
               FROM tenant WHERE no = ANY($1)";
    let found = conn.rows(sql, &[&tenants]).await?;
    found.iter().map(|row| Ok((row.col(0)?, row.col(1)?, row.col(2)?))).collect()
}
