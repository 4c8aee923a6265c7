//! What can go wrong in a store, by what the caller can do about it.

use std::path::PathBuf;

/// Expected refusals (a conflict, an unknown id) are answers of the verbs, never errors.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk has no room beyond the reserve: refuse new events, keep settling.
    #[error("the store's disk is full")]
    Full,
    /// Too much is waiting to be written; try again later.
    #[error("the store is busy")]
    Busy,
    /// The database server cannot be reached, or gave no answer in time; try again later.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// Another process holds the data folder.
    #[error("{path} is in use by another process")]
    Locked { path: PathBuf },
    /// The file was written by a newer version.
    #[error("the store has schema version {found}, this program knows up to {known}")]
    NewerSchema { found: i64, known: i64 },
    /// Missing, wrong, or not allowed to be made.
    #[error("{0}")]
    MasterKey(String),
    /// A row that our own rules say cannot exist.
    #[error("the store holds an impossible {what}")]
    Corrupt { what: &'static str },
    /// Sealed bytes that do not open with the current keys.
    #[error("a sealed {what} does not open")]
    Unsealable { what: &'static str },
    /// Nothing is wrong with the store: what was named to make or to read is not what it must be.
    #[error("{0}")]
    Refused(String),
    #[error("the store failed: {0}")]
    Backend(String),
}
