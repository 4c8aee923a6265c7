//! Custom domains. Whether a domain is free is decided inside the verifying transaction: who verifies a name holds it
//! until its end, and a unique index over the verified ones stands behind that.

use tokio_postgres::Row;

use sealpost_core::audit::By;
use sealpost_core::domain::{CustomDomain, DisplayName, DomainFacts, DomainName, LogoUrl};
use sealpost_core::id::{TenantNo, VerificationToken};
use sealpost_core::time::Timestamp;

use super::hold_tenant;
use crate::audit::{self, Change};
use crate::error::StoreError;
use crate::postgres::audit as log;
use crate::postgres::fault::Fault;
use crate::postgres::pool::{Columns as _, Conn};
use crate::postgres::schema::LOCK_CLASS;
use crate::registry::{ReplacedDomain, VerifiedDomain};
use crate::rows;

pub(super) async fn insert(conn: &Conn, new: &CustomDomain, by: &By) -> Result<bool, Fault> {
    hold_tenant(conn, new.tenant).await?;
    let sql = "INSERT INTO custom_domain (tenant, name, logo_url, domain, token, verified_at)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant) DO NOTHING";
    if conn.run(sql, &params(new).as_params()).await? == 0 {
        return Ok(false);
    }
    let change = Change::made(audit::domain(new));
    log::insert(conn, new.tenant, by, new.facts.domain.as_str(), &change).await?;
    Ok(true)
}

pub(super) async fn update(
    conn: &Conn,
    tenant: TenantNo,
    facts: &DomainFacts,
    fresh: &VerificationToken,
    by: &By,
) -> Result<Option<ReplacedDomain>, Fault> {
    let Some(before) = find(conn, tenant, "FOR UPDATE").await? else { return Ok(None) };
    let mut after = CustomDomain { facts: facts.clone(), ..before.clone() };
    if after.facts.domain != before.facts.domain {
        after.token = *fresh;
        after.verified_at = None;
    }
    let sql = "UPDATE custom_domain SET name = $2, logo_url = $3, domain = $4, token = $5, verified_at = $6
               WHERE tenant = $1";
    conn.run(sql, &params(&after).as_params()).await?;
    let change = Change::between(&audit::domain(&before), &audit::domain(&after));
    log::insert(conn, tenant, by, facts.domain.as_str(), &change).await?;
    Ok(Some(ReplacedDomain { before, after }))
}

pub(super) async fn remove(conn: &Conn, tenant: TenantNo, by: &By) -> Result<Option<CustomDomain>, Fault> {
    let Some(last) = find(conn, tenant, "FOR UPDATE").await? else { return Ok(None) };
    conn.run("DELETE FROM custom_domain WHERE tenant = $1", &[&tenant.0]).await?;
    let change = Change::gone(audit::domain(&last));
    log::insert(conn, tenant, by, last.facts.domain.as_str(), &change).await?;
    Ok(Some(last))
}

pub(super) async fn verify(
    conn: &Conn,
    tenant: TenantNo,
    token: &VerificationToken,
    by: &By,
) -> Result<VerifiedDomain, Fault> {
    let found = find(conn, tenant, "FOR UPDATE").await?.filter(|domain| domain.token == *token);
    let Some(mut domain) = found else { return Ok(VerifiedDomain::Changed) };
    if domain.verified_at.is_some() {
        return Ok(VerifiedDomain::Verified(domain));
    }
    let name = domain.facts.domain.as_str().to_owned();
    let hold = "SELECT pg_advisory_xact_lock($1, hashtext('domain ' || current_schema() || ' ' || $2))::text";
    conn.rows(hold, &[&LOCK_CLASS, &name]).await?;
    let mark = "UPDATE custom_domain SET verified_at = $2 WHERE tenant = $1
                AND NOT EXISTS (SELECT 1 FROM custom_domain WHERE domain = $3 AND verified_at IS NOT NULL)";
    if conn.run(mark, &[&tenant.0, &by.at.millis(), &name]).await? == 0 {
        return Ok(VerifiedDomain::Taken);
    }
    let before = audit::domain(&domain);
    domain.verified_at = Some(by.at);
    let change = Change::between(&before, &audit::domain(&domain));
    log::insert(conn, tenant, by, &name, &change).await?;
    Ok(VerifiedDomain::Verified(domain))
}

pub(super) async fn verified(conn: &Conn) -> Result<Vec<(DomainName, TenantNo)>, Fault> {
    let sql = "SELECT domain, tenant FROM custom_domain WHERE verified_at IS NOT NULL ORDER BY tenant";
    let pair = |row: &Row| Ok((domain_name(row.col(0)?)?, TenantNo(row.col(1)?)));
    conn.rows(sql, &[]).await?.iter().map(pair).collect()
}

/// `lock` is what stands behind the query.
pub(super) async fn find(
    conn: &Conn,
    tenant: TenantNo,
    lock: &'static str,
) -> Result<Option<CustomDomain>, Fault> {
    let sql = format!(
        "SELECT tenant, name, logo_url, domain, token, verified_at FROM custom_domain WHERE tenant = $1 {lock}"
    );
    conn.optional(&sql, &[&tenant.0]).await?.as_ref().map(custom_domain).transpose()
}

/// The columns of a domain as parameters 1 to 6.
struct DomainParams<'a> {
    domain: &'a CustomDomain,
    texts: [&'a str; 3],
    token: &'a [u8],
    verified_at: Option<i64>,
}

fn params(domain: &CustomDomain) -> DomainParams<'_> {
    let facts = &domain.facts;
    DomainParams {
        domain,
        texts: [facts.name.as_str(), facts.logo_url.as_str(), facts.domain.as_str()],
        token: domain.token.bytes(),
        verified_at: domain.verified_at.map(Timestamp::millis),
    }
}

impl DomainParams<'_> {
    fn as_params(&self) -> [&(dyn tokio_postgres::types::ToSql + Sync); 6] {
        let [name, logo_url, domain] = &self.texts;
        [&self.domain.tenant.0, name, logo_url, domain, &self.token, &self.verified_at]
    }
}

fn custom_domain(row: &Row) -> Result<CustomDomain, Fault> {
    let facts = DomainFacts {
        name: DisplayName::parse(row.col(1)?).map_err(|_| rows::corrupt("name of a domain"))?,
        logo_url: LogoUrl::parse(row.col(2)?).map_err(|_| rows::corrupt("logo of a domain"))?,
        domain: domain_name(row.col(3)?)?,
    };
    Ok(CustomDomain {
        tenant: TenantNo(row.col(0)?),
        facts,
        token: VerificationToken::from_bytes(row.bytes(4)?),
        verified_at: row.col::<Option<i64>>(5)?.map(Timestamp::from_millis),
    })
}

fn domain_name(text: String) -> Result<DomainName, StoreError> {
    DomainName::from_stored(text).ok_or(rows::corrupt("domain"))
}
