//! How fast Sealpost is, measured against the wire: the real binary, a sink and a generator as separate processes on
//! one machine, in one run, in turn. Every speed is also shown as a share of the ceiling, which is the rate at which the
//! same generator posts the same events straight to the same sink in the same run.

mod database;
mod figure;
mod generator;
mod mark;
mod process;
mod report;
mod rig;
mod scenarios;
mod service;
mod sink;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use figure::Figure;
use process::Failure;
use rig::Rig;
use scenarios::{ALL, Scenario};

#[derive(Debug, Parser)]
#[command(about = "Measures Sealpost against the wire of the same machine in the same run")]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Under a minute: the main figures, one short round
    #[arg(long)]
    quick: bool,
    /// Only these scenarios (see --list)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Name the scenarios
    #[arg(long)]
    list: bool,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// The program to measure; built if not given
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where results are written
    #[arg(long, value_name = "FOLDER", default_value = "target/sealpost-bench")]
    out: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    Sink(sink::SinkArgs),
    #[command(hide = true)]
    Generate(generator::GenerateArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let ended = runtime.block_on(async {
        match args.part {
            Some(Part::Sink(args)) => sink::run(args).await,
            Some(Part::Generate(args)) => generator::run(args).await,
            None => run(args).await,
        }
    });
    // A generator's kept connections have nobody to wait for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("sealpost-bench: {error}");
    ExitCode::FAILURE
}

async fn run(args: Args) -> Result<(), Failure> {
    if args.list {
        for scenario in &ALL {
            println!("{:18} {}", scenario.name, scenario.about);
        }
        return Ok(());
    }
    for name in &args.only {
        if !ALL.iter().any(|scenario| scenario.name == name) {
            return Err(format!("there is no scenario `{name}`; --list names them").into());
        }
    }
    let binary = match args.binary {
        Some(binary) => binary,
        None => built()?,
    };
    let mut rig = Rig::start(binary, &args.out.join("data"), args.quick).await?;
    let wanted: Vec<&Scenario> = ALL
        .iter()
        .filter(|s| {
            if args.only.is_empty() { s.quick || !args.quick } else { args.only.iter().any(|n| n == s.name) }
        })
        .collect();
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 }).max(1);
    let mut measured = Vec::new();
    let mut failures = Vec::new();
    for round in 0..rounds {
        let mut figures = Vec::new();
        for scenario in wanted.iter().filter(|scenario| round == 0 || !scenario.once) {
            // The ceiling moves with the machine's mood, so it is measured beside each figure.
            let raw = rig.raw(if args.quick { 0.5 } else { 2.0 }).await?;
            figures.push(Figure::new("raw posts", "1/s", raw.rate));
            figures.push(Figure::new("raw CPU generator", "s/1000", raw.cpu[0]));
            figures.push(Figure::new("raw CPU sink", "s/1000", raw.cpu[2]));
            eprintln!("round {} of {rounds}: {} ({})", round + 1, scenario.name, scenario.about);
            let found = scenarios::measure(&mut rig, scenario.name, raw.rate).await;
            match found {
                Ok(found) => {
                    failures.extend(lost(&found));
                    figures.extend(found);
                }
                // The others are worth having.
                Err(error) => failures.push(format!("{}: {error}", scenario.name)),
            }
        }
        measured.push(figures);
    }
    let summaries = figure::summarise(&measured);
    print!("{}", report::table(&summaries));
    report::write(&args.out, &summaries, args.quick)?;
    println!("\nwritten: {0}/results.json, {0}/results.svg", args.out.display());
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// Speed is nothing where events were refused or did not arrive.
fn lost(figures: &[Figure]) -> impl Iterator<Item = String> {
    let counts = |name: &str| name.ends_with(" refused") || name.ends_with(" missing");
    let lost = figures.iter().filter(move |figure| counts(&figure.name) && figure.value > 0.0);
    lost.map(|figure| format!("{}: {}", figure.name, figure.value))
}

/// The program of this checkout, built the way it is shipped.
fn built() -> Result<PathBuf, Failure> {
    let done = std::process::Command::new("cargo")
        .args(["build", "--release", "--locked", "-p", "sealpost"])
        .status()?;
    if !done.success() {
        return Err("the program to measure could not be built".into());
    }
    // This program stands beside it, wherever cargo was told to build.
    let beside = std::env::current_exe()?.with_file_name("sealpost");
    Ok(beside)
}
