//! What publishers and the engine need of a tenant's registry, in memory: webhooks by event type, event types, keys.
//!
//! Never decides alone whether it is current: accepting compares its version with the store's inside the accepting
//! transaction, and a change is put in here before it is acknowledged. A refresh costs what changed, not what there is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderName;
use http::uri::PathAndQuery;
use sealpost_core::analytics::LogLevel;
use sealpost_core::event_type::{self, EventType, EventTypeName};
use sealpost_core::id::{TenantNo, WebhookId, WebhookNo};
use sealpost_core::key_ring::KeyRing;
use sealpost_core::quota::OwnQuota;
use sealpost_core::tenant::Tenant;
use sealpost_core::webhook::{Subscription, Webhook};
use sealpost_egress::Scheme;
use sealpost_signature::SigningKey;
use sealpost_store::registry::RegistryDelta;
use sealpost_store::vault::TenantHasher;
use sealpost_store::{Store, StoreError};

use super::gate::WebhookGate;
use super::lanes::HookInfo;
use super::quotas::Paces;

/// Between tries to read a change back.
const REFRESH_AGAIN: std::time::Duration = std::time::Duration::from_millis(200);

/// A webhook, ready to be sent to.
#[derive(Debug)]
pub struct Target {
    pub webhook: Webhook,
    pub gate: Arc<WebhookGate>,
    pub lane: HookInfo,
    pub scheme: Scheme,
    pub host: Arc<str>,
    pub path: PathAndQuery,
    /// The owner's own headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Target {
    fn new(webhook: Webhook, gate: Arc<WebhookGate>) -> Option<Self> {
        let host: Arc<str> = webhook.url.host().into();
        let headers = webhook
            .secrets
            .headers
            .iter()
            .map(|(name, value)| {
                let mut value = HeaderValue::from_str(value.reveal()).ok()?;
                value.set_sensitive(true);
                Some((HeaderName::try_from(name.as_str()).ok()?, value))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            lane: HookInfo {
                tenant: webhook.tenant,
                host: (webhook.tenant, Arc::clone(&host), webhook.url.port()),
                max_in_flight: webhook.settings.max_in_flight,
                rate_per_second: webhook.settings.rate_per_second,
                version: webhook.version,
            },
            scheme: if webhook.url.scheme() == "http" { Scheme::Http } else { Scheme::Https },
            path: PathAndQuery::try_from(webhook.url.request_target()).ok()?,
            host,
            headers,
            gate,
            webhook,
        })
    }
}

/// An event type with its schema compiled.
#[derive(Debug)]
pub struct TypeEntry {
    pub event_type: EventType,
    pub schema: Option<jsonschema::Validator>,
}

/// A tenant's keys, ready to sign and to be shown.
#[derive(Debug)]
pub struct Keys {
    pub ring: KeyRing,
    /// Registry version the ring was read at; decisions on the ring are conditional on it.
    pub version: i64,
    pub signing: Option<Arc<SigningKey>>,
}

#[derive(Debug)]
struct State {
    version: i64,
    targets: HashMap<WebhookNo, Arc<Target>>,
    by_id: HashMap<WebhookId, WebhookNo>,
    by_type: HashMap<EventTypeName, Vec<WebhookNo>>,
    receive_all: Vec<WebhookNo>,
    types: HashMap<EventTypeName, Arc<TypeEntry>>,
    keys: Arc<Keys>,
    quota: OwnQuota,
    log_level: LogLevel,
}

#[derive(Debug)]
pub struct TenantEntry {
    pub tenant: Tenant,
    pub hasher: Arc<TenantHasher>,
    state: RwLock<State>,
    pub paces: Mutex<Paces>,
    /// One refresh at a time.
    refreshing: tokio::sync::Mutex<()>,
    /// One change at a time of those that are decided on what a webhook is now, or that are kept in memory too.
    pub changing: tokio::sync::Mutex<()>,
    /// One look-up of the custom domain's records at a time.
    pub verifying: tokio::sync::Mutex<()>,
}

impl TenantEntry {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn version(&self) -> i64 {
        self.state().version
    }

    pub fn target(&self, webhook: WebhookNo) -> Option<Arc<Target>> {
        self.state().targets.get(&webhook).cloned()
    }

    pub fn targets(&self) -> Vec<Arc<Target>> {
        self.state().targets.values().cloned().collect()
    }

