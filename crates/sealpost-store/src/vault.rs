//! Keys and sealing: master key -> tenant keys -> one key for each thing that is sealed.
//!
//! Promises. What is sealed opens only with the same master key, in the same tenant, table, row and column, and
//! for payloads only while the event's salt exists: destroying 32 bytes destroys the payload and every response
//! excerpt that belongs to it. Everything fails closed. Nothing here prints a key.
//!
//! Each key seals exactly once: it is derived from its parent and 32 random bytes, so the nonce can be zero and a
//! repeated nonce cannot happen. Whoever rewrites a value takes a fresh salt.
//!
//! Salts and keys are drawn here and not passed in: they are key material, the one exception to "chance is an
//! argument".

mod hasher;
pub(crate) mod key_file;
mod master_key;
mod tenant_key;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt as HkdfSalt};
use zeroize::Zeroizing;

use sealpost_core::id::TenantId;

use crate::error::StoreError;

pub use hasher::TenantHasher;
pub use master_key::MasterKey;
pub use tenant_key::TenantKey;

/// Random bytes that one key is derived from. Kept beside what it seals; gone, the sealed bytes are noise.
pub type Salt = [u8; 32];

/// First byte of everything sealed, part of its key and of its associated data.
const FORMAT: u8 = 1;

/// Holds the master key of an open store, and hands out tenant keys.
pub struct Vault {
    master: RwLock<MasterKey>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    pub fn new(master: MasterKey) -> Self {
        Self { master: RwLock::new(master) }
    }

    /// What the store keeps to recognise its master key; see [`MasterKey::check_value`].
    pub fn check_value(&self) -> [u8; 32] {
        self.master().check_value()
    }

    /// From now on everything is wrapped by another master key.
    pub fn replace(&self, master: MasterKey) {
        *self.master.write().unwrap_or_else(PoisonError::into_inner) = master;
    }

    fn master(&self) -> MasterKey {
        self.master.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A key for a new tenant, and the form of it that may be stored.
    pub fn new_tenant_key(&self, tenant: TenantId) -> (Arc<TenantKey>, Vec<u8>) {
        let bytes = Zeroizing::new(random::<32>());
        let wrapped = self.wrap(tenant, &bytes);
        (Arc::new(TenantKey::new(tenant, bytes)), wrapped)
    }

    pub fn unwrap_tenant_key(&self, tenant: TenantId, wrapped: &[u8]) -> Result<Arc<TenantKey>, StoreError> {
        Ok(Arc::new(TenantKey::new(tenant, self.unwrap(tenant, wrapped)?)))
    }

    /// The stored form of a tenant's key under this vault's master key, of the one under another's.
    pub fn rewrap_tenant_key(
        &self,
        tenant: TenantId,
        former: &Vault,
        wrapped: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let key = former.unwrap(tenant, wrapped)?;
        Ok(self.wrap(tenant, &key))
    }

    /// Seals a secret of the installation itself, which is no tenant's.
    pub fn seal_own(&self, table: &str, row: &[u8], column: &str, plaintext: &[u8]) -> Vec<u8> {
        seal_with_salt(self.master().bytes(), &own_place(table, row, column), plaintext, &new_salt())
    }

    pub fn open_own(
        &self,
        table: &str,
        row: &[u8],
        column: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        open_with_salt(
            self.master().bytes(),
            &own_place(table, row, column),
            sealed,
            "secret of the installation",
        )
        .map(Zeroizing::new)
    }

    fn wrap(&self, tenant: TenantId, key: &[u8; 32]) -> Vec<u8> {
        seal_with_salt(self.master().bytes(), &tenant_key_place(&tenant), key, &new_salt())
    }

    fn unwrap(&self, tenant: TenantId, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, StoreError> {
        let place = tenant_key_place(&tenant);
        let bytes = Zeroizing::new(open_with_salt(self.master().bytes(), &place, wrapped, "tenant key")?);
        let bytes = bytes.as_slice().try_into().map_err(|_| StoreError::Unsealable { what: "tenant key" })?;
        Ok(Zeroizing::new(bytes))
    }
}

/// Begins as no tenant's place does.
fn own_place<'a>(table: &'a str, row: &'a [u8], column: &'a str) -> [&'a [u8]; 4] {
    [b"installation", table.as_bytes(), row, column.as_bytes()]
}

fn tenant_key_place(tenant: &TenantId) -> [&[u8]; 4] {
    [b"tenant", b"wrapped_key", tenant.bytes(), b""]
}

/// A fresh salt for one sealed value.
pub fn new_salt() -> Salt {
    random()
}

/// Random bytes of the system.
///
/// # Panics
/// If the system has none: going on without would give keys away.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
    bytes
}

