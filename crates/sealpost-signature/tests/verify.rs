//! What a receiver refuses, and by which name.

mod common;

use common::{Request, Vector, vector};
use sealpost_signature::{
    Component, HmacKey, Jwk, Jwks, KeyId, Parameter, Parameters, SignatureProfile, SigningKey, Verified,
    VerifyError, VerifyOptions, sign_delivery, sign_request, verify_request,
};

const CREATED: i64 = 1_661_822_798;

fn judge(vector: &Vector, request: &Request, options: &VerifyOptions<'_>) -> Result<Verified, VerifyError> {
    request.parts(|parts| verify_request(parts, request.body.as_bytes(), &vector.jwks(), options))
}

fn refusal(vector: &Vector, request: &Request) -> String {
    match judge(vector, request, &VerifyOptions::at(CREATED)) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

const NOT_GENUINE: &str =
    "the signature is not one of this request by key `FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ`";

#[test]
fn every_byte_of_the_body_counts() {
    let vector = vector("current format");
    let signed = vector.signed();
    assert_eq!(refusal(&vector, &signed), "accepted");
    for at in 0..signed.body.len() {
        let mut body = signed.body.clone().into_bytes();
        body[at] ^= 1;
        let result = signed
            .parts(|parts| verify_request(parts, &body, &vector.jwks(), &VerifyOptions::at(CREATED)))
            .unwrap_err();
        assert_eq!(result.to_string(), "the body does not match its `sha-256` digest", "byte {at}");
    }
    for body in [&signed.body[..462], &format!("{}\n", signed.body), ""] {
        let request = Request { body: body.to_owned(), ..signed.clone() };
        assert_eq!(refusal(&vector, &request), "the body does not match its `sha-256` digest");
    }
}

#[test]
fn every_character_of_the_three_headers_counts() {
    let vector = vector("current format");
    for header in ["signature", "signature-input", "content-digest"] {
        let length = vector.signed().header(header).len();
        for at in 0..length {
            for other in ["A", "B", "0", " ", "=", ":", "\"", ""] {
                let mut request = vector.signed();
                let value = request.header(header);
                if &value[at..=at] == other {
                    continue;
                }
                value.replace_range(at..=at, other);
                // Blank space between covered components means nothing, and is read away.
                let blank_only = value.replace(' ', "") == vector.signed().header(header).replace(' ', "");
                assert!(blank_only || refusal(&vector, &request) != "accepted", "{header} {at} {other:?}");
            }
        }
    }
}

#[test]
fn every_bit_of_the_signature_counts() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let vector = vector("current format");
    let key = *vector.signing_key().verifying_key();
    let (base, signature) = (vector.base(), STANDARD.decode(&vector.signature).unwrap());
    assert!(key.verify(base.as_bytes(), &signature));
    for bit in 0..512 {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.verify(base.as_bytes(), &flipped), "bit {bit}");
    }
    for length in [0, 1, 32, 63] {
        assert!(!key.verify(base.as_bytes(), &signature[..length]));
        let mut request = vector.signed();
        *request.header("signature") = format!("sig1=:{}:", STANDARD.encode(&signature[..length]));
        assert_eq!(refusal(&vector, &request), NOT_GENUINE, "{length} bytes");
    }
    let mut request = vector.signed();
    *request.header("signature") =
        format!("sig1=:{}:", STANDARD.encode([signature.as_slice(), &[0]].concat()));
    assert_eq!(refusal(&vector, &request), NOT_GENUINE);
}

#[test]
fn every_covered_part_counts_and_others_do_not() {
    let vector = vector("current format");
    let signed = vector.signed();
    let method = Request { method: "PUT".into(), ..signed.clone() };
    let target = Request { target: "/mattr/receiver?".into(), ..signed.clone() };
    let kind = signed.clone().without("content-type").with("content-type", "text/json");
    let swapped = signed
        .clone()
        .without("x-mattr-event-type")
        .without("x-mattr-webhook-id")
        .with("x-mattr-event-type", "5be4f663-af93-41d8-8542-f5c9a2a2d588")
        .with("x-mattr-webhook-id", "OpenIdCredentialIssuedSummary");
    let doubled = signed.clone().with("x-mattr-event-type", "OpenIdCredentialIssuedSummary");
    for forged in [method, target, kind, swapped, doubled] {
        assert_eq!(refusal(&vector, &forged), NOT_GENUINE);
    }
    let host = Request { authority: "tunnel.example".into(), ..signed.clone() }.with("user-agent", "x");
    assert_eq!(refusal(&vector, &host), "accepted");
}

