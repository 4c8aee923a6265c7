//! `sealpost trigger TYPE`: publishes a realistic sample, or sends one to a single webhook as a test.

use clap::Args;
use http::Method;
use sealpost_core::event_type::{EventTypeName, MATTR, OWN, TRUVERA};
use serde_json::json;

use super::client::{Api, ConnectArgs, Failure, segment};
use super::output::{self, OutputArgs};
use super::publish;
use crate::app::samples;
use crate::clock::SystemClock;

const WHERE_LISTED: &str = "GET /v1/webhooks/event-types lists every type the server knows";

/// Publish a realistic sample event
#[derive(Clone, Debug, Args)]
#[command(after_help = known_types())]
pub struct TriggerArgs {
    /// The event type, such as OpenIdCredentialIssued or did_create
    #[arg(value_name = "TYPE")]
    pub event_type: String,
    /// Send it to this webhook only, as a test
    #[arg(long, value_name = "ID")]
    pub webhook: Option<String>,
    /// Print the event instead of publishing it
    #[arg(long, conflicts_with = "webhook")]
    pub print: bool,
    #[command(flatten)]
    pub connect: ConnectArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

pub async fn run(args: TriggerArgs) -> Result<(), Failure> {
    let name = EventTypeName::parse(&args.event_type)
        .map_err(|error| Failure::usage(format!("an event type {error}; {WHERE_LISTED}")))?;
    if args.print {
        return output::line(sample(name.as_str()));
    }
    let api = Api::connect(&args.connect)?;
    let event = match &args.webhook {
        Some(id) => {
            let path = format!("/v1/webhooks/{}/test", segment(id));
            api.send(Method::POST, &path, Some(&json!({"type": name.as_str()}))).await.map_err(advised)?
        }
        None if OWN.contains(&name.as_str()) => {
            return Err(Failure::usage(format!("`{name}` is published by Sealpost itself")));
        }
        None => {
            let body =
                super::client::Body { content_type: "application/json", bytes: sample(name.as_str()).into() };
            let answer = api.call(Method::POST, "/v1/webhooks/events", Some(body), &[]).await?;
            super::client::accepted(&answer, api.has_key()).map_err(advised)?
        }
    };
    if args.output.json { output::json(&event) } else { output::line(publish::one_line(&event, false)) }
}

/// Built in; the operator's own are known to the server alone.
fn known_types() -> String {
    format!("Built-in types:\n  {}\n  {}\n{WHERE_LISTED}.", MATTR.join("\n  "), TRUVERA.join("\n  "))
}

fn advised(failure: Failure) -> Failure {
    match failure.message.contains("is not a registered event type") {
        true => Failure::new(failure.exit, format!("{failure}; {WHERE_LISTED}")),
        false => failure,
    }
}

fn sample(name: &str) -> String {
    let payload = samples::payload(name, &SystemClock::start());
    format!("{{\"type\":\"{name}\",\"payload\":{}}}", payload.as_str())
}
