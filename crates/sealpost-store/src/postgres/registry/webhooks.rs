//! Webhooks: made, changed, buried, read.
//!
//! Disabling and deleting raise the lane epoch, which cancels every pending delivery of an older one at once; the
//! rows follow later. A deleted webhook's row stays for history, without its URL and secrets.

use std::collections::HashMap;

use tokio_postgres::Row;

use sealpost_core::audit::By;
use sealpost_core::dialect::Dialect;
use sealpost_core::health::Health;
use sealpost_core::id::{TenantNo, WebhookId, WebhookNo};
use sealpost_core::target_url::TargetUrl;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{Webhook, WebhookSecrets};

use super::{hold_tenant, raise_version};
use crate::audit::{self, Change};
use crate::page::{Page, PageRequest};
use crate::postgres::audit as log;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::registry::{NewWebhook, WebhookChange};
use crate::rows::{self, SealedWebhook, corrupt};
use crate::vault::TenantKey;

pub(super) fn sealed_webhook(row: &Row) -> Result<SealedWebhook, Fault> {
    let failed: i64 = row.col(10)?;
    Ok(SealedWebhook {
        webhook: Webhook {
            no: WebhookNo(row.col(0)?),
            id: WebhookId::from_bytes(row.bytes(1)?),
            tenant: TenantNo(row.col(2)?),
            dialect: rows::dialect(row.col(3)?)?,
            subscription: rows::subscription_of(row.col(4)?)?,
            url: TargetUrl::from_stored(row.col(5)?, row.col(6)?).map_err(|_| corrupt("webhook URL"))?,
            disabled: row.col(7)?,
            settings: rows::from_json(row.col(8)?, "webhook settings")?,
            secrets: WebhookSecrets::default(),
            health: health(failed, row.col(11)?),
            lane_epoch: row.col(12)?,
            version: row.col(13)?,
            created_at: Timestamp::from_millis(row.col(14)?),
        },
        sealed: row.col(9)?,
    })
}

pub(in crate::postgres) fn health(failed_in_a_row: i64, failing: bool) -> Health {
    Health { failed_in_a_row: failed_in_a_row.try_into().unwrap_or(u32::MAX), failing }
}

/// `lock` is what stands behind the query.
pub(super) async fn find(
    conn: &Conn,
    tenant: TenantNo,
    id: WebhookId,
    lock: &'static str,
) -> Result<Option<SealedWebhook>, Fault> {
    let sql = format!(
        "SELECT {} FROM webhook WHERE id = $1 AND tenant = $2 AND deleted_at IS NULL {lock}",
        rows::WEBHOOK_COLUMNS
    );
    let found = conn.optional(&sql, &[&id.bytes().as_slice(), &tenant.0]).await?;
    found.as_ref().map(sealed_webhook).transpose()
}

/// Settlements write a webhook's health meanwhile; nobody else writes its row while the tenant is held.
const LOCK: &str = "FOR NO KEY UPDATE";

pub(super) async fn insert(
    conn: &Conn,
    new: &NewWebhook,
    sealed: &[u8],
    by: &By,
) -> Result<Option<Webhook>, Fault> {
    let at_most = i64::try_from(new.at_most).unwrap_or(i64::MAX);
    let count =
        "UPDATE tenant SET webhooks = webhooks + 1 WHERE no = $1 AND webhooks < $2 AND deleted_at IS NULL";
    if conn.run(count, &[&new.tenant.0, &at_most]).await? == 0 {
        return Ok(None);
    }
    let version = raise_version(conn, new.tenant).await?;
    let sql = "INSERT INTO webhook (id, tenant, dialect, subscription, url, url_shown, disabled, settings, retention,
                                    sealed, version, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING no";
    let row = conn
        .one(
            sql,
            &[
                &new.id.bytes().as_slice(),
                &new.tenant.0,
                &rows::dialect_code(new.dialect),
                &rows::subscription_json(&new.subscription)?,
                &new.url.as_str(),
                &new.url.shown(),
                &new.disabled,
                &rows::to_json(&new.settings)?,
                &rows::retention_code(new.settings.retention),
                &sealed,
                &version,
                &new.created_at.millis(),
            ],
        )
        .await?;
    let webhook = Webhook {
        no: WebhookNo(row.col(0)?),
        id: new.id,
        tenant: new.tenant,
        dialect: new.dialect,
        subscription: new.subscription.clone(),
        url: new.url.clone(),
        disabled: new.disabled,
        settings: new.settings.clone(),
        secrets: new.secrets.clone(),
        health: Health::default(),
        lane_epoch: 0,
        version,
        created_at: new.created_at,
    };
    log::insert(conn, new.tenant, by, &new.id.to_string(), &Change::made(audit::webhook(&webhook))).await?;
    Ok(Some(webhook))
}

pub(super) async fn update(
    conn: &Conn,
    key: &TenantKey,
    (tenant, id): (TenantNo, WebhookId),
    change: &WebhookChange,
    sealed: Option<&[u8]>,
    by: &By,
) -> Result<Option<Webhook>, Fault> {
    hold_tenant(conn, tenant).await?;
    let Some(before) = find(conn, tenant, id, LOCK).await? else { return Ok(None) };
    let before = before.open(key)?;
    let (mut webhook, disables) = change.applied_to(&before);
    webhook.version = raise_version(conn, tenant).await?;
    if disables {
        webhook.lane_epoch += 1;
        mark_stale(conn, webhook.no).await?;
    }
    let sql = "UPDATE webhook SET subscription = $2, url = $3, url_shown = $4, disabled = $5, settings = $6,
                      retention = $7, sealed = coalesce($8, sealed), lane_epoch = $9, version = $10
               WHERE no = $1";
    conn.run(
        sql,
        &[
            &webhook.no.0,
            &rows::subscription_json(&webhook.subscription)?,
            &webhook.url.as_str(),
            &webhook.url.shown(),
            &webhook.disabled,
            &rows::to_json(&webhook.settings)?,
            &rows::retention_code(webhook.settings.retention),
            &sealed,
            &webhook.lane_epoch,
            &webhook.version,
        ],
    )
    .await?;
    let change = Change::between(&audit::webhook(&before), &audit::webhook(&webhook));
    log::insert(conn, tenant, by, &id.to_string(), &change).await?;
    Ok(Some(webhook))
}

