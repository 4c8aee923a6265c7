//! What is written after attempts: the rows are locked and read, moved in memory, and written back, all of a group at
//! once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sealpost_core::delivery::{CancelReason, State};
use sealpost_core::health::{Health, after_end};
use sealpost_core::outcome::Outcome;
use sealpost_core::time::Timestamp;

use super::destroy_if_forgetful;
use super::open::SealedExcerpt;
use crate::postgres::fault::Fault;
use crate::postgres::group::Work;
use crate::postgres::pool::{Columns as _, Conn, Params};
use crate::postgres::registry::health;
use crate::postgres::{Shared, count};
use crate::queue::{Next, Settled, Settlement};
use crate::rows;

pub(in crate::postgres) struct SettleWork {
    settlements: Vec<Settlement>,
    excerpts: Vec<Option<SealedExcerpt>>,
}

impl SettleWork {
    pub(super) fn new(settlements: Vec<Settlement>, excerpts: Vec<Option<SealedExcerpt>>) -> Self {
        Self { settlements, excerpts }
    }
}

impl Work for SettleWork {
    type Answer = Vec<Settled>;

    fn size(&self) -> (usize, usize) {
        (2 * self.settlements.len(), 0)
    }

    /// Doing it again is harmless: what was stored is answered as [`Settled::Already`].
    async fn store(shared: &Arc<Shared>, group: &[&Self]) -> Result<Vec<Option<Vec<Settled>>>, Fault> {
        let conn = shared.pool.get().await?;
        let arrived = at_first(&conn, group).await?;
        if !arrived.is_empty() {
            shared.pool.commits.fetch_add(1, Ordering::Relaxed);
        }
        count(&shared.tally.settles, arrived.len() as u64);
        count(&shared.tally.delivery_writes, arrived.len() as u64);
        if arrived.len() == group.iter().map(|work| work.settlements.len()).sum::<usize>() {
            return Ok(group.iter().map(|work| Some(vec![ARRIVED; work.settlements.len()])).collect());
        }
        conn.begin().await?;
        let (answers, settled) = settle_all(&conn, group, arrived).await?;
        conn.commit().await?;
        count(&shared.tally.settles, settled);
        count(&shared.tally.delivery_writes, settled);
        Ok(answers.into_iter().map(Some).collect())
    }

    async fn unheard(&self, _: &Arc<Shared>, _: Vec<Settled>) {}
}

const ARRIVED: Settled = Settled::Settled { state: State::Delivered, health: None };

/// A delivery's row on its way.
struct Held {
    attempt: u8,
    fence: i64,
    claimed: bool,
    tenant: i64,
    webhook: i64,
    event: i64,
    created_at: i64,
    /// Why it must not be tried again: somebody asked while it was in flight, or its lane's epoch rose.
    cancelled: Option<CancelReason>,
    forgetful: bool,
    health: Health,
    only_unknown: bool,
    /// What it becomes.
    moved: Option<Moved>,
}

struct Moved {
    state: State,
    due: Option<i64>,
    ended: Option<i64>,
    /// The first attempt stands in the row itself.
    first: Option<(i64, i64, i16, Option<i32>)>,
}

const AT_FIRST: &str =
    "UPDATE delivery d SET state = $7, reason = 0, due = NULL, fence = d.fence + 1, claimer = NULL,
            cancel = 0, only_unknown = FALSE, ended = greatest(m.started + m.took, d.created_at),
            started = m.started, took = m.took, outcome = m.outcome, http = m.http
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::integer[])
          AS m (seq, fence, started, took, outcome, http), webhook w
     WHERE d.seq = m.seq AND d.attempt = 1 AND d.fence = m.fence AND d.claimer IS NOT NULL
       AND w.no = d.webhook AND w.health = 0 AND NOT w.failing AND w.retention <> 1
     RETURNING d.seq";

/// The common end: delivered by the first attempt, and nothing more is known of that.
fn is_plain(settlement: &Settlement, excerpt: Option<&SealedExcerpt>) -> bool {
    let attempt = &settlement.attempt;
    settlement.ticket.attempt == 1
        && settlement.next == Next::End(State::Delivered)
        && attempt.outcome == Outcome::Delivered
        && attempt.error.is_none()
        && excerpt.is_none()
}

