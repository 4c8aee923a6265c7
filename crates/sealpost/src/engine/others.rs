//! Other processes on the same store: what they change is looked at again and again, and what they leave when they are
//! lost is taken up.

use std::sync::Arc;
use std::time::Duration;

use super::{Shared, claim};
use crate::app::sight::BETWEEN_LOOKS;

/// Between looks for claims of processes that are gone.
const ORPHANS_AGAIN: Duration = Duration::from_secs(5);

/// While this fails, no send begins; see [`crate::app::sight`].
pub(super) async fn look(shared: Arc<Shared>) {
    let mut failing = false;
    // To the end of the drain: what was begun may still have to start.
    loop {
        match shared.app.look().await {
            Ok(()) => failing = false,
            Err(sealpost_store::StoreError::Closed) => return,
            Err(error) => {
                if !failing {
                    tracing::error!(%error, "what other nodes changed cannot be seen; no delivery begins meanwhile");
                }
                failing = true;
            }
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Lanes in which another node left something: this one may have a slot for it.
pub(super) async fn listen(shared: Arc<Shared>) {
    let app = &shared.app;
    let mut closing = shared.closing.clone();
    loop {
        let lanes = tokio::select! {
            lanes = app.store.rung() => lanes,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        let now = app.clock.now();
        for lane in lanes {
            match app.registry.find(lane.webhook()).await {
                Ok(Some((_, target))) => app.lanes.note_waiting(lane, &target.lane, now, now),
                // Gone meanwhile; or not readable, and found with all lanes later.
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "a lane of another node's was not looked at"),
            }
        }
    }
}

pub(super) async fn take_over(shared: Arc<Shared>) {
    while !shared.is_closing() {
        shared.pause(ORPHANS_AGAIN).await;
        match claim::take_up_orphans(&shared).await {
            Ok(taken) if taken.unknown > 0 => {
                tracing::warn!(orphans = taken.unknown, "took up what a lost node left");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "what lost nodes left could not be taken up"),
        }
    }
}
