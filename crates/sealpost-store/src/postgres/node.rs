//! This process among the others that use the database. It says that it lives; who was silent for longer than a claim
//! takes is taken for dead, and its claims are orphans. Should it wake up, its fences are passed.
//!
//! Only the database's clock is read for that, and it is read when it is needed: `now()` is the beginning of a
//! transaction, which may be long ago behind a lock. A process that could not reach the database for a while itself takes
//! nobody for dead until everybody has had time to come back: it was the database that was away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::fault::Fault;
use super::pool::{Columns as _, Conn, Pool};

const BEAT: Duration = Duration::from_secs(2);
/// Longer than a claim can take to be settled: the longest attempt, the wait before it, and a failover.
const DEAD_AFTER_S: i32 = 15;
/// Without a beat for so long, the others may have had none either.
const GAP: Duration = Duration::from_secs(6);
/// Rows of nodes that ended long ago.
const FORGET_AFTER_DAYS: i32 = 7;

#[derive(Debug)]
pub(crate) struct Node {
    no: i64,
    beats: Mutex<Beats>,
}

#[derive(Debug)]
struct Beats {
    last: Instant,
    /// Until then nobody is taken for dead.
    patient_until: Instant,
}

impl Beats {
    fn beat(&mut self, now: Instant) {
        if now.duration_since(self.last) > GAP {
            self.patient_until = now + Duration::from_secs(DEAD_AFTER_S.unsigned_abs().into());
        }
        self.last = now;
    }

    fn may_judge(&self, now: Instant) -> bool {
        now >= self.patient_until && now.duration_since(self.last) <= GAP
    }
}

impl Node {
    pub(super) async fn enter(conn: &Conn) -> Result<Self, Fault> {
        let enter = "INSERT INTO node (seen_at) VALUES (clock_timestamp()) RETURNING no";
        let now = Instant::now();
        let beats = Mutex::new(Beats { last: now, patient_until: now });
        Ok(Self { no: conn.one(enter, &[]).await?.col(0)?, beats })
    }

    /// Whether others that were silent can be taken for dead.
    pub(super) fn may_judge(&self) -> bool {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).may_judge(Instant::now())
    }

    /// The number that this process's claims carry.
    pub(crate) fn no(&self) -> i64 {
        self.no
    }

    pub(super) async fn end(&self, pool: &Arc<Pool>) -> Result<(), Fault> {
        let conn = pool.get().await?;
        conn.run("UPDATE node SET ended = TRUE WHERE no = $1", &[&self.no]).await.map(drop)
    }

    async fn beat(&self, pool: &Arc<Pool>) -> Result<(), Fault> {
        let conn = pool.get().await?;
        conn.run("UPDATE node SET seen_at = clock_timestamp() WHERE no = $1", &[&self.no]).await?;
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).beat(Instant::now());
        Ok(())
    }
}

/// Beats until the store is closed or gone.
pub(super) fn keep_alive(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(BEAT).await;
            let Some(shared) = shared.upgrade() else { return };
            if let Err(fault) = shared.node.beat(&shared.pool).await {
                if matches!(fault, Fault::Store(crate::StoreError::Closed)) {
                    return;
                }
                tracing::warn!(?fault, "the database was not told that this node lives");
            }
        }
    });
}

/// SQL for whether the node `$claimer` cannot settle its claims any more.
pub(super) fn is_gone(claimer: &str) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM node n WHERE n.no = {claimer} AND NOT n.ended
                     AND n.seen_at > clock_timestamp() - make_interval(secs => {DEAD_AFTER_S}))"
    )
}

/// Nodes that live, and such as were not seen for a while without saying that they end.
pub(super) async fn counts(conn: &Conn) -> Result<(i64, i64), Fault> {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE NOT gone), count(*) FILTER (WHERE gone AND held)
         FROM (SELECT {} AS gone, EXISTS (SELECT 1 FROM delivery d WHERE d.claimer = m.no) AS held FROM node m) nodes",
        is_gone("m.no")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_away_itself_is_patient_with_the_others() {
        let begin = Instant::now();
        let at = |s| begin + Duration::from_secs(s);
        let mut beats = Beats { last: begin, patient_until: begin };
        assert!(beats.may_judge(at(2)) && !beats.may_judge(at(7)), "it knows nothing of the time since");
        beats.beat(at(2));
        assert!(beats.may_judge(at(4)));
        // Twenty seconds without the database.
        beats.beat(at(22));
        beats.beat(at(24));
        assert!(!beats.may_judge(at(24)));
        for second in (26..=38).step_by(2) {
            beats.beat(at(second));
        }
        assert!(beats.may_judge(at(38)));
    }
}
