//! What callers do: they publish, repeat, hang up, change webhooks, repair and erase, often many at the same time. What
//! they asked and what they heard goes into the ledger.

mod hooks;
mod publishing;
mod repair;

use std::sync::Arc;
use std::time::Duration;

use sealpost::app::App;
use sealpost_core::id::TenantNo;

use crate::memory::Disk;
use crate::receivers::{MOODS, RECEIVERS, Receivers};
use crate::world::World;

pub use hooks::resolve_doubts;

/// Who is written down as having done it.
const WHO: &str = "sim";
/// The wall clock is never further off, in milliseconds.
const SKEW_MOST: i64 = 20 * 60_000;
/// Of events and subscriptions; the last one is derived, the one before published by the service itself.
const TYPES: [&str; 3] = ["did_create", "proof_submitted", "OpenIdCredentialIssued"];
const SUBSCRIBED: [&str; 5] = [
    "did_create",
    "proof_submitted",
    "OpenIdCredentialIssued",
    "sealpost.webhook.failing",
    "OpenIdCredentialIssuedSummary",
];

/// Everything a caller needs.
#[derive(Clone, Debug)]
pub struct Callers {
    pub app: App,
    pub world: Arc<World>,
    pub disk: Disk,
    pub receivers: Arc<Receivers>,
    pub tenants: [TenantNo; 2],
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish,
    Burst,
    Repeat,
    Contradict,
    HangUp,
    Create,
    Change,
    Repair,
    Erase,
    RotateKeys,
    Mood,
    SetClock,
}

const STEPS: [Step; 24] = [
    Step::Publish,
    Step::Publish,
    Step::Publish,
    Step::Publish,
    Step::Publish,
    Step::Publish,
    Step::Burst,
    Step::Repeat,
    Step::Repeat,
    Step::Contradict,
    Step::HangUp,
    Step::Create,
    Step::Change,
    Step::Change,
    Step::Change,
    Step::Change,
    Step::Repair,
    Step::Repair,
    Step::Repair,
    Step::Erase,
    Step::RotateKeys,
    Step::Mood,
    Step::Mood,
    Step::SetClock,
];

impl Callers {
    /// Until this time.
    pub async fn storm(&self, until_ms: u64) {
        while self.world.ms() < until_ms {
            let (step, gap) = {
                let dice = &mut self.world.inner().dice;
                let most = match dice.between(0, 100) {
                    0..60 => 20,
                    60..85 => 2_000,
                    85..97 => 60_000,
                    _ => 3_600_000,
                };
                (dice.of(&STEPS), Duration::from_millis(dice.between(0, most)))
            };
            self.take(step);
            tokio::time::sleep(gap).await;
        }
    }

    fn take(&self, step: Step) {
        let this = self.clone();
        match step {
            Step::Publish => drop(tokio::spawn(async move { this.publish().await })),
            Step::Burst => {
                let calls = this.world.inner().dice.between(5, 40);
                for _ in 0..calls {
                    let this = self.clone();
                    tokio::spawn(async move { this.publish().await });
                }
            }
            Step::Repeat => drop(tokio::spawn(async move { this.repeat().await })),
            Step::Contradict => drop(tokio::spawn(async move { this.contradict().await })),
            Step::HangUp => drop(tokio::spawn(async move { this.hang_up().await })),
            Step::Create => drop(tokio::spawn(async move { this.create_hook().await })),
            Step::Change => drop(tokio::spawn(async move { this.change_hook().await })),
            Step::Repair => drop(tokio::spawn(async move { this.repair().await })),
            Step::Erase => drop(tokio::spawn(async move { this.erase().await })),
            Step::RotateKeys => drop(tokio::spawn(async move { this.rotate_keys().await })),
            Step::Mood => {
                let dice = &mut this.world.inner().dice;
                let (receiver, mood) = (dice.between(0, RECEIVERS as u64) as usize, dice.of(&MOODS));
                this.receivers.set(receiver, mood);
            }
            Step::SetClock => {
                let mut inner = this.world.inner();
                let by = inner.dice.spread(SKEW_MOST as u64) as i64;
                let skew = inner.skew_ms + if inner.dice.one_in(2) { by } else { -by };
                inner.skew_ms = skew.clamp(-SKEW_MOST, SKEW_MOST);
                inner.coverage.count("wall clock stepped");
            }
        }
    }

    fn any_tenant(&self) -> TenantNo {
        self.world.inner().dice.of(&self.tenants)
    }

    async fn rotate_keys(&self) {
        let tenant = self.any_tenant();
        let at_once = self.world.inner().dice.one_in(2);
        if self.app.rotate_keys(tenant, at_once, WHO).await.is_ok() {
            self.world.count("rotate keys");
        }
    }
}
