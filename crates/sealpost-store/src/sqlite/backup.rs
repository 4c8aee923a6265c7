//! Copies of the store: made while it serves, and put back with the erasures that came since.
//!
//! A backup is one file of mode 0600 that opens with nothing but the master key, which is never in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use subtle::ConstantTimeEq;

use sealpost_core::id::{TenantId, TenantNo};
use sealpost_core::time::Timestamp;

use crate::error::StoreError;
use crate::sqlite::erase::{self, Entry, Walk};
use crate::sqlite::open::{self, FolderLock};
use crate::sqlite::writer::{WriteError, folder_of};
use crate::sqlite::{SqliteStore, schema};
use crate::vault::key_file::beside;
use crate::vault::{MasterKey, Vault};

/// Pages copied between two looks around.
const STEP_PAGES: i32 = 1024;
/// Beside the database: which claims of it began. The server keeps it, see there.
const STARTED: &str = "started";

pub(super) async fn backup(store: &SqliteStore, to: PathBuf) -> Result<(), StoreError> {
    let from = store.path.clone();
    tokio::task::spawn_blocking(move || {
        new_file(&to)?;
        let copied = copy_database(&from, &to).map_err(WriteError::for_caller);
        if copied.is_err() {
            // Half a backup is none; the error says why there is none.
            let _ = fs::remove_file(&to);
        }
        copied
    })
    .await
    .map_err(|_| StoreError::Closed)?
}

/// Never writes over anything.
fn new_file(to: &Path) -> Result<(), StoreError> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map(drop).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            StoreError::Refused(format!(
                "{} exists already; a backup is not written over anything",
                to.display()
            ))
        } else {
            cannot("make the backup", to, &error)
        }
    })
}

/// One moment of the database, whatever is written meanwhile: the read transaction below pins it, so that the copy
/// never has to begin again. Until it is done, the log can grow but not begin anew.
fn copy_database(from: &Path, to: &Path) -> Result<(), WriteError> {
    let source = open::reader(from)?;
    let pinned = source.unchecked_transaction()?;
    let _: i64 = pinned.query_row("SELECT count(*) FROM meta", [], |row| row.get(0))?;
    let mut target =
        Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    {
        let backup = Backup::new(&source, &mut target)?;
        while backup.step(STEP_PAGES)? != StepResult::Done {
            std::thread::yield_now();
        }
    }
    drop(pinned);
    // One file, not three: without a log beside it, it can be copied like any file.
    let mode: String = target.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    if mode != "delete" {
        return Err(StoreError::Backend(format!("the backup stayed in journal mode {mode}")).into());
    }
    target.close().map_err(|(_, error)| error)?;
    sync(to).map_err(|error| cannot("store the backup", to, &error))?;
    Ok(())
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    File::open(folder_of(path))?.sync_all()
}

/// What came of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Erasures that were made after the backup and are applied again.
    pub erasures: u64,
    /// Payloads they destroyed.
    pub payloads_erased: u64,
    /// Whether there was a list of erasures. Without one nobody here knows what was erased after the backup.
    pub erasures_known: bool,
    /// Deliveries that were pending when the backup was made: whatever of them was sent since is sent again.
    pub pending: u64,
}

/// Puts a backup in the place of a database that no process has open. Refuses to take the place of one that exists,
/// unless `replace`. The master key must be the one the backup was made under. Erasures are applied from the data
/// folder's list and from the one named by `erasures`, which is taken over into it. Blocks. A refusal changes nothing.
pub fn restore(
    backup: &Path,
    database: &Path,
    master_key_file: &Path,
    erasures: Option<&Path>,
    replace: bool,
    now: Timestamp,
) -> Result<RestoreReport, StoreError> {
    let folder = folder_of(database);
    let made: Vec<&Path> =
        folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    // As at the first start: nobody else's business.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| cannot("make the data folder", folder, &error))?;
    let restored = FolderLock::take(folder).and_then(|_lock| {
        let restored = restore_locked(backup, database, master_key_file, erasures, replace, now);
        if restored.is_err() && !made.is_empty() {
            let _ = fs::remove_file(folder.join(open::LOCK_FILE));
        }
        restored
    });
    if restored.is_err() {
        for folder in made {
            // Only an empty one goes.
            let _ = fs::remove_dir(folder);
        }
    }
    restored
}

