//! Housekeeping between other work: retention, cancelled lanes, bulk redelivery, the listing index, old analytic events,
//! aged keys.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::app::App;

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

/// Something that is looked at now and then.
struct Look {
    every: Duration,
    next: Duration,
}

impl Look {
    fn first(next: Duration, every: Duration) -> Self {
        Self { every, next }
    }

    /// Whether it is time; if so, the next time is after the interval.
    fn is_due(&mut self, now: Duration) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + self.every;
        }
        due
    }

    /// There is more to do than one look did.
    fn again(&mut self) {
        self.next = Duration::ZERO;
    }
}

pub(super) async fn run(shared: Arc<Shared>) {
    let app = &shared.app;
    let now = || app.clock.boot();
    // The start has looked at the lanes.
    let mut lanes = Look::first(now() + LANES_AGAIN, LANES_AGAIN);
    let mut keys = Look::first(now(), KEYS_AGAIN);
    let mut calls = Look::first(now(), CALLS_AGAIN);
    while !shared.is_closing() {
        if lanes.is_due(now())
            && let Err(error) = super::claim::find_lanes(&shared).await
        {
            tracing::error!(%error, "the lanes could not be looked at");
        }
        if keys.is_due(now()) {
            rotate_aged_keys(app).await;
        }
        let mut rows = sweep(app).await;
        if calls.is_due(now()) {
            match app.forget_calls().await {
                Ok(0) => {}
                Ok(forgotten) => {
                    rows += forgotten;
                    calls.again();
                }
                Err(error) => tracing::error!(%error, "old analytic events were not dropped"),
            }
        }
        shared.pause(if rows > 0 { BREATH } else { REST }).await;
    }
}

/// Rows touched.
async fn sweep(app: &App) -> u64 {
    let swept = match app.store.sweep(app.clock.now()).await {
        Ok(swept) => swept,
        Err(error) => {
            tracing::error!(%error, "housekeeping failed");
            return 0;
        }
    };
    for lane in swept.woken {
        if let Ok(Some((entry, _))) = app.registry.find(lane.webhook()).await
            && let Err(error) = app.wake(entry.tenant.no, lane).await
        {
            tracing::error!(%error, "a lane was not woken");
        }
    }
    swept.rows
}

async fn rotate_aged_keys(app: &App) {
    match app.rotate_aged_keys().await {
        Ok(0) => {}
        Ok(tenants) => tracing::info!(tenants, "signing keys were rotated for their age"),
        Err(error) => tracing::error!(%error, "signing keys were not rotated"),
    }
}
