//! Tenants, clients, webhooks, event types, signing keys and custom domains.
//!
//! Whatever changes what accepting matches against holds the tenant's row, so that changes of one tenant follow each
//! other, whichever node makes them; it raises the tenant's registry version and marks what changed with it.

mod domains;
mod operators;
mod tenants;
mod token_keys;
mod webhooks;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;

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

use super::audit as log;
use super::fault::Fault;
use super::pool::{Columns as _, Conn, reading, transaction};
use super::{PostgresStore, schema};
use crate::audit::{self, Change};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::registry::{
    Client, DeletedTenant, NewTenant, NewWebhook, Operator, Registry, RegistryDelta, ReplacedDomain,
    VerifiedDomain, WebhookChange,
};
use crate::rows::{self, SealedKey, seal_keys};
use crate::vault::{TenantHasher, TenantKey};

pub(super) use tenants::millis;
pub(super) use webhooks::{LaneFacts, health, lane_facts};

#[async_trait]
impl Registry for PostgresStore {
    async fn create_tenant(&self, new: NewTenant, by: By) -> Result<Option<Tenant>, StoreError> {
        let _same_key = self.shared.wrapping.read().await;
        let made = transaction!(self.shared, |conn| async {
            schema::hold_master_key(conn).await?;
            self.shared.is_under_our_key(conn).await?;
            let (key, wrapped) = self.shared.vault.new_tenant_key(new.id);
            let keys = seal_keys(&key, &new.keys);
            let tenant = tenants::insert(conn, &new, &wrapped, &keys, &by).await?;
            Ok::<_, Fault>(tenant.map(|tenant| (tenant, key)))
        }
        .await)?;
        Ok(made.map(|(tenant, key)| {
            self.shared.remember_tenant(tenant.no, key);
            tenant
        }))
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let sql = format!("SELECT {} FROM tenant WHERE deleted_at IS NULL ORDER BY no", rows::TENANT_COLUMNS);
        let found = reading!(self.shared, |conn| conn.rows(&sql, &[]).await)?;
        found.iter().map(tenants::tenant).collect::<Result<_, Fault>>().map_err(Fault::for_caller)
    }

    async fn change_quota(
        &self,
        tenant: TenantNo,
        quota: OwnQuota,
        by: By,
    ) -> Result<Option<Tenant>, StoreError> {
        let change = |before| Tenant { quota, ..before };
        transaction!(self.shared, |conn| tenants::change(conn, tenant, change, &by).await)
    }

    async fn change_log_level(
        &self,
        tenant: TenantNo,
        log_level: LogLevel,
        by: By,
    ) -> Result<Option<Tenant>, StoreError> {
        let change = |before| Tenant { log_level, ..before };
        transaction!(self.shared, |conn| tenants::change(conn, tenant, change, &by).await)
    }

    async fn tenants_with_next_key_since(
        &self,
        published: Timestamp,
        limit: u32,
    ) -> Result<Vec<TenantNo>, StoreError> {
        let sql = "SELECT k.tenant FROM signing_key k JOIN tenant t ON t.no = k.tenant
                   WHERE k.state = 0 AND k.created_at <= $1 AND t.deleted_at IS NULL
                   ORDER BY k.created_at, k.tenant LIMIT $2";
        let params = (published.millis(), i64::from(limit));
        let found = reading!(self.shared, |conn| conn.rows(sql, &[&params.0, &params.1]).await)?;
        let no = |row: &Row| Ok(TenantNo(row.col(0)?));
        found.iter().map(no).collect::<Result<_, Fault>>().map_err(Fault::for_caller)
    }

    async fn delete_tenant(&self, tenant: TenantNo, by: By) -> Result<Option<DeletedTenant>, StoreError> {
        transaction!(self.shared, |conn| tenants::bury(conn, tenant, &by).await)
    }

