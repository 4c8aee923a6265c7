//! Analytic events: recorded calls, and what the rows of events, deliveries and attempts tell, merged into one list.
//!
//! Each source is read newest first and knows a bound: nothing it has not shown yet happened later. The newest rows are
//! collected until every source is bound below them; so a page is the same whichever source its rows come from, and
//! however those are indexed.

mod keyed;
mod newest;
mod shown;
mod source;

use std::sync::Arc;

use rusqlite::Connection;

use sealpost_core::analytics::{AnalyticFilter, AnalyticType, RequestId, Step};
use sealpost_core::id::{AnalyticId, ClientId, TenantNo};
use sealpost_core::time::Timestamp;

use crate::history::AnalyticRecord;
use crate::page::{Page, PageRequest};
use crate::sqlite::writer::WriteError;
use crate::vault::TenantHasher;
use newest::Newest;
use source::{Bound, Source};

/// Where a row's facts are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Row {
    Call { seq: i64 },
    Event { seq: i64 },
    Attempt { delivery: i64, number: u8 },
}

/// An analytic event that may be on the page.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    at: i64,
    id: AnalyticId,
    kind: AnalyticType,
    request: RequestId,
    row: Row,
}

/// What is asked for, and what was found of it so far.
struct Wanted {
    tenant: TenantNo,
    hasher: Arc<TenantHasher>,
    filter: AnalyticFilter,
    /// Both inclusive.
    from: i64,
    to: i64,
    /// Only what is before it in the list.
    after: Option<(i64, AnalyticId)>,
    newest: Newest,
}

pub(super) struct Search {
    wanted: Wanted,
    sources: Vec<Source>,
}

impl Search {
    pub(super) fn begin(
        conn: &Connection,
        tenant: TenantNo,
        hasher: Arc<TenantHasher>,
        filter: AnalyticFilter,
        page: PageRequest<AnalyticId>,
    ) -> Result<Self, WriteError> {
        let (from, to) = filter.times();
        let after = page.after.map(|after| (after.at.millis(), after.id));
        let to = after.map_or(to.millis(), |(at, _)| at.min(to.millis()));
        let newest = Newest::of(page.limit as usize);
        let mut wanted = Wanted { tenant, hasher, filter, from: from.millis(), to, after, newest };
        let sources = match wanted.filter.requests.clone() {
            // Request ids name rows: there is nothing to look through.
            Some(mut requests) => {
                requests.sort_unstable();
                requests.dedup();
                for request in requests {
                    keyed::look_up(conn, &mut wanted, request)?;
                }
                Vec::new()
            }
            None => source::all(conn, &wanted)?,
        };
        Self { wanted, sources }.go_on(conn)
    }

    pub(super) fn is_done(&self) -> bool {
        self.next().is_none()
    }

    /// The source that hides most, unless what it hides is too old.
    fn next(&self) -> Option<usize> {
        let open = self.sources.iter().enumerate().filter_map(|(index, source)| match source.bound() {
            Bound::At(at) if at >= self.wanted.from && self.wanted.newest.takes(at) => Some((at, index)),
            Bound::At(_) | Bound::Ended => None,
        });
        open.max().map(|(_, index)| index)
    }

    /// One step, in a transaction of its own.
    pub(super) fn go_on(mut self, conn: &Connection) -> Result<Self, WriteError> {
        if let Some(index) = self.next()
            && let Some(source) = self.sources.get_mut(index)
        {
            source.go_on(conn, &mut self.wanted)?;
        }
        Ok(self)
    }

    pub(super) fn into_page(self, conn: &Connection) -> Result<Page<AnalyticRecord>, WriteError> {
        let (found, more) = self.wanted.newest.into_sorted();
        let mut rows = Vec::with_capacity(found.len());
        for found in found {
            // Retention may have taken it meanwhile.
            rows.extend(shown::record(conn, found)?);
        }
        Ok(Page { rows, more })
    }
}

impl Wanted {
    /// Takes a step of an event or a delivery, if it is asked for. `source` is its id.
    fn tell(&mut self, source: [u8; 16], step: Step, attempt: u8, at: i64, row: Row) {
        let kind = AnalyticType::Delivery(step);
        if self.may_be_shown(at) && self.filter.admits_type(kind) && self.filter.admits_caller(None) {
            let id = self.hasher.analytic_event(&source, step, attempt, Timestamp::from_millis(at));
            self.take(Found { at, id, kind, request: RequestId::from_bytes(source), row });
        }
    }

    fn call(&mut self, found: Found, client: Option<ClientId>) {
        if self.filter.admits_type(found.kind) && self.filter.admits_caller(client) {
            self.take(found);
        }
    }

    fn may_be_shown(&self, at: i64) -> bool {
        (self.from..=self.to).contains(&at) && self.newest.takes(at)
    }

    fn take(&mut self, found: Found) {
        let before = self.after.is_none_or(|after| (found.at, found.id) < after);
        let asked = self.filter.requests.as_ref().is_none_or(|requests| requests.contains(&found.request));
        if before && asked && self.may_be_shown(found.at) && self.filter.admits_id(found.id) {
            self.newest.put(found);
        }
    }
}
