//! The embedded store: one SQLite file in a data folder that one process holds.
//!
//! ```text
//!   roles (registry inbox queue history upkeep)
//!     | seal, then                        | open after
//!   writer: one thread, one connection,   readers: a few connections, query only,
//!           group commit, checkpoints              one short transaction each
//! ```
//! A write verb is a closure that the writer runs inside a transaction it shares with whoever else is waiting; it
//! may run again if a stranger's closure spoiled the transaction. Nobody is answered before the commit.

mod audit;
mod backup;
#[cfg(feature = "bulk-history")]
mod bulk;
mod context;
mod erase;
mod history;
mod inbox;
#[cfg(feature = "integrity")]
mod integrity;
pub(crate) mod leave;
mod listing;
mod open;
mod queue;
mod reader;
mod registry;
mod retention;
mod rewrap;
mod rows;
mod schema;
#[cfg(test)]
mod testing;
mod upkeep;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rusqlite::OptionalExtension;

use sealpost_core::id::{TenantId, TenantNo};

use crate::error::StoreError;
pub(crate) use crate::off_thread::off_thread;
use crate::vault::{TenantHasher, TenantKey, Vault};
use open::FolderLock;
use reader::Readers;
use writer::Writer;

pub use backup::{RestoreReport, restore};
#[cfg(feature = "bulk-history")]
pub use bulk::load_history;
pub use erase::ERASURES_FILE;
#[cfg(feature = "integrity")]
pub use integrity::integrity;
pub use open::OpenOptions;
pub use writer::GroupLimits;

/// Dropping it stops the writer after what was begun; [`Upkeep::close`](crate::Upkeep::close) waits for it.
pub struct SqliteStore {
    pub(crate) readers: Readers,
    pub(crate) writer: Writer,
    pub(crate) vault: Arc<Vault>,
    /// The database file.
    pub(crate) path: PathBuf,
    /// Where the master key is, for `doctor`.
    pub(crate) master_key_file: PathBuf,
    /// Held shared from reading or making a key that the master key wraps until it is opened or stored.
    pub(crate) wrapping: tokio::sync::RwLock<()>,
    /// What distinguishes this run of the process from earlier ones that used the file.
    pub(crate) incarnation: i64,
    tenants: RwLock<HashMap<TenantNo, KnownTenant>>,
    // Fields go in this order: readers, then the writer with its last checkpoint, and the lock after all.
    lock: Mutex<Option<FolderLock>>,
}

#[derive(Clone)]
struct KnownTenant {
    key: Arc<TenantKey>,
    hasher: Arc<TenantHasher>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .field("incarnation", &self.incarnation)
            .finish()
    }
}

impl SqliteStore {
    /// Opens or makes the store. Blocks for the time of a migration at most.
    pub fn open(options: OpenOptions) -> Result<Self, StoreError> {
        let opened = open::open(options)?;
        Ok(Self {
            writer: opened.writer,
            readers: opened.readers,
            vault: Arc::new(opened.vault),
            path: opened.path,
            master_key_file: opened.master_key_file,
            wrapping: tokio::sync::RwLock::default(),
            incarnation: opened.incarnation,
            tenants: RwLock::default(),
            lock: Mutex::new(Some(opened.lock)),
        })
    }

    /// The key of a tenant, `None` if there is no such tenant.
    pub(crate) async fn tenant_key(&self, tenant: TenantNo) -> Result<Option<Arc<TenantKey>>, StoreError> {
        Ok(self.known_tenant(tenant).await?.map(|known| known.key))
    }

    async fn known_tenant(&self, tenant: TenantNo) -> Result<Option<KnownTenant>, StoreError> {
        let known = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let _same_key = self.wrapping.read().await;
        let row: Option<([u8; 16], Vec<u8>)> = self
            .readers
            .run(move |conn| {
                let mut statement =
                    conn.prepare_cached("SELECT id, wrapped_key FROM tenant WHERE no = ?1")?;
                Ok(statement.query_row([tenant.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
            })
            .await?;
        let Some((id, wrapped)) = row else { return Ok(None) };
        let key = self.vault.unwrap_tenant_key(TenantId::from_bytes(id), &wrapped)?;
        Ok(Some(self.remember_tenant(tenant, key)))
    }

    fn remember_tenant(&self, tenant: TenantNo, key: Arc<TenantKey>) -> KnownTenant {
        let known = KnownTenant { hasher: Arc::new(key.hasher()), key };
        self.tenants.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, known.clone());
        known
    }

    /// Finishes what waits, moves the log into the file, closes every connection and unlocks the folder.
    pub(crate) async fn shut(&self) -> Result<(), StoreError> {
        self.readers.close().await;
        self.writer.close().await?;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}
