//! Findings for `doctor`. Reads only.

use std::path::Path;

use sealpost_core::delivery::{FailReason, Status};

use crate::error::StoreError;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn, reading};
use crate::postgres::{Shared, node};
use crate::upkeep::Finding;
use crate::vault::MasterKey;

/// Older ones are not tested with.
const OLDEST_SERVER: i32 = 140_000;
/// A transaction of somebody that is open for so long keeps everything that was deleted since.
const LONG_TRANSACTION_S: i32 = 3600;

pub(super) async fn examine(shared: &Shared) -> Result<Vec<Finding>, StoreError> {
    let mut findings = reading!(shared, |conn| of_database(conn).await)?;
    findings.push(key_mode(&shared.master_key_file));
    Ok(findings)
}

async fn of_database(conn: &Conn) -> Result<Vec<Finding>, Fault> {
    Ok(vec![
        settings(conn).await?,
        unknown_outcomes(conn).await?,
        nodes(conn).await?,
        long_transactions(conn).await?,
        misplaced_attempts(conn).await?,
    ])
}

fn finding(ok: bool, what: String, advice: &str) -> Finding {
    Finding { ok, what, advice: (!ok).then(|| advice.to_owned()) }
}

/// What 202 rests on.
async fn settings(conn: &Conn) -> Result<Finding, Fault> {
    let sql = "SELECT current_setting('server_version'), current_setting('server_version_num')::integer,
                      current_setting('fsync'), current_setting('full_page_writes'),
                      current_setting('synchronous_commit'), current_setting('synchronous_standby_names')";
    let row = conn.one(sql, &[]).await?;
    let (version, number): (String, i32) = (row.col(0)?, row.col(1)?);
    let (fsync, pages, commit): (String, String, String) = (row.col(2)?, row.col(3)?, row.col(4)?);
    let standbys: String = row.col(5)?;
    let standbys = if standbys.is_empty() { "none".to_owned() } else { standbys };
    let ok = number >= OLDEST_SERVER
        && fsync == "on"
        && pages == "on"
        && !matches!(commit.as_str(), "off" | "remote_write");
    Ok(finding(
        ok,
        format!(
            "PostgreSQL {version} uses fsync={fsync} full_page_writes={pages} synchronous_commit={commit}, synchronous \
             standbys: {standbys}"
        ),
        "use PostgreSQL 14 or newer with fsync, full_page_writes and synchronous_commit on: without them an accepted \
         event can be lost",
    ))
}

async fn unknown_outcomes(conn: &Conn) -> Result<Finding, Fault> {
    let sql = "SELECT count(*) FROM delivery WHERE state IN (2, 3) AND state = $1 AND reason = $2";
    let codes = (i16::from(Status::Failed.code()), i16::from(FailReason::OutcomeUnknown.code()));
    let count: i64 = conn.one(sql, &[&codes.0, &codes.1]).await?.col(0)?;
    Ok(finding(
        count == 0,
        format!("{count} deliveries failed without anybody knowing whether the receiver got them"),
        "redeliver them; receivers know the event by its id",
    ))
}

async fn nodes(conn: &Conn) -> Result<Finding, Fault> {
    let (alive, lost) = node::counts(conn).await?;
    Ok(finding(
        lost == 0,
        format!("{alive} nodes use the database, {lost} were lost and hold deliveries still"),
        "start a node: it takes up what the lost ones held",
    ))
}

async fn long_transactions(conn: &Conn) -> Result<Finding, Fault> {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
               AND xact_start < clock_timestamp() - make_interval(secs => $1)";
    let count: i64 = conn.one(sql, &[&f64::from(LONG_TRANSACTION_S)]).await?.col(0)?;
    Ok(finding(
        count == 0,
        format!("{count} transactions are open for longer than an hour"),
        "end them: they keep the database from removing what was deleted, erased salts among it",
    ))
}

async fn misplaced_attempts(conn: &Conn) -> Result<Finding, Fault> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM attempt_other LIMIT 100000) a";
    let count: i64 = conn.one(sql, &[]).await?.col(0)?;
    Ok(finding(
        count < 100_000,
        "attempts lie in the partition of their day".into(),
        "upkeep has not made partitions for days: look at its errors in the log",
    ))
}

fn key_mode(key_file: &Path) -> Finding {
    let shown = key_file.display();
    match MasterKey::file_mode(key_file) {
        Ok(mode) => finding(
            mode & 0o077 == 0,
            format!("the master key file {shown} has mode {mode:04o}"),
            "use chmod 600; without that the next start is refused",
        ),
        Err(error) => finding(
            false,
            format!("the master key file {shown} cannot be looked at: {error}"),
            "put it back before the next start",
        ),
    }
}
