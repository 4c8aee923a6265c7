//! Vectors of HTTP Message Signatures, byte for byte, both ways; and the fixed profiles of deliveries
//! against worked examples in the format of MATTR's library.

mod common;

use aws_lc_rs::digest::{SHA256, digest};
use common::{vector, vectors};
use expect_test::expect;
use sealpost_signature::base::read_input;
use sealpost_signature::structured_fields::{Dictionary, Member};
use sealpost_signature::{
    Component, SignError, SignatureProfile, VerifyError, VerifyOptions, delivery_base, received_base,
    sign_delivery, sign_request, signature_base, verify_request,
};

fn options(now: i64) -> VerifyOptions<'static> {
    VerifyOptions { required: &[], ..VerifyOptions::at(now) }
}

#[test]
fn every_vector_is_signed_byte_for_byte() {
    for vector in vectors() {
        let input = Dictionary::parse(&format!("{}={}", vector.label, vector.params)).unwrap();
        let Some(Member::InnerList(list)) = input.get(&vector.label) else { panic!("{}", vector.name) };
        let (components, parameters) = read_input(list).unwrap();
        vector.request.parts(|parts| {
            assert_eq!(
                signature_base(parts, &components, &parameters).unwrap(),
                vector.base(),
                "{}",
                vector.name
            );
            let signed = match vector.hmac_key() {
                Some(key) => sign_request(&key, parts, &components, &parameters, &vector.label),
                None => sign_request(&vector.signing_key(), parts, &components, &parameters, &vector.label),
            }
            .unwrap();
            assert_eq!(signed.signature_input, format!("{}={}", vector.label, vector.params));
            assert_eq!(
                signed.signature,
                format!("{}=:{}:", vector.label, vector.signature),
                "{}",
                vector.name
            );
        });
    }
}

#[test]
fn every_vector_verifies() {
    for vector in vectors() {
        let request = vector.signed();
        let created = vector.params.split("created=").nth(1).unwrap()[..10].parse().unwrap();
        let verified = request.parts(|parts| {
            assert_eq!(received_base(parts, None).unwrap(), vector.base());
            match vector.hmac_key() {
                Some(key) => verify_request(parts, request.body.as_bytes(), &key, &options(created)),
                None => verify_request(parts, request.body.as_bytes(), &vector.jwks(), &options(created)),
            }
        });
        let verified = verified.unwrap();
        assert_eq!((verified.label, verified.keyid), (vector.label, vector.key.kid));
        assert_eq!((verified.created, verified.expires), (Some(created), None));
    }
}

/// RFC 9421, B.4: what an intermediary may do, and what it may not.
#[test]
fn transformations_are_judged_as_the_rfc_says() {
    let vector = vector("B.4");
    let original = vector.signed();
    let judge = |request: &common::Request| {
        request.parts(|parts| verify_request(parts, b"", &vector.jwks(), &options(1_618_884_473)))
    };
    let one_line = original.clone().without("accept").with("Accept", "application/json, */*");
    let spread =
        original.clone().without("accept").with("ACCEPT", " application/json").with("accept", "*/* ");
    let other_order = original.clone().without("date").with("Accept-Language", "en-US,en;q=0.5");
    let other_query = common::Request { target: "/demo?name1=Other".into(), ..original.clone() };
    let default_port = common::Request { authority: "Example.ORG:443".into(), ..original.clone() };
    for allowed in [&original, &one_line, &spread, &other_order, &other_query, &default_port] {
        judge(allowed).unwrap();
    }

    let posted = common::Request { method: "POST".into(), ..original.clone() };
    let elsewhere = common::Request { authority: "example.com".into(), ..original.clone() };
    let other_port = common::Request { authority: "example.org:8443".into(), ..original.clone() };
    let other_path = common::Request { target: "/demo/".into(), ..original.clone() };
    let swapped = original.clone().without("accept").with("Accept", "*/*").with("Accept", "application/json");
    let added = original.clone().with("Accept", "text/html");
    for forbidden in [&posted, &elsewhere, &other_port, &other_path, &swapped, &added] {
        assert_eq!(
            judge(forbidden),
            Err(VerifyError::InvalidSignature { key_id: "test-key-ed25519".to_owned() })
        );
    }
    assert_eq!(
        judge(&original.without("accept")).unwrap_err().to_string(),
        "`accept` is covered, but the request does not have it"
    );
}