#[test]
fn a_digest_exchanged_together_with_the_body_is_found_out() {
    let vector = vector("current format");
    let mut request = Request { body: "{}".into(), ..vector.signed() };
    *request.header("content-digest") = sealpost_signature::content_digest_sha256(b"{}");
    assert_eq!(refusal(&vector, &request), NOT_GENUINE);
}

#[test]
fn headers_that_are_missing_or_malformed_have_their_own_names() {
    let vector = vector("current format");
    let signed = vector.signed();
    let with = |header: &str, value: &str| {
        let mut request = signed.clone();
        *request.header(header) = value.to_owned();
        refusal(&vector, &request)
    };
    for (found, wanted) in [
        (refusal(&vector, &signed.clone().without("signature")), "the request has no `signature` header"),
        (
            refusal(&vector, &signed.clone().without("signature-input")),
            "the request has no `signature-input` header",
        ),
        (
            refusal(&vector, &signed.clone().without("content-digest")),
            "`content-digest` is covered, but the request does not have it",
        ),
        (with("signature-input", ""), "`signature-input` has no member `sig1`"),
        (with("signature", ""), "`signature` has no member `sig1`"),
        (with("signature-input", "sig1=("), "`signature-input` is malformed: a value was expected at byte 6"),
        (with("signature-input", "sig1=\u{e9}"), "`signature-input` is not text"),
        (with("signature-input", "sig1=1"), "member `sig1` of `signature-input` is not a list of components"),
        (with("signature", "sig1=abc"), "member `sig1` of `signature` is not a byte sequence"),
        (
            with("signature", "sig2=:aGk=:"),
            "the request carries several signatures (sig1, sig2); say which one counts",
        ),
        (with("signature-input", "sig1=()"), r#"the signature does not cover "@method""#),
        (
            with("signature-input", r#"sig1=("@method" "@request-target" "content-digest");keyid="a""#),
            "the signature has no parameter `created`",
        ),
        (
            with("signature-input", r#"sig1=("@method" "@request-target" "content-digest");created=1"#),
            "the signature has no parameter `keyid`",
        ),
        (
            with(
                "signature-input",
                r#"sig1=("@method" "@request-target" "content-digest");created=1;keyid="a""#,
            ),
            "no key `a` is known",
        ),
    ] {
        assert_eq!(found, wanted);
    }
    let neither = signed.clone().without("signature").without("signature-input");
    assert_eq!(refusal(&vector, &neither), "the request has no `signature-input` header");
    let mut empty = signed.clone();
    empty.header("signature").clear();
    empty.header("signature-input").clear();
    assert_eq!(refusal(&vector, &empty), "the request has no `signature-input` header");
}

#[test]
fn required_components_must_be_covered() {
    let vector = vector("B.2.6");
    let request = vector.signed();
    let digest = [Component::parse("content-digest").unwrap()];
    let options = |required| VerifyOptions { required, ..VerifyOptions::at(1_618_884_473) };
    assert_eq!(
        judge(&vector, &request, &options(&digest)),
        Err(VerifyError::NotCovered { component: digest[0].clone() })
    );
    assert!(judge(&vector, &request, &options(&[Component::Method, Component::Path])).is_ok());
}

#[test]
fn a_wrong_key_is_told_from_an_unknown_one() {
    let vector = vector("current format");
    let signed = vector.signed();
    let stranger = SigningKey::from_seed(&[7; 32]);
    let under = |key_id: &str| {
        let key = Jwk::new(*stranger.verifying_key(), KeyId::new(key_id).unwrap());
        let keys = Jwks::new([key]).unwrap();
        let body = signed.body.as_bytes();
        signed
            .parts(|parts| verify_request(parts, body, &keys, &VerifyOptions::at(CREATED)))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(under(&vector.key.kid), NOT_GENUINE);
    assert_eq!(under("other"), format!("no key `{}` is known", vector.key.kid));
}

#[test]
fn the_key_chooses_the_algorithm() {
    let vector = vector("with alg");
    for (alg, wanted) in [
        ("ed25519", "accepted"),
        ("Ed25519", "names algorithm `Ed25519`"),
        ("hmac-sha256", "names algorithm `hmac-sha256`"),
        ("none", "names algorithm `none`"),
    ] {
        let mut request = vector.signed();
        let input = request.header("signature-input");
        *input = input.replace("alg=\"ed25519\"", &format!("alg=\"{alg}\""));
        assert!(refusal(&vector, &request).contains(wanted), "{alg}");
    }
    // A public key used as a shared secret must not open anything.
    let public = vector.signing_key().verifying_key().as_bytes().to_vec();
    let forger = HmacKey::new(KeyId::new(&vector.key.kid).unwrap(), &public).unwrap();
    let components =
        sealpost_signature::Components::new(SignatureProfile::MATTR.components().to_vec()).unwrap();
    for alg in [None, Some(Parameter::Alg("hmac-sha256".into()))] {
        let parameters = [Parameter::Created(CREATED), Parameter::KeyId(vector.key.kid.clone())];
        let parameters = Parameters::new(parameters.into_iter().chain(alg)).unwrap();
        let forged = vector
            .request
            .parts(|parts| sign_request(&forger, parts, &components, &parameters, "sig1"))
            .unwrap();
        let request = vector
            .request
            .clone()
            .with("signature-input", &forged.signature_input)
            .with("signature", &forged.signature);
        assert_ne!(refusal(&vector, &request), "accepted");
    }
}

#[test]
fn age_future_and_expiry_have_exact_edges() {
    let vector = vector("current format");
    let key = vector.signing_key();
    let unsigned = vector.request.clone().without("content-digest");
    let signed = |expires| {
        let made = unsigned
            .parts(|parts| {
                let body = unsigned.body.as_bytes();
                sign_delivery(&key, SignatureProfile::MATTR, parts, body, CREATED, expires)
            })
            .unwrap();
        unsigned
            .clone()
            .with("content-digest", &made.content_digest)
            .with("signature-input", &made.signature_input)
            .with("signature", &made.signature)
    };
    let at = |request: &Request, now, max_age_s| {
        let options = VerifyOptions { max_age_s, ..VerifyOptions::at(now) };
        judge(&vector, request, &options).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
    };
    let lasting = signed(None);
    let expiring = signed(Some(CREATED + 300));
    for (request, now, max_age_s, wanted) in [
        (&lasting, CREATED + 300, Some(300), "accepted"),
        (&lasting, CREATED + 301, Some(300), "the signature was made 301 s ago; 300 s are accepted"),
        (&lasting, CREATED + 10_000_000, None, "accepted"),
        (&lasting, CREATED - 60, Some(300), "accepted"),
        (
            &lasting,
            CREATED - 61,
            Some(300),
            "the signature claims to be made 61 s from now; 60 s are accepted",
        ),
        (&lasting, CREATED - 61, None, "the signature claims to be made 61 s from now; 60 s are accepted"),
        (&expiring, CREATED + 360, None, "accepted"),
        (&expiring, CREATED + 361, None, "the signature expired 61 s ago"),
        (
            &lasting,
            i64::MIN,
            None,
            "the signature claims to be made 9223372036854775807 s from now; 60 s are accepted",
        ),
    ] {
        assert_eq!(at(request, now, max_age_s), wanted);
    }
    assert_eq!(at(&signed(Some(CREATED - 1)), CREATED, None), "the signature expires before it was made");
}

#[test]
fn among_several_signatures_one_must_be_named() {
    let vector = vector("current format");
    let mut request = vector.signed();
    // A proxy adds its own signature, on a line of its own.
    request = request
        .with("signature-input", r#"proxy=("@authority");created=1"#)
        .with("signature", "proxy=:aGk=:");
    assert_eq!(
        refusal(&vector, &request),
        "the request carries several signatures (sig1, proxy); say which one counts"
    );
    let choose =
        |label| judge(&vector, &request, &VerifyOptions { label: Some(label), ..VerifyOptions::at(CREATED) });
    assert_eq!(choose("sig1").unwrap().label, "sig1");
    assert!(choose("proxy").is_err());
    assert_eq!(choose("sig9").unwrap_err().to_string(), "`signature-input` has no member `sig9`");
    let repeated = vector.signed().with("signature", &format!("sig1=:{}:", vector.signature));
    assert!(refusal(&vector, &repeated).contains("a member is repeated"));
}
