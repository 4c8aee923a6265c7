//! API keys: `spk_` and 43 characters of base64url, shown once, stored as a SHA-256 (256 random bits need no
//! slow hash), found by it, and remembered for a while.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use sealpost_core::audit::Action;
use sealpost_core::id::{ClientId, TenantId, TenantNo, WebhookId, WebhookName};
use sealpost_core::limits as bound;
use sealpost_core::role::{Role, Roles};
use sealpost_core::secret::Secret;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::registry::Client;

use super::App;
use super::tokens::looks_like_a_token;
use crate::clock::Clock;

/// Keys remembered; beyond, the whole memory is dropped and filled again.
const REMEMBERED: usize = 10_000;
pub const KEY_PREFIX: &str = "spk_";

/// Who makes a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pub tenant: TenantNo,
    pub roles: Roles,
    /// The one webhook a subscriber is bound to.
    pub webhook: Option<WebhookId>,
    /// `None`: the bootstrap key, or a token of somebody else's provider; neither is a client.
    pub client: Option<ClientId>,
    /// When the token of a provider ends.
    pub until: Option<Timestamp>,
    /// For the audit log: the client's id, or how else it came.
    pub who: String,
}

#[derive(Debug)]
pub struct NewClient {
    pub client: Client,
    /// Shown once.
    pub key: Secret<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientRefused {
    #[error("a subscriber must be bound to a webhook of the tenant")]
    NeedsWebhook,
    #[error("only a subscriber is bound to a webhook")]
    NotASubscriber,
    #[error("a subscriber has no other role")]
    MoreThanSubscriber,
    #[error("there is no such tenant")]
    NoTenant,
    #[error("a client's name must be 1 to 128 bytes")]
    Name,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why nobody can say whether a credential is good.
#[derive(Debug, thiserror::Error)]
pub enum CannotTell {
    #[error("the keys of the provider that issued the token are not known")]
    Keys { again_in: Duration },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct ClientCache {
    pub(super) bootstrap: Option<[u8; 32]>,
    known: Mutex<Known>,
    /// The tenant that every store has; it never goes.
    pub(super) default_tenant: OnceLock<TenantNo>,
}

/// Clients by key hash and by id, tenants as tokens of providers name them, and how often clients or tenants were
/// deleted: what was read before a deletion is not remembered after it.
#[derive(Debug, Default)]
struct Known {
    clients: HashMap<[u8; 32], Client>,
    by_id: HashMap<ClientId, Client>,
    tenants: HashMap<String, TenantNo>,
    deletions: u64,
}

impl ClientCache {
    pub fn new(bootstrap: Option<&Secret<String>>) -> Self {
        Self {
            bootstrap: bootstrap.map(|key| hash(key.reveal())),
            known: Mutex::default(),
            default_tenant: OnceLock::new(),
        }
    }

    /// After a deletion: who is still there is asked of the store again.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        known.clients.clear();
        known.by_id.clear();
        known.tenants.clear();
        known.deletions += 1;
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A prefix that scanners know, and 256 random bits.
pub(super) fn new_key(clock: &dyn Clock, prefix: &str) -> String {
    format!("{prefix}{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(clock.bytes32()))
}

pub fn hash(key: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    bytes
}

impl App {
    /// The caller behind a key, an access token of ours or one of a provider; `None` if it is unknown or expired.
    pub async fn authenticate(&self, key: &str) -> Result<Option<Caller>, CannotTell> {
        let key_hash = hash(key);
        // Keys are found by the hash of 256 random bits: the time of the look-up says nothing about them.
        if self.clients.bootstrap == Some(key_hash) {
            return Ok(Some(self.bootstrap_caller().await?));
        }
        if looks_like_a_token(key) {
            return match self.client_of_token(key).await? {
                Some(client) => Ok(self.caller(client)),
                None => self.caller_of_provider(key).await,
            };
        }
        let (known, deletions) = {
            let known = self.clients.known();
            (known.clients.get(&key_hash).cloned(), known.deletions)
        };
        let client = match known {
            Some(client) => client,
            None => {
                let Some(client) = self.store.client_by_key_hash(key_hash).await? else { return Ok(None) };
                let mut known = self.clients.known();
                if known.deletions == deletions {
                    if known.clients.len() >= REMEMBERED {
                        known.clients.clear();
                    }
                    known.clients.insert(key_hash, client.clone());
                }
                client
            }
        };
        Ok(self.caller(client))
    }

    pub(super) async fn bootstrap_caller(&self) -> Result<Caller, StoreError> {
        let tenant = self.default_tenant().await?;
        let roles = Role::Admin.into();
        Ok(Caller { tenant, roles, webhook: None, client: None, until: None, who: "bootstrap key".into() })
    }

    /// `None`: it has expired.
    pub(super) fn caller(&self, client: Client) -> Option<Caller> {
        let expired = client.expires_at.is_some_and(|at| at <= self.clock.wall());
        let who = format!("client {}", client.id);
        let Client { id, tenant, roles, webhook, .. } = client;
        (!expired).then_some(Caller { tenant, roles, webhook, client: Some(id), until: None, who })
    }

    /// A client by its id, remembered like those found by their key.
    pub(super) async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreError> {
        let (known, deletions) = {
            let known = self.clients.known();
            (known.by_id.get(&id).cloned(), known.deletions)
        };
        if known.is_some() {
            return Ok(known);
        }
        let found = self.store.client_by_id(id).await?;
        if let Some(client) = &found {
            let mut known = self.clients.known();
            if known.deletions == deletions {
                if known.by_id.len() >= REMEMBERED {
                    known.by_id.clear();
                }
                known.by_id.insert(id, client.clone());
            }
        }
        Ok(found)
    }

    /// A tenant by its id or, if that is nobody's, by its subdomain.
    pub(super) async fn tenant_named(&self, name: &str) -> Result<Option<TenantNo>, StoreError> {
        let (known, deletions) = {
            let known = self.clients.known();
            (known.tenants.get(name).copied(), known.deletions)
        };
        if known.is_some() {
            return Ok(known);
        }
        let all = self.store.tenants().await?;
        let id = name.parse::<TenantId>().ok();
        let by_id = all.iter().find(|tenant| Some(tenant.id) == id);
        let found = by_id.or_else(|| all.iter().find(|tenant| tenant.subdomain.as_str() == name));
        let found = found.map(|tenant| tenant.no);
        if let Some(no) = found {
            let mut known = self.clients.known();
            if known.deletions == deletions {
                if known.tenants.len() >= REMEMBERED {
                    known.tenants.clear();
                }
                known.tenants.insert(name.to_owned(), no);
            }
        }
        Ok(found)
    }

    pub async fn create_client(
        &self,
        tenant: TenantNo,
        name: &str,
        roles: impl Into<Roles>,
        webhook: Option<WebhookId>,
        expires_at: Option<Timestamp>,
        who: &str,
    ) -> Result<NewClient, ClientRefused> {
        let roles = roles.into();
        if name.is_empty() || name.len() > bound::CLIENT_NAME_BYTES {
            return Err(ClientRefused::Name);
        }
        match (roles.has(Role::Subscriber), webhook) {
            (true, _) if !roles.is_only(Role::Subscriber) => return Err(ClientRefused::MoreThanSubscriber),
            (true, None) => return Err(ClientRefused::NeedsWebhook),
            (true, Some(id)) if self.store.webhook(tenant, id).await?.is_none() => {
                return Err(ClientRefused::NeedsWebhook);
            }
            (true, Some(_)) | (false, None) => {}
            (false, Some(_)) => return Err(ClientRefused::NotASubscriber),
        }
        let key = new_key(self.clock.as_ref(), KEY_PREFIX);
        let now = self.clock.now();
        let client = Client {
            id: ClientId::new(now, self.clock.chance()),
            tenant,
            name: name.into(),
            roles,
            webhook,
            key_hash: hash(&key),
            created_at: now,
            expires_at,
        };
        if !self.store.create_client(client.clone(), self.by(who, Action::CreateClient)).await? {
            return Err(ClientRefused::NoTenant);
        }
        Ok(NewClient { client, key: Secret::new(key) })
    }

    /// The webhook that a new subscriber is bound to; one that is not there is told by [`Self::create_client`] if it is
    /// named by its id, and here if by its number.
    pub async fn subscribed(
        &self,
        tenant: TenantNo,
        webhook: Option<WebhookName>,
    ) -> Result<Option<WebhookId>, ClientRefused> {
        let Some(name) = webhook else { return Ok(None) };
        self.webhook_named(tenant, name).await?.map(Some).ok_or(ClientRefused::NeedsWebhook)
    }

    /// Takes effect at once. `false`: the tenant has no such client.
    pub async fn delete_client(&self, tenant: TenantNo, id: ClientId, who: &str) -> Result<bool, StoreError> {
        let deleted = self.store.delete_client(tenant, id, self.by(who, Action::DeleteClient)).await?;
        self.clients.forget();
        Ok(deleted)
    }
}
