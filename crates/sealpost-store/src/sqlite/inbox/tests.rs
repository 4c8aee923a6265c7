use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::EventId;
use sealpost_core::settings::WebhookSettings;

use super::*;
use crate::inbox::NewDerived;
use crate::sqlite::testing::{Fixture, claimed, event, fresh, waiting};

async fn said(fixture: &Fixture, request: Accept) -> String {
    match fixture.store.accept(request).await.unwrap() {
        Accepted::Events(events) => {
            let one =
                |e: &AcceptedEvent| format!("{}{}", if e.repeated { "again " } else { "new " }, e.deliveries);
            events.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        Accepted::RegistryChanged => "registry changed".into(),
        Accepted::Conflict { index } => format!("conflict at {index}"),
    }
}

#[tokio::test]
async fn a_request_matched_against_another_registry_bounces() {
    let fixture = Fixture::new().await;
    let request = fixture.request(vec![event(vec![])]).await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    assert_eq!(said(&fixture, request).await, "registry changed");
    let request = fixture.request(vec![event(vec![waiting(&webhook)])]).await;
    assert_eq!(said(&fixture, request).await, "new 1");
}

#[tokio::test]
async fn ids_repeat_or_conflict_across_and_within_requests() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    let first = event(vec![waiting(&webhook), waiting(&webhook)]);
    let same = NewEvent { deliveries: vec![waiting(&webhook)], ..first.clone() };
    let other = NewEvent { content: [0xEE; 32], ..same.clone() };
    let (x, y) = (event(vec![]), event(vec![waiting(&webhook)]));
    for (events, want) in [
        (vec![first.clone()], "new 2"),
        (vec![same.clone()], "again 2"),
        (vec![x.clone(), same.clone(), other.clone()], "conflict at 2"),
        (vec![x.clone(), same, y.clone(), y.clone()], "new 0, again 2, new 1, again 1"),
        (vec![event(vec![]), NewEvent { content: [0xEE; 32], ..y }], "conflict at 1"),
    ] {
        let request = fixture.request(events).await;
        assert_eq!(said(&fixture, request).await, want);
    }
    // Nothing of a refused request and nothing of a repeat was stored.
    assert_eq!(fixture.count("SELECT count(*) FROM event"), 3);
    assert_eq!(fixture.count("SELECT count(*) FROM payload"), 3);
    assert_eq!(fixture.count("SELECT count(*) FROM delivery"), 3);
}

#[tokio::test]
async fn a_key_answers_with_the_events_it_named_first() {
    let fixture = Fixture::new().await;
    let fresh_event = || NewEvent { id: EventId::from_bytes(fresh()), id_given: false, ..event(vec![]) };
    let key = |key: u8, content: u8, events| RepeatKey { key: [key; 32], content: [content; 32], events };
    let all =
        Accept { keys: vec![key(1, 1, 0..2)], ..fixture.request(vec![fresh_event(), fresh_event()]).await };
    let Accepted::Events(first) = fixture.store.accept(all.clone()).await.unwrap() else { panic!() };
    let again = Accept { events: vec![fresh_event(), fresh_event()], ..all.clone() };
    let Accepted::Events(second) = fixture.store.accept(again).await.unwrap() else { panic!() };
    assert_eq!(
        first.iter().map(|e| e.id).collect::<Vec<_>>(),
        second.iter().map(|e| e.id).collect::<Vec<_>>()
    );
    assert!(second.iter().all(|e| e.repeated));

    for (keys, want) in [
        (vec![key(1, 2, 0..2)], "conflict at 0"),
        (vec![key(7, 7, 0..1), key(7, 7, 1..2)], "new 0, again 0"),
        (vec![key(8, 8, 0..1), key(8, 9, 1..2)], "conflict at 1"),
        (vec![key(9, 9, 0..2), key(7, 7, 0..1), key(6, 6, 1..2)], "again 0, new 0"),
        (vec![key(9, 9, 0..2)], "again 0, again 0"),
    ] {
        let request = Accept { keys, events: vec![fresh_event(), fresh_event()], ..all.clone() };
        assert_eq!(said(&fixture, request).await, want);
    }
}

