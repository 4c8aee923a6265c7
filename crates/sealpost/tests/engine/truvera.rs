//! Truvera's dialect on the wire: each of its types in its body, the token of the moment, and no trace of it behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealpost_core::delivery::Status;
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::{EventTypeName, MATTR, TRUVERA};
use sealpost_core::publish::{BodyKind, parse};
use sealpost_core::secret::Secret;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::webhook::{Subscription, Webhook};
use sealpost_egress::{Answer, Recorded, Reply, Request, Scripted};
use sealpost_store::history::DeliveryFilter;
use sealpost_store::page::PageRequest;

use crate::service::{Service, input};

const URL: &str = "https://hooks.example.com/in";
const FIXTURE: &str = include_str!("../../../../fixtures/real-events.jsonl");

fn token(webhook: Webhook) -> String {
    webhook.secrets.token.unwrap().into_revealed()
}

fn body(request: &Recorded) -> String {
    String::from_utf8(request.body.to_vec()).unwrap()
}

/// All events of the fixture, one after the other: those of Truvera arrive, exactly as `{token,event,data}`.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_truvera_arrives_in_its_body() {
    let service = Service::start(Scripted::answering([200])).await;
    let all = sealpost::app::webhooks::WebhookInput {
        subscription: Subscription::ReceiveAll { named: vec![EventTypeName::parse(MATTR[2]).unwrap()] },
        ..input(URL, &[], false)
    };
    let made = service.app.create_webhook(service.tenant, Dialect::Truvera, all, Default::default(), "test");
    let token = token(made.await.unwrap());

    let mut wanted = BTreeMap::new();
    let mut types = BTreeSet::new();
    for line in FIXTURE.lines() {
        let publications = parse(BodyKind::Json, line.as_bytes()).unwrap();
        let (name, data) = {
            let event = &publications.events[0];
            (event.event_type.to_string(), event.payload.as_str().to_owned())
        };
        let accepted =
            service.app.publish(service.tenant, publications, None).await.unwrap().events.remove(0);
        if TRUVERA.contains(&name.as_str()) || name == MATTR[2] {
            let body = format!(r#"{{"token":"{token}","event":"{name}","data":{data}}}"#);
            wanted.insert(accepted.id.to_string(), body);
            types.insert(name);
        }
    }
    // The twelve of Truvera's page, and the one that was named besides.
    assert_eq!((types.len(), wanted.len()), (13, 87));
    service.until_count(Status::Delivered, wanted.len()).await;
    let arrived: BTreeMap<String, String> = service
        .out
        .requests()
        .iter()
        .map(|request| (request.headers["x-sealpost-event-id"].to_str().unwrap().to_owned(), body(request)))
        .collect();
    assert_eq!(arrived, wanted);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_after_a_rotation_has_the_new_token_retries_too() {
    let service = Service::start(Scripted::answering([500, 200])).await;
    let webhook =
        service.webhook_with(URL, &["did_create"], Dialect::Truvera, WebhookSettings::default()).await;
    let (id, old) = (webhook.id, token(webhook));
    let event = service.publish("did_create", "{}").await.id;
    service.attempts_at(event, 1).await;
    let new = service.app.rotate_token(service.tenant, id, "test").await.unwrap().into_revealed();
    assert_ne!(old, new);
    service.advance(Duration::from_secs(11)).await;
    service.until_count(Status::Delivered, 1).await;
    service.publish("did_create", "{}").await;
    service.until_count(Status::Delivered, 2).await;
    let sent: Vec<String> = service.out.requests().iter().map(body).collect();
    let with = |token: &str| format!(r#"{{"token":"{token}","event":"did_create","data":{{}}}}"#);
    assert_eq!(sent, [with(&old), with(&new), with(&new)]);
    service.stop().await;
}

/// Receivers that fail and repeat what they got, as many do in their error pages.
fn echo(request: &Request) -> Reply {
    let header = request.headers["x-own"].as_bytes();
    let said = [&request.body[..], b" ", header].concat();
    Ok(Answer { excerpt: said.into(), ..Answer::status(500) }).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_echoes_its_request_leaves_no_secret_in_the_history() {
    let service = Service::start(Scripted::by(echo)).await;
    let webhook =
        service.webhook_with(URL, &["did_create"], Dialect::Truvera, WebhookSettings::default()).await;
    let (id, token) = (webhook.id, token(webhook));
    let header = ("x-own".to_owned(), Secret::new("the owner's own".to_owned()));
    service
        .app
        .put_settings::<sealpost::app::webhooks::WebhookRefused>(service.tenant, id, "test", |_| {
            Ok((WebhookSettings::default(), vec![header]))
        })
        .await
        .unwrap();
    let event = service.publish("did_create", r#"{"did":"did:x:1"}"#).await.id;
    service.attempts_at(event, 1).await;
    assert!(body(&service.out.requests()[0]).contains(&token));

    let filter = DeliveryFilter { event: Some(event), ..DeliveryFilter::default() };
    let page = PageRequest { limit: 1, after: None };
    let delivery = service.app.deliveries(service.tenant, filter, page).await.unwrap().rows.remove(0);
    let detail = service.app.delivery(service.tenant, delivery.id).await.unwrap().unwrap();
    let kept = detail.attempts[0].excerpt.clone().unwrap();
    assert_eq!(
        String::from_utf8(kept).unwrap(),
        r#"{"token":"[secret]","event":"did_create","data":{"did":"did:x:1"}} [secret]"#
    );
    service.stop().await;
}
