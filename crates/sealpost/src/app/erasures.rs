//! Erasing payloads: by event, by subject, by time.

use sealpost_core::audit::Action;
use sealpost_core::id::{ErasureId, EventId, TenantNo};
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::upkeep::{Erasure, ErasureScope};

use super::App;

/// Whose payloads, as a caller names them.
#[derive(Clone, Debug, PartialEq)]
pub enum EraseWhat {
    Subject(String),
    Events(Vec<EventId>),
    Range { from: Timestamp, to: Timestamp },
}

impl App {
    /// Answers when nothing in the store opens any more. Returns the erasure's id and how many events it met.
    pub async fn erase(
        &self,
        tenant: TenantNo,
        what: EraseWhat,
        who: &str,
    ) -> Result<(ErasureId, u64), StoreError> {
        let entry = self.tenant(tenant).await?;
        let now = self.clock.now();
        let id = ErasureId::new(now, self.clock.chance());
        let scope = match what {
            EraseWhat::Subject(subject) => ErasureScope::Subject(entry.hasher.subject(&subject)),
            EraseWhat::Events(ids) => ErasureScope::Events(ids),
            EraseWhat::Range { from, to } => ErasureScope::Range { from, to },
        };
        let count =
            self.store.erase(Erasure { id, tenant, scope, by: self.by(who, Action::ErasePayloads) }).await?;
        // What is parked has not begun: back on disk, where the erased ones end.
        let parked = self.lanes.withdraw(None, |ready| ready.tenant.tenant.no == tenant);
        self.unpark(parked).await?;
        Ok((id, count))
    }
}
