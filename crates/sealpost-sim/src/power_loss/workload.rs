//! What is done to the embedded store while it is recorded: accepting together, claiming, settling, erasing, changing
//! webhooks, checkpoints, and closing. Whatever was answered is written to a file at once, one line an answer.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealpost_core::audit::{Action, By};
use sealpost_core::delivery::{AttemptRecord, FailReason, State};
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{Chance, DeliveryId, ErasureId, EventId, TenantId, WebhookId};
use sealpost_core::key_ring::{KeyRecord, KeyState};
use sealpost_core::lane::LaneNo;
use sealpost_core::outcome::Outcome;
use sealpost_core::payload::Payload;
use sealpost_core::secret::Secret;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::target_url::TargetUrl;
use sealpost_core::tenant::{Retention, Tenant};
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{Subscription, Webhook, WebhookSecrets};
use sealpost_store::inbox::{Accept, Accepted, NewDelivery, NewEvent};
use sealpost_store::queue::{ClaimTicket, Next, Settlement, Want};
use sealpost_store::registry::{NewTenant, NewWebhook, WebhookChange};
use sealpost_store::sqlite::{OpenOptions, SqliteStore};
use sealpost_store::upkeep::{Erasure, ErasureScope};
use sealpost_store::{Store, StoreError};

use crate::dice::Dice;

pub(super) const DATABASE: &str = "sealpost.db";
const ROUNDS: u64 = 60;
/// A mebibyte in the log and nothing to do for longer than this, and the store moves it.
const IDLE: Duration = Duration::from_millis(1300);

/// Millisecond of the workload's own time.
pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_767_323_045_000 + ms as i64)
}

/// Runs the workload of a seed in `folder`, and writes what it heard to `answers`.
///
/// # Errors
/// If the store refuses what it should do.
pub fn run(folder: &Path, answers: &Path, seed: u64) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let answers = File::create(answers)?;
    runtime.block_on(work(folder, answers, seed)).map_err(|error| io::Error::other(error.to_string()))
}

struct Worker {
    store: Arc<dyn Store>,
    answers: File,
    dice: Dice,
    now: u64,
    tenant: Tenant,
    webhooks: Vec<Webhook>,
    /// Claimed and not settled.
    claimed: Vec<ClaimTicket>,
    events: Vec<EventId>,
}

fn open(folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(SqliteStore::open(OpenOptions::new(folder.join(DATABASE)))?))
}

fn by(now: u64) -> By {
    By::new("power", Action::ChangeWebhook, at(now))
}

async fn work(folder: &Path, answers: File, seed: u64) -> Result<(), StoreError> {
    let store = open(folder)?;
    let mut dice = Dice::seeded(seed);
    let tenant = store.create_tenant(new_tenant(&mut dice), by(0)).await?;
    let tenant = tenant.ok_or(StoreError::Corrupt { what: "tenant" })?;
    let mut worker = Worker {
        store,
        answers,
        dice,
        now: 1,
        tenant,
        webhooks: Vec::new(),
        claimed: Vec::new(),
        events: Vec::new(),
    };
    worker.say(&format!("T {}", worker.tenant.no.0));
    for _ in 0..3 {
        worker.add_webhook().await?;
    }
    for round in 0..ROUNDS {
        worker.now += 1 + worker.dice.spread(3_000);
        match worker.dice.between(0, 20) {
            0..9 => worker.accept_together().await?,
            9..13 => worker.claim().await?,
            13..16 => worker.settle().await?,
            16 => worker.erase().await?,
            17 => worker.change_webhook().await?,
            18 => drop(worker.store.sweep(at(worker.now)).await?),
            _ => tokio::time::sleep(IDLE).await,
        }
        if round % 20 == 19 {
            worker.store.close().await?;
            worker.claimed.clear();
            // The last one of its users closes the files.
            let _ = std::mem::replace(
                &mut worker.store,
                Arc::new(crate::memory::Disk::default().open(Arc::new(crate::memory::Calm), None)),
            );
            worker.store = open(folder)?;
        }
    }
    worker.store.close().await
}

fn new_tenant(dice: &mut Dice) -> NewTenant {
    let key = |name: &str, state| KeyRecord {
        kid: name.into(),
        public: [1; 32],
        seed: Secret::new([2; 32]),
        created_at: at(0),
        state,
    };
    NewTenant {
        id: TenantId::new(at(0), chance(dice)),
        name: "default".into(),
        subdomain: "default".parse().unwrap_or_else(|_| unreachable!("it is a subdomain")),
        retention: Retention::default(),
        created_at: at(0),
        keys: vec![key("current", KeyState::Current), key("next", KeyState::Next)],
    }
}

fn chance(dice: &mut Dice) -> Chance {
    let mut bytes = Chance::default();
    dice.fill(&mut bytes);
    bytes
}

