use sealpost_core::analytics::{Operation, Phase, RequestId};
use sealpost_core::delivery::{FailReason, State};
use sealpost_core::health::HealthChange;
use sealpost_core::id::AnalyticId;
use sealpost_core::settings::{RetentionKind, WebhookSettings};

use super::*;
use crate::inbox::Inbox;
use crate::queue::Next;
use crate::registry::Registry;
use crate::sqlite::testing::{Fixture, at, by, claimed, event, settlement, waiting};
use crate::upkeep::{RecordedCall, Upkeep};

const DELIVERED: Next = Next::End(State::Delivered);
const FAILED: Next = Next::End(State::Failed(FailReason::AttemptsExhausted));

#[tokio::test]
async fn accept_and_settle_are_the_only_writes_of_a_delivery() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    let counters = fixture.store.writer.counters();
    let writes = || counters.delivery_writes.load(std::sync::atomic::Ordering::Relaxed);
    let accepted = fixture.accept(vec![event(vec![claimed(&webhook)])]).await;
    let ticket = accepted[0].claims[0];
    let settled =
        fixture.store.settle(vec![settlement(ticket, Outcome::Delivered, DELIVERED)]).await.unwrap();
    assert_eq!(settled, [Settled::Settled { state: State::Delivered, health: None }]);
    assert_eq!(writes(), 2);
    assert_eq!(fixture.count("SELECT count(*) FROM attempt"), 0);
}

#[tokio::test]
async fn a_settlement_counts_once_and_only_for_its_own_claim() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    fixture.accept(vec![event(vec![waiting(&webhook)])]).await;
    let first = fixture.claim(&webhook, at(0)).await.remove(0).ticket;
    let retry = settlement(first, Outcome::Timeout, Next::RetryAt(at(10_000)));
    let settle =
        async |settlement: &Settlement| fixture.store.settle(vec![settlement.clone()]).await.unwrap()[0];
    assert_eq!(settle(&retry).await, Settled::Settled { state: State::Pending, health: None });
    assert_eq!(settle(&retry).await, Settled::Already);
    assert!(fixture.claim(&webhook, at(9_999)).await.is_empty());
    let second = fixture.claim(&webhook, at(10_000)).await.remove(0).ticket;
    assert_eq!((second.attempt, second.only_unknown_before), (2, false));
    assert_eq!(settle(&retry).await, Settled::Stale);
    fixture.store.unclaim(vec![second], at(10_000)).await.unwrap();
    assert_eq!(settle(&settlement(second, Outcome::Delivered, DELIVERED)).await, Settled::Stale);
    let again = fixture.claim(&webhook, at(10_000)).await.remove(0).ticket;
    assert_eq!((again.attempt, again.fence), (2, second.fence + 2));
}

#[tokio::test]
async fn a_claim_of_an_earlier_process_is_an_orphan_until_it_is_settled() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    fixture.accept(vec![event(vec![claimed(&webhook)]), event(vec![waiting(&webhook)])]).await;
    assert_eq!(fixture.store.orphans(10).await.unwrap(), []);
    let mut fixture = fixture.restart(|_| ());
    for attempt in 1..=4 {
        let orphans = fixture.store.orphans(10).await.unwrap();
        let seen: Vec<_> =
            orphans.iter().map(|ticket| (ticket.attempt, ticket.only_unknown_before)).collect();
        assert_eq!(seen, [(attempt, true)]);
        let unknown = settlement(orphans[0], Outcome::Unknown, Next::RetryAt(at(-1)));
        fixture.store.settle(vec![unknown]).await.unwrap();
        assert_eq!(fixture.store.orphans(10).await.unwrap(), []);
        let want = Want { lane: LaneNo::ordinary(webhook.no), most: 1 };
        fixture.store.claim(vec![want], at(0), 1000).await.unwrap();
        fixture = fixture.restart(|_| ());
    }
}

