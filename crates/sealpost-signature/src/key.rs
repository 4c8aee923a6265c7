//! Keys and secrets: Ed25519 pairs, their public halves, HMAC secrets, and the names they go by.
//!
//! Secret types print nothing but the key id, compare in constant time, are wiped when dropped, and hand
//! their bytes out only through a method whose name says so. Making key material is left to the caller.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::limits::MAX_KEY_ID_BYTES;
use crate::structured_fields::is_string;

const SECRET_PREFIX: &str = "whsec_";
const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// Why key material or a key id was refused. Never quotes the material.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    #[error("a key id is 1 to {MAX_KEY_ID_BYTES} printable ASCII characters")]
    InvalidKeyId,
    #[error("not base64 of a key")]
    NotBase64,
    #[error("`{prefix}` was expected in front")]
    WrongPrefix { prefix: &'static str },
    #[error("{bytes} bytes are not the length of such a key")]
    WrongLength { bytes: usize },
    #[error("the public key is not a usable point of the curve")]
    UnusablePoint,
    #[error("the private and public halves do not belong together")]
    HalvesDisagree,
}

/// The name a key is looked up by. Opaque: a thumbprint by default, but never taken for one.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(String);

impl KeyId {
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        if text.is_empty() || text.len() > MAX_KEY_ID_BYTES || !is_string(&text) {
            return Err(KeyError::InvalidKeyId);
        }
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The 32 secret bytes of an Ed25519 key, on their way to being wrapped.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// An Ed25519 key that signs. Expanded once, so each signature costs only the signature.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: Seed,
    verifying_key: VerifyingKey,
    key_id: KeyId,
}

impl SigningKey {
    /// The key of this seed, named by its RFC 7638 thumbprint.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // The only check the library makes here is the length, which the type holds.
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        let verifying_key = VerifyingKey(public);
        let key_id = verifying_key.thumbprint();
        Self { pair, seed: Seed(Zeroizing::new(*seed)), verifying_key, key_id }
    }

    /// The key of this seed under a name given by someone else.
    pub fn with_key_id(seed: &[u8; 32], key_id: KeyId) -> Self {
        Self { key_id, ..Self::from_seed(seed) }
    }

    /// Reads `whsk_` + base64 of the seed, or of seed and public key together; both forms are in use.
    pub fn from_whsk(text: &str) -> Result<Self, KeyError> {
        let body =
            text.strip_prefix(PRIVATE_PREFIX).ok_or(KeyError::WrongPrefix { prefix: PRIVATE_PREFIX })?;
        let bytes = decode_secret(body)?;
        let wrong_length = KeyError::WrongLength { bytes: bytes.len() };
        let (seed, public) = bytes.split_first_chunk::<32>().ok_or(wrong_length)?;
        let key = Self::from_seed(seed);
        match public.len() {
            0 => Ok(key),
            32 if public == key.verifying_key.as_bytes() => Ok(key),
            32 => Err(KeyError::HalvesDisagree),
            _ => Err(wrong_length),
        }
    }

    /// The secret, for wrapping at rest. Wiped when dropped.
    pub fn seed(&self) -> Seed {
        self.seed.clone()
    }

    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Pure Ed25519 (RFC 8032), the 64 bytes of R and S.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.key_id)
    }
}

/// An Ed25519 public key. Points of small order and non-canonical encodings are refused, since under them
/// one signature would fit many messages.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        if is_small_or_unreduced(bytes) { Err(KeyError::UnusablePoint) } else { Ok(Self(*bytes)) }
    }

    /// Reads the `x` of a JWK: base64url without padding, 32 bytes.
    pub fn from_base64url(text: &str) -> Result<Self, KeyError> {
        // 43 characters are 32 bytes; a longer text is not worth decoding.
        if text.len() != 43 {
            return Err(KeyError::WrongLength { bytes: text.len() / 4 * 3 });
        }
        Self::from_slice(&URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::NotBase64)?)
    }

    /// Reads `whpk_` + base64, the public form of Standard Webhooks.
    pub fn from_whpk(text: &str) -> Result<Self, KeyError> {
        let body = text.strip_prefix(PUBLIC_PREFIX).ok_or(KeyError::WrongPrefix { prefix: PUBLIC_PREFIX })?;
        Self::from_slice(&STANDARD.decode(body).map_err(|_| KeyError::NotBase64)?)
    }

    fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes.try_into().map_err(|_| KeyError::WrongLength { bytes: bytes.len() })?;
        Self::from_bytes(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The `x` of a JWK.
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// `whpk_` + base64, the public form of Standard Webhooks.
    pub fn to_whpk(&self) -> String {
        let mut out = String::from(PUBLIC_PREFIX);
        STANDARD.encode_string(self.0, &mut out);
        out
    }

    /// The RFC 7638 thumbprint (SHA-256, base64url) of this key as a JWK.
    pub fn thumbprint(&self) -> KeyId {
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.to_base64url());
        KeyId(URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes())))
    }

    /// Whether `signature` is this key's signature of `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.thumbprint())
    }
}

/// The y coordinates of the points of order 1, 2, 4 and 8, without the sign bit.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
];

fn is_small_or_unreduced(point: &[u8; 32]) -> bool {
    let mut y = *point;
    y[31] &= 0x7f;
    // The field prime is 2^255 - 19; y must be below it.
    let unreduced = y[31] == 0x7f && y[1..31].iter().all(|b| *b == 0xff) && y[0] >= 0xed;
    unreduced || SMALL_ORDER.contains(&y)
}

/// A Standard Webhooks secret: 24 to 64 bytes, shown as `whsec_` + base64.
#[derive(Clone)]
pub struct WebhookSecret {
    bytes: Zeroizing<Vec<u8>>,
    key: hmac::Key,
}

impl WebhookSecret {
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if !(24..=64).contains(&bytes.len()) {
            return Err(KeyError::WrongLength { bytes: bytes.len() });
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, bytes), bytes: Zeroizing::new(bytes.to_vec()) })
    }

    /// Reads the shown form. The prefix may be missing, as in the libraries of the standard.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&decode_secret(text.strip_prefix(SECRET_PREFIX).unwrap_or(text))?)
    }

    /// The form shown to the receiver's owner. There is no `Display`, so that showing it is a decision.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(SECRET_PREFIX.len() + 88));
        out.push_str(SECRET_PREFIX);
        STANDARD.encode_string(&*self.bytes, &mut out);
        out
    }

    /// The raw bytes, for wrapping at rest.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn hmac(&self) -> hmac::Context {
        hmac::Context::with_key(&self.key)
    }
}

impl PartialEq for WebhookSecret {
    fn eq(&self, other: &Self) -> bool {
        self.bytes.ct_eq(&other.bytes).into()
    }
}

impl Eq for WebhookSecret {}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// A shared secret with a name, for `hmac-sha256` message signatures.
#[derive(Clone)]
pub struct HmacKey {
    key_id: KeyId,
    key: hmac::Key,
}

impl HmacKey {
    /// Takes 32 bytes or more: a shorter secret would be the weakest part of the hash.
    pub fn new(key_id: KeyId, secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < 32 {
            return Err(KeyError::WrongLength { bytes: secret.len() });
        }
        Ok(Self { key_id, key: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut tag = [0; 32];
        tag.copy_from_slice(hmac::sign(&self.key, message).as_ref());
        tag
    }

    /// Compares in constant time.
    #[must_use]
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.key, message, tag).is_ok()
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HmacKey({})", self.key_id)
    }
}

fn decode_secret(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    STANDARD.decode(text).map(Zeroizing::new).map_err(|_| KeyError::NotBase64)
}
