//! Who waits for the writer, in what order they are taken, and how many may wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{Cost, GroupLimits, Job, Kind};
use crate::error::StoreError;
use crate::sqlite::reader::Gate;

/// Nobody waits for a settlement, so a few of them may wait for each other and for the next group.
const SETTLE_RIDES: Duration = Duration::from_millis(5);
/// With this many rows, their commit is worth it anyway.
const SETTLE_ROWS_ENOUGH: usize = 64;
/// Upkeep yields to everybody, but not for ever.
const UPKEEP_YIELDS: Duration = Duration::from_millis(100);

pub(super) struct Waiting {
    pub(super) kind: Kind,
    pub(super) job: Box<dyn Job>,
    cost: Cost,
    since: Instant,
}

pub(super) type Alone = Box<dyn FnOnce(&Connection, &Gate) + Send>;

pub(super) enum Next {
    Group(Vec<Waiting>),
    Alone(Alone),
    /// Nothing came for the time that was asked for.
    Idle,
    Closed,
}

pub(super) struct WaitingRoom {
    limits: GroupLimits,
    queues: Mutex<Queues>,
    ready: Condvar,
}

#[derive(Default)]
struct Queues {
    settles: VecDeque<Waiting>,
    claims: VecDeque<Waiting>,
    registry: VecDeque<Waiting>,
    accepts: VecDeque<Waiting>,
    upkeep: VecDeque<Waiting>,
    alone: VecDeque<Alone>,
    bytes: usize,
    closed: bool,
}

impl WaitingRoom {
    pub(super) fn new(limits: GroupLimits) -> Self {
        Self { limits, queues: Mutex::default(), ready: Condvar::new() }
    }

    pub(super) fn enter(&self, kind: Kind, cost: Cost, job: Box<dyn Job>) -> Result<(), StoreError> {
        let mut queues = self.lock();
        if queues.closed {
            return Err(StoreError::Closed);
        }
        // One that is larger than the bound may wait alone.
        let more = cost.bytes > 0 && queues.bytes > 0;
        let too_large = more && queues.bytes + cost.bytes > self.limits.waiting_bytes;
        if too_large || queues.of(kind).len() >= self.limits.waiting {
            return Err(StoreError::Busy);
        }
        queues.bytes += cost.bytes;
        queues.of(kind).push_back(Waiting { kind, job, cost, since: Instant::now() });
        // Woken inside, the thread would go to sleep again at this very lock.
        drop(queues);
        self.ready.notify_one();
        Ok(())
    }

    pub(super) fn enter_alone(&self, work: Alone) -> Result<(), StoreError> {
        let mut queues = self.lock();
        if queues.closed {
            return Err(StoreError::Closed);
        }
        if queues.alone.len() >= self.limits.waiting {
            return Err(StoreError::Busy);
        }
        queues.alone.push_back(work);
        drop(queues);
        self.ready.notify_one();
        Ok(())
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }

    /// The thread is gone: whoever waits is told so.
    pub(super) fn abandon(&self) {
        let left = std::mem::replace(&mut *self.lock(), Queues { closed: true, ..Queues::default() });
        // Outside of the lock: dropping a member may knock here again.
        drop(left);
    }

    /// Waits for work, at most `patience` if that is given.
    pub(super) fn next(&self, patience: Option<Duration>) -> Next {
        let started = Instant::now();
        let mut queues = self.lock();
        loop {
            if let Some(work) = queues.alone.pop_front() {
                return Next::Alone(work);
            }
            let now = Instant::now();
            let wake = match queues.ripe(now) {
                Ripe::Group => return Next::Group(queues.take_group(&self.limits)),
                Ripe::Upkeep => return Next::Group(queues.take_upkeep()),
                Ripe::At(at) => Some(at),
                Ripe::Nothing if queues.closed => return Next::Closed,
                Ripe::Nothing => None,
            };
            let idle_at = patience.map(|patience| started + patience);
            if wake.is_none() && idle_at.is_some_and(|at| at <= now) {
                return Next::Idle;
            }
            let until = wake.into_iter().chain(idle_at.filter(|at| *at > now)).min();
            queues = match until {
                Some(at) => {
                    self.ready
                        .wait_timeout(queues, at.saturating_duration_since(now))
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self.ready.wait(queues).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Ripe {
    Group,
    Upkeep,
    At(Instant),
    Nothing,
}

impl Queues {
    fn of(&mut self, kind: Kind) -> &mut VecDeque<Waiting> {
        match kind {
            Kind::Accept => &mut self.accepts,
            Kind::Claim => &mut self.claims,
            Kind::Settle => &mut self.settles,
            Kind::Registry => &mut self.registry,
            Kind::Upkeep | Kind::Record => &mut self.upkeep,
        }
    }

    fn ripe(&self, now: Instant) -> Ripe {
        let upkeep_since = self.upkeep.front().map(|first| first.since);
        if upkeep_since.is_some_and(|since| self.closed || since + UPKEEP_YIELDS <= now) {
            return Ripe::Upkeep;
        }
        if !(self.claims.is_empty() && self.registry.is_empty() && self.accepts.is_empty()) {
            return Ripe::Group;
        }
        match self.settles.front() {
            None if upkeep_since.is_some() => Ripe::Upkeep,
            None => Ripe::Nothing,
            Some(first) => {
                let rides_until = first.since + SETTLE_RIDES;
                let few =
                    self.settles.iter().map(|member| member.cost.rows).sum::<usize>() < SETTLE_ROWS_ENOUGH;
                let rides = few && !self.closed && upkeep_since.is_none();
                if rides && now < rides_until { Ripe::At(rides_until) } else { Ripe::Group }
            }
        }
    }

    /// Settlements and claims first, with a budget of their own, so that they neither wait for accepts nor keep
    /// them out.
    fn take_group(&mut self, limits: &GroupLimits) -> Vec<Waiting> {
        let mut group = Vec::new();
        let mut budget = Budget::new(limits);
        budget.take(&mut self.settles, &mut group);
        budget.take(&mut self.claims, &mut group);
        let mut budget = Budget::new(limits);
        budget.take(&mut self.registry, &mut group);
        budget.take(&mut self.accepts, &mut group);
        self.bytes = self.bytes.saturating_sub(group.iter().map(|member| member.cost.bytes).sum());
        group
    }

    fn take_upkeep(&mut self) -> Vec<Waiting> {
        let group: Vec<Waiting> = self.upkeep.pop_front().into_iter().collect();
        self.bytes = self.bytes.saturating_sub(group.iter().map(|member| member.cost.bytes).sum());
        group
    }
}

struct Budget {
    rows: usize,
    bytes: usize,
    first: bool,
}

impl Budget {
    fn new(limits: &GroupLimits) -> Self {
        Self { rows: limits.rows, bytes: limits.bytes, first: true }
    }

    fn take(&mut self, queue: &mut VecDeque<Waiting>, group: &mut Vec<Waiting>) {
        while let Some(member) = queue.front() {
            let cost = member.cost;
            if !self.first && (cost.rows > self.rows || cost.bytes > self.bytes) {
                break;
            }
            self.first = false;
            self.rows = self.rows.saturating_sub(cost.rows.max(1));
            self.bytes = self.bytes.saturating_sub(cost.bytes);
            group.extend(queue.pop_front());
        }
    }
}