    pub fn target_by_id(&self, id: WebhookId) -> Option<Arc<Target>> {
        let state = self.state();
        state.by_id.get(&id).and_then(|no| state.targets.get(no)).cloned()
    }

    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.state().keys)
    }

    /// The tenant's own limits.
    pub fn quota(&self) -> OwnQuota {
        self.state().quota
    }

    /// How much the tenant's analytic events tell.
    pub fn log_level(&self) -> LogLevel {
        self.state().log_level
    }

    pub fn event_type(&self, name: &str) -> Option<Arc<TypeEntry>> {
        // The name may come from anywhere; one that cannot be a type is simply not registered.
        let name = EventTypeName::parse(name).ok()?;
        self.state().types.get(&name).cloned()
    }

    /// Built-in and the operator's, by name.
    pub fn event_types(&self) -> Vec<Arc<TypeEntry>> {
        let mut all: Vec<_> = self.state().types.values().cloned().collect();
        all.sort_by(|a, b| a.event_type.name.cmp(&b.event_type.name));
        all
    }

    pub fn is_subscribed(&self, name: &EventTypeName) -> bool {
        self.state().by_type.get(name).is_some_and(|list| !list.is_empty())
    }

    /// Several types against one and the same version.
    pub fn matching(&self, types: &[&EventType]) -> (i64, Vec<Vec<Arc<Target>>>) {
        let state = self.state();
        let matched = types.iter().map(|event_type| state.matching(event_type)).collect();
        (state.version, matched)
    }
}

impl State {
    fn new() -> Self {
        let types = event_type::all_built_in()
            .map(|event_type| (event_type.name.clone(), Arc::new(TypeEntry { event_type, schema: None })))
            .collect();
        Self {
            version: 0,
            targets: HashMap::new(),
            by_id: HashMap::new(),
            by_type: HashMap::new(),
            receive_all: Vec::new(),
            types,
            keys: Arc::new(Keys { ring: KeyRing::default(), version: 0, signing: None }),
            quota: OwnQuota::default(),
            log_level: LogLevel::default(),
        }
    }

    fn matching(&self, event_type: &EventType) -> Vec<Arc<Target>> {
        let named = self.by_type.get(&event_type.name).map(Vec::as_slice).unwrap_or_default();
        let all = if event_type.receive_all { self.receive_all.as_slice() } else { &[] };
        let target = |no| self.targets.get(no);
        // Who receives all may name a type besides, and gets it once.
        let names_it = |target: &&Arc<Target>| target.webhook.subscription.named().contains(&event_type.name);
        let unnamed = all.iter().filter_map(target).filter(|target| !names_it(target));
        unnamed.chain(named.iter().filter_map(target)).cloned().collect()
    }

    fn apply(&mut self, delta: RegistryDelta) {
        if delta.version <= self.version {
            return;
        }
        for no in delta.deleted {
            self.remove(no, delta.version);
        }
        for webhook in delta.changed {
            self.put(webhook);
        }
        if let Some(types) = delta.event_types {
            self.types.retain(|name, _| event_type::built_in(name.as_str()).is_some());
            for event_type in types {
                let schema =
                    event_type.schema.as_ref().and_then(|schema| super::event_types::compile(schema).ok());
                self.types.insert(event_type.name.clone(), Arc::new(TypeEntry { event_type, schema }));
            }
        }
        if let Some(ring) = delta.keys {
            let signing = ring.current().map(|key| Arc::new(SigningKey::from_seed(key.seed.reveal())));
            self.keys = Arc::new(Keys { ring, version: delta.version, signing });
        }
        self.quota = delta.quota;
        self.log_level = delta.log_level;
        self.version = delta.version;
    }

    fn remove(&mut self, no: WebhookNo, version: i64) -> Option<Arc<WebhookGate>> {
        let target = self.targets.remove(&no)?;
        target.gate.move_to(version);
        self.by_id.remove(&target.webhook.id);
        for name in target.webhook.subscription.named() {
            if let Some(list) = self.by_type.get_mut(name) {
                list.retain(|other| *other != no);
            }
        }
        self.receive_all.retain(|other| *other != no);
        Some(Arc::clone(&target.gate))
    }