    async fn hasher(&self, tenant: TenantNo) -> Result<Option<Arc<TenantHasher>>, StoreError> {
        Ok(self.shared.known_tenant(tenant).await?.map(|known| known.hasher))
    }

    async fn create_client(&self, client: Client, by: By) -> Result<bool, StoreError> {
        transaction!(self.shared, |conn| insert_client(conn, &client, &by).await)
    }

    async fn delete_client(&self, tenant: TenantNo, id: ClientId, by: By) -> Result<bool, StoreError> {
        transaction!(self.shared, |conn| remove_client(conn, tenant, id, &by).await)
    }

    async fn clients(&self, tenant: TenantNo) -> Result<Vec<Client>, StoreError> {
        let sql = format!("SELECT {CLIENT_COLUMNS} FROM client WHERE tenant = $1 ORDER BY created_at, id");
        let found = reading!(self.shared, |conn| conn.rows(&sql, &[&tenant.0]).await)?;
        found.iter().map(client).collect::<Result<_, Fault>>().map_err(Fault::for_caller)
    }

    async fn client_by_id(&self, id: ClientId) -> Result<Option<Client>, StoreError> {
        self.find_client("id", id.bytes()).await
    }

    async fn client_by_key_hash(&self, key_hash: [u8; 32]) -> Result<Option<Client>, StoreError> {
        self.find_client("key_hash", &key_hash).await
    }

    async fn create_operator(&self, operator: Operator, by: By) -> Result<(), StoreError> {
        transaction!(self.shared, |conn| operators::insert(conn, &operator, &by).await)
    }

    async fn operators(&self) -> Result<Vec<Operator>, StoreError> {
        reading!(self.shared, |conn| operators::list(conn).await)
    }

    async fn delete_operator(&self, id: OperatorId, by: By) -> Result<bool, StoreError> {
        transaction!(self.shared, |conn| operators::remove(conn, id, &by).await)
    }

    async fn operator_by_key_hash(&self, key_hash: [u8; 32]) -> Result<Option<Operator>, StoreError> {
        reading!(self.shared, |conn| operators::find(conn, &key_hash).await)
    }

    async fn create_webhook(&self, new: NewWebhook, by: By) -> Result<Option<Webhook>, StoreError> {
        let key = self.shared.tenant_key(new.tenant).await?.ok_or(rows::corrupt("tenant"))?;
        let sealed = rows::seal_secrets(&key, new.id, &new.secrets)?;
        transaction!(self.shared, |conn| webhooks::insert(conn, &new, &sealed, &by).await)
    }

