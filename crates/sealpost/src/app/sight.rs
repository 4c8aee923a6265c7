//! How fresh what this process knows is, where other processes use the same store.
//!
//! A change that another process acknowledged must hold here too: no send of the state before it begins afterwards. So
//! this process looks at the store's versions again and again, and what it saw counts for a short while only: longer
//! than that without a look, and no send begins. Whoever changes something waits that while before acknowledging. No
//! process has to know of another, and one that cannot reach the store stops by itself.
//!
//! Measured from before a look begins, by a clock that counts through suspend: a process that slept knows nothing.
//!
//! The same look shows that this process is known to live. One that was silent for long may have been taken for dead, and
//! its claims be somebody else's by now, although it cannot tell which. So claims belong to a term: it ends where two
//! looks lie too far apart, and nothing that was claimed in an earlier term begins.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sealpost_core::limits;
use sealpost_store::StoreError;

use super::App;
use crate::clock::Clock;

/// For so long what was seen counts.
const COUNTS: Duration = Duration::from_secs(1);
/// Between two looks: some may fail.
pub const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Clocks of two machines run apart by less than that in this time.
const MARGIN: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Sight {
    clock: Arc<dyn Clock>,
    /// Whether there is anybody else.
    shared: bool,
    /// When the last look that ended well began, in milliseconds since boot; 0 for none.
    seen_ms: AtomicU64,
    term: AtomicU64,
}

/// What a claim has to be of, to begin: taken from before the claim was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term(u64);

impl Sight {
    pub fn new(clock: Arc<dyn Clock>, shared: bool) -> Arc<Self> {
        Arc::new(Self { clock, shared, seen_ms: AtomicU64::new(0), term: AtomicU64::new(0) })
    }

    /// Whether what this process knows of webhooks may be acted upon.
    pub fn is_clear(&self) -> bool {
        if !self.shared {
            return true;
        }
        let seen = Duration::from_millis(self.seen_ms.load(Ordering::Acquire));
        !seen.is_zero() && self.clock.boot().saturating_sub(seen) < COUNTS
    }

    /// Before a claim is made.
    pub fn term(&self) -> Term {
        Term(self.term.load(Ordering::Acquire))
    }

    /// Whether what was claimed in this term may begin. The sight first: a look that ends a term ends it before it counts.
    pub fn allows(&self, term: Term) -> bool {
        self.is_clear() && self.term() == term
    }

    /// After a change was stored, and before it is acknowledged: until no process acts on the state before it.
    pub async fn reaches_all(&self) {
        if self.shared {
            tokio::time::sleep(COUNTS + MARGIN).await;
        }
    }

    /// A look that ended well, just now. Looks follow each other.
    fn saw(&self, began: Duration) {
        let ms = u64::try_from(began.as_millis()).unwrap_or(u64::MAX);
        let before = Duration::from_millis(self.seen_ms.load(Ordering::Acquire));
        if self.clock.boot().saturating_sub(before) + MARGIN >= limits::HOLDS {
            self.term.fetch_add(1, Ordering::AcqRel);
        }
        self.seen_ms.fetch_max(ms, Ordering::AcqRel);
    }
}

impl App {
    /// Brings everything that is kept in memory up to what other processes made of it.
    pub async fn look(&self) -> Result<(), StoreError> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let began = self.clock.boot();
        let standing = self.store.standing().await?;
        if let Some(standing) = standing {
            self.clock.follow(standing.now, began);
        }
        let versions: HashMap<_, _> = self.store.registry_versions().await?.into_iter().collect();
        for entry in self.registry.all_known() {
            // One that is not there was deleted; what it has is taken from it.
            if versions.get(&entry.tenant.no) != Some(&entry.version()) {
                self.registry.refresh(&entry).await?;
            }
        }
        if standing.is_none_or(|standing| standing.holds) {
            self.sight.saw(began);
        }
        self.load_domains().await?;
        self.reload_token_keys().await?;
        // Deleted clients; the others are asked for again.
        self.clients.forget();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use sealpost_core::time::Timestamp;

    use super::*;

    #[derive(Debug, Default)]
    struct Hands(Mutex<Duration>);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
        fn boot(&self) -> Duration {
            *self.0.lock().unwrap()
        }
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    #[test]
    fn what_was_seen_counts_from_the_beginning_of_the_look_and_not_for_long() {
        let hands = Arc::new(Hands::default());
        let at = |ms| *hands.0.lock().unwrap() = Duration::from_millis(ms);
        let alone = Sight::new(hands.clone(), false);
        let sight = Sight::new(hands.clone(), true);
        at(5_000);
        assert!(alone.is_clear() && !sight.is_clear(), "it has not looked yet");
        sight.saw(Duration::from_millis(4_900));
        at(5_899);
        assert!(sight.is_clear());
        at(5_900);
        assert!(!sight.is_clear() && alone.is_clear());
        // An older look that ended late says nothing new.
        sight.saw(Duration::from_millis(4_000));
        assert!(!sight.is_clear());
    }

    #[test]
    fn what_was_claimed_before_a_silence_does_not_begin_after_it() {
        let hands = Arc::new(Hands::default());
        let at = |ms| *hands.0.lock().unwrap() = Duration::from_millis(ms);
        let sight = Sight::new(hands.clone(), true);
        at(10_000);
        sight.saw(Duration::from_millis(10_000));
        let term = sight.term();
        at(14_000);
        assert!(!sight.allows(term), "it has not looked for a while");
        sight.saw(Duration::from_millis(14_000));
        assert!(sight.allows(term), "and was not away for long");
        // Counted to the end of the look: meanwhile others may have judged.
        at(20_000);
        sight.saw(Duration::from_millis(19_500));
        assert!(sight.is_clear() && !sight.allows(term) && sight.allows(sight.term()));
    }
}
