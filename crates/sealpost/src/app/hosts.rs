//! What the host of a request says about the tenant; the faces read it the same way.

use sealpost_core::id::TenantNo;

/// What the host of a request says about the tenant.
#[derive(Clone, Debug, PartialEq)]
pub enum Host {
    /// No base domain is configured: every host that is nobody's is tenant `default`.
    Any,
    /// `{label}.<base domain>`
    Tenant(String),
    /// The verified custom domain of this tenant.
    Custom(TenantNo),
    /// A base domain is configured, and this host is neither below it nor a tenant's own.
    Elsewhere,
}

impl Host {
    /// Names below the base domain are the installation's: no custom domain takes them away.
    pub fn named(host: &str, base: Option<&str>, custom: impl FnOnce(&str) -> Option<TenantNo>) -> Self {
        let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let below = |base: &str| {
            let base = base.trim_end_matches('.').to_ascii_lowercase();
            name.strip_suffix(&base)?.strip_suffix('.').map(str::to_owned)
        };
        match (base.and_then(below), custom(&name), base) {
            (Some(label), _, _) => Host::Tenant(label),
            (None, Some(tenant), _) => Host::Custom(tenant),
            (None, None, Some(_)) => Host::Elsewhere,
            (None, None, None) => Host::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_a_tenant_below_the_base_domain_or_by_its_own_domain() {
        let tenant = |label: &str| Host::Tenant(label.into());
        let custom =
            |name: &str| matches!(name, "id.acme.example" | "x.posts.example").then_some(TenantNo(7));
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
            ("id.acme.example", Host::Custom(TenantNo(7))),
            ("ID.Acme.Example.:8443", Host::Custom(TenantNo(7))),
            ("www.id.acme.example", Host::Elsewhere),
            ("acme.example", Host::Elsewhere),
            ("x.posts.example", tenant("x")),
        ] {
            assert_eq!(Host::named(host, Some("posts.example"), custom), said, "{host}");
        }
        for (host, said) in [
            ("id.acme.example", Host::Custom(TenantNo(7))),
            ("acme.posts.example", Host::Any),
            ("", Host::Any),
        ] {
            assert_eq!(Host::named(host, None, custom), said, "{host}");
        }
    }
}
