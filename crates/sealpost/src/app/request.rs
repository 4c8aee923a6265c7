//! One attempt's request: reduce the payload to what the webhook may see, build the body in its dialect, sign.
//!
//! Pure: the time is an argument. The signed bytes are the sent bytes. The engine sends what is built here; the console shows
//! it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use sealpost_core::dialect::Dialect;
use sealpost_core::envelope::{MattrDelivery, mattr_body, truvera_body};
use sealpost_core::event::Event;
use sealpost_core::event_type::OPENID_CREDENTIAL_ISSUED_SUMMARY;
use sealpost_core::minimise::{
    MinimiseContext, MinimiseError, PayloadLevel, SummaryForm, derived_summary, minimise,
};
use sealpost_core::payload::Payload;
use sealpost_core::settings::{ServerDefaults, SignatureExpires, SignatureKind};
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::Webhook;
use sealpost_egress::{Gate, PoolScope, Request};
use sealpost_signature::message_signature::DELIVERY_LABEL;
use sealpost_signature::standard_webhooks::{self, WebhookSigner};
use sealpost_signature::{
    RequestParts, SignatureProfile, SigningKey, WebhookSecret, received_base, sign_delivery,
};

use super::registry::Target;

const AGENT: &str = concat!("sealpost/", env!("CARGO_PKG_VERSION"));
static JSON: HeaderValue = HeaderValue::from_static("application/json");
static SENDER: HeaderValue = HeaderValue::from_static(AGENT);

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const MATTR_WEBHOOK_ID: HeaderName = HeaderName::from_static("x-mattr-webhook-id");
const MATTR_EVENT_TYPE: HeaderName = HeaderName::from_static("x-mattr-event-type");
const EVENT_ID: HeaderName = HeaderName::from_static("x-sealpost-event-id");
const DELIVERY_ID: HeaderName = HeaderName::from_static("x-sealpost-delivery-id");
const ATTEMPT: HeaderName = HeaderName::from_static("x-sealpost-attempt");
const TEST: HeaderName = HeaderName::from_static("x-sealpost-test");

/// Why nothing may be sent. Each is an end of the delivery, not of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("the payload cannot be reduced to what this webhook may see: {0}")]
    Minimise(#[from] MinimiseError),
    #[error("the request cannot be signed: {0}")]
    Sign(String),
}

/// Everything an attempt's request is made of.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub target: &'a Target,
    pub event: &'a Event,
    pub payload: &'a Payload,
    pub summary: &'a SummaryForm,
    pub delivery_id: &'a str,
    pub number: u8,
    pub key: &'a SigningKey,
    /// The wall clock's time of this attempt.
    pub now: Timestamp,
    pub public_url: &'a str,
    pub defaults: &'a ServerDefaults,
}

pub fn build(attempt: &Attempt<'_>, gate: Arc<dyn Gate>) -> Result<Request, BuildError> {
    let target = attempt.target;
    let webhook = &target.webhook;
    let event_id = attempt.event.id.to_string();
    let body = body(attempt, webhook, &event_id)?;
    let headers = headers(attempt, webhook, &event_id, &body)?;
    Ok(Request {
        timeout: timeout(webhook, attempt.defaults),
        headers,
        gate,
        ..Request::post(
            PoolScope(webhook.tenant.0 as u64),
            target.scheme,
            Arc::clone(&target.host),
            webhook.url.port(),
            target.path.clone(),
            Bytes::from(body),
        )
    })
}

/// What [`build`] would send, to be looked at.
#[derive(Clone)]
pub struct Draft {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The text that the signature is made over.
    pub signature_base: String,
}

/// Says how much there is: the body is a payload, and the owner's headers are secrets.
impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({} headers, {} bytes)", self.headers.len(), self.body.len())
    }
}

pub fn draft(attempt: &Attempt<'_>) -> Result<Draft, BuildError> {
    let webhook = &attempt.target.webhook;
    let event_id = attempt.event.id.to_string();
    let body = body(attempt, webhook, &event_id)?;
    let headers = headers(attempt, webhook, &event_id, &body)?;
    let shown: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let parts = RequestParts {
        method: "POST",
        request_target: webhook.url.request_target(),
        authority: webhook.url.authority(),
        scheme: webhook.url.scheme(),
        headers: &shown,
    };
    let signature_base =
        received_base(&parts, Some(DELIVERY_LABEL)).map_err(|error| BuildError::Sign(error.to_string()))?;
    Ok(Draft { headers, body, signature_base })
}

fn timeout(webhook: &Webhook, defaults: &ServerDefaults) -> Duration {
    webhook.settings.timeout(defaults)
}

/// The body in the webhook's dialect.
fn body(attempt: &Attempt<'_>, webhook: &Webhook, event_id: &str) -> Result<Vec<u8>, BuildError> {
    let name = attempt.event.event_type.as_str();
    // A summary shares the payload of the event it was derived from and never carries the credential.
    let reduced;
    let payload = if name == OPENID_CREDENTIAL_ISSUED_SUMMARY {
        reduced = derived_summary(attempt.payload)?;
        &reduced
    } else {
        attempt.payload
    };
    let level = &webhook.settings.payload;
    let href = match level {
        PayloadLevel::Full | PayloadLevel::Claims(_) => String::new(),
        PayloadLevel::Summary | PayloadLevel::Thin => {
            format!("{}/v1/webhooks/events/{event_id}", attempt.public_url)
        }
    };
    let context = MinimiseContext {
        summary: attempt.summary,
        event_id,
        href: &href,
        truvera: webhook.dialect == Dialect::Truvera,
    };
    let seen = minimise(payload, level, &context)?;
    Ok(match webhook.dialect {
        Dialect::Mattr => mattr_body(
            &MattrDelivery {
                delivery_id: attempt.delivery_id,
                delivery_timestamp: attempt.now.iso().as_str(),
                webhook_id: &webhook.id.to_string(),
                event_id,
                event_type: name,
                event_timestamp: attempt.event.timestamp.iso().as_str(),
            },
            &seen,
        ),
        Dialect::Truvera => {
            let token =
                webhook.secrets.token.as_ref().ok_or_else(|| BuildError::Sign("there is no token".into()))?;
            truvera_body(token.reveal(), name, &seen)
        }
    })
}

