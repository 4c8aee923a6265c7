//! Fetches a provider's keys: from the URL of the settings, or from where its discovery document says; and from the same
//! document where people sign in.
//!
//! The document must be its issuer's own (OpenID Connect Discovery, 4.3); where its keys are, only it says. Both
//! fetches together end at [`LIMIT`].

use std::time::Duration;

use http::uri::PathAndQuery;
use sealpost_core::openid::Provider;
use sealpost_egress::{DocumentFault, Documents, Place, Scheme};
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use super::jwks::{self, ProviderKey};

/// A caller waits for it.
const LIMIT: Duration = Duration::from_secs(5);
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Why a provider's keys are not known. Fit for the operator's log; nothing in it is the provider's own text.
#[derive(Debug, thiserror::Error)]
pub enum KeysFault {
    #[error("its discovery document: {0}")]
    Discovery(#[source] DocumentFault),
    #[error("its discovery document is not one: `issuer` and `jwks_uri` are needed")]
    NoDiscovery,
    #[error("its discovery document names another issuer")]
    OtherIssuer,
    #[error(
        "its discovery document names no `authorization_endpoint` and `token_endpoint` that are https URLs without user name and fragment"
    )]
    NoSignIn,
    #[error("its keys: {0}")]
    Keys(#[source] DocumentFault),
    #[error("the address of its keys is no https URL without user name and fragment")]
    Address,
    #[error("its keys are no JWKS")]
    NoJwks,
    #[error("it did not answer within {LIMIT:?}")]
    Late,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
}

/// Where people sign in, and where what they bring back is exchanged.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) authorization: Url,
    pub(super) token: Place,
}

pub(super) async fn endpoints(provider: &Provider, documents: &Documents) -> Result<Endpoints, KeysFault> {
    let asked = timeout(LIMIT, discovery(provider, documents)).await.map_err(|_| KeysFault::Late)??;
    sign_in(&asked, &provider.issuer).ok_or(KeysFault::NoSignIn)
}

pub(super) async fn keys(provider: &Provider, documents: &Documents) -> Result<Vec<ProviderKey>, KeysFault> {
    timeout(LIMIT, unhurried(provider, documents)).await.map_err(|_| KeysFault::Late)?
}

async fn unhurried(provider: &Provider, documents: &Documents) -> Result<Vec<ProviderKey>, KeysFault> {
    let jwks_url = match &provider.jwks_url {
        Some(url) => url.clone(),
        None => discovery(provider, documents).await?.jwks_uri,
    };
    let place = place(&jwks_url).ok_or(KeysFault::Address)?;
    let document = documents.fetch(&place, LIMIT).await.map_err(KeysFault::Keys)?;
    jwks::read(&document).ok_or(KeysFault::NoJwks)
}

async fn discovery(provider: &Provider, documents: &Documents) -> Result<Discovery, KeysFault> {
    let url = format!("{}{DISCOVERY}", provider.issuer.trim_end_matches('/'));
    let place = place(&url).ok_or(KeysFault::Address)?;
    let document = documents.fetch(&place, LIMIT).await.map_err(KeysFault::Discovery)?;
    read(&document, &provider.issuer)
}

fn read(document: &[u8], issuer: &str) -> Result<Discovery, KeysFault> {
    let discovery: Discovery = serde_json::from_slice(document).map_err(|_| KeysFault::NoDiscovery)?;
    if discovery.issuer == issuer { Ok(discovery) } else { Err(KeysFault::OtherIssuer) }
}

/// Plain http only where the issuer itself has it, which the settings allow on this machine alone.
fn sign_in(discovery: &Discovery, issuer: &str) -> Option<Endpoints> {
    let safe = |url: &Url| url.scheme() == "https" || issuer.starts_with("http://");
    let authorization = discovery.authorization_endpoint.as_deref()?;
    let token = place(discovery.token_endpoint.as_deref()?)?;
    place(authorization)?;
    let authorization = Url::parse(authorization).ok().filter(safe)?;
    (token.scheme == Scheme::Https || issuer.starts_with("http://"))
        .then_some(Endpoints { authorization, token })
}

/// Whether plain http may be spoken there, and to which addresses, egress says.
fn place(url: &str) -> Option<Place> {
    let url = Url::parse(url).ok()?;
    let scheme = match url.scheme() {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return None,
    };
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let target = match url.query() {
        None => PathAndQuery::try_from(url.path()),
        Some(query) => PathAndQuery::try_from(format!("{}?{query}", url.path())),
    };
    let port = url.port_or_known_default()?;
    bare.then_some(Place { scheme, host: url.host_str()?.into(), port, target: target.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_what_the_url_says_and_no_more() {
        for (url, said) in [
            ("https://id.example/realms/a/keys?v=1", "Https id.example:443 /realms/a/keys?v=1"),
            ("https://ID.example:8443", "Https id.example:8443 /"),
            ("http://localhost:9000/keys", "Http localhost:9000 /keys"),
            ("https://user@id.example/", "none"),
            ("https://id.example/#keys", "none"),
            ("file:///etc/passwd", "none"),
            ("/keys", "none"),
            ("", "none"),
        ] {
            let shown = place(url).map_or("none".into(), |place| {
                format!("{:?} {}:{} {}", place.scheme, place.host, place.port, place.target)
            });
            assert_eq!(shown, said, "{url}");
        }
    }

    #[test]
    fn a_discovery_document_speaks_for_its_own_issuer_only() {
        for (document, said) in [
            (
                r#"{"issuer":"https://id.example","jwks_uri":"https://x.example/k","more":1}"#,
                "https://x.example/k",
            ),
            (
                r#"{"issuer":"https://id.example/","jwks_uri":"k"}"#,
                "its discovery document names another issuer",
            ),
            (
                r#"{"issuer":"https://id.example"}"#,
                "its discovery document is not one: `issuer` and `jwks_uri` are needed",
            ),
            ("<html>", "its discovery document is not one: `issuer` and `jwks_uri` are needed"),
        ] {
            let read = read(document.as_bytes(), "https://id.example");
            let found = read.map_or_else(|e| e.to_string(), |discovery| discovery.jwks_uri);
            assert_eq!(found, said, "{document}");
        }
    }
    #[test]
    fn people_and_secrets_are_sent_to_https_only() {
        let found = |issuer: &str, authorization: Option<&str>, token: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let discovery = Discovery {
                issuer: issuer.into(),
                jwks_uri: String::new(),
                authorization_endpoint: own(authorization),
                token_endpoint: own(token),
            };
            sign_in(&discovery, issuer).is_some()
        };
        let (https, http) = (Some("https://id.example/a?p=1"), Some("http://localhost:9/a"));
        for (issuer, authorization, token, good) in [
            ("https://id.example", https, https, true),
            ("https://id.example", http, https, false),
            ("https://id.example", https, http, false),
            ("https://id.example", None, https, false),
            ("https://id.example", https, None, false),
            ("https://id.example", Some("javascript:alert(1)"), https, false),
            ("https://id.example", Some("https://id.example/#a"), https, false),
            ("https://id.example", https, Some("https://me:pw@id.example/"), false),
            ("http://localhost:9", http, http, true),
        ] {
            assert_eq!(found(issuer, authorization, token), good, "{issuer} {authorization:?} {token:?}");
        }
    }
}
