//! What the engine does on its own while nothing is published.

use std::time::Duration;

use sealpost::app::analytics::CallEnd;
use sealpost_core::analytics::{AnalyticFilter, Operation, Phase};
use sealpost_egress::Scripted;
use sealpost_store::page::PageRequest;

use crate::service::Service;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_gives_way_when_it_has_signed_for_its_time() {
    let service = Service::start_rotating(Scripted::answering([200]), Some(90 * DAY)).await;
    let signing = async |s: &Service| s.app.key_ring(s.tenant).await.unwrap().current().unwrap().kid.clone();
    let first = signing(&service).await;
    service.advance(89 * DAY).await;
    // Two looks of the housekeeping, with the clock past the hour between looks at keys.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(signing(&service).await, first);
    service.advance(DAY).await;
    service.until("another key signs", async |s| signing(s).await != first).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_are_stored_without_being_asked_for_and_dropped_after_their_time() {
    let service = Service::start(Scripted::answering([200])).await;
    let entry = service.app.tenant(service.tenant).await.unwrap();
    let end = CallEnd {
        operation: Operation::WebhookRetrieveList,
        phase: Phase::Start,
        request: service.app.new_request_id(),
        client: None,
        data: serde_json::json!({}),
    };
    service.app.record(&entry, end);
    // Straight from the store: the service's own verb would store what waits.
    let stored = async |s: &Service| {
        let page = PageRequest { limit: 10, after: None };
        s.app.store.analytic_events(s.tenant, AnalyticFilter::default(), page).await.unwrap().rows.len()
    };
    service.until("the call is stored", async |s| stored(s).await == 1).await;
    service.advance(29 * DAY).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(stored(&service).await, 1);
    service.advance(2 * DAY).await;
    service.until("the call is dropped", async |s| stored(s).await == 0).await;
    service.stop().await;
}
