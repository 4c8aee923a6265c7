//! One immutable thing that happened, as accepted.

use crate::event_type::EventTypeName;
use crate::id::{EventId, EventNo};
use crate::payload::Payload;
use crate::time::Timestamp;

/// An event with what a delivery needs of it.
#[derive(Clone, Debug)]
pub struct Event {
    pub no: EventNo,
    pub id: EventId,
    pub event_type: EventTypeName,
    /// When it happened, as the publisher said, or when it was accepted.
    pub timestamp: Timestamp,
    /// Sent by a test call: marked with `x-sealpost-test: true`.
    pub test: bool,
}

/// An event and its payload in the clear, on its way to a receiver. Lives in memory only.
#[derive(Clone, Debug)]
pub struct OpenEvent {
    pub event: Event,
    pub payload: Payload,
}
