//! Claiming and handing back.
//!
//! Nodes that claim the same lane at the same time pass over what the other is about to take.

use std::collections::{BTreeMap, HashMap, HashSet};

use sealpost_core::id::WebhookNo;
use sealpost_core::time::Timestamp;

use super::open::{SealedEvent, sealed_events};
use super::{ROWS_MAX, TICKET_COLUMNS, WAITING, destroy_if_forgetful, end_cancelled, ticket};
use crate::error::StoreError;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn, Proof, transaction};
use crate::postgres::registry::{LaneFacts, lane_facts};
use crate::postgres::{Shared, count};
use crate::queue::{Claim, ClaimTicket, ClaimedLane, Want};
use crate::rows;

/// Rows of an older epoch that one claim of a lane ends.
const STALE_ROWS: usize = 500;

#[derive(Default)]
struct Claimed {
    /// As wanted: each lane's claims with the numbers of their events.
    lanes: Vec<Vec<(ClaimTicket, i64)>>,
    next_due: HashMap<i64, i64>,
    events: HashMap<i64, SealedEvent>,
    facts: HashMap<WebhookNo, LaneFacts>,
    /// Rows of an older epoch that were ended.
    ended: u64,
}

pub(super) async fn claim(
    shared: &Shared,
    wants: &[Want],
    now: Timestamp,
    most_bytes: usize,
) -> Result<Vec<ClaimedLane>, StoreError> {
    let claimed = transaction!(shared, |conn| claim_all(conn, shared, wants, now, most_bytes).await)?;
    let taken = claimed.lanes.iter().map(Vec::len).sum::<usize>() as u64;
    count(&shared.tally.claims, taken);
    count(&shared.tally.delivery_writes, taken + claimed.ended);
    let tickets = || claimed.lanes.iter().flatten();
    let sealed: Option<Vec<SealedEvent>> =
        tickets().map(|(_, event)| claimed.events.get(event).cloned()).collect();
    let opened = match sealed.ok_or(rows::corrupt("event of a delivery")) {
        Ok(sealed) => shared.open_events(sealed).await,
        Err(error) => Err(error),
    };
    let mut opened = match opened {
        Ok(opened) => opened.into_iter(),
        Err(error) => {
            super::give_back(shared, tickets().map(|(ticket, _)| *ticket).collect(), now).await;
            return Err(error);
        }
    };
    let mut lanes = Vec::with_capacity(wants.len());
    for (want, rows) in wants.iter().zip(&claimed.lanes) {
        let claims = rows.iter().zip(&mut opened);
        let claims =
            claims.map(|((ticket, _), (event, open))| Claim { ticket: *ticket, event, open }).collect();
        let facts = claimed.facts.get(&want.lane.webhook());
        let takes = facts.is_some_and(|facts| !facts.disabled && !facts.deleted);
        let next_due = claimed.next_due.get(&want.lane.0).filter(|_| takes);
        lanes.push(ClaimedLane {
            lane: want.lane,
            claims,
            next_due: next_due.map(|due| Timestamp::from_millis(*due)),
        });
    }
    Ok(lanes)
}

