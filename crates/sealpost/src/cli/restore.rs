//! `sealpost restore FROM`: a backup in the place of the store, with the erasures made since.

use std::path::PathBuf;

use clap::Args;
use sealpost_store::{StoreError, sqlite};
use serde_json::json;

use super::StoreArgs;
use super::client::{Exit, Failure};
use super::output::{self, OutputArgs};
use crate::clock::{Clock, SystemClock};
use crate::config::StorePlace;

#[derive(Debug, Args)]
#[command(after_help = "\
Payloads erased after the backup are erased again, from the list erasures.jsonl in the data folder. In a new data
folder there is none: name a copy of it with --erasures, or what was erased since comes back.")]
pub(super) struct RestoreArgs {
    /// The backup
    from: PathBuf,
    /// Replace the store that is there
    #[arg(long)]
    replace: bool,
    /// A copy of erasures.jsonl: its erasures are applied too, and taken over into the data folder
    #[arg(long, value_name = "FILE")]
    erasures: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(args: RestoreArgs) -> Result<(), Failure> {
    let config = args.store.load()?;
    let StorePlace::Sqlite(store) = config.store.clone() else {
        let why = "the store is a PostgreSQL database: restore it with pg_restore or from its archived WAL";
        return Err(Failure::new(Exit::Refused, why));
    };
    if store.exists() && !args.replace {
        return Err(Failure::new(
            Exit::Refused,
            format!("there is a store at {}; --replace puts the backup in its place", store.display()),
        ));
    }
    if !args.from.exists() {
        return Err(Failure::new(Exit::NotFound, format!("there is no backup at {}", args.from.display())));
    }
    let (from, replace, erasures) = (args.from.clone(), args.replace, args.erasures.clone());
    let (place, key) = (store.clone(), config.master_key_file.clone());
    let restored = tokio::task::spawn_blocking(move || {
        sqlite::restore(&from, &place, &key, erasures.as_deref(), replace, SystemClock::start().now())
    });
    let report = match restored.await {
        Ok(restored) => restored.map_err(failure)?,
        Err(error) => return Err(Failure::failed(format!("the restore ended early: {error}"))),
    };
    if !report.erasures_known {
        output::note(format!(
            "warning: there is no {} in {}: erasures made after this backup are not known here, and what they \
             destroyed is back. With a copy of that file, restore again with --replace --erasures FILE.",
            sqlite::ERASURES_FILE,
            config.data_folder().display()
        ));
    }
    if args.output.json {
        return output::json(&json!({
            "store": store,
            "erasuresApplied": report.erasures,
            "erasuresKnown": report.erasures_known,
            "payloadsErased": report.payloads_erased,
            "pending": report.pending,
        }));
    }
    output::line(format!("restored {} to {}", args.from.display(), store.display()))?;
    output::line(format!(
        "{} made since the backup applied again, {} erased",
        output::count(number(report.erasures), "erasure"),
        output::count(number(report.payloads_erased), "payload")
    ))?;
    if report.pending > 0 {
        output::line(format!(
            "{} pending in the backup will be sent when the server starts, also if sent since",
            if report.pending == 1 {
                "1 delivery".to_owned()
            } else {
                format!("{} deliveries", report.pending)
            }
        ))?;
    }
    Ok(())
}

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::Locked { path } => Failure::new(
            Exit::Refused,
            format!("a server is running on {}; stop it before restoring", path.display()),
        ),
        StoreError::Refused(why) => Failure::new(Exit::Refused, why),
        other => Failure::failed(other.to_string()),
    }
}
