//! Claims, settlements, epochs, orphans.

use sealpost_core::delivery::{CancelReason, FailReason, State};
use sealpost_core::event_type::EventTypeName;
use sealpost_core::health::HealthChange;
use sealpost_core::lane::LaneNo;
use sealpost_core::outcome::Outcome;
use sealpost_store::history::DeliveryFilter;
use sealpost_store::queue::{LaneHint, Next, Settled, Want};
use sealpost_store::registry::WebhookChange;

use super::Backend;
use super::world::{World, at, by, delivered, failed, ordinary, replay, retried, unknown, url};

const DISABLED: State = State::Cancelled(CancelReason::WebhookDisabled);
const DELETED: State = State::Cancelled(CancelReason::WebhookDeleted);
const BY_HAND: State = State::Cancelled(CancelReason::ByHand);

fn settled(state: State) -> Settled {
    Settled::Settled { state, health: None }
}

pub(crate) async fn a_claim_raises_the_attempt_and_the_fence<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    let first = world.claim(&webhook, at(0)).await.remove(0);
    assert_eq!(
        (first.event.id, first.event.event_type.clone()),
        (event, EventTypeName::parse("invoice.paid").unwrap())
    );
    assert_eq!(
        (first.ticket.id, first.ticket.webhook, first.ticket.lane),
        (delivery, webhook.no, ordinary(&webhook))
    );
    assert_eq!((first.ticket.attempt, first.ticket.lane_epoch), (1, webhook.lane_epoch));
    assert_eq!(world.detail(delivery).await.delivery.attempts_used, 1);

    world.settle(retried(&first.ticket, at(1), at(10))).await;
    let second = world.claim_one(&webhook, at(10)).await;
    assert_eq!(second.attempt, 2);
    assert!(second.fence > first.ticket.fence);
    assert_eq!(world.detail(delivery).await.delivery.attempts_used, 2);
}

pub(crate) async fn nothing_is_claimed_before_it_is_due<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    world.waiting(&webhook, at(100)).await;
    assert!(world.claim(&webhook, at(99)).await.is_empty());
    assert_eq!(world.claim(&webhook, at(100)).await.len(), 1);
    assert!(world.claim(&webhook, at(1_000_000_000)).await.is_empty());
}

pub(crate) async fn claims_come_in_order_of_due_time_and_in_the_wanted_number<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let mut deliveries = Vec::new();
    for due in [30, 10, 20, 10] {
        deliveries.push(world.waiting(&webhook, at(due)).await.1);
    }
    let lane = ordinary(&webhook);
    let first: Vec<_> = world.claim_lane(lane, 3, at(50)).await.iter().map(|claim| claim.ticket.id).collect();
    assert_eq!(first, [deliveries[1], deliveries[3], deliveries[2]]);
    let rest: Vec<_> = world.claim_lane(lane, 3, at(50)).await.iter().map(|claim| claim.ticket.id).collect();
    assert_eq!(rest, [deliveries[0]]);
}

pub(crate) async fn claims_stop_at_the_wanted_bytes<B: Backend>(world: World<B>) {
    let (one, two) = (world.webhook().await, world.webhook().await);
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(100));
    for webhook in [&one, &one, &two] {
        world.accept(world.event().payload(&large).to(webhook), at(0)).await;
    }
    let wants = || [&one, &two].map(|webhook| Want { lane: ordinary(webhook), most: 10 }).to_vec();
    let claim = async |most_bytes| {
        let lanes = world.store.claim(wants(), at(0), most_bytes).await.unwrap();
        lanes.iter().map(|lane| lane.claims.len()).collect::<Vec<_>>()
    };
    assert_eq!(claim(large.len() - 1).await, [0, 0]);
    assert_eq!(claim(large.len()).await, [1, 0]);
    assert_eq!(claim(2 * large.len()).await, [1, 1]);
}

