//! One attempt from permit to stored outcome.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sealpost_core::delivery::{AttemptRecord, FailReason, State};
use sealpost_core::event::Event;
use sealpost_core::event_type::{Origin, WEBHOOK_FAILING, WEBHOOK_RECOVERED};
use sealpost_core::health::HealthChange;
use sealpost_core::minimise::SummaryForm;
use sealpost_core::outcome::Outcome;
use sealpost_core::payload::Payload;
use sealpost_core::retry::{Ended as RetryEnded, NextStep, next_step};
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::queue::{ClaimTicket, Next, Settled, Settlement};
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::outcome::{Judged, judge};
use crate::app::gate::SendGate;
use crate::app::lanes::Permit;
use crate::app::registry::{Target, TenantEntry};
use crate::app::request::{Attempt, BuildError, build};
use crate::app::{App, Ready};

/// Between tries to store an outcome while the store refuses.
const SETTLE_AGAIN: Duration = Duration::from_millis(200);
/// A delivery that no slot was free for is due again after this.
const SLOT_AGAIN: Duration = Duration::from_millis(500);

/// How an attempt ended, before anything of it is stored.
enum Ended {
    Settle(Settlement),
    /// Nothing began; the attempt is not used up.
    GiveBack,
}

pub(crate) async fn deliver(shared: Arc<Shared>, ready: Ready, mut permit: Permit) {
    let Ready { ticket, tenant, target, event, payload, term } = ready;
    // No slot: outcomes pile up unstored. Nothing is sent whose outcome could not be kept.
    let slots = (Arc::clone(&shared.unsettled).try_acquire_owned().ok(), shared.app.starts.slot());
    let (Some(slot), Some(start)) = slots else {
        drop(permit);
        return give_back(&shared, &ticket, &target, SLOT_AGAIN).await;
    };
    // Kept until the outcome is stored: until then the next process must know whether this one began.
    let start = Arc::new(start);
    let gate = SendGate::new(
        Arc::clone(&target.gate),
        target.webhook.version,
        (Arc::clone(&start), ticket),
        (Arc::clone(&shared.app.sight), term),
    );
    let attempt = attempt(&shared, ticket, &tenant, &target, event, payload, gate);
    // A panic is a broken invariant of this delivery. Whether its request left is not known; the others go on.
    let began = shared.app.clock.boot();
    let ended = AssertUnwindSafe(attempt).catch_unwind().await;
    permit.ended(shared.app.clock.now(), shared.app.clock.boot().saturating_sub(began));
    drop(permit);
    match ended {
        Ok(Ended::Settle(settlement)) => settle(&shared, &tenant, &target, settlement, slot).await,
        Ok(Ended::GiveBack) => give_back(&shared, &ticket, &target, Duration::ZERO).await,
        Err(_) => {
            tracing::error!(delivery = %ticket.id, "an attempt broke off by a panic");
            let settlement =
                cut_off(&shared.app, ticket, Some(&target), "the attempt broke off inside the service");
            settle(&shared, &tenant, &target, settlement, slot).await;
        }
    }
    drop(start);
}

