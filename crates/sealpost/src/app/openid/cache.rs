//! A provider's keys as they were fetched last, and the decision whether to fetch again. Pure: time is an argument.
//!
//! Keys verify for [`LIFETIME`]; then the provider is asked, and what it no longer publishes no longer verifies. Where tokens
//! come it is asked a little before, beside the calls, so that none waits for it. While it does not answer, the keys that were
//! fetched last serve for [`AT_MOST`], and nobody waits once that is known. Nobody's tokens, however many and with whatever
//! `kid`, make it be asked more often than [`PAUSE`] says.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::jwks::ProviderKey;

/// How long a key can still verify after its provider withdrew it.
pub(super) const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// From then on it is asked beside the calls.
pub(super) const RENEWED_FROM: Duration = Duration::from_secs(9 * 60);
/// How long a provider may be away before its tokens are refused for now.
pub(super) const AT_MOST: Duration = Duration::from_secs(60 * 60);
/// Between two questions while there are keys that serve.
pub(super) const PAUSE: Duration = Duration::from_secs(60);
/// Without keys every token waits for an answer.
pub(super) const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct KeyCache {
    fetched: Option<Fetched>,
    /// When the last question ended, and whether it was answered.
    asked: Option<(Duration, bool)>,
}

#[derive(Debug)]
struct Fetched {
    keys: Vec<Arc<ProviderKey>>,
    at: Duration,
}

/// What is to be done for a token with this `kid` and algorithm.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Key {
        key: Arc<ProviderKey>,
        /// The key serves now, and the provider is to be asked for the time to come.
        ask: bool,
    },
    /// The provider has no such key.
    Nobody,
    /// Ask the provider, then look again.
    Ask,
    /// The provider does not say; after so long it may be asked again.
    Unknown(Duration),
}

impl KeyCache {
    pub(super) fn find(&self, kid: &str, algorithm: Algorithm, now: Duration) -> Found {
        let age = |fetched: &&Fetched| now.saturating_sub(fetched.at);
        let serving = self.fetched.as_ref().filter(|fetched| age(fetched) < AT_MOST);
        let fresh = serving.is_some_and(|fetched| age(&fetched) < LIFETIME);
        let is_old = serving.is_some_and(|fetched| age(&fetched) >= RENEWED_FROM);
        let named = |key: &&Arc<ProviderKey>| key.kid == kid;
        let keys = || serving.iter().flat_map(|fetched| &fetched.keys).filter(named);
        let is_known = keys().next().is_some();
        let pause = if serving.is_some() { PAUSE } else { PAUSE_WITHOUT_KEYS };
        let wait = self.asked.map_or(Duration::ZERO, |(at, _)| (at + pause).saturating_sub(now));
        // A failure of long ago says nothing of now.
        let fails = self.asked.is_some_and(|(at, answered)| !answered && now.saturating_sub(at) < LIFETIME);
        if wait.is_zero() && !(is_known && (fresh || fails)) {
            return Found::Ask;
        }
        // The `kid` is the provider's word for a key; that the key also fits the algorithm is ours to see.
        let answered = self.asked.is_some_and(|(_, answered)| answered);
        match keys().find(|key| key.algorithm == algorithm) {
            Some(key) => Found::Key { key: Arc::clone(key), ask: is_old && wait.is_zero() },
            None if is_known || (fresh && answered) => Found::Nobody,
            None => Found::Unknown(wait),
        }
    }

    /// The provider answered. Keys are as old as the question.
    pub(super) fn put(&mut self, keys: Vec<ProviderKey>, asked: Duration, now: Duration) {
        let keys = keys.into_iter().map(Arc::new).collect();
        self.fetched = Some(Fetched { keys, at: asked });
        self.asked = Some((now, true));
    }

