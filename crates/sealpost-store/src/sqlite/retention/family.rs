//! An event with the events derived from it: what shares one payload, and so ends, is erased and is forgotten
//! together.

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::delivery::{CancelReason, State};
use sealpost_core::tenant::Retention;
use sealpost_core::time::Timestamp;

use crate::sqlite::rows::{shown_state, state};
use crate::sqlite::writer::WriteError;

/// `payload.gone`, beside 0 for kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::sqlite) enum Gone {
    Pruned = 1,
    Erased = 2,
}

#[derive(Debug)]
pub(in crate::sqlite) struct Family {
    /// Number of the payload and of the event it came with.
    pub(in crate::sqlite) seq: i64,
    pub(in crate::sqlite) tenant: i64,
    pub(in crate::sqlite) accepted_at: i64,
    pub(in crate::sqlite) bytes: u64,
    pub(in crate::sqlite) members: Vec<Member>,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::sqlite) struct Member {
    pub(in crate::sqlite) event: i64,
    /// Deliveries that accept made: this many, from this number on.
    first: i64,
    count: i64,
}

/// What stands between a payload and its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::sqlite) enum KeptUntil {
    /// All deliveries ended.
    At(i64),
    /// Until the last of them ends.
    Pending,
}

/// Deliveries of a member: `?1` first, `?2` behind the last of those that accept made, `?3` event.
const DELIVERIES: &str = "(SELECT seq FROM delivery WHERE seq >= ?1 AND seq < ?2 \
                           UNION ALL SELECT delivery FROM redelivery WHERE event = ?3)";

impl Member {
    fn range(self) -> (i64, i64, i64) {
        (self.first, self.first + self.count, self.event)
    }

    /// Up to `most` deliveries, with their webhooks.
    pub(in crate::sqlite) fn deliveries(
        self,
        conn: &Connection,
        most: i64,
    ) -> rusqlite::Result<Vec<(i64, i64)>> {
        let (first, behind, event) = self.range();
        let sql = format!(
            "SELECT d.seq, d.webhook FROM {DELIVERIES} s CROSS JOIN delivery d ON d.seq = s.seq LIMIT ?4"
        );
        conn.prepare_cached(&sql)?
            .query_map((first, behind, event, most), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    }
}

impl Family {
    /// The family whose payload has this number.
    pub(in crate::sqlite) fn load(conn: &Connection, seq: i64) -> rusqlite::Result<Option<Self>> {
        let family = conn
            .prepare_cached(
                "SELECT tenant, accepted_at, bytes, first_delivery, deliveries FROM event WHERE seq = ?1",
            )?
            .query_row([seq], |row| {
                Ok(Self {
                    seq,
                    tenant: row.get(0)?,
                    accepted_at: row.get(1)?,
                    bytes: row.get::<_, i64>(2)?.unsigned_abs(),
                    members: vec![Member { event: seq, first: row.get(3)?, count: row.get(4)? }],
                })
            })
            .optional()?;
        let Some(mut family) = family else { return Ok(None) };
        let mut derived = conn.prepare_cached(
            "SELECT seq, first_delivery, deliveries FROM event WHERE derived_of = ?1 ORDER BY seq",
        )?;
        let mut rows = derived.query([seq])?;
        while let Some(row) = rows.next()? {
            family.members.push(Member { event: row.get(0)?, first: row.get(1)?, count: row.get(2)? });
        }
        Ok(Some(family))
    }

    /// Rows of deliveries, redeliveries aside.
    pub(in crate::sqlite) fn delivery_count(&self) -> u64 {
        self.members.iter().map(|member| member.count.unsigned_abs()).sum()
    }

