//! Looking at deliveries and repairing them: redeliver, redeliver many, cancel.

use sealpost_core::delivery::{CancelReason, DeliveryRecord, State};
use sealpost_core::id::{DeliveryId, TenantNo, WebhookId};
use sealpost_store::StoreError;
use sealpost_store::history::{BulkFilter, BulkRedelivery, DeliveryDetail, DeliveryFilter, Redelivered};
use sealpost_store::page::{Page, PageRequest};

use super::App;

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
    pub async fn redeliver(&self, tenant: TenantNo, id: DeliveryId) -> Result<Redelivered, StoreError> {
        let now = self.clock.now();
        let new = DeliveryId::new(now, self.clock.chance());
        let answer = self.store.redeliver(tenant, id, new, now).await?;
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
    ) -> Result<BulkRedelivery, StoreError> {
        let answer = self.store.redeliver_all(tenant, webhook, filter, dry_run, self.clock.now()).await?;
        self.lanes.ring();
        Ok(answer)
    }

    /// `None`: no such delivery.
    pub async fn cancel(&self, tenant: TenantNo, id: DeliveryId) -> Result<Option<State>, StoreError> {
        self.store.cancel(tenant, id, CancelReason::ByHand, self.clock.now()).await
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