/// The payload of an event; with its id, so that nothing can be taken for something else.
pub(super) fn payload(id: EventId, bytes: usize) -> String {
    format!(r#"{{"of":"{id}","filler":"{}"}}"#, "x".repeat(bytes))
}

impl Worker {
    /// One write, so that the record has it as one.
    fn say(&mut self, line: &str) {
        let _ = self.answers.write_all(format!("{line}\n").as_bytes());
    }

    async fn add_webhook(&mut self) -> Result<(), StoreError> {
        let url = TargetUrl::parse("https://r.example.com/hook", &Default::default());
        let new = NewWebhook {
            id: WebhookId::new(at(self.now), chance(&mut self.dice)),
            tenant: self.tenant.no,
            dialect: Dialect::Mattr,
            subscription: Subscription::Types(EventTypeName::parse("did_create").into_iter().collect()),
            url: url.map_err(|_| StoreError::Corrupt { what: "URL" })?,
            disabled: false,
            settings: WebhookSettings::default(),
            secrets: WebhookSecrets::default(),
            created_at: at(self.now),
            at_most: 100,
        };
        let id = new.id;
        let made = self.store.create_webhook(new, by(self.now)).await?;
        self.webhooks.extend(made);
        self.say(&format!("W {id}"));
        Ok(())
    }

    /// Several callers at once share a commit.
    async fn accept_together(&mut self) -> Result<(), StoreError> {
        let version = self.store.registry_delta(self.tenant.no, 0).await?.version;
        let mut calls = Vec::new();
        for _ in 0..self.dice.between(1, 9) {
            let count = self.dice.between(1, 4);
            let events: Vec<NewEvent> = (0..count).map(|_| self.new_event()).collect();
            let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
            // Begun: from here on it may be there, whole.
            let named: Vec<String> = ids.iter().map(EventId::to_string).collect();
            self.say(&format!("B {}", named.join(" ")));
            let request = Accept {
                tenant: self.tenant.no,
                registry_version: version,
                now: at(self.now),
                events,
                keys: Vec::new(),
            };
            let store = Arc::clone(&self.store);
            calls.push((ids, tokio::spawn(async move { store.accept(request).await })));
        }
        for (ids, call) in calls {
            let Ok(answer) = call.await else { continue };
            let Accepted::Events(answers) = answer? else { continue };
            for (id, answer) in ids.iter().zip(&answers) {
                self.say(&format!("E {id} {}", answer.deliveries));
                self.claimed.extend(answer.claims.iter().copied());
            }
            self.events.extend(ids);
        }
        Ok(())
    }

    fn new_event(&mut self) -> NewEvent {
        let id = EventId::new(at(self.now), chance(&mut self.dice));
        let bytes = self.dice.spread(6_000) as usize;
        let webhooks: Vec<Webhook> = self.webhooks.iter().filter(|hook| !hook.disabled).cloned().collect();
        let deliveries = webhooks.iter().map(|hook| NewDelivery {
            id: DeliveryId::new(at(self.now), chance(&mut self.dice)),
            webhook: hook.no,
            lane_epoch: hook.lane_epoch,
            claim: self.dice.one_in(2),
            cancelled: None,
        });
        NewEvent {
            id,
            id_given: true,
            event_type: EventTypeName::parse("did_create").unwrap_or_else(|_| unreachable!("it is a name")),
            timestamp: at(self.now),
            payload: Payload::from_stored(payload(id, bytes)),
            content: [7; 32],
            subjects: vec![[self.now as u8; 32]],
            test: false,
            deliveries: deliveries.collect(),
            derived: None,
        }
    }

    async fn claim(&mut self) -> Result<(), StoreError> {
        let wants: Vec<Want> =
            self.webhooks.iter().map(|hook| Want { lane: LaneNo::ordinary(hook.no), most: 10 }).collect();
        for lane in self.store.claim(wants, at(self.now), usize::MAX).await? {
            for claim in lane.claims {
                self.say(&format!("C {} {}", claim.ticket.id, claim.ticket.attempt));
                self.claimed.push(claim.ticket);
            }
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        let most = self.claimed.len().min(8);
        let settlements: Vec<Settlement> = self
            .claimed
            .split_off(self.claimed.len() - most)
            .into_iter()
            .map(|ticket| self.settlement(ticket))
            .collect();
        let told: Vec<String> = settlements
            .iter()
            .map(|one| format!("S {} {} {}", one.ticket.id, one.ticket.attempt, one.attempt.outcome))
            .collect();
        self.store.settle(settlements).await?;
        told.iter().for_each(|line| self.say(line));
        Ok(())
    }

    fn settlement(&mut self, ticket: ClaimTicket) -> Settlement {
        let (outcome, next) = match self.dice.between(0, 3) {
            0 => (Outcome::Delivered, Next::End(State::Delivered)),
            1 if ticket.attempt < 4 => (Outcome::HttpStatus, Next::RetryAt(at(self.now + 1_000))),
            _ => (Outcome::Timeout, Next::End(State::Failed(FailReason::AttemptsExhausted))),
        };
        let excerpt = (outcome == Outcome::HttpStatus).then(|| b"no".to_vec());
        let attempt = AttemptRecord {
            number: ticket.attempt,
            started_at: at(self.now),
            took_ms: 5,
            outcome,
            http_status: None,
            error: None,
            excerpt,
        };
        Settlement { ticket, attempt, next, alert_after: 3 }
    }

    async fn erase(&mut self) -> Result<(), StoreError> {
        if self.events.is_empty() {
            return Ok(());
        }
        let id = self.dice.of(&self.events);
        self.say(&format!("Y {id}"));
        let erasure = Erasure {
            id: ErasureId::new(at(self.now), chance(&mut self.dice)),
            tenant: self.tenant.no,
            scope: ErasureScope::Events(vec![id]),
            by: by(self.now),
        };
        self.store.erase(erasure).await?;
        self.say(&format!("X {id}"));
        Ok(())
    }

    async fn change_webhook(&mut self) -> Result<(), StoreError> {
        let place = self.dice.between(0, self.webhooks.len() as u64) as usize;
        let hook = self.webhooks[place].clone();
        let disabled = !hook.disabled;
        let change = WebhookChange { disabled: Some(disabled), ..WebhookChange::default() };
        if let Some(after) = self.store.change_webhook(self.tenant.no, hook.id, change, by(self.now)).await? {
            self.say(&format!("V {} {}", after.id, after.version));
            self.webhooks[place] = after;
        }
        Ok(())
    }
}
