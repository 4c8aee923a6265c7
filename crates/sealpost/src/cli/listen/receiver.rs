//! A small HTTP/1.1 receiver on this machine: hands each request on and answers what it is told.
//!
//! For `listen` and `demo`; bound to loopback, with a limit on everything a peer could drag out.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::cli::client::Failure;
use crate::cli::verify::recorded::Request;

const CONNECTIONS: usize = 256;
/// A payload of 1 MiB and what stands around it.
const BODY_BYTES: usize = 4 * 1024 * 1024;
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// Sees a request and decides the status of its answer.
pub(crate) type Handler = Arc<dyn Fn(Request) -> StatusCode + Send + Sync>;

/// A receiver at work until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    _running: watch::Sender<()>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Port 0 takes any free one.
pub(crate) async fn bind(port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| Failure::io(format_args!("cannot listen on 127.0.0.1:{port}"), &error))
}

pub(crate) fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Handler,
) -> Result<Receiver, Failure> {
    let address = listener.local_addr().map_err(|error| Failure::io("the receiver", &error))?;
    let (running, stopped) = watch::channel(());
    tokio::spawn(accept(listener, tls, handler, stopped));
    Ok(Receiver { address, _running: running })
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Handler,
    mut stopped: watch::Receiver<()>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // The sender's end is dropped when the receiver is.
            _ = stopped.changed() => return,
        };
        let Ok((tcp, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _latency_only = tcp.set_nodelay(true);
        let (tls, handler, mut stopped) = (tls.clone(), Arc::clone(&handler), stopped.clone());
        tokio::spawn(async move {
            let connection = async {
                match tls {
                    None => talk(tcp, "http", handler).await,
                    Some(tls) => {
                        if let Ok(Ok(stream)) = timeout(HANDSHAKE_WITHIN, tls.accept(tcp)).await {
                            talk(stream, "https", handler).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = connection => {}
                _ = stopped.changed() => {}
            }
            drop(permit);
        });
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Send + Unpin, scheme: &'static str, handler: Handler) {
    let service = service_fn(|request| answer(request, scheme, &handler));
    let _a_peer_that_went_away = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: HttpRequest<Incoming>,
    scheme: &'static str,
    handler: &Handler,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let status = match Limited::new(body, BODY_BYTES).collect().await {
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Ok(body) => {
            let headers: Vec<(String, String)> = head
                .headers
                .iter()
                .map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect();
            let host = head.headers.get(http::header::HOST).and_then(|value| value.to_str().ok());
            handler(Request {
                method: head.method.to_string(),
                target: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
                authority: host.unwrap_or_default().to_owned(),
                scheme,
                headers,
                body: body.to_bytes(),
            })
        }
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}
