//! Tenants, clients, webhooks, event types, signing keys and custom domains in SQLite.
//!
//! Whatever changes what accepting matches against raises the tenant's registry version in the same transaction, and
//! marks what changed with it; so caches ask for what is newer than they are, at the cost of the change only.

mod domains;
mod operators;
mod tenants;
mod token_keys;
mod webhooks;

pub(crate) use webhooks::{LaneFacts, lane_facts};

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};

use sealpost_core::analytics::LogLevel;
use sealpost_core::audit::By;
use sealpost_core::dialect::Dialect;
use sealpost_core::domain::{CustomDomain, DomainFacts, DomainName};
use sealpost_core::event_type::{EventType, EventTypeName};
use sealpost_core::id::{ClientId, OperatorId, TenantNo, VerificationToken, WebhookId, WebhookNo};
use sealpost_core::key_ring::{KeyRecord, KeyRing};
use sealpost_core::limits::EVENT_TYPES_PER_TENANT;
use sealpost_core::quota::OwnQuota;
use sealpost_core::tenant::Tenant;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::Webhook;

use crate::audit::{self, Change};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::registry::{
    Client, DeletedTenant, NewTenant, NewWebhook, Operator, Registry, RegistryDelta, ReplacedDomain,
    VerifiedDomain, WebhookChange,
};
use crate::sqlite::SqliteStore;
use crate::sqlite::audit as log;
use crate::sqlite::context::WriterCtx;
use crate::sqlite::rows::{self, SealedKey, seal_keys};
use crate::sqlite::writer::{Cost, Kind, WriteError};
use crate::vault::{TenantHasher, TenantKey};

#[async_trait]
impl Registry for SqliteStore {
    async fn create_tenant(&self, new: NewTenant, by: By) -> Result<Option<Tenant>, StoreError> {
        let _same_key = self.wrapping.read().await;
        let (key, wrapped) = self.vault.new_tenant_key(new.id);
        let keys = seal_keys(&key, &new.keys);
        let made = self.writer.run(Kind::Registry, Cost::rows(3 + keys.len()), move |conn, _| {
            insert_tenant(conn, &new, &wrapped, &keys, &by)
        });
        let made = made.await?;
        if let Some(tenant) = &made {
            self.remember_tenant(tenant.no, key);
        }
        Ok(made)
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let read = |conn: &Connection| {
            let mut statement = conn.prepare_cached(&format!(
                "SELECT {} FROM tenant WHERE deleted_at IS NULL ORDER BY no",
                rows::TENANT_COLUMNS
            ))?;
            statement.query_and_then([], rows::tenant)?.collect()
        };
        self.readers.run(read).await
    }

    async fn change_quota(
        &self,
        tenant: TenantNo,
        quota: OwnQuota,
        by: By,
    ) -> Result<Option<Tenant>, StoreError> {
        self.update_quota(tenant, quota, by).await
    }

    async fn tenants_with_next_key_since(
        &self,
        published: Timestamp,
        limit: u32,
    ) -> Result<Vec<TenantNo>, StoreError> {
        let read = move |conn: &Connection| {
            // Rare, and the table is small: a few rows a tenant.
            let mut statement = conn.prepare_cached(
                "SELECT k.tenant FROM signing_key k JOIN tenant t ON t.no = k.tenant \
                 WHERE k.state = 0 AND k.created_at <= ?1 AND t.deleted_at IS NULL \
                 ORDER BY k.created_at, k.tenant LIMIT ?2",
            )?;
            let found = statement.query_map((published.millis(), limit), |row| Ok(TenantNo(row.get(0)?)))?;
            Ok(found.collect::<rusqlite::Result<_>>()?)
        };
        self.readers.run(read).await
    }

    async fn change_log_level(
        &self,
        tenant: TenantNo,
        level: LogLevel,
        by: By,
    ) -> Result<Option<Tenant>, StoreError> {
        self.update_log_level(tenant, level, by).await
    }

    async fn delete_tenant(&self, tenant: TenantNo, by: By) -> Result<Option<DeletedTenant>, StoreError> {
        self.bury_tenant(tenant, by).await
    }

    async fn hasher(&self, tenant: TenantNo) -> Result<Option<Arc<TenantHasher>>, StoreError> {
        Ok(self.known_tenant(tenant).await?.map(|known| known.hasher))
    }

