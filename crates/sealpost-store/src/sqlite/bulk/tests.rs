use rusqlite::types::Value;

use sealpost_core::delivery::Status;
use sealpost_core::webhook::Webhook;

use super::*;
use crate::history::{DeliveryFilter, EventFilter, History, PayloadState};
use crate::page::PageRequest;
use crate::queue::{Next, Queue, Settled};
use crate::sqlite::SqliteStore;
use crate::sqlite::testing::{Fixture, at, claimed, event, settlement, type_name};
use crate::upkeep::{Swept, Upkeep};

const DAY_MS: i64 = 24 * 3_600_000;

/// Closes the store, loads, and opens it again.
async fn load(fixture: Fixture, webhook: &Webhook, ended: u64, newest: Timestamp) -> Fixture {
    fixture.store.close().await.unwrap();
    let options = fixture.options.clone();
    load_history(options, webhook.id, &type_name(), ended, newest).unwrap();
    fixture.restart(|_| ())
}

async fn sweep_all(store: &SqliteStore, now: Timestamp) {
    while store.sweep(now).await.unwrap() != Swept::default() {}
}

/// Accepted, sent at once and settled.
async fn deliver(fixture: &Fixture, webhook: &Webhook) -> EventId {
    let accepted = fixture.accept(vec![event(vec![claimed(webhook)])]).await.remove(0);
    let mut settlement = settlement(accepted.claims[0], Outcome::Delivered, Next::End(State::Delivered));
    settlement.attempt.http_status = Some(200);
    let settled = fixture.store.settle(vec![settlement]).await.unwrap().remove(0);
    assert!(matches!(settled, Settled::Settled { state: State::Delivered, .. }), "{settled:?}");
    accepted.id
}

#[tokio::test]
async fn a_store_with_bulk_history_reads_as_if_it_had_been_lived() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(Default::default()).await;
    let fixture = load(fixture, &webhook, 1000, at(-2 * DAY_MS)).await;
    let (store, tenant) = (&fixture.store, fixture.tenant);
    assert_eq!(store.sweep(at(0)).await.unwrap(), Swept::default());

    let events =
        store.events(tenant, EventFilter::default(), PageRequest { limit: 2000, after: None }).await.unwrap();
    assert_eq!((events.rows.len(), events.more), (1000, false));
    let times: Vec<i64> = events.rows.iter().map(|event| event.accepted_at.millis()).collect();
    assert_eq!((times[0], times[1]), (at(-2 * DAY_MS).millis(), at(-2 * DAY_MS - 100).millis()));
    assert!(times.is_sorted_by(|newer, older| newer > older));
    assert!(events.rows.is_sorted_by(|newer, older| newer.id > older.id));
    assert!(
        events.rows.iter().all(|event| event.payload == PayloadState::Pruned && event.deliveries.len() == 1)
    );

    let filter =
        DeliveryFilter { webhook: Some(webhook.id), status: Some(Status::Delivered), ..Default::default() };
    let page = PageRequest { limit: 2000, after: None };
    let deliveries = store.deliveries(tenant, filter, page).await.unwrap();
    assert_eq!((deliveries.rows.len(), deliveries.more), (1000, false));
    let newest = store.delivery(tenant, deliveries.rows[0].id).await.unwrap().unwrap();
    assert_eq!((newest.delivery.event, newest.delivery.attempts_used), (events.rows[0].id, 1));
    assert_eq!(newest.attempts[0].http_status, Some(200));
    let (first, last) = (&events.rows[999], &deliveries.rows[999]);
    assert_eq!((first.deliveries[0].id, first.id), (last.id, last.event));

    for finding in store.examine().await.unwrap() {
        assert!(finding.ok, "{finding:?}");
    }
    let integrity = |conn: &Connection| conn.query_row("PRAGMA integrity_check", [], |row| row.get(0));
    let integrity: String = store.readers.run(move |conn| Ok(integrity(conn)?)).await.unwrap();
    assert_eq!(integrity, "ok");
}

