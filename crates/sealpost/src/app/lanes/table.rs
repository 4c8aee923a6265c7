//! Who may send next, as plain data: permits, caps, rates and fairness. No lock, no clock, no IO.
//!
//! Every webhook has two lanes, one for ordinary deliveries and one for bulk redeliveries. A lane is *wet* when a
//! waiting delivery of it may be due on disk, *dry* when none is known. Permits are taken before a claim is made, so
//! nothing queues between a claim and its start. Turns go round the tenants, and within a tenant round its lanes, a
//! few deliveries each, so a dead receiver with a million pending takes no more than its share.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sealpost_core::id::{TenantNo, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::limits as bound;
use sealpost_core::time::Timestamp;

/// What the table must know of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookInfo {
    pub tenant: TenantNo,
    pub host: Host,
    pub max_in_flight: u32,
    pub rate_per_second: Option<u32>,
    /// The webhook's version these are of; what an older send says does not undo a newer change.
    pub version: i64,
}

/// Where requests go: receivers behind one host share its cap, within a tenant.
pub type Host = (TenantNo, Arc<str>, u16);

/// Caps over all webhooks.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    pub global: u32,
    pub tenant: u32,
    pub host: u32,
    pub bytes: usize,
    /// Of these, what only claims may use.
    pub claim_bytes: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            global: bound::IN_FLIGHT_GLOBAL,
            tenant: bound::IN_FLIGHT_PER_TENANT,
            host: bound::IN_FLIGHT_PER_HOST,
            bytes: bound::IN_FLIGHT_BYTES,
            claim_bytes: bound::CLAIM_BYTES,
        }
    }
}

/// The right to claim up to `most` deliveries of a lane; every permit is already taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub lane: LaneNo,
    pub tenant: TenantNo,
    pub most: u32,
}

#[derive(Debug, Default)]
struct LaneState {
    in_flight: u32,
    /// The earliest due time known; `None` is dry.
    due: Option<Timestamp>,
    /// Counts notes of new work, so that an answer to an older claim cannot dry the lane.
    notes: u64,
    /// `notes` when the claim now under way was asked for.
    claiming: Option<u64>,
    /// Where the lane stands: in its tenant's ready queue.
    queued: bool,
}

#[derive(Debug)]
struct Hook {
    info: HookInfo,
    lanes: [LaneState; 2],
    bucket: Option<Bucket>,
}

impl Hook {
    fn in_flight(&self) -> u32 {
        self.lanes.iter().map(|lane| lane.in_flight).sum()
    }

    /// How many more the lane may start by its webhook's own caps; bulk redelivery gets a quarter of the slots.
    fn room(&self, lane: LaneNo) -> u32 {
        let whole = self.info.max_in_flight.saturating_sub(self.in_flight());
        if !lane.is_replay() {
            return whole;
        }
        let quarter = (self.info.max_in_flight / 4).max(1);
        whole.min(quarter.saturating_sub(self.lanes[1].in_flight))
    }

    fn idle(&self) -> bool {
        self.bucket.is_none()
            && self
                .lanes
                .iter()
                .all(|l| l.in_flight == 0 && l.due.is_none() && l.claiming.is_none() && !l.queued)
    }
}

/// A token bucket holding at most one second's worth.
#[derive(Debug)]
struct Bucket {
    per_second: u32,
    /// Thousandths of a token.
    millis: u64,
    at: Timestamp,
}

impl Bucket {
    fn new(per_second: u32, now: Timestamp) -> Self {
        Self { per_second, millis: u64::from(per_second) * 1000, at: now }
    }

    fn fill(&mut self, now: Timestamp) {
        let gained = now.since(self.at).as_millis() as u64 * u64::from(self.per_second);
        self.millis = self.millis.saturating_add(gained).min(u64::from(self.per_second) * 1000);
        self.at = self.at.max(now);
    }

    fn tokens(&self) -> u32 {
        (self.millis / 1000) as u32
    }

