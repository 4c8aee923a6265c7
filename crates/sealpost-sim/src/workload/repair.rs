//! Repair and erasure: redeliver, cancel, test, erase.

use std::time::Duration;

use sealpost::app::erasures::EraseWhat;
use sealpost_core::delivery::{State, Status};
use sealpost_core::id::{DeliveryId, EventId, TenantNo};
use sealpost_store::history::{BulkFilter, BulkRedelivery, Redelivered};

use super::{Callers, WHO};
use crate::ledger::{Erased, ErasedScope};

impl Callers {
    pub(super) async fn repair(&self) {
        let which = self.world.inner().dice.between(0, 8);
        match which {
            0 | 1 => self.redeliver().await,
            2 => self.redeliver_all().await,
            3 => self.test_hook().await,
            _ => self.cancel().await,
        }
    }

    /// A delivery of the last few hundred that fits.
    fn some_delivery(&self, fits: impl Fn(State) -> bool) -> Option<(TenantNo, DeliveryId)> {
        let state = self.disk.state();
        let recent = state.deliveries.values().rev().take(300);
        let found: Vec<_> = recent.filter(|row| fits(row.state)).map(|row| (row.tenant, row.id)).collect();
        drop(state);
        (!found.is_empty()).then(|| self.world.inner().dice.of(&found))
    }

    async fn redeliver(&self) {
        let Some((tenant, id)) = self.some_delivery(State::is_final) else { return };
        if let Ok(Redelivered::Created { .. }) = self.app.redeliver(tenant, id, WHO).await {
            self.world.count("redeliver");
        }
    }

    async fn redeliver_all(&self) {
        let (hook, status) = {
            let mut inner = self.world.inner();
            let known: Vec<_> =
                inner.ledger.hooks.values().filter_map(|hook| Some((hook.tenant, hook.id?.0))).collect();
            if known.is_empty() {
                return;
            }
            let newest = &known[known.len().saturating_sub(10)..];
            (inner.dice.of(newest), inner.dice.of(&[None, Some(Status::Failed), Some(Status::Cancelled)]))
        };
        let from = self.world.wall() - Duration::from_secs(1800);
        let filter = BulkFilter { from: Some(from), to: None, status };
        let answer = self.app.redeliver_all(hook.0, hook.1, filter, false, WHO).await;
        if matches!(answer, Ok(BulkRedelivery::Counted { count: 1.., .. })) {
            self.world.count("redeliver all");
        }
    }

    async fn test_hook(&self) {
        let hook = {
            let mut inner = self.world.inner();
            let known: Vec<_> =
                inner.ledger.hooks.values().filter_map(|hook| Some((hook.tenant, hook.id?.0))).collect();
            if known.is_empty() {
                return;
            }
            inner.dice.of(&known[known.len().saturating_sub(10)..])
        };
        if let Ok(Some(_)) = self.app.send_test(hook.0, hook.1, None).await {
            self.world.count("send test");
        }
    }

    async fn cancel(&self) {
        let pending = self.some_delivery(|state| !state.is_final());
        let Some((tenant, id)) = pending.or_else(|| self.some_delivery(|_| true)) else { return };
        self.world.inner().ledger.cancels.push(id);
        if let Ok(Some(_)) = self.app.cancel(tenant, id, WHO).await {
            self.world.count("cancel delivery");
        }
    }

    /// Events of a tenant that are there now and fit.
    fn events(&self, tenant: TenantNo, most: usize) -> Vec<EventId> {
        let state = self.disk.state();
        let recent = state.events.values().rev().filter(|row| row.tenant == tenant);
        recent.take(most).map(|row| row.id).collect()
    }

    pub(super) async fn erase(&self) {
        let tenant = self.any_tenant();
        let recent = self.events(tenant, 60);
        if recent.is_empty() {
            return;
        }
        let (what, events, name, scope) = {
            let now = self.app.clock.now();
            let mut inner = self.world.inner();
            match inner.dice.between(0, 3) {
                0 => {
                    let (from, to) = (now - Duration::from_secs(20), now);
                    drop(inner);
                    let state = self.disk.state();
                    let rows = state.events.values().rev().take(500);
                    let inside =
                        rows.filter(|row| row.tenant == tenant && (from..=to).contains(&row.accepted_at));
                    let events = inside.map(|row| row.id).collect();
                    (EraseWhat::Range { from, to }, events, "erase range", ErasedScope::Range(from, to))
                }
                1 => {
                    let subject = format!("holder {}", inner.dice.between(0, 50));
                    let named = inner.ledger.subjects.get(&(tenant, subject.clone())).cloned();
                    drop(inner);
                    let state = self.disk.state();
                    let stored = |id: &EventId| state.event_by_id(tenant, *id).is_some();
                    let events = named.unwrap_or_default().into_iter().filter(stored).collect();
                    (EraseWhat::Subject(subject), events, "erase subject", ErasedScope::Subject)
                }
                _ => {
                    let id = inner.dice.of(&recent);
                    (EraseWhat::Events(vec![id]), vec![id], "erase events", ErasedScope::Named)
                }
            }
        };
        let place = {
            let mut inner = self.world.inner();
            inner.ledger.erasures.push(Erased { tenant, events, scope, heard: None });
            inner.ledger.erasures.len() - 1
        };
        if self.app.erase(tenant, what, WHO).await.is_ok() {
            let mut inner = self.world.inner();
            let (seq, ms) = (inner.next_seq(), inner.ms());
            inner.coverage.count(name);
            inner.ledger.erasures[place].heard = Some((seq, ms));
        }
    }
}
