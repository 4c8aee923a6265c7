//! The client of our own command line.
//!
//! It calls the server that the operator names, so the address rule does not apply and names go to the system's
//! resolver. Redirects are not followed and no proxy is used here either. One connection is kept between calls.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Uri};
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::connect::{TrustError, connect, server_name, tls_connector, trust_anchors};
use crate::error::{ConnectFault, DnsFault, EgressError, Phase, ProtocolFault, Sent, TlsFault};
use crate::gate::OpenGate;
use crate::http1::{BodyEnd, Exchange, Http1, is_unambiguous};
use crate::request::Scheme;
use crate::wire::Stream;

/// The largest answer read into memory.
pub const MAX_API_BODY: usize = 64 * 1024 * 1024;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the API is. `host` is a name or an address, an IPv6 one without brackets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiTarget {
    pub scheme: Scheme,
    pub host: Arc<str>,
    pub port: u16,
}

#[derive(Clone, Debug)]
pub struct ApiAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub struct ApiClient {
    target: ApiTarget,
    host: HeaderValue,
    tls: Option<TlsConnector>,
    timeout: Duration,
    idle: Mutex<Option<Box<Http1>>>,
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient").field("target", &self.target).finish_non_exhaustive()
    }
}

impl ApiClient {
    /// Over https the system's certificate authorities are trusted, and those in `ca_pem`.
    pub fn new(target: ApiTarget, ca_pem: Option<&[u8]>) -> Result<Self, TrustError> {
        let tls = match target.scheme {
            Scheme::Http => None,
            Scheme::Https => Some(tls_connector(trust_anchors(true, ca_pem)?, false)?),
        };
        let bracketed = target.host.contains(':');
        let host = match bracketed {
            true => format!("[{}]:{}", target.host, target.port),
            false => format!("{}:{}", target.host, target.port),
        };
        let host = HeaderValue::try_from(host).map_err(|_| TrustError::Setup)?;
        Ok(Self { target, host, tls, timeout: DEFAULT_TIMEOUT, idle: Mutex::new(None) })
    }

    /// The limit of one call, its whole answer included.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// One call. A kept connection found closed is replaced if nothing was sent over it.
    pub async fn request(
        &self,
        method: Method,
        path_and_query: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<ApiAnswer, EgressError> {
        let deadline = Instant::now() + self.timeout;
        let target: PathAndQuery =
            path_and_query.parse().map_err(|_| self.protocol(ProtocolFault::Malformed, Sent::NotSent))?;
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut reused = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.dial(deadline).await?,
        };
        loop {
            let mut request = http::Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = Uri::from(target.clone());
            *request.headers_mut() = headers;
            let head = match connection.exchange(request, Arc::new(OpenGate), reused, deadline).await {
                Exchange::Head(head) => head,
                Exchange::Unsent(returned) if reused => {
                    headers = returned;
                    reused = false;
                    connection = self.dial(deadline).await?;
                    continue;
                }
                Exchange::Unsent(_) | Exchange::Closed | Exchange::GateClosed => {
                    return Err(self.connect_error(ConnectFault::Closed));
                }
                Exchange::Failed(fault) => return Err(self.protocol(fault, Sent::MaybeSent)),
                Exchange::TimedOut { .. } => return Err(self.timed_out(Phase::Answer, Sent::MaybeSent)),
            };
            let (parts, body) = head.into_parts();
            let read = connection.read_body(body, MAX_API_BODY, deadline).await;
            match read.end {
                BodyEnd::Clean => {}
                BodyEnd::TooLong => return Err(self.protocol(ProtocolFault::BodyTooLarge, Sent::MaybeSent)),
                BodyEnd::Broken => {
                    return Err(self.protocol(ProtocolFault::BodyIncomplete, Sent::MaybeSent));
                }
                BodyEnd::Late => return Err(self.timed_out(Phase::Answer, Sent::MaybeSent)),
            }
            if is_unambiguous(&parts) && connection.may_be_reused().await {
                *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
            }
            return Ok(ApiAnswer { status: parts.status.as_u16(), headers: parts.headers, body: read.bytes });
        }
    }

    async fn dial(&self, deadline: Instant) -> Result<Box<Http1>, EgressError> {
        let host = &self.target.host;
        let dns = |fault| EgressError::Dns { host: host.clone(), fault };
        let addresses = timeout_at(deadline, tokio::net::lookup_host((&**host, self.target.port)))
            .await
            .map_err(|_| self.timed_out(Phase::Resolve, Sent::NotSent))?
            .map_err(|_| dns(DnsFault::Failed))?;
        let mut fault = None;
        let mut connected = None;
        for address in addresses {
            match timeout_at(deadline, connect(address)).await {
                Err(_) => return Err(self.timed_out(Phase::Connect, Sent::NotSent)),
                Ok(Err(error)) => fault = Some(ConnectFault::of(&error)),
                Ok(Ok(tcp)) => {
                    connected = Some(tcp);
                    break;
                }
            }
        }
        let tcp = match (connected, fault) {
            (Some(tcp), _) => tcp,
            (None, Some(fault)) => return Err(self.connect_error(fault)),
            (None, None) => return Err(dns(DnsFault::NoAddress)),
        };
        let stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some(tls) => {
                let refused = |fault| EgressError::Tls { host: host.clone(), fault };
                let name = server_name(host).ok_or_else(|| refused(TlsFault::NameMismatch))?;
                let shaken = timeout_at(deadline, tls.connect(name, tcp))
                    .await
                    .map_err(|_| self.timed_out(Phase::Tls, Sent::NotSent))?
                    .map_err(|error| refused(TlsFault::of(&error)))?;
                Stream::Tls(Box::new(shaken))
            }
        };
        let connection =
            Http1::handshake(stream).await.map_err(|_| self.connect_error(ConnectFault::Closed))?;
        Ok(Box::new(connection))
    }

    fn connect_error(&self, fault: ConnectFault) -> EgressError {
        EgressError::Connect { host: self.target.host.clone(), fault }
    }

    fn protocol(&self, fault: ProtocolFault, sent: Sent) -> EgressError {
        EgressError::Protocol { host: self.target.host.clone(), fault, sent }
    }

    fn timed_out(&self, phase: Phase, sent: Sent) -> EgressError {
        EgressError::Timeout { host: self.target.host.clone(), phase, sent }
    }
}
