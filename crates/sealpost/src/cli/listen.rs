//! `sealpost listen`: a receiver on this machine that verifies each request and says what came.
//!
//! It answers before it verifies, so that looking at a delivery never makes it late. With `--register` it registers
//! itself and takes the registration back when it ends.

pub(crate) mod receiver;
mod render;
pub(crate) mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};
use sealpost_core::time::Timestamp;
use sealpost_signature::WebhookSecret;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::receiver::Handler;
use self::render::{Delivery, line_for_machines, line_for_people};
use self::tls::Identity;
use super::client::{Api, ConnectArgs, Exit, Failure, segment};
use super::output::{self, OutputArgs, Paint};
use super::verify::check::{Keys, Report, check};
use super::verify::recorded::Request;
use super::verify::server_keys;
use crate::clock::{Clock, SystemClock};

/// Receive events on this machine, verify and show them
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A server reaches this machine only if it was started for it:
  http:   SEALPOST_EGRESS_HTTP=loopback sealpost serve
  https:  SEALPOST_EGRESS_ALLOW=127.0.0.0/8 SEALPOST_EGRESS_CA=sealpost-listen.pem sealpost serve

Examples:
  sealpost listen --register --events OpenIdCredentialIssued,did_create
  sealpost listen --tls --register --events did_create --fail 2")]
pub struct ListenArgs {
    /// The port on 127.0.0.1; 0 takes any free one
    #[arg(long, short, default_value_t = 8787)]
    pub port: u16,
    /// Receive over https with a certificate made for this machine
    #[arg(long)]
    pub tls: bool,
    /// Where the certificate authority of --tls is kept, for SEALPOST_EGRESS_CA
    #[arg(long, value_name = "FILE", default_value = "sealpost-listen.pem", requires = "tls")]
    pub ca_file: PathBuf,
    /// Register this receiver at the server, and delete the registration at the end
    #[arg(long, requires = "events")]
    pub register: bool,
    /// Event types to register for, separated by commas
    #[arg(long, short, value_delimiter = ',', value_name = "TYPES", requires = "register")]
    pub events: Vec<String>,
    /// The URL to register instead of this machine's, such as that of a tunnel to it
    #[arg(long, value_name = "URL", requires = "register")]
    pub url: Option<String>,
    /// A Standard Webhooks secret; when registered it is asked for at the server
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<String>,
    /// Answer the first N requests with an error
    #[arg(long, value_name = "N")]
    pub fail: Option<u64>,
    /// The error; without --fail every request is answered with it
    #[arg(long, value_name = "CODE", value_parser = status)]
    pub status: Option<StatusCode>,
    /// Show payloads as they are; with --json the whole request
    #[arg(long)]
    pub show_payload: bool,
    /// End after so many requests
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    #[command(flatten)]
    pub connect: ConnectArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

fn status(text: &str) -> Result<StatusCode, String> {
    match text.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
        Some(status) if status.as_u16() >= 200 => Ok(status),
        _ => Err("is not a status such as 503".into()),
    }
}

/// Requests that wait to be shown; a terminal that stands still must not fill the memory.
const WAITING: usize = 1024;
/// How often keys are asked for again when a request names an unknown one.
const KEYS_AGAIN: Duration = Duration::from_secs(5);
const MAX_AGE_S: u32 = 300;

#[derive(Debug)]
struct Got {
    request: Request,
    answered: StatusCode,
    at: Timestamp,
}

