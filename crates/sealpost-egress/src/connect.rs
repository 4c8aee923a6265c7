//! Dialling: from a vetted list of addresses to a TCP or TLS stream.
//!
//! Addresses are tried in turn within the deadline. Each one is judged again right before `connect`, and an
//! address that does not pass ends the dial, so a mistake above fails closed. TLS is 1.2 or 1.3 by rustls with
//! the provider named explicitly; the name checked is the stored host.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::address::{AddressRule, Verdict};
use crate::error::{ConnectFault, EgressError, Phase, RefusedAddress, Sent, TlsFault};
use crate::resolve::{RESOLVE_LIMIT, Resolver, is_localhost};
use crate::wire::Stream;

/// One address may not use up the time of those after it.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Resumable TLS sessions remembered, each a few KiB.
const TLS_SESSIONS: usize = 4_096;
const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Opens connections by the rule.
pub(crate) struct Dialer {
    pub(crate) rule: AddressRule,
    pub(crate) resolver: Resolver,
    pub(crate) tls: TlsConnector,
}

/// Which addresses a dial may reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reach {
    /// What the address rule lets through.
    Rule,
    /// This machine only, whatever the rule says (plain HTTP in development).
    Loopback,
}

/// A fresh connection, and whether TLS settled on HTTP/2.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) stream: Stream,
    pub(crate) http2: bool,
}

impl Dialer {
    /// Resolves, vets, connects and, if `tls`, shakes hands.
    pub(crate) async fn dial(
        &self,
        host: &Arc<str>,
        port: u16,
        tls: bool,
        reach: Reach,
        deadline: Instant,
    ) -> Result<Dialled, EgressError> {
        let addresses = self.vetted(host, reach, deadline).await?;
        let tcp = self.connect_any(host, &addresses, port, reach, deadline).await?;
        if !tls {
            return Ok(Dialled { stream: Stream::Plain(tcp), http2: false });
        }
        let name = server_name(host)
            .ok_or(EgressError::Tls { host: host.clone(), fault: TlsFault::NameMismatch })?;
        let shaken = timeout_at(deadline, self.tls.connect(name, tcp))
            .await
            .map_err(|_| timeout(host, Phase::Tls))?
            .map_err(|error| EgressError::Tls { host: host.clone(), fault: TlsFault::of(&error) })?;
        let http2 = shaken.get_ref().1.alpn_protocol() == Some(ALPN_H2);
        Ok(Dialled { stream: Stream::Tls(Box::new(shaken)), http2 })
    }

    /// The addresses of `host`, all of which may be dialled. One bad answer spoils the whole list: a name that
    /// mixes public and private addresses is an attack or a mistake, and never a receiver.
    async fn vetted(
        &self,
        host: &Arc<str>,
        reach: Reach,
        deadline: Instant,
    ) -> Result<Vec<IpAddr>, EgressError> {
        if reach == Reach::Loopback {
            return Ok(match host.parse() {
                Ok(literal) => vec![literal],
                Err(_) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            });
        }
        let limit = deadline.min(Instant::now() + RESOLVE_LIMIT);
        let mut addresses = self.resolver.resolve(host, limit).await.map_err(|fault| {
            if Instant::now() >= deadline {
                timeout(host, Phase::Resolve)
            } else {
                EgressError::Dns { host: host.clone(), fault }
            }
        })?;
        if is_localhost(host) {
            // We made this list ourselves; an operator who allows 127.0.0.0/8 alone means just that.
            let refused = addresses.first().copied();
            addresses.retain(|address| self.rule.judge(*address).may_dial());
            if let (true, Some(address)) = (addresses.is_empty(), refused) {
                return Err(refusal(host, address, "loopback"));
            }
            return Ok(addresses);
        }
        for address in &addresses {
            self.admit(host, *address, reach)?;
        }
        Ok(addresses)
    }

    fn admit(&self, host: &Arc<str>, address: IpAddr, reach: Reach) -> Result<(), EgressError> {
        match reach {
            Reach::Loopback if address.is_loopback() => Ok(()),
            Reach::Loopback => Err(refusal(host, address, "not loopback")),
            Reach::Rule => match self.rule.judge(address) {
                Verdict::Public | Verdict::Allowed => Ok(()),
                Verdict::Refused(block) => Err(refusal(host, address, block)),
            },
        }
    }

