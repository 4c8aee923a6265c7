//! From texts to values that cannot be wrong, one refusal for each that can.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use sealpost_core::key_ring::{PUBLISH_AHEAD, PUBLISH_AHEAD_MIN};
use sealpost_core::limits as bound;
use sealpost_core::quota::{OwnQuota, Quota};
use sealpost_core::retry::RetryPolicy;
use sealpost_core::secret::Secret;
use sealpost_core::settings::{ServerDefaults, SignatureExpires};
use sealpost_core::target_url::UrlPolicy;
use sealpost_core::tenant::Subdomain;
use sealpost_core::time::Span;
use tracing::level_filters::LevelFilter;
use url::{Host, Url};

use super::layers::{Found, Layers, Name};
use super::openid;
use super::{
    BOOTSTRAP_KEY_CHARS_MIN, ClientConfig, Config, ConfigError, EgressSettings, KeySource, STORE_FILE,
    StorePlace, TlsFiles,
};

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
pub(super) const DATA_FOLDER: &str = "./sealpost-data";
/// A label and a dot go before it.
const BASE_DOMAIN_BYTES_MAX: usize = 253 - 64;
const DNS_PORT: u16 = 53;
/// A silent one costs time in every look-up.
const DNS_SERVERS_MAX: usize = 8;
/// A next key must be known before it signs, but not be planned for a time nobody remembers.
const PUBLISH_AHEAD_MAX: Duration = Duration::from_secs(365 * 86_400);
const ROTATE_EVERY_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// As long as a tenant's metadata is kept by default, which the other half of the analytic events is told from.
const ANALYTICS_RETENTION: Duration = Duration::from_secs(30 * 86_400);
const ANALYTICS_RETENTION_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(3600)..=Duration::from_secs(3650 * 86_400);

pub(super) struct Reader {
    pub(super) found: BTreeMap<Name, Found>,
    pub(super) errors: Vec<ConfigError>,
}

impl Reader {
    /// The parsed value, the default if nobody set it, and after an error something that is never used.
    pub(super) fn read<T>(
        &mut self,
        name: Name,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some(found) = self.found.get(&name) else { return default };
        match parse(&found.text) {
            Ok(value) => value,
            Err(problem) => {
                self.errors.push(ConfigError::Value { place: found.place.clone(), problem });
                default
            }
        }
    }

    pub(super) fn optional<T>(
        &mut self,
        name: Name,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(name, None, |text| parse(text).map(Some))
    }

    pub(super) fn contradiction(&mut self, sentence: impl Into<String>) {
        self.errors.push(ConfigError::Contradiction(sentence.into()));
    }
}

