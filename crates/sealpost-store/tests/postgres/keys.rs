//! The master key is a file of every node.

use std::fs;

use sealpost_core::audit::{Action, By};
use sealpost_store::postgres::{OpenOptions, PostgresStore};
use sealpost_store::registry::Registry;
use sealpost_store::vault::MasterKey;
use sealpost_store::{StoreError, Upkeep};

use super::backend::{Database, url};
use crate::conformance::Backend;
use crate::conformance::world::{World, at, by, new_tenant};

fn refusal<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(error @ StoreError::MasterKey(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_databases_key_is_refused() {
    let world = World::<Database>::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.key");
    let options = OpenOptions::new(url(world.backend.schema(), None), &file);
    assert!(refusal(PostgresStore::open(options.clone()).await).contains("is missing"));
    assert!(!file.exists(), "a key is never made by itself");
    MasterKey::make_file(&file).unwrap();
    assert!(refusal(PostgresStore::open(options).await).contains("every node needs the same file"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_master_key_reaches_the_other_nodes_as_a_file() {
    let world = World::<Database>::start().await;
    let webhook = world.webhook().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("master.key");
    fs::copy(world.backend.key_file(), &file).unwrap();
    let other =
        PostgresStore::open(OpenOptions::new(url(world.backend.schema(), None), &file)).await.unwrap();
    assert!(other.webhook(world.tenant.no, webhook.id).await.unwrap().is_some());

    let rotated = world.store.rewrap(By::new("operator 1", Action::RotateMasterKey, at(1))).await.unwrap();
    assert_eq!(rotated.keys, 1);
    // What it has in memory it goes on with; it wraps and unwraps nothing with the former key.
    assert!(other.webhook(world.tenant.no, webhook.id).await.unwrap().is_some());
    assert!(
        refusal(other.create_tenant(new_tenant("late"), by(at(2))).await).contains("copy it from the node")
    );
    assert!(
        refusal(other.rewrap(By::new("operator 1", Action::RotateMasterKey, at(2))).await)
            .contains("copy it")
    );
    let stale = PostgresStore::open(OpenOptions::new(url(world.backend.schema(), None), &file)).await;
    assert!(refusal(stale).contains("copy it from the node"));

    fs::copy(world.backend.key_file(), &file).unwrap();
    let late = other.create_tenant(new_tenant("late"), by(at(3))).await.unwrap().unwrap();
    let third = world.backend.node().await;
    assert!(third.hasher(late.no).await.unwrap().is_some());
    assert!(third.webhook(world.tenant.no, webhook.id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_are_the_databases_affair() {
    let store = Database::new().open();
    let refused = store.backup("/nowhere/backup.db".into()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Refused(why) if why.contains("pg_dump")), "{refused:?}");
}
