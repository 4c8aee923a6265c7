//! I5, I6, I7, I10, I11: not too often, not too early, one at a time, and nothing with what was replaced.

use sealpost_core::limits::JITTER_PERCENT;

use super::Sends;
use crate::ledger::{Hook, Ledger, Reply, Send};
use crate::memory::State;

/// A claim that was made before an erasure may still leave. By then it has.
const ERASED_AND_SENT_MS: u64 = 30_000;

pub(super) fn judge(ledger: &Ledger, state: &State, sends: &Sends, wrong: &mut Vec<String>) {
    for (delivery, own) in sends {
        let Some(hook) = own.first().and_then(|send| ledger.hooks.get(&send.hook)) else {
            wrong.push(format!("delivery {delivery} went to an address nobody registered"));
            continue;
        };
        let named = |what: String| format!("delivery {delivery} to h{}: {what}", hook.number);
        if own.len() > hook.sends_max() {
            wrong.push(named(format!("{} requests, and {} are the most", own.len(), hook.sends_max())));
        }
        for pair in own.windows(2) {
            if let Err(what) = in_order(ledger, hook, &pair[0], &pair[1]) {
                wrong.push(named(what));
            }
        }
        for send in own {
            if let Err(what) = was_allowed(hook, send) {
                wrong.push(named(format!("request {}: {what}", send.attempt)));
            }
        }
        let row = state.delivery_by_id(*delivery);
        let Some(event) = row.and_then(|row| state.events.get(&row.event)) else {
            wrong.push(named("history does not know it".into()));
            continue;
        };
        if own.iter().any(|send| send.event != event.id || Some(send.hook) != Some(hook.number)) {
            wrong.push(named("a request of it is of another event or webhook".into()));
        }
        for erased in ledger.erasures.iter().filter(|erased| erased.events.contains(&event.id)) {
            let Some((seq, ms)) = erased.heard else { continue };
            let after: Vec<_> = own.iter().filter(|send| send.seq > seq).collect();
            if after.len() > 1 || after.iter().any(|send| send.ms > ms + ERASED_AND_SENT_MS) {
                wrong.push(named(format!("sent {} times after its event was erased", after.len())));
            }
        }
    }
}

fn in_order(ledger: &Ledger, hook: &Hook, before: &Send, after: &Send) -> Result<(), String> {
    if after.attempt <= before.attempt {
        return Err(format!("request {} came after {}", after.attempt, before.attempt));
    }
    let Some((ended, reply)) = before.reply.filter(|_| before.life == after.life) else {
        // The process died between them. Where the wall clock was set before the next one began, that one's times are
        // others.
        let mut offsets = ledger.offsets.range(before.life..=after.life).map(|(_, offset)| offset);
        let first = offsets.next();
        let due = before.ms + hook.wait_after(before.attempt);
        if offsets.all(|offset| Some(offset) == first) && after.ms < due {
            return Err(format!(
                "request {} came {} ms early after a restart",
                after.attempt,
                due - after.ms
            ));
        }
        return Ok(());
    };
    if after.ms < ended {
        return Err(format!("requests {} and {} overlap", before.attempt, after.attempt));
    }
    if after.attempt != before.attempt + 1 {
        return Ok(());
    }
    let asked = match reply {
        Reply::Status { wait_s: Some(seconds), .. } => seconds * 1000,
        _ => 0,
    };
    let wait = hook.wait_after(before.attempt).max(asked);
    if after.ms < ended + wait {
        return Err(format!("request {} came {} ms early", after.attempt, ended + wait - after.ms));
    }
    Ok(())
}

/// Only what the webhook may have been then is ever used.
fn was_allowed(hook: &Hook, send: &Send) -> Result<(), String> {
    let mut may_be = hook.may_be(send.seq, send.seq);
    let fits = may_be.any(|state| {
        state.exists
            && !state.disabled
            && state.url_version == send.url_version
            && (!hook.truvera || state.token.is_none() || state.token == send.token)
    });
    if fits {
        return Ok(());
    }
    let now: Vec<_> = hook.may_be(send.seq, send.seq).collect();
    Err(format!("it left for v{} with what was replaced; the webhook was {now:?}", send.url_version))
}

/// The longest that a wait may be stretched to.
pub fn stretched(wait_ms: u64) -> u64 {
    wait_ms + wait_ms * JITTER_PERCENT / 100
}
