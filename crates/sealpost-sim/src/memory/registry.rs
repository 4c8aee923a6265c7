//! Tenants, clients, operators, webhooks, event types, keys and domains.

use std::sync::Arc;

use async_trait::async_trait;
use sealpost_core::analytics::LogLevel;
use sealpost_core::audit::By;
use sealpost_core::dialect::Dialect;
use sealpost_core::domain::{CustomDomain, DomainFacts, DomainName};
use sealpost_core::event_type::{EventType, EventTypeName};
use sealpost_core::health::Health;
use sealpost_core::id::{ClientId, OperatorId, TenantId, TenantNo, VerificationToken, WebhookId, WebhookNo};
use sealpost_core::key_ring::{KeyRecord, KeyRing, KeyState};
use sealpost_core::limits::EVENT_TYPES_PER_TENANT;
use sealpost_core::quota::OwnQuota;
use sealpost_core::tenant::Tenant;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::Webhook;
use sealpost_store::StoreError;
use sealpost_store::audit::{self, Change};
use sealpost_store::page::{Page, PageRequest};
use sealpost_store::registry::{
    Client, DeletedTenant, NewTenant, NewWebhook, Operator, Registry, RegistryDelta, ReplacedDomain,
    VerifiedDomain, WebhookChange,
};
use sealpost_store::vault::TenantHasher;
use serde_json::json;

use super::history::cut;
use super::rows::{TenantRow, WebhookRow};
use super::{MemoryStore, State, Verb};

/// Nothing is secret here: a tenant's key is made of its id, and is the same every run.
pub(super) fn hasher_of(tenant: TenantId) -> TenantHasher {
    let mut key = [0; 32];
    key[..16].copy_from_slice(tenant.bytes());
    TenantHasher::new(&key)
}

#[async_trait]
impl Registry for MemoryStore {
    async fn create_tenant(&self, new: NewTenant, by: By) -> Result<Option<Tenant>, StoreError> {
        self.call(Verb::Change, move |state| Ok(state.create_tenant(new, &by))).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        self.call(Verb::Read, |state| {
            let live = state.tenants.values().filter(|row| !row.deleted);
            Ok(live.map(|row| row.tenant.clone()).collect())
        })
        .await
    }

    async fn change_quota(
        &self,
        tenant: TenantNo,
        quota: OwnQuota,
        by: By,
    ) -> Result<Option<Tenant>, StoreError> {
        self.call(Verb::Change, move |state| {
            Ok(state.change_tenant(tenant, &by, |before| Tenant { quota, ..before }))
        })
        .await
    }

    async fn tenants_with_next_key_since(
        &self,
        published: Timestamp,
        limit: u32,
    ) -> Result<Vec<TenantNo>, StoreError> {
        self.call(Verb::Read, move |state| {
            let live = state.tenants.values().filter(|row| !row.deleted);
            let keys = live.flat_map(|row| row.keys.iter().map(|key| (key, row.tenant.no)));
            let aged = keys.filter(|(key, _)| key.state == KeyState::Next && key.created_at <= published);
            let mut found: Vec<_> = aged.map(|(key, tenant)| (key.created_at, tenant)).collect();
            found.sort_unstable();
            Ok(found.into_iter().take(limit as usize).map(|(_, tenant)| tenant).collect())
        })
        .await
    }

    async fn change_log_level(
        &self,
        tenant: TenantNo,
        level: LogLevel,
        by: By,
    ) -> Result<Option<Tenant>, StoreError> {
        self.call(Verb::Change, move |state| {
            Ok(state.change_tenant(tenant, &by, |before| Tenant { log_level: level, ..before }))
        })
        .await
    }

    async fn delete_tenant(&self, tenant: TenantNo, by: By) -> Result<Option<DeletedTenant>, StoreError> {
        self.call(Verb::Change, move |state| Ok(state.delete_tenant(tenant, &by))).await
    }

