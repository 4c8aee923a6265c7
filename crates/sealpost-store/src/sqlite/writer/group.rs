//! The writer's thread: takes groups, runs and commits them, answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::Connection;

use super::checkpoint::{Wal, truncate};
use super::disk::{Disk, end_if_broken, is_full};
use super::waiting::{Next, Waiting, WaitingRoom};
use super::{Counters, Kind, WriteError, panic_text};
use crate::error::StoreError;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::reader::Gate;

pub(super) struct Thread {
    pub(super) conn: Connection,
    pub(super) ctx: WriterCtx,
    pub(super) room: Arc<WaitingRoom>,
    pub(super) counters: Arc<Counters>,
    pub(super) gate: Gate,
    pub(super) wal: Wal,
    pub(super) disk: Disk,
    /// A settlement could not be stored for lack of room: nothing is claimed until one could, or there is room.
    pub(super) starved: bool,
}

impl Thread {
    pub(super) fn serve(mut self) {
        loop {
            let patience = self.wal.patience();
            match self.room.next(patience) {
                Next::Group(group) => {
                    self.serve_group(group);
                    let moved = self.wal.after_commit(&self.conn, &self.gate);
                    report(moved);
                    // Where the processor is the bound, whoever would come gets to; where it is not, this is nothing.
                    std::thread::yield_now();
                }
                Next::Alone(work) => work(&self.conn, &self.gate),
                Next::Idle => {
                    let moved = self.wal.idle(&self.conn);
                    report(moved);
                }
                Next::Closed => break,
            }
        }
        if let Err(error) = truncate(&self.conn, &self.gate) {
            tracing::warn!(error = %error, "the log was not moved into the database at the end; the next start does it");
        }
    }

    fn serve_group(&mut self, group: Vec<Waiting>) {
        let mut group = self.without_refused(group);
        if group.is_empty() {
            return;
        }
        match self.commit(&mut group) {
            Ok(()) => group.into_iter().for_each(|member| member.job.committed()),
            Err(error) => self.one_by_one(group, error),
        }
    }

    /// Each member in a transaction of its own, so that only those fail that cannot succeed.
    fn one_by_one(&mut self, group: Vec<Waiting>, first: WriteError) {
        if group.len() > 1 {
            tracing::debug!(error = %first, members = group.len(), "a group is written again one by one");
        }
        // A group of one has had its transaction.
        let mut known = (group.len() == 1).then_some(first);
        for mut member in group {
            let result = match known.take() {
                Some(error) => Err(error),
                None => self.commit(std::slice::from_mut(&mut member)),
            };
            match result {
                Ok(()) => member.job.committed(),
                Err(error) => {
                    let full = matches!(&error, WriteError::Sql(error) if is_full(error));
                    self.starved |= full && member.kind == Kind::Settle;
                    member.job.failed(error.for_caller());
                }
            }
        }
    }

    /// Answers at once who must not write now.
    fn without_refused(&mut self, group: Vec<Waiting>) -> Vec<Waiting> {
        let asks = group.iter().any(|member| match member.kind {
            Kind::Accept | Kind::Record => true,
            Kind::Claim => self.starved,
            Kind::Settle | Kind::Registry | Kind::Upkeep => false,
        });
        let room = if asks { self.disk.has_room() } else { None };
        if room == Some(true) {
            self.starved = false;
        }
        let mut kept = Vec::with_capacity(group.len());
        for member in group {
            let refused = match member.kind {
                Kind::Accept | Kind::Record => room == Some(false),
                Kind::Claim => self.starved,
                Kind::Settle | Kind::Registry | Kind::Upkeep => false,
            };
            if refused { member.job.failed(StoreError::Full) } else { kept.push(member) }
        }
        kept
    }

    /// All of the group in one transaction, or nothing of it.
    fn commit(&mut self, group: &mut [Waiting]) -> Result<(), WriteError> {
        let result = self.try_commit(group);
        if let Err(error) = &result {
            if let WriteError::Sql(error) = error {
                end_if_broken(error);
            }
            self.undo();
            return result;
        }
        self.counters.add(self.ctx.take_tally());
        if group.iter().any(|member| member.kind == Kind::Settle) {
            self.starved = false;
        }
        result
    }

    fn try_commit(&mut self, group: &mut [Waiting]) -> Result<(), WriteError> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for member in group {
            let (conn, ctx) = (&self.conn, &mut self.ctx);
            // A panic is a broken invariant of one member; the others are innocent.
            match catch_unwind(AssertUnwindSafe(|| member.job.apply(conn, ctx))) {
                Ok(result) => result?,
                Err(panic) => {
                    let text = format!("a write panicked: {}", panic_text(&*panic));
                    tracing::error!("{text}");
                    return Err(StoreError::Backend(text).into());
                }
            }
        }
        self.ctx.flush(&self.conn)?;
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Back to what is on disk, in the file and in memory. If that fails, nothing can be trusted any more.
    fn undo(&mut self) {
        let undone = if self.conn.is_autocommit() { Ok(()) } else { self.conn.execute_batch("ROLLBACK") };
        if let Err(error) = undone.and_then(|()| self.ctx.reload(&self.conn)) {
            tracing::error!(error = %error, "a transaction could not be undone; ending at once, to recover from disk");
            std::process::abort();
        }
    }
}

/// However the thread ends, nobody waits for it any more.
impl Drop for Thread {
    fn drop(&mut self) {
        self.room.abandon();
    }
}

/// A checkpoint that could not run is tried again later; a broken disk ends the process.
fn report(moved: rusqlite::Result<()>) {
    if let Err(error) = moved {
        end_if_broken(&error);
        tracing::warn!(error = %error, "a checkpoint of the store failed");
    }
}
