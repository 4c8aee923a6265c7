//! `sealpost verify`: judges a recorded webhook request as a receiver should, and says step by step what holds.
//!
//! The verdict is the one of the signature library; the steps only explain it. Exit code 0 means verified.

pub mod check;
pub mod recorded;

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use sealpost_core::time::{Span, Timestamp};
use sealpost_signature::{Jwks, WebhookSecret};
use serde_json::{Value, json};

use self::check::{Keys, Mark, Report, check};
use super::client::{Api, ConnectArgs, Failure, fetch};
use super::output::{self, OutputArgs, Paint};
use crate::clock::{Clock as _, SystemClock};

/// Verify a recorded webhook request
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The request is raw HTTP (request line, headers, empty line, body) or JSON {method, url, headers, body}.
The key set is the one of the server unless --jwks or --secret names something else.

Examples:
  sealpost verify request.http
  sealpost verify --jwks https://tenant.example/v1/webhooks/jwks --max-age off request.json
  sealpost verify --secret whsec_... < request.http")]
pub struct VerifyArgs {
    /// The recorded request; `-` or nothing is standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The sender's public keys: a file, or a URL
    #[arg(long, value_name = "FILE|URL")]
    pub jwks: Option<String>,
    /// A Standard Webhooks secret (whsec_...); several while one is being rotated
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<String>,
    /// How old the signature may be: a span such as 300s, or off
    #[arg(long, default_value = "300s", value_name = "SPAN")]
    pub max_age: String,
    /// Judge as of this time instead of now
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    #[command(flatten)]
    pub connect: ConnectArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// No recorded request is larger than the largest that is sent, envelope and headers included.
const MAX_INPUT_BYTES: u64 = 8 * 1024 * 1024;

pub async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let max_age_s = max_age(&args.max_age)?;
    let now = match &args.at {
        None => SystemClock::start().wall().seconds(),
        Some(text) => text
            .parse::<Timestamp>()
            .map_err(|error| Failure::usage(format!("--at {text}: {error}")))?
            .seconds(),
    };
    let request = recorded::parse(&read(args.file.as_deref())?).map_err(Failure::usage)?;
    let secrets = args
        .secret
        .iter()
        .map(|text| WebhookSecret::parse(text).map_err(|error| Failure::usage(format!("--secret: {error}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let jwks = match &args.jwks {
        Some(source) => Some(key_set(source, args.connect.server_ca.as_deref()).await?),
        None if secrets.is_empty() => Some(server_keys(&Api::connect(&args.connect)?).await?),
        None => None,
    };
    let report = check(&request, &Keys { jwks, secrets }, now, max_age_s);
    if args.output.json {
        output::json(&shown(&report))?;
    } else {
        output::line(said(&report, args.output.paint()))?;
    }
    if report.verified { Ok(()) } else { Err(Failure::failed("the request is not verified")) }
}

fn max_age(text: &str) -> Result<Option<u32>, Failure> {
    if text == "off" {
        return Ok(None);
    }
    let span: Span = text.parse().map_err(|_| Failure::usage("--max-age is a span such as 300s, or off"))?;
    Ok(Some(u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX)))
}

fn read(file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match file {
        Some(path) if path != Path::new("-") => std::fs::File::open(path)
            .and_then(|file| file.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|e| Failure::io(path.display(), &e))?,
        _ => std::io::stdin()
            .lock()
            .take(MAX_INPUT_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Failure::io("standard input", &e))?,
    };
    if read as u64 > MAX_INPUT_BYTES {
        return Err(Failure::usage("the recorded request has more than 8 MiB"));
    }
    Ok(bytes)
}

async fn key_set(source: &str, ca: Option<&Path>) -> Result<Jwks, Failure> {
    let document = if source.starts_with("https://") || source.starts_with("http://") {
        fetch(source, ca).await?
    } else {
        std::fs::read(source).map_err(|e| Failure::io(source, &e))?.into()
    };
    Jwks::parse(&document).map_err(|error| Failure::failed(format!("the keys of {source}: {error}")))
}

/// What the server publishes for receivers.
pub(crate) async fn server_keys(api: &Api) -> Result<Jwks, Failure> {
    let document = api.get("/v1/webhooks/jwks").await?.to_string();
    Jwks::parse(document.as_bytes())
        .map_err(|error| Failure::failed(format!("the keys of {}: {error}", api.server())))
}

fn shown(report: &Report) -> Value {
    let steps: Vec<Value> = report
        .steps
        .iter()
        .map(|step| json!({"step": step.name, "result": step.mark.as_str(), "detail": step.detail}))
        .collect();
    json!({"verified": report.verified, "by": report.by, "steps": steps, "signatureBase": report.base})
}

/// One line a step, then what was signed, then the verdict.
fn said(report: &Report, paint: Paint) -> String {
    let mut lines: Vec<String> = report
        .steps
        .iter()
        .map(|step| {
            let mark = match step.mark {
                Mark::Holds => paint.good("ok     "),
                Mark::Fails => paint.bad("FAILED "),
                Mark::NotChecked => paint.dim("skipped"),
            };
            format!("{mark} {:<17} {}", step.name, output::safe(&step.detail))
        })
        .collect();
    if let Some(base) = &report.base {
        lines.push(String::new());
        lines.push("the signature base, line by line:".to_owned());
        lines.extend(base.split('\n').map(|line| format!("  {}", output::safe(line))));
    }
    lines.push(String::new());
    lines.push(match report.verified {
        true => paint.good(&format!("verified by {}", report.by.join(" and "))),
        false => paint.bad("not verified"),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// Worked example A: made for this project in the wire format of MATTR's library, with the key of RFC 8037 A.1.
    const EXAMPLE: &str = include_str!("verify/example.http");
    const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig","kid":"FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ"}]}"#;
    const CREATED: i64 = 1_661_822_798;

    fn judged(request: &str, now: i64, max_age_s: Option<u32>, want: &Expect) -> bool {
        let keys = Keys { jwks: Some(Jwks::parse(KEYS.as_bytes()).unwrap()), secrets: Vec::new() };
        let report = check(&recorded::parse(request.as_bytes()).unwrap(), &keys, now, max_age_s);
        want.assert_eq(&said(&report, Paint::PLAIN));
        report.verified
    }

    #[test]
    fn the_worked_example_is_verified_and_its_base_shown() {
        assert!(judged(
            EXAMPLE,
            CREATED + 4,
            Some(300),
            &expect![[r#"
                ok      content digest    sha-256 of the body's 463 bytes matches
                ok      signature         made by key FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ over 6 components
                ok      coverage          method, target and body are covered
                ok      age               made 4 s ago (2022-08-30 01:26:38Z); 300 s are accepted

                the signature base, line by line:
                  "@request-target": /mattr/receiver
                  "@method": POST
                  "content-digest": sha-256=:cWfcvF9idpzVBFoQMj0rI0H0MYdFAMPA6sGaXjOAts4=:
                  "content-type": application/json
                  "x-mattr-event-type": OpenIdCredentialIssuedSummary
                  "x-mattr-webhook-id": 5be4f663-af93-41d8-8542-f5c9a2a2d588
                  "@signature-params": ("@request-target" "@method" "content-digest" "content-type" "x-mattr-event-type" "x-mattr-webhook-id");created=1661822798;keyid="FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ"

                verified by key FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ"#]],
        ));
    }

    #[test]
    fn a_changed_body_fails_the_digest_alone() {
        assert!(!judged(
            &EXAMPLE.replace("web-semantic", "web-fantastic"),
            CREATED,
            None,
            &expect![[r#"
                FAILED  content digest    the body does not match its `sha-256` digest: the body was changed, or is not the bytes that were sent (parsed and written again?)
                ok      signature         made by key FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ over 6 components
                ok      coverage          method, target and body are covered
                skipped age               any age is accepted

                the signature base, line by line:
                  "@request-target": /mattr/receiver
                  "@method": POST
                  "content-digest": sha-256=:cWfcvF9idpzVBFoQMj0rI0H0MYdFAMPA6sGaXjOAts4=:
                  "content-type": application/json
                  "x-mattr-event-type": OpenIdCredentialIssuedSummary
                  "x-mattr-webhook-id": 5be4f663-af93-41d8-8542-f5c9a2a2d588
                  "@signature-params": ("@request-target" "@method" "content-digest" "content-type" "x-mattr-event-type" "x-mattr-webhook-id");created=1661822798;keyid="FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ"

                not verified"#]],
        ));
    }

    #[test]
    fn a_changed_header_and_an_old_age_are_told_apart() {
        let summary = |request: &str, now| {
            let keys = Keys { jwks: Some(Jwks::parse(KEYS.as_bytes()).unwrap()), secrets: Vec::new() };
            let report = check(&recorded::parse(request.as_bytes()).unwrap(), &keys, now, Some(300));
            report
                .steps
                .iter()
                .map(|s| format!("{}: {}", s.name, s.mark.as_str()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(
            summary(&EXAMPLE.replace("/mattr/receiver", "/other"), CREATED),
            "content digest: ok, signature: failed, coverage: skipped, age: skipped"
        );
        assert_eq!(
            summary(EXAMPLE, CREATED + 301),
            "content digest: ok, signature: ok, coverage: ok, age: failed"
        );
        assert_eq!(
            summary(&EXAMPLE.replace("FdFY", "GdFY"), CREATED),
            "content digest: ok, signature: failed, coverage: skipped, age: skipped"
        );
    }

    #[test]
    fn ages_are_spans_or_off() {
        assert_eq!(max_age("5m").unwrap(), Some(300));
        assert_eq!(max_age("off").unwrap(), None);
        assert_eq!(max_age("soon").unwrap_err().code(), 2);
    }
}
