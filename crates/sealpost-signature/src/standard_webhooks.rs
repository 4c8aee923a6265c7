//! Standard Webhooks 1.0.0: the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, made
//! and checked with shared secrets (`v1`, HMAC-SHA256) and Ed25519 keys (`v1a`).
//!
//! What is signed is `{id}.{timestamp}.{body}`. Several keys may sign at once, which is how secrets are
//! rotated; a receiver accepts the message if any entry fits any of its keys, and skips versions it does
//! not know. Secrets are compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::key::{SigningKey, VerifyingKey, WebhookSecret};
use crate::limits::{MAX_WEBHOOK_ID_BYTES, MAX_WEBHOOK_SIGNATURES};

/// How far `webhook-timestamp` may lie from now, as in the libraries of the standard.
pub const DEFAULT_TOLERANCE_S: u32 = 300;

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StandardWebhooksError {
    #[error("the request has no `{header}` header")]
    MissingHeader { header: &'static str },
    #[error("`webhook-id` is 1 to {MAX_WEBHOOK_ID_BYTES} visible ASCII characters without `.`")]
    InvalidId,
    #[error("`webhook-timestamp` is not a number of unix seconds")]
    InvalidTimestamp,
    #[error("the message was signed {age_s} s ago; {tolerance_s} s are accepted")]
    TooOld { age_s: i64, tolerance_s: u32 },
    #[error("the message claims to be signed {ahead_s} s from now; {tolerance_s} s are accepted")]
    FromTheFuture { ahead_s: i64, tolerance_s: u32 },
    #[error("`webhook-signature` has more than {MAX_WEBHOOK_SIGNATURES} entries")]
    TooManySignatures,
    #[error("no key to sign with was given")]
    NoKey,
    #[error("no entry of `webhook-signature` fits the message and our keys")]
    NoMatchingSignature,
}

/// What signs a message, and by that in which version.
#[derive(Clone, Copy, Debug)]
pub enum WebhookSigner<'a> {
    V1(&'a WebhookSecret),
    V1a(&'a SigningKey),
}

/// What checks a message.
#[derive(Clone, Copy, Debug)]
pub enum WebhookVerifier<'a> {
    V1(&'a WebhookSecret),
    V1a(&'a VerifyingKey),
}

/// The values of the three headers as made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookHeaders {
    pub webhook_id: String,
    pub webhook_timestamp: String,
    pub webhook_signature: String,
}

/// The values of the three headers as received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReceivedWebhook<'a> {
    pub webhook_id: &'a str,
    pub webhook_timestamp: &'a str,
    pub webhook_signature: &'a str,
}

impl<'a> ReceivedWebhook<'a> {
    /// Finds the three among the header lines of a request.
    pub fn from_headers(headers: &[(&str, &'a str)]) -> Result<Self, StandardWebhooksError> {
        let find = |header: &'static str| {
            let line = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(header));
            line.map(|(_, value)| *value).ok_or(StandardWebhooksError::MissingHeader { header })
        };
        Ok(Self {
            webhook_id: find("webhook-id")?,
            webhook_timestamp: find("webhook-timestamp")?,
            webhook_signature: find("webhook-signature")?,
        })
    }
}

impl WebhookHeaders {
    pub fn as_received(&self) -> ReceivedWebhook<'_> {
        ReceivedWebhook {
            webhook_id: &self.webhook_id,
            webhook_timestamp: &self.webhook_timestamp,
            webhook_signature: &self.webhook_signature,
        }
    }
}

