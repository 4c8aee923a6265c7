//! What the files hold, byte by byte: nothing personal in the clear at any time, and after an erasure nothing that
//! any key of the store opens.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use sealpost_core::id::EventId;
use sealpost_core::secret::Secret;
use sealpost_core::webhook::WebhookSecrets;
use sealpost_store::registry::WebhookChange;
use sealpost_store::sqlite::restore;
use sealpost_store::upkeep::ErasureScope;

use super::backend::Folder;
use crate::conformance::Backend;
use crate::conformance::world::{World, at, by, retried};

const PAYLOAD: &str = "canary-payload-5f1c";
const SUBJECT: &str = "canary-subject-81aa";
const EXCERPT: &str = "canary-excerpt-c93e";
const HEADER: &str = "canary-header-77d0";
const TOKEN: &str = "canary-token-20bf";
const IDEMPOTENCY: &str = "canary-idempotency-3e";

/// How many of the needles are in the haystack. Each is 8 bytes or longer; the first 8 find it.
fn count(haystack: &[u8], needles: &[Vec<u8>]) -> usize {
    let mut by_head: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (index, needle) in needles.iter().enumerate() {
        by_head.entry(&needle[..8]).or_default().push(index);
    }
    let mut found: HashSet<usize> = HashSet::new();
    for (at, head) in haystack.windows(8).enumerate() {
        let here = by_head.get(head).into_iter().flatten();
        found.extend(here.filter(|index| haystack[at..].starts_with(&needles[**index])));
    }
    found.len()
}

/// Every file of the folder, however deep.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found
}

/// The files that hold any of these bytes.
fn holding(folder: &Path, needles: &[Vec<u8>]) -> Vec<String> {
    files(folder).into_iter().filter(|(_, bytes)| count(bytes, needles) > 0).map(|(name, _)| name).collect()
}

fn clear_texts() -> Vec<Vec<u8>> {
    [PAYLOAD, SUBJECT, EXCERPT, HEADER, TOKEN, IDEMPOTENCY].map(|text| text.as_bytes().to_vec()).to_vec()
}

