//! Which events of a request are new, which repeat something, and whether any contradicts what is known.

use std::collections::HashMap;

use sealpost_core::id::{EventId, EventNo, TenantNo};

use crate::error::StoreError;
use crate::inbox::{Accept, RepeatKey};
use crate::rows;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Plan {
    New,
    /// An earlier request stored it.
    Stored(EventNo),
    /// It repeats an earlier event of this request.
    SameAs(usize),
}

pub(crate) enum Planned {
    Plans(Vec<Plan>),
    Conflict { index: usize },
}

/// What a key was first used for: its content and the events it named.
pub(crate) type StoredKey = ([u8; 32], Vec<EventNo>);

/// What earlier requests left in the store.
pub(crate) trait Known {
    type Error: From<StoreError>;

    /// What a key was first used for, while its events are kept.
    fn key(&self, tenant: TenantNo, key: &[u8; 32]) -> Result<Option<StoredKey>, Self::Error>;
    /// An event and the content it was published with.
    fn event(&self, tenant: TenantNo, id: EventId) -> Result<Option<(EventNo, Vec<u8>)>, Self::Error>;
}

/// Decides; writes nothing.
pub(crate) fn plan<K: Known>(known: &K, request: &Accept) -> Result<Planned, K::Error> {
    let mut plans = vec![None; request.events.len()];
    let mut keys: HashMap<&[u8; 32], &RepeatKey> = HashMap::new();
    for key in &request.keys {
        let conflict = Planned::Conflict { index: key.events.start };
        let named = plans.get_mut(key.events.clone()).ok_or(rows::corrupt("range of an idempotency key"))?;
        if let Some((content, events)) = known.key(request.tenant, &key.key)? {
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
            } else if let Some((no, content)) = known.event(request.tenant, event.id)? {
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
                    || known.event(request.tenant, derived.id)?.is_some();
                if taken {
                    return Ok(Planned::Conflict { index });
                }
            }
        }
        *plan = Some(this);
    }
    Ok(Planned::Plans(plans.into_iter().map(|plan| plan.unwrap_or(Plan::New)).collect()))
}

/// The events a stored key names.
pub(crate) fn named_events(bytes: &[u8]) -> Result<Vec<EventNo>, StoreError> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(rows::corrupt("idempotency key"));
    }
    Ok(numbers.iter().map(|no| EventNo(i64::from_be_bytes(*no))).collect())
}
