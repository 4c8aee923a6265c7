//! An installation that moves from the embedded store: what was there is there, what was pending is sent once, and what is
//! cut off or goes wrong leaves one place to go on from.

use std::path::PathBuf;
use std::sync::Arc;

use sealpost_core::delivery::State;
use sealpost_store::copy::{CopyReport, copy};
use sealpost_store::history::{DeliveryFilter, EventFilter};
use sealpost_store::inbox::{Accepted, RepeatKey};
use sealpost_store::postgres::PostgresStore;
use sealpost_store::sqlite::{OpenOptions, SqliteStore};
use sealpost_store::upkeep::ErasureScope;
use sealpost_store::{Queue as _, Store, StoreError};

use super::backend::Database;
use crate::conformance::Backend;
use crate::conformance::world::{World, at, delivered, failed, ordinary, retried};

/// A folder with an embedded store, and an empty database under the same master key.
struct Move {
    folder: tempfile::TempDir,
    database: Database,
}

impl Move {
    fn options(&self) -> OpenOptions {
        OpenOptions { master_key_file: self.database.key_file(), ..OpenOptions::new(self.file()) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("sealpost.db")
    }

    async fn copy(&self) -> Result<CopyReport, StoreError> {
        copy(self.options(), self.database.options()).await
    }

    fn mark(&self, sql: &str) {
        rusqlite::Connection::open(self.file()).unwrap().execute(sql, []).unwrap();
    }
}

impl Backend for Move {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: Database::new() }
    }

    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.options()).unwrap())
    }
}

