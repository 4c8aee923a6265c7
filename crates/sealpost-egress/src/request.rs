//! What goes out and what comes back: the words between the door and those who send through it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{Method, Version};

use crate::error::EgressError;
use crate::gate::{Gate, OpenGate};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// Whose connections a request may use: the tenant. Connections are never shared between scopes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PoolScope(pub u64);

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// One request to one receiver.
#[derive(Clone)]
pub struct Request {
    pub pool: PoolScope,
    pub method: Method,
    pub scheme: Scheme,
    /// As stored at registration; also the name that the certificate must carry.
    pub host: Arc<str>,
    pub port: u16,
    pub target: PathAndQuery,
    /// Without `Host`, `Accept-Encoding`, `Content-Length` and the connection's own headers: those are set here, and
    /// a request that brings one is refused.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// From the call of `send` to the answer's head; with [`Reads::Whole`] to its end.
    pub timeout: Duration,
    pub reads: Reads,
    pub gate: Arc<dyn Gate>,
}

/// How much of the answer's body is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reads {
    /// Its beginning, for a log, as far as it comes at once.
    Excerpt,
    /// All of it, if it has no more bytes than this.
    Whole(usize),
}

impl Request {
    /// A `POST` with an open gate, no headers and three seconds.
    pub fn post(
        pool: PoolScope,
        scheme: Scheme,
        host: Arc<str>,
        port: u16,
        target: PathAndQuery,
        body: Bytes,
    ) -> Self {
        Self {
            pool,
            method: Method::POST,
            scheme,
            host,
            port,
            target,
            headers: HeaderMap::new(),
            body,
            timeout: DEFAULT_TIMEOUT,
            reads: Reads::Excerpt,
            gate: Arc::new(OpenGate),
        }
    }
}

impl fmt::Debug for Request {
    /// Neither headers nor body: both may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("pool", &self.pool)
            .field("method", &self.method)
            .field("scheme", &self.scheme)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What the receiver answered. Any status counts; redirects are answers like others.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    /// The beginning of the body. After a success only as much as came at once.
    pub excerpt: Bytes,
    /// The body went on, broke off, or was not awaited.
    pub excerpt_cut: bool,
    pub http_version: Version,
    /// Until the answer's head.
    pub took: Duration,
    /// Over a connection that had served before.
    pub reused: bool,
}

impl Answer {
    /// An empty answer, for scripts.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            retry_after: None,
            excerpt: Bytes::new(),
            excerpt_cut: false,
            http_version: Version::HTTP_11,
            took: Duration::ZERO,
            reused: false,
        }
    }
}

/// Sends requests: [`Egress`] over the network, [`Scripted`](crate::Scripted) in tests of callers.
#[async_trait]
pub trait Outbound: Send + Sync {
    async fn send(&self, request: Request) -> Result<Answer, EgressError>;
}