    async fn change_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        change: WebhookChange,
        by: By,
    ) -> Result<Option<Webhook>, StoreError> {
        let Some(key) = self.shared.tenant_key(tenant).await? else { return Ok(None) };
        let sealed =
            change.secrets.as_ref().map(|secrets| rows::seal_secrets(&key, id, secrets)).transpose()?;
        let sealed = sealed.as_deref();
        transaction!(self.shared, |conn| webhooks::update(conn, &key, (tenant, id), &change, sealed, &by)
            .await)
    }

    async fn delete_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        by: By,
    ) -> Result<Option<Webhook>, StoreError> {
        let Some(key) = self.shared.tenant_key(tenant).await? else { return Ok(None) };
        transaction!(self.shared, |conn| webhooks::bury(conn, &key, tenant, id, &by).await)
    }

    async fn webhook(&self, tenant: TenantNo, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        let Some(key) = self.shared.tenant_key(tenant).await? else { return Ok(None) };
        let found = reading!(self.shared, |conn| webhooks::find(conn, tenant, id, "").await)?;
        found.map(|webhook| webhook.open(&key)).transpose()
    }

    async fn webhooks(
        &self,
        tenant: TenantNo,
        dialect: Option<Dialect>,
        page: PageRequest<WebhookId>,
    ) -> Result<Page<Webhook>, StoreError> {
        let Some(key) = self.shared.tenant_key(tenant).await? else {
            return Ok(Page { rows: Vec::new(), more: false });
        };
        reading!(self.shared, |conn| webhooks::list(conn, &key, tenant, dialect, &page).await)
    }

    async fn webhooks_behind(
        &self,
        tenant: TenantNo,
        dialect: Dialect,
        offset: u32,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        let Some(key) = self.shared.tenant_key(tenant).await? else { return Ok(Vec::new()) };
        let range = (i64::from(offset), i64::from(limit));
        reading!(self.shared, |conn| webhooks::list_behind(conn, &key, tenant, dialect, range).await)
    }

    async fn put_event_type(
        &self,
        tenant: TenantNo,
        event_type: EventType,
        by: By,
    ) -> Result<Option<()>, StoreError> {
        let body = rows::event_type_json(&event_type)?;
        transaction!(self.shared, |conn| put_event_type(conn, tenant, &event_type, &body, &by).await)
    }

    async fn delete_event_type(
        &self,
        tenant: TenantNo,
        name: EventTypeName,
        by: By,
    ) -> Result<bool, StoreError> {
        transaction!(self.shared, |conn| remove_event_type(conn, tenant, &name, &by).await)
    }

    async fn put_keys(
        &self,
        tenant: TenantNo,
        ring: KeyRing,
        decided_on_version: i64,
        by: By,
    ) -> Result<bool, StoreError> {
        let Some(key) = self.shared.tenant_key(tenant).await? else { return Ok(false) };
        let keys = seal_keys(&key, &ring.keys);
        transaction!(self.shared, |conn| async {
            hold_tenant(conn, tenant).await?;
            // Other changes raise the registry version too; only one of the ring itself spoils the decision.
            let sql = "SELECT keys_version <= $2 FROM tenant WHERE no = $1";
            let same: bool = conn.one(sql, &[&tenant.0, &decided_on_version]).await?.col(0)?;
            if same {
                let before = key_ring(conn, &key, tenant).await?;
                conn.run("DELETE FROM signing_key WHERE tenant = $1", &[&tenant.0]).await?;
                insert_keys(conn, tenant, &keys).await?;
                mark(conn, tenant, "keys_version").await?;
                let kid = ring.current().map_or("", |key| key.kid.as_str());
                let change = Change::between(&audit::keys(&before), &audit::keys(&ring));
                log::insert(conn, tenant, &by, kid, &change).await?;
            }
            Ok::<_, Fault>(same)
        }
        .await)
    }

    async fn token_keys(&self) -> Result<KeyRing, StoreError> {
        let _same_key = self.shared.wrapping.read().await;
        reading!(self.shared, |conn| token_keys::list(conn, &self.shared).await)
    }

    async fn add_token_key(&self, fresh: KeyRecord, forget: Timestamp, by: By) -> Result<(), StoreError> {
        let _same_key = self.shared.wrapping.read().await;
        transaction!(self.shared, |conn| token_keys::insert(conn, &self.shared, &fresh, forget, &by).await)
    }

    async fn create_domain(&self, new: CustomDomain, by: By) -> Result<bool, StoreError> {
        transaction!(self.shared, |conn| domains::insert(conn, &new, &by).await)
    }

    async fn domain(&self, tenant: TenantNo) -> Result<Option<CustomDomain>, StoreError> {
        reading!(self.shared, |conn| domains::find(conn, tenant, "").await)
    }

    async fn change_domain(
        &self,
        tenant: TenantNo,
        facts: DomainFacts,
        fresh: VerificationToken,
        by: By,
    ) -> Result<Option<ReplacedDomain>, StoreError> {
        transaction!(self.shared, |conn| domains::update(conn, tenant, &facts, &fresh, &by).await)
    }

    async fn delete_domain(&self, tenant: TenantNo, by: By) -> Result<Option<CustomDomain>, StoreError> {
        transaction!(self.shared, |conn| domains::remove(conn, tenant, &by).await)
    }

    async fn verify_domain(
        &self,
        tenant: TenantNo,
        token: VerificationToken,
        by: By,
    ) -> Result<VerifiedDomain, StoreError> {
        transaction!(self.shared, |conn| domains::verify(conn, tenant, &token, &by).await)
    }

    async fn verified_domains(&self) -> Result<Vec<(DomainName, TenantNo)>, StoreError> {
        reading!(self.shared, |conn| domains::verified(conn).await)
    }

    async fn registry_versions(&self) -> Result<Vec<(TenantNo, i64)>, StoreError> {
        let sql = "SELECT no, registry_version FROM tenant WHERE deleted_at IS NULL ORDER BY no";
        let found = reading!(self.shared, |conn| conn.rows(sql, &[]).await)?;
        let pair = |row: &Row| Ok((TenantNo(row.col(0)?), row.col(1)?));
        found.iter().map(pair).collect::<Result<_, Fault>>().map_err(Fault::for_caller)
    }

    async fn registry_delta(&self, tenant: TenantNo, since: i64) -> Result<RegistryDelta, StoreError> {
        let key = self.shared.tenant_key(tenant).await?.ok_or(rows::corrupt("tenant"))?;
        reading!(self.shared, |conn| registry_delta(conn, &key, tenant, since).await)
    }
}

