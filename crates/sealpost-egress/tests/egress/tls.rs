//! Certificates that must not be accepted, and HTTP/2.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sealpost_egress::{ConfigError, Egress, EgressConfig, Outbound, PoolScope, Request, TrustError};
use tokio::sync::{Barrier, Notify};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    Authority, CountingGate, OK, Peer, Receiver, SHORT, https, loopback_config, self_signed, send,
    tls_receiver,
};

#[tokio::test]
async fn each_bad_certificate_is_named() {
    let authority = Authority::new();
    let egress = Egress::new(loopback_config(&authority.pem)).unwrap();
    for (acceptor, expected) in [
        (self_signed("localhost"), "unknown issuer"),
        (Authority::new().acceptor("localhost", 2090, &[]), "unknown issuer"),
        (authority.acceptor("localhost", 2001, &[]), "certificate expired"),
        (authority.acceptor("other.example", 2090, &[]), "name mismatch"),
    ] {
        let receiver = tls_receiver(acceptor, OK).await;
        assert_eq!(
            send(&egress, https("localhost", receiver.port())).await,
            format!("`localhost` could not be trusted: {expected} (NotSent)")
        );
        assert!(receiver.requests().is_empty());
    }
}

#[tokio::test]
async fn a_receiver_without_tls_is_a_tls_failure() {
    let authority = Authority::new();
    let egress = Egress::new(loopback_config(&authority.pem)).unwrap();
    let plain = Receiver::running(|mut peer: Peer| async move {
        peer.say("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer.until_closed().await;
    })
    .await;
    let closing = Receiver::running(|peer: Peer| async move { drop(peer) }).await;
    let silent = Receiver::running(|mut peer: Peer| async move { peer.until_closed().await }).await;
    assert_eq!(
        send(&egress, https("localhost", plain.port())).await,
        "`localhost` could not be trusted: handshake failed (NotSent)"
    );
    assert_eq!(
        send(&egress, https("localhost", closing.port())).await,
        "`localhost` could not be trusted: connection closed during the handshake (NotSent)"
    );
    assert_eq!(
        send(&egress, Request { timeout: SHORT, ..https("localhost", silent.port()) }).await,
        "`localhost` gave no answer in time; the limit passed during the TLS handshake (NotSent)"
    );
}

#[tokio::test]
async fn a_tls_connection_is_kept_and_found_closed_like_any_other() {
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor("localhost", 2090, &["http/1.1"]), OK).await;
    let egress = Egress::new(loopback_config(&authority.pem)).unwrap();
    assert_eq!(send(&egress, https("localhost", receiver.port())).await, "200");
    assert_eq!(send(&egress, https("localhost", receiver.port())).await, "200, reused");
    let other = Request { pool: PoolScope(2), ..https("localhost", receiver.port()) };
    assert_eq!(send(&egress, other).await, "200");
    assert_eq!(receiver.connections(), 2);
}

#[test]
fn trust_anchors_are_checked_at_start() {
    let with = |pem: Option<&str>| {
        Egress::new(EgressConfig {
            native_roots: false,
            extra_ca_pem: pem.map(|pem| pem.as_bytes().to_vec()),
            nameservers: Some(Vec::new()),
            ..EgressConfig::default()
        })
        .map(|_| ())
        .map_err(|error| match error {
            ConfigError::Trust(error) => error,
            other @ ConfigError::Resolver(_) => panic!("{other}"),
        })
    };
    assert_eq!(with(Some(&Authority::new().pem)), Ok(()));
    assert_eq!(with(None), Err(TrustError::Nothing));
    assert_eq!(with(Some("no certificate here")), Err(TrustError::NoCertificate));
}

