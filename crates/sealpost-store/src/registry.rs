//! Tenants, clients, webhooks, event types, signing keys and custom domains: what an administrator changes.

use std::sync::Arc;

use async_trait::async_trait;

use sealpost_core::analytics::LogLevel;
use sealpost_core::audit::By;
use sealpost_core::dialect::Dialect;
use sealpost_core::domain::{CustomDomain, DomainFacts, DomainName};
use sealpost_core::event_type::{EventType, EventTypeName};
use sealpost_core::id::{ClientId, OperatorId, TenantId, TenantNo, VerificationToken, WebhookId, WebhookNo};
use sealpost_core::key_ring::{KeyRecord, KeyRing};
use sealpost_core::quota::OwnQuota;
use sealpost_core::role::Roles;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::target_url::TargetUrl;
use sealpost_core::tenant::{Retention, Subdomain, Tenant};
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{Subscription, Webhook, WebhookSecrets};

use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::vault::TenantHasher;

#[derive(Clone, Debug)]
pub struct NewTenant {
    pub id: TenantId,
    pub name: String,
    pub subdomain: Subdomain,
    pub retention: Retention,
    pub created_at: Timestamp,
    /// Current and next signing key.
    pub keys: Vec<KeyRecord>,
}

/// A client of a tenant: an API key. The key itself is never stored, only a hash that is unique.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    pub id: ClientId,
    pub tenant: TenantNo,
    pub name: String,
    pub roles: Roles,
    /// The one webhook a `subscriber` is bound to.
    pub webhook: Option<WebhookId>,
    /// SHA-256 of the key.
    pub key_hash: [u8; 32],
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// Who may manage the installation: a key that belongs to no tenant, stored as a client's is.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    pub id: OperatorId,
    pub name: String,
    /// SHA-256 of the key.
    pub key_hash: [u8; 32],
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// A tenant that was just deleted, for what is left to do.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedTenant {
    /// Webhooks that were deleted with it.
    pub webhooks: u64,
    /// Clients whose keys stopped working.
    pub clients: u64,
}

#[derive(Clone, Debug)]
pub struct NewWebhook {
    pub id: WebhookId,
    pub tenant: TenantNo,
    pub dialect: Dialect,
    pub subscription: Subscription,
    pub url: TargetUrl,
    pub disabled: bool,
    pub settings: WebhookSettings,
    pub secrets: WebhookSecrets,
    pub created_at: Timestamp,
    /// So many the tenant may have with this one.
    pub at_most: u64,
}

/// What a change may replace; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    pub subscription: Option<Subscription>,
    pub url: Option<TargetUrl>,
    pub disabled: Option<bool>,
    pub settings: Option<WebhookSettings>,
    pub secrets: Option<WebhookSecrets>,
}

impl WebhookChange {
    /// The webhook afterwards, and whether this disables it. Its version and epoch are the store's affair.
    pub(crate) fn applied_to(&self, before: &Webhook) -> (Webhook, bool) {
        let mut webhook = before.clone();
        let disables = self.disabled == Some(true) && !webhook.disabled;
        if let Some(subscription) = &self.subscription {
            webhook.subscription = subscription.clone();
        }
        if let Some(url) = &self.url {
            webhook.url = url.clone();
        }
        if let Some(disabled) = self.disabled {
            webhook.disabled = disabled;
        }
        if let Some(settings) = &self.settings {
            webhook.settings = settings.clone();
        }
        if let Some(secrets) = &self.secrets {
            webhook.secrets = secrets.clone();
        }
        (webhook, disables)
    }
}

/// What changed in a tenant's registry after some version; how caches stay true at a cost of the change only.
#[derive(Clone, Debug, Default)]
pub struct RegistryDelta {
    /// The version the cache has after applying this.
    pub version: i64,
    pub quota: OwnQuota,
    pub log_level: LogLevel,
    /// New or changed webhooks, as they are now.
    pub changed: Vec<Webhook>,
    pub deleted: Vec<WebhookNo>,
    /// All of the operator's own event types, if any of them changed.
    pub event_types: Option<Vec<EventType>>,
    /// The whole key ring, if it changed.
    pub keys: Option<KeyRing>,
}

/// A domain before and after a change.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplacedDomain {
    pub before: CustomDomain,
    pub after: CustomDomain,
}

/// What became of a verification.
#[derive(Clone, Debug, PartialEq)]
pub enum VerifiedDomain {
    /// It is verified, now or since before.
    Verified(CustomDomain),
    /// Another tenant has verified the domain.
    Taken,
    /// The tenant has no domain with this token, or not any more.
    Changed,
}

/// Every change leaves an entry in the audit log `by` somebody, in its own transaction; one that changes nothing, or is
/// refused, leaves none.
#[async_trait]
pub trait Registry: Send + Sync {
    /// `None` if the id or subdomain is taken.
    async fn create_tenant(&self, new: NewTenant, by: By) -> Result<Option<Tenant>, StoreError>;
    /// All tenants that are not deleted, oldest first.
    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError>;
    /// Replaces its own limits. `None` if there is no such tenant.
    async fn change_quota(
        &self,
        tenant: TenantNo,
        quota: OwnQuota,
        by: By,
    ) -> Result<Option<Tenant>, StoreError>;
    /// Of the tenants that are not deleted: whose next key was published at this time or before, oldest first.
    async fn tenants_with_next_key_since(
        &self,
        published: Timestamp,
        limit: u32,
    ) -> Result<Vec<TenantNo>, StoreError>;
    /// How much its analytic events tell from now on. `None` if there is no such tenant.
    async fn change_log_level(
        &self,
        tenant: TenantNo,
        level: LogLevel,
        by: By,
    ) -> Result<Option<Tenant>, StoreError>;
    /// Deletes its clients, webhooks and custom domain with it; nothing is accepted for it any more, and its subdomain is never given
    /// to another. What it stored stays until its time is over or it is erased. `None` if there is no such tenant.
    async fn delete_tenant(&self, tenant: TenantNo, by: By) -> Result<Option<DeletedTenant>, StoreError>;

