//! Another master key while serving: every key that the present one wraps is wrapped by a new one, in one transaction
//! with the check value. The file comes first and takes its name afterwards, as with SQLite.
//!
//! The other nodes go on: tenants' keys that they have are the same as before. What they cannot do until the new file is
//! where theirs was is wrap and unwrap; they say so, and take the new file when it is there, without a restart.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use sealpost_core::audit::By;
use sealpost_core::id::TenantId;

use super::fault::Fault;
use super::pool::{Columns as _, Conn, transaction};
use super::{Shared, schema};
use crate::audit::Change;
use crate::error::StoreError;
use crate::postgres::audit as log;
use crate::rows;
use crate::upkeep::Rewrapped;
use crate::vault::Vault;
use crate::vault::key_file::{prepare, take_name};

/// What a node says that does not have the database's master key.
pub(super) fn elsewhere(key_file: &Path) -> StoreError {
    StoreError::MasterKey(format!(
        "the master key file {} holds another key than the one this database is under; every node needs the same file: \
         after `key rotate --master` copy it from the node where that was done",
        key_file.display()
    ))
}

pub(super) async fn rewrap(shared: &Arc<Shared>, by: By) -> Result<Rewrapped, StoreError> {
    // Whoever wraps or unwraps meanwhile waits; on the other nodes the row of the check value sees to that.
    let alone = shared.wrapping.write().await;
    let key_file = shared.master_key_file.clone();
    let (fresh, former) = {
        let (file, check) = (key_file.clone(), shared.vault.check_value());
        tokio::task::spawn_blocking(move || prepare(&file, &check))
            .await
            .map_err(|_| StoreError::Closed)??
    };
    let next = Vault::new(fresh.clone());
    let keys = transaction!(shared, |conn| wrap_all(conn, shared, &next, &by).await)?;
    // From here on there is no way back, and nothing below may keep the new key from being used.
    shared.vault.replace(fresh);
    tokio::task::spawn_blocking(move || take_name(&key_file)).await.map_err(|_| StoreError::Closed)??;
    drop(alone);
    // What the former key opens is not left in old versions of the rows. The rotation holds all the same if it is for now.
    let cleared = vacuum(shared).await;
    if let Err(fault) = &cleared {
        tracing::warn!(error = %fault, "rows under the former master key are not vacuumed yet");
    }
    Ok(Rewrapped { keys, former, cleared: cleared.is_ok() })
}

async fn vacuum(shared: &Shared) -> Result<(), StoreError> {
    let conn = shared.pool.get().await.map_err(Fault::for_caller)?;
    conn.batch_unhurried("VACUUM tenant, token_key").await.map_err(Fault::for_caller)
}

async fn wrap_all(conn: &Conn, shared: &Shared, next: &Vault, by: &By) -> Result<u64, Fault> {
    conn.rows("SELECT 1 FROM meta WHERE name = 'master_check' FOR UPDATE", &[]).await?;
    let check = schema::master_check(conn).await?;
    if check.as_deref() != Some(shared.vault.check_value().as_slice()) {
        return Err(elsewhere(&shared.master_key_file).into());
    }
    let mut keys = 0;
    for row in conn.rows("SELECT no, id, wrapped_key FROM tenant ORDER BY no FOR UPDATE", &[]).await? {
        let no: i64 = row.col(0)?;
        let id = TenantId::from_bytes(row.bytes(1)?);
        let wrapped = next.rewrap_tenant_key(id, &shared.vault, row.col(2)?)?;
        conn.run("UPDATE tenant SET wrapped_key = $2 WHERE no = $1", &[&no, &wrapped]).await?;
        keys += 1;
    }
    for row in conn.rows("SELECT kid, sealed FROM token_key ORDER BY kid FOR UPDATE", &[]).await? {
        let kid: String = row.col(0)?;
        let seed = rows::open_token_seed(&shared.vault, &kid, row.col(1)?)?;
        let sealed = rows::seal_token_seed(next, &kid, &seed);
        conn.run("UPDATE token_key SET sealed = $2 WHERE kid = $1", &[&kid, &sealed]).await?;
        keys += 1;
    }
    schema::set_master_check(conn, &next.check_value()).await?;
    log::insert_for_installation(conn, by, "master key", &Change::made(json!({"keys": keys}))).await?;
    Ok(keys)
}
