//! I2, I3, I4, I8, I18: every delivery has ended, for a reason that is true, with the attempts that were made.

use sealpost_core::delivery::{AttemptRecord, CancelReason, FailReason, State as DeliveryState};
use sealpost_core::event_type::WEBHOOK_FAILING;
use sealpost_core::outcome::Outcome;

use super::Sends;
use super::accepted::{is_gone, is_new};
use crate::coverage::Coverage;
use crate::ledger::{Erased, ErasedScope, Hook, Ledger, Reply, Send};
use crate::memory::{DeliveryRow, State};

pub(super) fn judge(
    ledger: &Ledger,
    state: &State,
    sends: &Sends,
    coverage: &mut Coverage,
    wrong: &mut Vec<String>,
) {
    let failing = state.events.values().filter(|row| row.event_type.as_str() == WEBHOOK_FAILING).count();
    coverage.add("webhook failing told", failing as u64);
    for row in state.deliveries.values().filter(|row| is_new(ledger, row.no)) {
        let hook = ledger.hooks.values().find(|hook| hook.id.is_some_and(|(_, no)| no == row.webhook));
        let Some(hook) = hook else {
            wrong.push(format!("delivery {} is of a webhook nobody made", row.id));
            continue;
        };
        coverage.count(row.state.reason().unwrap_or(row.state.status().as_str()));
        let own = sends.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        if let Err(what) = ended_rightly(ledger, state, row, hook) {
            wrong.push(format!("delivery {} to h{}: {what}", row.id, hook.number));
        }
        for attempt in &row.attempts {
            coverage.count(attempt_name(attempt.outcome));
            if let Err(what) = is_true(ledger, row, attempt, own) {
                wrong.push(format!(
                    "delivery {} to h{}, attempt {}: {what}",
                    row.id, hook.number, attempt.number
                ));
            }
        }
        for send in
            own.iter().filter(|send| !row.attempts.iter().any(|attempt| attempt.number == send.attempt))
        {
            wrong.push(format!("delivery {}: request {} is not on record", row.id, send.attempt));
        }
    }
    for erased in ledger.erasures.iter().filter(|erased| erased.heard.is_some()) {
        for id in &erased.events {
            if !is_gone(state, erased.tenant, *id) {
                wrong.push(format!("event {id} was erased and its payload is there"));
            }
            let rows = state.event_by_id(erased.tenant, *id).into_iter().flat_map(|row| &row.deliveries);
            let attempts = rows.filter_map(|no| state.deliveries.get(no)).flat_map(|row| &row.attempts);
            if attempts.into_iter().any(|attempt| attempt.excerpt.is_some()) {
                wrong.push(format!("event {id} was erased and an excerpt of an answer is there"));
            }
        }
    }
}

fn ended_rightly(ledger: &Ledger, state: &State, row: &DeliveryRow, hook: &Hook) -> Result<(), String> {
    let numbers: Vec<u8> = row.attempts.iter().map(|attempt| attempt.number).collect();
    if numbers != (1..=row.attempts.len() as u8).collect::<Vec<_>>() {
        return Err(format!("its attempts are {numbers:?}"));
    }
    if usize::from(row.attempt) != row.attempts.len() {
        return Err(format!("{} attempts are counted and {} recorded", row.attempt, row.attempts.len()));
    }
    if row.attempts.len() > hook.sends_max() {
        return Err(format!("{} attempts, and {} are the most", row.attempts.len(), hook.sends_max()));
    }
    let delivered = row.attempts.last().is_some_and(|last| last.outcome == Outcome::Delivered);
    let only_unknown = row.attempts.iter().all(|attempt| attempt.outcome == Outcome::Unknown);
    // A policy that was shortened meanwhile ends it with the next attempt.
    let tried_out = hook.policies.iter().any(|policy| policy.len() < row.attempts.len());
    let ever =
        |seen: fn(&crate::ledger::HookState) -> bool| hook.changes.iter().any(|change| seen(&change.after));
    let event = state.events.get(&row.event).ok_or("its event is gone")?;
    let erased = ledger.erasures.iter().any(|erased| may_have_met(state, erased, row));
    let true_reason = match row.state {
        DeliveryState::Pending => return Err("lost: it has not ended".into()),
        DeliveryState::Delivered => delivered,
        DeliveryState::Failed(FailReason::AttemptsExhausted) => !delivered && !only_unknown && tried_out,
        DeliveryState::Failed(FailReason::OutcomeUnknown) => only_unknown && tried_out,
        DeliveryState::Failed(FailReason::PayloadGone) => is_gone(state, row.tenant, event.id),
        DeliveryState::Failed(FailReason::CannotMinimise) => false,
        DeliveryState::Cancelled(CancelReason::WebhookDisabled) => ever(|state| state.disabled),
        DeliveryState::Cancelled(CancelReason::WebhookDeleted) => ever(|state| !state.exists),
        DeliveryState::Cancelled(CancelReason::PayloadErased) => erased,
        DeliveryState::Cancelled(CancelReason::ByHand) => ledger.cancels.contains(&row.id),
    };
    if true_reason { Ok(()) } else { Err(format!("it cannot have ended as {:?}", row.state)) }
}