pub async fn run(args: ListenArgs) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::start());
    let secrets = args
        .secret
        .iter()
        .map(|text| WebhookSecret::parse(text).map_err(|error| Failure::usage(format!("--secret: {error}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let api = Api::connect(&args.connect)?;
    let acceptor = match args.tls {
        true => Some(Identity::kept_in(&args.ca_file)?.acceptor()?),
        false => None,
    };
    let mut ends = Ends::listen()?;
    let listener = receiver::bind(args.port).await?;
    let (sender, mut got) = mpsc::channel(WAITING);
    let hidden = Arc::new(AtomicU64::new(0));
    let handler = handler(&args, sender, Arc::clone(&hidden), Arc::clone(&clock));
    let receiver = receiver::serve(listener, acceptor, handler)?;
    let port = receiver.address.port();
    let own_url =
        if args.tls { format!("https://localhost:{port}/") } else { format!("http://127.0.0.1:{port}/") };
    output::note(format!("listening on {own_url}"));
    let registered = match args.register {
        true => Some(register(&api, args.url.as_deref().unwrap_or(&own_url), &args).await?),
        false => None,
    };

    let mut judge = Judge {
        api: &api,
        keys: Keys { jwks: None, secrets },
        webhook: registered.as_deref(),
        asked: None,
        clock: Arc::clone(&clock),
    };
    judge.ask_for_keys().await;
    let paint = args.output.paint();
    let mut result = Ok(());
    let mut seen = 0;
    while result.is_ok() && args.count.is_none_or(|count| seen < count) {
        tokio::select! {
            Some(got) = got.recv() => {
                seen += 1;
                let report = judge.report(&got.request, got.at).await;
                result = show(&got, report.as_ref(), &args, paint);
            }
            () = ends.recv() => break,
        }
    }
    match hidden.load(Ordering::Relaxed) {
        0 => {}
        hidden => output::note(format!("{hidden} requests came too fast to be shown; they were answered")),
    }
    if let Some(id) = registered {
        let deleted = api.send(Method::DELETE, &format!("/v1/webhooks/{}", segment(&id)), None).await;
        match deleted {
            Ok(_) => output::note(format!("deleted webhook {id}")),
            Err(failure) if failure.exit == Exit::NotFound => {}
            Err(failure) => {
                let left = format!("webhook {id} is still registered: {failure}");
                result = result.and(Err(Failure::new(failure.exit, left)));
            }
        }
    }
    result
}

fn handler(
    args: &ListenArgs,
    sender: mpsc::Sender<Got>,
    hidden: Arc<AtomicU64>,
    clock: Arc<SystemClock>,
) -> Handler {
    let (fail, error) = (args.fail, args.status);
    let answered = AtomicU64::new(0);
    Arc::new(move |request| {
        let number = answered.fetch_add(1, Ordering::Relaxed);
        let status = answer(number, fail, error);
        // What cannot be shown is still answered.
        if sender.try_send(Got { request, answered: status, at: clock.wall() }).is_err() {
            hidden.fetch_add(1, Ordering::Relaxed);
        }
        status
    })
}

/// The status for request `number`, counted from 0.
fn answer(number: u64, fail: Option<u64>, error: Option<StatusCode>) -> StatusCode {
    match (fail, error) {
        (None, None) => StatusCode::OK,
        (None, Some(error)) => error,
        (Some(fail), error) if number < fail => error.unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        (Some(_), _) => StatusCode::OK,
    }
}

async fn register(api: &Api, url: &str, args: &ListenArgs) -> Result<String, Failure> {
    let body = json!({"events": args.events, "url": url});
    let webhook = api.send(Method::POST, "/v1/webhooks", Some(&body)).await.map_err(|failure| {
        if failure.exit != Exit::Refused || !failure.message.starts_with("url:") {
            return failure;
        }
        let advice = match args.tls {
            true => {
                format!("SEALPOST_EGRESS_ALLOW=127.0.0.0/8 SEALPOST_EGRESS_CA={}", args.ca_file.display())
            }
            false => "SEALPOST_EGRESS_HTTP=loopback".to_owned(),
        };
        Failure::new(
            failure.exit,
            format!("{failure}; start the server with {advice} to let it call this machine"),
        )
    })?;
    let id = webhook.get("id").and_then(Value::as_str);
    let id = id.ok_or_else(|| Failure::failed("the server answered without a webhook"))?.to_owned();
    output::note(format!("registered webhook {id} for {}", args.events.join(", ")));
    Ok(id)
}

fn show(got: &Got, report: Option<&Report>, args: &ListenArgs, paint: Paint) -> Result<(), Failure> {
    let delivery = Delivery {
        at: got.at,
        request: &got.request,
        answered: got.answered,
        report,
        show_payload: args.show_payload,
    };
    if args.output.json {
        output::json_line(&line_for_machines(&delivery))
    } else {
        output::line(line_for_people(&delivery, paint))
    }
}

/// Verifies with the server's keys, which it asks for when they are needed.
struct Judge<'a> {
    api: &'a Api,
    keys: Keys,
    webhook: Option<&'a str>,
    /// When the keys were got last, by the clock that never jumps.
    asked: Option<Duration>,
    clock: Arc<SystemClock>,
}

impl Judge<'_> {
    async fn ask_for_keys(&mut self) {
        let now = self.clock.boot();
        if self.asked.is_some_and(|asked| now.saturating_sub(asked) < KEYS_AGAIN) {
            return;
        }
        match server_keys(self.api).await {
            Ok(keys) => (self.keys.jwks, self.asked) = (Some(keys), Some(now)),
            // A server that is not there yet is asked again at the next request.
            Err(failure) => output::note(format!("no keys to verify with: {failure}")),
        }
    }

    /// The secret of the webhook registered here; reading it is audited, so only when a request was signed with it.
    async fn ask_for_secret(&mut self) {
        let Some(id) = self.webhook else { return };
        let answer = self.api.get(&format!("/v1/webhooks/{}/secret", segment(id))).await;
        let secret = answer
            .ok()
            .and_then(|answer| WebhookSecret::parse(answer.get("secret").and_then(Value::as_str)?).ok());
        match secret {
            Some(secret) => self.keys.secrets.push(secret),
            None => output::note("the webhook's secret cannot be read; Standard Webhooks are not checked"),
        }
        self.webhook = None;
    }

    async fn report(&mut self, request: &Request, at: Timestamp) -> Option<Report> {
        let with_secret = request.header("webhook-signature").is_some_and(|value| value.contains("v1,"));
        if with_secret && self.keys.secrets.is_empty() {
            self.ask_for_secret().await;
        }
        if self.keys.jwks.is_none() {
            self.ask_for_keys().await;
        }
        let mut report = self.check(request, at)?;
        // A key that was published since.
        if !report.verified && report.failures().contains("the key set holds") {
            self.ask_for_keys().await;
            report = self.check(request, at)?;
        }
        Some(report)
    }

    fn check(&self, request: &Request, at: Timestamp) -> Option<Report> {
        if self.keys.jwks.is_none() && self.keys.secrets.is_empty() {
            return None;
        }
        // A secret holds for requests that were signed with one.
        if request.header("webhook-signature").is_none() {
            let keys = Keys { jwks: self.keys.jwks.clone(), secrets: Vec::new() };
            return keys.jwks.is_some().then(|| check(request, &keys, at.seconds(), Some(MAX_AGE_S)));
        }
        Some(check(request, &self.keys, at.seconds(), Some(MAX_AGE_S)))
    }
}

/// Whatever asks the command to end.
pub(crate) struct Ends {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Ends {
    pub(crate) fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let of = |kind| signal(kind).map_err(|error| Failure::io("signals", &error));
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_answered_as_asked() {
        let bad = StatusCode::BAD_GATEWAY;
        for (fail, error, answers) in [
            (None, None, [200, 200, 200]),
            (None, Some(bad), [502, 502, 502]),
            (Some(2), None, [503, 503, 200]),
            (Some(1), Some(bad), [502, 200, 200]),
        ] {
            let given: Vec<u16> = (0..3).map(|number| answer(number, fail, error).as_u16()).collect();
            assert_eq!(given, answers);
        }
        assert!(status("199").is_err() && status("abc").is_err() && status("503").is_ok());
    }

    #[tokio::test]
    async fn a_receiver_hands_on_what_it_got() {
        let (sender, mut got) = mpsc::channel(8);
        let handler: Handler = Arc::new(move |request| {
            let _ = sender.try_send(request);
            StatusCode::NO_CONTENT
        });
        let identity = Identity::for_localhost().unwrap();
        let listener = receiver::bind(0).await.unwrap();
        let receiver = receiver::serve(listener, Some(identity.acceptor().unwrap()), handler).unwrap();
        let target = sealpost_egress::ApiTarget {
            scheme: sealpost_egress::Scheme::Https,
            host: "localhost".into(),
            port: receiver.address.port(),
        };
        let client =
            sealpost_egress::ApiClient::new(target, Some(identity.authority_pem.as_bytes())).unwrap();
        let headers = http::HeaderMap::new();
        let answer = client.request(Method::POST, "/in?a=%27", headers, "{}".into()).await.unwrap();
        assert_eq!(answer.status, 204);
        let request = got.recv().await.unwrap();
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/in?a=%27"));
        assert_eq!(
            (request.authority, &*request.body),
            (format!("localhost:{}", receiver.address.port()), &b"{}"[..])
        );
    }
}
