//! The writer: one thread that owns the one connection that writes.
//!
//! Callers hand in closures; the thread takes everything that is waiting (never waiting for company, except that
//! settlements may ride up to 5 ms with the next group), runs it in one transaction, commits once, and only then
//! answers. Settlements and claims go before accepts; groups are bounded in rows and bytes, queues in members and
//! bytes: too much waiting is refused as `Busy`.
//!
//! Expected refusals are answers of a closure. An error of a closure rolls the group back, and every member runs
//! again in a transaction of its own, so that a poison member fails alone. A storage error ends the process.

mod checkpoint;
mod disk;
mod group;
mod waiting;

use std::any::Any;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::sqlite::context::{Tally, WriterCtx};
use crate::sqlite::reader::Gate;
use checkpoint::Wal;
use disk::Disk;
use group::Thread;
use waiting::WaitingRoom;

pub(crate) use checkpoint::truncate;
pub(crate) use disk::{folder_of, free_bytes};

/// What a member of a group is, which decides its place in it and what happens when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Refused while the disk has no room beyond the reserve.
    Accept,
    /// Refused while settlements could not be stored.
    Claim,
    /// May wait up to 5 ms for company.
    Settle,
    Registry,
    /// Runs when nothing else waits, or after 100 ms; never together with others.
    Upkeep,
    /// As upkeep, but refused as an accept is: it only adds.
    Record,
}

/// How much of a group a member takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

impl Cost {
    pub(crate) fn rows(rows: usize) -> Self {
        Self { rows, bytes: 0 }
    }
}

/// Bounds of one group and of what may wait.
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// Rows of settlements and claims, and again as many of everything else. A member is never split.
    pub rows: usize,
    pub bytes: usize,
    /// Members waiting, of each kind.
    pub waiting: usize,
    /// Sealed bytes waiting.
    pub waiting_bytes: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { rows: 20_000, bytes: 16 * 1024 * 1024, waiting: 8192, waiting_bytes: 64 * 1024 * 1024 }
    }
}

/// Why a closure gave up. Its writes are undone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WriteError {
    pub(crate) fn for_caller(self) -> StoreError {
        match self {
            WriteError::Store(error) => error,
            WriteError::Sql(error) if disk::is_full(&error) => StoreError::Full,
            WriteError::Sql(error) => StoreError::Backend(error.to_string()),
        }
    }
}

/// Counts since start. Only commits that happened are in them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) accepts: AtomicU64,
    pub(crate) claims: AtomicU64,
    pub(crate) settles: AtomicU64,
    pub(crate) delivery_writes: AtomicU64,
    pub(crate) wal_bytes: AtomicU64,
}

impl Counters {
    fn add(&self, tally: Tally) {
        let add = |counter: &AtomicU64, more: u64| {
            counter.fetch_add(more, Ordering::Relaxed);
        };
        add(&self.commits, 1);
        add(&self.accepts, tally.accepts);
        add(&self.claims, tally.claims);
        add(&self.settles, tally.settles);
        add(&self.delivery_writes, tally.delivery_writes);
    }
}

pub(crate) struct Writer {
    handle: WriterHandle,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread is started with.
pub(crate) struct Start<'a> {
    pub(crate) conn: Connection,
    pub(crate) ctx: WriterCtx,
    pub(crate) gate: Gate,
    pub(crate) limits: GroupLimits,
    pub(crate) path: &'a Path,
    pub(crate) disk_reserve_bytes: u64,
}

impl Writer {
    pub(crate) fn start(start: Start<'_>) -> Result<Self, StoreError> {
        let room = Arc::new(WaitingRoom::new(start.limits));
        let counters = Arc::new(Counters::default());
        let mut conn = start.conn;
        let wal =
            Wal::watch(&mut conn, Arc::clone(&counters)).map_err(|e| WriteError::from(e).for_caller())?;
        let thread = Thread {
            conn,
            ctx: start.ctx,
            room: Arc::clone(&room),
            counters: Arc::clone(&counters),
            gate: start.gate,
            wal,
            disk: Disk::new(start.path, start.disk_reserve_bytes),
            starved: false,
        };
        let handle = std::thread::Builder::new()
            .name("sealpost-writer".into())
            .spawn(move || thread.serve())
            .map_err(|e| StoreError::Backend(format!("the writer thread could not be started: {e}")))?;
        Ok(Self { handle: WriterHandle { room }, counters, thread: Mutex::new(Some(handle)) })
    }

