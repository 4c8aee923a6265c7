//! The tables of a copy: what is read from the embedded store, and the columns it becomes.

use rusqlite::types::Value;

use crate::error::StoreError;

/// One row.
pub(crate) type Cells = Vec<Value>;

/// Appends cells to a row.
pub(crate) type Added = fn(&mut Cells) -> Result<(), StoreError>;

pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// As PostgreSQL has them.
    pub(crate) columns: &'static str,
    /// As many, from the embedded store; `look` is a table of each tenant's shortest retention.
    pub(crate) select: &'static str,
    /// What SQL there cannot say: the last columns, from the ones read.
    pub(crate) added: Option<Added>,
}

const fn same(name: &'static str, columns: &'static str, select: &'static str) -> Table {
    Table { name, columns, select, added: None }
}

/// In this order. What is not here is made anew by whoever needs it: listings, cursors, nodes, jobs that are done.
pub(crate) const TABLES: [Table; 21] = [
    same(
        "tenant",
        "no, id, name, subdomain, created_at, retention, quota, log_level, wrapped_key, look_after, registry_version,
         types_version, keys_version, webhooks, deleted_at",
        "SELECT no, id, name, subdomain, created_at, retention, quota, log_level, wrapped_key,
                (SELECT after FROM temp.look WHERE tenant = no), registry_version, types_version, keys_version, webhooks,
                deleted_at FROM tenant",
    ),
    same(
        "signing_key",
        "tenant, kid, public, sealed, created_at, state, since",
        "SELECT tenant, kid, public, sealed, created_at, state, since FROM signing_key",
    ),
    same(
        "client",
        "id, tenant, name, role, webhook, key_hash, created_at, expires_at",
        "SELECT id, tenant, name, role, webhook, key_hash, created_at, expires_at FROM client",
    ),
    same(
        "operator",
        "id, name, key_hash, created_at, expires_at",
        "SELECT id, name, key_hash, created_at, expires_at FROM operator",
    ),
    same(
        "token_key",
        "kid, public, sealed, created_at, retired_at",
        "SELECT kid, public, sealed, created_at, retired_at FROM token_key",
    ),
    same(
        "custom_domain",
        "tenant, name, logo_url, domain, token, verified_at",
        "SELECT tenant, name, logo_url, domain, token, verified_at FROM custom_domain",
    ),
    same(
        "webhook",
        "no, id, tenant, dialect, subscription, url, url_shown, disabled, settings, retention, sealed, health, failing,
         lane_epoch, version, created_at, deleted_at",
        "SELECT no, id, tenant, dialect, subscription, url, url_shown, disabled, settings, retention, sealed, health, failing,
                lane_epoch, version, created_at, deleted_at FROM webhook",
    ),
    same("event_type", "tenant, name, body", "SELECT tenant, name, body FROM event_type"),
    same("type_name", "no, name", "SELECT no, name FROM type_name"),
    same(
        "event",
        "seq, tenant, id, type, at, accepted_at, content, flags, derived_of, payload, bytes, first_delivery, deliveries",
        "SELECT seq, tenant, id, type, at, accepted_at, content, flags, derived_of, payload, bytes, first_delivery, deliveries
         FROM event",
    ),
    // There a payload that is kept always has a time at which to look at it.
    same(
        "payload",
        "seq, sealed, gone, until",
        "SELECT p.seq, CASE WHEN p.salt IS NOT NULL THEN p.sealed END, p.gone,
                CASE WHEN p.salt IS NOT NULL THEN ifnull(p.until, ifnull(
                    (SELECT e.accepted_at + l.after FROM event e JOIN temp.look l ON l.tenant = e.tenant
                     WHERE e.seq = p.seq), 0)) END FROM payload p",
    ),
    same("payload_salt", "seq, salt", "SELECT seq, salt FROM payload WHERE salt IS NOT NULL"),
    same("subject", "tenant, subject, event", "SELECT tenant, subject, event FROM subject"),
    Table {
        name: "repeat_key",
        columns: "tenant, key, content, events, event",
        select: "SELECT tenant, key, content, events FROM repeat_key",
        added: Some(first_event),
    },
    // A claim that is left is one of a node that is not there, which any node takes up; when one that waits is due, and when
    // the others ended, are two columns there.
    same(
        "delivery",
        "seq, id, tenant, event, webhook, lane, lane_epoch, created_at, state, reason, attempt, fence, due, claimer, cancel,
         only_unknown, ended, job, started, took, outcome, http",
        "SELECT d.seq, d.id, ifnull((SELECT w.tenant FROM webhook w WHERE w.no = d.webhook), d.tenant), d.event, d.webhook,
                d.lane, d.lane_epoch, d.created_at, d.state, d.reason, d.attempt, d.fence,
                CASE WHEN d.state = 0 AND d.claimer IS NULL THEN d.due END,
                CASE WHEN d.claimer IS NOT NULL THEN 0 END, d.cancel,
                ifnull(d.outcome, 9) = 9 AND NOT EXISTS (
                    SELECT 1 FROM attempt a WHERE a.delivery = d.seq AND a.number > 1 AND a.outcome <> 9),
                CASE WHEN d.state <> 0 THEN max(d.created_at, ifnull(d.started + d.took, 0), ifnull(d.due, 0), ifnull(
                    (SELECT max(a.started + a.took) FROM attempt a WHERE a.delivery = d.seq), 0)) END,
                d.job, d.started, d.took, d.outcome, d.http FROM delivery d",
    ),
    same(
        "attempt",
        "delivery, number, started, took, outcome, http, error, salt, excerpt, tenant",
        "SELECT delivery, number, started, took, outcome, http, error, salt, excerpt, tenant FROM attempt",
    ),
    same("redelivery", "event, delivery", "SELECT event, delivery FROM redelivery"),
    same("stale_lane", "webhook", "SELECT webhook FROM stale_lane"),
    same("erasure", "id, tenant, at, scope, count", "SELECT id, tenant, at, scope, count FROM erasure"),
    same(
        "analytic_call",
        "seq, tenant, at, id, kind, request, client, data",
        "SELECT seq, tenant, at, id, kind, request, client, data FROM analytic_call",
    ),
    same(
        "audit",
        "seq, tenant, at, who, what, object, before, after",
        "SELECT seq, tenant, at, who, what, object, before, after FROM audit",
    ),
];

/// Which event a key stands or falls with: the first one it names.
fn first_event(row: &mut Cells) -> Result<(), StoreError> {
    let Some(Value::Blob(events)) = row.last() else { return Err(crate::rows::corrupt("idempotency key")) };
    let first = events.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    row.push(Value::Integer(first));
    Ok(())
}

#[cfg(test)]
mod tests {
    use sealpost_core::outcome::Outcome;

    use super::*;

    #[test]
    fn the_code_of_an_unknown_outcome_is_the_one_the_statement_names() {
        assert_eq!(Outcome::Unknown.code(), 9);
    }

    #[test]
    fn a_key_belongs_to_the_first_event_it_names() {
        let blob = |numbers: &[i64]| Value::Blob(numbers.iter().flat_map(|n| n.to_be_bytes()).collect());
        for (events, first) in [(blob(&[7, 9]), 7), (blob(&[]), 0)] {
            let mut row = vec![events];
            first_event(&mut row).unwrap();
            assert_eq!(row.last(), Some(&Value::Integer(first)));
        }
        assert!(first_event(&mut vec![Value::Null]).is_err());
    }
}
