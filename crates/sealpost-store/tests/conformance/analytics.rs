//! Analytic events: calls that were recorded, what events and deliveries tell, and both in one list.

use std::collections::HashSet;

use sealpost_core::analytics::{
    Among, AnalyticFilter, AnalyticType, LogLevel, Operation, Phase, RequestId, Step,
};
use sealpost_core::delivery::{CancelReason, FailReason, State};
use sealpost_core::id::{AnalyticId, ClientId, TenantNo};
use sealpost_core::time::Timestamp;
use sealpost_store::history::{AnalyticFacts, AnalyticRecord, DeliveryFilter, EventFilter};
use sealpost_store::page::{After, PageRequest};
use sealpost_store::queue::Settlement;
use sealpost_store::upkeep::{ErasureScope, RecordedCall};
use serde_json::json;

use super::Backend;
use super::world::{DAY, World, at, by, chance, delivered, failed, new_tenant, ordinary, retried};

async fn page<B: Backend>(
    world: &World<B>,
    filter: &AnalyticFilter,
    limit: u32,
    after: Option<After<AnalyticId>>,
) -> (Vec<AnalyticRecord>, Option<After<AnalyticId>>) {
    let page = PageRequest { limit, after };
    let page = world.store.analytic_events(world.tenant.no, filter.clone(), page).await.unwrap();
    let falling = page.rows.windows(2).all(|pair| (pair[0].at, pair[0].id) > (pair[1].at, pair[1].id));
    assert!(falling, "newest first");
    assert!(!page.more || page.rows.len() == limit as usize, "a page is full or the last");
    let next = page.rows.last().filter(|_| page.more).map(|last| After { at: last.at, id: last.id });
    (page.rows, next)
}

async fn all<B: Backend>(world: &World<B>, filter: &AnalyticFilter) -> Vec<AnalyticRecord> {
    let (rows, next) = page(world, filter, 100_000, None).await;
    assert!(next.is_none());
    rows
}

/// `+10 WEBHOOK_EVENT_RECEIVE`, oldest first.
fn lines(rows: &[AnalyticRecord]) -> Vec<String> {
    rows.iter()
        .rev()
        .map(|row| format!("{:+} {}", row.at.millis() - at(0).millis(), row.kind.as_str()))
        .collect()
}

fn request(number: u8) -> RequestId {
    RequestId::from_bytes([number; 16])
}

fn call(tenant: TenantNo, operation: Operation, phase: Phase, number: u8, ms: i64) -> RecordedCall {
    RecordedCall {
        tenant,
        id: AnalyticId::new(at(ms), chance()),
        at: at(ms),
        operation,
        phase,
        request: request(number),
        client: None,
        data: None,
    }
}

pub(crate) async fn a_tenants_log_level_is_replaced_and_read_back<B: Backend>(world: World<B>) {
    let tenant = world.tenant.no;
    assert_eq!(world.store.registry_delta(tenant, 0).await.unwrap().log_level, LogLevel::Sanitised);
    for level in [LogLevel::Metadata, LogLevel::Full] {
        let changed = world.store.change_log_level(tenant, level, by(at(1))).await.unwrap().unwrap();
        assert_eq!((changed.log_level, changed.quota), (level, world.tenant.quota));
    }
    assert_eq!(world.store.change_log_level(TenantNo(99), LogLevel::Full, by(at(1))).await.unwrap(), None);
    let world = world.reopen().await;
    assert_eq!(world.store.registry_delta(tenant, 0).await.unwrap().log_level, LogLevel::Full);
    assert_eq!(world.store.tenants().await.unwrap()[0].log_level, LogLevel::Full);
}

