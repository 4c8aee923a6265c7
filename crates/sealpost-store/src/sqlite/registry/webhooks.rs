//! Webhooks in SQLite: made, changed, buried, read.
//!
//! Disabling and deleting raise the lane epoch, which cancels every pending delivery of an older one at once; the
//! rows follow later. A deleted webhook's row stays for history, without its URL and secrets.

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::audit::By;
use sealpost_core::dialect::Dialect;
use sealpost_core::health::Health;
use sealpost_core::id::{TenantNo, WebhookId, WebhookNo};
use sealpost_core::settings::RetentionKind;
use sealpost_core::webhook::Webhook;

use super::raise_version;
use crate::audit::{self, Change};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::registry::{NewWebhook, WebhookChange};
use crate::sqlite::SqliteStore;
use crate::sqlite::audit as log;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::rows::{self, SealedWebhook};
use crate::sqlite::writer::{Cost, Kind, WriteError};

impl SqliteStore {
    pub(super) async fn insert_webhook(
        &self,
        new: NewWebhook,
        by: By,
    ) -> Result<Option<Webhook>, StoreError> {
        let Some(key) = self.tenant_key(new.tenant).await? else {
            return Err(rows::corrupt("tenant"));
        };
        let sealed = rows::seal_secrets(&key, new.id, &new.secrets)?;
        let write = move |conn: &Connection, ctx: &mut WriterCtx| {
            let made = insert(conn, ctx, &new, &sealed)?;
            if let Some(webhook) = &made {
                let change = Change::made(audit::webhook(webhook));
                log::insert(conn, new.tenant, &by, &new.id.to_string(), &change)?;
            }
            Ok(made)
        };
        self.writer.run(Kind::Registry, Cost::rows(3), write).await
    }

    pub(super) async fn update_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        change: WebhookChange,
        by: By,
    ) -> Result<Option<Webhook>, StoreError> {
        let Some(key) = self.tenant_key(tenant).await? else { return Ok(None) };
        let sealed =
            change.secrets.as_ref().map(|secrets| rows::seal_secrets(&key, id, secrets)).transpose()?;
        let write = move |conn: &Connection, ctx: &mut WriterCtx| {
            let Some(before) = find(conn, tenant, id)? else { return Ok(None) };
            let before = before.open(&key)?;
            let after = update(conn, ctx, &before, &change, sealed.as_deref())?;
            let change = Change::between(&audit::webhook(&before), &audit::webhook(&after));
            log::insert(conn, tenant, &by, &id.to_string(), &change)?;
            Ok(Some(after))
        };
        self.writer.run(Kind::Registry, Cost::rows(4), write).await
    }

    pub(super) async fn bury_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        by: By,
    ) -> Result<Option<Webhook>, StoreError> {
        let Some(key) = self.tenant_key(tenant).await? else { return Ok(None) };
        let write = move |conn: &Connection, ctx: &mut WriterCtx| {
            let Some(last) = find(conn, tenant, id)? else { return Ok(None) };
            let last = last.open(&key)?;
            bury(conn, ctx, &last, &by)?;
            Ok(Some(last))
        };
        self.writer.run(Kind::Registry, Cost::rows(4), write).await
    }

    pub(super) async fn read_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
    ) -> Result<Option<Webhook>, StoreError> {
        let Some(key) = self.tenant_key(tenant).await? else { return Ok(None) };
        self.readers
            .run(move |conn| Ok(find(conn, tenant, id)?.map(|webhook| webhook.open(&key)).transpose()?))
            .await
    }

    pub(super) async fn list_webhooks(
        &self,
        tenant: TenantNo,
        dialect: Option<Dialect>,
        page: PageRequest<WebhookId>,
    ) -> Result<Page<Webhook>, StoreError> {
        let Some(key) = self.tenant_key(tenant).await? else {
            return Ok(Page { rows: Vec::new(), more: false });
        };
        let read = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(&format!(
                "SELECT {} FROM webhook INDEXED BY webhook_list \
                 WHERE tenant = ?1 AND deleted_at IS NULL AND (created_at, id) < (?2, ?3) \
                 AND (?4 IS NULL OR dialect = ?4) ORDER BY created_at DESC, id DESC LIMIT ?5",
                rows::WEBHOOK_COLUMNS
            ))?;
            // Longer than any id, so it stands after the last one of that time.
            let (at, id) = match page.after {
                Some(after) => (after.at.millis(), after.id.bytes().to_vec()),
                None => (i64::MAX, vec![0xFF; 17]),
            };
            let found = statement.query_and_then(
                (tenant.0, at, id, dialect.map(rows::dialect_code), i64::from(page.limit) + 1),
                |row| Ok(rows::sealed_webhook(row)?.open(&key)?),
            )?;
            let mut rows = found.collect::<Result<Vec<Webhook>, WriteError>>()?;
            let more = rows.len() > page.limit as usize;
            rows.truncate(page.limit as usize);
            Ok(Page { rows, more })
        };
        self.readers.run(read).await
    }

    pub(super) async fn list_webhooks_behind(
        &self,
        tenant: TenantNo,
        dialect: Dialect,
        offset: u32,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        let Some(key) = self.tenant_key(tenant).await? else { return Ok(Vec::new()) };
        let read = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(&format!(
                "SELECT {} FROM webhook INDEXED BY webhook_list \
                 WHERE tenant = ?1 AND deleted_at IS NULL AND dialect = ?2 \
                 ORDER BY created_at DESC, id DESC LIMIT ?3 OFFSET ?4",
                rows::WEBHOOK_COLUMNS
            ))?;
            statement
                .query_and_then((tenant.0, rows::dialect_code(dialect), limit, offset), |row| {
                    Ok(rows::sealed_webhook(row)?.open(&key)?)
                })?
                .collect::<Result<Vec<Webhook>, WriteError>>()
        };
        self.readers.run(read).await
    }
}

