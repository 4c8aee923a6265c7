//! The keys that sign access tokens: the installation's, so sealed with the master key itself.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::json;

use sealpost_core::audit::By;
use sealpost_core::key_ring::{KeyRecord, KeyRing, KeyState};
use sealpost_core::time::Timestamp;

use crate::audit::Change;
use crate::error::StoreError;
use crate::sqlite::SqliteStore;
use crate::sqlite::audit as log;
use crate::sqlite::rows;
use crate::sqlite::writer::{Cost, Kind, WriteError};

impl SqliteStore {
    pub(super) async fn read_token_keys(&self) -> Result<KeyRing, StoreError> {
        let _same_key = self.wrapping.read().await;
        let vault = Arc::clone(&self.vault);
        let read = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(
                "SELECT kid, public, sealed, created_at, retired_at FROM token_key \
                 ORDER BY retired_at IS NOT NULL, created_at DESC, kid",
            )?;
            let key = |row: &rusqlite::Row<'_>| -> Result<KeyRecord, WriteError> {
                let kid: String = row.get(0)?;
                let sealed: Vec<u8> = row.get(2)?;
                let seed = rows::open_token_seed(&vault, &kid, &sealed)?;
                let retired: Option<i64> = row.get(4)?;
                Ok(KeyRecord {
                    kid,
                    public: row.get(1)?,
                    seed,
                    created_at: rows::timestamp(row, 3)?,
                    state: match retired {
                        None => KeyState::Current,
                        Some(since) => KeyState::Retired { since: Timestamp::from_millis(since) },
                    },
                })
            };
            Ok(KeyRing { keys: statement.query_and_then([], key)?.collect::<Result<_, _>>()? })
        };
        self.readers.run(read).await
    }

    pub(super) async fn insert_token_key(
        &self,
        fresh: KeyRecord,
        forget: Timestamp,
        by: By,
    ) -> Result<(), StoreError> {
        let _same_key = self.wrapping.read().await;
        let sealed = rows::seal_token_seed(&self.vault, &fresh.kid, &fresh.seed);
        let write = move |conn: &Connection, _: &mut _| {
            conn.prepare_cached("UPDATE token_key SET retired_at = ?1 WHERE retired_at IS NULL")?
                .execute([by.at.millis()])?;
            conn.prepare_cached("DELETE FROM token_key WHERE retired_at < ?1")?.execute([forget.millis()])?;
            conn.prepare_cached(
                "INSERT INTO token_key (kid, public, sealed, created_at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((&fresh.kid, &fresh.public, &sealed, by.at.millis()))?;
            let change = Change::made(json!({"current": &fresh.kid}));
            log::insert_for_installation(conn, &by, &fresh.kid, &change)
        };
        self.writer.run(Kind::Registry, Cost::rows(4), write).await
    }
}
