//! Making deliveries again: one at once, many by a stored job that upkeep works off.

use std::collections::HashSet;

use serde_json::json;

use sealpost_core::audit::By;
use sealpost_core::delivery::Status;
use sealpost_core::id::{DeliveryId, TenantNo, WebhookId, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;

use super::STEP;
use crate::audit::Change;
use crate::history::{BulkFilter, BulkRedelivery, Redelivered};
use crate::postgres::Shared;
use crate::postgres::audit as log;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};

/// A delivery that is to be inserted beside those that accept made.
pub(in crate::postgres) struct Again {
    pub(in crate::postgres) id: DeliveryId,
    pub(in crate::postgres) tenant: i64,
    pub(in crate::postgres) event: i64,
    pub(in crate::postgres) webhook: i64,
    pub(in crate::postgres) lane: LaneNo,
    pub(in crate::postgres) lane_epoch: i64,
    pub(in crate::postgres) job: Option<i64>,
}

/// Inserts them waiting and due; one whose job made one of its event already is left out. How many were inserted.
pub(in crate::postgres) async fn insert(
    conn: &Conn,
    shared: &Shared,
    again: &[Again],
    now: Timestamp,
) -> Result<u64, Fault> {
    if again.is_empty() {
        return Ok(0);
    }
    let first = shared.numbers.deliveries(&shared.pool, again.len()).await?;
    let seqs: Vec<i64> = (first..first + again.len() as i64).collect();
    let ids: Vec<&[u8]> = again.iter().map(|again| again.id.bytes().as_slice()).collect();
    let tenants: Vec<i64> = again.iter().map(|again| again.tenant).collect();
    let events: Vec<i64> = again.iter().map(|again| again.event).collect();
    let webhooks: Vec<i64> = again.iter().map(|again| again.webhook).collect();
    let lanes: Vec<i64> = again.iter().map(|again| again.lane.0).collect();
    let epochs: Vec<i64> = again.iter().map(|again| again.lane_epoch).collect();
    let jobs: Vec<Option<i64>> = again.iter().map(|again| again.job).collect();
    let sql = "WITH made AS (
                   INSERT INTO delivery (seq, id, tenant, event, webhook, lane, lane_epoch, created_at, state, attempt,
                                         fence, due, job)
                   SELECT seq, id, tenant, event, webhook, lane, lane_epoch, $9::bigint, 0, 0, 0, $9::bigint, job
                   FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                               $7::bigint[], $8::bigint[])
                        AS a (seq, id, tenant, event, webhook, lane, lane_epoch, job)
                   ON CONFLICT (job, event) WHERE job IS NOT NULL DO NOTHING RETURNING event, seq)
               INSERT INTO redelivery (event, delivery) SELECT event, seq FROM made";
    let now = now.millis();
    conn.run(sql, &[&seqs, &ids, &tenants, &events, &webhooks, &lanes, &epochs, &jobs, &now]).await
}

pub(super) async fn one(
    conn: &Conn,
    shared: &Shared,
    tenant: TenantNo,
    source: DeliveryId,
    new: DeliveryId,
    by: &By,
) -> Result<Redelivered, Fault> {
    // The payload's row is held, so that retention or an erasure does not take it at the same time.
    let sql = "SELECT d.event, d.webhook, w.lane_epoch, w.disabled OR w.deleted_at IS NOT NULL, e.payload
               FROM delivery d JOIN webhook w ON w.no = d.webhook JOIN event e ON e.seq = d.event
               WHERE d.id = $1 AND d.tenant = $2";
    let Some(row) = conn.optional(sql, &[&source.bytes().as_slice(), &tenant.0]).await? else {
        return Ok(Redelivered::NotFound);
    };
    let (event, webhook, lane_epoch): (i64, i64, i64) = (row.col(0)?, row.col(1)?, row.col(2)?);
    let (unavailable, payload): (bool, i64) = (row.col(3)?, row.col(4)?);
    let kept = "SELECT 1 FROM payload WHERE seq = $1 AND gone = 0 FOR SHARE";
    if conn.optional(kept, &[&payload]).await?.is_none() {
        return Ok(Redelivered::PayloadGone);
    }
    if unavailable {
        return Ok(Redelivered::WebhookUnavailable);
    }
    let lane = LaneNo::ordinary(WebhookNo(webhook));
    let again = Again { id: new, tenant: tenant.0, event, webhook, lane, lane_epoch, job: None };
    insert(conn, shared, &[again], by.at).await?;
    let change = Change::made(json!({"delivery": new}));
    log::insert(conn, tenant, by, &source.to_string(), &change).await?;
    Ok(Redelivered::Created { id: new, lane })
}

