//! Commands against a server: what they print and what they end with.

use std::fs;

use serde_json::Value;

use super::support::{Server, run_with};

#[test]
fn webhooks_are_managed_from_the_command_line() {
    let server = Server::start(&[]);
    let made = server
        .run(&[
            "webhook",
            "create",
            "https://hooks.example.com/in",
            "--events",
            "did_create,proof_submitted",
            "--json",
        ])
        .json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["events"], serde_json::json!(["did_create", "proof_submitted"]));

    let shown = server.run(&["webhook", "get", id]).ok();
    assert_eq!(
        shown,
        format!("{id}  enabled\nurl     https://hooks.example.com/in\nevents  did_create, proof_submitted")
    );
    let updated = server.run(&["webhook", "update", id, "--disable", "--json"]).json();
    assert_eq!((&updated["disabled"], &updated["url"]), (&true.into(), &made["url"]));
    assert!(server.run(&["webhook", "list"]).ok().contains("disabled  https://hooks.example.com/in"));

    let settings =
        server.run(&["webhook", "settings", "set", id, "payload=thin", "maxInFlight=2", "--json"]).json();
    assert_eq!((&settings["payload"], &settings["maxInFlight"]), (&"thin".into(), &2.into()));
    let settings = server.run(&["webhook", "settings", "get", id]).ok();
    assert!(settings.lines().any(|line| line.split_whitespace().eq(["payload", "thin"])), "{settings}");

    let secret = server.run(&["webhook", "secret", id]).ok();
    let rotated = server.run(&["webhook", "secret", id, "--rotate", "--overlap", "1h"]).ok();
    assert!(secret.starts_with("whsec_") && rotated.starts_with("whsec_") && secret != rotated);

    assert_eq!(server.run(&["webhook", "delete", id]).ok(), format!("deleted {id}"));
    let gone = server.run(&["webhook", "get", id]);
    assert_eq!((gone.code(), gone.err()), (3, format!("sealpost: there is no webhook {id}")));
}

const ABSENT: &str = "0190c0de-0000-7000-8000-000000000000";

#[test]
fn a_portal_link_is_made_from_the_command_line() {
    let server = Server::start(&[]);
    let create = ["webhook", "create", "https://hooks.example.com/in", "--events", "did_create", "--json"];
    let ids = [0, 1].map(|_| server.run(&create).json()["id"].as_str().unwrap().to_owned());
    let link = server.run(&["portal", "link", &ids[0], &ids[1], "--expires-in", "1h", "--json"]).json();
    assert_eq!(link["webhookIds"], serde_json::json!(ids));
    let made = server.run(&["portal", "link", &ids[0]]);
    assert!(made.ok().contains("/console/portal/spl_"), "{}", made.out());
    assert!(made.err().starts_with("it opens once, until "), "{}", made.err());
    let absent = server.run(&["portal", "link", ABSENT]);
    assert_eq!(
        (absent.code(), absent.err()),
        (4, format!("sealpost: webhookIds[0]: Resource Not Found (`{ABSENT}`)"))
    );
    assert_eq!(server.run(&["portal", "link"]).code(), 2);
}

#[test]
fn webhooks_of_truveras_dialect_show_their_token_once() {
    let server = Server::start(&[]);
    let create =
        ["webhook", "create", "https://hooks.example.com/in", "--dialect", "truvera", "--events", "*"];
    let made = server.run(&create).ok();
    let token = made.lines().find_map(|line| line.strip_prefix("token   ")).unwrap().to_owned();
    assert_eq!((made.lines().next(), token.len()), (Some("1  enabled"), 64), "{made}");
    let whole = server.run(&[&create[..], &["--disabled", "--json"]].concat()).json();
    assert_eq!((&whole["id"], &whole["status"]), (&"2".into(), &0.into()));
    assert_eq!(whole["secret"].as_str().unwrap().len(), 64);

    let listed = server.run(&["webhook", "list", "--dialect", "truvera"]).ok();
    assert!(listed.contains("2   disabled  https://hooks.example.com/in  credential_create, "), "{listed}");
    assert_eq!(server.run(&["webhook", "list"]).ok().lines().count(), 1, "the other dialect has none");
    let one = server.run(&["webhook", "list", "--dialect", "truvera", "--limit", "1", "--json"]);
    assert_eq!(one.json().as_array().unwrap().len(), 1);
    assert_eq!(one.err(), "");
    let short = server.run(&["webhook", "list", "--dialect", "truvera", "--limit", "1"]);
    assert_eq!(short.err(), "there is more: --all, or a larger --limit");

    let got = server.run(&["webhook", "get", "1", "--json"]).json();
    assert_eq!((&got["id"], got.get("secret")), (&"1".into(), None));
    let updated = server.run(&["webhook", "update", "1", "--disable", "--events", "did_create"]).ok();
    assert_eq!(updated, "1  disabled\nurl     https://hooks.example.com/in\nevents  did_create");
    for shown in [&listed, &one.out(), &got.to_string(), &updated] {
        assert!(!shown.contains(&token), "{shown}");
    }

    let fresh = server.run(&["webhook", "rotate-token", "1"]).ok();
    assert!(fresh.len() == 64 && fresh != token, "{fresh}");
    assert_eq!(server.run(&["webhook", "delete", "1"]).ok(), "deleted 1");
    let gone = server.run(&["webhook", "get", "1"]);
    assert_eq!((gone.code(), gone.err()), (3, "sealpost: there is no webhook 1".into()));
    let refused =
        server.run(&["webhook", "create", "http://x.example", "--dialect", "truvera", "--events", "*"]);
    assert_eq!(refused.code(), 4);
    assert!(refused.err().starts_with("sealpost: url: "), "{}", refused.err());
}

