//! The cookie that holds a session's token.
//!
//! Over TLS it has the `__Host-` prefix, so that no neighbouring host and no plain connection can set it. Without TLS,
//! which there is on loopback only, browsers refuse that prefix, and it has a plain name.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

const SECURE: &str = "__Host-sealpost-console";
const PLAIN: &str = "sealpost-console";

/// A `__Host-` cookie must be for all paths.
pub(super) fn set(token: &str, secure: bool) -> Option<HeaderValue> {
    let cookie = match secure {
        true => format!("{SECURE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict"),
        false => format!("{PLAIN}={token}; Path=/console; HttpOnly; SameSite=Strict"),
    };
    HeaderValue::from_str(&cookie).ok()
}

pub(super) const fn clear(secure: bool) -> HeaderValue {
    HeaderValue::from_static(match secure {
        true => "__Host-sealpost-console=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict",
        false => "sealpost-console=; Path=/console; Max-Age=0; HttpOnly; SameSite=Strict",
    })
}

/// The token a request brings; `None` also if there are two, of which one must be somebody else's.
pub(super) fn token(headers: &HeaderMap, secure: bool) -> Option<&str> {
    let wanted = if secure { SECURE } else { PLAIN };
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == wanted);
    match (found.next(), found.next()) {
        (Some((_, token)), None) if !token.is_empty() => Some(token),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_in_the_cookie_of_its_kind_and_once() {
        for (line, secure, taken) in [
            ("sealpost-console=a", false, Some("a")),
            ("x=1; sealpost-console=a; y=2", false, Some("a")),
            ("__Host-sealpost-console=a", true, Some("a")),
            ("sealpost-console=a", true, None),
            ("__Host-sealpost-console=a", false, None),
            ("sealpost-console=a; sealpost-console=b", false, None),
            ("sealpost-console=", false, None),
            ("xsealpost-console=a", false, None),
            ("", false, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, HeaderValue::from_static(line));
            assert_eq!(token(&headers, secure), taken, "{line}");
        }
    }
}
