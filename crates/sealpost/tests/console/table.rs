//! Every page for every role, and another tenant's things for everybody.

use std::fmt::Write as _;

use expect_test::expect;
use sealpost_core::id::WebhookId;
use sealpost_core::role::Role;
use serde_json::json;

use crate::api::ABSENT;
use crate::support::Console;

/// Pages to look at; `{webhook}`, `{event}` and `{delivery}` stand for ids.
pub(crate) const LOOKS: [&str; 18] = [
    "/console",
    "/console/tenants",
    "/console/overview",
    "/console/webhooks",
    "/console/webhooks/new",
    "/console/webhooks/{webhook}",
    "/console/webhooks/{webhook}/edit",
    "/console/webhooks/{webhook}/settings",
    "/console/webhooks/{webhook}/delete",
    "/console/deliveries",
    "/console/deliveries/{delivery}",
    "/console/events",
    "/console/events/{event}",
    "/console/events/{event}/erase",
    "/console/event-types",
    "/console/keys",
    "/console/analytics",
    "/console/audit",
];

/// The last two would take away what the others are about.
pub(crate) const CHANGES: [&str; 19] = [
    "/console/tenants",
    "/console/webhooks",
    "/console/webhooks/{webhook}/edit",
    "/console/webhooks/{webhook}/settings",
    "/console/webhooks/{webhook}/pause",
    "/console/webhooks/{webhook}/resume",
    "/console/webhooks/{webhook}/test",
    "/console/webhooks/{webhook}/secret",
    "/console/webhooks/{webhook}/token",
    "/console/webhooks/{webhook}/portal",
    "/console/deliveries/{delivery}/redeliver",
    "/console/deliveries/{delivery}/cancel",
    "/console/deliveries/{delivery}/request",
    "/console/events/{event}/payload",
    "/console/event-types",
    "/console/event-types/delete",
    "/console/keys/rotate",
    "/console/events/{event}/erase",
    "/console/webhooks/{webhook}/delete",
];

/// Pages for nobody in particular, which have tests of their own.
const FOR_ANYBODY: [&str; 7] = [
    "GET /console/sign-in",
    "POST /console/sign-in",
    "GET /console/sign-in/openid",
    "POST /console/sign-in/openid",
    "GET /console/assets/{name}",
    "GET /console/portal/{token}",
    "POST /console/portal",
];
/// It ends the session that the others need.
const SIGN_OUT: &str = "POST /console/sign-out";

/// A page that is added is added here, and so to every test that goes through these lists.
#[test]
fn every_page_of_the_console_is_in_one_of_the_lists() {
    let source = include_str!("../../src/console/pages/mod.rs");
    let row = |line: &str| {
        let (method, rest) = line.trim().strip_prefix("Page::")?.split_once("(\"")?;
        Some(format!("{} {}", method.to_uppercase(), rest.split('"').next()?))
    };
    let mut pages: Vec<String> = source.lines().filter_map(row).collect();
    let listed = |method: &str, path: &str| {
        let path = ["webhook", "event", "delivery"]
            .iter()
            .fold(path.to_owned(), |path, name| path.replace(&format!("{{{name}}}"), "{id}"));
        format!("{method} {path}")
    };
    let mut lists: Vec<String> = LOOKS.iter().map(|path| listed("GET", path)).collect();
    lists.extend(CHANGES.iter().map(|path| listed("POST", path)));
    lists.extend(FOR_ANYBODY.iter().chain([&SIGN_OUT]).map(|row| (*row).to_owned()));
    pages.sort();
    lists.sort();
    assert_eq!(pages, lists);
}

/// A form that comes too late leads to a page after signing in, and a look back to what was looked at.
#[tokio::test]
async fn who_is_signed_out_comes_back_to_what_can_be_looked_at() {
    let console = Console::new().await;
    let ids = some_things(&console).await;
    let mut stranger = console.browser();
    let forms = CHANGES.iter().map(|path| ids.put_into(path)).chain(["/console/sign-out".into()]);
    for path in forms {
        assert_eq!(stranger.post(&path, &[]).await.to(), "/console/sign-in", "{path}");
    }
    for path in LOOKS.iter().filter(|path| **path != "/console") {
        let path = ids.put_into(path);
        let to = stranger.get(&path).await.to().to_owned();
        assert_eq!(to.replace("%2F", "/"), format!("/console/sign-in?to={path}"));
    }
}