pub(crate) async fn the_next_due_time_of_a_lane_is_told<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let next_due = async |most, now| {
        let wants = vec![Want { lane: ordinary(&webhook), most }];
        world.store.claim(wants, now, usize::MAX).await.unwrap()[0].next_due
    };
    assert_eq!(next_due(1, at(0)).await, None);
    world.waiting(&webhook, at(10)).await;
    world.waiting(&webhook, at(20)).await;
    assert_eq!(next_due(1, at(5)).await, Some(at(10)));
    assert_eq!(next_due(1, at(10)).await, Some(at(20)));
    assert_eq!(next_due(1, at(20)).await, None);
}

pub(crate) async fn a_settled_delivery_is_over<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let mut ends = Vec::new();
    for _ in 0..2 {
        ends.push(world.waiting(&webhook, at(0)).await.1);
    }
    let claims = world.claim(&webhook, at(0)).await;
    assert_eq!(world.settle(delivered(&claims[0].ticket, at(1))).await, settled(State::Delivered));
    let exhausted = State::Failed(FailReason::AttemptsExhausted);
    assert_eq!(world.settle(failed(&claims[1].ticket, at(1))).await, settled(exhausted));
    assert_eq!(world.state(claims[0].ticket.id).await, State::Delivered);
    assert_eq!(world.state(claims[1].ticket.id).await, exhausted);
    assert!(world.claim(&webhook, at(1_000_000_000)).await.is_empty());
    let world = world.reopen().await;
    assert_eq!(world.state(claims[0].ticket.id).await, State::Delivered);
    assert!(world.store.orphans(10).await.unwrap().is_empty());
}

pub(crate) async fn a_retry_waits_for_its_time<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (_, delivery) = world.waiting(&webhook, at(0)).await;
    let ticket = world.claim_one(&webhook, at(0)).await;
    assert_eq!(world.settle(retried(&ticket, at(1), at(500))).await, settled(State::Pending));
    let shown = world.detail(delivery).await.delivery;
    assert_eq!((shown.state, shown.due_at, shown.attempts_used), (State::Pending, Some(at(500)), 1));
    assert!(world.claim(&webhook, at(499)).await.is_empty());
    assert_eq!(world.claim_one(&webhook, at(500)).await.attempt, 2);
}

pub(crate) async fn settling_twice_is_told_apart_from_settling_late<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (_, delivery) = world.waiting(&webhook, at(0)).await;
    let first = world.claim_one(&webhook, at(0)).await;
    let settlement = retried(&first, at(1), at(10));
    assert_eq!(world.settle(settlement.clone()).await, settled(State::Pending));
    assert_eq!(world.settle(settlement.clone()).await, Settled::Already);
    let second = world.claim_one(&webhook, at(10)).await;
    assert_eq!(world.settle(settlement.clone()).await, Settled::Stale);
    assert_eq!(world.settle(delivered(&second, at(11))).await, settled(State::Delivered));
    assert_eq!(world.settle(delivered(&second, at(11))).await, Settled::Already);
    assert_eq!(world.settle(settlement).await, Settled::Stale);
    assert_eq!(world.detail(delivery).await.attempts.len(), 2);
    // In one call: each is answered on its own, in order.
    let (_, _) = world.waiting(&webhook, at(20)).await;
    let third = world.claim_one(&webhook, at(20)).await;
    let answers = world.store.settle(vec![failed(&first, at(21)), delivered(&third, at(21))]).await.unwrap();
    assert_eq!(answers, [Settled::Stale, settled(State::Delivered)]);
}

pub(crate) async fn a_lost_claim_changes_nothing<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (_, delivery) = world.waiting(&webhook, at(0)).await;
    let lost = world.claim_one(&webhook, at(0)).await;
    world.store.unclaim(vec![lost], at(0)).await.unwrap();
    let held = world.claim_one(&webhook, at(0)).await;

    assert_eq!(world.settle(delivered(&lost, at(1))).await, Settled::Stale);
    world.store.unclaim(vec![lost], at(0)).await.unwrap();
    assert!(world.claim(&webhook, at(1)).await.is_empty());
    assert_eq!(world.state(delivery).await, State::Pending);
    assert!(world.detail(delivery).await.attempts.is_empty());
    assert_eq!(world.settle(delivered(&held, at(2))).await, settled(State::Delivered));
}

