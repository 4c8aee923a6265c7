//! Accepting: first what would refuse the request, then its rows.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sealpost_core::delivery::State as DeliveryState;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{DeliveryNo, EventId, TenantNo};
use sealpost_core::lane::LaneNo;
use sealpost_store::StoreError;
use sealpost_store::inbox::{
    Accept, Accepted, AcceptedEvent, DerivedEvent, Inbox, NewDelivery, NewEvent, RepeatKey,
};
use sealpost_store::queue::ClaimTicket;

use super::rows::{DeliveryRow, EventRow, Kept, PayloadRow};
use super::{MemoryStore, Plant, State, Verb};

#[async_trait]
impl Inbox for MemoryStore {
    async fn accept(&self, request: Accept) -> Result<Accepted, StoreError> {
        let due = request.now;
        let rules = Rules {
            incarnation: self.incarnation,
            any_version: self.has(Plant::StaleRegistry),
            no_repeats: self.has(Plant::NoIdempotency),
        };
        let tickets = |accepted: &Accepted| match accepted {
            Accepted::Events(events) => events.iter().flat_map(|event| event.claims.clone()).collect(),
            Accepted::RegistryChanged | Accepted::Conflict { .. } => Vec::new(),
        };
        self.claiming(Verb::Accept, due, move |state| state.accept(&rules, request), tickets).await
    }
}

struct Rules {
    incarnation: i64,
    any_version: bool,
    no_repeats: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Plan {
    New,
    /// An earlier request stored it.
    Stored(i64),
    /// It repeats an earlier event of this request.
    SameAs(usize),
}

impl State {
    fn accept(&mut self, rules: &Rules, request: Accept) -> Result<Accepted, StoreError> {
        let version = self.live_tenant(request.tenant).map(|row| row.version);
        if version.is_none() || (version != Some(request.registry_version) && !rules.any_version) {
            self.count("registry had moved", 1);
            return Ok(Accepted::RegistryChanged);
        }
        let plans = if rules.no_repeats {
            vec![Plan::New; request.events.len()]
        } else {
            match self.plan(&request)? {
                Ok(plans) => plans,
                Err(index) => return Ok(Accepted::Conflict { index }),
            }
        };
        let mut answers: Vec<(i64, AcceptedEvent)> = Vec::with_capacity(plans.len());
        for (event, plan) in request.events.iter().zip(plans) {
            let answer = match plan {
                Plan::New => self.insert(rules, &request, event),
                Plan::Stored(no) => (no, self.first_result(no)?),
                Plan::SameAs(index) => {
                    let (no, first) = answers[index].clone();
                    (no, AcceptedEvent { repeated: true, claims: Vec::new(), ..first })
                }
            };
            answers.push(answer);
        }
        for key in request.keys {
            let events = answers[key.events].iter().map(|(no, _)| *no).collect();
            self.repeat_keys.insert((request.tenant, key.key), (key.content, events));
        }
        self.stats.accepts += 1;
        self.stats.commits += 1;
        Ok(Accepted::Events(answers.into_iter().map(|(_, answer)| answer).collect()))
    }

    /// `Err`: the event at this position contradicts what is known.
    fn plan(&self, request: &Accept) -> Result<Result<Vec<Plan>, usize>, StoreError> {
        let mut plans = vec![None; request.events.len()];
        let mut keys: BTreeMap<[u8; 32], &RepeatKey> = BTreeMap::new();
        for key in &request.keys {
            let named = plans
                .get_mut(key.events.clone())
                .ok_or(StoreError::Corrupt { what: "range of an idempotency key" })?;
            if let Some((content, events)) = self.known_key(request.tenant, key) {
                if *content != key.content || events.len() != named.len() {
                    return Ok(Err(key.events.start));
                }
                for (plan, no) in named.iter_mut().zip(events) {
                    *plan = Some(Plan::Stored(*no));
                }
            } else if let Some(earlier) = keys.get(&key.key) {
                let follows = earlier.events.end <= key.events.start;
                if !follows || earlier.content != key.content || earlier.events.len() != key.events.len() {
                    return Ok(Err(key.events.start));
                }
                for (plan, index) in named.iter_mut().zip(earlier.events.clone()) {
                    plan.get_or_insert(Plan::SameAs(index));
                }
            } else {
                keys.insert(key.key, key);
            }
        }
        let mut ids: BTreeMap<EventId, usize> = BTreeMap::new();
        for (index, (event, plan)) in request.events.iter().zip(&mut plans).enumerate() {
            if plan.is_some() {
                continue;
            }
            let mut this = Plan::New;
            if event.id_given {
                if let Some(earlier) = ids.get(&event.id) {
                    let first = &request.events[*earlier];
                    if first.id != event.id || first.content != event.content {
                        return Ok(Err(index));
                    }
                    this = Plan::SameAs(*earlier);
                } else if let Some(no) = self.event_ids.get(&(request.tenant, event.id)) {
                    if self.events.get(no).and_then(|row| row.content) != Some(event.content) {
                        return Ok(Err(index));
                    }
                    this = Plan::Stored(*no);
                }
            }
            if this == Plan::New {
                ids.insert(event.id, index);
                if let Some(derived) = &event.derived
                    && (ids.insert(derived.id, index).is_some()
                        || self.event_ids.contains_key(&(request.tenant, derived.id)))
                {
                    return Ok(Err(index));
                }
            }
            *plan = Some(this);
        }
        Ok(Ok(plans.into_iter().map(|plan| plan.unwrap_or(Plan::New)).collect()))
    }