#[test]
fn refusals_are_sentences() {
    let server = Server::start(&[]);
    let ran = server.run(&["webhook", "create", "http://hooks.example.com", "--events", "did_create"]);
    assert_eq!(ran.code(), 4);
    assert!(ran.err().starts_with("sealpost: url: "), "{}", ran.err());
    let ran = server.run(&["webhook", "create", "https://hooks.example.com"]);
    assert_eq!(ran.code(), 2);
    let ran = server.run(&["webhook", "list", "--api-key", "spk_wrong"]);
    assert_eq!((ran.code(), ran.err()), (4, "sealpost: the server does not accept this API key".into()));
    let ran = server.run(&["event", "get", "0182ec5b-89f5-7bab-abab-abababababab"]);
    assert_eq!(ran.code(), 3);
}

#[test]
fn events_are_published_in_every_form_and_never_twice() {
    let server = Server::start(&[]);
    server
        .run(&["webhook", "create", "https://hooks.example.com", "--events", "did_create", "--disabled"])
        .ok();

    let ran = run_with(&mut server.command(&["publish", "--type", "did_create", "-"]), "{\"n\": 1.50}");
    assert!(ran.ok().starts_with("accepted did_create "), "{}", ran.out());

    let file = server.folder.path().join("events.jsonl");
    let line = r#"{"type":"proof_submitted","payload":{"id":"p","verified":true}}"#;
    fs::write(&file, format!("{line}\n").repeat(2500)).unwrap();
    let publish = ["publish", "events.jsonl", "--idempotency-key", "run-1"];
    assert_eq!(server.run(&publish).ok(), "2500 accepted, 0 repeated, 0 failed");
    assert_eq!(server.run(&publish).ok(), "0 accepted, 2500 repeated, 0 failed");

    let bad = format!("{line}\n{line}\n{{\"type\":\"no_such_type\",\"payload\":{{}}}}\n");
    let ran = run_with(&mut server.command(&["publish"]), &bad);
    assert_eq!((ran.code(), ran.out()), (4, "0 accepted, 0 repeated, 3 failed".into()));
    assert!(ran.err().starts_with("lines 1 to 3: refused because of line 3: [2].type: "), "{}", ran.err());

    let list = server.run(&["event", "list", "--type", "did_create", "--json"]).json();
    let id = list["data"][0]["id"].as_str().unwrap();
    let event = server.run(&["event", "get", id, "--payload", "--json"]).json();
    assert_eq!(event["payload"], serde_json::json!({"n": 1.5}));
    assert_eq!(event["deliveries"][0]["status"], "cancelled");
    let all = server.run(&["event", "list", "--all", "--json"]).json();
    assert_eq!(all["data"].as_array().map(Vec::len), Some(2501));

    let delivery = event["deliveries"][0]["id"].as_str().unwrap();
    let timeline = server.run(&["delivery", "get", delivery]).ok();
    assert!(timeline.starts_with(&format!("{delivery}  cancelled (webhook_disabled)")), "{timeline}");
    assert_eq!(server.run(&["delivery", "cancel", delivery]).ok(), format!("cancelled {delivery}"));
}

#[test]
fn a_failing_delivery_shows_when_it_is_tried_next_and_can_be_given_up() {
    let server = Server::start(&[
        ("SEALPOST_EGRESS_ALLOW", "127.0.0.0/8,::1/128"),
        ("SEALPOST_RETRY_INTERVALS", "600s"),
    ]);
    let made = server
        .run(&["webhook", "create", "https://localhost:1099/in", "--events", "did_create", "--json"])
        .json();
    let webhook = made["id"].as_str().unwrap();
    let event = server.run(&["trigger", "did_create", "--json"]).json();
    let event = event["id"].as_str().unwrap();
    let pending = poll(|| {
        let list = server.run(&["delivery", "list", "--webhook", webhook, "--event", event, "--json"]).json();
        let delivery = list["data"][0].clone();
        (delivery["attemptsUsed"] == 1 && delivery["nextAttemptAt"].is_string()).then_some(delivery)
    });
    let id = pending["id"].as_str().unwrap();
    let timeline =
        poll(|| Some(server.run(&["delivery", "get", id]).ok()).filter(|text| text.contains("attempt 1")));
    assert!(timeline.contains("connect") && timeline.contains("next     "), "{timeline}");
    assert!(
        timeline.contains("(in 9 min)")
            || timeline.contains("(in 10 min)")
            || timeline.contains("(in 11 min)"),
        "{timeline}"
    );

    assert_eq!(server.run(&["delivery", "cancel", id]).ok(), format!("cancelled {id}"));
    let again = server.run(&["delivery", "redeliver", id]).ok();
    assert!(again.starts_with("sending again as delivery "), "{again}");
    let count = server
        .run(&[
            "delivery",
            "redeliver",
            "--webhook",
            webhook,
            "--from",
            "1h",
            "--status",
            "cancelled",
            "--dry-run",
        ])
        .ok();
    assert_eq!(count, "1 delivery would be sent again");
}

/// Asks until there is an answer.
fn poll<T>(ask: impl Fn() -> Option<T>) -> T {
    for _ in 0..200 {
        if let Some(found) = ask() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("it did not come to that");
}

#[test]
fn the_key_beside_a_local_store_is_found() {
    let server = Server::start(&[]);
    let mut command = server.command(&["webhook", "list", "--json"]);
    command.env_remove("SEALPOST_API_KEY").env("SEALPOST_BOOTSTRAP_API_KEY", super::support::KEY);
    let list: Value = super::support::run(&mut command).json();
    assert_eq!(list, serde_json::json!({"data": []}));
}
