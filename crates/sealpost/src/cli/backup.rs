//! `sealpost backup TO`: a consistent copy, also while the server runs.

use std::path::PathBuf;

use clap::Args;
use sealpost_store::sqlite::ERASURES_FILE;
use serde_json::json;

use super::client::Failure;
use super::output::{self, OutputArgs};
use super::{StoreArgs, admin};
use crate::app::admin::{AdminAnswer, AdminCall};

#[derive(Debug, Args)]
#[command(after_help = "\
Not in a backup: the master key, without which nothing opens, and erasures.jsonl in the data folder, from which
`restore` applies again what was erased after the backup. Keep current copies of both.")]
pub(super) struct BackupArgs {
    /// The file to make; must not exist yet
    to: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(args: BackupArgs) -> Result<(), Failure> {
    let config = args.store.load()?;
    // The server has a working directory of its own.
    let to = std::path::absolute(&args.to).map_err(|error| Failure::io(args.to.display(), &error))?;
    let answer = admin::ask_with(&config, AdminCall::Backup { to }).await?;
    let AdminAnswer::BackedUp { to } = answer else { return Err(admin::unexpected(&answer)) };
    let erasures = config.data_folder().join(ERASURES_FILE);
    if args.output.json {
        return output::json(&json!({ "to": to, "masterKeyIncluded": false, "erasuresFile": erasures }));
    }
    output::line(format!("backed up to {}", to.display()))?;
    output::line(format!(
        "The master key is not in it: keep a copy of {} elsewhere, since nothing opens without it.",
        config.master_key_file.display()
    ))?;
    output::line(format!(
        "Erasures made from now on are not in it either: keep current copies of {} with the backups, since a restore \
         elsewhere knows them from that file only.",
        erasures.display()
    ))
}