/// Changes of a tenant follow each other from here to the end of the transaction.
async fn hold_tenant(conn: &Conn, tenant: TenantNo) -> Result<(), Fault> {
    conn.rows("SELECT 1 FROM tenant WHERE no = $1 FOR NO KEY UPDATE", &[&tenant.0]).await.map(drop)
}

/// Raises the registry version and remembers that it was for `what`.
async fn mark(conn: &Conn, tenant: TenantNo, what: &'static str) -> Result<(), Fault> {
    let version = raise_version(conn, tenant).await?;
    conn.run(&format!("UPDATE tenant SET {what} = $2 WHERE no = $1"), &[&tenant.0, &version]).await.map(drop)
}

async fn raise_version(conn: &Conn, tenant: TenantNo) -> Result<i64, Fault> {
    let sql =
        "UPDATE tenant SET registry_version = registry_version + 1 WHERE no = $1 RETURNING registry_version";
    conn.one(sql, &[&tenant.0]).await?.col(0)
}

// --- clients ----------------------------------------------------------------------------------------------

const CLIENT_COLUMNS: &str = "id, tenant, name, role, webhook, key_hash, created_at, expires_at";

impl PostgresStore {
    async fn find_client(&self, column: &'static str, value: &[u8]) -> Result<Option<Client>, StoreError> {
        let sql = format!("SELECT {CLIENT_COLUMNS} FROM client WHERE {column} = $1");
        let found = reading!(self.shared, |conn| conn.optional(&sql, &[&value]).await)?;
        found.as_ref().map(client).transpose().map_err(Fault::for_caller)
    }
}

async fn insert_client(conn: &Conn, client: &Client, by: &By) -> Result<bool, Fault> {
    // A tenant that is being deleted is waited for.
    hold_tenant(conn, client.tenant).await?;
    let sql = "INSERT INTO client (id, tenant, name, role, webhook, key_hash, created_at, expires_at)
               SELECT $1::bytea, no, $3::text, $4::text, $5::bytea, $6::bytea, $7::bigint, $8::bigint FROM tenant WHERE no = $2 AND deleted_at IS NULL";
    let webhook = client.webhook.as_ref().map(|id| id.bytes().as_slice());
    let inserted = conn
        .run(
            sql,
            &[
                &client.id.bytes().as_slice(),
                &client.tenant.0,
                &client.name,
                &client.roles.to_string(),
                &webhook,
                &client.key_hash.as_slice(),
                &client.created_at.millis(),
                &client.expires_at.map(Timestamp::millis),
            ],
        )
        .await?;
    if inserted > 0 {
        let change = Change::made(audit::client(client));
        log::insert(conn, client.tenant, by, &client.id.to_string(), &change).await?;
    }
    Ok(inserted > 0)
}

