//! Documents that are fetched: whole or not at all, in time, without a redirect, from no forbidden address.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sealpost_egress::{Documents, Egress, EgressConfig, MAX_DOCUMENT, Place, Scheme};

use crate::support::{AMPLE, Authority, PROMPT, Peer, Receiver, SHORT, loopback_config, plain_egress};

fn place(receiver: &Receiver) -> Place {
    let target = "/keys?v=1".parse().unwrap();
    Place { scheme: Scheme::Http, host: "127.0.0.1".into(), port: receiver.port(), target }
}

async fn said(documents: &Documents, place: &Place, limit: Duration) -> String {
    match documents.fetch(place, limit).await {
        Ok(bytes) => format!("{} bytes", bytes.len()),
        Err(fault) => fault.to_string(),
    }
}

fn documents() -> Documents {
    Arc::new(plain_egress()).documents()
}

#[tokio::test]
async fn the_request_says_nothing_of_whoever_asks() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    assert_eq!(said(&documents(), &place(&receiver), AMPLE).await, "2 bytes");
    let expected = format!(
        "GET /keys?v=1 HTTP/1.1\r\naccept: application/json\r\nhost: 127.0.0.1:{}\r\naccept-encoding: identity\r\n\r\n",
        receiver.port()
    );
    assert_eq!(receiver.requests(), [expected]);
}

#[tokio::test]
async fn a_code_is_exchanged_by_a_form_with_the_clients_credentials() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let exchange = Arc::new(plain_egress()).code_exchange();
    let credentials = || http::HeaderValue::from_static("Basic YTpi");
    let answer = exchange.send(&place(&receiver), credentials(), "code=c".into(), AMPLE).await;
    assert_eq!(answer.unwrap(), "{}");
    let expected = format!(
        "POST /keys?v=1 HTTP/1.1\r\naccept: application/json\r\nauthorization: Basic YTpi\r\n\
         content-type: application/x-www-form-urlencoded\r\nhost: 127.0.0.1:{}\r\naccept-encoding: identity\r\n\
         content-length: 6\r\n\r\ncode=c",
        receiver.port()
    );
    assert_eq!(receiver.requests(), [expected]);

    let refusing = Receiver::answering("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let answer = exchange.send(&place(&refusing), credentials(), String::new(), AMPLE).await;
    assert_eq!(answer.unwrap_err().to_string(), "`127.0.0.1` answered 400");
}

#[tokio::test]
async fn a_document_is_read_to_its_end_or_refused() {
    let slowly = Receiver::running(|mut peer: Peer| async move {
        peer.request().await;
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{ ").await;
        // Longer than a delivery waits for the body of a success.
        tokio::time::sleep(Duration::from_millis(250)).await;
        peer.say(" }").await;
    })
    .await;
    assert_eq!(said(&documents(), &place(&slowly), AMPLE).await, "4 bytes");

    let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    for (answer, want) in [
        (head(MAX_DOCUMENT) + &" ".repeat(MAX_DOCUMENT), "262144 bytes"),
        (
            head(MAX_DOCUMENT + 1) + &" ".repeat(MAX_DOCUMENT + 1),
            "`127.0.0.1` sent a document that is too large or broke off",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: /else\r\ncontent-length: 0\r\n\r\n".into(),
            "`127.0.0.1` answered 302",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), "`127.0.0.1` answered 204"),
    ] {
        let receiver = Receiver::answering(answer).await;
        assert_eq!(said(&documents(), &place(&receiver), AMPLE).await, want);
        assert_eq!(receiver.requests().len(), 1);
    }

    let broken = Receiver::running(|mut peer: Peer| async move {
        peer.request().await;
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{ ").await;
    })
    .await;
    let want = "`127.0.0.1` sent a document that is too large or broke off";
    assert_eq!(said(&documents(), &place(&broken), AMPLE).await, want);
}

#[tokio::test]
async fn a_document_that_never_ends_costs_its_limit_and_no_more() {
    let dripping = Receiver::running(|mut peer: Peer| async move {
        peer.request().await;
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n").await;
        loop {
            peer.say(" ").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let began = Instant::now();
    let said = said(&documents(), &place(&dripping), SHORT).await;
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    // Whichever of the two bounds is met first.
    let late = "`127.0.0.1` did not send the whole document in time";
    let cut = "`127.0.0.1` sent a document that is too large or broke off";
    assert!([late, cut].contains(&said.as_str()), "{said}");
}

#[tokio::test]
async fn the_rules_of_deliveries_hold() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let strict = EgressConfig { allow: Vec::new(), ..loopback_config(&Authority::new().pem) };
    let strict = Arc::new(Egress::new(strict).unwrap()).documents();
    for (scheme, host, want) in [
        (Scheme::Http, "127.0.0.1", "`127.0.0.1` may not be called: only https is allowed"),
        (Scheme::Https, "127.0.0.1", "`127.0.0.1` may not be called: its host is an address and not a name"),
        (Scheme::Https, "localhost", "`localhost` may not be called: it is not at a public address"),
    ] {
        let place = Place { scheme, host: host.into(), ..place(&receiver) };
        assert_eq!(said(&strict, &place, AMPLE).await, want);
    }
    assert_eq!(said(&Documents::default(), &place(&receiver), AMPLE).await, "nothing may be fetched here");
    assert_eq!(receiver.connections(), 0);
}
