//! The pending deliveries of one webhook: ordinary ones, and those of a bulk redelivery beside them.

use std::fmt;

use crate::id::WebhookNo;

/// A webhook's number and the replay bit in one integer, as the store indexes it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LaneNo(pub i64);

impl LaneNo {
    pub const fn ordinary(webhook: WebhookNo) -> Self {
        Self(webhook.0 * 2)
    }

    /// Bulk redeliveries wait in a lane of their own, so that new events do not wait behind them.
    pub const fn replay(webhook: WebhookNo) -> Self {
        Self(webhook.0 * 2 + 1)
    }

    pub const fn webhook(self) -> WebhookNo {
        WebhookNo(self.0 / 2)
    }

    pub const fn is_replay(self) -> bool {
        self.0 % 2 == 1
    }
}

impl fmt::Display for LaneNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.webhook(), if self.is_replay() { "r" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_names_its_webhook() {
        let webhook = WebhookNo(17);
        assert_eq!(LaneNo::ordinary(webhook).webhook(), webhook);
        assert_eq!(LaneNo::replay(webhook).webhook(), webhook);
        assert_eq!(
            [LaneNo::ordinary(webhook), LaneNo::replay(webhook)].map(|l| l.to_string()),
            ["17", "17r"]
        );
    }
}
