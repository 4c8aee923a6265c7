//! Another master key while serving: every key that the present one wraps is wrapped by a new one, in one
//! transaction with the check value. Payloads and tenants' secrets are below the tenants' keys and stay as they are.
//!
//! The order on disk: the present key has a second name and the new key's file lies beside it before the transaction;
//! after it the new file takes the first name. Whoever finds a store between the two finishes that
//! ([`key_file`](crate::vault::key_file)).

use rusqlite::Connection;
use serde_json::json;

use sealpost_core::audit::By;
use sealpost_core::id::TenantId;

use crate::audit::Change;
use crate::error::StoreError;
use crate::sqlite::audit as log;
use crate::sqlite::rows;
use crate::sqlite::writer::{Cost, Kind, WriteError};
use crate::sqlite::{SqliteStore, erase, schema};
use crate::upkeep::Rewrapped;
use crate::vault::Vault;
use crate::vault::key_file::{prepare, take_name};

/// Half a second each.
const LOG_TRIES: u32 = 6;

pub(super) async fn rewrap(store: &SqliteStore, by: By) -> Result<Rewrapped, StoreError> {
    // Whoever wraps or unwraps meanwhile waits: half of it would be under a key that is gone.
    let alone = store.wrapping.write().await;
    let key_file = store.master_key_file.clone();
    let (fresh, former) = {
        let (file, check) = (key_file.clone(), store.vault.check_value());
        tokio::task::spawn_blocking(move || prepare(&file, &check))
            .await
            .map_err(|_| StoreError::Closed)??
    };
    let keys = {
        let former = store.vault.clone();
        let next = Vault::new(fresh.clone());
        let write = move |conn: &Connection, _: &mut _| {
            let keys = wrap_again(conn, &former, &next)?;
            schema::set_meta(conn, "master_check", &next.check_value().as_slice())?;
            log::insert_for_installation(conn, &by, "master key", &Change::made(json!({"keys": keys})))?;
            Ok(keys)
        };
        store.writer.run(Kind::Registry, Cost::rows(64), write).await?
    };
    // From here on there is no way back, and nothing below may keep the new key from being used.
    store.vault.replace(fresh);
    tokio::task::spawn_blocking(move || take_name(&key_file)).await.map_err(|_| StoreError::Closed)??;
    drop(alone);
    // What the former key opens is not left in the log. The rotation holds all the same if somebody reads for long.
    let cleared = erase::try_to_empty_log(store, LOG_TRIES).await.unwrap_or(false);
    Ok(Rewrapped { keys, former, cleared })
}

/// Keys that were wrapped again.
fn wrap_again(conn: &Connection, former: &Vault, next: &Vault) -> Result<u64, WriteError> {
    let mut keys = 0;
    let mut tenants = conn.prepare("SELECT no, id, wrapped_key FROM tenant")?;
    let mut rows = tenants.query([])?;
    let mut put = conn.prepare("UPDATE tenant SET wrapped_key = ?2 WHERE no = ?1")?;
    while let Some(row) = rows.next()? {
        let (no, id, wrapped): (i64, [u8; 16], Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        put.execute((no, next.rewrap_tenant_key(TenantId::from_bytes(id), former, &wrapped)?))?;
        keys += 1;
    }
    let mut token_keys = conn.prepare("SELECT kid, sealed FROM token_key")?;
    let mut rows = token_keys.query([])?;
    let mut put = conn.prepare("UPDATE token_key SET sealed = ?2 WHERE kid = ?1")?;
    while let Some(row) = rows.next()? {
        let (kid, sealed): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let seed = rows::open_token_seed(former, &kid, &sealed)?;
        put.execute((&kid, rows::seal_token_seed(next, &kid, &seed)))?;
        keys += 1;
    }
    Ok(keys)
}

#[cfg(test)]
mod tests;
