//! What must hold when all is quiet: the record of callers and receivers against what is stored. Nothing here knows how
//! the engine works.

mod accepted;
mod ended;
mod sent;

use std::collections::BTreeMap;

use sealpost_core::id::DeliveryId;

use crate::ledger::Send;
use crate::memory::State;
use crate::world::Inner;

pub use sent::stretched;

/// Requests of one delivery, in order.
type Sends = BTreeMap<DeliveryId, Vec<Send>>;

/// Judges what happened since the last page was turned, and turns it.
pub fn judge(inner: &mut Inner, state: &State) {
    let mut wrong = Vec::new();
    let mut sends = Sends::new();
    for send in &inner.ledger.sends {
        sends.entry(send.delivery).or_default().push(send.clone());
    }
    accepted::judge(&inner.ledger, state, &mut wrong);
    ended::judge(&inner.ledger, state, &sends, &mut inner.coverage, &mut wrong);
    sent::judge(&inner.ledger, state, &sends, &mut wrong);
    for what in wrong {
        inner.wrong(what);
    }
    let last = state.deliveries.keys().last().copied().unwrap_or(0);
    let judged = last.max(inner.ledger.judged);
    inner.ledger.turn_page(judged);
}
