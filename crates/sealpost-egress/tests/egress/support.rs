//! Receivers, senders and certificates for the tests.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sealpost_egress::{
    Answer, Egress, EgressConfig, EgressError, Gate, GateGuard, Outbound, PoolScope, Request, Scheme,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::name_server::Names;

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// Long enough for loopback on a busy machine.
pub(crate) const AMPLE: Duration = Duration::from_secs(10);
/// Well under `AMPLE` and well over any time measured when all is well: the line between prompt and late.
pub(crate) const PROMPT: Duration = Duration::from_secs(5);
/// For tests that wait for a deadline.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

// Receivers

/// A TCP server whose connections each run `script`.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    bytes: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

/// One connection as the script sees it.
pub(crate) struct Peer<S = TcpStream> {
    pub(crate) stream: S,
    /// 0 for the first connection.
    pub(crate) number: usize,
    seen: Arc<Seen>,
    buffered: Vec<u8>,
}

impl Receiver {
    pub(crate) async fn running<F, Fut>(script: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let counted = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = counted.connections.fetch_add(1, Ordering::SeqCst);
                let peer = Peer { stream, number, seen: counted.clone(), buffered: Vec::new() };
                tokio::spawn(script(peer));
            }
        });
        Self { address, seen }
    }

    /// Answers every request with `answer`, keeping the connection.
    pub(crate) async fn answering(answer: impl Into<String>) -> Self {
        let answer: Arc<str> = answer.into().into();
        Self::running(move |mut peer| {
            let answer = answer.clone();
            async move {
                while peer.request().await.is_some() {
                    peer.say(&answer).await;
                }
            }
        })
        .await
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.seen.bytes.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// The next whole request, head and body; `None` when the connection ends.
    pub(crate) async fn request(&mut self) -> Option<String> {
        loop {
            if let Some(length) = request_length(&self.buffered) {
                let request: Vec<u8> = self.buffered.drain(..length).collect();
                let text = String::from_utf8(request).unwrap();
                self.seen.requests.lock().unwrap().push(text.clone());
                return Some(text);
            }
            if self.read_some().await == 0 {
                return None;
            }
        }
    }

    /// Reads until the head is whole, and leaves the body where it is.
    pub(crate) async fn head(&mut self) {
        while !self.buffered.windows(4).any(|four| four == b"\r\n\r\n") {
            assert_ne!(self.read_some().await, 0);
        }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        // A peer that has had enough closes; scripts go on regardless.
        let _ = self.stream.write_all(text.as_bytes()).await;
        let _ = self.stream.flush().await;
    }

    /// Until the other side closes.
    pub(crate) async fn until_closed(&mut self) {
        while self.read_some().await > 0 {}
    }

    async fn read_some(&mut self) -> usize {
        let count = self.stream.read_buf(&mut self.buffered).await.unwrap_or(0);
        self.seen.bytes.fetch_add(count, Ordering::SeqCst);
        count
    }
}

fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let body = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ").map(|length| length.parse().unwrap()))
        .unwrap_or(0);
    (bytes.len() >= head + body).then_some(head + body)
}

// Senders

/// Plain HTTP to loopback, no names.
pub(crate) fn plain_egress() -> Egress {
    Egress::new(EgressConfig {
        plain_http_loopback: true,
        native_roots: false,
        nameservers: Some(Vec::new()),
        ..EgressConfig::default()
    })
    .unwrap()
}

pub(crate) fn to(receiver: &Receiver) -> Request {
    to_port(receiver.port())
}

pub(crate) fn to_port(port: u16) -> Request {
    let target = "/hook?x=1".parse().unwrap();
    let body = Bytes::from_static(b"{\"a\":1}");
    let request = Request::post(PoolScope(1), Scheme::Http, "127.0.0.1".into(), port, target, body);
    Request { timeout: AMPLE, ..request }
}

pub(crate) fn https(host: &str, port: u16) -> Request {
    let target = "/hook".parse().unwrap();
    let body = Bytes::from_static(b"{\"a\":1}");
    let request = Request::post(PoolScope(1), Scheme::Https, host.into(), port, target, body);
    Request { timeout: AMPLE, ..request }
}

/// One line that says how an attempt ended.
pub(crate) fn told(result: &Result<Answer, EgressError>) -> String {
    match result {
        Ok(answer) => format!(
            "{}{}{}",
            answer.status,
            if answer.excerpt_cut { ", cut" } else { "" },
            if answer.reused { ", reused" } else { "" }
        ),
        Err(error) => format!("{error} ({:?})", error.sent()),
    }
}

pub(crate) async fn send(egress: &Egress, request: Request) -> String {
    told(&egress.send(request).await)
}

// Gates

/// Counts how often it was asked, and how many guards are out.
#[derive(Default)]
pub(crate) struct CountingGate {
    pub(crate) closed: bool,
    pub(crate) asked: AtomicUsize,
    pub(crate) out: Arc<AtomicUsize>,
}

struct Out(Arc<AtomicUsize>);

impl Drop for Out {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate for CountingGate {
    fn open(&self) -> Option<GateGuard> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.closed {
            return None;
        }
        self.out.fetch_add(1, Ordering::SeqCst);
        Some(GateGuard::holding(Out(self.out.clone())))
    }
}

// Names

impl Names {
    /// An egress that asks here and may dial 127.0.0.0/8.
    pub(crate) fn egress(&self, ca_pem: &str) -> Egress {
        Egress::new(EgressConfig { nameservers: Some(vec![self.address]), ..loopback_config(ca_pem) })
            .unwrap()
    }
}

pub(crate) fn loopback_config(ca_pem: &str) -> EgressConfig {
    EgressConfig {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        native_roots: false,
        extra_ca_pem: Some(ca_pem.as_bytes().to_vec()),
        nameservers: Some(Vec::new()),
        ..EgressConfig::default()
    }
}

// Certificates

static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        // Each its own name, else a stranger's certificate would be a forgery and not merely unknown.
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {number}"));
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// A server certificate for `name` that is valid to the end of `last_year`.
    pub(crate) fn acceptor(&self, name: &str, last_year: i32, alpn: &[&str]) -> TlsAcceptor {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        acceptor(certificate.der().clone(), key, alpn)
    }
}

pub(crate) fn self_signed(name: &str) -> TlsAcceptor {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    acceptor(certificate.der().clone(), key, &["http/1.1"])
}

fn acceptor(certificate: CertificateDer<'static>, key: rcgen::KeyPair, alpn: &[&str]) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A receiver behind TLS that answers every request with `answer`.
pub(crate) async fn tls_receiver(acceptor: TlsAcceptor, answer: &'static str) -> Receiver {
    Receiver::running(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(peer.stream).await else { return };
            let mut peer = Peer { stream, number: peer.number, seen: peer.seen, buffered: Vec::new() };
            while peer.request().await.is_some() {
                peer.say(answer).await;
            }
        }
    })
    .await
}

/// Counts what passes through it, below TLS.
pub(crate) struct Counted {
    pub(crate) inner: TcpStream,
    pub(crate) read: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read.fetch_add(buf.filled().len() - before, Ordering::SeqCst);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
