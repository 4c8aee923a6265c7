//! What somebody writes into a page is text there, whoever it is and wherever it stands.

use sealpost_core::delivery::{FailReason, State};
use sealpost_core::event_type::{EventType, EventTypeName, Origin};
use sealpost_core::minimise::SummaryForm;
use serde_json::json;

use crate::support::{Console, Shown};
use crate::table::{Ids, LOOKS};

const CORPUS: [&str; 12] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "\" autofocus onfocus=\"alert(1)",
    "--></title></style></textarea></script><svg onload=alert(1)>",
    "</pre><iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
    "javascript:alert(1)",
    "<a href=\"javascript:alert(1)\">x</a>",
    "<base href=//evil.example>",
    "<form action=https://evil.example><button>",
    "<meta http-equiv=refresh content=\"0;url=//evil.example\">",
    "\u{202E}\u{0}<style>@import'//evil.example'</style>",
];

const ELEMENTS: &str = " html head meta title link script body a header img span nav ul li div p strong form input button main \
                        h1 h2 h3 section label select option table thead tr th tbody td svg rect code details summary br dl dt \
                        dd fieldset legend textarea ol pre time figure figcaption line text path circle g wbr ";

/// Every element is one that our pages have, none has a handler or a style, and every address is ours.
fn is_inert(shown: &Shown) -> Result<(), String> {
    let mut rest = shown.text().strip_prefix("<!DOCTYPE html>").ok_or("no page")?;
    let mut scripts = 0;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find(|c: char| c.is_whitespace() || c == '>').ok_or("a tag without an end")?;
        let name = rest[..end].trim_start_matches('/');
        if !ELEMENTS.contains(&format!(" {name} ")) {
            return Err(format!("an element <{name}>"));
        }
        scripts += usize::from(&rest[..end] == "script");
        rest = rest[end..].trim_start();
        while !rest.starts_with('>') {
            let end = rest.find(['=', ' ', '>']).ok_or("an attribute without an end")?;
            let attribute = rest[..end].to_owned();
            rest = &rest[end..];
            let mut value = "";
            if let Some(quoted) = rest.strip_prefix("=\"") {
                let (inside, after) = quoted.split_once('"').ok_or("a value without an end")?;
                (value, rest) = (inside, after);
            } else if rest.starts_with('=') {
                return Err(format!("an unquoted {attribute}"));
            }
            rest = rest.trim_start();
            let ours = value.starts_with("/console") || value == "#main";
            match attribute.as_str() {
                "href" | "src" | "action" if !ours => return Err(format!("{attribute}={value}")),
                "style" | "srcdoc" | "formaction" | "http-equiv" => return Err(attribute),
                name if name.starts_with("on") => return Err(attribute),
                _ => {}
            }
        }
        rest = &rest[1..];
    }
    if scripts == 1 { Ok(()) } else { Err(format!("{scripts} scripts")) }
}

#[test]
fn the_judge_sees_what_runs() {
    let page = |inside: &str| Shown {
        status: 200,
        headers: Default::default(),
        body: format!("<!DOCTYPE html><html><script src=\"/console/a\"></script><p>{inside}</p></html>")
            .into(),
    };
    assert_eq!(is_inert(&page("&lt;script&gt; \"onclick=\"")), Ok(()));
    for bad in [
        "<script>",
        "<p onclick=\"x\">",
        "<a href=\"https://evil.example\">",
        "<a href=\"javascript:x\">",
        "<p style=\"x\">",
        "<iframe>",
        "<img src=x>",
    ] {
        assert!(is_inert(&page(bad)).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn nothing_that_is_shown_runs() {
    for hostile in CORPUS {
        let mut console = Console::new().await;
        let world = &console.world;
        let tenant = world.app.create_tenant(hostile, "evil".parse().unwrap(), Default::default(), "t").await;
        tenant.unwrap();
        let webhook = world.webhook(&["did_create"]).await;
        world
            .app
            .put_event_type(
                world.tenant,
                EventType {
                    name: EventTypeName::parse("ours.only").unwrap(),
                    origin: Origin::Operator,
                    description: hostile.into(),
                    schema: Some(json!({"title": hostile, "type": "object"})),
                    summary: SummaryForm::Unknown,
                    receive_all: true,
                },
                hostile,
            )
            .await
            .unwrap();
        let event = world.publish(json!({"type": "did_create", "payload": {hostile: hostile}})).await;
        let delivery = world.newest_delivery("limit=1").await;
        let failed = State::Failed(FailReason::AttemptsExhausted);
        console.world.settle(500, Some(hostile.as_bytes()), failed).await;
        let ids = Ids { webhook: webhook.clone(), event, delivery };

        let mut browser = console.admin().await;
        let mut pages = Vec::new();
        // Into the forms, and back beside what is wrong with them.
        let new = [("url", hostile), ("description", hostile), ("dialect", hostile), ("events", hostile)];
        pages.push(browser.post("/console/webhooks", &new).await);
        let kept = [("url", "https://example.com/a'b|c"), ("description", hostile), ("events", "did_create")];
        pages.push(browser.submit(&format!("/console/webhooks/{webhook}/edit"), &kept).await);
        let settings = [
            ("description", hostile),
            ("payload", hostile),
            ("claims", hostile),
            ("headers", hostile),
            ("retry", hostile),
            ("signatureExpires", hostile),
            ("maxInFlight", hostile),
        ];
        pages.push(browser.post(&format!("/console/webhooks/{webhook}/settings"), &settings).await);
        pages.push(browser.submit(&format!("/console/webhooks/{webhook}/test"), &[("type", hostile)]).await);
        let named = [("name", hostile), ("description", hostile), ("schema", hostile)];
        pages.push(browser.post("/console/event-types", &named).await);
        pages.push(browser.post("/console/tenants", &[("tenant", hostile)]).await);
        // Into addresses.
        let query: String = url::form_urlencoded::byte_serialize(hostile.as_bytes()).collect();
        for path in [
            format!("/console/webhooks?q={query}&state={query}&after={query}"),
            format!("/console/deliveries?webhook={query}"),
            format!("/console/deliveries?status={query}&type={query}&from={query}&to={query}"),
            format!("/console/deliveries?event={query}"),
            format!("/console/events?type={query}&from={query}"),
            format!("/console/overview?range={query}"),
            format!("/console/analytics?types={query}&requestIds={query}&from={query}&to={query}"),
            format!("/console/portal/{query}"),
            format!("/console/sign-in/openid?state={query}&code={query}&error={query}&iss={query}"),
            format!("/console/webhooks/{query}"),
            format!("/console/{query}"),
        ] {
            pages.push(browser.get(&path).await);
        }
        for path in LOOKS {
            let shown = browser.get(&ids.put_into(path)).await;
            if shown.status != 303 {
                pages.push(shown);
            }
        }
        let revealed = browser.post(&ids.put_into("/console/events/{event}/payload"), &[]).await;
        assert!(revealed.has("alert") || !hostile.contains("alert"), "the payload is there");
        pages.push(revealed);
        pages.push(browser.post(&ids.put_into("/console/deliveries/{delivery}/request"), &[]).await);
        let operator = console.world.operator().await;
        let mut operator = console.with_key(&operator).await;
        pages.push(operator.get("/console/tenants").await);
        pages.push(console.browser().get(&format!("/console/sign-in?to={query}")).await);
        pages.push(console.browser().sign_in(hostile).await);
        assert_eq!(pages.len(), 39);
        for (at, page) in pages.iter().enumerate() {
            assert_eq!(is_inert(page), Ok(()), "page {at} with {hostile}:\n{}", page.text());
        }
    }
}