/// An HTTP/2 receiver; `gather` requests must be there at once before any is answered.
async fn h2_receiver(acceptor: TlsAcceptor, gather: usize, busiest: Arc<AtomicUsize>) -> Receiver {
    Receiver::running(move |peer: Peer| {
        let (acceptor, busiest) = (acceptor.clone(), busiest.clone());
        async move {
            let stream = acceptor.accept(peer.stream).await.unwrap();
            let barrier = Arc::new(Barrier::new(gather));
            let streams = Arc::new(AtomicUsize::new(0));
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let (barrier, busiest, streams) = (barrier.clone(), busiest.clone(), streams.clone());
                async move {
                    assert_eq!(request.version(), Version::HTTP_2);
                    assert_eq!(request.headers()["accept-encoding"], "identity");
                    assert!(request.uri().to_string().starts_with("https://localhost:"));
                    let warm_up = request.uri().path() == "/warm-up";
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    busiest.fetch_max(streams.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    if !warm_up {
                        barrier.wait().await;
                    }
                    streams.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::new(body)))
                }
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

#[tokio::test]
async fn http2_is_used_where_offered_and_shared() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("localhost", 2090, &["h2", "http/1.1"]);
    let busiest = Arc::new(AtomicUsize::new(0));
    let receiver = h2_receiver(acceptor, 6, busiest.clone()).await;
    let egress = Arc::new(Egress::new(loopback_config(&authority.pem)).unwrap());

    let gate = Arc::new(CountingGate::default());
    let first = Request {
        target: "/warm-up".parse().unwrap(),
        gate: gate.clone(),
        ..https("localhost", receiver.port())
    };
    let answer = egress.send(first).await.unwrap();
    assert_eq!((answer.status, answer.http_version, answer.reused), (200, Version::HTTP_2, false));
    assert_eq!(answer.excerpt, &b"{\"a\":1}"[..]);
    assert_eq!((gate.asked.load(Ordering::SeqCst), gate.out.load(Ordering::SeqCst)), (1, 0));

    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (egress, request) = (egress.clone(), https("localhost", receiver.port()));
        sends.spawn(async move { send(&egress, request).await });
    }
    while let Some(told) = sends.join_next().await {
        assert_eq!(told.unwrap(), "200, reused");
    }
    assert_eq!((busiest.load(Ordering::SeqCst), receiver.connections(), egress.connections()), (6, 1, 1));

    let other = Request {
        pool: PoolScope(2),
        target: "/warm-up".parse().unwrap(),
        ..https("localhost", receiver.port())
    };
    assert_eq!(send(&egress, other).await, "200");
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn an_http2_connection_that_was_closed_is_replaced() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("localhost", 2090, &["h2"]);
    let (close, closed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, tell) = (close.clone(), closed.clone());
    let receiver = Receiver::running(move |peer: Peer| {
        let (acceptor, told, tell) = (acceptor.clone(), told.clone(), tell.clone());
        async move {
            let stream = acceptor.accept(peer.stream).await.unwrap();
            let service =
                service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            {
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    _ = connection.as_mut() => {}
                    () = told.notified() => connection.as_mut().graceful_shutdown(),
                }
                // A graceful end says goodbye first, an abrupt one does not.
                if peer.number.is_multiple_of(2) {
                    let _ = connection.await;
                }
            }
            tell.notify_one();
        }
    })
    .await;
    let egress = Egress::new(loopback_config(&authority.pem)).unwrap();
    for number in 1..=10 {
        let gate = Arc::new(CountingGate::default());
        let request = Request { gate: gate.clone(), ..https("localhost", receiver.port()) };
        assert_eq!(send(&egress, request).await, "200");
        close.notify_one();
        closed.notified().await;
        assert_eq!((receiver.connections(), gate.asked.load(Ordering::SeqCst)), (number, 1));
    }
}

#[tokio::test]
async fn a_silent_http2_receiver_ends_at_the_limit_and_keeps_its_connection() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("localhost", 2090, &["h2"]);
    let receiver = h2_receiver(acceptor, 2, Arc::default()).await;
    let egress = Egress::new(loopback_config(&authority.pem)).unwrap();
    assert_eq!(
        send(&egress, Request { timeout: SHORT, ..https("localhost", receiver.port()) }).await,
        "`localhost` gave no answer in time; the limit passed while waiting for the answer (MaybeSent)"
    );
    let next = Request { target: "/warm-up".parse().unwrap(), ..https("localhost", receiver.port()) };
    assert_eq!(send(&egress, next).await, "200, reused");
}
