//! A provider's JWKS, as the keys that may verify its tokens.
//!
//! A key is kept with the one algorithm that it serves here, which its own type decides: no header of a token can make
//! an RSA key into a secret of HMAC, or a key of one curve into another's. What does not serve is passed over, since
//! providers publish keys for other purposes too.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// 2048 bits, and the most that the verifier takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const P256_COORDINATE_BYTES: usize = 32;
const ED25519_BYTES: usize = 32;

/// One key that verifies.
#[derive(Clone, Debug)]
pub(super) struct ProviderKey {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

#[derive(Debug, Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a document; `None` if it is no JWKS. A set without a usable key is one all the same: a provider may
/// have withdrawn them all.
pub(super) fn read(document: &[u8]) -> Option<Vec<ProviderKey>> {
    let set: JwkSet = serde_json::from_slice(document).ok()?;
    let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
    Some(keys.filter_map(|jwk: Jwk| jwk.usable()).collect())
}

impl Jwk {
    /// A key without `kid` could only be tried, not chosen.
    fn usable(self) -> Option<ProviderKey> {
        let signs = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let (algorithm, name, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Algorithm::RS256, "RS256", rsa(&self.n?, &self.e?)?),
            ("EC", Some("P-256")) => (Algorithm::ES256, "ES256", p256(&self.x?, &self.y?)?),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, "EdDSA", ed25519(&self.x?)?),
            _ => return None,
        };
        let meant = self.alg.as_deref().is_none_or(|alg| alg == name);
        (signs && verifies && meant).then_some(ProviderKey { kid: self.kid, algorithm, key })
    }
}

fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let (n, e) = (bytes(modulus)?, bytes(exponent)?);
    let zeros = n.iter().take_while(|byte| **byte == 0).count();
    let first = n.get(zeros)?;
    let bits = (n.len() - zeros) * 8 - first.leading_zeros() as usize;
    RSA_BITS.contains(&bits).then(|| DecodingKey::from_rsa_raw_components(&n[zeros..], &e))
}

fn p256(x: &str, y: &str) -> Option<DecodingKey> {
    let whole = |text: &str| bytes(text).is_some_and(|bytes| bytes.len() == P256_COORDINATE_BYTES);
    (whole(x) && whole(y)).then(|| DecodingKey::from_ec_components(x, y).ok())?
}

fn ed25519(x: &str) -> Option<DecodingKey> {
    bytes(x).filter(|bytes| bytes.len() == ED25519_BYTES).map(|bytes| DecodingKey::from_ed_der(&bytes))
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usable(key: &Value) -> String {
        let found = read(json!({ "keys": [key] }).to_string().as_bytes()).expect("a JWKS");
        found.iter().map(|key| format!("{} {:?}", key.kid, key.algorithm)).collect()
    }

    #[test]
    fn a_key_serves_the_one_algorithm_of_its_type_or_none() {
        let modulus = |bytes: usize, first: u8| {
            let mut n = vec![0xff; bytes];
            n[0] = first;
            URL_SAFE_NO_PAD.encode(n)
        };
        let x = URL_SAFE_NO_PAD.encode([1; 32]);
        let rsa = |n: String| json!({"kty": "RSA", "kid": "a", "n": n, "e": "AQAB"});
        let ec = json!({"kty": "EC", "kid": "a", "crv": "P-256", "x": x, "y": x});
        let ed = json!({"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": x});
        let but = |key: &Value, name: &str, value: Value| {
            let mut key = key.clone();
            key[name] = value;
            key
        };
        let good = rsa(modulus(256, 0x80));
        for (key, want) in [
            (good.clone(), "a RS256"),
            (rsa(modulus(256, 0x7f)), ""),
            (rsa(modulus(128, 0xff)), ""),
            (rsa(modulus(257, 0)), "a RS256"),
            (rsa(modulus(1025, 1)), ""),
            (rsa(String::new()), ""),
            (ec.clone(), "a ES256"),
            (ed.clone(), "a EdDSA"),
            (but(&ec, "crv", json!("P-384")), ""),
            (but(&ec, "x", json!("AAAA")), ""),
            (but(&ed, "crv", json!("X25519")), ""),
            (but(&ed, "x", json!("AAAA")), ""),
            (but(&good, "use", json!("sig")), "a RS256"),
            (but(&good, "use", json!("enc")), ""),
            (but(&good, "key_ops", json!(["verify"])), "a RS256"),
            (but(&good, "key_ops", json!(["encrypt"])), ""),
            (but(&good, "alg", json!("RS256")), "a RS256"),
            (but(&good, "alg", json!("RS512")), ""),
            (but(&good, "alg", json!("HS256")), ""),
            (but(&good, "kid", Value::Null), ""),
            (but(&good, "n", json!("not base64!")), ""),
            (json!({"kty": "oct", "kid": "a", "k": "AAAA"}), ""),
            (json!("a key"), ""),
        ] {
            assert_eq!(usable(&key), want, "{key}");
        }
    }

    #[test]
    fn what_is_no_jwks_is_told_from_an_empty_one() {
        assert_eq!(read(b"{\"keys\":[]}").map(|keys| keys.len()), Some(0));
        for document in ["", "[]", "{}", "{\"keys\":{}}", "<html>"] {
            assert!(read(document.as_bytes()).is_none(), "{document}");
        }
    }
}