pub(crate) async fn an_unclaimed_attempt_was_never_used<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let event = world.event().claimed_to(&webhook);
    let delivery = event.first_delivery();
    let ticket = world.accept(event, at(0)).await.claims[0];
    world.store.unclaim(vec![ticket], at(40)).await.unwrap();
    let shown = world.detail(delivery).await;
    assert_eq!((shown.delivery.attempts_used, shown.delivery.due_at), (0, Some(at(40))));
    assert!(shown.attempts.is_empty());

    assert!(world.claim(&webhook, at(39)).await.is_empty());
    let again = world.claim_one(&webhook, at(40)).await;
    assert_eq!((again.attempt, again.only_unknown_before), (1, true));
    assert!(again.fence > ticket.fence);
    let world = world.reopen().await;
    assert_eq!(world.store.orphans(10).await.unwrap().len(), 1);
}

pub(crate) async fn a_send_that_began_before_disabling_may_end_but_is_not_retried<B: Backend>(
    world: World<B>,
) {
    let webhook = world.webhook().await;
    for _ in 0..3 {
        world.waiting(&webhook, at(0)).await;
    }
    let claims = world.claim(&webhook, at(0)).await;
    let webhook = world.disable(&webhook, true).await;
    assert_eq!(world.state(claims[0].ticket.id).await, State::Pending, "it is being sent");
    assert_eq!(world.settle(delivered(&claims[0].ticket, at(1))).await, settled(State::Delivered));
    assert_eq!(world.settle(retried(&claims[1].ticket, at(1), at(10))).await, settled(DISABLED));
    assert_eq!(world.detail(claims[1].ticket.id).await.attempts.len(), 1);
    // Enabling again in between changes nothing: the epoch rose.
    let webhook = world.disable(&webhook, false).await;
    assert_eq!(world.settle(retried(&claims[2].ticket, at(1), at(10))).await, settled(DISABLED));
    assert!(world.claim(&webhook, at(1_000)).await.is_empty());
}

pub(crate) async fn pending_rows_of_a_disabled_webhook_are_cancelled_at_once<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    world.disable(&webhook, true).await;
    assert_eq!(world.state(delivery).await, DISABLED);
    assert_eq!(world.detail(delivery).await.delivery.due_at, None);
    assert_eq!(world.read(event).await.deliveries[0].state, DISABLED);
    assert_eq!(world.all_deliveries(DeliveryFilter::default()).await[0].state, DISABLED);
    assert!(world.claim(&webhook, at(10)).await.is_empty());
    assert_eq!(world.store.pending_count(webhook.no, 100).await.unwrap(), 0);
    world.sweep(at(20)).await;
    assert_eq!(world.state(delivery).await, DISABLED);
    assert!(world.store.lanes(None, 10).await.unwrap().is_empty());
}

pub(crate) async fn pending_rows_of_a_deleted_webhook_are_cancelled_at_once<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    let (_, sending) = world.waiting(&webhook, at(5)).await;
    let ticket = world.claim_lane(ordinary(&webhook), 1, at(0)).await.remove(0).ticket;
    assert_eq!(ticket.id, delivery);
    world.store.delete_webhook(world.tenant.no, webhook.id, by(at(6))).await.unwrap().unwrap();
    assert_eq!(world.state(sending).await, DELETED);
    assert!(world.claim(&webhook, at(10)).await.is_empty());
    assert_eq!(world.settle(retried(&ticket, at(7), at(9))).await, settled(DELETED));
    world.sweep(at(20)).await;
    // History keeps naming the webhook that is gone.
    let shown = world.read(event).await;
    assert_eq!((shown.deliveries[0].webhook, shown.deliveries[0].state), (webhook.id, DELETED));
    assert_eq!(world.state(sending).await, DELETED);
}