async fn attempt(
    shared: &Arc<Shared>,
    ticket: ClaimTicket,
    tenant: &Arc<TenantEntry>,
    target: &Arc<Target>,
    event: Event,
    payload: Payload,
    gate: SendGate,
) -> Ended {
    if shared.is_closing() {
        return Ended::GiveBack;
    }
    let app = &shared.app;
    let entry = tenant.event_type(event.event_type.as_str());
    let own = entry.as_ref().is_some_and(|entry| entry.event_type.origin == Origin::Own);
    // A type that was deleted meanwhile has no known summary: `summary` then sends ids only.
    let summary = entry.as_ref().map_or(SummaryForm::Unknown, |entry| entry.event_type.summary.clone());
    let started_at = app.clock.now();
    let started = app.clock.boot();
    let request = {
        let keys = tenant.keys();
        let delivery_id = ticket.id.to_string();
        match &keys.signing {
            None => Err(BuildError::Sign("the tenant has no signing key".into())),
            Some(key) => {
                let attempt = Attempt {
                    target,
                    event: &event,
                    payload: &payload,
                    summary: &summary,
                    delivery_id: &delivery_id,
                    number: ticket.attempt,
                    key,
                    now: app.clock.wall(),
                    public_url: &app.config.public_url,
                    defaults: &app.config.defaults,
                };
                build(&attempt, Arc::new(gate))
            }
        }
    };
    drop(payload);
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(delivery = %ticket.id, %error, "nothing was sent");
            let error = error.to_string();
            return Ended::Settle(unsendable(ticket, started_at, FailReason::CannotMinimise, &error));
        }
    };
    let result = shared.outbound.send(request).await;
    let took = app.clock.boot().saturating_sub(started);
    if let Err(error) = &result
        && let Some(address) = error.refused_address()
    {
        tracing::warn!(delivery = %ticket.id, webhook = %target.webhook.id, %address, "address refused");
    }
    match judge(result, &target.webhook.secrets, app.clock.wall()) {
        None => Ended::GiveBack,
        Some(judged) => {
            let now = app.clock.latest();
            Ended::Settle(settlement_of(shared, target, ticket, own, judged, started_at, took, now))
        }
    }
}

/// An attempt of which nobody knows whether the receiver got it.
pub(super) fn cut_off(app: &App, ticket: ClaimTicket, target: Option<&Arc<Target>>, why: &str) -> Settlement {
    let defaults = &app.config.defaults;
    let policy = target.map_or(&defaults.retry, |target| target.webhook.settings.retry(defaults));
    let now = app.clock.now();
    let ended = RetryEnded {
        attempt: ticket.attempt,
        outcome: Outcome::Unknown,
        asked_wait: None,
        only_unknown_before: ticket.only_unknown_before,
    };
    Settlement {
        ticket,
        attempt: AttemptRecord {
            number: ticket.attempt,
            started_at: now,
            took_ms: 0,
            outcome: Outcome::Unknown,
            http_status: None,
            error: Some(why.to_owned()),
            excerpt: None,
        },
        next: next_of(next_step(policy, ended, app.clock.latest(), app.clock.jitter())),
        alert_after: target.map_or(0, |target| target.webhook.settings.alert_after),
    }
}

#[expect(clippy::too_many_arguments, reason = "an attempt's result is wide; every part is a plain value")]
fn settlement_of(
    shared: &Shared,
    target: &Target,
    ticket: ClaimTicket,
    own: bool,
    judged: Judged,
    started_at: Timestamp,
    took: Duration,
    now: Timestamp,
) -> Settlement {
    let app = &shared.app;
    let ended = RetryEnded {
        attempt: ticket.attempt,
        outcome: judged.outcome,
        asked_wait: judged.asked_wait,
        only_unknown_before: ticket.only_unknown_before,
    };
    let policy = target.webhook.settings.retry(&app.config.defaults);
    let next = next_of(next_step(policy, ended, now, app.clock.jitter()));
    let attempt = AttemptRecord {
        number: ticket.attempt,
        started_at,
        took_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
        outcome: judged.outcome,
        http_status: judged.http_status,
        error: judged.error,
        excerpt: judged.excerpt,
    };
    // Sealpost's own events never alert about themselves.
    let alert_after = if own { 0 } else { target.webhook.settings.alert_after };
    Settlement { ticket, attempt, next, alert_after }
}

pub(super) fn next_of(step: NextStep) -> Next {
    match step {
        NextStep::Delivered => Next::End(State::Delivered),
        NextStep::Fail(reason) => Next::End(State::Failed(reason)),
        NextStep::RetryAt(at) => Next::RetryAt(at),
    }
}

/// The end of a delivery of which nothing may be sent.
pub(super) fn unsendable(ticket: ClaimTicket, at: Timestamp, reason: FailReason, error: &str) -> Settlement {
    Settlement {
        ticket,
        attempt: AttemptRecord {
            number: ticket.attempt,
            started_at: at,
            took_ms: 0,
            outcome: Outcome::Protocol,
            http_status: None,
            error: Some(format!("nothing was sent: {error}")),
            excerpt: None,
        },
        next: Next::End(State::Failed(reason)),
        alert_after: 0,
    }
}

