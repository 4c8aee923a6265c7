//! The names of all settings, and which of the four places gives each its value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::{Table, Value};

use super::ConfigError;

pub(super) const PREFIX: &str = "SEALPOST_";
/// The one section of which there may be several.
const OPENID: &str = "openid";

/// What the command line brings.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config_file: Option<PathBuf>,
    pub values: BTreeMap<Name, String>,
    pub api_key_file: Option<PathBuf>,
}

impl Flags {
    pub fn set(&mut self, name: Name, value: Option<String>) {
        if let Some(value) = value {
            self.values.insert(name, value);
        }
    }
}

macro_rules! settings {
    ($($name:ident $variable:literal $key:literal $flag:literal,)*) => {
        /// One setting.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Name {
            $($name,)*
        }

        impl Name {
            pub const ALL: &[Name] = &[$(Name::$name,)*];

            pub const fn variable(self) -> &'static str {
                match self { $(Name::$name => concat!("SEALPOST_", $variable),)* }
            }

            /// In the file; empty for what does not belong into a file.
            pub const fn key(self) -> &'static str {
                match self { $(Name::$name => $key,)* }
            }

            /// On the command line; empty for what does not belong there.
            pub const fn flag(self) -> &'static str {
                match self { $(Name::$name => $flag,)* }
            }
        }
    };
}

settings! {
    Listen "LISTEN" "listen" "--listen",
    TlsCert "TLS_CERT" "tls.cert" "--tls-cert",
    TlsKey "TLS_KEY" "tls.key" "--tls-key",
    TrustedProxies "TRUSTED_PROXIES" "trusted_proxies" "--trusted-proxies",
    MetricsListen "METRICS_LISTEN" "metrics.listen" "--metrics-listen",
    Store "STORE" "store" "--store",
    // Secrets: other users of the machine see command lines, and files are copied around.
    BootstrapApiKey "BOOTSTRAP_API_KEY" "" "",
    UrlPolicy "URL_POLICY" "url_policy" "--url-policy",
    EgressAllow "EGRESS_ALLOW" "egress.allow" "--egress-allow",
    EgressHttp "EGRESS_HTTP" "egress.http" "--egress-http",
    EgressCa "EGRESS_CA" "egress.ca" "--egress-ca",
    DnsServers "DNS_SERVERS" "dns.servers" "--dns-servers",
    RetryIntervals "RETRY_INTERVALS" "retry.intervals" "--retry-intervals",
    Timeout "TIMEOUT" "timeout" "--timeout",
    SignatureExpires "SIGNATURE_EXPIRES" "signature.expires" "--signature-expires",
    LimitRequests "LIMIT_REQUESTS_PER_SECOND" "limits.requests_per_second" "--limit-requests-per-second",
    LimitEvents "LIMIT_EVENTS_PER_SECOND" "limits.events_per_second" "--limit-events-per-second",
    LimitWebhooks "LIMIT_WEBHOOKS" "limits.webhooks" "--limit-webhooks",
    LimitPayload "LIMIT_PAYLOAD_BYTES" "limits.payload_bytes" "--limit-payload-bytes",
    AnalyticsRetention "ANALYTICS_RETENTION" "analytics.retention" "--analytics-retention",
    MasterKeyFile "MASTER_KEY_FILE" "master_key_file" "--master-key-file",
    KeyPublishAhead "KEY_PUBLISH_AHEAD" "key.publish_ahead" "--key-publish-ahead",
    KeyRotateEvery "KEY_ROTATE_EVERY" "key.rotate_every" "--key-rotate-every",
    BaseDomain "BASE_DOMAIN" "base_domain" "--base-domain",
    PublicUrl "PUBLIC_URL" "public_url" "--public-url",
    OpenidIssuer "OPENID_ISSUER" "openid.issuer" "--openid-issuer",
    OpenidAudience "OPENID_AUDIENCE" "openid.audience" "--openid-audience",
    OpenidJwksUrl "OPENID_JWKS_URL" "openid.jwks_url" "--openid-jwks-url",
    OpenidTenant "OPENID_TENANT" "openid.tenant" "--openid-tenant",
    OpenidTenantClaim "OPENID_TENANT_CLAIM" "openid.tenant_claim" "--openid-tenant-claim",
    OpenidRolesClaim "OPENID_ROLES_CLAIM" "openid.roles_claim" "--openid-roles-claim",
    OpenidRoles "OPENID_ROLES" "openid.roles" "--openid-roles",
    OpenidClientId "OPENID_CLIENT_ID" "openid.client_id" "--openid-client-id",
    // Other users of the machine see command lines.
    OpenidClientSecret "OPENID_CLIENT_SECRET" "openid.client_secret" "",
    OpenidScope "OPENID_SCOPE" "openid.scope" "--openid-scope",
    Log "LOG" "log" "--log",
    // Of commands that call a server.
    Server "SERVER" "server" "--server",
    ServerCa "SERVER_CA" "server_ca" "--server-ca",
    ApiKey "API_KEY" "" "--api-key",
}

