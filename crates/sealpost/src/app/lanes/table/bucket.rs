//! How many requests a second a webhook may get.

use std::time::Duration;

use sealpost_core::time::Timestamp;

/// A token bucket holding at most one second's worth.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) per_second: u32,
    /// Thousandths of a token.
    millis: u64,
    at: Timestamp,
}

impl Bucket {
    pub(super) fn new(per_second: u32, now: Timestamp) -> Self {
        Self { per_second, millis: u64::from(per_second) * 1000, at: now }
    }

    pub(super) fn fill(&mut self, now: Timestamp) {
        let gained = now.since(self.at).as_millis() as u64 * u64::from(self.per_second);
        self.millis = self.millis.saturating_add(gained).min(u64::from(self.per_second) * 1000);
        self.at = self.at.max(now);
    }

    pub(super) fn tokens(&self) -> u32 {
        (self.millis / 1000) as u32
    }

    pub(super) fn take(&mut self, n: u32) {
        self.millis = self.millis.saturating_sub(u64::from(n) * 1000);
    }

    pub(super) fn give_back(&mut self, n: u32) {
        self.millis = (self.millis + u64::from(n) * 1000).min(u64::from(self.per_second) * 1000);
    }

    pub(super) fn next_token_at(&self, now: Timestamp) -> Timestamp {
        let missing = 1000u64.saturating_sub(self.millis);
        now + Duration::from_millis(missing.div_ceil(u64::from(self.per_second.max(1))).max(1))
    }
}