pub(super) fn check(layers: Layers) -> Result<Config, Vec<ConfigError>> {
    let api_key_file = layers.api_key_file;
    let mut from = Reader { found: layers.found, errors: layers.errors };
    let listen = from.read(Name::Listen, LISTEN, address);
    let cert = from.optional(Name::TlsCert, path);
    let key = from.optional(Name::TlsKey, path);
    let trusted_proxies = from.read(Name::TrustedProxies, Vec::new(), networks);
    let metrics_listen = from.optional(Name::MetricsListen, address);
    let store =
        from.read(Name::Store, StorePlace::Sqlite(Path::new(DATA_FOLDER).join(STORE_FILE)), store_place);
    let key_given = from.optional(Name::MasterKeyFile, path);
    if key_given.is_none() && store.is_shared() && !from.errors.iter().any(|e| is_of(e, Name::MasterKeyFile))
    {
        from.contradiction(
            "SEALPOST_MASTER_KEY_FILE must be set with PostgreSQL: every node needs the same file.",
        );
    }
    let master_key_file = key_given.unwrap_or_else(|| store.data_folder().join("master.key"));
    let bootstrap_api_key = from.optional(Name::BootstrapApiKey, bootstrap_key);
    let url_policy = from.read(Name::UrlPolicy, UrlPolicy::Strict, policy);
    let egress = EgressSettings {
        allow: from.read(Name::EgressAllow, Vec::new(), networks),
        plain_http_loopback: from.read(Name::EgressHttp, false, egress_http),
        ca: from.optional(Name::EgressCa, path),
        dns_servers: from.optional(Name::DnsServers, dns_servers),
    };
    let preset = ServerDefaults::default();
    let defaults = ServerDefaults {
        timeout_ms: from.read(Name::Timeout, preset.timeout_ms, timeout),
        retry: from.read(Name::RetryIntervals, preset.retry, retry),
        signature_expires: from.read(Name::SignatureExpires, preset.signature_expires, |text| {
            SignatureExpires::parse(text).map_err(str::to_owned)
        }),
    };
    let own = OwnQuota {
        requests_per_second: from.read(Name::LimitRequests, None, rate),
        events_per_second: from.read(Name::LimitEvents, None, rate),
        webhooks: from.optional(Name::LimitWebhooks, |text| up_to(text, bound::WEBHOOKS_PER_TENANT)),
        payload_bytes: from.optional(Name::LimitPayload, |text| up_to(text, bound::EVENT_BYTES)),
    };
    let quota = Quota::default().of(own);
    let analytics_retention =
        from.read(Name::AnalyticsRetention, Some(ANALYTICS_RETENTION), analytics_retention);
    let publish_ahead = from.read(Name::KeyPublishAhead, PUBLISH_AHEAD, publish_ahead);
    let rotate_every = from.read(Name::KeyRotateEvery, None, rotate_every);
    if rotate_every.is_some_and(|every| every < publish_ahead) {
        from.contradiction(
            "SEALPOST_KEY_ROTATE_EVERY must not be less than SEALPOST_KEY_PUBLISH_AHEAD: a next key may not sign before that.",
        );
    }
    let base_domain = from.optional(Name::BaseDomain, base_domain);
    let public_url = from.optional(Name::PublicUrl, own_url);
    let openid = openid::providers(&mut from, layers.providers, &egress, public_url.as_deref());
    let log = from.read(Name::Log, "info".to_owned(), log_filter);
    let server = from.optional(Name::Server, own_url);
    let server_ca = from.optional(Name::ServerCa, path);
    let given_key = from.optional(Name::ApiKey, api_key);

    let tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        (Some(_), None) => {
            from.contradiction(
                "SEALPOST_TLS_CERT needs SEALPOST_TLS_KEY: a certificate without its key serves nobody.",
            );
            None
        }
        (None, Some(_)) => {
            from.contradiction(
                "SEALPOST_TLS_KEY needs SEALPOST_TLS_CERT: a key without its certificate serves nobody.",
            );
            None
        }
    };
    // A refused value of these is an error already, and must not look like an absent one.
    let tls_meant = from.found.contains_key(&Name::TlsCert) || from.found.contains_key(&Name::TlsKey);
    let proxies_meant =
        !trusted_proxies.is_empty() || from.errors.iter().any(|error| is_of(error, Name::TrustedProxies));
    if !listen.ip().is_loopback() && !tls_meant && !proxies_meant {
        from.contradiction(format!(
            "Listening on {listen} would take API keys and credentials in the clear: set SEALPOST_TLS_CERT and \
             SEALPOST_TLS_KEY, or name the proxy in front in SEALPOST_TRUSTED_PROXIES."
        ));
    }
    if let Some(metrics) = metrics_listen
        && metrics.port() != 0
        && metrics.port() == listen.port()
        && (metrics.ip() == listen.ip() || metrics.ip().is_unspecified() || listen.ip().is_unspecified())
    {
        from.contradiction("SEALPOST_METRICS_LISTEN and SEALPOST_LISTEN must not be the same address.");
    }

    let server = match server {
        Some(url) => Url::parse(&url).ok(),
        None => default_server(listen, tls.is_some(), public_url.as_deref()),
    };
    let Some(server) = server else {
        from.contradiction("SEALPOST_SERVER must be set: the server's own address gives none.");
        return Err(from.errors);
    };
    // A key that was not named for it is never shown to another machine.
    let own_key = || match &bootstrap_api_key {
        Some(key) => KeySource::Given(key.clone()),
        None => KeySource::File(store.data_folder().join("admin.key")),
    };
    let key = match (api_key_file, given_key) {
        (Some(file), _) => Some(KeySource::File(file)),
        (None, Some(key)) => Some(KeySource::Given(key)),
        (None, None) => is_here(&server).then(own_key),
    };
    if !from.errors.is_empty() {
        return Err(from.errors);
    }
    Ok(Config {
        client: ClientConfig { server, key, ca: server_ca },
        listen,
        tls,
        trusted_proxies,
        metrics_listen,
        store,
        master_key_file,
        bootstrap_api_key,
        url_policy,
        egress,
        defaults,
        quota,
        analytics_retention,
        publish_ahead,
        rotate_every,
        openid,
        base_domain,
        public_url,
        log,
    })
}

