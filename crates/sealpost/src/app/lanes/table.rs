//! Who may send next, as plain data: permits, caps, rates and fairness. No lock, no clock, no IO.
//!
//! Every webhook has two lanes, one for ordinary deliveries and one for bulk redeliveries. A lane is *wet* when a
//! waiting delivery of it may be due on disk, *dry* when none is known. Permits are taken before a claim is made, so
//! a claim finds its slot free. Turns go round the tenants, and within a tenant round its lanes, a
//! few deliveries each, so a dead receiver with a million pending takes no more than its share.

mod bucket;
mod flow;
mod recovery;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use sealpost_core::id::{TenantNo, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::limits as bound;
use sealpost_core::time::Timestamp;

use bucket::Bucket;
use flow::Flow;
use recovery::Recovery;

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
    /// Beside these: of deliveries that are parked.
    pub parked_bytes: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            global: bound::IN_FLIGHT_GLOBAL,
            tenant: bound::IN_FLIGHT_PER_TENANT,
            host: bound::IN_FLIGHT_PER_HOST,
            bytes: bound::IN_FLIGHT_BYTES,
            claim_bytes: bound::CLAIM_BYTES,
            parked_bytes: bound::PARKED_BYTES,
        }
    }
}

/// The right to send `parked` deliveries that wait in memory and to claim up to `most` on disk, every permit already
/// taken; and to park up to `ahead` further claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub lane: LaneNo,
    pub tenant: TenantNo,
    pub parked: u32,
    pub most: u32,
    pub ahead: u32,
}

impl Grant {
    /// How many deliveries are to be claimed on disk.
    pub fn claims(&self) -> u32 {
        self.most + self.ahead
    }
}

/// What a delivery that is about to be accepted gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Every permit: it is claimed and sent at once.
    Slot,
    /// A place: it is claimed and parked until a slot of its lane is free.
    Place,
    /// Neither: it waits on disk.
    Nothing,
    /// Neither yet: every place of the lane is taken, but it flows. Worth a moment's wait.
    Full,
}

/// Why nothing more can be parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Every place of the lane is taken.
    Places,
    /// The tenant's bytes, or everybody's, are used up.
    Bytes,
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
    /// Places taken, by deliveries that are parked or about to be.
    places: u32,
    /// Deliveries that are parked.
    parked: u32,
    /// Deliveries that wait on disk and were not there when the lane was dry; `None`: nobody knows how many.
    on_disk: Option<u32>,
}

impl LaneState {
    fn dry() -> Self {
        Self { on_disk: Some(0), ..Self::default() }
    }

    /// What is accepted now does not overtake what waits on disk.
    fn has_backlog(&self, now: Timestamp) -> bool {
        self.claiming.is_some() || self.due.is_some_and(|due| due <= now)
    }
}

#[derive(Debug)]
struct Hook {
    info: HookInfo,
    lanes: [LaneState; 2],
    bucket: Option<Bucket>,
    /// The last attempt that ended took long: nothing is parked.
    slow: bool,
    flow: Flow,
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

    /// How many more deliveries may be parked in the lane. A rate is kept by waiting on disk.
    fn places_left(&self, lane: LaneNo) -> u32 {
        if self.slow || self.bucket.is_some() || lane.is_replay() {
            return 0;
        }
        bound::PARKED_PER_WEBHOOK.saturating_sub(self.lanes[0].places)
    }

    /// How many claims may be parked now. Few at a time would be many commits, so half of the places must be free.
    fn ahead(&self, lane: LaneNo) -> u32 {
        let left = self.places_left(lane);
        if left >= bound::PARKED_PER_WEBHOOK / 2 { left } else { 0 }
    }

    fn idle(&self) -> bool {
        self.bucket.is_none()
            && self.lanes.iter().all(|l| {
                l.in_flight == 0 && l.due.is_none() && l.claiming.is_none() && !l.queued && l.places == 0
            })
    }
}