#[test]
fn the_mattr_profile_makes_the_worked_example_byte_for_byte() {
    let vector = vector("current format");
    let request = vector.request.clone().without("content-digest");
    let body = request.body.as_bytes();
    let key = vector.signing_key();
    request.parts(|parts| {
        let made = sign_delivery(&key, SignatureProfile::MATTR, parts, body, 1_661_822_798, None).unwrap();
        assert_eq!(made.content_digest, "sha-256=:cWfcvF9idpzVBFoQMj0rI0H0MYdFAMPA6sGaXjOAts4=:");
        assert_eq!(made.signature_input, format!("sig1={}", vector.params));
        assert_eq!(made.signature, format!("sig1=:{}:", vector.signature));

        let shown =
            delivery_base(key.key_id(), SignatureProfile::MATTR, parts, body, 1_661_822_798, None).unwrap();
        assert_eq!(shown.base, vector.base());
        assert_eq!(shown.base.len(), 463);
        let sha: String =
            digest(&SHA256, shown.base.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(sha, "7b9f4ff50d4d4b60cc967f5232e03d4f8b2ff064ed5835b13670f4d94b1344b0");
    });
}

#[test]
fn a_delivery_expires_and_verifies_with_default_options() {
    let vector = vector("current format");
    let key = vector.signing_key();
    let mut request = vector.request.clone().without("content-digest");
    let body = request.body.clone();
    let made = request
        .parts(|parts| {
            sign_delivery(
                &key,
                SignatureProfile::MATTR,
                parts,
                body.as_bytes(),
                1_661_822_798,
                Some(1_661_823_098),
            )
        })
        .unwrap();
    expect![[r#"
        sig1=("@request-target" "@method" "content-digest" "content-type" "x-mattr-event-type" "x-mattr-webhook-id");created=1661822798;expires=1661823098;keyid="FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ"
        sig1=:i5zONvOKfdXggkZ2GLep4+YZoWTzFFF/AFyCTyQ0d48gpNZBcK1jXIJOb2ClwjSHPUKE9rgP3NmenTaa6w2KBg==:"#]]
    .assert_eq(&format!("{}\n{}", made.signature_input, made.signature));
    request = request
        .with("content-digest", &made.content_digest)
        .with("signature-input", &made.signature_input)
        .with("signature", &made.signature);
    let verified = request
        .parts(|parts| {
            verify_request(parts, body.as_bytes(), &vector.jwks(), &VerifyOptions::at(1_661_822_800))
        })
        .unwrap();
    assert_eq!(verified.expires, Some(1_661_823_098));
    assert_eq!(verified.covered.as_slice(), SignatureProfile::MATTR.components());
}

#[test]
fn the_truvera_profile_covers_our_ids() {
    let vector = vector("current format");
    let mut request = common::Request {
        target: "/in?tenant=7".into(),
        body: r#"{"token":"t","event":"did_create","data":{}}"#.into(),
        headers: vec![("content-type".into(), "application/json".into())],
        ..vector.request.clone()
    };
    let sign = |request: &common::Request| {
        request.parts(|parts| {
            delivery_base(
                vector.signing_key().key_id(),
                SignatureProfile::TRUVERA,
                parts,
                request.body.as_bytes(),
                1_661_822_798,
                Some(1_661_823_098),
            )
        })
    };
    assert_eq!(
        sign(&request).unwrap_err().to_string(),
        "`x-sealpost-delivery-id` is covered, but the request does not have it"
    );
    request = request.with("x-sealpost-event-id", "ev").with("x-sealpost-delivery-id", "de");
    expect![[r#"
        "@request-target": /in?tenant=7
        "@method": POST
        "content-digest": sha-256=:3jYPCWEYoHJF4Itv4kNDgrNGCtQb7JL5csTncWpH5sE=:
        "content-type": application/json
        "x-sealpost-delivery-id": de
        "x-sealpost-event-id": ev
        "@signature-params": ("@request-target" "@method" "content-digest" "content-type" "x-sealpost-delivery-id" "x-sealpost-event-id");created=1661822798;expires=1661823098;keyid="FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ""#]]
    .assert_eq(&sign(&request).unwrap().base);
}

#[test]
fn what_cannot_be_signed_truthfully_is_refused() {
    let vector = vector("current format");
    let key = vector.signing_key();
    let deliver = |request: &common::Request, created| {
        request.parts(|parts| sign_delivery(&key, SignatureProfile::MATTR, parts, b"{}", created, None))
    };
    assert_eq!(deliver(&vector.request, 1), Err(SignError::DigestGiven));
    let request = vector.request.clone().without("content-digest");
    let injected = request.clone().without("content-type").with("content-type", "a/b\n\"@method\": GET");
    for (result, wanted) in [
        (deliver(&injected, 1), "`content-type` holds bytes that a signature base cannot carry"),
        (deliver(&request, -1), "signature parameter `created` is not a number of unix seconds"),
    ] {
        assert_eq!(result.unwrap_err().to_string(), wanted);
    }

    let components = sealpost_signature::Components::new([Component::Method]).unwrap();
    let sign = |parameters: Vec<sealpost_signature::Parameter>, label: &str| {
        let parameters = sealpost_signature::Parameters::new(parameters).unwrap();
        request
            .parts(|parts| sign_request(&key, parts, &components, &parameters, label))
            .unwrap_err()
            .to_string()
    };
    use sealpost_signature::Parameter::{Alg, KeyId};
    assert_eq!(
        sign(vec![KeyId("other".into())], "sig1"),
        "parameter `keyid` is `other`, but the key is `FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ`"
    );
    assert_eq!(
        sign(vec![Alg("hmac-sha256".into())], "sig1"),
        "parameter `alg` is `hmac-sha256`, but the key signs with `ed25519`"
    );
    assert_eq!(
        sign(vec![], "Sig 1"),
        "`Sig 1` cannot be a label: lower-case letters, digits, `_-.*`, a letter or `*` first"
    );
}
