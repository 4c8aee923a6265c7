//! Lists, single rows, redelivery.

use std::collections::HashSet;

use sealpost_core::delivery::{CancelReason, State, Status};
use sealpost_core::id::{DeliveryId, EventId, WebhookId};
use sealpost_core::outcome::Outcome;
use sealpost_core::webhook::Webhook;
use sealpost_store::history::{
    BulkFilter, BulkRedelivery, DeliveryFilter, DeliveryMeasure, EventFilter, PayloadRead, Redelivered,
};
use sealpost_store::page::{After, PageRequest};

use super::Backend;
use super::world::{
    World, at, by, chance, delivered, failed, new_delivery, ordinary, replay, retried, type_name,
};

const EVERYTHING: BulkFilter = BulkFilter { from: None, to: None, status: None };

async fn event_page<B: Backend>(
    world: &World<B>,
    filter: &EventFilter,
    limit: u32,
    after: Option<After<EventId>>,
) -> (Vec<EventId>, Option<After<EventId>>) {
    let page = PageRequest { limit, after };
    let page = world.store.events(world.tenant.no, filter.clone(), page).await.unwrap();
    assert!(page.rows.windows(2).all(|pair| pair[0].accepted_at >= pair[1].accepted_at));
    let next = page.rows.last().filter(|_| page.more).map(|last| After { at: last.accepted_at, id: last.id });
    assert!(!page.more || page.rows.len() == limit as usize, "a page is full or the last");
    (page.rows.iter().map(|event| event.id).collect(), next)
}

async fn delivery_page<B: Backend>(
    world: &World<B>,
    filter: &DeliveryFilter,
    limit: u32,
    after: Option<After<DeliveryId>>,
) -> (Vec<DeliveryId>, Option<After<DeliveryId>>) {
    let page = PageRequest { limit, after };
    let page = world.store.deliveries(world.tenant.no, filter.clone(), page).await.unwrap();
    assert!(page.rows.windows(2).all(|pair| pair[0].created_at >= pair[1].created_at));
    let next = page.rows.last().filter(|_| page.more).map(|last| After { at: last.created_at, id: last.id });
    assert!(!page.more || page.rows.len() == limit as usize, "a page is full or the last");
    (page.rows.iter().map(|delivery| delivery.id).collect(), next)
}

pub(crate) async fn an_event_shows_its_deliveries_and_their_states<B: Backend>(world: World<B>) {
    let (one, two) = (world.webhook().await, world.webhook().await);
    let event = world.accept(world.event().to(&one).to(&two), at(0)).await.id;
    world.deliver_due(&one, at(1)).await;
    let shown = world.read(event).await;
    let states: Vec<_> = shown.deliveries.iter().map(|delivery| (delivery.webhook, delivery.state)).collect();
    assert_eq!(states, [(one.id, State::Delivered), (two.id, State::Pending)]);
    assert_eq!(world.all_events(EventFilter::default()).await, [shown]);
    let unknown = EventId::new(at(0), chance());
    assert!(world.store.event(world.tenant.no, unknown).await.unwrap().is_none());
}

pub(crate) async fn a_delivery_shows_its_attempts_in_order<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    let ticket = world.claim_one(&webhook, at(0)).await;
    world.settle(retried(&ticket, at(1), at(10))).await;
    let ticket = world.claim_one(&webhook, at(10)).await;
    world.settle(retried(&ticket, at(11), at(20))).await;
    let ticket = world.claim_one(&webhook, at(20)).await;
    world.settle(delivered(&ticket, at(21))).await;

    let shown = world.detail(delivery).await;
    assert_eq!(
        (shown.delivery.event, shown.delivery.state, shown.delivery.due_at),
        (event, State::Delivered, None)
    );
    let attempts: Vec<_> = shown
        .attempts
        .iter()
        .map(|a| (a.number, a.started_at, a.took_ms, a.outcome, a.http_status))
        .collect();
    assert_eq!(
        attempts,
        [
            (1, at(1), 100, Outcome::HttpStatus, Some(503)),
            (2, at(11), 100, Outcome::HttpStatus, Some(503)),
            (3, at(21), 100, Outcome::Delivered, Some(200)),
        ]
    );
}

