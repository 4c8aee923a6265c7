//! Power loss: what the disk holds after the current went away at any moment.
//!
//! A workload runs on the embedded store in a process of its own, under `strace`, which writes down every write, sync,
//! truncation and removal in the store's folder, and every answer the workload heard, in one order. From that record the
//! folder is built again as a disk may hold it after power failed at some point: what was synced is there; of what was
//! not, any part may be, in sectors of 512 bytes. Each such folder must open clean and hold everything that was answered.

mod disk;
mod trace;
mod verify;
mod workload;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{fs, io};

use clap::Args;

use crate::dice::Dice;
use disk::{Keep, Simulated};
use trace::{Effect, Step};

pub use workload::run as run_workload;

#[derive(Clone, Debug, Args)]
pub struct PowerLossArgs {
    /// Points at which the power fails
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    points: u64,
    /// The first seed; each workload has its own
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Points of one recorded workload
    #[arg(long, value_name = "N", default_value_t = 500)]
    points_per_workload: u64,
    /// A bug on purpose, which must be found; `all`: each of them
    #[arg(long, value_name = "NAME")]
    plant: Option<String>,
}

/// Bugs on purpose: what the record would be like if the store had them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Plant {
    /// `synchronous=OFF`: nothing is ever synced.
    SynchronousOff,
    /// `synchronous=NORMAL`: the log is synced by checkpoints only.
    SynchronousNormal,
    /// Answers leave before the commit they speak of is synced.
    EarlyAnswer,
    /// A checkpoint does not sync the database before the log begins again.
    UnsyncedCheckpoint,
}

const PLANTS: [(&str, Plant); 4] = [
    ("synchronous-off", Plant::SynchronousOff),
    ("synchronous-normal", Plant::SynchronousNormal),
    ("early-answer", Plant::EarlyAnswer),
    ("unsynced-checkpoint", Plant::UnsyncedCheckpoint),
];

#[derive(Debug, Default)]
struct Sum {
    points: u64,
    workloads: u64,
    answers: u64,
    writes: u64,
    syncs: u64,
    torn: u64,
    wrong: Vec<String>,
}

/// Whether all is well; with a planted bug, whether it was found.
///
/// # Errors
/// If the workload cannot be recorded or a folder cannot be made.
pub fn run(args: &PowerLossArgs) -> io::Result<bool> {
    let Some(name) = args.plant.as_deref() else {
        let began = Instant::now();
        let sum = points(args, None)?;
        for what in &sum.wrong {
            println!("WRONG: {what}");
        }
        println!(
            "{} power losses in {} s: {} workloads from seed {}, {} writes, {} syncs, {} answers, {} torn images; {} wrong",
            sum.points,
            began.elapsed().as_secs(),
            sum.workloads,
            args.seed,
            sum.writes,
            sum.syncs,
            sum.answers,
            sum.torn,
            sum.wrong.len(),
        );
        return Ok(sum.wrong.is_empty());
    };
    let mut found_all = true;
    for (plant_name, plant) in PLANTS.iter().filter(|(known, _)| name == "all" || name == *known) {
        let sum = points(args, Some(*plant))?;
        match sum.wrong.first() {
            Some(what) => println!("{plant_name}: found after {} points: {what}", sum.points),
            None => println!("{plant_name}: NOT FOUND by {} points", sum.points),
        }
        found_all &= !sum.wrong.is_empty();
    }
    Ok(found_all)
}

fn points(args: &PowerLossArgs, plant: Option<Plant>) -> io::Result<Sum> {
    let mut sum = Sum::default();
    let scratch = scratch()?;
    let mut seed = args.seed;
    while sum.points < args.points && sum.wrong.is_empty() {
        let steps = record(scratch.path(), seed)?;
        let steps = planted(steps, plant);
        sum.workloads += 1;
        let mut dice = Dice::seeded(seed);
        sum.writes += count(&steps, |effect| matches!(effect, Effect::Write { .. }));
        sum.syncs += count(&steps, |effect| matches!(effect, Effect::Sync { .. }));
        sum.answers += count(&steps, |effect| matches!(effect, Effect::Answer { .. }));
        let most = args.points_per_workload.min(args.points - sum.points);
        let mut places: Vec<usize> =
            (0..most).map(|_| dice.between(0, steps.len() as u64 + 1) as usize).collect();
        places.sort_unstable();
        let mut disk = Simulated::default();
        let mut done = 0;
        for place in places {
            steps[done..place].iter().for_each(|step| disk.take(&step.effect));
            done = place;
            sum.points += 1;
            let keep =
                dice.of(&[Keep::Everything, Keep::Nothing, Keep::Some, Keep::Some, Keep::Torn, Keep::Torn]);
            sum.torn += u64::from(keep == Keep::Torn);
            let folder = scratch.path().join("image");
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(&folder)?;
            disk.build(&folder, keep, &mut dice)?;
            let (before, after) = steps.split_at(place);
            if let Err(what) = verify::verify(&folder, before, after) {
                let what = format!("workload {seed}, step {place} of {}, {keep:?}: {what}", steps.len());
                sum.wrong.push(what);
                break;
            }
        }
        seed += 1;
    }
    Ok(sum)
}

