//! The audit log. Whoever changes something writes the entry in the transaction of the change; so the entry also proves,
//! when a COMMIT got no answer, whether the change is stored.

use serde_json::Value;
use tokio_postgres::Row;

use sealpost_core::audit::By;
use sealpost_core::id::TenantNo;
use sealpost_core::tenant::DEFAULT_TENANT;
use sealpost_core::time::Timestamp;

use super::fault::Fault;
use super::pool::{Columns as _, Conn, Proof};
use crate::audit::Change;
use crate::history::AuditEntry;
use crate::page::{Page, PageRequest};
use crate::rows;

pub(super) async fn insert(
    conn: &Conn,
    tenant: TenantNo,
    by: &By,
    object: &str,
    change: &Change,
) -> Result<(), Fault> {
    let text = |side: &Option<Value>| side.as_ref().map(Value::to_string);
    let sql =
        "INSERT INTO audit (tenant, at, who, what, object, before, after) VALUES ($1, $2, $3, $4, $5, $6, $7)
               RETURNING seq";
    let (before, after) = (text(&change.before), text(&change.after));
    let row = conn
        .one(sql, &[&tenant.0, &by.at.millis(), &by.who, &by.action.as_str(), &object, &before, &after])
        .await?;
    conn.prove(Proof::Audit(row.col(0)?, by.at.millis(), by.who.clone(), object.to_owned()));
    Ok(())
}

/// Changes of the installation itself stand in the log of the tenant that every installation has.
pub(super) async fn insert_for_installation(
    conn: &Conn,
    by: &By,
    object: &str,
    change: &Change,
) -> Result<(), Fault> {
    let find = "SELECT coalesce(max(no), 0) FROM tenant WHERE subdomain = $1";
    let tenant = conn.one(find, &[&DEFAULT_TENANT]).await?.col(0)?;
    insert(conn, TenantNo(tenant), by, object, change).await
}

/// Newest first.
pub(super) async fn list(
    conn: &Conn,
    tenant: TenantNo,
    page: &PageRequest<i64>,
) -> Result<Page<AuditEntry>, Fault> {
    let before = page.after.map_or(i64::MAX, |after| after.id);
    let sql = "SELECT seq, at, who, what, object, before, after FROM audit
               WHERE tenant = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
    let found = conn.rows(sql, &[&tenant.0, &before, &(i64::from(page.limit) + 1)]).await?;
    let mut rows = found.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let more = rows.len() > page.limit as usize;
    rows.truncate(page.limit as usize);
    Ok(Page { rows, more })
}

fn entry(row: &Row) -> Result<AuditEntry, Fault> {
    let side = |at: usize| -> Result<Option<Value>, Fault> {
        let text: Option<String> = row.col(at)?;
        let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
        Ok(parsed.map_err(|_| rows::corrupt("audit entry"))?)
    };
    Ok(AuditEntry {
        no: row.col(0)?,
        at: Timestamp::from_millis(row.col(1)?),
        who: row.col(2)?,
        what: row.col(3)?,
        object: row.col(4)?,
        change: Change { before: side(5)?, after: side(6)? },
    })
}