    pub(in crate::sqlite) fn has_pending(&self, conn: &Connection) -> rusqlite::Result<bool> {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {DELIVERIES} s CROSS JOIN delivery d ON d.seq = s.seq WHERE d.state = 0)"
        );
        for member in &self.members {
            if conn.prepare_cached(&sql)?.query_row(member.range(), |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Each delivery keeps the payload for a time from its own end on; the last one counts. An event that nobody
    /// is subscribed to counts as delivered when it was accepted.
    pub(in crate::sqlite) fn kept_until(
        &self,
        conn: &Connection,
        retention: &Retention,
    ) -> Result<KeptUntil, WriteError> {
        let after_delivered = millis(retention.payload_after_delivered);
        let after_failed = millis(retention.payload_after_failed);
        let sql = format!(
            "SELECT d.state, w.retention,
                    max(d.created_at, ifnull(d.started + d.took, 0), ifnull(d.due, 0),
                        ifnull((SELECT max(a.started + a.took) FROM attempt a WHERE a.delivery = d.seq), 0))
             FROM {DELIVERIES} s CROSS JOIN delivery d ON d.seq = s.seq CROSS JOIN webhook w ON w.no = d.webhook"
        );
        let mut until: Option<i64> = None;
        for member in &self.members {
            let mut statement = conn.prepare_cached(&sql)?;
            let mut rows = statement.query(member.range())?;
            while let Some(row) = rows.next()? {
                let (status, forgetful, ended): (i64, bool, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let keep = match (status, forgetful) {
                    (0, _) => return Ok(KeptUntil::Pending),
                    (_, true) => 0,
                    (1, false) => after_delivered,
                    (_, false) => after_failed,
                };
                until = until.max(Some(ended.saturating_add(keep)));
            }
        }
        Ok(KeptUntil::At(until.unwrap_or(self.accepted_at.saturating_add(after_delivered))))
    }

    /// Overwrites the salt, the sealed payload and every response excerpt, then lets them go. `false`: they were
    /// gone already.
    pub(in crate::sqlite) fn destroy(&self, conn: &Connection, gone: Gone) -> rusqlite::Result<bool> {
        // In place first: a cell of the same length is written over where it lies, overflow pages included.
        let overwritten = conn
            .prepare_cached(
                "UPDATE payload SET salt = zeroblob(length(salt)), sealed = zeroblob(length(sealed))
                 WHERE seq = ?1 AND gone = 0",
            )?
            .execute([self.seq])?;
        conn.prepare_cached(
            "UPDATE payload SET salt = NULL, sealed = NULL, gone = max(gone, ?2), until = NULL WHERE seq = ?1",
        )?
        .execute((self.seq, gone as i64))?;
        for member in &self.members {
            let excerpts = format!("WHERE salt IS NOT NULL AND delivery IN {DELIVERIES}");
            for change in [
                "salt = zeroblob(length(salt)), excerpt = zeroblob(length(excerpt))",
                "salt = NULL, excerpt = NULL",
            ] {
                conn.prepare_cached(&format!("UPDATE attempt SET {change} {excerpts}"))?
                    .execute(member.range())?;
            }
        }
        Ok(overwritten > 0)
    }

    /// Ends what is pending; what is being sent right now is marked, so that it is not tried again. Returns the
    /// rows written.
    pub(in crate::sqlite) fn cancel_pending(
        &self,
        conn: &Connection,
        reason: CancelReason,
        now: Timestamp,
    ) -> Result<u64, WriteError> {
        let sql = format!(
            "SELECT d.seq, d.reason, d.lane_epoch, w.lane_epoch, w.deleted_at IS NOT NULL, d.claimer IS NOT NULL
             FROM {DELIVERIES} s CROSS JOIN delivery d ON d.seq = s.seq CROSS JOIN webhook w ON w.no = d.webhook
             WHERE d.state = 0"
        );
        let mut written = 0;
        for member in &self.members {
            let mut statement = conn.prepare_cached(&sql)?;
            let mut rows = statement.query(member.range())?;
            let mut pending: Vec<(i64, State, bool)> = Vec::new();
            while let Some(row) = rows.next()? {
                let claimed: bool = row.get(5)?;
                let stored = state(0, row.get(1)?)?;
                let shown = shown_state(stored, (row.get(2)?, row.get(3)?), row.get(4)?, claimed);
                pending.push((row.get(0)?, shown, claimed));
            }
            drop(rows);
            for (seq, shown, claimed) in pending {
                if claimed {
                    conn.prepare_cached("UPDATE delivery SET cancel = ?2 WHERE seq = ?1")?
                        .execute((seq, reason.code()))?;
                } else {
                    // A row of an older epoch was cancelled before, for a reason of its own.
                    let end = if shown.is_final() { shown } else { State::Cancelled(reason) };
                    conn.prepare_cached(
                        "UPDATE delivery SET state = ?2, reason = ?3, due = ?4, fence = fence + 1 WHERE seq = ?1",
                    )?
                    .execute((seq, end.status().code(), end.reason_code(), now.millis()))?;
                }
                written += 1;
            }
        }
        Ok(written)
    }
}

pub(in crate::sqlite) fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
