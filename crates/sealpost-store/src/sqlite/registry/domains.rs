//! Custom domains in SQLite. Whether a domain is free is decided inside the verifying transaction, by a unique index
//! over the verified ones; what a change leaves behind in the audit log is of the same transaction.

use rusqlite::{Connection, Row};

use sealpost_core::audit::By;
use sealpost_core::domain::{CustomDomain, DisplayName, DomainFacts, DomainName, LogoUrl};
use sealpost_core::id::{TenantNo, VerificationToken};
use sealpost_core::time::Timestamp;

use crate::audit::{self, Change};
use crate::error::StoreError;
use crate::registry::{ReplacedDomain, VerifiedDomain};
use crate::sqlite::SqliteStore;
use crate::sqlite::audit as log;
use crate::sqlite::rows;
use crate::sqlite::writer::{Cost, Kind, WriteError};

impl SqliteStore {
    pub(super) async fn insert_domain(&self, new: CustomDomain, by: By) -> Result<bool, StoreError> {
        let write = move |conn: &Connection, _: &mut _| {
            let inserted = conn
                .prepare_cached(
                    "INSERT INTO custom_domain (tenant, name, logo_url, domain, token, verified_at) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (tenant) DO NOTHING",
                )?
                .execute((
                    new.tenant.0,
                    new.facts.name.as_str(),
                    new.facts.logo_url.as_str(),
                    new.facts.domain.as_str(),
                    new.token.bytes(),
                    new.verified_at.map(Timestamp::millis),
                ))?;
            if inserted > 0 {
                let change = Change::made(audit::domain(&new));
                log::insert(conn, new.tenant, &by, new.facts.domain.as_str(), &change)?;
            }
            Ok(inserted > 0)
        };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    pub(super) async fn read_domain(&self, tenant: TenantNo) -> Result<Option<CustomDomain>, StoreError> {
        self.readers.run(move |conn| find(conn, tenant)).await
    }

    pub(super) async fn update_domain(
        &self,
        tenant: TenantNo,
        facts: DomainFacts,
        fresh: VerificationToken,
        by: By,
    ) -> Result<Option<ReplacedDomain>, StoreError> {
        let write = move |conn: &Connection, _: &mut _| {
            let Some(before) = find(conn, tenant)? else { return Ok(None) };
            let mut after = CustomDomain { facts: facts.clone(), ..before.clone() };
            if after.facts.domain != before.facts.domain {
                after.token = fresh;
                after.verified_at = None;
            }
            conn.prepare_cached(
                "UPDATE custom_domain SET name = ?2, logo_url = ?3, domain = ?4, token = ?5, verified_at = ?6 \
                 WHERE tenant = ?1",
            )?
            .execute((
                tenant.0,
                facts.name.as_str(),
                facts.logo_url.as_str(),
                facts.domain.as_str(),
                after.token.bytes(),
                after.verified_at.map(Timestamp::millis),
            ))?;
            let change = Change::between(&audit::domain(&before), &audit::domain(&after));
            log::insert(conn, tenant, &by, facts.domain.as_str(), &change)?;
            Ok(Some(ReplacedDomain { before, after }))
        };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    pub(super) async fn remove_domain(
        &self,
        tenant: TenantNo,
        by: By,
    ) -> Result<Option<CustomDomain>, StoreError> {
        let write = move |conn: &Connection, _: &mut _| {
            let Some(last) = find(conn, tenant)? else { return Ok(None) };
            conn.prepare_cached("DELETE FROM custom_domain WHERE tenant = ?1")?.execute([tenant.0])?;
            log::insert(conn, tenant, &by, last.facts.domain.as_str(), &Change::gone(audit::domain(&last)))?;
            Ok(Some(last))
        };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    pub(super) async fn mark_domain_verified(
        &self,
        tenant: TenantNo,
        token: VerificationToken,
        by: By,
    ) -> Result<VerifiedDomain, StoreError> {
        let write = move |conn: &Connection, _: &mut _| {
            let found = find(conn, tenant)?.filter(|domain| domain.token == token);
            let Some(mut domain) = found else { return Ok(VerifiedDomain::Changed) };
            if domain.verified_at.is_some() {
                return Ok(VerifiedDomain::Verified(domain));
            }
            let marked = conn
                .prepare_cached(
                    "UPDATE OR IGNORE custom_domain SET verified_at = ?2 WHERE tenant = ?1 AND verified_at IS NULL",
                )?
                .execute((tenant.0, by.at.millis()))?;
            if marked == 0 {
                return Ok(VerifiedDomain::Taken);
            }
            let before = audit::domain(&domain);
            domain.verified_at = Some(by.at);
            let change = Change::between(&before, &audit::domain(&domain));
            log::insert(conn, tenant, &by, domain.facts.domain.as_str(), &change)?;
            Ok(VerifiedDomain::Verified(domain))
        };
        self.writer.run(Kind::Registry, Cost::rows(2), write).await
    }

    pub(super) async fn list_verified_domains(&self) -> Result<Vec<(DomainName, TenantNo)>, StoreError> {
        let read = |conn: &Connection| {
            let mut statement = conn.prepare_cached(
                "SELECT domain, tenant FROM custom_domain WHERE verified_at IS NOT NULL ORDER BY tenant",
            )?;
            let row = |row: &Row<'_>| -> Result<_, WriteError> {
                Ok((domain_name(row.get(0)?)?, TenantNo(row.get(1)?)))
            };
            statement.query_and_then([], row)?.collect()
        };
        self.readers.run(read).await
    }
}

fn find(conn: &Connection, tenant: TenantNo) -> Result<Option<CustomDomain>, WriteError> {
    let mut statement = conn.prepare_cached(
        "SELECT tenant, name, logo_url, domain, token, verified_at FROM custom_domain WHERE tenant = ?1",
    )?;
    statement.query_and_then([tenant.0], custom_domain)?.next().transpose()
}

fn custom_domain(row: &Row<'_>) -> Result<CustomDomain, WriteError> {
    let (name, logo_url): (String, String) = (row.get(1)?, row.get(2)?);
    let facts = DomainFacts {
        name: DisplayName::parse(&name).map_err(|_| rows::corrupt("name of a domain"))?,
        logo_url: LogoUrl::parse(&logo_url).map_err(|_| rows::corrupt("logo of a domain"))?,
        domain: domain_name(row.get(3)?)?,
    };
    Ok(CustomDomain {
        tenant: TenantNo(row.get(0)?),
        facts,
        token: VerificationToken::from_bytes(row.get(4)?),
        verified_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_millis),
    })
}

fn domain_name(text: String) -> Result<DomainName, StoreError> {
    DomainName::from_stored(text).ok_or(rows::corrupt("domain"))
}
