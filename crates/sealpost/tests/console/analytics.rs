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
