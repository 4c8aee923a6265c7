//! What the disk says: how much room is left, and which errors mean what.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

/// The disk the store is on, and how much of it accepting leaves alone.
pub(super) struct Disk {
    folder: PathBuf,
    reserve_bytes: u64,
}

impl Disk {
    pub(super) fn new(database: &Path, reserve_bytes: u64) -> Self {
        Self { folder: folder_of(database).to_owned(), reserve_bytes }
    }

    /// Whether more than the reserve is free; below, only claims and settlements are written. `None`: nobody knows,
    /// because there is no reserve or the disk does not say; then the write itself will tell.
    pub(super) fn has_room(&self) -> Option<bool> {
        if self.reserve_bytes == 0 {
            return None;
        }
        free_bytes(&self.folder).map(|free| free >= self.reserve_bytes)
    }
}

pub(crate) fn folder_of(database: &Path) -> &Path {
    database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Bytes that this process may still write on the disk of `folder`.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    match error.sqlite_error() {
        // The shared memory file could not grow: it is an IO error by name, but nothing is broken.
        Some(error) => error.code == ErrorCode::DiskFull || error.extended_code == SQLITE_IOERR_SHMSIZE,
        None => false,
    }
}

/// An IO error or a corrupt page: what is in memory and what is on disk may differ from now on, and a failed fsync
/// must not be tried again. The only safe thing is to end and to recover from disk.
pub(super) fn end_if_broken(error: &rusqlite::Error) {
    let broken = error.sqlite_error().is_some_and(|cause| {
        matches!(
            cause.code,
            ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
        ) && !is_full(error)
    });
    if broken {
        tracing::error!(error = %error, "the store's disk failed; ending at once, to recover from disk at the next start");
        std::process::abort();
    }
}
