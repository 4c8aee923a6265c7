//! Signing in and out, how long a session holds, and whose form is taken.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use expect_test::expect;
use sealpost_core::id::ClientId;
use sealpost_core::quota::OwnQuota;
use sealpost_core::role::Role;

use crate::api::World;
use crate::support::{Console, body, form};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_key_opens_a_session_and_nothing_else_does() {
    let console = Console::new().await;
    let mut browser = console.browser();
    assert_eq!(browser.get("/console/webhooks").await.to(), "/console/sign-in?to=%2Fconsole%2Fwebhooks");
    assert_eq!(browser.get("/console").await.to(), "/console/sign-in");
    for key in ["", "spk_unknown", "a.b.c", &"x".repeat(5000)] {
        let shown = browser.sign_in(key).await;
        assert_eq!((shown.status, browser.cookie.as_deref()), (422, None), "{key:.20}");
        assert!(shown.has("unknown, expired or deleted") && !shown.has("spk_unknown"));
    }
    let shown = browser.sign_in(&console.world.admin).await;
    assert_eq!(shown.to(), "/console");
    assert_eq!(browser.get("/console").await.to(), "/console/overview");
    assert_eq!(browser.get("/console/webhooks").await.status, 200);
    assert_eq!(browser.get("/console/sign-in").await.to(), "/console", "already in");
}

#[tokio::test]
async fn an_access_token_opens_no_session() {
    let console = Console::new().await;
    let made =
        console.world.app.create_client(console.world.tenant, "c", Role::Admin, None, None, "test").await;
    let made = made.unwrap();
    let (id, key) = (made.client.id.to_string(), made.key.reveal().clone());
    let grant =
        serde_json::json!({"grant_type": "client_credentials", "client_id": id, "client_secret": key});
    let answer = console.world.call(crate::api::post("/oauth/token", grant).by_nobody()).await;
    let token = answer.text_of("access_token");
    assert_eq!(console.world.call(crate::api::get("/v1/webhooks").by(&token)).await.status, 200);
    assert_eq!(console.browser().sign_in(&token).await.status, 422);
}

#[tokio::test]
async fn after_signing_in_one_goes_where_one_wanted_and_nowhere_else() {
    let console = Console::new().await;
    for (to, there) in [
        ("/console/deliveries", "/console/deliveries"),
        ("https://evil.example/console/", "/console"),
        ("//evil.example", "/console"),
        ("/v1/webhooks", "/console"),
    ] {
        let mut browser = console.browser();
        let fields = [("key", console.world.admin.as_str()), ("to", to)];
        assert_eq!(browser.post("/console/sign-in", &fields).await.to(), there);
    }
}

