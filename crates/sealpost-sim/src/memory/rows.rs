//! The rows, and what can be said of one by itself.

use sealpost_core::delivery::{AttemptRecord, CancelReason, State};
use sealpost_core::event_type::{EventType, EventTypeName};
use sealpost_core::id::{DeliveryId, DeliveryNo, EventId, TenantNo, WebhookNo};
use sealpost_core::key_ring::KeyRecord;
use sealpost_core::lane::LaneNo;
use sealpost_core::outcome::Outcome;
use sealpost_core::payload::Payload;
use sealpost_core::settings::RetentionKind;
use sealpost_core::tenant::Tenant;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::Webhook;
use sealpost_store::queue::ClaimTicket;

#[derive(Clone, Debug)]
pub struct TenantRow {
    pub tenant: Tenant,
    pub deleted: bool,
    pub version: i64,
    pub types_version: i64,
    pub keys_version: i64,
    pub keys: Vec<KeyRecord>,
    pub types: Vec<EventType>,
}

#[derive(Clone, Debug)]
pub struct WebhookRow {
    pub webhook: Webhook,
    pub deleted: bool,
}

impl WebhookRow {
    pub fn takes_deliveries(&self) -> bool {
        !self.deleted && !self.webhook.disabled
    }

    /// The payload goes with the end of its last delivery.
    pub fn forgets(&self) -> bool {
        self.webhook.settings.retention == RetentionKind::None
    }

    /// Why deliveries of an older epoch are cancelled.
    pub fn stale_reason(&self) -> CancelReason {
        if self.deleted { CancelReason::WebhookDeleted } else { CancelReason::WebhookDisabled }
    }
}

#[derive(Clone, Debug)]
pub struct EventRow {
    pub tenant: TenantNo,
    pub id: EventId,
    pub event_type: EventTypeName,
    pub timestamp: Timestamp,
    pub accepted_at: Timestamp,
    pub test: bool,
    /// `None`: derived, nobody's to repeat.
    pub content: Option<[u8; 32]>,
    /// The event this one was derived from, whose payload it shares.
    pub derived_of: Option<i64>,
    pub subjects: Vec<[u8; 32]>,
    pub bytes: usize,
    /// Those that accepting made; redeliveries are not counted.
    pub made: u32,
    pub deliveries: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    Payload(Payload),
    Pruned,
    Erased,
}

#[derive(Clone, Debug)]
pub struct PayloadRow {
    pub kept: Kept,
}

#[derive(Clone, Debug)]
pub struct DeliveryRow {
    pub no: DeliveryNo,
    pub id: DeliveryId,
    pub tenant: TenantNo,
    pub event: i64,
    pub webhook: WebhookNo,
    pub lane: LaneNo,
    pub lane_epoch: i64,
    pub created_at: Timestamp,
    pub state: State,
    pub attempt: u8,
    pub fence: i64,
    /// While it waits.
    pub due: Option<Timestamp>,
    /// The incarnation that works it.
    pub claimer: Option<i64>,
    /// Asked for while it was claimed.
    pub cancel: Option<CancelReason>,
    /// When it ended without an attempt.
    pub cancelled_at: Option<Timestamp>,
    pub attempts: Vec<AttemptRecord>,
}

impl DeliveryRow {
    pub fn waits(&self) -> bool {
        self.state == State::Pending && self.claimer.is_none()
    }

    /// Waiting rows of an older epoch are cancelled, whatever the row says yet.
    pub fn is_stale(&self, hook: &WebhookRow) -> bool {
        self.waits() && self.lane_epoch < hook.webhook.lane_epoch
    }

    pub fn shown_state(&self, hook: &WebhookRow) -> State {
        if self.is_stale(hook) { State::Cancelled(hook.stale_reason()) } else { self.state }
    }

    pub fn holds(&self, ticket: &ClaimTicket) -> bool {
        self.claimer.is_some() && self.attempt == ticket.attempt && self.fence == ticket.fence
    }

    /// The ticket for the attempt and fence that the row has.
    pub fn ticket(&self) -> ClaimTicket {
        let before = self.attempts.iter().filter(|attempt| attempt.number < self.attempt);
        ClaimTicket {
            delivery: self.no,
            id: self.id,
            webhook: self.webhook,
            lane: self.lane,
            lane_epoch: self.lane_epoch,
            attempt: self.attempt,
            fence: self.fence,
            only_unknown_before: before.into_iter().all(|attempt| attempt.outcome == Outcome::Unknown),
        }
    }

    pub fn end_cancelled(&mut self, reason: CancelReason, now: Timestamp) {
        self.state = State::Cancelled(reason);
        self.due = None;
        self.cancelled_at = Some(now);
    }

    /// When it ended, or was made if that is later.
    pub fn ended_at(&self) -> Timestamp {
        let attempts = self
            .attempts
            .iter()
            .map(|attempt| Timestamp::from_millis(attempt.started_at.millis() + i64::from(attempt.took_ms)));
        attempts.chain(self.cancelled_at).fold(self.created_at, Timestamp::max)
    }
}
