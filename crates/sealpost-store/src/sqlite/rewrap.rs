//! Another master key while serving: every key that the present one wraps is wrapped by a new one, in one
//! transaction with the check value. Payloads and tenants' secrets are below the tenants' keys and stay as they are.
//!
//! The order on disk: the present key has a second name and the new key's file lies beside it before the transaction;
//! after it the new file takes the first name. Whoever finds a store between the two finishes that ([`finish`]).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::json;
use subtle::ConstantTimeEq as _;

use sealpost_core::audit::By;
use sealpost_core::id::TenantId;

use crate::audit::Change;
use crate::error::StoreError;
use crate::sqlite::audit as log;
use crate::sqlite::registry::token_keys;
use crate::sqlite::upkeep::beside;
use crate::sqlite::writer::{Cost, Kind, WriteError, folder_of};
use crate::sqlite::{SqliteStore, erase, schema};
use crate::upkeep::Rewrapped;
use crate::vault::{MasterKey, Vault};

pub(super) async fn rewrap(store: &SqliteStore, by: By) -> Result<Rewrapped, StoreError> {
    // Whoever wraps or unwraps meanwhile waits: half of it would be under a key that is gone.
    let _alone = store.wrapping.write().await;
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
    // What the former key opens is not left in the log.
    erase::empty_log(store).await?;
    Ok(Rewrapped { keys, former })
}

fn next_file(key_file: &Path) -> PathBuf {
    beside(key_file, ".new")
}

/// The new key, on stable storage before anything is wrapped with it, and where the present one stays.
fn prepare(key_file: &Path, check: &[u8; 32]) -> Result<(MasterKey, PathBuf), StoreError> {
    // The file in place is the one to go: nobody has put another there since the start.
    let present = MasterKey::read_file(key_file)?;
    if !bool::from(present.check_value().ct_eq(check)) {
        let why = format!("the master key file {} is no longer the one in use", key_file.display());
        return Err(StoreError::MasterKey(why));
    }
    let next = next_file(key_file);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let why = format!("{} is in the way: {error}", next.display());
            return Err(StoreError::MasterKey(why));
        }
        // Made by a rotation that a crash ended before it wrapped anything.
        _ => {}
    }
    let former = keep(key_file, check)?;
    Ok((MasterKey::make_file(&next)?, former))
}

/// A second name for a key's file, made from its check value: backups that were made under it open with nothing else.
fn keep(key_file: &Path, check: &[u8; 32]) -> Result<PathBuf, StoreError> {
    let kept = former_file(key_file, check);
    match fs::hard_link(key_file, &kept) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let why = format!("the present master key cannot be kept as {}: {error}", kept.display());
            Err(StoreError::MasterKey(why))
        }
        _ => Ok(kept),
    }
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
        let seed = token_keys::unseal(former, &kid, &sealed)?;
        put.execute((&kid, token_keys::seal(next, &kid, &seed)))?;
        keys += 1;
    }
    Ok(keys)
}

/// Gives the new key's file the name of the settings.
fn take_name(key_file: &Path) -> Result<(), StoreError> {
    let next = next_file(key_file);
    let named = fs::rename(&next, key_file)
        .and_then(|()| File::open(folder_of(key_file)).and_then(|folder| folder.sync_all()));
    named.map_err(|error| {
        StoreError::MasterKey(format!(
            "the store is under the new master key in {}, but it could not be named {}: {error}",
            next.display(),
            key_file.display()
        ))
    })
}

fn former_file(key_file: &Path, check: &[u8; 32]) -> PathBuf {
    let mark: String = check[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    beside(key_file, &format!(".{mark}"))
}

/// At a start that finds another key than the store's in the file: a rotation that ended between its commit and the
/// naming left the right one beside it. `None`: it did not.
pub(super) fn finish(key_file: &Path, check: &[u8]) -> Result<Option<MasterKey>, StoreError> {
    let next = next_file(key_file);
    if !next.exists() {
        return Ok(None);
    }
    let fresh = MasterKey::read_file(&next)?;
    if !bool::from(fresh.check_value().as_slice().ct_eq(check)) {
        return Ok(None);
    }
    let former = MasterKey::read_file(key_file)?;
    keep(key_file, &former.check_value())?;
    take_name(key_file)?;
    Ok(Some(fresh))
}

#[cfg(test)]
mod tests;
