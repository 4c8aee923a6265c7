//! The schema and its versions: forward only, each step one transaction that also raises the version. Nodes that start
//! at the same time wait for each other.

use super::fault::Fault;
use super::pool::{Columns as _, Conn};
use crate::error::StoreError;

/// Step n leads from version n to n + 1. Never change one that was released.
const STEPS: [&str; 1] = [include_str!("migrations/0001_begin.sql")];

/// The first half of every advisory lock of ours ("SPst"); the second names the schema.
pub(crate) const LOCK_CLASS: i32 = 0x5350_7374;

pub(super) async fn migrate(conn: &Conn) -> Result<(), Fault> {
    let known = STEPS.len() as i64;
    loop {
        conn.begin().await?;
        lock(conn).await?;
        let found = version(conn).await?;
        if found > known {
            return Err(StoreError::NewerSchema { found, known }.into());
        }
        let Some(step) = usize::try_from(found).ok().and_then(|at| STEPS.get(at)) else {
            return conn.roll_back().await;
        };
        take(conn, step, found + 1).await?;
        conn.batch("COMMIT").await?;
        conn.settled();
    }
}

/// Whoever makes, migrates or fills the tables holds this to the end of its transaction.
pub(super) async fn lock(conn: &Conn) -> Result<(), Fault> {
    let lock = "SELECT pg_advisory_xact_lock($1, hashtext('migrate ' || current_schema()))::text";
    conn.rows(lock, &[&LOCK_CLASS]).await.map(drop)
}

/// All tables, for a transaction that fills them.
pub(super) async fn make_all(conn: &Conn) -> Result<(), Fault> {
    for (step, reached) in STEPS.iter().zip(1..) {
        take(conn, step, reached).await?;
    }
    Ok(())
}

async fn take(conn: &Conn, step: &str, reached: i64) -> Result<(), Fault> {
    conn.batch(step).await?;
    set_number(conn, "schema", reached).await
}

/// 0: nothing of ours is there. A schema with somebody else's tables is refused.
pub(super) async fn version(conn: &Conn) -> Result<i64, Fault> {
    let tables =
        "SELECT count(*), coalesce(bool_or(relname = 'meta'), false), current_schema()::text FROM pg_class
                  WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')";
    let row = conn.one(tables, &[]).await?;
    let (count, ours, schema): (i64, bool, Option<String>) = (row.col(0)?, row.col(1)?, row.col(2)?);
    let Some(schema) = schema else {
        let why = "the search_path of the database names no schema that exists";
        return Err(StoreError::Refused(why.into()).into());
    };
    let strangers = || {
        let why =
            format!("the schema {schema} of the database belongs to another program; give Sealpost its own");
        Fault::Store(StoreError::Refused(why))
    };
    if count == 0 {
        return Ok(0);
    }
    if !ours {
        return Err(strangers());
    }
    let mark = "SELECT number FROM meta WHERE name = 'schema'";
    let found = conn.optional(mark, &[]).await.map_err(|_| strangers())?;
    found.ok_or_else(strangers)?.col(0)
}

pub(super) async fn master_check(conn: &Conn) -> Result<Option<Vec<u8>>, Fault> {
    let found = conn.optional("SELECT bytes FROM meta WHERE name = 'master_check'", &[]).await?;
    found.map(|row| row.col(0)).transpose()
}

/// For a transaction that wraps: nobody changes the master key before its end.
pub(super) async fn hold_master_key(conn: &Conn) -> Result<(), Fault> {
    conn.rows("SELECT 1 FROM meta WHERE name = 'master_check' FOR SHARE", &[]).await.map(drop)
}

pub(super) async fn set_master_check(conn: &Conn, check: &[u8]) -> Result<(), Fault> {
    let put = "INSERT INTO meta (name, bytes) VALUES ('master_check', $1)
               ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes";
    conn.run(put, &[&check]).await.map(drop)
}

pub(super) async fn number(conn: &Conn, name: &str) -> Result<Option<i64>, Fault> {
    let found = conn.optional("SELECT number FROM meta WHERE name = $1", &[&name]).await?;
    found.map(|row| row.col(0)).transpose()
}

pub(super) async fn set_number(conn: &Conn, name: &str, number: i64) -> Result<(), Fault> {
    let put = "INSERT INTO meta (name, number) VALUES ($1, $2)
               ON CONFLICT (name) DO UPDATE SET number = excluded.number";
    conn.run(put, &[&name, &number]).await.map(drop)
}
