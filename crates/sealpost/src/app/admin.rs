//! What the operator's commands do, as values that fit through a socket: the same whether the server runs (then it
//! does them, since it holds the store) or not (then the command does them itself).

use std::path::PathBuf;

use sealpost_core::analytics::LogLevel;
use sealpost_core::id::{ClientId, EventId, OperatorId, TenantNo, WebhookId, WebhookName};
use sealpost_core::key_ring::{KeyRing, KeyState};
use sealpost_core::quota::OwnQuota;
use sealpost_core::role::Roles;
use sealpost_core::secret::Secret;
use sealpost_core::tenant::{Retention, Subdomain, Tenant};
use sealpost_core::time::{Span, Timestamp};
use sealpost_store::StoreError;
use sealpost_store::history::AuditEntry;
use sealpost_store::page::{After, PageRequest};
use sealpost_store::registry::{Client, Operator};
use sealpost_store::upkeep::Rewrapped;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::App;
use super::clients::ClientRefused;
use super::erasures::EraseWhat;
use super::keys::KeyRefused;
use super::operators::OperatorRefused;
use super::quotas::QuotaChange;
use super::tenants::TenantRefused;

/// More would not fit into one call; erase by subject or time instead.
pub const ERASE_EVENTS_MAX: usize = 1000;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum AdminCall {
    TenantCreate {
        name: String,
        subdomain: Subdomain,
        retention: RetentionView,
    },
    TenantList,
    TenantGet {
        tenant: String,
    },
    TenantLimits {
        tenant: String,
        /// What stays as it is, is not there.
        change: QuotaChange,
    },
    TenantAnalytics {
        tenant: String,
        level: LogLevel,
    },
    TenantDelete {
        tenant: String,
    },
    OperatorCreate {
        name: String,
        expires: Option<Expires>,
    },
    ClientCreate {
        tenant: String,
        name: String,
        roles: Roles,
        webhook: Option<WebhookName>,
        expires: Option<Expires>,
    },
    ClientList {
        tenant: String,
    },
    ClientDelete {
        tenant: String,
        id: ClientId,
    },
    KeyList {
        tenant: String,
    },
    /// `now`: also before the next key has been published for long enough.
    KeyRotate {
        tenant: String,
        now: bool,
    },
    /// The key that signs access tokens.
    TokenKeyRotate,
    /// Wraps every key with a new master key.
    MasterKeyRotate,
    Erase {
        tenant: String,
        what: Erase,
    },
    /// Newest first; only entries before this number.
    AuditList {
        tenant: String,
        limit: u32,
        before: Option<i64>,
    },
    Backup {
        to: PathBuf,
    },
    Doctor,
}

