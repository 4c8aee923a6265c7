//! How domain values are written in rows, and how rows are read back. Whatever cannot be read back is a corrupt
//! store, never a default.

use rusqlite::Row;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use sealpost_core::analytics::LogLevel;
use sealpost_core::delivery::{CancelReason, State};
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::{EventType, EventTypeName, Origin};
use sealpost_core::health::Health;
use sealpost_core::id::{TenantId, TenantNo, WebhookId, WebhookNo};
use sealpost_core::key_ring::KeyState;
use sealpost_core::minimise::SummaryForm;
use sealpost_core::secret::Secret;
use sealpost_core::settings::RetentionKind;
use sealpost_core::target_url::TargetUrl;
use sealpost_core::tenant::Tenant;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{SigningSecret, Subscription, Webhook, WebhookSecrets};

use crate::error::StoreError;
use crate::sqlite::writer::WriteError;
use crate::vault::TenantKey;

/// How long a claim of this process would count if leases were read; on SQLite none is, the incarnation decides.
pub(crate) const LEASE_MS: i64 = 10_000;

pub(crate) fn corrupt(what: &'static str) -> StoreError {
    StoreError::Corrupt { what }
}

pub(crate) fn timestamp(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_millis(row.get(at)?))
}

pub(crate) fn event_type_name(text: &str) -> Result<EventTypeName, StoreError> {
    EventTypeName::parse(text).map_err(|_| corrupt("event type name"))
}

pub(crate) fn state(status: u8, reason: u8) -> Result<State, StoreError> {
    State::from_codes(status, reason).ok_or(corrupt("delivery state"))
}

/// The state that readers are told: a pending delivery of an older lane epoch is cancelled, although its row may
/// say so only later. `epochs` are the delivery's and its webhook's; `deleted` whether the webhook is.
pub(crate) fn shown_state(stored: State, epochs: (i64, i64), deleted: bool, claimed: bool) -> State {
    if stored == State::Pending && !claimed && epochs.0 < epochs.1 {
        State::Cancelled(stale_reason(deleted))
    } else {
        stored
    }
}

/// Why a lane's epoch rose.
pub(crate) fn stale_reason(deleted: bool) -> CancelReason {
    if deleted { CancelReason::WebhookDeleted } else { CancelReason::WebhookDisabled }
}

pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Backend(format!("a value has no JSON form: {e}")))
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| corrupt(what))
}

// --- tenants ----------------------------------------------------------------------------------------------

pub(super) const TENANT_COLUMNS: &str = "no, id, name, subdomain, created_at, retention, quota, log_level";

pub(super) fn tenant(row: &Row<'_>) -> Result<Tenant, WriteError> {
    let subdomain: String = row.get(3)?;
    let (retention, quota): (String, String) = (row.get(5)?, row.get(6)?);
    Ok(Tenant {
        no: TenantNo(row.get(0)?),
        id: TenantId::from_bytes(row.get(1)?),
        name: row.get(2)?,
        subdomain: subdomain.parse().map_err(|_| corrupt("subdomain"))?,
        created_at: timestamp(row, 4)?,
        retention: from_json(&retention, "retention")?,
        quota: from_json(&quota, "quota")?,
        log_level: log_level(row.get(7)?)?,
    })
}

pub(super) fn log_level(number: u8) -> Result<LogLevel, StoreError> {
    number.try_into().map_err(|_| corrupt("log level"))
}

// --- webhooks ---------------------------------------------------------------------------------------------

pub(super) const WEBHOOK_COLUMNS: &str = "no, id, tenant, dialect, subscription, url, url_shown, disabled, settings, \
                                          sealed, health, failing, lane_epoch, version, created_at";

/// A webhook as its row has it; its secrets are still sealed, since a writer must not spend time on them.
pub(super) struct SealedWebhook {
    webhook: Webhook,
    sealed: Vec<u8>,
}

pub(super) fn sealed_webhook(row: &Row<'_>) -> Result<SealedWebhook, WriteError> {
    let subscription: String = row.get(4)?;
    let (url, shown): (String, String) = (row.get(5)?, row.get(6)?);
    let settings: String = row.get(8)?;
    Ok(SealedWebhook {
        webhook: Webhook {
            no: WebhookNo(row.get(0)?),
            id: WebhookId::from_bytes(row.get(1)?),
            tenant: TenantNo(row.get(2)?),
            dialect: match row.get(3)? {
                0 => Dialect::Mattr,
                1 => Dialect::Truvera,
                _ => return Err(corrupt("dialect").into()),
            },
            subscription: from_json::<SubscriptionRow>(&subscription, "subscription")?.into(),
            url: TargetUrl::from_stored(&url, &shown).map_err(|_| corrupt("webhook URL"))?,
            disabled: row.get(7)?,
            settings: from_json(&settings, "webhook settings")?,
            secrets: WebhookSecrets::default(),
            health: Health { failed_in_a_row: row.get(10)?, failing: row.get(11)? },
            lane_epoch: row.get(12)?,
            version: row.get(13)?,
            created_at: timestamp(row, 14)?,
        },
        sealed: row.get(9)?,
    })
}

