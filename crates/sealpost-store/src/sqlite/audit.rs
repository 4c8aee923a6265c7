//! The audit log in SQLite. Whoever changes something writes the entry in the transaction of the change.

use rusqlite::{Connection, Row};
use serde_json::Value;

use sealpost_core::audit::By;
use sealpost_core::id::TenantNo;
use sealpost_core::tenant::DEFAULT_TENANT;
use sealpost_core::time::Timestamp;

use super::rows;
use super::writer::WriteError;
use crate::audit::Change;
use crate::history::AuditEntry;
use crate::page::{Page, PageRequest};

pub(super) fn insert(
    conn: &Connection,
    tenant: TenantNo,
    by: &By,
    object: &str,
    change: &Change,
) -> Result<(), WriteError> {
    let text = |side: &Option<Value>| side.as_ref().map(Value::to_string);
    conn.prepare_cached(
        "INSERT INTO audit (tenant, at, who, what, object, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        tenant.0,
        by.at.millis(),
        &by.who,
        by.action.as_str(),
        object,
        text(&change.before),
        text(&change.after),
    ))?;
    Ok(())
}

/// Changes of the installation itself stand in the log of the tenant that every installation has.
pub(super) fn insert_for_installation(
    conn: &Connection,
    by: &By,
    object: &str,
    change: &Change,
) -> Result<(), WriteError> {
    let tenant = conn
        .prepare_cached("SELECT ifnull(max(no), 0) FROM tenant WHERE subdomain = ?1")?
        .query_row([DEFAULT_TENANT], |row| row.get(0))?;
    insert(conn, TenantNo(tenant), by, object, change)
}

/// Newest first.
pub(super) fn list(
    conn: &Connection,
    tenant: TenantNo,
    page: PageRequest<i64>,
) -> Result<Page<AuditEntry>, WriteError> {
    let before = page.after.map_or(i64::MAX, |after| after.id);
    let mut statement = conn.prepare_cached(
        "SELECT seq, at, who, what, object, before, after FROM audit INDEXED BY audit_list \
         WHERE tenant = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
    )?;
    let found = statement.query_and_then((tenant.0, before, i64::from(page.limit) + 1), entry)?;
    let mut rows = found.collect::<Result<Vec<_>, _>>()?;
    let more = rows.len() > page.limit as usize;
    rows.truncate(page.limit as usize);
    Ok(Page { rows, more })
}

fn entry(row: &Row<'_>) -> Result<AuditEntry, WriteError> {
    let side = |index: usize| -> Result<Option<Value>, WriteError> {
        let text: Option<String> = row.get(index)?;
        let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
        Ok(parsed.map_err(|_| rows::corrupt("audit entry"))?)
    };
    Ok(AuditEntry {
        no: row.get(0)?,
        at: Timestamp::from_millis(row.get(1)?),
        who: row.get(2)?,
        what: row.get(3)?,
        object: row.get(4)?,
        change: Change { before: side(5)?, after: side(6)? },
    })
}
