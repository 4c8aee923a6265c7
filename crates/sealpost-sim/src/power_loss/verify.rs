//! A folder as the disk holds it after the power failed: it opens, is sound, and holds whatever was answered before.

use std::collections::BTreeMap;
use std::path::Path;

use sealpost_core::id::{EventId, TenantNo};
use sealpost_core::outcome::Outcome;
use sealpost_store::history::{History as _, PayloadRead, PayloadState};
use sealpost_store::queue::Queue as _;
use sealpost_store::registry::Registry as _;
use sealpost_store::sqlite::{OpenOptions, SqliteStore, integrity};
use sealpost_store::upkeep::Upkeep as _;

use super::trace::{Effect, Step};
use super::workload::DATABASE;

/// What must be there.
#[derive(Debug, Default)]
struct Promised<'a> {
    tenant: Option<TenantNo>,
    webhooks: Vec<(&'a str, i64)>,
    events: BTreeMap<&'a str, u32>,
    /// Requests that were begun, answered or not: whole or not at all.
    requests: Vec<Vec<&'a str>>,
    /// Highest attempt claimed, and outcomes stored.
    claims: BTreeMap<&'a str, u8>,
    settled: Vec<(&'a str, u8, &'a str)>,
    erased: Vec<&'a str>,
    /// Asked for, answered or not.
    maybe_erased: Vec<&'a str>,
}

fn lines(steps: &[Step]) -> impl Iterator<Item = Vec<&str>> {
    steps.iter().filter_map(|step| match &step.effect {
        Effect::Answer { line } => Some(line.split(' ').collect()),
        _ => None,
    })
}

impl<'a> Promised<'a> {
    fn read(before: &'a [Step]) -> Result<Self, String> {
        let mut promised = Self::default();
        for words in lines(before) {
            let number =
                |place: usize| words.get(place).and_then(|word| word.parse::<i64>().ok()).unwrap_or(0);
            match words[..] {
                ["T", _] => promised.tenant = Some(TenantNo(number(1))),
                ["W", id] => promised.webhooks.push((id, 0)),
                ["V", id, _] => promised.webhooks.push((id, number(2))),
                ["B", ..] => promised.requests.push(words[1..].to_vec()),
                ["E", id, _] => drop(promised.events.insert(id, number(2) as u32)),
                ["C", id, _] => drop(promised.claims.insert(id, number(2) as u8)),
                ["S", id, _, outcome] => promised.settled.push((id, number(2) as u8, outcome)),
                ["Y", id] => promised.maybe_erased.push(id),
                ["X", id] => promised.erased.push(id),
                _ => return Err(format!("an answer is not understood: {words:?}")),
            }
        }
        Ok(promised)
    }
}

/// `before` was done before the power failed; `after` would have come.
pub(super) fn verify(folder: &Path, before: &[Step], after: &[Step]) -> Result<(), String> {
    let promised = Promised::read(before)?;
    let path = folder.join(DATABASE);
    if promised.tenant.is_none() && !path.exists() {
        return Ok(());
    }
    // What was being made when it failed may be unusable, as long as nothing was ever promised.
    let store = match SqliteStore::open(OpenOptions::new(&path)) {
        Ok(store) => store,
        Err(_) if promised.tenant.is_none() => return Ok(()),
        Err(error) => return Err(format!("it does not open: {error}")),
    };
    let found = integrity(&path).map_err(|error| error.to_string())?;
    if found != ["ok"] {
        return Err(format!("it is corrupt: {}", found.join("; ")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let held = runtime.block_on(async {
        let held = holds(&store, &promised, after).await;
        let closed = store.close().await.map_err(|error| error.to_string());
        held.and(closed)
    });
    drop(store);
    held
}

async fn holds(store: &SqliteStore, promised: &Promised<'_>, after: &[Step]) -> Result<(), String> {
    let told = |error: sealpost_store::StoreError| error.to_string();
    let Some(tenant) = promised.tenant else { return Ok(()) };
    for (id, version) in &promised.webhooks {
        let id = id.parse().map_err(|_| "no webhook id")?;
        let webhook = store.webhook(tenant, id).await.map_err(told)?.ok_or("a webhook is lost")?;
        if webhook.version < *version {
            return Err(format!("a change of webhook {id} is lost"));
        }
    }
    let was_erased = |id: &str| promised.erased.contains(&id);
    for (name, deliveries) in &promised.events {
        let id: EventId = name.parse().map_err(|_| "no event id")?;
        let event = store.event(tenant, id).await.map_err(told)?.ok_or(format!("event {id} is lost"))?;
        if event.deliveries.len() != *deliveries as usize {
            return Err(format!("event {id} has {} of {deliveries} deliveries", event.deliveries.len()));
        }
        match store.payload(tenant, id).await.map_err(told)? {
            PayloadRead::Payload(payload) if !was_erased(name) => {
                if !payload.as_str().contains(*name) {
                    return Err(format!("event {id} has another's payload"));
                }
            }
            PayloadRead::Gone(PayloadState::Erased) if promised.maybe_erased.contains(name) => {}
            other => return Err(format!("the payload of event {id} is {other:?}")),
        }
    }
    for request in &promised.requests {
        let mut there = 0;
        for name in request {
            let id: EventId = name.parse().map_err(|_| "no event id")?;
            there += usize::from(store.event(tenant, id).await.map_err(told)?.is_some());
        }
        if there != 0 && there != request.len() {
            return Err(format!("of a request of {} events {there} are there", request.len()));
        }
    }
    for (name, attempt) in &promised.claims {
        let id = name.parse().map_err(|_| "no delivery id")?;
        let detail =
            store.delivery(tenant, id).await.map_err(told)?.ok_or(format!("delivery {name} is lost"))?;
        if detail.delivery.attempts_used < *attempt {
            return Err(format!("claim {attempt} of delivery {name} is lost: it could be sent again"));
        }
    }
    for (name, number, outcome) in &promised.settled {
        let id = name.parse().map_err(|_| "no delivery id")?;
        let detail =
            store.delivery(tenant, id).await.map_err(told)?.ok_or(format!("delivery {name} is lost"))?;
        let kept = detail.attempts.iter().find(|attempt| attempt.number == *number);
        // Of an event that was erased since, the outcome stays.
        if kept.is_none_or(|attempt| attempt.outcome.as_str() != *outcome) {
            return Err(format!("the outcome of attempt {number} of delivery {name} is lost"));
        }
        if *outcome == Outcome::Delivered.as_str() && !detail.delivery.state.is_final() {
            return Err(format!("delivery {name} was delivered and is {:?}", detail.delivery.state));
        }
    }
    // Nothing that had not begun is there.
    for words in lines(after).filter(|words| words[0] == "B") {
        for name in &words[1..] {
            let id: EventId = name.parse().map_err(|_| "no event id")?;
            if store.event(tenant, id).await.map_err(told)?.is_some() {
                return Err(format!("event {id} is there before it was published"));
            }
        }
    }
    // And it goes on.
    store.orphans(10).await.map_err(told)?;
    store.lanes(None, 10).await.map_err(told)?;
    store.sweep(super::workload::at(1_000_000_000)).await.map_err(told)?;
    Ok(())
}
