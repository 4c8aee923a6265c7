//! The clock of one simulated process: tokio's, which stands still until everybody waits and then jumps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sealpost::clock::Clock;
use sealpost_core::time::Timestamp;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::world::World;

#[derive(Debug)]
pub struct SimClock {
    world: Arc<World>,
    /// What the wall clock said when the process began.
    start: Timestamp,
    began: Instant,
    dice: Mutex<Dice>,
}

impl SimClock {
    pub fn start(world: &Arc<World>, dice: Dice) -> Self {
        let start = world.wall();
        let mut inner = world.inner();
        let (life, ms) = (inner.life, inner.ms() as i64);
        inner.ledger.offsets.insert(life, start.millis() - ms);
        drop(inner);
        Self { start, began: Instant::now(), dice: Mutex::new(dice), world: Arc::clone(world) }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.start + self.began.elapsed()
    }

    fn wall(&self) -> Timestamp {
        self.world.wall()
    }

    fn boot(&self) -> Duration {
        Duration::from_millis(self.world.ms())
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}
