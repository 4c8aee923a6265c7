//! I1, I9, I22: what was answered is stored, once, for everybody who was subscribed.

use std::collections::BTreeSet;

use sealpost_core::id::{DeliveryNo, EventId, TenantNo};
use sealpost_store::inbox::AcceptedEvent;

use crate::ledger::{Hook, Ledger, Publish, Seq};
use crate::memory::{EventRow, State};

pub(super) fn judge(ledger: &Ledger, state: &State, wrong: &mut Vec<String>) {
    for (place, publish) in ledger.publishes.iter().enumerate() {
        let Some((heard, answers)) = &publish.heard else { continue };
        if answers.len() != publish.types.len() {
            wrong.push(format!("{} answers for {} events", answers.len(), publish.types.len()));
        }
        for (answer, name) in answers.iter().zip(&publish.types) {
            let Some(row) = state.event_by_id(publish.tenant, answer.id) else {
                wrong.push(format!("lost: event {} was answered with success and is not stored", answer.id));
                continue;
            };
            if row.event_type.as_str() != *name || row.made != answer.deliveries {
                wrong.push(format!("event {} is not stored as it was answered", answer.id));
            }
            if !answer.repeated {
                everybody_has_it(ledger, state, publish, *heard, answer, row, wrong);
            }
        }
        if let Some(first) = publish.repeats.and_then(|first| ledger.publishes.get(first)) {
            same_answer(ledger, place, first, answers, wrong);
        }
    }
    for row in state.events.values() {
        let own = row.deliveries.iter().take(row.made as usize).filter_map(|no| state.deliveries.get(no));
        let hooks: Vec<_> = own.map(|delivery| delivery.webhook).collect();
        if hooks.iter().collect::<BTreeSet<_>>().len() != hooks.len() {
            wrong.push(format!("event {} was accepted twice for one webhook", row.id));
        }
        for no in &row.deliveries {
            let foreign = state.deliveries.get(no).and_then(|delivery| state.webhooks.get(&delivery.webhook));
            if foreign.is_some_and(|hook| hook.webhook.tenant != row.tenant) {
                wrong.push(format!("event {} went to another tenant's webhook", row.id));
            }
        }
    }
}

/// A repeat gives the first result, whoever heard it; and of all that were heard at most one was the first.
fn same_answer(
    ledger: &Ledger,
    place: usize,
    first: &Publish,
    answers: &[AcceptedEvent],
    wrong: &mut Vec<String>,
) {
    let ids = |answers: &[AcceptedEvent]| answers.iter().map(|answer| answer.id).collect::<Vec<EventId>>();
    if let Some((_, firsts)) = &first.heard
        && ids(firsts) != ids(answers)
    {
        wrong.push(format!("call {place} repeats another and was answered otherwise"));
    }
    let root = ledger.publishes[place].repeats;
    let all = ledger.publishes.iter().enumerate();
    let family = all.filter(|(other, publish)| publish.repeats == root || Some(*other) == root);
    let fresh = family.filter_map(|(_, publish)| publish.heard.as_ref());
    let fresh = fresh.filter(|(_, answers)| answers.iter().any(|answer| !answer.repeated)).count();
    if fresh > 1 {
        wrong.push(format!("call {place} and its repeats were accepted {fresh} times"));
    }
}

fn everybody_has_it(
    ledger: &Ledger,
    state: &State,
    publish: &Publish,
    heard: Seq,
    answer: &AcceptedEvent,
    row: &EventRow,
    wrong: &mut Vec<String>,
) {
    let derived = answer.derived.first().and_then(|derived| state.event_by_id(publish.tenant, derived.id));
    for hook in ledger.hooks.values().filter(|hook| hook.tenant == publish.tenant) {
        expect(state, publish, heard, hook, row.event_type.as_str(), Some(row), wrong);
        if row.event_type.as_str() == "OpenIdCredentialIssued" {
            expect(state, publish, heard, hook, "OpenIdCredentialIssuedSummary", derived, wrong);
        }
    }
}

/// Where there is no doubt whether a webhook was subscribed, there is none whether it has a delivery.
fn expect(
    state: &State,
    publish: &Publish,
    heard: Seq,
    hook: &Hook,
    name: &str,
    row: Option<&EventRow>,
    wrong: &mut Vec<String>,
) {
    let (mut always, mut ever) = (true, false);
    for may_be in hook.may_be(publish.began, heard) {
        let subscribed = may_be.exists && may_be.types.contains(&name);
        always &= subscribed;
        ever |= subscribed;
    }
    let has = row.is_some_and(|row| {
        let own = row.deliveries.iter().take(row.made as usize).filter_map(|no| state.deliveries.get(no));
        let mut own = own.filter(|delivery| hook.id.is_some_and(|(_, no)| no == delivery.webhook));
        own.next().is_some()
    });
    if always && hook.id.is_some() && !has {
        wrong.push(format!("lost: webhook h{} was subscribed to {name} and got no delivery", hook.number));
    }
    if !ever && has {
        wrong.push(format!("webhook h{} was never subscribed to {name} and has a delivery", hook.number));
    }
}

/// Deliveries that were made since the last page.
pub(super) fn is_new(ledger: &Ledger, no: DeliveryNo) -> bool {
    no.0 > ledger.judged
}

/// Nothing of an erased event is left.
pub(super) fn is_gone(state: &State, tenant: TenantNo, id: EventId) -> bool {
    !matches!(state.kept_payload(tenant, id), Some(crate::memory::Kept::Payload(_)))
}
