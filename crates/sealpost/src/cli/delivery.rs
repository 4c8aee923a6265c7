//! `sealpost delivery ...`: every attempt, when the next one is due, and the tools for repair.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use sealpost_core::time::Timestamp;
use serde_json::{Value, json};

use super::client::{Api, Exit, Failure, segment, with_query};
use super::output::{self, OutputArgs, Paint};
use super::webhook::{Common, moment, more, print_page};
use crate::clock::{Clock as _, SystemClock};

/// Look at deliveries and repair them
#[derive(Clone, Debug, Args)]
pub struct DeliveryArgs {
    #[command(subcommand)]
    pub command: DeliveryCommand,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum StatusArg {
    Pending,
    Delivered,
    Failed,
    Cancelled,
}

impl StatusArg {
    fn as_str(self) -> &'static str {
        match self {
            StatusArg::Pending => "pending",
            StatusArg::Delivered => "delivered",
            StatusArg::Failed => "failed",
            StatusArg::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug, Subcommand)]
pub enum DeliveryCommand {
    /// List deliveries, newest first
    List {
        /// Only to this webhook
        #[arg(long, value_name = "ID")]
        webhook: Option<String>,
        /// Only of this event
        #[arg(long, value_name = "ID")]
        event: Option<String>,
        #[arg(long)]
        status: Option<StatusArg>,
        /// Only of this event type
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
    /// Show one delivery and each of its attempts
    Get {
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Send again: one delivery, or with --webhook many of one webhook
    Redeliver {
        /// The delivery
        #[arg(required_unless_present = "webhook", conflicts_with = "webhook")]
        id: Option<String>,
        /// Deliveries of this webhook
        #[arg(long, value_name = "ID", requires = "from")]
        webhook: Option<String>,
        /// Those accepted from this time on: RFC 3339, or a span ago such as 2h
        #[arg(long, value_name = "TIME", requires = "webhook")]
        from: Option<String>,
        /// Up to this time; now by default
        #[arg(long, value_name = "TIME", requires = "webhook")]
        to: Option<String>,
        /// Only those that ended so
        #[arg(long, requires = "webhook", default_value = "failed")]
        status: StatusArg,
        /// Only count them
        #[arg(long, requires = "webhook")]
        dry_run: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Give a pending delivery up
    Cancel {
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

const DELIVERIES: &str = "/v1/webhooks/deliveries";

pub async fn run(args: DeliveryArgs) -> Result<(), Failure> {
    match args.command {
        DeliveryCommand::List {
            webhook,
            event,
            status,
            event_type,
            from,
            to,
            limit,
            cursor,
            all,
            common,
        } => {
            let (from, to) =
                (from.as_deref().map(moment).transpose()?, to.as_deref().map(moment).transpose()?);
            let limit = limit.to_string();
            let query = [
                ("webhookId", webhook.as_deref()),
                ("eventId", event.as_deref()),
                ("status", status.map(StatusArg::as_str)),
                ("type", event_type.as_deref()),
                ("from", from.as_deref()),
                ("to", to.as_deref()),
                ("limit", Some(limit.as_str())),
                ("cursor", cursor.as_deref()),
            ];
            let page = Api::connect(&common.connect)?.list(DELIVERIES, &query, all).await?;
            if common.output.json {
                return print_page(page);
            }
            output::line(rows(&page.rows))?;
            more(page.next.as_deref());
            Ok(())
        }
        DeliveryCommand::Get { id, common } => {
            let path = format!("{DELIVERIES}/{}", segment(&id));
            let delivery = Api::connect(&common.connect)?.get(&path).await.map_err(named(&id))?;
            if common.output.json {
                return output::json(&delivery);
            }
            output::line(timeline(&delivery, SystemClock::start().wall(), common.output.paint()))
        }
        DeliveryCommand::Redeliver { id: Some(id), common, .. } => {
            let path = format!("{DELIVERIES}/{}/redeliver", segment(&id));
            let answer =
                Api::connect(&common.connect)?.send(Method::POST, &path, None).await.map_err(named(&id))?;
            said(&answer, &common.output, |answer| {
                format!("sending again as delivery {}", output::text(answer, "id"))
            })
        }
        DeliveryCommand::Redeliver { id: None, webhook, from, to, status, dry_run, common } => {
            let webhook =
                webhook.ok_or_else(|| Failure::usage("name a delivery, or a webhook with --webhook"))?;
            let mut body = json!({"status": status.as_str()});
            for (name, value) in [("from", from), ("to", Some(to.unwrap_or_else(|| "0s".to_owned())))] {
                if let Some(value) = value {
                    body[name] = moment(&value)?.into();
                }
            }
            let path = format!("/v1/webhooks/{}/redeliver", segment(&webhook));
            let path = with_query(&path, &[("dryRun", dry_run.then_some("true"))]);
            let answer = Api::connect(&common.connect)?.send(Method::POST, &path, Some(&body)).await?;
            said(&answer, &common.output, |answer| {
                let count = answer.get("count").and_then(Value::as_u64).unwrap_or(0) as usize;
                let deliveries = if count == 1 { "1 delivery" } else { &format!("{count} deliveries") };
                if dry_run {
                    format!("{deliveries} would be sent again")
                } else {
                    format!("sending {deliveries} again")
                }
            })
        }
        DeliveryCommand::Cancel { id, common } => {
            let path = format!("{DELIVERIES}/{}/cancel", segment(&id));
            let answer =
                Api::connect(&common.connect)?.send(Method::POST, &path, None).await.map_err(named(&id))?;
            said(&answer, &common.output, |answer| {
                format!("{} {}", output::text(answer, "status"), output::safe(&id))
            })
        }
    }
}

fn said(answer: &Value, how: &OutputArgs, sentence: impl Fn(&Value) -> String) -> Result<(), Failure> {
    if how.json { output::json(answer) } else { output::line(sentence(answer)) }
}

fn named(id: &str) -> impl Fn(Failure) -> Failure + '_ {
    move |failure| match failure.exit {
        Exit::NotFound => Failure::new(Exit::NotFound, format!("there is no delivery {}", output::safe(id))),
        _ => failure,
    }
}

fn attempts(delivery: &Value) -> &[Value] {
    delivery.get("attempts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn rows(deliveries: &[Value]) -> String {
    let rows = deliveries.iter().map(|delivery| {
        [
            output::text(delivery, "id"),
            with_reason(delivery),
            output::text(delivery, "type"),
            output::text(delivery, "webhookId"),
            output::text(delivery, "createdAt"),
            output::text(delivery, "nextAttemptAt"),
        ]
    });
    output::table(&["id", "status", "type", "webhook", "created", "next attempt"], rows)
}

fn with_reason(delivery: &Value) -> String {
    let status = output::text(delivery, "status");
    match delivery.get("reason").and_then(Value::as_str) {
        Some(reason) => format!("{status} ({})", output::safe(reason)),
        None => status,
    }
}

/// The life of one delivery, to the millisecond where it matters.
fn timeline(delivery: &Value, now: Timestamp, paint: Paint) -> String {
    let status = output::text(delivery, "status");
    let reason = delivery.get("reason").and_then(Value::as_str);
    let reason = reason.map_or(String::new(), |reason| format!(" ({})", output::safe(reason)));
    let mut lines = vec![
        format!("{}  {}{reason}", paint.strong(&output::text(delivery, "id")), paint.status(&status)),
        format!("event    {} {}", output::text(delivery, "type"), output::text(delivery, "eventId")),
        format!("webhook  {}", output::text(delivery, "webhookId")),
    ];
    if delivery.get("test").and_then(Value::as_bool) == Some(true) {
        lines.push("test     yes".to_owned());
    }
    lines.push(format!("created  {}", output::time(&output::text(delivery, "createdAt"), now)));
    for attempt in attempts(delivery) {
        lines.push(format!(
            "attempt {} {}  {}",
            output::text(attempt, "number"),
            output::text(attempt, "startedAt"),
            outcome(attempt, paint)
        ));
        if let Some(excerpt) =
            attempt.get("responseExcerpt").and_then(Value::as_str).filter(|e| !e.is_empty())
        {
            let short: String = excerpt.chars().take(200).collect();
            lines.push(paint.dim(&format!("          answered: {}", output::safe(&short))));
        }
    }
    if let Some(next) = delivery.get("nextAttemptAt").and_then(Value::as_str) {
        let until = Timestamp::parse(next).map_or(String::new(), |at| format!(" ({})", output::ago(at, now)));
        lines.push(format!("next     {}{until}", output::safe(next)));
    }
    lines.join("\n")
}

fn outcome(attempt: &Value, paint: Paint) -> String {
    let outcome = output::text(attempt, "outcome");
    let mut said = if outcome == "delivered" { paint.good(&outcome) } else { paint.bad(&outcome) };
    if let Some(status) = attempt.get("statusCode").and_then(Value::as_u64) {
        said.push_str(&format!(" {status}"));
    }
    if let Some(took) = attempt.get("durationMs").and_then(Value::as_u64) {
        said.push_str(&format!(" in {took} ms"));
    }
    if let Some(error) = attempt.get("error").and_then(Value::as_str) {
        said.push_str(&format!(": {}", output::safe(error)));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_delivery_is_a_timeline() {
        let delivery = json!({
            "id":"d1","eventId":"e1","webhookId":"w1","type":"did_create","status":"pending",
            "createdAt":"2026-11-21T11:59:00.000Z","nextAttemptAt":"2026-11-21T12:00:10.250Z",
            "attempts":[
                {"number":1,"startedAt":"2026-11-21T11:59:00.004Z","durationMs":12,"outcome":"http_status",
                 "statusCode":503,"responseExcerpt":"over\nload"},
                {"number":2,"startedAt":"2026-11-21T11:59:10.300Z","durationMs":3000,"outcome":"timeout",
                 "error":"`a.example` gave no answer in time"}]});
        let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        expect![[r#"
            d1  pending
            event    did_create e1
            webhook  w1
            created  2026-11-21 11:59:00Z (1 min ago)
            attempt 1 2026-11-21T11:59:00.004Z  http_status 503 in 12 ms
                      answered: over�load
            attempt 2 2026-11-21T11:59:10.300Z  timeout in 3000 ms: `a.example` gave no answer in time
            next     2026-11-21T12:00:10.250Z (in 10 s)"#]]
        .assert_eq(&timeline(&delivery, now, Paint::PLAIN));
    }

    #[test]
    fn a_list_says_why_and_when() {
        let list = [json!({"id":"d1","status":"failed","reason":"attempts_exhausted","type":"did_create",
            "webhookId":"w1","createdAt":"2026-11-21T11:59:00.000Z"})];
        expect![[r#"
            ID  STATUS                       TYPE        WEBHOOK  CREATED                   NEXT ATTEMPT
            d1  failed (attempts_exhausted)  did_create  w1       2026-11-21T11:59:00.000Z  -"#]]
        .assert_eq(&rows(&list));
    }
}
