//! Findings for `doctor`. Reads only; the integrity check can take long and is never part of a start.

use std::path::Path;

use rusqlite::Connection;

use sealpost_core::delivery::{FailReason, Status};
use sealpost_core::limits::DISK_RESERVE_BYTES;

use crate::error::StoreError;
use crate::sqlite::SqliteStore;
use crate::sqlite::open;
use crate::sqlite::writer::{WriteError, folder_of, free_bytes};
use crate::upkeep::Finding;
use crate::vault::MasterKey;

/// A log of this size means that checkpoints do not get through.
const WAL_LARGE_BYTES: u64 = 256 * 1024 * 1024;

pub(super) async fn examine(store: &SqliteStore) -> Result<Vec<Finding>, StoreError> {
    let settings = store.writer.alone(|conn, _| settings(conn)).await?;
    let (path, key_file) = (store.path.clone(), store.master_key_file.clone());
    let read = tokio::task::spawn_blocking(move || -> Result<Vec<Finding>, WriteError> {
        let conn = open::reader(&path)?;
        Ok(vec![
            integrity(&conn)?,
            unknown_outcomes(&conn)?,
            key_mode(&key_file),
            log_size(&path),
            disk(&path),
        ])
    });
    let mut findings = read.await.map_err(|_| StoreError::Closed)?.map_err(WriteError::for_caller)?;
    findings.push(settings);
    Ok(findings)
}

fn finding(ok: bool, what: String, advice: &str) -> Finding {
    Finding { ok, what, advice: (!ok).then(|| advice.to_owned()) }
}

fn integrity(conn: &Connection) -> Result<Finding, WriteError> {
    let mut statement = conn.prepare("PRAGMA quick_check(5)")?;
    let said: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let ok = said == ["ok"];
    let what = if ok {
        "the database is sound".to_owned()
    } else {
        format!("the database is damaged: {}", said.join("; "))
    };
    Ok(finding(ok, what, "restore the last backup"))
}

fn unknown_outcomes(conn: &Connection) -> Result<Finding, WriteError> {
    let count: i64 = conn.query_row(
        "SELECT count(*) FROM delivery WHERE state IN (2, 3) AND state = ?1 AND reason = ?2",
        (Status::Failed.code(), FailReason::OutcomeUnknown.code()),
        |row| row.get(0),
    )?;
    Ok(finding(
        count == 0,
        format!("{count} deliveries failed without anybody knowing whether the receiver got them"),
        "redeliver them; receivers know the event by its id",
    ))
}

fn key_mode(key_file: &Path) -> Finding {
    let shown = key_file.display();
    match MasterKey::file_mode(key_file) {
        Ok(mode) => finding(
            mode & 0o077 == 0,
            format!("the master key file {shown} has mode {mode:04o}"),
            "use chmod 600; without that the next start is refused",
        ),
        Err(error) => finding(
            false,
            format!("the master key file {shown} cannot be looked at: {error}"),
            "put it back before the next start",
        ),
    }
}

fn log_size(path: &Path) -> Finding {
    let bytes = std::fs::metadata(super::wal_of(path)).map_or(0, |file| file.len());
    finding(
        bytes < WAL_LARGE_BYTES,
        format!("the write-ahead log has {bytes} bytes"),
        "look for a program that keeps the database open for reading",
    )
}

fn disk(path: &Path) -> Finding {
    match free_bytes(folder_of(path)) {
        Some(free) => finding(
            free >= DISK_RESERVE_BYTES,
            format!("the disk has {free} bytes free"),
            "make room: nothing is accepted below 64 MiB, so that deliveries under way can be finished",
        ),
        None => finding(
            false,
            "the disk cannot be asked for its free room".into(),
            "look at the data folder's mount",
        ),
    }
}

/// What the writer's connection really has in force.
fn settings(conn: &Connection) -> Result<Finding, WriteError> {
    let number = |pragma: &str| conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let journal: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let (synchronous, secure_delete) = (number("synchronous")?, number("secure_delete")?);
    let ok = journal == "wal" && synchronous == 2 && secure_delete == 1;
    Ok(finding(
        ok,
        format!(
            "the writer uses journal_mode={journal} synchronous={synchronous} secure_delete={secure_delete}"
        ),
        "this should be wal, 2 and 1: please report it",
    ))
}
