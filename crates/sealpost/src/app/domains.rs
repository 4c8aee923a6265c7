//! The custom domain of a tenant: configured, proven by a TXT record, and then a host name that selects the tenant.
//!
//! Verified domains are kept in memory, because every call looks at them: loaded at start, and changed after each
//! committed change before it is acknowledged. Who holds a domain is decided by the store alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sealpost_core::audit::Action;
use sealpost_core::domain::{CustomDomain, DomainFacts, DomainName, Proof};
use sealpost_core::id::{TenantNo, VerificationToken};
use sealpost_egress::DnsFault;
use sealpost_store::StoreError;
use sealpost_store::registry::VerifiedDomain;

use super::App;

/// A person or a deployment script waits for it.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum DomainRefused {
    #[error("no custom domain is configured")]
    NotFound,
    #[error("A custom domain is configured already; replace it with PUT, or delete it first")]
    Exists,
    #[error("Domain already verified")]
    Taken,
    #[error(
        "No TXT record was found at {0}; publish one whose value is the verificationToken, and allow time for it to spread"
    )]
    NoRecord(DomainName),
    #[error(
        "None of the TXT records at {0} is the verificationToken; publish one whose value is exactly that, and allow time for it to spread"
    )]
    OtherRecord(DomainName),
    #[error("The TXT records at {domain} could not be looked up: {fault}")]
    LookUp { domain: DomainName, fault: DnsFault },
    #[error("The custom domain was changed while it was verified")]
    Changed,
    /// Look-ups are slow and go to servers of the tenant's choice: one at a time for each.
    #[error("a verification of this domain is under way")]
    UnderWay,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The verified domains, and whose they are.
#[derive(Debug, Default)]
pub struct VerifiedDomains {
    tenants: ArcSwap<HashMap<DomainName, TenantNo>>,
}

impl VerifiedDomains {
    pub fn is_empty(&self) -> bool {
        self.tenants.load().is_empty()
    }

    /// `host`: a host name without port.
    pub fn tenant(&self, host: &str) -> Option<TenantNo> {
        self.tenants.load().get(host).copied()
    }

    fn put(&self, domain: &DomainName, tenant: TenantNo) {
        self.tenants.rcu(|tenants| {
            let mut tenants = HashMap::clone(tenants);
            tenants.insert(domain.clone(), tenant);
            tenants
        });
    }

    /// Of a tenant that is gone.
    pub(super) fn forget(&self, tenant: TenantNo) {
        self.tenants.rcu(|tenants| {
            let mut tenants = HashMap::clone(tenants);
            tenants.retain(|_, owner| *owner != tenant);
            tenants
        });
    }

    /// Another tenant's entry stays: it was made after this one's domain was given up, and may be here first.
    fn remove(&self, domain: &DomainName, tenant: TenantNo) {
        self.tenants.rcu(|tenants| {
            let mut tenants = HashMap::clone(tenants);
            if tenants.get(domain) == Some(&tenant) {
                tenants.remove(domain);
            }
            tenants
        });
    }
}

impl App {
    /// Reads which domains are verified; before the first call is answered.
    pub async fn load_domains(&self) -> Result<(), StoreError> {
        let verified = self.store.verified_domains().await?;
        self.domains.tenants.store(Arc::new(verified.into_iter().collect()));
        Ok(())
    }

    pub async fn create_domain(
        &self,
        tenant: TenantNo,
        facts: DomainFacts,
        who: &str,
    ) -> Result<CustomDomain, DomainRefused> {
        let new = CustomDomain { tenant, facts, token: self.new_verification_token(), verified_at: None };
        match self.store.create_domain(new.clone(), self.by(who, Action::CreateDomain)).await? {
            true => Ok(new),
            false => Err(DomainRefused::Exists),
        }
    }

    pub async fn domain(&self, tenant: TenantNo) -> Result<CustomDomain, DomainRefused> {
        self.store.domain(tenant).await?.ok_or(DomainRefused::NotFound)
    }

    /// Replaces name, logo and domain. Another domain has to be proven again; until then neither selects the tenant.
    pub async fn replace_domain(
        &self,
        tenant: TenantNo,
        facts: DomainFacts,
        who: &str,
    ) -> Result<CustomDomain, DomainRefused> {
        let entry = self.tenant(tenant).await?;
        let _alone = entry.changing.lock().await;
        let (fresh, by) = (self.new_verification_token(), self.by(who, Action::ChangeDomain));
        let changed = self.store.change_domain(tenant, facts, fresh, by).await?;
        let changed = changed.ok_or(DomainRefused::NotFound)?;
        if changed.after.verified_at.is_none() {
            self.domains.remove(&changed.before.facts.domain, tenant);
        }
        Ok(changed.after)
    }

    pub async fn delete_domain(&self, tenant: TenantNo, who: &str) -> Result<(), DomainRefused> {
        let entry = self.tenant(tenant).await?;
        let _alone = entry.changing.lock().await;
        let deleted = self.store.delete_domain(tenant, self.by(who, Action::DeleteDomain)).await?;
        let last = deleted.ok_or(DomainRefused::NotFound)?;
        self.domains.remove(&last.facts.domain, tenant);
        Ok(())
    }

    /// Looks for the token in the TXT records of the domain. What is verified stays so, whatever the records say later.
    pub async fn verify_domain(&self, tenant: TenantNo, who: &str) -> Result<(), DomainRefused> {
        let entry = self.tenant(tenant).await?;
        let _one_look_up = entry.verifying.try_lock().map_err(|_| DomainRefused::UnderWay)?;
        let CustomDomain { facts, token, verified_at, .. } = self.domain(tenant).await?;
        if verified_at.is_some() {
            return Ok(());
        }
        let domain = facts.domain;
        // Only to say so early; the store decides.
        if self.domains.tenant(domain.as_str()).is_some_and(|holder| holder != tenant) {
            return Err(DomainRefused::Taken);
        }
        match self.txt.records(domain.as_str(), LOOK_UP_LIMIT).await.map(|records| token.proof(&records)) {
            Ok(Proof::Holds) => {}
            Ok(Proof::Missing) => return Err(DomainRefused::NoRecord(domain)),
            Ok(Proof::Differs) => return Err(DomainRefused::OtherRecord(domain)),
            Err(fault) => return Err(DomainRefused::LookUp { domain, fault }),
        }
        let _alone = entry.changing.lock().await;
        match self.store.verify_domain(tenant, token, self.by(who, Action::VerifyDomain)).await? {
            VerifiedDomain::Verified(verified) => {
                self.domains.put(&verified.facts.domain, tenant);
                Ok(())
            }
            VerifiedDomain::Taken => Err(DomainRefused::Taken),
            VerifiedDomain::Changed => Err(DomainRefused::Changed),
        }
    }

    fn new_verification_token(&self) -> VerificationToken {
        VerificationToken::new(self.clock.now(), self.clock.chance())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_tenant_gives_up_does_not_take_it_from_the_next() {
        let domains = VerifiedDomains::default();
        let name = DomainName::parse("a.example", None).unwrap();
        let (before, after) = (TenantNo(1), TenantNo(2));
        domains.put(&name, before);
        domains.put(&name, after);
        domains.remove(&name, before);
        assert_eq!(domains.tenant("a.example"), Some(after));
        domains.remove(&name, after);
        assert!(domains.is_empty());
    }
}