/// Where a value lives and what opens it. Everything is part of the key's derivation (`info`) and of the associated
/// data, each part with its length, so that no two places ever read the same.
type Place<'a> = [&'a [u8]];

/// Domain separation from any other use of these keys.
const DOMAIN: &[u8] = b"sealpost";

fn framed(place: &Place<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(FORMAT);
    for part in [DOMAIN].iter().chain(place) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// The key for one place and salt. `salt` may be a salt or two of them joined.
fn key_for(parent: &[u8], salt: &[u8], framed_place: &[u8]) -> LessSafeKey {
    let prk = HkdfSalt::new(HKDF_SHA256, salt).extract(parent);
    let info = [framed_place];
    let okm = prk.expand(&info, &AES_256_GCM).expect("HKDF-SHA256 gives 32 bytes");
    LessSafeKey::new(UnboundKey::from(okm))
}

fn seal(parent: &[u8], salt: &[u8], place: &Place<'_>, plaintext: &[u8], mut out: Vec<u8>) -> Vec<u8> {
    let place = framed(place);
    let key = key_for(parent, salt, &place);
    let begin = out.len();
    out.reserve_exact(plaintext.len() + AES_256_GCM.tag_len());
    out.extend_from_slice(plaintext);
    let tag = key
        .seal_in_place_separate_tag(zero_nonce(), Aad::from(place.as_slice()), &mut out[begin..])
        .expect("AES-256-GCM seals any text below 64 GiB");
    out.extend_from_slice(tag.as_ref());
    out
}

fn open(
    parent: &[u8],
    salt: &[u8],
    place: &Place<'_>,
    sealed: &[u8],
    what: &'static str,
) -> Result<Vec<u8>, StoreError> {
    let place = framed(place);
    let key = key_for(parent, salt, &place);
    let mut bytes = sealed.to_vec();
    let length = key
        .open_in_place(zero_nonce(), Aad::from(place.as_slice()), &mut bytes)
        .map_err(|_| StoreError::Unsealable { what })?
        .len();
    bytes.truncate(length);
    Ok(bytes)
}

/// A blob that carries its own salt: format, salt, ciphertext, tag.
fn seal_with_salt(parent: &[u8], place: &Place<'_>, plaintext: &[u8], salt: &Salt) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + salt.len() + plaintext.len() + AES_256_GCM.tag_len());
    out.push(FORMAT);
    out.extend_from_slice(salt);
    seal(parent, salt, place, plaintext, out)
}

fn open_with_salt(
    parent: &[u8],
    place: &Place<'_>,
    blob: &[u8],
    what: &'static str,
) -> Result<Vec<u8>, StoreError> {
    let rest = of_this_format(blob, what)?;
    let (salt, sealed) = rest.split_at_checked(32).ok_or(StoreError::Unsealable { what })?;
    open(parent, salt, place, sealed, what)
}

fn of_this_format<'a>(blob: &'a [u8], what: &'static str) -> Result<&'a [u8], StoreError> {
    match blob.split_first() {
        Some((&FORMAT, rest)) => Ok(rest),
        _ => Err(StoreError::Unsealable { what }),
    }
}

/// Safe only because every key seals once.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests;
