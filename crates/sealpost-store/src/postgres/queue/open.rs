//! What a claim hands to the sender, read with the claim and opened after its commit; and excerpts, sealed before.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio_postgres::Row;

use sealpost_core::event::{Event, OpenEvent};
use sealpost_core::id::{DeliveryId, EventId, EventNo, TenantNo};
use sealpost_core::time::Timestamp;

use crate::error::StoreError;
use crate::off_thread::off_thread;
use crate::postgres::Shared;
use crate::postgres::fault::Fault;
use crate::postgres::inbox::FLAG_TEST;
use crate::postgres::pool::{Columns as _, Conn, reading};
use crate::queue::Settlement;
use crate::rows;
use crate::vault::{Salt, TenantKey, new_salt};

/// An event as a claim needs it, and the payload it refers to, sealed.
#[derive(Clone)]
pub(super) struct SealedEvent {
    event: Event,
    tenant: TenantNo,
    /// The event the payload came with: what it is sealed for.
    owner: EventId,
    sealed: Option<(Vec<u8>, Arc<Vec<u8>>)>,
}

pub(super) struct SealedExcerpt {
    pub(super) salt: Salt,
    pub(super) sealed: Vec<u8>,
}

/// The events by their numbers.
pub(super) async fn sealed_events(conn: &Conn, numbers: &[i64]) -> Result<HashMap<i64, SealedEvent>, Fault> {
    let sql = "SELECT e.seq, e.id, t.name, e.at, e.flags, e.tenant, o.id, s.salt, p.sealed FROM event e
               JOIN type_name t ON t.no = e.type JOIN event o ON o.seq = e.payload
               LEFT JOIN payload p ON p.seq = e.payload LEFT JOIN payload_salt s ON s.seq = e.payload
               WHERE e.seq = ANY($1)";
    let mut events = HashMap::new();
    for row in conn.rows(sql, &[&numbers]).await? {
        let no: i64 = row.col(0)?;
        let (salt, sealed): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.col(7)?, row.col(8)?);
        let event = Event {
            no: EventNo(no),
            id: EventId::from_bytes(row.bytes(1)?),
            event_type: rows::event_type_name(row.col(2)?)?,
            timestamp: Timestamp::from_millis(row.col(3)?),
            test: row.col::<i64>(4)? & FLAG_TEST != 0,
        };
        let owner = EventId::from_bytes(row.bytes(6)?);
        let sealed = salt.zip(sealed.map(Arc::new));
        events.insert(no, SealedEvent { event, tenant: TenantNo(row.col(5)?), owner, sealed });
    }
    Ok(events)
}

/// What an excerpt is sealed for.
struct ExcerptPlace {
    tenant: TenantNo,
    owner: EventId,
    salt: Salt,
}

impl Shared {
    /// The events, in the order given, with their payloads as far as they open.
    pub(super) async fn open_events(
        &self,
        sealed: Vec<SealedEvent>,
    ) -> Result<Vec<(Event, Option<OpenEvent>)>, StoreError> {
        let keys = self.keys_of(sealed.iter().map(|event| event.tenant)).await?;
        let bytes =
            sealed.iter().filter_map(|event| event.sealed.as_ref()).map(|(_, sealed)| sealed.len()).sum();
        off_thread(bytes, move || sealed.into_iter().map(|event| open(event, &keys)).collect()).await
    }

    /// Excerpts, sealed under their events' keys; `None` where there is none or the event's salt is gone.
    pub(super) async fn seal_excerpts(
        &self,
        settlements: &[Settlement],
    ) -> Result<Vec<Option<SealedExcerpt>>, StoreError> {
        let wanted: Vec<i64> = settlements
            .iter()
            .filter(|settlement| settlement.attempt.excerpt.is_some())
            .map(|settlement| settlement.ticket.delivery.0)
            .collect();
        if wanted.is_empty() {
            return Ok(settlements.iter().map(|_| None).collect());
        }
        let sql = "SELECT d.seq, e.tenant, o.id, s.salt FROM delivery d JOIN event e ON e.seq = d.event
                   JOIN event o ON o.seq = e.payload JOIN payload_salt s ON s.seq = e.payload
                   WHERE d.seq = ANY($1)";
        let found = reading!(self, |conn| conn.rows(sql, &[&wanted]).await)?;
        let place = |row: &Row| -> Result<(i64, ExcerptPlace), Fault> {
            let owner = EventId::from_bytes(row.bytes(2)?);
            Ok((row.col(0)?, ExcerptPlace { tenant: TenantNo(row.col(1)?), owner, salt: row.bytes(3)? }))
        };
        let places = found.iter().map(place).collect::<Result<HashMap<_, _>, _>>();
        let places = places.map_err(Fault::for_caller)?;
        let keys = self.keys_of(places.values().map(|place| place.tenant)).await?;
        let seal = |settlement: &Settlement| {
            let excerpt = settlement.attempt.excerpt.as_ref()?;
            let place = places.get(&settlement.ticket.delivery.0)?;
            let key = keys.get(&place.tenant)?;
            let (id, attempt) = (settlement.ticket.id, settlement.ticket.attempt);
            Some(seal_excerpt(key, place, id, attempt, excerpt))
        };
        Ok(settlements.iter().map(seal).collect())
    }

    async fn keys_of(
        &self,
        tenants: impl Iterator<Item = TenantNo>,
    ) -> Result<HashMap<TenantNo, Arc<TenantKey>>, StoreError> {
        let mut keys = HashMap::new();
        for tenant in tenants.collect::<BTreeSet<_>>() {
            let key = self.tenant_key(tenant).await?.ok_or(rows::corrupt("tenant of an event"))?;
            keys.insert(tenant, key);
        }
        Ok(keys)
    }
}

fn open(sealed: SealedEvent, keys: &HashMap<TenantNo, Arc<TenantKey>>) -> (Event, Option<OpenEvent>) {
    let SealedEvent { event, tenant, owner, sealed } = sealed;
    let opened = sealed.zip(keys.get(&tenant)).and_then(|((salt, sealed), key)| {
        let opened = key.open_payload(owner, &salt, &sealed);
        if let Err(error) = &opened {
            tracing::error!(event = %event.id, error = %error, "a stored payload cannot be sent");
        }
        opened.ok()
    });
    let open = opened.map(|payload| OpenEvent { event: event.clone(), payload });
    (event, open)
}

fn seal_excerpt(
    key: &TenantKey,
    place: &ExcerptPlace,
    delivery: DeliveryId,
    attempt: u8,
    excerpt: &[u8],
) -> SealedExcerpt {
    let salt = new_salt();
    let sealed = key.seal_excerpt(place.owner, &place.salt, &salt, delivery, attempt, excerpt);
    SealedExcerpt { salt, sealed }
}
