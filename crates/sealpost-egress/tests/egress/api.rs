//! The command line's own client.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use sealpost_egress::{ApiClient, ApiTarget, MAX_API_BODY, Scheme};

use crate::support::{Authority, OK, Peer, Receiver, SHORT, tls_receiver};

fn client(receiver: &Receiver, scheme: Scheme, host: &str, ca_pem: Option<&str>) -> ApiClient {
    let target = ApiTarget { scheme, host: host.into(), port: receiver.port() };
    ApiClient::new(target, ca_pem.map(str::as_bytes)).unwrap()
}

async fn get(client: &ApiClient, path: &str) -> String {
    match client.request(Method::GET, path, HeaderMap::new(), Bytes::new()).await {
        Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn calls_share_one_connection() {
    let receiver = Receiver::answering(OK).await;
    let client = client(&receiver, Scheme::Http, "127.0.0.1", None);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer x"));
    let body = Bytes::from_static(b"{}");
    client.request(Method::PUT, "/v1/webhooks/1?a=b", headers, body).await.unwrap();
    assert_eq!(get(&client, "/livez").await, "200 ok");
    assert_eq!(receiver.connections(), 1);
    let expected = format!(
        "PUT /v1/webhooks/1?a=b HTTP/1.1\r\nauthorization: Bearer x\r\nhost: 127.0.0.1:{}\r\n\
         accept-encoding: identity\r\ncontent-length: 2\r\n\r\n{{}}",
        receiver.port()
    );
    assert_eq!(receiver.requests()[0], expected);
}

#[tokio::test]
async fn a_closed_connection_is_replaced_and_a_large_answer_is_read() {
    let receiver = Receiver::running(|mut peer: Peer| async move {
        peer.request().await;
        let body = "x".repeat(1_000_000);
        peer.say(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    })
    .await;
    let client = client(&receiver, Scheme::Http, "localhost", None);
    for _ in 0..3 {
        assert_eq!(get(&client, "/").await.len(), "200 ".len() + 1_000_000);
    }
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let huge = Receiver::running(|mut peer: Peer| async move {
        peer.request().await;
        peer.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let chunk = format!("100000\r\n{}\r\n", "x".repeat(1024 * 1024));
        for _ in 0..=MAX_API_BODY / (1024 * 1024) {
            peer.say(&chunk).await;
        }
    })
    .await;
    let silent = Receiver::running(|mut peer: Peer| async move { peer.until_closed().await }).await;
    assert_eq!(
        get(&client(&huge, Scheme::Http, "127.0.0.1", None), "/").await,
        "`127.0.0.1` did not answer in HTTP as expected: the answer's body is too large"
    );
    assert_eq!(
        get(&client(&silent, Scheme::Http, "127.0.0.1", None).with_timeout(SHORT), "/").await,
        "`127.0.0.1` gave no answer in time; the limit passed while waiting for the answer"
    );
}

#[tokio::test]
async fn https_needs_a_trusted_certificate() {
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor("localhost", 2090, &["http/1.1"]), OK).await;
    let trusting = client(&receiver, Scheme::Https, "localhost", Some(&authority.pem));
    assert_eq!(get(&trusting, "/").await, "200 ok");
    let stranger = client(&receiver, Scheme::Https, "localhost", Some(&Authority::new().pem));
    assert_eq!(get(&stranger, "/").await, "`localhost` could not be trusted: unknown issuer");
    let by_address = client(&receiver, Scheme::Https, "127.0.0.1", Some(&authority.pem));
    assert_eq!(get(&by_address, "/").await, "`127.0.0.1` could not be trusted: name mismatch");
}
