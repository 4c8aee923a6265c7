//! The demo is a test of everything; here only its end is looked at.

use super::support::{Running, run, sealpost};

#[test]
fn the_demo_ends_well_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = sealpost(folder.path());
    let end = run(command.args(["demo", "--json"]).env("TMPDIR", folder.path())).json();
    assert_eq!(end["ok"], true, "{end}");
    let rows: Vec<String> = end["webhooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let of = |name: &str| row[name].to_string();
            format!(
                "{} {} {} {} {} {}",
                of("webhook"),
                of("deliveries"),
                of("delivered"),
                of("verified"),
                of("retried"),
                of("failed")
            )
        })
        .collect();
    assert_eq!(rows, [r#""healthy" 32 32 32 0 0"#, r#""flaky" 32 32 32 16 0"#, r#""dead" 32 0 0 32 32"#]);
    assert!(end["tookMs"].as_u64().unwrap() < 15_000, "{end}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupted_demo_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = sealpost(folder.path());
    let demo = Running::start(command.arg("demo").env("TMPDIR", folder.path()));
    while !demo.line().starts_with("published") {}
    demo.interrupt();
    assert_eq!(demo.wait(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