    pub(super) fn put_failure(&mut self, now: Duration) {
        self.asked = Some((now, false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::DecodingKey;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn keys(kids: &[&str]) -> Vec<ProviderKey> {
        let key = |kid: &&str| ProviderKey {
            kid: (*kid).into(),
            algorithm: Algorithm::EdDSA,
            key: DecodingKey::from_ed_der(&[0; 32]),
        };
        kids.iter().map(key).collect()
    }

    fn found(cache: &KeyCache, kid: &str, now: u64) -> String {
        match cache.find(kid, Algorithm::EdDSA, at(now)) {
            Found::Key { key, ask: false } => format!("key {}", key.kid),
            Found::Key { key, ask: true } => format!("key {}, and ask", key.kid),
            Found::Nobody => "nobody".into(),
            Found::Ask => "ask".into(),
            Found::Unknown(wait) => format!("unknown for {wait:?}"),
        }
    }

    #[test]
    fn an_unknown_kid_asks_once_a_minute() {
        let mut cache = KeyCache::default();
        assert_eq!(found(&cache, "a", 0), "ask");
        cache.put(keys(&["a"]), at(0), at(1));
        for (kid, now, want) in
            [("a", 1, "key a"), ("b", 1, "nobody"), ("b", 60, "nobody"), ("b", 61, "ask"), ("a", 61, "key a")]
        {
            assert_eq!(found(&cache, kid, now), want, "{kid} at {now}");
        }
        cache.put_failure(at(62));
        assert_eq!(
            found(&cache, "b", 63),
            "unknown for 59s",
            "the provider did not say that there is no such key"
        );
        assert_eq!(found(&cache, "a", 63), "key a");
        assert!(
            matches!(cache.find("a", Algorithm::RS256, at(122)), Found::Nobody),
            "a known key never asks"
        );
    }

    #[test]
    fn what_is_no_longer_published_ends_with_the_lifetime() {
        let mut cache = KeyCache::default();
        cache.put(keys(&["a", "b"]), at(0), at(1));
        assert_eq!(found(&cache, "a", 539), "key a");
        assert_eq!(found(&cache, "a", 540), "key a, and ask");
        assert_eq!(found(&cache, "a", 599), "key a, and ask");
        assert_eq!(found(&cache, "a", 600), "ask");
        cache.put(keys(&["b"]), at(600), at(601));
        assert_eq!((found(&cache, "a", 601), found(&cache, "b", 601)), ("nobody".into(), "key b".into()));
        cache.put(Vec::new(), at(661), at(661));
        assert_eq!(found(&cache, "b", 661), "nobody", "all may be withdrawn");
    }

    #[test]
    fn without_the_provider_its_last_keys_serve_for_an_hour() {
        let mut cache = KeyCache::default();
        cache.put(keys(&["a"]), at(0), at(0));
        assert_eq!(found(&cache, "a", 600), "ask");
        cache.put_failure(at(605));
        assert_eq!(found(&cache, "a", 606), "key a");
        assert_eq!(found(&cache, "a", 665), "key a, and ask", "that it fails is known");
        assert_eq!(found(&cache, "a", 1204), "key a, and ask");
        assert_eq!(found(&cache, "a", 1205), "ask", "and known no more");
        cache.put_failure(at(3599));
        assert_eq!(found(&cache, "a", 3599), "key a");
        assert_eq!(found(&cache, "a", 3600), "unknown for 9s");
        assert_eq!(found(&cache, "a", 3609), "ask");
        cache.put_failure(at(3610));
        assert_eq!(found(&cache, "a", 3615), "unknown for 5s");
    }

    #[test]
    fn a_failure_beside_the_calls_makes_none_wait() {
        let mut cache = KeyCache::default();
        cache.put(keys(&["a"]), at(0), at(0));
        cache.put_failure(at(545));
        assert_eq!(found(&cache, "a", 599), "key a");
        assert_eq!(found(&cache, "a", 600), "key a");
        assert_eq!(found(&cache, "a", 605), "key a, and ask");
        assert_eq!(found(&cache, "b", 605), "ask", "whoever has no key waits");
        cache.put(keys(&["a"]), at(605), at(606));
        assert_eq!(found(&cache, "a", 607), "key a");
    }

    #[test]
    fn keys_are_as_old_as_the_question() {
        let mut cache = KeyCache::default();
        cache.put(keys(&["a"]), at(0), at(5));
        assert_eq!(found(&cache, "a", 600), "ask");
    }
}
