//! `sealpost publish`: brings events from a file or standard input to the server, in as few requests as the server's
//! limits allow.
//!
//! What is read goes on as it was written, number by number; only line ends inside an event become blanks. A batch
//! is accepted whole or not at all; one that was refused is named by its lines and the others go on.

mod input;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::Method;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use indicatif::{ProgressBar, ProgressStyle};
use sealpost_core::limits::IDEMPOTENCY_KEY_BYTES;
use sealpost_egress::ApiAnswer;
use serde_json::{Value, json};

use self::input::{Batch, Batches, Shape};
use super::client::{Api, Body, ConnectArgs, Failure, accepted, refusal};
use super::output::{self, OutputArgs};

/// Publish events, or with --type one payload
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sealpost publish --type did_create payload.json     one event with this payload
  sealpost publish events.jsonl                       one event a line
  producer | sealpost publish                         the same from standard input
  sealpost publish --idempotency-key run-7 today.json repeating this publishes nothing twice")]
pub struct PublishArgs {
    /// The input is one payload of this type; without it the input holds whole events {type, payload, ...}
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Events or a payload: an object, an array, or one object a line; `-` or nothing is standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Repeating a command with the same key and content publishes nothing twice
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// The input holds CloudEvents 1.0 in JSON
    #[arg(long, conflicts_with = "event_type")]
    pub cloud_events: bool,
    #[command(flatten)]
    pub connect: ConnectArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A server that is busy is asked again this often, and never waited for longer than this at a time.
const TRIES_WHILE_BUSY: u32 = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Tally {
    accepted: usize,
    repeated: usize,
    failed: usize,
}

pub async fn run(args: PublishArgs) -> Result<(), Failure> {
    let api = Api::connect(&args.connect)?;
    if let Some(key) = &args.idempotency_key {
        // Room is left for the number of a further batch.
        if key.is_empty()
            || key.len() > IDEMPOTENCY_KEY_BYTES - 12
            || !key.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(Failure::usage("an idempotency key is 1 to 243 visible ASCII characters"));
        }
    }
    let (source, size) = input::open(args.file.as_deref())?;
    if let Some(event_type) = &args.event_type {
        let body = input::one_payload(source, event_type)?;
        return publish_one(&api, &args, body).await;
    }
    let shape = if args.cloud_events { Shape::CloudEventBatch } else { Shape::Ndjson };
    publish_all(&api, &args, Batches::read(source, shape)?, size).await
}

async fn publish_one(api: &Api, args: &PublishArgs, body: Bytes) -> Result<(), Failure> {
    let body = Body { content_type: "application/json", bytes: body };
    let answer = send(api, body, args.idempotency_key.as_deref()).await?;
    let value = accepted(&answer, api.has_key())?;
    if args.output.json {
        return output::json(&value);
    }
    output::line(one_line(&value, answer.status == 200))
}

/// `accepted did_create 0c09... to 2 webhooks`.
pub(super) fn one_line(event: &Value, repeated: bool) -> String {
    let deliveries = event.get("deliveries").and_then(Value::as_u64).unwrap_or(0) as usize;
    let mut line = format!(
        "{} {} {} for {}",
        if repeated { "repeated" } else { "accepted" },
        output::text(event, "type"),
        output::text(event, "id"),
        output::count(deliveries, "webhook"),
    );
    for derived in event.get("derived").and_then(Value::as_array).into_iter().flatten() {
        let deliveries = derived.get("deliveries").and_then(Value::as_u64).unwrap_or(0) as usize;
        line.push_str(&format!(
            "\n  and {} {} for {}",
            output::text(derived, "type"),
            output::text(derived, "id"),
            output::count(deliveries, "webhook")
        ));
    }
    line
}

async fn publish_all(
    api: &Api,
    args: &PublishArgs,
    batches: Batches,
    size: Option<u64>,
) -> Result<(), Failure> {
    let bar = progress(size);
    let mut tally = Tally::default();
    let mut worst: Option<Failure> = None;
    let mut results = Vec::new();
    let mut number = 0_u32;
    for batch in batches {
        let batch = batch.map_err(|failure| after(&bar, failure, tally))?;
        number += 1;
        // The key names one request; later ones get a number, the same on every repeat of the same input.
        let key = args.idempotency_key.as_ref().map(|key| match number {
            1 => key.clone(),
            number => format!("{key}/{number}"),
        });
        let answer = send(
            api,
            Body { content_type: batch.shape.content_type(), bytes: batch.body.clone() },
            key.as_deref(),
        )
        .await
        .map_err(|failure| after(&bar, failure, tally))?;
        match accepted(&answer, api.has_key()) {
            Ok(value) => {
                let count = batch.lines.len();
                let data =
                    value.get("data").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![value]);
                // 200: every event of the request had been accepted before.
                match answer.status {
                    200 => tally.repeated += count,
                    _ => tally.accepted += count,
                }
                if args.output.json {
                    results.extend(data);
                }
            }
            Err(failure) => {
                tally.failed += batch.lines.len();
                let named = refused(&batch, &answer, &failure);
                if args.output.json {
                    results.push(json!({"lines": batch.span(), "error": named}));
                }
                bar.suspend(|| output::note(format!("{}: {named}", batch.span())));
                // A key that may not publish will not do so in the next batch either.
                let hopeless = matches!(answer.status, 401 | 403);
                worst = Some(failure);
                if hopeless {
                    break;
                }
            }
        }
        bar.set_position(batch.end);
        bar.set_message(said(tally));
    }
    bar.finish_and_clear();
    if number == 0 {
        return Err(Failure::usage("the input holds no event"));
    }
    if args.output.json {
        results.iter().try_for_each(output::json_line)?;
    } else {
        output::line(said(tally))?;
    }
    match worst {
        None => Ok(()),
        Some(failure) => {
            Err(Failure::new(failure.exit, format!("{} not published", output::count(tally.failed, "event"))))
        }
    }
}

