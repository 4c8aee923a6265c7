//! Keys, key sets and digests against their RFCs, and what is refused as one.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{RFC8037_SEED, seed};
use sealpost_signature::{
    DigestError, HmacKey, Jwk, Jwks, KeyError, KeyId, SigningKey, VerifyingKey, WebhookSecret,
    content_digest_sha256, content_digest_sha512, verify_content_digest,
};

/// RFC 8037, A.1 to A.5.
#[test]
fn the_rfc_8037_key_signs_and_is_named_as_printed() {
    let key = SigningKey::from_seed(&seed(RFC8037_SEED));
    assert_eq!(key.verifying_key().to_base64url(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(key.key_id().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = key.sign(message);
    assert_eq!(
        URL_SAFE_NO_PAD.encode(signature),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    assert!(key.verifying_key().verify(message, &signature));
    assert!(!key.verifying_key().verify(b"other", &signature));
}

/// RFC 9421, B.1.4; the thumbprint was computed with an independent implementation.
#[test]
fn the_rfc_9421_key_has_its_thumbprint() {
    let key = SigningKey::from_seed(&seed("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU"));
    assert_eq!(key.verifying_key().to_base64url(), "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs");
    assert_eq!(key.key_id().as_str(), "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U");
}

#[test]
fn debug_shows_names_and_never_secrets() {
    let key = SigningKey::with_key_id(&[7; 32], KeyId::new("k1").unwrap());
    let secret = WebhookSecret::from_bytes(&[7; 32]).unwrap();
    let hmac = HmacKey::new(KeyId::new("h1").unwrap(), &[7; 32]).unwrap();
    assert_eq!(
        format!("{key:?} {:?} {secret:?} {hmac:?}", key.seed()),
        "SigningKey(k1) Seed(..) WebhookSecret(..) HmacKey(h1)"
    );
    assert_eq!(key.seed().expose(), &[7; 32]);
}

#[test]
fn key_ids_are_opaque_but_printable() {
    assert!(KeyId::new("did:example:1#key \"x\"").is_ok());
    for bad in [String::new(), "a\nb".into(), "\u{e9}".into(), "x".repeat(257)] {
        assert_eq!(KeyId::new(bad), Err(KeyError::InvalidKeyId));
    }
}

#[test]
fn standard_webhooks_forms_are_read_and_written() {
    let seed_only = format!("whsk_{}", "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=");
    let both =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    for text in [seed_only.as_str(), both] {
        let key = SigningKey::from_whsk(text).unwrap();
        assert_eq!(key.verifying_key().to_whpk(), public);
        assert_eq!(VerifyingKey::from_whpk(public).unwrap(), *key.verifying_key());
    }
    let halves = both.replace("fVKIDi", "fVKIDj");
    assert_eq!(SigningKey::from_whsk(&halves).unwrap_err(), KeyError::HalvesDisagree);
    assert_eq!(SigningKey::from_whsk(public).unwrap_err(), KeyError::WrongPrefix { prefix: "whsk_" });
    assert_eq!(SigningKey::from_whsk("whsk_aGk=").unwrap_err(), KeyError::WrongLength { bytes: 2 });
    assert_eq!(VerifyingKey::from_whpk("whpk_aGk=").unwrap_err(), KeyError::WrongLength { bytes: 2 });
    assert_eq!(VerifyingKey::from_whpk("whpk_?").unwrap_err(), KeyError::NotBase64);

    let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    assert_eq!(&**secret.reveal(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert_eq!(secret, WebhookSecret::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
    assert_ne!(secret, WebhookSecret::from_bytes(&[0; 24]).unwrap());
    for (bytes, fits) in [(0, false), (23, false), (24, true), (32, true), (64, true), (65, false)] {
        assert_eq!(WebhookSecret::from_bytes(&vec![1; bytes]).is_ok(), fits, "{bytes}");
    }
    for bad in ["", "whsec_", "whsec_!!!", "whsec_aGk="] {
        assert!(WebhookSecret::parse(bad).is_err(), "{bad}");
    }
}

/// Under a point of small order the signature (R = identity, S = 0) fits many messages. Each point listed
/// is shown to have that defect before it is shown to be refused.
#[test]
fn points_under_which_anyone_can_sign_are_refused() {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    let hex = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];
    let mut anyones = [0; 64];
    anyones[0] = 1;
    for text in hex {
        let mut point = [0; 32];
        for (at, byte) in point.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
        }
        let key = UnparsedPublicKey::new(&ED25519, point);
        assert!((0..=255_u8).any(|n| key.verify(&[n], &anyones).is_ok()), "{text} has no small order");
        assert_eq!(VerifyingKey::from_bytes(&point), Err(KeyError::UnusablePoint), "{text}");
    }
    for low in 0xed..=0xff {
        let mut unreduced = [0xff; 32];
        unreduced[0] = low;
        assert!(VerifyingKey::from_bytes(&unreduced).is_err());
        unreduced[31] = 0x7f;
        assert!(VerifyingKey::from_bytes(&unreduced).is_err());
    }
}

#[test]
fn a_key_set_is_written_as_mattr_writes_it_and_read_back() {
    let kid = KeyId::new("FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ").unwrap();
    let first = Jwk::from(&SigningKey::with_key_id(&seed(RFC8037_SEED), kid.clone()));
    let second = Jwk::from(&SigningKey::from_seed(&[7; 32]));
    let set = Jwks::new([first.clone(), second.clone(), first.clone()]).unwrap();
    let text = serde_json::to_string(&set).unwrap();
    assert!(text.starts_with(
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig","kid":"FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ"},"#
    ));
    assert_eq!(Jwks::parse(text.as_bytes()).unwrap(), set);
    assert_eq!(set.keys(), [first.clone(), second.clone()]);
    assert_eq!(set.get(kid.as_str()), Some(&first));
    assert_eq!(set.get("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"), None);
    assert_eq!(first.thumbprint().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn foreign_key_sets_are_read_with_care() {
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let read = |keys: &str| match Jwks::parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes()) {
        Ok(set) => set.keys().iter().map(|key| key.key_id().to_string()).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    };
    let okp = |more: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519",{more}}}"#);
    for (keys, wanted) in [
        (String::new(), ""),
        (okp(&format!(r#""x":"{X}","kid":"a""#)), "a"),
        (
            okp(&format!(
                r#""x":"{X}","kid":"a","use":"sig","alg":"EdDSA","key_ops":["verify"],"extra":[1]"#
            )),
            "a",
        ),
        (okp(&format!(r#""x":"{X}""#)), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        (r#"{"kty":"RSA","n":1},{"kty":"OKP","crv":"X25519","x":""},{"kty":7},null,[],"x""#.to_owned(), ""),
        (okp(&format!(r#""x":"{X}","use":"enc""#)), ""),
        (okp(&format!(r#""x":"{X}","alg":"ES256""#)), ""),
        (okp(r#""kid":"a""#), "key 0 of the set has no text `x`"),
        (okp(r#""x":7,"kid":"a""#), "key 0 of the set has no text `x`"),
        (okp(&format!(r#""x":"{X}","kid":7"#)), "key 0 of the set has no text `kid`"),
        (
            okp(&format!(r#""x":"{X}=","kid":"a""#)),
            "key 0 of the set: 33 bytes are not the length of such a key",
        ),
        (
            okp(r#""x":"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo""#),
            "key 0 of the set: not base64 of a key",
        ),
        (
            okp(r#""x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#),
            "key 0 of the set: the public key is not a usable point of the curve",
        ),
        (
            okp(&format!(r#""x":"{X}","d":"{X}""#)),
            "key 0 of the set publishes its private half `d`; the key must be replaced",
        ),
        (
            format!(
                "{},{}",
                okp(&format!(r#""x":"{X}","kid":"a""#)),
                okp(r#""x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs","kid":"a""#)
            ),
            "two different keys of the set are called `a`",
        ),
        (["{}"; 101].join(","), "the key set holds more than 100 keys"),
    ] {
        assert_eq!(read(&keys), wanted, "{keys}");
    }
    for (document, wanted) in [
        ("", "not JSON"),
        ("[]", "not an object"),
        (r#"{"keys":{}}"#, "not an object"),
        (&" ".repeat(65_537), "longer than 65536"),
        (&"[".repeat(60_000), "not JSON"),
    ] {
        assert!(Jwks::parse(document.as_bytes()).unwrap_err().to_string().contains(wanted));
    }
}

/// RFC 9530, appendix B; sha-512 of RFC 9421, B.2; and the digest of nothing.
#[test]
fn digests_are_as_printed_and_checked() {
    const HELLO: &[u8] = br#"{"hello": "world"}"#;
    const SHA512: &str =
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    const SHA256: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    assert_eq!(content_digest_sha256(HELLO), SHA256);
    assert_eq!(content_digest_sha512(HELLO), SHA512);
    assert_eq!(
        content_digest_sha256(b"{\"hello\": \"world\"}\n"),
        "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    );
    assert_eq!(content_digest_sha256(b""), "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");

    let mismatch = |algorithm: &str| Err(DigestError::Mismatch { algorithm: algorithm.to_owned() });
    let not_a_digest = Err(DigestError::NotADigest { algorithm: "sha-256".to_owned() });
    for (header, wanted) in [
        (SHA256.to_owned(), Ok(())),
        (SHA512.to_owned(), Ok(())),
        (format!("{SHA512}, {SHA256}"), Ok(())),
        (format!("md5=:aGk=:, {SHA256}"), Ok(())),
        (content_digest_sha256(b"other"), mismatch("sha-256")),
        (format!("{SHA256}, {}", content_digest_sha512(b"other")), mismatch("sha-512")),
        ("md5=:aGk=:".to_owned(), Err(DigestError::NoKnownAlgorithm)),
        (String::new(), Err(DigestError::NoKnownAlgorithm)),
        ("sha-256=:aGk=:".to_owned(), not_a_digest.clone()),
        ("sha-256".to_owned(), not_a_digest.clone()),
        (SHA256.replace(':', "\""), not_a_digest),
    ] {
        assert_eq!(verify_content_digest(&header, HELLO), wanted, "{header}");
    }
    let malformed = SHA256.replace("=:X", "=X");
    assert!(matches!(verify_content_digest(&malformed, HELLO), Err(DigestError::Malformed(_))));
}
