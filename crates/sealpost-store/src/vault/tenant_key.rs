//! What a tenant's key seals: payloads and response excerpts under the event's salt, secrets and key seeds in
//! cells that carry their own salt.

use std::fmt;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use sealpost_core::id::{DeliveryId, EventId, TenantId};
use sealpost_core::payload::Payload;

use super::{
    FORMAT, Salt, TenantHasher, new_salt, of_this_format, open, open_with_salt, seal, seal_with_salt,
};
use crate::error::StoreError;

pub struct TenantKey {
    tenant: TenantId,
    bytes: Zeroizing<[u8; 32]>,
    /// Says which key sealed a value, without saying anything about the key.
    key_id: [u8; 8],
}

impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantKey({})", self.tenant)
    }
}

impl TenantKey {
    pub(super) fn new(tenant: TenantId, bytes: Zeroizing<[u8; 32]>) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*bytes), b"sealpost tenant key id 1");
        let mut key_id = [0; 8];
        key_id.copy_from_slice(&tag.as_ref()[..8]);
        Self { tenant, bytes, key_id }
    }

    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub fn hasher(&self) -> TenantHasher {
        TenantHasher::new(&self.bytes)
    }

    /// Seals the payload of `event`. The salt is stored apart from the result, and used for nothing else than this
    /// event's payload and excerpts.
    pub fn seal_payload(&self, event: EventId, salt: &Salt, payload: &Payload) -> Vec<u8> {
        let plaintext = payload.as_str().as_bytes();
        // Format, ciphertext, tag; exactly as long, since a payload may be a mebibyte.
        let mut out = Vec::with_capacity(1 + plaintext.len() + 16);
        out.push(FORMAT);
        seal(&*self.bytes, salt, &self.payload_place(&event), plaintext, out)
    }

    pub fn open_payload(&self, event: EventId, salt: &[u8], sealed: &[u8]) -> Result<Payload, StoreError> {
        const WHAT: &str = "payload";
        let sealed = of_this_format(sealed, WHAT)?;
        let bytes = open(&*self.bytes, whole(salt, WHAT)?, &self.payload_place(&event), sealed, WHAT)?;
        let text = String::from_utf8(bytes).map_err(|_| StoreError::Unsealable { what: WHAT })?;
        Ok(Payload::from_stored(text))
    }

    /// Seals the beginning of a response under the event's salt and one of its own: either gone, it is noise.
    pub fn seal_excerpt(
        &self,
        event: EventId,
        event_salt: &Salt,
        excerpt_salt: &Salt,
        delivery: DeliveryId,
        attempt: u8,
        excerpt: &[u8],
    ) -> Vec<u8> {
        let salt = [*event_salt, *excerpt_salt].concat();
        seal(&*self.bytes, &salt, &self.excerpt_place(&event, &delivery, &[attempt]), excerpt, vec![FORMAT])
    }

    pub fn open_excerpt(
        &self,
        event: EventId,
        event_salt: &[u8],
        excerpt_salt: &[u8],
        delivery: DeliveryId,
        attempt: u8,
        sealed: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        const WHAT: &str = "response excerpt";
        let salt = Zeroizing::new([whole(event_salt, WHAT)?, whole(excerpt_salt, WHAT)?].concat());
        let sealed = of_this_format(sealed, WHAT)?;
        open(&*self.bytes, &salt, &self.excerpt_place(&event, &delivery, &[attempt]), sealed, WHAT)
    }

    /// Seals a value that is neither payload nor excerpt: a webhook's secrets, a signing key's seed.
    pub fn seal_cell(&self, table: &str, row: &[u8], column: &str, plaintext: &[u8]) -> Vec<u8> {
        seal_with_salt(&*self.bytes, &self.cell_place(table, row, column), plaintext, &new_salt())
    }

    pub fn open_cell(
        &self,
        table: &str,
        row: &[u8],
        column: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        open_with_salt(&*self.bytes, &self.cell_place(table, row, column), sealed, "secret")
            .map(Zeroizing::new)
    }

    fn payload_place<'a>(&'a self, event: &'a EventId) -> [&'a [u8]; 6] {
        [b"payload", self.tenant.bytes(), event.bytes(), b"", b"sealed", &self.key_id]
    }

    fn excerpt_place<'a>(
        &'a self,
        event: &'a EventId,
        delivery: &'a DeliveryId,
        attempt: &'a [u8; 1],
    ) -> [&'a [u8]; 7] {
        [b"attempt", self.tenant.bytes(), event.bytes(), delivery.bytes(), attempt, b"excerpt", &self.key_id]
    }

    pub(super) fn cell_place<'a>(&'a self, table: &'a str, row: &'a [u8], column: &'a str) -> [&'a [u8]; 5] {
        [table.as_bytes(), self.tenant.bytes(), row, column.as_bytes(), &self.key_id]
    }
}

/// A destroyed salt may be read back as zeroes or as nothing; neither is a salt.
fn whole<'a>(salt: &'a [u8], what: &'static str) -> Result<&'a [u8], StoreError> {
    if salt.len() == 32 && salt.iter().any(|byte| *byte != 0) {
        Ok(salt)
    } else {
        Err(StoreError::Unsealable { what })
    }
}