fn said(tally: Tally) -> String {
    format!("{} accepted, {} repeated, {} failed", tally.accepted, tally.repeated, tally.failed)
}

/// What was already published stays published; whoever repeats the command should know.
fn after(bar: &ProgressBar, failure: Failure, tally: Tally) -> Failure {
    bar.finish_and_clear();
    if tally == Tally::default() {
        return failure;
    }
    Failure::new(failure.exit, format!("{} (before that: {})", failure.message, said(tally)))
}

/// The server counts events from 0 within a request (`[3].timestamp: ...`); people count lines of their file.
fn refused(batch: &Batch, answer: &ApiAnswer, failure: &Failure) -> String {
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let param = problem.pointer("/details/0/param").and_then(Value::as_str);
    let index = param.and_then(index_of).or_else(|| index_of(&failure.message));
    match index.and_then(|index| batch.lines.get(index)) {
        Some(line) if batch.lines.len() > 1 => {
            format!("refused because of {} {line}: {}", batch.unit(), failure.message)
        }
        _ => format!("refused: {}", failure.message),
    }
}

/// The first `[number]` of a text.
fn index_of(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']')?.0.parse().ok()
}

/// Sends one request; a server that is busy says so before it stores anything, so asking again is safe.
async fn send(api: &Api, body: Body, key: Option<&str>) -> Result<ApiAnswer, Failure> {
    let mut headers = Vec::new();
    if let Some(key) = key {
        let value =
            HeaderValue::try_from(key).map_err(|_| Failure::usage("the idempotency key is not ASCII"))?;
        headers.push((HeaderName::from_static("idempotency-key"), value));
    }
    let mut tries = 1;
    loop {
        let answer = api.call(Method::POST, "/v1/webhooks/events", Some(body.clone()), &headers).await?;
        let wait = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        match (answer.status, wait) {
            (429 | 503, Some(seconds)) if tries < TRIES_WHILE_BUSY => {
                tokio::time::sleep(Duration::from_secs(seconds).min(LONGEST_WAIT)).await;
                tries += 1;
            }
            (429 | 503, _) => return Err(refusal(&answer, api.has_key())),
            _ => return Ok(answer),
        }
    }
}

/// Drawn on standard error, and only if that is a terminal.
fn progress(size: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:30} {percent:>3}%  {msg}  {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::Exit;
    use http::HeaderMap;

    #[test]
    fn a_refused_batch_names_the_line_in_the_file() {
        let batch = Batch {
            shape: Shape::Ndjson,
            body: Bytes::new(),
            lines: vec![1001, 1002, 1004],
            by_line: true,
            end: 0,
        };
        let body = r#"{"code":"BadRequest","message":"Validation Error","details":[{"location":"body","msg":"must be a UUID","param":"[2].id"}]}"#;
        let answer =
            ApiAnswer { status: 400, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) };
        let failure = refusal(&answer, true);
        assert_eq!(batch.span(), "lines 1001 to 1004");
        assert_eq!(
            refused(&batch, &answer, &failure),
            "refused because of line 1004: [2].id: must be a UUID"
        );
    }

    #[test]
    fn an_accepted_event_is_one_line() {
        let event = json!({"id":"e1","type":"OpenIdCredentialIssued","deliveries":1,
            "derived":[{"id":"e2","type":"OpenIdCredentialIssuedSummary","deliveries":2}]});
        assert_eq!(
            one_line(&event, false),
            "accepted OpenIdCredentialIssued e1 for 1 webhook\n  and OpenIdCredentialIssuedSummary e2 for 2 webhooks"
        );
        assert_eq!(one_line(&json!({"id":"e1","type":"a"}), true), "repeated a e1 for 0 webhooks");
    }

    #[test]
    fn what_was_published_before_a_failure_is_said() {
        let failure = after(
            &ProgressBar::hidden(),
            Failure::new(Exit::Unreachable, "gone"),
            Tally { accepted: 2, ..Tally::default() },
        );
        assert_eq!(failure.code(), 5);
        assert_eq!(failure.message, "gone (before that: 2 accepted, 0 repeated, 0 failed)");
    }
}