fn headers(
    attempt: &Attempt<'_>,
    webhook: &Webhook,
    event_id: &str,
    body: &[u8],
) -> Result<HeaderMap, BuildError> {
    let name = attempt.event.event_type.as_str();
    let webhook_id = webhook.id.to_string();
    let mut headers = HeaderMap::with_capacity(16 + attempt.target.headers.len());
    headers.insert(CONTENT_TYPE, JSON.clone());
    headers.insert(USER_AGENT, SENDER.clone());
    headers.insert(EVENT_ID, value(event_id)?);
    headers.insert(DELIVERY_ID, value(attempt.delivery_id)?);
    headers.insert(ATTEMPT, HeaderValue::from(u16::from(attempt.number)));
    if attempt.event.test {
        headers.insert(TEST, HeaderValue::from_static("true"));
    }
    for (name, value) in &attempt.target.headers {
        headers.insert(name.clone(), value.clone());
    }

    let expires = match webhook.settings.signature_expires(attempt.defaults) {
        SignatureExpires::After(after) => Some((attempt.now + after).seconds()),
        SignatureExpires::Off => None,
    };
    let covered: [(&str, &str); 3];
    let profile = match webhook.dialect {
        Dialect::Mattr => {
            headers.insert(MATTR_WEBHOOK_ID, value(&webhook_id)?);
            headers.insert(MATTR_EVENT_TYPE, value(name)?);
            covered = [
                ("content-type", "application/json"),
                ("x-mattr-event-type", name),
                ("x-mattr-webhook-id", webhook_id.as_str()),
            ];
            SignatureProfile::MATTR
        }
        Dialect::Truvera => {
            covered = [
                ("content-type", "application/json"),
                ("x-sealpost-delivery-id", attempt.delivery_id),
                ("x-sealpost-event-id", event_id),
            ];
            SignatureProfile::TRUVERA
        }
    };
    let parts = RequestParts {
        method: "POST",
        request_target: webhook.url.request_target(),
        authority: webhook.url.authority(),
        scheme: webhook.url.scheme(),
        headers: &covered,
    };
    let signed = sign_delivery(attempt.key, profile, &parts, body, attempt.now.seconds(), expires)
        .map_err(|error| BuildError::Sign(error.to_string()))?;
    headers.insert(CONTENT_DIGEST, value(&signed.content_digest)?);
    headers.insert(SIGNATURE_INPUT, value(&signed.signature_input)?);
    headers.insert(SIGNATURE, value(&signed.signature)?);
    standard(attempt, webhook, body, &mut headers)?;
    Ok(headers)
}

/// Standard Webhooks beside the message signature, where the owner asked for it.
fn standard(
    attempt: &Attempt<'_>,
    webhook: &Webhook,
    body: &[u8],
    headers: &mut HeaderMap,
) -> Result<(), BuildError> {
    let refused = |error: &dyn fmt::Display| BuildError::Sign(error.to_string());
    let settings = &webhook.settings;
    let (v1, v1a) = (
        settings.signs(SignatureKind::StandardWebhooks),
        settings.signs(SignatureKind::StandardWebhooksEd25519),
    );
    if !v1 && !v1a {
        return Ok(());
    }
    let secrets = if v1 {
        let made =
            webhook.secrets.signing_at(attempt.now).map(|secret| WebhookSecret::from_bytes(secret.reveal()));
        made.collect::<Result<Vec<_>, _>>().map_err(|e| refused(&e))?
    } else {
        Vec::new()
    };
    let mut signers: Vec<WebhookSigner<'_>> = secrets.iter().map(WebhookSigner::V1).collect();
    if v1a {
        signers.push(WebhookSigner::V1a(attempt.key));
    }
    let signed = standard_webhooks::sign(attempt.delivery_id, attempt.now.seconds(), body, &signers)
        .map_err(|e| refused(&e))?;
    headers.insert(WEBHOOK_ID, value(&signed.webhook_id)?);
    headers.insert(WEBHOOK_TIMESTAMP, value(&signed.webhook_timestamp)?);
    headers.insert(WEBHOOK_SIGNATURE, value(&signed.webhook_signature)?);
    Ok(())
}

fn value(text: &str) -> Result<HeaderValue, BuildError> {
    HeaderValue::from_str(text).map_err(|_| BuildError::Sign("a header value is not printable".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_prints_nothing_of_what_it_is_made_of() {
        let value = HeaderValue::from_static("of-the-owner");
        let draft = Draft {
            headers: HeaderMap::from_iter([(HeaderName::from_static("x-own"), value)]),
            body: b"of-a-person".to_vec(),
            signature_base: "of-both".into(),
        };
        assert_eq!(format!("{draft:?}"), "Draft(1 headers, 11 bytes)");
    }
}
