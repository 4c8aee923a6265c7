//! `sealpost demo`: the whole of Sealpost in one process, offline, in a few seconds.
//!
//! The real service on a temporary store, three real HTTPS receivers on this machine (one healthy, one that refuses
//! every second delivery at first, one that is not there), and a set of real credential events. Everything goes
//! through the public API and over TLS; the receivers verify every request against the published keys. It succeeds
//! only if every single delivery ended as it should.

mod progress;
mod receivers;
mod stage;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use self::progress::Progress;
use self::receivers::{Part, Receivers};
use self::stage::Stage;
use self::verdict::{Ended, Row};
use super::client::{Api, Body, Failure, accepted, segment};
use super::listen::Ends;
use super::output::{self, OutputArgs, Paint};
use super::verify::server_keys;
use crate::clock::{Clock as _, SystemClock};

/// Real credential events made by real issuer software; see README.md beside the file.
const EVENTS: &str = include_str!("../../../demo/events.jsonl");
/// Far more than it takes; a demo that hangs should say so.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// See it work: real events, signed, delivered over TLS, retried and verified, on this machine alone
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Keep the server running at the end, to look around in it
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

pub async fn run(args: DemoArgs) -> Result<(), Failure> {
    let mut ends = Ends::listen()?;
    let stage = Stage::set().await?;
    let outcome = tokio::select! {
        outcome = play(&stage, &args) => outcome,
        () = ends.recv() => Err(Failure::failed("interrupted")),
    };
    if args.keep && outcome.is_ok() {
        output::note("the server and the receivers stay up; Ctrl-C ends and removes them");
        ends.recv().await;
    }
    let struck = stage.strike().await;
    let receivers = outcome?;
    drop(receivers);
    struck
}

/// The play itself; what it gives keeps the receivers alive.
async fn play(stage: &Stage, args: &DemoArgs) -> Result<Receivers, Failure> {
    let clock = Arc::new(SystemClock::start());
    let begun = clock.boot();
    let paint = args.output.paint();
    let say = |text: String| if args.output.json { Ok(()) } else { output::line(text) };
    let api = stage.api()?;
    say(format!("{} on {} with an empty store", paint.strong("server"), stage.url()))?;

    // A receiver's first step: the sender's public keys, over HTTP like anybody would.
    let keys = server_keys(&api).await?;
    let receivers = Receivers::open(stage.identity(), keys, Arc::clone(&clock)).await?;
    let types = event_types(EVENTS)?;
    let mut webhooks = BTreeMap::new();
    for part in Part::ALL {
        let url = receivers.url(part);
        let body = json!({"events": types, "url": url});
        let webhook = api.send(Method::POST, "/v1/webhooks", Some(&body)).await?;
        let id = webhook.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        say(format!("{} {} at {url}: {}", paint.strong("webhook"), part.name(), part.about()))?;
        webhooks.insert(part, id);
    }

    let count = EVENTS.lines().count();
    let body = Body { content_type: "application/x-ndjson", bytes: EVENTS.as_bytes().into() };
    let answer = api.call(Method::POST, "/v1/webhooks/events", Some(body), &[]).await?;
    let answer = accepted(&answer, true)?;
    let ids = event_ids(&answer);
    let made = ids.len() - count.min(ids.len());
    say(format!(
        "{} {count} real credential events of {} types, {}; {made} summaries were derived from them",
        paint.strong("published"),
        types.len(),
        output::bytes(EVENTS.len())
    ))?;

    watch(&api, &webhooks, ids.len(), &clock, args).await?;

    let mut rows = Vec::new();
    for part in Part::ALL {
        let webhook = webhooks.get(&part).map(String::as_str).unwrap_or_default();
        let ended = ended(&api, webhook).await?;
        rows.push(verdict::judge(part, &ids, &payloads(EVENTS, &ids)?, &ended, &receivers.seen(part)));
    }
    let took = clock.boot().saturating_sub(begun);
    report(&rows, took, stage, args, paint)?;
    let problems: Vec<&str> = rows.iter().flat_map(|row| &row.problems).map(String::as_str).collect();
    if problems.is_empty() {
        return Ok(receivers);
    }
    let more = problems.len().saturating_sub(20);
    let mut sentence = problems.into_iter().take(20).collect::<Vec<_>>().join("\n  ");
    if more > 0 {
        sentence.push_str(&format!("\n  and {more} more"));
    }
    Err(Failure::failed(format!("not every delivery ended as it should:\n  {sentence}")))
}

/// Every type in the set, in order of appearance, and the summary that is derived.
fn event_types(events: &str) -> Result<Vec<String>, Failure> {
    let mut types: Vec<String> = Vec::new();
    for line in events.lines() {
        let event: Value =
            serde_json::from_str(line).map_err(|e| Failure::failed(format!("a demo event: {e}")))?;
        let name = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !types.contains(&name) {
            types.push(name);
        }
    }
    Ok(types)
}

