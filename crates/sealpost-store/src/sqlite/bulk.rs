//! Loads history in bulk: for a benchmark that asks what a delivery costs after ten million others.
//!
//! Every event ended long ago: one delivery, delivered by its first attempt, and a payload that is pruned. Its rows
//! are those that accept, settle, retention and the listing index leave behind, so upkeep finds nothing to do with
//! them. What is not imitated: pages that pruned payloads left half empty, so the file is smaller than one that grew.
//!
//! It does not wait for the disk before its end. Killed, it leaves a shorter history; a power cut may cost the store.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use sealpost_core::delivery::State;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{Chance, DeliveryId, EventId, WebhookId, WebhookNo};
use sealpost_core::lane::LaneNo;
use sealpost_core::outcome::Outcome;
use sealpost_core::time::Timestamp;

use crate::error::StoreError;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::listing::{self, Table};
use crate::sqlite::open::{self, FolderLock, OpenOptions};
use crate::sqlite::retention::{AGED_EVENT, Gone};
use crate::sqlite::schema;
use crate::sqlite::writer::{WriteError, folder_of};

/// Between one event and the next: ten million reach back 11.6 days, and metadata is kept for 30.
const INTERVAL_MS: i64 = 100;
/// Each is six rows, three of them in the listing index.
const EVENTS_PER_TRANSACTION: u64 = 10_000;
const CACHE_KIB: i64 = 128 * 1024;

/// An ordinary event and its delivery: the size of the payload's text, and how the only attempt went.
const PAYLOAD_BYTES: i64 = 1400;
const SENT_AFTER_MS: i64 = 3;
const TOOK_MS: i64 = 25;
const HTTP_STATUS: i64 = 200;

/// Adds `ended` events of the type, each delivered to the webhook, to a store that nobody has open. Numbers go on from
/// those that are there, and times must too.
///
/// The last event was accepted at `newest`: more than a day before the store is used next, since a payload that was
/// delivered is kept for a day.
pub fn load_history(
    options: OpenOptions,
    webhook: WebhookId,
    event_type: &EventTypeName,
    ended: u64,
    newest: Timestamp,
) -> Result<(), StoreError> {
    let _lock = FolderLock::take(folder_of(&options.path))?;
    load(&options, webhook, event_type, ended, newest).map_err(WriteError::for_caller)
}

fn load(
    options: &OpenOptions,
    webhook: WebhookId,
    event_type: &EventTypeName,
    ended: u64,
    newest: Timestamp,
) -> Result<(), WriteError> {
    let (mut conn, _, incarnation) = open::open_locked(options)?;
    let subscriber = Subscriber::of(&conn, webhook)?;
    let times = Times::after_what_is_there(&conn, ended, newest)?;
    let mut ctx = WriterCtx::load(&conn, incarnation)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    let mut loaded = 0;
    while loaded < ended {
        let until = ended.min(loaded + EVENTS_PER_TRANSACTION);
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if loaded == 0 {
            leave_to_upkeep(&transaction, newest)?;
        }
        let type_no = ctx.type_no(&transaction, event_type)?;
        insert(&transaction, &mut ctx, &subscriber, type_no, (loaded..until).map(|index| times.of(index)))?;
        list_all(&transaction, newest)?;
        schema::set_meta(&transaction, AGED_EVENT, &listing::newest(&transaction, Table::Event)?)?;
        transaction.commit()?;
        loaded = until;
        if loaded == ended {
            // The last checkpoint waits for the whole file, or the benchmark would.
            conn.pragma_update(None, "synchronous", "FULL")?;
        }
        empty_log(&conn)?;
    }
    Ok(())
}

/// Whom the deliveries are for.
struct Subscriber {
    tenant: i64,
    webhook: WebhookNo,
    lane_epoch: i64,
}

impl Subscriber {
    fn of(conn: &Connection, webhook: WebhookId) -> Result<Self, WriteError> {
        let found = conn
            .prepare_cached(
                "SELECT tenant, no, lane_epoch FROM webhook WHERE id = ?1 AND deleted_at IS NULL",
            )?
            .query_row([webhook.bytes()], |row| {
                Ok(Self { tenant: row.get(0)?, webhook: WebhookNo(row.get(1)?), lane_epoch: row.get(2)? })
            })
            .optional()?;
        Ok(found.ok_or_else(|| StoreError::Refused(format!("there is no webhook {webhook}")))?)
    }
}