    async fn hasher(&self, tenant: TenantNo) -> Result<Option<Arc<TenantHasher>>, StoreError> {
        self.call(Verb::Read, move |state| {
            Ok(state.tenants.get(&tenant).map(|row| Arc::new(hasher_of(row.tenant.id))))
        })
        .await
    }

    async fn create_client(&self, client: Client, by: By) -> Result<bool, StoreError> {
        self.call(Verb::Change, move |state| {
            if state.live_tenant(client.tenant).is_none() {
                return Ok(false);
            }
            state.log(client.tenant, &by, client.id.to_string(), Change::made(audit::client(&client)));
            state.clients.push(client);
            Ok(true)
        })
        .await
    }

    async fn delete_client(&self, tenant: TenantNo, id: ClientId, by: By) -> Result<bool, StoreError> {
        self.call(Verb::Change, move |state| {
            let place = state.clients.iter().position(|client| client.id == id && client.tenant == tenant);
            let Some(gone) = place.map(|place| state.clients.remove(place)) else { return Ok(false) };
            state.log(tenant, &by, id.to_string(), Change::gone(audit::client(&gone)));
            Ok(true)
        })
        .await
    }

    async fn clients(&self, tenant: TenantNo) -> Result<Vec<Client>, StoreError> {
        self.call(Verb::Read, move |state| {
            let mut own: Vec<_> = state.clients.iter().filter(|c| c.tenant == tenant).cloned().collect();
            own.sort_by_key(|client| (client.created_at, client.id));
            Ok(own)
        })
        .await
    }

    async fn client_by_id(&self, id: ClientId) -> Result<Option<Client>, StoreError> {
        self.call(Verb::Read, move |state| Ok(state.clients.iter().find(|client| client.id == id).cloned()))
            .await
    }

    async fn client_by_key_hash(&self, key_hash: [u8; 32]) -> Result<Option<Client>, StoreError> {
        self.call(Verb::Read, move |state| {
            Ok(state.clients.iter().find(|client| client.key_hash == key_hash).cloned())
        })
        .await
    }

    async fn create_operator(&self, operator: Operator, by: By) -> Result<(), StoreError> {
        self.call(Verb::Change, move |state| {
            let change = Change::made(audit::operator(&operator));
            state.log_for_installation(&by, operator.id.to_string(), change);
            state.operators.push(operator);
            Ok(())
        })
        .await
    }

    async fn operators(&self) -> Result<Vec<Operator>, StoreError> {
        self.call(Verb::Read, |state| {
            let mut all = state.operators.clone();
            all.sort_by_key(|operator| (operator.created_at, operator.id));
            Ok(all)
        })
        .await
    }

    async fn delete_operator(&self, id: OperatorId, by: By) -> Result<bool, StoreError> {
        self.call(Verb::Change, move |state| {
            let place = state.operators.iter().position(|operator| operator.id == id);
            let Some(gone) = place.map(|place| state.operators.remove(place)) else { return Ok(false) };
            state.log_for_installation(&by, id.to_string(), Change::gone(audit::operator(&gone)));
            Ok(true)
        })
        .await
    }

    async fn operator_by_key_hash(&self, key_hash: [u8; 32]) -> Result<Option<Operator>, StoreError> {
        self.call(Verb::Read, move |state| {
            Ok(state.operators.iter().find(|operator| operator.key_hash == key_hash).cloned())
        })
        .await
    }

    async fn create_webhook(&self, new: NewWebhook, by: By) -> Result<Option<Webhook>, StoreError> {
        self.call(Verb::Change, move |state| Ok(state.create_webhook(new, &by))).await
    }