async fn remove_client(conn: &Conn, tenant: TenantNo, id: ClientId, by: &By) -> Result<bool, Fault> {
    let sql = format!("DELETE FROM client WHERE id = $1 AND tenant = $2 RETURNING {CLIENT_COLUMNS}");
    let Some(gone) = conn.optional(&sql, &[&id.bytes().as_slice(), &tenant.0]).await? else {
        return Ok(false);
    };
    let change = Change::gone(audit::client(&client(&gone)?));
    log::insert(conn, tenant, by, &id.to_string(), &change).await?;
    Ok(true)
}

fn client(row: &Row) -> Result<Client, Fault> {
    let roles: String = row.col(3)?;
    let webhook: Option<&[u8]> = row.col(4)?;
    let webhook = webhook.map(<[u8; 16]>::try_from).transpose();
    Ok(Client {
        id: ClientId::from_bytes(row.bytes(0)?),
        tenant: TenantNo(row.col(1)?),
        name: row.col(2)?,
        roles: roles.parse().map_err(|_| rows::corrupt("roles"))?,
        webhook: webhook.map_err(|_| rows::corrupt("webhook of a client"))?.map(WebhookId::from_bytes),
        key_hash: row.bytes(5)?,
        created_at: Timestamp::from_millis(row.col(6)?),
        expires_at: row.col::<Option<i64>>(7)?.map(Timestamp::from_millis),
    })
}

// --- signing keys -----------------------------------------------------------------------------------------

async fn insert_keys(conn: &Conn, tenant: TenantNo, keys: &[SealedKey]) -> Result<(), Fault> {
    let sql = "INSERT INTO signing_key (tenant, kid, public, sealed, created_at, state, since)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    for SealedKey { record, sealed } in keys {
        let (state, since) = rows::key_state_codes(record.state);
        let created_at = record.created_at.millis();
        let public = record.public.as_slice();
        conn.run(sql, &[&tenant.0, &record.kid, &public, sealed, &created_at, &state, &since]).await?;
    }
    Ok(())
}

async fn key_ring(conn: &Conn, key: &TenantKey, tenant: TenantNo) -> Result<KeyRing, Fault> {
    let sql = "SELECT kid, public, sealed, created_at, state, since FROM signing_key WHERE tenant = $1
               ORDER BY created_at, state, kid";
    let record = |row: &Row| -> Result<KeyRecord, Fault> {
        let kid: String = row.col(0)?;
        Ok(KeyRecord {
            seed: rows::open_key_seed(key, &kid, row.col(2)?)?,
            kid,
            public: row.bytes(1)?,
            created_at: Timestamp::from_millis(row.col(3)?),
            state: rows::key_state(row.col(4)?, row.col(5)?)?,
        })
    };
    let found = conn.rows(sql, &[&tenant.0]).await?;
    Ok(KeyRing { keys: found.iter().map(record).collect::<Result<_, _>>()? })
}

// --- event types ------------------------------------------------------------------------------------------

async fn put_event_type(
    conn: &Conn,
    tenant: TenantNo,
    event_type: &EventType,
    body: &str,
    by: &By,
) -> Result<Option<()>, Fault> {
    hold_tenant(conn, tenant).await?;
    let name = &event_type.name;
    let before = find_event_type(conn, tenant, name).await?;
    if before.is_none() {
        let sql = "SELECT count(*) FROM event_type WHERE tenant = $1";
        let count: i64 = conn.one(sql, &[&tenant.0]).await?.col(0)?;
        if count >= EVENT_TYPES_PER_TENANT as i64 {
            return Ok(None);
        }
    }
    let put = "INSERT INTO event_type (tenant, name, body) VALUES ($1, $2, $3)
               ON CONFLICT (tenant, name) DO UPDATE SET body = excluded.body";
    conn.run(put, &[&tenant.0, &name.as_str(), &body]).await?;
    mark(conn, tenant, "types_version").await?;
    let after = audit::event_type(event_type);
    let change = match &before {
        Some(before) => Change::between(&audit::event_type(before), &after),
        None => Change::made(after),
    };
    log::insert(conn, tenant, by, name.as_str(), &change).await?;
    Ok(Some(()))
}