async fn claim_all(
    conn: &Conn,
    shared: &Shared,
    wants: &[Want],
    now: Timestamp,
    most_bytes: usize,
) -> Result<Claimed, Fault> {
    let webhooks: Vec<i64> = wants.iter().map(|want| want.lane.webhook().0).collect();
    let mut claimed = Claimed {
        lanes: vec![Vec::new(); wants.len()],
        facts: lane_facts(conn, &webhooks).await?,
        ..Claimed::default()
    };
    let mut bytes_left = i64::try_from(most_bytes).unwrap_or(i64::MAX);
    let mut seen = HashSet::new();
    // Where in the wants each lane stands; one that is named twice is claimed once.
    let mut open: Vec<usize> = (0..wants.len()).filter(|at| seen.insert(wants[*at].lane)).collect();
    let mut stale_left: Vec<usize> = vec![STALE_ROWS; wants.len()];
    while !open.is_empty() {
        open = round(conn, wants, &open, now, &mut bytes_left, &mut stale_left, &mut claimed).await?;
    }
    let seqs: Vec<i64> = claimed.lanes.iter().flatten().map(|(ticket, _)| ticket.delivery.0).collect();
    if let Some((ticket, _)) = claimed.lanes.iter().flatten().next() {
        conn.prove(Proof::Claim(ticket.delivery.0, ticket.fence, shared.node.no()));
        let sql = "UPDATE delivery SET attempt = attempt + 1, fence = fence + 1, due = NULL, claimer = $2
                   WHERE seq = ANY($1)";
        conn.run(sql, &[&seqs, &shared.node.no()]).await?;
        let events: Vec<i64> = claimed.lanes.iter().flatten().map(|(_, event)| *event).collect();
        claimed.events = sealed_events(conn, &events).await?;
    }
    let lanes: Vec<i64> = wants.iter().map(|want| want.lane.0).collect();
    let sql = format!(
        "SELECT l.lane, n.due FROM unnest($1::bigint[]) AS l (lane) CROSS JOIN LATERAL (
             SELECT due FROM delivery WHERE lane = l.lane AND {WAITING} ORDER BY due LIMIT 1) n"
    );
    for row in conn.rows(&sql, &[&lanes]).await? {
        claimed.next_due.insert(row.col(0)?, row.col(1)?);
    }
    Ok(claimed)
}

/// Looks at the head of each of these lanes, and takes what may be taken. Lanes with rows of an older epoch at their head
/// are looked at again: those rows end here, a bounded number of them, so that they cannot hide what waits behind them.
async fn round(
    conn: &Conn,
    wants: &[Want],
    open: &[usize],
    now: Timestamp,
    bytes_left: &mut i64,
    stale_left: &mut [usize],
    claimed: &mut Claimed,
) -> Result<Vec<usize>, Fault> {
    let most = |at: usize| (wants[at].most.min(ROWS_MAX) as usize).saturating_sub(claimed.lanes[at].len());
    let (mut places, mut lanes, mut mosts): (Vec<i64>, Vec<i64>, Vec<i64>) = Default::default();
    for at in open {
        places.push(*at as i64);
        lanes.push(wants[*at].lane.0);
        mosts.push(most(*at) as i64);
    }
    let sql = format!(
        "SELECT {TICKET_COLUMNS}, d.event, e.bytes, w.place FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
             AS w (place, lane, most)
         CROSS JOIN LATERAL (
             SELECT * FROM delivery WHERE lane = w.lane AND due <= $4 AND {WAITING}
             ORDER BY due, seq LIMIT w.most FOR UPDATE SKIP LOCKED) d
         JOIN event e ON e.seq = d.event
         ORDER BY w.place, d.due, d.seq"
    );
    let mut found: BTreeMap<usize, Vec<(ClaimTicket, i64, i64)>> = BTreeMap::new();
    for row in conn.rows(&sql, &[&places, &lanes, &mosts, &now.millis()]).await? {
        let place: i64 = row.col(10)?;
        let place = usize::try_from(place).map_err(|_| rows::corrupt("place"))?;
        found.entry(place).or_default().push((ticket(&row)?, row.col(8)?, row.col(9)?));
    }
    let mut again = Vec::new();
    for (at, rows) in found {
        let Some(facts) = claimed.facts.get(&wants[at].lane.webhook()).copied() else { continue };
        let is_stale =
            |ticket: &ClaimTicket| ticket.lane_epoch != facts.epoch || facts.disabled || facts.deleted;
        let mut stale: Vec<(i64, i64)> = Vec::new();
        let mut full = false;
        for (mut ticket, event, bytes) in rows {
            if is_stale(&ticket) {
                if stale_left[at] == 0 {
                    full = true;
                    break;
                }
                stale_left[at] -= 1;
                stale.push((ticket.delivery.0, event));
                continue;
            }
            if bytes > *bytes_left {
                full = true;
                break;
            }
            *bytes_left -= bytes;
            ticket.attempt = ticket.attempt.checked_add(1).ok_or(rows::corrupt("number of attempts"))?;
            ticket.fence += 1;
            claimed.lanes[at].push((ticket, event));
        }
        if stale.is_empty() {
            continue;
        }
        claimed.ended += stale.len() as u64;
        let (seqs, events): (Vec<i64>, Vec<i64>) = stale.into_iter().unzip();
        end_cancelled(conn, &seqs, rows::stale_reason(facts.deleted), now).await?;
        if facts.forgetful {
            destroy_if_forgetful(conn, &events, now).await?;
        }
        let left = (wants[at].most.min(ROWS_MAX) as usize).saturating_sub(claimed.lanes[at].len());
        // What was taken in this round is still waiting in its row, and would be found again.
        if !full && left > 0 {
            hold(conn, &claimed.lanes[at]).await?;
            again.push(at);
        }
    }
    Ok(again)
}

