//! This process among the others that use the database. It says that it lives; who was silent for longer than a claim
//! takes is taken for dead, and its claims are orphans. Should it wake up, its fences are passed.
//!
//! Only the database's clock is read for that, and it is read when it is needed: `now()` is the beginning of a
//! transaction, which may be long ago behind a lock. Nobody is taken for dead by a node that has not been there itself,
//! without a gap, for as long as it takes to die: where the database was away nobody could be seen, and whoever came a
//! moment ago cannot know.

use std::sync::Arc;
use std::time::Duration;

use sealpost_core::limits;
use sealpost_core::time::Timestamp;

use super::Shared;
use super::fault::Fault;
use super::pool::{Columns as _, Conn, Pool};
use crate::queue::Standing;

const BEAT: Duration = Duration::from_secs(2);
/// Longer than an attempt takes as long as nobody asks for more than the default, and than a failover.
const DEAD_AFTER_S: i32 = 15;
/// Without a beat for so long, a node was away.
const GAP_S: i32 = 6;
/// Rows of nodes that ended long ago.
const FORGET_AFTER_DAYS: i32 = 7;

#[derive(Debug)]
pub(crate) struct Node {
    no: i64,
}

impl Node {
    pub(super) async fn enter(conn: &Conn) -> Result<Self, Fault> {
        let enter =
            "INSERT INTO node (since, seen_at) VALUES (clock_timestamp(), clock_timestamp()) RETURNING no";
        Ok(Self { no: conn.one(enter, &[]).await?.col(0)? })
    }

    /// The number that this process's claims carry.
    pub(crate) fn no(&self) -> i64 {
        self.no
    }

    pub(super) async fn end(&self, pool: &Arc<Pool>) -> Result<(), Fault> {
        let conn = pool.get().await?;
        conn.run("UPDATE node SET ended = TRUE WHERE no = $1", &[&self.no]).await.map(drop)
    }

    async fn beat(&self, conn: &Conn) -> Result<(), Fault> {
        let beat = "UPDATE node SET since = CASE WHEN seen_at < clock_timestamp() - make_interval(secs => $2)
                                                 THEN clock_timestamp() ELSE since END,
                           seen_at = clock_timestamp()
                    WHERE no = $1";
        conn.run(beat, &[&self.no, &f64::from(GAP_S)]).await.map(drop)
    }

    /// What others see is what is stored, so that is read. One that was silent says at once that it is back.
    pub(super) async fn standing(&self, conn: &Conn) -> Result<Standing, Fault> {
        let sql = "SELECT seen_at > clock_timestamp() - make_interval(secs => $2),
                          floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM node WHERE no = $1";
        let fresh = f64::from(DEAD_AFTER_S) - limits::HOLDS.as_secs_f64();
        let mut said = false;
        loop {
            let row = conn.one(sql, &[&self.no, &fresh]).await?;
            let standing = Standing { holds: row.col(0)?, now: Timestamp::from_millis(row.col(1)?) };
            if standing.holds || said {
                return Ok(standing);
            }
            self.beat(conn).await?;
            said = true;
        }
    }
}

/// Beats until the store is closed or gone.
pub(super) fn keep_alive(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(BEAT).await;
            let Some(shared) = shared.upgrade() else { return };
            let beat = async { shared.node.beat(&shared.pool.get().await?).await };
            if let Err(fault) = beat.await {
                if matches!(fault, Fault::Store(crate::StoreError::Closed)) {
                    return;
                }
                tracing::warn!(?fault, "the database was not told that this node lives");
            }
        }
    });
}

/// SQL for whether the node `$claimer` was silent for too long, or said that it ends.
fn is_silent(claimer: &str) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM node n WHERE n.no = {claimer} AND NOT n.ended
                     AND n.seen_at > clock_timestamp() - make_interval(secs => {DEAD_AFTER_S}))"
    )
}

/// SQL for whether the node `$judge` can tell that the node `$claimer` cannot settle its claims any more.
pub(super) fn is_gone(claimer: &str, judge: &str) -> String {
    format!(
        "{silent} AND (NOT EXISTS (SELECT 1 FROM node n WHERE n.no = {claimer} AND NOT n.ended)
                       OR EXISTS (SELECT 1 FROM node j WHERE j.no = {judge}
                                  AND j.since < clock_timestamp() - make_interval(secs => {DEAD_AFTER_S})
                                  AND j.seen_at > clock_timestamp() - make_interval(secs => {GAP_S})))",
        silent = is_silent(claimer)
    )
}

/// Nodes that live, and such as were not seen for a while without saying that they end.
pub(super) async fn counts(conn: &Conn) -> Result<(i64, i64), Fault> {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE NOT gone), count(*) FILTER (WHERE gone AND held)
         FROM (SELECT {} AS gone, EXISTS (SELECT 1 FROM delivery d WHERE d.claimer = m.no) AS held FROM node m) nodes",
        is_silent("m.no")
    );
    let row = conn.one(&sql, &[]).await?;
    Ok((row.col(0)?, row.col(1)?))
}

/// Of nodes that ended and hold nothing.
pub(super) async fn forget_old(conn: &Conn) -> Result<u64, Fault> {
    let sql = "DELETE FROM node n WHERE n.seen_at < clock_timestamp() - make_interval(days => $1)
               AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.claimer = n.no)";
    conn.run(sql, &[&FORGET_AFTER_DAYS]).await
}
