//! Backups: one file, consistent while serving, put back with the erasures that came since.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sealpost_core::delivery::State;
use sealpost_store::StoreError;
use sealpost_store::history::EventFilter;
use sealpost_store::sqlite::{ERASURES_FILE, OpenOptions, RestoreReport, SqliteStore, restore};
use sealpost_store::upkeep::ErasureScope;

use super::backend::Folder;
use crate::conformance::Backend;
use crate::conformance::world::{World, at, delivered};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_holds_everything_that_was_answered_before_it() {
    let world = World::<Folder>::start().await;
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    let claimed = world.claim_one(&webhook, at(0)).await;
    let copies = tempfile::tempdir().unwrap();
    let backup = copies.path().join("backup.db");
    world.store.backup(backup.clone()).await.unwrap();
    world.settle(delivered(&claimed, at(1))).await;

    let files: Vec<_> =
        fs::read_dir(copies.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["backup.db"]);
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);

    let target = copies.path().join("elsewhere/data/sealpost.db");
    let report = restore(&backup, &target, &world.backend.master_key(), None, false, at(2)).unwrap();
    assert_eq!(report, RestoreReport { erasures: 0, payloads_erased: 0, erasures_known: false, pending: 1 });
    let folder = fs::metadata(target.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let options = OpenOptions { master_key_file: world.backend.master_key(), ..OpenOptions::new(target) };
    let restored = World {
        backend: Folder::new(),
        store: Arc::new(SqliteStore::open(options).unwrap()),
        tenant: world.tenant.clone(),
        hasher: world.hasher.clone(),
    };
    assert_eq!(restored.payload(event).await, r#"{"id":7}"#);
    assert_eq!(restored.state(delivery).await, State::Pending);
    // Who held the claim is not here; that it was held is not forgotten.
    assert_eq!(restored.store.orphans(10).await.unwrap(), [claimed]);
    assert_eq!(restored.store.webhook(world.tenant.no, webhook.id).await.unwrap(), Some(webhook));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_while_writing_is_one_moment() {
    let world = Arc::new(World::<Folder>::start().await);
    let webhook = world.webhook().await;
    let padding = format!(r#"{{"text":"{}"}}"#, "x".repeat(20_000));
    for _ in 0..200 {
        world.accept(world.event().payload(&padding).to(&webhook), at(0)).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (world, stop, webhook) = (Arc::clone(&world), Arc::clone(&stop), webhook.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                world
                    .accept(world.event().to(&webhook).derived_to("invoice.paid.summary", &webhook), at(1))
                    .await;
            }
        }
    });
    let backup = world.backend.path().join("copy.db");
    world.store.backup(backup.clone()).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();

    let conn = rusqlite::Connection::open(&backup).unwrap();
    let check: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let torn: i64 = conn
        .query_row(
            "SELECT count(*) FROM event e WHERE e.derived_of IS NULL AND e.accepted_at = ?1
             AND NOT EXISTS (SELECT 1 FROM event d WHERE d.derived_of = e.seq)",
            [at(1).millis()],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(torn, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_applies_the_erasures_that_the_backup_does_not_know() {
    let world = World::<Folder>::start().await;
    let webhook = world.webhook().await;
    let mut events = Vec::new();
    for subject in ["a", "b", "c", "d"] {
        let event = world.event().subject(subject).to(&webhook);
        events.push(world.accept(event, at(0)).await.id);
    }
    world.erase(ErasureScope::Events(vec![events[0]]), at(1)).await;
    let backup = world.backend.path().join("backup.db");
    world.store.backup(backup.clone()).await.unwrap();
    world.erase(ErasureScope::Subject(world.hasher.subject("b")), at(2)).await;
    world.erase(ErasureScope::Events(vec![events[2]]), at(3)).await;

    let (database, key) = (world.backend.database(), world.backend.master_key());
    let refused = restore(&backup, &database, &key, None, true, at(4)).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    world.store.close().await.unwrap();
    let refused = restore(&backup, &database, &key, None, false, at(4)).unwrap_err().to_string();
    assert!(refused.contains("replaces it only if told to"), "{refused}");
    // Elsewhere only a list that is named tells of them.
    let elsewhere = tempfile::tempdir().unwrap();
    let there = elsewhere.path().join("sealpost.db");
    let report = restore(&backup, &there, &key, None, false, at(4)).unwrap();
    assert_eq!((report.erasures, report.erasures_known), (0, false));
    let list = world.backend.path().join(ERASURES_FILE);
    let report = restore(&backup, &there, &key, Some(&list), true, at(4)).unwrap();
    assert_eq!((report.erasures, report.payloads_erased, report.erasures_known), (2, 2, true));
    assert_eq!(
        fs::read_to_string(elsewhere.path().join(ERASURES_FILE)).unwrap(),
        fs::read_to_string(&list).unwrap()
    );

    let started = world.backend.path().join("started");
    fs::write(&started, "claims of the store that goes").unwrap();
    let report = restore(&backup, &database, &key, None, true, at(4)).unwrap();
    assert!(!started.exists());
    assert_eq!(report, RestoreReport { erasures: 2, payloads_erased: 2, erasures_known: true, pending: 1 });

    let world = World { store: world.backend.open(), ..world };
    let mut payloads = Vec::new();
    for event in &events {
        payloads.push(world.payload(*event).await);
    }
    assert_eq!(payloads, ["Erased", "Erased", "Erased", r#"{"id":7}"#]);
    assert_eq!(world.claim(&webhook, at(5)).await.len(), 1);
    world.store.close().await.unwrap();
    // Known now: nothing is left to apply.
    let again = world.backend.path().join("again.db");
    fs::copy(&database, &again).unwrap();
    let report = restore(&again, &database, &key, None, true, at(6)).unwrap();
    assert_eq!((report.erasures, report.payloads_erased), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_backup_of_this_key_is_refused_and_changes_nothing() {
    let world = World::<Folder>::start().await;
    world.accept(world.event(), at(0)).await;
    let backup = world.backend.path().join("backup.db");
    world.store.backup(backup.clone()).await.unwrap();
    let refused = world.store.backup(backup.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("is not written over anything"), "{refused}");
    world.store.close().await.unwrap();

    let other = World::<Folder>::start().await;
    other.store.close().await.unwrap();
    let restore_here = |from: &std::path::Path, key: &std::path::Path| {
        restore(from, &world.backend.database(), key, None, true, at(1)).unwrap_err().to_string()
    };
    let refused = restore_here(&backup, &other.backend.master_key());
    assert_eq!(refused, "the backup was made under another master key");
    let torn = world.backend.path().join("torn.db");
    fs::write(&torn, &fs::read(&backup).unwrap()[..20_000]).unwrap();
    let refused = restore_here(&torn, &world.backend.master_key());
    assert!(refused.contains("torn.db is damaged"), "{refused}");
    let empty = world.backend.path().join("empty.db");
    for content in [
        "",
        "a text that is longer than the header of a database, which has one hundred bytes, or so it is said",
    ] {
        fs::write(&empty, content).unwrap();
        let refused = restore_here(&empty, &world.backend.master_key());
        assert_eq!(refused, format!("{} is not a Sealpost database", empty.display()));
    }
    let new = world.backend.path().join("new/data/sealpost.db");
    assert!(restore(&empty, &new, &world.backend.master_key(), None, false, at(1)).is_err());
    assert!(restore(&backup, &new, &new.with_file_name("master.key"), None, false, at(1)).is_err());
    assert!(!world.backend.path().join("new").exists());
    let nothing = world.backend.path().join("nothing.db");
    assert!(restore_here(&nothing, &world.backend.master_key()).contains("cannot read the backup"));

    let world = World { store: world.backend.open(), ..world };
    assert_eq!(world.all_events(EventFilter::default()).await.len(), 1);
    let mut left: Vec<String> = fs::read_dir(world.backend.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("sealpost.db."))
        .collect();
    left.sort();
    assert!(left.is_empty(), "{left:?}");
}