    fn take(&mut self, n: u32) {
        self.millis = self.millis.saturating_sub(u64::from(n) * 1000);
    }

    fn give_back(&mut self, n: u32) {
        self.millis = (self.millis + u64::from(n) * 1000).min(u64::from(self.per_second) * 1000);
    }

    fn next_token_at(&self, now: Timestamp) -> Timestamp {
        let missing = 1000u64.saturating_sub(self.millis);
        now + Duration::from_millis(missing.div_ceil(u64::from(self.per_second.max(1))).max(1))
    }
}

/// After an unclean start deliveries are worked one at a time, then two, then four: doubled with each that ended, and
/// with each span that those in flight survived, so that a delivery that kills the process burns few of its neighbours'
/// attempts and a receiver that hangs does not hold the others up. It begins again when the attempts that were cut off
/// fall due: the one that did it is among them.
#[derive(Debug, Default)]
struct Recovery {
    /// `None`: as fast as the caps allow.
    cap: Option<u32>,
    raised_at: Timestamp,
    /// When attempts that were cut off fall due, latest first.
    again_at: Vec<Timestamp>,
}

/// A delivery that kills the process does so at once.
const SURVIVED: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Table {
    caps: Caps,
    hooks: HashMap<WebhookNo, Hook>,
    global: u32,
    tenants: HashMap<TenantNo, u32>,
    hosts: HashMap<Host, u32>,
    bytes: usize,
    tenant_bytes: HashMap<TenantNo, usize>,
    ready: BTreeMap<TenantNo, VecDeque<LaneNo>>,
    last_served: Option<TenantNo>,
    timers: BTreeSet<(Timestamp, LaneNo)>,
    blocked: HashMap<Host, Vec<LaneNo>>,
    recovery: Recovery,
    closed: bool,
}

impl Table {
    pub fn new(caps: Caps) -> Self {
        Self {
            caps,
            hooks: HashMap::new(),
            global: 0,
            tenants: HashMap::new(),
            hosts: HashMap::new(),
            bytes: 0,
            tenant_bytes: HashMap::new(),
            ready: BTreeMap::new(),
            last_served: None,
            timers: BTreeSet::new(),
            blocked: HashMap::new(),
            recovery: Recovery::default(),
            closed: false,
        }
    }

    /// No grants and no reservations any more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Starts carefully, and again at each of these times.
    pub fn begin_recovery(&mut self, now: Timestamp, mut again_at: Vec<Timestamp>) {
        again_at.sort_unstable_by(|a, b| b.cmp(a));
        again_at.dedup_by(|earlier, later| later.since(*earlier) < Duration::from_secs(1));
        self.recovery = Recovery { cap: Some(1), raised_at: now, again_at };
    }

    /// How many more sends the whole table may begin.
    fn global_room(&mut self, now: Timestamp) -> u32 {
        let recovery = &mut self.recovery;
        while recovery.again_at.last().is_some_and(|at| *at <= now) {
            recovery.again_at.pop();
            recovery.cap = Some(1);
            recovery.raised_at = now;
        }
        if self.global == 0 {
            // Nothing was survived by waiting for work.
            self.recovery.raised_at = now;
        }
        while self.recovery.cap.is_some() && now >= self.recovery.raised_at + SURVIVED {
            self.recovery.raised_at = self.recovery.raised_at + SURVIVED;
            self.raise_recovery();
        }
        let cap = self.recovery.cap.unwrap_or(u32::MAX).min(self.caps.global);
        cap.saturating_sub(self.global)
    }

    fn raise_recovery(&mut self) {
        let raised = self.recovery.cap.map(|cap| cap.saturating_mul(2));
        self.recovery.cap = raised.filter(|cap| *cap < self.caps.global);
    }

    pub fn in_flight(&self) -> u32 {
        self.global
    }

    /// Whether some lane stands ready to be granted.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    #[cfg(test)]
    fn lanes_known(&self) -> usize {
        self.hooks.len()
    }

