//! Settings: the one room that reads the environment and `sealpost.toml`.
//!
//! A setting is taken from the first place that has it: flag, environment, file, default. Whatever is unknown,
//! unsafe or contradictory is refused with one sentence each, all of them at once. [`parse`] is pure; [`load`] is
//! the thin shell around it that reads.

mod layers;
mod openid;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use sealpost_core::openid::Provider;
use sealpost_core::quota::Quota;
use sealpost_core::secret::Secret;
use sealpost_core::settings::ServerDefaults;
use sealpost_core::target_url::{UrlPolicy, UrlRules};
use url::Url;

pub use layers::{Flags, Name};

/// Read from the working directory if `--config` names no other.
pub const FILE: &str = "sealpost.toml";
/// A longer file is not ours.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Shorter ones can be guessed.
pub const BOOTSTRAP_KEY_CHARS_MIN: usize = 32;

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    /// Networks of proxies whose word about host, scheme and client counts.
    pub trusted_proxies: Vec<IpNet>,
    pub metrics_listen: Option<SocketAddr>,
    pub store: StorePlace,
    pub master_key_file: PathBuf,
    pub bootstrap_api_key: Option<Secret<String>>,
    pub url_policy: UrlPolicy,
    pub egress: EgressSettings,
    pub defaults: ServerDefaults,
    /// Limits of tenants that have none of their own.
    pub quota: Quota,
    /// How long analytic events are kept; `None`: there are none.
    pub analytics_retention: Option<Duration>,
    /// How long a next signing key is published before it may sign.
    pub publish_ahead: Duration,
    /// How long a signing key signs before it is rotated by itself.
    pub rotate_every: Option<Duration>,
    /// External providers whose tokens are taken.
    pub openid: Vec<Provider>,
    pub base_domain: Option<String>,
    /// Without a final slash.
    pub public_url: Option<String>,
    /// A `tracing` filter.
    pub log: String,
    pub client: ClientConfig,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressSettings {
    pub allow: Vec<IpNet>,
    pub plain_http_loopback: bool,
    pub ca: Option<PathBuf>,
    /// Asked instead of the system's name servers.
    pub dns_servers: Option<Vec<SocketAddr>>,
}

/// How the command line reaches a server.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Scheme, host, port; a path is a prefix of every call's path.
    pub server: Url,
    /// `None`: nobody named one, and the server is on another machine.
    pub key: Option<KeySource>,
    /// Extra trust anchors (PEM).
    pub ca: Option<PathBuf>,
}

/// Where the API key of a command comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    Given(Secret<String>),
    File(PathBuf),
}

/// One thing wrong with the settings, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} is not a setting of this release.")]
    UnknownVariable(String),
    #[error("`{0}` in the configuration file is not a setting of this release.")]
    UnknownKey(String),
    #[error("The configuration file cannot be understood: {0}.")]
    Toml(String),
    #[error("The configuration file {path} cannot be read: {why}.")]
    File { path: String, why: String },
    #[error("{place} {problem}.")]
    Value { place: String, problem: String },
    #[error("{0}")]
    Contradiction(String),
}

/// The embedded store's file in a data folder, unless it is named otherwise.
pub const STORE_FILE: &str = "sealpost.db";

/// Where everything is kept.
#[derive(Clone, Debug)]
pub enum StorePlace {
    /// The database file; its folder is the data folder.
    Sqlite(PathBuf),
    /// The URL, which may hold a password.
    Postgres(Secret<String>),
}

impl StorePlace {
    /// With PostgreSQL this process keeps little besides: its admin socket, and the first admin key.
    pub fn data_folder(&self) -> &Path {
        match self {
            StorePlace::Sqlite(file) => folder_of(file),
            StorePlace::Postgres(_) => Path::new(values::DATA_FOLDER),
        }
    }

    /// Whether other processes may use it at the same time.
    pub fn is_shared(&self) -> bool {
        matches!(self, StorePlace::Postgres(_))
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorePlace::Sqlite(file) => write!(f, "{}", file.display()),
            StorePlace::Postgres(_) => f.write_str("the PostgreSQL database"),
        }
    }
}

impl Config {
    pub fn data_folder(&self) -> &Path {
        self.store.data_folder()
    }

    /// Where the first admin key is put.
    pub fn admin_key_file(&self) -> PathBuf {
        self.data_folder().join("admin.key")
    }

    pub fn admin_socket(&self) -> PathBuf {
        self.data_folder().join("admin.sock")
    }

    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    pub fn url_rules(&self) -> UrlRules {
        UrlRules {
            policy: self.url_policy,
            allow_localhost: self.egress.covers_loopback(),
            plain_http_loopback: self.egress.plain_http_loopback,
        }
    }

    /// What an operator should be told at every start.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.egress.plain_http_loopback {
            warnings.push(
                "SEALPOST_EGRESS_HTTP=loopback: webhooks on this machine may be plain http; for development only"
                    .to_owned(),
            );
        }
        if !self.egress.allow.is_empty() {
            let networks: Vec<String> = self.egress.allow.iter().map(IpNet::to_string).collect();
            warnings.push(format!(
                "SEALPOST_EGRESS_ALLOW: deliveries may reach networks that are not public: {}",
                networks.join(", ")
            ));
        }
        warnings
    }
}

impl EgressSettings {
    /// Whether what `localhost` resolves to may be dialled.
    pub fn covers_loopback(&self) -> bool {
        let loopback = [std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
        self.allow
            .iter()
            .any(|network| loopback.iter().any(|address: &std::net::IpAddr| network.contains(address)))
    }
}

/// Reads the environment and the configuration file, and checks.
pub fn load(flags: &Flags) -> Result<Config, Vec<ConfigError>> {
    let (environment, mut errors) = environment();
    let file = match file(flags.config_file.as_deref()) {
        Ok(text) => text,
        Err(error) => {
            errors.push(error);
            None
        }
    };
    match parse(flags, &environment, file.as_deref()) {
        Ok(config) if errors.is_empty() => Ok(config),
        Ok(_) => Err(errors),
        Err(more) => {
            errors.extend(more);
            Err(errors)
        }
    }
}

/// Checks what was read. Pure.
pub fn parse(
    flags: &Flags,
    environment: &BTreeMap<String, String>,
    file: Option<&str>,
) -> Result<Config, Vec<ConfigError>> {
    values::check(layers::merge(flags, environment, file))
}

/// All variables that begin like ours.
fn environment() -> (BTreeMap<String, String>, Vec<ConfigError>) {
    let mut found = BTreeMap::new();
    let mut errors = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(layers::PREFIX)) else { continue };
        match value.into_string() {
            Ok(value) => drop(found.insert(name.to_owned(), value)),
            Err(_) => {
                errors.push(ConfigError::Value { place: name.to_owned(), problem: "must be UTF-8".into() });
            }
        }
    }
    (found, errors)
}

/// The text of the file; a missing one is an error only if somebody named it.
fn file(named: Option<&Path>) -> Result<Option<String>, ConfigError> {
    let path = named.unwrap_or(Path::new(FILE));
    let read = || -> io::Result<String> {
        let mut text = String::new();
        let mut file = io::Read::take(std::fs::File::open(path)?, FILE_BYTES_MAX);
        io::Read::read_to_string(&mut file, &mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConfigError::File { path: path.display().to_string(), why: error.to_string() }),
    }
}

pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