    /// The keyed hashes of a tenant: content, idempotency keys, subjects, derived ids. Kept by the caller.
    async fn hasher(&self, tenant: TenantNo) -> Result<Option<Arc<TenantHasher>>, StoreError>;

    /// `false` if there is no such tenant.
    async fn create_client(&self, client: Client, by: By) -> Result<bool, StoreError>;
    /// `false` if there is none of this id in the tenant.
    async fn delete_client(&self, tenant: TenantNo, id: ClientId, by: By) -> Result<bool, StoreError>;
    async fn clients(&self, tenant: TenantNo) -> Result<Vec<Client>, StoreError>;
    async fn client_by_id(&self, id: ClientId) -> Result<Option<Client>, StoreError>;
    async fn client_by_key_hash(&self, key_hash: [u8; 32]) -> Result<Option<Client>, StoreError>;

    async fn create_operator(&self, operator: Operator, by: By) -> Result<(), StoreError>;
    async fn operators(&self) -> Result<Vec<Operator>, StoreError>;
    /// `false` if there is none of this id.
    async fn delete_operator(&self, id: OperatorId, by: By) -> Result<bool, StoreError>;
    async fn operator_by_key_hash(&self, key_hash: [u8; 32]) -> Result<Option<Operator>, StoreError>;

    /// `None` if the tenant has reached its number of webhooks.
    async fn create_webhook(&self, new: NewWebhook, by: By) -> Result<Option<Webhook>, StoreError>;
    /// Raises the webhook's version; disabling (false -> true) raises its lane epoch as well. `None` if unknown.
    async fn change_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        change: WebhookChange,
        by: By,
    ) -> Result<Option<Webhook>, StoreError>;
    /// Raises the lane epoch. The row stays as a tombstone for history. Returns the webhook as it was last.
    async fn delete_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        by: By,
    ) -> Result<Option<Webhook>, StoreError>;
    async fn webhook(&self, tenant: TenantNo, id: WebhookId) -> Result<Option<Webhook>, StoreError>;
    /// Newest first by (createdAt, id); deleted ones are not listed.
    async fn webhooks(
        &self,
        tenant: TenantNo,
        dialect: Option<Dialect>,
        page: PageRequest<WebhookId>,
    ) -> Result<Page<Webhook>, StoreError>;
    /// As [`Registry::webhooks`] orders them: at most `limit` behind the first `offset`, for callers who count.
    async fn webhooks_behind(
        &self,
        tenant: TenantNo,
        dialect: Dialect,
        offset: u32,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError>;

    /// Operator's event types. Built-in ones are not stored. `None` if the tenant has reached its number of types.
    async fn put_event_type(
        &self,
        tenant: TenantNo,
        event_type: EventType,
        by: By,
    ) -> Result<Option<()>, StoreError>;
    /// `false` if unknown.
    async fn delete_event_type(
        &self,
        tenant: TenantNo,
        name: EventTypeName,
        by: By,
    ) -> Result<bool, StoreError>;

    /// Replaces the ring, if it still has the version the decision was made on (`false` otherwise).
    async fn put_keys(
        &self,
        tenant: TenantNo,
        ring: KeyRing,
        decided_on_version: i64,
        by: By,
    ) -> Result<bool, StoreError>;

    /// The keys that sign access tokens, for all tenants: current ones and retired ones, newest first.
    async fn token_keys(&self) -> Result<KeyRing, StoreError>;
    /// `fresh` signs from now on; whichever signed retires; those retired before `forget` go.
    async fn add_token_key(&self, fresh: KeyRecord, forget: Timestamp, by: By) -> Result<(), StoreError>;
    /// A tenant has at most one domain: `false` if it has one.
    async fn create_domain(&self, new: CustomDomain, by: By) -> Result<bool, StoreError>;
    async fn domain(&self, tenant: TenantNo) -> Result<Option<CustomDomain>, StoreError>;
    /// A domain of another name gets the token `fresh` and is not verified; the same one keeps both. `None` if the
    /// tenant has none.
    async fn change_domain(
        &self,
        tenant: TenantNo,
        facts: DomainFacts,
        fresh: VerificationToken,
        by: By,
    ) -> Result<Option<ReplacedDomain>, StoreError>;
    /// The domain as it was last. `None` if the tenant has none.
    async fn delete_domain(&self, tenant: TenantNo, by: By) -> Result<Option<CustomDomain>, StoreError>;
    /// Marks the domain verified, if it still has the token that was proven and no other tenant has verified it. The
    /// time of a verification before stays.
    async fn verify_domain(
        &self,
        tenant: TenantNo,
        token: VerificationToken,
        by: By,
    ) -> Result<VerifiedDomain, StoreError>;
    /// All verified domains and whose they are; each is there once.
    async fn verified_domains(&self) -> Result<Vec<(DomainName, TenantNo)>, StoreError>;

    /// The registry version of each tenant that is not deleted: which caches have to ask for what changed, where another
    /// process may have changed it.
    async fn registry_versions(&self) -> Result<Vec<(TenantNo, i64)>, StoreError>;
    /// Everything that changed after `since`; 0 gives all there is.
    async fn registry_delta(&self, tenant: TenantNo, since: i64) -> Result<RegistryDelta, StoreError>;
}