    async fn change_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        change: WebhookChange,
        by: By,
    ) -> Result<Option<Webhook>, StoreError> {
        self.call(Verb::Change, move |state| Ok(state.change_webhook(tenant, id, change, &by))).await
    }

    async fn delete_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        by: By,
    ) -> Result<Option<Webhook>, StoreError> {
        self.call(Verb::Change, move |state| {
            let Some(last) = state.find_webhook(tenant, id).map(|row| row.webhook.clone()) else {
                return Ok(None);
            };
            let version = state.raise_version(tenant);
            state.bury(last.no, version);
            state.log(tenant, &by, id.to_string(), Change::gone(audit::webhook(&last)));
            Ok(Some(last))
        })
        .await
    }

    async fn webhook(&self, tenant: TenantNo, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        self.call(Verb::Read, move |state| Ok(state.find_webhook(tenant, id).map(|row| row.webhook.clone())))
            .await
    }

    async fn webhooks(
        &self,
        tenant: TenantNo,
        dialect: Option<Dialect>,
        page: PageRequest<WebhookId>,
    ) -> Result<Page<Webhook>, StoreError> {
        self.call(Verb::Read, move |state| {
            let mut rows = state.list_webhooks(tenant, dialect);
            if let Some(after) = page.after {
                rows.retain(|webhook| (webhook.created_at, webhook.id) < (after.at, after.id));
            }
            Ok(cut(rows, page.limit))
        })
        .await
    }

    async fn webhooks_behind(
        &self,
        tenant: TenantNo,
        dialect: Dialect,
        offset: u32,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        self.call(Verb::Read, move |state| {
            let rows = state.list_webhooks(tenant, Some(dialect)).into_iter();
            Ok(rows.skip(offset as usize).take(limit as usize).collect())
        })
        .await
    }

    async fn put_event_type(
        &self,
        tenant: TenantNo,
        event_type: EventType,
        by: By,
    ) -> Result<Option<()>, StoreError> {
        self.call(Verb::Change, move |state| Ok(state.put_event_type(tenant, event_type, &by))).await
    }

    async fn delete_event_type(
        &self,
        tenant: TenantNo,
        name: EventTypeName,
        by: By,
    ) -> Result<bool, StoreError> {
        self.call(Verb::Change, move |state| {
            let Some(row) = state.tenants.get_mut(&tenant) else { return Ok(false) };
            let place = row.types.iter().position(|known| known.name == name);
            let Some(gone) = place.map(|place| row.types.remove(place)) else { return Ok(false) };
            row.version += 1;
            row.types_version = row.version;
            state.log(tenant, &by, name.as_str().to_owned(), Change::gone(audit::event_type(&gone)));
            Ok(true)
        })
        .await
    }

    async fn put_keys(
        &self,
        tenant: TenantNo,
        ring: KeyRing,
        decided_on_version: i64,
        by: By,
    ) -> Result<bool, StoreError> {
        self.call(Verb::Change, move |state| {
            let Some(row) = state.tenants.get_mut(&tenant) else { return Ok(false) };
            // Only a change of the ring itself spoils the decision.
            if row.keys_version > decided_on_version {
                return Ok(false);
            }
            let kid = ring.current().map_or(String::new(), |key| key.kid.clone());
            let before = KeyRing { keys: std::mem::replace(&mut row.keys, ring.keys.clone()) };
            row.version += 1;
            row.keys_version = row.version;
            state.log(tenant, &by, kid, Change::between(&audit::keys(&before), &audit::keys(&ring)));
            Ok(true)
        })
        .await
    }

    async fn token_keys(&self) -> Result<KeyRing, StoreError> {
        self.call(Verb::Read, |state| {
            let mut keys = state.token_keys.clone();
            keys.reverse();
            Ok(KeyRing { keys })
        })
        .await
    }

    async fn add_token_key(&self, fresh: KeyRecord, forget: Timestamp, by: By) -> Result<(), StoreError> {
        self.call(Verb::Change, move |state| {
            for key in state.token_keys.iter_mut().filter(|key| key.state == KeyState::Current) {
                key.state = KeyState::Retired { since: by.at };
            }
            let young = |key: &KeyRecord| !matches!(key.state, KeyState::Retired { since } if since < forget);
            state.token_keys.retain(young);
            let change = Change::made(json!({"current": &fresh.kid}));
            state.log_for_installation(&by, fresh.kid.clone(), change);
            state.token_keys.push(KeyRecord { created_at: by.at, state: KeyState::Current, ..fresh });
            Ok(())
        })
        .await
    }

    async fn create_domain(&self, new: CustomDomain, by: By) -> Result<bool, StoreError> {
        self.call(Verb::Change, move |state| {
            if state.domains.contains_key(&new.tenant) {
                return Ok(false);
            }
            let object = new.facts.domain.as_str().to_owned();
            state.log(new.tenant, &by, object, Change::made(audit::domain(&new)));
            state.domains.insert(new.tenant, new);
            Ok(true)
        })
        .await
    }

    async fn domain(&self, tenant: TenantNo) -> Result<Option<CustomDomain>, StoreError> {
        self.call(Verb::Read, move |state| Ok(state.domains.get(&tenant).cloned())).await
    }

    async fn change_domain(
        &self,
        tenant: TenantNo,
        facts: DomainFacts,
        fresh: VerificationToken,
        by: By,
    ) -> Result<Option<ReplacedDomain>, StoreError> {
        self.call(Verb::Change, move |state| {
            let Some(before) = state.domains.get(&tenant).cloned() else { return Ok(None) };
            let mut after = CustomDomain { facts, ..before.clone() };
            if after.facts.domain != before.facts.domain {
                after.token = fresh;
                after.verified_at = None;
            }
            let change = Change::between(&audit::domain(&before), &audit::domain(&after));
            state.log(tenant, &by, after.facts.domain.as_str().to_owned(), change);
            state.domains.insert(tenant, after.clone());
            Ok(Some(ReplacedDomain { before, after }))
        })
        .await
    }

    async fn delete_domain(&self, tenant: TenantNo, by: By) -> Result<Option<CustomDomain>, StoreError> {
        self.call(Verb::Change, move |state| {
            let Some(last) = state.domains.remove(&tenant) else { return Ok(None) };
            let object = last.facts.domain.as_str().to_owned();
            state.log(tenant, &by, object, Change::gone(audit::domain(&last)));
            Ok(Some(last))
        })
        .await
    }

    async fn verify_domain(
        &self,
        tenant: TenantNo,
        token: VerificationToken,
        by: By,
    ) -> Result<VerifiedDomain, StoreError> {
        self.call(Verb::Change, move |state| Ok(state.verify_domain(tenant, token, &by))).await
    }

    async fn verified_domains(&self) -> Result<Vec<(DomainName, TenantNo)>, StoreError> {
        self.call(Verb::Read, |state| {
            let verified = state.domains.values().filter(|domain| domain.verified_at.is_some());
            Ok(verified.map(|domain| (domain.facts.domain.clone(), domain.tenant)).collect())
        })
        .await
    }

    async fn registry_versions(&self) -> Result<Vec<(TenantNo, i64)>, StoreError> {
        self.call(Verb::Read, |state| {
            let live = state.tenants.values().filter(|row| !row.deleted);
            Ok(live.map(|row| (row.tenant.no, row.version)).collect())
        })
        .await
    }

    async fn registry_delta(&self, tenant: TenantNo, since: i64) -> Result<RegistryDelta, StoreError> {
        self.call(Verb::Read, move |state| state.delta(tenant, since)).await
    }
}

