//! Pages that update themselves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use sealpost::peer::ClientInfo;
use sealpost_core::role::Role;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{Browser, Console};

/// The answer to a request for a stream: its status and its body, which goes on.
async fn stream(console: &Console, browser: &Browser, path: &str) -> (u16, Body) {
    let mut request = Request::get(path).header("accept", "text/event-stream").body(Body::empty()).unwrap();
    let host = Some(browser.host.clone());
    request.extensions_mut().insert(ClientInfo { peer: [127, 0, 0, 1].into(), host, secure: false });
    if let Some(cookie) = &browser.cookie {
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
    }
    let response = console.router.clone().oneshot(request).await.unwrap();
    (response.status().as_u16(), response.into_body())
}

/// The next piece, or `None` at the end.
async fn next(body: &mut Body) -> Option<String> {
    let frame = tokio::time::timeout(Duration::from_secs(20), body.frame()).await.expect("something comes");
    frame.map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn a_page_is_sent_again_when_it_has_changed() {
    let console = Console::new().await;
    console.world.webhook(&["did_create"]).await;
    let mut browser = console.admin().await;
    let seen = browser.get("/console/deliveries").await;
    console.world.publish(json!({"type": "did_create", "payload": {"did": "d"}})).await;
    let early = console.world.newest_delivery("limit=1").await;
    assert!(!seen.has(&early));
    let (status, mut body) = stream(&console, &browser, "/console/deliveries").await;
    let page = next(&mut body).await.unwrap();
    assert!(status == 200 && page.starts_with("event: page\ndata: ") && !page.contains("<html"));
    assert!(page.contains(&early), "what happened between the page and its stream");
    console.world.publish(json!({"type": "did_create", "payload": {"did": "d"}})).await;
    let late = console.world.newest_delivery("limit=1").await;
    let page = next(&mut body).await.unwrap();
    assert!(page.starts_with("event: page\ndata: ") && page.contains(&late) && page.contains(&early));
    console.world.ready.store(false, Ordering::Relaxed);
    assert_eq!(next(&mut body).await, None, "it ends when the service does");
}

#[tokio::test]
async fn a_stream_ends_with_what_let_it_in() {
    let console = Console::new().await;
    let world = &console.world;
    let made = world.app.create_client(world.tenant, "c", Role::Admin, None, None, "test").await.unwrap();
    let browser = console.with_key(made.key.reveal()).await;
    let (_, mut body) = stream(&console, &browser, "/console/webhooks").await;
    next(&mut body).await;
    world.app.delete_client(world.tenant, made.client.id, "test").await.unwrap();
    world.webhook(&["did_create"]).await;
    assert_eq!(next(&mut body).await, None, "a deleted client sees no change any more");

    let mut browser = console.admin().await;
    let (_, mut body) = stream(&console, &browser, "/console/webhooks").await;
    next(&mut body).await;
    // It was open for half an hour, and nobody was there.
    world.clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(next(&mut body).await, None, "a stream keeps no session awake");
    assert_eq!(browser.get("/console/webhooks").await.status, 303);
}

#[tokio::test]
async fn who_may_not_see_a_page_gets_no_stream_of_it_and_nobody_gets_many() {
    let console = Console::new().await;
    let nobody = console.browser();
    assert_eq!(stream(&console, &nobody, "/console/webhooks").await.0, 303);
    let publisher = console.role(Role::Publisher, None).await;
    assert_eq!(stream(&console, &publisher, "/console/webhooks").await.0, 403);
    let admin = console.admin().await;
    assert_eq!(stream(&console, &admin, "/console/keys").await.0, 406, "it does not change");
    assert_eq!(stream(&console, &nobody, "/console/sign-in").await.0, 406);
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(stream(&console, &admin, "/console/webhooks").await);
    }
    assert!(open.iter().all(|(status, _)| *status == 200));
    assert_eq!(stream(&console, &admin, "/console/webhooks").await.0, 503);
    let other = console.admin().await;
    assert_eq!(
        stream(&console, &other, "/console/webhooks").await.0,
        200,
        "another session is not in its way"
    );
    drop(open);
    assert_eq!(stream(&console, &admin, "/console/webhooks").await.0, 200);
}

/// However many sign in to one tenant, the others have places.
#[tokio::test]
async fn a_tenant_leaves_places_for_the_others() {
    let console = Console::new().await;
    let world = &console.world;
    let other = world.app.create_tenant("b", "b".parse().unwrap(), Default::default(), "test").await.unwrap();
    let key = world.app.create_client(other.no, "a", Role::Admin, None, None, "test").await.unwrap().key;
    let mut open = Vec::new();
    for _ in 0..4 {
        let admin = console.admin().await;
        for _ in 0..8 {
            open.push(stream(&console, &admin, "/console/webhooks").await);
        }
    }
    assert!(open.iter().all(|(status, _)| *status == 200));
    let late = console.admin().await;
    assert_eq!(stream(&console, &late, "/console/webhooks").await.0, 503);
    let foreign = console.with_key(key.reveal()).await;
    assert_eq!(stream(&console, &foreign, "/console/webhooks").await.0, 200);
    drop(open);
    assert_eq!(stream(&console, &late, "/console/webhooks").await.0, 200);
}