/// The common ends, at webhooks that are well and keep what they get. What arrived stays delivered whatever happened to
/// the webhook meanwhile, so nothing has to be read first, and the one statement is a transaction. Returns whose rows
/// it moved; the others have to be looked at.
async fn at_first(conn: &Conn, group: &[&SettleWork]) -> Result<BTreeSet<i64>, Fault> {
    let (mut seqs, mut fences, mut started): (Vec<i64>, Vec<i64>, Vec<i64>) = Default::default();
    let (mut took, mut outcomes, mut http): (Vec<i64>, Vec<i16>, Vec<Option<i32>>) = Default::default();
    let mut seen = BTreeSet::new();
    for (settlement, excerpt) in group.iter().flat_map(|work| work.settlements.iter().zip(&work.excerpts)) {
        let (ticket, attempt) = (&settlement.ticket, &settlement.attempt);
        // Of a delivery that is settled twice in one group, the second finds what the first left.
        if !is_plain(settlement, excerpt.as_ref()) || !seen.insert(ticket.delivery.0) {
            continue;
        }
        seqs.push(ticket.delivery.0);
        fences.push(ticket.fence);
        started.push(attempt.started_at.millis());
        took.push(attempt.took_ms.into());
        outcomes.push(attempt.outcome.code().into());
        http.push(attempt.http_status.map(i32::from));
    }
    if seqs.is_empty() {
        return Ok(BTreeSet::new());
    }
    let state = i16::from(State::Delivered.status().code());
    let columns: Params<'_> = &[&seqs, &fences, &started, &took, &outcomes, &http, &state];
    conn.rows(AT_FIRST, columns).await?.iter().map(|row| row.col(0)).collect()
}

/// Everything but what is stored already: the first plain one of each of these rows.
async fn settle_all(
    conn: &Conn,
    group: &[&SettleWork],
    mut arrived: BTreeSet<i64>,
) -> Result<(Vec<Vec<Settled>>, u64), Fault> {
    let all = group.iter().flat_map(|work| &work.settlements);
    let seqs: BTreeSet<i64> = all.map(|settlement| settlement.ticket.delivery.0).collect();
    let mut held = load(conn, seqs.into_iter().collect()).await?;
    // First what becomes of each row, since the webhooks to lock follow from it.
    let mut states: Vec<Vec<Result<State, Settled>>> = Vec::with_capacity(group.len());
    let mut attempts = Attempts::default();
    for work in group {
        let each = work.settlements.iter().zip(&work.excerpts);
        let moved = each.map(|(settlement, excerpt)| {
            if is_plain(settlement, excerpt.as_ref()) && arrived.remove(&settlement.ticket.delivery.0) {
                return Err(ARRIVED);
            }
            let (state, tenant) = move_on(&mut held, settlement)?;
            attempts.add(settlement, excerpt.as_ref(), tenant);
            Ok(state)
        });
        states.push(moved.collect());
    }
    let settled = held.values().filter(|row| row.moved.is_some()).count() as u64;
    write(conn, &held).await?;
    attempts.insert(conn).await?;

    let mut healths = lock_healths(conn, &held).await?;
    let mut answers = Vec::with_capacity(group.len());
    for (work, states) in group.iter().zip(states) {
        let mut answer = Vec::with_capacity(states.len());
        for (settlement, state) in work.settlements.iter().zip(states) {
            answer.push(match state {
                Err(not_held) => not_held,
                Ok(state) => {
                    let webhook = held.get(&settlement.ticket.delivery.0).map_or(0, |row| row.webhook);
                    let known = healths.get_mut(&webhook);
                    let health = match (state, known) {
                        (State::Delivered | State::Failed(_), Some(known)) => {
                            let delivered = state == State::Delivered;
                            let (after, change) = after_end(known.now, delivered, settlement.alert_after);
                            known.now = after;
                            change
                        }
                        _ => None,
                    };
                    Settled::Settled { state, health }
                }
            });
        }
        answers.push(answer);
    }
    write_healths(conn, &healths).await?;
    let over = held
        .values()
        .filter(|row| row.forgetful && row.moved.as_ref().is_some_and(|moved| moved.state.is_final()));
    let (events, times): (Vec<i64>, Vec<Option<i64>>) =
        over.map(|row| (row.event, row.moved.as_ref().and_then(|moved| moved.ended))).unzip();
    if let Some(last) = times.into_iter().flatten().max() {
        destroy_if_forgetful(conn, &events, Timestamp::from_millis(last)).await?;
    }
    Ok((answers, settled))
}

