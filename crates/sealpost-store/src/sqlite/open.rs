//! Opening a data folder: lock it, open the file, bring its schema up, check the master key, count the incarnation.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{FlockOperation, flock};
use subtle::ConstantTimeEq;

use sealpost_core::limits::DISK_RESERVE_BYTES;

use crate::error::StoreError;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::reader::{Gate, Readers};
use crate::sqlite::writer::{GroupLimits, Start, WriteError, Writer, folder_of};
use crate::sqlite::{leave, schema};
use crate::vault::{MasterKey, Vault, key_file};

/// What a store is opened with.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The database file; its folder is the data folder.
    pub path: PathBuf,
    /// Made, with mode 0600, only together with a new store; otherwise it must be there and be the right one.
    pub master_key_file: PathBuf,
    pub group: GroupLimits,
    /// Free bytes that accepting leaves for claims and settlements.
    pub disk_reserve_bytes: u64,
}

impl OpenOptions {
    /// The defaults for a database file: the key beside it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            master_key_file: folder_of(&path).join("master.key"),
            path,
            group: GroupLimits::default(),
            disk_reserve_bytes: DISK_RESERVE_BYTES,
        }
    }
}

/// Bytes of cached pages: the working set of the writer is a few hot index pages; readers touch little.
const WRITER_CACHE_KIB: i64 = 8192;
const READER_CACHE_KIB: i64 = 2048;
/// Statements kept compiled.
const WRITER_STATEMENTS: usize = 96;
const READER_STATEMENTS: usize = 48;
/// After a checkpoint the log's file is cut back to this.
const WAL_FILE_BYTES: i64 = 64 * 1024 * 1024;

pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) readers: Readers,
    pub(super) vault: Vault,
    pub(super) path: PathBuf,
    pub(super) master_key_file: PathBuf,
    pub(super) incarnation: i64,
    pub(super) lock: FolderLock,
}

pub(super) fn open(options: OpenOptions) -> Result<Opened, StoreError> {
    let folder = folder_of(&options.path);
    // Hashes and names are in the clear in it: nobody else's business.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|e| cannot("make the data folder", folder, &e))?;
    let lock = FolderLock::take(folder)?;
    let (conn, vault, incarnation) = open_locked(&options).map_err(WriteError::for_caller)?;
    leave::refuse_moved(&conn).map_err(WriteError::for_caller)?;
    let ctx = WriterCtx::load(&conn, incarnation).map_err(|e| WriteError::from(e).for_caller())?;
    let gate = Gate::default();
    let readers = Readers::new(&options.path, gate.clone());
    let writer = Writer::start(Start {
        conn,
        ctx,
        gate,
        limits: options.group,
        path: &options.path,
        disk_reserve_bytes: options.disk_reserve_bytes,
    })?;
    Ok(Opened {
        writer,
        readers,
        vault,
        path: options.path,
        master_key_file: options.master_key_file,
        incarnation,
        lock,
    })
}

/// For who holds the folder's lock.
pub(super) fn open_locked(options: &OpenOptions) -> Result<(Connection, Vault, i64), WriteError> {
    let mut conn = Connection::open_with_flags(
        &options.path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // Before the first table: it cannot change later.
    conn.pragma_update(None, "page_size", 4096)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(
            StoreError::Backend(format!("the disk does not support write-ahead logging ({mode})")).into()
        );
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "secure_delete", "ON")?;
    conn.pragma_update(None, "journal_size_limit", WAL_FILE_BYTES)?;
    settle_connection(&conn, WRITER_CACHE_KIB, WRITER_STATEMENTS)?;
    schema::migrate(&mut conn)?;
    let vault = open_vault(&mut conn, &options.master_key_file)?;
    let incarnation = raise_incarnation(&mut conn)?;
    Ok((conn, vault, incarnation))
}

/// What holds for every connection.
fn settle_connection(conn: &Connection, cache_kib: i64, statements: usize) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_millis(50))?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "cell_size_check", "ON")?;
    conn.pragma_update(None, "trusted_schema", "OFF")?;
    conn.pragma_update(None, "foreign_keys", "OFF")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Plans never depend on bound values. Without it every statement whose plan might is compiled again each time it
    // is bound anew, which was a fifth of a delivery's CPU.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(statements);
    Ok(())
}

/// A connection that can only query.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    settle_connection(&conn, READER_CACHE_KIB, READER_STATEMENTS)?;
    conn.pragma_update(None, "query_only", "ON")?;
    Ok(conn)
}

/// The right master key, or a refusal. Only a store that never had one may get a new one.
fn open_vault(conn: &mut Connection, path: &Path) -> Result<Vault, WriteError> {
    let check: Option<Vec<u8>> = schema::meta(conn, "master_check")?;
    let Some(check) = check else {
        // A crash between making the file and keeping its check value leaves the file of a store without data.
        let key = if path.exists() { MasterKey::read_file(path)? } else { MasterKey::make_file(path)? };
        schema::set_meta(conn, "master_check", &key.check_value().as_slice())?;
        return Ok(Vault::new(key));
    };
    let key = match MasterKey::read_file(path)? {
        key if bool::from(key.check_value().as_slice().ct_eq(&check)) => key,
        other => key_file::finish(path, &check)?.unwrap_or(other),
    };
    if !bool::from(key.check_value().as_slice().ct_eq(&check)) {
        let shown = path.display();
        let why =
            format!("the master key file {shown} holds another key than the one this store was made with");
        return Err(StoreError::MasterKey(why).into());
    }
    Ok(Vault::new(key))
}

fn raise_incarnation(conn: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let next = schema::meta::<i64>(&transaction, "incarnation")?.unwrap_or(0) + 1;
    schema::set_meta(&transaction, "incarnation", &next)?;
    transaction.commit()?;
    Ok(next)
}

pub(super) const LOCK_FILE: &str = "sealpost.lock";

/// Held as long as the store is open; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(LOCK_FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| cannot("open the lock file", &path, &e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                Err(StoreError::Locked { path: folder.to_owned() })
            }
            Err(error) => Err(cannot("lock", &path, &error.into())),
        }
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Backend(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
