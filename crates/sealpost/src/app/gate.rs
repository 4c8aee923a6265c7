//! The gate of one webhook: nothing starts with settings, URL or state that were replaced before the change was
//! acknowledged.
//!
//! A send carries the version of the webhook it was claimed with. Egress asks the gate inside the first write of
//! request bytes. Whoever changes the webhook moves the gate to the new version and waits for the writes that were let
//! through before; then no first byte of an older version can leave any more. With one process that is all it takes; a
//! window of time after the claim would only starve receivers that are slow to connect.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealpost_egress::{Gate, GateGuard};
use sealpost_store::queue::ClaimTicket;
use tokio::sync::Notify;

use super::sight::{Sight, Term};
use super::starts::StartSlot;

#[derive(Debug, Default)]
pub struct WebhookGate {
    state: Mutex<State>,
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    version: i64,
    /// Writes let through and not yet returned.
    entering: u32,
}

impl WebhookGate {
    pub fn at(version: i64) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { version, entering: 0 }), left: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on only sends of this version (or a later one) may begin.
    pub fn move_to(&self, version: i64) {
        let mut state = self.state();
        state.version = state.version.max(version);
    }

    /// Waits until no write that was let through is still under way.
    pub async fn settled(&self) {
        loop {
            let left = self.left.notified();
            if self.state().entering == 0 {
                return;
            }
            left.await;
        }
    }
}

/// One send's question to its webhook's gate.
#[derive(Debug)]
pub struct SendGate {
    gate: Arc<WebhookGate>,
    version: i64,
    /// Where the start of this claim is marked.
    start: (Arc<StartSlot>, ClaimTicket),
    /// Whether the version is known to be the newest and the claim to be ours, with other processes about.
    sight: (Arc<Sight>, Term),
}

impl SendGate {
    pub fn new(
        gate: Arc<WebhookGate>,
        version: i64,
        start: (Arc<StartSlot>, ClaimTicket),
        sight: (Arc<Sight>, Term),
    ) -> Self {
        Self { gate, version, start, sight }
    }
}

impl Gate for SendGate {
    fn open(&self) -> Option<GateGuard> {
        let mut state = self.gate.state();
        if state.version != self.version || !self.sight.0.allows(self.sight.1) {
            return None;
        }
        // Marked before anything leaves: whatever the next process finds unmarked was never sent.
        if let Err(error) = self.start.0.mark(&self.start.1) {
            tracing::error!(%error, "a start could not be marked; nothing is sent");
            return None;
        }
        state.entering += 1;
        Some(GateGuard::holding(Entering(Arc::clone(&self.gate))))
    }
}

struct Entering(Arc<WebhookGate>);

impl Drop for Entering {
    fn drop(&mut self) {
        self.0.state().entering -= 1;
        self.0.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::starts::StartMarks;
    use sealpost_core::id::{DeliveryId, DeliveryNo, WebhookNo};
    use sealpost_core::lane::LaneNo;
    use std::time::Duration;

    fn alone() -> (Arc<Sight>, Term) {
        let sight = Sight::new(Arc::new(crate::clock::SystemClock::start()), false);
        let term = sight.term();
        (sight, term)
    }

    fn ask(gate: &Arc<WebhookGate>, version: i64) -> Option<GateGuard> {
        let ticket = ClaimTicket {
            delivery: DeliveryNo(1),
            id: DeliveryId::from_bytes([0; 16]),
            webhook: WebhookNo(1),
            lane: LaneNo::ordinary(WebhookNo(1)),
            lane_epoch: 0,
            attempt: 1,
            fence: 1,
            only_unknown_before: true,
        };
        let slot = Arc::new(StartMarks::none().slot()?);
        SendGate::new(Arc::clone(gate), version, (slot, ticket), alone()).open()
    }

    #[tokio::test]
    async fn nothing_of_an_older_version_begins() {
        let gate = WebhookGate::at(3);
        let writing = ask(&gate, 3).expect("the version is current");
        gate.move_to(4);
        assert!(ask(&gate, 3).is_none());
        assert!(ask(&gate, 4).is_some());
        let waited = tokio::time::timeout(Duration::from_millis(20), gate.settled()).await;
        assert!(waited.is_err(), "a write let through before is waited for");
        drop(writing);
        gate.settled().await;
    }
}