pub(crate) async fn enabling_again_does_not_revive_what_was_cancelled<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (_, before) = world.waiting(&webhook, at(0)).await;
    let webhook = world.disable(&webhook, true).await;
    let webhook = world.disable(&webhook, false).await;
    let (_, after) = world.waiting(&webhook, at(1)).await;
    assert_eq!((world.state(before).await, world.state(after).await), (DISABLED, State::Pending));
    let claimed: Vec<_> = world.claim(&webhook, at(10)).await.iter().map(|claim| claim.ticket.id).collect();
    assert_eq!(claimed, [after]);
    world.sweep(at(20)).await;
    assert_eq!(world.state(before).await, DISABLED);
}

pub(crate) async fn a_change_of_url_cancels_nothing<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (_, delivery) = world.waiting(&webhook, at(0)).await;
    let webhook = world
        .change(&webhook, WebhookChange { url: Some(url("https://example.org/")), ..Default::default() })
        .await;
    assert_eq!(world.state(delivery).await, State::Pending);
    assert_eq!(world.claim(&webhook, at(0)).await.len(), 1);
}

pub(crate) async fn lanes_are_listed_once_with_their_earliest_due_time<B: Backend>(world: World<B>) {
    let webhooks = [world.webhook().await, world.webhook().await, world.webhook().await];
    for (webhook, due) in [(0, 50), (0, 20), (2, 30), (2, 40), (1, 10)] {
        world.waiting(&webhooks[webhook], at(due)).await;
    }
    // In flight is not waiting.
    world.claim(&webhooks[1], at(10)).await;
    let hint = |webhook: usize, due| LaneHint {
        lane: ordinary(&webhooks[webhook]),
        tenant: world.tenant.no,
        next_due: at(due),
    };
    assert_eq!(world.store.lanes(None, 10).await.unwrap(), [hint(0, 20), hint(2, 30)]);
    assert_eq!(world.store.lanes(None, 1).await.unwrap(), [hint(0, 20)]);
    assert_eq!(world.store.lanes(Some(hint(0, 20).lane), 1).await.unwrap(), [hint(2, 30)]);
    assert!(world.store.lanes(Some(replay(&webhooks[2])), 10).await.unwrap().is_empty());
    assert!(LaneNo::replay(webhooks[0].no) > hint(0, 0).lane);
}

pub(crate) async fn orphans_appear_after_opening_again_and_only_then<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let mut tickets = Vec::new();
    for due in 0..3 {
        world.waiting(&webhook, at(due)).await;
        tickets.push(world.claim_one(&webhook, at(due)).await);
    }
    world.waiting(&webhook, at(10)).await;
    assert!(world.store.orphans(10).await.unwrap().is_empty());

    let world = world.reopen().await;
    assert_eq!(world.store.orphans(10).await.unwrap(), tickets);
    assert_eq!(world.store.orphans(2).await.unwrap(), tickets[..2]);
    // An orphan is not waiting: nothing sends it again by itself.
    assert_eq!(world.claim(&webhook, at(1_000_000_000)).await.len(), 1);
    let world = world.reopen().await;
    assert_eq!(world.store.orphans(10).await.unwrap().len(), 4);
}

pub(crate) async fn an_orphan_is_settled_like_any_claim<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (_, delivery) = world.waiting(&webhook, at(0)).await;
    world.claim_one(&webhook, at(0)).await;
    let world = world.reopen().await;
    let orphan = world.store.orphans(1).await.unwrap().remove(0);
    let settlement = unknown(&orphan, at(0), Next::RetryAt(at(100)));
    assert_eq!(world.settle(settlement.clone()).await, settled(State::Pending));
    assert_eq!(world.settle(settlement).await, Settled::Already);
    assert!(world.store.orphans(1).await.unwrap().is_empty());
    assert_eq!(world.detail(delivery).await.attempts[0].outcome, Outcome::Unknown);
    assert_eq!(world.claim_one(&webhook, at(100)).await.attempt, 2);
}

