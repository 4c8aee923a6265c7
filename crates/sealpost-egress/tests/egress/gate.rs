//! The gate: asked once, at the last moment, and obeyed to the byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sealpost_egress::{EgressError, Outbound, Request, Sent};

use crate::support::{
    Authority, Counted, CountingGate, OK, Peer, Receiver, https, loopback_config, plain_egress, send, to,
};

#[tokio::test]
async fn an_open_gate_is_asked_once_and_its_guard_comes_back() {
    let receiver = Receiver::answering(OK).await;
    let egress = plain_egress();
    for expected in ["200", "200, reused"] {
        let gate = Arc::new(CountingGate::default());
        let request = Request { gate: gate.clone(), ..to(&receiver) };
        assert_eq!(send(&egress, request).await, expected);
        assert_eq!((gate.asked.load(Ordering::SeqCst), gate.out.load(Ordering::SeqCst)), (1, 0));
    }
}

#[tokio::test]
async fn the_guard_is_back_before_the_answer() {
    let gate = Arc::new(CountingGate::default());
    let out = gate.out.clone();
    let receiver = Receiver::running(move |mut peer: Peer| {
        let out = out.clone();
        async move {
            peer.request().await;
            // The first write has returned, else nothing would be here; its guard follows at once.
            while out.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
            peer.say(OK).await;
        }
    })
    .await;
    assert_eq!(send(&plain_egress(), Request { gate, ..to(&receiver) }).await, "200");
}

#[tokio::test]
async fn a_closed_gate_lets_no_byte_through() {
    let receiver = Receiver::answering(OK).await;
    let egress = plain_egress();
    let closed = || Arc::new(CountingGate { closed: true, ..CountingGate::default() });

    // On a fresh connection, and on a kept one.
    let gate = closed();
    let error = egress.send(Request { gate: gate.clone(), ..to(&receiver) }).await.unwrap_err();
    assert!(matches!(error, EgressError::GateClosed));
    assert_eq!((error.sent(), gate.asked.load(Ordering::SeqCst)), (Sent::NotSent, 1));
    assert_eq!(receiver.bytes(), 0);

    assert_eq!(send(&egress, to(&receiver)).await, "200");
    let before = receiver.bytes();
    let gate = closed();
    let told = send(&egress, Request { gate: gate.clone(), ..to(&receiver) }).await;
    assert_eq!(told, "the request was withdrawn before it began (NotSent)");
    assert_eq!(gate.asked.load(Ordering::SeqCst), 1);
    // The connection is not kept; once it is seen closed, nothing more can have come.
    assert_eq!(send(&egress, to(&receiver)).await, "200");
    assert_eq!((receiver.bytes(), receiver.requests().len()), (2 * before, 2));
}

#[tokio::test]
async fn a_closed_gate_lets_no_byte_through_tls() {
    let authority = Authority::new();
    for alpn in ["http/1.1", "h2"] {
        let acceptor = authority.acceptor("localhost", 2090, &[alpn]);
        let (plain, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
        let (counter, tell) = (plain.clone(), done.clone());
        let receiver = Receiver::running(move |peer: Peer| {
            let (acceptor, counter, tell) = (acceptor.clone(), counter.clone(), tell.clone());
            async move {
                let counted = Counted { inner: peer.stream, read: Arc::default() };
                let mut tls = acceptor.accept(counted).await.unwrap();
                let mut bytes = Vec::new();
                let _ = tokio::io::AsyncReadExt::read_to_end(&mut tls, &mut bytes).await;
                counter.store(bytes.windows(5).filter(|five| five == b"/hook").count(), Ordering::SeqCst);
                tell.notify_one();
            }
        })
        .await;
        let egress = sealpost_egress::Egress::new(loopback_config(&authority.pem)).unwrap();
        let gate = Arc::new(CountingGate { closed: true, ..CountingGate::default() });
        let request = Request { gate: gate.clone(), ..https("localhost", receiver.port()) };
        let told = send(&egress, request).await;
        assert_eq!(told, "the request was withdrawn before it began (NotSent)", "{alpn}");
        assert_eq!(gate.asked.load(Ordering::SeqCst), 1);
        drop(egress);
        done.notified().await;
        assert_eq!(plain.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_gate_is_not_asked_when_nobody_can_be_reached() {
    let gate = Arc::new(CountingGate::default());
    let request = Request { gate: gate.clone(), ..crate::support::to_port(1) };
    assert!(send(&plain_egress(), request).await.contains("could not be reached"));
    assert_eq!(gate.asked.load(Ordering::SeqCst), 0);
}
