//! The store of several nodes: one PostgreSQL database that all of them use.
//!
//! ```text
//!   roles (registry inbox queue history upkeep)
//!     | accept, settle                    | everything else
//!   one lane each per process:            a transaction of its own
//!     who waits shares a transaction
//!           \                              /
//!            pool: few connections, each call bounded
//! ```
//! What one process decided on another may have changed: every decision is made on rows that are locked or on a version
//! that is compared in the same transaction. Transactions that collide are done again. The database's clock says
//! whether a process is alive, and what time it is for whoever asks; a verb is told the time, as in SQLite.

pub(crate) mod arrive;
mod audit;
mod bell;
mod erase;
mod fault;
mod group;
mod history;
mod inbox;
mod node;
mod numbers;
mod open;
mod pool;
mod queue;
mod registry;
mod retention;
mod rewrap;
mod schema;
mod tls;
mod upkeep;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use subtle::ConstantTimeEq as _;

use sealpost_core::id::{TenantId, TenantNo};

use crate::error::StoreError;
use crate::vault::{MasterKey, TenantHasher, TenantKey, Vault};
use bell::Bell;
use fault::Fault;
use group::Lane;
use inbox::AcceptWork;
use node::Node;
use numbers::Numbers;
use pool::{Columns as _, Conn, Pool, reading};
use queue::SettleWork;

pub use open::OpenOptions;

/// Dropping it leaves what it holds to the other nodes, which take it up after a while;
/// [`Upkeep::close`](crate::Upkeep::close) hands it over at once.
pub struct PostgresStore {
    pub(crate) shared: Arc<Shared>,
    accepts: Lane<AcceptWork>,
    settles: Lane<SettleWork>,
}

/// What tasks of this process have in common.
pub(crate) struct Shared {
    pub(crate) pool: Arc<Pool>,
    pub(crate) vault: Vault,
    pub(crate) master_key_file: PathBuf,
    /// Held shared from reading or making a key that the master key wraps until it is opened or stored.
    pub(crate) wrapping: tokio::sync::RwLock<()>,
    pub(crate) node: Node,
    pub(crate) numbers: Numbers,
    pub(crate) bell: Arc<Bell>,
    pub(crate) tally: Tally,
    tenants: RwLock<HashMap<TenantNo, KnownTenant>>,
    /// Numbers of event types' names; never deleted, so never wrong.
    type_names: RwLock<HashMap<String, i64>>,
    /// The last day for which partitions were made.
    pub(crate) partitioned: Mutex<Option<i64>>,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepts: AtomicU64,
    pub(crate) claims: AtomicU64,
    pub(crate) settles: AtomicU64,
    pub(crate) delivery_writes: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

#[derive(Clone)]
struct KnownTenant {
    key: Arc<TenantKey>,
    hasher: Arc<TenantHasher>,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("node", &self.shared.node.no()).finish()
    }
}

impl PostgresStore {
    /// Opens the database or makes its tables.
    pub async fn open(options: OpenOptions) -> Result<Self, StoreError> {
        let shared = Arc::new(open::open(options).await?);
        node::keep_alive(&shared);
        bell::hang_up(&shared);
        Ok(Self { accepts: Lane::start(&shared), settles: Lane::start(&shared), shared })
    }
}

impl Shared {
    pub(crate) async fn tenant_key(&self, tenant: TenantNo) -> Result<Option<Arc<TenantKey>>, StoreError> {
        Ok(self.known_tenant(tenant).await?.map(|known| known.key))
    }

    async fn known_tenant(&self, tenant: TenantNo) -> Result<Option<KnownTenant>, StoreError> {
        let known = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let _same_key = self.wrapping.read().await;
        let found = reading!(self, |conn| {
            self.is_under_our_key(conn).await?;
            let row = conn.optional("SELECT id, wrapped_key FROM tenant WHERE no = $1", &[&tenant.0]).await?;
            row.map(|row| Ok((row.bytes(0)?, row.col::<Vec<u8>>(1)?))).transpose()
        })?;
        let Some((id, wrapped)) = found else { return Ok(None) };
        let key = self.vault.unwrap_tenant_key(TenantId::from_bytes(id), &wrapped)?;
        Ok(Some(self.remember_tenant(tenant, key)))
    }

    fn remember_tenant(&self, tenant: TenantNo, key: Arc<TenantKey>) -> KnownTenant {
        let known = KnownTenant { hasher: Arc::new(key.hasher()), key };
        self.tenants.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, known.clone());
        known
    }

    /// Before a key is wrapped or unwrapped: another node may have given the database another master key. If its file
    /// has come here too, it is used from now on; otherwise nothing is wrapped any more with the former.
    pub(crate) async fn is_under_our_key(&self, conn: &Conn) -> Result<(), Fault> {
        let check = schema::master_check(conn).await?.ok_or(crate::rows::corrupt("master key check"))?;
        if bool::from(self.vault.check_value().as_slice().ct_eq(&check)) {
            return Ok(());
        }
        let path = self.master_key_file.clone();
        let read = tokio::task::spawn_blocking(move || MasterKey::read_file(&path)).await;
        match read.map_err(|_| StoreError::Closed)? {
            Ok(key) if bool::from(key.check_value().as_slice().ct_eq(&check)) => {
                self.vault.replace(key);
                Ok(())
            }
            _ => Err(rewrap::elsewhere(&self.master_key_file).into()),
        }
    }

    /// The number of an event type's name, made if it is new. Stored at once: a name nobody uses harms nobody.
    pub(crate) async fn type_no(&self, name: &str) -> Result<i64, Fault> {
        let known = self.type_names.read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        if let Some(no) = known {
            return Ok(no);
        }
        let conn = self.pool.get().await?;
        let find = "SELECT no FROM type_name WHERE name = $1";
        let no = match conn.optional(find, &[&name]).await? {
            Some(row) => row.col(0)?,
            None => {
                let make = "INSERT INTO type_name (name) VALUES ($1) ON CONFLICT DO NOTHING";
                conn.run(make, &[&name]).await?;
                conn.one(find, &[&name]).await?.col(0)?
            }
        };
        self.type_names.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), no);
        Ok(no)
    }

    /// Hands what this process holds to the others, and stops.
    pub(crate) async fn shut(&self) -> Result<(), StoreError> {
        // Whatever this process just gave back.
        let _ = bell::ring(self).await;
        if let Err(error) = self.node.end(&self.pool).await {
            tracing::warn!(error = ?error, "the database was not told that this node ends; others notice by themselves");
        }
        self.pool.close().await;
        Ok(())
    }
}
