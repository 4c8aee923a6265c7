//! Standard Webhooks: the published vectors, rotation, and the negative cases of the official libraries.

use sealpost_signature::standard_webhooks::{
    ReceivedWebhook, StandardWebhooksError, WebhookSigner, WebhookVerifier, sign, verify,
};
use sealpost_signature::{SigningKey, VerifyingKey, WebhookSecret};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    id: String,
    timestamp: i64,
    body: String,
    key: String,
    public: Option<String>,
    signature: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("vectors/standard-webhooks.json")).unwrap()
}

const NOW: i64 = 1_614_265_330;
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const FITS: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const OTHER: &str = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";

fn secret() -> WebhookSecret {
    WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()
}

fn judge(id: &str, timestamp: &str, signature: &str, now: i64) -> Result<(), StandardWebhooksError> {
    let received =
        ReceivedWebhook { webhook_id: id, webhook_timestamp: timestamp, webhook_signature: signature };
    verify(&received, BODY, &[WebhookVerifier::V1(&secret())], now, 300)
}

#[test]
fn the_published_vectors_are_made_and_accepted() {
    for vector in vectors() {
        let body = vector.body.as_bytes();
        let judge =
            |headers: &sealpost_signature::standard_webhooks::WebhookHeaders, body: &[u8], verifier| {
                verify(&headers.as_received(), body, &[verifier], vector.timestamp, 300)
            };
        if let Some(public) = &vector.public {
            let key = SigningKey::from_whsk(&vector.key).unwrap();
            let headers = sign(&vector.id, vector.timestamp, body, &[WebhookSigner::V1a(&key)]).unwrap();
            assert_eq!(headers.webhook_signature, vector.signature);
            let public = VerifyingKey::from_whpk(public).unwrap();
            judge(&headers, body, WebhookVerifier::V1a(&public)).unwrap();
            assert!(judge(&headers, b"{}", WebhookVerifier::V1a(&public)).is_err());
        } else {
            let secret = WebhookSecret::parse(&vector.key).unwrap();
            let headers = sign(&vector.id, vector.timestamp, body, &[WebhookSigner::V1(&secret)]).unwrap();
            assert_eq!(headers.webhook_signature, vector.signature);
            assert_eq!(headers.webhook_timestamp, vector.timestamp.to_string());
            judge(&headers, body, WebhookVerifier::V1(&secret)).unwrap();
            assert!(judge(&headers, b"{}", WebhookVerifier::V1(&secret)).is_err());
        }
    }
}

#[test]
fn during_rotation_old_and_new_keys_both_sign() {
    let (old, new) = (secret(), WebhookSecret::from_bytes(&[9; 32]).unwrap());
    let key = SigningKey::from_seed(&[3; 32]);
    let signers = [WebhookSigner::V1(&new), WebhookSigner::V1(&old), WebhookSigner::V1a(&key)];
    let headers = sign(ID, NOW, BODY, &signers).unwrap();
    let versions: Vec<&str> =
        headers.webhook_signature.split(' ').map(|entry| entry.split_once(',').unwrap().0).collect();
    assert_eq!(versions, ["v1", "v1", "v1a"]);
    assert!(headers.webhook_signature.contains(FITS));
    let stranger = WebhookSecret::from_bytes(&[1; 32]).unwrap();
    let accepts = |verifier| verify(&headers.as_received(), BODY, &[verifier], NOW, 300).is_ok();
    assert!(accepts(WebhookVerifier::V1(&old)));
    assert!(accepts(WebhookVerifier::V1(&new)));
    assert!(accepts(WebhookVerifier::V1a(key.verifying_key())));
    assert!(!accepts(WebhookVerifier::V1(&stranger)));
    assert!(!accepts(WebhookVerifier::V1a(SigningKey::from_seed(&[4; 32]).verifying_key())));
    let several = [WebhookVerifier::V1(&stranger), WebhookVerifier::V1(&old)];
    assert_eq!(verify(&headers.as_received(), BODY, &several, NOW, 300), Ok(()));
    assert!(verify(&headers.as_received(), BODY, &[], NOW, 300).is_err());
}

