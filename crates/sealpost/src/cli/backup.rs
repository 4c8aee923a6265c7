//! `sealpost backup TO`: a consistent copy, also while the server runs.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::client::Failure;
use super::output::{self, OutputArgs};
use super::{StoreArgs, admin};
use crate::app::admin::{AdminAnswer, AdminCall};

#[derive(Debug, Args)]
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
    if args.output.json {
        return output::json(&json!({ "to": to, "masterKeyIncluded": false }));
    }
    output::line(format!("backed up to {}", to.display()))?;
    output::line(format!(
        "The master key is not in it: keep a copy of {} elsewhere, since nothing opens without it.",
        config.master_key_file.display()
    ))
}
