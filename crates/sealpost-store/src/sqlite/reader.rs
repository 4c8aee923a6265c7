//! Readers: a few connections that can only query, each used by one caller at a time for one short transaction.
//!
//! A reader that stays keeps the log from being reused; so when the log has grown far, the writer closes the
//! [`Gate`]: readers inside finish, others wait at the door for the length of a checkpoint.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::error::StoreError;
use crate::sqlite::open;
use crate::sqlite::writer::WriteError;

/// Connections open at the same time; also how many threads reading can occupy.
const READERS_MAX: usize = 4;

pub(crate) struct Readers {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
    gate: Gate,
}

impl Readers {
    pub(crate) fn new(path: &Path, gate: Gate) -> Self {
        Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                idle: Mutex::default(),
                permits: Semaphore::new(READERS_MAX),
                gate,
            }),
        }
    }

    /// Runs `read` in one read transaction on a thread where blocking is allowed.
    pub(crate) async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, WriteError> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let permit = inner.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        // The permit belongs to the thread from here on: a caller that stops waiting frees nothing early.
        permit.forget();
        let threads = Arc::clone(&inner);
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = Permit(&threads.permits);
            threads.read(read)
        });
        match answer.await {
            Ok(answer) => answer.map_err(|error| error.for_caller()),
            Err(_) => Err(StoreError::Backend("a reader was interrupted".into())),
        }
    }

    /// Waits for the readers inside, lets nobody in any more, and closes the connections.
    pub(crate) async fn close(&self) {
        let all = self.inner.permits.acquire_many(READERS_MAX as u32).await;
        self.inner.permits.close();
        drop(all);
        lock(&self.inner.idle).clear();
    }
}

struct Permit<'a>(&'a Semaphore);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

impl Inner {
    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, WriteError>) -> Result<T, WriteError> {
        let idle = lock(&self.idle).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => open::reader(&self.path)?,
        };
        let inside = self.gate.enter();
        let transaction = conn.unchecked_transaction()?;
        let answer = read(&transaction);
        // Nothing was written; ending it cannot lose anything.
        transaction.finish()?;
        drop(inside);
        lock(&self.idle).push(conn);
        answer
    }
}

/// Lets readers in, except while the writer needs them out.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    shared: Arc<(Mutex<Door>, Condvar)>,
}

#[derive(Default)]
struct Door {
    closed: bool,
    inside: usize,
}

impl Gate {
    pub(crate) fn enter(&self) -> Inside<'_> {
        let (door, moved) = &*self.shared;
        let mut door =
            moved.wait_while(lock(door), |door| door.closed).unwrap_or_else(PoisonError::into_inner);
        door.inside += 1;
        Inside(self)
    }

    /// Closes the door and waits for the readers inside, at most `longest`. The door opens when the result is
    /// dropped. Only the writer's thread closes it, so nobody closes it twice.
    pub(crate) fn close(&self, longest: Duration) -> ClosedGate<'_> {
        let (door, moved) = &*self.shared;
        let until = Instant::now() + longest;
        let mut door = lock(door);
        door.closed = true;
        while door.inside > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            door = moved.wait_timeout(door, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        ClosedGate { gate: self, empty: door.inside == 0 }
    }
}

/// A reader that is in.
pub(crate) struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let (door, moved) = &*self.0.shared;
        lock(door).inside -= 1;
        moved.notify_all();
    }
}

pub(crate) struct ClosedGate<'a> {
    gate: &'a Gate,
    /// Whether the last reader left in time.
    pub(crate) empty: bool,
}

impl Drop for ClosedGate<'_> {
    fn drop(&mut self) {
        let (door, moved) = &*self.gate.shared;
        lock(door).closed = false;
        moved.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_waits_for_who_is_inside_and_stops_who_comes() {
        let gate = Gate::default();
        let inside = gate.enter();
        assert!(!gate.close(Duration::from_millis(1)).empty);
        drop(inside);
        let closed = gate.close(Duration::from_millis(1));
        assert!(closed.empty);
        let late = std::thread::spawn({
            let gate = gate.clone();
            move || drop(gate.enter())
        });
        assert!(!late.is_finished());
        drop(closed);
        late.join().unwrap();
    }
}
