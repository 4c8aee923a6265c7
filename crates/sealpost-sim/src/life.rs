//! One process from its start to its end: the real app and engine over the simulated store and receivers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealpost::app::lanes::Caps;
use sealpost::app::starts::StartMarks;
use sealpost::app::{App, AppConfig};
use sealpost::clock::Clock;
use sealpost::engine::Engine;
use sealpost_core::quota::Quota;
use sealpost_core::settings::{ServerDefaults, WebhookSettings};
use sealpost_core::target_url::{UrlPolicy, UrlRules};
use sealpost_store::{Store, StoreError};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::judge;
use crate::ledger::HookState;
use crate::memory::{Disk, Plant};
use crate::probe::probe;
use crate::receivers::{Mood, RECEIVERS, Receivers};
use crate::weather::Storm;
use crate::workload::{Callers, resolve_doubts};
use crate::world::World;

/// All deliveries must have ended by then: every wait, as far as receivers may lengthen it, and the wall clock's errors.
const QUIET_LIMIT: Duration = Duration::from_secs(12 * 3600);
const LOOK: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(10);

/// What outlives processes, and what is decided for this one.
#[derive(Debug)]
pub struct Circumstances<'a> {
    pub world: &'a Arc<World>,
    pub disk: &'a Disk,
    pub folder: &'a Path,
    pub boot_id: String,
    pub moods: [Mood; RECEIVERS],
    pub tenants: [sealpost_core::id::TenantNo; 2],
    pub caps: Caps,
    pub rotate_every: Option<Duration>,
    pub dice: Dice,
    pub plant: Option<Plant>,
    /// Callers go on until then, then everything comes to its end and is judged.
    pub storm_until: u64,
    /// Then nothing happens for so long.
    pub rest: Duration,
    /// Stopped by a signal after this long.
    pub stop_after: Option<Duration>,
    /// Killed after this long, wherever it is.
    pub kill_after: Option<Duration>,
    /// And so many turns of the scheduler.
    pub kill_turns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Died,
    Drained,
    /// Everything came to its end and was judged.
    Quiet,
}

pub async fn live(about: Circumstances<'_>) -> (End, [Mood; RECEIVERS]) {
    let world = Arc::clone(about.world);
    if let Some(after) = about.kill_after {
        let (world, turns) = (Arc::clone(&world), about.kill_turns);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            if !world.is_dead() && world.inner().stormy {
                world.count("crash at a time");
                world.kill();
            }
        });
    }
    let clock = Arc::new(SimClock::start(&world, about.dice.clone()));
    let receivers = Arc::new(Receivers::new(&world, about.disk, about.moods, about.plant));
    let life = run(about, Arc::clone(&receivers), clock);
    let end = tokio::select! {
        biased;
        () = world.death() => End::Died,
        end = life => end,
    };
    world.end();
    (end, receivers.moods())
}

async fn run(about: Circumstances<'_>, receivers: Arc<Receivers>, clock: Arc<dyn Clock>) -> End {
    let world = Arc::clone(about.world);
    let store: Arc<dyn Store> = Arc::new(about.disk.open(Arc::new(Storm(Arc::clone(&world))), about.plant));
    resolve_doubts(&world, about.disk);
    let Ok((app, engine)) = start(&about, store, Arc::clone(&receivers), clock).await else {
        world.count("start failed");
        return End::Died;
    };
    let callers = Callers {
        app: app.clone(),
        world: Arc::clone(&world),
        disk: about.disk.clone(),
        receivers: Arc::clone(&receivers),
        tenants: about.tenants,
    };
    let storm = callers.storm(about.storm_until);
    if let Some(after) = about.stop_after {
        if tokio::time::timeout(after, storm).await.is_err() {
            engine.drain(DRAIN).await;
            let _ = app.store.close().await;
            world.count("drain");
            return End::Drained;
        }
    } else {
        storm.await;
    }
    world.calm_down();
    for receiver in 0..RECEIVERS {
        receivers.set(receiver, if receiver == 0 { Mood::Status(500) } else { Mood::Well });
    }
    if let Err(what) = all_ends(about.disk).await {
        world.inner().wrong(what);
        return End::Quiet;
    }
    judge::judge(&mut world.inner(), &about.disk.state());
    probe(&callers).await;
    tokio::time::sleep(about.rest).await;
    if !app.lanes.holds_nothing() {
        world.inner().wrong("nothing is to be done, and permits, places or bytes are held".into());
    }
    if !engine.drain(DRAIN).await {
        world.inner().wrong("an idle engine does not come to its end".into());
    }
    let _ = app.store.close().await;
    End::Quiet
}

async fn start(
    about: &Circumstances<'_>,
    store: Arc<dyn Store>,
    receivers: Arc<Receivers>,
    clock: Arc<dyn Clock>,
) -> Result<(App, Engine), StoreError> {
    let config = AppConfig {
        defaults: ServerDefaults::default(),
        url_rules: UrlRules { policy: UrlPolicy::Strict, allow_localhost: false, plain_http_loopback: false },
        public_url: "https://issuer.example".into(),
        base_domain: None,
        bootstrap_api_key: None,
        quota: Quota::default(),
        analytics_retention: Some(Duration::from_secs(30 * 86_400)),
        publish_ahead: Duration::from_secs(3600),
        rotate_every: about.rotate_every,
    };
    let (app, work) = App::new(store, clock, about.caps, config);
    let starts = StartMarks::open(about.folder, &about.boot_id)
        .map_err(|error| StoreError::Backend(format!("starts cannot be read: {error}")))?;
    let app = app.with_starts(starts);
    let (engine, taken_up) = Engine::start(app.clone(), work, receivers).await?;
    let coverage = &mut about.world.inner().coverage;
    coverage.add("orphan unknown", taken_up.orphans);
    coverage.add("orphan handed back", taken_up.handed_back);
    Ok((app, engine))
}

/// Waits until every delivery has ended and upkeep has nothing left to make.
async fn all_ends(disk: &Disk) -> Result<(), String> {
    // What callers began is over first.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let began = tokio::time::Instant::now();
    while disk.state().is_busy() {
        if began.elapsed() > QUIET_LIMIT {
            return Err(format!("lost: {}", disk.state().pending_text()));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// The state of a webhook that is there and takes one type.
pub(crate) fn plain_hook(name: &'static str) -> (HookState, WebhookSettings) {
    let state = HookState { exists: true, disabled: false, url_version: 0, types: vec![name], token: None };
    (state, WebhookSettings::default())
}
