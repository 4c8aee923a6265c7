//! The bell: a node tells the others in which lanes it left something waiting, so that whoever has time need not come to
//! look. A hint and never the truth: what was not heard is found by looking at the lanes.
//!
//! It is rung after the commit and by itself, a hundred times a second at most: a COMMIT with a notification takes a lock
//! of the whole cluster.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::AsyncMessage;

use sealpost_core::lane::LaneNo;

use super::Shared;
use super::fault::Fault;
use super::pool::{Columns as _, Pool};
use crate::error::StoreError;

const BETWEEN_RINGS: Duration = Duration::from_millis(10);
/// A lane's number has 20 characters at most, and a notification takes 8,000.
const LANES_MOST: usize = 300;
/// After the connection was lost.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Whether there is still somebody to ring for, and a server to hear.
const LOOK_UP: Duration = Duration::from_secs(2);
/// The databases' own name for it; other schemas have other bells.
const CHANNEL: &str = "SELECT 'sealpost_' || hashtext(current_schema())";

#[derive(Debug, Default)]
pub(crate) struct Bell {
    left: Lanes,
    heard: Lanes,
}

#[derive(Debug, Default)]
struct Lanes {
    waiting: Mutex<BTreeSet<i64>>,
    some: Notify,
}

impl Lanes {
    fn add(&self, lanes: impl Iterator<Item = i64>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // One that finds no place is found by looking.
        waiting.extend(lanes.take(LANES_MOST));
        while waiting.len() > LANES_MOST {
            waiting.pop_first();
        }
        let some = !waiting.is_empty();
        drop(waiting);
        if some {
            self.some.notify_one();
        }
    }

    fn take(&self) -> BTreeSet<i64> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bell {
    /// Rows wait in these lanes, and this node may not get to them soon.
    pub(super) fn left(&self, lanes: impl Iterator<Item = LaneNo>) {
        self.left.add(lanes.map(|lane| lane.0));
    }

    pub(super) async fn heard(&self) -> Vec<LaneNo> {
        loop {
            let lanes = self.heard.take();
            if !lanes.is_empty() {
                return lanes.into_iter().map(LaneNo).collect();
            }
            self.heard.some.notified().await;
        }
    }

    fn hear(&self, said: &str, me: i64) {
        let mut numbers = said.split(' ').map_while(|number| number.parse().ok());
        if numbers.next().is_some_and(|node: i64| node != me) {
            self.heard.add(numbers);
        }
    }
}

/// Rings and hears until the store is closed or gone.
pub(super) fn hang_up(shared: &Arc<Shared>) {
    tokio::spawn(ring_again_and_again(Arc::downgrade(shared), Arc::clone(&shared.bell)));
    tokio::spawn(listen(Arc::downgrade(shared), Arc::clone(&shared.bell)));
}

async fn ring_again_and_again(shared: Weak<Shared>, bell: Arc<Bell>) {
    loop {
        let _ = tokio::time::timeout(LOOK_UP, bell.left.some.notified()).await;
        let Some(shared) = shared.upgrade().filter(|shared| !shared.pool.is_closed()) else { return };
        if let Err(fault) = ring(&shared).await {
            tracing::debug!(?fault, "the other nodes were not told what waits; they find it by themselves");
        }
        drop(shared);
        tokio::time::sleep(BETWEEN_RINGS).await;
    }
}

/// What was left since the last time.
pub(super) async fn ring(shared: &Shared) -> Result<(), Fault> {
    let lanes = shared.bell.left.take();
    if lanes.is_empty() {
        return Ok(());
    }
    let mut text = shared.node.no().to_string();
    for lane in lanes {
        text.push(' ');
        text.push_str(&lane.to_string());
    }
    let conn = shared.pool.get().await?;
    conn.rows(&format!("SELECT pg_notify(({CHANNEL}), $1)::text"), &[&text]).await.map(drop)
}

async fn listen(shared: Weak<Shared>, bell: Arc<Bell>) {
    loop {
        let Some((pool, me)) = shared.upgrade().map(|shared| (Arc::clone(&shared.pool), shared.node.no()))
        else {
            return;
        };
        if pool.is_closed() {
            return;
        }
        if let Err(fault) = hear_all(&shared, &pool, me, &bell).await {
            tracing::debug!(?fault, "the other nodes are not heard; their work is found by looking");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Until the connection is lost or the store is closed: then nobody wants to hear.
async fn hear_all(shared: &Weak<Shared>, pool: &Pool, me: i64, bell: &Bell) -> Result<(), Fault> {
    let (client, mut connection) = pool.connect_apart().await?;
    let hear = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(said) = message? {
                bell.hear(said.payload(), me);
            }
        }
        Ok::<(), Fault>(())
    };
    let keep = async {
        let channel: String = pool.bounded(client.query_one(CHANNEL, &[])).await?.col(0)?;
        pool.bounded(client.batch_execute(&format!("LISTEN \"{channel}\""))).await?;
        while shared.upgrade().is_some_and(|shared| !shared.pool.is_closed()) {
            tokio::time::sleep(LOOK_UP).await;
            pool.bounded(client.batch_execute("")).await?;
        }
        Err::<(), Fault>(StoreError::Closed.into())
    };
    tokio::select! {
        heard = hear => heard,
        kept = keep => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_others_say_is_heard_once_and_what_is_no_message_never() {
        let bell = Bell::default();
        for said in ["7 1 2", "8", "", "x 3", "8 2 9 y 4"] {
            bell.hear(said, 7);
        }
        assert_eq!(bell.heard().await, [LaneNo(2), LaneNo(9)]);
        let nothing = tokio::time::timeout(Duration::from_millis(1), bell.heard()).await;
        assert!(nothing.is_err());
    }

    #[test]
    fn a_message_is_never_too_long() {
        let bell = Bell::default();
        bell.left((0..10_000).map(|n| LaneNo(i64::MAX - n)));
        let lanes = bell.left.take();
        let text: usize = lanes.iter().map(|lane| lane.to_string().len() + 1).sum();
        assert!(lanes.len() == LANES_MOST && text + 20 < 8_000, "{text}");
    }
}
