//! The settings of OpenID providers: one in the section `openid` (or in variables and flags), or a list in the file.

use std::collections::BTreeMap;

use sealpost_core::openid::{
    AUDIENCE_BYTES, ClaimName, Client, ISSUER_BYTES, Provider, ROLES_CLAIM, SCOPE, TENANT_CLAIM, TenantFrom,
    comes_from_outside,
};
use sealpost_core::role::Role;
use sealpost_core::secret::Secret;
use url::{Host, Url};

use super::layers::{Found, Name};
use super::values::Reader;
use super::{ConfigError, EgressSettings};

/// Each is asked for its keys; an installation has one, or a few while it moves from one to the next.
const PROVIDERS_MAX: usize = 16;
const ROLE_NAMES_MAX: usize = 100;
/// All of them go into one address.
const CLIENT_BYTES_MAX: usize = 255;
const SECRET_BYTES_MAX: usize = 1024;
const SCOPE_BYTES_MAX: usize = 1024;
const OF_ONE: [Name; 10] = [
    Name::OpenidIssuer,
    Name::OpenidAudience,
    Name::OpenidJwksUrl,
    Name::OpenidTenant,
    Name::OpenidTenantClaim,
    Name::OpenidRolesClaim,
    Name::OpenidRoles,
    Name::OpenidClientId,
    Name::OpenidClientSecret,
    Name::OpenidScope,
];

pub(super) fn providers(
    from: &mut Reader,
    listed: Vec<BTreeMap<Name, Found>>,
    egress: &EgressSettings,
    public_url: Option<&str>,
) -> Vec<Provider> {
    let mut one = BTreeMap::new();
    for name in OF_ONE {
        one.extend(from.found.remove_entry(&name));
    }
    let all = match (one.is_empty(), listed.is_empty()) {
        (true, _) => listed,
        (false, true) => vec![one],
        (false, false) => {
            from.contradiction(
                "SEALPOST_OPENID_ISSUER and its like describe one provider, and the configuration file lists several: \
                 put all of them into the file.",
            );
            return Vec::new();
        }
    };
    if all.len() > PROVIDERS_MAX {
        from.contradiction(format!("There may be at most {PROVIDERS_MAX} OpenID providers."));
    }
    let mut providers: Vec<Provider> = Vec::new();
    for found in all {
        let mut reader = Reader { found, errors: Vec::new() };
        let provider = provider(&mut reader, egress.plain_http_loopback);
        from.errors.append(&mut reader.errors);
        let Some(provider) = provider else { continue };
        if public_url.is_some_and(|own| own == provider.issuer.trim_end_matches('/')) {
            from.contradiction(format!(
                "The OpenID provider {} must not be SEALPOST_PUBLIC_URL, which issues tokens of its own.",
                provider.issuer
            ));
        }
        let same =
            |other: &Provider| (&other.issuer, &other.audience) == (&provider.issuer, &provider.audience);
        if providers.iter().any(same) {
            from.contradiction(format!(
                "The OpenID provider {} is listed twice with the same audience.",
                provider.issuer
            ));
        }
        if provider.client.is_some() && public_url.is_none() {
            from.contradiction(format!(
                "Signing in at the OpenID provider {} needs SEALPOST_PUBLIC_URL: it sends people back there.",
                provider.issuer
            ));
        }
        providers.push(provider);
    }
    providers
}

/// `None` after an error.
fn provider(from: &mut Reader, plain_http: bool) -> Option<Provider> {
    let place =
        from.found.values().next().map(|found| found.place.clone()).unwrap_or_else(|| "`openid`".into());
    let issuer = from.optional(Name::OpenidIssuer, |text| issuer(text, plain_http));
    let audience = from.optional(Name::OpenidAudience, audience);
    let jwks_url = from.optional(Name::OpenidJwksUrl, |text| public_url(text, plain_http));
    let tenant = from.optional(Name::OpenidTenant, tenant);
    let tenant_claim = from.optional(Name::OpenidTenantClaim, claim);
    let roles_claim = from.optional(Name::OpenidRolesClaim, claim);
    let role_names = from.read(Name::OpenidRoles, Vec::new(), role_names);
    let client = client(from);
    if from.found.contains_key(&Name::OpenidTenant) && from.found.contains_key(&Name::OpenidTenantClaim) {
        from.errors.push(ConfigError::Value {
            place: from.found[&Name::OpenidTenantClaim].place.clone(),
            problem: "must be left out where SEALPOST_OPENID_TENANT says whose all tokens are".into(),
        });
    }
    for needed in [Name::OpenidIssuer, Name::OpenidAudience] {
        if !from.found.contains_key(&needed) {
            let problem =
                format!("needs {}: an OpenID provider has an issuer and an audience", needed.variable());
            from.errors.push(ConfigError::Value { place: place.clone(), problem });
        }
    }
    let preset = |name: Option<ClaimName>, preset| name.or_else(|| ClaimName::parse(preset).ok());
    let tenant = match tenant {
        Some(tenant) => TenantFrom::All(tenant),
        None => TenantFrom::Claim(preset(tenant_claim, TENANT_CLAIM)?),
    };
    let (issuer, audience) = (issuer?, audience?);
    let roles_claim = preset(roles_claim, ROLES_CLAIM)?;
    from.errors.is_empty().then_some(Provider {
        issuer,
        audience,
        jwks_url,
        tenant,
        roles_claim,
        role_names,
        client,
    })
}

