//! Connections between requests.
//!
//! The key holds the tenant, so tenants never share a connection. Idle time stays under the five seconds after which
//! common servers close, so that a healthy receiver is rarely found gone. The lock guards a map of vectors and is
//! held for a look-up and a push or pop; sockets are closed outside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::http1::Http1;
use crate::http2::{Http2, Lease};
use crate::request::{PoolScope, Scheme};

pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// A busy connection is replaced now and then, so that a receiver's move in DNS is followed.
pub(crate) const LIFE_LIMIT: Duration = Duration::from_secs(120);
pub(crate) const MAX_IDLE_PER_KEY: usize = 64;
pub(crate) const MAX_IDLE: usize = 1_024;
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Key {
    pub(crate) scope: PoolScope,
    pub(crate) scheme: Scheme,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

pub(crate) enum Taken {
    Http1(Box<Http1>),
    Http2(Lease),
}

#[derive(Default)]
pub(crate) struct Pool {
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    by_key: HashMap<Key, Shelf>,
    /// HTTP/1 connections on all shelves.
    idle: usize,
    sweeping: bool,
}

#[derive(Default)]
struct Shelf {
    /// Oldest first; taken from the end, so that the surplus ages and goes.
    http1: Vec<Idle>,
    http2: Vec<Arc<Http2>>,
}

struct Idle {
    connection: Box<Http1>,
    since: Instant,
}

impl Pool {
    /// A connection that was in order when last seen.
    pub(crate) fn take(&self, key: &Key, now: Instant) -> Option<Taken> {
        let mut stale = Vec::new();
        let mut shelves = self.shelves();
        let shelf = shelves.by_key.get_mut(key)?;
        if let Some(lease) = shelf.http2.iter().filter(|shared| !outlived(shared, now)).find_map(Http2::lease)
        {
            return Some(Taken::Http2(lease));
        }
        let idle = shelf.http1.pop()?;
        if now.duration_since(idle.since) < IDLE_LIMIT {
            shelves.idle -= 1;
            return Some(Taken::Http1(idle.connection));
        }
        // The youngest is too old, so all are.
        stale.append(&mut shelf.http1);
        shelves.idle -= stale.len() + 1;
        drop(shelves);
        None
    }

    pub(crate) fn put(self: &Arc<Self>, key: Key, connection: Box<Http1>, now: Instant) {
        if now.duration_since(connection.born) >= LIFE_LIMIT {
            return;
        }
        let mut shelves = self.shelves();
        if shelves.idle >= MAX_IDLE {
            drop(shelves);
            return;
        }
        let shelf = shelves.by_key.entry(key).or_default();
        if shelf.http1.len() >= MAX_IDLE_PER_KEY {
            drop(shelves);
            return;
        }
        shelf.http1.push(Idle { connection, since: now });
        shelves.idle += 1;
        self.keep_swept(shelves);
    }

    /// Takes in a fresh shared connection and gives its first place to the caller.
    pub(crate) fn share(self: &Arc<Self>, key: Key, connection: Arc<Http2>) -> Option<Lease> {
        let lease = connection.lease();
        let mut shelves = self.shelves();
        shelves.by_key.entry(key).or_default().http2.push(connection);
        self.keep_swept(shelves);
        lease
    }

    /// Connections held for later use or shared at this moment.
    pub(crate) fn len(&self) -> usize {
        let shelves = self.shelves();
        shelves.idle + shelves.by_key.values().map(|shelf| shelf.http2.len()).sum::<usize>()
    }

    /// Drops what has been idle for too long; false when nothing is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut stale = Vec::new();
        let mut gone = Vec::new();
        let mut shelves = self.shelves();
        for shelf in shelves.by_key.values_mut() {
            let fresh = shelf.http1.partition_point(|idle| now.duration_since(idle.since) >= IDLE_LIMIT);
            stale.extend(shelf.http1.drain(..fresh));
            gone.extend(shelf.http2.extract_if(.., |shared| shared.is_closed() || outlived(shared, now)));
        }
        shelves.idle -= stale.len();
        shelves.by_key.retain(|_, shelf| !(shelf.http1.is_empty() && shelf.http2.is_empty()));
        shelves.sweeping = !shelves.by_key.is_empty();
        shelves.sweeping
    }

    /// Sees to it that a sweeper runs while there is something to sweep.
    fn keep_swept(self: &Arc<Self>, mut shelves: MutexGuard<'_, Shelves>) {
        if shelves.sweeping {
            return;
        }
        shelves.sweeping = true;
        drop(shelves);
        let mut sweeper = Sweeper { pool: Arc::downgrade(self), done: false };
        tokio::spawn(async move {
            while !sweeper.done {
                tokio::time::sleep(SWEEP_EVERY).await;
                sweeper.done = !sweeper.pool.upgrade().is_some_and(|pool| pool.sweep(Instant::now()));
            }
        });
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shared connection that should take no further request.
fn outlived(shared: &Arc<Http2>, now: Instant) -> bool {
    let rested = shared.idle_since().is_some_and(|since| now.duration_since(since) >= IDLE_LIMIT);
    rested || now.duration_since(shared.born) >= LIFE_LIMIT
}

/// If the sweeper's task is dropped with its runtime, the next user starts another.
struct Sweeper {
    pool: Weak<Pool>,
    done: bool,
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let (false, Some(pool)) = (self.done, self.pool.upgrade()) {
            pool.shelves().sweeping = false;
        }
    }
}
