//! Portal links: a way for a receiver into the console, to look at its own webhooks and at nothing else.
//!
//! A link is for once and for a few minutes, is kept in memory, by its hash, and says nothing by itself. What it opens ends
//! when whoever made it may no longer make it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sealpost_core::audit::Action;
use sealpost_core::id::{TenantNo, WebhookId};
use sealpost_core::role::{Permission, Role};
use sealpost_core::secret::Secret;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;

use super::App;
use super::clients::{hash, new_key};
use super::sign_in::{Credential, Visitor};

/// Long enough to be handed on by a page or a message.
pub const LINK_HOLDS: Duration = Duration::from_secs(15 * 60);
/// Links that nobody has followed yet, all tenants together; of one tenant a tenth.
const LINKS: usize = 10_000;
const PREFIX: &str = "spl_";

/// What a link opens.
#[derive(Debug, PartialEq)]
pub struct Grant {
    tenant: TenantNo,
    webhooks: Vec<WebhookId>,
    by: Credential,
}

impl Grant {
    pub fn tenant(&self) -> TenantNo {
        self.tenant
    }

    /// For tests of what keeps grants.
    #[cfg(test)]
    pub(crate) fn to(tenant: TenantNo, webhook: WebhookId) -> Self {
        Self { tenant, webhooks: vec![webhook], by: Credential::Bootstrap }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LinkRefused {
    #[error("too many portal links wait to be followed")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// By the hash of their tokens: what they open, and until when.
type Waiting = HashMap<[u8; 32], (Arc<Grant>, Timestamp)>;

#[derive(Debug, Default)]
pub struct PortalLinks(Mutex<Waiting>);

impl PortalLinks {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false`: there are too many.
    fn put(&self, token: [u8; 32], grant: Grant, now: Timestamp) -> bool {
        let mut links = self.lock();
        links.retain(|_, (_, until)| now < *until);
        let of_tenant = links.values().filter(|(other, _)| other.tenant == grant.tenant).count();
        if links.len() >= LINKS || of_tenant >= LINKS / 10 {
            return false;
        }
        links.insert(token, (Arc::new(grant), now + LINK_HOLDS));
        true
    }

    fn take(&self, token: [u8; 32], now: Timestamp) -> Option<Arc<Grant>> {
        let (grant, until) = self.lock().remove(&token)?;
        (now < until).then_some(grant)
    }
}

impl App {
    /// The token of a link to these webhooks of the tenant, shown once. `by`: whoever makes it, named `who` in the audit log.
    pub async fn make_portal_link(
        &self,
        tenant: TenantNo,
        webhooks: Vec<WebhookId>,
        by: &Credential,
        who: &str,
    ) -> Result<Secret<String>, LinkRefused> {
        let token = new_key(self.clock.as_ref(), PREFIX);
        for webhook in &webhooks {
            self.store.audit(tenant, self.by(who, Action::MakePortalLink), webhook.to_string()).await?;
        }
        let grant = Grant { tenant, webhooks, by: by.clone() };
        match self.portal_links.put(hash(&token), grant, self.clock.now()) {
            true => Ok(Secret::new(token)),
            false => Err(LinkRefused::TooMany),
        }
    }

    /// What a link opens, once; `None` if it was followed before, is too old, or never was.
    pub fn follow_portal_link(&self, token: &str) -> Option<Credential> {
        self.portal_links.take(hash(token), self.clock.now()).map(Credential::Portal)
    }

    /// A subscriber of the webhooks that are still there, as long as the maker may manage them.
    pub(super) async fn portal_visitor(&self, grant: &Grant) -> Result<Option<Visitor>, StoreError> {
        let maker = self.key_holder(&grant.by).await?;
        let Some(maker) =
            maker.filter(|maker| maker.tenant == Some(grant.tenant) && maker.may(Permission::ManageWebhooks))
        else {
            return Ok(None);
        };
        let entry = self.tenant(grant.tenant).await?;
        let there = grant.webhooks.iter().copied().filter(|id| entry.target_by_id(*id).is_some());
        Ok(Some(Visitor {
            tenant: Some(grant.tenant),
            roles: Role::Subscriber.into(),
            only: Some(there.collect()),
            who: format!("portal link of {}", maker.who),
            is_operator: false,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(tenant: i64) -> Grant {
        Grant { tenant: TenantNo(tenant), webhooks: Vec::new(), by: Credential::Bootstrap }
    }

    #[test]
    fn a_link_is_followed_once_and_in_time() {
        let (links, at) = (PortalLinks::default(), Timestamp::from_millis);
        let limit = LINK_HOLDS.as_millis() as i64;
        for (now, opens) in [(0, true), (limit - 1, true), (limit, false)] {
            assert!(links.put([1; 32], grant(1), at(0)));
            assert_eq!(links.take([1; 32], at(now)).is_some(), opens, "{now}");
            assert!(links.take([1; 32], at(now)).is_none(), "once");
        }
        assert!(links.take([2; 32], at(0)).is_none());
    }

    #[test]
    fn one_tenant_leaves_room_for_the_others_and_old_links_for_new_ones() {
        let (links, at) = (PortalLinks::default(), Timestamp::from_millis);
        let token = |no: usize| {
            let mut token = [0; 32];
            token[..8].copy_from_slice(&no.to_be_bytes());
            token
        };
        for no in 0..LINKS / 10 {
            assert!(links.put(token(no), grant(1), at(0)));
        }
        assert!(!links.put(token(LINKS), grant(1), at(0)));
        assert!(links.put(token(LINKS), grant(2), at(0)));
        assert!(links.put(token(LINKS + 1), grant(1), at(0) + LINK_HOLDS));
    }
}
