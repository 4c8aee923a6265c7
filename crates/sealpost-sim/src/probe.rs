//! When all is quiet, one delivery by itself must not wait for anything but its time.

use std::time::Duration;

use sealpost_core::publish::{BodyKind, parse};

use crate::judge::stretched;
use crate::life::plain_hook;
use crate::receivers::{Mood, RECEIVERS};
use crate::workload::Callers;

/// A first attempt begins at once; a retry when its wait is over, and not much later.
const AT_ONCE_MS: u64 = 1_000;
/// A type nothing else is subscribed to or published with.
const TYPE: &str = "didcomm_message_received";

pub(crate) async fn probe(callers: &Callers) {
    let world = &callers.world;
    let (tenant, number) = {
        let mut inner = world.inner();
        let tenant = inner.dice.of(&callers.tenants);
        (tenant, inner.ledger.hooks.keys().last().map_or(1, |last| last + 1))
    };
    let receiver = number as usize % RECEIVERS;
    callers.receivers.set(receiver, Mood::Status(503));
    let (state, settings) = plain_hook(TYPE);
    let Some(webhook) = callers.make(number, tenant, false, state, settings).await else {
        return world.inner().wrong("a webhook could not be made although nothing fails".into());
    };
    let body = format!(r#"{{"type":"{TYPE}","payload":{{}}}}"#);
    let Ok(publications) = parse(BodyKind::Json, body.as_bytes()) else { return };
    let began = world.ms();
    if callers.app.publish(tenant, publications, None).await.is_err() {
        return world.inner().wrong("an event was refused although nothing fails".into());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    callers.receivers.set(receiver, Mood::Well);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let sends: Vec<_> =
        world.inner().ledger.sends.iter().filter(|send| send.hook == number).cloned().collect();
    let times: Vec<u64> = sends.iter().map(|send| send.ms - began).collect();
    let ended = sends.first().and_then(|send| send.reply).map_or(0, |(ms, _)| ms - began);
    let (early, late) = (ended + 10_000, ended + stretched(10_000) + AT_ONCE_MS);
    let right =
        matches!(times[..], [first, second] if first <= AT_ONCE_MS && (early..=late).contains(&second));
    if !right {
        world
            .inner()
            .wrong(format!("alone, a delivery was sent at {times:?} ms; its wait was 10 s from {ended} ms"));
    }
    let answer = callers.app.delete_webhook(tenant, webhook.id, webhook.dialect, "sim").await;
    let mut inner = world.inner();
    let seq = inner.next_seq();
    if let Some(hook) = inner.ledger.hooks.get_mut(&number) {
        let mut after = hook.last().cloned();
        if let Some(after) = &mut after {
            after.exists = false;
        }
        let heard = answer.is_ok().then_some(seq);
        hook.changes.extend(after.map(|after| crate::ledger::HookChange { began: seq, heard, after }));
    }
    // The next page begins without it.
    inner.ledger.sends.clear();
    let judged = callers.disk.state().deliveries.keys().last().copied().unwrap_or(0);
    inner.ledger.judged = inner.ledger.judged.max(judged);
}