    async fn create_client(&self, client: Client, by: By) -> Result<bool, StoreError> {
        let write = move |conn: &Connection, _: &mut _| {
            let mut statement = conn.prepare_cached(
                "INSERT INTO client (id, tenant, name, role, webhook, key_hash, created_at, expires_at) \
                 SELECT ?1, no, ?3, ?4, ?5, ?6, ?7, ?8 FROM tenant WHERE no = ?2 AND deleted_at IS NULL",
            )?;
            let inserted = statement.execute((
                client.id.bytes(),
                client.tenant.0,
                &client.name,
                client.roles.to_string(),
                client.webhook.as_ref().map(WebhookId::bytes),
                &client.key_hash,
                client.created_at.millis(),
                client.expires_at.map(Timestamp::millis),
            ))?;
            if inserted > 0 {
                let change = Change::made(audit::client(&client));
                log::insert(conn, client.tenant, &by, &client.id.to_string(), &change)?;
            }
            Ok(inserted > 0)
        };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    async fn delete_client(&self, tenant: TenantNo, id: ClientId, by: By) -> Result<bool, StoreError> {
        let write = move |conn: &Connection, _: &mut _| {
            let mut statement = conn.prepare_cached(&format!(
                "DELETE FROM client WHERE id = ?1 AND tenant = ?2 RETURNING {CLIENT_COLUMNS}"
            ))?;
            let gone = statement.query_and_then((id.bytes(), tenant.0), client)?.next().transpose()?;
            if let Some(gone) = &gone {
                log::insert(conn, tenant, &by, &id.to_string(), &Change::gone(audit::client(gone)))?;
            }
            Ok(gone.is_some())
        };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    async fn clients(&self, tenant: TenantNo) -> Result<Vec<Client>, StoreError> {
        let read = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(&format!(
                "SELECT {CLIENT_COLUMNS} FROM client WHERE tenant = ?1 ORDER BY created_at, id"
            ))?;
            statement.query_and_then([tenant.0], client)?.collect()
        };
        self.readers.run(read).await
    }

    async fn client_by_id(&self, id: ClientId) -> Result<Option<Client>, StoreError> {
        let read = move |conn: &Connection| {
            let mut statement =
                conn.prepare_cached(&format!("SELECT {CLIENT_COLUMNS} FROM client WHERE id = ?1"))?;
            statement.query_and_then([id.bytes()], client)?.next().transpose()
        };
        self.readers.run(read).await
    }

    async fn client_by_key_hash(&self, key_hash: [u8; 32]) -> Result<Option<Client>, StoreError> {
        let read = move |conn: &Connection| {
            let mut statement =
                conn.prepare_cached(&format!("SELECT {CLIENT_COLUMNS} FROM client WHERE key_hash = ?1"))?;
            statement.query_and_then([key_hash], client)?.next().transpose()
        };
        self.readers.run(read).await
    }

    async fn create_operator(&self, operator: Operator, by: By) -> Result<(), StoreError> {
        self.insert_operator(operator, by).await
    }

    async fn operators(&self) -> Result<Vec<Operator>, StoreError> {
        self.list_operators().await
    }

    async fn delete_operator(&self, id: OperatorId, by: By) -> Result<bool, StoreError> {
        self.remove_operator(id, by).await
    }

    async fn operator_by_key_hash(&self, key_hash: [u8; 32]) -> Result<Option<Operator>, StoreError> {
        self.find_operator(key_hash).await
    }

    async fn create_webhook(&self, new: NewWebhook, by: By) -> Result<Option<Webhook>, StoreError> {
        self.insert_webhook(new, by).await
    }

    async fn change_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        change: WebhookChange,
        by: By,
    ) -> Result<Option<Webhook>, StoreError> {
        self.update_webhook(tenant, id, change, by).await
    }