pub(crate) async fn another_tenant_sees_nothing<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    world.sweep(at(1)).await;
    let (other, _) = world.other_tenant().await;
    let store = &world.store;
    let page = || PageRequest { limit: 10, after: None };
    assert!(store.event(other.no, event).await.unwrap().is_none());
    assert!(matches!(store.payload(other.no, event).await.unwrap(), PayloadRead::NotFound));
    assert!(store.delivery(other.no, delivery).await.unwrap().is_none());
    assert!(store.events(other.no, EventFilter::default(), page()).await.unwrap().rows.is_empty());
    for filter in [
        DeliveryFilter::default(),
        DeliveryFilter { webhook: Some(webhook.id), ..Default::default() },
        DeliveryFilter { event: Some(event), ..Default::default() },
    ] {
        assert!(
            store
                .deliveries(other.no, filter, PageRequest { limit: 10, after: None })
                .await
                .unwrap()
                .rows
                .is_empty()
        );
    }
    let new = new_delivery(&webhook).id;
    assert_eq!(store.redeliver(other.no, delivery, new, by(at(1))).await.unwrap(), Redelivered::NotFound);
    let all = store.redeliver_all(other.no, webhook.id, EVERYTHING, false, by(at(1))).await.unwrap();
    assert_eq!(all, BulkRedelivery::NotFound);
}

pub(crate) async fn pages_of_events_have_no_gaps_or_repeats_while_new_ones_come<B: Backend>(world: World<B>) {
    let mut accepted = Vec::new();
    for number in 0..23 {
        accepted.push(world.accept(world.event(), at(number / 3)).await.id);
        // Half of them are in whatever index upkeep keeps.
        if number == 11 {
            world.sweep(at(number)).await;
        }
    }
    let mut listed = Vec::new();
    let mut after = None;
    let mut now = 100;
    loop {
        let (ids, next) = event_page(&world, &EventFilter::default(), 5, after).await;
        listed.extend(ids);
        after = next;
        if after.is_none() {
            break;
        }
        now += 1;
        world.accept(world.event(), at(now)).await;
        if now == 102 {
            world.sweep(at(now)).await;
        }
    }
    accepted.reverse();
    assert_eq!(listed, accepted);
}

pub(crate) async fn pages_of_deliveries_have_no_gaps_or_repeats_while_new_ones_come<B: Backend>(
    world: World<B>,
) {
    let (one, two) = (world.webhook().await, world.webhook().await);
    let mut accepted: Vec<(DeliveryId, WebhookId)> = Vec::new();
    for number in 0..23 {
        let webhook = if number % 2 == 0 { &one } else { &two };
        accepted.push((world.waiting(webhook, at(number / 3)).await.1, webhook.id));
        if number == 11 {
            world.sweep(at(number)).await;
        }
    }
    accepted.reverse();
    let mut now = 100;
    for webhook in [None, Some(one.id), Some(two.id)] {
        let filter = DeliveryFilter { webhook, to: Some(at(50)), ..Default::default() };
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let (ids, next) = delivery_page(&world, &filter, 3, after).await;
            listed.extend(ids);
            after = next;
            if after.is_none() {
                break;
            }
            now += 1;
            world.waiting(&one, at(now)).await;
            if now % 4 == 0 {
                world.sweep(at(now)).await;
            }
        }
        let wanted = accepted.iter().filter(|(_, of)| webhook.is_none_or(|webhook| webhook == *of));
        assert_eq!(listed, wanted.map(|(id, _)| *id).collect::<Vec<_>>());
    }
}

pub(crate) async fn a_cursor_of_another_tenant_is_like_an_unknown_one<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    let (tenant, hasher) = world.other_tenant().await;
    let other = World { tenant, hasher, ..world };
    let own = other.webhook().await;
    let mut accepted = Vec::new();
    for number in 1..4 {
        accepted.push(other.waiting(&own, at(number)).await);
    }
    accepted.reverse();
    // Times later than the rows the ids name: looked up, those rows would end the lists.
    let pages = async |event: EventId, delivery: DeliveryId| {
        let (events, _) =
            event_page(&other, &EventFilter::default(), 10, Some(After { at: at(9), id: event })).await;
        let after = Some(After { at: at(9), id: delivery });
        let (deliveries, _) = delivery_page(&other, &DeliveryFilter::default(), 10, after).await;
        (events, deliveries)
    };
    let all = (accepted.iter().map(|(id, _)| *id).collect(), accepted.iter().map(|(_, id)| *id).collect());
    assert_eq!(pages(EventId::new(at(9), chance()), DeliveryId::new(at(9), chance())).await, all);
    assert_eq!(pages(event, delivery).await, all);
}

