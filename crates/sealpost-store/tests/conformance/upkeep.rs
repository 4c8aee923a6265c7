//! Retention, erasure, and the rest of housekeeping.

use std::time::Duration;

use sealpost_core::delivery::{CancelReason, State, Status};
use sealpost_core::id::{ErasureId, EventId};
use sealpost_core::tenant::Retention;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::history::{DeliveryFilter, EventFilter, PayloadState, Redelivered};
use sealpost_store::inbox::{Accepted, RepeatKey};
use sealpost_store::registry::NewTenant;
use sealpost_store::upkeep::{Erasure, ErasureScope, Swept};

use super::Backend;
use super::world::{
    DAY, World, at, by, chance, delivered, failed, new_delivery, new_tenant, ordinary, replay, retried,
};

const ERASED: State = State::Cancelled(CancelReason::PayloadErased);
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn sweeping_an_idle_store_does_nothing<B: Backend>(world: World<B>) {
    assert_eq!(world.store.sweep(at(0)).await.unwrap(), Swept::default());
    let webhook = world.webhook().await;
    world.waiting(&webhook, at(0)).await;
    world.sweep(at(1)).await;
    assert_eq!(world.store.sweep(at(1)).await.unwrap(), Swept::default());
    assert_eq!(world.claim(&webhook, at(1)).await.len(), 1);
}

pub(crate) async fn a_stale_lane_is_rewritten_in_slices<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let events: Vec<_> = (0..900).map(|_| world.event().to(&webhook)).collect();
    world.accept_all(events, at(0)).await;
    world.disable(&webhook, true).await;
    let mut slices = 0;
    while world.store.sweep(at(1)).await.unwrap().rows > 0 {
        slices += 1;
        let cancelled = DeliveryFilter { status: Some(Status::Cancelled), ..Default::default() };
        assert_eq!(world.all_deliveries(cancelled).await.len(), 900, "all of them are cancelled at any time");
    }
    assert!(slices > 1, "{slices}");
    assert!(world.store.lanes(None, 10).await.unwrap().is_empty());
}

/// Whether the payload is kept after sweeping at this time.
async fn kept<B: Backend>(world: &World<B>, event: EventId, now: Timestamp) -> bool {
    world.sweep(now).await;
    match world.payload(event).await.as_str() {
        "Pruned" => false,
        payload => payload.starts_with('{'),
    }
}

pub(crate) async fn payloads_go_a_day_after_delivery_and_a_week_after_failure<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let nobody = world.accept(world.event(), at(0)).await.id;
    let (good, _) = world.waiting(&webhook, at(0)).await;
    world.deliver_due(&webhook, at(1000)).await;
    let (bad, bad_delivery) = world.waiting(&webhook, at(0)).await;
    let ticket = world.claim_one(&webhook, at(1000)).await;
    let mut settlement = failed(&ticket, at(1000));
    settlement.attempt.excerpt = Some(b"no".to_vec());
    world.settle(settlement).await;

    // An attempt that began at 1000 and took 100 ends at 1100.
    let ended = at(1100);
    let just_before = |after| ended + after - Duration::from_millis(1);
    assert!(kept(&world, good, just_before(DAY)).await);
    assert!(!kept(&world, good, ended + DAY).await);
    assert!(!kept(&world, nobody, ended + DAY).await);
    assert!(kept(&world, bad, just_before(7 * DAY)).await);
    assert_eq!(world.detail(bad_delivery).await.attempts[0].excerpt.as_deref(), Some(b"no".as_slice()));
    assert!(!kept(&world, bad, ended + 7 * DAY).await);
    assert_eq!(world.detail(bad_delivery).await.attempts[0].excerpt, None);
    // The rest of it stays.
    assert_eq!(world.read(good).await.deliveries[0].state, State::Delivered);
    assert_eq!(world.read(good).await.payload, PayloadState::Pruned);
    assert_eq!(world.store.sweep(ended + 7 * DAY).await.unwrap().rows, 0);
}

