//! The URL of a receiver: parsed once, judged by one of two policies, and from then on only this
//! value is stored, shown, signed and dialled.
//!
//! The rule (policy `mattr`): https, a host name instead of an address, no query, no fragment. Policy
//! `strict`, the default, also refuses spellings that parsers disagree about, names that are not public
//! and ports of other services. Which addresses may be dialled is decided later, per attempt, from what
//! the name resolves to; a URL that passes here may still be refused there.
//!
//! Path characters that receivers' parsers re-escape before they rebuild a signed request target are
//! percent-encoded here, so that both sides sign and verify the same bytes.

use std::fmt;

use url::{Host, Position, Url};

/// The longest URL `strict` takes, in bytes as serialised. Proxies and servers commonly refuse longer request lines.
pub const MAX_URL_BYTES: usize = 2048;
/// Host names and their labels end here because DNS does (RFC 1035, 2.3.4).
pub const MAX_HOST_BYTES: usize = 253;
pub const MAX_LABEL_BYTES: usize = 63;
/// Below this, `strict` takes only 443: the others belong to services that are not webhook receivers.
pub const FIRST_FREE_PORT: u16 = 1024;

/// Ports from 1024 that the Fetch Standard blocks, because services listen there that can be made to act on HTTP.
pub const BAD_PORTS: [u16; 19] = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679,
    6697, 10080,
];

/// Suffixes that never name a public receiver: reserved by RFC, or in common use inside private networks.
pub const LOCAL_SUFFIXES: [&str; 13] = [
    "localhost",
    "local",
    "internal",
    "arpa",
    "test",
    "invalid",
    "onion",
    "alt",
    "corp",
    "home",
    "lan",
    "localdomain",
    "svc",
];

/// Raw in a path, these break verifiers whose URL parser escapes them again. The parser leaves some of
/// them raw, depending on its version; after this list no version of it matters.
const ENCODED_IN_PATH: &[u8] = b"'|^`{}\"\\<>";

/// Which URLs may be registered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UrlPolicy {
    /// The rule and everything of ours on top.
    #[default]
    Strict,
    /// What MATTR VII documents, and nothing else.
    Mattr,
}

/// The policy and the two openings an operator can make for development.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UrlRules {
    pub policy: UrlPolicy,
    /// The networks that may be dialled cover loopback: `strict` also takes `localhost` and `*.localhost` on ports from 1024.
    pub allow_localhost: bool,
    /// `http://localhost:PORT` and `http://127.0.0.1:PORT` are taken under both policies.
    pub plain_http_loopback: bool,
}

/// Why a URL was refused. Each sentence says the one thing to change.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetUrlError {
    #[error("must be a valid absolute URL ({0})")]
    Invalid(String),
    #[error("must use https")]
    NotHttps,
    #[error("must not be an IP address")]
    IpAddress,
    #[error("must have a host")]
    NoHost,
    #[error("must not have a query")]
    Query,
    #[error("must not have a fragment")]
    Fragment,
    #[error("must not contain control characters")]
    ControlCharacter,
    #[error("must not contain a backslash")]
    Backslash,
    #[error("must not begin or end with white space")]
    OuterWhiteSpace,
    #[error("must begin with https:// and a host")]
    Slashes,
    #[error("must not contain a user name or password")]
    UserInfo,
    #[error("must not percent-encode its host")]
    EncodedHost,
    #[error(
        "must have a host name of letters, digits, hyphens and underscores in labels of 1 to 63 characters"
    )]
    HostLabel,
    #[error("must have a host name of at most 253 characters")]
    HostTooLong,
    #[error("must have a fully qualified host name")]
    SingleLabel,
    #[error("must have a host name under a public top-level domain")]
    TopLevelDomain,
    #[error("must not name a local or reserved host")]
    LocalName,
    #[error("must use port 443 or a port from 1024 that no other protocol uses")]
    Port,
    #[error("must use a port from 1024 that no other protocol uses: localhost is accepted only on those")]
    LocalPort,
    #[error("must be at most 2048 bytes long")]
    TooLong,
    #[error("must not encode control or text direction characters in its path")]
    HiddenCharacter,
    /// Not a caller's mistake: what was stored is not what the parser gives back.
    #[error("the stored URL is not in its serialised form")]
    NotAsStored,
}

