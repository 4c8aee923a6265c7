//! Our own resolver: names to addresses, once per dial.
//!
//! Every name is taken as absolute: no search domains, no hosts file, no mDNS. A and AAAA are both asked.
//! `localhost` names are answered here without a query (RFC 6761). Without usable name servers nothing fails at
//! start; look-ups then say so. A short positive cache follows the records' own lifetime, at most a minute;
//! since the caller judges every list before it dials, a cached answer is never trusted more than a fresh one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::time::{Instant, timeout_at};

use crate::error::DnsFault;

/// The longest one look-up may take, inside the attempt's own deadline.
pub(crate) const RESOLVE_LIMIT: Duration = Duration::from_secs(1);
/// One question to one server; two fit into the limit, so that a lost packet is not a failed attempt.
const QUERY_LIMIT: Duration = Duration::from_millis(450);
/// More aliases than any honest name needs.
const MAX_ALIASES: usize = 8;
/// More addresses than would ever be tried.
const MAX_ADDRESSES: usize = 32;
const LONGEST_CACHED: Duration = Duration::from_secs(60);
/// A name that was missing a moment ago may have been added since; retries begin at ten seconds.
const LONGEST_CACHED_ABSENCE: Duration = Duration::from_secs(5);
const CACHE_ENTRIES: u64 = 8_192;

/// Resolves names through the configured servers.
pub(crate) struct Resolver {
    /// Absent if no name server is known.
    servers: Option<TokioResolver>,
}

impl Resolver {
    /// Asks `nameservers` if given, else those in `resolv_conf`.
    pub(crate) fn new(nameservers: Option<&[SocketAddr]>, resolv_conf: &Path) -> Result<Self, NetError> {
        Ok(Self { servers: resolver(nameservers, resolv_conf, options())? })
    }

    /// All addresses of `host`, IPv4 first. The list is not judged yet.
    pub(crate) async fn resolve(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, DnsFault> {
        if is_localhost(host) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let resolver = self.servers.as_ref().ok_or(DnsFault::NoServers)?;
        let name = absolute(host)?;
        // A family whose servers stay silent does not take the other one down with it: what did not answer
        // is not dialled either.
        let (v4, v6) = tokio::join!(
            timeout_at(deadline, resolver.lookup(name.clone(), RecordType::A)),
            timeout_at(deadline, resolver.lookup(name, RecordType::AAAA)),
        );
        let v4 = v4.unwrap_or(Err(NetError::Timeout)).map_err(|error| fault(&error));
        let v6 = v6.unwrap_or(Err(NetError::Timeout)).map_err(|error| fault(&error));
        collect(v4, v6)
    }
}

/// What asks `nameservers` if given, else those in `resolv_conf`; `None` if there are none.
pub(crate) fn resolver(
    nameservers: Option<&[SocketAddr]>,
    resolv_conf: &Path,
    options: ResolverOpts,
) -> Result<Option<TokioResolver>, NetError> {
    let servers = match nameservers {
        Some(addresses) => addresses.iter().copied().map(name_server).collect(),
        None => system_servers(resolv_conf),
    };
    if servers.is_empty() {
        return Ok(None);
    }
    let config = ResolverConfig::from_name_servers(servers);
    let provider = TokioRuntimeProvider::default();
    TokioResolver::builder_with_config(config, provider).with_options(options).build().map(Some)
}

/// No search domains: what is asked for is exactly this name.
pub(crate) fn absolute(host: &str) -> Result<Name, DnsFault> {
    let mut name = Name::from_ascii(host).map_err(|_| DnsFault::InvalidName)?;
    name.set_fqdn(true);
    Ok(name)
}

/// RFC 6761: these names mean this machine and are nobody else's business.
pub(crate) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    last.eq_ignore_ascii_case("localhost")
}

fn collect(v4: Result<Lookup, DnsFault>, v6: Result<Lookup, DnsFault>) -> Result<Vec<IpAddr>, DnsFault> {
    let fault = match (&v4, &v6) {
        (Err(first), Err(second)) => worse(*first, *second),
        _ => DnsFault::NoAddress,
    };
    let mut found = Vec::new();
    for lookup in [v4, v6].into_iter().flatten() {
        let aliases = lookup.answers().iter().filter(|record| matches!(record.data, RData::CNAME(_))).count();
        if aliases > MAX_ALIASES {
            return Err(DnsFault::TooMuch);
        }
        found.extend(lookup.answers().iter().filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        }));
    }
    match found.len() {
        0 => Err(fault),
        1..=MAX_ADDRESSES => Ok(found),
        _ => Err(DnsFault::TooMuch),
    }
}

/// Of two faults the one worth telling: a server's trouble says more than a family that has no records.
fn worse(first: DnsFault, second: DnsFault) -> DnsFault {
    match (first, second) {
        (DnsFault::NoAddress, other) => other,
        (other, DnsFault::NoAddress | DnsFault::NoSuchName) => other,
        (DnsFault::NoSuchName, other) => other,
        (first, _) => first,
    }
}

pub(crate) fn fault(error: &NetError) -> DnsFault {
    match error {
        NetError::Timeout => DnsFault::TimedOut,
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => DnsFault::NoSuchName,
            ResponseCode::NoError => DnsFault::NoAddress,
            _ => DnsFault::Failed,
        },
        _ => DnsFault::Failed,
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn system_servers(resolv_conf: &Path) -> Vec<NameServerConfig> {
    let parsed = std::fs::read(resolv_conf).map_err(NetError::from).and_then(parse_resolv_conf);
    match parsed {
        Ok((config, _)) => config.name_servers().to_vec(),
        Err(NetError::Io(missing)) if missing.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, path = %resolv_conf.display(), "no name servers: look-ups will fail");
            Vec::new()
        }
    }
}

pub(crate) fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = QUERY_LIMIT;
    options.attempts = 1;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = CACHE_ENTRIES;
    options.positive_max_ttl = Some(LONGEST_CACHED);
    options.negative_max_ttl = Some(LONGEST_CACHED_ABSENCE);
    options.preserve_intermediates = true;
    options.try_tcp_on_error = true;
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_known_by_its_last_label() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("a.b.localhost", true),
            ("localhost.example", false),
            ("notlocalhost", false),
            ("", false),
        ] {
            assert_eq!(is_localhost(host), expected, "{host}");
        }
    }

    #[test]
    fn a_servers_trouble_outranks_a_family_without_records() {
        assert_eq!(worse(DnsFault::NoAddress, DnsFault::TimedOut), DnsFault::TimedOut);
        assert_eq!(worse(DnsFault::Failed, DnsFault::NoAddress), DnsFault::Failed);
        assert_eq!(worse(DnsFault::NoSuchName, DnsFault::NoSuchName), DnsFault::NoSuchName);
    }
}