    async fn connect_any(
        &self,
        host: &Arc<str>,
        addresses: &[IpAddr],
        port: u16,
        reach: Reach,
        deadline: Instant,
    ) -> Result<TcpStream, EgressError> {
        let mut fault = ConnectFault::Unreachable;
        for (index, address) in addresses.iter().enumerate() {
            self.admit(host, *address, reach)?;
            let is_last = index + 1 == addresses.len();
            let limit = if is_last { deadline } else { deadline.min(Instant::now() + CONNECT_LIMIT) };
            match timeout_at(limit, connect(SocketAddr::new(*address, port))).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => fault = ConnectFault::of(&error),
                Err(_) if Instant::now() >= deadline => return Err(timeout(host, Phase::Connect)),
                Err(_) => fault = ConnectFault::TimedOut,
            }
        }
        Err(EgressError::Connect { host: host.clone(), fault })
    }
}

pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The name a certificate must carry. A host may be stored with a final dot; certificates never are.
pub(crate) fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned()).ok()
}

fn timeout(host: &Arc<str>, phase: Phase) -> EgressError {
    EgressError::Timeout { host: host.clone(), phase, sent: Sent::NotSent }
}

fn refusal(host: &Arc<str>, address: IpAddr, block: &'static str) -> EgressError {
    tracing::debug!(%host, %address, block, "address refused");
    EgressError::AddressRefused {
        host: host.clone(),
        reason: "it is not at a public address",
        address: RefusedAddress(Some(address)),
    }
}

/// Why trust anchors could not be loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TrustError {
    #[error("the extra trust anchors hold no usable certificate")]
    NoCertificate,
    #[error("the extra trust anchors are not valid PEM certificates")]
    Malformed,
    #[error("no trust anchors: this system has none and none were given")]
    Nothing,
    #[error("TLS could not be set up")]
    Setup,
}

/// The system's trust anchors (if `native`) and those in `extra_pem`. An empty result is for the caller to judge.
pub(crate) fn trust_anchors(native: bool, extra_pem: Option<&[u8]>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    if native {
        let loaded = rustls_native_certs::load_native_certs();
        if loaded.certs.is_empty() {
            tracing::warn!(errors = ?loaded.errors, "this system has no trust anchors");
        }
        roots.add_parsable_certificates(loaded.certs);
    }
    if let Some(pem) = extra_pem {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| TrustError::Malformed)?).map_err(|_| TrustError::Malformed)?;
            found = true;
        }
        if !found {
            return Err(TrustError::NoCertificate);
        }
    }
    Ok(roots)
}

pub(crate) fn tls_connector(roots: RootCertStore, http2: bool) -> Result<TlsConnector, TrustError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|_| TrustError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS);
    config.alpn_protocols =
        if http2 { vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec()] } else { vec![ALPN_HTTP1.to_vec()] };
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What no caller can bring about: a list that was never vetted.
    #[tokio::test]
    async fn an_unvetted_address_is_refused_right_before_connecting() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialer = Dialer {
            rule: AddressRule::default(),
            resolver: Resolver::new(Some(&[]), Path::new("")).unwrap(),
            tls: tls_connector(RootCertStore::empty(), true).unwrap(),
        };
        let deadline = Instant::now() + CONNECT_LIMIT;
        let addresses = [Ipv4Addr::LOCALHOST.into()];
        let dialled = dialer.connect_any(&"x.example".into(), &addresses, port, Reach::Rule, deadline).await;
        assert!(matches!(dialled, Err(EgressError::AddressRefused { .. })), "{dialled:?}");
        let public = [Ipv4Addr::new(93, 184, 215, 14).into()];
        let dialled = dialer.connect_any(&"x.example".into(), &public, port, Reach::Loopback, deadline).await;
        assert!(matches!(dialled, Err(EgressError::AddressRefused { .. })), "{dialled:?}");
        let allowed =
            dialer.connect_any(&"x.example".into(), &addresses, port, Reach::Loopback, deadline).await;
        assert!(allowed.is_ok(), "{allowed:?}");
    }
}
