//! A tenant's signing keys over time: which one signs, which ones receivers are told about, and when a rotation
//! may happen. Receivers are known to load the JWKS once, so a key is published long before its first use and
//! long after its last.

use std::time::Duration;

use crate::secret::Secret;
use crate::time::Timestamp;

/// Between a key's publication and its first use, and between its last use and its disappearance.
pub const PUBLISH_AHEAD: Duration = Duration::from_secs(30 * 86_400);
pub const PUBLISH_AHEAD_MIN: Duration = Duration::from_secs(24 * 3600);
pub const RETIRED_FOR: Duration = Duration::from_secs(30 * 86_400);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyState {
    Next,
    Current,
    Retired { since: Timestamp },
}

impl KeyState {
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Next => "next",
            KeyState::Current => "current",
            KeyState::Retired { .. } => "retired",
        }
    }
}

/// An Ed25519 key as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRecord {
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
    pub public: [u8; 32],
    pub seed: Secret<[u8; 32]>,
    pub created_at: Timestamp,
    pub state: KeyState,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyRing {
    pub keys: Vec<KeyRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotateRefused {
    #[error(
        "the next key may sign from {from}; receivers may not know it before (use --now to rotate anyway)"
    )]
    TooEarly { from: Timestamp },
    #[error("there is no next key to rotate to")]
    NoNext,
}

impl KeyRing {
    /// The key that signs.
    pub fn current(&self) -> Option<&KeyRecord> {
        self.keys.iter().find(|key| key.state == KeyState::Current)
    }

    pub fn next(&self) -> Option<&KeyRecord> {
        self.keys.iter().find(|key| key.state == KeyState::Next)
    }

    /// What the JWKS shows: current first, then next, then the retired ones that are still young.
    pub fn published(&self, now: Timestamp) -> Vec<&KeyRecord> {
        let rank = |key: &KeyRecord| match key.state {
            KeyState::Current => 0,
            KeyState::Next => 1,
            KeyState::Retired { .. } => 2,
        };
        let mut shown: Vec<&KeyRecord> = self
            .keys
            .iter()
            .filter(|key| match key.state {
                KeyState::Retired { since } => now < since + RETIRED_FOR,
                KeyState::Current | KeyState::Next => true,
            })
            .collect();
        shown.sort_by_key(|key| (rank(key), key.created_at));
        shown
    }

    /// The ring after `next` became current and `fresh` became next. Retired keys past their time are dropped.
    pub fn rotated(
        &self,
        fresh: KeyRecord,
        now: Timestamp,
        publish_ahead: Duration,
        at_once: bool,
    ) -> Result<KeyRing, RotateRefused> {
        let next = self.next().ok_or(RotateRefused::NoNext)?;
        let from = next.created_at + publish_ahead;
        if !at_once && now < from {
            return Err(RotateRefused::TooEarly { from });
        }
        let mut keys: Vec<KeyRecord> = self
            .published(now)
            .into_iter()
            .cloned()
            .map(|mut key| {
                key.state = match key.state {
                    KeyState::Next => KeyState::Current,
                    KeyState::Current => KeyState::Retired { since: now },
                    retired @ KeyState::Retired { .. } => retired,
                };
                key
            })
            .collect();
        keys.push(KeyRecord { state: KeyState::Next, created_at: now, ..fresh });
        Ok(KeyRing { keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, day: i64, state: KeyState) -> KeyRecord {
        KeyRecord {
            kid: name.into(),
            public: [0; 32],
            seed: Secret::new([0; 32]),
            created_at: at(day),
            state,
        }
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(day * 86_400_000)
    }

    fn shown(ring: &KeyRing, now: Timestamp) -> String {
        ring.published(now)
            .iter()
            .map(|k| format!("{}:{}", k.kid, k.state.as_str()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_after_it_signed() {
        let ring = KeyRing { keys: vec![key("a", 0, KeyState::Current), key("b", 0, KeyState::Next)] };
        assert_eq!(
            ring.rotated(key("c", 0, KeyState::Next), at(29), PUBLISH_AHEAD, false),
            Err(RotateRefused::TooEarly { from: at(30) })
        );
        let ring = ring.rotated(key("c", 0, KeyState::Next), at(30), PUBLISH_AHEAD, false).unwrap();
        assert_eq!(shown(&ring, at(30)), "b:current c:next a:retired");
        assert_eq!(shown(&ring, at(59)), "b:current c:next a:retired");
        assert_eq!(shown(&ring, at(60)), "b:current c:next");
        assert_eq!(ring.next().unwrap().created_at, at(30));
    }

    #[test]
    fn at_once_is_possible_when_asked_for() {
        let ring = KeyRing { keys: vec![key("a", 0, KeyState::Current), key("b", 0, KeyState::Next)] };
        let ring = ring.rotated(key("c", 0, KeyState::Next), at(1), PUBLISH_AHEAD, true).unwrap();
        assert_eq!(ring.current().unwrap().kid, "b");
    }
}
