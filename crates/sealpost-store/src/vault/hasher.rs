//! Keyed hashes of a tenant: equal inputs are recognised inside the tenant, and nobody without the key can test
//! a guess. The keys are prepared once; hashing is on the path of every event.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt as HkdfSalt};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use sealpost_core::analytics::Step;
use sealpost_core::id::{AnalyticId, EventId, uuid_v8};
use sealpost_core::time::Timestamp;

/// One key for each purpose, so that a hash made for one can never be taken for another.
pub struct TenantHasher {
    content: hmac::Key,
    request: hmac::Key,
    repeat: hmac::Key,
    subject: hmac::Key,
    derived: hmac::Key,
    analytic: hmac::Key,
}

impl fmt::Debug for TenantHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantHasher")
    }
}

impl TenantHasher {
    /// Of the tenant's own key.
    pub fn new(tenant_key: &[u8; 32]) -> Self {
        let key = |purpose: &str| {
            let prk = HkdfSalt::new(HKDF_SHA256, b"sealpost keyed hashes 1").extract(tenant_key);
            let mut bytes = Zeroizing::new([0; 32]);
            prk.expand(&[purpose.as_bytes()], Bytes32)
                .and_then(|okm| okm.fill(&mut *bytes))
                .expect("HKDF-SHA256 gives 32 bytes");
            hmac::Key::new(hmac::HMAC_SHA256, &*bytes)
        };
        Self {
            content: key("content"),
            request: key("request"),
            repeat: key("repeat key"),
            subject: key("subject"),
            derived: key("derived event"),
            analytic: key("analytic event"),
        }
    }

    /// What a publisher sent as one event. A time that was not given is absent, not a default.
    pub fn content(&self, event_type: &str, payload: &str, timestamp: Option<Timestamp>) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.content);
        frame(&mut context, b't', event_type.as_bytes());
        frame(&mut context, b'p', payload.as_bytes());
        if let Some(timestamp) = timestamp {
            frame(&mut context, b'a', &timestamp.millis().to_be_bytes());
        }
        bytes(context.sign())
    }

    /// Several events under one `Idempotency-Key`, in order.
    pub fn request_content(&self, contents: &[[u8; 32]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.request);
        // All of one length, so their number frames them.
        context.update(&(contents.len() as u64).to_be_bytes());
        for content in contents {
            context.update(content);
        }
        bytes(context.sign())
    }

    /// The text of an `Idempotency-Key`, or a CloudEvent's source and id.
    pub fn repeat_key(&self, text: &str) -> [u8; 32] {
        bytes(hmac::sign(&self.repeat, text.as_bytes()))
    }

    pub fn subject(&self, text: &str) -> [u8; 32] {
        bytes(hmac::sign(&self.subject, text.as_bytes()))
    }

    /// The id of the event that is derived from `source`: the same every time.
    pub fn derived_event(&self, source: EventId) -> EventId {
        let hash = bytes(hmac::sign(&self.derived, source.bytes()));
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        EventId::from_uuid(uuid_v8(half))
    }

    /// The id of an analytic event that is told from `source`, an event or a delivery: the same every time. `attempt`
    /// is as in [`Step::place`].
    pub fn analytic_event(&self, source: &[u8; 16], step: Step, attempt: u8, at: Timestamp) -> AnalyticId {
        let mut context = hmac::Context::with_key(&self.analytic);
        context.update(source);
        context.update(&[step.place(attempt)]);
        let hash = bytes(context.sign());
        let mut short = [0; 8];
        short.copy_from_slice(&hash[..8]);
        AnalyticId::told(at, step.place(attempt), short)
    }
}

/// A field's name, length and bytes: no two lists of fields read the same.
fn frame(context: &mut hmac::Context, name: u8, field: &[u8]) {
    context.update(&[name]);
    context.update(&(field.len() as u64).to_be_bytes());
    context.update(field);
}

fn bytes(tag: hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[derive(Debug, Clone, Copy)]
struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}
