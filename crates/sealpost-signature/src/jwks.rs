//! JSON Web Key Sets of Ed25519 keys: published with the members `kty, crv, x, use, kid` in that order,
//! and read from strangers.
//!
//! Reading leaves out keys that are none of our business (other types, curves, uses and algorithms) and
//! refuses the whole set when a key that is ours is broken, private, or shares its id with another.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::key::{KeyError, KeyId, SigningKey, VerifyingKey};
use crate::limits::{MAX_JWKS_BYTES, MAX_JWKS_KEYS};

#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    #[error("the key set is longer than {MAX_JWKS_BYTES} bytes")]
    TooLong,
    #[error("the key set holds more than {MAX_JWKS_KEYS} keys")]
    TooManyKeys,
    #[error("the key set is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    #[error("the key set is not an object with an array `keys`")]
    NotAKeySet,
    #[error("key {index} of the set: {source}")]
    BadKey {
        index: usize,
        #[source]
        source: KeyError,
    },
    #[error("key {index} of the set has no text `{member}`")]
    BadMember { index: usize, member: &'static str },
    #[error("key {index} of the set publishes its private half `d`; the key must be replaced")]
    PrivateKey { index: usize },
    #[error("two different keys of the set are called `{key_id}`")]
    AmbiguousKeyId { key_id: KeyId },
}

/// One published Ed25519 key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Jwk {
    verifying_key: VerifyingKey,
    key_id: KeyId,
}

impl Jwk {
    pub fn new(verifying_key: VerifyingKey, key_id: KeyId) -> Self {
        Self { verifying_key, key_id }
    }

    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Its RFC 7638 thumbprint, whatever it is called.
    pub fn thumbprint(&self) -> KeyId {
        self.verifying_key.thumbprint()
    }

    /// `None` for a key that is not for us, an error for one that is but cannot be used.
    fn read(index: usize, value: &Value) -> Result<Option<Self>, JwksError> {
        let text = |member: &'static str| match value.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(JwksError::BadMember { index, member }),
        };
        let is = |member, accepted: &[&str]| {
            value.get(member).and_then(Value::as_str).is_some_and(|v| accepted.contains(&v))
        };
        let is_or_absent = |member, accepted: &[&str]| value.get(member).is_none() || is(member, accepted);
        if !(is("kty", &["OKP"])
            && is("crv", &["Ed25519"])
            && is_or_absent("use", &["sig"])
            && is_or_absent("alg", &["EdDSA", "Ed25519"]))
        {
            return Ok(None);
        }
        if value.get("d").is_some() {
            return Err(JwksError::PrivateKey { index });
        }
        let bad_key = |source| JwksError::BadKey { index, source };
        let x = text("x")?.ok_or(JwksError::BadMember { index, member: "x" })?;
        let verifying_key = VerifyingKey::from_base64url(x).map_err(bad_key)?;
        let key_id = match text("kid")? {
            Some(kid) => KeyId::new(kid).map_err(bad_key)?,
            None => verifying_key.thumbprint(),
        };
        Ok(Some(Self { verifying_key, key_id }))
    }
}

impl From<&SigningKey> for Jwk {
    fn from(key: &SigningKey) -> Self {
        Self::new(*key.verifying_key(), key.key_id().clone())
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Jwk", 5)?;
        members.serialize_field("kty", "OKP")?;
        members.serialize_field("crv", "Ed25519")?;
        members.serialize_field("x", &self.verifying_key.to_base64url())?;
        members.serialize_field("use", "sig")?;
        members.serialize_field("kid", self.key_id.as_str())?;
        members.end()
    }
}

/// A set in which every key id names one key.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Jwks {
    keys: Vec<Jwk>,
}

impl Jwks {
    /// Keeps the order given. The same key listed twice is kept once.
    pub fn new(keys: impl IntoIterator<Item = Jwk>) -> Result<Self, JwksError> {
        let mut set = Self::default();
        for key in keys {
            set.add(key)?;
        }
        Ok(set)
    }

    /// Reads a JWKS document from someone who is not trusted to write it well.
    pub fn parse(document: &[u8]) -> Result<Self, JwksError> {
        if document.len() > MAX_JWKS_BYTES {
            return Err(JwksError::TooLong);
        }
        let value: Value = serde_json::from_slice(document).map_err(JwksError::NotJson)?;
        let keys = value.get("keys").and_then(Value::as_array).ok_or(JwksError::NotAKeySet)?;
        if keys.len() > MAX_JWKS_KEYS {
            return Err(JwksError::TooManyKeys);
        }
        let mut set = Self::default();
        for (index, value) in keys.iter().enumerate() {
            if let Some(key) = Jwk::read(index, value)? {
                set.add(key)?;
            }
        }
        Ok(set)
    }

    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    pub fn get(&self, key_id: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| key.key_id.as_str() == key_id)
    }

    fn add(&mut self, key: Jwk) -> Result<(), JwksError> {
        match self.get(key.key_id.as_str()) {
            Some(known) if *known == key => Ok(()),
            Some(_) => Err(JwksError::AmbiguousKeyId { key_id: key.key_id }),
            None => {
                self.keys.push(key);
                Ok(())
            }
        }
    }
}