    fn put(&mut self, webhook: Webhook) {
        let (no, version) = (webhook.no, webhook.version);
        let gate = self.remove(no, version).unwrap_or_else(|| WebhookGate::at(version));
        for name in webhook.subscription.named() {
            self.by_type.entry(name.clone()).or_default().push(no);
        }
        if matches!(webhook.subscription, Subscription::ReceiveAll { .. }) {
            self.receive_all.push(no);
        }
        self.by_id.insert(webhook.id, no);
        match Target::new(webhook, gate) {
            Some(target) => drop(self.targets.insert(no, Arc::new(target))),
            None => {
                tracing::error!(webhook = %no, "a stored webhook cannot be sent to: its URL or headers are invalid")
            }
        }
    }
}

/// All tenants that were used since start.
#[derive(Debug)]
pub struct Registry {
    store: Arc<dyn Store>,
    tenants: RwLock<HashMap<TenantNo, Arc<TenantEntry>>>,
}

impl Registry {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, tenants: RwLock::new(HashMap::new()) }
    }

    /// The tenant's entry, read from the store at its first use.
    pub async fn tenant(&self, no: TenantNo) -> Result<Option<Arc<TenantEntry>>, StoreError> {
        if let Some(entry) = self.known(no) {
            return Ok(Some(entry));
        }
        let Some(tenant) = self.store.tenants().await?.into_iter().find(|tenant| tenant.no == no) else {
            return Ok(None);
        };
        let Some(hasher) = self.store.hasher(no).await? else { return Ok(None) };
        let entry = Arc::new(TenantEntry {
            tenant,
            hasher,
            state: RwLock::new(State::new()),
            paces: Mutex::default(),
            refreshing: tokio::sync::Mutex::new(()),
            changing: tokio::sync::Mutex::new(()),
            verifying: tokio::sync::Mutex::new(()),
        });
        self.refresh(&entry).await?;
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Arc::clone(tenants.entry(no).or_insert(entry))))
    }

    fn known(&self, no: TenantNo) -> Option<Arc<TenantEntry>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&no).cloned()
    }

    /// Every entry there is.
    pub(super) fn all_known(&self) -> Vec<Arc<TenantEntry>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The tenant a webhook belongs to, for work that was found on disk without it.
    pub async fn find(
        &self,
        webhook: WebhookNo,
    ) -> Result<Option<(Arc<TenantEntry>, Arc<Target>)>, StoreError> {
        for tenant in self.store.tenants().await? {
            if let Some(entry) = self.tenant(tenant.no).await?
                && let Some(target) = entry.target(webhook)
            {
                return Ok(Some((entry, target)));
            }
        }
        Ok(None)
    }

    /// After a committed change: brings the entry up to date however long the store refuses, so that nothing goes on
    /// with what was replaced. The caller hears of a first failure; the work goes on behind.
    pub async fn refresh_after_change(self: &Arc<Self>, entry: &Arc<TenantEntry>) -> Result<(), StoreError> {
        let Err(error) = self.refresh(entry).await else { return Ok(()) };
        tracing::error!(%error, "a change is not in memory yet");
        let (this, entry) = (Arc::clone(self), Arc::clone(entry));
        tokio::spawn(async move {
            while let Err(error) = this.refresh(&entry).await {
                if matches!(error, StoreError::Closed) {
                    return;
                }
                tokio::time::sleep(REFRESH_AGAIN).await;
            }
        });
        Err(error)
    }

    /// Brings an entry up to the store's version.
    pub async fn refresh(&self, entry: &TenantEntry) -> Result<(), StoreError> {
        let _one_at_a_time = entry.refreshing.lock().await;
        let since = entry.version();
        let delta = self.store.registry_delta(entry.tenant.no, since).await?;
        entry.state.write().unwrap_or_else(PoisonError::into_inner).apply(delta);
        Ok(())
    }
}

/// A tenant's JWKS document as receivers fetch it.
pub fn jwks_document(keys: &Keys, now: sealpost_core::time::Timestamp) -> Bytes {
    use sealpost_signature::{Jwk, Jwks, KeyId, VerifyingKey};
    let jwks = keys.ring.published(now).into_iter().filter_map(|key| {
        let public = VerifyingKey::from_bytes(&key.public).ok()?;
        Some(Jwk::new(public, KeyId::new(key.kid.clone()).ok()?))
    });
    let document = Jwks::new(jwks).ok().and_then(|jwks| serde_json::to_vec(&jwks).ok());
    Bytes::from(document.unwrap_or_else(|| b"{\"keys\":[]}".to_vec()))
}