/// Some payloads small, some large enough for overflow pages, all with excerpts.
async fn filled() -> (World<Folder>, Vec<EventId>) {
    let world = World::<Folder>::start().await;
    let webhook = world.webhook().await;
    let secrets = WebhookSecrets {
        token: Some(Secret::new(TOKEN.into())),
        headers: vec![("x-canary".into(), Secret::new(HEADER.into()))],
        ..webhook.secrets.clone()
    };
    let webhook =
        world.change(&webhook, WebhookChange { secrets: Some(secrets), ..Default::default() }).await;
    let mut events = Vec::new();
    for number in 0..60 {
        let text = PAYLOAD.repeat(1 + (number % 7) * (number % 7) * 20);
        let event = world.event().payload(&format!(r#"{{"n":{number},"text":"{text}"}}"#));
        let event = event.subject(SUBJECT).to(&webhook);
        let keys = vec![sealpost_store::inbox::RepeatKey {
            key: world.hasher.repeat_key(&format!("{IDEMPOTENCY}{number}")),
            content: event.content(),
            events: 0..1,
        }];
        events.push(event.event_id());
        world.try_accept(vec![event], keys, at(0)).await;
        let ticket = world.claim_one(&webhook, at(0)).await;
        let mut settlement = retried(&ticket, at(1), at(1_000_000));
        settlement.attempt.excerpt = Some(format!("{EXCERPT} {number}").into_bytes());
        world.settle(settlement).await;
    }
    (world, events)
}

/// What makes the payloads readable for who has the master key: each salt, and a piece of each ciphertext.
fn key_material(database: &Path) -> Vec<Vec<u8>> {
    let conn = rusqlite::Connection::open(database).unwrap();
    let mut found = Vec::new();
    for sql in ["SELECT salt, sealed FROM payload", "SELECT salt, excerpt FROM attempt"] {
        let mut statement = conn.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (salt, sealed): (Option<Vec<u8>>, Option<Vec<u8>>) =
                (row.get(0).unwrap(), row.get(1).unwrap());
            let (Some(salt), Some(sealed)) = (salt, sealed) else { continue };
            found.push(salt);
            found.push(sealed[1..sealed.len().min(40)].to_vec());
            // The last bytes are on an overflow page, if there is one.
            found.push(sealed[sealed.len() - 16..].to_vec());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_personal_is_ever_in_the_clear() {
    let (world, events) = filled().await;
    let folder = world.backend.path().to_owned();
    let nowhere: [String; 0] = [];
    assert_eq!(holding(&folder, &clear_texts()), nowhere);
    assert!(world.payload(events[0]).await.contains(PAYLOAD), "and yet it is there");

    world.store.backup(folder.join("backup.db")).await.unwrap();
    world.sweep(at(2)).await;
    world.erase(ErasureScope::Events(vec![events[0]]), at(3)).await;
    assert_eq!(holding(&folder, &clear_texts()), nowhere);
    world.store.close().await.unwrap();
    assert_eq!(holding(&folder, &clear_texts()), nowhere);

    let key = fs::read_to_string(world.backend.master_key()).unwrap();
    let hex = key.split_whitespace().nth(1).unwrap();
    let raw: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let with_key = holding(&folder, &[raw, hex.as_bytes().to_vec()]);
    assert_eq!(with_key, [world.backend.master_key().display().to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_erasure_no_file_holds_a_salt_or_a_ciphertext_of_it() {
    let (world, events) = filled().await;
    let folder = world.backend.path().to_owned();
    let material = key_material(&world.backend.database());
    assert_eq!(material.len(), 60 * 6);
    assert!(!holding(&folder, &material).is_empty());

    assert_eq!(world.erase(ErasureScope::Subject(world.hasher.subject(SUBJECT)), at(2)).await, 60);
    // While the store is still open: the answer came, so it is gone from the log as well.
    let left: Vec<(String, usize)> = files(&folder)
        .into_iter()
        .map(|(name, bytes)| (name, count(&bytes, &material)))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(left, []);
    for event in &events {
        assert_eq!(world.payload(*event).await, "Erased");
    }
    assert!(key_material(&world.backend.database()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_is_not_answered_while_the_log_holds_an_older_copy() {
    let (world, events) = filled().await;
    let material = key_material(&world.backend.database());
    // Somebody reads for long, as a backup does: the log cannot be cut under them.
    let reader = rusqlite::Connection::open(world.backend.database()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM payload;").unwrap();
    let mut erasing = Box::pin(world.erase(ErasureScope::Events(events.clone()), at(2)));
    let soon = std::time::Duration::from_millis(700);
    assert!(tokio::time::timeout(soon, &mut erasing).await.is_err());
    assert_eq!(world.payload(events[0]).await, "Erased");
    drop(reader);
    assert_eq!(erasing.await, 60);
    assert!(holding(world.backend.path(), &material).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_from_before_the_erasure_is_restored_without_what_was_erased() {
    let (world, events) = filled().await;
    let material = key_material(&world.backend.database());
    let copies = tempfile::tempdir().unwrap();
    let backup = copies.path().join("backup.db");
    world.store.backup(backup.clone()).await.unwrap();
    assert_eq!(world.erase(ErasureScope::Events(events.clone()), at(2)).await, 60);
    world.store.close().await.unwrap();

    let (database, key) = (world.backend.database(), world.backend.master_key());
    let report = restore(&backup, &database, &key, None, true, at(3)).unwrap();
    assert_eq!((report.erasures, report.payloads_erased), (1, 60));
    assert!(holding(world.backend.path(), &material).is_empty());
    let world = World { store: world.backend.open(), ..world };
    for event in &events {
        assert_eq!(world.payload(*event).await, "Erased");
        let delivery = world.read(*event).await.deliveries[0].id;
        assert_eq!(world.detail(delivery).await.attempts[0].excerpt, None);
    }
    assert!(holding(world.backend.path(), &material).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_prunes_is_destroyed_as_well() {
    let (world, events) = filled().await;
    let material = key_material(&world.backend.database());
    let webhook = world.store.registry_delta(world.tenant.no, 0).await.unwrap().changed.remove(0);
    world.store.delete_webhook(world.tenant.no, webhook.id, by(at(2))).await.unwrap().unwrap();
    let day = std::time::Duration::from_secs(86_400);
    world.sweep(at(3)).await;
    // The attempts ended at 101.
    world.sweep(at(101) + 7 * day).await;
    assert_eq!(world.payload(events[59]).await, "Pruned");
    let world = world.reopen().await;
    assert!(holding(world.backend.path(), &material).is_empty());
}