async fn remove_event_type(
    conn: &Conn,
    tenant: TenantNo,
    name: &EventTypeName,
    by: &By,
) -> Result<bool, Fault> {
    hold_tenant(conn, tenant).await?;
    let Some(last) = find_event_type(conn, tenant, name).await? else { return Ok(false) };
    conn.run("DELETE FROM event_type WHERE tenant = $1 AND name = $2", &[&tenant.0, &name.as_str()]).await?;
    mark(conn, tenant, "types_version").await?;
    log::insert(conn, tenant, by, name.as_str(), &Change::gone(audit::event_type(&last))).await?;
    Ok(true)
}

async fn find_event_type(
    conn: &Conn,
    tenant: TenantNo,
    name: &EventTypeName,
) -> Result<Option<EventType>, Fault> {
    let sql = "SELECT name, body FROM event_type WHERE tenant = $1 AND name = $2";
    let found = conn.optional(sql, &[&tenant.0, &name.as_str()]).await?;
    found.as_ref().map(event_type).transpose()
}

fn event_type(row: &Row) -> Result<EventType, Fault> {
    Ok(rows::event_type(row.col(0)?, row.col(1)?)?)
}

// --- what changed -----------------------------------------------------------------------------------------

/// Reads the version first: what is newer than it may be in the answer too, and is in the next one again.
async fn registry_delta(
    conn: &Conn,
    key: &TenantKey,
    tenant: TenantNo,
    since: i64,
) -> Result<RegistryDelta, Fault> {
    let sql =
        "SELECT registry_version, types_version, keys_version, quota, log_level FROM tenant WHERE no = $1";
    let row = conn.one(sql, &[&tenant.0]).await?;
    let (version, types_version, keys_version): (i64, i64, i64) = (row.col(0)?, row.col(1)?, row.col(2)?);
    let quota = rows::from_json(row.col(3)?, "quota")?;
    let log_level = tenants::log_level(&row, 4)?;
    let mut delta = RegistryDelta { version, quota, log_level, ..RegistryDelta::default() };
    if since >= version {
        return Ok(delta);
    }
    let sql = format!(
        "SELECT {} FROM webhook WHERE tenant = $1 AND version > $2 AND deleted_at IS NULL ORDER BY version",
        rows::WEBHOOK_COLUMNS
    );
    for row in conn.rows(&sql, &[&tenant.0, &since]).await? {
        delta.changed.push(webhooks::sealed_webhook(&row)?.open(key)?);
    }
    // A cache that begins has nothing that could have been deleted from it.
    if since > 0 {
        let sql = "SELECT no FROM webhook WHERE tenant = $1 AND version > $2 AND deleted_at IS NOT NULL ORDER BY version";
        for row in conn.rows(sql, &[&tenant.0, &since]).await? {
            delta.deleted.push(WebhookNo(row.col(0)?));
        }
    }
    if types_version > since {
        let sql = "SELECT name, body FROM event_type WHERE tenant = $1 ORDER BY name COLLATE \"C\"";
        let types = conn.rows(sql, &[&tenant.0]).await?;
        delta.event_types = Some(types.iter().map(event_type).collect::<Result<_, _>>()?);
    }
    if keys_version > since {
        delta.keys = Some(key_ring(conn, key, tenant).await?);
    }
    Ok(delta)
}