pub(crate) async fn events_are_filtered_by_type_and_time<B: Backend>(world: World<B>) {
    let mut ids = Vec::new();
    for (name, ms) in [("a.b", 1), ("c.d", 2), ("a.b", 3), ("a.b", 30_000), ("c.d", 60_000)] {
        ids.push(world.accept(world.event().of_type(name), at(ms)).await.id);
    }
    let filter = |name: Option<&str>, from: Option<i64>, to: Option<i64>| EventFilter {
        event_type: name.map(type_name),
        from: from.map(at),
        to: to.map(at),
    };
    for swept in [false, true] {
        if swept {
            world.sweep(at(70_000)).await;
        }
        for (filter, wanted) in [
            (filter(Some("a.b"), None, None), vec![3, 2, 0]),
            (filter(Some("x.y"), None, None), vec![]),
            (filter(None, Some(2), Some(30_000)), vec![3, 2, 1]),
            (filter(None, Some(3), None), vec![4, 3, 2]),
            (filter(None, None, Some(2)), vec![1, 0]),
            (filter(Some("c.d"), Some(3), None), vec![4]),
            (filter(None, Some(60_001), None), vec![]),
            (filter(None, Some(3), Some(2)), vec![]),
        ] {
            let found: Vec<_> = world.all_events(filter.clone()).await.iter().map(|event| event.id).collect();
            assert_eq!(found, wanted.iter().map(|i| ids[*i]).collect::<Vec<_>>(), "{filter:?} {swept}");
        }
    }
}

/// Four deliveries: delivered and failed to `one`; cancelled and pending to `two`.
async fn one_of_each<B: Backend>(world: &World<B>) -> ([Webhook; 2], [(EventId, DeliveryId); 4]) {
    let (one, two) = (world.webhook().await, world.webhook().await);
    let done = world.waiting(&one, at(1)).await;
    world.deliver_due(&one, at(1)).await;
    let broken = world.waiting(&one, at(2)).await;
    let ticket = world.claim_one(&one, at(2)).await;
    world.settle(failed(&ticket, at(2))).await;
    let stale = world.waiting(&two, at(3)).await;
    let two = world.disable(&two, true).await;
    let two = world.disable(&two, false).await;
    let waits = world.waiting(&two, at(4)).await;
    ([one, two], [done, broken, stale, waits])
}

pub(crate) async fn deliveries_are_filtered<B: Backend>(world: World<B>) {
    let ([one, two], made) = one_of_each(&world).await;
    let none = DeliveryFilter::default();
    let of = |status| DeliveryFilter { status: Some(status), ..Default::default() };
    let unknown = WebhookId::new(at(0), chance());
    for swept in [false, true] {
        if swept {
            world.sweep(at(5)).await;
        }
        for (filter, wanted) in [
            (none.clone(), vec![3, 2, 1, 0]),
            (of(Status::Delivered), vec![0]),
            (of(Status::Failed), vec![1]),
            (of(Status::Cancelled), vec![2]),
            (of(Status::Pending), vec![3]),
            (DeliveryFilter { webhook: Some(one.id), ..none.clone() }, vec![1, 0]),
            (DeliveryFilter { webhook: Some(two.id), ..of(Status::Cancelled) }, vec![2]),
            (DeliveryFilter { webhook: Some(one.id), ..of(Status::Failed) }, vec![1]),
            (DeliveryFilter { webhook: Some(one.id), ..of(Status::Pending) }, vec![]),
            (DeliveryFilter { webhook: Some(unknown), ..none.clone() }, vec![]),
            (DeliveryFilter { event: Some(made[2].0), ..none.clone() }, vec![2]),
            (DeliveryFilter { event: Some(made[2].0), webhook: Some(one.id), ..none.clone() }, vec![]),
            (DeliveryFilter { from: Some(at(2)), to: Some(at(3)), ..none.clone() }, vec![2, 1]),
            (DeliveryFilter { event_type: Some(type_name("x.y")), ..none.clone() }, vec![]),
            (DeliveryFilter { event_type: Some(type_name("invoice.paid")), ..of(Status::Failed) }, vec![1]),
        ] {
            let found: Vec<_> =
                world.all_deliveries(filter.clone()).await.iter().map(|delivery| delivery.id).collect();
            assert_eq!(found, wanted.iter().map(|i| made[*i].1).collect::<Vec<_>>(), "{filter:?} {swept}");
        }
    }
}