    /// A key lives as long as all its events.
    fn known_key(&self, tenant: TenantNo, key: &RepeatKey) -> Option<&([u8; 32], Vec<i64>)> {
        let known = self.repeat_keys.get(&(tenant, key.key))?;
        known.1.iter().all(|no| self.events.contains_key(no)).then_some(known)
    }

    fn first_result(&self, no: i64) -> Result<AcceptedEvent, StoreError> {
        let row = self.events.get(&no).ok_or(StoreError::Corrupt { what: "idempotency key" })?;
        Ok(AcceptedEvent {
            id: row.id,
            event_type: row.event_type.clone(),
            timestamp: row.timestamp,
            deliveries: row.made,
            derived: self.derived_of(no),
            repeated: true,
            claims: Vec::new(),
        })
    }

    pub(super) fn derived_of(&self, no: i64) -> Vec<DerivedEvent> {
        // They stand right behind it.
        let behind = self.events.range(no + 1..=no + 1).map(|(_, row)| row);
        behind
            .filter(|row| row.derived_of == Some(no))
            .map(|row| DerivedEvent { id: row.id, event_type: row.event_type.clone(), deliveries: row.made })
            .collect()
    }

    fn insert(&mut self, rules: &Rules, request: &Accept, event: &NewEvent) -> (i64, AcceptedEvent) {
        let mut claims = Vec::new();
        let own = (event.id, event.event_type.clone(), event.deliveries.as_slice());
        let no = self.insert_one(rules, request, event, own, None, &mut claims);
        self.payloads.insert(no, PayloadRow { kept: Kept::Payload(event.payload.clone()) });
        let mut derived = Vec::new();
        if let Some(new) = &event.derived {
            let of = (new.id, new.event_type.clone(), new.deliveries.as_slice());
            self.insert_one(rules, request, event, of, Some(no), &mut claims);
            derived = self.derived_of(no);
        }
        // Where nobody is subscribed, nothing ends.
        self.look_later(no, request.now);
        let answer = AcceptedEvent {
            id: event.id,
            event_type: event.event_type.clone(),
            timestamp: event.timestamp,
            deliveries: event.deliveries.len() as u32,
            derived,
            repeated: false,
            claims,
        };
        (no, answer)
    }

    fn insert_one(
        &mut self,
        rules: &Rules,
        request: &Accept,
        event: &NewEvent,
        (id, event_type, deliveries): (EventId, EventTypeName, &[NewDelivery]),
        derived_of: Option<i64>,
        claims: &mut Vec<ClaimTicket>,
    ) -> i64 {
        self.last_event += 1;
        let no = self.last_event;
        let mut numbers = Vec::with_capacity(deliveries.len());
        for new in deliveries {
            let row = self.new_delivery(rules, request, no, new);
            claims.extend(row.claimer.is_some().then(|| row.ticket()));
            numbers.push(row.no.0);
            self.put_delivery(row);
        }
        let row = EventRow {
            tenant: request.tenant,
            id,
            event_type,
            timestamp: event.timestamp,
            accepted_at: request.now,
            test: event.test,
            content: derived_of.is_none().then_some(event.content),
            derived_of,
            subjects: if derived_of.is_none() { event.subjects.clone() } else { Vec::new() },
            bytes: event.payload.size(),
            made: deliveries.len() as u32,
            deliveries: numbers,
        };
        self.event_ids.insert((request.tenant, id), no);
        self.events.insert(no, row);
        no
    }

    /// Waiting, claimed already, or ended as cancelled. A claim begins with attempt 1 and fence 1.
    fn new_delivery(
        &mut self,
        rules: &Rules,
        request: &Accept,
        event: i64,
        new: &NewDelivery,
    ) -> DeliveryRow {
        let claim = new.claim && new.cancelled.is_none();
        self.last_delivery += 1;
        DeliveryRow {
            no: DeliveryNo(self.last_delivery),
            id: new.id,
            tenant: request.tenant,
            event,
            webhook: new.webhook,
            lane: LaneNo::ordinary(new.webhook),
            lane_epoch: new.lane_epoch,
            created_at: request.now,
            state: new.cancelled.map_or(DeliveryState::Pending, DeliveryState::Cancelled),
            attempt: u8::from(claim),
            fence: i64::from(claim),
            due: (!claim && new.cancelled.is_none()).then_some(request.now),
            claimer: claim.then_some(rules.incarnation),
            cancel: None,
            cancelled_at: None,
            attempts: Vec::new(),
        }
    }

    pub(super) fn put_delivery(&mut self, row: DeliveryRow) {
        let no = row.no.0;
        self.stats.delivery_writes += 1;
        self.delivery_ids.insert(row.id, no);
        if row.state == DeliveryState::Pending {
            self.pending.insert(no);
        }
        self.deliveries.insert(no, row);
    }
}
