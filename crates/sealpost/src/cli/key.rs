//! `sealpost key list|rotate`: a tenant's signing keys.

use clap::{Args, Subcommand};
use sealpost_core::tenant::DEFAULT_TENANT;
use serde_json::json;

use super::client::Failure;
use super::confirm::confirm;
use super::output::{self, OutputArgs};
use super::{StoreArgs, admin};
use crate::app::admin::{AdminAnswer, AdminCall, KeyView};

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
    /// Whose keys
    #[arg(long, value_name = "TENANT", default_value = DEFAULT_TENANT, global = true)]
    tenant: String,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// List the keys receivers are told about
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Let the next key sign, and publish another as next
    Rotate {
        /// Also if the next key has not been published for long
        #[arg(long)]
        now: bool,
        /// Instead the key that signs access tokens, of all tenants; tokens that are out stay good for their life
        #[arg(long, conflicts_with_all = ["now", "tenant"])]
        tokens: bool,
        /// Instead the master key, which wraps all others; nothing stops, and nothing else is rewritten
        #[arg(long, conflicts_with_all = ["now", "tenant", "tokens"])]
        master: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
}

const NOT_CLEARED: &str = "\nSomebody reads the store for long (a backup?), so an older copy of the keys, which the former one opens, is still in \
     its log. It goes when they have ended, and at the latest when the server stops.";

const LOADED_ONCE: &str = "Receivers are known to load the key set once, when they start: one that did so before \
                           the next key was published refuses every delivery signed with it until it starts again.";
const LOADED_NOT_YET: &str =
    "With --now the next key signs although receivers may not have been told of it yet.";

const MASTER: &str = "Every key is wrapped with a new master key, which takes the place of the present one in the master \
                      key file. The present one is kept beside it: backups made until now open with nothing else.";

pub(super) async fn run(args: KeyArgs) -> Result<(), Failure> {
    let tenant = args.tenant;
    let (call, output) = match args.command {
        KeyCommand::List { output } => (AdminCall::KeyList { tenant }, output),
        KeyCommand::Rotate { tokens: true, output, .. } => (AdminCall::TokenKeyRotate, output),
        KeyCommand::Rotate { master: true, yes, output, .. } => {
            confirm(yes, MASTER, "Make a new master key?")?;
            (AdminCall::MasterKeyRotate, output)
        }
        KeyCommand::Rotate { now, yes, output, .. } => {
            let warning =
                if now { format!("{LOADED_ONCE}\n{LOADED_NOT_YET}") } else { LOADED_ONCE.to_owned() };
            confirm(yes, &warning, &format!("Rotate the signing keys of tenant `{tenant}`?"))?;
            (AdminCall::KeyRotate { tenant, now }, output)
        }
    };
    match admin::ask(&args.store, call).await? {
        AdminAnswer::Keys(keys) if output.json => output::json(&json!({ "data": keys })),
        AdminAnswer::Keys(keys) => output::line(table(&keys)),
        AdminAnswer::MasterKeyRotated { keys, former, cleared } if output.json => {
            output::json(&json!({ "keys": keys, "former": former, "cleared": cleared }))
        }
        AdminAnswer::MasterKeyRotated { keys, former, cleared } => output::line(format!(
            "{keys} keys are wrapped with a new master key. Make a copy of its file now, apart from the backups.\n\
             The former one is {}: delete it with the last backup that was made under it.{}",
            former.display(),
            if cleared { "" } else { NOT_CLEARED }
        )),
        other => Err(admin::unexpected(&other)),
    }
}

fn table(keys: &[KeyView]) -> String {
    let rows = keys.iter().map(|key| {
        let note = match (key.may_sign_from, key.retired_at) {
            (Some(from), _) => format!("may sign from {}", output::clock(from)),
            (None, Some(since)) => format!("retired {}", output::clock(since)),
            (None, None) => "signs".into(),
        };
        [key.kid.clone(), key.state.clone(), output::clock(key.created_at), note]
    });
    output::table(&["kid", "state", "created", ""], rows)
}
