//! The payload of an event: a JSON object in its normalised text, exactly as receivers will get it.
//!
//! Payloads are personal data: printing one for debugging gives its length, and there is no `Display`
//! or `Serialize`, so that one leaves only where [`as_str`](Payload::as_str) is written out.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::json::{self, JsonError, Members, Reader, TokenKind};

/// Text of one payload as it was sent. The largest real credentials, with a portrait, stay below 100 KiB.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// Nested arrays and objects in one payload, the payload itself included.
pub const MAX_PAYLOAD_DEPTH: usize = json::MAX_DEPTH;

/// Why a payload was not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PayloadError {
    #[error("the payload has {0} bytes, more than 1048576")]
    TooLarge(usize),
    #[error("the payload must be a JSON object")]
    NotAnObject,
    #[error("the payload is not acceptable JSON: {0}")]
    Json(#[from] JsonError),
}

/// A JSON object in normalised text. Cloning shares it.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Payload(Arc<str>);

impl Payload {
    /// Checks what a publisher sent and brings it into the form it will leave in.
    pub fn parse(raw: &str) -> Result<Self, PayloadError> {
        if raw.len() > MAX_PAYLOAD_BYTES {
            return Err(PayloadError::TooLarge(raw.len()));
        }
        let first = Reader::new(raw, MAX_PAYLOAD_DEPTH).require_token()?;
        if first.kind != TokenKind::ObjectOpen {
            return Err(PayloadError::NotAnObject);
        }
        Ok(Self(json::normalise(raw, MAX_PAYLOAD_DEPTH)?.into()))
    }

    /// Takes back what [`as_str`](Self::as_str) gave; the store vouches that nothing changed.
    pub fn from_stored(normalised: String) -> Self {
        Self(normalised.into())
    }

    /// The object, compact, as it is signed and sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bytes of the normalised text.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.size())
    }
}

/// Completes Truvera's credential events, for which a publisher may give only `{"credential":{..},"key":".."}`:
/// the result is `{id,signingOps,byteSize,key,credential}` as Truvera sends it. `id` is the credential's own,
/// or `fallback_id` if it has none; `byteSize` is the length of the credential's compact text.
/// Any other payload is complete already and comes back as it is.
pub fn complete_credential(payload: &Payload, fallback_id: &str) -> Payload {
    completed(payload.as_str(), fallback_id).ok().flatten().unwrap_or_else(|| payload.clone())
}

fn completed(payload: &str, fallback_id: &str) -> Result<Option<Payload>, JsonError> {
    let (mut credential, mut key) = (None, None);
    for member in Members::of(payload) {
        let member = member?;
        match member.name.as_ref() {
            r#""credential""# if member.value.starts_with('{') => credential = Some(member.value),
            r#""key""# if member.value.starts_with('"') => key = Some(member.value),
            _ => return Ok(None),
        }
    }
    let (Some(credential), Some(key)) = (credential, key) else { return Ok(None) };
    let mut text = String::with_capacity(payload.len() + 64 + fallback_id.len());
    text.push_str("{\"id\":");
    match own_id(credential)? {
        Some(id) => text.push_str(id),
        None => json::write_string(&mut text, fallback_id),
    }
    let size = credential.len();
    let _ = write!(text, ",\"signingOps\":1,\"byteSize\":{size},\"key\":{key},\"credential\":{credential}}}");
    Ok(Some(Payload(text.into())))
}

/// The credential's `id` as JSON text, if it is a string.
fn own_id(credential: &str) -> Result<Option<&str>, JsonError> {
    for member in Members::of(credential) {
        let member = member?;
        if member.name == r#""id""# && member.value.starts_with('"') {
            return Ok(Some(member.value));
        }
    }
    Ok(None)
}