pub(crate) async fn lists_are_the_same_before_and_after_upkeep<B: Backend>(world: World<B>) {
    let ([one, _], _) = one_of_each(&world).await;
    world.accept(world.event().to(&one).derived_to("invoice.paid.summary", &one), at(5)).await;
    let events = world.all_events(EventFilter::default()).await;
    let deliveries = world.all_deliveries(DeliveryFilter::default()).await;
    world.sweep(at(6)).await;
    assert_eq!(world.all_events(EventFilter::default()).await, events);
    assert_eq!(world.all_deliveries(DeliveryFilter::default()).await, deliveries);
    let world = world.reopen().await;
    assert_eq!(world.all_events(EventFilter::default()).await, events);
    assert_eq!(world.all_deliveries(DeliveryFilter::default()).await, deliveries);
}

pub(crate) async fn a_filter_that_matches_little_still_fills_the_page<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let mut rare = Vec::new();
    for batch in 0..6 {
        let first = world.event().of_type("rare.one").to(&webhook);
        rare.push((first.event_id(), first.first_delivery()));
        let mut events = vec![first];
        events.extend((0..500).map(|_| world.event().to(&webhook)));
        world.accept_all(events, at(batch)).await;
        if batch == 3 {
            world.sweep(at(batch)).await;
        }
    }
    rare.reverse();
    let event_filter = EventFilter { event_type: Some(type_name("rare.one")), ..Default::default() };
    let (ids, next) = event_page(&world, &event_filter, 4, None).await;
    let (rest, end) = event_page(&world, &event_filter, 4, next).await;
    assert_eq!([ids, rest].concat(), rare.iter().map(|(event, _)| *event).collect::<Vec<_>>());
    assert!(end.is_none());
    let filter = DeliveryFilter { event_type: Some(type_name("rare.one")), ..Default::default() };
    let (ids, next) = delivery_page(&world, &filter, 4, None).await;
    let (rest, end) = delivery_page(&world, &filter, 4, next).await;
    assert_eq!([ids, rest].concat(), rare.iter().map(|(_, delivery)| *delivery).collect::<Vec<_>>());
    assert!(end.is_none());
}

pub(crate) async fn redelivering_makes_a_new_delivery_of_the_same_event<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, first) = world.waiting(&webhook, at(0)).await;
    world.deliver_due(&webhook, at(0)).await;
    let again = new_delivery(&webhook).id;
    let made = world.store.redeliver(world.tenant.no, first, again, by(at(50))).await.unwrap();
    assert_eq!(made, Redelivered::Created { id: again, lane: ordinary(&webhook) });

    let shown = world.read(event).await;
    let states: Vec<_> = shown.deliveries.iter().map(|delivery| (delivery.id, delivery.state)).collect();
    assert_eq!(states, [(first, State::Delivered), (again, State::Pending)]);
    let of_event = DeliveryFilter { event: Some(event), ..Default::default() };
    let listed: Vec<_> = world.all_deliveries(of_event).await.iter().map(|delivery| delivery.id).collect();
    assert_eq!(listed, [again, first]);
    assert!(world.claim(&webhook, at(49)).await.is_empty());
    let claim = world.claim(&webhook, at(50)).await.remove(0);
    assert_eq!((claim.event.id, claim.ticket.id, claim.ticket.attempt), (event, again, 1));
    assert_eq!(claim.open.unwrap().payload.as_str(), r#"{"id":7}"#);
    assert_eq!(world.state(first).await, State::Delivered);
}

