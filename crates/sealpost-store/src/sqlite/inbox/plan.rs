//! What the database knows of a request's ids and keys.

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::id::{EventId, EventNo, TenantNo};

use crate::inbox::plan::{Known, StoredKey, named_events};
use crate::sqlite::writer::WriteError;

impl Known for Connection {
    type Error = WriteError;

    fn key(&self, tenant: TenantNo, key: &[u8; 32]) -> Result<Option<StoredKey>, WriteError> {
        stored_key(self, tenant, key)
    }

    fn event(&self, tenant: TenantNo, id: EventId) -> Result<Option<(EventNo, Vec<u8>)>, WriteError> {
        stored_event(self, tenant, id)
    }
}

fn stored_key(conn: &Connection, tenant: TenantNo, key: &[u8; 32]) -> Result<Option<StoredKey>, WriteError> {
    let row: Option<([u8; 32], Vec<u8>)> = conn
        .prepare_cached("SELECT content, events FROM repeat_key WHERE tenant = ?1 AND key = ?2")?
        .query_row((tenant.0, key), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((content, events)) = row else { return Ok(None) };
    let events = named_events(&events)?;
    for no in &events {
        // A key lives as long as its events' metadata; upkeep collects what is left of it later.
        let kept: bool = conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM event WHERE seq = ?1)")?
            .query_row([no.0], |row| row.get(0))?;
        if !kept {
            return Ok(None);
        }
    }
    Ok(Some((content, events)))
}

fn stored_event(
    conn: &Connection,
    tenant: TenantNo,
    id: EventId,
) -> Result<Option<(EventNo, Vec<u8>)>, WriteError> {
    Ok(conn
        .prepare_cached("SELECT seq, content FROM event WHERE tenant = ?1 AND id = ?2")?
        .query_row((tenant.0, id.bytes()), |row| Ok((EventNo(row.get(0)?), row.get(1)?)))
        .optional()?)
}
