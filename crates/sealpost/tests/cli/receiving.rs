//! `listen`: a receiver that registers itself, verifies what comes and takes its registration back.

use serde_json::Value;

use super::support::{Running, Server, run_with};

#[test]
fn a_listener_verifies_what_was_published() {
    let server = Server::start(&[("SEALPOST_EGRESS_HTTP", "loopback"), ("SEALPOST_RETRY_INTERVALS", "1s")]);
    let mut command = server.command(&[
        "listen",
        "--port",
        "0",
        "--register",
        "--events",
        "did_create,credential_issued",
        "--fail",
        "1",
        "--count",
        "3",
        "--json",
        "--show-payload",
    ]);
    let listener = Running::start(&mut command);
    let webhook = listener.note_with("registered webhook");
    let webhook = webhook.split(' ').nth(2).unwrap().to_owned();
    server
        .run(&[
            "webhook",
            "settings",
            "set",
            &webhook,
            r#"signatures=["http-message-signatures","standard-webhooks"]"#,
        ])
        .ok();
    server.run(&["trigger", "did_create"]).ok();
    let first = line(&listener);
    server.run(&["trigger", "credential_issued", "--webhook", &webhook]).ok();
    let lines = [first, line(&listener), line(&listener)];
    for line in &lines {
        assert_eq!(line["verified"], true, "{line}");
        assert_eq!(line["by"].as_array().map(Vec::len), Some(2), "{line}");
        assert_eq!(line["webhookId"], webhook.as_str());
    }
    assert_eq!(lines.iter().filter(|line| line["answered"] == 503).count(), 1);
    assert!(lines.iter().any(|line| line["type"] == "did_create" && line["attempt"] == 2));
    assert!(lines.iter().any(|line| line["type"] == "credential_issued" && line["test"] == true));

    // What it recorded can be verified again.
    let recorded = lines[0]["request"].to_string();
    let ran = run_with(&mut server.command(&["verify"]), &recorded);
    assert!(ran.ok().contains("verified by key "), "{}", ran.out());
    let ran = run_with(&mut server.command(&["verify"]), &recorded.replace("did_create", "did_delete"));
    assert_eq!(ran.code(), 1);

    assert_eq!(listener.wait(), 0);
    assert_eq!(server.run(&["webhook", "list", "--json"]).json()["data"], serde_json::json!([]));
}

#[test]
fn a_listener_with_tls_is_trusted_by_the_file_it_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let ca = ca.to_str().unwrap();
    // The first use makes the file, which the server reads at its start.
    let maker = Server::start(&[]);
    let first = Running::start(&mut maker.command(&["listen", "--port", "0", "--tls", "--ca-file", ca]));
    first.note_with("listening on https://localhost:");
    first.interrupt();
    assert_eq!(first.wait(), 0);

    let server = Server::start(&[("SEALPOST_EGRESS_ALLOW", "127.0.0.0/8"), ("SEALPOST_EGRESS_CA", ca)]);
    let mut command = server.command(&[
        "listen",
        "--port",
        "0",
        "--tls",
        "--ca-file",
        ca,
        "--register",
        "--events",
        "proof_submitted",
    ]);
    let listener = Running::start(&mut command);
    listener.note_with("registered webhook");
    server.run(&["trigger", "proof_submitted"]).ok();
    let line = listener.line();
    assert!(
        line.contains("proof_submitted  attempt 1  verified by key ") && line.ends_with("answered 200"),
        "{line}"
    );
    listener.interrupt();
    listener.note_with("deleted webhook");
    assert_eq!(listener.wait(), 0);
}

#[test]
fn a_server_that_was_not_started_for_it_is_named() {
    let server = Server::start(&[]);
    let ran = server.run(&["listen", "--port", "0", "--register", "--events", "did_create"]);
    assert_eq!(ran.code(), 4);
    assert!(ran.err().contains("start the server with SEALPOST_EGRESS_HTTP=loopback"), "{}", ran.err());
}

fn line(listener: &Running) -> Value {
    serde_json::from_str(&listener.line()).unwrap()
}
