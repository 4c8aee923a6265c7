//! The schema and its versions: forward only. Each step is one transaction that also raises the version, so a
//! process killed anywhere finds either all of a step or nothing of it, and goes on from there.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, ToSql, TransactionBehavior};

use crate::error::StoreError;
use crate::sqlite::writer::WriteError;

/// Step n leads from version n to n + 1. Never change one that was released.
const STEPS: [&str; 7] = [
    include_str!("migrations/0001_begin.sql"),
    include_str!("migrations/0002_operators.sql"),
    include_str!("migrations/0003_custom_domain.sql"),
    include_str!("migrations/0004_audit_list.sql"),
    include_str!("migrations/0005_audit_change.sql"),
    include_str!("migrations/0006_quota.sql"),
    include_str!("migrations/0007_analytics.sql"),
];

/// The version this program reads and writes.
#[cfg(test)]
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// Marks the file as ours, so that somebody else's database is refused ("SPst").
pub(super) const APPLICATION_ID: i64 = 0x5350_7374;

/// Brings the file to the newest version.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), WriteError> {
    migrate_by(conn, &STEPS)
}

fn migrate_by(conn: &mut Connection, steps: &[&str]) -> Result<(), WriteError> {
    let known = steps.len() as i64;
    let found = version(conn)?;
    if found > known {
        return Err(StoreError::NewerSchema { found, known }.into());
    }
    let owner: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if owner != APPLICATION_ID && (tables > 0 || found != 0) {
        return Err(StoreError::Backend("the database file belongs to another program".into()).into());
    }
    for (at, step) in steps.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", at as i64 + 1)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    Ok(())
}

pub(super) fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// A value of the `meta` table.
pub(crate) fn meta<T: FromSql>(conn: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(crate) fn set_meta(conn: &Connection, name: &str, value: &dyn ToSql) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute((name, value))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_does_not_finish_leaves_nothing_and_is_done_later() {
        let mut conn = Connection::open_in_memory().unwrap();
        let broken = ["CREATE TABLE one (a);", "CREATE TABLE two (a); CREATE TABLE two (a);"];
        assert!(migrate_by(&mut conn, &broken).is_err());
        assert_eq!(version(&conn).unwrap(), 1);
        let tables = |conn: &Connection| -> String {
            conn.query_row("SELECT group_concat(name) FROM sqlite_schema", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(tables(&conn), "one");

        let mended = ["CREATE TABLE one (a);", "CREATE TABLE two (a);"];
        migrate_by(&mut conn, &mended).unwrap();
        assert_eq!((version(&conn).unwrap(), tables(&conn)), (2, "one,two".into()));
        migrate_by(&mut conn, &mended).unwrap();
    }

    #[test]
    fn a_newer_schema_and_a_strangers_file_are_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        conn.pragma_update(None, "user_version", VERSION + 1).unwrap();
        assert_eq!(
            migrate(&mut conn).unwrap_err().to_string(),
            format!("the store has schema version {}, this program knows up to {VERSION}", VERSION + 1)
        );
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE somebody (a)").unwrap();
        let refused = migrate(&mut conn).unwrap_err().to_string();
        assert_eq!(refused, "the store failed: the database file belongs to another program");
    }
}