/// Name and secret, or neither; `None` also after an error.
fn client(from: &mut Reader) -> Option<Client> {
    let id = from.optional(Name::OpenidClientId, |text| printable(text, CLIENT_BYTES_MAX));
    let secret = from.optional(Name::OpenidClientSecret, |text| printable(text, SECRET_BYTES_MAX));
    let scope = from.read(Name::OpenidScope, SCOPE.to_owned(), scope);
    let needs = |name: Name, needed: Name, from: &mut Reader| {
        if let Some(found) = from.found.get(&name)
            && !from.found.contains_key(&needed)
        {
            let problem =
                format!("needs {}: people sign in through a client with its secret", needed.variable());
            from.errors.push(ConfigError::Value { place: found.place.clone(), problem });
        }
    };
    needs(Name::OpenidClientId, Name::OpenidClientSecret, from);
    needs(Name::OpenidClientSecret, Name::OpenidClientId, from);
    needs(Name::OpenidScope, Name::OpenidClientId, from);
    Some(Client { id: id?, secret: Secret::new(secret?), scope })
}

fn printable(text: &str, most: usize) -> Result<String, String> {
    if (1..=most).contains(&text.len()) && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {most} bytes without control characters"))
    }
}

/// RFC 6749, 3.3.
fn scope(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b == b' ' || (b.is_ascii_graphic() && !b"\"\\".contains(&b)));
    if plain && text.len() <= SCOPE_BYTES_MAX && text.split(' ').any(|word| word == SCOPE) {
        Ok(text.to_owned())
    } else {
        Err("must be words with spaces between, openid among them".into())
    }
}

/// Kept as it is written: tokens are compared with it byte by byte.
fn issuer(text: &str, plain_http: bool) -> Result<String, String> {
    let text = public_url(text, plain_http)?;
    if text.len() > ISSUER_BYTES {
        return Err(format!("must have at most {ISSUER_BYTES} bytes"));
    }
    if text.contains('?') { Err("must not have a query".into()) } else { Ok(text) }
}

/// What egress could ever fetch from.
fn public_url(text: &str, plain_http: bool) -> Result<String, String> {
    let url =
        Url::parse(text).map_err(|_| "must be a URL such as https://id.example.com/realms/a".to_owned())?;
    match (url.scheme(), url.host()) {
        ("https", Some(Host::Domain(_))) => {}
        ("https", _) => return Err("must name its host, not an address".into()),
        ("http", _) if plain_http && is_loopback(&url) => {}
        ("http", _) if is_loopback(&url) => {
            return Err("must begin with https:// unless SEALPOST_EGRESS_HTTP is loopback".into());
        }
        _ => return Err("must begin with https://".into()),
    }
    if text.contains('#')
        || text.contains(char::is_whitespace)
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err("must not have a user name, password, fragment or white space".into());
    }
    Ok(text.to_owned())
}

/// The two hosts that egress speaks plain http to.
fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1"))
}

fn audience(text: &str) -> Result<String, String> {
    if (1..=AUDIENCE_BYTES).contains(&text.len()) && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {AUDIENCE_BYTES} bytes"))
    }
}

fn tenant(text: &str) -> Result<String, String> {
    // An id has the letters of a subdomain.
    match text.parse::<sealpost_core::tenant::Subdomain>() {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err("must be a tenant's id or subdomain".into()),
    }
}

fn claim(text: &str) -> Result<ClaimName, String> {
    ClaimName::parse(text).map_err(|error| error.to_string())
}

/// `theirs=ours`; theirs may hold an equals sign, ours does not.
fn role_names(text: &str) -> Result<Vec<(String, Role)>, String> {
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.is_empty() || items.len() > ROLE_NAMES_MAX {
        return Err(format!(
            "must be 1 to {ROLE_NAMES_MAX} pairs such as webhook-ops=issuer, separated by commas"
        ));
    }
    items
        .into_iter()
        .map(|item| {
            let wanted = "must be pairs such as webhook-ops=issuer, separated by commas";
            let (theirs, ours) = item.rsplit_once('=').ok_or(wanted)?;
            let (theirs, ours) = (theirs.trim(), ours.trim());
            if theirs.is_empty() {
                return Err(wanted.to_owned());
            }
            let role: Role = ours.parse().map_err(|error| format!("maps to no role: {error}"))?;
            if comes_from_outside(role) {
                Ok((theirs.to_owned(), role))
            } else {
                Err("must not map to subscriber, who is bound to one webhook".to_owned())
            }
        })
        .collect()
}
