//! Runs seeds one after the other until the hours are full, and says what was found.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::{Parser, Subcommand};
use sealpost_sim::coverage::Coverage;
use sealpost_sim::memory::Plant;
use sealpost_sim::power_loss::{self, PowerLossArgs};
use sealpost_sim::run::{Report, run};

#[derive(Debug, Parser)]
#[command(about = "Simulates Sealpost's delivery engine for many hours, with faults, from seeds that repeat")]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Simulated hours in all
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    hours: u64,
    /// The first seed; the others follow. To go on after a run, begin with the seed it names last
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Simulated hours of one seed
    #[arg(long, value_name = "N", default_value_t = 50)]
    hours_per_seed: u64,
    /// Seeds at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// A bug on purpose, which must be found (`all`: each of them, by the fewest seeds)
    #[arg(long, value_name = "NAME")]
    plant: Option<String>,
    /// Run only the first seed, twice, and compare
    #[arg(long)]
    twice: bool,
    /// Print every counter
    #[arg(long)]
    counters: bool,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Rebuilds the store's folder as a disk may hold it after power failed, at many points of recorded workloads
    PowerLoss(PowerLossArgs),
    #[command(hide = true)]
    PowerLossWorkload { folder: PathBuf, answers: PathBuf, seed: u64 },
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(part) = &args.part {
        let ended = match part {
            Part::PowerLoss(args) => power_loss::run(args),
            Part::PowerLossWorkload { folder, answers, seed } => {
                power_loss::run_workload(folder, answers, *seed).map(|()| true)
            }
        };
        let well = ended.inspect_err(|error| eprintln!("sealpost-sim: {error}"));
        return if well.unwrap_or(false) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let found = match args.plant.as_deref() {
        // All but the one for which two calls must cross at one instant: it takes luck, and is tried by its name.
        Some("all") => Plant::ALL
            .iter()
            .filter(|plant| **plant != Plant::StaleRegistry)
            .all(|plant| finds(&args, *plant)),
        Some(name) => match Plant::named(name) {
            Some(plant) => finds(&args, plant),
            None => {
                let names: Vec<_> = Plant::ALL.iter().map(|plant| plant.name()).collect();
                eprintln!("sealpost-sim: no such bug; there are: {}", names.join(" "));
                return ExitCode::from(2);
            }
        },
        None if args.twice => twice(&args),
        None => long_run(&args),
    };
    if found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Seeds until the planted bug shows.
fn finds(args: &Args, plant: Plant) -> bool {
    for seed in args.seed..args.seed + 40 {
        let Some(report) = one(seed, args.hours_per_seed, Some(plant)) else { return false };
        if let Some(what) = report.wrong.first() {
            println!("{}: found by seed {seed}: {what}", plant.name());
            return true;
        }
    }
    println!("{}: NOT FOUND by 40 seeds", plant.name());
    false
}

fn twice(args: &Args) -> bool {
    let mut traces =
        (0..2).filter_map(|_| one(args.seed, args.hours_per_seed, None)).map(|report| report.trace);
    let (first, second) = (traces.next(), traces.next());
    println!("seed {}: {first:016x?} {second:016x?}", args.seed);
    first.is_some() && first == second
}

fn one(seed: u64, hours: u64, plant: Option<Plant>) -> Option<Report> {
    run(seed, hours, plant).inspect_err(|error| eprintln!("sealpost-sim: {error}")).ok()
}

#[derive(Default)]
struct Sum {
    next: u64,
    ms: u64,
    lives: u64,
    traces: BTreeMap<u64, u64>,
    coverage: Coverage,
    wrong: Vec<String>,
    broken: bool,
}

fn long_run(args: &Args) -> bool {
    let began = Instant::now();
    let wanted = args.hours * 3_600_000;
    let sum = Arc::new(Mutex::new(Sum { next: args.seed, ..Sum::default() }));
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            let sum = Arc::clone(&sum);
            scope.spawn(move || work(args, wanted, &sum));
        }
    });
    let sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    if args.counters {
        sum.coverage.lines().for_each(|(what, n)| println!("{n:>10} {what}"));
    }
    let missing = sum.coverage.missing();
    for what in &missing {
        println!("never reached: {what}");
    }
    for what in &sum.wrong {
        println!("WRONG: {what}");
    }
    let traces = sum.traces.values().fold(0, |all, trace| u64::rotate_left(all, 1) ^ trace);
    println!(
        "{} simulated hours in {} s: seeds {} to {}, {} processes, {} requests, {} wrong; trace {traces:016x}",
        sum.ms / 3_600_000,
        began.elapsed().as_secs(),
        args.seed,
        sum.next - 1,
        sum.lives,
        sum.coverage.of("request"),
        sum.wrong.len(),
    );
    sum.wrong.is_empty() && missing.is_empty() && !sum.broken
}

/// Takes seeds as long as hours are wanted.
fn work(args: &Args, wanted: u64, sum: &Mutex<Sum>) {
    let lock = || sum.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let seed = {
            let mut sum = lock();
            if sum.ms >= wanted || sum.broken || sum.wrong.len() > 5 {
                return;
            }
            sum.next += 1;
            sum.next - 1
        };
        let report = one(seed, args.hours_per_seed, None);
        let mut sum = lock();
        let Some(report) = report else {
            sum.broken = true;
            return;
        };
        sum.ms += report.ms;
        sum.lives += u64::from(report.lives);
        sum.traces.insert(seed, report.trace);
        sum.coverage.merge(&report.coverage);
        sum.wrong.extend(report.wrong.iter().map(|what| format!("seed {seed}: {what}")));
    }
}