#[tokio::test]
async fn what_comes_after_bulk_history_has_later_numbers() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(Default::default()).await;
    let before = deliver(&fixture, &webhook).await;
    let fixture = load(fixture, &webhook, 1000, at(0)).await;
    let after = deliver(&fixture, &webhook).await;
    for table in ["event", "delivery"] {
        let (count, last) =
            (format!("SELECT count(*) FROM {table}"), format!("SELECT max(seq) FROM {table}"));
        assert_eq!((fixture.count(&count), fixture.count(&last)), (1002, 1002), "{table}");
    }
    let page = PageRequest { limit: 2000, after: None };
    let events = fixture.store.events(fixture.tenant, EventFilter::default(), page).await.unwrap().rows;
    assert_eq!((events[0].id, events[1001].id), (after, before));
}

#[tokio::test]
async fn rows_of_bulk_history_are_those_of_an_event_that_was_delivered_and_pruned() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(Default::default()).await;
    deliver(&fixture, &webhook).await;
    sweep_all(&fixture.store, at(2 * DAY_MS)).await;
    let fixture = load(fixture, &webhook, 1, at(3 * DAY_MS)).await;
    for table in ["event", "payload", "delivery"] {
        assert_eq!(row(&fixture, table, 1).await, row(&fixture, table, 2).await);
    }
    let both =
        "SELECT count(*) FROM listing a JOIN listing b USING (kind, key) WHERE a.seq = 1 AND b.seq = 2";
    assert_eq!((fixture.count(both), fixture.count("SELECT count(*) FROM listing")), (3, 6));
    assert_eq!(fixture.count("SELECT count(*) FROM attempt"), 0);
}

/// Each column of a row. Of what is any event's own only the type and the length; numbers as seen from the row's own.
async fn row(fixture: &Fixture, table: &'static str, seq: i64) -> Vec<String> {
    const OWN: [&str; 8] = ["id", "at", "accepted_at", "content", "bytes", "created_at", "started", "took"];
    const NUMBERS: [&str; 4] = ["seq", "event", "payload", "first_delivery"];
    let read = move |conn: &Connection| {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table} WHERE seq = ?1"))?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let shown = statement.query_row([seq], |row| {
            let shown = names.iter().enumerate().map(|(index, name)| {
                let (own, number) = (OWN.contains(&name.as_str()), NUMBERS.contains(&name.as_str()));
                Ok(match row.get(index)? {
                    Value::Blob(bytes) if own => format!("{name}: {} bytes", bytes.len()),
                    Value::Integer(_) if own => format!("{name}: a number"),
                    Value::Integer(no) if number => format!("{name}: {:+}", no - seq),
                    other => format!("{name}: {other:?}"),
                })
            });
            shown.collect::<rusqlite::Result<Vec<String>>>()
        });
        Ok(shown?)
    };
    fixture.store.readers.run(read).await.unwrap()
}

#[tokio::test]
async fn upkeep_forgets_bulk_history_in_time_and_prunes_what_was_there_before() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(Default::default()).await;
    let before = deliver(&fixture, &webhook).await;
    let fixture = load(fixture, &webhook, 1000, at(1000)).await;
    let store = &fixture.store;
    let payload = async || store.event(fixture.tenant, before).await.unwrap().unwrap().payload;
    sweep_all(store, at(DAY_MS / 2)).await;
    assert_eq!(payload().await, PayloadState::Kept);
    sweep_all(store, at(2 * DAY_MS)).await;
    assert_eq!(payload().await, PayloadState::Pruned);
    sweep_all(store, at(31 * DAY_MS)).await;
    for table in ["event", "payload", "delivery", "listing"] {
        assert_eq!(fixture.count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

#[tokio::test]
async fn bulk_history_is_of_a_webhook_that_is_there_and_not_older_than_other_events() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(Default::default()).await;
    deliver(&fixture, &webhook).await;
    fixture.store.close().await.unwrap();
    let load = |webhook, newest| {
        load_history(fixture.options.clone(), webhook, &type_name(), 10, newest).unwrap_err().to_string()
    };
    let nobody = WebhookId::from_bytes([0; 16]);
    assert_eq!(load(nobody, at(0)), "there is no webhook 00000000-0000-0000-0000-000000000000");
    assert_eq!(load(webhook.id, at(-1)), "the store holds events newer than the history");
}
