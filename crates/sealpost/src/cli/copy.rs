//! `sealpost copy --from FOLDER --to URL`: an installation moves from the embedded store to PostgreSQL.

use std::path::PathBuf;

use clap::Args;
use sealpost_store::{StoreError, postgres, sqlite};
use serde_json::{Map, Value, json};

use super::client::{Exit, Failure};
use super::output::{self, OutputArgs};
use super::wrong_settings;
use crate::config::{self, Flags, Name, STORE_FILE, StorePlace};

#[derive(Debug, Args)]
#[command(after_help = "\
The server of the folder must have stopped. Everything is copied in one transaction, or nothing. From then on the folder
is refused by `serve`: what was pending in it is sent by the nodes of the database, and must not be sent twice. A copy that
was cut off is finished by running it again.")]
pub(super) struct CopyArgs {
    /// The data folder to move
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The database, empty [default: SEALPOST_STORE]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The master key, the same for both (SEALPOST_MASTER_KEY_FILE)
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<String>,
    /// The configuration file [default: sealpost.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(args: CopyArgs) -> Result<(), Failure> {
    let mut flags = Flags { config_file: args.config.clone(), ..Flags::default() };
    flags.set(Name::Store, args.to.clone());
    flags.set(Name::MasterKeyFile, args.master_key_file.clone());
    let config = config::load(&flags).map_err(wrong_settings)?;
    let StorePlace::Postgres(url) = &config.store else {
        return Err(Failure::usage("--to must be a postgres:// URL"));
    };
    let key = config.master_key_file.clone();
    let file = args.from.join(STORE_FILE);
    let from = sqlite::OpenOptions { master_key_file: key.clone(), ..sqlite::OpenOptions::new(file) };
    let to = postgres::OpenOptions::new(url.reveal(), key);
    let report = sealpost_store::copy::copy(from, to).await.map_err(failure)?;
    if args.output.json {
        let rows: Map<String, Value> =
            report.rows.iter().map(|(table, rows)| ((*table).to_owned(), json!(rows))).collect();
        return output::json(
            &json!({ "rows": rows, "pending": report.pending, "wasThere": report.was_there }),
        );
    }
    for (table, rows) in &report.rows {
        output::line(format!("{rows:>12}  {table}"))?;
    }
    if report.was_there {
        output::line("An earlier copy had stored all of this; it is finished now.")?;
    }
    output::line(format!(
        "{} is moved. Pending deliveries, which the nodes of the database send: {}",
        args.from.display(),
        report.pending
    ))
}

fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::Locked { path } => Failure::new(
            Exit::Refused,
            format!("a server is running on {}; stop it before copying", path.display()),
        ),
        StoreError::Refused(why) => Failure::new(Exit::Refused, why),
        other => Failure::failed(other.to_string()),
    }
}
