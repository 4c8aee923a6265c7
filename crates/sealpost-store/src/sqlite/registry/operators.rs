//! Operators in SQLite: keys that belong to no tenant.

use rusqlite::{Connection, Row};

use sealpost_core::audit::By;
use sealpost_core::id::OperatorId;
use sealpost_core::time::Timestamp;

use crate::audit::{self, Change};
use crate::error::StoreError;
use crate::registry::Operator;
use crate::sqlite::SqliteStore;
use crate::sqlite::audit as log;
use crate::sqlite::rows;
use crate::sqlite::writer::{Cost, Kind, WriteError};

const COLUMNS: &str = "id, name, key_hash, created_at, expires_at";

impl SqliteStore {
    pub(super) async fn insert_operator(&self, operator: Operator, by: By) -> Result<(), StoreError> {
        let write = move |conn: &Connection, _: &mut _| {
            conn.prepare_cached(&format!("INSERT INTO operator ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)"))?
                .execute((
                    operator.id.bytes(),
                    &operator.name,
                    &operator.key_hash,
                    operator.created_at.millis(),
                    operator.expires_at.map(Timestamp::millis),
                ))?;
            let change = Change::made(audit::operator(&operator));
            log::insert_for_installation(conn, &by, &operator.id.to_string(), &change)
        };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    pub(super) async fn remove_operator(&self, id: OperatorId, by: By) -> Result<bool, StoreError> {
        let write = move |conn: &Connection, _: &mut _| {
            let mut statement =
                conn.prepare_cached(&format!("DELETE FROM operator WHERE id = ?1 RETURNING {COLUMNS}"))?;
            let gone = statement.query_and_then([id.bytes()], operator)?.next().transpose()?;
            if let Some(gone) = &gone {
                let change = Change::gone(audit::operator(gone));
                log::insert_for_installation(conn, &by, &id.to_string(), &change)?;
            }
            Ok(gone.is_some())
        };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    pub(super) async fn list_operators(&self) -> Result<Vec<Operator>, StoreError> {
        let read = |conn: &Connection| {
            let mut statement =
                conn.prepare_cached(&format!("SELECT {COLUMNS} FROM operator ORDER BY created_at, id"))?;
            statement.query_and_then([], operator)?.collect()
        };
        self.readers.run(read).await
    }

    pub(super) async fn find_operator(&self, key_hash: [u8; 32]) -> Result<Option<Operator>, StoreError> {
        let read = move |conn: &Connection| {
            let mut statement =
                conn.prepare_cached(&format!("SELECT {COLUMNS} FROM operator WHERE key_hash = ?1"))?;
            statement.query_and_then([key_hash], operator)?.next().transpose()
        };
        self.readers.run(read).await
    }
}

fn operator(row: &Row<'_>) -> Result<Operator, WriteError> {
    Ok(Operator {
        id: OperatorId::from_bytes(row.get(0)?),
        name: row.get(1)?,
        key_hash: row.get(2)?,
        created_at: rows::timestamp(row, 3)?,
        expires_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
    })
}