impl State {
    fn create_tenant(&mut self, new: NewTenant, by: &By) -> Option<Tenant> {
        let taken =
            self.tenants.values().any(|row| row.tenant.id == new.id || row.tenant.subdomain == new.subdomain);
        if taken {
            return None;
        }
        let tenant = Tenant {
            no: TenantNo(self.tenants.len() as i64 + 1),
            id: new.id,
            name: new.name,
            subdomain: new.subdomain,
            created_at: new.created_at,
            retention: new.retention,
            quota: OwnQuota::default(),
            log_level: LogLevel::default(),
        };
        let row = TenantRow {
            tenant: tenant.clone(),
            deleted: false,
            version: 1,
            types_version: 1,
            keys_version: 1,
            keys: new.keys,
            types: Vec::new(),
        };
        self.tenants.insert(tenant.no, row);
        self.log(tenant.no, by, tenant.id.to_string(), Change::made(audit::tenant(&tenant)));
        Some(tenant)
    }

    fn change_tenant(
        &mut self,
        tenant: TenantNo,
        by: &By,
        changed: impl FnOnce(Tenant) -> Tenant,
    ) -> Option<Tenant> {
        let before = self.live_tenant(tenant)?.tenant.clone();
        let after = changed(before.clone());
        self.raise_version(tenant);
        self.tenants.get_mut(&tenant)?.tenant = after.clone();
        let change = Change::between(&audit::tenant(&before), &audit::tenant(&after));
        self.log(tenant, by, after.id.to_string(), change);
        Some(after)
    }