async fn load(conn: &Conn, seqs: Vec<i64>) -> Result<BTreeMap<i64, Held>, Fault> {
    let sql = "SELECT d.seq, d.attempt, d.fence, d.claimer IS NOT NULL, d.webhook, d.event, d.created_at, d.cancel,
                      d.lane_epoch, w.lane_epoch, w.deleted_at IS NOT NULL, w.retention = 1, w.health, w.failing,
                      d.only_unknown, d.tenant
               FROM delivery d JOIN webhook w ON w.no = d.webhook
               WHERE d.seq = ANY($1) ORDER BY d.seq FOR UPDATE OF d";
    let mut held = BTreeMap::new();
    for row in conn.rows(sql, &[&seqs]).await? {
        let asked = rows::cancel_reason(row.code(7)?)?;
        let stale = row.col::<i64>(8)? < row.col::<i64>(9)?;
        let of = Held {
            attempt: row.code(1)?,
            fence: row.col(2)?,
            claimed: row.col(3)?,
            tenant: row.col(15)?,
            webhook: row.col(4)?,
            event: row.col(5)?,
            created_at: row.col(6)?,
            cancelled: asked.or(stale.then_some(rows::stale_reason(row.col(10)?))),
            forgetful: row.col(11)?,
            health: health(row.col(12)?, row.col(13)?),
            only_unknown: row.col(14)?,
            moved: None,
        };
        held.insert(row.col(0)?, of);
    }
    Ok(held)
}

/// The state after it and whose it is, or why it is not stored.
fn move_on(held: &mut BTreeMap<i64, Held>, settlement: &Settlement) -> Result<(State, i64), Settled> {
    let (ticket, attempt) = (&settlement.ticket, &settlement.attempt);
    let Some(row) = held.get_mut(&ticket.delivery.0) else { return Err(Settled::Stale) };
    if !row.claimed || (row.attempt, row.fence) != (ticket.attempt, ticket.fence) {
        // Settling raises the fence by one and keeps the attempt; handing back lowers the attempt.
        let already = !row.claimed && (row.attempt, row.fence) == (ticket.attempt, ticket.fence + 1);
        return Err(if already { Settled::Already } else { Settled::Stale });
    }
    let (state, due) = decide(row, settlement.next);
    let over = attempt.started_at.millis().saturating_add(i64::from(attempt.took_ms));
    row.claimed = false;
    row.fence += 1;
    row.only_unknown &= attempt.outcome == Outcome::Unknown;
    row.moved = Some(Moved {
        state,
        due,
        ended: state.is_final().then_some(over.max(row.created_at)),
        first: (ticket.attempt == 1).then_some((
            attempt.started_at.millis(),
            i64::from(attempt.took_ms),
            i16::from(attempt.outcome.code()),
            attempt.http_status.map(i32::from),
        )),
    });
    Ok((state, row.tenant))
}

/// What arrived stays delivered; everything else gives way to a cancellation.
fn decide(row: &Held, next: Next) -> (State, Option<i64>) {
    match (next, row.cancelled) {
        (Next::End(State::Delivered), _) => (State::Delivered, None),
        (_, Some(reason)) => (State::Cancelled(reason), None),
        (Next::RetryAt(due), None) => (State::Pending, Some(due.millis())),
        (Next::End(state), None) => (state, None),
    }
}

async fn write(conn: &Conn, held: &BTreeMap<i64, Held>) -> Result<(), Fault> {
    let moved: Vec<(&i64, &Held, &Moved)> =
        held.iter().filter_map(|(seq, row)| Some((seq, row, row.moved.as_ref()?))).collect();
    if moved.is_empty() {
        return Ok(());
    }
    let seqs: Vec<i64> = moved.iter().map(|(seq, ..)| **seq).collect();
    let states: Vec<i16> = moved.iter().map(|(.., to)| to.state.status().code().into()).collect();
    let reasons: Vec<i16> = moved.iter().map(|(.., to)| to.state.reason_code().into()).collect();
    let dues: Vec<Option<i64>> = moved.iter().map(|(.., to)| to.due).collect();
    let ended: Vec<Option<i64>> = moved.iter().map(|(.., to)| to.ended).collect();
    let fences: Vec<i64> = moved.iter().map(|(_, row, _)| row.fence).collect();
    let unknown: Vec<bool> = moved.iter().map(|(_, row, _)| row.only_unknown).collect();
    let started: Vec<Option<i64>> = moved.iter().map(|(.., to)| to.first.map(|first| first.0)).collect();
    let took: Vec<Option<i64>> = moved.iter().map(|(.., to)| to.first.map(|first| first.1)).collect();
    let outcomes: Vec<Option<i16>> = moved.iter().map(|(.., to)| to.first.map(|first| first.2)).collect();
    let http: Vec<Option<i32>> = moved.iter().map(|(.., to)| to.first.and_then(|first| first.3)).collect();
    // The fence is in the condition as well, although the rows are locked: it is what the whole queue rests on.
    let sql = "UPDATE delivery d SET state = m.state, reason = m.reason, due = m.due, ended = m.ended, fence = m.fence,
                      only_unknown = m.only_unknown, claimer = NULL, cancel = 0,
                      started = coalesce(m.started, d.started), took = coalesce(m.took, d.took),
                      outcome = coalesce(m.outcome, d.outcome), http = coalesce(m.http, d.http)
               FROM unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[],
                           $7::boolean[], $8::bigint[], $9::bigint[], $10::smallint[], $11::integer[])
                    AS m (seq, state, reason, due, ended, fence, only_unknown, started, took, outcome, http)
               WHERE d.seq = m.seq AND d.fence = m.fence - 1 AND d.claimer IS NOT NULL";
    let written = conn
        .run(
            sql,
            &[&seqs, &states, &reasons, &dues, &ended, &fences, &unknown, &started, &took, &outcomes, &http],
        )
        .await?;
    if written == seqs.len() as u64 { Ok(()) } else { Err(Fault::Again) }
}

