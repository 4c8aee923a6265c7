//! A store that is slow, fails, or does what it was asked without its answer arriving.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sealpost_store::StoreError;

use crate::memory::{Verb, Weather};
use crate::world::World;

#[derive(Debug)]
pub struct Storm(pub Arc<World>);

struct Gust {
    wait: Duration,
    fails: Option<StoreError>,
}

impl Storm {
    fn gust(&self, verb: Verb, after: bool) -> Gust {
        let mut inner = self.0.inner();
        let number = verb as u8;
        inner.note("store", &[&[number, u8::from(after)]]);
        let mut gust = Gust { wait: Duration::ZERO, fails: None };
        // Upkeep asks twice a second; it needs no hurry, and gets faults more seldom.
        let seldom = if verb == Verb::Sweep { 50 } else { 1 };
        if verb != Verb::Sweep && inner.dice.one_in(3) {
            gust.wait = Duration::from_millis(1);
        }
        if !inner.stormy {
            return gust;
        }
        if inner.dice.one_in(40 * seldom) {
            gust.wait = Duration::from_millis(inner.dice.spread(8_000));
            inner.coverage.count("store slow");
        }
        if inner.dice.one_in(if after { 60 } else { 40 } * seldom) {
            let lost = || StoreError::Backend("the answer was lost".into());
            let refused = [StoreError::Busy, StoreError::Full, StoreError::Backend("no".into())];
            let which = inner.dice.between(0, 3) as usize;
            gust.fails = if after { Some(lost()) } else { refused.into_iter().nth(which) };
            inner.coverage.count(if after { "store answer lost" } else { "store failed" });
        }
        gust
    }

    async fn blow(&self, verb: Verb, after: bool, place: &'static str) -> Result<(), StoreError> {
        self.0.pass(place).await;
        let Gust { wait, fails } = self.gust(verb, after);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
            self.0.pass(place).await;
        }
        fails.map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Weather for Storm {
    async fn before(&self, verb: Verb) -> Result<(), StoreError> {
        let place = match verb {
            Verb::Settle => "crash before an outcome was stored",
            _ => "crash before a store call",
        };
        self.blow(verb, false, place).await
    }

    async fn after(&self, verb: Verb) -> Result<(), StoreError> {
        self.blow(verb, true, "crash after a commit").await
    }

    fn is_over(&self) -> bool {
        self.0.is_dead()
    }
}
