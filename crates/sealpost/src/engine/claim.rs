//! Work on disk: what an earlier process left, and what is due.

use std::sync::Arc;
use std::time::Duration;

use sealpost_core::delivery::FailReason;
use sealpost_core::lane::LaneNo;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::queue::{Claim, ClaimedLane, Next, Settled, Want};

use super::Shared;
use super::send::{alert, cut_off, give_back, hand_back, settle, unsendable};
use crate::app::Ready;
use crate::app::lanes::{Grant, Reservation};
use crate::app::sight::Term;

/// Lanes asked for in one round.
const LANES_PER_ROUND: usize = 64;
/// Payload bytes of one round.
const BYTES_PER_ROUND: usize = 8 * 1024 * 1024;
/// Orphans and lanes read at once.
const SLICE: u32 = 500;
/// Nothing is due: look again after this even if nobody rang.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// What was done with the claims of an earlier process.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    pub(super) unknown: u64,
    pub(super) handed_back: u64,
    /// When the attempts that were cut off fall due again.
    pub(super) again_at: Vec<Timestamp>,
}

/// Takes up the claims of an earlier process: those that certainly never began are handed back, the attempts of the
/// others end as `unknown`. Nothing is sent by that.
pub(super) async fn take_up_orphans(shared: &Arc<Shared>) -> Result<Orphans, StoreError> {
    let app = &shared.app;
    let mut taken = Orphans::default();
    loop {
        let orphans = app.store.orphans(SLICE).await?;
        if orphans.is_empty() {
            app.starts
                .arm()
                .map_err(|error| StoreError::Backend(format!("starts cannot be marked: {error}")))?;
            return Ok(taken);
        }
        let (unsent, begun): (Vec<_>, Vec<_>) =
            orphans.into_iter().partition(|ticket| app.starts.never_began(ticket));
        taken.unknown += begun.len() as u64;
        taken.handed_back += unsent.len() as u64;
        app.store.unclaim(unsent, app.clock.now()).await?;
        let mut found = Vec::with_capacity(begun.len());
        let mut settlements = Vec::with_capacity(begun.len());
        for ticket in begun {
            let at = app.registry.find(ticket.webhook).await?;
            let why = "the service ended while this attempt was under way";
            let settlement = cut_off(app, ticket, at.as_ref().map(|(_, target)| target), why);
            taken.again_at.extend(match settlement.next {
                Next::RetryAt(due) => Some(due),
                Next::End(_) => None,
            });
            found.push(at);
            settlements.push(settlement);
        }
        for (settled, at) in app.store.settle(settlements).await?.into_iter().zip(found) {
            if let (Settled::Settled { health: Some(change), .. }, Some((tenant, target))) = (settled, at) {
                alert(shared, &tenant, &target, change);
            }
        }
    }
}

/// Tells the lanes about every webhook with deliveries waiting on disk.
pub(super) async fn find_lanes(shared: &Arc<Shared>) -> Result<u64, StoreError> {
    let app = &shared.app;
    let (mut after, mut found) = (None, 0);
    loop {
        let hints = app.store.lanes(after, SLICE).await?;
        let Some(last) = hints.last() else { return Ok(found) };
        after = Some(last.lane);
        for hint in &hints {
            if let Some(entry) = app.registry.tenant(hint.tenant).await?
                && let Some(target) = entry.target(hint.lane.webhook())
            {
                app.lanes.note_waiting(hint.lane, &target.lane, hint.next_due, app.clock.now());
                found += 1;
            }
        }
    }
}

pub(super) async fn run(shared: Arc<Shared>) {
    let app = &shared.app;
    while !shared.is_closing() {
        let now = app.clock.now();
        let (grants, bytes) = app.lanes.grants(now, LANES_PER_ROUND, BYTES_PER_ROUND);
        if grants.is_empty() {
            wait(&shared, now).await;
            continue;
        }
        let term = app.sight.term();
        let wants = grants.iter().map(|grant| Want { lane: grant.lane, most: grant.claims() }).collect();
        match app.store.claim(wants, now, bytes).await {
            Ok(lanes) => hand_out(&shared, &grants, bytes, lanes, term).await,
            Err(error) => {
                tracing::error!(%error, "nothing could be claimed");
                app.lanes.return_bytes(bytes);
                let later = now + AFTER_ERROR;
                for grant in &grants {
                    drop(app.lanes.claimed(grant, &[], Some(later), now));
                }
                shared.pause(AFTER_ERROR).await;
            }
        }
    }
}

/// Until the bell rings, something falls due, or it is time to look anyway.
async fn wait(shared: &Shared, now: Timestamp) {
    let until = shared.app.lanes.next_wake().map_or(LOOK_AGAIN, |at| at.since(now).min(LOOK_AGAIN));
    // Due already, but no permit is free: a release rings.
    let until = if until.is_zero() { Duration::from_millis(1) } else { until };
    tokio::select! {
        biased;
        () = shared.app.lanes.rung() => {}
        () = shared.pause(until) => {}
    }
}

async fn hand_out(shared: &Arc<Shared>, grants: &[Grant], bytes: usize, lanes: Vec<ClaimedLane>, term: Term) {
    let app = &shared.app;
    let now = app.clock.now();
    let mut answers: std::collections::HashMap<LaneNo, ClaimedLane> =
        lanes.into_iter().map(|lane| (lane.lane, lane)).collect();
    let mut kept = 0;
    for grant in grants {
        let (claims, next_due) =
            answers.remove(&grant.lane).map_or((Vec::new(), None), |lane| (lane.claims, lane.next_due));
        let sizes: Vec<usize> =
            claims.iter().map(|claim| claim.open.as_ref().map_or(0, |o| o.payload.size())).collect();
        let reserved = app.lanes.claimed(grant, &sizes, next_due, now);
        for ((claim, reserved), size) in claims.into_iter().zip(reserved).zip(sizes) {
            if matches!(reserved, Reservation::Slot(_)) {
                kept += size;
            }
            begin(shared, grant, claim, reserved, term).await;
        }
    }
    app.lanes.return_bytes(bytes.saturating_sub(kept));
}

async fn begin(shared: &Arc<Shared>, grant: &Grant, claim: Claim, reserved: Reservation, term: Term) {
    let found = match shared.app.registry.tenant(grant.tenant).await {
        Ok(entry) => entry.and_then(|entry| entry.target(grant.lane.webhook()).map(|target| (entry, target))),
        Err(error) => {
            tracing::error!(%error, "a tenant could not be read");
            None
        }
    };
    let Some((tenant, target)) = found else {
        // Deleted a moment ago, when its pending deliveries are cancelled by their epoch; or not readable right now,
        // and found again with the lanes.
        drop(reserved);
        hand_back(shared, claim.ticket, shared.app.clock.now()).await;
        return;
    };
    match claim.open {
        Some(open) => {
            let (event, payload) = (open.event, open.payload);
            let ready = Ready { ticket: claim.ticket, tenant, target, event, payload, term };
            shared.app.lanes.hand_on(ready, reserved);
        }
        None => {
            drop(reserved);
            let at = shared.app.clock.now();
            let settlement = unsendable(claim.ticket, at, FailReason::PayloadGone, "the payload is gone");
            match Arc::clone(&shared.unsettled).try_acquire_owned() {
                Ok(slot) => settle(shared, &tenant, &target, settlement, slot).await,
                Err(_) => give_back(shared, &claim.ticket, &target, AFTER_ERROR).await,
            }
        }
    }
}