/// From the second attempt on, and what a first attempt does not fold.
#[derive(Default)]
struct Attempts<'a> {
    delivery: Vec<i64>,
    number: Vec<i16>,
    started: Vec<i64>,
    took: Vec<i64>,
    outcome: Vec<i16>,
    http: Vec<Option<i32>>,
    error: Vec<Option<&'a str>>,
    salt: Vec<Option<&'a [u8]>>,
    excerpt: Vec<Option<&'a [u8]>>,
    tenant: Vec<i64>,
}

impl<'a> Attempts<'a> {
    fn add(&mut self, settlement: &'a Settlement, excerpt: Option<&'a SealedExcerpt>, tenant: i64) {
        let (ticket, attempt) = (&settlement.ticket, &settlement.attempt);
        if ticket.attempt == 1 && attempt.error.is_none() && excerpt.is_none() {
            return;
        }
        self.delivery.push(ticket.delivery.0);
        self.number.push(ticket.attempt.into());
        self.started.push(attempt.started_at.millis());
        self.took.push(attempt.took_ms.into());
        self.outcome.push(attempt.outcome.code().into());
        self.http.push(attempt.http_status.map(i32::from));
        self.error.push(attempt.error.as_deref());
        self.salt.push(excerpt.map(|excerpt| excerpt.salt.as_slice()));
        self.excerpt.push(excerpt.map(|excerpt| excerpt.sealed.as_slice()));
        self.tenant.push(tenant);
    }

    async fn insert(&self, conn: &Conn) -> Result<(), Fault> {
        if self.delivery.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO attempt (delivery, number, started, took, outcome, http, error, salt, excerpt, tenant)
                   SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::smallint[],
                                        $6::integer[], $7::text[], $8::bytea[], $9::bytea[], $10::bigint[])";
        conn.run(
            sql,
            &[
                &self.delivery,
                &self.number,
                &self.started,
                &self.took,
                &self.outcome,
                &self.http,
                &self.error,
                &self.salt,
                &self.excerpt,
                &self.tenant,
            ],
        )
        .await
        .map(drop)
    }
}

struct Known {
    before: Health,
    now: Health,
}

/// The health of those webhooks that these ends may move, locked; a delivery to a webhook that is well moves nothing.
async fn lock_healths(conn: &Conn, held: &BTreeMap<i64, Held>) -> Result<HashMap<i64, Known>, Fault> {
    let moves = |row: &&Held| match row.moved.as_ref().map(|moved| moved.state) {
        Some(State::Failed(_)) => true,
        Some(State::Delivered) => row.health != Health::default(),
        _ => false,
    };
    let webhooks: BTreeSet<i64> = held.values().filter(moves).map(|row| row.webhook).collect();
    let webhooks: Vec<i64> = webhooks.into_iter().collect();
    let mut healths = HashMap::new();
    if webhooks.is_empty() {
        return Ok(healths);
    }
    let sql = "SELECT no, health, failing FROM webhook WHERE no = ANY($1) ORDER BY no FOR NO KEY UPDATE";
    for row in conn.rows(sql, &[&webhooks]).await? {
        let now = health(row.col(1)?, row.col(2)?);
        healths.insert(row.col(0)?, Known { before: now, now });
    }
    Ok(healths)
}

async fn write_healths(conn: &Conn, healths: &HashMap<i64, Known>) -> Result<(), Fault> {
    for (webhook, known) in healths.iter().filter(|(_, known)| known.now != known.before) {
        let sql = "UPDATE webhook SET health = $2, failing = $3 WHERE no = $1";
        conn.run(sql, &[webhook, &i64::from(known.now.failed_in_a_row), &known.now.failing]).await?;
    }
    Ok(())
}
