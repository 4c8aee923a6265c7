//! The HTTP server: connections in, requests on to a router, with a bound on everything a peer could drag out.
//!
//! HTTP/1.1, and HTTP/2 over TLS only, where a peer has proved that it can speak it. Heads must arrive within
//! [`HEAD_WITHIN`] and stay small; bodies are bounded where they are read; answers must be taken. A connection that
//! is not used is closed. On stopping, connections finish the request they are in and no other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;

use super::caller::{self, BadHost};
use super::patient::Patient;
use super::tls;

/// Open connections; more wait to be accepted. Stays below common limits on open files.
const CONNECTIONS: usize = 768;
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Also how long a kept connection may stay unused.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const HEAD_BYTES: usize = 32 * 1024;
/// A peer takes some of its answer at least this often.
const TAKES_WITHIN: Duration = Duration::from_secs(30);
/// What accepting does after an error that will not go away at once, such as too many open files.
const BREATH: Duration = Duration::from_millis(100);

const H2_STREAMS: u32 = 64;
/// Unread body bytes of one stream, and of one connection.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const H2_SEND_BUFFER: usize = 256 * 1024;
/// An HTTP/2 connection without a request for one to two of these is closed.
const H2_IDLE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct HttpOptions {
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) trusted_proxies: Vec<IpNet>,
}

/// A listener at work.
#[derive(Debug)]
pub(super) struct Http {
    close: watch::Sender<bool>,
    accepting: JoinHandle<JoinSet<()>>,
}

struct Shared {
    router: Router,
    options: HttpOptions,
    closing: watch::Receiver<bool>,
}

impl Http {
    pub(super) fn serve(listener: TcpListener, router: Router, options: HttpOptions) -> Self {
        let (close, closing) = watch::channel(false);
        let shared = Arc::new(Shared { router, options, closing });
        Self { close, accepting: tokio::spawn(accept(listener, shared)) }
    }

    /// Accepts no more and lets requests under way end within `limit`. Returns whether all did.
    pub(super) async fn stop(self, limit: Duration) -> bool {
        // Nobody listens only if accepting has ended already.
        let _ = self.close.send(true);
        let Ok(mut connections) = self.accepting.await else { return false };
        let ended = timeout(limit, async { while connections.join_next().await.is_some() {} }).await.is_ok();
        connections.shutdown().await;
        ended
    }
}

