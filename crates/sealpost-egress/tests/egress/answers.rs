//! Receivers that behave badly: each ends in the right outcome, in time, and keeps no connection.

use std::io::{Read, Write};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderName;
use sealpost_egress::{EgressError, Gate, GateGuard, MAX_EXCERPT, Outbound, Phase, Request, Sent};

use crate::support::{AMPLE, OK, PROMPT, Peer, Receiver, SHORT, plain_egress, send, to, to_port, told};

/// Sends once to a receiver that answers with `answer` and then waits; tells the end and what stayed pooled.
async fn after(answer: &str) -> String {
    let receiver = Receiver::answering(answer).await;
    let egress = plain_egress();
    let told = send(&egress, to(&receiver)).await;
    assert_eq!(receiver.requests().len(), 1, "exactly one request, whatever the answer");
    format!("{told}; kept {}", egress.connections())
}

#[tokio::test]
async fn the_request_is_what_was_asked_for_and_nothing_more() {
    let receiver = Receiver::answering(OK).await;
    let mut request = to(&receiver);
    request.headers.insert("x-sealpost-attempt", HeaderValue::from_static("1"));
    let answer = plain_egress().send(request).await.unwrap();
    assert_eq!((answer.status, &*answer.excerpt, answer.reused), (200, &b"ok"[..], false));
    let expected = format!(
        "POST /hook?x=1 HTTP/1.1\r\nx-sealpost-attempt: 1\r\nhost: 127.0.0.1:{}\r\n\
         accept-encoding: identity\r\ncontent-length: 7\r\n\r\n{{\"a\":1}}",
        receiver.port()
    );
    assert_eq!(receiver.requests(), [expected]);
}

