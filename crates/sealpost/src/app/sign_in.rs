//! Who a person is that signed in: what a session remembers of the key, and whom it stands for now. Signing in at an OpenID
//! provider is [`super::openid::sign_in`].
//!
//! A session never keeps a key. It keeps which credential the key was, and asks at each request what that still may, so
//! that a deleted client is out at once.

use std::sync::Arc;

use sealpost_core::audit::Action;
use sealpost_core::id::{ClientId, OperatorId, TenantNo, WebhookId};
use sealpost_core::role::{Permission, Role, Roles};
use sealpost_core::tenant::Tenant;
use sealpost_store::StoreError;

use super::App;
use super::clients::{Caller, hash};
use super::openid::sign_in::Person;
use super::portal::Grant;
use super::tokens::looks_like_a_token;

/// Names a credential without being one.
#[derive(Clone, Debug, PartialEq)]
pub enum Credential {
    /// The key of the settings, which lives as long as the process.
    Bootstrap,
    Client(ClientId),
    /// An operator, in the tenant of its choice once it has chosen one.
    Operator(OperatorId, Option<TenantNo>),
    /// A portal link that was followed.
    Portal(Arc<Grant>),
    /// Somebody who signed in at an OpenID provider.
    Person(Arc<Person>),
}

/// Whom a credential stands for now.
#[derive(Clone, Debug, PartialEq)]
pub struct Visitor {
    /// `None`: an operator who has not chosen a tenant.
    pub tenant: Option<TenantNo>,
    pub roles: Roles,
    /// The webhooks of a subscriber, who sees no others; `None`: all of the tenant's.
    pub only: Option<Vec<WebhookId>>,
    /// For the audit log.
    pub who: String,
    pub is_operator: bool,
}

impl Visitor {
    pub fn may(&self, permission: Permission) -> bool {
        self.roles.may(permission)
    }

    /// Whether a webhook is among those the visitor may know of.
    pub fn sees(&self, webhook: WebhookId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&webhook))
    }
}

impl From<Caller> for Visitor {
    fn from(caller: Caller) -> Self {
        let Caller { tenant, roles, webhook, who, .. } = caller;
        let only = roles.has(Role::Subscriber).then(|| webhook.into_iter().collect());
        Self { tenant: Some(tenant), roles, only, who, is_operator: false }
    }
}

impl App {
    /// Which credential a key is; `None` if it is unknown or expired. An access token is none: it is made for a day and for
    /// machines, and a session would outlive it.
    pub async fn credential(&self, key: &str) -> Result<Option<Credential>, StoreError> {
        if looks_like_a_token(key) {
            return Ok(None);
        }
        let key_hash = hash(key);
        // As in `authenticate`: keys are found by the hash of 256 random bits.
        let credential = if self.clients.bootstrap == Some(key_hash) {
            Credential::Bootstrap
        } else if let Some(client) = self.store.client_by_key_hash(key_hash).await? {
            Credential::Client(client.id)
        } else if let Some(operator) = self.store.operator_by_key_hash(key_hash).await? {
            Credential::Operator(operator.id, None)
        } else {
            return Ok(None);
        };
        Ok(self.visitor(&credential).await?.map(|_| credential))
    }

    /// Which credential a caller of the API showed, so that what it makes for others ends with it.
    pub fn credential_of(&self, caller: &Caller) -> Credential {
        match (caller.client, caller.until) {
            (Some(client), _) => Credential::Client(client),
            (None, Some(until)) => Credential::Person(Arc::new(Person::new(caller.clone(), until))),
            (None, None) => Credential::Bootstrap,
        }
    }

    /// Whom a credential stands for now; `None` if it was deleted or has expired.
    pub async fn visitor(&self, credential: &Credential) -> Result<Option<Visitor>, StoreError> {
        match credential {
            Credential::Portal(grant) => self.portal_visitor(grant).await,
            key => self.key_holder(key).await,
        }
    }

    pub(super) async fn key_holder(&self, credential: &Credential) -> Result<Option<Visitor>, StoreError> {
        match credential {
            // A link opens no way to make another.
            Credential::Portal(_) => Ok(None),
            Credential::Bootstrap => Ok(Some(self.bootstrap_caller().await?.into())),
            Credential::Client(id) => {
                let client = self.client(*id).await?;
                Ok(client.and_then(|client| self.caller(client)).map(Visitor::from))
            }
            Credential::Person(person) => self.person(person).await,
            Credential::Operator(id, tenant) => self.visiting_operator(*id, *tenant).await,
        }
    }

    /// Acts as the tenant's administrator, and under its own name in the tenant's log.
    async fn visiting_operator(
        &self,
        id: OperatorId,
        tenant: Option<TenantNo>,
    ) -> Result<Option<Visitor>, StoreError> {
        let now = self.clock.wall();
        let valid = self.store.operators().await?.into_iter().any(|operator| {
            operator.id == id && operator.expires_at.is_none_or(|expires_at| now < expires_at)
        });
        let known = match tenant {
            Some(no) => self.store.tenants().await?.iter().any(|tenant| tenant.no == no),
            None => true,
        };
        Ok((valid && known).then(|| Visitor {
            tenant,
            roles: Role::Admin.into(),
            only: None,
            who: format!("operator {id}"),
            is_operator: true,
        }))
    }

    /// An operator goes into a tenant, which learns of it from its audit log.
    pub async fn open_tenant(&self, tenant: &Tenant, who: &str) -> Result<(), StoreError> {
        self.store.audit(tenant.no, self.by(who, Action::OpenTenant), tenant.id.to_string()).await
    }
}