pub(crate) async fn a_payload_is_kept_while_anything_is_pending<B: Backend>(world: World<B>) {
    let (one, two) = (world.webhook().await, world.webhook().await);
    let event = world.event().to(&one).derived_to("invoice.paid.summary", &two);
    let event = world.accept(event, at(0)).await.id;
    world.deliver_due(&one, at(0)).await;
    let late = at(0) + 5 * DAY;
    assert!(kept(&world, event, at(0) + 2 * DAY).await);
    assert!(kept(&world, event, late).await);
    // Of the event that shares it.
    assert_eq!(world.deliver_due(&two, late).await, 1);
    assert!(kept(&world, event, late + DAY).await);
    assert!(!kept(&world, event, late + DAY + 60 * MINUTE).await);
}

pub(crate) async fn a_redelivery_keeps_the_payload_longer<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    world.deliver_due(&webhook, at(0)).await;
    let new = new_delivery(&webhook).id;
    world.store.redeliver(world.tenant.no, delivery, new, by(at(0) + DAY / 2)).await.unwrap();
    assert!(kept(&world, event, at(0) + 2 * DAY).await);
    assert_eq!(world.deliver_due(&webhook, at(0) + 2 * DAY).await, 1);
    assert!(kept(&world, event, at(0) + 3 * DAY).await);
    assert!(!kept(&world, event, at(0) + 3 * DAY + 61 * MINUTE).await);
}

pub(crate) async fn a_webhook_that_keeps_nothing_loses_the_payload_at_the_end_of_its_delivery<B: Backend>(
    world: World<B>,
) {
    let (forgets, keeps) = (world.forgetful_webhook().await, world.webhook().await);
    let (alone, _) = world.waiting(&forgets, at(0)).await;
    let shared = world.accept(world.event().to(&forgets).to(&keeps), at(0)).await.id;
    assert!(kept(&world, alone, at(1)).await);
    assert_eq!(world.deliver_due(&forgets, at(1)).await, 2);
    assert!(!kept(&world, alone, at(200)).await);
    // Somebody else may still need it, and keeps it for the usual time.
    assert!(kept(&world, shared, at(200)).await);
    world.deliver_due(&keeps, at(300)).await;
    assert!(kept(&world, shared, at(400)).await);
    assert!(!kept(&world, shared, at(400) + DAY + 61 * MINUTE).await);

    // Ended otherwise than by delivery.
    let (cancelled, _) = world.waiting(&forgets, at(500)).await;
    world.disable(&forgets, true).await;
    assert!(!kept(&world, cancelled, at(600)).await);
}

pub(crate) async fn metadata_goes_after_its_time_but_never_what_is_pending<B: Backend>(world: World<B>) {
    let (webhook, slow) = (world.webhook().await, world.webhook().await);
    let old =
        world.accept(world.event().to(&webhook).derived_to("invoice.paid.summary", &webhook), at(0)).await.id;
    let derived = world.hasher.derived_event(old);
    assert_eq!(world.deliver_due(&webhook, at(0)).await, 2);
    let (pending, pending_delivery) = world.waiting(&slow, at(0)).await;
    let (young, _) = world.waiting(&webhook, at(0) + 10 * DAY).await;
    world.deliver_due(&webhook, at(0) + 10 * DAY).await;
    let ids =
        async || world.all_events(EventFilter::default()).await.iter().map(|e| e.id).collect::<Vec<_>>();

    world.sweep(at(0) + 29 * DAY).await;
    assert_eq!(ids().await, [young, pending, derived, old]);
    world.sweep(at(1) + 30 * DAY).await;
    assert_eq!(ids().await, [young, pending]);
    for gone in [old, derived] {
        assert_eq!(world.store.event(world.tenant.no, gone).await.unwrap(), None);
        assert_eq!(world.payload(gone).await, "NotFound");
    }
    assert_eq!(world.all_deliveries(DeliveryFilter::default()).await.len(), 2);
    let of_webhook = DeliveryFilter { webhook: Some(webhook.id), ..Default::default() };
    assert_eq!(world.all_deliveries(of_webhook).await.len(), 1);

    // What was pending is still worked, and goes when it has ended.
    let late = at(0) + 31 * DAY;
    let ticket = world.claim_one(&slow, late).await;
    assert_eq!(ticket.id, pending_delivery);
    world.settle(delivered(&ticket, late)).await;
    world.sweep(late + 2 * DAY).await;
    assert_eq!(ids().await, [young]);
    world.sweep(at(0) + 50 * DAY).await;
    assert!(ids().await.is_empty());

    // Numbers are never given twice, so that no cursor and no leftover points at somebody else's row.
    let world = world.reopen().await;
    let (fresh, _) = world.waiting(&webhook, at(0) + 50 * DAY).await;
    world.deliver_due(&webhook, at(0) + 50 * DAY).await;
    world.sweep(at(0) + 50 * DAY).await;
    assert_eq!(world.all_events(EventFilter::default()).await[0].id, fresh);
}

