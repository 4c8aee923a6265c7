//! A COMMIT without an answer, and connections that are cut.

use std::sync::Arc;

use sealpost_core::delivery::State;
use sealpost_store::Store;
use sealpost_store::history::{DeliveryFilter, EventFilter};
use sealpost_store::postgres::{OpenOptions, PostgresStore};
use sealpost_store::queue::{Queue as _, Settled, Want};

use super::backend::{Database, url};
use super::proxy::Proxy;
use crate::conformance::world::{World, at, delivered, ordinary, retried};

/// The world, seen by a node that reaches the server by way of the proxy.
async fn by_way_of(proxy: &Proxy) -> World<Database> {
    let world = World::<Database>::start().await;
    let url = url(world.backend.schema(), Some(&proxy.address));
    let store = PostgresStore::open(OpenOptions::new(url, world.backend.key_file())).await.unwrap();
    world.store.close().await.unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    World { store, ..world }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_without_an_answer_is_stored_once() {
    let proxy = Proxy::start().await;
    let world = by_way_of(&proxy).await;
    let webhook = world.webhook().await;
    for (round, reaches) in [true, false, true].into_iter().enumerate() {
        let now = at(round as i64);
        proxy.cut_next_commit(reaches);
        let accepted = world.accept(world.event().claimed_to(&webhook), now).await;
        assert_eq!((proxy.cuts(), accepted.repeated), (4 * round + 1, false), "{reaches}");
        let [ticket] = accepted.claims.as_slice() else { panic!("{:?}", accepted.claims) };
        assert_eq!(world.all_events(EventFilter::default()).await.len(), 2 * round + 1);

        // A settlement may be answered as stored before, which it then is.
        proxy.cut_next_commit(reaches);
        let settled = world.settle(retried(ticket, now, at(1_000))).await;
        let first = Settled::Settled { state: State::Pending, health: None };
        assert_eq!(settled, if reaches { Settled::Already } else { first });
        assert_eq!(world.state(ticket.id).await, State::Pending);

        world.waiting(&webhook, now).await;
        proxy.cut_next_commit(reaches);
        let claims = world.claim_lane(ordinary(&webhook), 10, now).await;
        assert_eq!((claims.len(), claims[0].ticket.attempt), (1, 1), "{reaches}");
        assert!(matches!(world.settle(delivered(&claims[0].ticket, now)).await, Settled::Settled { .. }));

        proxy.cut_next_commit(reaches);
        let other = world.webhook().await;
        assert_eq!(proxy.cuts(), 4 * round + 4);
        let all = world.store.registry_delta(world.tenant.no, 0).await.unwrap();
        assert_eq!(all.changed.len(), round + 2, "{reaches}");
        assert!(all.changed.iter().any(|webhook| webhook.id == other.id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_lose_and_double_nothing() {
    let proxy = Proxy::start().await;
    let world = Arc::new(by_way_of(&proxy).await);
    let webhook = world.webhook().await;
    let cut = async {
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            proxy.cut_all();
        }
    };
    let publish = async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..200 {
            let (world, webhook) = (Arc::clone(&world), webhook.clone());
            tasks.spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(number * 2)).await;
                if number % 2 == 0 {
                    world.accept(world.event().to(&webhook), at(0)).await;
                    return false;
                }
                let accepted = world.accept(world.event().claimed_to(&webhook), at(0)).await;
                let settled = world.settle(delivered(&accepted.claims[0], at(0))).await;
                let first = Settled::Settled { state: State::Delivered, health: None };
                assert!([first, Settled::Already].contains(&settled), "{settled:?}");
                true
            });
        }
        tasks.join_all().await
    };
    let (ended, ()) = tokio::join!(publish, cut);
    let stored = world.all_events(EventFilter::default()).await;
    assert_eq!(stored.len(), ended.len());
    let deliveries = world.all_deliveries(DeliveryFilter::default()).await;
    assert_eq!(deliveries.len(), ended.len());
    let mut delivered = ended.into_iter().filter(|ended| *ended).count();
    assert_eq!(deliveries.iter().filter(|shown| shown.state == State::Delivered).count(), delivered);
    loop {
        let now = world.deliver_due(&webhook, at(1)).await;
        if now == 0 {
            break;
        }
        delivered += now;
    }
    assert_eq!(delivered, stored.len());
}

async fn cut(proxy: &Proxy) {
    for _ in 0..1_000 {
        if proxy.cuts() > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("nothing was committed");
}

/// Found by tests/cluster: the claim went with a server that was lost, and another node made the same one on the server
/// that took over; then both sent it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_claimed_meanwhile_is_not_taken_for_ours() {
    let proxy = Proxy::start().await;
    let world = by_way_of(&proxy).await;
    let webhook = world.webhook().await;
    let other = world.backend.node().await;
    world.waiting(&webhook, at(0)).await;
    proxy.cut_next_commit(false);
    proxy.close(true);
    let (store, lane) = (Arc::clone(&world.store), ordinary(&webhook));
    let want = move || vec![Want { lane, most: 1 }];
    let mine = tokio::spawn(async move { store.claim(want(), at(0), usize::MAX).await.unwrap() });
    cut(&proxy).await;
    let mut theirs = Vec::new();
    while theirs.is_empty() {
        theirs = other.claim(want(), at(0), usize::MAX).await.unwrap().remove(0).claims;
    }
    proxy.close(false);
    assert_eq!((theirs.len(), mine.await.unwrap()[0].claims.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_the_same_number_does_not_prove_a_change() {
    let proxy = Proxy::start().await;
    let world = Arc::new(by_way_of(&proxy).await);
    world.webhook().await;
    let admin = world.backend.admin().await;
    proxy.cut_next_commit(false);
    proxy.close(true);
    let mine = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.webhook().await })
    };
    cut(&proxy).await;
    // The number that the lost transaction had, as if the sequence had gone back with its server.
    let same = "INSERT INTO audit (seq, tenant, at, who, what, object) OVERRIDING SYSTEM VALUE
                SELECT last_value, 1, 0, 'somebody', 'else', 'elsewhere' FROM audit_seq_seq";
    admin.execute(same, &[]).await.unwrap();
    proxy.close(false);
    let made = mine.await.unwrap();
    let all = world.store.registry_delta(world.tenant.no, 0).await.unwrap();
    assert!(all.changed.iter().any(|webhook| webhook.id == made.id), "it was answered and is not there");
}