/// A receiver's URL that passed its policy.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct TargetUrl {
    url: Url,
    /// The caller wrote no path, so the final `/` the parser added is not shown.
    bare: bool,
}

impl TargetUrl {
    /// Parses what a caller sent and applies the rules.
    pub fn parse(input: &str, rules: &UrlRules) -> Result<Self, TargetUrlError> {
        let parsed = Url::parse(input).map_err(|error| TargetUrlError::Invalid(error.to_string()))?;
        let plain_http = rules.plain_http_loopback && is_plain_loopback(input, &parsed);
        apply_rule(&parsed, plain_http)?;
        if rules.policy == UrlPolicy::Strict {
            check_spelling(input, parsed.scheme())?;
            if !plain_http {
                check_host(parsed.host_str().unwrap_or_default(), rules.allow_localhost)?;
                check_port(&parsed)?;
            }
        }
        let url = encode_path(parsed)?;
        if rules.policy == UrlPolicy::Strict {
            check_path(url.path())?;
            if url.as_str().len() > MAX_URL_BYTES {
                return Err(TargetUrlError::TooLong);
            }
        }
        let bare = url.path() == "/" && !wrote_a_path(input);
        Ok(Self { url, bare })
    }

    /// Takes back what [`as_str`](Self::as_str) and [`shown`](Self::shown) gave. The rules were applied
    /// at registration and are not applied again, so that a stricter setting does not silence webhooks.
    pub fn from_stored(serialised: &str, shown: &str) -> Result<Self, TargetUrlError> {
        let url = Url::parse(serialised).map_err(|error| TargetUrlError::Invalid(error.to_string()))?;
        let bare = serialised != shown;
        let shown_fits = !bare || (url.path() == "/" && serialised.strip_suffix('/') == Some(shown));
        if url.as_str() != serialised || !shown_fits {
            return Err(TargetUrlError::NotAsStored);
        }
        if url.host().is_none() {
            return Err(TargetUrlError::NoHost);
        }
        Ok(Self { url, bare })
    }

    /// The serialised form: stored, signed and dialled.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The form to show: a lone final `/` which the caller did not write is left out.
    pub fn shown(&self) -> &str {
        let text = self.url.as_str();
        if self.bare { text.strip_suffix('/').unwrap_or(text) } else { text }
    }

    /// `https`, or `http` for a loopback receiver in development.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// The host in its A-label form, lower-case.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The port to connect to, the scheme's default if none was written.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    /// The request target in origin form. There is never a query.
    pub fn request_target(&self) -> &str {
        self.url.path()
    }

    /// The `Host` header: host, and port unless it is the scheme's default.
    pub fn authority(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }
}

/// Paths and user names may hold secrets, so only the origin is printed.
impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetUrl({}://{}/..)", self.scheme(), self.authority())
    }
}

/// The rule both policies share.
fn apply_rule(url: &Url, plain_http: bool) -> Result<(), TargetUrlError> {
    if !plain_http {
        if url.scheme() != "https" {
            return Err(TargetUrlError::NotHttps);
        }
        match url.host() {
            Some(Host::Domain(_)) => {}
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(TargetUrlError::IpAddress),
            None => return Err(TargetUrlError::NoHost),
        }
    }
    // An empty `?` or `#` is `Some("")`, hence present.
    if url.query().is_some() {
        return Err(TargetUrlError::Query);
    }
    if url.fragment().is_some() {
        return Err(TargetUrlError::Fragment);
    }
    Ok(())
}

/// Only the two spellings an operator was promised: no other number, name or user before the port.
fn is_plain_loopback(input: &str, url: &Url) -> bool {
    let Some(rest) = strip_prefix_ignoring_case(input, "http://") else { return false };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, _) = rest.split_at(end);
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    url.scheme() == "http"
        && url.port_or_known_default() != Some(0)
        && (host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1")
        && matches!(url.host_str(), Some("localhost" | "127.0.0.1"))
}

