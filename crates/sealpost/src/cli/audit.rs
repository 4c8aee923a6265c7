//! `sealpost audit`: who changed or read what, newest first.

use clap::Args;
use sealpost_core::limits::{PAGE_DEFAULT, PAGE_MAX};
use sealpost_core::tenant::DEFAULT_TENANT;
use serde_json::json;

use super::client::Failure;
use super::output::{self, OutputArgs};
use super::{StoreArgs, admin};
use crate::app::admin::{AdminAnswer, AdminCall, AuditView};

/// Characters of a change in the table.
const CHANGE_SHOWN: usize = 100;

#[derive(Debug, Args)]
#[command(
    after_help = "Changes of the installation itself (operators, token keys) stand in the log of tenant `default`."
)]
pub(super) struct AuditArgs {
    /// Whose log
    #[arg(long, value_name = "TENANT", default_value = DEFAULT_TENANT)]
    tenant: String,
    /// Entries to show
    #[arg(long, value_name = "N", default_value_t = PAGE_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_MAX)))]
    limit: u32,
    /// Only entries before this one
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(args: AuditArgs) -> Result<(), Failure> {
    let AuditArgs { tenant, limit, before, store, output } = args;
    match admin::ask(&store, AdminCall::AuditList { tenant, limit, before }).await? {
        AdminAnswer::Audit { entries, more } if output.json => {
            output::json(&json!({ "data": entries, "more": more }))
        }
        AdminAnswer::Audit { entries, more } => {
            let last = entries.last().map(|entry| entry.id);
            output::line(table(&entries))?;
            if let Some(last) = last.filter(|_| more) {
                output::note(format!("\nMore: --before {last}"));
            }
            Ok(())
        }
        other => Err(admin::unexpected(&other)),
    }
}

fn table(entries: &[AuditView]) -> String {
    let rows = entries.iter().map(|entry| {
        [
            entry.id.to_string(),
            output::clock(entry.timestamp),
            output::safe(&entry.who).into_owned(),
            output::safe(&entry.what).into_owned(),
            output::safe(&entry.object).into_owned(),
            output::safe(&change(entry)).into_owned(),
        ]
    });
    output::table(&["id", "time", "who", "what", "object", "change"], rows)
}

/// `--json` has both sides whole.
fn change(entry: &AuditView) -> String {
    let text = match (&entry.before, &entry.after) {
        (None, None) => return String::new(),
        (None, Some(after)) => after.to_string(),
        (Some(before), None) => format!("was {before}"),
        (Some(before), Some(after)) => format!("{before} -> {after}"),
    };
    if text.chars().count() <= CHANGE_SHOWN {
        return text;
    }
    text.chars().take(CHANGE_SHOWN - 1).chain(['…']).collect()
}
