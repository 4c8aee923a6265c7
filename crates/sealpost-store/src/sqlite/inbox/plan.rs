//! Which events of a request are new, which repeat something, and whether any contradicts what is known.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::id::{EventId, EventNo, TenantNo};

use crate::inbox::{Accept, RepeatKey};
use crate::sqlite::rows;
use crate::sqlite::writer::WriteError;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Plan {
    New,
    /// An earlier request stored it.
    Stored(EventNo),
    /// It repeats an earlier event of this request.
    SameAs(usize),
}

pub(super) enum Planned {
    Plans(Vec<Plan>),
    Conflict { index: usize },
}

/// Reads only.
pub(super) fn plan(conn: &Connection, request: &Accept) -> Result<Planned, WriteError> {
    let mut plans = vec![None; request.events.len()];
    let mut keys: HashMap<&[u8; 32], &RepeatKey> = HashMap::new();
    for key in &request.keys {
        let conflict = Planned::Conflict { index: key.events.start };
        let named = plans.get_mut(key.events.clone()).ok_or(rows::corrupt("range of an idempotency key"))?;
        if let Some((content, events)) = stored_key(conn, request.tenant, key)? {
            if content != key.content || events.len() != named.len() {
                return Ok(conflict);
            }
            for (plan, no) in named.iter_mut().zip(events) {
                *plan = Some(Plan::Stored(no));
            }
        } else if let Some(earlier) = keys.get(&key.key) {
            // Repeats follow what they repeat.
            let follows = earlier.events.end <= key.events.start;
            if !follows || earlier.content != key.content || earlier.events.len() != key.events.len() {
                return Ok(conflict);
            }
            for (plan, index) in named.iter_mut().zip(earlier.events.clone()) {
                plan.get_or_insert(Plan::SameAs(index));
            }
        } else {
            keys.insert(&key.key, key);
        }
    }

    // Ids this request will have stored, and by which of its events.
    let mut ids: HashMap<EventId, usize> = HashMap::new();
    for (index, (event, plan)) in request.events.iter().zip(&mut plans).enumerate() {
        if plan.is_some() {
            continue;
        }
        let mut this = Plan::New;
        if event.id_given {
            if let Some(&earlier) = ids.get(&event.id) {
                // Content of a derived event is nobody's, so its id cannot be repeated by a publisher.
                let first = request.events.get(earlier).filter(|first| first.id == event.id);
                if first.is_none_or(|first| first.content != event.content) {
                    return Ok(Planned::Conflict { index });
                }
                this = Plan::SameAs(earlier);
            } else if let Some((no, content)) = stored_event(conn, request.tenant, event.id)? {
                if content != event.content {
                    return Ok(Planned::Conflict { index });
                }
                this = Plan::Stored(no);
            }
        }
        if this == Plan::New {
            ids.insert(event.id, index);
            if let Some(derived) = &event.derived {
                let taken = ids.insert(derived.id, index).is_some()
                    || stored_event(conn, request.tenant, derived.id)?.is_some();
                if taken {
                    return Ok(Planned::Conflict { index });
                }
            }
        }
        *plan = Some(this);
    }
    Ok(Planned::Plans(plans.into_iter().map(|plan| plan.unwrap_or(Plan::New)).collect()))
}

/// What a key was first used for: its content and the events it named.
type StoredKey = ([u8; 32], Vec<EventNo>);

fn stored_key(conn: &Connection, tenant: TenantNo, key: &RepeatKey) -> Result<Option<StoredKey>, WriteError> {
    let row: Option<([u8; 32], Vec<u8>)> = conn
        .prepare_cached("SELECT content, events FROM repeat_key WHERE tenant = ?1 AND key = ?2")?
        .query_row((tenant.0, &key.key), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((content, events)) = row else { return Ok(None) };
    let (numbers, rest) = events.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(rows::corrupt("idempotency key").into());
    }
    let events: Vec<EventNo> = numbers.iter().map(|no| EventNo(i64::from_be_bytes(*no))).collect();
    for no in &events {
        // A key lives as long as its events' metadata; upkeep collects what is left of it later.
        let kept: bool = conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM event WHERE seq = ?1)")?
            .query_row([no.0], |row| row.get(0))?;
        if !kept {
            return Ok(None);
        }
    }
    Ok(Some((content, events)))
}

fn stored_event(
    conn: &Connection,
    tenant: TenantNo,
    id: EventId,
) -> Result<Option<(EventNo, Vec<u8>)>, WriteError> {
    Ok(conn
        .prepare_cached("SELECT seq, content FROM event WHERE tenant = ?1 AND id = ?2")?
        .query_row((tenant.0, id.bytes()), |row| Ok((EventNo(row.get(0)?), row.get(1)?)))
        .optional()?)
}
