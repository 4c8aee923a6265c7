//! Accepting: all or nothing, once.

use sealpost_core::delivery::{CancelReason, State};
use sealpost_core::id::EventId;
use sealpost_store::history::{DeliveryFilter, EventFilter, PayloadState};
use sealpost_store::inbox::{Accept, Accepted, RepeatKey};

use super::Backend;
use super::world::{EVENT_TYPE, EventMaker, World, at, chance, delivered};

fn own_id() -> EventId {
    EventId::new(at(0), chance())
}

async fn event_count<B: Backend>(world: &World<B>) -> usize {
    world.all_events(EventFilter::default()).await.len()
}

pub(crate) async fn what_was_accepted_reads_back_after_opening_again<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let event = world.event().to(&webhook).payload(r#"{"name":"é","n":1.0}"#).test();
    let delivery = event.first_delivery();
    let accepted = world.accept(event, at(10)).await;
    assert_eq!((accepted.deliveries, accepted.repeated, accepted.claims.len()), (1, false, 0));

    let world = world.reopen().await;
    let event = world.read(accepted.id).await;
    assert_eq!((event.event_type.as_str(), event.timestamp, event.accepted_at), (EVENT_TYPE, at(0), at(10)));
    assert_eq!((event.payload, event.test), (PayloadState::Kept, true));
    assert_eq!(world.payload(accepted.id).await, r#"{"name":"é","n":1.0}"#);
    let shown = world.detail(delivery).await.delivery;
    assert_eq!((shown.event, shown.webhook, shown.state), (accepted.id, webhook.id, State::Pending));
    assert_eq!((shown.due_at, shown.attempts_used, shown.test), (Some(at(10)), 0, true));
    let claims = world.claim(&webhook, at(10)).await;
    assert_eq!(claims[0].open.as_ref().unwrap().payload.as_str(), r#"{"name":"é","n":1.0}"#);
    assert!(claims[0].event.test);
}

pub(crate) async fn an_event_without_subscribers_is_recorded<B: Backend>(world: World<B>) {
    let accepted = world.accept(world.event(), at(0)).await;
    assert_eq!(accepted.deliveries, 0);
    let event = world.read(accepted.id).await;
    assert!(event.deliveries.is_empty());
    assert_eq!(world.payload(accepted.id).await, r#"{"id":7}"#);
    assert_eq!(event_count(&world).await, 1);
}

pub(crate) async fn a_repeat_gives_the_first_result_and_delivers_nothing_again<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let id = own_id();
    let first = world.accept(world.event().id(id).to(&webhook), at(0)).await;
    let second = world.webhook().await;
    let again = world.accept(world.event().id(id).to(&webhook).to(&second), at(5)).await;
    assert_eq!((again.id, again.timestamp, again.deliveries), (first.id, first.timestamp, 1));
    assert!(again.repeated && again.claims.is_empty());
    assert_eq!(world.read(id).await.deliveries.len(), 1);
    assert_eq!(world.all_deliveries(DeliveryFilter::default()).await.len(), 1);
}

pub(crate) async fn other_content_conflicts_and_stores_nothing<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let id = own_id();
    world.accept(world.event().id(id).to(&webhook), at(0)).await;
    for other in [world.event().id(id).payload(r#"{"id":8}"#), world.event().id(id).of_type("invoice.sent")] {
        let answer = world.try_accept(vec![other.to(&webhook)], vec![], at(1)).await;
        assert!(matches!(answer, Accepted::Conflict { index: 0 }), "{answer:?}");
    }
    assert_eq!(world.payload(id).await, r#"{"id":7}"#);
    assert_eq!(world.all_deliveries(DeliveryFilter::default()).await.len(), 1);
}

pub(crate) async fn the_same_id_in_another_tenant_is_free<B: Backend>(world: World<B>) {
    let id = own_id();
    world.accept(world.event().id(id), at(0)).await;
    let (tenant, hasher) = world.other_tenant().await;
    let other = World { tenant, hasher, ..world };
    let accepted = other.accept(other.event().id(id).payload(r#"{"mine":1}"#), at(1)).await;
    assert!(!accepted.repeated);
    assert_eq!(other.payload(id).await, r#"{"mine":1}"#);
}

pub(crate) async fn one_conflict_refuses_the_whole_request<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (known, fresh) = (own_id(), own_id());
    world.accept(world.event().id(known), at(0)).await;
    let events = vec![
        world.event().id(fresh).to(&webhook),
        world.event().id(known).payload(r#"{"other":1}"#),
        world.event().to(&webhook),
    ];
    let answer = world.try_accept(events, vec![], at(1)).await;
    assert!(matches!(answer, Accepted::Conflict { index: 1 }), "{answer:?}");
    assert_eq!(world.store.event(world.tenant.no, fresh).await.unwrap(), None);
    assert_eq!(event_count(&world).await, 1);
    assert!(world.claim(&webhook, at(10)).await.is_empty());
}

pub(crate) async fn an_identical_repeat_inside_a_request_is_answered_with_its_first_result<B: Backend>(
    world: World<B>,
) {
    let webhook = world.webhook().await;
    let id = own_id();
    let events = vec![
        world.event().id(id).to(&webhook),
        world.event().to(&webhook),
        world.event().id(id).to(&webhook),
    ];
    let answers = world.accept_all(events, at(0)).await;
    assert_eq!(answers.iter().map(|answer| answer.repeated).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!((answers[2].id, answers[2].deliveries), (id, 1));
    assert_eq!(world.all_deliveries(DeliveryFilter::default()).await.len(), 2);

    let twice_different =
        vec![world.event().id(own_id()), world.event().id(id).payload(r#"{"x":1}"#), world.event().id(id)];
    let answer = world.try_accept(twice_different, vec![], at(1)).await;
    assert!(matches!(answer, Accepted::Conflict { index: 1 }), "{answer:?}");
}

fn key<B: Backend>(
    world: &World<B>,
    text: &str,
    events: &[EventMaker],
    of: std::ops::Range<usize>,
) -> RepeatKey {
    let contents: Vec<[u8; 32]> = events[of.clone()].iter().map(EventMaker::content).collect();
    RepeatKey {
        key: world.hasher.repeat_key(text),
        content: world.hasher.request_content(&contents),
        events: of,
    }
}

pub(crate) async fn an_idempotency_key_covers_its_range<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let request = |payloads: &[&str]| -> Vec<EventMaker> {
        payloads.iter().map(|payload| world.event().to(&webhook).payload(payload)).collect()
    };
    let events = request(&[r#"{"n":1}"#, r#"{"n":2}"#]);
    let keys = vec![key(&world, "whole", &events, 0..2)];
    let Accepted::Events(first) = world.try_accept(events, keys, at(0)).await else { panic!() };

    // Minted ids differ every time; the key decides.
    let events = request(&[r#"{"n":1}"#, r#"{"n":2}"#]);
    let keys = vec![key(&world, "whole", &events, 0..2)];
    let Accepted::Events(again) = world.try_accept(events, keys, at(1)).await else { panic!() };
    assert!(again.iter().all(|answer| answer.repeated));
    let ids =
        |answers: &[sealpost_store::inbox::AcceptedEvent]| answers.iter().map(|a| a.id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&first));
    assert_eq!(event_count(&world).await, 2);

    // Keys that name one event each, one known and one new.
    let events = request(&[r#"{"n":3}"#, r#"{"n":4}"#]);
    let keys = vec![key(&world, "three", &events, 0..1)];
    let Accepted::Events(three) = world.try_accept(events, keys, at(2)).await else { panic!() };
    let events = request(&[r#"{"n":5}"#, r#"{"n":3}"#]);
    let keys = vec![key(&world, "five", &events, 0..1), key(&world, "three", &events, 1..2)];
    let Accepted::Events(mixed) = world.try_accept(events, keys, at(3)).await else { panic!() };
    assert_eq!(mixed.iter().map(|answer| answer.repeated).collect::<Vec<_>>(), [false, true]);
    assert_eq!(mixed[1].id, three[0].id);

    let world = world.reopen().await;
    let events: Vec<EventMaker> = vec![world.event().payload(r#"{"n":5}"#)];
    let keys = vec![key(&world, "five", &events, 0..1)];
    let Accepted::Events(five) = world.try_accept(events, keys, at(4)).await else { panic!() };
    assert_eq!((five[0].id, five[0].repeated), (mixed[0].id, true));
}

pub(crate) async fn an_idempotency_key_with_other_content_conflicts<B: Backend>(world: World<B>) {
    let events = vec![world.event()];
    let keys = vec![key(&world, "k", &events, 0..1)];
    world.try_accept(events, keys, at(0)).await;
    let events = vec![world.event().payload(r#"{"other":1}"#)];
    let keys = vec![key(&world, "k", &events, 0..1)];
    let answer = world.try_accept(events, keys, at(1)).await;
    assert!(matches!(answer, Accepted::Conflict { index: 0 }), "{answer:?}");
    assert_eq!(event_count(&world).await, 1);
}

pub(crate) async fn another_registry_version_bounces_and_stores_nothing<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let version = world.version().await;
    world.disable(&webhook, true).await;
    let empty = Accept {
        tenant: world.tenant.no,
        registry_version: version,
        now: at(0),
        events: Vec::new(),
        keys: Vec::new(),
    };
    for (registry_version, bounces) in [(version, true), (version + 7, true), (version + 1, false)] {
        let answer = world.store.accept(Accept { registry_version, ..empty.clone() }).await.unwrap();
        assert_eq!(matches!(answer, Accepted::RegistryChanged), bounces, "{registry_version}");
    }
    assert_eq!(event_count(&world).await, 0);
}

pub(crate) async fn a_delivery_accepted_claimed_is_not_claimable_again<B: Backend>(world: World<B>) {
    let (one, two) = (world.webhook().await, world.webhook().await);
    let event = world.event().claimed_to(&one).to(&two);
    let delivery = event.first_delivery();
    let accepted = world.accept(event, at(0)).await;
    let [ticket] = accepted.claims.as_slice() else { panic!("{:?}", accepted.claims) };
    assert_eq!((ticket.id, ticket.webhook, ticket.attempt, ticket.fence), (delivery, one.no, 1, 1));
    assert!(ticket.only_unknown_before);

    assert!(world.claim(&one, at(100_000_000)).await.is_empty());
    assert_eq!(world.claim(&two, at(0)).await.len(), 1);
    assert_eq!(world.detail(delivery).await.delivery.attempts_used, 1);
    world.settle(delivered(ticket, at(1))).await;
    assert_eq!(world.state(delivery).await, State::Delivered);
}

pub(crate) async fn a_derived_event_shares_the_payload_and_repeats_do_not_derive<B: Backend>(
    world: World<B>,
) {
    let (full, summary) = (world.webhook().await, world.webhook().await);
    let id = own_id();
    let publication = || world.event().id(id).to(&full).derived_to("invoice.paid.summary", &summary);
    let first = world.accept(publication(), at(0)).await;
    let derived = world.hasher.derived_event(id);
    assert_eq!(first.deliveries, 1);
    assert_eq!(first.derived.len(), 1);
    assert_eq!(
        (first.derived[0].id, first.derived[0].event_type.as_str(), first.derived[0].deliveries),
        (derived, "invoice.paid.summary", 1)
    );
    assert_eq!(world.payload(derived).await, world.payload(id).await);
    let claim = world.claim(&summary, at(0)).await.remove(0);
    assert_eq!((claim.event.id, claim.event.event_type.as_str()), (derived, "invoice.paid.summary"));
    assert_eq!(claim.open.unwrap().payload.as_str(), r#"{"id":7}"#);

    let again = world.accept(publication(), at(1)).await;
    assert!(again.repeated);
    assert_eq!(again.derived, first.derived);
    assert_eq!(world.read(id).await.derived, first.derived);
    assert_eq!(world.read(derived).await.deliveries.len(), 1);

    // Accepted while nobody took the summary: a repeat does not make up for it.
    let other = own_id();
    world.accept(world.event().id(other).to(&full), at(2)).await;
    let late = world
        .accept(world.event().id(other).to(&full).derived_to("invoice.paid.summary", &summary), at(3))
        .await;
    assert!(late.repeated && late.derived.is_empty());
    assert_eq!(world.store.event(world.tenant.no, world.hasher.derived_event(other)).await.unwrap(), None);
}

pub(crate) async fn deliveries_of_a_disabled_webhook_are_recorded_as_cancelled<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let webhook = world.disable(&webhook, true).await;
    let event = world.event().cancelled_to(&webhook, CancelReason::WebhookDisabled);
    let delivery = event.first_delivery();
    let accepted = world.accept(event, at(0)).await;
    assert_eq!(accepted.deliveries, 1);
    assert!(accepted.claims.is_empty());
    assert_eq!(world.state(delivery).await, State::Cancelled(CancelReason::WebhookDisabled));
    let webhook = world.disable(&webhook, false).await;
    assert!(world.claim(&webhook, at(10)).await.is_empty());
}

/// The caller stops waiting; what it asked for may be stored or not, but never in part.
pub(crate) async fn a_cancelled_request_stores_all_or_nothing<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let version = world.version().await;
    let mut pairs = Vec::new();
    for _ in 0..20 {
        let (one, two) = (own_id(), own_id());
        pairs.push((one, two));
        let events = vec![world.event().id(one).to(&webhook), world.event().id(two).to(&webhook)];
        let accept = world.try_accept(events, Vec::new(), at(0));
        // Polled once or twice, then dropped.
        let _ = tokio::time::timeout(std::time::Duration::ZERO, accept).await;
    }
    assert_eq!(world.version().await, version);
    // Whatever was begun is over once a later request is answered.
    world.accept(world.event(), at(1)).await;
    for (one, two) in pairs {
        let stored = |id| world.store.event(world.tenant.no, id);
        let (one, two) = (stored(one).await.unwrap(), stored(two).await.unwrap());
        assert_eq!(one.is_some(), two.is_some());
        assert!(one.is_none_or(|event| event.deliveries.len() == 1));
    }
}
