//! `sealpost erase`: destroys payloads by subject, event or time.

use std::io::Read;

use clap::{ArgGroup, Args};
use sealpost_core::id::EventId;
use sealpost_core::secret::Secret;
use sealpost_core::tenant::DEFAULT_TENANT;
use sealpost_core::time::Timestamp;
use serde_json::json;

use super::client::Failure;
use super::output::{self, OutputArgs};
use super::{StoreArgs, admin};
use crate::app::admin::{AdminAnswer, AdminCall, Erase, Hidden};

/// A subject is a key of the publisher's, not a text.
const SUBJECT_INPUT_BYTES: u64 = 4096;

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["subject", "event", "from"])),
    after_help = "Pending deliveries of erased events are cancelled. Returns when nothing in the store opens any more.\nA backup made before still holds them. Each erasure is noted in erasures.jsonl in the data folder, and `restore`\napplies it again from there; a restore elsewhere does so only with a copy of that file (restore --erasures FILE)."
)]
pub(super) struct EraseArgs {
    /// Everything about this subject; `-` reads it from standard input, unseen by other users of this machine
    #[arg(long, value_name = "KEY")]
    subject: Option<String>,
    /// These events
    #[arg(long, value_name = "ID", num_args = 1..)]
    event: Vec<EventId>,
    /// Everything accepted from this time on ...
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<Timestamp>,
    /// ... up to and with this time
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<Timestamp>,
    /// Whose payloads
    #[arg(long, value_name = "TENANT", default_value = DEFAULT_TENANT)]
    tenant: String,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(args: EraseArgs) -> Result<(), Failure> {
    let what = match (args.subject, args.from, args.to) {
        (Some(subject), _, _) => Erase::Subject(Hidden(Secret::new(subject_text(subject)?))),
        (None, Some(from), Some(to)) => Erase::Range { from, to },
        (None, _, _) => Erase::Events(args.event),
    };
    match admin::ask(&args.store, AdminCall::Erase { tenant: args.tenant, what }).await? {
        AdminAnswer::Erased { id, count } if args.output.json => {
            output::json(&json!({ "id": id, "count": count }))
        }
        AdminAnswer::Erased { id, count } => {
            let events = output::count(usize::try_from(count).unwrap_or(usize::MAX), "event");
            output::line(format!("erased the payloads of {events} (erasure {id})"))
        }
        other => Err(admin::unexpected(&other)),
    }
}

fn subject_text(given: String) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given);
    }
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(SUBJECT_INPUT_BYTES);
    input.read_to_string(&mut text).map_err(|error| Failure::io("standard input", &error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
