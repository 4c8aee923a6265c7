//! The scripted stand-in keeps the contract its users rely on.

use std::sync::Arc;
use std::time::Duration;

use sealpost_egress::{Outbound, Reply, Request, Scripted};

use crate::support::{CountingGate, to_port, told};

#[tokio::test]
async fn replies_come_in_order_and_the_last_repeats() {
    let scripted = Scripted::answering([503, 200]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(told(&scripted.send(to_port(1)).await));
    }
    assert_eq!(seen, ["503", "200", "200"]);
    let requests = scripted.requests();
    assert_eq!(
        (requests.len(), &*requests[0].body, &*requests[0].target),
        (3, &b"{\"a\":1}"[..], "/hook?x=1")
    );
}

#[tokio::test]
async fn a_script_may_look_at_the_request() {
    let scripted = Scripted::by(|request| Reply::status(if request.port == 1 { 404 } else { 204 }));
    assert_eq!(told(&scripted.send(to_port(1)).await), "404");
    assert_eq!(told(&scripted.send(to_port(2)).await), "204");
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_is_a_timeout_at_the_limit() {
    let scripted = Scripted::answering([Reply::never(), Reply::status(200).after(Duration::from_secs(2))]);
    let began = tokio::time::Instant::now();
    let request = || Request { timeout: Duration::from_secs(3), ..to_port(1) };
    assert!(told(&scripted.send(request()).await).contains("while waiting for the answer (MaybeSent)"));
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(scripted.send(request()).await.unwrap().took, Duration::from_secs(2));
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn a_closed_gate_is_obeyed_and_counted() {
    let scripted = Scripted::answering([200]);
    let gate = Arc::new(CountingGate { closed: true, ..CountingGate::default() });
    let result = scripted.send(Request { gate, ..to_port(1) }).await;
    assert_eq!(told(&result), "the request was withdrawn before it began (NotSent)");
    assert_eq!((scripted.requests().len(), scripted.refused()), (0, 1));
}
