//! What a receiver gets: bodies, headers and signatures, verified as a receiver would.

use sealpost_core::delivery::Status;
use sealpost_core::dialect::Dialect;
use sealpost_core::minimise::PayloadLevel;
use sealpost_core::settings::{SignatureKind, WebhookSettings};
use sealpost_egress::{Recorded, Scripted};
use sealpost_signature::standard_webhooks::{self, ReceivedWebhook, WebhookVerifier};
use sealpost_signature::{Jwks, RequestParts, VerifyOptions, WebhookSecret, verify_request};
use serde_json::Value;

use crate::service::{START_MS, Service};

const NOW: i64 = START_MS / 1000;
const URL: &str = "https://hooks.example.com/mattr/receiver";

async fn one(service: &Service) -> Recorded {
    service.until_count(Status::Delivered, 1).await;
    service.out.requests().remove(0)
}

fn verified(request: &Recorded, jwks: &[u8], body: &[u8]) -> bool {
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let parts = RequestParts {
        method: "POST",
        request_target: &request.target,
        authority: &request.host,
        scheme: "https",
        headers: &headers,
    };
    verify_request(&parts, body, &Jwks::parse(jwks).unwrap(), &VerifyOptions::at(NOW)).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mattr_delivery_in_full() {
    let service = Service::start(Scripted::answering([200])).await;
    let webhook = service.webhook(URL, &["OidcIssuerCredentialIssued"]).await;
    let event = service.publish("OidcIssuerCredentialIssued", r#"{ "n" : 1e-07, "s": "\u00e9\/" }"#).await;
    let request = one(&service).await;
    let body = String::from_utf8(request.body.to_vec()).unwrap();
    let delivery = request.headers["x-sealpost-delivery-id"].to_str().unwrap().to_owned();
    let (event, hook) = (event.id, webhook.id);
    assert_eq!(
        body,
        format!(
            r#"{{"deliveryId":"{delivery}","deliveryTimestamp":"2026-01-02T03:04:05.000Z","webhookId":"{hook}","event":{{"id":"{event}","type":"OidcIssuerCredentialIssued","payload":{{"n":1e-07,"s":"é/"}},"timestamp":"2026-01-02T03:04:05.000Z"}}}}"#
        )
    );
    let mut names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "content-digest",
            "content-type",
            "signature",
            "signature-input",
            "user-agent",
            "x-mattr-event-type",
            "x-mattr-webhook-id",
            "x-sealpost-attempt",
            "x-sealpost-delivery-id",
            "x-sealpost-event-id",
        ]
    );
    let kid = service.app.key_ring(service.tenant).await.unwrap().current().unwrap().kid.clone();
    assert_eq!(
        request.headers["signature-input"],
        format!(
            r#"sig1=("@request-target" "@method" "content-digest" "content-type" "x-mattr-event-type" "x-mattr-webhook-id");created={NOW};expires={};keyid="{kid}""#,
            NOW + 300
        )
    );
    let jwks = service.app.jwks(service.tenant).await.unwrap();
    assert!(verified(&request, &jwks, &request.body));
    assert!(!verified(&request, &jwks, body.replace("1e-07", "1e-08").as_bytes()));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truvera_delivery_in_full() {
    let service = Service::start(Scripted::answering([200])).await;
    let settings = WebhookSettings::default();
    let webhook = service.webhook_with(URL, &["credential_issued"], Dialect::Truvera, settings).await;
    let token = webhook.secrets.token.unwrap().into_revealed();
    assert_eq!(token.len(), 64);
    service.publish("credential_issued", r#"{"credential":{"id":"urn:c"},"key":"did:x#1"}"#).await;
    let request = one(&service).await;
    assert_eq!(
        String::from_utf8(request.body.to_vec()).unwrap(),
        format!(
            r#"{{"token":"{token}","event":"credential_issued","data":{{"id":"urn:c","signingOps":1,"byteSize":14,"key":"did:x#1","credential":{{"id":"urn:c"}}}}}}"#
        )
    );
    assert!(request.headers.get("x-mattr-webhook-id").is_none());
    let jwks = service.app.jwks(service.tenant).await.unwrap();
    assert!(verified(&request, &jwks, &request.body));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_webhooks_signatures_stand_beside_and_overlap() {
    let service = Service::start(Scripted::answering([200])).await;
    let settings = WebhookSettings {
        signatures: vec![
            SignatureKind::HttpMessageSignatures,
            SignatureKind::StandardWebhooks,
            SignatureKind::StandardWebhooksEd25519,
        ],
        ..WebhookSettings::default()
    };
    let webhook = service.webhook_with(URL, &["did_create"], Dialect::Mattr, settings).await;
    let old = service.app.read_secret(service.tenant, webhook.id, "test").await.unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let (new, _) = service.app.rotate_secret(service.tenant, webhook.id, hour, "test").await.unwrap();
    service.publish("did_create", "{}").await;
    let request = one(&service).await;
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let received = ReceivedWebhook::from_headers(&headers).unwrap();
    assert_eq!(received.webhook_id, request.headers["x-sealpost-delivery-id"].to_str().unwrap());
    let public = service.app.key_ring(service.tenant).await.unwrap().current().unwrap().public;
    let public = sealpost_signature::VerifyingKey::from_bytes(&public).unwrap();
    let secret = |bytes: &[u8; 32]| WebhookSecret::from_bytes(bytes).unwrap();
    let (old, new, other) = (secret(old.reveal()), secret(new.reveal()), secret(&[7; 32]));
    for (verifier, good) in [
        (WebhookVerifier::V1(&old), true),
        (WebhookVerifier::V1(&new), true),
        (WebhookVerifier::V1(&other), false),
        (WebhookVerifier::V1a(&public), true),
    ] {
        let result = standard_webhooks::verify(&received, &request.body, &[verifier], NOW, 300);
        assert_eq!(result.is_ok(), good);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_webhook_gets_ids_only() {
    let service = Service::start(Scripted::answering([200])).await;
    let settings = WebhookSettings { payload: PayloadLevel::Thin, ..WebhookSettings::default() };
    service.webhook_with(URL, &["OpenIdCredentialIssued"], Dialect::Mattr, settings).await;
    let event = service.publish("OpenIdCredentialIssued", r#"{"credential":{"name":"Maria"}}"#).await.id;
    let body: Value = serde_json::from_slice(&one(&service).await.body).unwrap();
    let href = format!("https://issuer.example/v1/webhooks/events/{event}");
    assert_eq!(body["event"]["payload"], serde_json::json!({"id": event.to_string(), "href": href}));
    service.stop().await;
}
