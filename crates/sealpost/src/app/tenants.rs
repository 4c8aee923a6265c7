//! Tenants: the one that is there from the start, and those an operator adds.

use sealpost_core::audit::Action;
use sealpost_core::id::{TenantId, TenantNo};
use sealpost_core::limits as bound;
use sealpost_core::tenant::{DEFAULT_TENANT, Retention, Subdomain, Tenant};
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::registry::NewTenant;

use super::App;
use super::erasures::EraseWhat;
use super::keys::new_key;

/// For the audit log: what the installation does by itself.
pub const INSTALLATION: &str = "sealpost";
/// 9999-12-31, the last day that a timestamp can be written of.
const END_OF_TIME_MS: i64 = 253_402_300_799_999;

#[derive(Debug, thiserror::Error)]
pub enum TenantRefused {
    #[error("the subdomain `{0}` is taken")]
    Taken(Subdomain),
    #[error("a tenant's name must be 1 to 128 bytes")]
    Name,
    #[error("tenant `default` stays as long as the store does")]
    Default,
    #[error("there is no such tenant")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    pub async fn create_tenant(
        &self,
        name: &str,
        subdomain: Subdomain,
        retention: Retention,
        who: &str,
    ) -> Result<Tenant, TenantRefused> {
        if name.is_empty() || name.len() > bound::TENANT_NAME_BYTES {
            return Err(TenantRefused::Name);
        }
        let now = self.clock.now();
        let new = NewTenant {
            id: TenantId::new(now, self.clock.chance()),
            name: name.into(),
            subdomain: subdomain.clone(),
            retention,
            created_at: now,
            keys: vec![
                new_key(self.clock.as_ref(), sealpost_core::key_ring::KeyState::Current),
                new_key(self.clock.as_ref(), sealpost_core::key_ring::KeyState::Next),
            ],
        };
        let by = self.by(who, Action::CreateTenant);
        self.store.create_tenant(new, by).await?.ok_or(TenantRefused::Taken(subdomain))
    }

    pub async fn tenant_by_id(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        Ok(self.store.tenants().await?.into_iter().find(|tenant| tenant.id == id))
    }

    /// When this returns, none of its keys works, nothing of it begins to be sent, and none of its payloads opens. Its
    /// metadata goes in its time.
    pub async fn delete_tenant(&self, tenant: &Tenant, who: &str) -> Result<(), TenantRefused> {
        if tenant.subdomain.as_str() == DEFAULT_TENANT {
            return Err(TenantRefused::Default);
        }
        let entry = self.tenant(tenant.no).await?;
        let _alone = entry.changing.lock().await;
        let by = self.by(who, Action::DeleteTenant);
        self.store.delete_tenant(tenant.no, by).await?.ok_or(TenantRefused::NotFound)?;
        self.clients.forget();
        self.domains.forget(tenant.no);
        let targets = entry.targets();
        self.registry.refresh_after_change(&entry).await?;
        for target in targets {
            self.silence(&target).await?;
        }
        let all =
            EraseWhat::Range { from: Timestamp::from_millis(0), to: Timestamp::from_millis(END_OF_TIME_MS) };
        self.erase(tenant.no, all, who).await?;
        Ok(())
    }

    pub async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        self.store.tenants().await
    }

    pub async fn tenant_by_name(&self, subdomain: &str) -> Result<Option<Tenant>, StoreError> {
        Ok(self.store.tenants().await?.into_iter().find(|tenant| tenant.subdomain.as_str() == subdomain))
    }

    /// Makes tenant `default` in a new store.
    pub async fn ensure_default_tenant(&self) -> Result<Tenant, StoreError> {
        if let Some(tenant) = self.tenant_by_name(DEFAULT_TENANT).await? {
            return Ok(tenant);
        }
        let subdomain =
            DEFAULT_TENANT.parse().map_err(|_| StoreError::Corrupt { what: "default tenant name" })?;
        match self.create_tenant(DEFAULT_TENANT, subdomain, Retention::default(), INSTALLATION).await {
            Ok(tenant) => Ok(tenant),
            Err(TenantRefused::Store(error)) => Err(error),
            // Another process that starts at the same time was first.
            Err(_) => self
                .tenant_by_name(DEFAULT_TENANT)
                .await?
                .ok_or(StoreError::Corrupt { what: "default tenant" }),
        }
    }

    pub(super) async fn default_tenant(&self) -> Result<TenantNo, StoreError> {
        if let Some(known) = self.clients.default_tenant.get() {
            return Ok(*known);
        }
        let no = self.ensure_default_tenant().await?.no;
        Ok(*self.clients.default_tenant.get_or_init(|| no))
    }
}
