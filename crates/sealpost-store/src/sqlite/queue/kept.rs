//! Claims that are on disk but whose caller may stop waiting before it has them.
//!
//! A claim that nobody knows of would stay in flight until the next start. So claims travel in a wrapping, put on
//! after the commit, that gives them back when it is dropped unopened.

use rusqlite::Connection;

use sealpost_core::time::Timestamp;

use super::claim::unclaim;
use crate::queue::ClaimTicket;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::writer::{Cost, Kind, WriterHandle};

pub(crate) struct KeptClaims<T> {
    value: T,
    back: GiveBack,
}

struct GiveBack {
    tickets: Vec<ClaimTicket>,
    due: Timestamp,
    writer: WriterHandle,
}

impl<T> KeptClaims<T> {
    /// `due` is when the deliveries are due if they are given back.
    pub(crate) fn new(value: T, tickets: Vec<ClaimTicket>, due: Timestamp, writer: WriterHandle) -> Self {
        Self { value, back: GiveBack { tickets, due, writer } }
    }

    pub(crate) fn get(&self) -> &T {
        &self.value
    }

    /// The caller has them now.
    pub(crate) fn taken(mut self) -> T {
        self.back.tickets.clear();
        self.value
    }
}

impl Drop for GiveBack {
    fn drop(&mut self) {
        let tickets = std::mem::take(&mut self.tickets);
        if tickets.is_empty() {
            return;
        }
        let due = self.due;
        let write = move |conn: &Connection, ctx: &mut WriterCtx| unclaim(conn, ctx, &tickets, due);
        // Nobody waits for the answer; if the store closes first, the next start finds orphans.
        drop(self.writer.run(Kind::Settle, Cost::rows(1), write));
    }
}