pub(crate) async fn a_forgotten_id_and_key_are_free_again<B: Backend>(world: World<B>) {
    let id = EventId::new(at(0), chance());
    let key = |n: u8| RepeatKey { key: [n; 32], content: [n; 32], events: 0..1 };
    world.accept(world.event().id(id).subject("holder 7"), at(0)).await;
    world.try_accept(vec![world.event()], vec![key(1)], at(0)).await;
    let later = at(0) + 32 * DAY;
    world.sweep(later).await;

    let again = world.accept(world.event().id(id), later).await;
    assert!(!again.repeated);
    let answer = world.try_accept(vec![world.event()], vec![key(1)], later).await;
    let Accepted::Events(events) = answer else { panic!("{answer:?}") };
    assert!(!events[0].repeated);
    let answer = world.try_accept(vec![world.event()], vec![key(1)], later).await;
    let Accepted::Events(again) = answer else { panic!("{answer:?}") };
    assert_eq!((again[0].repeated, again[0].id), (true, events[0].id));
    // The subject of the forgotten event reaches nobody.
    let subject = ErasureScope::Subject(world.hasher.subject("holder 7"));
    assert_eq!(world.erase(subject, later).await, 0);
}

pub(crate) async fn a_key_is_free_as_soon_as_its_event_is_forgotten<B: Backend>(world: World<B>) {
    let key = || RepeatKey { key: [1; 32], content: [1; 32], events: 0..1 };
    world.try_accept(vec![world.event()], vec![key()], at(0)).await;
    // Leftover keys are collected once a day: the second sweep forgets the event and leaves its key.
    world.sweep(at(0) + 30 * DAY - MINUTE).await;
    let later = at(0) + 30 * DAY + 60 * MINUTE;
    world.sweep(later).await;
    let answer = world.try_accept(vec![world.event()], vec![key()], later).await;
    let Accepted::Events(events) = answer else { panic!("{answer:?}") };
    assert!(!events[0].repeated);
    let answer = world.try_accept(vec![world.event()], vec![key()], later).await;
    let Accepted::Events(again) = answer else { panic!("{answer:?}") };
    assert_eq!((again[0].repeated, again[0].id), (true, events[0].id));
}

pub(crate) async fn a_cancelled_payload_is_kept_from_its_cancellation<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    let late = at(0) + 6 * DAY;
    world.store.cancel(world.tenant.no, delivery, CancelReason::ByHand, by(late)).await.unwrap();
    assert!(kept(&world, event, at(0) + 8 * DAY).await);
    assert!(kept(&world, event, late + 7 * DAY - MINUTE).await);
    assert!(!kept(&world, event, late + 7 * DAY + 61 * MINUTE).await);
}

