//! The file of the master key while it is replaced. The present key has a second name and the new key's file lies beside
//! it before anything is wrapped anew; the new file takes the first name afterwards. Whoever finds a store between the
//! two finishes that.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq as _;

use super::MasterKey;
use crate::error::StoreError;

pub(crate) fn next_file(key_file: &Path) -> PathBuf {
    beside(key_file, ".new")
}

/// The new key, on stable storage before anything is wrapped with it, and where the present one stays.
pub(crate) fn prepare(key_file: &Path, check: &[u8; 32]) -> Result<(MasterKey, PathBuf), StoreError> {
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

/// Gives the new key's file the name of the settings.
pub(crate) fn take_name(key_file: &Path) -> Result<(), StoreError> {
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
pub(crate) fn finish(key_file: &Path, check: &[u8]) -> Result<Option<MasterKey>, StoreError> {
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

/// A file's neighbour: its name with something behind it.
pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