pub(crate) async fn recorded_calls_read_back_newest_first<B: Backend>(world: World<B>) {
    let tenant = world.tenant.no;
    let (other, _) = world.other_tenant().await;
    let client = ClientId::new(at(0), chance());
    let start = RecordedCall {
        client: Some(client),
        data: Some(json!({"id": "x"})),
        ..call(tenant, Operation::WebhookUpdate, Phase::Start, 1, 5)
    };
    let fail = call(tenant, Operation::WebhookUpdate, Phase::Fail, 1, 6);
    let foreign = call(other.no, Operation::DomainVerify, Phase::Success, 2, 7);
    let recorded = vec![start.clone(), fail.clone(), foreign];
    world.store.record_calls(recorded.clone()).await.unwrap();
    // Once more, as after an answer that was lost.
    world.store.record_calls(recorded).await.unwrap();

    let world = world.reopen().await;
    let rows = all(&world, &AnalyticFilter::default()).await;
    assert_eq!(
        rows[1],
        AnalyticRecord {
            id: start.id,
            at: at(5),
            kind: AnalyticType::Call(Operation::WebhookUpdate, Phase::Start),
            request: request(1),
            facts: AnalyticFacts::Call { client: Some(client), data: start.data },
        }
    );
    assert_eq!((rows.len(), rows[0].id), (2, fail.id));
    assert_eq!(rows[0].facts, AnalyticFacts::Call { client: None, data: None });
}

pub(crate) async fn recorded_calls_go_in_their_time<B: Backend>(world: World<B>) {
    let tenant = world.tenant.no;
    let made = |ms: i64| call(tenant, Operation::WebhookCreate, Phase::Start, 1, ms);
    let many: Vec<_> = (0..2500).map(made).collect();
    world.store.record_calls(many).await.unwrap();
    let mut forgotten = 0;
    loop {
        match world.store.forget_calls(at(2400)).await.unwrap() {
            0 => break,
            some => forgotten += some,
        }
    }
    assert_eq!(forgotten, 2400);
    let rows = all(&world, &AnalyticFilter::default()).await;
    assert_eq!((rows.len(), rows[99].at), (100, at(2400)));
    world.store.record_calls(vec![made(3000)]).await.unwrap();
    assert_eq!(all(&world, &AnalyticFilter::default()).await[0].at, at(3000));
}

pub(crate) async fn an_event_and_its_deliveries_tell_their_steps<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    let (event, delivery) = world.waiting(&webhook, at(0)).await;
    assert_eq!(lines(&all(&world, &AnalyticFilter::default()).await), ["+0 WEBHOOK_EVENT_RECEIVE"]);
    let ticket = world.claim_one(&webhook, at(1)).await;
    world.settle(retried(&ticket, at(1), at(5000))).await;
    let ticket = world.claim_one(&webhook, at(5000)).await;
    world.settle(retried(&ticket, at(5001), at(9000))).await;
    let ticket = world.claim_one(&webhook, at(9000)).await;
    world.settle(failed(&ticket, at(9001))).await;

    let rows = all(&world, &AnalyticFilter::default()).await;
    assert_eq!(
        lines(&rows),
        [
            "+0 WEBHOOK_EVENT_RECEIVE",
            "+1 WEBHOOK_EVENT_PROCESS_START",
            "+5001 WEBHOOK_EVENT_RETRY",
            "+9001 WEBHOOK_EVENT_RETRY",
            "+9101 WEBHOOK_EVENT_PROCESS_FAIL",
        ]
    );
    assert_eq!(rows[4].request, RequestId::from_bytes(*event.bytes()));
    assert!(rows[..4].iter().all(|row| row.request == RequestId::from_bytes(*delivery.bytes())));
    assert!(rows.iter().all(|row| row.id.at() == row.at && row.id.uuid().get_version_num() == 8));
    let AnalyticFacts::Attempted { state, attempt, webhook: to, .. } = &rows[0].facts else { panic!() };
    assert_eq!((*state, attempt.number, *to), (State::Failed(FailReason::AttemptsExhausted), 3, webhook.id));

    // Cancelled after one attempt: it failed with that. Cancelled before any: it was never begun.
    let (_, tried) = world.waiting(&webhook, at(20_000)).await;
    let ticket = world.claim_one(&webhook, at(20_001)).await;
    world.settle(retried(&ticket, at(20_001), at(30_000))).await;
    world.waiting(&webhook, at(20_002)).await;
    let after = AnalyticFilter { from: Some(at(20_000)), ..AnalyticFilter::default() };
    assert_eq!(all(&world, &after).await.len(), 3);
    world.disable(&webhook, true).await;
    let rows = all(&world, &after).await;
    assert_eq!(
        lines(&rows),
        [
            "+20000 WEBHOOK_EVENT_RECEIVE",
            "+20001 WEBHOOK_EVENT_PROCESS_START",
            "+20002 WEBHOOK_EVENT_RECEIVE",
            "+20101 WEBHOOK_EVENT_PROCESS_FAIL",
        ]
    );
    let AnalyticFacts::Attempted { state, .. } = rows[0].facts else { panic!() };
    assert_eq!(
        (state, rows[0].request),
        (State::Cancelled(CancelReason::WebhookDisabled), RequestId::from_bytes(*tried.bytes()))
    );
    let ids = |rows: &[AnalyticRecord]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    let before = ids(&rows);
    world.sweep(at(20_200)).await;
    let world = world.reopen().await;
    assert_eq!(ids(&all(&world, &after).await), before);
}