#[tokio::test]
async fn a_header_that_belongs_to_the_connection_is_refused() {
    for name in ["host", "connection", "transfer-encoding", "content-length", "expect", "keep-alive"] {
        let mut request = to_port(1);
        request.headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        assert_eq!(
            send(&plain_egress(), request).await,
            "`127.0.0.1` did not answer in HTTP as expected: a header of the request may not be set by its sender \
             (NotSent)",
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Receiver::answering(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://127.0.0.1:{}/", elsewhere.port());
        let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(after(&answer).await, format!("{status}; kept 1"));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn retry_after_is_handed_on_as_written() {
    for (value, expected) in [("120", Some("120")), (&*"9".repeat(65), None)] {
        let answer = format!("HTTP/1.1 503 Busy\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer).await;
        let answer = plain_egress().send(to(&receiver)).await.unwrap();
        assert_eq!((answer.status, answer.retry_after.as_deref()), (503, expected));
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_at_the_limit() {
    let receiver = Receiver::running(|mut peer: Peer| async move { peer.until_closed().await }).await;
    let mut request = to(&receiver);
    request.timeout = SHORT;
    let began = Instant::now();
    let error = plain_egress().send(request).await.unwrap_err();
    assert!(
        matches!(error, EgressError::Timeout { phase: Phase::Answer, sent: Sent::MaybeSent, .. }),
        "{error}"
    );
    let took = began.elapsed();
    assert!(took >= SHORT && took < PROMPT, "{took:?}");
}

#[tokio::test]
async fn a_byte_now_and_then_does_not_extend_the_limit() {
    let receiver = Receiver::running(|mut peer: Peer| async move {
        peer.request().await;
        for byte in "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".split_inclusive("") {
            peer.say(byte).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let mut request = to(&receiver);
    request.timeout = SHORT;
    let began = Instant::now();
    assert_eq!(
        send(&plain_egress(), request).await,
        "`127.0.0.1` gave no answer in time; the limit passed while waiting for the answer (MaybeSent)"
    );
    assert!(began.elapsed() < PROMPT);
}

#[tokio::test]
async fn a_receiver_that_does_not_read_ends_at_the_limit_while_sending() {
    let receiver = Receiver::running(|peer: Peer| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(peer);
    })
    .await;
    let mut request = to(&receiver);
    request.timeout = SHORT;
    request.body = Bytes::from(vec![b'x'; 32 * 1024 * 1024]);
    assert_eq!(
        send(&plain_egress(), request).await,
        "`127.0.0.1` gave no answer in time; the limit passed while sending the request (MaybeSent)"
    );
}

#[tokio::test]
async fn an_endless_body_is_cut_and_its_connection_dropped() {
    for status in ["200 OK", "500 Oops"] {
        let receiver = Receiver::running(move |mut peer: Peer| async move {
            peer.request().await;
            peer.say(&format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n")).await;
            for _ in 0..1_000 {
                peer.say(&format!("400\r\n{}\r\n", "x".repeat(1024))).await;
            }
        })
        .await;
        let egress = plain_egress();
        let answer = egress.send(to(&receiver)).await.unwrap();
        assert_eq!((answer.excerpt.len(), answer.excerpt_cut), (MAX_EXCERPT, true), "{status}");
        assert_eq!(egress.connections(), 0);
    }
}

#[tokio::test]
async fn a_failures_slow_body_is_read_until_the_limit_and_a_successes_hardly() {
    for (status, timeout) in [("500 Oops", SHORT), ("200 OK", AMPLE)] {
        let receiver = Receiver::running(move |mut peer: Peer| async move {
            peer.request().await;
            peer.say(&format!("HTTP/1.1 {status}\r\ncontent-length: 1000\r\n\r\npart")).await;
            peer.until_closed().await;
        })
        .await;
        let began = Instant::now();
        let answer = plain_egress().send(Request { timeout, ..to(&receiver) }).await.unwrap();
        assert_eq!((&*answer.excerpt, answer.excerpt_cut), (&b"part"[..], true));
        assert!(began.elapsed() < PROMPT, "{status}: {:?}", began.elapsed());
        assert!(timeout == AMPLE || began.elapsed() >= SHORT, "{status}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn heads_are_bounded_in_size_and_number() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(17 * 1024));
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(64));
    let refused =
        "`127.0.0.1` did not answer in HTTP as expected: the answer's head is too large (MaybeSent); kept 0";
    assert_eq!(after(&long).await, refused);
    assert_eq!(after(&many).await, refused);
    let most = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(63));
    assert_eq!(after(&most).await, "200; kept 1");
}

#[tokio::test]
async fn interim_answers_are_passed_over_up_to_four() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    assert_eq!(after(&format!("{}{OK}", interim.repeat(4))).await, "200; kept 1");
    let receiver = Receiver::running(move |mut peer: Peer| async move {
        peer.request().await;
        for _ in 0..20 {
            peer.say(interim).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        peer.say(OK).await;
    })
    .await;
    assert_eq!(
        send(&plain_egress(), to(&receiver)).await,
        "`127.0.0.1` did not answer in HTTP as expected: too many interim answers (MaybeSent)"
    );
}

#[tokio::test]
async fn switching_protocols_is_a_failure() {
    assert_eq!(
        after("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await,
        "`127.0.0.1` did not answer in HTTP as expected: it asked to switch protocols (MaybeSent); kept 0"
    );
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    for answer in ["SSH-2.0-x\r\n", "HTTP/1.1 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nbad header\r\n\r\n"] {
        assert_eq!(
            after(answer).await,
            "`127.0.0.1` did not answer in HTTP as expected: the answer is malformed (MaybeSent); kept 0"
        );
    }
}

#[tokio::test]
async fn an_answer_whose_end_is_doubtful_costs_the_connection() {
    for answer in [
        // Both framings.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        // Bytes after the end, and a body where none may be.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\nbody",
        // The receiver says so itself, or speaks an older version.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok",
    ] {
        let told = after(answer).await;
        assert!(told == "200; kept 0" || told == "204; kept 0", "{answer:?}: {told}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_still_leaves_the_status() {
    let receiver = Receiver::running(|mut peer: Peer| async move {
        peer.request().await;
        peer.say("HTTP/1.1 418 Teapot\r\ncontent-length: 100\r\n\r\nshort and st").await;
    })
    .await;
    let answer = plain_egress().send(to(&receiver)).await.unwrap();
    assert_eq!((answer.status, &*answer.excerpt, answer.excerpt_cut), (418, &b"short and st"[..], true));
}

#[tokio::test]
async fn an_answer_before_the_body_was_read_counts() {
    let receiver = Receiver::running(|mut peer: Peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    })
    .await;
    let egress = plain_egress();
    for _ in 0..20 {
        let mut request = to(&receiver);
        request.body = Bytes::from(vec![b'x'; 8 * 1024 * 1024]);
        assert_eq!(send(&egress, request).await, "413");
    }
    assert_eq!(egress.connections(), 0);
}

/// Lets the first write go out, then waits until the receiver has answered and closed.
struct WriteThenWait(std::sync::Mutex<Option<mpsc::Receiver<()>>>);

struct WaitsOnDrop(mpsc::Receiver<()>);

impl Drop for WaitsOnDrop {
    fn drop(&mut self) {
        self.0.recv().unwrap();
    }
}

impl Gate for WriteThenWait {
    fn open(&self) -> Option<GateGuard> {
        self.0.lock().unwrap().take().map(|closed| GateGuard::holding(WaitsOnDrop(closed)))
    }
}

#[tokio::test]
async fn an_answer_counts_even_if_the_rest_of_the_request_meets_a_reset() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (closed, wait) = mpsc::channel();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").unwrap();
        // Unread bytes turn this close into a reset.
        drop(stream);
        closed.send(()).unwrap();
    });
    let request = Request {
        body: Bytes::from(vec![b'x'; 32 * 1024 * 1024]),
        gate: Arc::new(WriteThenWait(Some(wait).into())),
        ..to_port(port)
    };
    let egress = plain_egress();
    assert_eq!(send(&egress, request).await, "413");
    assert_eq!(egress.connections(), 0);
    peer.join().unwrap();
}

#[tokio::test]
async fn a_receiver_that_closes_without_an_answer_got_the_request_once() {
    let receiver = Receiver::running(|mut peer: Peer| async move {
        peer.request().await;
    })
    .await;
    assert_eq!(
        send(&plain_egress(), to(&receiver)).await,
        "`127.0.0.1` did not answer in HTTP as expected: the connection ended before an answer (MaybeSent)"
    );
    assert_eq!((receiver.requests().len(), receiver.connections()), (1, 1));
}

#[tokio::test]
async fn nobody_listening_is_a_connection_refused() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let result = plain_egress().send(to_port(port)).await;
    assert_eq!(told(&result), "`127.0.0.1` could not be reached: connection refused (NotSent)");
}
