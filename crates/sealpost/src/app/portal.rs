//! Portal links: a way for a receiver into the console, to look at its own webhooks and at nothing else.
//!
//! A link is for once and for a while, is kept in memory, by its hash, and says nothing by itself. What it opens ends
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
/// Whoever makes one may choose another time.
pub const LINK_HOLDS_AT_LEAST: Duration = Duration::from_secs(60);
pub const LINK_HOLDS_AT_MOST: Duration = Duration::from_secs(24 * 3600);
/// More are not looked at by one receiver; each is looked up before a link is made.
pub const WEBHOOKS_OF_A_LINK: usize = 32;
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

/// A link that was made, shown once.
#[derive(Debug)]
pub struct Link {
    pub url: Secret<String>,
    pub until: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub enum LinkRefused {
    /// One of the webhooks, by its place among them.
    #[error("no such webhook")]
    NotFound { index: usize },
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
    fn put(&self, token: [u8; 32], grant: Grant, now: Timestamp, until: Timestamp) -> bool {
        let mut links = self.lock();
        links.retain(|_, (_, until)| now < *until);
        let of_tenant = links.values().filter(|(other, _)| other.tenant == grant.tenant).count();
        if links.len() >= LINKS || of_tenant >= LINKS / 10 {
            return false;
        }
        links.insert(token, (Arc::new(grant), until));
        true
    }

    fn take(&self, token: [u8; 32], now: Timestamp) -> Option<Arc<Grant>> {
        let (grant, until) = self.lock().remove(&token)?;
        (now < until).then_some(grant)
    }
}

impl App {
    /// A link to these webhooks of the tenant, which opens within `holds`. `by`: whoever makes it, named `who` in the audit
    /// log, which has the entry before anybody has the link.
    pub async fn make_portal_link(
        &self,
        tenant: TenantNo,
        webhooks: Vec<WebhookId>,
        holds: Duration,
        by: &Credential,
        who: &str,
    ) -> Result<Link, LinkRefused> {
        for (index, webhook) in webhooks.iter().enumerate() {
            if self.store.webhook(tenant, *webhook).await?.is_none() {
                return Err(LinkRefused::NotFound { index });
            }
        }
        let named = webhooks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let (token, now) = (new_key(self.clock.as_ref(), PREFIX), self.clock.now());
        let until = now + holds;
        if !self.portal_links.put(hash(&token), Grant { tenant, webhooks, by: by.clone() }, now, until) {
            return Err(LinkRefused::TooMany);
        }
        if let Err(error) = self.store.audit(tenant, self.by(who, Action::MakePortalLink), named).await {
            self.portal_links.take(hash(&token), now);
            return Err(error.into());
        }
        let url = Secret::new(format!("{}/console/portal/{token}", self.config.public_url));
        Ok(Link { url, until })
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

    fn put(links: &PortalLinks, token: [u8; 32], tenant: i64, now: Timestamp) -> bool {
        links.put(token, grant(tenant), now, now + LINK_HOLDS)
    }

    #[test]
    fn a_link_is_followed_once_and_in_time() {
        let (links, at) = (PortalLinks::default(), Timestamp::from_millis);
        let limit = LINK_HOLDS.as_millis() as i64;
        for (now, opens) in [(0, true), (limit - 1, true), (limit, false)] {
            assert!(put(&links, [1; 32], 1, at(0)));
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
            assert!(put(&links, token(no), 1, at(0)));
        }
        assert!(!put(&links, token(LINKS), 1, at(0)));
        assert!(put(&links, token(LINKS), 2, at(0)));
        assert!(put(&links, token(LINKS + 1), 1, at(0) + LINK_HOLDS));
    }
}
