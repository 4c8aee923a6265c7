//! Accepting events, and reading them back.
//!
//! Accepting is: judge against the catalogue, mint ids, match against the registry, take permits, store, hand on.
//! The part from the store on runs in a task of its own, so that a publisher who hangs up cannot strand deliveries
//! that were stored as claimed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use sealpost_core::audit::Action;
use sealpost_core::delivery::CancelReason;
use sealpost_core::event::Event;
use sealpost_core::event_type::{EventType, EventTypeName, Origin, built_in, derived_from};
use sealpost_core::id::{DeliveryId, EventId, EventNo, TenantNo, WebhookId, WebhookNo};
use sealpost_core::limits as bound;
use sealpost_core::payload::{Payload, complete_credential};
use sealpost_core::publish::{Publication, Publications};
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::history::{EventFilter, EventRecord, PayloadRead};
use sealpost_store::inbox::{Accept, Accepted, AcceptedEvent, NewDelivery, NewDerived, NewEvent, RepeatKey};
use sealpost_store::page::{Page, PageRequest};

use super::lanes::{Full, Reservation};
use super::registry::{Target, TenantEntry};
use super::sight::Term;
use super::{App, Ready, detached};

/// A registry that changes under every try is a registry under attack; more tries would not help.
const MATCH_TRIES: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum PublishRefused {
    #[error("{msg}")]
    Invalid { param: String, msg: String },
    #[error("{0}")]
    TooLarge(String),
    #[error("the tenant publishes faster than it may")]
    TooFast(Duration),
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was accepted, in order; `events` of a request with one event has one entry.
#[derive(Debug)]
pub struct Published {
    pub events: Vec<AcceptedEvent>,
    /// Every event repeats an earlier one: nothing new was stored.
    pub repeated: bool,
}

/// A publication with everything decided that does not depend on who is subscribed.
#[derive(Debug)]
struct Prepared {
    id: EventId,
    id_given: bool,
    event_type: Arc<super::registry::TypeEntry>,
    derived_type: Option<EventType>,
    timestamp: Timestamp,
    payload: Payload,
    content: [u8; 32],
    subjects: Vec<[u8; 32]>,
}

/// One delivery of a prepared event, with what it reserved if it is to be stored claimed.
#[derive(Debug)]
struct Planned {
    target: Arc<Target>,
    id: DeliveryId,
    reserved: Option<Reservation>,
    term: Term,
}

#[derive(Debug, Default)]
struct Plan {
    own: Vec<Planned>,
    derived: Vec<Planned>,
}

impl Plan {
    fn deliveries(&self) -> usize {
        self.own.len() + self.derived.len()
    }
}

impl App {
    /// Accepts what a publisher sent. `idempotency_key` names the whole request.
    pub async fn publish(
        &self,
        tenant: TenantNo,
        publications: Publications,
        idempotency_key: Option<String>,
    ) -> Result<Published, PublishRefused> {
        let entry = self.tenant(tenant).await?;
        let several = publications.several;
        let now = self.clock.now();
        let mut keys = Vec::new();
        let mut prepared = Vec::with_capacity(publications.events.len());
        for (index, publication) in publications.events.into_iter().enumerate() {
            let key = publication.key.clone();
            let event = self.prepare(&entry, publication, now).map_err(|e| e.at(several, index))?;
            if let Some(text) = key {
                let events = index..index + 1;
                keys.push(RepeatKey { key: entry.hasher.repeat_key(&text), content: event.content, events });
            }
            prepared.push(event);
        }
        if let Some(text) = idempotency_key {
            let contents: Vec<[u8; 32]> = prepared.iter().map(|event| event.content).collect();
            let content = entry.hasher.request_content(&contents);
            keys.push(RepeatKey {
                key: entry.hasher.repeat_key(&format!("key:{text}")),
                content,
                events: 0..prepared.len(),
            });
        }
        self.count_events(&entry, prepared.len()).map_err(PublishRefused::TooFast)?;
        let this = self.clone();
        detached(async move { this.accept(entry, prepared, keys, None, now).await }).await
    }

    /// Accepts one event of Sealpost's own making for one webhook: a test.
    pub async fn publish_test(
        &self,
        tenant: TenantNo,
        webhook: WebhookId,
        event_type: EventTypeName,
        payload: Payload,
    ) -> Result<Option<AcceptedEvent>, PublishRefused> {
        let entry = self.tenant(tenant).await?;
        let Some(target) = entry.target_by_id(webhook) else { return Ok(None) };
        let now = self.clock.now();
        let publication =
            Publication { id: None, event_type, payload, timestamp: None, subjects: Vec::new(), key: None };
        let prepared = vec![self.prepare(&entry, publication, now)?];
        self.count_events(&entry, prepared.len()).map_err(PublishRefused::TooFast)?;
        let this = self.clone();
        let published =
            detached(async move { this.accept(entry, prepared, Vec::new(), Some(target), now).await })
                .await?;
        Ok(published.events.into_iter().next())
    }

    /// Publishes an event about a webhook's health; it carries ids only.
    pub async fn publish_own(
        &self,
        tenant: TenantNo,
        name: &str,
        payload: Payload,
    ) -> Result<(), PublishRefused> {
        let entry = self.tenant(tenant).await?;
        let now = self.clock.now();
        let Some(event_type) = entry.event_type(name) else { return Ok(()) };
        let content = entry.hasher.content(name, payload.as_str(), None);
        let prepared = Prepared {
            id: EventId::new(now, self.clock.chance()),
            id_given: false,
            event_type,
            derived_type: None,
            timestamp: now,
            payload,
            content,
            subjects: Vec::new(),
        };
        let this = self.clone();
        detached(async move { this.accept(entry, vec![prepared], Vec::new(), None, now).await })
            .await
            .map(drop)
    }

    fn prepare(
        &self,
        entry: &TenantEntry,
        publication: Publication,
        now: Timestamp,
    ) -> Result<Prepared, PublishRefused> {
        let invalid = |param: &str, msg: String| PublishRefused::Invalid { param: param.into(), msg };
        let name = publication.event_type.as_str();
        let event_type = entry
            .event_type(name)
            .ok_or_else(|| invalid("type", format!("`{name}` is not a registered event type")))?;
        if event_type.event_type.origin == Origin::Own {
            return Err(invalid("type", format!("`{name}` is published by Sealpost itself")));
        }
        let most = self.quota(entry).payload_bytes;
        if publication.payload.as_str().len() > most {
            let message = format!("a payload of this tenant has at most {most} bytes");
            return Err(PublishRefused::TooLarge(message));
        }
        // Of what was sent, not of what it becomes: an id that completes it may be made of chance.
        let content = entry.hasher.content(name, publication.payload.as_str(), publication.timestamp);
        let id = publication.id.unwrap_or_else(|| EventId::new(now, self.clock.chance()));
        let payload = if matches!(name, "credential_create" | "credential_issued") {
            complete_credential(&publication.payload, &format!("urn:uuid:{id}"))
        } else {
            publication.payload
        };
        if let Some(schema) = &event_type.schema {
            super::event_types::check(schema, &payload).map_err(|msg| invalid("payload", msg))?;
        }
        // That every payload which was parsed has a summary is shown in `core::minimise`.
        let derived_type = derived_from(name).and_then(built_in);
        Ok(Prepared {
            content,
            subjects: publication.subjects.iter().map(|subject| entry.hasher.subject(subject)).collect(),
            id,
            id_given: publication.id.is_some(),
            timestamp: publication.timestamp.unwrap_or(now),
            event_type,
            derived_type,
            payload,
        })
    }

    /// Matches, takes permits, stores, and hands on what was stored claimed.
    async fn accept(
        &self,
        entry: Arc<TenantEntry>,
        prepared: Vec<Prepared>,
        keys: Vec<RepeatKey>,
        only: Option<Arc<Target>>,
        now: Timestamp,
    ) -> Result<Published, PublishRefused> {
        let test = only.is_some();
        for _ in 0..MATCH_TRIES {
            let (version, mut plans) = self.plan_with_room(&entry, &prepared, only.as_ref(), now).await?;
            let events = prepared
                .iter()
                .zip(&plans)
                .map(|(event, plan)| new_event(&entry, event, plan, test))
                .collect();
            let request = Accept {
                tenant: entry.tenant.no,
                registry_version: version,
                now,
                events,
                keys: keys.clone(),
            };
            match self.store.accept(request).await? {
                Accepted::Events(events) => {
                    for ((event, plan), accepted) in prepared.iter().zip(&mut plans).zip(&events) {
                        if !accepted.repeated {
                            self.hand_on(&entry, event, plan, accepted, test, now);
                        }
                    }
                    let repeated = events.iter().all(|event| event.repeated);
                    return Ok(Published { events, repeated });
                }
                Accepted::RegistryChanged => {
                    drop(plans);
                    self.registry.refresh(&entry).await?;
                }
                Accepted::Conflict { index } => {
                    let which = conflicting(&prepared, &keys, index);
                    return Err(PublishRefused::Conflict(format!(
                        "{which} was used before with other content"
                    )));
                }
            }
        }
        Err(StoreError::Busy.into())
    }

    /// A plan; where a lane that flows is full, made again after a moment's wait. This is what keeps accepting from
    /// outrunning delivering when the processor is the bound; a receiver that is the bound makes its lane wait on
    /// disk, and nobody waits for that.
    async fn plan_with_room(
        &self,
        entry: &TenantEntry,
        prepared: &[Prepared],
        only: Option<&Arc<Target>>,
        now: Timestamp,
    ) -> Result<(i64, Vec<Plan>), PublishRefused> {
        let until = tokio::time::Instant::now() + bound::PLACE_WAIT;
        loop {
            let (version, plans, full) = self.plan(entry, prepared, only, now)?;
            match full {
                // A place that became free may have gone to somebody else meanwhile.
                Some(webhook) if tokio::time::Instant::now() < until => {
                    let sizes = prepared.iter().zip(&plans);
                    let bytes = sizes.map(|(event, plan)| event.payload.size() * plan.deliveries()).sum();
                    drop(plans);
                    let now = || self.clock.now();
                    self.lanes.room(webhook, prepared.len() as u32, bytes, until, now).await;
                }
                _ => return Ok((version, plans)),
            }
        }
    }

    /// Also a webhook whose lane had no place, if there is one.
    fn plan(
        &self,
        entry: &TenantEntry,
        prepared: &[Prepared],
        only: Option<&Arc<Target>>,
        now: Timestamp,
    ) -> Result<(i64, Vec<Plan>, Option<WebhookNo>), PublishRefused> {
        let mut full = None;
        let mut types: Vec<&EventType> = Vec::with_capacity(prepared.len());
        let mut places: Vec<Range<usize>> = Vec::with_capacity(prepared.len());
        for event in prepared {
            let first = types.len();
            types.push(&event.event_type.event_type);
            types.extend(event.derived_type.as_ref());
            places.push(first..types.len());
        }
        let (version, mut matched) = match only {
            // The test is one event; it goes to its one webhook, whatever that is subscribed to, and derives nothing.
            Some(target) => {
                let one = |place: usize| if place == 0 { vec![Arc::clone(target)] } else { Vec::new() };
                (entry.version(), (0..types.len()).map(one).collect())
            }
            None => entry.matching(&types),
        };
        let rows: usize = matched.iter().map(Vec::len).sum::<usize>() + prepared.len();
        if rows > bound::ROWS_PER_REQUEST {
            return Err(PublishRefused::TooLarge(format!(
                "events times subscribed webhooks exceed {} in one request",
                bound::ROWS_PER_REQUEST
            )));
        }
        let plans = prepared
            .iter()
            .zip(places)
            .map(|(event, place)| {
                let mut lists = matched.get_mut(place).unwrap_or_default().iter_mut().map(std::mem::take);
                let mut planned = |targets: Vec<Arc<Target>>| -> Vec<Planned> {
                    targets.into_iter().map(|target| self.plan_one(target, event, now, &mut full)).collect()
                };
                let own = planned(lists.next().unwrap_or_default());
                let derived = planned(lists.next().unwrap_or_default());
                Plan { own, derived }
            })
            .collect();
        Ok((version, plans, full))
    }

    fn plan_one(
        &self,
        target: Arc<Target>,
        event: &Prepared,
        now: Timestamp,
        full: &mut Option<WebhookNo>,
    ) -> Planned {
        let id = DeliveryId::new(now, self.clock.chance());
        let reserved = if target.webhook.disabled {
            None
        } else {
            let webhook = target.webhook.no;
            self.lanes.reserve(webhook, &target.lane, event.payload.size(), now).unwrap_or_else(|Full| {
                *full = Some(webhook);
                None
            })
        };
        Planned { target, id, reserved, term: self.sight.term() }
    }

    fn hand_on(
        &self,
        entry: &Arc<TenantEntry>,
        prepared: &Prepared,
        plan: &mut Plan,
        accepted: &AcceptedEvent,
        test: bool,
        now: Timestamp,
    ) {
        let own = Event {
            no: EventNo(0),
            id: prepared.id,
            event_type: prepared.event_type.event_type.name.clone(),
            timestamp: prepared.timestamp,
            test,
        };
        let derived = accepted.derived.first().map(|derived| Event {
            id: derived.id,
            event_type: derived.event_type.clone(),
            ..own.clone()
        });
        let sides =
            [(Some(own), std::mem::take(&mut plan.own)), (derived, std::mem::take(&mut plan.derived))];
        let mut tickets = accepted.claims.iter();
        for (event, planned) in sides {
            for Planned { target, reserved, term, .. } in planned {
                let Some(reserved) = reserved else {
                    if !target.webhook.disabled {
                        let lane = sealpost_core::lane::LaneNo::ordinary(target.webhook.no);
                        self.lanes.note_stored(lane, &target.lane, now);
                    }
                    continue;
                };
                let (Some(ticket), Some(event)) = (tickets.next(), event.clone()) else { continue };
                let ready = Ready {
                    ticket: *ticket,
                    tenant: Arc::clone(entry),
                    target,
                    event,
                    payload: prepared.payload.clone(),
                    term,
                };
                self.lanes.hand_on(ready, reserved);
            }
        }
    }

    pub async fn events(
        &self,
        tenant: TenantNo,
        filter: EventFilter,
        page: PageRequest<EventId>,
    ) -> Result<Page<EventRecord>, StoreError> {
        self.store.events(tenant, filter, page).await
    }

    pub async fn event(&self, tenant: TenantNo, id: EventId) -> Result<Option<EventRecord>, StoreError> {
        self.store.event(tenant, id).await
    }

    /// Reads a payload for a person or program; the reading is audited before anything is shown.
    pub async fn read_payload(
        &self,
        tenant: TenantNo,
        id: EventId,
        who: &str,
    ) -> Result<PayloadRead, StoreError> {
        let read = self.store.payload(tenant, id).await?;
        if matches!(read, PayloadRead::Payload(_)) {
            self.store.audit(tenant, self.by(who, Action::ReadPayload), id.to_string()).await?;
        }
        Ok(read)
    }
}

impl PublishRefused {
    fn at(self, several: bool, index: usize) -> Self {
        match self {
            PublishRefused::Invalid { param, msg } if several => {
                PublishRefused::Invalid { param: format!("[{index}].{param}"), msg }
            }
            other => other,
        }
    }
}

fn conflicting(prepared: &[Prepared], keys: &[RepeatKey], index: usize) -> String {
    match prepared.get(index) {
        Some(event) if event.id_given => format!("event id {}", event.id),
        _ if keys.iter().any(|key| key.events.contains(&index)) => "the idempotency key".into(),
        _ => format!("event [{index}]"),
    }
}

fn new_event(entry: &TenantEntry, event: &Prepared, plan: &Plan, test: bool) -> NewEvent {
    let derived = match &event.derived_type {
        Some(derived_type) if !plan.derived.is_empty() => Some(NewDerived {
            id: entry.hasher.derived_event(event.id),
            event_type: derived_type.name.clone(),
            deliveries: plan.derived.iter().map(new_delivery).collect(),
        }),
        _ => None,
    };
    NewEvent {
        id: event.id,
        id_given: event.id_given,
        event_type: event.event_type.event_type.name.clone(),
        timestamp: event.timestamp,
        payload: event.payload.clone(),
        content: event.content,
        subjects: event.subjects.clone(),
        test,
        deliveries: plan.own.iter().map(new_delivery).collect(),
        derived,
    }
}

fn new_delivery(planned: &Planned) -> NewDelivery {
    NewDelivery {
        id: planned.id,
        webhook: planned.target.webhook.no,
        lane_epoch: planned.target.webhook.lane_epoch,
        claim: planned.reserved.is_some(),
        cancelled: planned.target.webhook.disabled.then_some(CancelReason::WebhookDisabled),
    }
}