/// What the rest of history says must have happened: (at, type, request), without the calls.
async fn expected<B: Backend>(world: &World<B>) -> HashSet<(Timestamp, &'static str, RequestId)> {
    let mut steps = HashSet::new();
    let mut put = |at: Timestamp, step: Step, id: &[u8; 16]| {
        let name = AnalyticType::Delivery(step).as_str();
        assert!(steps.insert((at, name, RequestId::from_bytes(*id))));
    };
    for event in world.all_events(EventFilter::default()).await {
        put(event.accepted_at, Step::Receive, event.id.bytes());
    }
    for delivery in world.all_deliveries(DeliveryFilter::default()).await {
        let detail = world.detail(delivery.id).await;
        for attempt in &detail.attempts {
            let step = if attempt.number == 1 { Step::ProcessStart } else { Step::Retry };
            put(attempt.started_at, step, delivery.id.bytes());
        }
        if let Some(last) = detail.attempts.last().filter(|_| delivery.state.is_final()) {
            let end = Timestamp::from_millis(last.started_at.millis() + i64::from(last.took_ms.min(60_000)));
            let ended_well = delivery.state == State::Delivered;
            put(end, if ended_well { Step::ProcessSuccess } else { Step::ProcessFail }, delivery.id.bytes());
        }
    }
    steps
}

/// Calls, prompt deliveries, late ones, retries, ends of every kind, several at the same millisecond.
async fn busy<B: Backend>(world: World<B>) -> World<B> {
    let webhook = world.webhook().await;
    let (other, _) = world.other_tenant().await;
    let took = |settlement: Settlement, took_ms: u32| {
        let mut settlement = settlement;
        settlement.attempt.took_ms = took_ms;
        settlement
    };
    let mut calls = Vec::new();
    for round in 0..12_i64 {
        let now = round * 700;
        for _ in 0..3 {
            world.waiting(&webhook, at(now)).await;
        }
        calls.push(call(other.no, Operation::WebhookRetrieve, Phase::Start, round as u8, now));
        for phase in [Phase::Start, Phase::Success] {
            calls.push(call(world.tenant.no, Operation::WebhookRetrieve, phase, round as u8, now));
        }
        // Two of three are taken now, the others come late.
        let due = world.claim_lane(ordinary(&webhook), 2, at(now + 1)).await;
        for (index, claim) in due.iter().enumerate() {
            let ticket = &claim.ticket;
            let settlement = match (round + index as i64) % 5 {
                0 => delivered(ticket, at(now + 1)),
                1 => retried(ticket, at(now + 1), at(now + 900)),
                2 => took(delivered(ticket, at(now + 1)), 3000),
                3 => took(failed(ticket, at(now + 2)), 90_000),
                _ => delivered(ticket, at(now)),
            };
            world.settle(settlement).await;
        }
        if round % 4 == 1 {
            world.sweep(at(now + 3)).await;
        }
    }
    world.store.record_calls(calls).await.unwrap();
    for claim in world.claim(&webhook, at(60_000)).await.iter().skip(1) {
        world.settle(delivered(&claim.ticket, at(60_000))).await;
    }
    world
}

