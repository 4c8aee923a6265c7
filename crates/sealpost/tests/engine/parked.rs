//! What is parked (claimed, and waiting in memory for a slot of its lane) has not begun, and can be taken back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sealpost::app::erasures::EraseWhat;
use sealpost_core::delivery::{CancelReason, State, Status};
use sealpost_core::dialect::Dialect;
use sealpost_core::id::{DeliveryId, EventId};
use sealpost_egress::{Reply, Scripted};
use sealpost_store::history::DeliveryFilter;
use sealpost_store::page::PageRequest;

use crate::service::{Service, input};

const URL: &str = "https://a.example.com/";
const SLOTS: usize = 8;

/// A webhook whose slots are all taken by requests that hang, and the events of four deliveries parked behind them.
async fn parked() -> (Service, Vec<EventId>) {
    let service = Service::start(Scripted::by(|_| Reply::never())).await;
    service.webhook(URL, &["did_create"]).await;
    for _ in 0..SLOTS {
        service.publish("did_create", "{}").await;
    }
    service.until("every slot is taken", async |s| s.out.requests().len() == SLOTS).await;
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(service.publish("did_create", "{}").await.id);
    }
    (service, events)
}

async fn delivery(service: &Service, event: EventId) -> (DeliveryId, State) {
    let filter = DeliveryFilter { event: Some(event), ..DeliveryFilter::default() };
    let page = PageRequest { limit: 1, after: None };
    let row = service.app.deliveries(service.tenant, filter, page).await.unwrap().rows.remove(0);
    (row.id, row.state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_or_erased_one_ends_at_once_and_is_never_sent() {
    let (service, events) = parked().await;
    let (id, _) = delivery(&service, events[0]).await;
    let by_hand = State::Cancelled(CancelReason::ByHand);
    assert_eq!(service.app.cancel(service.tenant, id, "test").await.unwrap(), Some(by_hand));

    let erased = EraseWhat::Events(vec![events[1]]);
    service.app.erase(service.tenant, erased, "test").await.unwrap();
    assert_eq!(delivery(&service, events[1]).await.1, State::Cancelled(CancelReason::PayloadErased));
    assert_eq!(delivery(&service, events[2]).await.1, State::Pending, "the others still wait");
    assert_eq!(service.out.requests().len(), SLOTS);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_takes_it_back_before_it_is_acknowledged() {
    let (service, _) = parked().await;
    let webhook = service.app.webhooks(service.tenant, None, PageRequest { limit: 1, after: None });
    let id = webhook.await.unwrap().rows[0].id;
    let off = input(URL, &["did_create"], true);
    service.app.replace_webhook(service.tenant, id, Dialect::Mattr, off, "test").await.unwrap();
    assert_eq!(service.count(Status::Cancelled).await, 4);
    assert_eq!(service.count(Status::Pending).await, SLOTS, "what was begun may end");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abrupt_end_costs_it_no_attempt() {
    let (service, events) = parked().await;
    let service = service.killed_and_restarted(Scripted::answering([200])).await;
    assert_eq!(service.taken_up.orphans, SLOTS as u64, "only what began is unknown");
    for event in events {
        service.until("it is delivered", async |s| delivery(s, event).await.1 == State::Delivered).await;
        assert_eq!(service.timeline(event).await, "+0s attempt 1: delivered 200\ndelivered\n");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_waits_for_a_full_lane_that_flows_but_not_for_ever() {
    let seen = std::sync::atomic::AtomicU32::new(0);
    let ends = sealpost_core::limits::LANE_FLOWS_ENDS;
    let first_well = move |_: &sealpost_egress::Request| match seen.fetch_add(1, Ordering::SeqCst) < ends {
        true => Reply::status(200).after(Duration::from_millis(50)),
        false => Reply::never(),
    };
    let service = Service::start(Scripted::by(first_well)).await;
    service.webhook(URL, &["did_create"]).await;
    let places = sealpost_core::limits::PARKED_PER_WEBHOOK as usize;
    service.publish_many("did_create", SLOTS + places).await;
    service.until("the first have ended", async |s| s.count(Status::Delivered).await == ends as usize).await;
    service.publish_many("did_create", ends as usize).await;
    // The clock stands, so the lane seems to flow although nothing of it ends any more.
    let began = std::time::Instant::now();
    service.publish("did_create", "{}").await;
    let waited = began.elapsed();
    let longest = sealpost_core::limits::PLACE_WAIT;
    assert!(waited >= longest && waited < longest + Duration::from_secs(1), "{waited:?}");
    service.stop().await;
}
