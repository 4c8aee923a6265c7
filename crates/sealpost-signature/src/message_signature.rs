//! HTTP Message Signatures (RFC 9421), the signing side: the two fixed profiles that deliveries use, and
//! signing of any request with any components.
//!
//! A delivery is signed in one call that makes all three headers from the bytes about to be sent. What is
//! signed is taken from the same header list that goes on the wire, so the two cannot drift apart.

use std::borrow::Cow;

use crate::base::{
    self, BaseError, Component, Components, Parameter, Parameters, RequestParts, signature_params, write_base,
};
use crate::digest::content_digest_sha256;
use crate::key::{HmacKey, KeyId, SigningKey};
use crate::structured_fields::{is_key, write_bytes};

/// The one label that deliveries carry.
pub const DELIVERY_LABEL: &str = "sig1";

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignError {
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error("`{label}` cannot be a label: lower-case letters, digits, `_-.*`, a letter or `*` first")]
    InvalidLabel { label: String },
    #[error("`content-digest` is made here and must not be among the headers given")]
    DigestGiven,
    #[error("parameter `keyid` is `{given}`, but the key is `{key_id}`")]
    KeyIdDisagrees { given: String, key_id: KeyId },
    #[error("parameter `alg` is `{given}`, but the key signs with `{algorithm}`")]
    AlgorithmDisagrees { given: String, algorithm: &'static str },
}

/// What the signature of a delivery covers, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignatureProfile {
    components: &'static [Component],
}

impl SignatureProfile {
    /// What MATTR's receivers are used to.
    pub const MATTR: Self = Self {
        components: &[
            Component::RequestTarget,
            Component::Method,
            Component::Field(Cow::Borrowed("content-digest")),
            Component::Field(Cow::Borrowed("content-type")),
            Component::Field(Cow::Borrowed("x-mattr-event-type")),
            Component::Field(Cow::Borrowed("x-mattr-webhook-id")),
        ],
    };

    /// Truvera has no signature of its own; this binds the ids that its bodies lack.
    pub const TRUVERA: Self = Self {
        components: &[
            Component::RequestTarget,
            Component::Method,
            Component::Field(Cow::Borrowed("content-digest")),
            Component::Field(Cow::Borrowed("content-type")),
            Component::Field(Cow::Borrowed("x-sealpost-delivery-id")),
            Component::Field(Cow::Borrowed("x-sealpost-event-id")),
        ],
    };

    pub fn components(&self) -> &'static [Component] {
        self.components
    }
}

/// The values of the three headers that sign a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliverySignature {
    pub content_digest: String,
    pub signature_input: String,
    pub signature: String,
}

/// A delivery ready to be signed: two of its headers, and the exact text the signature is made over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliveryBase {
    pub content_digest: String,
    pub signature_input: String,
    pub base: String,
}

/// Signs an outgoing delivery. `created` and `expires` are unix seconds.
pub fn sign_delivery(
    key: &SigningKey,
    profile: SignatureProfile,
    parts: &RequestParts<'_>,
    body: &[u8],
    created: i64,
    expires: Option<i64>,
) -> Result<DeliverySignature, SignError> {
    let DeliveryBase { content_digest, signature_input, base } =
        delivery_base(key.key_id(), profile, parts, body, created, expires)?;
    let signature = signature_member(DELIVERY_LABEL, &key.sign(base.as_bytes()));
    Ok(DeliverySignature { content_digest, signature_input, signature })
}

/// What [`sign_delivery`] signs, for tools that show it.
pub fn delivery_base(
    key_id: &KeyId,
    profile: SignatureProfile,
    parts: &RequestParts<'_>,
    body: &[u8],
    created: i64,
    expires: Option<i64>,
) -> Result<DeliveryBase, SignError> {
    if parts.lines("content-digest").next().is_some() {
        return Err(SignError::DigestGiven);
    }
    let content_digest = content_digest_sha256(body);
    let parameters = Parameters::new(
        [
            Some(Parameter::Created(created)),
            expires.map(Parameter::Expires),
            Some(Parameter::KeyId(key_id.as_str().to_owned())),
        ]
        .into_iter()
        .flatten(),
    )?;
    let mut signature_input = signature_params(profile.components, &parameters);
    let base = write_base(parts, profile.components, &signature_input, Some(&content_digest))?;
    signature_input.insert(0, '=');
    signature_input.insert_str(0, DELIVERY_LABEL);
    Ok(DeliveryBase { content_digest, signature_input, base })
}

/// The values of the two signature headers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MessageSignature {
    pub signature_input: String,
    pub signature: String,
}

/// A key that can sign a message.
#[derive(Clone, Copy, Debug)]
pub enum Signer<'a> {
    Ed25519(&'a SigningKey),
    HmacSha256(&'a HmacKey),
}

impl Signer<'_> {
    /// The name RFC 9421 registers for what this key does.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ed25519",
            Self::HmacSha256(_) => "hmac-sha256",
        }
    }

    fn key_id(&self) -> &KeyId {
        match self {
            Self::Ed25519(key) => key.key_id(),
            Self::HmacSha256(key) => key.key_id(),
        }
    }
}

impl<'a> From<&'a SigningKey> for Signer<'a> {
    fn from(key: &'a SigningKey) -> Self {
        Self::Ed25519(key)
    }
}

impl<'a> From<&'a HmacKey> for Signer<'a> {
    fn from(key: &'a HmacKey) -> Self {
        Self::HmacSha256(key)
    }
}

/// Signs any request over any components. A covered `content-digest` must already be among the headers.
/// `keyid` and `alg` may be left out, but must be true if given.
pub fn sign_request<'a>(
    key: impl Into<Signer<'a>>,
    parts: &RequestParts<'_>,
    components: &Components,
    parameters: &Parameters,
    label: &str,
) -> Result<MessageSignature, SignError> {
    let key = key.into();
    if !is_key(label) {
        return Err(SignError::InvalidLabel { label: label.to_owned() });
    }
    if let Some(given) = parameters.keyid().filter(|given| *given != key.key_id().as_str()) {
        return Err(SignError::KeyIdDisagrees { given: given.to_owned(), key_id: key.key_id().clone() });
    }
    if let Some(given) = parameters.alg().filter(|given| *given != key.algorithm()) {
        return Err(SignError::AlgorithmDisagrees { given: given.to_owned(), algorithm: key.algorithm() });
    }
    let base = base::signature_base(parts, components, parameters)?;
    let signature = match key {
        Signer::Ed25519(key) => signature_member(label, &key.sign(base.as_bytes())),
        Signer::HmacSha256(key) => signature_member(label, &key.sign(base.as_bytes())),
    };
    let params = signature_params(components.as_slice(), parameters);
    Ok(MessageSignature { signature_input: format!("{label}={params}"), signature })
}

fn signature_member(label: &str, signature: &[u8]) -> String {
    let mut out = String::with_capacity(label.len() + 92);
    out.push_str(label);
    out.push('=');
    write_bytes(&mut out, signature);
    out
}
