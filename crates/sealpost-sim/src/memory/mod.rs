//! A store in memory: what the five roles promise, said as plainly as it can be said. It passes the conformance suite,
//! so whatever the engine does with it, it would do with a real one.
//!
//! The [`Disk`] outlives the process that is simulated; a [`MemoryStore`] is one process' hold on it. Every verb asks the
//! [`Weather`] before it happens and after it happened, which is where a simulation makes it fail.

mod analytics;
mod history;
mod inbox;
mod plant;
mod queue;
mod registry;
mod rows;
mod upkeep;
mod weather;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealpost_core::audit::By;
use sealpost_core::domain::CustomDomain;
use sealpost_core::id::{DeliveryId, ErasureId, EventId, TenantNo, WebhookNo};
use sealpost_core::key_ring::KeyRecord;
use sealpost_core::tenant::DEFAULT_TENANT;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::audit::Change;
use sealpost_store::history::AuditEntry;
use sealpost_store::queue::ClaimTicket;
use sealpost_store::registry::{Client, Operator};
use sealpost_store::upkeep::{RecordedCall, StoreStats};

pub use plant::Plant;
pub use rows::{DeliveryRow, EventRow, Kept, PayloadRow, TenantRow, WebhookRow};
pub use weather::{Calm, Verb, Weather};

/// What a repeat must be equal to, and the events it stands for.
type Repeated = ([u8; 32], Vec<i64>);

/// What is stored, and nothing else.
#[derive(Debug, Default)]
pub struct State {
    incarnation: i64,
    pub tenants: BTreeMap<TenantNo, TenantRow>,
    pub webhooks: BTreeMap<WebhookNo, WebhookRow>,
    /// By number, which rises with each.
    pub events: BTreeMap<i64, EventRow>,
    pub payloads: BTreeMap<i64, PayloadRow>,
    pub deliveries: BTreeMap<i64, DeliveryRow>,
    clients: Vec<Client>,
    operators: Vec<Operator>,
    token_keys: Vec<KeyRecord>,
    domains: BTreeMap<TenantNo, CustomDomain>,
    audit: Vec<(TenantNo, AuditEntry)>,
    calls: Vec<RecordedCall>,
    repeat_keys: BTreeMap<(TenantNo, [u8; 32]), Repeated>,
    erasures: BTreeMap<ErasureId, u64>,
    jobs: Vec<upkeep::Job>,
    stats: StoreStats,
    last_event: i64,
    last_delivery: i64,
    /// Found fast, never decided by: numbers by id, deliveries that have not ended, and webhooks whose rows upkeep has to
    /// look at.
    event_ids: BTreeMap<(TenantNo, EventId), i64>,
    delivery_ids: BTreeMap<DeliveryId, i64>,
    pending: BTreeSet<i64>,
    stale: BTreeSet<WebhookNo>,
    /// When upkeep is to look at a payload, and at the events that share it.
    to_prune: BTreeSet<(Timestamp, i64)>,
    to_forget: BTreeSet<(Timestamp, i64)>,
    /// What happened how often, for whoever asks what a workload reaches.
    pub tally: BTreeMap<&'static str, u64>,
}

impl State {
    fn log(&mut self, tenant: TenantNo, by: &By, object: String, change: Change) {
        let no = self.audit.len() as i64 + 1;
        let (who, what) = (by.who.clone(), by.action.as_str().to_owned());
        self.audit.push((tenant, AuditEntry { no, at: by.at, who, what, object, change }));
    }

    /// Changes of the installation itself stand in the log of the tenant that every installation has.
    fn log_for_installation(&mut self, by: &By, object: String, change: Change) {
        let default = self.tenants.values().find(|row| row.tenant.subdomain.as_str() == DEFAULT_TENANT);
        let tenant = default.map_or(TenantNo(0), |row| row.tenant.no);
        self.log(tenant, by, object, change);
    }

    fn raise_version(&mut self, tenant: TenantNo) -> i64 {
        self.tenants.get_mut(&tenant).map_or(0, |row| {
            row.version += 1;
            row.version
        })
    }

    fn live_tenant(&self, tenant: TenantNo) -> Option<&TenantRow> {
        self.tenants.get(&tenant).filter(|row| !row.deleted)
    }