    fn hook(&mut self, webhook: WebhookNo, info: &HookInfo, now: Timestamp) -> &mut Hook {
        let hook = self.hooks.entry(webhook).or_insert_with(|| Hook {
            info: info.clone(),
            lanes: [LaneState::default(), LaneState::default()],
            bucket: None,
        });
        if info.version < hook.info.version {
            return hook;
        }
        if hook.bucket.as_ref().map(|b| b.per_second) != info.rate_per_second {
            hook.bucket = info.rate_per_second.map(|rate| Bucket::new(rate, now));
        }
        // A change of host with sends in flight would release permits of the wrong host; it waits for the next use.
        if hook.info != *info && hook.in_flight() == 0 {
            hook.info = info.clone();
        } else {
            hook.info.max_in_flight = info.max_in_flight;
            hook.info.rate_per_second = info.rate_per_second;
            hook.info.version = info.version;
        }
        hook
    }

    /// Takes every permit for a delivery that is about to be accepted, or none: then the delivery waits on disk, and
    /// the lane counts as wet from now on.
    pub fn reserve(&mut self, webhook: WebhookNo, info: &HookInfo, bytes: usize, now: Timestamp) -> bool {
        let caps = self.caps;
        let outer = !self.closed
            && self.global_room(now) > 0
            && self.tenants.get(&info.tenant).copied().unwrap_or(0) < caps.tenant
            // Claims need room for the largest payload: accepting may not use the last of it up.
            && self.bytes + bytes + caps.claim_bytes <= caps.bytes
            && self.tenant_bytes.get(&info.tenant).copied().unwrap_or(0) + bytes <= caps.bytes / 2;
        let hook = self.hook(webhook, info, now);
        let host = hook.info.host.clone();
        let lane = &hook.lanes[0];
        let backlog = lane.claiming.is_some() || lane.due.is_some_and(|due| due <= now);
        let tokens = match &mut hook.bucket {
            Some(bucket) => {
                bucket.fill(now);
                bucket.tokens() > 0
            }
            None => true,
        };
        let inner = !backlog && tokens && hook.room(LaneNo::ordinary(webhook)) > 0;
        let host_room = self.hosts.get(&host).copied().unwrap_or(0) < caps.host;
        if !(outer && inner && host_room) {
            self.note_waiting(LaneNo::ordinary(webhook), info, now, now);
            return false;
        }
        if let Some(bucket) = self.hooks.get_mut(&webhook).and_then(|hook| hook.bucket.as_mut()) {
            bucket.take(1);
        }
        self.take(LaneNo::ordinary(webhook), 1);
        self.bytes += bytes;
        *self.tenant_bytes.entry(info.tenant).or_default() += bytes;
        true
    }

    fn take(&mut self, lane: LaneNo, n: u32) {
        let Some(hook) = self.hooks.get_mut(&lane.webhook()) else { return };
        hook.lanes[usize::from(lane.is_replay())].in_flight += n;
        self.global += n;
        *self.tenants.entry(hook.info.tenant).or_default() += n;
        *self.hosts.entry(hook.info.host.clone()).or_default() += n;
    }

    /// A send ended or did not happen: its permit is free again.
    pub fn release(&mut self, lane: LaneNo, tenant: TenantNo, bytes: usize) {
        self.raise_recovery();
        self.bytes = self.bytes.saturating_sub(bytes);
        lower(&mut self.tenant_bytes, &tenant, bytes);
        self.give_back(lane, 1);
    }

