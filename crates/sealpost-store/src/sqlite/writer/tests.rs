use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::sqlite::SqliteStore;
use crate::sqlite::schema;
use crate::sqlite::testing::{Fixture, folder};

fn note(
    name: String,
) -> impl FnMut(&Connection, &mut WriterCtx) -> Result<String, WriteError> + Send + 'static {
    move |conn, _| {
        schema::set_meta(conn, &name, &1)?;
        Ok(name.clone())
    }
}

fn commits(store: &SqliteStore) -> u64 {
    store.writer.counters().commits.load(Ordering::Relaxed)
}

/// Holds the writer until the returned sender is used, so that members gather.
fn hold(
    store: &SqliteStore,
) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), StoreError>>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let held = store.writer.alone(move |_, _| {
        let _ = wait.recv();
        Ok(())
    });
    (go, tokio::spawn(held))
}

#[tokio::test]
async fn those_who_wait_together_share_a_commit_and_are_answered_after_it() {
    let fixture = Fixture::new().await;
    let before = commits(&fixture.store);
    let (go, held) = hold(&fixture.store);
    let members: Vec<_> = (0..200)
        .map(|n| tokio::spawn(fixture.store.writer.run(Kind::Accept, Cost::rows(1), note(format!("n{n}")))))
        .collect();
    go.send(()).unwrap();
    held.await.unwrap().unwrap();
    // A stranger sees what the writer has committed, and nothing else.
    let stranger = Connection::open(&fixture.options.path).unwrap();
    for member in members {
        let name = member.await.unwrap().unwrap();
        assert_eq!(schema::meta::<i64>(&stranger, &name).unwrap(), Some(1), "{name}");
    }
    assert_eq!(commits(&fixture.store) - before, 1);
}

#[tokio::test]
async fn a_group_is_bounded_and_takes_at_least_one_member() {
    let (_folder, mut options) = folder();
    options.group = GroupLimits { rows: 10, ..GroupLimits::default() };
    let store = SqliteStore::open(options).unwrap();
    let (go, held) = hold(&store);
    let members: Vec<_> = [4, 4, 4, 50, 10]
        .into_iter()
        .enumerate()
        .map(|(n, rows)| {
            tokio::spawn(store.writer.run(Kind::Accept, Cost::rows(rows), note(format!("n{n}"))))
        })
        .collect();
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    held.await.unwrap().unwrap();
    for member in members {
        member.await.unwrap().unwrap();
    }
    // 4+4, 4, 50, 10.
    assert_eq!(commits(&store), 4);
}

#[tokio::test]
async fn a_poison_member_fails_alone() {
    let fixture = Fixture::new().await;
    let (go, held) = hold(&fixture.store);
    let runs = Arc::new(AtomicUsize::new(0));
    let members: Vec<_> = (0..10)
        .map(|n| {
            let runs = Arc::clone(&runs);
            let member = move |conn: &Connection, _: &mut WriterCtx| {
                runs.fetch_add(1, Ordering::Relaxed);
                schema::set_meta(conn, &format!("n{n}"), &1)?;
                match n {
                    3 => {
                        conn.execute("INSERT INTO meta (name, value) VALUES ('n3', 2)", [])?;
                    }
                    5 => return Err(StoreError::Corrupt { what: "test" }.into()),
                    7 => panic!("on purpose"),
                    _ => {}
                }
                Ok(n)
            };
            tokio::spawn(fixture.store.writer.run(Kind::Registry, Cost::rows(1), member))
        })
        .collect();
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    held.await.unwrap().unwrap();
    let mut said = Vec::new();
    for member in members {
        said.push(member.await.unwrap().map_or_else(|e| e.to_string(), |n| n.to_string()));
    }
    assert_eq!(
        said,
        [
            "0",
            "1",
            "2",
            "the store failed: UNIQUE constraint failed: meta.name",
            "4",
            "the store holds an impossible test",
            "6",
            "the store failed: a write panicked: on purpose",
            "8",
            "9"
        ]
    );
    assert_eq!(fixture.count("SELECT count(*) FROM meta WHERE name LIKE 'n_'"), 7);
    // The first group ran up to the poison, then each of the ten alone.
    assert_eq!(runs.load(Ordering::Relaxed), 14);
}

#[tokio::test]
async fn settlements_and_claims_go_before_accepts_and_upkeep_goes_last() {
    let fixture = Fixture::new().await;
    let (go, held) = hold(&fixture.store);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut members = Vec::new();
    for kind in [Kind::Upkeep, Kind::Accept, Kind::Registry, Kind::Claim, Kind::Settle] {
        let order = Arc::clone(&order);
        let member = move |_: &Connection, _: &mut WriterCtx| {
            order.lock().unwrap().push(kind);
            Ok(())
        };
        members.push(tokio::spawn(fixture.store.writer.run(kind, Cost::rows(1), member)));
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    held.await.unwrap().unwrap();
    for member in members {
        member.await.unwrap().unwrap();
    }
    let order = order.lock().unwrap().clone();
    assert_eq!(order, [Kind::Settle, Kind::Claim, Kind::Registry, Kind::Accept, Kind::Upkeep]);
}

#[tokio::test]
async fn too_much_waiting_is_busy_and_a_closed_writer_says_so() {
    let (_folder, mut options) = folder();
    options.group = GroupLimits { waiting: 2, waiting_bytes: 100, ..GroupLimits::default() };
    let store = SqliteStore::open(options).unwrap();
    let (go, held) = hold(&store);
    tokio::task::yield_now().await;
    let run = |kind, bytes| store.writer.run(kind, Cost { rows: 1, bytes }, |_, _| Ok(()));
    // Larger than the bound, but alone.
    let first = tokio::spawn(run(Kind::Accept, 150));
    assert!(matches!(run(Kind::Accept, 1).await, Err(StoreError::Busy)));
    let second = tokio::spawn(run(Kind::Settle, 0));
    let third = tokio::spawn(run(Kind::Settle, 0));
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    held.await.unwrap().unwrap();
    for member in [first, second, third] {
        member.await.unwrap().unwrap();
    }
    store.writer.close().await.unwrap();
    assert!(matches!(run(Kind::Accept, 1).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn settlements_alone_wait_a_moment_for_each_other() {
    let fixture = Fixture::new().await;
    let before = commits(&fixture.store);
    let members: Vec<_> = (0..20)
        .map(|n| tokio::spawn(fixture.store.writer.run(Kind::Settle, Cost::rows(1), note(format!("n{n}")))))
        .collect();
    for member in members {
        tokio::time::timeout(Duration::from_secs(5), member).await.unwrap().unwrap().unwrap();
    }
    assert!(commits(&fixture.store) - before < 20);
}

#[tokio::test]
async fn the_log_is_cut_to_nothing_when_asked_and_at_the_end() {
    let fixture = Fixture::new().await;
    let log = fixture.options.path.with_extension("db-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 0);
    assert!(fixture.store.writer.truncate_wal().await.unwrap());
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
    fixture.store.shut().await.unwrap();
    assert!(!log.exists());
    assert!(matches!(fixture.store.readers.run(|_| Ok(())).await, Err(StoreError::Closed)));
    // The folder is free again although the value still exists.
    SqliteStore::open(fixture.options.clone()).unwrap();
}