#[tokio::test]
async fn the_cookie_is_for_this_host_and_for_no_script() {
    let console = Console::new().await;
    let mut said = String::new();
    for secure in [false, true] {
        let mut browser = console.browser();
        browser.secure = secure;
        browser.host = if secure { "posts.example".into() } else { browser.host };
        let set = browser.sign_in(&console.world.admin).await;
        let token = browser.cookie.clone().unwrap().split_once('=').unwrap().1.to_owned();
        assert_eq!(token.len(), 43, "256 bits");
        said += &format!("{}\n", set.header("set-cookie").unwrap().replace(&token, "TOKEN"));
        let cleared = browser.post("/console/sign-out", &[]).await;
        said += &format!("{}\n", cleared.header("set-cookie").unwrap());
    }
    expect![[r#"
        sealpost-console=TOKEN; Path=/console; HttpOnly; SameSite=Strict
        sealpost-console=; Path=/console; Max-Age=0; HttpOnly; SameSite=Strict
        __Host-sealpost-console=TOKEN; Path=/; Secure; HttpOnly; SameSite=Strict
        __Host-sealpost-console=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict
    "#]]
    .assert_eq(&said);
}

#[tokio::test]
async fn a_token_from_before_is_worth_nothing_after_signing_in() {
    let console = Console::new().await;
    let mut browser = console.browser();
    browser.cookie = Some("sealpost-console=chosen-by-somebody-else-chosen-by-somebody".into());
    browser.sign_in(&console.world.admin).await;
    let first = browser.cookie.clone().unwrap();
    assert!(!first.contains("chosen"));
    // Signing in again, with the session of before still in hand.
    browser.sign_in(&console.world.admin).await;
    assert_ne!(browser.cookie.as_ref(), Some(&first));
    assert_eq!(browser.get("/console/keys").await.status, 200);
    browser.cookie = Some(first);
    assert_eq!(browser.get("/console/keys").await.status, 303, "the old token is dead");
}

#[tokio::test]
async fn signing_out_ends_the_session_for_every_copy_of_its_cookie() {
    let console = Console::new().await;
    let mut browser = console.admin().await;
    let copy = browser.cookie.clone();
    assert_eq!(browser.post("/console/sign-out", &[]).await.to(), "/console/sign-in");
    browser.cookie = copy;
    assert_eq!(browser.get("/console/keys").await.status, 303);
}

#[tokio::test]
async fn a_session_ends_when_it_is_left_alone_and_when_it_is_old() {
    let console = Console::new().await;
    let mut browser = console.admin().await;
    console.world.clock.advance(29 * MINUTE);
    assert_eq!(browser.get("/console/keys").await.status, 200);
    console.world.clock.advance(30 * MINUTE);
    assert_eq!(browser.get("/console/keys").await.status, 303);

    let mut browser = console.admin().await;
    for _ in 0..25 {
        assert_eq!(browser.get("/console/keys").await.status, 200);
        console.world.clock.advance(28 * MINUTE);
    }
    console.world.clock.advance(20 * MINUTE);
    assert_eq!(browser.get("/console/keys").await.status, 303, "twelve hours");
}

#[tokio::test]
async fn who_loses_the_credential_is_out_at_once() {
    let console = Console::new().await;
    let world = &console.world;
    let made = world.app.create_client(world.tenant, "c", Role::Admin, None, None, "test").await.unwrap();
    let id: ClientId = made.client.id;
    let mut browser = console.with_key(made.key.reveal()).await;
    assert_eq!(browser.get("/console/webhooks").await.status, 200);
    assert!(world.app.delete_client(world.tenant, id, "test").await.unwrap());
    assert_eq!(browser.get("/console/webhooks").await.status, 303);

    let expires = Some(world.app.clock.now() + 5 * MINUTE);
    let made = world.app.create_client(world.tenant, "c", Role::Admin, None, expires, "test").await.unwrap();
    let mut browser = console.with_key(made.key.reveal()).await;
    world.clock.advance(5 * MINUTE);
    assert_eq!(browser.get("/console/webhooks").await.status, 303, "expired");

    let operator = world.app.create_operator("o", None, "test").await.unwrap();
    let mut browser = console.with_key(operator.key.reveal()).await;
    assert_eq!(browser.get("/console/tenants").await.status, 200);
    assert!(world.app.store.delete_operator(operator.operator.id, by(world)).await.unwrap());
    assert_eq!(browser.get("/console/tenants").await.status, 303);
}

fn by(world: &World) -> sealpost_core::audit::By {
    let action = sealpost_core::audit::Action::DeleteOperator;
    sealpost_core::audit::By::new("test", action, world.app.clock.now())
}

#[tokio::test]
async fn a_form_from_elsewhere_changes_nothing() {
    let console = Console::new().await;
    let id = console.world.webhook(&["did_create"]).await;
    let mut browser = console.admin().await;
    browser.get("/console/keys").await;
    let csrf = browser.csrf.clone();
    let other = console.admin().await.post("/console/sign-out", &[]).await;
    assert_eq!(other.status, 303);
    let mut second = console.admin().await;
    second.get("/console/keys").await;
    let foreign_csrf = second.csrf.clone();
    let path = format!("/console/webhooks/{id}/delete");
    let here = ("sec-fetch-site", "same-origin");
    for (what, headers, token) in [
        ("no token", vec![here], ""),
        ("the token of another session", vec![here], foreign_csrf.as_str()),
        ("a part of the token", vec![here], &csrf[..42]),
        ("from another site", vec![("sec-fetch-site", "cross-site")], &csrf),
        ("from a neighbour", vec![("sec-fetch-site", "same-site")], &csrf),
        ("from another origin", vec![("origin", "https://evil.example")], &csrf),
        ("from nowhere", vec![("origin", "null")], &csrf),
        ("without a word", vec![], &csrf),
    ] {
        let fields = [("csrf", token)];
        let mut request = form(&path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let shown = browser.send(request.body(body(&fields)).unwrap()).await;
        assert_eq!(shown.status, 403, "{what}");
        browser.csrf.clone_from(&csrf);
    }
    let asked = Request::post(&path).header("content-type", "text/plain").header(here.0, here.1);
    assert_ne!(browser.send(asked.body(body(&[("csrf", &csrf)])).unwrap()).await.status, 303, "not a form");
    assert_eq!(browser.get(&format!("/console/webhooks/{id}")).await.status, 200, "it is still there");
    // An older browser, which says where the form is from in `Origin`.
    let asked = form(&path).header("origin", "http://localhost:8080");
    assert_eq!(browser.send(asked.body(body(&[("csrf", &csrf)])).unwrap()).await.status, 303);
    assert_eq!(browser.get(&format!("/console/webhooks/{id}")).await.status, 404);
}

#[tokio::test]
async fn signing_in_from_elsewhere_is_refused_too() {
    let console = Console::new().await;
    let mut browser = console.browser();
    let fields = [("key", console.world.admin.as_str())];
    let request =
        form("/console/sign-in").header("sec-fetch-site", "cross-site").body(body(&fields)).unwrap();
    assert_eq!((browser.send(request).await.status, browser.cookie.as_deref()), (403, None));
}

#[tokio::test]
async fn without_tls_the_console_is_for_this_machine() {
    let console = Console::new().await;
    let mut browser = console.browser();
    for (host, status) in [
        ("localhost:8080", 200),
        ("127.0.0.1:8080", 200),
        ("posts.example", 403),
        ("localhost.evil.example", 403),
    ] {
        browser.host = host.into();
        let shown = browser.get("/console/sign-in").await;
        assert_eq!(shown.status, status, "{host}");
    }
    browser.secure = true;
    browser.host = "posts.example".into();
    assert_eq!(browser.get("/console/sign-in").await.status, 200);
}

#[tokio::test]
async fn a_key_of_one_tenant_opens_nothing_at_the_address_of_another() {
    let console = Console::of(World::with(Some("posts.example"), 0).await);
    let world = &console.world;
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default(), "test").await.unwrap();
    let key = world.app.create_client(other.no, "a", Role::Admin, None, None, "test").await.unwrap().key;
    let mut browser = console.browser();
    browser.secure = true;
    for (host, status) in [("default.posts.example", 422), ("b.posts.example", 303), ("posts.example", 303)] {
        browser.host = host.into();
        assert_eq!(browser.sign_in(key.reveal()).await.status, status, "{host}");
    }
    assert_eq!(browser.get("/console/keys").await.status, 200);
    browser.host = "default.posts.example".into();
    assert_eq!(browser.get("/console/keys").await.status, 303, "nor does its session");
}

#[tokio::test]
async fn an_operator_chooses_a_tenant_which_learns_of_it() {
    let console = Console::new().await;
    let world = &console.world;
    let other =
        world.app.create_tenant("Acme", "acme".parse().unwrap(), Default::default(), "t").await.unwrap();
    let key = world.operator().await;
    let mut browser = console.with_key(&key).await;
    assert_eq!(browser.get("/console").await.to(), "/console/tenants");
    assert_eq!(browser.get("/console/webhooks").await.status, 403, "no tenant is chosen");
    let before = browser.cookie.clone();
    assert_eq!(browser.post("/console/tenants", &[("tenant", &other.id.to_string())]).await.to(), "/console");
    assert_ne!(browser.cookie, before, "another session");
    browser.csrf.clear();
    assert!(browser.get("/console/webhooks").await.has("Acme"));
    let page = sealpost_store::page::PageRequest { limit: 1, after: None };
    let entry = world.app.store.audit_entries(other.no, page).await.unwrap().rows.remove(0);
    assert!(entry.who.starts_with("operator ") && entry.what == "open tenant", "{entry:?}");
    let mut admin = console.admin().await;
    assert_eq!(admin.get("/console/tenants").await.status, 403, "an administrator is no operator");
    assert_eq!(admin.post("/console/tenants", &[("tenant", &other.id.to_string())]).await.status, 403);
    world.app.delete_tenant(&other, "test").await.unwrap();
    assert_eq!(browser.get("/console/webhooks").await.status, 303, "the tenant is gone");
}

#[tokio::test]
async fn every_answer_carries_the_same_headers() {
    let console = Console::new().await;
    let mut browser = console.browser();
    browser.secure = true;
    browser.host = "posts.example".into();
    let mut said = String::new();
    let css = browser.get("/console/sign-in").await;
    let css =
        css.text().split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mut all = Vec::new();
    for path in ["/console", "/console/sign-in", "/console/none", css.as_str()] {
        all.push((path.to_owned(), browser.get(path).await));
    }
    let wrong = Request::put("/console/webhooks").body(Body::empty()).unwrap();
    all.push(("PUT /console/webhooks".into(), browser.send(wrong).await));
    all.push(("sign in".into(), browser.sign_in(&console.world.admin).await));
    all.push(("/console/webhooks".into(), browser.get("/console/webhooks").await));
    for (path, shown) in all {
        let hash = path.starts_with("/console/assets/");
        said +=
            &format!("{} {}\n", shown.status, if hash { "/console/assets/console-HASH.css" } else { &path });
        for (name, value) in &shown.headers {
            let value = value.to_str().unwrap();
            let value = if name == "set-cookie" { "..." } else { value };
            if name != "content-length" {
                said += &format!("  {name}: {value}\n");
            }
        }
    }
    expect![[r#"
        303 /console
          location: /console/sign-in
          content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'
          x-content-type-options: nosniff
          referrer-policy: no-referrer
          cross-origin-opener-policy: same-origin
          cross-origin-resource-policy: same-origin
          strict-transport-security: max-age=31536000
          cache-control: no-store
        200 /console/sign-in
          content-type: text/html; charset=utf-8
          content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'
          x-content-type-options: nosniff
          referrer-policy: no-referrer
          cross-origin-opener-policy: same-origin
          cross-origin-resource-policy: same-origin
          strict-transport-security: max-age=31536000
          cache-control: no-store
        404 /console/none
          content-type: text/html; charset=utf-8
          content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'
          x-content-type-options: nosniff
          referrer-policy: no-referrer
          cross-origin-opener-policy: same-origin
          cross-origin-resource-policy: same-origin
          strict-transport-security: max-age=31536000
          cache-control: no-store
        200 /console/assets/console-HASH.css
          content-type: text/css; charset=utf-8
          cache-control: public, max-age=31536000, immutable
          content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'
          x-content-type-options: nosniff
          referrer-policy: no-referrer
          cross-origin-opener-policy: same-origin
          cross-origin-resource-policy: same-origin
          strict-transport-security: max-age=31536000
        405 PUT /console/webhooks
          allow: GET, HEAD, POST
          content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'
          x-content-type-options: nosniff
          referrer-policy: no-referrer
          cross-origin-opener-policy: same-origin
          cross-origin-resource-policy: same-origin
          strict-transport-security: max-age=31536000
          cache-control: no-store
        303 sign in
          location: /console
          set-cookie: ...
          content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'
          x-content-type-options: nosniff
          referrer-policy: no-referrer
          cross-origin-opener-policy: same-origin
          cross-origin-resource-policy: same-origin
          strict-transport-security: max-age=31536000
          cache-control: no-store
        200 /console/webhooks
          content-type: text/html; charset=utf-8
          content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'
          x-content-type-options: nosniff
          referrer-policy: no-referrer
          cross-origin-opener-policy: same-origin
          cross-origin-resource-policy: same-origin
          strict-transport-security: max-age=31536000
          cache-control: no-store
    "#]].assert_eq(&said);
}

#[tokio::test]
async fn a_file_is_kept_for_ever_under_the_name_of_its_content() {
    let console = Console::new().await;
    let mut browser = console.browser();
    let page = browser.get("/console/sign-in").await;
    let mut files = 0;
    for part in page.text().split('"').filter(|part| part.starts_with("/console/assets/")) {
        let file = browser.get(part).await;
        assert_eq!(file.status, 200, "{part}");
        assert!(file.header("cache-control").unwrap().contains("immutable"));
        files += 1;
    }
    assert!(files >= 3);
    assert_eq!(browser.get("/console/assets/console.css").await.status, 404);
    assert!(!page.has("style=") && !page.has("<style") && !page.has("onclick") && !page.has("http"));
}

#[tokio::test]
async fn a_tenant_that_looks_too_often_waits_and_nobody_else_does() {
    let console = Console::new().await;
    let world = &console.world;
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default(), "test").await.unwrap();
    let key = world.app.create_client(other.no, "a", Role::Admin, None, None, "test").await.unwrap().key;
    let mut busy = console.with_key(key.reveal()).await;
    let page = busy.get("/console/keys").await;
    let style = page.text().split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let limit = OwnQuota { requests_per_second: NonZeroU32::new(3), ..OwnQuota::default() };
    world.app.change_quota(other.no, |_| limit, "test").await.unwrap();
    assert_eq!(busy.get("/console/webhooks").await.status, 200);
    assert_eq!(busy.post("/console/webhooks", &[]).await.status, 422);
    // One pace for both faces.
    assert_eq!(world.call(crate::api::get("/v1/webhooks").by(key.reveal())).await.status, 200);
    for path in ["/console/webhooks", "/console/webhooks/new", "/console"] {
        let refused = busy.get(path).await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{path}");
        assert!(refused.has("Wait a moment"));
    }
    let made = [("url", "https://example.com/in"), ("events", "did_create"), ("dialect", "mattr")];
    assert_eq!(busy.post("/console/webhooks", &made).await.status, 429);
    assert_eq!(busy.get(style).await.status, 200, "what is for anybody is nobody's");
    assert_eq!(console.admin().await.get("/console/webhooks").await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    assert!(busy.get("/console/webhooks").await.has("No webhooks yet"), "what was refused made nothing");
}
