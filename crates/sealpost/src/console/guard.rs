//! Whether a request that would change something comes from a page of this console, and whether the way to it is safe.
//!
//! A browser says where a form was sent from. Pages ask for no referrer, so their own forms come with `Origin: null`, and
//! what tells them from a stranger's is `Sec-Fetch-Site`; where a browser does not send that, `Origin` must name us. Inside a
//! session the form's own token comes on top.

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderValue};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The request was sent by a page of `host`.
pub(super) fn is_from_here(headers: &HeaderMap, host: Option<&str>, secure: bool) -> bool {
    let one = |value: &HeaderValue| value.to_str().map(str::to_ascii_lowercase).unwrap_or_default();
    let site = headers.get(SEC_FETCH_SITE).map(one);
    let origin = headers.get(ORIGIN).map(one);
    let scheme = if secure { "https" } else { "http" };
    let ours = |origin: &str| host.is_some_and(|host| origin == format!("{scheme}://{host}"));
    match (site.as_deref(), origin.as_deref()) {
        (Some("same-origin"), None | Some("null")) => true,
        (Some("same-origin"), Some(origin)) => ours(origin),
        (Some(_), _) => false,
        (None, Some(origin)) => ours(origin),
        (None, None) => false,
    }
}

/// Passwords and sessions go over TLS; without it only on the way to this machine itself, by a name that no stranger's
/// page can have (a name of theirs may resolve to loopback too).
pub(super) fn is_safe_way(secure: bool, host: Option<&str>) -> bool {
    let loopback = |host: &str| {
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        matches!(name.map_or(host, |(name, _)| name), "localhost" | "127.0.0.1" | "[::1]")
    };
    secure || host.is_some_and(loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_send_forms() {
        for (site, origin, secure, taken) in [
            (Some("same-origin"), Some("https://a.example"), true, true),
            (Some("same-origin"), Some("null"), true, true),
            (Some("same-origin"), None, true, true),
            (None, Some("https://a.example"), true, true),
            (None, Some("http://a.example"), false, true),
            (None, Some("HTTPS://A.example"), true, true),
            (Some("same-origin"), Some("https://evil.example"), true, false),
            (Some("cross-site"), Some("https://a.example"), true, false),
            (Some("same-site"), Some("null"), true, false),
            (Some("none"), None, true, false),
            (None, Some("null"), true, false),
            (None, Some("https://a.example:8443"), true, false),
            (None, Some("http://a.example"), true, false),
            (None, Some("https://a.example.evil.example"), true, false),
            (None, None, true, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.insert(SEC_FETCH_SITE, HeaderValue::from_static(site));
            }
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_from_here(&headers, Some("a.example"), secure), taken, "{site:?} {origin:?}");
            assert!(
                site.is_some() || !is_from_here(&headers, None, secure),
                "a host that nobody named is not ours"
            );
        }
    }

    #[test]
    fn without_tls_only_this_machine_is_near_enough() {
        for (secure, host, safe) in [
            (true, Some("a.example"), true),
            (true, None, true),
            (false, Some("localhost:8080"), true),
            (false, Some("127.0.0.1:8080"), true),
            (false, Some("[::1]:8080"), true),
            (false, Some("[::1]"), true),
            (false, Some("localhost"), true),
            (false, Some("a.example"), false),
            (false, Some("localhost.evil.example"), false),
            (false, Some("127.0.0.1.evil.example:8080"), false),
            (false, None, false),
        ] {
            assert_eq!(is_safe_way(secure, host), safe, "{host:?}");
        }
    }
}
