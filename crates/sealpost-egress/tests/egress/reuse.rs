//! When a connection serves twice, and what happens when it turns out to be gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sealpost_egress::{PoolScope, Request};
use tokio::sync::Notify;

use crate::support::{CountingGate, OK, Peer, Receiver, SHORT, plain_egress, send, to};

#[tokio::test]
async fn a_clean_answer_keeps_the_connection() {
    let receiver = Receiver::answering(OK).await;
    let egress = plain_egress();
    assert_eq!(send(&egress, to(&receiver)).await, "200");
    for _ in 0..10 {
        assert_eq!(send(&egress, to(&receiver)).await, "200, reused");
    }
    assert_eq!((receiver.connections(), receiver.requests().len()), (1, 11));
}

#[tokio::test]
async fn tenants_and_ports_have_connections_of_their_own() {
    let (one, two) = (Receiver::answering(OK).await, Receiver::answering(OK).await);
    let egress = plain_egress();
    let by = |tenant, receiver| Request { pool: PoolScope(tenant), ..to(receiver) };
    assert_eq!(send(&egress, by(1, &one)).await, "200");
    assert_eq!(send(&egress, by(2, &one)).await, "200");
    assert_eq!(send(&egress, by(1, &two)).await, "200");
    assert_eq!(send(&egress, by(2, &one)).await, "200, reused");
    assert_eq!(send(&egress, by(1, &one)).await, "200, reused");
    assert_eq!((one.connections(), two.connections()), (2, 1));
}

#[tokio::test]
async fn a_connection_the_receiver_closed_is_replaced_unnoticed() {
    let (close, closed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, tell) = (close.clone(), closed.clone());
    let receiver = Receiver::running(move |mut peer: Peer| {
        let (told, tell) = (told.clone(), tell.clone());
        async move {
            peer.request().await;
            peer.say(OK).await;
            told.notified().await;
            drop(peer);
            tell.notify_one();
        }
    })
    .await;
    // In a task of its own, which the runtime runs right after the receiver's without looking at its sockets: only
    // egress's own look tells that the connection is gone.
    let sender = tokio::spawn(async move {
        let egress = plain_egress();
        for number in 1..=20 {
            let gate = Arc::new(CountingGate::default());
            let request = Request { gate: gate.clone(), ..to(&receiver) };
            assert_eq!(send(&egress, request).await, "200");
            assert_eq!((gate.asked.load(Ordering::SeqCst), egress.connections()), (1, 1));
            close.notify_one();
            closed.notified().await;
            assert_eq!((receiver.requests().len(), receiver.connections()), (number, number));
        }
    });
    sender.await.unwrap();
}

#[tokio::test]
async fn a_request_lost_on_a_kept_connection_is_not_sent_again() {
    let receiver = Receiver::running(|mut peer: Peer| async move {
        peer.request().await;
        peer.say(OK).await;
        peer.request().await;
    })
    .await;
    let egress = plain_egress();
    assert_eq!(send(&egress, to(&receiver)).await, "200");
    assert_eq!(
        send(&egress, to(&receiver)).await,
        "`127.0.0.1` did not answer in HTTP as expected: the connection ended before an answer (MaybeSent)"
    );
    assert_eq!((receiver.requests().len(), receiver.connections()), (2, 1));
}

#[tokio::test]
async fn bytes_on_an_idle_connection_spoil_it() {
    let said = Arc::new(Notify::new());
    let tell = said.clone();
    let receiver = Receiver::running(move |mut peer: Peer| {
        let tell = tell.clone();
        async move {
            peer.request().await;
            peer.say(OK).await;
            if peer.number == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                peer.say("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nplanted").await;
                tell.notify_one();
            }
            peer.until_closed().await;
        }
    })
    .await;
    let egress = plain_egress();
    assert_eq!(send(&egress, to(&receiver)).await, "200");
    said.notified().await;
    assert_eq!(send(&egress, to(&receiver)).await, "200");
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_timed_out_connection_is_closed_at_once() {
    let closed = Arc::new(Notify::new());
    let told = closed.clone();
    let receiver = Receiver::running(move |mut peer: Peer| {
        let told = told.clone();
        async move {
            peer.until_closed().await;
            told.notify_one();
        }
    })
    .await;
    let egress = plain_egress();
    let request = Request { timeout: SHORT, ..to(&receiver) };
    assert!(send(&egress, request).await.contains("no answer in time"));
    assert_eq!(egress.connections(), 0);
    closed.notified().await;
}

#[tokio::test]
async fn idle_connections_go_after_four_seconds() {
    let closed = Arc::new(Notify::new());
    let told = closed.clone();
    let receiver = Receiver::running(move |mut peer: Peer| {
        let told = told.clone();
        async move {
            peer.request().await;
            peer.say(OK).await;
            peer.until_closed().await;
            told.notify_one();
        }
    })
    .await;
    let egress = plain_egress();
    assert_eq!(send(&egress, to(&receiver)).await, "200");
    assert_eq!(egress.connections(), 1);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(egress.connections(), 0);
    tokio::time::resume();
    closed.notified().await;
}

#[tokio::test]
async fn many_at_once_do_not_mix_up_their_answers() {
    let receiver = Receiver::running(|mut peer: Peer| async move {
        while let Some(request) = peer.request().await {
            let body = request.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned();
            peer.say(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        }
    })
    .await;
    let egress = Arc::new(plain_egress());
    let mut sends = tokio::task::JoinSet::new();
    for number in 0..400_u32 {
        let (egress, request) =
            (egress.clone(), Request { body: format!("{number}").into(), ..to(&receiver) });
        sends.spawn(async move {
            let answer = sealpost_egress::Outbound::send(&*egress, request).await.unwrap();
            assert_eq!(answer.excerpt, number.to_string().as_bytes());
        });
    }
    while let Some(done) = sends.join_next().await {
        done.unwrap();
    }
    assert!(egress.connections() <= 64, "{}", egress.connections());
}
