//! How domain values are written in rows, the same in every backend, and how they are read back. Whatever cannot be
//! read back is a corrupt store, never a default.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use sealpost_core::analytics::LogLevel;
use sealpost_core::delivery::{CancelReason, State};
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::{EventType, EventTypeName, Origin};
use sealpost_core::id::WebhookId;
use sealpost_core::key_ring::{KeyRecord, KeyState};
use sealpost_core::minimise::SummaryForm;
use sealpost_core::secret::Secret;
use sealpost_core::settings::RetentionKind;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{SigningSecret, Subscription, Webhook, WebhookSecrets};

use crate::error::StoreError;
use crate::vault::{TenantKey, Vault};

pub(crate) fn corrupt(what: &'static str) -> StoreError {
    StoreError::Corrupt { what }
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

/// What somebody asked for while a delivery was in flight; 0 is nothing.
pub(crate) fn cancel_reason(code: u8) -> Result<Option<CancelReason>, StoreError> {
    if code == 0 { Ok(None) } else { CancelReason::from_code(code).map(Some).ok_or(corrupt("cancel reason")) }
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

pub(crate) const TENANT_COLUMNS: &str = "no, id, name, subdomain, created_at, retention, quota, log_level";

pub(crate) fn log_level(number: u8) -> Result<LogLevel, StoreError> {
    number.try_into().map_err(|_| corrupt("log level"))
}

// --- webhooks ---------------------------------------------------------------------------------------------

pub(crate) const WEBHOOK_COLUMNS: &str = "no, id, tenant, dialect, subscription, url, url_shown, disabled, settings, \
                                          sealed, health, failing, lane_epoch, version, created_at";

/// A webhook as its row has it; its secrets are still sealed, since a writer must not spend time on them.
pub(crate) struct SealedWebhook {
    pub(crate) webhook: Webhook,
    pub(crate) sealed: Vec<u8>,
}

impl SealedWebhook {
    pub(crate) fn open(self, key: &TenantKey) -> Result<Webhook, StoreError> {
        let Self { mut webhook, sealed } = self;
        webhook.secrets = open_secrets(key, webhook.id, &sealed)?;
        Ok(webhook)
    }
}

pub(crate) fn dialect(code: i64) -> Result<Dialect, StoreError> {
    match code {
        0 => Ok(Dialect::Mattr),
        1 => Ok(Dialect::Truvera),
        _ => Err(corrupt("dialect")),
    }
}

pub(crate) fn dialect_code(dialect: Dialect) -> i64 {
    match dialect {
        Dialect::Mattr => 0,
        Dialect::Truvera => 1,
    }
}

pub(crate) fn retention_code(retention: RetentionKind) -> i64 {
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

pub(crate) fn subscription_of(text: &str) -> Result<Subscription, StoreError> {
    Ok(from_json::<SubscriptionRow>(text, "subscription")?.into())
}

pub(crate) fn subscription_json(subscription: &Subscription) -> Result<String, StoreError> {
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

pub(crate) fn seal_secrets(
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

pub(crate) fn event_type_json(event_type: &EventType) -> Result<String, StoreError> {
    to_json(&EventTypeRow {
        description: event_type.description.clone(),
        schema: event_type.schema.clone(),
        summary: event_type.summary.clone(),
        receive_all: event_type.receive_all,
    })
}

pub(crate) fn event_type(name: &str, body: &str) -> Result<EventType, StoreError> {
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

pub(crate) fn key_state_codes(state: KeyState) -> (i64, Option<i64>) {
    match state {
        KeyState::Next => (0, None),
        KeyState::Current => (1, None),
        KeyState::Retired { since } => (2, Some(since.millis())),
    }
}

pub(crate) fn key_state(code: i64, since: Option<i64>) -> Result<KeyState, StoreError> {
    match (code, since) {
        (0, None) => Ok(KeyState::Next),
        (1, None) => Ok(KeyState::Current),
        (2, Some(since)) => Ok(KeyState::Retired { since: Timestamp::from_millis(since) }),
        _ => Err(corrupt("signing key state")),
    }
}

/// A key with its seed sealed, ready for its row.
pub(crate) struct SealedKey {
    pub(crate) record: KeyRecord,
    pub(crate) sealed: Vec<u8>,
}

pub(crate) fn seal_keys(key: &TenantKey, ring: &[KeyRecord]) -> Vec<SealedKey> {
    let seal = |record: &KeyRecord| SealedKey {
        sealed: key.seal_cell("signing_key", record.kid.as_bytes(), "sealed", record.seed.reveal()),
        record: KeyRecord { seed: Secret::new([0; 32]), ..record.clone() },
    };
    ring.iter().map(seal).collect()
}

pub(crate) fn open_key_seed(
    key: &TenantKey,
    kid: &str,
    sealed: &[u8],
) -> Result<Secret<[u8; 32]>, StoreError> {
    let seed = key.open_cell("signing_key", kid.as_bytes(), "sealed", sealed)?;
    Ok(Secret::new(seed.as_slice().try_into().map_err(|_| corrupt("signing key"))?))
}

/// Token keys are the installation's, so their seeds are sealed with the master key itself.
pub(crate) fn seal_token_seed(vault: &Vault, kid: &str, seed: &Secret<[u8; 32]>) -> Vec<u8> {
    vault.seal_own("token_key", kid.as_bytes(), "sealed", seed.reveal())
}

pub(crate) fn open_token_seed(
    vault: &Vault,
    kid: &str,
    sealed: &[u8],
) -> Result<Secret<[u8; 32]>, StoreError> {
    let seed = vault.open_own("token_key", kid.as_bytes(), "sealed", sealed)?;
    Ok(Secret::new(seed.as_slice().try_into().map_err(|_| corrupt("token key"))?))
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