/// What a bulk redelivery takes, `d` being the delivery, `w` its webhook and `$2` the state: without one all that have
/// ended; what is pending will be sent anyway.
pub(in crate::postgres) const CHOSEN: &str =
    "CASE WHEN d.state = 0 AND d.claimer IS NULL AND d.lane_epoch < w.lane_epoch
         THEN coalesce($2::smallint, 3) = 3 ELSE d.state = coalesce($2, nullif(d.state, 0)) END";

/// What a job would make, counted in steps.
pub(super) struct Count {
    webhook: i64,
    lane_epoch: i64,
    status: Option<i16>,
    from: i64,
    /// Fixed now: what the job makes itself comes after.
    to: i64,
    filter: BulkFilter,
    /// Each event once, however often it was delivered.
    events: HashSet<i64>,
}

impl Count {
    pub(super) async fn make(
        conn: &Conn,
        tenant: TenantNo,
        webhook: WebhookId,
        filter: &BulkFilter,
        by: &By,
    ) -> Result<Result<Self, BulkRedelivery>, Fault> {
        let sql = "SELECT no, lane_epoch, disabled, deleted_at IS NOT NULL FROM webhook WHERE id = $1 AND tenant = $2";
        let Some(row) = conn.optional(sql, &[&webhook.bytes().as_slice(), &tenant.0]).await? else {
            return Ok(Err(BulkRedelivery::NotFound));
        };
        let (disabled, deleted): (bool, bool) = (row.col(2)?, row.col(3)?);
        if deleted {
            return Ok(Err(BulkRedelivery::NotFound));
        }
        if disabled {
            return Ok(Err(BulkRedelivery::WebhookUnavailable));
        }
        let mut count = Self {
            webhook: row.col(0)?,
            lane_epoch: row.col(1)?,
            status: filter.status.map(|status| status.code().into()),
            from: filter.from.map_or(i64::MIN, Timestamp::millis),
            to: filter.to.map_or(by.at.millis(), Timestamp::millis).min(by.at.millis()),
            filter: filter.clone(),
            events: HashSet::new(),
        };
        count.look(conn).await?;
        Ok(Ok(count))
    }

    async fn look(&mut self, conn: &Conn) -> Result<(), Fault> {
        let sql = format!(
            "SELECT s.created_at, s.seq, s.event, s.chosen AND p.gone = 0 FROM (
                 SELECT d.created_at, d.seq, d.event, {CHOSEN} AS chosen
                 FROM delivery d JOIN webhook w ON w.no = d.webhook
                 WHERE d.webhook = $1 AND d.created_at >= $3 AND d.created_at <= $4 AND (d.created_at, d.seq) > ($5, $6)
                 ORDER BY d.created_at, d.seq LIMIT $7) s
             JOIN event e ON e.seq = s.event JOIN payload p ON p.seq = e.payload
             ORDER BY s.created_at, s.seq"
        );
        let mut after = (i64::MIN, i64::MIN);
        loop {
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
                [&self.webhook, &self.status, &self.from, &self.to, &after.0, &after.1, &STEP];
            let rows = conn.rows(&sql, &params).await?;
            for row in &rows {
                after = (row.col(0)?, row.col(1)?);
                if row.col::<Option<bool>>(3)? == Some(true) {
                    self.events.insert(row.col(2)?);
                }
            }
            if (rows.len() as i64) < STEP {
                return Ok(());
            }
        }
    }

    pub(super) fn answer(&self) -> BulkRedelivery {
        let lane = LaneNo::replay(WebhookNo(self.webhook));
        BulkRedelivery::Counted { count: self.events.len() as u64, lane }
    }

    /// Stores the job, unless the webhook was disabled since.
    pub(super) async fn make_job(
        &self,
        conn: &Conn,
        tenant: TenantNo,
        webhook: WebhookId,
        by: &By,
    ) -> Result<BulkRedelivery, Fault> {
        let sql =
            "SELECT 1 FROM webhook WHERE no = $1 AND lane_epoch = $2 AND NOT disabled AND deleted_at IS NULL
                   FOR SHARE";
        if conn.optional(sql, &[&self.webhook, &self.lane_epoch]).await?.is_none() {
            return Ok(BulkRedelivery::WebhookUnavailable);
        }
        let count = self.events.len() as i64;
        if count > 0 {
            let sql = "INSERT INTO replay_job (webhook, lane_epoch, from_at, to_at, status, next_at, next_seq, count)
                       VALUES ($1, $2, $3, $4, $5, $6, $6, $7)";
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
                [&self.webhook, &self.lane_epoch, &self.from, &self.to, &self.status, &i64::MIN, &count];
            conn.run(sql, &params).await?;
        }
        let status = self.filter.status.map(Status::as_str);
        let chosen =
            json!({"from": self.filter.from, "to": self.filter.to, "status": status, "count": count});
        log::insert(conn, tenant, by, &webhook.to_string(), &Change::made(chosen)).await?;
        Ok(self.answer())
    }
}
