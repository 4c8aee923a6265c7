//! Who is on the other end, and which host was asked for: what the connection says, or what a trusted proxy says.
//!
//! Where trusted proxies are configured, only their word counts: a request from elsewhere names no host, so it
//! selects no tenant. Without them a peer speaks for itself, and forwarding headers are never read.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Uri, Version};
use ipnet::IpNet;

use crate::peer::ClientInfo;

/// No `Host` in HTTP/1.1, more than one, or one that is none (RFC 9112, 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHost;

/// Judges one request's head.
pub fn client_info(peer: IpAddr, tls: bool, head: &Parts, trusted: &[IpNet]) -> Result<ClientInfo, BadHost> {
    let peer = peer.to_canonical();
    let host = host(head)?;
    if trusted.is_empty() {
        return Ok(ClientInfo { peer, host, secure: tls });
    }
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&peer) {
        return Ok(ClientInfo { peer, host: None, secure: tls });
    }
    // Proxies append: of several words, the last is the one our own proxy added.
    let forwarded = |name: &str| list(&head.headers, name).next_back().map(str::to_owned);
    let host = match forwarded("x-forwarded-host") {
        Some(host) => Some(checked_host(&host).ok_or(BadHost)?),
        None => host,
    };
    let secure = forwarded("x-forwarded-proto").map_or(tls, |proto| proto.eq_ignore_ascii_case("https"));
    let mut client = peer;
    for hop in list(&head.headers, "x-forwarded-for").rev() {
        let Some(address) = address(hop) else { break };
        client = address;
        if !is_trusted(&address) {
            break;
        }
    }
    Ok(ClientInfo { peer: client, host, secure })
}

/// Leaves exactly one place that names the host, and that only if it counts.
pub fn apply(info: &ClientInfo, head: &mut Parts) {
    head.headers.remove(HOST);
    if let Some(host) = info.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()) {
        head.headers.insert(HOST, host);
    }
    let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    head.extensions.insert(info.clone());
}

fn host(head: &Parts) -> Result<Option<String>, BadHost> {
    let mut headers = head.headers.get_all(HOST).iter();
    let header = match (headers.next(), headers.next()) {
        (None, _) if head.version == Version::HTTP_11 => return Err(BadHost),
        (None, _) => None,
        (Some(value), None) => Some(value.to_str().map_err(|_| BadHost)?),
        (Some(_), Some(_)) => return Err(BadHost),
    };
    // HTTP/2, and absolute targets in HTTP/1.1, name it in the target, which then counts.
    match head.uri.authority().map(|authority| authority.as_str()).or(header) {
        None | Some("") => Ok(None),
        Some(host) => checked_host(host).map(Some).ok_or(BadHost),
    }
}

fn checked_host(text: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    (!text.is_empty() && text.len() <= 300 && text.bytes().all(fits)).then(|| text.to_ascii_lowercase())
}

/// The items of a list header, over all its lines.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> std::vec::IntoIter<&'a str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let items: Vec<&str> =
        lines.flat_map(|line| line.split(',')).map(str::trim).filter(|item| !item.is_empty()).collect();
    items.into_iter()
}

/// An address, perhaps with a port or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn seen(peer: &str, trusted: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let trusted: Vec<IpNet> =
            trusted.split_whitespace().map(|network| network.parse().unwrap()).collect();
        match client_info(peer.parse().unwrap(), false, &head, &trusted) {
            Err(BadHost) => "bad host".into(),
            Ok(info) => format!("{} {} {}", info.peer, info.host.as_deref().unwrap_or("-"), info.secure),
        }
    }

    const PROXIED: &[(&str, &str)] = &[
        ("host", "inner:8080"),
        ("x-forwarded-host", "spoofed.example, Acme.posts.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.0.0.7"),
    ];

    #[test]
    fn only_trusted_proxies_speak_for_others() {
        for (peer, trusted, target, headers, said) in [
            ("127.0.0.1", "", "/", PROXIED, "127.0.0.1 inner:8080 false"),
            ("10.0.0.1", "10.0.0.0/8", "/", PROXIED, "203.0.113.9 acme.posts.example true"),
            ("::ffff:10.0.0.1", "10.0.0.0/8", "/", PROXIED, "203.0.113.9 acme.posts.example true"),
            ("192.0.2.1", "10.0.0.0/8", "/", PROXIED, "192.0.2.1 - false"),
            (
                "10.0.0.1",
                "10.0.0.0/8",
                "/",
                &[("host", "acme.posts.example")],
                "10.0.0.1 acme.posts.example false",
            ),
            (
                "10.0.0.1",
                "10.0.0.0/8",
                "/",
                &[("host", "a"), ("x-forwarded-for", "[2001:db8::1]:443")],
                "2001:db8::1 a false",
            ),
            (
                "10.0.0.1",
                "10.0.0.0/8",
                "/",
                &[("host", "a"), ("x-forwarded-for", "unknown, 10.0.0.2")],
                "10.0.0.2 a false",
            ),
            ("127.0.0.1", "", "/", &[], "bad host"),
            ("127.0.0.1", "", "http://a.example/x", &[], "bad host"),
            ("10.0.0.1", "10.0.0.0/8", "/", &[("x-forwarded-host", "a")], "bad host"),
            ("127.0.0.1", "", "http://a.example/x", &[("host", "b.example")], "127.0.0.1 a.example false"),
            ("127.0.0.1", "", "/", &[("host", "a"), ("host", "b")], "bad host"),
            ("127.0.0.1", "", "/", &[("host", "a b")], "bad host"),
        ] {
            assert_eq!(seen(peer, trusted, target, headers), said, "{peer} {headers:?}");
        }
    }

    #[test]
    fn only_http_1_1_must_send_a_host_header() {
        for (version, target, said) in [
            (Version::HTTP_10, "/", Ok(None)),
            (Version::HTTP_11, "/", Err(BadHost)),
            (Version::HTTP_2, "https://a.example/", Ok(Some("a.example".to_owned()))),
        ] {
            let (head, ()) = Request::get(target).version(version).body(()).unwrap().into_parts();
            assert_eq!(host(&head), said, "{version:?}");
        }
    }

    #[test]
    fn what_does_not_count_is_taken_away() {
        let request = Request::get("http://a.example/x?y").header("host", "b.example").body(()).unwrap();
        let mut head = request.into_parts().0;
        apply(&ClientInfo { peer: IpAddr::from([1, 1, 1, 1]), host: None, secure: true }, &mut head);
        assert_eq!((head.uri.to_string().as_str(), head.headers.get(HOST)), ("/x?y", None));
    }
}
