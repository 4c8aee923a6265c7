//! One attempt: take or open a connection, send, read a bounded answer.
//!
//! The whole attempt up to the answer's head ends at its deadline. Request bytes go to at most one connection: a
//! pooled one found closed is replaced only while nothing was written and the gate was not asked.

use std::fmt;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::net::NetError;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{StatusCode, Uri, Version};
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};

use crate::address::AddressRule;
use crate::code_exchange::CodeExchange;
use crate::config::{ConfigError, EgressConfig};
use crate::connect::{Dialer, Reach, TrustError, tls_connector, trust_anchors};
use crate::documents::Documents;
use crate::error::{ConnectFault, EgressError, Phase, ProtocolFault, RefusedAddress, Sent};
use crate::http1::{BodyEnd, Excerpt, Exchange, Http1, SUCCESS_BODY_LIMIT, is_unambiguous};
use crate::http2::{Http2, Lease};
use crate::pool::{Key, Pool, Taken};
use crate::request::{Answer, Outbound, Reads, Request, Scheme};
use crate::resolve::Resolver;
use crate::txt::TxtLookup;

/// How much of an answer's body is kept; the log has no use for more.
pub const MAX_EXCERPT: usize = 16 * 1024;
/// Closed connections an attempt gets past before it dials.
const MAX_STALE: usize = 4;
/// A `Retry-After` longer than this is no date and no number.
const MAX_RETRY_AFTER: usize = 64;

/// The door itself. Cheap to share behind an `Arc`.
pub struct Egress {
    dialer: Dialer,
    pool: Arc<Pool>,
    txt: TxtLookup,
    plain_http_loopback: bool,
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("connections", &self.pool.len()).finish_non_exhaustive()
    }
}

impl Egress {
    pub fn new(config: EgressConfig) -> Result<Self, ConfigError> {
        let roots = trust_anchors(config.native_roots, config.extra_ca_pem.as_deref())?;
        if roots.is_empty() && !config.plain_http_loopback {
            return Err(TrustError::Nothing.into());
        }
        let (nameservers, resolv_conf) = (config.nameservers.as_deref(), &config.resolv_conf);
        let unusable = |error: NetError| ConfigError::Resolver(error.to_string());
        let resolver = Resolver::new(nameservers, resolv_conf).map_err(unusable)?;
        let txt = TxtLookup::new(nameservers, resolv_conf).map_err(unusable)?;
        let dialer =
            Dialer { rule: AddressRule { allow: config.allow }, resolver, tls: tls_connector(roots, true)? };
        Ok(Self { dialer, pool: Arc::default(), txt, plain_http_loopback: config.plain_http_loopback })
    }

    /// For who proves names and sends nothing.
    pub fn txt_lookup(&self) -> TxtLookup {
        self.txt.clone()
    }

    /// For who reads what somebody publishes and delivers nothing.
    pub fn documents(self: &Arc<Self>) -> Documents {
        Documents::over(Arc::clone(self) as Arc<dyn Outbound>)
    }

    /// For who exchanges codes of OpenID providers.
    pub fn code_exchange(self: &Arc<Self>) -> CodeExchange {
        CodeExchange::over(Arc::clone(self) as Arc<dyn Outbound>)
    }

    /// Connections kept for later use, for metrics.
    pub fn connections(&self) -> usize {
        self.pool.len()
    }

    /// Which addresses this request may reach, if it may be made at all.
    fn reach(&self, request: &Request) -> Result<Reach, EgressError> {
        let refuse = |reason| EgressError::AddressRefused {
            host: request.host.clone(),
            reason,
            address: RefusedAddress(None),
        };
        match request.scheme {
            Scheme::Https if is_address(&request.host) => {
                Err(refuse("its host is an address and not a name"))
            }
            Scheme::Https => Ok(Reach::Rule),
            Scheme::Http if !self.plain_http_loopback => Err(refuse("only https is allowed")),
            Scheme::Http if matches!(&*request.host, "localhost" | "127.0.0.1") => Ok(Reach::Loopback),
            Scheme::Http => Err(refuse("plain http is allowed to localhost and 127.0.0.1 only")),
        }
    }
}

