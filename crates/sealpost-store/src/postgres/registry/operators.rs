//! Operators: keys that belong to no tenant.

use tokio_postgres::Row;

use sealpost_core::audit::By;
use sealpost_core::id::OperatorId;
use sealpost_core::time::Timestamp;

use crate::audit::{self, Change};
use crate::postgres::audit as log;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::registry::Operator;

const COLUMNS: &str = "id, name, key_hash, created_at, expires_at";

pub(super) async fn insert(conn: &Conn, operator: &Operator, by: &By) -> Result<(), Fault> {
    let sql = format!("INSERT INTO operator ({COLUMNS}) VALUES ($1, $2, $3, $4, $5)");
    let (created_at, expires_at) = (operator.created_at.millis(), operator.expires_at.map(Timestamp::millis));
    let (id, key_hash) = (operator.id.bytes().as_slice(), operator.key_hash.as_slice());
    conn.run(&sql, &[&id, &operator.name, &key_hash, &created_at, &expires_at]).await?;
    let change = Change::made(audit::operator(operator));
    log::insert_for_installation(conn, by, &operator.id.to_string(), &change).await
}

pub(super) async fn remove(conn: &Conn, id: OperatorId, by: &By) -> Result<bool, Fault> {
    let sql = format!("DELETE FROM operator WHERE id = $1 RETURNING {COLUMNS}");
    let Some(row) = conn.optional(&sql, &[&id.bytes().as_slice()]).await? else { return Ok(false) };
    let change = Change::gone(audit::operator(&operator(&row)?));
    log::insert_for_installation(conn, by, &id.to_string(), &change).await?;
    Ok(true)
}

pub(super) async fn list(conn: &Conn) -> Result<Vec<Operator>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM operator ORDER BY created_at, id");
    conn.rows(&sql, &[]).await?.iter().map(operator).collect()
}

pub(super) async fn find(conn: &Conn, key_hash: &[u8; 32]) -> Result<Option<Operator>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM operator WHERE key_hash = $1");
    conn.optional(&sql, &[&key_hash.as_slice()]).await?.as_ref().map(operator).transpose()
}

fn operator(row: &Row) -> Result<Operator, Fault> {
    Ok(Operator {
        id: OperatorId::from_bytes(row.bytes(0)?),
        name: row.col(1)?,
        key_hash: row.bytes(2)?,
        created_at: Timestamp::from_millis(row.col(3)?),
        expires_at: row.col::<Option<i64>>(4)?.map(Timestamp::from_millis),
    })
}
