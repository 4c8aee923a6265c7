//! `Content-Digest` (RFC 9530): made with sha-256 or sha-512, checked against the exact bytes of a body.
//!
//! A header may name several algorithms. Every one we know must match; at least one must be known. The
//! deprecated ones (md5, sha, crc32c and so on) prove nothing and count as unknown.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA512, digest};
use subtle::ConstantTimeEq as _;

use crate::structured_fields::{BareItem, Dictionary, FieldError, Item, Member, write_bytes};

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DigestError {
    #[error("`content-digest` is malformed: {0}")]
    Malformed(#[from] FieldError),
    #[error("`{algorithm}` in `content-digest` is not a digest of the right length")]
    NotADigest { algorithm: String },
    #[error("`content-digest` names no algorithm we accept (sha-256, sha-512)")]
    NoKnownAlgorithm,
    #[error("the body does not match its `{algorithm}` digest")]
    Mismatch { algorithm: String },
}

/// The header value `sha-256=:...:` for `body`.
pub fn content_digest_sha256(body: &[u8]) -> String {
    content_digest("sha-256=", &SHA256, body)
}

/// The header value `sha-512=:...:` for `body`.
pub fn content_digest_sha512(body: &[u8]) -> String {
    content_digest("sha-512=", &SHA512, body)
}

/// Checks `header`, the combined value of all `Content-Digest` lines, against the bytes received.
pub fn verify_content_digest(header: &str, body: &[u8]) -> Result<(), DigestError> {
    let mut checked = false;
    for (algorithm, member) in Dictionary::parse(header)?.0 {
        let computed = match algorithm.as_str() {
            "sha-256" => digest(&SHA256, body),
            "sha-512" => digest(&SHA512, body),
            _ => continue,
        };
        match member {
            Member::Item(Item { value: BareItem::Bytes(claimed), .. })
                if claimed.len() == computed.as_ref().len() =>
            {
                if !bool::from(claimed.ct_eq(computed.as_ref())) {
                    return Err(DigestError::Mismatch { algorithm });
                }
            }
            _ => return Err(DigestError::NotADigest { algorithm }),
        }
        checked = true;
    }
    if checked { Ok(()) } else { Err(DigestError::NoKnownAlgorithm) }
}

fn content_digest(prefix: &str, algorithm: &'static Algorithm, body: &[u8]) -> String {
    let mut out = String::with_capacity(prefix.len() + 90);
    out.push_str(prefix);
    write_bytes(&mut out, digest(algorithm, body).as_ref());
    out
}
