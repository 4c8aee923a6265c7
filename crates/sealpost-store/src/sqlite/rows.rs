//! Rows of SQLite as domain values; what the values look like in a row is every backend's, see [`crate::rows`].

use rusqlite::Row;

use sealpost_core::health::Health;
use sealpost_core::id::{TenantId, TenantNo, WebhookId, WebhookNo};
use sealpost_core::target_url::TargetUrl;
use sealpost_core::tenant::Tenant;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{Webhook, WebhookSecrets};

pub(crate) use crate::rows::*;
use crate::sqlite::writer::WriteError;

/// How long a claim of this process would count if leases were read; on SQLite none is, the incarnation decides.
pub(crate) const LEASE_MS: i64 = 10_000;

pub(crate) fn timestamp(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_millis(row.get(at)?))
}

pub(super) fn tenant(row: &Row<'_>) -> Result<Tenant, WriteError> {
    let subdomain: String = row.get(3)?;
    let (retention, quota): (String, String) = (row.get(5)?, row.get(6)?);
    Ok(Tenant {
        no: TenantNo(row.get(0)?),
        id: TenantId::from_bytes(row.get(1)?),
        name: row.get(2)?,
        subdomain: subdomain.parse().map_err(|_| corrupt("subdomain"))?,
        created_at: timestamp(row, 4)?,
        retention: from_json(&retention, "retention")?,
        quota: from_json(&quota, "quota")?,
        log_level: log_level(row.get(7)?)?,
    })
}

pub(super) fn sealed_webhook(row: &Row<'_>) -> Result<SealedWebhook, WriteError> {
    let subscription: String = row.get(4)?;
    let (url, shown): (String, String) = (row.get(5)?, row.get(6)?);
    let settings: String = row.get(8)?;
    Ok(SealedWebhook {
        webhook: Webhook {
            no: WebhookNo(row.get(0)?),
            id: WebhookId::from_bytes(row.get(1)?),
            tenant: TenantNo(row.get(2)?),
            dialect: dialect(row.get(3)?)?,
            subscription: subscription_of(&subscription)?,
            url: TargetUrl::from_stored(&url, &shown).map_err(|_| corrupt("webhook URL"))?,
            disabled: row.get(7)?,
            settings: from_json(&settings, "webhook settings")?,
            secrets: WebhookSecrets::default(),
            health: Health { failed_in_a_row: row.get(10)?, failing: row.get(11)? },
            lane_epoch: row.get(12)?,
            version: row.get(13)?,
            created_at: timestamp(row, 14)?,
        },
        sealed: row.get(9)?,
    })
}