/// Signs a message with every key given, in that order. `timestamp` is unix seconds of this attempt.
pub fn sign(
    id: &str,
    timestamp: i64,
    body: &[u8],
    signers: &[WebhookSigner<'_>],
) -> Result<WebhookHeaders, StandardWebhooksError> {
    check_id(id)?;
    if timestamp < 0 {
        return Err(StandardWebhooksError::InvalidTimestamp);
    }
    if signers.is_empty() {
        return Err(StandardWebhooksError::NoKey);
    }
    if signers.len() > MAX_WEBHOOK_SIGNATURES {
        return Err(StandardWebhooksError::TooManySignatures);
    }
    let webhook_timestamp = timestamp.to_string();
    let mut webhook_signature = String::with_capacity(signers.len() * 96);
    for signer in signers {
        if !webhook_signature.is_empty() {
            webhook_signature.push(' ');
        }
        match signer {
            WebhookSigner::V1(secret) => {
                webhook_signature.push_str("v1,");
                let tag = hmac(secret, id, &webhook_timestamp, body);
                STANDARD.encode_string(tag, &mut webhook_signature);
            }
            WebhookSigner::V1a(key) => {
                webhook_signature.push_str("v1a,");
                let signature = key.sign(&message(id, &webhook_timestamp, body));
                STANDARD.encode_string(signature, &mut webhook_signature);
            }
        }
    }
    Ok(WebhookHeaders { webhook_id: id.to_owned(), webhook_timestamp, webhook_signature })
}

/// Accepts the message or says why not. `now` is unix seconds; `tolerance_s` holds both ways.
pub fn verify(
    received: &ReceivedWebhook<'_>,
    body: &[u8],
    verifiers: &[WebhookVerifier<'_>],
    now: i64,
    tolerance_s: u32,
) -> Result<(), StandardWebhooksError> {
    let ReceivedWebhook { webhook_id, webhook_timestamp, webhook_signature } = received;
    check_id(webhook_id)?;
    check_time(webhook_timestamp, now, tolerance_s)?;
    let mut entries = Vec::new();
    for entry in webhook_signature.split_ascii_whitespace() {
        if entries.len() == MAX_WEBHOOK_SIGNATURES {
            return Err(StandardWebhooksError::TooManySignatures);
        }
        entries.push(entry);
    }
    let signatures = |version: &'static str| {
        let of_version = entries.iter().filter_map(move |entry| entry.split_once(','));
        of_version
            .filter(move |(v, _)| *v == version)
            .filter_map(|(_, encoded)| STANDARD.decode(encoded).ok())
    };
    let fits = verifiers.iter().any(|verifier| match verifier {
        WebhookVerifier::V1(secret) => {
            let expected = hmac(secret, webhook_id, webhook_timestamp, body);
            signatures("v1").any(|claimed| claimed.ct_eq(expected.as_ref()).into())
        }
        WebhookVerifier::V1a(key) => {
            let message = message(webhook_id, webhook_timestamp, body);
            signatures("v1a").any(|claimed| key.verify(&message, &claimed))
        }
    });
    if fits { Ok(()) } else { Err(StandardWebhooksError::NoMatchingSignature) }
}

/// A dot inside the id would let one signed text be cut into id, time and body in two ways.
fn check_id(id: &str) -> Result<(), StandardWebhooksError> {
    let fits = (1..=MAX_WEBHOOK_ID_BYTES).contains(&id.len());
    if fits && id.bytes().all(|b| b.is_ascii_graphic() && b != b'.') {
        Ok(())
    } else {
        Err(StandardWebhooksError::InvalidId)
    }
}

fn check_time(timestamp: &str, now: i64, tolerance_s: u32) -> Result<(), StandardWebhooksError> {
    if !timestamp.bytes().all(|b| b.is_ascii_digit()) {
        return Err(StandardWebhooksError::InvalidTimestamp);
    }
    let signed: i64 = timestamp.parse().map_err(|_| StandardWebhooksError::InvalidTimestamp)?;
    let age_s = now.saturating_sub(signed);
    if age_s > i64::from(tolerance_s) {
        return Err(StandardWebhooksError::TooOld { age_s, tolerance_s });
    }
    if age_s < -i64::from(tolerance_s) {
        return Err(StandardWebhooksError::FromTheFuture { ahead_s: age_s.saturating_neg(), tolerance_s });
    }
    Ok(())
}

/// Feeds the parts one by one, so the body is not copied.
fn hmac(secret: &WebhookSecret, id: &str, timestamp: &str, body: &[u8]) -> impl AsRef<[u8]> + use<> {
    let mut context = secret.hmac();
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    context.sign()
}

/// Pure Ed25519 reads its message twice and needs it in one piece.
fn message(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}
