//! What needs no server: verifying, samples, and saying that there is none.

use std::fs;

use super::support::{run, run_with, sealpost};

/// Worked example A: made for this project in the wire format of MATTR's library, with the key of RFC 8037 A.1.
const EXAMPLE: &str = include_str!("../../src/cli/verify/example.http");
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig","kid":"FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ"}]}"#;

#[test]
fn verify_ends_with_0_only_for_a_genuine_and_fresh_request() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keys.json"), KEYS).unwrap();
    let verify = |more: &[&str], request: &str| {
        let mut command = sealpost(folder.path());
        command.args(["verify", "--jwks", "keys.json"]).args(more);
        let ran = run_with(&mut command, request);
        (ran.code(), ran.out().lines().last().unwrap_or_default().to_owned())
    };
    let verified = "verified by key FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ".to_owned();
    let not = || "not verified".to_owned();
    assert_eq!(verify(&["--max-age", "off"], EXAMPLE), (0, verified.clone()));
    assert_eq!(verify(&["--at", "2022-08-30T01:27:00Z"], EXAMPLE), (0, verified));
    assert_eq!(verify(&[], EXAMPLE), (1, not()));
    assert_eq!(verify(&["--max-age", "off"], &EXAMPLE.replace("web-semantic", "mobile")), (1, not()));
    assert_eq!(verify(&["--max-age", "off"], &EXAMPLE.replace("POST", "PUT")), (1, not()));
    assert_eq!(verify(&["--max-age", "off"], "").0, 2);
}

#[test]
fn verify_explains_itself_to_programs_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keys.json"), KEYS).unwrap();
    let mut command = sealpost(folder.path());
    command.args(["verify", "--json", "--jwks", "keys.json"]);
    let ran = run_with(&mut command, EXAMPLE);
    let answer: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(answer["verified"], false);
    let failed: Vec<&str> = answer["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["result"] == "failed")
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["age"]);
    assert!(answer["signatureBase"].as_str().unwrap().starts_with("\"@request-target\": /mattr/receiver\n"));
}

#[test]
fn a_server_that_is_not_there_is_code_5_and_advice() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(sealpost(folder.path()).args(["webhook", "list", "--server", "http://127.0.0.1:9"]));
    assert_eq!(ran.code(), 5);
    assert!(ran.err().contains("start it with `sealpost serve`"), "{}", ran.err());
    let ran = run(sealpost(folder.path()).args(["webhook", "list", "--server", "127.0.0.1"]));
    assert_eq!(ran.code(), 2, "{}", ran.err());
}

#[test]
fn a_sample_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let sample = run(sealpost(folder.path()).args(["trigger", "credential_issued", "--print"])).json();
    assert_eq!(sample["type"], "credential_issued");
    assert_eq!(sample["payload"]["signingOps"], 1);
    assert_eq!(run(sealpost(folder.path()).args(["trigger", "no such type"])).code(), 2);
}
