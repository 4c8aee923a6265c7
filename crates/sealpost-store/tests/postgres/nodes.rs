//! Several processes on one database.

use std::collections::HashSet;
use std::sync::Arc;

use sealpost_core::delivery::State;
use sealpost_core::id::EventId;
use sealpost_store::history::EventFilter;
use sealpost_store::inbox::{Accepted, RepeatKey};
use sealpost_store::queue::{Next, Queue, Settled, Want};
use sealpost_store::{Store, Upkeep};

use super::backend::Database;
use crate::conformance::world::{World, at, chance, delivered, ordinary, retried, unknown};

/// As if nothing had been heard for a while of any node but the newest, which was there all along.
async fn silence(world: &World<Database>) {
    let admin = world.backend.admin().await;
    let sql = "UPDATE node SET since = since - interval '1 minute',
                               seen_at = CASE WHEN no = (SELECT max(no) FROM node) THEN clock_timestamp()
                                              ELSE seen_at - interval '1 minute' END";
    admin.execute(sql, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_node_held_is_taken_up_and_its_late_settlement_changes_nothing() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    let (_, delivery) = world.waiting(&webhook, at(0)).await;
    let accepted = world.accept(world.event().claimed_to(&webhook), at(1)).await;
    let held = [world.claim_one(&webhook, at(0)).await, accepted.claims[0]];
    let other = world.backend.node().await;
    assert!(other.orphans(10).await.unwrap().is_empty(), "it lives");

    silence(&world).await;
    let mut orphans = other.orphans(10).await.unwrap();
    orphans.sort_by_key(|ticket| ticket.delivery);
    assert_eq!(orphans, held);
    let taken = unknown(&orphans[0], at(5), Next::RetryAt(at(10)));
    let settled = other.settle(vec![taken]).await.unwrap();
    assert_eq!(settled, [Settled::Settled { state: State::Pending, health: None }]);
    // It was asleep. Its attempt has an end already, and that one stands.
    assert_eq!(world.settle(delivered(&held[0], at(6))).await, Settled::Already);
    world.store.unclaim(vec![held[0]], at(6)).await.unwrap();
    assert_eq!(world.state(delivery).await, State::Pending);
    let again =
        other.claim(vec![Want { lane: ordinary(&webhook), most: 10 }], at(10), usize::MAX).await.unwrap();
    assert_eq!((again[0].claims.len(), again[0].claims[0].ticket.attempt), (1, 2));
    assert_eq!(world.settle(delivered(&held[0], at(10))).await, Settled::Stale);
    // What was not taken up yet it may still settle.
    let settled = Settled::Settled { state: State::Delivered, health: None };
    assert_eq!(world.settle(delivered(&held[1], at(11))).await, settled);
    assert_eq!(
        other.settle(vec![unknown(&held[1], at(12), Next::RetryAt(at(13)))]).await.unwrap(),
        [Settled::Already]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_closes_hands_its_claims_over_at_once() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    world.waiting(&webhook, at(0)).await;
    let ticket = world.claim_one(&webhook, at(0)).await;
    let other = world.backend.node().await;
    world.store.close().await.unwrap();
    assert_eq!(other.orphans(10).await.unwrap(), [ticket]);
}

/// Found by tests/cluster: a server that was away for longer than it takes to be lost, and a node that was started when it
/// came back, before the others had beaten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_came_a_moment_ago_takes_nobody_for_lost() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    world.waiting(&webhook, at(0)).await;
    let ticket = world.claim_one(&webhook, at(0)).await;
    let other = world.backend.node().await;
    let admin = world.backend.admin().await;
    let away =
        "UPDATE node SET seen_at = seen_at - interval '1 minute' WHERE no < (SELECT max(no) FROM node)";
    admin.execute(away, &[]).await.unwrap();
    assert!(other.orphans(10).await.unwrap().is_empty());
    // Nor does one that was away itself.
    admin.execute("UPDATE node SET since = since - interval '1 minute'", &[]).await.unwrap();
    admin.execute("UPDATE node SET seen_at = seen_at - interval '8 seconds'", &[]).await.unwrap();
    assert!(other.orphans(10).await.unwrap().is_empty());
    assert!(other.standing().await.unwrap().unwrap().holds);
    silence(&world).await;
    assert_eq!(other.orphans(10).await.unwrap(), [ticket]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_silent_says_that_it_is_back_before_it_counts_on_it() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    world.waiting(&webhook, at(0)).await;
    world.claim_one(&webhook, at(0)).await;
    let other = world.backend.node().await;
    silence(&world).await;
    let standing = world.store.standing().await.unwrap().unwrap();
    assert!(standing.holds && other.orphans(10).await.unwrap().is_empty());
    let admin = world.backend.admin().await;
    let sql = "SELECT abs(extract(epoch FROM clock_timestamp()) * 1000 - $1::bigint)::bigint";
    let standing = world.store.standing().await.unwrap().unwrap();
    let apart: i64 = admin.query_one(sql, &[&standing.now.millis()]).await.unwrap().get(0);
    assert!(apart < 5_000, "it is the server's time: {apart} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_claim_a_lane_together_never_claim_the_same() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    let events: Vec<_> = (0..600).map(|_| world.event().to(&webhook)).collect();
    world.accept_all(events, at(0)).await;
    let nodes = [world.backend.node().await, world.backend.node().await, world.backend.node().await];
    let mut tasks = tokio::task::JoinSet::new();
    for node in &nodes {
        let (node, lane) = (Arc::clone(node), ordinary(&webhook));
        tasks.spawn(async move {
            let mut mine = Vec::new();
            for _ in 0..40 {
                let claimed = node.claim(vec![Want { lane, most: 7 }], at(1), usize::MAX).await.unwrap();
                mine.extend(claimed[0].claims.iter().map(|claim| claim.ticket));
            }
            mine
        });
    }
    let claims: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let distinct: HashSet<_> = claims.iter().map(|ticket| ticket.id).collect();
    assert_eq!((claims.len(), distinct.len()), (600, 600));
    assert!(claims.iter().all(|ticket| ticket.attempt == 1 && ticket.fence == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_nobody_waits_for_is_given_back() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    for round in 0..10 {
        let (_, delivery) = world.waiting(&webhook, at(round)).await;
        let claim =
            world.store.claim(vec![Want { lane: ordinary(&webhook), most: 1 }], at(round), usize::MAX);
        // Polled once, then dropped.
        let _ = tokio::time::timeout(std::time::Duration::ZERO, claim).await;
        let began = std::time::Instant::now();
        let ticket = loop {
            // Whoever is first: this claim, or the one that is on its way.
            match world.claim(&webhook, at(round)).await.first() {
                Some(claim) => break claim.ticket,
                None => assert!(began.elapsed().as_secs() < 30, "it is in flight and nobody has it"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        assert_eq!((ticket.id, ticket.attempt), (delivery, 1), "and the attempt was not used");
        world.settle(delivered(&ticket, at(round))).await;
    }
}

/// The same world as another node sees it.
fn seen_by(world: &World<Database>, store: Arc<dyn Store>) -> World<Database> {
    World {
        backend: <Database as crate::conformance::Backend>::new(),
        store,
        tenant: world.tenant.clone(),
        hasher: world.hasher.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_id_or_key_at_two_nodes_at_once_is_accepted_once() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    let other = seen_by(&world, world.backend.node().await);
    for round in 0..30 {
        let id = EventId::new(at(round), chance());
        let one = world.accept(world.event().id(id).to(&webhook), at(round));
        let two = other.accept(other.event().id(id).to(&webhook), at(round));
        let (one, two) = tokio::join!(one, two);
        assert!(one.repeated != two.repeated, "{one:?} {two:?}");
        assert_eq!((one.id, one.deliveries), (two.id, two.deliveries));

        let key = || vec![RepeatKey { key: [round as u8; 32], content: [1; 32], events: 0..1 }];
        let one = world.try_accept(vec![world.event().to(&webhook)], key(), at(round));
        let two = other.try_accept(vec![other.event().to(&webhook)], key(), at(round));
        let (Accepted::Events(one), Accepted::Events(two)) = tokio::join!(one, two) else { panic!() };
        assert!(one[0].repeated != two[0].repeated && one[0].id == two[0].id, "{one:?} {two:?}");
        assert_eq!(world.all_events(EventFilter::default()).await.len() as i64, 2 * round + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn settlements_of_two_nodes_count_each_failure_once() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    let other = world.backend.node().await;
    let events: Vec<_> = (0..40).map(|_| world.event().to(&webhook)).collect();
    world.accept_all(events, at(0)).await;
    let lane = ordinary(&webhook);
    let mine = world.claim_lane(lane, 20, at(0)).await;
    let theirs =
        other.claim(vec![Want { lane, most: 20 }], at(0), usize::MAX).await.unwrap().remove(0).claims;
    let settle = async |store: &dyn Queue, claims: &[sealpost_store::queue::Claim]| {
        for claim in claims {
            store.settle(vec![crate::conformance::world::failed(&claim.ticket, at(1))]).await.unwrap();
        }
    };
    tokio::join!(settle(&*other, &theirs), async {
        for claim in &mine {
            world.settle(crate::conformance::world::failed(&claim.ticket, at(1))).await;
        }
    });
    let health = world.store.webhook(world.tenant.no, webhook.id).await.unwrap().unwrap().health;
    assert_eq!((health.failed_in_a_row, health.failing), (40, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_sweeps_at_a_time_and_any_may() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    world.waiting(&webhook, at(0)).await;
    world.disable(&webhook, true).await;
    let mut admin = world.backend.admin().await;
    let busy = admin.transaction().await.unwrap();
    let hold = "SELECT pg_advisory_xact_lock(1397781364, hashtext('sweep ' || current_schema()))";
    busy.query(hold, &[]).await.unwrap();
    assert_eq!(world.store.sweep(at(1)).await.unwrap().rows, 0);
    drop(busy);
    let other = world.backend.node().await;
    for _ in 0..100 {
        if other.sweep(at(1)).await.unwrap().rows > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nobody sweeps");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_of_days_that_are_over_go_with_their_partition() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    let day = std::time::Duration::from_secs(86_400);
    world.store.sweep(at(0)).await.unwrap();
    for number in 0..2 {
        let now = at(0) + 2 * number * day;
        world.waiting(&webhook, now).await;
        let first = world.claim_one(&webhook, now).await;
        world.settle(retried(&first, now, now)).await;
        let second = world.claim_one(&webhook, now).await;
        world.settle(delivered(&second, now)).await;
    }
    let admin = world.backend.admin().await;
    let attempts = async || -> Vec<String> {
        let sql = "SELECT tableoid::regclass::text FROM attempt ORDER BY started";
        admin.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    let first_day = at(0).millis() / 86_400_000;
    assert_eq!(attempts().await, [format!("attempt_d{first_day}"), format!("attempt_d{}", first_day + 2)]);
    // The first event is forgotten, and the day with it when the next one begins.
    world.sweep(at(1) + 30 * day).await;
    assert_eq!(world.all_events(EventFilter::default()).await.len(), 1);
    world.sweep(at(1) + 31 * day).await;
    assert_eq!(attempts().await, [format!("attempt_d{}", first_day + 2)]);
    let gone = admin.query_one("SELECT to_regclass($1) IS NULL", &[&format!("attempt_d{first_day}")]).await;
    assert!(gone.unwrap().get::<_, bool>(0));
}