#[test]
fn any_entry_of_a_known_version_may_fit() {
    let no_match = Err(StandardWebhooksError::NoMatchingSignature);
    let time = NOW.to_string();
    for (signature, wanted) in [
        (FITS.to_owned(), Ok(())),
        (format!("{OTHER} v2,{} {FITS} {OTHER}", &FITS[3..]), Ok(())),
        (format!("v1,not-base64 nonsense {FITS}"), Ok(())),
        (OTHER.to_owned(), no_match.clone()),
        ("v1,".to_owned(), no_match.clone()),
        (String::new(), no_match.clone()),
        (FITS[..FITS.len() - 5].to_owned(), no_match.clone()),
        (FITS[..FITS.len() - 4].to_owned(), no_match.clone()),
        (FITS.replace("v1,", "v2,"), no_match.clone()),
        (FITS.replace("v1,", "v1a,"), no_match.clone()),
        (FITS.replace("v1,", ""), no_match),
        ([OTHER; 17].join(" "), Err(StandardWebhooksError::TooManySignatures)),
    ] {
        assert_eq!(judge(ID, &time, &signature, NOW), wanted, "{signature}");
    }
}

#[test]
fn the_time_must_be_near_and_a_number() {
    let time = NOW.to_string();
    for (now, wanted) in [
        (NOW + 300, Ok(())),
        (NOW - 300, Ok(())),
        (NOW + 301, Err(StandardWebhooksError::TooOld { age_s: 301, tolerance_s: 300 })),
        (NOW - 301, Err(StandardWebhooksError::FromTheFuture { ahead_s: 301, tolerance_s: 300 })),
    ] {
        assert_eq!(judge(ID, &time, FITS, now), wanted);
    }
    for bad in ["", "hello", "-1", "+1", "1.0", " 1", "1614265330x", "99999999999999999999"] {
        assert_eq!(judge(ID, bad, FITS, NOW), Err(StandardWebhooksError::InvalidTimestamp), "{bad}");
    }
    // A different spelling of the same second was not what was signed.
    assert_eq!(judge(ID, &format!("0{time}"), FITS, NOW), Err(StandardWebhooksError::NoMatchingSignature));
}

#[test]
fn id_time_and_body_are_all_bound() {
    let no_match = Err(StandardWebhooksError::NoMatchingSignature);
    assert_eq!(judge("msg_other", &NOW.to_string(), FITS, NOW), no_match);
    assert_eq!(judge(ID, &(NOW + 1).to_string(), FITS, NOW), no_match);
    for at in 0..BODY.len() {
        let mut body = BODY.to_vec();
        body[at] ^= 1;
        let time = NOW.to_string();
        let received = ReceivedWebhook { webhook_id: ID, webhook_timestamp: &time, webhook_signature: FITS };
        assert!(verify(&received, &body, &[WebhookVerifier::V1(&secret())], NOW, 300).is_err());
    }
}

#[test]
fn ids_that_would_blur_the_signed_text_are_refused() {
    for id in ["", "a.b", "a b", "a\nb", "\u{e9}", &"x".repeat(257)] {
        let made = sign(id, NOW, BODY, &[WebhookSigner::V1(&secret())]);
        assert_eq!(made, Err(StandardWebhooksError::InvalidId), "{id}");
        assert_eq!(judge(id, &NOW.to_string(), FITS, NOW), Err(StandardWebhooksError::InvalidId));
    }
    assert_eq!(sign(ID, NOW, BODY, &[]), Err(StandardWebhooksError::NoKey));
    assert_eq!(
        sign(ID, -1, BODY, &[WebhookSigner::V1(&secret())]),
        Err(StandardWebhooksError::InvalidTimestamp)
    );
}

#[test]
fn each_missing_header_is_named() {
    let all = [("Webhook-Id", ID), ("WEBHOOK-TIMESTAMP", "1614265330"), ("webhook-signature", FITS)];
    let received = ReceivedWebhook::from_headers(&all).unwrap();
    assert_eq!(verify(&received, BODY, &[WebhookVerifier::V1(&secret())], NOW, 300), Ok(()));
    for (left_out, header) in ["webhook-id", "webhook-timestamp", "webhook-signature"].into_iter().enumerate()
    {
        let mut some = all.to_vec();
        some.remove(left_out);
        assert_eq!(
            ReceivedWebhook::from_headers(&some),
            Err(StandardWebhooksError::MissingHeader { header })
        );
    }
}
