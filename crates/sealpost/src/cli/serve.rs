//! `sealpost serve`: the flags, one for each setting that may stand on a command line.

use clap::Args;

use super::client::{Exit, Failure};
use super::{StoreArgs, wrong_settings};
use crate::config::{self, Name};
use crate::serve::{self, ServeError};
use crate::telemetry;
use sealpost_store::StoreError;

/// Run the server
#[derive(Debug, Args)]
#[command(after_help = "\
Every flag but --config has a variable (--tls-cert is SEALPOST_TLS_CERT) and a key in sealpost.toml (tls.cert); the flag
wins over the variable, that over the file. SEALPOST_BOOTSTRAP_API_KEY, a secret, is a variable only.
On a new store the first admin key is put into admin.key in the data folder.")]
pub(super) struct ServeArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Address of the API [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Own TLS: the certificate chain (PEM)
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Own TLS: the key (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Networks of proxies whose X-Forwarded-* and Host count
    #[arg(long, value_name = "NETWORKS")]
    trusted_proxies: Option<String>,
    /// Address of an open listener for /metrics
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<String>,
    /// Which webhook URLs may be registered: strict or mattr [default: strict]
    #[arg(long, value_name = "POLICY")]
    url_policy: Option<String>,
    /// Networks that may be dialled although not public
    #[arg(long, value_name = "NETWORKS")]
    egress_allow: Option<String>,
    /// Plain http to this machine, for development: off or loopback [default: off]
    #[arg(long, value_name = "WHAT")]
    egress_http: Option<String>,
    /// Extra trust anchors for deliveries (PEM)
    #[arg(long, value_name = "FILE")]
    egress_ca: Option<String>,
    /// Name servers to ask instead of the system's: addresses, with a port or without
    #[arg(long, value_name = "ADDRS")]
    dns_servers: Option<String>,
    /// Waits between attempts [default: 10s,60s,360s]
    #[arg(long, value_name = "WAITS")]
    retry_intervals: Option<String>,
    /// Limit of one attempt [default: 3s]
    #[arg(long, value_name = "SPAN")]
    timeout: Option<String>,
    /// How long a signature is valid, or off [default: 300s]
    #[arg(long, value_name = "SPAN")]
    signature_expires: Option<String>,
    /// API calls of one tenant in a second, or off [default: off]
    #[arg(long, value_name = "N")]
    limit_requests_per_second: Option<String>,
    /// Events of one tenant in a second, or off [default: off]
    #[arg(long, value_name = "N")]
    limit_events_per_second: Option<String>,
    /// Webhooks of one tenant [default: 200000]
    #[arg(long, value_name = "N")]
    limit_webhooks: Option<String>,
    /// Bytes of one event's payload [default: 1048576]
    #[arg(long, value_name = "N")]
    limit_payload_bytes: Option<String>,
    /// How long analytic events are kept, or off [default: 30d]
    #[arg(long, value_name = "SPAN")]
    analytics_retention: Option<String>,
    /// How long a next key is published before it may sign [default: 30d]
    #[arg(long, value_name = "SPAN")]
    key_publish_ahead: Option<String>,
    /// How long a signing key signs before the next one takes its place by itself, or off [default: off]
    #[arg(long, value_name = "SPAN")]
    key_rotate_every: Option<String>,
    /// Tenants are reached at hosts below this domain
    #[arg(long, value_name = "DOMAIN")]
    base_domain: Option<String>,
    /// Where this server is reached, for links
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Takes tokens of this OpenID provider too, as its tokens spell it
    #[arg(long, value_name = "URL")]
    openid_issuer: Option<String>,
    /// What its tokens must be for
    #[arg(long, value_name = "TEXT")]
    openid_audience: Option<String>,
    /// Where its keys are [default: its discovery document says]
    #[arg(long, value_name = "URL")]
    openid_jwks_url: Option<String>,
    /// All its tokens are for this tenant
    #[arg(long, value_name = "TENANT")]
    openid_tenant: Option<String>,
    /// Each of its tokens names its tenant here [default: tenant_id]
    #[arg(long, value_name = "CLAIM")]
    openid_tenant_claim: Option<String>,
    /// Where its tokens hold the roles [default: roles]
    #[arg(long, value_name = "CLAIM")]
    openid_roles_claim: Option<String>,
    /// Its names for roles, such as webhook-ops=issuer
    #[arg(long, value_name = "NAME=ROLE,...")]
    openid_roles: Option<String>,
    /// People sign in to the console there as this client's users; its secret is SEALPOST_OPENID_CLIENT_SECRET
    #[arg(long, value_name = "ID")]
    openid_client_id: Option<String>,
    /// What is asked for them [default: openid]
    #[arg(long, value_name = "WORDS")]
    openid_scope: Option<String>,
    /// What is logged [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

pub(super) async fn run(args: ServeArgs) -> Result<(), Failure> {
    let mut flags = args.store.flags();
    for (name, value) in [
        (Name::Listen, args.listen),
        (Name::TlsCert, args.tls_cert),
        (Name::TlsKey, args.tls_key),
        (Name::TrustedProxies, args.trusted_proxies),
        (Name::MetricsListen, args.metrics_listen),
        (Name::UrlPolicy, args.url_policy),
        (Name::EgressAllow, args.egress_allow),
        (Name::EgressHttp, args.egress_http),
        (Name::EgressCa, args.egress_ca),
        (Name::DnsServers, args.dns_servers),
        (Name::RetryIntervals, args.retry_intervals),
        (Name::Timeout, args.timeout),
        (Name::SignatureExpires, args.signature_expires),
        (Name::LimitRequests, args.limit_requests_per_second),
        (Name::LimitEvents, args.limit_events_per_second),
        (Name::LimitWebhooks, args.limit_webhooks),
        (Name::LimitPayload, args.limit_payload_bytes),
        (Name::AnalyticsRetention, args.analytics_retention),
        (Name::KeyPublishAhead, args.key_publish_ahead),
        (Name::KeyRotateEvery, args.key_rotate_every),
        (Name::BaseDomain, args.base_domain),
        (Name::PublicUrl, args.public_url),
        (Name::OpenidIssuer, args.openid_issuer),
        (Name::OpenidAudience, args.openid_audience),
        (Name::OpenidJwksUrl, args.openid_jwks_url),
        (Name::OpenidTenant, args.openid_tenant),
        (Name::OpenidTenantClaim, args.openid_tenant_claim),
        (Name::OpenidRolesClaim, args.openid_roles_claim),
        (Name::OpenidRoles, args.openid_roles),
        (Name::OpenidClientId, args.openid_client_id),
        (Name::OpenidScope, args.openid_scope),
        (Name::Log, args.log),
    ] {
        flags.set(name, value);
    }
    let config = config::load(&flags).map_err(wrong_settings)?;
    telemetry::init(&config.log);
    serve::run(&config).await.map_err(|error| Failure::new(exit(&error), error.to_string()))
}

fn exit(error: &ServeError) -> Exit {
    match error {
        ServeError::File { .. } | ServeError::Egress(_) | ServeError::Store(StoreError::MasterKey(_)) => {
            Exit::Usage
        }
        ServeError::Store(StoreError::Locked { .. }) => Exit::Refused,
        ServeError::Listen { .. }
        | ServeError::Store(_)
        | ServeError::FirstKey { .. }
        | ServeError::AdminSocket { .. }
        | ServeError::Starts { .. }
        | ServeError::Signals(_) => Exit::Failed,
    }
}