#[async_trait]
impl Outbound for Egress {
    async fn send(&self, mut request: Request) -> Result<Answer, EgressError> {
        let began = Instant::now();
        let reach = self.reach(&request)?;
        let headers = mem::take(&mut request.headers);
        if headers.keys().any(is_ours) {
            return Err(EgressError::Protocol {
                host: request.host,
                fault: ProtocolFault::RequestHeader,
                sent: Sent::NotSent,
            });
        }
        let key = Key {
            scope: request.pool,
            scheme: request.scheme,
            host: request.host.clone(),
            port: request.port,
        };
        let deadline = began + request.timeout;
        Attempt { egress: self, request, key, began, deadline }.run(reach, headers).await
    }
}

/// One call of `send` while it lasts.
struct Attempt<'a> {
    egress: &'a Egress,
    request: Request,
    key: Key,
    began: Instant,
    deadline: Instant,
}

impl Attempt<'_> {
    async fn run(self, reach: Reach, mut headers: HeaderMap) -> Result<Answer, EgressError> {
        for _ in 0..MAX_STALE {
            let Some(taken) = self.egress.pool.take(&self.key, self.began) else { break };
            let ended = match taken {
                Taken::Http1(connection) => self.over_http1(connection, headers, true).await,
                Taken::Http2(lease) => self.over_http2(lease, headers, true).await,
            };
            match ended {
                Ended::Answered(answer) => return Ok(answer),
                Ended::Failed(error) => return Err(error),
                Ended::Unsent(returned) => headers = returned,
            }
        }
        let request = &self.request;
        let tls = request.scheme == Scheme::Https;
        let dialled = self.egress.dialer.dial(&request.host, request.port, tls, reach, self.deadline).await?;
        let ended = if dialled.http2 {
            let shared = timeout_at(self.deadline, Http2::handshake(dialled.stream))
                .await
                .map_err(|_| self.timed_out(false, false))?
                .map_err(|fault| self.protocol(fault, Sent::NotSent))?;
            let lease = self.egress.pool.share(self.key.clone(), shared).ok_or_else(|| self.closed())?;
            self.over_http2(lease, headers, false).await
        } else {
            let connection = Http1::handshake(dialled.stream).await.map_err(|_| self.closed())?;
            self.over_http1(Box::new(connection), headers, false).await
        };
        match ended {
            Ended::Answered(answer) => Ok(answer),
            Ended::Failed(error) => Err(error),
            Ended::Unsent(_) => Err(self.closed()),
        }
    }

    async fn over_http1(&self, mut connection: Box<Http1>, mut headers: HeaderMap, reused: bool) -> Ended {
        let request = &self.request;
        let Some(host) = host_header(request) else {
            return Ended::Failed(self.protocol(ProtocolFault::RequestHeader, Sent::NotSent));
        };
        headers.insert(header::HOST, host);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut outgoing = http::Request::new(Full::new(request.body.clone()));
        *outgoing.method_mut() = request.method.clone();
        *outgoing.uri_mut() = Uri::from(request.target.clone());
        *outgoing.headers_mut() = headers;

        let exchange = connection.exchange(outgoing, request.gate.clone(), reused, self.deadline).await;
        let head = match self.head(exchange) {
            Ok(head) => head,
            Err(ended) => return ended,
        };
        let took = self.began.elapsed();
        let (parts, body) = head.into_parts();
        let excerpt = connection.read_body(body, self.body_limit(), self.body_deadline(parts.status)).await;
        let clean = excerpt.end == BodyEnd::Clean && is_unambiguous(&parts);
        if clean && connection.may_be_reused().await {
            self.egress.pool.put(self.key.clone(), connection, Instant::now());
        }
        Ended::Answered(answer(parts, excerpt, took, reused))
    }

    async fn over_http2(&self, lease: Lease, mut headers: HeaderMap, reused: bool) -> Ended {
        let request = &self.request;
        let Some(uri) = absolute_uri(request) else {
            return Ended::Failed(self.protocol(ProtocolFault::RequestHeader, Sent::NotSent));
        };
        headers.remove(header::HOST);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut outgoing = http::Request::new(request.body.clone());
        *outgoing.method_mut() = request.method.clone();
        *outgoing.uri_mut() = uri;
        *outgoing.version_mut() = Version::HTTP_2;
        *outgoing.headers_mut() = headers;

        let exchange = lease.exchange(outgoing, &request.gate, self.deadline).await;
        let head = match self.head(exchange) {
            Ok(head) => head,
            Err(ended) => return ended,
        };
        let took = self.began.elapsed();
        let (parts, body) = head.into_parts();
        let excerpt = lease.read_body(body, self.body_limit(), self.body_deadline(parts.status)).await;
        Ended::Answered(answer(parts, excerpt, took, reused))
    }

    fn head(&self, exchange: Exchange) -> Result<http::Response<hyper::body::Incoming>, Ended> {
        Err(match exchange {
            Exchange::Head(head) => return Ok(head),
            Exchange::Unsent(headers) => Ended::Unsent(headers),
            Exchange::Closed => Ended::Failed(self.closed()),
            Exchange::GateClosed => Ended::Failed(EgressError::GateClosed),
            Exchange::Failed(fault) => Ended::Failed(self.protocol(fault, Sent::MaybeSent)),
            Exchange::TimedOut { begun, all_sent } => Ended::Failed(self.timed_out(begun, all_sent)),
        })
    }

    fn body_limit(&self) -> usize {
        match self.request.reads {
            Reads::Excerpt => MAX_EXCERPT,
            Reads::Whole(limit) => limit,
        }
    }

    /// A failure's body goes into the log and may use the rest of the time; a success's is only in the way, unless it
    /// is what was asked for.
    fn body_deadline(&self, status: StatusCode) -> Instant {
        if status.is_success() && self.request.reads == Reads::Excerpt {
            self.deadline.min(Instant::now() + SUCCESS_BODY_LIMIT)
        } else {
            self.deadline
        }
    }

    fn protocol(&self, fault: ProtocolFault, sent: Sent) -> EgressError {
        EgressError::Protocol { host: self.request.host.clone(), fault, sent }
    }

    fn closed(&self) -> EgressError {
        EgressError::Connect { host: self.request.host.clone(), fault: ConnectFault::Closed }
    }

    fn timed_out(&self, begun: bool, all_sent: bool) -> EgressError {
        EgressError::Timeout {
            host: self.request.host.clone(),
            phase: if all_sent { Phase::Answer } else { Phase::Send },
            sent: if begun { Sent::MaybeSent } else { Sent::NotSent },
        }
    }
}

