//! When a webhook counts as failing, and when as recovered.

use serde::{Deserialize, Serialize};

/// What the store keeps of a webhook's recent past.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Deliveries that failed for good since the last one that was delivered.
    pub failed_in_a_row: u32,
    /// Whether `sealpost.webhook.failing` was published and not yet taken back.
    pub failing: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HealthChange {
    Failing,
    Recovered,
}

/// How one ended delivery moves the health of its webhook; `alert_after` 0 never alerts.
pub fn after_end(health: Health, delivered: bool, alert_after: u32) -> (Health, Option<HealthChange>) {
    if delivered {
        let change = health.failing.then_some(HealthChange::Recovered);
        return (Health::default(), change);
    }
    let failed_in_a_row = health.failed_in_a_row.saturating_add(1);
    let alert = !health.failing && alert_after > 0 && failed_in_a_row >= alert_after;
    let failing = health.failing || alert;
    (Health { failed_in_a_row, failing }, alert.then_some(HealthChange::Failing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_once_and_takes_it_back_once() {
        let mut health = Health::default();
        let mut story = String::new();
        for delivered in [false, false, true, false, false, false, false, true, true] {
            let (next, change) = after_end(health, delivered, 3);
            health = next;
            story += match change {
                Some(HealthChange::Failing) => "F",
                Some(HealthChange::Recovered) => "R",
                None => ".",
            };
        }
        assert_eq!(story, ".....F.R.");
    }

    #[test]
    fn zero_never_alerts() {
        let health = Health { failed_in_a_row: 1000, failing: false };
        assert_eq!(after_end(health, false, 0).1, None);
    }
}