/// Stores an outcome, however long the store refuses it; then tells the lanes and, if need be, the alarm.
pub(super) async fn settle(
    shared: &Arc<Shared>,
    tenant: &Arc<TenantEntry>,
    target: &Arc<Target>,
    settlement: Settlement,
    slot: OwnedSemaphorePermit,
) {
    let ticket = settlement.ticket;
    let retry_at = match settlement.next {
        Next::RetryAt(at) => Some(at),
        Next::End(_) => None,
    };
    let answer = loop {
        match shared.app.store.settle(vec![settlement.clone()]).await {
            Ok(answers) => break answers.into_iter().next(),
            Err(StoreError::Closed) => break None,
            Err(error) => {
                tracing::error!(delivery = %ticket.id, %error, "an outcome is not stored yet");
                tokio::time::sleep(SETTLE_AGAIN).await;
            }
        }
    };
    drop(slot);
    let Some(Settled::Settled { state, health }) = answer else {
        // Stored before (its answer was lost) or not ours any more: the lane is looked at, that is all.
        let now = shared.app.clock.now();
        return shared.app.lanes.note_waiting(ticket.lane, &target.lane, retry_at.unwrap_or(now), now);
    };
    if let (State::Pending, Some(at)) = (state, retry_at) {
        shared.app.lanes.note_waiting(ticket.lane, &target.lane, at, shared.app.clock.now());
    }
    if let Some(change) = health {
        alert(shared, tenant, target, change);
    }
}

pub(super) fn alert(
    shared: &Arc<Shared>,
    tenant: &Arc<TenantEntry>,
    target: &Arc<Target>,
    change: HealthChange,
) {
    let name = match change {
        HealthChange::Failing => WEBHOOK_FAILING,
        HealthChange::Recovered => WEBHOOK_RECOVERED,
    };
    let webhook = target.webhook.id;
    tracing::warn!(%webhook, name, "webhook health");
    let Ok(payload) = Payload::parse(&format!("{{\"webhookId\":\"{webhook}\"}}")) else { return };
    let (app, tenant) = (shared.app.clone(), tenant.tenant.no);
    tokio::spawn(async move {
        if let Err(error) = app.publish_own(tenant, name, payload).await {
            tracing::error!(%webhook, name, %error, "an alert was not published");
        }
    });
}

/// Hands a claim back whose request never began, however long the store refuses; it is due after `wait`.
pub(super) async fn give_back(
    shared: &Arc<Shared>,
    ticket: &ClaimTicket,
    target: &Arc<Target>,
    wait: Duration,
) {
    let now = shared.app.clock.now();
    hand_back(shared, *ticket, now + wait).await;
    shared.app.lanes.note_waiting(ticket.lane, &target.lane, now + wait, now);
}

/// Gives parked claims back to the disk, where they are due at once, however long the store refuses.
pub(super) async fn hand_back_parked(shared: Arc<Shared>, parked: Vec<Ready>) {
    let app = &shared.app;
    let tickets: Vec<ClaimTicket> = parked.iter().map(|ready| ready.ticket).collect();
    loop {
        let now = app.clock.now();
        match app.store.unclaim(tickets.clone(), now).await {
            Ok(()) => {
                for ready in &parked {
                    app.lanes.note_waiting(ready.ticket.lane, &ready.target.lane, now, now);
                }
                return;
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, claims = parked.len(), "claims are not handed back yet");
                tokio::time::sleep(SETTLE_AGAIN).await;
            }
        }
    }
}

/// As [`give_back`], for a claim whose lane nobody knows any more.
pub(super) async fn hand_back(shared: &Arc<Shared>, ticket: ClaimTicket, due: Timestamp) {
    while let Err(error) = shared.app.store.unclaim(vec![ticket], due).await {
        if matches!(error, StoreError::Closed) {
            return;
        }
        tracing::error!(delivery = %ticket.id, %error, "a claim is not handed back yet");
        tokio::time::sleep(SETTLE_AGAIN).await;
    }
}
