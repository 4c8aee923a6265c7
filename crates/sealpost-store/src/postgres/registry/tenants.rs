//! Tenants: made, limited, and deleted in one transaction after which nothing of them can be called, changed or accepted.

use tokio_postgres::Row;

use sealpost_core::analytics::LogLevel;
use sealpost_core::audit::By;
use sealpost_core::id::{TenantId, TenantNo};
use sealpost_core::quota::OwnQuota;
use sealpost_core::tenant::Tenant;
use sealpost_core::time::Timestamp;

use super::webhooks::BURY;
use super::{hold_tenant, insert_keys, raise_version};
use crate::audit::{self, Change};
use crate::postgres::audit as log;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::registry::{DeletedTenant, NewTenant};
use crate::rows::{self, SealedKey};

pub(super) fn tenant(row: &Row) -> Result<Tenant, Fault> {
    let subdomain: String = row.col(3)?;
    Ok(Tenant {
        no: TenantNo(row.col(0)?),
        id: TenantId::from_bytes(row.bytes(1)?),
        name: row.col(2)?,
        subdomain: subdomain.parse().map_err(|_| rows::corrupt("subdomain"))?,
        created_at: Timestamp::from_millis(row.col(4)?),
        retention: rows::from_json(row.col(5)?, "retention")?,
        quota: rows::from_json(row.col(6)?, "quota")?,
        log_level: log_level(row, 7)?,
    })
}

pub(super) fn log_level(row: &Row, at: usize) -> Result<LogLevel, Fault> {
    let number: i64 = row.col(at)?;
    Ok(rows::log_level(number.try_into().map_err(|_| rows::corrupt("log level"))?)?)
}

pub(super) async fn insert(
    conn: &Conn,
    new: &NewTenant,
    wrapped: &[u8],
    keys: &[SealedKey],
    by: &By,
) -> Result<Option<Tenant>, Fault> {
    let kept = new.retention;
    let look_after = millis(kept.payload_after_delivered.min(kept.payload_after_failed));
    let sql = "INSERT INTO tenant (id, name, subdomain, created_at, retention, wrapped_key, look_after,
                                   registry_version, types_version, keys_version)
               VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 1, 1) ON CONFLICT DO NOTHING RETURNING no";
    let made = conn
        .optional(
            sql,
            &[
                &new.id.bytes().as_slice(),
                &new.name,
                &new.subdomain.as_str(),
                &new.created_at.millis(),
                &rows::to_json(&new.retention)?,
                &wrapped,
                &look_after,
            ],
        )
        .await?;
    let Some(row) = made else { return Ok(None) };
    let no = TenantNo(row.col(0)?);
    insert_keys(conn, no, keys).await?;
    let tenant = Tenant {
        no,
        id: new.id,
        name: new.name.clone(),
        subdomain: new.subdomain.clone(),
        created_at: new.created_at,
        retention: new.retention,
        quota: OwnQuota::default(),
        log_level: LogLevel::default(),
    };
    log::insert(conn, no, by, &tenant.id.to_string(), &Change::made(audit::tenant(&tenant))).await?;
    Ok(Some(tenant))
}

pub(super) async fn change(
    conn: &Conn,
    no: TenantNo,
    changed: impl Fn(Tenant) -> Tenant,
    by: &By,
) -> Result<Option<Tenant>, Fault> {
    hold_tenant(conn, no).await?;
    let find = format!("SELECT {} FROM tenant WHERE no = $1 AND deleted_at IS NULL", rows::TENANT_COLUMNS);
    let Some(row) = conn.optional(&find, &[&no.0]).await? else { return Ok(None) };
    let before = tenant(&row)?;
    let after = changed(before.clone());
    let (quota, level) = (rows::to_json(&after.quota)?, i64::from(after.log_level.number()));
    conn.run("UPDATE tenant SET quota = $2, log_level = $3 WHERE no = $1", &[&no.0, &quota, &level]).await?;
    raise_version(conn, no).await?;
    let change = Change::between(&audit::tenant(&before), &audit::tenant(&after));
    log::insert(conn, no, by, &after.id.to_string(), &change).await?;
    Ok(Some(after))
}

/// Its webhooks are buried as each would be by itself. Events and deliveries stay for their time.
pub(super) async fn bury(conn: &Conn, no: TenantNo, by: &By) -> Result<Option<DeletedTenant>, Fault> {
    let mark = format!(
        "UPDATE tenant SET deleted_at = $2, webhooks = 0 WHERE no = $1 AND deleted_at IS NULL RETURNING {}",
        rows::TENANT_COLUMNS
    );
    let Some(row) = conn.optional(&mark, &[&no.0, &by.at.millis()]).await? else { return Ok(None) };
    let last = tenant(&row)?;
    log::insert(conn, no, by, &last.id.to_string(), &Change::gone(audit::tenant(&last))).await?;
    // The accepting transaction takes a raised version for a reason to look again, and then finds the tenant gone.
    let version = raise_version(conn, no).await?;
    let stale =
        "INSERT INTO stale_lane (webhook) SELECT no FROM webhook WHERE tenant = $1 AND deleted_at IS NULL
                 ON CONFLICT (webhook) DO UPDATE SET made_at = clock_timestamp()";
    conn.run(stale, &[&no.0]).await?;
    let buried = format!("{BURY} WHERE tenant = $1 AND deleted_at IS NULL");
    let webhooks = conn.run(&buried, &[&no.0, &by.at.millis(), &version]).await?;
    // Whoever proves the domain next may have it.
    conn.run("DELETE FROM custom_domain WHERE tenant = $1", &[&no.0]).await?;
    let clients = conn.run("DELETE FROM client WHERE tenant = $1", &[&no.0]).await?;
    Ok(Some(DeletedTenant { webhooks, clients }))
}

pub(in crate::postgres) fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