    /// For those who must still write something when the store is no longer at hand.
    pub(crate) fn handle(&self) -> WriterHandle {
        self.handle.clone()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Lets nobody in any more, finishes what waits, closes the connection.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        self.room.close();
        let Some(thread) = self.take_thread() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(StoreError::Backend("the writer thread ended badly".into())),
        }
    }

    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Deref for Writer {
    type Target = WriterHandle;
    fn deref(&self) -> &WriterHandle {
        &self.handle
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.room.close();
        if let Some(thread) = self.take_thread() {
            let _ = thread.join();
        }
    }
}

/// The way in to the writer's thread.
#[derive(Clone)]
pub(crate) struct WriterHandle {
    room: Arc<WaitingRoom>,
}

impl WriterHandle {
    /// Runs `member` in the next group's transaction and answers after its commit. It may run more than once; only
    /// what the last run wrote is kept.
    pub(crate) fn run<T, F>(
        &self,
        kind: Kind,
        cost: Cost,
        member: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&Connection, &mut WriterCtx) -> Result<T, WriteError> + Send + 'static,
    {
        self.run_then(kind, cost, member, |result| result)
    }

    /// As [`run`](Self::run); `then` sees the result after the commit, also if the caller stopped waiting.
    pub(crate) fn run_then<T, U, F, G>(
        &self,
        kind: Kind,
        cost: Cost,
        member: F,
        then: G,
    ) -> impl Future<Output = Result<U, StoreError>> + Send + use<T, U, F, G>
    where
        T: Send + 'static,
        U: Send + 'static,
        F: FnMut(&Connection, &mut WriterCtx) -> Result<T, WriteError> + Send + 'static,
        G: FnOnce(T) -> U + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Member { run: member, then, result: None, reply });
        let entered = self.room.enter(kind, cost, job);
        async move {
            entered?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        }
    }

    /// Runs `work` between groups and outside of a transaction, with the readers' gate at hand: for checkpoints.
    pub(crate) fn alone<T, F>(&self, work: F) -> impl Future<Output = Result<T, StoreError>> + Send + 'static
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Gate) -> Result<T, WriteError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let entered = self.room.enter_alone(Box::new(move |conn, gate| {
            let result = work(conn, gate);
            // As in a group: a storage error is not an answer.
            if let Err(WriteError::Sql(error)) = &result {
                disk::end_if_broken(error);
            }
            let _ = reply.send(result.map_err(WriteError::for_caller));
        }));
        async move {
            entered?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        }
    }

    /// Empties the log into the file and cuts it to nothing, behind the gate. `false`: a reader did not leave.
    pub(crate) fn truncate_wal(&self) -> impl Future<Output = Result<bool, StoreError>> + Send + 'static {
        self.alone(truncate)
    }
}

/// One caller's part of a group.
trait Job: Send {
    fn apply(&mut self, conn: &Connection, ctx: &mut WriterCtx) -> Result<(), WriteError>;
    /// The transaction with the last `apply` was committed.
    fn committed(self: Box<Self>);
    fn failed(self: Box<Self>, error: StoreError);
}

struct Member<T, U, F, G> {
    run: F,
    then: G,
    result: Option<T>,
    reply: oneshot::Sender<Result<U, StoreError>>,
}

impl<T, U, F, G> Job for Member<T, U, F, G>
where
    T: Send,
    U: Send,
    F: FnMut(&Connection, &mut WriterCtx) -> Result<T, WriteError> + Send,
    G: FnOnce(T) -> U + Send,
{
    fn apply(&mut self, conn: &Connection, ctx: &mut WriterCtx) -> Result<(), WriteError> {
        self.result = None;
        self.result = Some((self.run)(conn, ctx)?);
        Ok(())
    }

    fn committed(self: Box<Self>) {
        let Self { then, result, reply, .. } = *self;
        let result = result.map(then).ok_or(StoreError::Corrupt { what: "group" });
        // A caller that stopped waiting is no error: what it asked for is stored.
        let _ = reply.send(result);
    }

    fn failed(self: Box<Self>, error: StoreError) {
        let _ = self.reply.send(Err(error));
    }
}

/// The text of a panic, if it had one.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests;
