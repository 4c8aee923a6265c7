//! Accepting: events, their deliveries, their idempotency and their first claims, in one commit.

pub(crate) mod plan;

use std::ops::Range;

use async_trait::async_trait;

use sealpost_core::delivery::CancelReason;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{DeliveryId, EventId, TenantNo, WebhookNo};
use sealpost_core::payload::Payload;
use sealpost_core::time::Timestamp;

use crate::error::StoreError;
use crate::queue::ClaimTicket;

/// One request to accept. All of it is accepted or none.
#[derive(Clone, Debug)]
pub struct Accept {
    pub tenant: TenantNo,
    /// The registry the deliveries were matched against; another one in the store bounces the request.
    pub registry_version: i64,
    pub now: Timestamp,
    pub events: Vec<NewEvent>,
    /// Keys that name parts of this request for repeats: an `Idempotency-Key` names all of it.
    pub keys: Vec<RepeatKey>,
}

#[derive(Clone, Debug)]
pub struct RepeatKey {
    /// Keyed hash of the key text.
    pub key: [u8; 32],
    /// Keyed hash of what the publisher sent under it.
    pub content: [u8; 32],
    /// Which of the request's events it names.
    pub events: Range<usize>,
}

#[derive(Clone, Debug)]
pub struct NewEvent {
    pub id: EventId,
    /// Whether the publisher chose the id, so that a row of the same id is a repeat or a conflict.
    pub id_given: bool,
    pub event_type: EventTypeName,
    pub timestamp: Timestamp,
    pub payload: Payload,
    /// Keyed hash of the publisher's fields.
    pub content: [u8; 32],
    /// Keyed hashes of the publisher's subjects.
    pub subjects: Vec<[u8; 32]>,
    pub test: bool,
    pub deliveries: Vec<NewDelivery>,
    /// The event that is derived from this one, if a subscriber of its type matched; it shares the payload.
    pub derived: Option<NewDerived>,
}

#[derive(Clone, Debug)]
pub struct NewDerived {
    pub id: EventId,
    pub event_type: EventTypeName,
    pub deliveries: Vec<NewDelivery>,
}

#[derive(Clone, Debug)]
pub struct NewDelivery {
    pub id: DeliveryId,
    pub webhook: WebhookNo,
    pub lane_epoch: i64,
    /// Insert already claimed: the caller holds every permit for it.
    pub claim: bool,
    /// Insert as an end: the webhook is disabled.
    pub cancelled: Option<CancelReason>,
}

#[derive(Debug)]
pub enum Accepted {
    /// On stable storage. One answer for each event, in order.
    Events(Vec<AcceptedEvent>),
    /// A webhook or event type changed meanwhile: reload, match again, ask again. Nothing was stored.
    RegistryChanged,
    /// The event at this position repeats an id or key with other content. Nothing was stored.
    Conflict { index: usize },
}

#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedEvent {
    pub id: EventId,
    pub event_type: EventTypeName,
    pub timestamp: Timestamp,
    pub deliveries: u32,
    pub derived: Vec<DerivedEvent>,
    /// The first result of an earlier request; nothing new was stored for it.
    pub repeated: bool,
    /// For every delivery of this request that was inserted claimed, in order: own ones, then the derived event's.
    pub claims: Vec<ClaimTicket>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DerivedEvent {
    pub id: EventId,
    pub event_type: EventTypeName,
    pub deliveries: u32,
}

#[async_trait]
pub trait Inbox: Send + Sync {
    /// Stores the request whole. Answers after the commit is on disk.
    async fn accept(&self, request: Accept) -> Result<Accepted, StoreError>;
}
