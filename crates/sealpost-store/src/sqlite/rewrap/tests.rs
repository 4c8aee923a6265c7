use std::fs;

use sealpost_core::audit::Action;
use sealpost_core::id::EventId;
use sealpost_core::key_ring::{KeyRecord, KeyState};
use sealpost_core::secret::Secret;
use sealpost_core::settings::WebhookSettings;

use super::*;
use crate::history::{History, PayloadRead};
use crate::registry::Registry;
use crate::sqlite::testing::{self, Fixture, at, by, new_tenant};
use crate::sqlite::writer::folder_of;
use crate::upkeep::Upkeep;
use crate::vault::MasterKey;
use crate::vault::key_file::next_file;

fn rotating() -> By {
    By::new("operator 1", Action::RotateMasterKey, at(9))
}

fn token_key() -> KeyRecord {
    KeyRecord {
        kid: "t".into(),
        public: [1; 32],
        seed: Secret::new([2; 32]),
        created_at: at(0),
        state: KeyState::Current,
    }
}

/// A webhook with secrets, an event with a payload, a token key: something below every key there is.
async fn furnished() -> (Fixture, EventId) {
    let fixture = Fixture::new().await;
    fixture.store.create_tenant(new_tenant("default"), by(at(0))).await.unwrap().unwrap();
    fixture.webhook(WebhookSettings::default()).await;
    let new = testing::event(Vec::new());
    let event = new.id;
    fixture.accept(vec![new]).await;
    fixture.store.add_token_key(token_key(), at(0), by(at(0))).await.unwrap();
    (fixture, event)
}

async fn opens_everything(fixture: &Fixture, event: EventId) {
    let read = fixture.store.payload(fixture.tenant, event).await.unwrap();
    assert!(matches!(read, PayloadRead::Payload(_)), "{read:?}");
    assert_eq!(fixture.store.token_keys().await.unwrap().keys[0].seed.reveal(), &[2; 32]);
    let delta = fixture.store.registry_delta(fixture.tenant, 0).await.unwrap();
    assert_eq!(delta.changed.len(), 1);
}

fn wrapped(fixture: &Fixture) -> Vec<Vec<u8>> {
    let conn = Connection::open(&fixture.options.path).unwrap();
    let mut statement =
        conn.prepare("SELECT wrapped_key FROM tenant UNION ALL SELECT sealed FROM token_key").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test]
async fn everything_opens_under_the_new_key_and_nothing_under_the_former_is_left() {
    let (fixture, event) = furnished().await;
    let key_file = fixture.options.master_key_file.clone();
    let (former, before) = (fs::read(&key_file).unwrap(), wrapped(&fixture));
    assert_eq!(before.len(), 3);

    let done = fixture.store.rewrap(rotating()).await.unwrap();
    assert_eq!(done.keys, 3);
    assert_eq!(fs::read(&done.former).unwrap(), former);
    assert_ne!(fs::read(&key_file).unwrap(), former);
    assert!(!next_file(&key_file).exists());
    assert_eq!(MasterKey::file_mode(&key_file).unwrap(), 0o600);
    // While it serves: at the end of the process the log is emptied anyhow.
    let files: Vec<Vec<u8>> = fs::read_dir(folder_of(&key_file))
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    for cell in before {
        assert!(!files.iter().any(|file| file.windows(cell.len()).any(|bytes| bytes == cell)));
    }
    opens_everything(&fixture, event).await;
    // Also what nobody had asked for before.
    let fixture = fixture.restart(|_| ());
    opens_everything(&fixture, event).await;

    // And again, from the new one.
    let again = fixture.store.rewrap(rotating()).await.unwrap();
    assert_ne!(again.former, done.former);
    opens_everything(&fixture.restart(|_| ()), event).await;
}