#[tokio::test]
async fn disabling_cancels_what_waits_and_what_is_in_flight_unless_it_arrives() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    let many = (0..3).map(|_| claimed(&webhook)).chain((0..600).map(|_| waiting(&webhook))).collect();
    let tickets = fixture.accept(vec![event(many)]).await.remove(0).claims;
    fixture.disable(&webhook, true).await;
    let outcomes = [
        (Outcome::Delivered, DELIVERED),
        (Outcome::Timeout, FAILED),
        (Outcome::Timeout, Next::RetryAt(at(9))),
    ];
    let settlements =
        tickets.iter().zip(outcomes).map(|(t, (outcome, next))| settlement(*t, outcome, next)).collect();
    let disabled = State::Cancelled(CancelReason::WebhookDisabled);
    let states: Vec<_> = fixture.store.settle(settlements).await.unwrap();
    assert_eq!(
        states,
        [State::Delivered, disabled, disabled].map(|state| Settled::Settled { state, health: None })
    );

    // Enabled again, what waited before stays cancelled and hides nothing that is new.
    fixture.disable(&webhook, false).await;
    let webhook = fixture.store.webhook(fixture.tenant, webhook.id).await.unwrap().unwrap();
    fixture.accept(vec![event(vec![waiting(&webhook)])]).await;
    let mut claims = fixture.claim(&webhook, at(0)).await;
    if claims.is_empty() {
        // Five hundred at a time.
        claims = fixture.claim(&webhook, at(0)).await;
    }
    assert_eq!(claims.len(), 1);
    assert_eq!(fixture.count("SELECT count(*) FROM delivery WHERE state = 3 AND reason = 11"), 602);
}

#[tokio::test]
async fn cancelling_ends_what_waits_and_marks_what_is_in_flight() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    let (one, two, three) = (waiting(&webhook), claimed(&webhook), claimed(&webhook));
    let ids = [one.id, two.id, three.id];
    let tickets = fixture.accept(vec![event(vec![one, two, three])]).await.remove(0).claims;
    let by_hand = State::Cancelled(CancelReason::ByHand);
    let cancel =
        async |tenant, id| fixture.store.cancel(tenant, id, CancelReason::ByHand, by(at(1))).await.unwrap();
    assert_eq!(cancel(TenantNo(99), ids[0]).await, None);
    assert_eq!(cancel(fixture.tenant, ids[0]).await, Some(by_hand));
    assert_eq!(cancel(fixture.tenant, ids[1]).await, Some(State::Pending));
    assert_eq!(cancel(fixture.tenant, ids[2]).await, Some(State::Pending));
    let retry = settlement(tickets[0], Outcome::Timeout, Next::RetryAt(at(5)));
    let settled = fixture.store.settle(vec![retry]).await.unwrap();
    assert_eq!(settled, [Settled::Settled { state: by_hand, health: None }]);
    fixture.store.unclaim(vec![tickets[1]], at(5)).await.unwrap();
    assert_eq!(cancel(fixture.tenant, ids[2]).await, Some(by_hand));
}

#[tokio::test]
async fn health_is_written_when_it_changes_and_told_once() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    let many = (0..6).map(|_| claimed(&webhook)).collect();
    let tickets = fixture.accept(vec![event(many)]).await.remove(0).claims;
    let mut told = Vec::new();
    for (ticket, next) in tickets.into_iter().zip([DELIVERED, FAILED, FAILED, FAILED, DELIVERED, DELIVERED]) {
        match fixture.store.settle(vec![settlement(ticket, Outcome::Timeout, next)]).await.unwrap()[0] {
            Settled::Settled { health, .. } => told.push(health),
            other => panic!("{other:?}"),
        }
    }
    use HealthChange::{Failing, Recovered};
    assert_eq!(told, [None, None, Some(Failing), None, Some(Recovered), None]);
}

#[tokio::test]
async fn a_payload_of_a_webhook_that_keeps_nothing_goes_with_its_last_delivery() {
    let fixture = Fixture::new().await;
    let none = WebhookSettings { retention: RetentionKind::None, ..WebhookSettings::default() };
    let (one, two) = (fixture.webhook(none.clone()).await, fixture.webhook(none).await);
    let tickets = fixture.accept(vec![event(vec![claimed(&one), claimed(&two)])]).await.remove(0).claims;
    let gone =
        || fixture.count("SELECT count(*) FROM payload WHERE gone = 1 AND salt IS NULL AND sealed IS NULL");
    fixture.store.settle(vec![settlement(tickets[0], Outcome::Delivered, DELIVERED)]).await.unwrap();
    assert_eq!(gone(), 0);
    fixture.store.settle(vec![settlement(tickets[1], Outcome::Timeout, FAILED)]).await.unwrap();
    assert_eq!(gone(), 1);
}

