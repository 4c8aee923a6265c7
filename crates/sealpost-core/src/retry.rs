//! What becomes of a delivery after one attempt.
//!
//! MATTR VII: the first attempt and at most three retries at growing intervals, then failed. The clock and the
//! dice are arguments, so every line of the plan is a one-line test.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::FailReason;
use crate::limits::{JITTER_PERCENT, RETRY_AFTER_LONGEST, RETRY_WAIT_LONGEST, RETRY_WAITS_MAX};
use crate::outcome::Outcome;
use crate::time::{Span, Timestamp};

/// The waits after the first, second, ... failed attempt.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RetryPolicy {
    waits: Vec<Span>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRetryPolicy {
    #[error("must hold at most 16 waits")]
    TooMany,
    #[error("a wait must be at least 1s and at most 30d")]
    Wait,
}

impl RetryPolicy {
    pub fn new(waits: Vec<Duration>) -> Result<Self, InvalidRetryPolicy> {
        let policy = Self { waits: waits.into_iter().map(Span).collect() };
        policy.check()?;
        Ok(policy)
    }

    /// For policies that came through serde, which checks spelling but not bounds.
    pub fn check(&self) -> Result<(), InvalidRetryPolicy> {
        if self.waits.len() > RETRY_WAITS_MAX {
            return Err(InvalidRetryPolicy::TooMany);
        }
        let bounds = Duration::from_secs(1)..=RETRY_WAIT_LONGEST;
        if self.waits.iter().all(|wait| bounds.contains(&wait.0)) {
            Ok(())
        } else {
            Err(InvalidRetryPolicy::Wait)
        }
    }

    pub fn waits(&self) -> &[Span] {
        &self.waits
    }

    /// At most this many requests are ever made for one delivery.
    pub fn attempts_max(&self) -> u8 {
        1 + self.waits.len() as u8
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { waits: [10, 60, 360].map(|s| Span(Duration::from_secs(s))).to_vec() }
    }
}

/// Chance for one wait: 0 adds nothing, 65535 adds the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jitter(pub u16);

impl Jitter {
    /// Only ever longer, so that a retry is never early.
    fn stretch(self, wait: Duration) -> Duration {
        let most_ms = wait.as_millis() as u64 * JITTER_PERCENT / 100;
        wait + Duration::from_millis(most_ms * u64::from(self.0) / u64::from(u16::MAX))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    Delivered,
    RetryAt(Timestamp),
    Fail(FailReason),
}

/// An attempt that just ended, as far as the decision needs it.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// 1-based.
    pub attempt: u8,
    pub outcome: Outcome,
    /// What a `Retry-After` asked for, if the answer had one.
    pub asked_wait: Option<Duration>,
    /// Whether every attempt before this one ended `unknown` as well.
    pub only_unknown_before: bool,
}

