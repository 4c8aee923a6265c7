//! What a claim hands to the sender, opened after the commit; and excerpts, sealed before it. Neither on the
//! writer's thread.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::event::{Event, OpenEvent};
use sealpost_core::id::{DeliveryId, DeliveryNo, EventId, EventNo, TenantNo};
use sealpost_core::time::Timestamp;

use crate::error::StoreError;
use crate::queue::Settlement;
use crate::sqlite::inbox::FLAG_TEST;
use crate::sqlite::writer::WriteError;
use crate::sqlite::{SqliteStore, off_thread, rows};
use crate::vault::{Salt, TenantKey, new_salt};

/// An event as a claim needs it, and the payload it refers to, sealed.
struct SealedEvent {
    event: Event,
    tenant: TenantNo,
    /// The event the payload came with: what it is sealed for.
    owner: EventId,
    sealed: Option<(Vec<u8>, Vec<u8>)>,
}

pub(super) struct SealedExcerpt {
    pub(super) salt: Salt,
    pub(super) sealed: Vec<u8>,
}

impl SqliteStore {
    /// The events, in the order asked for, with their payloads as far as they open.
    pub(super) async fn open_events(
        &self,
        events: Vec<EventNo>,
    ) -> Result<Vec<(Event, Option<OpenEvent>)>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let read = move |conn: &Connection| -> Result<Vec<SealedEvent>, WriteError> {
            events.into_iter().map(|no| sealed_event(conn, no)).collect()
        };
        let sealed = self.readers.run(read).await?;
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
        let wanted: Vec<DeliveryNo> = settlements
            .iter()
            .filter(|settlement| settlement.attempt.excerpt.is_some())
            .map(|settlement| settlement.ticket.delivery)
            .collect();
        if wanted.is_empty() {
            return Ok(settlements.iter().map(|_| None).collect());
        }
        let read = move |conn: &Connection| -> Result<Vec<Option<ExcerptPlace>>, WriteError> {
            wanted.into_iter().map(|delivery| excerpt_place(conn, delivery)).collect()
        };
        let places = self.readers.run(read).await?;
        let keys = self.keys_of(places.iter().flatten().map(|place| place.tenant)).await?;
        let mut places = places.into_iter();
        let seal = |settlement: &Settlement| {
            let excerpt = settlement.attempt.excerpt.as_ref()?;
            let place = places.next()??;
            let key = keys.get(&place.tenant)?;
            let (id, attempt) = (settlement.ticket.id, settlement.ticket.attempt);
            Some(seal_excerpt(key, &place, id, attempt, excerpt))
        };
        Ok(settlements.iter().map(seal).collect())
    }

    async fn keys_of(
        &self,
        tenants: impl Iterator<Item = TenantNo>,
    ) -> Result<HashMap<TenantNo, Arc<TenantKey>>, StoreError> {
        let mut keys = HashMap::new();
        for tenant in tenants.collect::<std::collections::BTreeSet<_>>() {
            let key = self.tenant_key(tenant).await?.ok_or(rows::corrupt("tenant of an event"))?;
            keys.insert(tenant, key);
        }
        Ok(keys)
    }
}

fn sealed_event(conn: &Connection, no: EventNo) -> Result<SealedEvent, WriteError> {
    let mut statement = conn.prepare_cached(
        "SELECT e.id, t.name, e.at, e.flags, e.tenant, o.id, p.salt, p.sealed FROM event e \
         JOIN type_name t ON t.no = e.type JOIN event o ON o.seq = e.payload JOIN payload p ON p.seq = e.payload \
         WHERE e.seq = ?1",
    )?;
    let found = statement
        .query_and_then([no.0], |row| -> Result<SealedEvent, WriteError> {
            let name: String = row.get(1)?;
            let sealed = row.get::<_, Option<Vec<u8>>>(6)?.zip(row.get::<_, Option<Vec<u8>>>(7)?);
            Ok(SealedEvent {
                event: Event {
                    no,
                    id: EventId::from_bytes(row.get(0)?),
                    event_type: rows::event_type_name(&name)?,
                    timestamp: Timestamp::from_millis(row.get(2)?),
                    test: row.get::<_, i64>(3)? & FLAG_TEST != 0,
                },
                tenant: TenantNo(row.get(4)?),
                owner: EventId::from_bytes(row.get(5)?),
                sealed,
            })
        })?
        .next();
    found.unwrap_or(Err(rows::corrupt("event of a delivery").into()))
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

/// What an excerpt is sealed for.
struct ExcerptPlace {
    tenant: TenantNo,
    owner: EventId,
    salt: Salt,
}

fn excerpt_place(conn: &Connection, delivery: DeliveryNo) -> Result<Option<ExcerptPlace>, WriteError> {
    let found = conn
        .prepare_cached(
            "SELECT e.tenant, o.id, p.salt FROM delivery d JOIN event e ON e.seq = d.event \
             JOIN event o ON o.seq = e.payload JOIN payload p ON p.seq = e.payload \
             WHERE d.seq = ?1 AND p.salt IS NOT NULL",
        )?
        .query_row([delivery.0], |row| {
            Ok(ExcerptPlace {
                tenant: TenantNo(row.get(0)?),
                owner: EventId::from_bytes(row.get(1)?),
                salt: row.get(2)?,
            })
        })
        .optional()?;
    Ok(found)
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
