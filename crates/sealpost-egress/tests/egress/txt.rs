//! TXT records: what is read, what is refused, and how long it takes at most.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sealpost_egress::{DnsFault, Egress, EgressConfig, TxtLookup};

use crate::name_server::Names;
use crate::support::{AMPLE, Authority, PROMPT, SHORT, loopback_config};

/// One line for an answer.
async fn told(lookup: &TxtLookup, name: &str) -> String {
    match lookup.records(name, AMPLE).await {
        Ok(records) => format!("{records:?}"),
        Err(fault) => fault.to_string(),
    }
}

#[tokio::test]
async fn records_come_with_their_strings_joined() {
    let names = Names::serving(&[
        ("one.example", &["txt:token", "127.0.0.1"]),
        ("two.example", &["txt:v=spf1 -all", "txt:token"]),
        ("split.example", &["txt:tok|en|", "txt:|"]),
        ("alias.example", &["alias:one.example"]),
        ("address.example", &["127.0.0.1"]),
    ])
    .await;
    let lookup = names.egress(&Authority::new().pem).txt_lookup();
    for (name, expected) in [
        ("one.example", r#"["token"]"#),
        ("ONE.example", r#"["token"]"#),
        ("two.example", r#"["v=spf1 -all", "token"]"#),
        ("split.example", r#"["token", ""]"#),
        ("alias.example", r#"["token"]"#),
        ("address.example", "[]"),
        ("absent.example", "[]"),
        ("a..b", "it is not a valid name"),
    ] {
        assert_eq!(told(&lookup, name).await, expected, "{name}");
    }
    let asked = names.asked.load(Ordering::SeqCst);
    assert_eq!(told(&lookup, "app.localhost").await, "[]");
    assert_eq!(names.asked.load(Ordering::SeqCst), asked, "localhost is nobody else's business");
}

#[tokio::test]
async fn a_record_that_changed_is_seen_at_once() {
    let names = Names::serving(&[]).await;
    let lookup = names.egress(&Authority::new().pem).txt_lookup();
    assert_eq!(told(&lookup, "new.example").await, "[]");
    for text in ["first", "second"] {
        names.set("new.example", &[&format!("txt:{text}")]);
        assert_eq!(told(&lookup, "new.example").await, format!("[{text:?}]"));
    }
}

#[tokio::test]
async fn an_answer_without_bounds_is_refused() {
    let names = Names::serving(&[]).await;
    for (name, count, bytes) in
        [("fits.example", 256, 100), ("many.example", 257, 10), ("large.example", 200, 200)]
    {
        let set: Vec<String> = (0..count).map(|n| format!("txt:{n:0bytes$}")).collect();
        names.set(name, &set.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let lookup = names.egress(&Authority::new().pem).txt_lookup();
    assert_eq!(lookup.records("fits.example", AMPLE).await.map(|records| records.len()), Ok(256));
    assert_eq!(lookup.records("many.example", AMPLE).await, Err(DnsFault::TooMuch));
    assert_eq!(lookup.records("large.example", AMPLE).await, Err(DnsFault::TooMuch));
}

#[tokio::test]
async fn a_silent_name_server_costs_the_limit_and_no_more() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = EgressConfig {
        nameservers: Some(vec![silent.local_addr().unwrap()]),
        ..loopback_config(&Authority::new().pem)
    };
    let lookup = Egress::new(config).unwrap().txt_lookup();
    let began = Instant::now();
    assert_eq!(lookup.records("a.example", SHORT).await, Err(DnsFault::TimedOut));
    let took = began.elapsed();
    assert!(took >= SHORT && took < SHORT + Duration::from_secs(1), "{took:?}");
    // Without a nearer limit the questions themselves end.
    assert_eq!(lookup.records("a.example", 2 * AMPLE).await, Err(DnsFault::TimedOut));
    assert!(began.elapsed() < 2 * PROMPT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn without_name_servers_look_ups_say_so() {
    let without = |nameservers| EgressConfig {
        nameservers,
        resolv_conf: "/nonexistent/resolv.conf".into(),
        ..loopback_config(&Authority::new().pem)
    };
    for lookup in [
        Egress::new(without(None)).unwrap().txt_lookup(),
        Egress::new(without(Some(Vec::new()))).unwrap().txt_lookup(),
        TxtLookup::default(),
    ] {
        assert_eq!(lookup.records("a.example", AMPLE).await, Err(DnsFault::NoServers));
    }
}
