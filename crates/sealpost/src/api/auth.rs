//! Who calls, and for which tenant: the API key or access token, the host, the roles.
//!
//! The credential names the tenant. A host that names one too (`{tenant}.<base domain>`, or a tenant's verified custom
//! domain) must name the same; without a base domain any other host is tenant `default`, and public calls take the
//! tenant from the host alone.

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use sealpost_core::id::TenantNo;
use sealpost_core::role::Permission;
use sealpost_core::tenant::{DEFAULT_TENANT, Tenant};

use super::face::Face;
use super::problem::Problem;
use super::route::Route;
use crate::app::App;
use crate::app::clients::Caller;
use crate::app::domains::VerifiedDomains;
pub(super) use crate::app::hosts::Host;
use crate::app::openid::TOKEN_BYTES_MAX;

/// A provider's token is the longest that is taken; no key of ours comes near it.
const KEY_BYTES_MAX: usize = TOKEN_BYTES_MAX;

/// Where Truvera's clients show a key, besides `Authorization`.
const TRUVERA_HEADERS: [&str; 2] = ["dock-api-token", "truvera-api-token"];

impl Host {
    pub(super) fn of(head: &Parts, base_domain: Option<&str>, domains: &VerifiedDomains) -> Self {
        if base_domain.is_none() && domains.is_empty() {
            return Host::Any;
        }
        let from_header = || head.headers.get(HOST)?.to_str().ok();
        let host =
            head.uri.authority().map(|authority| authority.as_str()).or_else(from_header).unwrap_or_default();
        Self::named(host, base_domain, |name| domains.tenant(name))
    }

    /// The tenant that the host names; `None` if it names none by itself.
    pub(super) async fn own_tenant(&self, app: &App) -> Result<Option<Tenant>, Problem> {
        match self {
            Host::Any | Host::Elsewhere => Ok(None),
            Host::Custom(tenant) => Ok(Some(app.tenant(*tenant).await?.tenant.clone())),
            Host::Tenant(label) => Ok(Some(app.tenant_by_name(label).await?.ok_or(Problem::not_found())?)),
        }
    }

    /// The tenant of a call without a credential.
    pub(super) async fn tenant(&self, app: &App) -> Result<TenantNo, Problem> {
        let name = match self {
            Host::Any => DEFAULT_TENANT,
            Host::Tenant(label) => label,
            Host::Custom(tenant) => return Ok(*tenant),
            Host::Elsewhere => return Err(Problem::not_found()),
        };
        Ok(app.tenant_by_name(name).await?.ok_or(Problem::not_found())?.no)
    }
}

/// Who was let in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Admitted {
    /// The call needs no credential.
    Anybody,
    Tenant(Caller),
    /// An operator of the installation, as the audit log names it.
    Operator(String),
}

/// Lets a call in, or says why not.
pub(super) async fn admit(
    app: &App,
    route: &Route,
    headers: &HeaderMap,
    host: &Host,
) -> Result<Admitted, Problem> {
    match route.needs {
        Permission::Public => return Ok(Admitted::Anybody),
        // The installation is not below any tenant's host: whichever was asked, the key decides.
        Permission::Operate => return operator(app, headers).await,
        _ => {}
    }
    let caller = match credential(Face::of(route.path), headers) {
        Some(key) => app.authenticate(key).await?,
        None => None,
    };
    let agrees = match (host, &caller) {
        (Host::Any | Host::Elsewhere, _) => true,
        (_, None) => false,
        (Host::Tenant(label), Some(caller)) => {
            app.tenant(caller.tenant).await?.tenant.subdomain.as_str() == label
        }
        (Host::Custom(tenant), Some(caller)) => caller.tenant == *tenant,
    };
    if !agrees {
        // A host that names nobody is 404 to everybody; otherwise the credential is not for this tenant.
        host.tenant(app).await?;
        return Err(Problem::Unauthorized);
    }
    let caller = caller.ok_or(Problem::Unauthorized)?;
    if route.may(caller.roles) { Ok(Admitted::Tenant(caller)) } else { Err(Problem::Forbidden) }
}

/// A tenant's key, however mighty there, is nobody here: 403, so that its owner learns which key is meant.
async fn operator(app: &App, headers: &HeaderMap) -> Result<Admitted, Problem> {
    let key = bearer(headers).ok_or(Problem::Unauthorized)?;
    if let Some(who) = app.authenticate_operator(key).await? {
        return Ok(Admitted::Operator(who));
    }
    Err(if app.authenticate(key).await?.is_some() { Problem::Forbidden } else { Problem::Unauthorized })
}

fn credential(face: Face, headers: &HeaderMap) -> Option<&str> {
    match face {
        Face::Mattr => bearer(headers),
        Face::Truvera => of_truvera(headers),
    }
}

/// Truvera's clients of different years show their key in different headers. The same key shown twice is one
/// credential; two keys are none, since nobody can tell which is meant.
fn of_truvera(headers: &HeaderMap) -> Option<&str> {
    let bearers = headers.get_all(AUTHORIZATION).iter().map(key);
    let own = TRUVERA_HEADERS.iter().flat_map(|name| headers.get_all(*name)).map(bare);
    let mut all = bearers.chain(own);
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

fn bare(value: &HeaderValue) -> Option<&str> {
    let key = value.to_str().ok()?.trim();
    (!key.is_empty() && key.len() <= KEY_BYTES_MAX).then_some(key)
}

/// The key of `Authorization: Bearer spk_...`; exactly one such header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    key(value)
}

fn key(value: &HeaderValue) -> Option<&str> {
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    // No look at the prefix: the bootstrap key is the operator's own string.
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() && key.len() <= KEY_BYTES_MAX).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_key_is_a_credential() {
        for (value, taken) in [
            ("Bearer spk_abc", Some("spk_abc")),
            ("bearer  spk_abc ", Some("spk_abc")),
            ("Bearer my-own-bootstrap-key-of-the-operator", Some("my-own-bootstrap-key-of-the-operator")),
            ("Bearer ", None),
            ("Bearer", None),
            ("spk_abc", None),
            ("Basic c3BrX2FiYzo=", None),
        ] {
            assert_eq!(key(&HeaderValue::from_static(value)), taken, "{value}");
        }
    }

    #[test]
    fn truveras_clients_show_one_key_in_one_of_three_headers() {
        const BEARER: &str = "authorization";
        const DOCK: &str = "dock-api-token";
        const TRUVERA: &str = "truvera-api-token";
        for (shown, taken) in [
            (&[][..], None),
            (&[(BEARER, "Bearer a")], Some("a")),
            (&[(DOCK, "a")], Some("a")),
            (&[(TRUVERA, " a ")], Some("a")),
            (&[(BEARER, "Bearer a"), (DOCK, "a"), (TRUVERA, "a")], Some("a")),
            (&[(BEARER, "Bearer a"), (DOCK, "b")], None),
            (&[(DOCK, "a"), (TRUVERA, "b")], None),
            (&[(DOCK, "a"), (DOCK, "b")], None),
            (&[(BEARER, "Basic a"), (DOCK, "a")], None),
            (&[(DOCK, ""), (TRUVERA, "a")], None),
            (&[(DOCK, "")], None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in shown {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(credential(Face::Truvera, &headers), taken, "{shown:?}");
            let elsewhere =
                if shown.iter().any(|(_, value)| *value == "Bearer a") { Some("a") } else { None };
            assert_eq!(credential(Face::Mattr, &headers), elsewhere, "{shown:?}");
        }
    }
}
