//! Reads the vectors of HTTP Message Signatures and turns them into requests.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sealpost_signature::{HmacKey, Jwk, Jwks, KeyId, RequestParts, SigningKey};
use serde::Deserialize;

/// The key of RFC 8037, A.1.
pub const RFC8037_SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

#[derive(Clone, Deserialize)]
pub struct Vector {
    pub name: String,
    pub key: Key,
    pub request: Request,
    pub label: String,
    pub params: String,
    pub base: Vec<String>,
    pub signature: String,
}

#[derive(Clone, Deserialize)]
pub struct Key {
    pub kid: String,
    pub d: Option<String>,
    pub secret: Option<String>,
}

#[derive(Clone, Deserialize)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub authority: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

pub fn vectors() -> Vec<Vector> {
    let mut all: Vec<Vector> = serde_json::from_str(include_str!("../vectors/rfc9421.json")).unwrap();
    all.extend(serde_json::from_str::<Vec<Vector>>(include_str!("../vectors/mattr.json")).unwrap());
    all
}

pub fn vector(name: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.name == name).unwrap()
}

pub fn seed(text: &str) -> [u8; 32] {
    URL_SAFE_NO_PAD.decode(text).unwrap().try_into().unwrap()
}

impl Vector {
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::with_key_id(&seed(self.key.d.as_ref().unwrap()), KeyId::new(&self.key.kid).unwrap())
    }

    pub fn hmac_key(&self) -> Option<HmacKey> {
        let secret = STANDARD.decode(self.key.secret.as_ref()?).unwrap();
        Some(HmacKey::new(KeyId::new(&self.key.kid).unwrap(), &secret).unwrap())
    }

    pub fn jwks(&self) -> Jwks {
        Jwks::new([Jwk::from(&self.signing_key())]).unwrap()
    }

    pub fn base(&self) -> String {
        format!("{}\n\"@signature-params\": {}", self.base.join("\n"), self.params)
    }

    /// The request as its receiver gets it, signature included.
    pub fn signed(&self) -> Request {
        let mut request = self.request.clone();
        request.headers.push(("Signature-Input".into(), format!("{}={}", self.label, self.params)));
        request.headers.push(("Signature".into(), format!("{}=:{}:", self.label, self.signature)));
        request
    }
}

impl Request {
    pub fn parts<T>(&self, run: impl FnOnce(&RequestParts<'_>) -> T) -> T {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        run(&RequestParts {
            method: &self.method,
            request_target: &self.target,
            authority: &self.authority,
            scheme: "https",
            headers: &headers,
        })
    }

    pub fn header(&mut self, name: &str) -> &mut String {
        &mut self.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)).unwrap().1
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A small fixed sequence that looks like chance (SplitMix64); the same on every run.
pub struct Sequence(pub u64);

impl Sequence {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}