pub(crate) async fn erasing_by_event_cancels_what_is_pending_and_answers_erased<B: Backend>(world: World<B>) {
    let (one, two) = (world.webhook().await, world.webhook().await);
    let event = world.event().to(&one).to(&two);
    let event = world.accept(event, at(0)).await.id;
    world.deliver_due(&one, at(0)).await;
    let (other, _) = world.waiting(&two, at(0)).await;
    let unknown = EventId::new(at(0), chance());

    assert_eq!(world.erase(ErasureScope::Events(vec![event, unknown, event]), at(1)).await, 1);
    let shown = world.read(event).await;
    assert_eq!(shown.payload, PayloadState::Erased);
    assert_eq!(shown.deliveries.iter().map(|d| d.state).collect::<Vec<_>>(), [State::Delivered, ERASED]);
    assert_eq!(world.payload(event).await, "Erased");
    assert_eq!(world.payload(other).await, r#"{"id":7}"#);
    let claims = world.claim(&two, at(2)).await;
    assert_eq!(claims.iter().map(|claim| claim.event.id).collect::<Vec<_>>(), [other]);
    let world = world.reopen().await;
    assert_eq!(world.payload(event).await, "Erased");
    // Erased stays erased, whatever retention says later.
    world.sweep(at(0) + 10 * DAY).await;
    assert_eq!(world.payload(event).await, "Erased");
}

pub(crate) async fn erasing_by_subject_reaches_every_event_of_it_and_no_other<B: Backend>(world: World<B>) {
    let mut ids = Vec::new();
    for subjects in [&["a"][..], &["b"], &["a", "b"], &[]] {
        let event = subjects.iter().fold(world.event(), |event, subject| event.subject(subject));
        ids.push(world.accept(event, at(0)).await.id);
    }
    let (tenant, hasher) = world.other_tenant().await;
    let foreign = super::world::EventMaker::new(&hasher).subject("a");
    let foreign_id = foreign.event_id();
    let request = sealpost_store::inbox::Accept {
        tenant: tenant.no,
        registry_version: world.store.registry_delta(tenant.no, 0).await.unwrap().version,
        now: at(0),
        events: vec![foreign.finish()],
        keys: Vec::new(),
    };
    world.store.accept(request).await.unwrap();

    assert_eq!(world.erase(ErasureScope::Subject(world.hasher.subject("a")), at(1)).await, 2);
    let mut left = Vec::new();
    for id in &ids {
        left.push(world.payload(*id).await != "Erased");
    }
    assert_eq!(left, [false, true, false, true]);
    assert_eq!(world.erase(ErasureScope::Subject(world.hasher.subject("nobody")), at(2)).await, 0);
    let foreign = world.store.event(tenant.no, foreign_id).await.unwrap().unwrap();
    assert_eq!(foreign.payload, PayloadState::Kept);
}

pub(crate) async fn erasing_by_range_is_inclusive_and_of_one_tenant<B: Backend>(world: World<B>) {
    let mut ids = Vec::new();
    for ms in [10, 20, 20, 30, 40, 50_000] {
        ids.push(world.accept(world.event(), at(ms)).await.id);
    }
    assert_eq!(world.erase(ErasureScope::Range { from: at(20), to: at(30) }, at(60_000)).await, 3);
    let mut left = Vec::new();
    for id in &ids {
        left.push(world.payload(*id).await != "Erased");
    }
    assert_eq!(left, [true, false, false, false, true, true]);
    let (other, _) = world.other_tenant().await;
    let erasure = Erasure {
        id: ErasureId::new(at(0), chance()),
        tenant: other.no,
        scope: ErasureScope::Range { from: at(0), to: at(100_000) },
        by: by(at(60_000)),
    };
    assert_eq!(world.store.erase(erasure).await.unwrap(), 0);
    assert_eq!(world.payload(ids[0]).await, r#"{"id":7}"#);
}

pub(crate) async fn erasing_one_of_a_derived_pair_erases_both<B: Backend>(world: World<B>) {
    let (full, summary) = (world.webhook().await, world.webhook().await);
    for by_derived in [false, true] {
        let event = world.event().to(&full).derived_to("invoice.paid.summary", &summary);
        let id = world.accept(event, at(0)).await.id;
        let derived = world.hasher.derived_event(id);
        let named = if by_derived { derived } else { id };
        assert_eq!(world.erase(ErasureScope::Events(vec![named]), at(1)).await, 1);
        for erased in [id, derived] {
            assert_eq!(world.payload(erased).await, "Erased");
            assert_eq!(world.read(erased).await.deliveries[0].state, ERASED);
        }
    }
    assert!(world.store.lanes(None, 10).await.unwrap().is_empty());
}

pub(crate) async fn an_erased_event_that_is_being_sent_is_not_retried<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    for (arrives, end) in [(false, ERASED), (true, State::Delivered)] {
        let (event, delivery) = world.waiting(&webhook, at(0)).await;
        let ticket = world.claim_one(&webhook, at(0)).await;
        world.erase(ErasureScope::Events(vec![event]), at(1)).await;
        assert_eq!(world.state(delivery).await, State::Pending);
        let mut settlement = if arrives { delivered(&ticket, at(2)) } else { retried(&ticket, at(2), at(9)) };
        settlement.attempt.excerpt = Some(b"late".to_vec());
        world.settle(settlement).await;
        let shown = world.detail(delivery).await;
        assert_eq!((shown.delivery.state, shown.attempts[0].excerpt.as_deref()), (end, None));
    }
    assert!(world.claim(&webhook, at(100)).await.is_empty());
}

pub(crate) async fn idempotency_answers_after_erasure<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let id = EventId::new(at(0), chance());
    let publication = || world.event().id(id).to(&webhook);
    world.accept(publication(), at(0)).await;
    world.erase(ErasureScope::Events(vec![id]), at(1)).await;
    let again = world.accept(publication(), at(2)).await;
    assert_eq!((again.id, again.repeated, again.deliveries), (id, true, 1));
    let other = world.try_accept(vec![publication().payload(r#"{"id":8}"#)], vec![], at(3)).await;
    assert!(matches!(other, Accepted::Conflict { index: 0 }));
    assert_eq!(world.payload(id).await, "Erased");
    assert!(world.claim(&webhook, at(4)).await.is_empty());
}

pub(crate) async fn erasing_twice_under_one_id_counts_once<B: Backend>(world: World<B>) {
    let event = world.accept(world.event(), at(0)).await.id;
    let erasure = Erasure {
        id: ErasureId::new(at(0), chance()),
        tenant: world.tenant.no,
        scope: ErasureScope::Events(vec![event]),
        by: by(at(1)),
    };
    assert_eq!(world.store.erase(erasure.clone()).await.unwrap(), 1);
    assert_eq!(world.store.erase(erasure.clone()).await.unwrap(), 1);
    let other = Erasure { id: ErasureId::new(at(0), chance()), ..erasure };
    assert_eq!(world.store.erase(other).await.unwrap(), 0);
}

pub(crate) async fn an_erased_payload_cannot_be_redelivered<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    world.deliver_due(&webhook, at(0)).await;
    world.erase(ErasureScope::Events(vec![event]), at(1)).await;
    let new = new_delivery(&webhook).id;
    let answer = world.store.redeliver(world.tenant.no, delivery, new, by(at(2))).await.unwrap();
    assert_eq!(answer, Redelivered::PayloadGone);
    let everything = sealpost_store::history::BulkFilter { from: None, to: None, status: None };
    let bulk =
        world.store.redeliver_all(world.tenant.no, webhook.id, everything, false, by(at(2))).await.unwrap();
    let lane = replay(&webhook);
    assert_eq!(bulk, sealpost_store::history::BulkRedelivery::Counted { count: 0, lane });
    assert!(world.sweep(at(3)).await.is_empty());
}

pub(crate) async fn statistics_count_what_was_done<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let before = world.store.stats().await.unwrap();
    let ticket = world.accept(world.event().claimed_to(&webhook), at(0)).await.claims[0];
    world.settle(delivered(&ticket, at(1))).await;
    let after = world.store.stats().await.unwrap();
    assert_eq!((after.accepts - before.accepts, after.settles - before.settles), (1, 1));
    assert_eq!(after.delivery_writes - before.delivery_writes, 2, "accept and settle, nothing else");
    assert_eq!(after.commits - before.commits, 2);
    world.waiting(&webhook, at(2)).await;
    world.claim_lane(ordinary(&webhook), 1, at(2)).await;
    let last = world.store.stats().await.unwrap();
    assert_eq!(last.claims - after.claims, 1);
    assert!(last.file_bytes > 0 && last.free_disk_bytes.is_none_or(|bytes| bytes > 0));
}

pub(crate) async fn a_healthy_store_has_only_good_findings<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    world.waiting(&webhook, at(0)).await;
    let findings = world.store.examine().await.unwrap();
    assert!(findings.len() > 3);
    assert!(findings.iter().all(|finding| finding.ok && finding.advice.is_none()), "{findings:?}");

    // Nobody can say what became of this one.
    let ticket = world.claim_one(&webhook, at(0)).await;
    let mut settlement = failed(&ticket, at(1));
    settlement.next =
        sealpost_store::queue::Next::End(State::Failed(sealpost_core::delivery::FailReason::OutcomeUnknown));
    world.settle(settlement).await;
    let findings = world.store.examine().await.unwrap();
    let bad: Vec<_> = findings.iter().filter(|finding| !finding.ok).collect();
    assert_eq!(bad.len(), 1);
    assert!(bad[0].what.starts_with("1 deliver") && bad[0].advice.is_some(), "{bad:?}");
}

