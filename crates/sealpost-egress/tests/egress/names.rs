//! Names: one bad address spoils them all, and some are answered at home.

use std::sync::atomic::Ordering;

use sealpost_egress::{Egress, EgressConfig, EgressError, Outbound, Request, Sent};

use crate::name_server::Names;
use crate::support::{
    Authority, OK, PROMPT, Receiver, SHORT, https, loopback_config, plain_egress, send, tls_receiver, told,
};

const REFUSED: &str = "may not be called: it is not at a public address (NotSent)";

#[tokio::test]
async fn one_denied_address_spoils_the_name_and_nothing_is_dialled() {
    let names = Names::serving(&[
        ("mixed.example", &["127.0.0.1", "10.1.2.3"]),
        ("mixed6.example", &["127.0.0.1", "fd00::1"]),
        ("private.example", &["192.168.1.1"]),
        ("metadata.example", &["169.254.169.254"]),
        ("mapped.example", &["::ffff:127.0.0.1"]),
        ("alias.example", &["alias:target.example"]),
        ("target.example", &["10.0.0.1"]),
    ])
    .await;
    let receiver = Receiver::answering(OK).await;
    let egress = names.egress(&Authority::new().pem);
    for (host, address) in [
        ("mixed.example", "10.1.2.3"),
        ("mixed6.example", "fd00::1"),
        ("private.example", "192.168.1.1"),
        ("metadata.example", "169.254.169.254"),
        ("mapped.example", "::ffff:127.0.0.1"),
        ("alias.example", "10.0.0.1"),
    ] {
        let error = egress.send(https(host, receiver.port())).await.unwrap_err();
        assert_eq!(error.to_string(), format!("`{host}` may not be called: it is not at a public address"));
        assert!(!format!("{error:?}").contains(address), "{error:?}");
        assert_eq!(error.refused_address(), Some(address.parse().unwrap()));
        assert_eq!(error.sent(), Sent::NotSent);
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_name_is_reached_at_its_vetted_address() {
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor("hook.example", 2090, &["http/1.1"]), OK).await;
    let names = Names::serving(&[
        ("hook.example", &["alias:edge.example"]),
        ("edge.example", &["127.0.0.2", "127.0.0.1"]),
    ])
    .await;
    let egress = names.egress(&authority.pem);
    assert_eq!(send(&egress, https("hook.example", receiver.port())).await, "200");
    assert_eq!(send(&egress, https("hook.example", receiver.port())).await, "200, reused");
    assert!(receiver.requests()[0].contains(&format!("host: hook.example:{}\r\n", receiver.port())));
}

#[tokio::test]
async fn names_without_addresses_say_why() {
    let chain: Vec<(String, String)> =
        (0..12).map(|n| (format!("c{n}.example"), format!("alias:c{}.example", n + 1))).collect();
    let many: Vec<String> = (1..=33).map(|n| format!("127.0.1.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let targets: Vec<[&str; 1]> = chain.iter().map(|(_, target)| [target.as_str()]).collect();
    let mut rows: Vec<(&str, &[&str])> =
        chain.iter().zip(&targets).map(|((name, _), target)| (name.as_str(), &target[..])).collect();
    rows.push(("c12.example", &["127.0.0.1"]));
    rows.push(("empty.example", &[]));
    rows.push(("many.example", &many));
    rows.push(("loop.example", &["alias:loop.example"]));
    let names = Names::serving(&rows).await;
    let egress = names.egress(&Authority::new().pem);
    for (host, expected) in [
        ("absent.example", "the name does not exist"),
        ("empty.example", "the name has no address"),
        ("c0.example", "the answer holds too many records"),
        ("many.example", "the answer holds too many records"),
        ("a..b", "it is not a valid name"),
    ] {
        assert_eq!(
            send(&egress, https(host, 443)).await,
            format!("`{host}` could not be resolved: {expected} (NotSent)")
        );
    }
    let looped = egress.send(https("loop.example", 443)).await.unwrap_err();
    assert!(matches!(looped, EgressError::Dns { .. }), "{looped}");
}

#[tokio::test]
async fn a_silent_name_server_costs_a_second_and_no_more() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = EgressConfig {
        nameservers: Some(vec![silent.local_addr().unwrap()]),
        ..loopback_config(&Authority::new().pem)
    };
    let egress = Egress::new(config).unwrap();
    let began = std::time::Instant::now();
    assert_eq!(
        send(&egress, https("hook.example", 443)).await,
        "`hook.example` could not be resolved: the name servers did not answer in time (NotSent)"
    );
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    assert_eq!(
        send(&egress, Request { timeout: SHORT, ..https("other.example", 443) }).await,
        "`other.example` gave no answer in time; the limit passed while resolving the name (NotSent)"
    );
}

#[tokio::test]
async fn localhost_is_loopback_without_a_question() {
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor("app.localhost", 2090, &["http/1.1"]), OK).await;
    let names = Names::serving(&[("app.localhost", &["10.0.0.1"])]).await;
    let egress = names.egress(&authority.pem);
    assert_eq!(send(&egress, https("app.localhost", receiver.port())).await, "200");
    let strict = Egress::new(EgressConfig { allow: Vec::new(), ..loopback_config(&authority.pem) }).unwrap();
    assert_eq!(send(&strict, https("localhost", receiver.port())).await, format!("`localhost` {REFUSED}"));
    assert_eq!((names.asked.load(Ordering::SeqCst), receiver.connections()), (0, 1));
}

#[tokio::test]
async fn a_missing_resolv_conf_is_no_error_at_start() {
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor("localhost", 2090, &["http/1.1"]), OK).await;
    let config = EgressConfig {
        nameservers: None,
        resolv_conf: "/nonexistent/resolv.conf".into(),
        ..loopback_config(&authority.pem)
    };
    let egress = Egress::new(config).unwrap();
    assert_eq!(
        send(&egress, https("hook.example", 443)).await,
        "`hook.example` could not be resolved: no name server is configured (NotSent)"
    );
    assert_eq!(send(&egress, https("localhost", receiver.port())).await, "200");
}

#[tokio::test]
async fn addresses_and_plain_http_are_refused_by_name_of_the_reason() {
    let receiver = Receiver::answering(OK).await;
    let secure = Egress::new(loopback_config(&Authority::new().pem)).unwrap();
    let plain = plain_egress();
    let http = |host: &str| Request { scheme: sealpost_egress::Scheme::Http, ..https(host, receiver.port()) };
    for (egress, request, expected) in [
        (&secure, https("127.0.0.1", 443), "its host is an address and not a name"),
        (&secure, https("[::1]", 443), "its host is an address and not a name"),
        (&secure, http("localhost"), "only https is allowed"),
        (&plain, http("127.0.0.2"), "plain http is allowed to localhost and 127.0.0.1 only"),
        (&plain, http("app.localhost"), "plain http is allowed to localhost and 127.0.0.1 only"),
        (&plain, http("example.com"), "plain http is allowed to localhost and 127.0.0.1 only"),
    ] {
        let host = request.host.clone();
        let result = egress.send(request).await;
        assert_eq!(told(&result), format!("`{host}` may not be called: {expected} (NotSent)"));
    }
    assert_eq!(send(&plain, http("localhost")).await, "200");
    assert_eq!(receiver.connections(), 1);
}
