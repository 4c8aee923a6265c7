//! What holds of one received request: the message signature with its digest and age, and Standard Webhooks.
//!
//! Used by `verify`, by `listen` and by the receivers of `demo`. The verdict is that of `sealpost_signature`; the
//! steps repeat its checks one by one so that a person sees which of them failed.

use sealpost_core::time::Timestamp;
use sealpost_signature::standard_webhooks::{
    ReceivedWebhook, StandardWebhooksError, WebhookVerifier, verify,
};
use sealpost_signature::{
    Jwks, RequestParts, Verified, VerifyError, VerifyOptions, WebhookSecret, received_base,
    verify_content_digest, verify_request,
};

use super::recorded::Request;
use crate::cli::output;

/// What the receiver trusts. What it has nothing for is not checked.
#[derive(Debug, Default)]
pub struct Keys {
    pub jwks: Option<Jwks>,
    pub secrets: Vec<WebhookSecret>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    Holds,
    Fails,
    NotChecked,
}

impl Mark {
    pub fn as_str(self) -> &'static str {
        match self {
            Mark::Holds => "ok",
            Mark::Fails => "failed",
            Mark::NotChecked => "skipped",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Step {
    pub name: &'static str,
    pub mark: Mark,
    pub detail: String,
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub steps: Vec<Step>,
    /// Something was checked, and everything that was checked holds.
    pub verified: bool,
    /// What vouches for the request.
    pub by: Vec<String>,
    /// The text under the message signature, if it could be made.
    pub base: Option<String>,
}

impl Report {
    fn step(&mut self, name: &'static str, mark: Mark, detail: impl Into<String>) {
        self.steps.push(Step { name, mark, detail: detail.into() });
    }

    /// The failed steps as one sentence.
    pub fn failures(&self) -> String {
        let failed = self.steps.iter().filter(|step| step.mark == Mark::Fails);
        failed.map(|step| format!("{}: {}", step.name, step.detail)).collect::<Vec<_>>().join("; ")
    }
}

/// A clock that is off by this much is not an attack.
const SKEW_S: u32 = 60;

/// Judges a request as of `now` (unix seconds). `max_age_s: None` accepts any age.
pub fn check(request: &Request, keys: &Keys, now: i64, max_age_s: Option<u32>) -> Report {
    let headers = request.header_refs();
    let parts = RequestParts {
        method: &request.method,
        request_target: &request.target,
        authority: &request.authority,
        scheme: request.scheme,
        headers: &headers,
    };
    let mut report = Report::default();
    let mut verdicts = Vec::new();
    if let Some(jwks) = &keys.jwks {
        verdicts.push(message_signature(&mut report, &parts, &request.body, jwks, now, max_age_s));
    }
    verdicts.extend(standard_webhooks(&mut report, &headers, &request.body, keys, now, max_age_s));
    report.verified = !verdicts.is_empty() && verdicts.iter().all(|verdict| *verdict);
    report
}

fn message_signature(
    report: &mut Report,
    parts: &RequestParts<'_>,
    body: &[u8],
    jwks: &Jwks,
    now: i64,
    max_age_s: Option<u32>,
) -> bool {
    let strict = VerifyOptions { max_age_s, max_skew_s: SKEW_S, ..VerifyOptions::at(now) };
    // Time is no matter to a signature; `created` and `expires` are judged in a step of their own.
    let timeless = VerifyOptions { max_age_s: None, max_skew_s: u32::MAX, required: &[], ..strict };
    let verdict = verify_request(parts, body, jwks, &strict);

    digest(report, parts, body);
    let signature = verify_request(parts, body, jwks, &timeless);
    let genuine = match &signature {
        // The digest is judged after the signature, so here the signature is genuine too.
        Ok(_) | Err(VerifyError::Digest(_) | VerifyError::ExpiresBeforeCreated) => true,
        Err(error) => {
            report.step("signature", Mark::Fails, explained(error, jwks));
            false
        }
    };
    if genuine {
        let signed = Signed::of(parts, signature.as_ref().ok());
        let count = output::count(signed.components, "component");
        report.step("signature", Mark::Holds, format!("made by key {} over {count}", signed.key_id));
        let coverage =
            verify_request(parts, body, jwks, &VerifyOptions { required: strict.required, ..timeless });
        match coverage {
            Err(error @ VerifyError::NotCovered { .. }) => {
                report.step("coverage", Mark::Fails, format!("{error}; it could be changed unnoticed"));
            }
            _ => report.step("coverage", Mark::Holds, "method, target and body are covered"),
        }
        age(
            report,
            verify_request(parts, body, jwks, &VerifyOptions { required: &[], ..strict }),
            &signed,
            now,
            max_age_s,
        );
    } else {
        report.step("coverage", Mark::NotChecked, "there is no genuine signature");
        report.step("age", Mark::NotChecked, "there is no genuine signature");
    }
    report.base = received_base(parts, None).ok();
    match verdict {
        Ok(verified) => {
            report.by.push(format!("key {}", verified.keyid));
            true
        }
        Err(_) => false,
    }
}

fn digest(report: &mut Report, parts: &RequestParts<'_>, body: &[u8]) {
    let lines: Vec<&str> = parts.lines("content-digest").map(str::trim).collect();
    if lines.is_empty() {
        return report.step("content digest", Mark::Fails, "there is no `Content-Digest` header");
    }
    match verify_content_digest(&lines.join(", "), body) {
        Ok(()) => {
            let algorithm =
                lines.first().and_then(|line| line.split_once('=')).map_or("digest", |(name, _)| name);
            let size = body.len();
            report.step(
                "content digest",
                Mark::Holds,
                format!("{algorithm} of the body's {size} bytes matches"),
            );
        }
        Err(error) => {
            // Editors end files with a line end that was never sent.
            let without = body.strip_suffix(b"\n").map(|b| b.strip_suffix(b"\r").unwrap_or(b));
            let hint = match without {
                Some(without) if verify_content_digest(&lines.join(", "), without).is_ok() => {
                    ": the recorded body has a line end more than was sent"
                }
                _ => ": the body was changed, or is not the bytes that were sent (parsed and written again?)",
            };
            report.step("content digest", Mark::Fails, format!("{error}{hint}"));
        }
    }
}

fn explained(error: &VerifyError, jwks: &Jwks) -> String {
    match error {
        VerifyError::UnknownKey { .. } => {
            let known: Vec<&str> = jwks.keys().iter().map(|key| key.key_id().as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("{error}; the key set holds {known}")
        }
        VerifyError::InvalidSignature { .. } => {
            format!(
                "{error}: something that is covered was changed on the way, compare the lines below with what was sent"
            )
        }
        _ => error.to_string(),
    }
}

/// What a genuine signature says, also where the library stopped at the digest.
struct Signed {
    key_id: String,
    components: usize,
    created: Option<i64>,
}

impl Signed {
    fn of(parts: &RequestParts<'_>, verified: Option<&Verified>) -> Self {
        match verified {
            Some(verified) => Self {
                key_id: verified.keyid.clone(),
                components: verified.covered.as_slice().len(),
                created: verified.created,
            },
            None => {
                let base = received_base(parts, None).unwrap_or_default();
                let last = base.rsplit('\n').next().unwrap_or_default();
                let after = |name: &str| last.split_once(name).map(|(_, rest)| rest);
                let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
                Self {
                    key_id: after(";keyid=\"")
                        .and_then(|text| text.split('"').next())
                        .unwrap_or("?")
                        .to_owned(),
                    components: base.matches('\n').count(),
                    created: after(";created=").and_then(|text| digits(text).parse().ok()),
                }
            }
        }
    }
}

fn age(
    report: &mut Report,
    judged: Result<Verified, VerifyError>,
    signed: &Signed,
    now: i64,
    max_age_s: Option<u32>,
) {
    let made = signed.created.map(|created| {
        let at = output::clock(Timestamp::from_millis(created.saturating_mul(1000)));
        format!("made {} s ago ({at})", now.saturating_sub(created))
    });
    match judged {
        Err(
            error @ (VerifyError::TooOld { .. }
            | VerifyError::FromTheFuture { .. }
            | VerifyError::Expired { .. }
            | VerifyError::ExpiresBeforeCreated
            | VerifyError::MissingParameter { .. }),
        ) => report.step(
            "age",
            Mark::Fails,
            format!("{error}; a recorded request is judged as of its time with --at, or at any age with --max-age off"),
        ),
        _ => match (max_age_s, made) {
            (Some(max), Some(made)) => report.step("age", Mark::Holds, format!("{made}; {max} s are accepted")),
            _ => report.step("age", Mark::NotChecked, "any age is accepted"),
        },
    }
}

/// `None`: nothing to check, or nothing to check it with.
fn standard_webhooks(
    report: &mut Report,
    headers: &[(&str, &str)],
    body: &[u8],
    keys: &Keys,
    now: i64,
    max_age_s: Option<u32>,
) -> Option<bool> {
    const NAME: &str = "standard webhooks";
    let received = match ReceivedWebhook::from_headers(headers) {
        Ok(received) => received,
        // Without a secret nobody expects these headers.
        Err(_) if keys.secrets.is_empty() => return None,
        Err(error) => {
            report.step(NAME, Mark::Fails, error.to_string());
            return Some(false);
        }
    };
    let has =
        |version: &str| received.webhook_signature.split_ascii_whitespace().any(|e| e.starts_with(version));
    let published = keys.jwks.iter().flat_map(|jwks| jwks.keys());
    let mut verifiers: Vec<WebhookVerifier<'_>> = keys.secrets.iter().map(WebhookVerifier::V1).collect();
    if has("v1a,") {
        verifiers.extend(published.map(|key| WebhookVerifier::V1a(key.verifying_key())));
    }
    if verifiers.is_empty() {
        report.step(NAME, Mark::NotChecked, "signed with a secret that was not given (--secret)");
        return None;
    }
    let by = if keys.secrets.is_empty() { "a published key" } else { "the secret" };
    match verify(&received, body, &verifiers, now, max_age_s.unwrap_or(u32::MAX)) {
        Ok(()) => {
            report.step(NAME, Mark::Holds, format!("message {} signed with {by}", received.webhook_id));
            report.by.push(format!("{by} (Standard Webhooks)"));
            Some(true)
        }
        Err(error @ StandardWebhooksError::NoMatchingSignature) => {
            report.step(NAME, Mark::Fails, format!("{error}: another secret, or the body was changed"));
            Some(false)
        }
        Err(error) => {
            report.step(NAME, Mark::Fails, error.to_string());
            Some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sealpost_signature::standard_webhooks::{WebhookSigner, sign};

    fn request(body: &'static str) -> (Request, WebhookSecret) {
        let secret = WebhookSecret::from_bytes(&[7; 32]).unwrap();
        let signed = sign("msg_1", 1000, body.as_bytes(), &[WebhookSigner::V1(&secret)]).unwrap();
        let headers = vec![
            ("webhook-id".to_owned(), signed.webhook_id),
            ("webhook-timestamp".to_owned(), signed.webhook_timestamp),
            ("webhook-signature".to_owned(), signed.webhook_signature),
        ];
        let request = Request {
            method: "POST".into(),
            target: "/".into(),
            authority: "a.example".into(),
            scheme: "https",
            headers,
            body: Bytes::from_static(body.as_bytes()),
        };
        (request, secret)
    }

    #[test]
    fn a_secret_alone_is_enough_and_is_enforced() {
        let (request, secret) = request("{}");
        let keys = Keys { jwks: None, secrets: vec![secret] };
        assert!(check(&request, &keys, 1001, Some(300)).verified);
        assert!(!check(&request, &keys, 1301, Some(300)).verified);
        assert!(check(&request, &keys, 99_999, None).verified);
        let changed = Request { body: Bytes::from_static(b"{ }"), ..request };
        assert!(!check(&changed, &keys, 1001, Some(300)).verified);
        let bare = Request { headers: Vec::new(), ..changed };
        assert_eq!(
            check(&bare, &keys, 1001, None).failures(),
            "standard webhooks: the request has no `webhook-id` header"
        );
    }

    #[test]
    fn nothing_checked_is_not_verified() {
        let (request, _) = request("{}");
        assert!(!check(&request, &Keys::default(), 1001, None).verified);
        let unsigned = Keys { jwks: Some(Jwks::default()), secrets: Vec::new() };
        assert!(!check(&request, &unsigned, 1001, None).verified);
    }
}
