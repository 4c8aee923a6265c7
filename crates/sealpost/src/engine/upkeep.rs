//! Housekeeping between other work: retention, cancelled lanes, bulk redelivery, the listing index.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;

/// Between slices while there is something to do, so that deliveries come first.
const BREATH: Duration = Duration::from_millis(2);
/// Between looks while there is nothing to do.
const REST: Duration = Duration::from_millis(500);
/// Between looks at which lanes have work on disk: whatever note was lost on the way, this finds it.
const LANES_AGAIN: Duration = Duration::from_secs(10);

/// Between looks at the age of signing keys.
const KEYS_AGAIN: Duration = Duration::from_secs(3600);
/// Between looks for recorded calls that are too old.
const CALLS_AGAIN: Duration = Duration::from_secs(60);

pub(super) async fn run(shared: Arc<Shared>) {
    let app = &shared.app;
    let mut looked = app.clock.boot();
    let mut keys_looked: Option<Duration> = None;
    let mut calls_again = Duration::ZERO;
    while !shared.is_closing() {
        if app.clock.boot().saturating_sub(looked) >= LANES_AGAIN {
            looked = app.clock.boot();
            if let Err(error) = super::claim::find_lanes(&shared).await {
                tracing::error!(%error, "the lanes could not be looked at");
            }
        }
        if keys_looked.is_none_or(|looked| app.clock.boot().saturating_sub(looked) >= KEYS_AGAIN) {
            keys_looked = Some(app.clock.boot());
            match app.rotate_aged_keys().await {
                Ok(0) => {}
                Ok(tenants) => tracing::info!(tenants, "signing keys were rotated for their age"),
                Err(error) => tracing::error!(%error, "signing keys were not rotated"),
            }
        }
        let rows = match app.store.sweep(app.clock.now()).await {
            Ok(swept) => {
                for lane in swept.woken {
                    if let Ok(Some((entry, _))) = app.registry.find(lane.webhook()).await
                        && let Err(error) = app.wake(entry.tenant.no, lane).await
                    {
                        tracing::error!(%error, "a lane was not woken");
                    }
                }
                swept.rows
            }
            Err(error) => {
                tracing::error!(%error, "housekeeping failed");
                0
            }
        };
        let rows = match app.clock.boot() >= calls_again {
            false => rows,
            true => match app.forget_calls().await {
                Ok(0) => {
                    calls_again = app.clock.boot() + CALLS_AGAIN;
                    rows
                }
                Ok(forgotten) => rows + forgotten,
                Err(error) => {
                    tracing::error!(%error, "old analytic events were not dropped");
                    rows
                }
            },
        };
        shared.pause(if rows > 0 { BREATH } else { REST }).await;
    }
}
