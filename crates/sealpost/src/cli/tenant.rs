//! `sealpost tenant create|list|get|limits|analytics|delete`

use std::num::NonZeroU32;

use clap::{Args, Subcommand};
use sealpost_core::analytics::LogLevel;
use sealpost_core::quota::OwnQuota;
use sealpost_core::tenant::{Retention, Subdomain};
use sealpost_core::time::Span;
use serde_json::json;

use super::client::Failure;
use super::confirm::confirm;
use super::output::{self, OutputArgs};
use super::{StoreArgs, admin};
use crate::app::admin::{AdminAnswer, AdminCall, RetentionView, TenantView};
use crate::app::quotas::{OwnLimit, QuotaChange};

#[derive(Debug, Args)]
pub(super) struct TenantArgs {
    #[command(subcommand)]
    command: TenantCommand,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum TenantCommand {
    /// Create a tenant with signing keys of its own
    Create {
        /// Its name below the base domain: a-z, 0-9 and hyphens
        subdomain: Subdomain,
        /// Its name for people [default: the same]
        #[arg(long)]
        name: Option<String>,
        /// How long payloads are kept after the last delivery was delivered
        #[arg(long, value_name = "SPAN", default_value_t = Span(Retention::default().payload_after_delivered))]
        keep_delivered: Span,
        /// How long payloads are kept after it failed or was cancelled
        #[arg(long, value_name = "SPAN", default_value_t = Span(Retention::default().payload_after_failed))]
        keep_failed: Span,
        /// How long events and deliveries are listed
        #[arg(long, value_name = "SPAN", default_value_t = Span(Retention::default().metadata))]
        keep_metadata: Span,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List all tenants
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show a tenant
    Get {
        /// Its name below the base domain
        subdomain: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Change what a tenant may use; what is not named stays
    Limits {
        /// Its name below the base domain
        subdomain: String,
        /// API calls in a second, or `default`
        #[arg(long, value_name = "N")]
        requests_per_second: Option<OwnLimit>,
        /// Published events in a second, or `default`
        #[arg(long, value_name = "N")]
        events_per_second: Option<OwnLimit>,
        /// Webhooks, or `default`
        #[arg(long, value_name = "N")]
        webhooks: Option<OwnLimit>,
        /// Bytes of one event's payload, or `default`
        #[arg(long, value_name = "N")]
        payload_bytes: Option<OwnLimit>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Set how much a tenant's analytic events tell
    Analytics {
        /// Its name below the base domain
        subdomain: String,
        /// 1: metadata only; 2: without payloads and tokens; 3: full
        #[arg(long, value_name = "N")]
        level: LogLevel,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete a tenant: its keys stop working, its webhooks stop, its payloads are destroyed
    Delete {
        /// Its name below the base domain, which nobody will get again
        subdomain: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
}

pub(super) async fn run(args: TenantArgs) -> Result<(), Failure> {
    let (call, output) = match args.command {
        TenantCommand::Create { subdomain, name, keep_delivered, keep_failed, keep_metadata, output } => {
            let retention = RetentionView {
                payload_after_delivered: keep_delivered,
                payload_after_failed: keep_failed,
                metadata: keep_metadata,
            };
            let name = name.unwrap_or_else(|| subdomain.as_str().to_owned());
            (AdminCall::TenantCreate { name, subdomain, retention }, output)
        }
        TenantCommand::List { output } => (AdminCall::TenantList, output),
        TenantCommand::Get { subdomain, output } => (AdminCall::TenantGet { tenant: subdomain }, output),
        TenantCommand::Limits {
            subdomain,
            requests_per_second,
            events_per_second,
            webhooks,
            payload_bytes,
            output,
        } => {
            let change = QuotaChange { requests_per_second, events_per_second, webhooks, payload_bytes };
            (AdminCall::TenantLimits { tenant: subdomain, change }, output)
        }
        TenantCommand::Analytics { subdomain, level, output } => {
            (AdminCall::TenantAnalytics { tenant: subdomain, level }, output)
        }
        TenantCommand::Delete { subdomain, yes, output } => {
            let shown = output::safe(&subdomain).into_owned();
            let warning = format!(
                "The keys of tenant `{shown}` stop working, its webhooks stop, its payloads are destroyed, and nobody gets \
                 its name again."
            );
            confirm(yes, &warning, &format!("Delete tenant `{shown}`?"))?;
            (AdminCall::TenantDelete { tenant: subdomain }, output)
        }
    };
    match admin::ask(&args.store, call).await? {
        AdminAnswer::Tenant(tenant) if output.json => output::json(&json!(tenant)),
        AdminAnswer::Tenant(tenant) => output::line(table(&[tenant])),
        AdminAnswer::Tenants(tenants) if output.json => output::json(&json!({ "data": tenants })),
        AdminAnswer::Tenants(tenants) => output::line(table(&tenants)),
        AdminAnswer::TenantDeleted { tenant } if output.json => {
            output::json(&json!({ "tenant": tenant, "deleted": true }))
        }
        AdminAnswer::TenantDeleted { tenant } => output::line(format!("deleted {}", output::safe(&tenant))),
        other => Err(admin::unexpected(&other)),
    }
}

fn table(tenants: &[TenantView]) -> String {
    let rows = tenants.iter().map(|tenant| {
        let kept = &tenant.retention;
        [
            tenant.subdomain.to_string(),
            output::safe(&tenant.name).into_owned(),
            tenant.id.clone(),
            output::clock(tenant.created_at),
            output::span(kept.payload_after_delivered.0),
            output::span(kept.payload_after_failed.0),
            output::span(kept.metadata.0),
            limits(&tenant.limits),
            tenant.log_level.to_string(),
        ]
    });
    let titles =
        ["tenant", "name", "id", "created", "delivered", "failed", "metadata", "limits", "analytics level"];
    output::table(&titles, rows)
}

/// The tenant's own, in few words.
fn limits(own: &OwnQuota) -> String {
    let of = |limit: Option<NonZeroU32>, what: &str| limit.map(|limit| format!("{limit} {what}"));
    let own = [
        of(own.requests_per_second, "requests/s"),
        of(own.events_per_second, "events/s"),
        of(own.webhooks, "webhooks"),
        of(own.payload_bytes, "bytes"),
    ];
    let own: Vec<String> = own.into_iter().flatten().collect();
    if own.is_empty() { "default".into() } else { own.join(", ") }
}