pub(crate) async fn every_step_is_told_once_and_pages_have_no_gaps_or_repeats<B: Backend>(world: World<B>) {
    let world = busy(world).await;
    let everything = all(&world, &AnalyticFilter::default()).await;
    let told: Vec<_> = everything
        .iter()
        .filter(|row| matches!(row.kind, AnalyticType::Delivery(_)))
        .map(|row| (row.at, row.kind.as_str(), row.request))
        .collect();
    let expected = expected(&world).await;
    assert_eq!(told.len(), expected.len());
    assert_eq!(told.iter().copied().collect::<HashSet<_>>(), expected);
    assert_eq!(everything.len() - told.len(), 24, "the calls");
    assert_eq!(everything.iter().map(|row| row.id).collect::<HashSet<_>>().len(), everything.len());
    for step in Step::ALL {
        assert!(everything.iter().any(|row| row.kind == AnalyticType::Delivery(step)), "{step:?}");
    }
    for limit in [1, 2, 7, 50] {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let (rows, next) = page(&world, &AnalyticFilter::default(), limit, after).await;
            paged.extend(rows);
            if next.is_none() {
                break;
            }
            after = next;
        }
        assert!(paged == everything, "by {limit}");
    }
    world.sweep(at(60_001)).await;
    assert!(all(&world, &AnalyticFilter::default()).await == everything, "also when all is indexed");
}

/// More rows than one step of a source reads; attempts that end long after what was made later.
pub(crate) async fn pages_hold_together_where_sources_are_read_in_steps<B: Backend>(world: World<B>) {
    let webhook = world.webhook().await;
    for batch in 0..30_i64 {
        let now = batch * 300;
        let events = (0..100).map(|_| world.event().to(&webhook)).collect();
        world.accept_all(events, at(now)).await;
        let claims = world.claim(&webhook, at(now + 1)).await;
        let settlements = claims.iter().zip(0_i64..).map(|(claim, index)| {
            let late = if index % 10 == 0 { 5000 } else { 0 };
            let mut settlement = delivered(&claim.ticket, at(now + 1 + index * 17 + late));
            settlement.attempt.took_ms = (index % 50) as u32;
            settlement
        });
        world.store.settle(settlements.collect()).await.unwrap();
        let calls = (0..100).map(|index| {
            call(world.tenant.no, Operation::WebhookRetrieve, Phase::Start, index as u8, now + index * 3)
        });
        world.store.record_calls(calls.collect()).await.unwrap();
    }
    let everything = all(&world, &AnalyticFilter::default()).await;
    assert_eq!(everything.len(), 4 * 3000);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let (rows, next) = page(&world, &AnalyticFilter::default(), 333, after).await;
        paged.extend(rows);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert!(paged == everything);
}