    fn give_back(&mut self, lane: LaneNo, n: u32) {
        let Some(hook) = self.hooks.get_mut(&lane.webhook()) else { return };
        let (tenant, host) = (hook.info.tenant, hook.info.host.clone());
        let state = &mut hook.lanes[usize::from(lane.is_replay())];
        state.in_flight = state.in_flight.saturating_sub(n);
        self.global = self.global.saturating_sub(n);
        lower(&mut self.tenants, &tenant, n);
        lower(&mut self.hosts, &host, n);
        for both in [LaneNo::ordinary(lane.webhook()), LaneNo::replay(lane.webhook())] {
            self.requeue(both);
        }
        for waiting in self.blocked.remove(&host).unwrap_or_default() {
            self.requeue(waiting);
        }
        self.forget_if_idle(lane.webhook());
    }

    fn forget_if_idle(&mut self, webhook: WebhookNo) {
        if self.hooks.get(&webhook).is_some_and(Hook::idle) {
            self.hooks.remove(&webhook);
        }
    }

    /// A delivery of this lane waits on disk and is due at `due`.
    pub fn note_waiting(&mut self, lane: LaneNo, info: &HookInfo, due: Timestamp, now: Timestamp) {
        let hook = self.hook(lane.webhook(), info, now);
        let state = &mut hook.lanes[usize::from(lane.is_replay())];
        state.notes += 1;
        if state.due.is_some_and(|known| known <= due) {
            return;
        }
        let before = state.due.replace(due);
        if let Some(before) = before {
            self.timers.remove(&(before, lane));
        }
        self.timers.insert((due, lane));
    }

    /// Puts a wet lane back into its tenant's queue; a lane that is due later stays with the timers.
    fn requeue(&mut self, lane: LaneNo) {
        let Some(hook) = self.hooks.get_mut(&lane.webhook()) else { return };
        let tenant = hook.info.tenant;
        let state = &mut hook.lanes[usize::from(lane.is_replay())];
        let Some(due) = state.due else { return };
        if state.queued || state.claiming.is_some() || self.timers.contains(&(due, lane)) {
            return;
        }
        state.queued = true;
        self.ready.entry(tenant).or_default().push_back(lane);
    }

