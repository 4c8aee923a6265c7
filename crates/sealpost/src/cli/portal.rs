//! `sealpost portal link`: a link into the console for whoever runs a receiver.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::client::{Api, ConnectArgs, Failure};
use super::output::{self, OutputArgs};

/// Let receivers look at their own webhooks
#[derive(Clone, Debug, Args)]
pub struct PortalArgs {
    #[command(subcommand)]
    pub command: PortalCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum PortalCommand {
    /// Make a link that opens once, to these webhooks and what was sent to them
    Link {
        /// Ids of webhooks
        #[arg(required = true, value_name = "WEBHOOK")]
        webhooks: Vec<String>,
        /// How long it waits to be opened, from 1m to 24h [default: 15m]
        #[arg(long, value_name = "SPAN")]
        expires_in: Option<String>,
        #[command(flatten)]
        connect: ConnectArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

pub async fn run(args: PortalArgs) -> Result<(), Failure> {
    let PortalCommand::Link { webhooks, expires_in, connect, output } = args.command;
    let mut body = json!({ "webhookIds": webhooks });
    if let Some(expires_in) = expires_in {
        body["expiresIn"] = expires_in.into();
    }
    let link = Api::connect(&connect)?.send(Method::POST, "/v1/webhooks/portal-links", Some(&body)).await?;
    if output.json {
        return output::json(&link);
    }
    output::line(output::text(&link, "url"))?;
    output::note(format!("it opens once, until {}", output::text(&link, "expiresAt")));
    Ok(())
}
