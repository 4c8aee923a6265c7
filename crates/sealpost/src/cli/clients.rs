//! `sealpost client create|list|delete`: API keys.

use clap::{Args, Subcommand};
use sealpost_core::id::{ClientId, WebhookName};
use sealpost_core::role::Roles;
use sealpost_core::tenant::DEFAULT_TENANT;
use sealpost_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::client::Failure;
use super::output::{self, OutputArgs};
use super::{StoreArgs, admin};
use crate::app::admin::{AdminAnswer, AdminCall, ClientView, Expires};

#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(subcommand)]
    command: ClientCommand,
    /// Whose clients
    #[arg(long, value_name = "TENANT", default_value = DEFAULT_TENANT, global = true)]
    tenant: String,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Create a client and show its key, once
    Create {
        /// What it is for
        name: String,
        /// admin, issuer, managed-issuer, publisher, auditor, subscriber, verifier, dts-provider or dts-consumer;
        /// several separated by commas
        #[arg(long, value_name = "ROLE[,ROLE]")]
        role: Roles,
        /// The one webhook a subscriber may see: its id, or its number in Truvera's dialect
        #[arg(long, value_name = "ID", required_if_eq("role", "subscriber"))]
        webhook: Option<WebhookName>,
        /// When the key stops working: a time such as 2027-01-31T00:00:00Z, or a span such as 90d
        #[arg(long, value_name = "WHEN", value_parser = expires)]
        expires: Option<Expires>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List clients, without their keys
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete a client; its key stops working at once
    Delete {
        id: ClientId,
        #[command(flatten)]
        output: OutputArgs,
    },
}

pub(super) fn expires(text: &str) -> Result<Expires, String> {
    let at = || Timestamp::parse(text).map(Expires::At);
    text.parse::<Span>()
        .map(Expires::After)
        .or_else(|_| at())
        .map_err(|_| "must be a time or a span such as 90d".into())
}

pub(super) async fn run(args: ClientArgs) -> Result<(), Failure> {
    let tenant = args.tenant;
    let (call, output) = match args.command {
        ClientCommand::Create { name, role, webhook, expires, output } => {
            (AdminCall::ClientCreate { tenant, name, roles: role, webhook, expires }, output)
        }
        ClientCommand::List { output } => (AdminCall::ClientList { tenant }, output),
        ClientCommand::Delete { id, output } => (AdminCall::ClientDelete { tenant, id }, output),
    };
    match admin::ask(&args.store, call).await? {
        AdminAnswer::ClientCreated { client, key } if output.json => {
            let mut shown = json!(client);
            if let Value::Object(members) = &mut shown {
                members.insert("key".into(), json!(key.0.reveal()));
            }
            output::json(&shown)
        }
        AdminAnswer::ClientCreated { client, key } => {
            output::line(table(&[client]))?;
            output::note("\nThe key, shown only now:");
            output::line(key.0.reveal())
        }
        AdminAnswer::Clients(clients) if output.json => output::json(&json!({ "data": clients })),
        AdminAnswer::Clients(clients) => output::line(table(&clients)),
        AdminAnswer::ClientDeleted { id } if output.json => {
            output::json(&json!({ "id": id, "deleted": true }))
        }
        AdminAnswer::ClientDeleted { id } => output::line(format!("deleted {id}")),
        other => Err(admin::unexpected(&other)),
    }
}

fn table(clients: &[ClientView]) -> String {
    let rows = clients.iter().map(|client| {
        [
            client.id.to_string(),
            output::safe(&client.name).into_owned(),
            client.roles.to_string(),
            client.webhook.map_or("-".into(), |id| id.to_string()),
            output::clock(client.created_at),
            client.expires_at.map_or("never".into(), output::clock),
        ]
    });
    output::table(&["id", "name", "roles", "webhook", "created", "expires"], rows)
}
