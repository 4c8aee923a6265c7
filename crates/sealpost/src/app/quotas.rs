//! What each tenant may use: requests and events by rate, webhooks by number, payloads by size.
//!
//! Rates are kept in memory and begin anew with the process.

use std::sync::PoisonError;
use std::time::Duration;

use sealpost_core::audit::Action;
use sealpost_core::id::TenantNo;
use sealpost_core::quota::{OwnQuota, Pace, Quota};
use sealpost_core::tenant::Tenant;
use sealpost_store::StoreError;

use super::App;
use super::registry::TenantEntry;

/// How far a tenant is ahead of its rates.
#[derive(Debug, Default)]
pub struct Paces {
    requests: Pace,
    events: Pace,
}

impl App {
    /// The limits in force for a tenant.
    pub fn quota(&self, entry: &TenantEntry) -> Quota {
        self.config.quota.of(entry.quota())
    }

    /// Counts one API call, or tells how long to wait before the next.
    pub async fn count_request(&self, tenant: TenantNo) -> Result<Option<Duration>, StoreError> {
        let entry = self.tenant(tenant).await?;
        let Some(rate) = self.quota(&entry).requests_per_second else { return Ok(None) };
        let mut paces = entry.paces.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(paces.requests.take(self.clock.now(), 1, rate).err())
    }

    /// Counts events that are about to be stored.
    pub(super) fn count_events(&self, entry: &TenantEntry, many: usize) -> Result<(), Duration> {
        let Some(rate) = self.quota(entry).events_per_second else { return Ok(()) };
        let mut paces = entry.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.events.take(self.clock.now(), u32::try_from(many).unwrap_or(u32::MAX), rate)
    }

    /// Replaces a tenant's own limits; in force when this returns. `None`: no such tenant.
    pub async fn change_quota(
        &self,
        tenant: TenantNo,
        quota: OwnQuota,
        who: &str,
    ) -> Result<Option<Tenant>, StoreError> {
        let entry = self.tenant(tenant).await?;
        let changed = self.store.change_quota(tenant, quota, self.by(who, Action::ChangeQuota)).await?;
        self.registry.refresh_after_change(&entry).await?;
        // What was paid at the old rate is no debt at the new one.
        *entry.paces.lock().unwrap_or_else(PoisonError::into_inner) = Paces::default();
        Ok(changed)
    }
}
