//! A run: one seed, some simulated hours, many processes one after the other on one store.

use std::sync::Arc;
use std::time::Duration;

use sealpost::app::keys::new_key;
use sealpost::app::lanes::Caps;
use sealpost_core::audit::{Action, By};
use sealpost_core::id::{TenantId, TenantNo};
use sealpost_core::key_ring::KeyState;
use sealpost_core::tenant::Retention;
use sealpost_store::Registry as _;
use sealpost_store::registry::NewTenant;
use tokio::runtime::{Builder, Runtime};

use crate::clock::SimClock;
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::life::{Circumstances, End, live};
use crate::memory::{Calm, Disk, Plant};
use crate::receivers::{MOODS, Mood, RECEIVERS};
use crate::world::World;

const HOUR_MS: u64 = 3_600_000;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub ms: u64,
    /// Over everything that happened, in order.
    pub trace: u64,
    pub lives: u32,
    pub coverage: Coverage,
    pub wrong: Vec<String>,
}

/// Runs at least so many simulated hours, or until something is wrong.
///
/// # Errors
/// If there is no folder for the start marks or no runtime.
pub fn run(seed: u64, hours: u64, plant: Option<Plant>) -> std::io::Result<Report> {
    let mut dice = Dice::seeded(seed);
    let world = Arc::new(World::new(dice.fork()));
    let disk = Disk::default();
    let folder = tempfile::tempdir()?;
    let tenants = runtime()?.block_on(prepare(&world, &disk, dice.fork()));
    let caps = some_caps(&mut dice);
    let rotate_every = dice.one_in(2).then(|| Duration::from_secs(7 * 3600));
    let mut moods = [Mood::Well; RECEIVERS];
    let (mut boot, mut ms) = (0, 0);
    while ms < hours * HOUR_MS && world.inner().wrong.is_empty() {
        // A page: callers for some hours, then quiet, then mostly nothing until everything was forgotten.
        let left = (hours * HOUR_MS - ms).clamp(HOUR_MS, 10 * HOUR_MS);
        let storm_until = ms + dice.between(HOUR_MS / 2, left);
        let rest =
            Duration::from_millis(if dice.one_in(4) { 26 * HOUR_MS } else { dice.between(0, HOUR_MS) });
        moods.iter_mut().for_each(|mood| *mood = dice.of(&MOODS));
        world.inner().stormy = true;
        loop {
            let death = dice.between(0, 10);
            let soon = |dice: &mut Dice| Duration::from_millis(dice.spread(2 * HOUR_MS));
            world.set_points((death < 5).then(|| 1 + dice.spread(4_000)));
            let about = Circumstances {
                world: &world,
                disk: &disk,
                folder: folder.path(),
                boot_id: format!("boot {boot}"),
                moods,
                tenants,
                caps,
                rotate_every,
                dice: dice.fork(),
                plant,
                storm_until,
                rest,
                stop_after: (death == 5).then(|| soon(&mut dice)),
                kill_after: (death == 6 || death == 7).then(|| soon(&mut dice)),
                kill_turns: dice.spread(30),
            };
            let runtime = runtime()?;
            let end = runtime.block_on(async {
                world.begin();
                live(about).await
            });
            // Whatever it was doing ends here, wherever it was.
            drop(runtime);
            moods = end.1;
            ms = world.ms();
            match end.0 {
                End::Quiet => break,
                End::Died if dice.one_in(4) => {
                    boot += 1;
                    let mut inner = world.inner();
                    inner.ledger.power_losses += 1;
                    inner.coverage.count("power loss");
                    if plant == Some(Plant::EarlyAnswer) {
                        disk.state().lose_last_accept();
                    }
                }
                End::Died | End::Drained => {}
            }
        }
    }
    let mut inner = world.inner();
    let tally = disk.state().tally.clone();
    tally.into_iter().for_each(|(what, n)| inner.coverage.add(what, n));
    Ok(Report {
        seed,
        ms,
        trace: inner.trace(),
        lives: inner.life,
        coverage: inner.coverage.clone(),
        wrong: inner.wrong.clone(),
    })
}

/// One thread, and a clock that jumps when everybody waits.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_time().start_paused(true).build()
}

/// Two tenants that keep things for a day.
async fn prepare(world: &Arc<World>, disk: &Disk, mut dice: Dice) -> [TenantNo; 2] {
    world.begin();
    let clock = SimClock::start(world, dice.fork());
    let store = disk.open(Arc::new(Calm), None);
    let mut numbers = [TenantNo(0); 2];
    for (number, name) in numbers.iter_mut().zip(["default", "other"]) {
        let now = world.wall();
        let mut chance = [0; 10];
        dice.fill(&mut chance);
        let hours = |n: u64| Duration::from_millis(n * HOUR_MS);
        let new = NewTenant {
            id: TenantId::new(now, chance),
            name: name.into(),
            subdomain: name.parse().unwrap_or_else(|_| unreachable!("both names are subdomains")),
            retention: Retention {
                payload_after_delivered: hours(1),
                payload_after_failed: hours(3),
                metadata: hours(24),
            },
            created_at: now,
            keys: vec![new_key(&clock, KeyState::Current), new_key(&clock, KeyState::Next)],
        };
        let made = store.create_tenant(new, By::new("sim", Action::CreateTenant, now)).await;
        *number = made.ok().flatten().map_or(TenantNo(0), |tenant| tenant.no);
    }
    world.end();
    numbers
}

/// Small ones are reached.
fn some_caps(dice: &mut Dice) -> Caps {
    let ordinary = Caps::default();
    Caps {
        global: dice.of(&[6, 16, ordinary.global]),
        tenant: dice.of(&[4, 12, ordinary.tenant]),
        host: dice.of(&[2, 6, ordinary.host]),
        parked_bytes: dice.of(&[4_096, ordinary.parked_bytes]),
        ..ordinary
    }
}