fn find(conn: &Connection, tenant: TenantNo, id: WebhookId) -> Result<Option<SealedWebhook>, WriteError> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {} FROM webhook WHERE id = ?1 AND tenant = ?2 AND deleted_at IS NULL",
        rows::WEBHOOK_COLUMNS
    ))?;
    statement.query_and_then((id.bytes(), tenant.0), rows::sealed_webhook)?.next().transpose()
}

fn insert(
    conn: &Connection,
    ctx: &mut WriterCtx,
    new: &NewWebhook,
    sealed: &[u8],
) -> Result<Option<Webhook>, WriteError> {
    let counted = conn
        .prepare_cached(
            "UPDATE tenant SET webhooks = webhooks + 1 WHERE no = ?1 AND webhooks < ?2 AND deleted_at IS NULL",
        )?
        .execute((new.tenant.0, i64::try_from(new.at_most).unwrap_or(i64::MAX)))?;
    if counted == 0 {
        return Ok(None);
    }
    let version = raise_version(conn, ctx, new.tenant)?;
    let no = conn
        .prepare_cached(
            "INSERT INTO webhook (id, tenant, dialect, subscription, url, url_shown, disabled, settings, retention, \
             sealed, version, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .insert((
            new.id.bytes(),
            new.tenant.0,
            rows::dialect_code(new.dialect),
            rows::subscription_json(&new.subscription)?,
            new.url.as_str(),
            new.url.shown(),
            new.disabled,
            rows::to_json(&new.settings)?,
            rows::retention_code(new.settings.retention),
            sealed,
            version,
            new.created_at.millis(),
        ))?;
    ctx.set_forgetful(WebhookNo(no), new.settings.retention == RetentionKind::None);
    Ok(Some(Webhook {
        no: WebhookNo(no),
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
    }))
}

fn update(
    conn: &Connection,
    ctx: &mut WriterCtx,
    before: &Webhook,
    change: &WebhookChange,
    sealed: Option<&[u8]>,
) -> Result<Webhook, WriteError> {
    let (mut webhook, disables) = change.applied_to(before);
    webhook.version = raise_version(conn, ctx, webhook.tenant)?;
    if disables {
        webhook.lane_epoch += 1;
        mark_stale(conn, webhook.no, false)?;
    }
    conn.prepare_cached(
        "UPDATE webhook SET subscription = ?2, url = ?3, url_shown = ?4, disabled = ?5, settings = ?6, \
         retention = ?7, sealed = coalesce(?8, sealed), lane_epoch = ?9, version = ?10 WHERE no = ?1",
    )?
    .execute((
        webhook.no.0,
        rows::subscription_json(&webhook.subscription)?,
        webhook.url.as_str(),
        webhook.url.shown(),
        webhook.disabled,
        rows::to_json(&webhook.settings)?,
        rows::retention_code(webhook.settings.retention),
        sealed,
        webhook.lane_epoch,
        webhook.version,
    ))?;
    ctx.set_forgetful(webhook.no, webhook.settings.retention == RetentionKind::None);
    Ok(webhook)
}

/// Takes (what it is found by, the time, the registry version).
pub(super) const BURY: &str = "UPDATE webhook SET deleted_at = ?2, lane_epoch = lane_epoch + 1, version = ?3, \
                               url = '', url_shown = '', sealed = x''";

/// The column `retention` stays: it still says what becomes of payloads whose last delivery is in flight.
fn bury(conn: &Connection, ctx: &mut WriterCtx, last: &Webhook, by: &By) -> Result<(), WriteError> {
    let (no, tenant) = (last.no, last.tenant);
    let version = raise_version(conn, ctx, tenant)?;
    conn.prepare_cached(&format!("{BURY} WHERE no = ?1"))?.execute((no.0, by.at.millis(), version))?;
    conn.prepare_cached("UPDATE tenant SET webhooks = webhooks - 1 WHERE no = ?1")?.execute([tenant.0])?;
    mark_stale(conn, no, true)?;
    log::insert(conn, tenant, by, &last.id.to_string(), &Change::gone(audit::webhook(last)))
}

/// Upkeep rewrites the pending rows of older epochs; until then their epoch says it.
fn mark_stale(conn: &Connection, webhook: WebhookNo, deleted: bool) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO stale_lane (webhook, reason) VALUES (?1, ?2)")?
        .execute((webhook.0, rows::stale_reason(deleted).code()))?;
    Ok(())
}

/// The epoch of a webhook's lanes, and whether it takes deliveries at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneFacts {
    pub(crate) tenant: TenantNo,
    pub(crate) epoch: i64,
    pub(crate) disabled: bool,
    pub(crate) deleted: bool,
}

pub(crate) fn lane_facts(conn: &Connection, webhook: WebhookNo) -> rusqlite::Result<Option<LaneFacts>> {
    conn.prepare_cached(
        "SELECT tenant, lane_epoch, disabled, deleted_at IS NOT NULL FROM webhook WHERE no = ?1",
    )?
    .query_row([webhook.0], |row| {
        Ok(LaneFacts {
            tenant: TenantNo(row.get(0)?),
            epoch: row.get(1)?,
            disabled: row.get(2)?,
            deleted: row.get(3)?,
        })
    })
    .optional()
}