    async fn delete_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        by: By,
    ) -> Result<Option<Webhook>, StoreError> {
        self.bury_webhook(tenant, id, by).await
    }

    async fn webhook(&self, tenant: TenantNo, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        self.read_webhook(tenant, id).await
    }

    async fn webhooks(
        &self,
        tenant: TenantNo,
        dialect: Option<Dialect>,
        page: PageRequest<WebhookId>,
    ) -> Result<Page<Webhook>, StoreError> {
        self.list_webhooks(tenant, dialect, page).await
    }

    async fn webhooks_behind(
        &self,
        tenant: TenantNo,
        dialect: Dialect,
        offset: u32,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        self.list_webhooks_behind(tenant, dialect, offset, limit).await
    }

    async fn put_event_type(
        &self,
        tenant: TenantNo,
        event_type: EventType,
        by: By,
    ) -> Result<Option<()>, StoreError> {
        let body = rows::event_type_json(&event_type)?;
        let name = event_type.name.clone();
        let write = move |conn: &Connection, ctx: &mut WriterCtx| {
            let before = find_event_type(conn, tenant, &name)?;
            let changed = conn
                .prepare_cached("UPDATE event_type SET body = ?3 WHERE tenant = ?1 AND name = ?2")?
                .execute((tenant.0, name.as_str(), &body))?;
            if changed == 0 {
                let count: i64 = conn
                    .prepare_cached("SELECT count(*) FROM event_type WHERE tenant = ?1")?
                    .query_row([tenant.0], |row| row.get(0))?;
                if count >= EVENT_TYPES_PER_TENANT as i64 {
                    return Ok(None);
                }
                conn.prepare_cached("INSERT INTO event_type (tenant, name, body) VALUES (?1, ?2, ?3)")?
                    .execute((tenant.0, name.as_str(), &body))?;
            }
            mark(conn, ctx, tenant, "types_version")?;
            let after = audit::event_type(&event_type);
            let change = match &before {
                Some(before) => Change::between(&audit::event_type(before), &after),
                None => Change::made(after),
            };
            log::insert(conn, tenant, &by, name.as_str(), &change)?;
            Ok(Some(()))
        };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    async fn delete_event_type(
        &self,
        tenant: TenantNo,
        name: EventTypeName,
        by: By,
    ) -> Result<bool, StoreError> {
        let write = move |conn: &Connection, ctx: &mut WriterCtx| {
            let Some(last) = find_event_type(conn, tenant, &name)? else { return Ok(false) };
            conn.prepare_cached("DELETE FROM event_type WHERE tenant = ?1 AND name = ?2")?
                .execute((tenant.0, name.as_str()))?;
            mark(conn, ctx, tenant, "types_version")?;
            log::insert(conn, tenant, &by, name.as_str(), &Change::gone(audit::event_type(&last)))?;
            Ok(true)
        };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    async fn put_keys(
        &self,
        tenant: TenantNo,
        ring: KeyRing,
        decided_on_version: i64,
        by: By,
    ) -> Result<bool, StoreError> {
        let Some(key) = self.tenant_key(tenant).await? else { return Ok(false) };
        let keys = seal_keys(&key, &ring.keys);
        let write = move |conn: &Connection, ctx: &mut WriterCtx| {
            // Other changes raise the registry version too; only one of the ring itself spoils the decision.
            let same: bool = conn
                .prepare_cached("SELECT keys_version <= ?2 FROM tenant WHERE no = ?1")?
                .query_row((tenant.0, decided_on_version), |row| row.get(0))?;
            if same {
                let before = key_ring(conn, &key, tenant)?;
                conn.prepare_cached("DELETE FROM signing_key WHERE tenant = ?1")?.execute([tenant.0])?;
                insert_keys(conn, tenant, &keys)?;
                mark(conn, ctx, tenant, "keys_version")?;
                let kid = ring.current().map_or("", |key| key.kid.as_str());
                let change = Change::between(&audit::keys(&before), &audit::keys(&ring));
                log::insert(conn, tenant, &by, kid, &change)?;
            }
            Ok(same)
        };
        self.writer.run(Kind::Registry, Cost::rows(8), write).await
    }

    async fn token_keys(&self) -> Result<KeyRing, StoreError> {
        self.read_token_keys().await
    }

    async fn add_token_key(&self, fresh: KeyRecord, forget: Timestamp, by: By) -> Result<(), StoreError> {
        self.insert_token_key(fresh, forget, by).await
    }

    async fn create_domain(&self, new: CustomDomain, by: By) -> Result<bool, StoreError> {
        self.insert_domain(new, by).await
    }

    async fn domain(&self, tenant: TenantNo) -> Result<Option<CustomDomain>, StoreError> {
        self.read_domain(tenant).await
    }

    async fn change_domain(
        &self,
        tenant: TenantNo,
        facts: DomainFacts,
        fresh: VerificationToken,
        by: By,
    ) -> Result<Option<ReplacedDomain>, StoreError> {
        self.update_domain(tenant, facts, fresh, by).await
    }

    async fn delete_domain(&self, tenant: TenantNo, by: By) -> Result<Option<CustomDomain>, StoreError> {
        self.remove_domain(tenant, by).await
    }

    async fn verify_domain(
        &self,
        tenant: TenantNo,
        token: VerificationToken,
        by: By,
    ) -> Result<VerifiedDomain, StoreError> {
        self.mark_domain_verified(tenant, token, by).await
    }

    async fn verified_domains(&self) -> Result<Vec<(DomainName, TenantNo)>, StoreError> {
        self.list_verified_domains().await
    }

    async fn registry_versions(&self) -> Result<Vec<(TenantNo, i64)>, StoreError> {
        let read = |conn: &Connection| {
            let mut statement = conn.prepare_cached(
                "SELECT no, registry_version FROM tenant WHERE deleted_at IS NULL ORDER BY no",
            )?;
            let found = statement.query_map([], |row| Ok((TenantNo(row.get(0)?), row.get(1)?)))?;
            Ok(found.collect::<rusqlite::Result<_>>()?)
        };
        self.readers.run(read).await
    }

    async fn registry_delta(&self, tenant: TenantNo, since: i64) -> Result<RegistryDelta, StoreError> {
        let Some(key) = self.tenant_key(tenant).await? else {
            return Err(rows::corrupt("tenant"));
        };
        self.readers.run(move |conn| registry_delta(conn, &key, tenant, since)).await
    }
}

fn insert_tenant(
    conn: &Connection,
    new: &NewTenant,
    wrapped: &[u8],
    keys: &[SealedKey],
    by: &By,
) -> Result<Option<Tenant>, WriteError> {
    let no: Option<i64> = conn
        .prepare_cached(
            "INSERT INTO tenant (id, name, subdomain, created_at, retention, wrapped_key, registry_version, \
             types_version, keys_version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 1, 1) \
             ON CONFLICT DO NOTHING RETURNING no",
        )?
        .query_row(
            (
                new.id.bytes(),
                &new.name,
                new.subdomain.as_str(),
                new.created_at.millis(),
                rows::to_json(&new.retention)?,
                wrapped,
            ),
            |row| row.get(0),
        )
        .optional()?;
    let Some(no) = no else { return Ok(None) };
    insert_keys(conn, TenantNo(no), keys)?;
    let tenant = Tenant {
        no: TenantNo(no),
        id: new.id,
        name: new.name.clone(),
        subdomain: new.subdomain.clone(),
        created_at: new.created_at,
        retention: new.retention,
        quota: OwnQuota::default(),
        log_level: LogLevel::default(),
    };
    log::insert(conn, tenant.no, by, &tenant.id.to_string(), &Change::made(audit::tenant(&tenant)))?;
    Ok(Some(tenant))
}

/// Raises the registry version and remembers that it was for `what`.
fn mark(
    conn: &Connection,
    ctx: &mut WriterCtx,
    tenant: TenantNo,
    what: &'static str,
) -> rusqlite::Result<()> {
    let version = raise_version(conn, ctx, tenant)?;
    conn.prepare_cached(&format!("UPDATE tenant SET {what} = ?2 WHERE no = ?1"))?
        .execute((tenant.0, version))?;
    Ok(())
}

fn raise_version(conn: &Connection, ctx: &mut WriterCtx, tenant: TenantNo) -> rusqlite::Result<i64> {
    ctx.registry_changed();
    conn.prepare_cached(
        "UPDATE tenant SET registry_version = registry_version + 1 WHERE no = ?1 RETURNING registry_version",
    )?
    .query_row([tenant.0], |row| row.get(0))
}

// --- clients ----------------------------------------------------------------------------------------------

const CLIENT_COLUMNS: &str = "id, tenant, name, role, webhook, key_hash, created_at, expires_at";

fn client(row: &Row<'_>) -> Result<Client, WriteError> {
    let roles: String = row.get(3)?;
    Ok(Client {
        id: ClientId::from_bytes(row.get(0)?),
        tenant: TenantNo(row.get(1)?),
        name: row.get(2)?,
        roles: roles.parse().map_err(|_| rows::corrupt("roles"))?,
        webhook: row.get::<_, Option<[u8; 16]>>(4)?.map(WebhookId::from_bytes),
        key_hash: row.get(5)?,
        created_at: rows::timestamp(row, 6)?,
        expires_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
    })
}

// --- signing keys -----------------------------------------------------------------------------------------

fn insert_keys(conn: &Connection, tenant: TenantNo, keys: &[SealedKey]) -> rusqlite::Result<()> {
    for SealedKey { record, sealed } in keys {
        let (state, since) = rows::key_state_codes(record.state);
        conn.prepare_cached(
            "INSERT INTO signing_key (tenant, kid, public, sealed, created_at, state, since) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
            tenant.0,
            &record.kid,
            &record.public,
            sealed,
            record.created_at.millis(),
            state,
            since,
        ))?;
    }
    Ok(())
}

