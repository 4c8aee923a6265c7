//! Everything of one request id: that of a call was drawn for it, that of an event or a delivery is its own id.

use rusqlite::Connection;

use sealpost_core::analytics::{RequestId, Step};

use super::source::{CALL, DELIVERY, DELIVERY_COLUMNS, call, delivery_of};
use crate::sqlite::writer::WriteError;
use crate::told::{Row, Wanted, end_of, tell_attempt};

pub(super) fn look_up(conn: &Connection, wanted: &mut Wanted, request: RequestId) -> Result<(), WriteError> {
    let (tenant, id) = (wanted.tenant.0, request.bytes());
    let mut statement =
        conn.prepare_cached(&format!("SELECT {CALL} FROM analytic_call WHERE tenant = ?1 AND request = ?2"))?;
    let mut rows = statement.query((tenant, id))?;
    while let Some(row) = rows.next()? {
        let (found, client) = call(row)?;
        wanted.call(found, client);
    }

    let mut statement = conn.prepare_cached(
        "SELECT seq, accepted_at, derived_of IS NOT NULL FROM event WHERE tenant = ?1 AND id = ?2",
    )?;
    let mut rows = statement.query((tenant, id))?;
    if let Some(row) = rows.next()? {
        wanted.tell(id, Step::Receive, row.get(2)?, row.get(1)?, Row::Event { seq: row.get(0)? });
    }

    // The first attempt from the delivery's row, the others from their own.
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {DELIVERY}, 1, d.started, d.took FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook \
         WHERE d.id = ?2 AND w.tenant = ?1 AND d.started IS NOT NULL \
         UNION ALL \
         SELECT {DELIVERY}, a.number, a.started, a.took FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook \
         CROSS JOIN attempt a ON a.delivery = d.seq WHERE d.id = ?2 AND w.tenant = ?1 AND a.number > 1"
    ))?;
    let mut rows = statement.query((tenant, id))?;
    while let Some(row) = rows.next()? {
        let (number, started) = (row.get(DELIVERY_COLUMNS)?, row.get(DELIVERY_COLUMNS + 1)?);
        let end = end_of(started, row.get(DELIVERY_COLUMNS + 2)?);
        tell_attempt(wanted, &delivery_of(row)?, number, started, end);
    }
    Ok(())
}
