//! The delivery engine: takes what accepting hands on, claims what waits on disk, sends, and stores what came of it.
//!
//! Each delivery is a task of its own that holds its permits; no task waits for another webhook's receiver. Four
//! loops stand around them: [`claim`] finds work on disk, [`upkeep`] keeps house, [`analytics`] stores recorded calls, and the dispatcher below starts
//! sends. Losing any wake-up costs latency only, because
//! [`upkeep`] looks at every lane on disk again and again.

mod analytics;
mod claim;
mod mask;
mod others;
mod outcome;
mod send;
mod upkeep;

pub use crate::app::request::{Attempt, BuildError, build};

use std::sync::Arc;
use std::time::Duration;

use sealpost_core::limits as bound;
use sealpost_egress::Outbound;
use sealpost_store::StoreError;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::app::lanes::Work;

/// What the loops and the sends share.
pub(crate) struct Shared {
    pub(crate) app: App,
    pub(crate) outbound: Arc<dyn Outbound>,
    /// A slot for each send whose outcome is not stored yet.
    pub(crate) unsettled: Arc<Semaphore>,
    pub(crate) closing: watch::Receiver<bool>,
}

impl Shared {
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Sleeps, or returns at once when the engine closes.
    pub(crate) async fn pause(&self, span: Duration) {
        let mut closing = self.closing.clone();
        tokio::select! {
            biased; // what happens at one instant has an order, so that a simulated run repeats
            _ = closing.wait_for(|closing| *closing) => {}
            () = tokio::time::sleep(span) => {}
        }
    }
}

#[derive(Debug)]
pub struct Engine {
    app: App,
    close: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
    unsettled: Arc<Semaphore>,
}

/// What the engine found of an earlier process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenUp {
    /// Claims whose outcome nobody knows.
    pub orphans: u64,
    /// Claims that certainly never began.
    pub handed_back: u64,
    /// Lanes with deliveries waiting on disk.
    pub lanes: u64,
}

impl Engine {
    /// Takes up what an earlier process left, then begins to work.
    pub async fn start(
        app: App,
        work: mpsc::UnboundedReceiver<Work>,
        outbound: Arc<dyn Outbound>,
    ) -> Result<(Self, TakenUp), StoreError> {
        let (close, closing) = watch::channel(false);
        let unsettled = Arc::new(Semaphore::new(bound::UNSETTLED_MAX));
        let shared =
            Arc::new(Shared { app: app.clone(), outbound, unsettled: Arc::clone(&unsettled), closing });
        app.look().await?;
        let orphans = claim::take_up_orphans(&shared).await?;
        let lanes = claim::find_lanes(&shared).await?;
        let taken_up = TakenUp { orphans: orphans.unknown, handed_back: orphans.handed_back, lanes };
        if taken_up.orphans + taken_up.handed_back > 0 {
            app.lanes.begin_recovery(app.clock.now(), orphans.again_at);
        }
        let mut loops = vec![
            tokio::spawn(dispatch(Arc::clone(&shared), work)),
            tokio::spawn(claim::run(Arc::clone(&shared))),
            tokio::spawn(analytics::run(Arc::clone(&shared))),
            tokio::spawn(upkeep::run(Arc::clone(&shared))),
        ];
        if app.store.is_shared() {
            loops.push(tokio::spawn(others::look(Arc::clone(&shared))));
            loops.push(tokio::spawn(others::listen(Arc::clone(&shared))));
            loops.push(tokio::spawn(others::take_over(shared)));
        }
        Ok((Self { app, close, loops, unsettled }, taken_up))
    }

    /// Stops beginning, lets what was begun end within `limit`, and stores it. What has not ended by then is an
    /// orphan of the next start. Returns whether everything ended.
    pub async fn drain(mut self, limit: Duration) -> bool {
        self.app.lanes.close();
        let parked = self.app.lanes.withdraw(None, |_| true);
        // Nobody listens only if every loop has ended already.
        let _ = self.close.send(true);
        let ended = async {
            // What the store does not take back is an orphan that never began.
            let _ = self.app.unpark(parked).await;
            self.app.lanes.drained().await;
            // Every slot back means every outcome stored.
            let _ = self.unsettled.acquire_many(bound::UNSETTLED_MAX as u32).await;
        };
        let in_time = tokio::time::timeout(limit, ended).await.is_ok();
        for work in self.loops.drain(..) {
            work.abort();
        }
        in_time
    }
}

/// Starts a task for each delivery that is to be sent. The queue is bounded by permits and places.
async fn dispatch(shared: Arc<Shared>, mut work: mpsc::UnboundedReceiver<Work>) {
    while let Some(work) = work.recv().await {
        let shared = Arc::clone(&shared);
        match work {
            Work::Begin(ready, permit) => drop(tokio::spawn(send::deliver(shared, ready, permit))),
            Work::HandBack(parked) => drop(tokio::spawn(send::hand_back_parked(shared, parked))),
        }
    }
}