    /// When there is something to look at again; `None` if only a note or a release can bring work.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let due = self.timers.first().map(|(due, _)| *due);
        let careful = self.recovery.cap.is_some() && self.has_ready();
        let raise = careful.then_some(self.recovery.raised_at + SURVIVED);
        due.into_iter().chain(raise).min()
    }

    /// The next claims to make: at most `lanes_most` lanes, each with its permits taken.
    pub fn grants(&mut self, now: Timestamp, lanes_most: usize) -> Vec<Grant> {
        while let Some(&(due, lane)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.remove(&(due, lane));
            self.requeue(lane);
        }
        let mut grants = Vec::new();
        if self.closed {
            return grants;
        }
        let mut skipped: Vec<TenantNo> = Vec::new();
        while grants.len() < lanes_most {
            let Some(tenant) = self.next_tenant(&skipped) else { break };
            self.last_served = Some(tenant);
            let outer = self.outer_room(tenant, now);
            if outer == 0 {
                // The lanes stay in the tenant's queue and are looked at again after a release.
                skipped.push(tenant);
                continue;
            }
            let Some(lane) = self.ready.get_mut(&tenant).and_then(VecDeque::pop_front) else { continue };
            if self.ready.get(&tenant).is_some_and(VecDeque::is_empty) {
                self.ready.remove(&tenant);
            }
            if let Some(most) = self.grant(lane, outer, now) {
                grants.push(Grant { lane, tenant, most });
            }
        }
        grants
    }

    fn next_tenant(&self, skipped: &[TenantNo]) -> Option<TenantNo> {
        let after = self.last_served.map_or(i64::MIN, |tenant| tenant.0.saturating_add(1));
        let later = self.ready.range(TenantNo(after)..).map(|(tenant, _)| *tenant);
        let earlier = self.ready.range(..TenantNo(after)).map(|(tenant, _)| *tenant);
        later.chain(earlier).find(|tenant| !skipped.contains(tenant))
    }

    fn outer_room(&mut self, tenant: TenantNo, now: Timestamp) -> u32 {
        let used = self.tenants.get(&tenant).copied().unwrap_or(0);
        let held = self.tenant_bytes.get(&tenant).copied().unwrap_or(0);
        if held >= self.caps.bytes / 2 {
            return 0; // one tenant's large payloads leave room for the others
        }
        self.global_room(now).min(self.caps.tenant.saturating_sub(used))
    }

    /// Takes permits for one lane that left the ready queue; `None` if it must wait for something.
    fn grant(&mut self, lane: LaneNo, outer: u32, now: Timestamp) -> Option<u32> {
        let hook = self.hooks.get_mut(&lane.webhook())?;
        let host = hook.info.host.clone();
        hook.lanes[usize::from(lane.is_replay())].queued = false;
        let own = hook.room(lane);
        if own == 0 {
            return None; // its own release requeues it
        }
        if let Some(bucket) = &mut hook.bucket {
            bucket.fill(now);
            if bucket.tokens() == 0 {
                let at = bucket.next_token_at(now);
                hook.lanes[usize::from(lane.is_replay())].due = Some(at);
                self.timers.insert((at, lane));
                return None;
            }
        }
        let tokens = hook.bucket.as_ref().map_or(u32::MAX, Bucket::tokens);
        let at_host = self.caps.host.saturating_sub(self.hosts.get(&host).copied().unwrap_or(0));
        if at_host == 0 {
            self.blocked.entry(host).or_default().push(lane);
            return None;
        }
        let most = own.min(outer).min(tokens).min(at_host).min(bound::CLAIMS_PER_TURN);
        if let Some(bucket) = &mut hook.bucket {
            bucket.take(most);
        }
        let state = &mut hook.lanes[usize::from(lane.is_replay())];
        state.claiming = Some(state.notes);
        self.take(lane, most);
        Some(most)
    }

    /// Bytes for one round of claims; at least one payload of the largest size, or nothing.
    pub fn reserve_bytes(&mut self, least: usize, most: usize) -> Option<usize> {
        let free = self.caps.bytes.saturating_sub(self.bytes);
        if free < least {
            return None;
        }
        let taken = free.min(most);
        self.bytes += taken;
        Some(taken)
    }

    pub fn return_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// The answer to a grant: `got` deliveries with `bytes` of payload were claimed and keep their permits; the next one
    /// is due at `next_due`.
    pub fn claimed(
        &mut self,
        grant: &Grant,
        got: u32,
        bytes: usize,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) {
        if bytes > 0 {
            *self.tenant_bytes.entry(grant.tenant).or_default() += bytes;
        }
        let unused = grant.most.saturating_sub(got);
        let Some(hook) = self.hooks.get_mut(&grant.lane.webhook()) else { return };
        if let Some(bucket) = &mut hook.bucket {
            bucket.give_back(unused);
        }
        let state = &mut hook.lanes[usize::from(grant.lane.is_replay())];
        let noted_since = state.claiming.take().is_some_and(|notes| notes != state.notes);
        if let Some(known) = state.due {
            self.timers.remove(&(known, grant.lane));
        }
        // Notes that came while the claim ran may speak of rows it could not see yet.
        state.due = if noted_since { Some(next_due.map_or(now, |due| due.min(now))) } else { next_due };
        if let Some(due) = state.due {
            self.timers.insert((due, grant.lane));
        }
        if unused > 0 {
            self.give_back(grant.lane, unused);
        } else {
            self.forget_if_idle(grant.lane.webhook());
        }
    }
}

/// Takes `n` from a count, and forgets a count of nothing.
fn lower<K, N>(counts: &mut HashMap<K, N>, key: &K, n: N)
where
    K: std::hash::Hash + Eq,
    N: Copy + Default + PartialOrd + std::ops::Sub<Output = N>,
{
    let Some(count) = counts.get_mut(key) else { return };
    if *count > n {
        *count = *count - n;
    } else {
        counts.remove(key);
    }
}

#[cfg(test)]
mod tests;
