//! `sealpost event ...`: what was accepted, and where it went.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Api, Exit, Failure, segment};
use super::output::{self, OutputArgs};
use super::webhook::{Common, moment, more, print_page};
use crate::clock::{Clock as _, SystemClock};

/// Look at events
#[derive(Clone, Debug, Args)]
pub struct EventArgs {
    #[command(subcommand)]
    pub command: EventCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum EventCommand {
    /// List events, newest first
    List {
        /// Only this type
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        /// From this time on: RFC 3339, or a span ago such as 2h
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Up to this time
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
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
    /// Show one event and its deliveries
    Get {
        id: String,
        /// With its payload; reading it is audited
        #[arg(long)]
        payload: bool,
        #[command(flatten)]
        common: Common,
    },
}

pub async fn run(args: EventArgs) -> Result<(), Failure> {
    match args.command {
        EventCommand::List { event_type, from, to, limit, cursor, all, common } => {
            let (from, to) =
                (from.as_deref().map(moment).transpose()?, to.as_deref().map(moment).transpose()?);
            let limit = limit.to_string();
            let query = [
                ("type", event_type.as_deref()),
                ("from", from.as_deref()),
                ("to", to.as_deref()),
                ("limit", Some(limit.as_str())),
                ("cursor", cursor.as_deref()),
            ];
            let page = Api::connect(&common.connect)?.list("/v1/webhooks/events", &query, all).await?;
            if common.output.json {
                return print_page(page);
            }
            output::line(rows(&page.rows))?;
            more(page.next.as_deref());
            Ok(())
        }
        EventCommand::Get { id, payload, common } => {
            let query = if payload { "?include=payload" } else { "" };
            let path = format!("/v1/webhooks/events/{}{query}", segment(&id));
            let event =
                Api::connect(&common.connect)?.get(&path).await.map_err(|failure| match failure.exit {
                    Exit::NotFound => {
                        Failure::new(Exit::NotFound, format!("there is no event {}", output::safe(&id)))
                    }
                    _ => failure,
                })?;
            if common.output.json { output::json(&event) } else { show(&event, &common.output) }
        }
    }
}

fn rows(events: &[Value]) -> String {
    let rows = events.iter().map(|event| {
        [
            output::text(event, "id"),
            output::text(event, "type"),
            output::text(event, "timestamp"),
            statuses(event),
        ]
    });
    output::table(&["id", "type", "timestamp", "deliveries"], rows)
}

fn deliveries(event: &Value) -> &[Value] {
    event.get("deliveries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// `2 delivered, 1 failed`, in the order of a delivery's life.
fn statuses(event: &Value) -> String {
    let of = |status: &str| {
        deliveries(event).iter().filter(|d| d.get("status").and_then(Value::as_str) == Some(status)).count()
    };
    let counts: Vec<String> = ["pending", "delivered", "failed", "cancelled"]
        .into_iter()
        .map(|status| (status, of(status)))
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| format!("{count} {status}"))
        .collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

fn show(event: &Value, how: &OutputArgs) -> Result<(), Failure> {
    let paint = how.paint();
    let now = SystemClock::start().wall();
    output::line(format!("{}  {}", paint.strong(&output::text(event, "type")), output::text(event, "id")))?;
    output::line(format!("timestamp  {}", output::time(&output::text(event, "timestamp"), now)))?;
    for derived in event.get("derived").and_then(Value::as_array).into_iter().flatten() {
        output::line(format!(
            "derived    {} {}",
            output::text(derived, "type"),
            output::text(derived, "id")
        ))?;
    }
    if deliveries(event).is_empty() {
        output::line("no webhook was subscribed")?;
    } else {
        let rows = deliveries(event)
            .iter()
            .map(|d| [output::text(d, "id"), output::text(d, "webhookId"), output::text(d, "status")]);
        output::line("")?;
        output::line(output::table(&["delivery", "webhook", "status"], rows))?;
    }
    if let Some(payload) = event.get("payload") {
        output::line("")?;
        output::json(payload)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn a_list_counts_deliveries_by_status() {
        let list = [
            json!({"id":"e1","type":"did_create","timestamp":"2026-11-21T21:47:23.239Z","deliveries":[
                {"id":"d1","webhookId":"w1","status":"delivered"},
                {"id":"d2","webhookId":"w2","status":"failed"},
                {"id":"d3","webhookId":"w3","status":"delivered"}]}),
            json!({"id":"e2","type":"proof_submitted","timestamp":"2026-11-21T21:47:24.000Z","deliveries":[]}),
        ];
        expect![[r#"
            ID  TYPE             TIMESTAMP                 DELIVERIES
            e1  did_create       2026-11-21T21:47:23.239Z  2 delivered, 1 failed
            e2  proof_submitted  2026-11-21T21:47:24.000Z  none"#]]
        .assert_eq(&rows(&list));
    }
}