/// Whether an erasure may have met the event of a delivery, or the one that shares its payload.
fn may_have_met(state: &State, erased: &Erased, row: &DeliveryRow) -> bool {
    let Some(event) = state.events.get(&row.event).filter(|event| event.tenant == erased.tenant) else {
        return false;
    };
    let first = event.derived_of.unwrap_or(row.event);
    let family = [first, first + 1];
    let mut members = family.iter().filter_map(|no| Some((*no, state.events.get(no)?)));
    members.any(|(no, member)| {
        let related = no == first || member.derived_of == Some(first);
        related
            && match erased.scope {
                ErasedScope::Named => erased.events.contains(&member.id),
                ErasedScope::Subject => !member.subjects.is_empty(),
                ErasedScope::Range(from, to) => (from..=to).contains(&member.accepted_at),
            }
    })
}

/// What is recorded of an attempt is what its receiver did.
fn is_true(
    ledger: &Ledger,
    row: &DeliveryRow,
    attempt: &AttemptRecord,
    sends: &[Send],
) -> Result<(), String> {
    let mut own = sends.iter().filter(|send| send.attempt == attempt.number);
    let send = own.next();
    if own.next().is_some() {
        return Err("it was made twice".into());
    }
    let reply = send.and_then(|send| send.reply).map(|(_, reply)| reply);
    let unsent = ledger.unsent.get(&(row.id, attempt.number)).copied();
    let holds = match attempt.outcome {
        Outcome::Delivered | Outcome::HttpStatus => match reply {
            Some(Reply::Status { status, .. }) => {
                attempt.http_status == Some(status)
                    && (200..300).contains(&status) == (attempt.outcome == Outcome::Delivered)
            }
            _ => false,
        },
        Outcome::Timeout => reply == Some(Reply::TimedOut),
        Outcome::Protocol => {
            reply == Some(Reply::Broke)
                || row.state == DeliveryState::Failed(FailReason::PayloadGone) && send.is_none()
        }
        Outcome::Dns | Outcome::Connect | Outcome::Tls => {
            send.is_none() && unsent == Some(attempt.outcome.as_str())
        }
        Outcome::AddressRefused => false,
        // A claim that never began is given back, unless nobody can know that it did not.
        Outcome::Unknown => send.is_some() || ledger.power_losses > 0 || row.fence >= 17,
    };
    if holds {
        Ok(())
    } else {
        Err(format!("{:?} is recorded, {reply:?} happened ({unsent:?})", attempt.outcome))
    }
}

fn attempt_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "attempt delivered",
        Outcome::HttpStatus => "attempt http_status",
        Outcome::Timeout => "attempt timeout",
        Outcome::Dns => "attempt dns",
        Outcome::AddressRefused => "attempt address_refused",
        Outcome::Connect => "attempt connect",
        Outcome::Tls => "attempt tls",
        Outcome::Protocol => "attempt protocol",
        Outcome::Unknown => "attempt unknown",
    }
}