#[tokio::test]
async fn wherever_it_ends_the_store_opens_with_the_file_of_its_options() {
    // Before the commit: the present file is the right one, and another lies beside it.
    let (fixture, event) = furnished().await;
    let key_file = fixture.options.master_key_file.clone();
    let present = fs::read(&key_file).unwrap();
    MasterKey::make_file(&next_file(&key_file)).unwrap();
    let fixture = fixture.restart(|_| ());
    assert_eq!(fs::read(&key_file).unwrap(), present);
    opens_everything(&fixture, event).await;
    let done = fixture.store.rewrap(rotating()).await.unwrap();

    // After the commit, before the new file has its name; with the former one kept already, and not yet.
    let fresh = fs::read(&key_file).unwrap();
    for kept in [true, false] {
        fs::rename(&key_file, next_file(&key_file)).unwrap();
        fs::copy(&done.former, &key_file).unwrap();
        if !kept {
            fs::remove_file(&done.former).unwrap();
        }
        let (store, options) = (fixture.store.path.clone(), fixture.options.clone());
        fixture.store.close().await.unwrap();
        assert_eq!(store, options.path);
        drop(SqliteStore::open(options).unwrap());
        assert_eq!(fs::read(&key_file).unwrap(), fresh);
        assert_eq!(fs::read(&done.former).unwrap(), present);
        assert!(!next_file(&key_file).exists());
    }
    opens_everything(&fixture.restart(|_| ()), event).await;
}

#[tokio::test]
async fn tenants_that_are_made_meanwhile_open_afterwards() {
    let (fixture, event) = furnished().await;
    let store = std::sync::Arc::new(fixture.store);
    let making = {
        let store = store.clone();
        tokio::spawn(async move {
            let mut made = Vec::new();
            for n in 0..40 {
                let tenant = store.create_tenant(new_tenant(&format!("t{n}")), by(at(n))).await.unwrap();
                made.push(tenant.unwrap().no);
                store
                    .add_token_key(KeyRecord { kid: format!("t{n}"), ..token_key() }, at(0), by(at(n)))
                    .await
                    .unwrap();
                store.token_keys().await.unwrap();
            }
            made
        })
    };
    for _ in 0..8 {
        store.rewrap(rotating()).await.unwrap();
    }
    let made = making.await.unwrap();
    store.rewrap(rotating()).await.unwrap();
    store.close().await.unwrap();
    let store = SqliteStore::open(fixture.options.clone()).unwrap();
    for tenant in made {
        assert!(store.tenant_key(tenant).await.unwrap().is_some());
    }
    assert_eq!(store.token_keys().await.unwrap().keys.len(), 41);
    assert!(matches!(store.payload(fixture.tenant, event).await.unwrap(), PayloadRead::Payload(_)));
}

#[tokio::test]
async fn what_cannot_be_done_changes_nothing() {
    let (fixture, event) = furnished().await;
    let key_file = fixture.options.master_key_file.clone();
    let (present, before) = (fs::read(&key_file).unwrap(), wrapped(&fixture));
    let refusal = async |fixture: &Fixture| match fixture.store.rewrap(rotating()).await {
        Err(StoreError::MasterKey(why)) => why,
        other => panic!("{other:?}"),
    };
    fs::create_dir(next_file(&key_file)).unwrap();
    assert!(refusal(&fixture).await.contains("is in the way"));
    fs::remove_dir(next_file(&key_file)).unwrap();

    fs::remove_file(&key_file).unwrap();
    assert!(refusal(&fixture).await.contains("is missing"));
    MasterKey::make_file(&key_file).unwrap();
    assert!(refusal(&fixture).await.contains("is no longer the one in use"));
    fs::write(&key_file, present).unwrap();

    assert_eq!(wrapped(&fixture), before);
    opens_everything(&fixture.restart(|_| ()), event).await;
}

#[tokio::test]
async fn a_long_reader_does_not_hold_up_a_rotation_and_is_told_of() {
    let (fixture, event) = furnished().await;
    let reader = Connection::open(&fixture.options.path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM tenant").unwrap();
    let began = std::time::Instant::now();
    let done = fixture.store.rewrap(rotating()).await.unwrap();
    assert!(!done.cleared && began.elapsed().as_secs() < 20, "{done:?}");
    opens_everything(&fixture, event).await;
    drop(reader);
    assert!(fixture.store.rewrap(rotating()).await.unwrap().cleared);
}
