//! Stores recorded calls behind everybody else, many at once.

use std::sync::Arc;
use std::time::Duration;

use sealpost_core::limits::ANALYTICS_GATHER;

use super::Shared;

/// After a refusal: a full disk does not become free sooner by asking.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// What is left when this ends is stored by whoever closes the store.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut closing = shared.closing.clone();
    while !shared.is_closing() {
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            () = shared.app.recorded.some() => {}
        }
        shared.pause(ANALYTICS_GATHER).await;
        if let Err(error) = shared.app.store_recorded().await {
            tracing::warn!(%error, "recorded calls are not stored yet");
            shared.pause(AFTER_ERROR).await;
        }
    }
}