fn is_of(error: &ConfigError, name: Name) -> bool {
    let places = [name.variable().to_owned(), format!("`{}`", name.key()), name.flag().to_owned()];
    matches!(error, ConfigError::Value { place, .. } if places.contains(place))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8080".into())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("must name a file".into()) } else { Ok(PathBuf::from(text)) }
}

/// The URL may hold a password, so a refusal does not repeat it.
fn store_place(text: &str) -> Result<StorePlace, String> {
    if text.starts_with("postgres:") || text.starts_with("postgresql:") {
        let checked = sealpost_store::postgres::OpenOptions::new(text, "").check();
        checked.map_err(|error| format!("is refused: {error}"))?;
        return Ok(StorePlace::Postgres(Secret::new(text.to_owned())));
    }
    let wanted = "must be sqlite: and the path of a file, such as sqlite:./sealpost-data/sealpost.db, or a \
                  postgres:// URL";
    let file = text.strip_prefix("sqlite:").map(PathBuf::from).ok_or(wanted)?;
    let in_memory = file.as_os_str() == ":memory:";
    if file.file_name().is_none() || in_memory || text.ends_with('/') || text.contains(['?', '\0']) {
        return Err(wanted.into());
    }
    Ok(StorePlace::Sqlite(file))
}

fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let single = item.parse::<IpAddr>().map(IpNet::from);
            item.parse::<IpNet>().map(|network| network.trunc()).or(single)
        })
        .collect::<Result<_, _>>()
        .map_err(|_| "must be networks separated by commas, such as 127.0.0.0/8,::1/128".into())
}

fn dns_servers(text: &str) -> Result<Vec<SocketAddr>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let servers: Option<Vec<SocketAddr>> = items
        .map(|item| {
            let bare = item.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
            item.parse::<SocketAddr>().or(bare).ok().filter(|server| server.port() != 0)
        })
        .collect();
    servers.filter(|servers| (1..=DNS_SERVERS_MAX).contains(&servers.len())).ok_or_else(|| {
        "must be 1 to 8 addresses separated by commas, such as 192.0.2.53,[2001:db8::53]:5353".into()
    })
}

fn bootstrap_key(text: &str) -> Result<Secret<String>, String> {
    if text.chars().count() < BOOTSTRAP_KEY_CHARS_MIN {
        return Err(format!("must be {BOOTSTRAP_KEY_CHARS_MIN} characters or more"));
    }
    api_key(text)
}

/// What an `Authorization` header can carry.
fn api_key(text: &str) -> Result<Secret<String>, String> {
    if !text.is_empty() && text.len() <= 1024 && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Secret::new(text.to_owned()))
    } else {
        Err("must be 1 to 1024 printable ASCII characters without spaces".into())
    }
}

fn policy(text: &str) -> Result<UrlPolicy, String> {
    match text {
        "strict" => Ok(UrlPolicy::Strict),
        "mattr" => Ok(UrlPolicy::Mattr),
        _ => Err("must be strict or mattr".into()),
    }
}

fn egress_http(text: &str) -> Result<bool, String> {
    match text {
        "off" => Ok(false),
        "loopback" => Ok(true),
        _ => Err("must be off or loopback".into()),
    }
}

fn span(text: &str) -> Result<Duration, String> {
    text.parse::<Span>().map(|span| span.0).map_err(|error| error.to_string())
}

