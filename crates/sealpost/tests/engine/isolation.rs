//! One slow or dead receiver does not move the others; a disabled webhook is silent at once.

use std::time::{Duration, Instant};

use sealpost_core::delivery::Status;
use sealpost_core::dialect::Dialect;
use sealpost_egress::{Reply, Scripted};

use crate::service::{Service, input};

/// Hangs for every receiver whose host begins with `hangs`.
fn some_hang() -> Scripted {
    Scripted::by(|request| if request.host.starts_with("hangs") { Reply::never() } else { 200.into() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_receiver_with_a_backlog_does_not_slow_its_neighbour() {
    let service = Service::start(some_hang()).await;
    service.webhook("https://hangs.example.com/", &["did_create"]).await;
    service.webhook("https://well.example.com/", &["did_delete"]).await;
    service.publish_many("did_create", 3000).await;
    let mut worst = Duration::ZERO;
    for n in 1..=40 {
        let began = Instant::now();
        service.publish("did_delete", "{}").await;
        service
            .until("the neighbour's request", async |s| {
                s.out.requests().iter().filter(|r| r.host == "well.example.com").count() == n
            })
            .await;
        worst = worst.max(began.elapsed());
    }
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    let hanging = service.out.requests().iter().filter(|r| r.host == "hangs.example.com").count();
    assert!((8..=24).contains(&hanging), "no more than its own slots at a time: {hanging}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_in_flight_than_the_webhook_allows() {
    let now = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let service = Service::start(Scripted::by({
        let now = now.clone();
        move |_| {
            now.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Reply::never()
        }
    }))
    .await;
    service.webhook("https://hangs.example.com/", &["did_create"]).await;
    service.publish_many("did_create", 100).await;
    service.until("eight are sent", async |_| now.load(std::sync::atomic::Ordering::SeqCst) == 8).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(now.load(std::sync::atomic::Ordering::SeqCst), 8, "the first eight still hang");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_after_a_disable_was_acknowledged() {
    let service =
        Service::start(Scripted::answering([Reply::status(200).after(Duration::from_millis(20))])).await;
    let webhook = service.webhook("https://a.example.com/", &["did_create"]).await;
    service.publish_many("did_create", 3000).await;
    service.until("it is flowing", async |s| s.out.requests().len() > 50).await;
    let began = Instant::now();
    let off = input("https://a.example.com/", &["did_create"], true);
    service.app.replace_webhook(service.tenant, webhook.id, Dialect::Mattr, off, "test").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2));
    let at_ack = service.out.requests().len();
    assert!(at_ack < 3000, "there was a backlog left to stop");
    let still_pending = service.count(Status::Pending).await;
    assert!(
        still_pending <= 8,
        "what waits reads as cancelled at once; what was begun may end: {still_pending}"
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(service.out.requests().len(), at_ack);
    assert_eq!(service.count(Status::Pending).await, 0);
    // Enabled again, the old backlog stays cancelled and new events arrive.
    let on = input("https://a.example.com/", &["did_create"], false);
    service.app.replace_webhook(service.tenant, webhook.id, Dialect::Mattr, on, "test").await.unwrap();
    service.publish("did_create", "{}").await;
    service.until("the new one arrives", async |s| s.out.requests().len() == at_ack + 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(service.out.requests().len(), at_ack + 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_url_only_the_new_one_is_called() {
    let service =
        Service::start(Scripted::answering([Reply::status(200).after(Duration::from_millis(5))])).await;
    let webhook = service.webhook("https://old.example.com/", &["did_create"]).await;
    service.publish_many("did_create", 2000).await;
    service.until("it is flowing", async |s| s.out.requests().len() > 50).await;
    let moved = input("https://new.example.com/", &["did_create"], false);
    service.app.replace_webhook(service.tenant, webhook.id, Dialect::Mattr, moved, "test").await.unwrap();
    let old_at_ack = service.out.requests().iter().filter(|r| r.host == "old.example.com").count();
    service.until("all arrived", async |s| s.out.requests().len() >= 2000).await;
    let requests = service.out.requests();
    assert_eq!(requests.iter().filter(|r| r.host == "old.example.com").count(), old_at_ack);
    let mut ids: Vec<_> = requests.iter().map(|r| r.headers["x-sealpost-delivery-id"].clone()).collect();
    ids.sort_by_key(|id| id.to_str().unwrap().to_owned());
    ids.dedup();
    assert_eq!((ids.len(), requests.len()), (2000, 2000), "each once");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_for_a_disabled_webhook_are_visible_as_cancelled() {
    let service = Service::start(Scripted::answering([200])).await;
    let off = input("https://a.example.com/", &["did_create"], true);
    service
        .app
        .create_webhook(service.tenant, Dialect::Mattr, off, Default::default(), "test")
        .await
        .unwrap();
    let event = service.publish("did_create", "{}").await;
    assert_eq!(event.deliveries, 1);
    assert_eq!(service.timeline(event.id).await, "cancelled (webhook_disabled)\n");
    assert!(service.out.requests().is_empty());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_redelivery_sends_each_once_more() {
    let service = Service::start(Scripted::answering([200])).await;
    let webhook = service.webhook("https://a.example.com/", &["did_create"]).await;
    service.publish_many("did_create", 120).await;
    service.until_count(Status::Delivered, 120).await;
    let filter = sealpost_store::history::BulkFilter { from: None, to: None, status: None };
    let answer = service.app.redeliver_all(service.tenant, webhook.id, filter, false, "test").await.unwrap();
    assert!(
        matches!(answer, sealpost_store::history::BulkRedelivery::Counted { count: 120, .. }),
        "{answer:?}"
    );
    service.until_count(Status::Delivered, 240).await;
    assert_eq!(service.out.requests().len(), 240);
    service.stop().await;
}