fn key_ring(conn: &Connection, key: &TenantKey, tenant: TenantNo) -> Result<KeyRing, WriteError> {
    let mut statement = conn.prepare_cached(
        "SELECT kid, public, sealed, created_at, state, since FROM signing_key WHERE tenant = ?1 \
         ORDER BY created_at, state, kid",
    )?;
    let record = |row: &Row<'_>| -> Result<KeyRecord, WriteError> {
        let kid: String = row.get(0)?;
        let sealed: Vec<u8> = row.get(2)?;
        let seed = rows::open_key_seed(key, &kid, &sealed)?;
        Ok(KeyRecord {
            kid,
            public: row.get(1)?,
            seed,
            created_at: rows::timestamp(row, 3)?,
            state: rows::key_state(row.get(4)?, row.get(5)?)?,
        })
    };
    let keys = statement.query_and_then([tenant.0], record)?.collect::<Result<_, _>>()?;
    Ok(KeyRing { keys })
}

// --- event types ------------------------------------------------------------------------------------------

fn find_event_type(
    conn: &Connection,
    tenant: TenantNo,
    name: &EventTypeName,
) -> Result<Option<EventType>, WriteError> {
    let mut statement =
        conn.prepare_cached("SELECT name, body FROM event_type WHERE tenant = ?1 AND name = ?2")?;
    statement.query_and_then((tenant.0, name.as_str()), event_type)?.next().transpose()
}

