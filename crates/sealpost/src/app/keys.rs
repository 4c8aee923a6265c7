//! A tenant's signing keys: making, showing, rotating.

use std::sync::Arc;

use bytes::Bytes;
use sealpost_core::audit::Action;
use sealpost_core::id::TenantNo;
use sealpost_core::key_ring::{KeyRecord, KeyRing, KeyState, RotateRefused};
use sealpost_core::secret::Secret;
use sealpost_signature::SigningKey;
use sealpost_store::StoreError;
use sealpost_store::upkeep::Rewrapped;

use super::registry::jwks_document;
use super::tenants::INSTALLATION;
use super::{App, detached};
use crate::clock::Clock;

/// Tenants looked up in one go.
const AGED_AT_ONCE: u32 = 100;
/// Somebody else rotates at the same time; more tries would rotate twice.
const ROTATE_TRIES: usize = 2;

#[derive(Debug, thiserror::Error)]
pub enum KeyRefused {
    #[error(transparent)]
    Refused(#[from] RotateRefused),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key nobody has seen.
pub fn new_key(clock: &dyn Clock, state: KeyState) -> KeyRecord {
    let seed = clock.bytes32();
    let key = SigningKey::from_seed(&seed);
    KeyRecord {
        kid: key.key_id().as_str().to_owned(),
        public: *key.verifying_key().as_bytes(),
        seed: Secret::new(seed),
        created_at: clock.now(),
        state,
    }
}

impl App {
    /// The public document at `/v1/webhooks/jwks`.
    pub async fn jwks(&self, tenant: TenantNo) -> Result<Bytes, StoreError> {
        Ok(jwks_document(&self.tenant(tenant).await?.keys(), self.clock.now()))
    }

    pub async fn key_ring(&self, tenant: TenantNo) -> Result<KeyRing, StoreError> {
        Ok(self.tenant(tenant).await?.keys().ring.clone())
    }

    /// Rotates the keys of every tenant whose present key has signed for as long as the settings say. Returns how many.
    pub async fn rotate_aged_keys(&self) -> Result<usize, StoreError> {
        let Some(every) = self.config.rotate_every else { return Ok(0) };
        // The present key signs since the next one was published.
        let published = self.clock.now() - every;
        let mut rotated = 0;
        loop {
            let before = rotated;
            let aged = self.store.tenants_with_next_key_since(published, AGED_AT_ONCE).await?;
            for tenant in &aged {
                match self.rotate_keys(*tenant, false, INSTALLATION).await {
                    Ok(_) => rotated += 1,
                    // The others do not wait for this one; it is found again at the next look.
                    Err(error) => {
                        tracing::error!(tenant = tenant.0, %error, "a signing key was not rotated");
                    }
                }
            }
            // A round that rotated nothing would find the same tenants again.
            if aged.len() < AGED_AT_ONCE as usize || rotated == before {
                return Ok(rotated);
            }
        }
    }

    /// Wraps all keys with a new master key; see [`sealpost_store::Upkeep::rewrap`].
    pub async fn rotate_master_key(&self, who: &str) -> Result<Rewrapped, StoreError> {
        let (store, by) = (Arc::clone(&self.store), self.by(who, Action::RotateMasterKey));
        detached(async move { store.rewrap(by).await }).await
    }

    /// The next key signs from now on, a fresh one is published as next, the present one retires.
    pub async fn rotate_keys(
        &self,
        tenant: TenantNo,
        at_once: bool,
        who: &str,
    ) -> Result<KeyRing, KeyRefused> {
        let entry = self.tenant(tenant).await?;
        // At once, a second try would put into use the key that the other one has just published.
        let tries = if at_once { 1 } else { ROTATE_TRIES };
        for _ in 0..tries {
            let keys = entry.keys();
            let fresh = new_key(self.clock.as_ref(), KeyState::Next);
            let ring = keys.ring.rotated(fresh, self.clock.now(), self.config.publish_ahead, at_once)?;
            let stored = self
                .store
                .put_keys(tenant, ring.clone(), keys.version, self.by(who, Action::RotateKeys))
                .await?;
            self.registry.refresh_after_change(&entry).await?;
            if stored {
                return Ok(ring);
            }
        }
        Err(StoreError::Busy.into())
    }
}