pub(crate) async fn only_unknown_outcomes_before_are_told<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let mut told = Vec::new();
    for outcomes in [["unknown", "unknown"], ["unknown", "503"], ["503", "unknown"]] {
        world.waiting(&webhook, at(0)).await;
        let mut line = String::new();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            let ticket = world.claim_one(&webhook, at(index as i64)).await;
            line += &format!("{} ", ticket.only_unknown_before);
            let due = at(index as i64 + 1);
            let settlement = match outcome {
                "unknown" => unknown(&ticket, at(0), Next::RetryAt(due)),
                _ => retried(&ticket, at(0), due),
            };
            world.settle(settlement).await;
        }
        let ticket = world.claim_one(&webhook, at(9)).await;
        line += &ticket.only_unknown_before.to_string();
        told.push(line);
        world.settle(delivered(&ticket, at(9))).await;
    }
    assert_eq!(told, ["true true true", "true true false", "true false false"]);
}

pub(crate) async fn cancelling_by_hand_ends_what_waits_and_stops_retries_of_what_is_sent<B: Backend>(
    world: World<B>,
) {
    let webhook = world.webhook().await;
    let cancel = |id| world.store.cancel(world.tenant.no, id, CancelReason::ByHand, by(at(1)));
    let (_, waits) = world.waiting(&webhook, at(0)).await;
    assert_eq!(cancel(waits).await.unwrap(), Some(BY_HAND));
    assert_eq!(cancel(waits).await.unwrap(), Some(BY_HAND));
    assert!(world.claim(&webhook, at(10)).await.is_empty());

    for (arrives, state) in [(false, BY_HAND), (true, State::Delivered)] {
        let (_, sent) = world.waiting(&webhook, at(0)).await;
        let ticket = world.claim_one(&webhook, at(0)).await;
        assert_eq!(cancel(sent).await.unwrap(), Some(State::Pending));
        let settlement = if arrives { delivered(&ticket, at(2)) } else { retried(&ticket, at(2), at(5)) };
        assert_eq!(world.settle(settlement).await, settled(state));
        assert_eq!(cancel(sent).await.unwrap(), Some(state));
    }
    let (other, _) = world.other_tenant().await;
    assert_eq!(world.store.cancel(other.no, waits, CancelReason::ByHand, by(at(1))).await.unwrap(), None);
}

pub(crate) async fn health_changes_once_each_way<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let mut told = Vec::new();
    let mut now = 0;
    for outcome in ["fail", "fail", "fail", "fail", "ok", "ok", "fail"] {
        now += 1;
        world.waiting(&webhook, at(now)).await;
        let ticket = world.claim_one(&webhook, at(now)).await;
        let settlement = if outcome == "ok" { delivered(&ticket, at(now)) } else { failed(&ticket, at(now)) };
        let Settled::Settled { health, .. } = world.settle(settlement).await else { panic!() };
        told.push(health);
    }
    let (failing, recovered) = (Some(HealthChange::Failing), Some(HealthChange::Recovered));
    assert_eq!(told, [None, None, failing, None, recovered, None, None]);
    let world = world.reopen().await;
    let health = world.store.webhook(world.tenant.no, webhook.id).await.unwrap().unwrap().health;
    assert_eq!((health.failed_in_a_row, health.failing), (1, false));
}

pub(crate) async fn a_settled_excerpt_reads_back<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (_, delivery) = world.waiting(&webhook, at(0)).await;
    for (number, text) in [(1, "first no"), (2, "second no")] {
        let ticket = world.claim_one(&webhook, at(number)).await;
        let mut settlement = retried(&ticket, at(number), at(number + 1));
        settlement.attempt.excerpt = Some(text.as_bytes().to_vec());
        settlement.attempt.error = Some(format!("answered 503, try {number}"));
        world.settle(settlement).await;
    }
    let world = world.reopen().await;
    let attempts = world.detail(delivery).await.attempts;
    let shown: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            (attempt.number, attempt.excerpt.as_deref(), attempt.error.as_deref(), attempt.http_status)
        })
        .collect();
    assert_eq!(
        shown,
        [
            (1, Some(b"first no".as_slice()), Some("answered 503, try 1"), Some(503)),
            (2, Some(b"second no".as_slice()), Some("answered 503, try 2"), Some(503)),
        ]
    );
}
