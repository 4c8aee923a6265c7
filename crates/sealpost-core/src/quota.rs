//! What one tenant may use, and the pace at which it does.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{EVENT_BYTES, WEBHOOKS_PER_TENANT};
use crate::time::Timestamp;

/// A tenant's own limits; what is absent follows the installation's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnQuota {
    /// API calls with a credential of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<NonZeroU32>,
    /// Published events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<NonZeroU32>,
    /// Of one event's payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<NonZeroU32>,
}

/// The limits in force. Rates that are absent are unlimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    pub requests_per_second: Option<NonZeroU32>,
    pub events_per_second: Option<NonZeroU32>,
    pub webhooks: u64,
    pub payload_bytes: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            requests_per_second: None,
            events_per_second: None,
            webhooks: WEBHOOKS_PER_TENANT as u64,
            payload_bytes: EVENT_BYTES,
        }
    }
}

impl Quota {
    /// A tenant may have less than the service can carry, and more than the installation gives the others, but never
    /// more than the service can carry.
    pub fn of(self, own: OwnQuota) -> Quota {
        Quota {
            requests_per_second: own.requests_per_second.or(self.requests_per_second),
            events_per_second: own.events_per_second.or(self.events_per_second),
            webhooks: own
                .webhooks
                .map_or(self.webhooks, |most| u64::from(most.get()))
                .min(WEBHOOKS_PER_TENANT as u64),
            payload_bytes: own
                .payload_bytes
                .map_or(self.payload_bytes, |most| most.get() as usize)
                .min(EVENT_BYTES),
        }
    }
}

/// What was taken beyond the rate may be so much at most, in time: a second's worth at once, and then the rate.
const BURST_US: i64 = 1_000_000;

/// How far a tenant is ahead of its rate (the generic cell rate algorithm). Whoever is not more than a second's worth
/// ahead may take as much as one request holds, and then waits for all of it: a large batch is never refused for ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// When everything taken so far is paid for, in microseconds.
    paid_us: i64,
}

impl Pace {
    /// Takes `many`, or tells how long to wait before asking again.
    pub fn take(&mut self, now: Timestamp, many: u32, per_second: NonZeroU32) -> Result<(), Duration> {
        let now_us = now.millis().saturating_mul(1000);
        let paid = self.paid_us.max(now_us);
        let each_us = 1_000_000 / i64::from(per_second.get()).min(1_000_000);
        // A single one is always within the burst of its rate.
        let ahead = paid - now_us + each_us;
        if ahead > BURST_US.max(each_us) {
            let wait = ahead - BURST_US.max(each_us);
            return Err(Duration::from_micros(wait.unsigned_abs()));
        }
        self.paid_us = paid.saturating_add(each_us.saturating_mul(i64::from(many)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + ms)
    }

    fn rate(per_second: u32) -> NonZeroU32 {
        NonZeroU32::new(per_second).unwrap()
    }

    #[test]
    fn a_second_of_the_rate_at_once_and_then_the_rate() {
        let mut pace = Pace::default();
        let taken = (0..100).filter(|_| pace.take(at(0), 1, rate(10)).is_ok()).count();
        assert_eq!(taken, 10);
        assert_eq!(pace.take(at(0), 1, rate(10)), Err(Duration::from_millis(100)));
        assert_eq!(pace.take(at(99), 1, rate(10)), Err(Duration::from_millis(1)));
        assert_eq!(pace.take(at(100), 1, rate(10)), Ok(()));
        // Over ten seconds no more than the rate and the burst.
        let over = (100..10_100).filter(|ms| pace.take(at(*ms), 1, rate(10)).is_ok()).count();
        assert!((99..=101).contains(&over), "{over}");
        // A pause earns one burst, not more.
        let later = (0..100).filter(|_| pace.take(at(1_000_000), 1, rate(10)).is_ok()).count();
        assert_eq!(later, 10);
    }

    #[test]
    fn a_large_batch_is_taken_whole_and_paid_for_afterwards() {
        let mut pace = Pace::default();
        assert_eq!(pace.take(at(0), 1000, rate(100)), Ok(()));
        assert_eq!(pace.take(at(0), 1, rate(100)), Err(Duration::from_millis(9010)));
        assert_eq!(pace.take(at(9009), 1, rate(100)), Err(Duration::from_millis(1)));
        assert_eq!(pace.take(at(9010), 1, rate(100)), Ok(()));
    }

    #[test]
    fn one_a_second_is_one_a_second() {
        let mut pace = Pace::default();
        assert_eq!(pace.take(at(0), 1, rate(1)), Ok(()));
        assert_eq!(pace.take(at(0), 1, rate(1)), Err(Duration::from_secs(1)));
        assert_eq!(pace.take(at(1000), 1, rate(1)), Ok(()));
    }

    #[test]
    fn a_tenants_own_limits_come_first_and_the_services_last() {
        let installation = Quota { events_per_second: Some(rate(5)), webhooks: 10, ..Quota::default() };
        assert_eq!(installation.of(OwnQuota::default()), installation);
        let own = OwnQuota {
            requests_per_second: Some(rate(7)),
            events_per_second: Some(rate(50)),
            webhooks: Some(rate(u32::MAX)),
            payload_bytes: Some(rate(1024)),
        };
        let quota = Quota {
            requests_per_second: Some(rate(7)),
            events_per_second: Some(rate(50)),
            webhooks: WEBHOOKS_PER_TENANT as u64,
            payload_bytes: 1024,
        };
        assert_eq!(installation.of(own), quota);
    }
}
