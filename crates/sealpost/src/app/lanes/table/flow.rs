//! Whether a webhook's attempts end one after the other, so that a place in its lane will be free in a moment.

use sealpost_core::limits as bound;
use sealpost_core::time::Timestamp;

/// Ends of attempts, counted in spans of [`bound::LANE_FLOWS`].
#[derive(Debug, Default)]
pub(super) struct Flow {
    last: Option<Timestamp>,
    span_began: Timestamp,
    ends: u32,
    ends_before: u32,
}

impl Flow {
    pub(super) fn ended(&mut self, at: Timestamp) {
        let since = at.since(self.span_began);
        if since > bound::LANE_FLOWS {
            // A span without an end lies between: what was before it says nothing any more.
            self.ends_before = if since > 2 * bound::LANE_FLOWS { 0 } else { self.ends };
            self.ends = 0;
            self.span_began = at;
        }
        self.ends += 1;
        self.last = Some(at);
    }

    pub(super) fn flows(&self, now: Timestamp) -> bool {
        let lately = self.last.is_some_and(|last| now.since(last) <= bound::LANE_FLOWS);
        lately && self.ends.max(self.ends_before) >= bound::LANE_FLOWS_ENDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_flows_while_enough_attempts_end_in_each_span() {
        let at = Timestamp::from_millis;
        let mut flow = Flow::default();
        assert!(!flow.flows(at(1_000)));
        for n in 0..i64::from(bound::LANE_FLOWS_ENDS) {
            assert!(!flow.flows(at(1_000 + n)), "{n} are too few");
            flow.ended(at(1_000 + n));
        }
        assert!(flow.flows(at(1_050)));
        flow.ended(at(1_150));
        assert!(flow.flows(at(1_150)), "the span before counts");
        assert!(!flow.flows(at(1_251)), "nothing ended for a while");
        flow.ended(at(2_000));
        assert!(!flow.flows(at(2_000)), "one in a long time");
    }
}