pub(crate) async fn what_cannot_be_redelivered_is_refused<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (_, delivery) = world.waiting(&webhook, at(0)).await;
    world.deliver_due(&webhook, at(0)).await;
    let redeliver = async |source| {
        let new = new_delivery(&webhook).id;
        world.store.redeliver(world.tenant.no, source, new, by(at(1))).await.unwrap()
    };
    let bulk = async || {
        world.store.redeliver_all(world.tenant.no, webhook.id, EVERYTHING, false, by(at(1))).await.unwrap()
    };
    assert_eq!(redeliver(DeliveryId::new(at(0), chance())).await, Redelivered::NotFound);
    world.disable(&webhook, true).await;
    assert_eq!(redeliver(delivery).await, Redelivered::WebhookUnavailable);
    assert_eq!(bulk().await, BulkRedelivery::WebhookUnavailable);
    world.store.delete_webhook(world.tenant.no, webhook.id, by(at(2))).await.unwrap().unwrap();
    assert_eq!(redeliver(delivery).await, Redelivered::WebhookUnavailable);
    assert_eq!(bulk().await, BulkRedelivery::NotFound);
    assert_eq!(world.all_deliveries(DeliveryFilter::default()).await.len(), 1);
}

pub(crate) async fn bulk_redelivery_counts_and_makes_each_event_once<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let mut failed_events = Vec::new();
    for number in 0..6 {
        let (event, _) = world.waiting(&webhook, at(number)).await;
        let ticket = world.claim_one(&webhook, at(number)).await;
        if number % 2 == 0 {
            world.settle(failed(&ticket, at(number))).await;
            failed_events.push(event);
        } else {
            world.settle(delivered(&ticket, at(number))).await;
        }
    }
    // One of the failed was tried again, and failed again: still one event.
    let source = world.read(failed_events[0]).await.deliveries[0].id;
    world.store.redeliver(world.tenant.no, source, new_delivery(&webhook).id, by(at(7))).await.unwrap();
    let ticket = world.claim_one(&webhook, at(7)).await;
    world.settle(failed(&ticket, at(7))).await;

    let redeliver = async |filter, dry_run| {
        world.store.redeliver_all(world.tenant.no, webhook.id, filter, dry_run, by(at(10))).await.unwrap()
    };
    let counted = |count| BulkRedelivery::Counted { count, lane: replay(&webhook) };
    let of_failed = || BulkFilter { status: Some(Status::Failed), ..EVERYTHING };
    assert_eq!(redeliver(of_failed(), true).await, counted(3));
    assert_eq!(redeliver(EVERYTHING, true).await, counted(6));
    assert_eq!(
        redeliver(BulkFilter { from: Some(at(1)), to: Some(at(4)), ..of_failed() }, true).await,
        counted(2)
    );
    assert!(world.sweep(at(10)).await.is_empty(), "a dry run makes nothing");

    assert_eq!(redeliver(of_failed(), false).await, counted(3));
    assert_eq!(world.sweep(at(11)).await, [replay(&webhook)]);
    assert!(world.sweep(at(12)).await.is_empty());
    assert!(world.claim(&webhook, at(1000)).await.is_empty(), "new events do not wait behind them");
    let claims = world.claim_lane(replay(&webhook), 100, at(12)).await;
    let mut events: Vec<_> = claims.iter().map(|claim| claim.event.id).collect();
    events.sort_unstable();
    failed_events.sort_unstable();
    assert_eq!(events, failed_events);
    assert!(claims.iter().all(|claim| claim.ticket.attempt == 1 && claim.open.is_some()));
    let ids: HashSet<_> = claims.iter().map(|claim| claim.ticket.id).collect();
    assert_eq!(ids.len(), 3);
    for claim in &claims {
        world.settle(delivered(&claim.ticket, at(13))).await;
    }
    // A second job is another one: it makes them again.
    assert_eq!(redeliver(of_failed(), false).await, counted(3));
    assert_eq!(world.sweep(at(14)).await, [replay(&webhook)]);
    assert_eq!(world.claim_lane(replay(&webhook), 100, at(14)).await.len(), 3);
}

async fn many_failed<B: Backend>(world: &World<B>, webhook: &Webhook, count: usize) {
    let events: Vec<_> = (0..count).map(|_| world.event().to(webhook)).collect();
    world.accept_all(events, at(0)).await;
    loop {
        let claims = world.claim(webhook, at(1)).await;
        if claims.is_empty() {
            break;
        }
        let settlements = claims.iter().map(|claim| failed(&claim.ticket, at(1))).collect();
        world.store.settle(settlements).await.unwrap();
    }
}