#[derive(Debug)]
pub struct Table {
    caps: Caps,
    hooks: HashMap<WebhookNo, Hook>,
    global: u32,
    tenants: HashMap<TenantNo, u32>,
    hosts: HashMap<Host, u32>,
    bytes: usize,
    tenant_bytes: HashMap<TenantNo, usize>,
    /// Of deliveries with a place.
    parked_bytes: HashMap<TenantNo, usize>,
    parked_in_all: usize,
    ready: BTreeMap<TenantNo, VecDeque<LaneNo>>,
    last_served: Option<TenantNo>,
    timers: BTreeSet<(Timestamp, LaneNo)>,
    /// Lanes that found their host full, in the order in which they did.
    blocked: HashMap<Host, VecDeque<LaneNo>>,
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
            parked_bytes: HashMap::new(),
            parked_in_all: 0,
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
    pub fn begin_recovery(&mut self, now: Timestamp, again_at: Vec<Timestamp>) {
        self.recovery = Recovery::begin(now, again_at);
    }

    /// How many more sends the whole table may begin.
    fn global_room(&mut self, now: Timestamp) -> u32 {
        self.recovery.cap(now, self.global, self.caps.global).saturating_sub(self.global)
    }

    pub fn in_flight(&self) -> u32 {
        self.global
    }

