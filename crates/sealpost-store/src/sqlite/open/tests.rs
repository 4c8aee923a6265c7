use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::sqlite::SqliteStore;
use crate::sqlite::testing::{Fixture, folder};

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_one_ends() {
    let (folder, options) = folder();
    let store = SqliteStore::open(options.clone()).unwrap();
    let refused = SqliteStore::open(options.clone()).unwrap_err().to_string();
    assert_eq!(refused, format!("{} is in use by another process", folder.path().display()));
    drop(store);
    SqliteStore::open(options).unwrap();
}

#[tokio::test]
async fn every_opening_is_a_new_incarnation() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.store.incarnation, 1);
    let fixture = fixture.restart(|_| ());
    assert_eq!(fixture.store.incarnation, 2);
}

#[tokio::test]
async fn the_master_key_is_made_once_and_then_has_to_be_there_and_right() {
    let (folder, options) = folder();
    let key = folder.path().join("master.key");
    drop(SqliteStore::open(options.clone()).unwrap());
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    drop(SqliteStore::open(options.clone()).unwrap());

    let right = fs::read(&key).unwrap();
    let refusal = || match SqliteStore::open(options.clone()) {
        Err(StoreError::MasterKey(why)) => why.replace(&key.display().to_string(), "PATH"),
        other => panic!("{other:?}"),
    };
    fs::remove_file(&key).unwrap();
    let missing = refusal();
    assert!(!key.exists());
    MasterKey::make_file(&key).unwrap();
    assert_eq!(
        [missing.as_str(), &refusal()],
        [
            "the master key file PATH is missing; without it the store cannot be opened",
            "the master key file PATH holds another key than the one this store was made with"
        ]
    );
    fs::write(&key, right).unwrap();
    SqliteStore::open(options).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_untouched() {
    let (_folder, options) = folder();
    drop(SqliteStore::open(options.clone()).unwrap());
    let conn = Connection::open(&options.path).unwrap();
    conn.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    drop(conn);
    assert!(matches!(
        SqliteStore::open(options),
        Err(StoreError::NewerSchema { found, known }) if found == known + 1
    ));
}

#[tokio::test]
async fn commits_are_synced_and_deleted_bytes_are_overwritten() {
    let fixture = Fixture::new().await;
    let pragmas = |conn: &Connection, names: &[&str]| -> Vec<String> {
        let read = |name: &&str| {
            conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0))
                .map(|value| format!("{name} {value:?}"))
                .unwrap()
        };
        names.iter().map(read).collect()
    };
    const NAMES: [&str; 10] = [
        "journal_mode",
        "synchronous",
        "wal_autocheckpoint",
        "secure_delete",
        "foreign_keys",
        "trusted_schema",
        "cell_size_check",
        "mmap_size",
        "temp_store",
        "query_only",
    ];
    let writer = fixture.store.writer.alone(move |conn, _| Ok(pragmas(conn, &NAMES))).await.unwrap();
    expect_test::expect![[r#"
        journal_mode Text("wal")
        synchronous Integer(2)
        wal_autocheckpoint Integer(0)
        secure_delete Integer(1)
        foreign_keys Integer(0)
        trusted_schema Integer(0)
        cell_size_check Integer(1)
        mmap_size Integer(0)
        temp_store Integer(2)
        query_only Integer(0)"#]]
    .assert_eq(&writer.join("\n"));
    let reader = fixture.store.readers.run(move |conn| Ok(pragmas(conn, &NAMES[9..]))).await.unwrap();
    assert_eq!(reader, ["query_only Integer(1)"]);
}