fn restore_locked(
    backup: &Path,
    database: &Path,
    master_key_file: &Path,
    erasures: Option<&Path>,
    replace: bool,
    now: Timestamp,
) -> Result<RestoreReport, StoreError> {
    if database.exists() && !replace {
        return Err(StoreError::Refused(format!(
            "{} exists; a restore replaces it only if told to",
            database.display()
        )));
    }
    let folder = folder_of(database);
    let key = MasterKey::read_file(master_key_file)?;
    let mut journal = erase::read_journal(folder)?;
    if let Some(named) = erasures {
        journal.get_or_insert_default().extend(erase::read_named_journal(named)?);
    }
    let fresh = beside(database, ".restoring");
    remove_if_there(&fresh)?;
    let restored = copy_and_erase(backup, &fresh, journal.as_deref(), &key, now);
    let report = match restored.map_err(|error| about_backup(backup, error)) {
        Ok(report) => report,
        Err(error) => {
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
    };
    if erasures.is_some() {
        erase::append_missing(folder, journal.as_deref().unwrap_or_default())?;
    }
    // It tells of claims of the database that goes, and nothing of those in the one that comes.
    remove_if_there(&folder.join(STARTED))?;
    // The old log must never meet the new file: first away with the old database, then with its log, then the new
    // one in. Killed in between, there is no database at all, and the restore is simply done again.
    let old = beside(database, ".replaced");
    if database.exists() {
        fs::rename(database, &old).map_err(|error| cannot("put aside", database, &error))?;
    }
    remove_if_there(&beside(database, "-wal"))?;
    remove_if_there(&beside(database, "-shm"))?;
    fs::rename(&fresh, database).map_err(|error| cannot("put the restored database at", database, &error))?;
    remove_if_there(&old)?;
    sync(database).map_err(|error| cannot("store", database, &error))?;
    Ok(report)
}

/// What SQLite says of a file that is no backup, as a sentence about that file.
fn about_backup(backup: &Path, error: WriteError) -> StoreError {
    let backup = backup.display();
    match error {
        WriteError::Sql(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                StoreError::Refused(format!("{backup} is not a Sealpost database"))
            }
            Some(ErrorCode::DatabaseCorrupt) => {
                StoreError::Refused(format!("the backup {backup} is damaged: {error}"))
            }
            _ => WriteError::Sql(error).for_caller(),
        },
        other => other.for_caller(),
    }
}

fn copy_and_erase(
    backup: &Path,
    fresh: &Path,
    journal: Option<&[Entry]>,
    key: &MasterKey,
    now: Timestamp,
) -> Result<RestoreReport, WriteError> {
    copy_file(backup, fresh)?;
    let mut conn = Connection::open_with_flags(
        fresh,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // A rollback journal would hold what is erased here, in memory it holds it for no longer than this process.
    let _: String = conn.query_row("PRAGMA journal_mode = MEMORY", [], |row| row.get(0))?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "secure_delete", "ON")?;
    conn.pragma_update(None, "trusted_schema", "OFF")?;
    conn.pragma_update(None, "foreign_keys", "OFF")?;
    let sound: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(
            StoreError::Refused(format!("the backup {} is damaged: {sound}", backup.display())).into()
        );
    }
    let owner: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if owner != schema::APPLICATION_ID {
        return Err(StoreError::Refused(format!("{} is not a Sealpost database", backup.display())).into());
    }
    // Also refuses a newer one.
    schema::migrate(&mut conn)?;
    check_key(&conn, key)?;
    let report = erase_again(&mut conn, journal, now)?;
    conn.close().map_err(|(_, error)| error)?;
    File::open(fresh).and_then(|file| file.sync_all()).map_err(|error| cannot("store", fresh, &error))?;
    Ok(report)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut source = File::open(from).map_err(|error| {
        StoreError::Refused(format!("cannot read the backup {}: {error}", from.display()))
    })?;
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|error| cannot("make", to, &error))?;
    io::copy(&mut source, &mut target).map_err(|error| cannot("copy the backup to", to, &error))?;
    Ok(())
}

/// The right master key, and that it opens what the backup holds.
fn check_key(conn: &Connection, key: &MasterKey) -> Result<(), WriteError> {
    let check: Option<Vec<u8>> = schema::meta(conn, "master_check")?;
    let right = check.is_some_and(|check| bool::from(key.check_value().as_slice().ct_eq(&check)));
    if !right {
        return Err(StoreError::MasterKey("the backup was made under another master key".into()).into());
    }
    let vault = Vault::new(key.clone());
    let mut statement = conn.prepare("SELECT id, wrapped_key FROM tenant")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let wrapped: Vec<u8> = row.get(1)?;
        vault.unwrap_tenant_key(TenantId::from_bytes(row.get(0)?), &wrapped)?;
    }
    Ok(())
}

/// Applies the erasures that the backup does not know.
fn erase_again(
    conn: &mut Connection,
    journal: Option<&[Entry]>,
    now: Timestamp,
) -> Result<RestoreReport, WriteError> {
    let mut report = RestoreReport { erasures_known: journal.is_some(), ..RestoreReport::default() };
    for entry in journal.unwrap_or_default() {
        if erase::recorded(conn, entry)?.is_some() {
            continue;
        }
        let tenant: Option<i64> = conn
            .query_row("SELECT no FROM tenant WHERE id = ?1", [entry.tenant.bytes()], |row| row.get(0))
            .optional()?;
        // A tenant that came after the backup has nothing in it.
        let Some(tenant) = tenant.map(TenantNo) else { continue };
        let mut walk = Walk::new(tenant, entry.scope()?);
        while !walk.is_done() {
            let transaction = conn.transaction()?;
            walk.go_on(&transaction, now)?;
            if walk.is_done() {
                erase::record(&transaction, entry, tenant, walk.count)?;
            }
            transaction.commit()?;
        }
        report.erasures += 1;
        report.payloads_erased += walk.count;
    }
    let pending: i64 =
        conn.query_row("SELECT count(*) FROM delivery WHERE state = 0", [], |row| row.get(0))?;
    report.pending = pending.unsigned_abs();
    Ok(report)
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("remove", path, &error)),
        _ => Ok(()),
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Backend(format!("cannot {what} {}: {error}", path.display()))
}