    fn delete_tenant(&mut self, tenant: TenantNo, by: &By) -> Option<DeletedTenant> {
        let last = self.live_tenant(tenant)?.tenant.clone();
        let version = self.raise_version(tenant);
        self.tenants.get_mut(&tenant)?.deleted = true;
        let hooks = self.webhooks.values().filter(|row| row.webhook.tenant == tenant && !row.deleted);
        let hooks: Vec<WebhookNo> = hooks.map(|row| row.webhook.no).collect();
        for no in &hooks {
            self.bury(*no, version);
        }
        let clients = self.clients.len();
        self.clients.retain(|client| client.tenant != tenant);
        self.domains.remove(&tenant);
        self.log(tenant, by, last.id.to_string(), Change::gone(audit::tenant(&last)));
        Some(DeletedTenant { webhooks: hooks.len() as u64, clients: (clients - self.clients.len()) as u64 })
    }

    fn find_webhook(&self, tenant: TenantNo, id: WebhookId) -> Option<&WebhookRow> {
        let mut rows = self.webhooks.values();
        rows.find(|row| row.webhook.id == id && row.webhook.tenant == tenant && !row.deleted)
    }

    /// Newest first.
    fn list_webhooks(&self, tenant: TenantNo, dialect: Option<Dialect>) -> Vec<Webhook> {
        let live = self.webhooks.values().filter(|row| row.webhook.tenant == tenant && !row.deleted);
        let mut rows: Vec<Webhook> = live
            .filter(|row| dialect.is_none_or(|dialect| row.webhook.dialect == dialect))
            .map(|row| row.webhook.clone())
            .collect();
        rows.sort_by_key(|webhook| std::cmp::Reverse((webhook.created_at, webhook.id)));
        rows
    }

    fn create_webhook(&mut self, new: NewWebhook, by: &By) -> Option<Webhook> {
        self.live_tenant(new.tenant)?;
        let live = self.webhooks.values().filter(|row| row.webhook.tenant == new.tenant && !row.deleted);
        if live.count() as u64 >= new.at_most {
            return None;
        }
        let webhook = Webhook {
            no: WebhookNo(self.webhooks.len() as i64 + 1),
            id: new.id,
            tenant: new.tenant,
            dialect: new.dialect,
            subscription: new.subscription,
            url: new.url,
            disabled: new.disabled,
            settings: new.settings,
            secrets: new.secrets,
            health: Health::default(),
            lane_epoch: 0,
            version: self.raise_version(new.tenant),
            created_at: new.created_at,
        };
        self.webhooks.insert(webhook.no, WebhookRow { webhook: webhook.clone(), deleted: false });
        self.log(new.tenant, by, new.id.to_string(), Change::made(audit::webhook(&webhook)));
        Some(webhook)
    }

