//! What was seen from outside: what callers asked and heard, and what receivers got and answered. The judge compares it
//! with what is stored.
//!
//! Every entry has a number; numbers rise with what happens, also within one instant.

use std::collections::BTreeMap;

use sealpost_core::id::{DeliveryId, EventId, TenantNo, WebhookId, WebhookNo};
use sealpost_core::time::Timestamp;
use sealpost_store::inbox::AcceptedEvent;

pub type Seq = u64;

/// One publish call.
#[derive(Clone, Debug)]
pub struct Publish {
    pub tenant: TenantNo,
    pub body: String,
    pub key: Option<String>,
    /// Of each event.
    pub types: Vec<&'static str>,
    pub began: Seq,
    /// Success was heard, with this.
    pub heard: Option<(Seq, Vec<AcceptedEvent>)>,
    /// The call that this one repeats.
    pub repeats: Option<usize>,
    /// A repeat of it is recognised.
    pub identified: bool,
}

/// What a webhook is as far as its receiver can tell.
#[derive(Clone, Debug, PartialEq)]
pub struct HookState {
    pub exists: bool,
    pub disabled: bool,
    pub url_version: u32,
    pub types: Vec<&'static str>,
    /// `None`: not known, or there is none.
    pub token: Option<String>,
}

#[derive(Clone, Debug)]
pub struct HookChange {
    pub began: Seq,
    pub heard: Option<Seq>,
    pub after: HookState,
}

/// A webhook that was asked for, and everything that was asked of it.
#[derive(Clone, Debug)]
pub struct Hook {
    pub tenant: TenantNo,
    /// Names it in its URL.
    pub number: u32,
    pub truvera: bool,
    pub id: Option<(WebhookId, WebhookNo)>,
    pub changes: Vec<HookChange>,
    /// Waits of every policy it ever had, in milliseconds.
    pub policies: Vec<Vec<u64>>,
    /// A call about it is under way.
    pub busy: bool,
}

impl Hook {
    /// What it may be at `at`, given what was asked and what was heard by then.
    pub fn may_be(&self, from: Seq, to: Seq) -> impl Iterator<Item = &HookState> {
        let settled = self.changes.iter().rposition(|change| change.heard.is_some_and(|heard| heard <= from));
        let open = self.changes.iter().skip(settled.unwrap_or(0));
        open.filter(move |change| change.began <= to).map(|change| &change.after)
    }

    /// What it was when nothing was under way any more.
    pub fn last(&self) -> Option<&HookState> {
        self.changes.last().map(|change| &change.after)
    }

    pub fn in_doubt(&self) -> bool {
        self.changes.last().is_some_and(|change| change.heard.is_none())
    }

    /// At most this many requests for one delivery.
    pub fn sends_max(&self) -> usize {
        1 + self.policies.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The shortest wait after this attempt (1-based) that any of its policies has.
    pub fn wait_after(&self, attempt: u8) -> u64 {
        let waits = self.policies.iter().filter_map(|policy| policy.get(usize::from(attempt) - 1));
        waits.min().copied().unwrap_or(0)
    }
}

/// How a request ended, as its receiver knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reply {
    Status {
        status: u16,
        wait_s: Option<u64>,
    },
    /// No head in time.
    TimedOut,
    /// The connection broke.
    Broke,
    /// The service broke off.
    Panicked,
}

/// A request whose first byte left.
#[derive(Clone, Debug)]
pub struct Send {
    pub seq: Seq,
    pub ms: u64,
    pub life: u32,
    pub delivery: DeliveryId,
    pub attempt: u8,
    pub event: EventId,
    pub hook: u32,
    pub url_version: u32,
    pub token: Option<String>,
    pub reply: Option<(u64, Reply)>,
}

#[derive(Clone, Debug)]
pub struct Erased {
    pub tenant: TenantNo,
    /// Those that were there when it was asked for.
    pub events: Vec<EventId>,
    /// It meets others too, that came meanwhile or were not known by name.
    pub scope: ErasedScope,
    pub heard: Option<(Seq, u64)>,
}

#[derive(Clone, Copy, Debug)]
pub enum ErasedScope {
    Named,
    Subject,
    Range(Timestamp, Timestamp),
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub publishes: Vec<Publish>,
    pub hooks: BTreeMap<u32, Hook>,
    pub sends: Vec<Send>,
    /// Of each subject the events that name it.
    pub subjects: BTreeMap<(TenantNo, String), Vec<EventId>>,
    pub erasures: Vec<Erased>,
    /// Deliveries somebody asked to cancel, or to make again.
    pub cancels: Vec<DeliveryId>,
    /// Attempts that failed before their first byte.
    pub unsent: BTreeMap<(DeliveryId, u8), &'static str>,
    pub power_losses: u32,
    /// How far each process' own time is from true time, in milliseconds.
    pub offsets: BTreeMap<u32, i64>,
    /// Deliveries with a number up to this were judged before.
    pub judged: i64,
}

impl Ledger {
    /// What was judged is dropped; webhooks stay.
    pub fn turn_page(&mut self, judged: i64) {
        let (hooks, offsets) = (std::mem::take(&mut self.hooks), std::mem::take(&mut self.offsets));
        *self = Self { hooks, offsets, judged, ..Self::default() };
    }
}