/// The ids of all events that were accepted, in order, then of those derived from them.
fn event_ids(answer: &Value) -> Vec<String> {
    let data = answer.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let id = |event: &Value| event.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let derived =
        data.iter().flat_map(|event| event.get("derived").and_then(Value::as_array).into_iter().flatten());
    data.iter().chain(derived).map(id).collect()
}

/// What must stand in each request, by event id, in the form it leaves in.
fn payloads(events: &str, ids: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        payload: &'a serde_json::value::RawValue,
    }
    let wrong = |why: String| Failure::failed(format!("a demo event: {why}"));
    let mut payloads = BTreeMap::new();
    for (line, id) in events.lines().zip(ids) {
        let event: Event<'_> = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        let payload =
            sealpost_core::payload::Payload::parse(event.payload.get()).map_err(|e| wrong(e.to_string()))?;
        payloads.insert(id.clone(), payload.as_str().to_owned());
    }
    Ok(payloads)
}

/// Shows how far each webhook is until nothing is pending any more.
async fn watch(
    api: &Api,
    webhooks: &BTreeMap<Part, String>,
    expected: usize,
    clock: &SystemClock,
    args: &DemoArgs,
) -> Result<(), Failure> {
    let mut progress = Progress::new(expected, args.output.json);
    let begun = clock.boot();
    loop {
        let mut pending = 0;
        for (part, id) in webhooks {
            let query = [("webhookId", Some(id.as_str())), ("limit", Some("1000"))];
            let page = api.list("/v1/webhooks/deliveries", &query, true).await?;
            let of = |status: &str| {
                page.rows.iter().filter(|d| d.get("status").and_then(Value::as_str) == Some(status)).count()
            };
            let (delivered, failed) = (of("delivered"), of("failed"));
            pending += expected.saturating_sub(delivered + failed + of("cancelled"));
            progress.set(*part, delivered, failed);
        }
        progress.show(clock.boot().saturating_sub(begun));
        if pending == 0 || clock.boot().saturating_sub(begun) > PATIENCE {
            progress.end();
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Every delivery of a webhook with its attempts, as anybody may read them.
async fn ended(api: &Api, webhook: &str) -> Result<Vec<Ended>, Failure> {
    let query = [("webhookId", Some(webhook)), ("limit", Some("1000"))];
    let page = api.list("/v1/webhooks/deliveries", &query, true).await?;
    let mut all = Vec::with_capacity(page.rows.len());
    for delivery in page.rows {
        let id = delivery.get("id").and_then(Value::as_str).unwrap_or_default();
        all.push(Ended::read(&api.get(&format!("/v1/webhooks/deliveries/{}", segment(id))).await?));
    }
    Ok(all)
}

fn report(rows: &[Row], took: Duration, stage: &Stage, args: &DemoArgs, paint: Paint) -> Result<(), Failure> {
    if args.output.json {
        return output::json(&json!({
            "ok": rows.iter().all(|row| row.problems.is_empty()),
            "tookMs": took.as_millis() as u64,
            "webhooks": rows.iter().map(Row::json).collect::<Vec<_>>(),
        }));
    }
    output::line("")?;
    output::line(verdict::table(rows))?;
    output::line("")?;
    if rows.iter().all(|row| row.problems.is_empty()) {
        let verdict = format!(
            "every delivery ended as it should, in {}.{} s",
            took.as_secs(),
            took.subsec_millis() / 100
        );
        output::line(paint.good(&verdict))?;
    }
    output::line("")?;
    let lines = if args.keep { stage.look_around() } else { stage::LOOK_FURTHER.to_owned() };
    output::line(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealpost_core::event_type::{MATTR, TRUVERA};

    #[test]
    fn the_set_holds_every_type_but_the_one_nobody_documents() {
        let types = event_types(EVENTS).unwrap();
        for name in MATTR.iter().chain(&TRUVERA) {
            assert_eq!(types.iter().any(|t| t == name), *name != "didcomm_message_received", "{name}");
        }
        for format in ["ldp_vc", "jwt_vc_json", "vc+sd-jwt", "mso_mdoc", "w3cvc-jsonld"] {
            assert!(
                EVENTS.contains(&format!("\"format\":\"{format}\""))
                    || EVENTS.contains(&format!("\"format\": \"{format}\"")),
                "{format}"
            );
        }
    }

    #[test]
    fn ids_are_of_events_and_then_of_what_was_derived() {
        let answer = json!({"data":[{"id":"a","derived":[{"id":"c"}]},{"id":"b","derived":[]}]});
        assert_eq!(event_ids(&answer), ["a", "b", "c"]);
    }
}
