//! Changing a tenant's own rules, and deleting it: one transaction after which nothing of it can be called, changed or
//! accepted.
//!
//! Its webhooks are buried as each would be by itself, so their pending deliveries end as cancelled. Events and
//! deliveries stay for their time; whoever wants the payloads gone erases them besides.

use rusqlite::Connection;

use sealpost_core::analytics::LogLevel;
use sealpost_core::audit::By;
use sealpost_core::id::TenantNo;
use sealpost_core::quota::OwnQuota;
use sealpost_core::tenant::Tenant;

use super::raise_version;
use super::webhooks::BURY;
use crate::audit::{self, Change};
use crate::error::StoreError;
use crate::registry::DeletedTenant;
use crate::sqlite::SqliteStore;
use crate::sqlite::audit as log;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::rows;
use crate::sqlite::writer::{Cost, Kind, WriteError};

impl SqliteStore {
    pub(super) async fn update_quota(
        &self,
        tenant: TenantNo,
        quota: OwnQuota,
        by: By,
    ) -> Result<Option<Tenant>, StoreError> {
        self.update_tenant(tenant, move |before| Tenant { quota, ..before }, by).await
    }

    pub(super) async fn update_log_level(
        &self,
        tenant: TenantNo,
        log_level: LogLevel,
        by: By,
    ) -> Result<Option<Tenant>, StoreError> {
        self.update_tenant(tenant, move |before| Tenant { log_level, ..before }, by).await
    }

    async fn update_tenant(
        &self,
        tenant: TenantNo,
        changed: impl Fn(Tenant) -> Tenant + Send + 'static,
        by: By,
    ) -> Result<Option<Tenant>, StoreError> {
        let write =
            move |conn: &Connection, ctx: &mut WriterCtx| {
                let mut statement = conn.prepare_cached(&format!(
                    "SELECT {} FROM tenant WHERE no = ?1 AND deleted_at IS NULL",
                    rows::TENANT_COLUMNS
                ))?;
                let found = statement.query_and_then([tenant.0], rows::tenant)?.next().transpose()?;
                let Some(before) = found else { return Ok(None) };
                let after = changed(before.clone());
                conn.prepare_cached("UPDATE tenant SET quota = ?2, log_level = ?3 WHERE no = ?1")?
                    .execute((tenant.0, rows::to_json(&after.quota)?, after.log_level.number()))?;
                raise_version(conn, ctx, tenant)?;
                let change = Change::between(&audit::tenant(&before), &audit::tenant(&after));
                log::insert(conn, tenant, &by, &after.id.to_string(), &change)?;
                Ok(Some(after))
            };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    pub(super) async fn bury_tenant(
        &self,
        tenant: TenantNo,
        by: By,
    ) -> Result<Option<DeletedTenant>, StoreError> {
        let write = move |conn: &Connection, ctx: &mut WriterCtx| bury(conn, ctx, tenant, &by);
        self.writer.run(Kind::Registry, Cost::rows(16), write).await
    }
}

fn bury(
    conn: &Connection,
    ctx: &mut WriterCtx,
    tenant: TenantNo,
    by: &By,
) -> Result<Option<DeletedTenant>, WriteError> {
    let mut statement = conn.prepare_cached(&format!(
        "UPDATE tenant SET deleted_at = ?2, webhooks = 0 WHERE no = ?1 AND deleted_at IS NULL RETURNING {}",
        rows::TENANT_COLUMNS
    ))?;
    let marked = statement.query_and_then((tenant.0, by.at.millis()), rows::tenant)?.next().transpose()?;
    let Some(last) = marked else { return Ok(None) };
    log::insert(conn, tenant, by, &last.id.to_string(), &Change::gone(audit::tenant(&last)))?;
    // The accepting transaction takes a raised version for a reason to look again, and then finds the tenant gone.
    let version = raise_version(conn, ctx, tenant)?;
    conn.prepare_cached(
        "INSERT OR REPLACE INTO stale_lane (webhook, reason) \
         SELECT no, ?2 FROM webhook WHERE tenant = ?1 AND deleted_at IS NULL",
    )?
    .execute((tenant.0, rows::stale_reason(true).code()))?;
    let webhooks = conn
        .prepare_cached(&format!("{BURY} WHERE tenant = ?1 AND deleted_at IS NULL"))?
        .execute((tenant.0, by.at.millis(), version))?;
    // Whoever proves the domain next may have it.
    conn.prepare_cached("DELETE FROM custom_domain WHERE tenant = ?1")?.execute([tenant.0])?;
    let clients = conn.prepare_cached("DELETE FROM client WHERE tenant = ?1")?.execute([tenant.0])?;
    Ok(Some(DeletedTenant { webhooks: webhooks as u64, clients: clients as u64 }))
}