/// How one connection's part in an attempt ended.
enum Ended {
    Answered(Answer),
    Failed(EgressError),
    /// Nothing was written; here are the headers for the next connection.
    Unsent(HeaderMap),
}

fn answer(head: http::response::Parts, excerpt: Excerpt, took: Duration, reused: bool) -> Answer {
    let retry_after = head
        .headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .filter(|value| value.len() <= MAX_RETRY_AFTER)
        .map(str::to_owned);
    Answer {
        status: head.status.as_u16(),
        retry_after,
        excerpt: excerpt.bytes,
        excerpt_cut: excerpt.end != BodyEnd::Clean,
        http_version: head.version,
        took,
        reused,
    }
}

/// Headers that belong to the connection or are decided here.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST
            | header::ACCEPT_ENCODING
            | header::CONTENT_LENGTH
            | header::TRANSFER_ENCODING
            | header::CONNECTION
            | header::UPGRADE
            | header::EXPECT
            | header::TE
            | header::TRAILER
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}

fn host_header(request: &Request) -> Option<HeaderValue> {
    if request.port == request.scheme.default_port() {
        HeaderValue::from_str(&request.host).ok()
    } else {
        HeaderValue::try_from(format!("{}:{}", request.host, request.port)).ok()
    }
}

fn absolute_uri(request: &Request) -> Option<Uri> {
    let authority = if request.port == request.scheme.default_port() {
        Authority::try_from(&*request.host).ok()?
    } else {
        Authority::try_from(format!("{}:{}", request.host, request.port)).ok()?
    };
    Uri::builder().scheme("https").authority(authority).path_and_query(request.target.clone()).build().ok()
}