/// Takes rows out of the index `waiting` before the end of the transaction claims them.
async fn hold(conn: &Conn, taken: &[(ClaimTicket, i64)]) -> Result<(), Fault> {
    let seqs: Vec<i64> = taken.iter().map(|(ticket, _)| ticket.delivery.0).collect();
    if seqs.is_empty() {
        return Ok(());
    }
    conn.run("UPDATE delivery SET due = NULL WHERE seq = ANY($1)", &[&seqs]).await.map(drop)
}

/// Back to waiting, as if never claimed; but what was cancelled meanwhile ends.
pub(super) async fn unclaim(
    shared: &Shared,
    tickets: &[ClaimTicket],
    due: Timestamp,
) -> Result<(), StoreError> {
    let written = transaction!(shared, |conn| unclaim_all(conn, tickets, due).await)?;
    count(&shared.tally.delivery_writes, written);
    shared.bell.left(tickets.iter().map(|ticket| ticket.lane));
    Ok(())
}

async fn unclaim_all(conn: &Conn, tickets: &[ClaimTicket], due: Timestamp) -> Result<u64, Fault> {
    let seqs: Vec<i64> = tickets.iter().map(|ticket| ticket.delivery.0).collect();
    let sql = "SELECT d.seq, d.attempt, d.fence, d.claimer IS NOT NULL, d.event, d.cancel, d.lane_epoch, w.lane_epoch,
                      w.deleted_at IS NOT NULL, w.retention = 1
               FROM delivery d JOIN webhook w ON w.no = d.webhook
               WHERE d.seq = ANY($1) ORDER BY d.seq FOR UPDATE OF d";
    let mut back = Vec::new();
    for row in conn.rows(sql, &[&seqs]).await? {
        let (seq, attempt, fence): (i64, u8, i64) = (row.col(0)?, row.code(1)?, row.col(2)?);
        let held = row.col::<bool>(3)?
            && tickets
                .iter()
                .any(|ticket| (ticket.delivery.0, ticket.attempt, ticket.fence) == (seq, attempt, fence));
        if !held {
            continue;
        }
        back.push(seq);
        let asked = rows::cancel_reason(row.code(5)?)?;
        let stale = row.col::<i64>(6)? < row.col::<i64>(7)?;
        let reason = asked.or(stale.then_some(rows::stale_reason(row.col(8)?)));
        let (event, forgetful): (i64, bool) = (row.col(4)?, row.col(9)?);
        if let Some(reason) = reason {
            end_cancelled(conn, &[seq], reason, due).await?;
            if forgetful {
                destroy_if_forgetful(conn, &[event], due).await?;
            }
        }
    }
    let sql = "UPDATE delivery SET attempt = attempt - 1, fence = fence + 1, claimer = NULL, cancel = 0,
                      due = CASE WHEN state = 0 THEN $2::bigint END
               WHERE seq = ANY($1)";
    conn.run(sql, &[&back, &due.millis()]).await?;
    Ok(back.len() as u64)
}
