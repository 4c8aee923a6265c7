//! Signing and verifying webhook requests: HTTP Message Signatures (RFC 9421) with Content-Digest
//! (RFC 9530), Standard Webhooks, and the keys and key sets they need.
//!
//! Everything here is a pure function of its arguments. Time arrives as unix seconds and key material as
//! bytes; there is no clock, no dice, no socket and no async runtime, so a receiver can link this crate
//! alone. No input, however hostile, makes it panic, and every loop over input is bounded by `limits`.

pub mod base;
pub mod digest;
pub mod jwks;
pub mod key;
pub mod limits;
pub mod message_signature;
pub mod standard_webhooks;
pub mod structured_fields;
pub mod verify;

pub use base::{BaseError, Component, Components, Parameter, Parameters, RequestParts, signature_base};
pub use digest::{DigestError, content_digest_sha256, content_digest_sha512, verify_content_digest};
pub use jwks::{Jwk, Jwks, JwksError};
pub use key::{HmacKey, KeyError, KeyId, Seed, SigningKey, VerifyingKey, WebhookSecret};
pub use message_signature::{
    DeliverySignature, MessageSignature, SignError, SignatureProfile, Signer, delivery_base, sign_delivery,
    sign_request,
};
pub use verify::{
    KeyLookup, VerificationKey, Verified, VerifyError, VerifyOptions, received_base, verify_request,
};