/// Refuses spellings that parsers read differently, before anything the parser made of them counts.
fn check_spelling(input: &str, scheme: &str) -> Result<(), TargetUrlError> {
    if input.trim() != input {
        return Err(TargetUrlError::OuterWhiteSpace);
    }
    if input.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(TargetUrlError::ControlCharacter);
    }
    if input.contains('\\') {
        return Err(TargetUrlError::Backslash);
    }
    let rest = strip_prefix_ignoring_case(input, scheme)
        .and_then(|rest| rest.strip_prefix("://"))
        .ok_or(TargetUrlError::Slashes)?;
    if rest.is_empty() || rest.starts_with('/') {
        return Err(TargetUrlError::Slashes);
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(TargetUrlError::UserInfo);
    }
    if authority.contains('%') {
        return Err(TargetUrlError::EncodedHost);
    }
    Ok(())
}

/// Takes fully qualified public names only. `host` is lower-case and its A-labels were checked by the parser.
fn check_host(host: &str, allow_localhost: bool) -> Result<(), TargetUrlError> {
    if host.len() > MAX_HOST_BYTES {
        return Err(TargetUrlError::HostTooLong);
    }
    if !host.split('.').all(is_label) {
        return Err(TargetUrlError::HostLabel);
    }
    if allow_localhost && is_under(host, "localhost") {
        return Ok(());
    }
    if LOCAL_SUFFIXES.iter().any(|suffix| is_under(host, suffix)) {
        return Err(TargetUrlError::LocalName);
    }
    let Some((_, top)) = host.rsplit_once('.') else { return Err(TargetUrlError::SingleLabel) };
    if !top.starts_with("xn--") && !top.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(TargetUrlError::TopLevelDomain);
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// Whether `host` is `suffix` or a name below it.
fn is_under(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// A local receiver has no business on 443, which needs privileges and may be our own proxy.
fn check_port(url: &Url) -> Result<(), TargetUrlError> {
    let local = url.host_str().is_some_and(|host| is_under(host, "localhost"));
    match url.port_or_known_default() {
        Some(443) if !local => Ok(()),
        Some(port) if port >= FIRST_FREE_PORT && !BAD_PORTS.contains(&port) => Ok(()),
        _ if local => Err(TargetUrlError::LocalPort),
        _ => Err(TargetUrlError::Port),
    }
}

/// Encodes what [`ENCODED_IN_PATH`] lists. The result is parsed again: only the parser makes URLs.
fn encode_path(url: Url) -> Result<Url, TargetUrlError> {
    let path = url.path();
    if !path.bytes().any(|byte| ENCODED_IN_PATH.contains(&byte)) {
        return Ok(url);
    }
    let mut text = url[..Position::BeforePath].to_owned();
    for character in path.chars() {
        match u8::try_from(character) {
            Ok(byte) if ENCODED_IN_PATH.contains(&byte) => text.push_str(&format!("%{byte:02X}")),
            _ => text.push(character),
        }
    }
    Url::parse(&text).map_err(|error| TargetUrlError::Invalid(error.to_string()))
}

/// Refuses encoded characters that would hide or reorder what a person sees in a log or on a page.
fn check_path(path: &str) -> Result<(), TargetUrlError> {
    let decoded = decode_percent(path);
    if String::from_utf8_lossy(&decoded).chars().any(|c| c.is_control() || is_text_direction(c)) {
        return Err(TargetUrlError::HiddenCharacter);
    }
    Ok(())
}

fn is_text_direction(character: char) -> bool {
    matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn decode_percent(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex_value(*high) << 4 | hex_value(*low));
                rest = after;
            }
            _ => decoded.push(*first),
        }
    }
    decoded
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

/// Whether the caller wrote anything after the authority, read as the parser reads it.
fn wrote_a_path(input: &str) -> bool {
    let after_scheme = input.split_once(':').map_or("", |(_, rest)| rest);
    let is_slash = |c: char| matches!(c, '/' | '\\');
    let is_dropped = |c: char| matches!(c, '\t' | '\n' | '\r');
    after_scheme.trim_start_matches(|c| is_slash(c) || is_dropped(c)).contains(is_slash)
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}
