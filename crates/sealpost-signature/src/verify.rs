//! HTTP Message Signatures (RFC 9421), the receiving side.
//!
//! `verify_request` answers yes only if all of it holds: one label is meant, its signature is made by a
//! key we hold over everything we require, its algorithm is the key's own, it is neither too old nor from
//! the future nor expired, and the body matches `Content-Digest` wherever that is covered. The signature
//! is judged before the times, so "expired" is said only of a genuine signature.

use std::borrow::Cow;

use crate::base::{
    BaseError, Component, Components, Parameters, RequestParts, read_input, signature_base, write_field,
};
use crate::digest::{DigestError, verify_content_digest};
use crate::jwks::Jwks;
use crate::key::{HmacKey, VerifyingKey};
use crate::structured_fields::{BareItem, Dictionary, FieldError, Item, Member};

/// Why a request is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifyError {
    #[error("the request has no `{header}` header")]
    MissingHeader { header: &'static str },
    #[error("`{header}` is malformed: {source}")]
    MalformedHeader {
        header: &'static str,
        #[source]
        source: FieldError,
    },
    #[error("`{header}` is not text")]
    NotText { header: &'static str },
    #[error("the request carries several signatures ({}); say which one counts", labels.join(", "))]
    AmbiguousLabel { labels: Vec<String> },
    #[error("`{header}` has no member `{label}`")]
    MissingLabel { header: &'static str, label: String },
    #[error("member `{label}` of `{header}` is not {wanted}")]
    WrongMember { header: &'static str, label: String, wanted: &'static str },
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error("the signature does not cover {component}")]
    NotCovered { component: Component },
    #[error("the signature has no parameter `{parameter}`")]
    MissingParameter { parameter: &'static str },
    #[error("no key `{key_id}` is known")]
    UnknownKey { key_id: String },
    #[error("the signature names algorithm `{given}`, but key `{key_id}` is for `{algorithm}`")]
    AlgorithmDisagrees { given: String, key_id: String, algorithm: &'static str },
    #[error("the signature is not one of this request by key `{key_id}`")]
    InvalidSignature { key_id: String },
    #[error("the signature was made {age_s} s ago; {max_age_s} s are accepted")]
    TooOld { age_s: i64, max_age_s: u32 },
    #[error("the signature claims to be made {ahead_s} s from now; {max_skew_s} s are accepted")]
    FromTheFuture { ahead_s: i64, max_skew_s: u32 },
    #[error("the signature expired {ago_s} s ago")]
    Expired { ago_s: i64 },
    #[error("the signature expires before it was made")]
    ExpiresBeforeCreated,
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A key that can check a message. Its type fixes the algorithm; the message never chooses.
#[derive(Clone, Copy, Debug)]
pub enum VerificationKey<'a> {
    Ed25519(&'a VerifyingKey),
    HmacSha256(&'a HmacKey),
}

impl VerificationKey<'_> {
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ed25519",
            Self::HmacSha256(_) => "hmac-sha256",
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => key.verify(message, signature),
            Self::HmacSha256(key) => key.verify(message, signature),
        }
    }
}

/// Where keys are found by the id a signature names.
pub trait KeyLookup {
    fn find(&self, key_id: &str) -> Option<VerificationKey<'_>>;
}

impl KeyLookup for Jwks {
    fn find(&self, key_id: &str) -> Option<VerificationKey<'_>> {
        self.get(key_id).map(|key| VerificationKey::Ed25519(key.verifying_key()))
    }
}

impl KeyLookup for HmacKey {
    fn find(&self, key_id: &str) -> Option<VerificationKey<'_>> {
        (self.key_id().as_str() == key_id).then_some(VerificationKey::HmacSha256(self))
    }
}

/// What a receiver insists on.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions<'a> {
    /// Unix seconds.
    pub now: i64,
    /// How old `created` may be; `None` accepts any age and a missing `created`.
    pub max_age_s: Option<u32>,
    /// How far the sender's clock may differ, for `created` and `expires` alike.
    pub max_skew_s: u32,
    /// What must be covered, whatever else is.
    pub required: &'a [Component],
    /// Which signature counts. `None` accepts the only one, and refuses to choose among several.
    pub label: Option<&'a str>,
}

impl VerifyOptions<'_> {
    /// Method, target and body covered; five minutes of age, one minute of skew.
    pub fn at(now: i64) -> Self {
        const REQUIRED: &[Component] =
            &[Component::Method, Component::RequestTarget, Component::Field(Cow::Borrowed("content-digest"))];
        Self { now, max_age_s: Some(300), max_skew_s: 60, required: REQUIRED, label: None }
    }
}

/// What a genuine signature says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    pub label: String,
    pub keyid: String,
    pub created: Option<i64>,
    pub expires: Option<i64>,
    pub covered: Components,
}

