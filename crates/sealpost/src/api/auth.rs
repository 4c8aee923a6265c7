//! Who calls, and for which tenant: the API key or access token, the host, the roles.
//!
//! The credential names the tenant. A host `{tenant}.<base domain>` must name the same one; without a base domain
//! any host is tenant `default`, and public calls take the tenant from the host alone.

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use sealpost_core::id::TenantNo;
use sealpost_core::role::Permission;
use sealpost_core::tenant::{DEFAULT_TENANT, Tenant};

use super::problem::Problem;
use super::route::Route;
use crate::app::App;
use crate::app::clients::Caller;

/// An access token has some 700 bytes; no key of ours is longer, the operator's own bootstrap key may be.
const KEY_BYTES_MAX: usize = 4096;

/// What the host of a request says about the tenant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Host {
    /// No base domain is configured: every host is tenant `default`.
    Any,
    /// `{label}.<base domain>`
    Tenant(String),
    /// A base domain is configured and this host is not below it.
    Elsewhere,
}

impl Host {
    pub(super) fn of(head: &Parts, base_domain: Option<&str>) -> Self {
        let Some(base) = base_domain else { return Host::Any };
        let from_header = || head.headers.get(HOST)?.to_str().ok();
        let host =
            head.uri.authority().map(|authority| authority.as_str()).or_else(from_header).unwrap_or_default();
        Self::below(base, host)
    }

    fn below(base: &str, host: &str) -> Self {
        let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let base = base.trim_end_matches('.').to_ascii_lowercase();
        match name.strip_suffix(&base).and_then(|rest| rest.strip_suffix('.')) {
            Some(label) => Host::Tenant(label.to_owned()),
            None => Host::Elsewhere,
        }
    }

    /// The tenant that the host names; `None` if it names none by itself.
    pub(super) async fn named(&self, app: &App) -> Result<Option<Tenant>, Problem> {
        match self {
            Host::Any | Host::Elsewhere => Ok(None),
            Host::Tenant(label) => Ok(Some(app.tenant_by_name(label).await?.ok_or(Problem::not_found())?)),
        }
    }

    /// The tenant of a call without a credential.
    pub(super) async fn tenant(&self, app: &App) -> Result<TenantNo, Problem> {
        let name = match self {
            Host::Any => DEFAULT_TENANT,
            Host::Tenant(label) => label,
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
    let caller = match bearer(headers) {
        Some(key) => app.authenticate(key).await?,
        None => None,
    };
    if let Host::Tenant(label) = host {
        let agrees = match &caller {
            Some(caller) => app.tenant(caller.tenant).await?.tenant.subdomain.as_str() == label,
            None => false,
        };
        if !agrees {
            // A host that names nobody is 404 to everybody; otherwise the credential is not for this tenant.
            host.tenant(app).await?;
            return Err(Problem::Unauthorized);
        }
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
    fn a_host_below_the_base_domain_names_a_tenant() {
        let tenant = |label: &str| Host::Tenant(label.into());
        for (host, said) in [
            ("acme.posts.example", tenant("acme")),
            ("ACME.Posts.Example:8443", tenant("acme")),
            ("acme.posts.example.", tenant("acme")),
            ("a.b.posts.example", tenant("a.b")),
            (".posts.example", tenant("")),
            ("posts.example", Host::Elsewhere),
            ("acmeposts.example", Host::Elsewhere),
            ("127.0.0.1:8080", Host::Elsewhere),
            ("[::1]:8080", Host::Elsewhere),
            ("", Host::Elsewhere),
        ] {
            assert_eq!(Host::below("posts.example", host), said, "{host}");
        }
    }

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
}
