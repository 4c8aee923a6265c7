//! The page of analytic events: calls and deliveries in one list, without anybody's payload.

use sealpost_core::analytics::LogLevel;
use sealpost_core::role::Role;
use serde_json::json;

use crate::support::Console;

#[tokio::test]
async fn calls_and_deliveries_stand_in_one_list_that_reads_no_payload() {
    let console = Console::new().await;
    let world = &console.world;
    // Even where everything is told, a list is no reason to read payloads.
    world.app.change_log_level(world.tenant, LogLevel::Full, "test").await.unwrap();
    world.webhook(&["did_create"]).await;
    let event = world.publish(json!({"type": "did_create", "payload": {"did": "did:canary:1"}})).await;
    let mut admin = console.role(Role::Admin, None).await;
    let shown = admin.get("/console/analytics").await;
    assert_eq!(shown.status, 200);
    for call in ["WEBHOOK_CREATE_START", "WEBHOOK_CREATE_SUCCESS"] {
        assert!(shown.has(&format!("</span>{call}</span>")), "{call}");
    }
    assert!(shown.has("WEBHOOK_EVENT_RECEIVE") && shown.has(&format!("/console/events/{event}")));
    assert!(!shown.has("canary"), "a payload in a list");
    let log = world.get("/v1/webhooks/audit").await;
    assert!(!log.text().contains("read payload"), "{log}");

    let one = admin.get("/console/analytics?types=WEBHOOK_EVENT_RECEIVE").await;
    assert!(one.has("/console/events/") && !one.has("</span>WEBHOOK_CREATE_START</span>"));
    let request = shown.text().split("?requestIds=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(admin.get(&format!("/console/analytics?requestIds={request}")).await.has(&request));
    let other = "requestIds=0000000000000000000001";
    assert!(admin.get(&format!("/console/analytics?{other}")).await.has("Nothing fits"));
}

/// The command that a page offers asks the API for what the page shows.
#[tokio::test]
async fn the_command_of_a_page_keeps_all_of_its_filters() {
    let console = Console::new().await;
    console.world.webhook(&["did_create"]).await;
    console.world.publish(json!({"type": "did_create", "payload": {}})).await;
    let mut admin = console.role(Role::Admin, None).await;
    let (early, late) = ("2026-01-02T00:00", "2026-01-02T03:04:05.700Z");
    for (page, filter) in [
        ("deliveries", "status=pending&type=did_create"),
        ("events", "type=did_create"),
        ("analytics", "types=WEBHOOK_EVENT_RECEIVE"),
    ] {
        for (from, to, rows) in [(early, late, 1), (early, early, 0), (late, "", 0)] {
            let shown = admin.get(&format!("/console/{page}?{filter}&from={from}&to={to}")).await;
            let (_, command) = shown
                .text()
                .split_once("&#39;https://posts.example")
                .or_else(|| shown.text().split_once("'https://posts.example"))
                .expect("a command");
            let path = command.split(['\'', '<']).next().unwrap().replace("&amp;", "&").replace("&#39;", "");
            let answer = console.world.get(&path).await;
            let found = answer.json()["data"].as_array().map(Vec::len);
            assert_eq!((answer.status, found), (200, Some(rows)), "{path}");
            assert_eq!(
                shown.has("data-label=\"Type\"") || shown.has("data-label=\"Event\""),
                rows > 0,
                "{page}"
            );
        }
    }
}

#[tokio::test]
async fn a_filter_that_is_not_understood_is_told_and_shows_no_rows() {
    let console = Console::new().await;
    console.world.webhook(&["did_create"]).await;
    let event = console.world.publish(json!({"type": "did_create", "payload": {}})).await;
    let mut admin = console.role(Role::Admin, None).await;
    for page in ["analytics", "events", "deliveries"] {
        let rows = format!("/console/{page}/");
        for wrong in ["from=yesterday", "to=2026-13-01T00:00"] {
            let shown = admin.get(&format!("/console/{page}?{wrong}")).await;
            assert!(
                shown.has("A time is written as") && !shown.has(&rows) && !shown.has(&event),
                "{page} {wrong}"
            );
        }
    }
    for (page, why) in [
        ("analytics?types=NO_SUCH", "There is no such type."),
        ("analytics?requestIds=not-one", "A request id has 22 letters and digits."),
        ("events?type=no%20type", "There is no such event type."),
        ("deliveries?type=no%20type", "There is no such event type."),
    ] {
        let shown = admin.get(&format!("/console/{page}")).await;
        assert!(shown.has(why) && !shown.has(&event), "{page}");
    }
}