pub(crate) async fn analytic_events_are_filtered<B: Backend>(world: World<B>) {
    let world = busy(world).await;
    let everything = all(&world, &AnalyticFilter::default()).await;
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let none = AnalyticFilter::default;
    let some: Vec<_> = everything.iter().step_by(7).collect();
    let clients = |among| AnalyticFilter { clients: Some(among), ..none() };
    for (filter, fits) in [
        (AnalyticFilter { from: Some(at(1400)), to: Some(at(2101)), ..none() }, {
            Box::new(|row: &AnalyticRecord| (at(1400)..=at(2101)).contains(&row.at))
                as Box<dyn Fn(&AnalyticRecord) -> bool>
        }),
        (AnalyticFilter { from: Some(at(3001)), ..none() }, Box::new(|row| row.at >= at(3001))),
        (AnalyticFilter { to: Some(at(701)), ..none() }, Box::new(|row| row.at <= at(701))),
        (
            AnalyticFilter { types: names(&["WEBHOOK_EVENT_RETRY", "WEBHOOK_RETRIEVE_START"]), ..none() },
            Box::new(|row| ["WEBHOOK_EVENT_RETRY", "WEBHOOK_RETRIEVE_START"].contains(&row.kind.as_str())),
        ),
        (
            AnalyticFilter { types: names(&["WEBHOOK_EVENT_PROCESS_SUCCESS"]), ..none() },
            Box::new(|row| row.kind.as_str() == "WEBHOOK_EVENT_PROCESS_SUCCESS"),
        ),
        (AnalyticFilter { categories: names(&["config-custom-domain"]), ..none() }, Box::new(|_| false)),
        (
            AnalyticFilter { ids: Some(some.iter().map(|row| row.id).collect()), ..none() },
            Box::new(|row| some.iter().any(|one| one.id == row.id)),
        ),
        (
            AnalyticFilter { requests: Some(some.iter().map(|row| row.request).collect()), ..none() },
            Box::new(|row| some.iter().any(|one| one.request == row.request)),
        ),
        (clients(Among { none: true, ..Among::default() }), Box::new(|_| true)),
        (clients(Among { any: true, ..Among::default() }), Box::new(|_| false)),
    ] {
        let wanted: Vec<_> = everything.iter().filter(|row| fits(row)).cloned().collect();
        assert!(all(&world, &filter).await == wanted, "{filter:?}");
        let (first, next) = page(&world, &filter, 2, None).await;
        assert_eq!((first.len(), next.is_some()), (wanted.len().min(2), wanted.len() > 2), "{filter:?}");
        if next.is_some() {
            assert!(page(&world, &filter, 1, next).await.0 == wanted[2..3], "{filter:?}");
        }
    }
}

pub(crate) async fn another_tenants_analytic_events_are_not_told<B: Backend>(world: World<B>) {
    let world = busy(world).await;
    let third = world.store.create_tenant(new_tenant("three"), by(at(0))).await.unwrap().unwrap();
    let mine = all(&world, &AnalyticFilter::default()).await;
    for filter in [
        AnalyticFilter::default(),
        AnalyticFilter { ids: Some(mine.iter().map(|row| row.id).collect()), ..AnalyticFilter::default() },
        AnalyticFilter {
            requests: Some(mine.iter().map(|row| row.request).collect()),
            ..AnalyticFilter::default()
        },
    ] {
        let request = PageRequest { limit: 100, after: None };
        let page = world.store.analytic_events(third.no, filter, request).await.unwrap();
        assert!(page.rows.is_empty());
    }
}

pub(crate) async fn what_is_forgotten_is_told_no_more<B: Backend>(world: World<B>) {
    let world = busy(world).await;
    let erased = world.erase(ErasureScope::Range { from: at(0), to: at(100_000) }, at(100_000)).await;
    assert!(erased > 0);
    // An erasure takes payloads; that something happened stays as long as its metadata.
    assert!(!all(&world, &AnalyticFilter::default()).await.is_empty());
    world.sweep(at(0) + DAY * 40).await;
    let left = all(&world, &AnalyticFilter::default()).await;
    let told: Vec<_> = left.into_iter().filter(|row| !matches!(row.kind, AnalyticType::Call(..))).collect();
    assert_eq!(lines(&told), ["+4900 WEBHOOK_EVENT_RECEIVE"], "whose delivery is still being sent");
}