fn timeout(text: &str) -> Result<u64, String> {
    let ms = span(text)?.as_millis();
    u64::try_from(ms)
        .ok()
        .filter(|ms| (bound::TIMEOUT_MS_MIN..=bound::TIMEOUT_MS_MAX).contains(ms))
        .ok_or_else(|| "must be at least 100ms and at most 30s".into())
}

fn rate(text: &str) -> Result<Option<NonZeroU32>, String> {
    match text {
        "off" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| "must be a whole number from 1, or off".into()),
    }
}

fn up_to(text: &str, most: usize) -> Result<NonZeroU32, String> {
    let number = text.parse::<NonZeroU32>().ok().filter(|number| number.get() as usize <= most);
    number.ok_or_else(|| format!("must be a whole number from 1 to {most}"))
}

/// Empty means no retries at all.
fn retry(text: &str) -> Result<RetryPolicy, String> {
    let items = text.split(',').map(str::trim);
    let waits = match text.trim() {
        "" => Vec::new(),
        _ => items
            .map(span)
            .collect::<Result<_, _>>()
            .map_err(|_| "must be 0 to 16 waits separated by commas, such as 10s,60s,360s".to_owned())?,
    };
    RetryPolicy::new(waits).map_err(|error| error.to_string())
}

fn publish_ahead(text: &str) -> Result<Duration, String> {
    let ahead = span(text)?;
    if (PUBLISH_AHEAD_MIN..=PUBLISH_AHEAD_MAX).contains(&ahead) {
        Ok(ahead)
    } else {
        Err("must be at least 24h and at most 365d".into())
    }
}

fn rotate_every(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "off" => Ok(None),
        _ => match span(text) {
            Ok(every) if (PUBLISH_AHEAD_MIN..=ROTATE_EVERY_MAX).contains(&every) => Ok(Some(every)),
            _ => Err("must be off, or at least 24h and at most 3650d".into()),
        },
    }
}

fn analytics_retention(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" {
        return Ok(None);
    }
    match span(text)? {
        kept if ANALYTICS_RETENTION_RANGE.contains(&kept) => Ok(Some(kept)),
        _ => Err("must be at least 1h and at most 3650d, or off".into()),
    }
}

fn base_domain(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let labels_fit = name.split('.').all(|label| label.parse::<Subdomain>().is_ok());
    // A last label of digits is what URL parsers take for an IPv4 address.
    let numeric_end = name.rsplit('.').next().is_none_or(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if name.len() <= BASE_DOMAIN_BYTES_MAX && labels_fit && !numeric_end {
        Ok(name)
    } else {
        Err("must be a domain name such as webhooks.example.com, without port or path".into())
    }
}

/// Where a server of ours is reached: https, or this machine. Returned without a final slash.
fn own_url(text: &str) -> Result<String, String> {
    let url =
        Url::parse(text).map_err(|_| "must be a URL such as https://webhooks.example.com".to_owned())?;
    match url.scheme() {
        "https" => {}
        "http" if is_here(&url) => {}
        _ => return Err("must begin with https:// unless it names this machine".into()),
    }
    if url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err("must not have a user name, password, query or fragment".into());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether a URL names this machine by what it says, without a look-up.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Where commands on the same machine find the server.
fn default_server(listen: SocketAddr, tls: bool, public_url: Option<&str>) -> Option<Url> {
    // A certificate names the public host, not the address.
    if let (true, Some(public)) = (tls, public_url) {
        return Url::parse(public).ok();
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if tls { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{}", SocketAddr::new(ip, listen.port()))).ok()
}

fn log_filter(text: &str) -> Result<String, String> {
    // A bare word would name a target, and so a misspelt level would silence everything else.
    let spans = text.contains(['[', '{']);
    let misspelt = text.split(',').map(str::trim).any(|part| {
        !spans && !part.is_empty() && !part.contains('=') && part.parse::<LevelFilter>().is_err()
    });
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) if !misspelt => Ok(text.to_owned()),
        _ => Err("must be a log filter such as info, or sealpost=debug,warn".into()),
    }
}
