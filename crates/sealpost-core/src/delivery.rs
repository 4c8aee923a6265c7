//! A delivery and its attempts: states, reasons, and the records that history shows.
//!
//! ```text
//!   pending (due time) --2xx--> delivered
//!      |  ^    |
//!      |  +----+ another attempt is due later
//!      +--> failed (reason)      no attempt left, or the payload cannot be sent
//!      +--> cancelled (reason)   disabled, deleted, erased or by hand, before an end was reached
//! ```
//! Nothing else. Redelivering makes a new delivery.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{DeliveryId, EventId, WebhookId};
use crate::outcome::Outcome;
use crate::time::Timestamp;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            /// A short name for one byte of a row. Never renumber.
            pub const fn code(self) -> u8 {
                match self { $($name::$variant => $code),+ }
            }

            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some($name::$variant),)+ _ => None }
            }

            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// The state without its reason: what a list filters by.
    Status { Pending = 0 "pending", Delivered = 1 "delivered", Failed = 2 "failed", Cancelled = 3 "cancelled" }
}

named! {
    /// Why a delivery failed for good.
    FailReason {
        AttemptsExhausted = 1 "attempts_exhausted",
        /// Every attempt ended `unknown`: nobody can say whether the receiver got it.
        OutcomeUnknown = 2 "outcome_unknown",
        /// The payload could not be reduced to what the webhook may see.
        CannotMinimise = 3 "cannot_minimise",
        /// The payload was pruned or could not be opened.
        PayloadGone = 4 "payload_gone",
    }
}

named! {
    /// Why a delivery will not be tried (again).
    CancelReason {
        WebhookDisabled = 11 "webhook_disabled",
        WebhookDeleted = 12 "webhook_deleted",
        PayloadErased = 13 "payload_erased",
        ByHand = 14 "cancelled_by_caller",
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    Pending,
    Delivered,
    Failed(FailReason),
    Cancelled(CancelReason),
}

impl State {
    pub const fn status(self) -> Status {
        match self {
            State::Pending => Status::Pending,
            State::Delivered => Status::Delivered,
            State::Failed(_) => Status::Failed,
            State::Cancelled(_) => Status::Cancelled,
        }
    }

    pub const fn reason(self) -> Option<&'static str> {
        match self {
            State::Failed(reason) => Some(reason.as_str()),
            State::Cancelled(reason) => Some(reason.as_str()),
            State::Pending | State::Delivered => None,
        }
    }

    /// The byte for the reason beside the status byte; 0 where there is none.
    pub const fn reason_code(self) -> u8 {
        match self {
            State::Failed(reason) => reason.code(),
            State::Cancelled(reason) => reason.code(),
            State::Pending | State::Delivered => 0,
        }
    }

    pub fn from_codes(status: u8, reason: u8) -> Option<Self> {
        Some(match Status::from_code(status)? {
            Status::Pending => State::Pending,
            Status::Delivered => State::Delivered,
            Status::Failed => State::Failed(FailReason::from_code(reason)?),
            Status::Cancelled => State::Cancelled(CancelReason::from_code(reason)?),
        })
    }

    pub const fn is_final(self) -> bool {
        !matches!(self, State::Pending)
    }
}

/// One request made for a delivery, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// 1-based.
    pub number: u8,
    pub started_at: Timestamp,
    pub took_ms: u32,
    pub outcome: Outcome,
    pub http_status: Option<u16>,
    /// A sentence for people; never an address, never payload.
    pub error: Option<String>,
    /// The beginning of a failed answer's body; kept under the event's key.
    pub excerpt: Option<Vec<u8>>,
}

/// A delivery as history shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryRecord {
    pub id: DeliveryId,
    pub event: EventId,
    pub event_type: String,
    pub webhook: WebhookId,
    pub state: State,
    pub created_at: Timestamp,
    /// When the next attempt is due, while pending.
    pub due_at: Option<Timestamp>,
    pub attempts_used: u8,
    pub test: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_read_back_from_their_codes() {
        let mut states = vec![State::Pending, State::Delivered];
        states.extend(FailReason::ALL.iter().map(|r| State::Failed(*r)));
        states.extend(CancelReason::ALL.iter().map(|r| State::Cancelled(*r)));
        for state in states {
            assert_eq!(State::from_codes(state.status().code(), state.reason_code()), Some(state));
        }
        assert_eq!(State::from_codes(2, 0), None);
        assert_eq!(State::from_codes(9, 0), None);
    }
}