/// A value and the place it came from, as the operator knows it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) text: String,
    pub(super) place: String,
}

/// The winning value of every setting that has one.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) found: BTreeMap<Name, Found>,
    /// Of `[[openid]]`, where the file lists several: the settings of each provider.
    pub(super) providers: Vec<BTreeMap<Name, Found>>,
    pub(super) api_key_file: Option<PathBuf>,
    pub(super) errors: Vec<ConfigError>,
}

/// Flag over environment over file. What nobody knows is an error: a misspelt setting must not be a default.
pub(super) fn merge(flags: &Flags, environment: &BTreeMap<String, String>, file: Option<&str>) -> Layers {
    let mut layers = Layers { api_key_file: flags.api_key_file.clone(), ..Layers::default() };
    if let Some(text) = file {
        layers.read_file(text);
    }
    for (variable, text) in environment {
        match Name::ALL.iter().find(|name| name.variable() == variable) {
            Some(name) => layers.put(*name, variable.clone(), text.clone()),
            None => layers.errors.push(ConfigError::UnknownVariable(variable.clone())),
        }
    }
    for (name, text) in &flags.values {
        layers.put(*name, name.flag().to_owned(), text.clone());
    }
    layers
}

impl Layers {
    fn put(&mut self, name: Name, place: String, text: String) {
        self.found.insert(name, Found { text, place });
    }

    fn read_file(&mut self, text: &str) {
        match text.parse::<Table>() {
            Ok(table) => self.read_table("", &table),
            // The message alone: the parser's picture of the place repeats the line, which may hold a secret.
            Err(error) => self.errors.push(ConfigError::Toml(error.message().to_owned())),
        }
    }

    fn read_table(&mut self, prefix: &str, table: &Table) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let name = Name::ALL.iter().find(|name| name.key() == path);
            let section = Name::ALL.iter().any(|name| name.key().starts_with(&format!("{path}.")));
            match (name, value) {
                (Some(name), value) => match text_of(value) {
                    Some(text) => self.put(*name, format!("`{path}`"), text),
                    None => self.errors.push(ConfigError::Value {
                        place: format!("`{path}`"),
                        problem: "must be a string, or an array of strings where several are meant".into(),
                    }),
                },
                (None, Value::Table(table)) if section => self.read_table(&path, table),
                (None, Value::Array(items)) if path == OPENID => self.read_providers(items),
                (None, _) => self.errors.push(ConfigError::UnknownKey(path)),
            }
        }
    }
}

impl Layers {
    /// Each is read as the one `[openid]` would be; only its place is another.
    fn read_providers(&mut self, items: &[Value]) {
        for (at, item) in items.iter().enumerate() {
            let Value::Table(table) = item else {
                self.errors.push(ConfigError::UnknownKey(format!("{OPENID}[{at}]")));
                continue;
            };
            let mut one = Layers::default();
            one.read_table(OPENID, table);
            let numbered = format!("`{OPENID}[{at}].");
            for found in one.found.values_mut() {
                found.place = found.place.replacen(&format!("`{OPENID}."), &numbered, 1);
            }
            self.providers.push(one.found);
            self.errors.extend(one.errors);
        }
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}