pub(crate) async fn bulk_redelivery_goes_on_after_opening_again<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    many_failed(&world, &webhook, 1000).await;
    let world = world.reopen().await;
    world.sweep(at(2)).await;
    let answer =
        world.store.redeliver_all(world.tenant.no, webhook.id, EVERYTHING, false, by(at(3))).await.unwrap();
    assert_eq!(answer, BulkRedelivery::Counted { count: 1000, lane: replay(&webhook) });
    let swept = world.store.sweep(at(4)).await.unwrap();
    assert_eq!(swept.woken, [replay(&webhook)]);
    let world = world.reopen().await;
    let mut made = world.claim_lane(replay(&webhook), 1000, at(4)).await;
    assert!((1..1000).contains(&made.len()), "a slice is short: {}", made.len());
    world.sweep(at(5)).await;
    made.extend(world.claim_lane(replay(&webhook), 1000, at(5)).await);
    let events: HashSet<_> = made.iter().map(|claim| claim.event.id).collect();
    assert_eq!((made.len(), events.len()), (1000, 1000));
}

pub(crate) async fn bulk_redelivery_ends_with_its_webhook<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    many_failed(&world, &webhook, 700).await;
    world.sweep(at(2)).await;
    world.store.redeliver_all(world.tenant.no, webhook.id, EVERYTHING, false, by(at(3))).await.unwrap();
    world.store.sweep(at(4)).await.unwrap();
    let webhook = world.disable(&webhook, true).await;
    let webhook = world.disable(&webhook, false).await;
    world.sweep(at(5)).await;
    assert!(world.claim_lane(replay(&webhook), 1000, at(6)).await.is_empty());
    let cancelled = DeliveryFilter { status: Some(Status::Cancelled), ..Default::default() };
    let cancelled = world.all_deliveries(cancelled).await;
    assert!((1..700).contains(&cancelled.len()), "made before, none after: {}", cancelled.len());
    let reason = State::Cancelled(CancelReason::WebhookDisabled);
    assert!(cancelled.iter().all(|delivery| delivery.state == reason));
}

pub(crate) async fn pending_deliveries_are_counted_up_to_a_bound<B: Backend>(world: World<B>) {
    let (webhook, other) = (world.webhook().await, world.webhook().await);
    for number in 0..5 {
        world.waiting(&webhook, at(number)).await;
    }
    world.waiting(&other, at(0)).await;
    let claims = world.claim_lane(ordinary(&webhook), 2, at(10)).await;
    world.settle(delivered(&claims[0].ticket, at(11))).await;
    let count = async |most| world.store.pending_count(webhook.no, most).await.unwrap();
    assert_eq!((count(100).await, count(3).await), (4, 3));
    let nobody = sealpost_core::id::WebhookNo(999);
    assert_eq!(world.store.pending_count(nobody, 10).await.unwrap(), 0);
}

pub(crate) async fn deliveries_are_measured_since_a_time_newest_first_and_up_to_a_bound<B: Backend>(
    world: World<B>,
) {
    let webhook = world.webhook().await;
    world.waiting(&webhook, at(0)).await;
    let ticket = world.claim_one(&webhook, at(0)).await;
    world.settle(delivered(&ticket, at(1))).await;
    for ms in [20_000, 40_000] {
        world.waiting(&webhook, at(ms)).await;
    }
    let paused = world.webhook().await;
    world.waiting(&paused, at(60_000)).await;
    world.disable(&paused, true).await;
    let measure =
        async |tenant, from, most| world.store.delivery_measures(tenant, at(from), most).await.unwrap();
    let all = measure(world.tenant.no, 0, 9).await;
    let seen: Vec<_> = all.iter().map(|m| (m.created_at, m.status)).collect();
    let (pending, delivered) = (Status::Pending, Status::Delivered);
    let expected = [(60_000, Status::Cancelled), (40_000, pending), (20_000, pending), (0, delivered)];
    assert_eq!(seen, expected.map(|(ms, status)| (at(ms), status)));
    assert!(matches!(all[3], DeliveryMeasure { took_ms: Some(_), .. }) && all[1].took_ms.is_none());
    assert_eq!(measure(world.tenant.no, 20_001, 9).await, all[..2]);
    assert_eq!(measure(world.tenant.no, 0, 2).await, all[..2]);
    assert_eq!(measure(world.tenant.no, 60_001, 9).await, []);
    world.sweep(at(60_001)).await;
    assert_eq!(measure(world.tenant.no, 0, 9).await, all, "the same from the index");
    let (other, _) = world.other_tenant().await;
    assert_eq!(measure(other.no, 0, 9).await, []);
}
