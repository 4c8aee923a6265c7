//! The cookie that holds a session's token, and the one of a sign-in at an OpenID provider.
//!
//! The second comes back along a way from another site, which a strict one does not, and opens nothing by itself.
//!
//! Over TLS it has the `__Host-` prefix, so that no neighbouring host and no plain connection can set it. Without TLS,
//! which there is on loopback only, browsers refuse that prefix, and it has a plain name.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use crate::app::openid::HOLDS;

const SECURE: &str = "__Host-sealpost-console";
const PLAIN: &str = "sealpost-console";
const AWAY_SECURE: &str = "__Host-sealpost-openid";
const AWAY_PLAIN: &str = "sealpost-openid";

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

/// For a browser that goes to a provider, until it is back.
pub(super) fn set_away(token: &str, secure: bool) -> Option<HeaderValue> {
    let holds = HOLDS.as_secs();
    let cookie = match secure {
        true => format!("{AWAY_SECURE}={token}; Path=/; Max-Age={holds}; Secure; HttpOnly; SameSite=Lax"),
        false => {
            format!("{AWAY_PLAIN}={token}; Path=/console/sign-in; Max-Age={holds}; HttpOnly; SameSite=Lax")
        }
    };
    HeaderValue::from_str(&cookie).ok()
}

pub(super) const fn clear_away(secure: bool) -> HeaderValue {
    HeaderValue::from_static(match secure {
        true => "__Host-sealpost-openid=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax",
        false => "sealpost-openid=; Path=/console/sign-in; Max-Age=0; HttpOnly; SameSite=Lax",
    })
}

/// What a browser brings that was at a provider.
pub(super) fn away(headers: &HeaderMap, secure: bool) -> Option<&str> {
    one(headers, if secure { AWAY_SECURE } else { AWAY_PLAIN })
}

/// The token of a session that a request brings.
pub(super) fn token(headers: &HeaderMap, secure: bool) -> Option<&str> {
    one(headers, if secure { SECURE } else { PLAIN })
}

/// `None` also if there are two, of which one must be somebody else's.
fn one<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
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