fn why<T: std::fmt::Debug>(refused: Result<T, StoreError>) -> String {
    match refused {
        Err(StoreError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_and_what_was_pending_is_sent_once() {
    let world = World::<Move>::start().await;
    let webhook = world.webhook().await;
    let (other, _) = world.other_tenant().await;
    let events: Vec<_> = (0..6).map(|_| world.event().claimed_to(&webhook)).collect();
    let key = || RepeatKey { key: [1; 32], content: [2; 32], events: 0..1 };
    let Accepted::Events(accepted) = world.try_accept(events, vec![key()], at(1)).await else { panic!() };
    let ticket = |n: usize| accepted[n].claims[0];
    world.settle(delivered(&ticket(0), at(2))).await;
    world.settle(failed(&ticket(1), at(2))).await;
    world.settle(retried(&ticket(2), at(2), at(500))).await;
    // The fourth and the fifth are on their way when the process ends; the sixth was given back.
    world.store.unclaim(vec![ticket(5)], at(3)).await.unwrap();
    let erased = world.accept(world.event().to(&webhook), at(4)).await;
    world.erase(ErasureScope::Events(vec![erased.id]), at(5)).await;
    world.waiting(&webhook, at(6)).await;
    let before = (
        world.all_events(EventFilter::default()).await,
        world.all_deliveries(DeliveryFilter::default()).await,
        world.detail(ticket(1).id).await,
        world.store.registry_delta(world.tenant.no, 0).await.unwrap(),
        world.store.tenants().await.unwrap(),
    );
    world.store.close().await.unwrap();

    let report = world.backend.copy().await.unwrap();
    let rows = |name: &str| report.rows.iter().find(|(table, _)| *table == name).unwrap().1;
    assert_eq!((rows("event"), rows("delivery"), rows("tenant"), report.pending), (8, 8, 2, 5));
    let refused = why(SqliteStore::open(world.backend.options()));
    assert!(refused.contains("was moved"), "{refused}");

    let store: Arc<dyn Store> = world.backend.database.node().await;
    let World { backend, tenant, hasher, .. } = world;
    let world = World { store, backend, tenant, hasher };
    let after = (
        world.all_events(EventFilter::default()).await,
        world.all_deliveries(DeliveryFilter::default()).await,
        world.detail(ticket(1).id).await,
        world.store.registry_delta(world.tenant.no, 0).await.unwrap(),
        world.store.tenants().await.unwrap(),
    );
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert!(world.payload(accepted[0].id).await.starts_with('{'));
    assert_eq!(world.payload(erased.id).await, "Erased");

    // A repeat is answered as before, and new numbers collide with nothing.
    let Accepted::Events(repeat) = world.try_accept(vec![world.event()], vec![key()], at(7)).await else {
        panic!("the key is unknown")
    };
    assert_eq!((repeat[0].id, repeat[0].repeated), (accepted[0].id, true));
    let fresh = world.accept(world.event().claimed_to(&webhook), at(8)).await;
    world.settle(delivered(&fresh.claims[0], at(8))).await;
    world.webhook().await;
    assert_eq!(world.store.tenants().await.unwrap()[1].no, other.no);

    // What was given back or waits is due now, what failed once at its time; what was on its way is nobody's.
    let due = world.claim_lane(ordinary(&webhook), 10, at(10)).await;
    let mut seen: Vec<_> = due.iter().map(|claim| (claim.ticket.id, claim.ticket.attempt)).collect();
    assert_eq!(due.len(), 2);
    assert!(due.iter().all(|claim| claim.open.is_some()));
    let later = world.claim_lane(ordinary(&webhook), 10, at(500)).await;
    assert_eq!(
        later.iter().map(|claim| (claim.ticket.id, claim.ticket.attempt)).collect::<Vec<_>>(),
        [(ticket(2).id, 2)]
    );
    let orphans = world.store.orphans(10).await.unwrap();
    seen.extend(orphans.iter().map(|ticket| (ticket.id, ticket.attempt)));
    assert_eq!(orphans.len(), 2);
    seen.sort_unstable();
    seen.dedup_by_key(|(id, _)| *id);
    assert_eq!(seen.len(), 4, "each once");
    for claim in due.iter().chain(&later) {
        world.settle(delivered(&claim.ticket, at(501))).await;
        assert_eq!(world.state(claim.ticket.id).await, State::Delivered);
    }
    let again = why(world.backend.copy().await);
    assert!(again.contains("was moved"), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_copy_leaves_the_source_as_it_was() {
    let world = World::<Move>::start().await;
    let webhook = world.webhook().await;
    world.waiting(&webhook, at(0)).await;
    let running = world.backend.copy().await;
    assert!(matches!(running, Err(StoreError::Locked { .. })), "{running:?}");
    world.store.close().await.unwrap();
    // Somebody works in the target already.
    let there: Arc<PostgresStore> = world.backend.database.node().await;
    let refused = why(world.backend.copy().await);
    assert!(refused.contains("already"), "{refused}");
    drop(there);
    let store = world.backend.open();
    assert_eq!(store.lanes(None, 10).await.unwrap().len(), 1);
    store.close().await.unwrap();

    // A row that cannot arrive undoes all of it.
    world
        .backend
        .database
        .admin()
        .await
        .batch_execute(&format!(
            "DROP SCHEMA {0} CASCADE; CREATE SCHEMA {0}",
            world.backend.database.schema()
        ))
        .await
        .unwrap();
    world.backend.mark("UPDATE delivery SET state = 40000");
    assert!(world.backend.copy().await.is_err());
    world.backend.mark("UPDATE delivery SET state = 0");
    let store = world.backend.open();
    assert_eq!(store.lanes(None, 10).await.unwrap().len(), 1);
    store.close().await.unwrap();
    assert_eq!(world.backend.copy().await.unwrap().pending, 1);
}

/// As a kill leaves it, before and after the database has stored everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_cut_off_is_finished_by_the_next() {
    for stored in [false, true] {
        let world = World::<Move>::start().await;
        let webhook = world.webhook().await;
        world.waiting(&webhook, at(0)).await;
        world.store.close().await.unwrap();
        world.backend.copy().await.unwrap();
        // The first byte of the mark says how far it is; behind it, the move's id and the place.
        let place = world.backend.database.admin().await;
        let place: String = place
            .query_one(
                "SELECT format('database %s (%s), schema %s', current_database(), oid, current_schema())
                 FROM pg_database WHERE datname = current_database()",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        world.backend.mark(&format!(
            "UPDATE meta SET value = CAST(x'01' || substr(value, 2, 16) || CAST('{place}' AS BLOB) AS BLOB)
             WHERE name = 'moved'"
        ));
        if !stored {
            let schema = world.backend.database.schema();
            let empty = format!("DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}");
            world.backend.database.admin().await.batch_execute(&empty).await.unwrap();
        }
        let refused = why(SqliteStore::open(world.backend.options()));
        assert!(refused.contains("cut off"), "{refused}");
        let elsewhere = Database::new();
        std::fs::copy(world.backend.database.key_file(), elsewhere.key_file()).unwrap();
        let another = why(copy(world.backend.options(), elsewhere.options()).await);
        assert!(another.contains("another database"), "{another}");
        let report = world.backend.copy().await.unwrap();
        assert_eq!((report.pending, report.was_there), (1, stored));
        let moved = why(SqliteStore::open(world.backend.options()));
        assert!(moved.contains("was moved"), "{moved}");
        assert_eq!(world.backend.database.node().await.lanes(None, 10).await.unwrap().len(), 1);
    }
}
