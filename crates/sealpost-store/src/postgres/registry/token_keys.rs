//! The keys that sign access tokens: the installation's, so sealed with the master key itself.

use serde_json::json;

use sealpost_core::audit::By;
use sealpost_core::key_ring::{KeyRecord, KeyRing, KeyState};
use sealpost_core::time::Timestamp;

use crate::audit::Change;
use crate::postgres::audit as log;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::postgres::{Shared, schema};
use crate::rows;

pub(super) async fn list(conn: &Conn, shared: &Shared) -> Result<KeyRing, Fault> {
    shared.is_under_our_key(conn).await?;
    let sql = "SELECT kid, public, sealed, created_at, retired_at FROM token_key
               ORDER BY retired_at IS NOT NULL, created_at DESC, kid COLLATE \"C\"";
    let mut ring = KeyRing::default();
    for row in conn.rows(sql, &[]).await? {
        let kid: String = row.col(0)?;
        ring.keys.push(KeyRecord {
            seed: rows::open_token_seed(&shared.vault, &kid, row.col(2)?)?,
            kid,
            public: row.bytes(1)?,
            created_at: Timestamp::from_millis(row.col(3)?),
            state: match row.col::<Option<i64>>(4)? {
                None => KeyState::Current,
                Some(since) => KeyState::Retired { since: Timestamp::from_millis(since) },
            },
        });
    }
    Ok(ring)
}

pub(super) async fn insert(
    conn: &Conn,
    shared: &Shared,
    fresh: &KeyRecord,
    forget: Timestamp,
    by: &By,
) -> Result<(), Fault> {
    schema::hold_master_key(conn).await?;
    shared.is_under_our_key(conn).await?;
    // Two nodes that make one at the same time: the later one signs.
    conn.batch("LOCK TABLE token_key IN SHARE ROW EXCLUSIVE MODE").await?;
    let sealed = rows::seal_token_seed(&shared.vault, &fresh.kid, &fresh.seed);
    let at = by.at.millis();
    conn.run("UPDATE token_key SET retired_at = $1 WHERE retired_at IS NULL", &[&at]).await?;
    conn.run("DELETE FROM token_key WHERE retired_at < $1", &[&forget.millis()]).await?;
    let sql = "INSERT INTO token_key (kid, public, sealed, created_at) VALUES ($1, $2, $3, $4)";
    conn.run(sql, &[&fresh.kid, &fresh.public.as_slice(), &sealed, &at]).await?;
    let change = Change::made(json!({"current": &fresh.kid}));
    log::insert_for_installation(conn, by, &fresh.kid, &change).await
}
