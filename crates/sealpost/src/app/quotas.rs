//! What each tenant may use: requests and events by rate, webhooks by number, payloads by size.
//!
//! Rates are kept in memory and begin anew with the process.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::PoisonError;
use std::time::Duration;

use sealpost_core::audit::Action;
use sealpost_core::id::TenantNo;
use sealpost_core::quota::{OwnQuota, Pace, Quota};
use sealpost_core::tenant::Tenant;
use sealpost_store::StoreError;
use serde::{Deserialize, Serialize};

use super::App;
use super::registry::TenantEntry;

/// How far a tenant is ahead of its rates.
#[derive(Debug, Default)]
pub struct Paces {
    requests: Pace,
    events: Pace,
}

/// A change of a tenant's own limits: a number, or back to the installation's.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaChange {
    pub requests_per_second: Option<OwnLimit>,
    pub events_per_second: Option<OwnLimit>,
    pub webhooks: Option<OwnLimit>,
    pub payload_bytes: Option<OwnLimit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OwnLimit {
    Default,
    Of(NonZeroU32),
}

impl FromStr for OwnLimit {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(OwnLimit::Default),
            _ => text.parse().map(OwnLimit::Of).map_err(|_| "must be a whole number from 1, or default"),
        }
    }
}

impl QuotaChange {
    pub(super) fn of(self, before: OwnQuota) -> OwnQuota {
        let changed = |change: Option<OwnLimit>, before: Option<NonZeroU32>| match change {
            None => before,
            Some(OwnLimit::Default) => None,
            Some(OwnLimit::Of(limit)) => Some(limit),
        };
        OwnQuota {
            requests_per_second: changed(self.requests_per_second, before.requests_per_second),
            events_per_second: changed(self.events_per_second, before.events_per_second),
            webhooks: changed(self.webhooks, before.webhooks),
            payload_bytes: changed(self.payload_bytes, before.payload_bytes),
        }
    }
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

    /// Changes a tenant's own limits from what they are; in force when this returns. `None`: no such tenant.
    pub async fn change_quota(
        &self,
        tenant: TenantNo,
        change: impl FnOnce(OwnQuota) -> OwnQuota,
        who: &str,
    ) -> Result<Option<Tenant>, StoreError> {
        let entry = self.tenant(tenant).await?;
        let _alone = entry.changing.lock().await;
        self.registry.refresh(&entry).await?;
        let quota = change(entry.quota());
        let changed = self.store.change_quota(tenant, quota, self.by(who, Action::ChangeQuota)).await?;
        self.registry.refresh_after_change(&entry).await?;
        // What was paid at the old rate is no debt at the new one.
        *entry.paces.lock().unwrap_or_else(PoisonError::into_inner) = Paces::default();
        Ok(changed)
    }
}