/// Until closed. Gives back the connections that are still open.
async fn accept(listener: TcpListener, shared: Arc<Shared>) -> JoinSet<()> {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut closing = shared.closing.clone();
    loop {
        let next = async {
            // Closed never: it is ours.
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            _ = closing.wait_for(|closing| *closing) => return connections,
            Some(_) = connections.join_next() => continue,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    connection(stream, peer, shared).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    // Answers are written whole; waiting to fill packets would only delay them.
    let _ = stream.set_nodelay(true);
    let stream = Patient::new(stream, TAKES_WITHIN);
    let ended = match &shared.options.tls {
        None => http1(stream, peer, false, shared).await,
        Some(acceptor) => match timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
            Err(_) => return tracing::debug!("a TLS handshake took too long"),
            Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
            Ok(Ok(stream)) => match stream.get_ref().1.alpn_protocol() {
                Some(tls::H2) => http2(stream, peer, shared).await,
                _ => http1(stream, peer, true, shared).await,
            },
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn http1<S>(stream: S, peer: SocketAddr, secure: bool, shared: Arc<Shared>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut closing = shared.closing.clone();
    let service = service_fn(|request| answer(Arc::clone(&shared), peer, secure, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_header_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn http2<S>(stream: S, peer: SocketAddr, shared: Arc<Shared>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut closing = shared.closing.clone();
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let service = service_fn(|request| {
        let (shared, ended) = (Arc::clone(&shared), Arc::clone(&ended));
        begun.fetch_add(1, Ordering::Relaxed);
        async move {
            let answered = answer(shared, peer, true, request).await;
            ended.fetch_add(1, Ordering::Relaxed);
            answered
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .max_header_list_size(HEAD_BYTES as u32)
        .keep_alive_interval(H2_IDLE)
        .keep_alive_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut idle = interval(H2_IDLE);
    let mut seen = None;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            _ = closing.wait_for(|closing| *closing) => break,
            _ = idle.tick() => {
                let (begun, ended) = (begun.load(Ordering::Relaxed), ended.load(Ordering::Relaxed));
                if begun == ended && seen == Some(begun) {
                    break;
                }
                seen = Some(begun);
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

async fn answer(
    shared: Arc<Shared>,
    peer: SocketAddr,
    secure: bool,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (mut head, body) = request.into_parts();
    match caller::client_info(peer.ip(), secure, &head, &shared.options.trusted_proxies) {
        Err(BadHost) => return Ok(bad_host()),
        Ok(info) => caller::apply(&info, &mut head),
    }
    TowerToHyperService::new(shared.router.clone()).call(Request::from_parts(head, body)).await
}

fn bad_host() -> Response<Body> {
    let body = r#"{"code":"BadRequest","message":"the request must name exactly one host"}"#;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use axum::routing::get;
    use http_body_util::{BodyExt as _, Empty};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    async fn serve(router: Router, options: HttpOptions) -> (Http, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        (Http::serve(listener, router, options), address)
    }

    fn hello() -> Router {
        Router::new().route("/", get(|head: HeaderMap| async move { format!("{:?}", head.get("host")) }))
    }

    /// What comes back until the connection ends.
    async fn said(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request).await.expect("it reads");
        let mut answer = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_cut_off() {
        let (_http, address) = serve(hello(), HttpOptions::default()).await;
        let began = tokio::time::Instant::now();
        assert_eq!(said(address, b"GET / HTTP/1.1\r\nHost: a\r\n").await, "");
        assert!(began.elapsed() < HEAD_WITHIN * 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_head_is_small_and_names_one_host() {
        let (_http, address) = serve(hello(), HttpOptions::default()).await;
        let big = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(HEAD_BYTES));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(101));
        for (request, status) in [
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            (big.as_str(), "HTTP/1.1 431 Request Header Fields Too Large"),
            (many.as_str(), "HTTP/1.1 431 Request Header Fields Too Large"),
            // HTTP/2 without TLS is not spoken.
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        ] {
            let answer = said(address, request.as_bytes()).await;
            assert_eq!(answer.lines().next().unwrap_or_default(), status, "{request:.60}");
        }
    }

    #[tokio::test]
    async fn who_is_not_a_trusted_proxy_names_no_host() {
        let request = b"GET / HTTP/1.1\r\nHost: acme.example\r\nConnection: close\r\n\r\n";
        for (trusted, seen) in [("10.0.0.0/8", "None"), ("127.0.0.0/8", "Some(\"acme.example\")")] {
            let trusted_proxies = vec![trusted.parse().expect("a network")];
            let (_http, address) = serve(hello(), HttpOptions { tls: None, trusted_proxies }).await;
            let answer = said(address, request).await;
            assert!(answer.ends_with(seen), "{trusted}: {answer}");
        }
    }

    #[tokio::test]
    async fn stopping_lets_a_request_end_and_takes_no_other() {
        let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inside, wait) = (Arc::clone(&entered), Arc::clone(&go_on));
        let slow = get(move || {
            let (inside, wait) = (Arc::clone(&inside), Arc::clone(&wait));
            async move {
                inside.notify_one();
                wait.notified().await;
                "done"
            }
        });
        let (http, address) = serve(Router::new().route("/", slow), HttpOptions::default()).await;
        let idle = TcpStream::connect(address).await.expect("it listens");
        let asked = tokio::spawn(said(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        entered.notified().await;
        let stopped = tokio::spawn(http.stop(Duration::from_secs(5)));
        go_on.notify_one();
        let answer = asked.await.expect("no panic");
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
        assert!(stopped.await.expect("no panic"), "nothing is left, also not the idle connection");
        drop(idle);
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_left_behind() {
        let router = Router::new().route("/", get(|| async { std::future::pending::<String>().await }));
        let (http, address) = serve(router, HttpOptions::default()).await;
        let asked = tokio::spawn(said(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!http.stop(Duration::from_millis(50)).await);
        assert_eq!(asked.await.expect("no panic"), "");
    }

    #[tokio::test]
    async fn over_tls_http_2_is_spoken_where_offered() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let files =
            crate::config::TlsFiles { cert: folder.path().join("c.pem"), key: folder.path().join("k.pem") };
        std::fs::write(&files.cert, made.cert.pem()).expect("written");
        std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
        let tls = Some(tls::acceptor(&files).expect("they fit"));
        let (http, address) = serve(hello(), HttpOptions { tls, trusted_proxies: Vec::new() }).await;

        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![tls::H2.to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let stream = TcpStream::connect(address).await.expect("it listens");
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let stream = connector.connect(name, stream).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(tls::H2));
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("h2");
        let connection = tokio::spawn(connection);
        let request =
            Request::get("https://acme.example:444/").body(Empty::<bytes::Bytes>::new()).expect("a request");
        let answer = send.send_request(request).await.expect("an answer");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, "Some(\"acme.example:444\")");
        assert!(http.stop(Duration::from_secs(5)).await);
        drop(connection);
    }
}