/// When a client's key stops working.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Expires {
    At(Timestamp),
    After(Span),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Erase {
    Subject(Hidden),
    Events(Vec<EventId>),
    Range { from: Timestamp, to: Timestamp },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AdminAnswer {
    Tenant(TenantView),
    Tenants(Vec<TenantView>),
    TenantDeleted { tenant: String },
    OperatorCreated { operator: OperatorView, key: Hidden },
    ClientCreated { client: ClientView, key: Hidden },
    Clients(Vec<ClientView>),
    ClientDeleted { id: ClientId },
    Keys(Vec<KeyView>),
    MasterKeyRotated { keys: u64, former: PathBuf, cleared: bool },
    Erased { id: String, count: u64 },
    BackedUp { to: PathBuf },
    Findings(Vec<FindingView>),
    Audit { entries: Vec<AuditView>, more: bool },
}

/// A text that crosses the socket and the terminal, and is printed nowhere else.
#[derive(Clone, Debug)]
pub struct Hidden(pub Secret<String>);

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.reveal())
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Secret::new(text)))
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantView {
    pub id: String,
    pub name: String,
    pub subdomain: Subdomain,
    pub created_at: Timestamp,
    pub retention: RetentionView,
    #[serde(default)]
    pub limits: OwnQuota,
    #[serde(default)]
    pub log_level: LogLevel,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetentionView {
    pub payload_after_delivered: Span,
    pub payload_after_failed: Span,
    pub metadata: Span,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientView {
    pub id: ClientId,
    pub name: String,
    pub roles: Roles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookId>,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorView {
    pub id: OperatorId,
    pub name: String,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    pub kid: String,
    pub state: String,
    pub created_at: Timestamp,
    /// Of the next key: when receivers may be expected to know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_sign_from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    pub id: i64,
    pub timestamp: Timestamp,
    pub who: String,
    pub what: String,
    pub object: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingView {
    pub level: Level,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warn,
    Fail,
}

/// Why a call was not done, by what the operator can do about it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum AdminError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
}

impl AdminError {
    fn refused(why: impl ToString) -> Self {
        Self::Refused(why.to_string())
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl App {
    /// Does what an operator asked for. `who` goes to the audit log.
    pub async fn admin(&self, call: AdminCall, who: &str) -> Result<AdminAnswer, AdminError> {
        match call {
            AdminCall::TenantCreate { name, subdomain, retention } => {
                let tenant = self.create_tenant(&name, subdomain, retention.into(), who).await;
                let tenant = tenant.map_err(|refused| match refused {
                    TenantRefused::Store(error) => error.into(),
                    other => AdminError::refused(other),
                })?;
                Ok(AdminAnswer::Tenant(tenant.into()))
            }
            AdminCall::TenantList => {
                Ok(AdminAnswer::Tenants(self.tenants().await?.into_iter().map(TenantView::from).collect()))
            }
            AdminCall::TenantGet { tenant } => {
                Ok(AdminAnswer::Tenant(self.named_tenant(&tenant).await?.into()))
            }
            AdminCall::TenantLimits { tenant, change } => {
                let found = self.named_tenant(&tenant).await?;
                let changed = self.change_quota(found.no, |before| change.of(before), who).await?;
                let changed =
                    changed.ok_or(AdminError::NotFound(format!("there is no tenant `{tenant}`")))?;
                Ok(AdminAnswer::Tenant(changed.into()))
            }
            AdminCall::TenantAnalytics { tenant, level } => {
                let changed = self.change_log_level(self.named(&tenant).await?, level, who).await?;
                let changed =
                    changed.ok_or(AdminError::NotFound(format!("there is no tenant `{tenant}`")))?;
                Ok(AdminAnswer::Tenant(changed.into()))
            }
            AdminCall::TenantDelete { tenant } => {
                let found = self.named_tenant(&tenant).await?;
                self.delete_tenant(&found, who).await.map_err(|refused| match refused {
                    TenantRefused::Store(error) => error.into(),
                    other => AdminError::refused(other),
                })?;
                Ok(AdminAnswer::TenantDeleted { tenant })
            }
            AdminCall::OperatorCreate { name, expires } => {
                let new = self.create_operator(&name, self.expiry(expires)?, who).await;
                let new = new.map_err(|refused| match refused {
                    OperatorRefused::Store(error) => error.into(),
                    other => AdminError::refused(other),
                })?;
                Ok(AdminAnswer::OperatorCreated { operator: new.operator.into(), key: Hidden(new.key) })
            }
            AdminCall::ClientCreate { tenant, name, roles, webhook, expires } => {
                let tenant = self.named(&tenant).await?;
                let expires_at = self.expiry(expires)?;
                let refused = |refused| match refused {
                    ClientRefused::Store(error) => error.into(),
                    other => AdminError::refused(other),
                };
                let webhook = self.subscribed(tenant, webhook).await.map_err(refused)?;
                let new = self.create_client(tenant, &name, roles, webhook, expires_at, who).await;
                let new = new.map_err(refused)?;
                Ok(AdminAnswer::ClientCreated { client: new.client.into(), key: Hidden(new.key) })
            }
            AdminCall::ClientList { tenant } => {
                let clients = self.store.clients(self.named(&tenant).await?).await?;
                Ok(AdminAnswer::Clients(clients.into_iter().map(ClientView::from).collect()))
            }
            AdminCall::ClientDelete { tenant, id } => {
                let no = self.named(&tenant).await?;
                if !self.delete_client(no, id, who).await? {
                    return Err(AdminError::NotFound(format!("tenant `{tenant}` has no client {id}")));
                }
                Ok(AdminAnswer::ClientDeleted { id })
            }
            AdminCall::KeyList { tenant } => {
                let ring = self.key_ring(self.named(&tenant).await?).await?;
                Ok(AdminAnswer::Keys(self.key_views(&ring)))
            }
            AdminCall::KeyRotate { tenant, now } => {
                let no = self.named(&tenant).await?;
                let ring = self.rotate_keys(no, now, who).await.map_err(|refused| match refused {
                    KeyRefused::Store(error) => error.into(),
                    KeyRefused::Refused(why) => AdminError::refused(why),
                })?;
                Ok(AdminAnswer::Keys(self.key_views(&ring)))
            }
            AdminCall::TokenKeyRotate => {
                let ring = self.rotate_token_keys(who).await?;
                Ok(AdminAnswer::Keys(self.key_views(&ring)))
            }
            AdminCall::MasterKeyRotate => {
                let Rewrapped { keys, former, cleared } = self.rotate_master_key(who).await?;
                Ok(AdminAnswer::MasterKeyRotated { keys, former, cleared })
            }
            AdminCall::Erase { tenant, what } => {
                let what = what.checked()?;
                let (id, count) = self.erase(self.named(&tenant).await?, what, who).await?;
                Ok(AdminAnswer::Erased { id: id.to_string(), count })
            }
            AdminCall::AuditList { tenant, limit, before } => {
                // The time of the last entry plays no part in the order.
                let after = before.map(|id| After { at: Timestamp::from_millis(0), id });
                let tenant = self.named(&tenant).await?;
                let page = self.store.audit_entries(tenant, PageRequest { limit, after }).await?;
                let entries = page.rows.into_iter().map(AuditView::from).collect();
                Ok(AdminAnswer::Audit { entries, more: page.more })
            }
            AdminCall::Backup { to } => {
                self.store.backup(to.clone()).await?;
                Ok(AdminAnswer::BackedUp { to })
            }
            AdminCall::Doctor => {
                let findings = self.store.examine().await?;
                let findings = findings.into_iter().map(|finding| FindingView {
                    level: match (finding.ok, &finding.advice) {
                        (true, None) => Level::Ok,
                        (true, Some(_)) => Level::Warn,
                        (false, _) => Level::Fail,
                    },
                    what: finding.what,
                    advice: finding.advice,
                });
                Ok(AdminAnswer::Findings(findings.collect()))
            }
        }
    }

    async fn named(&self, subdomain: &str) -> Result<TenantNo, AdminError> {
        Ok(self.named_tenant(subdomain).await?.no)
    }

    async fn named_tenant(&self, subdomain: &str) -> Result<Tenant, AdminError> {
        self.tenant_by_name(subdomain).await?.ok_or_else(|| {
            AdminError::NotFound(format!(
                "there is no tenant `{subdomain}`; `sealpost tenant list` shows them"
            ))
        })
    }

    fn expiry(&self, expires: Option<Expires>) -> Result<Option<Timestamp>, AdminError> {
        let now = self.clock.wall();
        let at = match expires {
            None => return Ok(None),
            Some(Expires::At(at)) => at,
            Some(Expires::After(span)) => now + span.0,
        };
        if at <= now {
            return Err(AdminError::refused(format!("the key would have expired at {at} already")));
        }
        Ok(Some(at))
    }

    fn key_views(&self, ring: &KeyRing) -> Vec<KeyView> {
        let view = |key: &sealpost_core::key_ring::KeyRecord| KeyView {
            kid: key.kid.clone(),
            state: key.state.as_str().to_owned(),
            created_at: key.created_at,
            may_sign_from: (key.state == KeyState::Next).then(|| key.created_at + self.config.publish_ahead),
            retired_at: match key.state {
                KeyState::Retired { since } => Some(since),
                KeyState::Current | KeyState::Next => None,
            },
        };
        ring.published(self.clock.now()).into_iter().map(view).collect()
    }
}

impl Erase {
    fn checked(self) -> Result<EraseWhat, AdminError> {
        match self {
            Erase::Subject(subject) if subject.0.reveal().is_empty() => {
                Err(AdminError::refused("a subject cannot be empty"))
            }
            Erase::Subject(subject) => Ok(EraseWhat::Subject(subject.0.into_revealed())),
            Erase::Events(ids) if ids.is_empty() || ids.len() > ERASE_EVENTS_MAX => {
                Err(AdminError::refused(format!("1 to {ERASE_EVENTS_MAX} events can be erased at once")))
            }
            Erase::Events(ids) => Ok(EraseWhat::Events(ids)),
            Erase::Range { from, to } if from > to => {
                Err(AdminError::refused("the range ends before it begins"))
            }
            Erase::Range { from, to } => Ok(EraseWhat::Range { from, to }),
        }
    }
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name,
            subdomain: tenant.subdomain,
            created_at: tenant.created_at,
            retention: tenant.retention.into(),
            limits: tenant.quota,
            log_level: tenant.log_level,
        }
    }
}

impl From<Retention> for RetentionView {
    fn from(retention: Retention) -> Self {
        Self {
            payload_after_delivered: Span(retention.payload_after_delivered),
            payload_after_failed: Span(retention.payload_after_failed),
            metadata: Span(retention.metadata),
        }
    }
}

impl From<RetentionView> for Retention {
    fn from(view: RetentionView) -> Self {
        Self {
            payload_after_delivered: view.payload_after_delivered.0,
            payload_after_failed: view.payload_after_failed.0,
            metadata: view.metadata.0,
        }
    }
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { no, at, who, what, object, change } = entry;
        Self { id: no, timestamp: at, who, what, object, before: change.before, after: change.after }
    }
}

impl From<Operator> for OperatorView {
    fn from(operator: Operator) -> Self {
        Self {
            id: operator.id,
            name: operator.name,
            created_at: operator.created_at,
            expires_at: operator.expires_at,
        }
    }
}

impl From<Client> for ClientView {
    fn from(client: Client) -> Self {
        Self {
            id: client.id,
            name: client.name,
            roles: client.roles,
            webhook: client.webhook,
            created_at: client.created_at,
            expires_at: client.expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_crosses_the_socket_and_shows_in_no_debug_output() {
        let answer = r#"{"clientCreated":{"client":{"id":"01890a5d-ac96-774b-bcce-b302099a8057","name":"n","roles":["publisher"],"createdAt":"2026-01-01T00:00:00.000Z"},"key":"spk_canary"}}"#;
        let parsed: AdminAnswer = serde_json::from_str(answer).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), answer);
        assert!(!format!("{parsed:?}").contains("canary"));
        let call = AdminCall::Erase {
            tenant: "t".into(),
            what: Erase::Subject(Hidden(Secret::new("canary".into()))),
        };
        assert!(!format!("{call:?}").contains("canary"));
    }
}
