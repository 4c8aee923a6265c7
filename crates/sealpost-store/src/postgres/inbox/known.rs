//! What the database knows of the ids and keys of a group of requests, read at once.

use std::collections::{HashMap, HashSet};

use sealpost_core::id::{EventId, EventNo, TenantNo};
use sealpost_core::time::Timestamp;

use crate::inbox::plan::{Known, StoredKey, named_events};
use crate::inbox::{Accept, AcceptedEvent, DerivedEvent};
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::rows;

#[derive(Default)]
pub(super) struct Found {
    events: HashMap<(i64, EventId), (EventNo, Vec<u8>)>,
    /// `None`: its events are forgotten, so it means nothing any more.
    keys: HashMap<(i64, [u8; 32]), Option<StoredKey>>,
}

impl Known for Found {
    type Error = Fault;

    fn key(&self, tenant: TenantNo, key: &[u8; 32]) -> Result<Option<StoredKey>, Fault> {
        Ok(self.keys.get(&(tenant.0, *key)).cloned().flatten())
    }

    fn event(&self, tenant: TenantNo, id: EventId) -> Result<Option<(EventNo, Vec<u8>)>, Fault> {
        Ok(self.events.get(&(tenant.0, id)).cloned())
    }
}

impl Found {
    pub(super) fn is_live(&self, tenant: TenantNo, key: &[u8; 32]) -> bool {
        self.keys.get(&(tenant.0, *key)).is_some_and(Option::is_some)
    }

    pub(super) fn is_dead(&self, tenant: TenantNo, key: &[u8; 32]) -> bool {
        self.keys.get(&(tenant.0, *key)).is_some_and(Option::is_none)
    }

    pub(super) async fn load<'a>(
        conn: &Conn,
        requests: impl Iterator<Item = &'a Accept>,
    ) -> Result<Self, Fault> {
        let (mut id_tenants, mut ids): (Vec<i64>, Vec<Vec<u8>>) = Default::default();
        let (mut key_tenants, mut keys): (Vec<i64>, Vec<Vec<u8>>) = Default::default();
        for request in requests {
            for event in &request.events {
                // A minted id is nobody's yet.
                let own = event.id_given.then_some(event.id);
                for id in own.into_iter().chain(event.derived.as_ref().map(|derived| derived.id)) {
                    id_tenants.push(request.tenant.0);
                    ids.push(id.bytes().to_vec());
                }
            }
            for key in &request.keys {
                key_tenants.push(request.tenant.0);
                keys.push(key.key.to_vec());
            }
        }
        let mut found = Self::default();
        if !ids.is_empty() {
            let sql = "SELECT e.tenant, e.id, e.seq, e.content FROM unnest($1::bigint[], $2::bytea[]) AS k (tenant, id)
                       JOIN event e ON e.tenant = k.tenant AND e.id = k.id";
            for row in conn.rows(sql, &[&id_tenants, &ids]).await? {
                let key = (row.col(0)?, EventId::from_bytes(row.bytes(1)?));
                found.events.insert(key, (EventNo(row.col(2)?), row.col(3)?));
            }
        }
        if !keys.is_empty() {
            found.load_keys(conn, &key_tenants, &keys).await?;
        }
        Ok(found)
    }

    async fn load_keys(&mut self, conn: &Conn, tenants: &[i64], keys: &[Vec<u8>]) -> Result<(), Fault> {
        let sql = "SELECT r.tenant, r.key, r.content, r.events FROM unnest($1::bigint[], $2::bytea[]) AS k (tenant, key)
                   JOIN repeat_key r ON r.tenant = k.tenant AND r.key = k.key";
        let rows = conn.rows(sql, &[&tenants, &keys]).await?;
        let mut named = Vec::with_capacity(rows.len());
        for row in &rows {
            named.push(named_events(row.col(3)?)?);
        }
        let numbers: Vec<i64> = named.iter().flatten().map(|no| no.0).collect();
        let sql = "SELECT seq FROM event WHERE seq = ANY($1)";
        let mut kept = HashSet::new();
        if !numbers.is_empty() {
            for row in conn.rows(sql, &[&numbers]).await? {
                kept.insert(row.col::<i64>(0)?);
            }
        }
        for (row, events) in rows.iter().zip(named) {
            // A key lives as long as its events' metadata.
            let live = events.iter().all(|no| kept.contains(&no.0));
            let content = row.bytes(2)?;
            self.keys.insert((row.col(0)?, row.bytes(1)?), live.then_some((content, events)));
        }
        Ok(())
    }
}

/// What was answered when the events were accepted, by their numbers.
pub(super) async fn first_results(
    conn: &Conn,
    numbers: Vec<i64>,
) -> Result<HashMap<i64, AcceptedEvent>, Fault> {
    let mut results = HashMap::new();
    if numbers.is_empty() {
        return Ok(results);
    }
    let sql = "SELECT e.seq, e.id, t.name, e.at, e.deliveries FROM event e JOIN type_name t ON t.no = e.type
               WHERE e.seq = ANY($1)";
    for row in conn.rows(sql, &[&numbers]).await? {
        let deliveries: i64 = row.col(4)?;
        let event = AcceptedEvent {
            id: EventId::from_bytes(row.bytes(1)?),
            event_type: rows::event_type_name(row.col(2)?)?,
            timestamp: Timestamp::from_millis(row.col(3)?),
            deliveries: u32::try_from(deliveries).map_err(|_| rows::corrupt("number of deliveries"))?,
            derived: Vec::new(),
            repeated: true,
            claims: Vec::new(),
        };
        results.insert(row.col(0)?, event);
    }
    for (source, derived) in derived_of(conn, &numbers).await? {
        if let Some(event) = results.get_mut(&source) {
            event.derived.push(derived);
        }
    }
    Ok(results)
}

/// The events that were derived from these, with the number of what they were derived from.
pub(in crate::postgres) async fn derived_of(
    conn: &Conn,
    numbers: &[i64],
) -> Result<Vec<(i64, DerivedEvent)>, Fault> {
    let sql = "SELECT e.derived_of, e.id, t.name, e.deliveries FROM event e JOIN type_name t ON t.no = e.type
               WHERE e.derived_of = ANY($1) ORDER BY e.seq";
    let mut derived = Vec::new();
    for row in conn.rows(sql, &[&numbers]).await? {
        let deliveries: i64 = row.col(3)?;
        let event = DerivedEvent {
            id: EventId::from_bytes(row.bytes(1)?),
            event_type: rows::event_type_name(row.col(2)?)?,
            deliveries: u32::try_from(deliveries).map_err(|_| rows::corrupt("number of deliveries"))?,
        };
        derived.push((row.col(0)?, event));
    }
    Ok(derived)
}
