//! When deliveries were made, how they ended and how long they took: many rows, few columns.

use rusqlite::Connection;

use sealpost_core::id::TenantNo;
use sealpost_core::time::Timestamp;

use super::STEP;
use crate::history::DeliveryMeasure;
use crate::sqlite::listing::{self, List, Table};
use crate::sqlite::rows::{shown_state, state, timestamp};
use crate::sqlite::writer::WriteError;

/// One step for each read transaction, like [`super::deliveries::Search`].
pub(super) struct Measured {
    tenant: TenantNo,
    from: Timestamp,
    most: usize,
    below: Option<i64>,
    pub(super) found: Vec<DeliveryMeasure>,
}

impl Measured {
    pub(super) fn new(tenant: TenantNo, from: Timestamp, most: u32) -> Self {
        Self { tenant, from, most: most as usize, below: Some(i64::MAX), found: Vec::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= self.most || self.below.is_none()
    }

    pub(super) fn go_on(mut self, conn: &Connection) -> Result<Self, WriteError> {
        let Some(below) = self.below else { return Ok(self) };
        let (floor, _) = listing::seqs_between(conn, Table::Delivery, Some(self.from), None)?;
        if below <= floor {
            self.below = None;
            return Ok(self);
        }
        let step = listing::step(conn, List::DeliveriesOfTenant(self.tenant.0), below, floor, STEP)?;
        self.below = step.below;
        let mut statement = conn.prepare_cached(
            "SELECT d.created_at, d.state, d.reason, d.lane_epoch, w.lane_epoch, w.deleted_at IS NOT NULL,
                    d.claimer IS NOT NULL, d.took
             FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook WHERE d.seq = ?1",
        )?;
        for seq in step.seqs {
            let mut rows = statement.query([seq])?;
            let Some(row) = rows.next()? else { continue };
            let created_at = timestamp(row, 0)?;
            if created_at < self.from || self.found.len() >= self.most {
                continue;
            }
            let stored = state(row.get(1)?, row.get(2)?)?;
            let shown = shown_state(stored, (row.get(3)?, row.get(4)?), row.get(5)?, row.get(6)?);
            self.found.push(DeliveryMeasure { created_at, status: shown.status(), took_ms: row.get(7)? });
        }
        Ok(self)
    }
}