#[tokio::test]
async fn claims_open_their_payload_and_stop_at_the_byte_budget() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    fixture.accept((0..3).map(|_| event(vec![waiting(&webhook)])).collect()).await;
    let want = Want { lane: LaneNo::ordinary(webhook.no), most: 10 };
    let size = r#"{"credential":"canary"}"#.len();
    let lane = fixture.store.claim(vec![want], at(0), 2 * size + 1).await.unwrap().remove(0);
    let texts: Vec<_> =
        lane.claims.iter().map(|claim| claim.open.as_ref().unwrap().payload.as_str().to_owned()).collect();
    assert_eq!(texts, [r#"{"credential":"canary"}"#; 2]);
    assert_eq!(lane.next_due, Some(at(0)));
}

#[tokio::test]
async fn claims_that_nobody_took_are_given_back() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    let request = fixture.request(vec![event(vec![claimed(&webhook)])]).await;
    // Polled once, so the request is on its way, and then forgotten.
    let mut accept = Box::pin(fixture.store.accept(request));
    std::future::poll_fn(|cx| {
        let _ = accept.as_mut().poll(cx);
        std::task::Poll::Ready(())
    })
    .await;
    drop(accept);
    let ticket = loop {
        if let Some(claim) = fixture.claim(&webhook, at(0)).await.pop() {
            break claim.ticket;
        }
    };
    assert_eq!((ticket.attempt, ticket.fence), (1, 3));
}

#[tokio::test]
async fn lanes_are_found_by_their_earliest_due_time() {
    let fixture = Fixture::new().await;
    let (one, two) = (
        fixture.webhook(WebhookSettings::default()).await,
        fixture.webhook(WebhookSettings::default()).await,
    );
    fixture.accept(vec![event(vec![waiting(&one), waiting(&one), claimed(&two)])]).await;
    fixture.accept(vec![event(vec![waiting(&two)])]).await;
    let lanes = fixture.store.lanes(None, 10).await.unwrap();
    let hint = |webhook: &sealpost_core::webhook::Webhook| LaneHint {
        lane: LaneNo::ordinary(webhook.no),
        tenant: fixture.tenant,
        next_due: at(0),
    };
    assert_eq!(lanes, [hint(&one), hint(&two)]);
    assert_eq!(fixture.store.lanes(None, 1).await.unwrap(), [hint(&one)]);
    assert_eq!(fixture.store.lanes(Some(hint(&one).lane), 10).await.unwrap(), [hint(&two)]);
}

fn call(tenant: TenantNo) -> RecordedCall {
    RecordedCall {
        tenant,
        id: AnalyticId::new(at(0), [0; 10]),
        at: at(0),
        operation: Operation::WebhookCreate,
        phase: Phase::Start,
        request: RequestId::from_bytes([0; 16]),
        client: None,
        data: None,
    }
}

#[tokio::test]
async fn a_full_disk_refuses_events_and_takes_settlements() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    fixture.accept(vec![event(vec![claimed(&webhook), waiting(&webhook)])]).await;
    let fixture = fixture.restart(|options| options.disk_reserve_bytes = u64::MAX);
    let refused = fixture.try_accept(vec![event(vec![waiting(&webhook)])]).await;
    assert!(matches!(refused, Err(StoreError::Full)));
    let recorded = fixture.store.record_calls(vec![call(fixture.tenant)]).await;
    assert!(matches!(recorded, Err(StoreError::Full)));
    fixture.store.sweep(at(0)).await.unwrap();
    assert_eq!(fixture.claim(&webhook, at(0)).await.len(), 1);
    let orphan = fixture.store.orphans(1).await.unwrap().remove(0);
    let settled =
        fixture.store.settle(vec![settlement(orphan, Outcome::Delivered, DELIVERED)]).await.unwrap();
    assert!(matches!(settled[..], [Settled::Settled { .. }]));
}

#[tokio::test]
async fn nothing_is_claimed_while_settlements_cannot_be_stored() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    let many = (0..2).map(|_| claimed(&webhook)).chain([waiting(&webhook)]).collect();
    let tickets = fixture.accept(vec![event(many)]).await.remove(0).claims;
    let most_pages = async |pages: i64| {
        let set = move |conn: &Connection, _: &_| {
            let _: i64 = conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0))?;
            Ok(())
        };
        fixture.store.writer.alone(set).await.unwrap();
    };
    // One page is less than there are, so the file must not grow at all.
    most_pages(1).await;
    let mut large = settlement(tickets[0], Outcome::Timeout, FAILED);
    large.attempt.error = Some("x".repeat(100_000));
    assert!(matches!(fixture.store.settle(vec![large.clone()]).await, Err(StoreError::Full)));
    let want = Want { lane: LaneNo::ordinary(webhook.no), most: 1 };
    let refused = fixture.store.claim(vec![want], at(0), 1000).await;
    assert!(matches!(refused, Err(StoreError::Full)));
    most_pages(1_000_000).await;
    assert!(matches!(fixture.store.settle(vec![large]).await.unwrap()[..], [Settled::Settled { .. }]));
    assert_eq!(fixture.claim(&webhook, at(0)).await.len(), 1);
}
