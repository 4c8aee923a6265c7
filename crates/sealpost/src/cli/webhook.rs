//! `sealpost webhook ...`: registering receivers, their settings, secrets and tests.

mod truvera;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use sealpost_core::time::Timestamp;
use serde_json::{Map, Value, json};

use super::client::{Api, ConnectArgs, Exit, Failure, segment};
use super::output::{self, OutputArgs};
use super::publish;

/// Register and manage receivers
#[derive(Clone, Debug, Args)]
pub struct WebhookArgs {
    #[command(subcommand)]
    pub command: WebhookCommand,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Dialect {
    #[default]
    Mattr,
    Truvera,
}

#[derive(Clone, Debug, Args)]
pub struct Common {
    #[command(flatten)]
    pub connect: ConnectArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub enum WebhookCommand {
    /// Register a receiver
    Create {
        /// Where events are sent: https, a name, no query
        url: String,
        /// Event types, separated by commas; in Truvera's dialect `*` receives all
        #[arg(long, short, value_delimiter = ',', required = true, value_name = "TYPES")]
        events: Vec<String>,
        /// Whose receivers it is for; what is sent to a Truvera receiver holds a token, which is shown now
        #[arg(long, value_enum, default_value_t)]
        dialect: Dialect,
        /// Register it without sending to it yet
        #[arg(long)]
        disabled: bool,
        #[command(flatten)]
        common: Common,
    },
    /// List webhooks of one dialect, newest first
    List {
        #[arg(long, value_enum, default_value_t)]
        dialect: Dialect,
        /// Rows on a page
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Begin after the page that named this
        #[arg(long)]
        cursor: Option<String>,
        /// Every page
        #[arg(long, conflicts_with = "cursor")]
        all: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Show one webhook; a number names one of Truvera's dialect, also where it is changed or deleted
    Get {
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Change what is named and keep the rest
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true)
        .args(["url", "events", "disable", "enable"]))]
    Update {
        id: String,
        #[arg(long)]
        url: Option<String>,
        /// Event types, separated by commas, instead of the present ones
        #[arg(long, short, value_delimiter = ',', value_name = "TYPES")]
        events: Option<Vec<String>>,
        /// Stop sending; what is pending is cancelled
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        #[arg(long)]
        enable: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Delete a webhook; what is pending is cancelled
    Delete {
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Read or change how a webhook is served
    Settings {
        #[command(subcommand)]
        command: SettingsCommand,
    },
    /// Show the Standard Webhooks secret, or rotate it
    Secret {
        id: String,
        /// Make a new secret
        #[arg(long)]
        rotate: bool,
        /// How long the old secret signs beside the new one
        #[arg(long, requires = "rotate", value_name = "SPAN")]
        overlap: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Make a new token for a webhook of Truvera's dialect and show it; the old one is not sent any more
    RotateToken {
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Send a sample event to this webhook only
    Test {
        id: String,
        /// The event type; the webhook's first one by default
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub enum SettingsCommand {
    /// Show the settings in force
    Get {
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Change settings: NAME=VALUE, with values in JSON or plain text
    #[command(after_help = "\
Examples:
  sealpost webhook settings set ID payload=thin maxInFlight=2
  sealpost webhook settings set ID retry='{\"intervals\":[\"1s\",\"5s\"]}'
  sealpost webhook settings set ID signatures='[\"http-message-signatures\",\"standard-webhooks\"]'
  sealpost webhook settings set ID --file settings.json")]
    Set {
        id: String,
        /// Settings to change; the others keep their values
        #[arg(value_name = "NAME=VALUE", required_unless_present = "file", conflicts_with = "file")]
        settings: Vec<String>,
        /// All settings as JSON; those not named return to their defaults
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
}

pub async fn run(args: WebhookArgs) -> Result<(), Failure> {
    match args.command {
        WebhookCommand::Create { url, events, disabled, dialect: Dialect::Truvera, common } => {
            truvera::create(&url, &events, disabled, &common).await
        }
        WebhookCommand::List { limit, cursor, all, dialect: Dialect::Truvera, common } => {
            truvera::list(limit, cursor.as_deref(), all, &common).await
        }
        WebhookCommand::Get { id, common } if truvera::is_id(&id) => truvera::get(&id, &common).await,
        WebhookCommand::Update { id, url, events, disable, enable, common } if truvera::is_id(&id) => {
            let change = truvera::Change { url, events, enabled: (disable || enable).then_some(enable) };
            truvera::update(&id, change, &common).await
        }
        WebhookCommand::Delete { id, common } if truvera::is_id(&id) => truvera::delete(&id, &common).await,
        WebhookCommand::RotateToken { id, common } => truvera::rotate_token(&id, &common).await,
        WebhookCommand::Create { url, events, disabled, dialect: Dialect::Mattr, common } => {
            let body = json!({"events": events, "url": url, "disabled": disabled});
            let api = Api::connect(&common.connect)?;
            let webhook = api.send(Method::POST, "/v1/webhooks", Some(&body)).await?;
            show(&webhook, &common.output)
        }
        WebhookCommand::List { limit, cursor, all, dialect: Dialect::Mattr, common } => {
            let limit = limit.to_string();
            let query = [("limit", Some(limit.as_str())), ("cursor", cursor.as_deref())];
            let page = Api::connect(&common.connect)?.list("/v1/webhooks", &query, all).await?;
            if common.output.json {
                return print_page(page);
            }
            output::line(rows(&page.rows))?;
            more(page.next.as_deref());
            Ok(())
        }
        WebhookCommand::Get { id, common } => {
            let webhook = Api::connect(&common.connect)?.get(&path(&id, "")).await.map_err(named(&id))?;
            show(&webhook, &common.output)
        }
        WebhookCommand::Update { id, url, events, disable, enable, common } => {
            let api = Api::connect(&common.connect)?;
            let mut body = api.get(&path(&id, "")).await.map_err(named(&id))?;
            if let Some(members) = body.as_object_mut() {
                let mut put = |name: &str, value: Option<Value>| {
                    value.map(|value| members.insert(name.to_owned(), value));
                };
                put("url", url.map(Value::from));
                put("events", events.map(Value::from));
                put("disabled", (disable || enable).then_some(Value::from(disable)));
            }
            let webhook = api.send(Method::PUT, &path(&id, ""), Some(&body)).await.map_err(named(&id))?;
            show(&webhook, &common.output)
        }
        WebhookCommand::Delete { id, common } => {
            let api = Api::connect(&common.connect)?;
            api.send(Method::DELETE, &path(&id, ""), None).await.map_err(named(&id))?;
            deleted(&id, &common.output)
        }
        WebhookCommand::Settings { command } => settings(command).await,
        WebhookCommand::Secret { id, rotate, overlap, common } => {
            let api = Api::connect(&common.connect)?;
            let answer = if rotate {
                let body = overlap.map_or_else(|| json!({}), |overlap| json!({"overlap": overlap}));
                api.send(Method::POST, &path(&id, "/secret/rotate"), Some(&body)).await
            } else {
                api.get(&path(&id, "/secret")).await
            };
            let answer = answer.map_err(named(&id))?;
            if common.output.json {
                return output::json(&answer);
            }
            let secret = answer.get("secret").and_then(Value::as_str);
            output::line(secret.ok_or_else(|| Failure::failed("the server answered without a secret"))?)
        }
        WebhookCommand::Test { id, event_type, common } => {
            let api = Api::connect(&common.connect)?;
            let body = event_type.map_or_else(|| json!({}), |name| json!({"type": name}));
            let event = api.send(Method::POST, &path(&id, "/test"), Some(&body)).await.map_err(named(&id))?;
            if common.output.json {
                return output::json(&event);
            }
            output::line(publish::one_line(&event, false))?;
            if let Some(event) = event.get("id").and_then(Value::as_str) {
                output::note(format!("see what came of it: sealpost event get {}", output::safe(event)));
            }
            Ok(())
        }
    }
}

async fn settings(command: SettingsCommand) -> Result<(), Failure> {
    match command {
        SettingsCommand::Get { id, common } => {
            let settings =
                Api::connect(&common.connect)?.get(&path(&id, "/settings")).await.map_err(named(&id))?;
            show_settings(&settings, &common.output)
        }
        SettingsCommand::Set { id, settings, file, common } => {
            let api = Api::connect(&common.connect)?;
            let body = match file {
                Some(file) => {
                    let text = std::fs::read_to_string(&file).map_err(|e| Failure::io(file.display(), &e))?;
                    serde_json::from_str(&text)
                        .map_err(|e| Failure::usage(format!("{} is not JSON: {e}", file.display())))?
                }
                None => {
                    let mut body = api.get(&path(&id, "/settings")).await.map_err(named(&id))?;
                    change(&mut body, &settings)?;
                    body
                }
            };
            let settings =
                api.send(Method::PUT, &path(&id, "/settings"), Some(&body)).await.map_err(named(&id))?;
            show_settings(&settings, &common.output)
        }
    }
}

/// Puts `NAME=VALUE` into an object. A value that is not JSON is a text: `payload=thin` needs no quotes.
fn change(settings: &mut Value, changes: &[String]) -> Result<(), Failure> {
    let Some(members) = settings.as_object_mut() else {
        return Err(Failure::failed("the server answered without settings"));
    };
    for change in changes {
        let (name, value) = change
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("`{change}` is not a setting NAME=VALUE")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        members.insert(name.to_owned(), value);
    }
    Ok(())
}

fn path(id: &str, rest: &str) -> String {
    format!("/v1/webhooks/{}{rest}", segment(id))
}

/// Says which webhook was not found.
fn named(id: &str) -> impl Fn(Failure) -> Failure + '_ {
    move |failure| match failure.exit {
        Exit::NotFound => Failure::new(Exit::NotFound, format!("there is no webhook {}", output::safe(id))),
        _ => failure,
    }
}

fn show(webhook: &Value, how: &OutputArgs) -> Result<(), Failure> {
    if how.json {
        return output::json(webhook);
    }
    let paint = how.paint();
    let state = match state(webhook) {
        "disabled" => paint.careful("disabled"),
        enabled => paint.good(enabled),
    };
    output::line(format!("{}  {state}", paint.strong(&output::text(webhook, "id"))))?;
    output::line(format!("url     {}", output::text(webhook, "url")))?;
    output::line(format!("events  {}", events(webhook)))
}

/// `disabled` says it in one dialect, `status` in the other.
fn state(webhook: &Value) -> &'static str {
    let off = webhook.get("disabled") == Some(&Value::Bool(true)) || webhook.get("status") == Some(&json!(0));
    if off { "disabled" } else { "enabled" }
}

fn deleted(id: &str, how: &OutputArgs) -> Result<(), Failure> {
    if how.json { Ok(()) } else { output::line(format!("deleted {}", output::safe(id))) }
}

fn show_settings(settings: &Value, how: &OutputArgs) -> Result<(), Failure> {
    if how.json {
        return output::json(settings);
    }
    let empty = Map::new();
    let members = settings.as_object().unwrap_or(&empty);
    let rows = members.iter().map(|(name, value)| {
        let value = match value {
            Value::String(text) if text.is_empty() => "-".to_owned(),
            Value::String(text) => output::safe(text).into_owned(),
            Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        [name.clone(), value]
    });
    output::line(output::table(&["setting", "value"], rows))
}

fn events(webhook: &Value) -> String {
    let names = webhook.get("events").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(Value::as_str).map(output::safe).collect::<Vec<_>>().join(", ")
}

fn rows(webhooks: &[Value]) -> String {
    let rows = webhooks.iter().map(|webhook| {
        [
            output::text(webhook, "id"),
            state(webhook).to_owned(),
            output::text(webhook, "url"),
            events(webhook),
        ]
    });
    output::table(&["id", "state", "url", "events"], rows)
}

/// A list for machines, as the server would answer it.
pub(super) fn print_page(page: super::client::Page) -> Result<(), Failure> {
    let mut answer = json!({"data": page.rows});
    if let (Some(next), Some(members)) = (page.next, answer.as_object_mut()) {
        members.insert("nextCursor".to_owned(), next.into());
    }
    output::json(&answer)
}

pub(super) fn more(next: Option<&str>) {
    if let Some(cursor) = next {
        output::note(format!("there is more: --all, or --cursor {}", output::safe(cursor)));
    }
}

/// A time given on the command line: RFC 3339, or a span ago.
pub(super) fn moment(text: &str) -> Result<String, Failure> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.to_string());
    }
    if let Ok(span) = text.parse::<sealpost_core::time::Span>() {
        use crate::clock::Clock as _;
        return Ok((crate::clock::SystemClock::start().wall() - span.0).to_string());
    }
    Err(Failure::usage(format!(
        "`{text}` is not a time such as 2026-11-21T08:00:00Z, or a span ago such as 2h"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_list_shows_state_and_events() {
        let list = [
            json!({"id":"5be4f663-af93-41d8-8542-f5c9a2a2d588","url":"https://a.example/in",
                "events":["OpenIdCredentialIssued","did_create"],"disabled":false}),
            json!({"id":"7c0","url":"https://b.example","events":["did_create"],"disabled":true}),
        ];
        expect![[r#"
            ID                                    STATE     URL                   EVENTS
            5be4f663-af93-41d8-8542-f5c9a2a2d588  enabled   https://a.example/in  OpenIdCredentialIssued, did_create
            7c0                                   disabled  https://b.example     did_create"#]]
        .assert_eq(&rows(&list));
    }

    #[test]
    fn settings_are_json_or_plain_text() {
        let mut settings = json!({"payload":"full","timeoutMs":3000});
        let changes = ["payload=thin", "maxInFlight=2", r#"retry={"intervals":["1s"]}"#, "description=a=b"];
        change(&mut settings, &changes.map(str::to_owned)).unwrap();
        assert_eq!(
            settings,
            json!({"payload":"thin","timeoutMs":3000,"maxInFlight":2,"retry":{"intervals":["1s"]},
                "description":"a=b"})
        );
        assert_eq!(change(&mut settings, &["payload".to_owned()]).unwrap_err().code(), 2);
    }

    #[test]
    fn a_moment_is_a_time_or_a_span_ago() {
        assert_eq!(moment("2026-11-21T09:00:00+01:00").unwrap(), "2026-11-21T08:00:00.000Z");
        assert!(moment("2h").unwrap().ends_with('Z'));
        assert_eq!(moment("yesterday").unwrap_err().code(), 2);
    }
}
