//! Analytic events as a store tells them from its rows, the same in every backend: which are asked for, which are the
//! newest, and what an attempt says about its delivery.
//!
//! Each source is read newest first and knows a bound: nothing it has not shown yet happened later. The newest rows are
//! collected until every source is bound below them; so a page is the same whichever source its rows come from, and
//! however those are indexed.

mod newest;

use std::sync::Arc;

use sealpost_core::analytics::{AnalyticFilter, AnalyticType, RequestId, Step};
use sealpost_core::delivery::{State, Status};
use sealpost_core::id::{AnalyticId, ClientId, TenantNo};
use sealpost_core::time::Timestamp;

use crate::page::PageRequest;
use crate::vault::TenantHasher;
use newest::Newest;

/// A first attempt that ended this long after its delivery was made is found by its delivery; the index `late` has the
/// others. Both numbers stand in the migration too.
pub(crate) const PROMPT_MS: i64 = 2_000;
pub(crate) const TOOK_MS_MAX: i64 = 60_000;

/// What a source has not shown yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// Nothing that happened later.
    At(i64),
    Ended,
}

/// Where a row's facts are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Row {
    Call { seq: i64 },
    Event { seq: i64 },
    Attempt { delivery: i64, number: u8 },
}

/// An analytic event that may be on the page.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) at: i64,
    pub(crate) id: AnalyticId,
    pub(crate) kind: AnalyticType,
    pub(crate) request: RequestId,
    pub(crate) row: Row,
}

/// What is asked for, and what was found of it so far.
pub(crate) struct Wanted {
    pub(crate) tenant: TenantNo,
    pub(crate) hasher: Arc<TenantHasher>,
    pub(crate) filter: AnalyticFilter,
    /// Both inclusive.
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Only what is before it in the list.
    pub(crate) after: Option<(i64, AnalyticId)>,
    pub(crate) newest: Newest,
}

impl Wanted {
    pub(crate) fn new(
        tenant: TenantNo,
        hasher: Arc<TenantHasher>,
        filter: AnalyticFilter,
        page: &PageRequest<AnalyticId>,
    ) -> Self {
        let (from, to) = filter.times();
        let after = page.after.map(|after| (after.at.millis(), after.id));
        let to = after.map_or(to.millis(), |(at, _)| at.min(to.millis()));
        let newest = Newest::of(page.limit as usize);
        Self { tenant, hasher, filter, from: from.millis(), to, after, newest }
    }

    /// Whether any of these steps is asked for.
    pub(crate) fn admits(&self, steps: &[Step]) -> bool {
        self.filter.admits_caller(None)
            && steps.iter().any(|step| self.filter.admits_type(AnalyticType::Delivery(*step)))
    }

    /// Whether any call is asked for.
    pub(crate) fn admits_calls(&self) -> bool {
        let mut calls = AnalyticType::all().filter(|kind| matches!(kind, AnalyticType::Call(..)));
        calls.any(|kind| self.filter.admits_type(kind))
    }

    /// What began by the last time asked for has ended by this one.
    pub(crate) fn ends_until(&self) -> i64 {
        self.to.saturating_add(TOOK_MS_MAX)
    }

    /// The request ids asked for, each once.
    pub(crate) fn requests(&self) -> Option<Vec<RequestId>> {
        let mut requests = self.filter.requests.clone()?;
        requests.sort_unstable();
        requests.dedup();
        Some(requests)
    }

    /// Which source to go on with: the one that hides most, unless what it hides is too old.
    pub(crate) fn next(&self, bounds: impl Iterator<Item = Bound>) -> Option<usize> {
        let open = bounds.enumerate().filter_map(|(index, bound)| match bound {
            Bound::At(at) if at >= self.from && self.newest.takes(at) => Some((at, index)),
            Bound::At(_) | Bound::Ended => None,
        });
        open.max().map(|(_, index)| index)
    }

    /// Takes a step of an event or a delivery, if it is asked for. `source` is its id.
    pub(crate) fn tell(&mut self, source: [u8; 16], step: Step, attempt: u8, at: i64, row: Row) {
        let kind = AnalyticType::Delivery(step);
        if self.may_be_shown(at) && self.filter.admits_type(kind) && self.filter.admits_caller(None) {
            let id = self.hasher.analytic_event(&source, step, attempt, Timestamp::from_millis(at));
            self.take(Found { at, id, kind, request: RequestId::from_bytes(source), row });
        }
    }

    pub(crate) fn call(&mut self, found: Found, client: Option<ClientId>) {
        if self.filter.admits_type(found.kind) && self.filter.admits_caller(client) {
            self.take(found);
        }
    }

    pub(crate) fn may_be_shown(&self, at: i64) -> bool {
        (self.from..=self.to).contains(&at) && self.newest.takes(at)
    }

    pub(crate) fn take(&mut self, found: Found) {
        let before = self.after.is_none_or(|after| (found.at, found.id) < after);
        let asked = self.filter.requests.as_ref().is_none_or(|requests| requests.contains(&found.request));
        if before && asked && self.may_be_shown(found.at) && self.filter.admits_id(found.id) {
            self.newest.put(found);
        }
    }
}

/// What a delivery says about how its attempts count.
pub(crate) struct Delivery {
    pub(crate) seq: i64,
    pub(crate) id: [u8; 16],
    pub(crate) state: State,
    pub(crate) attempts: u8,
}

pub(crate) fn end_of(started: i64, took: i64) -> i64 {
    started.saturating_add(took.min(TOOK_MS_MAX))
}

/// What an attempt tells: that it began, and, if it was the last of a delivery that is over, how that ended. A delivery
/// that was cancelled between its attempts failed with the one before.
pub(crate) fn tell_attempt(wanted: &mut Wanted, delivery: &Delivery, number: u8, started: i64, end: i64) {
    let row = Row::Attempt { delivery: delivery.seq, number };
    let begun = if number == 1 { Step::ProcessStart } else { Step::Retry };
    wanted.tell(delivery.id, begun, number, started, row);
    if number == delivery.attempts && delivery.state.is_final() {
        let ended = match delivery.state.status() {
            Status::Delivered => Step::ProcessSuccess,
            Status::Pending | Status::Failed | Status::Cancelled => Step::ProcessFail,
        };
        wanted.tell(delivery.id, ended, number, end, row);
    }
}