    /// The webhook of a delivery; there is one, if only buried.
    fn hook(&self, webhook: WebhookNo) -> Result<&WebhookRow, StoreError> {
        self.webhooks.get(&webhook).ok_or(StoreError::Corrupt { what: "webhook of a delivery" })
    }

    fn count(&mut self, what: &'static str, n: u64) {
        *self.tally.entry(what).or_default() += n;
    }

    /// Whether a delivery has not ended, or upkeep is to make or to end some.
    pub fn is_busy(&self) -> bool {
        !self.pending.is_empty() || !self.jobs.is_empty() || !self.stale.is_empty()
    }

    /// What has not ended, for people.
    pub fn pending_text(&self) -> String {
        let rows = self.pending.iter().filter_map(|no| self.deliveries.get(no));
        let first: Vec<_> = rows.map(|row| (row.id, row.attempt, row.due, row.claimer)).take(3).collect();
        format!("{} deliveries have not ended, the first {first:?}", self.pending.len())
    }

    /// As if the last commit of accepting had never reached the disk.
    pub fn lose_last_accept(&mut self) {
        let Some((&last, row)) = self.events.last_key_value() else { return };
        let at = row.accepted_at;
        for no in self
            .events
            .range(..=last)
            .rev()
            .take_while(|(_, row)| row.accepted_at == at)
            .map(|(no, _)| *no)
            .collect::<Vec<_>>()
        {
            let Some(row) = self.events.remove(&no) else { continue };
            self.event_ids.remove(&(row.tenant, row.id));
            self.payloads.remove(&no);
            for delivery in row.deliveries {
                self.pending.remove(&delivery);
                self.deliveries.remove(&delivery).map(|row| self.delivery_ids.remove(&row.id));
            }
        }
    }

    pub fn delivery_by_id(&self, id: DeliveryId) -> Option<&DeliveryRow> {
        self.deliveries.get(self.delivery_ids.get(&id)?)
    }

    pub fn event_by_id(&self, tenant: TenantNo, id: EventId) -> Option<&EventRow> {
        self.events.get(self.event_ids.get(&(tenant, id))?)
    }

    pub fn kept_payload(&self, tenant: TenantNo, id: EventId) -> Option<&Kept> {
        self.kept(*self.event_ids.get(&(tenant, id))?)
    }
}

/// What outlives the process.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next process' hold on it: claims of those before are orphans.
    pub fn open(&self, weather: Arc<dyn Weather>, plant: Option<Plant>) -> MemoryStore {
        let mut state = self.state();
        state.incarnation += 1;
        let incarnation = state.incarnation;
        drop(state);
        MemoryStore { disk: self.clone(), incarnation, closed: AtomicBool::new(false), weather, plant }
    }
}

#[derive(Debug)]
pub struct MemoryStore {
    disk: Disk,
    incarnation: i64,
    closed: AtomicBool,
    weather: Arc<dyn Weather>,
    plant: Option<Plant>,
}

impl MemoryStore {
    /// One transaction.
    async fn call<T>(
        &self,
        verb: Verb,
        work: impl FnOnce(&mut State) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        self.weather.before(verb).await?;
        let done = work(&mut self.disk.state())?;
        self.weather.after(verb).await?;
        Ok(done)
    }

    /// A transaction that makes claims: whoever does not learn of them cannot give them back, so the store does.
    async fn claiming<T: Send>(
        &self,
        verb: Verb,
        due: Timestamp,
        work: impl FnOnce(&mut State) -> Result<T, StoreError> + Send,
        tickets: impl FnOnce(&T) -> Vec<ClaimTicket> + Send,
    ) -> Result<T, StoreError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        self.weather.before(verb).await?;
        let done = work(&mut self.disk.state())?;
        let unheard = Unheard { store: self, tickets: tickets(&done), due };
        self.weather.after(verb).await?;
        unheard.heard();
        Ok(done)
    }

    fn has(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }
}

/// Claims whose answer is on its way.
struct Unheard<'a> {
    store: &'a MemoryStore,
    tickets: Vec<ClaimTicket>,
    due: Timestamp,
}

impl Unheard<'_> {
    fn heard(mut self) {
        self.tickets.clear();
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        // What a dead process held is an orphan.
        if !self.tickets.is_empty() && !self.store.weather.is_over() {
            self.store.disk.state().unclaim(&self.tickets, self.due);
        }
    }
}