pub(crate) async fn a_closed_store_refuses<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let version = world.version().await;
    world.store.close().await.unwrap();
    world.store.close().await.unwrap();
    let request = sealpost_store::inbox::Accept {
        tenant: world.tenant.no,
        registry_version: version,
        now: at(0),
        events: Vec::new(),
        keys: Vec::new(),
    };
    assert!(matches!(world.store.accept(request).await, Err(StoreError::Closed)));
    assert!(matches!(world.store.lanes(None, 1).await, Err(StoreError::Closed)));
    assert!(matches!(world.store.webhook(world.tenant.no, webhook.id).await, Err(StoreError::Closed)));
}

/// Tenants keep for different times.
pub(crate) async fn each_tenant_keeps_for_its_own_time<B: Backend>(world: World<B>) {
    let hour = Duration::from_secs(3600);
    let retention =
        Retention { payload_after_delivered: hour, payload_after_failed: 2 * hour, metadata: 3 * hour };
    let brief = world
        .store
        .create_tenant(NewTenant { retention, ..new_tenant("brief") }, by(at(0)))
        .await
        .unwrap()
        .unwrap();
    let hasher = world.store.hasher(brief.no).await.unwrap().unwrap();
    let long = world.accept(world.event(), at(0)).await.id;
    let world = World { tenant: brief, hasher, ..world };
    let short = world.accept(world.event(), at(1)).await.id;
    assert!(kept(&world, short, at(0) + hour).await);
    assert!(!kept(&world, short, at(1) + hour).await);
    world.sweep(at(1) + 3 * hour).await;
    assert_eq!(world.payload(short).await, "NotFound");
    let first = world.store.tenants().await.unwrap().remove(0);
    let long = world.store.event(first.no, long).await.unwrap().unwrap();
    assert_eq!(long.payload, PayloadState::Kept);
}
