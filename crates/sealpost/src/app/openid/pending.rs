//! Sign-ins that were begun at a provider and have not come back, in memory.
//!
//! Each is known by a token that only the browser has in which it was begun, and by its `state`, which goes round by the
//! provider. Only both together open it, once, and within [`HOLDS`]; either alone ends it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sealpost_core::secret::Secret;
use sealpost_core::time::Timestamp;

use crate::app::clients::hash;

/// A person types a password and a code meanwhile.
pub const HOLDS: Duration = Duration::from_secs(10 * 60);
/// Some hundred bytes each. Anybody may begin one, so the oldest makes room: whoever begins that many within minutes ends the
/// sign-ins of others, who begin again, but cannot keep them from beginning, and signs in nobody by it.
const PENDING: usize = 10_000;

#[derive(Debug)]
pub(super) struct Pending {
    /// Of the provider, among those of the settings.
    pub(super) provider: usize,
    pub(super) nonce: String,
    /// What proves to the provider that the code comes from whoever began (RFC 7636).
    pub(super) verifier: Secret<String>,
    /// The page that was wanted.
    pub(super) to: String,
}

#[derive(Debug)]
struct Kept {
    pending: Pending,
    state: [u8; 32],
    begun: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct PendingSignIns(Mutex<HashMap<[u8; 32], Kept>>);

impl PendingSignIns {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, browser: &str, state: &str, pending: Pending, now: Timestamp) {
        let mut all = self.lock();
        all.retain(|_, kept| now.since(kept.begun) < HOLDS);
        if all.len() >= PENDING
            && let Some(oldest) = all.iter().min_by_key(|(_, kept)| kept.begun).map(|(key, _)| *key)
        {
            all.remove(&oldest);
        }
        all.insert(hash(browser), Kept { pending, state: hash(state), begun: now });
    }

    /// What both name; whatever one of them names is pending no longer.
    pub(super) fn take(&self, browser: Option<&str>, state: &str, now: Timestamp) -> Option<Pending> {
        let mut all = self.lock();
        let state = hash(state);
        let of_browser = browser.and_then(|browser| all.remove(&hash(browser)));
        // Found by hashes of 256 random bits: the time of the look-up says nothing about them.
        all.retain(|_, kept| kept.state != state);
        let kept = of_browser.filter(|kept| kept.state == state && now.since(kept.begun) < HOLDS)?;
        Some(kept.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(provider: usize) -> Pending {
        Pending { provider, nonce: String::new(), verifier: Secret::new(String::new()), to: String::new() }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn taken(all: &PendingSignIns, browser: Option<&str>, state: &str, now: i64) -> Option<usize> {
        all.take(browser, state, at(now)).map(|pending| pending.provider)
    }

    #[test]
    fn browser_and_state_together_open_it_once_and_in_time() {
        let limit = HOLDS.as_millis() as i64;
        for (browser, state, now, opens) in [
            (Some("b"), "s", 0, true),
            (Some("b"), "s", limit - 1, true),
            (Some("b"), "s", limit, false),
            (Some("b"), "other", 0, false),
            (Some("other"), "s", 0, false),
            (None, "s", 0, false),
            (Some("b"), "", 0, false),
        ] {
            let all = PendingSignIns::default();
            all.put("b", "s", pending(1), at(0));
            assert_eq!(taken(&all, browser, state, now), opens.then_some(1), "{browser:?} {state} {now}");
            assert_eq!(taken(&all, Some("b"), "s", 0), None, "either ends it: {browser:?} {state}");
        }
    }

    #[test]
    fn a_state_is_of_one_browser() {
        let all = PendingSignIns::default();
        all.put("mine", "s-1", pending(1), at(0));
        all.put("theirs", "s-2", pending(2), at(0));
        assert_eq!(taken(&all, Some("mine"), "s-2", 0), None);
        assert_eq!(taken(&all, Some("theirs"), "s-2", 0), None, "nor is the other left");
    }

    #[test]
    fn the_oldest_makes_room_and_those_that_are_over_do_not_count() {
        let all = PendingSignIns::default();
        for no in 0..=PENDING {
            all.put(&no.to_string(), &no.to_string(), pending(no), at(no as i64));
        }
        assert_eq!(all.lock().len(), PENDING);
        assert_eq!(taken(&all, Some("0"), "0", 0), None);
        assert_eq!(taken(&all, Some("1"), "1", 0), Some(1));
        all.put("new", "new", pending(0), at(PENDING as i64) + HOLDS);
        assert_eq!(all.lock().len(), 1);
    }
}