pub(crate) struct Ids {
    pub(crate) webhook: String,
    pub(crate) event: String,
    pub(crate) delivery: String,
}

impl Ids {
    fn with_webhook(&self, webhook: String) -> Self {
        Self { webhook, event: self.event.clone(), delivery: self.delivery.clone() }
    }

    fn absent() -> Self {
        Self { webhook: ABSENT.into(), event: ABSENT.into(), delivery: ABSENT.into() }
    }

    pub(crate) fn put_into(&self, path: &str) -> String {
        path.replace("{webhook}", &self.webhook)
            .replace("{event}", &self.event)
            .replace("{delivery}", &self.delivery)
    }
}

async fn some_things(console: &Console) -> Ids {
    let webhook = console.world.webhook(&["did_create"]).await;
    let event = console.world.publish(json!({"type": "did_create", "payload": {"did": "d"}})).await;
    Ids { delivery: console.world.newest_delivery("limit=1").await, webhook, event }
}

/// Whoever has the right gets the page, or is told what is missing in the form; the others get 403. What everybody of a
/// kind may is written down here; `docs/roles.md` says the same of the API.
#[tokio::test]
async fn every_page_is_for_the_roles_that_have_its_right() {
    let console = Console::new().await;
    let ids = some_things(&console).await;
    let own: WebhookId = ids.webhook.parse().unwrap();
    let mut table = String::new();
    for role in Role::ALL {
        let bound = (role == Role::Subscriber).then_some(own);
        let mut browser = console.role(role, bound).await;
        for path in LOOKS {
            let shown = browser.get(&ids.put_into(path)).await;
            let _ = writeln!(table, "{role}: GET {path} {}", shown.status);
        }
        for path in CHANGES {
            let ids = match path.ends_with("{webhook}/delete") {
                // Each deletes one of its own.
                true => ids.with_webhook(console.world.webhook(&["did_create"]).await),
                false => ids.with_webhook(ids.webhook.clone()),
            };
            // An empty form: what has the right says what is missing, or does it.
            let shown = browser.post(&ids.put_into(path), &[]).await;
            let _ = writeln!(table, "{role}: POST {path} {}", shown.status);
        }
    }
    expect![[r#"
        GET /console
          303 admin issuer managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        GET /console/tenants
          403 admin issuer managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        GET /console/overview
          200 admin issuer managed-issuer auditor
          403 publisher subscriber verifier dts-provider dts-consumer
        GET /console/webhooks
          200 admin issuer managed-issuer auditor subscriber
          403 publisher verifier dts-provider dts-consumer
        GET /console/webhooks/new
          200 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        GET /console/webhooks/{webhook}
          200 admin issuer managed-issuer auditor subscriber
          403 publisher verifier dts-provider dts-consumer
        GET /console/webhooks/{webhook}/edit
          200 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        GET /console/webhooks/{webhook}/settings
          200 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        GET /console/webhooks/{webhook}/delete
          200 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        GET /console/deliveries
          200 admin issuer managed-issuer auditor subscriber
          403 publisher verifier dts-provider dts-consumer
        GET /console/deliveries/{delivery}
          200 admin issuer managed-issuer auditor subscriber
          403 publisher verifier dts-provider dts-consumer
        GET /console/events
          200 admin issuer managed-issuer auditor
          403 publisher subscriber verifier dts-provider dts-consumer
        GET /console/events/{event}
          200 admin issuer managed-issuer auditor subscriber
          403 publisher verifier dts-provider dts-consumer
        GET /console/events/{event}/erase
          200 admin
          403 issuer managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        GET /console/event-types
          200 admin issuer managed-issuer publisher auditor
          403 subscriber verifier dts-provider dts-consumer
        GET /console/keys
          200 admin issuer managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        GET /console/analytics
          200 admin auditor
          403 issuer managed-issuer publisher subscriber verifier dts-provider dts-consumer
        GET /console/audit
          200 admin auditor
          403 issuer managed-issuer publisher subscriber verifier dts-provider dts-consumer
        POST /console/tenants
          403 admin issuer managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/webhooks
          422 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/webhooks/{webhook}/edit
          422 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/webhooks/{webhook}/settings
          422 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/webhooks/{webhook}/pause
          303 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/webhooks/{webhook}/resume
          303 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/webhooks/{webhook}/test
          303 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/webhooks/{webhook}/secret
          303 admin issuer
          403 managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/webhooks/{webhook}/token
          400 admin issuer
          403 managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/webhooks/{webhook}/portal
          303 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/deliveries/{delivery}/redeliver
          303 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/deliveries/{delivery}/cancel
          303 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/deliveries/{delivery}/request
          200 admin subscriber
          403 issuer managed-issuer publisher auditor verifier dts-provider dts-consumer
        POST /console/events/{event}/payload
          200 admin subscriber
          403 issuer managed-issuer publisher auditor verifier dts-provider dts-consumer
        POST /console/event-types
          422 admin
          403 issuer managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/event-types/delete
          404 admin
          403 issuer managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/keys/rotate
          303 admin
          403 issuer managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/events/{event}/erase
          303 admin
          403 issuer managed-issuer publisher auditor subscriber verifier dts-provider dts-consumer
        POST /console/webhooks/{webhook}/delete
          303 admin issuer managed-issuer
          403 publisher auditor subscriber verifier dts-provider dts-consumer
    "#]]
    .assert_eq(&by_path(&table));
}

/// `GET /path: 200 admin issuer | 403 ...`
fn by_path(lines: &str) -> String {
    type ByStatus = Vec<(String, Vec<String>)>;
    let mut paths: Vec<(String, ByStatus)> = Vec::new();
    for line in lines.lines() {
        let (role, rest) = line.split_once(": ").unwrap();
        let (path, status) = rest.rsplit_once(' ').unwrap();
        let at = paths.iter().position(|(known, _)| known == path).unwrap_or_else(|| {
            paths.push((path.into(), Vec::new()));
            paths.len() - 1
        });
        match paths[at].1.iter_mut().find(|(known, _)| known == status) {
            Some((_, roles)) => roles.push(role.into()),
            None => paths[at].1.push((status.into(), vec![role.into()])),
        }
    }
    let mut table = String::new();
    for (path, statuses) in paths {
        let _ = writeln!(table, "{path}");
        for (status, roles) in statuses {
            let _ = writeln!(table, "  {status} {}", roles.join(" "));
        }
    }
    table
}

#[tokio::test]
async fn what_is_another_tenants_is_not_there() {
    let console = Console::new().await;
    let ids = some_things(&console).await;
    let world = &console.world;
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default(), "test").await.unwrap();
    let stranger = world.app.create_client(other.no, "a", Role::Admin, None, None, "test").await.unwrap();
    let mut browser = console.with_key(stranger.key.reveal()).await;
    for path in LOOKS.into_iter().filter(|path| path.contains('{')) {
        let foreign = browser.get(&ids.put_into(path)).await;
        let absent = browser.get(&Ids::absent().put_into(path)).await;
        assert_eq!((foreign.status, foreign.text()), (404, absent.text()), "{path}");
    }
    for path in CHANGES.into_iter().filter(|path| path.contains('{')) {
        let foreign = browser.post(&ids.put_into(path), &[]).await;
        let absent = browser.post(&Ids::absent().put_into(path), &[]).await;
        assert_eq!((foreign.status, foreign.text()), (404, absent.text()), "{path}");
    }
    let list = browser.get(&format!("/console/deliveries?webhook={}", ids.webhook)).await;
    assert!(list.has("No delivery fits"));
}

/// A subscriber's own webhook is there for it, and its neighbour is not.
#[tokio::test]
async fn a_subscriber_sees_its_webhook_and_no_other() {
    let console = Console::new().await;
    let ids = some_things(&console).await;
    let second = console.world.webhook(&["credential_issued"]).await;
    let mut browser = console.role(Role::Subscriber, Some(second.parse().unwrap())).await;
    assert_eq!(browser.get("/console").await.to(), "/console/webhooks");
    let list = browser.get("/console/webhooks").await;
    assert!(list.has(&second) && !list.has(&ids.webhook));
    assert_eq!(browser.get(&format!("/console/webhooks/{second}")).await.status, 200);
    assert!(!browser.get("/console/deliveries").await.has(&ids.delivery));
    for path in [
        format!("/console/webhooks/{}", ids.webhook),
        format!("/console/deliveries/{}", ids.delivery),
        format!("/console/deliveries?webhook={}", ids.webhook),
    ] {
        assert_eq!(browser.get(&path).await.status, 404, "{path}");
    }
}