/// When the events were accepted, evenly up to the newest.
#[derive(Debug)]
struct Times {
    newest: i64,
    interval: i64,
    last: i64,
}

impl Times {
    /// Lists take the order of numbers for that of times, so history cannot begin before what is there.
    fn after_what_is_there(conn: &Connection, ended: u64, newest: Timestamp) -> Result<Self, WriteError> {
        let there: Option<i64> = conn
            .prepare_cached("SELECT accepted_at FROM event ORDER BY seq DESC LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        let room = newest.millis() - there.unwrap_or(Timestamp::MIN.millis());
        if room < 0 {
            return Err(StoreError::Refused("the store holds events newer than the history".into()).into());
        }
        let ended = i64::try_from(ended).unwrap_or(i64::MAX).max(1);
        Ok(Self { newest: newest.millis(), interval: INTERVAL_MS.min(room / ended), last: ended - 1 })
    }

    fn of(&self, index: u64) -> Timestamp {
        Timestamp::from_millis(self.newest - self.interval * (self.last - index as i64))
    }
}

/// The cursor of aged events is about to pass over those that are there: their payloads are looked at by their time.
fn leave_to_upkeep(conn: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let aged: i64 = schema::meta(conn, AGED_EVENT)?.unwrap_or(0);
    conn.prepare_cached("UPDATE payload SET until = ?2 WHERE seq > ?1 AND gone = 0 AND until IS NULL")?
        .execute((aged, now.millis()))?;
    Ok(())
}

fn insert(
    conn: &Connection,
    ctx: &mut WriterCtx,
    to: &Subscriber,
    type_no: i64,
    accepted: impl Iterator<Item = Timestamp>,
) -> rusqlite::Result<()> {
    let mut payload = conn
        .prepare("INSERT INTO payload (seq, salt, sealed, gone, until) VALUES (?1, NULL, NULL, ?2, NULL)")?;
    let mut event = conn.prepare(
        "INSERT INTO event (seq, tenant, id, type, at, accepted_at, content, flags, derived_of, payload, bytes, \
         first_delivery, deliveries) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, 0, NULL, ?1, ?7, ?8, 1)",
    )?;
    // The claim that accept made had fence 1, and settling raised it.
    let mut delivery = conn.prepare(
        "INSERT INTO delivery (seq, id, event, webhook, lane, lane_epoch, created_at, state, reason, attempt, fence, \
         due, claimer, started, took, outcome, http, tenant) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 1, 2, NULL, NULL, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for at in accepted {
        let (event_no, delivery_no) = (ctx.next_event(), ctx.next_delivery());
        let id = EventId::new(at, chance(event_no));
        payload.execute((event_no, Gone::Pruned as i64))?;
        event.execute((
            event_no,
            to.tenant,
            id.bytes(),
            type_no,
            at.millis(),
            content(id),
            PAYLOAD_BYTES,
            delivery_no,
        ))?;
        delivery.execute((
            delivery_no,
            DeliveryId::new(at, chance(delivery_no)).bytes(),
            event_no,
            to.webhook.0,
            LaneNo::ordinary(to.webhook).0,
            to.lane_epoch,
            at.millis(),
            State::Delivered.status().code(),
            at.millis() + SENT_AFTER_MS,
            TOOK_MS,
            Outcome::Delivered.code(),
            HTTP_STATUS,
            to.tenant,
        ))?;
    }
    Ok(())
}

/// Ids rise with numbers, also within a millisecond.
fn chance(no: i64) -> Chance {
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&no.to_be_bytes());
    chance
}

/// As long as the keyed hash of what a publisher sent, and like it the same for no two events.
fn content(id: EventId) -> [u8; 32] {
    let mut content = [0; 32];
    content[..16].copy_from_slice(id.bytes());
    content
}

fn list_all(conn: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    for table in [Table::Event, Table::Delivery] {
        while listing::watermark(conn, table)? < listing::newest(conn, table)? {
            listing::fill(conn, EVENTS_PER_TRANSACTION as i64, now)?;
        }
    }
    Ok(())
}

fn empty_log(conn: &Connection) -> Result<(), WriteError> {
    let busy: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        return Err(StoreError::Backend("somebody reads the store while history is loaded".into()).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
