//! What an entry of the audit log shows of a thing before and after a change: what its administrator wrote, and never
//! a secret.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use sealpost_core::domain::CustomDomain;
use sealpost_core::event_type::EventType;
use sealpost_core::key_ring::{KeyRing, KeyState};
use sealpost_core::tenant::Tenant;
use sealpost_core::time::{Span, Timestamp};
use sealpost_core::webhook::{Subscription, Webhook};

use crate::registry::{Client, Operator};

/// Of a thing that was made only `after` is there, of one that is gone only `before`, of one that changed the members
/// that differ, and of an action that changes no such thing neither.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl Change {
    pub fn made(after: Value) -> Self {
        Self { before: None, after: Some(after) }
    }

    pub fn gone(before: Value) -> Self {
        Self { before: Some(before), after: None }
    }

    pub fn between(before: &Value, after: &Value) -> Self {
        match differing(before, after) {
            Some((before, after)) => Self { before: Some(before), after: Some(after) },
            None => Self::default(),
        }
    }
}

/// Both sides with the members that differ, at every depth; `None` if none does.
fn differing(before: &Value, after: &Value) -> Option<(Value, Value)> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return (before != after).then(|| (before.clone(), after.clone()));
    };
    let (mut left, mut right) = (Map::new(), Map::new());
    for (name, value) in old {
        let other = new.get(name).unwrap_or(&Value::Null);
        if let Some((before, after)) = differing(value, other) {
            left.insert(name.clone(), before);
            right.insert(name.clone(), after);
        }
    }
    for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        left.insert(name.clone(), Value::Null);
        right.insert(name.clone(), value.clone());
    }
    (!left.is_empty()).then_some((left.into(), right.into()))
}

pub fn tenant(tenant: &Tenant) -> Value {
    let kept = tenant.retention;
    json!({
        "name": tenant.name,
        "subdomain": tenant.subdomain,
        "retention": {
            "payloadAfterDelivered": Span(kept.payload_after_delivered),
            "payloadAfterFailed": Span(kept.payload_after_failed),
            "metadata": Span(kept.metadata),
        },
        "quota": tenant.quota,
        "logLevel": tenant.log_level,
    })
}

pub fn client(client: &Client) -> Value {
    let roles: Vec<_> = client.roles.iter().collect();
    with_expiry(json!({"name": client.name, "roles": roles, "webhook": client.webhook}), client.expires_at)
}

pub fn operator(operator: &Operator) -> Value {
    with_expiry(json!({"name": operator.name}), operator.expires_at)
}

fn with_expiry(mut facts: Value, expires_at: Option<Timestamp>) -> Value {
    facts["expiresAt"] = json!(expires_at);
    facts
}

/// Of the owner's headers the names; of secrets nothing.
pub fn webhook(webhook: &Webhook) -> Value {
    let headers: Vec<&str> = webhook.secrets.headers.iter().map(|(name, _)| name.as_str()).collect();
    json!({
        "dialect": webhook.dialect.as_str(),
        "url": webhook.url.shown(),
        "events": webhook.subscription.named(),
        "receiveAll": matches!(webhook.subscription, Subscription::ReceiveAll { .. }),
        "disabled": webhook.disabled,
        "settings": webhook.settings,
        "headers": headers,
    })
}

pub fn event_type(event_type: &EventType) -> Value {
    json!({
        "description": event_type.description,
        "schema": event_type.schema.as_ref().map(digested),
        "summary": event_type.summary,
        "receiveAll": event_type.receive_all,
    })
}

/// A longer text of JSON is told by its digest, so that no entry grows with what it is about.
const SHOWN_BYTES: usize = 4 * 1024;

fn digested(value: &Value) -> Value {
    let text = value.to_string();
    if text.len() <= SHOWN_BYTES {
        return value.clone();
    }
    let digest = digest(&SHA256, text.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"bytes": text.len(), "sha256": hex})
}

/// The keys in use, by their names.
pub fn keys(ring: &KeyRing) -> Value {
    let of = |wanted: fn(&KeyState) -> bool| -> Vec<&str> {
        ring.keys.iter().filter(|key| wanted(&key.state)).map(|key| key.kid.as_str()).collect()
    };
    json!({
        "current": of(|state| *state == KeyState::Current),
        "next": of(|state| *state == KeyState::Next),
    })
}

/// Without the verification token.
pub fn domain(domain: &CustomDomain) -> Value {
    let facts = &domain.facts;
    json!({
        "name": facts.name.as_str(),
        "logoUrl": facts.logo_url.as_str(),
        "domain": facts.domain.as_str(),
        "isVerified": domain.verified_at.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_what_differs_and_nothing_else() {
        let before =
            json!({"url": "a", "disabled": false, "settings": {"timeoutMs": 1, "retry": null}, "old": 1});
        let after =
            json!({"url": "a", "disabled": true, "settings": {"timeoutMs": 2, "retry": null}, "new": [1]});
        let change = Change::between(&before, &after);
        let left = json!({"disabled": false, "settings": {"timeoutMs": 1}, "old": 1, "new": null});
        let right = json!({"disabled": true, "settings": {"timeoutMs": 2}, "old": null, "new": [1]});
        assert_eq!(change, Change { before: Some(left), after: Some(right) });
        assert_eq!(Change::between(&after, &after), Change::default());
    }

    #[test]
    fn a_long_schema_is_told_by_its_digest() {
        let short = json!({"type": "object"});
        assert_eq!(digested(&short), short);
        let text = "a".repeat(SHOWN_BYTES - 2);
        assert_eq!(digested(&json!(text)), json!(text));
        // `printf '"%s"' $(printf 'a%.0s' $(seq 4095)) | sha256sum`
        let hex = "32a5413b832014b6d6619032d9a8fef17ffca11d3247090050ea89faf459c9ef";
        assert_eq!(digested(&json!("a".repeat(4095))), json!({"bytes": 4097, "sha256": hex}));
    }
}
