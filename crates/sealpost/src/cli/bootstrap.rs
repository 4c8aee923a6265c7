//! `sealpost bootstrap operator`: the first credential for the management calls, made by whoever has the data folder.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Failure;
use super::clients::expires;
use super::output::{self, OutputArgs};
use super::{StoreArgs, admin};
use crate::app::admin::{AdminAnswer, AdminCall, Expires};

#[derive(Debug, Args)]
pub(super) struct BootstrapArgs {
    #[command(subcommand)]
    command: BootstrapCommand,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum BootstrapCommand {
    /// Make an operator and show its key, once: it manages tenants and their clients and reads metrics
    Operator {
        /// What or who it is for
        #[arg(long, default_value = "operator")]
        name: String,
        /// When the key stops working: a time such as 2027-01-31T00:00:00Z, or a span such as 90d
        #[arg(long, value_name = "WHEN", value_parser = expires)]
        expires: Option<Expires>,
        #[command(flatten)]
        output: OutputArgs,
    },
}

pub(super) async fn run(args: BootstrapArgs) -> Result<(), Failure> {
    let BootstrapCommand::Operator { name, expires, output } = args.command;
    match admin::ask(&args.store, AdminCall::OperatorCreate { name, expires }).await? {
        AdminAnswer::OperatorCreated { operator, key } if output.json => {
            let mut shown = json!(operator);
            if let Value::Object(members) = &mut shown {
                members.insert("key".into(), json!(key.0.reveal()));
            }
            output::json(&shown)
        }
        AdminAnswer::OperatorCreated { operator, key } => {
            output::line(format!("made operator {} ({})", operator.id, output::safe(&operator.name)))?;
            output::note("\nThe key, shown only now:");
            output::line(key.0.reveal())
        }
        other => Err(admin::unexpected(&other)),
    }
}
