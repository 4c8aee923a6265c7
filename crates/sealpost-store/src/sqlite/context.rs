//! What the writer's thread keeps in memory beside its connection: numbers, names and the health of webhooks that
//! are not well. All of it can be read again from the file, and is after a transaction was undone.

use std::collections::{BTreeSet, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension};

use sealpost_core::event_type::EventTypeName;
use sealpost_core::health::{Health, HealthChange, after_end};
use sealpost_core::id::{TenantNo, WebhookNo};

use crate::sqlite::schema;

/// What a group did, counted when it is committed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Requests accepted.
    pub(crate) accepts: u64,
    /// Deliveries claimed by `claim`.
    pub(crate) claims: u64,
    /// Settlements stored.
    pub(crate) settles: u64,
    /// Rows of `delivery` inserted or updated.
    pub(crate) delivery_writes: u64,
}

#[derive(Debug)]
pub(crate) struct WriterCtx {
    pub(crate) incarnation: i64,
    pub(crate) tally: Tally,
    last_event: i64,
    last_delivery: i64,
    type_names: HashMap<EventTypeName, i64>,
    /// Of tenants, as far as they were asked for since the last change of any registry.
    registry_versions: HashMap<TenantNo, i64>,
    /// Webhooks whose health is not the default.
    health: HashMap<WebhookNo, Health>,
    health_changed: BTreeSet<WebhookNo>,
    /// Webhooks with retention `none`.
    forgetful: HashSet<WebhookNo>,
}

impl WriterCtx {
    pub(crate) fn load(conn: &Connection, incarnation: i64) -> rusqlite::Result<Self> {
        let mut ctx = Self {
            incarnation,
            tally: Tally::default(),
            last_event: 0,
            last_delivery: 0,
            type_names: HashMap::new(),
            registry_versions: HashMap::new(),
            health: HashMap::new(),
            health_changed: BTreeSet::new(),
            forgetful: HashSet::new(),
        };
        let last = |name: &str, table: &str| -> rusqlite::Result<i64> {
            let newest: Option<i64> =
                conn.query_row(&format!("SELECT max(seq) FROM {table}"), [], |row| row.get(0))?;
            let kept: Option<i64> = schema::meta(conn, name)?;
            Ok(newest.max(kept).unwrap_or(0))
        };
        ctx.last_event = last("event_seq", "event")?;
        ctx.last_delivery = last("delivery_seq", "delivery")?;
        ctx.reload(conn)?;
        Ok(ctx)
    }

    /// After a transaction was undone. Numbers stay: a gap harms nobody, a number given twice does.
    pub(crate) fn reload(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.tally = Tally::default();
        self.type_names.clear();
        self.registry_versions.clear();
        self.health_changed.clear();
        let mut unwell =
            conn.prepare_cached("SELECT no, health, failing FROM webhook WHERE health > 0 OR failing > 0")?;
        self.health = unwell
            .query_map([], |row| {
                Ok((WebhookNo(row.get(0)?), Health { failed_in_a_row: row.get(1)?, failing: row.get(2)? }))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut forgetful = conn.prepare_cached("SELECT no FROM webhook WHERE retention = 1")?;
        self.forgetful =
            forgetful.query_map([], |row| Ok(WebhookNo(row.get(0)?)))?.collect::<rusqlite::Result<_>>()?;
        Ok(())
    }

    /// What is written once per group: the health of webhooks it changed.
    pub(crate) fn flush(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        while let Some(webhook) = self.health_changed.pop_first() {
            let health = self.health.get(&webhook).copied().unwrap_or_default();
            conn.prepare_cached("UPDATE webhook SET health = ?2, failing = ?3 WHERE no = ?1")?.execute((
                webhook.0,
                health.failed_in_a_row,
                health.failing,
            ))?;
        }
        Ok(())
    }

    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    pub(crate) fn next_event(&mut self) -> i64 {
        self.last_event += 1;
        self.last_event
    }

    pub(crate) fn next_delivery(&mut self) -> i64 {
        self.last_delivery += 1;
        self.last_delivery
    }

    /// Must be called in every transaction that deletes rows of `event` or `delivery`: after a restart, numbers
    /// would otherwise be given again, and cursors would pass over what has them.
    pub(crate) fn keep_numbers(&self, conn: &Connection) -> rusqlite::Result<()> {
        schema::set_meta(conn, "event_seq", &self.last_event)?;
        schema::set_meta(conn, "delivery_seq", &self.last_delivery)
    }

    /// The number of an event type's name, made if it is new.
    pub(crate) fn type_no(&mut self, conn: &Connection, name: &EventTypeName) -> rusqlite::Result<i64> {
        if let Some(no) = self.type_names.get(name) {
            return Ok(*no);
        }
        let known = conn
            .prepare_cached("SELECT no FROM type_name WHERE name = ?1")?
            .query_row([name.as_str()], |row| row.get(0))
            .optional()?;
        let no = match known {
            Some(no) => no,
            None => {
                conn.prepare_cached("INSERT INTO type_name (name) VALUES (?1)")?.insert([name.as_str()])?
            }
        };
        self.type_names.insert(name.clone(), no);
        Ok(no)
    }

    /// The version that deliveries must have been matched against.
    pub(crate) fn registry_version(&mut self, conn: &Connection, tenant: TenantNo) -> rusqlite::Result<i64> {
        if let Some(version) = self.registry_versions.get(&tenant) {
            return Ok(*version);
        }
        // Nothing is ever matched against the version of a tenant that is gone.
        let version = conn
            .prepare_cached(
                "SELECT CASE WHEN deleted_at IS NULL THEN registry_version ELSE -1 END FROM tenant WHERE no = ?1",
            )?
            .query_row([tenant.0], |row| row.get(0))?;
        self.registry_versions.insert(tenant, version);
        Ok(version)
    }

    /// Must be called by whoever raises a registry version.
    pub(crate) fn registry_changed(&mut self) {
        self.registry_versions.clear();
    }

    /// Moves a webhook's health by one ended delivery; written when the group ends.
    pub(crate) fn ended(
        &mut self,
        webhook: WebhookNo,
        delivered: bool,
        alert_after: u32,
    ) -> Option<HealthChange> {
        let before = self.health.get(&webhook).copied().unwrap_or_default();
        let (after, change) = after_end(before, delivered, alert_after);
        if after != before {
            self.set_health(webhook, after);
            self.health_changed.insert(webhook);
        }
        change
    }

    fn set_health(&mut self, webhook: WebhookNo, health: Health) {
        if health == Health::default() {
            self.health.remove(&webhook);
        } else {
            self.health.insert(webhook, health);
        }
    }

    pub(crate) fn is_forgetful(&self, webhook: WebhookNo) -> bool {
        self.forgetful.contains(&webhook)
    }

    /// A webhook was made, changed or deleted: `forgetful` says whether its retention is `none`.
    pub(crate) fn set_forgetful(&mut self, webhook: WebhookNo, forgetful: bool) {
        if forgetful {
            self.forgetful.insert(webhook);
        } else {
            self.forgetful.remove(&webhook);
        }
    }
}