    /// No permit, place or byte is taken.
    pub fn holds_nothing(&self) -> bool {
        let of_lanes = self.hooks.values().flat_map(|hook| &hook.lanes);
        self.global == 0
            && self.bytes == 0
            && self.parked_in_all == 0
            && self.tenants.is_empty()
            && self.hosts.is_empty()
            && self.tenant_bytes.is_empty()
            && self.parked_bytes.is_empty()
            && of_lanes.into_iter().all(|lane| lane.in_flight == 0 && lane.places == 0 && lane.parked == 0)
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
            lanes: [LaneState::dry(), LaneState::dry()],
            bucket: None,
            slow: false,
            flow: Flow::default(),
        });
        if info.version < hook.info.version {
            return hook;
        }
        if hook.bucket.as_ref().map(|b| b.per_second) != info.rate_per_second {
            hook.bucket = info.rate_per_second.map(|rate| Bucket::new(rate, now));
        }
        // A change of host with sends in flight would release permits of the wrong host; it waits for the next use.
        if hook.info != *info && hook.in_flight() == 0 && hook.lanes.iter().all(|lane| lane.places == 0) {
            hook.info = info.clone();
        } else {
            hook.info.max_in_flight = info.max_in_flight;
            hook.info.rate_per_second = info.rate_per_second;
            hook.info.version = info.version;
        }
        hook
    }

    /// Takes every permit for a delivery that is about to be accepted, or a place, or neither: then the delivery waits
    /// on disk, and the lane counts as wet from now on.
    pub fn reserve(&mut self, webhook: WebhookNo, info: &HookInfo, bytes: usize, now: Timestamp) -> Reserved {
        let lane = LaneNo::ordinary(webhook);
        let global_room = self.global_room(now);
        let hook = self.hook(webhook, info, now);
        let backlog = hook.lanes[0].has_backlog(now);
        let (room, places) = (hook.room(lane), hook.places_left(lane));
        let tokens = match &mut hook.bucket {
            Some(bucket) => {
                bucket.fill(now);
                bucket.tokens()
            }
            None => u32::MAX,
        };
        let open = !self.closed && !backlog && global_room > 0;
        if open && room > 0 && tokens > 0 && self.outer_caps_allow(webhook, bytes) {
            if let Some(bucket) = self.hooks.get_mut(&webhook).and_then(|hook| hook.bucket.as_mut()) {
                bucket.take(1);
            }
            self.take(lane, 1);
            self.take_bytes(info.tenant, bytes);
            return Reserved::Slot;
        }
        let careful = self.recovery.is_careful();
        if open && places > 0 && !careful && self.parked_bytes_allow(info.tenant, bytes) {
            self.take_place(lane, info.tenant, bytes);
            return Reserved::Place;
        }
        if !careful && self.lacks(lane, 1, bytes, now).is_some() {
            return Reserved::Full;
        }
        self.note(lane, info, now, now);
        Reserved::Nothing
    }

    /// What a lane lacks for so many more deliveries to be parked, if waiting for it makes sense: its attempts end one
    /// after the other, and little of it waits on disk.
    pub fn lacks(&self, lane: LaneNo, needed: u32, bytes: usize, now: Timestamp) -> Option<Lack> {
        let hook = self.hooks.get(&lane.webhook())?;
        if self.closed || hook.slow || hook.bucket.is_some() || !hook.flow.flows(now) {
            return None;
        }
        let state = &hook.lanes[0];
        if state.has_backlog(now) {
            return state.on_disk.is_some_and(|n| n <= bound::PARKED_PER_WEBHOOK).then_some(Lack::Places);
        }
        if hook.places_left(lane) < needed.min(bound::PARKED_PER_WEBHOOK) {
            return Some(Lack::Places);
        }
        // A request of more than half of what its tenant gets need not wait until it has all of that for itself.
        let bytes = bytes.min(self.caps.parked_bytes / 8);
        (!self.parked_bytes_allow(hook.info.tenant, bytes)).then_some(Lack::Bytes)
    }

    /// Whether the caps of tenant, host and bytes leave room for one more delivery of the webhook. Claims need room for
    /// the largest payload: nothing else may use the last of it up.
    fn outer_caps_allow(&self, webhook: WebhookNo, bytes: usize) -> bool {
        let Some(hook) = self.hooks.get(&webhook) else { return false };
        let (caps, tenant) = (self.caps, hook.info.tenant);
        let used = |counts: &HashMap<TenantNo, u32>| counts.get(&tenant).copied().unwrap_or(0);
        self.global < caps.global
            && used(&self.tenants) < caps.tenant
            && self.hosts.get(&hook.info.host).copied().unwrap_or(0) < caps.host
            && self.bytes + bytes + caps.claim_bytes <= caps.bytes
            && self.tenant_bytes.get(&tenant).copied().unwrap_or(0) + bytes <= caps.bytes / 2
    }

    fn take_bytes(&mut self, tenant: TenantNo, bytes: usize) {
        self.bytes += bytes;
        *self.tenant_bytes.entry(tenant).or_default() += bytes;
    }

    /// Whether the bytes of all that is parked leave room for so many more; a tenant gets a quarter of them.
    fn parked_bytes_allow(&self, tenant: TenantNo, bytes: usize) -> bool {
        let own = self.parked_bytes.get(&tenant).copied().unwrap_or(0);
        self.parked_in_all + bytes <= self.caps.parked_bytes && own + bytes <= self.caps.parked_bytes / 4
    }

    fn take_place(&mut self, lane: LaneNo, tenant: TenantNo, bytes: usize) {
        let Some(hook) = self.hooks.get_mut(&lane.webhook()) else { return };
        hook.lanes[usize::from(lane.is_replay())].places += 1;
        self.parked_in_all += bytes;
        *self.parked_bytes.entry(tenant).or_default() += bytes;
    }

    /// The delivery with this place is parked now.
    pub fn park(&mut self, lane: LaneNo) {
        let Some(hook) = self.hooks.get_mut(&lane.webhook()) else { return };
        hook.lanes[usize::from(lane.is_replay())].parked += 1;
    }

    /// A parked delivery leaves, handed back or with a permit of its own.
    pub fn unpark(&mut self, lane: LaneNo, tenant: TenantNo, bytes: usize) {
        if let Some(hook) = self.hooks.get_mut(&lane.webhook()) {
            let state = &mut hook.lanes[usize::from(lane.is_replay())];
            state.parked = state.parked.saturating_sub(1);
        }
        self.leave_place(lane, tenant, bytes);
    }

    /// A place is free again.
    pub fn leave_place(&mut self, lane: LaneNo, tenant: TenantNo, bytes: usize) {
        self.parked_in_all = self.parked_in_all.saturating_sub(bytes);
        lower(&mut self.parked_bytes, &tenant, bytes);
        if let Some(hook) = self.hooks.get_mut(&lane.webhook()) {
            let state = &mut hook.lanes[usize::from(lane.is_replay())];
            state.places = state.places.saturating_sub(1);
        }
        self.forget_if_idle(lane.webhook());
    }

    /// A parked delivery leaves with a permit, whose count is already taken: its bytes are the permit's from now on.
    pub fn unpark_to_permit(&mut self, lane: LaneNo, tenant: TenantNo, bytes: usize) {
        self.take_bytes(tenant, bytes);
        self.unpark(lane, tenant, bytes);
    }

    /// A permit for the first parked delivery of a lane, without asking the other lanes: only if none of them is ready
    /// to be granted.
    pub fn promote(&mut self, lane: LaneNo, bytes: usize) -> bool {
        let Some(hook) = self.hooks.get(&lane.webhook()) else { return false };
        let tenant = hook.info.tenant;
        let fits =
            self.may_skip_the_queue() && hook.room(lane) > 0 && self.outer_caps_allow(lane.webhook(), bytes);
        if fits {
            self.take(lane, 1);
            self.unpark_to_permit(lane, tenant, bytes);
        }
        fits
    }

    /// A send ended: its permit goes to the first parked delivery of its lane, of `next` bytes, unless somebody else
    /// waits for what it holds. False: nothing was done, and it is to be released.
    pub fn pass_on(&mut self, lane: LaneNo, tenant: TenantNo, bytes: usize, next: usize) -> bool {
        let Some(hook) = self.hooks.get(&lane.webhook()) else { return false };
        let held = self.tenant_bytes.get(&tenant).copied().unwrap_or(0);
        let fits = self.may_skip_the_queue()
            && hook.in_flight() <= hook.info.max_in_flight
            && !self.blocked.contains_key(&hook.info.host)
            && self.bytes + next + self.caps.claim_bytes <= self.caps.bytes + bytes
            && held + next <= self.caps.bytes / 2 + bytes;
        if fits {
            self.return_tenant_bytes(tenant, bytes);
            self.unpark_to_permit(lane, tenant, next);
            // Half of the places may be free by now: time to claim more.
            self.requeue(lane);
        }
        fits
    }

    fn may_skip_the_queue(&self) -> bool {
        !self.closed && self.ready.is_empty() && !self.recovery.is_careful()
    }

    fn return_tenant_bytes(&mut self, tenant: TenantNo, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        lower(&mut self.tenant_bytes, &tenant, bytes);
    }

    /// An attempt of a webhook ended. A slow receiver has nothing parked; true if it was not slow before.
    pub fn ended(&mut self, webhook: WebhookNo, at: Timestamp, slow: bool) -> bool {
        let Some(hook) = self.hooks.get_mut(&webhook) else { return false };
        hook.flow.ended(at);
        slow && !std::mem::replace(&mut hook.slow, slow)
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
        self.recovery.raise(self.caps.global);
        self.return_tenant_bytes(tenant, bytes);
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
        // Who has waited for the host comes before the lane that has just had its turn.
        self.unblock(&host, n);
        for both in [LaneNo::ordinary(lane.webhook()), LaneNo::replay(lane.webhook())] {
            self.requeue(both);
        }
        self.forget_if_idle(lane.webhook());
    }

    /// So many slots of a host are free: as many lanes that wait for one may ask again.
    fn unblock(&mut self, host: &Host, slots: u32) {
        let Some(mut waiting) = self.blocked.remove(host) else { return };
        let mut left = slots;
        while left > 0 {
            let Some(lane) = waiting.pop_front() else { return };
            left -= u32::from(self.requeue(lane));
        }
        if !waiting.is_empty() {
            self.blocked.insert(host.clone(), waiting);
        }
    }

    fn forget_if_idle(&mut self, webhook: WebhookNo) {
        if self.hooks.get(&webhook).is_some_and(Hook::idle) {
            self.hooks.remove(&webhook);
        }
    }

    /// A delivery of this lane waits on disk and is due at `due`.
    pub fn note_waiting(&mut self, lane: LaneNo, info: &HookInfo, due: Timestamp, now: Timestamp) {
        self.note(lane, info, due, now).on_disk = None;
    }

    /// One that has just been accepted waits on disk.
    pub fn note_stored(&mut self, lane: LaneNo, info: &HookInfo, now: Timestamp) {
        let state = self.note(lane, info, now, now);
        state.on_disk = state.on_disk.map(|n| n.saturating_add(1));
    }

    fn note(&mut self, lane: LaneNo, info: &HookInfo, due: Timestamp, now: Timestamp) -> &mut LaneState {
        let place = usize::from(lane.is_replay());
        let before = {
            let state = &mut self.hook(lane.webhook(), info, now).lanes[place];
            state.notes += 1;
            let later = state.due.is_none_or(|known| known > due);
            later.then(|| state.due.replace(due))
        };
        if let Some(before) = before {
            if let Some(before) = before {
                self.timers.remove(&(before, lane));
            }
            self.timers.insert((due, lane));
        }
        &mut self.hook(lane.webhook(), info, now).lanes[place]
    }

    /// Puts a lane with something to send back into its tenant's queue; one that is due later stays with the timers.
    /// Whether it stands there for a slot.
    pub fn requeue(&mut self, lane: LaneNo) -> bool {
        let Some(hook) = self.hooks.get(&lane.webhook()) else { return false };
        let (tenant, room) = (hook.info.tenant, hook.room(lane));
        let ahead = self.ahead(lane);
        let Some(hook) = self.hooks.get_mut(&lane.webhook()) else { return false };
        let state = &mut hook.lanes[usize::from(lane.is_replay())];
        let ripe =
            state.claiming.is_none() && state.due.is_some_and(|due| !self.timers.contains(&(due, lane)));
        let wants_slot = room > 0 && (state.parked > 0 || ripe);
        if (wants_slot || (ahead > 0 && ripe)) && !state.queued {
            state.queued = true;
            self.ready.entry(tenant).or_default().push_back(lane);
        }
        wants_slot
    }

    /// When there is something to look at again; `None` if only a note or a release can bring work.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let due = self.timers.first().map(|(due, _)| *due);
        let raise = self.recovery.next_raise().filter(|_| self.has_ready());
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
            grants.extend(self.grant(lane, tenant, outer, now));
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
    fn grant(&mut self, lane: LaneNo, tenant: TenantNo, outer: u32, now: Timestamp) -> Option<Grant> {
        let ahead = self.ahead(lane);
        let hook = self.hooks.get_mut(&lane.webhook())?;
        let host = hook.info.host.clone();
        let place = usize::from(lane.is_replay());
        hook.lanes[place].queued = false;
        let own = hook.room(lane);
        if let Some(bucket) = &mut hook.bucket {
            bucket.fill(now);
            if own > 0 && bucket.tokens() == 0 {
                let at = bucket.next_token_at(now);
                hook.lanes[place].due = Some(at);
                self.timers.insert((at, lane));
                return None;
            }
        }
        let tokens = hook.bucket.as_ref().map_or(u32::MAX, Bucket::tokens);
        let at_host = self.caps.host.saturating_sub(self.hosts.get(&host).copied().unwrap_or(0));
        if own > 0 && at_host == 0 {
            self.blocked.entry(host).or_default().push_back(lane);
            return None;
        }
        let room = own.min(outer).min(tokens).min(at_host).min(bound::CLAIMS_PER_TURN);
        let state = &mut hook.lanes[place];
        let ripe = state.claiming.is_none() && state.due.is_some_and(|due| due <= now);
        let parked = room.min(state.parked);
        let most = if ripe { room - parked } else { 0 };
        let ahead = if ripe { ahead } else { 0 };
        if parked + most + ahead == 0 {
            return None; // its own release requeues it
        }
        if most + ahead > 0 {
            state.claiming = Some(state.notes);
        }
        if let Some(bucket) = &mut hook.bucket {
            bucket.take(most);
        }
        self.take(lane, parked + most);
        Some(Grant { lane, tenant, parked, most, ahead })
    }

    /// How many claims of a lane may be parked now. One round may bring more bytes than are left; its own bound holds then.
    fn ahead(&self, lane: LaneNo) -> u32 {
        let Some(hook) = self.hooks.get(&lane.webhook()) else { return 0 };
        let allowed = !self.recovery.is_careful() && self.parked_bytes_allow(hook.info.tenant, 1);
        if allowed { hook.ahead(lane) } else { 0 }
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

    /// The answer to a grant's claims: the first of those that were claimed have the granted permits, the others a place,
    /// each by the bytes of its payload. The next delivery on disk is due at `next_due`.
    pub fn claimed(
        &mut self,
        grant: &Grant,
        payload_bytes: &[usize],
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) {
        for (index, bytes) in payload_bytes.iter().enumerate() {
            if index < grant.most as usize {
                *self.tenant_bytes.entry(grant.tenant).or_default() += bytes;
            } else {
                self.take_place(grant.lane, grant.tenant, *bytes);
            }
        }
        let unused = grant.most.saturating_sub(payload_bytes.len() as u32);
        let Some(hook) = self.hooks.get_mut(&grant.lane.webhook()) else { return };
        if let Some(bucket) = &mut hook.bucket {
            bucket.give_back(unused);
        }
        let state = &mut hook.lanes[usize::from(grant.lane.is_replay())];
        let noted_since = state.claiming.take().is_some_and(|notes| notes != state.notes);
        if let Some(known) = state.due {
            self.timers.remove(&(known, grant.lane));
        }
        state.on_disk = match next_due {
            None if !noted_since => Some(0),
            _ => state.on_disk.map(|n| n.saturating_sub(payload_bytes.len() as u32)),
        };
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