fn count(steps: &[Step], which: impl Fn(&Effect) -> bool) -> u64 {
    steps.iter().filter(|step| which(&step.effect)).count() as u64
}

/// In memory if there is such a place: nothing here has to survive anything.
fn scratch() -> io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

/// Runs the workload and reads what it did.
fn record(scratch: &Path, seed: u64) -> io::Result<Vec<Step>> {
    let (folder, answers, log) = (scratch.join("data"), scratch.join("answers"), scratch.join("strace"));
    for old in [&folder, &answers, &log] {
        let _ = if old.is_dir() { fs::remove_dir_all(old) } else { fs::remove_file(old) };
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-xx", "-s", "16777216", "-e", "signal=none", "-e"]);
    command.arg("trace=openat,write,pwrite64,lseek,fdatasync,fsync,ftruncate,unlink,unlinkat,rename,renameat,renameat2,fallocate,writev,pwritev,sync_file_range");
    command.arg("-o").arg(&log).arg(std::env::current_exe()?);
    command.arg("power-loss-workload").arg(&folder).arg(&answers).arg(seed.to_string());
    let status =
        command.status().map_err(|error| io::Error::other(format!("strace cannot be run: {error}")))?;
    if !status.success() {
        return Err(io::Error::other(format!("the workload ended with {status}")));
    }
    let steps = trace::read(&fs::read_to_string(&log)?, &folder, &answers).map_err(io::Error::other)?;
    let whole = |name: &str| PathBuf::from(name);
    if !steps
        .iter()
        .any(|step| matches!(&step.effect, Effect::Sync { file } if *file == whole("sealpost.db-wal")))
    {
        return Err(io::Error::other("no sync of the log was seen: the record cannot be right"));
    }
    Ok(steps)
}

/// The record of a store that has the bug.
fn planted(steps: Vec<Step>, plant: Option<Plant>) -> Vec<Step> {
    let Some(plant) = plant else { return steps };
    let is_sync =
        |effect: &Effect, of: &str| matches!(effect, Effect::Sync { file } if file.to_str() == Some(of));
    match plant {
        Plant::SynchronousOff => {
            let of_database =
                |effect: &Effect| is_sync(effect, "sealpost.db") || is_sync(effect, "sealpost.db-wal");
            steps.into_iter().filter(|step| !of_database(&step.effect)).collect()
        }
        Plant::UnsyncedCheckpoint => {
            steps.into_iter().filter(|step| !is_sync(&step.effect, "sealpost.db")).collect()
        }
        Plant::SynchronousNormal => {
            // A checkpoint syncs the log before it writes the database.
            let writes_database = |step: &Step| matches!(&step.effect, Effect::Write { file, .. } if file.to_str() == Some("sealpost.db"));
            let kept = steps.iter().enumerate().filter(|(place, step)| {
                !is_sync(&step.effect, "sealpost.db-wal") || steps.get(place + 1).is_some_and(writes_database)
            });
            kept.map(|(_, step)| step.clone()).collect()
        }
        Plant::EarlyAnswer => {
            let mut early: Vec<Step> = Vec::with_capacity(steps.len());
            for step in steps {
                let place = match &step.effect {
                    // In front of the last sync of the log, and of the writes that it was for.
                    Effect::Answer { .. } => {
                        let synced = early.iter().rposition(|step| is_sync(&step.effect, "sealpost.db-wal"));
                        let before = synced.and_then(|at| {
                            early[..at].iter().rposition(|step| is_sync(&step.effect, "sealpost.db-wal"))
                        });
                        before.map_or(early.len(), |before| before + 1)
                    }
                    _ => early.len(),
                };
                early.insert(place, step);
            }
            early
        }
    }
}
