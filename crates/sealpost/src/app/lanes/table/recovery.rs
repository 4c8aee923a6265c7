//! The careful start: how many sends may be in flight while nobody knows what ended the process before.

use std::time::Duration;

use sealpost_core::time::Timestamp;

/// After an unclean start deliveries are worked one at a time, then two, then four: doubled with each that ended, and
/// with each span that those in flight survived, so that a delivery that kills the process burns few of its neighbours'
/// attempts and a receiver that hangs does not hold the others up. It begins again when the attempts that were cut off
/// fall due: the one that did it is among them.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// `None`: as fast as the caps allow.
    cap: Option<u32>,
    raised_at: Timestamp,
    /// When attempts that were cut off fall due, latest first.
    again_at: Vec<Timestamp>,
}

/// A delivery that kills the process does so at once.
const SURVIVED: Duration = Duration::from_millis(200);

impl Recovery {
    pub(super) fn begin(now: Timestamp, mut again_at: Vec<Timestamp>) -> Self {
        again_at.sort_unstable_by(|a, b| b.cmp(a));
        again_at.dedup_by(|earlier, later| later.since(*earlier) < Duration::from_secs(1));
        Self { cap: Some(1), raised_at: now, again_at }
    }

    /// How many sends there may be, of at most `most`, while `in_flight` are under way.
    pub(super) fn cap(&mut self, now: Timestamp, in_flight: u32, most: u32) -> u32 {
        while self.again_at.last().is_some_and(|at| *at <= now) {
            self.again_at.pop();
            self.cap = Some(1);
            self.raised_at = now;
        }
        if in_flight == 0 {
            // Nothing was survived by waiting for work.
            self.raised_at = now;
        }
        while self.cap.is_some() && now >= self.raised_at + SURVIVED {
            self.raised_at = self.raised_at + SURVIVED;
            self.raise(most);
        }
        self.cap.unwrap_or(u32::MAX).min(most)
    }

    /// One ended, or those in flight survived for long enough.
    pub(super) fn raise(&mut self, most: u32) {
        let raised = self.cap.map(|cap| cap.saturating_mul(2));
        self.cap = raised.filter(|cap| *cap < most);
    }

    pub(super) fn is_careful(&self) -> bool {
        self.cap.is_some()
    }

    /// When those in flight have survived; `None`: nothing is held back.
    pub(super) fn next_raise(&self) -> Option<Timestamp> {
        self.cap.map(|_| self.raised_at + SURVIVED)
    }
}
