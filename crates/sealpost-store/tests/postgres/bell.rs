//! What one node leaves waiting, and the others hear.

use std::time::Duration;

use sealpost_core::lane::LaneNo;
use sealpost_core::webhook::Webhook;
use sealpost_store::Queue as _;
use sealpost_store::postgres::{OpenOptions, PostgresStore};

use super::backend::{Database, url};
use super::proxy::Proxy;
use crate::conformance::world::{World, at, ordinary};

/// Leaves deliveries until they are heard of: whoever listens needs a moment to begin.
async fn heard_by(other: &PostgresStore, world: &World<Database>, webhook: &Webhook) -> Vec<LaneNo> {
    let leave = async {
        loop {
            world.waiting(webhook, at(0)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(10), other.rung());
    tokio::select! {
        heard = heard => heard.expect("nothing was heard"),
        () = leave => unreachable!("it has no end"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_nodes_hear_what_one_leaves_and_again_after_a_cut() {
    let proxy = Proxy::start().await;
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    let by_proxy = url(world.backend.schema(), Some(&proxy.address));
    let other = PostgresStore::open(OpenOptions::new(by_proxy, world.backend.key_file())).await.unwrap();
    assert_eq!(heard_by(&other, &world, &webhook).await, [ordinary(&webhook)]);
    proxy.cut_all();
    // What was said before the cut may still be there.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _ = tokio::time::timeout(Duration::from_millis(1), other.rung()).await;
    assert_eq!(heard_by(&other, &world, &webhook).await, [ordinary(&webhook)]);
    let own = tokio::time::timeout(Duration::from_millis(200), world.store.rung()).await;
    assert!(own.is_err(), "it heard itself: {own:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_says_what_it_gave_back() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    let other = world.backend.node().await;
    // It listens now.
    heard_by(&other, &world, &webhook).await;
    let ticket = world.claim(&webhook, at(0)).await[0].ticket;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _ = tokio::time::timeout(Duration::from_millis(1), other.rung()).await;
    world.store.unclaim(vec![ticket], at(1)).await.unwrap();
    world.store.close().await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(2), other.rung()).await;
    assert_eq!(heard.expect("nothing was heard"), [ordinary(&webhook)]);
}