#[tokio::test]
async fn a_derived_event_shares_the_payload_and_is_never_derived_again() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    let summary = EventTypeName::parse("OpenIdCredentialIssuedSummary").unwrap();
    let derived = NewDerived {
        id: EventId::from_bytes(fresh()),
        event_type: summary.clone(),
        deliveries: vec![waiting(&webhook), claimed(&webhook)],
    };
    let source = NewEvent { derived: Some(derived.clone()), ..event(vec![claimed(&webhook)]) };
    let answers = fixture.accept(vec![source.clone()]).await;
    assert_eq!(answers[0].derived, [DerivedEvent { id: derived.id, event_type: summary, deliveries: 2 }]);
    assert_eq!(answers[0].claims.iter().map(|t| t.delivery.0).collect::<Vec<_>>(), [1, 3]);
    let again = fixture.accept(vec![source.clone()]).await;
    assert_eq!((again[0].derived.clone(), again[0].repeated), (answers[0].derived.clone(), true));
    assert_eq!(fixture.count("SELECT count(*) FROM payload"), 1);
    assert_eq!(fixture.count("SELECT count(DISTINCT payload) FROM event"), 1);

    // Its claims open the shared payload; a publisher cannot take its id.
    let open = fixture.claim(&webhook, crate::sqlite::testing::at(0)).await.remove(0).open.unwrap();
    assert_eq!((open.event.id, open.payload.as_str()), (derived.id, r#"{"credential":"canary"}"#));
    let thief = NewEvent { id: derived.id, content: source.content, ..event(vec![]) };
    let request = fixture.request(vec![thief]).await;
    assert_eq!(said(&fixture, request).await, "conflict at 0");
}

#[tokio::test]
async fn many_at_once_share_commits_and_all_of_them_are_stored() {
    let fixture = std::sync::Arc::new(Fixture::new().await);
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    let version = fixture.version().await;
    let tasks: Vec<_> = (0..300)
        .map(|_| {
            let (fixture, webhook) = (std::sync::Arc::clone(&fixture), webhook.clone());
            tokio::spawn(async move {
                let events = vec![event(vec![waiting(&webhook)])];
                let now = crate::sqlite::testing::at(0);
                let request =
                    Accept { tenant: fixture.tenant, registry_version: version, now, events, keys: vec![] };
                said(&fixture, request).await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "new 1");
    }
    let counters = fixture.store.writer.counters();
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(load(&counters.accepts), 300);
    assert!(load(&counters.commits) < 300, "{} commits", load(&counters.commits));
    assert_eq!(fixture.count("SELECT count(*) FROM delivery"), 300);
}

#[tokio::test]
async fn nothing_of_a_payload_is_readable_in_the_files() {
    let fixture = Fixture::new().await;
    fixture.accept(vec![event(vec![])]).await;
    let holds_canary = |name: &str| {
        let bytes = std::fs::read(fixture.options.path.with_file_name(name)).unwrap_or_default();
        bytes.windows(6).any(|window| window == b"canary")
    };
    assert!(!holds_canary("sealpost.db") && !holds_canary("sealpost.db-wal"));
}

#[tokio::test]
async fn numbers_are_never_given_twice_even_if_their_rows_are_gone() {
    let fixture = Fixture::new().await;
    let webhook = fixture.webhook(WebhookSettings::default()).await;
    fixture.accept(vec![event(vec![waiting(&webhook)])]).await;
    let forget = |conn: &Connection, ctx: &mut WriterCtx| {
        ctx.keep_numbers(conn)?;
        conn.execute_batch("DELETE FROM event; DELETE FROM payload; DELETE FROM delivery")?;
        Ok(())
    };
    fixture.store.writer.run(Kind::Upkeep, Cost::rows(3), forget).await.unwrap();
    let fixture = fixture.restart(|_| ());
    let ticket = fixture.accept(vec![event(vec![claimed(&webhook)])]).await.remove(0).claims.remove(0);
    assert_eq!(ticket.delivery.0, 2);
    assert_eq!(fixture.count("SELECT max(seq) FROM event"), 2);
}