/// Verifies one signature of a request. `body` is the content exactly as received.
pub fn verify_request(
    parts: &RequestParts<'_>,
    body: &[u8],
    keys: &impl KeyLookup,
    options: &VerifyOptions<'_>,
) -> Result<Verified, VerifyError> {
    let received = Received::read(parts, options.label)?;
    let Received { label, components, parameters, .. } = &received;
    if let Some(component) = options.required.iter().find(|component| !components.contains(component)) {
        return Err(VerifyError::NotCovered { component: component.clone() });
    }
    if options.max_age_s.is_some() && parameters.created().is_none() {
        return Err(VerifyError::MissingParameter { parameter: "created" });
    }
    let key_id = parameters.keyid().ok_or(VerifyError::MissingParameter { parameter: "keyid" })?;
    let key = keys.find(key_id).ok_or_else(|| VerifyError::UnknownKey { key_id: key_id.to_owned() })?;
    if let Some(given) = parameters.alg().filter(|given| *given != key.algorithm()) {
        return Err(VerifyError::AlgorithmDisagrees {
            given: given.to_owned(),
            key_id: key_id.to_owned(),
            algorithm: key.algorithm(),
        });
    }
    let base = signature_base(parts, components, parameters)?;
    if !key.verify(base.as_bytes(), &received.signature) {
        return Err(VerifyError::InvalidSignature { key_id: key_id.to_owned() });
    }
    check_times(parameters.created(), parameters.expires(), options)?;
    if components.contains(&Component::Field(Cow::Borrowed("content-digest"))) {
        let mut digest = String::new();
        write_field(&mut digest, "content-digest", parts)?;
        verify_content_digest(&digest, body)?;
    }
    Ok(Verified {
        label: label.clone(),
        keyid: key_id.to_owned(),
        created: parameters.created(),
        expires: parameters.expires(),
        covered: components.clone(),
    })
}

/// The text that a received signature must have been made over, for tools that show it. Nothing is verified.
pub fn received_base(parts: &RequestParts<'_>, label: Option<&str>) -> Result<String, VerifyError> {
    let received = Received::read(parts, label)?;
    Ok(signature_base(parts, &received.components, &received.parameters)?)
}

fn check_times(
    created: Option<i64>,
    expires: Option<i64>,
    options: &VerifyOptions<'_>,
) -> Result<(), VerifyError> {
    if let Some(created) = created {
        // `created` lies in the range of structured fields; `now` is the caller's and may be anything.
        let age_s = options.now.saturating_sub(created);
        if age_s < -i64::from(options.max_skew_s) {
            return Err(VerifyError::FromTheFuture {
                ahead_s: age_s.saturating_neg(),
                max_skew_s: options.max_skew_s,
            });
        }
        if let Some(max_age_s) = options.max_age_s.filter(|max| age_s > i64::from(*max)) {
            return Err(VerifyError::TooOld { age_s, max_age_s });
        }
    }
    if let Some(expires) = expires {
        if created.is_some_and(|created| expires < created) {
            return Err(VerifyError::ExpiresBeforeCreated);
        }
        let ago_s = options.now.saturating_sub(expires);
        if ago_s > i64::from(options.max_skew_s) {
            return Err(VerifyError::Expired { ago_s });
        }
    }
    Ok(())
}

/// The one signature that counts, read but not yet believed.
struct Received {
    label: String,
    components: Components,
    parameters: Parameters,
    signature: Vec<u8>,
}

impl Received {
    fn read(parts: &RequestParts<'_>, wanted: Option<&str>) -> Result<Self, VerifyError> {
        let inputs = dictionary(parts, "signature-input")?;
        let signatures = dictionary(parts, "signature")?;
        let label = match wanted {
            Some(label) => label.to_owned(),
            None => only_label(&inputs, &signatures)?,
        };
        let missing = |header| VerifyError::MissingLabel { header, label: label.clone() };
        let wrong = |header, wanted| VerifyError::WrongMember { header, label: label.clone(), wanted };
        let input = match inputs.into_member(&label).ok_or_else(|| missing("signature-input"))? {
            Member::InnerList(input) => input,
            Member::Item(_) => return Err(wrong("signature-input", "a list of components")),
        };
        let signature = match signatures.into_member(&label).ok_or_else(|| missing("signature"))? {
            Member::Item(Item { value: BareItem::Bytes(signature), .. }) => signature,
            _ => return Err(wrong("signature", "a byte sequence")),
        };
        let (components, parameters) = read_input(&input)?;
        Ok(Self { label, components, parameters, signature })
    }
}

/// Both headers are asked, so that a signature without input (or the reverse) is not overlooked.
fn only_label(inputs: &Dictionary, signatures: &Dictionary) -> Result<String, VerifyError> {
    let mut labels: Vec<String> = inputs.0.iter().map(|(label, _)| label.clone()).collect();
    labels.extend(signatures.0.iter().map(|(l, _)| l).filter(|l| inputs.get(l).is_none()).cloned());
    match labels.as_slice() {
        [] => Err(VerifyError::MissingHeader { header: "signature-input" }),
        [only] => Ok(only.clone()),
        _ => Err(VerifyError::AmbiguousLabel { labels }),
    }
}

fn dictionary(parts: &RequestParts<'_>, header: &'static str) -> Result<Dictionary, VerifyError> {
    let mut combined = String::new();
    write_field(&mut combined, header, parts).map_err(|error| match error {
        BaseError::MissingComponent { .. } => VerifyError::MissingHeader { header },
        _ => VerifyError::NotText { header },
    })?;
    Dictionary::parse(&combined).map_err(|source| VerifyError::MalformedHeader { header, source })
}