/// Takes (what it is found by, the time, the registry version).
pub(super) const BURY: &str = "UPDATE webhook SET deleted_at = $2, lane_epoch = lane_epoch + 1, version = $3,
                               url = '', url_shown = '', sealed = ''";

/// The column `retention` stays: it still says what becomes of payloads whose last delivery is in flight.
pub(super) async fn bury(
    conn: &Conn,
    key: &TenantKey,
    tenant: TenantNo,
    id: WebhookId,
    by: &By,
) -> Result<Option<Webhook>, Fault> {
    hold_tenant(conn, tenant).await?;
    let Some(last) = find(conn, tenant, id, LOCK).await? else { return Ok(None) };
    let last = last.open(key)?;
    let version = raise_version(conn, tenant).await?;
    conn.run(&format!("{BURY} WHERE no = $1"), &[&last.no.0, &by.at.millis(), &version]).await?;
    conn.run("UPDATE tenant SET webhooks = webhooks - 1 WHERE no = $1", &[&tenant.0]).await?;
    mark_stale(conn, last.no).await?;
    log::insert(conn, tenant, by, &id.to_string(), &Change::gone(audit::webhook(&last))).await?;
    Ok(Some(last))
}

pub(super) async fn list(
    conn: &Conn,
    key: &TenantKey,
    tenant: TenantNo,
    dialect: Option<Dialect>,
    page: &PageRequest<WebhookId>,
) -> Result<Page<Webhook>, Fault> {
    let sql = format!(
        "SELECT {} FROM webhook
         WHERE tenant = $1 AND deleted_at IS NULL AND (created_at, id) < ($2, $3)
           AND ($4::bigint IS NULL OR dialect = $4) ORDER BY created_at DESC, id DESC LIMIT $5",
        rows::WEBHOOK_COLUMNS
    );
    // Longer than any id, so it stands after the last one of that time.
    let (at, id) = match page.after {
        Some(after) => (after.at.millis(), after.id.bytes().to_vec()),
        None => (i64::MAX, vec![0xFF; 17]),
    };
    let dialect = dialect.map(rows::dialect_code);
    let found = conn.rows(&sql, &[&tenant.0, &at, &id, &dialect, &(i64::from(page.limit) + 1)]).await?;
    let more = found.len() > page.limit as usize;
    let mut webhooks = Vec::with_capacity(found.len());
    for row in found.iter().take(page.limit as usize) {
        webhooks.push(sealed_webhook(row)?.open(key)?);
    }
    Ok(Page { rows: webhooks, more })
}

/// `range` is how many to pass over, and how many to give.
pub(super) async fn list_behind(
    conn: &Conn,
    key: &TenantKey,
    tenant: TenantNo,
    dialect: Dialect,
    range: (i64, i64),
) -> Result<Vec<Webhook>, Fault> {
    let sql = format!(
        "SELECT {} FROM webhook WHERE tenant = $1 AND deleted_at IS NULL AND dialect = $2
         ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $3",
        rows::WEBHOOK_COLUMNS
    );
    let dialect = rows::dialect_code(dialect);
    let found = conn.rows(&sql, &[&tenant.0, &dialect, &range.0, &range.1]).await?;
    found.iter().map(|row| Ok(sealed_webhook(row)?.open(key)?)).collect()
}

/// Upkeep rewrites the pending rows of older epochs; until then their epoch says it.
async fn mark_stale(conn: &Conn, webhook: WebhookNo) -> Result<(), Fault> {
    let sql = "INSERT INTO stale_lane (webhook) VALUES ($1)
               ON CONFLICT (webhook) DO UPDATE SET made_at = clock_timestamp()";
    conn.run(sql, &[&webhook.0]).await.map(drop)
}

/// The epoch of a webhook's lanes, and what its deliveries need to know.
#[derive(Clone, Copy, Debug)]
pub(in crate::postgres) struct LaneFacts {
    pub(in crate::postgres) epoch: i64,
    pub(in crate::postgres) disabled: bool,
    pub(in crate::postgres) deleted: bool,
    /// Keeps no payload.
    pub(in crate::postgres) forgetful: bool,
}

pub(in crate::postgres) async fn lane_facts(
    conn: &Conn,
    webhooks: &[i64],
) -> Result<HashMap<WebhookNo, LaneFacts>, Fault> {
    let sql = "SELECT no, lane_epoch, disabled, deleted_at IS NOT NULL, retention = 1 FROM webhook WHERE no = ANY($1)";
    let mut facts = HashMap::new();
    for row in conn.rows(sql, &[&webhooks]).await? {
        let of = LaneFacts {
            epoch: row.col(1)?,
            disabled: row.col(2)?,
            deleted: row.col(3)?,
            forgetful: row.col(4)?,
        };
        facts.insert(WebhookNo(row.col(0)?), of);
    }
    Ok(facts)
}