fn event_type(row: &Row<'_>) -> Result<EventType, WriteError> {
    let (name, body): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(rows::event_type(&name, &body)?)
}

// --- what changed -----------------------------------------------------------------------------------------

fn registry_delta(
    conn: &Connection,
    key: &TenantKey,
    tenant: TenantNo,
    since: i64,
) -> Result<RegistryDelta, WriteError> {
    let (version, types_version, keys_version, quota, level): (i64, i64, i64, String, u8) = conn
        .prepare_cached(
            "SELECT registry_version, types_version, keys_version, quota, log_level FROM tenant WHERE no = ?1",
        )?
        .query_row([tenant.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?;
    let (quota, log_level) = (rows::from_json(&quota, "quota")?, rows::log_level(level)?);
    let mut delta = RegistryDelta { version, quota, log_level, ..RegistryDelta::default() };
    if since >= version {
        return Ok(delta);
    }
    let mut changed = conn.prepare_cached(&format!(
        "SELECT {} FROM webhook INDEXED BY webhook_changes \
         WHERE tenant = ?1 AND version > ?2 AND deleted_at IS NULL ORDER BY version",
        rows::WEBHOOK_COLUMNS
    ))?;
    delta.changed = changed
        .query_and_then((tenant.0, since), |row| Ok(rows::sealed_webhook(row)?.open(key)?))?
        .collect::<Result<_, WriteError>>()?;
    // A cache that begins has nothing that could have been deleted from it.
    if since > 0 {
        let mut deleted = conn.prepare_cached(
            "SELECT no FROM webhook INDEXED BY webhook_changes \
             WHERE tenant = ?1 AND version > ?2 AND deleted_at IS NOT NULL ORDER BY version",
        )?;
        delta.deleted = deleted
            .query_map((tenant.0, since), |row| Ok(WebhookNo(row.get(0)?)))?
            .collect::<rusqlite::Result<_>>()?;
    }
    if types_version > since {
        let mut types =
            conn.prepare_cached("SELECT name, body FROM event_type WHERE tenant = ?1 ORDER BY name")?;
        delta.event_types = Some(types.query_and_then([tenant.0], event_type)?.collect::<Result<_, _>>()?);
    }
    if keys_version > since {
        delta.keys = Some(key_ring(conn, key, tenant)?);
    }
    Ok(delta)
}

#[cfg(test)]
mod tests;
