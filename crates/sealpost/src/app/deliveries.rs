//! Looking at deliveries and repairing them: redeliver, redeliver many, cancel.

use sealpost_core::audit::Action;
use sealpost_core::delivery::{CancelReason, DeliveryRecord, State};
use sealpost_core::id::{DeliveryId, TenantNo, WebhookId};
use sealpost_store::StoreError;
use sealpost_store::history::{BulkFilter, BulkRedelivery, DeliveryDetail, DeliveryFilter, Redelivered};
use sealpost_store::page::{Page, PageRequest};

use super::{App, Ready};

impl App {
    pub async fn deliveries(
        &self,
        tenant: TenantNo,
        filter: DeliveryFilter,
        page: PageRequest<DeliveryId>,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        self.store.deliveries(tenant, filter, page).await
    }

    pub async fn delivery(
        &self,
        tenant: TenantNo,
        id: DeliveryId,
    ) -> Result<Option<DeliveryDetail>, StoreError> {
        self.store.delivery(tenant, id).await
    }

    /// A new delivery of the same event to the same webhook.
    pub async fn redeliver(
        &self,
        tenant: TenantNo,
        id: DeliveryId,
        who: &str,
    ) -> Result<Redelivered, StoreError> {
        let now = self.clock.now();
        let new = DeliveryId::new(now, self.clock.chance());
        let answer = self.store.redeliver(tenant, id, new, self.by(who, Action::Redeliver)).await?;
        if let Redelivered::Created { lane, .. } = answer {
            self.wake(tenant, lane).await?;
        }
        Ok(answer)
    }

    /// Many of one webhook; upkeep makes them, in a lane beside the ordinary one.
    pub async fn redeliver_all(
        &self,
        tenant: TenantNo,
        webhook: WebhookId,
        filter: BulkFilter,
        dry_run: bool,
        who: &str,
    ) -> Result<BulkRedelivery, StoreError> {
        let by = self.by(who, Action::RedeliverAll);
        let answer = self.store.redeliver_all(tenant, webhook, filter, dry_run, by).await?;
        self.lanes.ring();
        Ok(answer)
    }

    /// `None`: no such delivery.
    pub async fn cancel(
        &self,
        tenant: TenantNo,
        id: DeliveryId,
        who: &str,
    ) -> Result<Option<State>, StoreError> {
        let by = self.by(who, Action::CancelDelivery);
        let cancel = || self.store.cancel(tenant, id, CancelReason::ByHand, by.clone());
        let state = cancel().await?;
        if state == Some(State::Pending) {
            // It is claimed. If it is only parked it has not begun, and giving it back ends it.
            let parked = self.lanes.withdraw(None, |ready| ready.ticket.id == id);
            if !parked.is_empty() {
                self.unpark(parked).await?;
                return cancel().await;
            }
        }
        Ok(state)
    }

    /// Gives parked claims back to the disk, attempts included. They are due at once; what was cancelled meanwhile ends.
    /// Those that the store does not take now are the engine's, which asks again; nobody else knows of them.
    pub async fn unpark(&self, parked: Vec<Ready>) -> Result<(), StoreError> {
        if parked.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let tickets = parked.iter().map(|ready| ready.ticket).collect();
        if let Err(error) = self.store.unclaim(tickets, now).await {
            self.lanes.hand_back(parked);
            return Err(error);
        }
        for ready in &parked {
            self.lanes.note_waiting(ready.ticket.lane, &ready.target.lane, now, now);
        }
        Ok(())
    }

    /// Tells the engine that a lane has work on disk.
    pub async fn wake(&self, tenant: TenantNo, lane: sealpost_core::lane::LaneNo) -> Result<(), StoreError> {
        let now = self.clock.now();
        if let Some(target) = self.tenant(tenant).await?.target(lane.webhook()) {
            self.lanes.note_waiting(lane, &target.lane, now, now);
        }
        Ok(())
    }
}