/// The one decision about retries. `now` is when the attempt ended.
pub fn next_step(policy: &RetryPolicy, ended: Ended, now: Timestamp, jitter: Jitter) -> NextStep {
    if ended.outcome == Outcome::Delivered {
        return NextStep::Delivered;
    }
    let planned = ended.attempt.checked_sub(1).and_then(|index| policy.waits.get(usize::from(index)));
    let Some(planned) = planned else {
        let only_unknown = ended.outcome == Outcome::Unknown && ended.only_unknown_before;
        return NextStep::Fail(if only_unknown {
            FailReason::OutcomeUnknown
        } else {
            FailReason::AttemptsExhausted
        });
    };
    let stretched = jitter.stretch(planned.0);
    // A receiver may ask for more time than planned, but not for so long that the event would be forgotten, and
    // never for less.
    let asked = ended.asked_wait.unwrap_or_default().min(RETRY_AFTER_LONGEST);
    NextStep::RetryAt(now + stretched.max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{HttpStatus, Timeout, Unknown};
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn plan(policy: &RetryPolicy, outcomes: &[(Outcome, Option<u64>)], jitter: u16, want: Expect) {
        let mut now = Timestamp::from_millis(0);
        let mut lines = String::new();
        let mut only_unknown = true;
        for (index, (outcome, asked)) in outcomes.iter().enumerate() {
            let attempt = index as u8 + 1;
            let ended = Ended {
                attempt,
                outcome: *outcome,
                asked_wait: asked.map(Duration::from_secs),
                only_unknown_before: only_unknown,
            };
            only_unknown &= *outcome == Unknown;
            let next = next_step(policy, ended, now, Jitter(jitter));
            let said = match next {
                NextStep::Delivered => "delivered".to_owned(),
                NextStep::Fail(reason) => format!("failed, {reason}"),
                NextStep::RetryAt(at) => {
                    let said = format!("again in {}", Span(at.since(now)));
                    now = at;
                    said
                }
            };
            lines += &format!("attempt {attempt}: {outcome} -> {said}\n");
        }
        want.assert_eq(&lines);
    }

    #[test]
    fn three_retries_at_growing_intervals_then_failed() {
        plan(
            &RetryPolicy::default(),
            &[(HttpStatus, None), (Timeout, None), (HttpStatus, None), (HttpStatus, None)],
            0,
            expect![[r#"
                attempt 1: http_status -> again in 10s
                attempt 2: timeout -> again in 60s
                attempt 3: http_status -> again in 360s
                attempt 4: http_status -> failed, attempts_exhausted
            "#]],
        );
    }

    #[test]
    fn a_late_success_ends_it() {
        plan(
            &RetryPolicy::default(),
            &[(HttpStatus, None), (Outcome::Delivered, None)],
            0,
            expect![[r#"
                attempt 1: http_status -> again in 10s
                attempt 2: delivered -> delivered
            "#]],
        );
    }

    #[test]
    fn jitter_only_lengthens_and_by_a_tenth_at_most() {
        plan(
            &RetryPolicy::default(),
            &[(HttpStatus, None), (HttpStatus, None), (HttpStatus, None)],
            u16::MAX,
            expect![[r#"
                attempt 1: http_status -> again in 11s
                attempt 2: http_status -> again in 66s
                attempt 3: http_status -> again in 396s
            "#]],
        );
    }

    #[test]
    fn retry_after_lengthens_up_to_an_hour_and_never_shortens() {
        plan(
            &RetryPolicy::default(),
            &[(HttpStatus, Some(3)), (HttpStatus, Some(90)), (HttpStatus, Some(315_360_000))],
            0,
            expect![[r#"
                attempt 1: http_status -> again in 10s
                attempt 2: http_status -> again in 90s
                attempt 3: http_status -> again in 3600s
            "#]],
        );
    }

    #[test]
    fn only_unknown_outcomes_are_named_as_such() {
        let once = RetryPolicy::new(vec![Duration::from_secs(1)]).unwrap();
        plan(
            &once,
            &[(Unknown, None), (Unknown, None)],
            0,
            expect![[r#"
                attempt 1: unknown -> again in 1s
                attempt 2: unknown -> failed, outcome_unknown
            "#]],
        );
        plan(
            &once,
            &[(HttpStatus, None), (Unknown, None)],
            0,
            expect![[r#"
                attempt 1: http_status -> again in 1s
                attempt 2: unknown -> failed, attempts_exhausted
            "#]],
        );
    }

    #[test]
    fn bounds_of_a_policy() {
        let seconds = |s: u64| Duration::from_secs(s);
        assert_eq!(RetryPolicy::new(vec![]).map(|p| p.attempts_max()), Ok(1));
        assert_eq!(RetryPolicy::new(vec![seconds(1); 16]).map(|p| p.attempts_max()), Ok(17));
        assert_eq!(RetryPolicy::new(vec![seconds(1); 17]), Err(InvalidRetryPolicy::TooMany));
        assert_eq!(RetryPolicy::new(vec![seconds(0)]), Err(InvalidRetryPolicy::Wait));
        assert_eq!(RetryPolicy::new(vec![seconds(30 * 86_400 + 1)]), Err(InvalidRetryPolicy::Wait));
    }

    proptest! {
        /// Invariants I4, I5 and I6 of the state machine: it ends, within the cap, and never early.
        #[test]
        fn every_history_ends_within_the_cap(
            waits in proptest::collection::vec(1u64..100_000, 0..=16),
            outcomes in proptest::collection::vec((0usize..9, proptest::option::of(0u64..10_000_000), any::<u16>()), 17),
        ) {
            let policy = RetryPolicy::new(waits.iter().map(|s| Duration::from_secs(*s)).collect()).unwrap();
            let now = Timestamp::from_millis(1_000_000);
            for attempt in 1..=policy.attempts_max() {
                let (outcome, asked, jitter) = outcomes[usize::from(attempt) - 1];
                let outcome = Outcome::ALL[outcome];
                let ended = Ended { attempt, outcome, asked_wait: asked.map(Duration::from_secs), only_unknown_before: false };
                match next_step(&policy, ended, now, Jitter(jitter)) {
                    NextStep::Delivered => { prop_assert_eq!(outcome, Outcome::Delivered); return Ok(()); }
                    NextStep::Fail(_) => { prop_assert_eq!(attempt, policy.attempts_max()); return Ok(()); }
                    NextStep::RetryAt(at) => {
                        prop_assert!(attempt < policy.attempts_max());
                        let wait = policy.waits()[usize::from(attempt) - 1].0;
                        prop_assert!(at >= now + wait);
                        prop_assert!(at <= now + (wait + wait / 10).max(RETRY_AFTER_LONGEST));
                    }
                }
            }
            prop_assert!(false, "no end within the cap");
        }
    }
}