impl SealedWebhook {
    pub(super) fn open(self, key: &TenantKey) -> Result<Webhook, StoreError> {
        let Self { mut webhook, sealed } = self;
        webhook.secrets = open_secrets(key, webhook.id, &sealed)?;
        Ok(webhook)
    }
}

pub(super) fn dialect_code(dialect: Dialect) -> i64 {
    match dialect {
        Dialect::Mattr => 0,
        Dialect::Truvera => 1,
    }
}

pub(super) fn retention_code(retention: RetentionKind) -> i64 {
    match retention {
        RetentionKind::Standard => 0,
        RetentionKind::None => 1,
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum SubscriptionRow {
    Types(Vec<EventTypeName>),
    ReceiveAll(Vec<EventTypeName>),
}

impl From<SubscriptionRow> for Subscription {
    fn from(row: SubscriptionRow) -> Self {
        match row {
            SubscriptionRow::Types(types) => Subscription::Types(types),
            SubscriptionRow::ReceiveAll(named) => Subscription::ReceiveAll { named },
        }
    }
}

pub(super) fn subscription_json(subscription: &Subscription) -> Result<String, StoreError> {
    to_json(&match subscription.clone() {
        Subscription::Types(types) => SubscriptionRow::Types(types),
        Subscription::ReceiveAll { named } => SubscriptionRow::ReceiveAll(named),
    })
}

#[derive(Serialize, Deserialize)]
struct SecretsRow {
    signing: Vec<([u8; 32], Option<Timestamp>)>,
    token: Option<String>,
    headers: Vec<(String, String)>,
}

pub(super) fn seal_secrets(
    key: &TenantKey,
    id: WebhookId,
    secrets: &WebhookSecrets,
) -> Result<Vec<u8>, StoreError> {
    let row = SecretsRow {
        signing: secrets.signing.iter().map(|s| (*s.bytes.reveal(), s.until)).collect(),
        token: secrets.token.as_ref().map(|token| token.reveal().clone()),
        headers: secrets.headers.iter().map(|(name, value)| (name.clone(), value.reveal().clone())).collect(),
    };
    let text = Zeroizing::new(to_json(&row)?);
    Ok(key.seal_cell("webhook", id.bytes(), "sealed", text.as_bytes()))
}

fn open_secrets(key: &TenantKey, id: WebhookId, sealed: &[u8]) -> Result<WebhookSecrets, StoreError> {
    let text = key.open_cell("webhook", id.bytes(), "sealed", sealed)?;
    let row: SecretsRow = serde_json::from_slice(&text).map_err(|_| corrupt("webhook secrets"))?;
    Ok(WebhookSecrets {
        signing: row
            .signing
            .into_iter()
            .map(|(bytes, until)| SigningSecret { bytes: Secret::new(bytes), until })
            .collect(),
        token: row.token.map(Secret::new),
        headers: row.headers.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
    })
}

// --- event types ------------------------------------------------------------------------------------------

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventTypeRow {
    description: String,
    schema: Option<serde_json::Value>,
    summary: SummaryForm,
    receive_all: bool,
}

pub(super) fn event_type_json(event_type: &EventType) -> Result<String, StoreError> {
    to_json(&EventTypeRow {
        description: event_type.description.clone(),
        schema: event_type.schema.clone(),
        summary: event_type.summary.clone(),
        receive_all: event_type.receive_all,
    })
}

pub(super) fn event_type(name: &str, body: &str) -> Result<EventType, StoreError> {
    let row: EventTypeRow = from_json(body, "event type")?;
    Ok(EventType {
        name: event_type_name(name)?,
        origin: Origin::Operator,
        description: row.description,
        schema: row.schema,
        summary: row.summary,
        receive_all: row.receive_all,
    })
}

// --- signing keys -----------------------------------------------------------------------------------------

pub(super) fn key_state_codes(state: KeyState) -> (i64, Option<i64>) {
    match state {
        KeyState::Next => (0, None),
        KeyState::Current => (1, None),
        KeyState::Retired { since } => (2, Some(since.millis())),
    }
}

pub(super) fn key_state(code: i64, since: Option<i64>) -> Result<KeyState, StoreError> {
    match (code, since) {
        (0, None) => Ok(KeyState::Next),
        (1, None) => Ok(KeyState::Current),
        (2, Some(since)) => Ok(KeyState::Retired { since: Timestamp::from_millis(since) }),
        _ => Err(corrupt("signing key state")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_epoch_shows_cancelled_unless_it_is_being_sent() {
        let disabled = State::Cancelled(CancelReason::WebhookDisabled);
        let deleted = State::Cancelled(CancelReason::WebhookDeleted);
        for (stored, epochs, gone, claimed, shown) in [
            (State::Pending, (1, 1), false, false, State::Pending),
            (State::Pending, (0, 1), false, false, disabled),
            (State::Pending, (0, 1), true, false, deleted),
            (State::Pending, (0, 1), true, true, State::Pending),
            (State::Delivered, (0, 1), true, false, State::Delivered),
        ] {
            assert_eq!(shown_state(stored, epochs, gone, claimed), shown);
        }
    }
}