    fn change_webhook(
        &mut self,
        tenant: TenantNo,
        id: WebhookId,
        change: WebhookChange,
        by: &By,
    ) -> Option<Webhook> {
        let before = self.find_webhook(tenant, id)?.webhook.clone();
        let mut after = before.clone();
        if change.disabled == Some(true) && !before.disabled {
            after.lane_epoch += 1;
            self.stale.insert(before.no);
        }
        after.subscription = change.subscription.unwrap_or(after.subscription);
        after.url = change.url.unwrap_or(after.url);
        after.disabled = change.disabled.unwrap_or(after.disabled);
        after.settings = change.settings.unwrap_or(after.settings);
        after.secrets = change.secrets.unwrap_or(after.secrets);
        after.version = self.raise_version(tenant);
        self.webhooks.get_mut(&before.no)?.webhook = after.clone();
        let change = Change::between(&audit::webhook(&before), &audit::webhook(&after));
        self.log(tenant, by, id.to_string(), change);
        Some(after)
    }

    fn bury(&mut self, no: WebhookNo, version: i64) {
        if let Some(row) = self.webhooks.get_mut(&no) {
            row.deleted = true;
            row.webhook.lane_epoch += 1;
            row.webhook.version = version;
        }
        self.stale.insert(no);
    }

    fn put_event_type(&mut self, tenant: TenantNo, event_type: EventType, by: &By) -> Option<()> {
        let row = self.tenants.get_mut(&tenant)?;
        let after = audit::event_type(&event_type);
        let name = event_type.name.clone();
        let before =
            row.types.iter().position(|known| known.name == name).map(|place| row.types.remove(place));
        if before.is_none() && row.types.len() >= EVENT_TYPES_PER_TENANT {
            return None;
        }
        let change = match before {
            Some(before) => Change::between(&audit::event_type(&before), &after),
            None => Change::made(after),
        };
        row.types.push(event_type);
        row.types.sort_by(|a, b| a.name.cmp(&b.name));
        row.version += 1;
        row.types_version = row.version;
        self.log(tenant, by, name.as_str().to_owned(), change);
        Some(())
    }

    fn verify_domain(&mut self, tenant: TenantNo, token: VerificationToken, by: &By) -> VerifiedDomain {
        let Some(mut domain) = self.domains.get(&tenant).filter(|domain| domain.token == token).cloned()
        else {
            return VerifiedDomain::Changed;
        };
        if domain.verified_at.is_some() {
            return VerifiedDomain::Verified(domain);
        }
        let mut others = self.domains.values().filter(|other| other.verified_at.is_some());
        if others.any(|other| other.facts.domain == domain.facts.domain) {
            return VerifiedDomain::Taken;
        }
        let before = audit::domain(&domain);
        domain.verified_at = Some(by.at);
        let change = Change::between(&before, &audit::domain(&domain));
        self.log(tenant, by, domain.facts.domain.as_str().to_owned(), change);
        self.domains.insert(tenant, domain.clone());
        VerifiedDomain::Verified(domain)
    }

    fn delta(&self, tenant: TenantNo, since: i64) -> Result<RegistryDelta, StoreError> {
        let row = self.tenants.get(&tenant).ok_or(StoreError::Corrupt { what: "tenant" })?;
        let Tenant { quota, log_level, .. } = row.tenant;
        let mut delta = RegistryDelta { version: row.version, quota, log_level, ..RegistryDelta::default() };
        if since >= row.version {
            return Ok(delta);
        }
        let own = self.webhooks.values().filter(|hook| hook.webhook.tenant == tenant);
        let mut newer: Vec<&WebhookRow> = own.filter(|hook| hook.webhook.version > since).collect();
        newer.sort_by_key(|hook| hook.webhook.version);
        for hook in newer {
            if !hook.deleted {
                delta.changed.push(hook.webhook.clone());
            } else if since > 0 {
                delta.deleted.push(hook.webhook.no);
            }
        }
        delta.event_types = (row.types_version > since).then(|| row.types.clone());
        delta.keys = (row.keys_version > since).then(|| KeyRing { keys: row.keys.clone() });
        Ok(delta)
    }
}
