//! A browser as far as the console needs one: it keeps a cookie, follows no link by itself, and sends forms from the page
//! that it saw last.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use sealpost::console::{self, ConsoleState};
use sealpost::peer::ClientInfo;
use sealpost_core::dialect::Dialect;
use sealpost_core::id::WebhookId;
use sealpost_core::role::Roles;
use sealpost_core::webhook::Webhook;
use sealpost_store::page::PageRequest;
use tower::ServiceExt as _;

use crate::api::World;

pub(crate) struct Console {
    pub(crate) world: World,
    pub(crate) router: Router,
}

impl Console {
    pub(crate) async fn new() -> Self {
        Self::of(World::new().await)
    }

    pub(crate) fn of(world: World) -> Self {
        let state = ConsoleState::new(world.app.clone(), world.ready.clone());
        Self { router: console::router(state), world }
    }

    /// A webhook of Truvera's dialect, with its secrets.
    pub(crate) async fn truvera(&self, events: &[&str]) -> Webhook {
        self.world.truvera_webhook(events).await;
        let page = PageRequest { limit: 1, after: None };
        let made = self.world.app.webhooks(self.world.tenant, Some(Dialect::Truvera), page).await;
        made.unwrap().rows.remove(0)
    }

    pub(crate) fn browser(&self) -> Browser {
        let host = "localhost:8080".to_owned();
        let router = self.router.clone();
        Browser { router, cookie: None, away: None, csrf: String::new(), host, secure: false }
    }

    /// Signed in with this key.
    pub(crate) async fn with_key(&self, key: &str) -> Browser {
        let mut browser = self.browser();
        let shown = browser.sign_in(key).await;
        assert_eq!(shown.status, 303, "{shown:?}");
        browser
    }

    pub(crate) async fn admin(&self) -> Browser {
        self.with_key(&self.world.admin).await
    }

    pub(crate) async fn role(&self, roles: impl Into<Roles>, webhook: Option<WebhookId>) -> Browser {
        self.with_key(&self.world.key(roles, webhook).await).await
    }
}

pub(crate) struct Browser {
    router: Router,
    /// Of the session.
    pub(crate) cookie: Option<String>,
    /// Of a sign-in at an OpenID provider.
    pub(crate) away: Option<String>,
    /// Of the page seen last.
    pub(crate) csrf: String,
    pub(crate) host: String,
    pub(crate) secure: bool,
}

#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Shown {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Where it sends the browser.
    pub(crate) fn to(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text());
        self.header("location").unwrap()
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.text().contains(text)
    }
}

impl Browser {
    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> Shown {
        let info =
            ClientInfo { peer: [127, 0, 0, 1].into(), host: Some(self.host.clone()), secure: self.secure };
        request.extensions_mut().insert(info);
        for cookie in self.cookie.iter().chain(&self.away) {
            request.headers_mut().append("cookie", cookie.parse().unwrap());
        }
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        for set in head.headers.get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let pair = set.split(';').next().unwrap();
            let away = pair.contains("-openid=");
            assert!(set.contains(if away { "SameSite=Lax" } else { "SameSite=Strict" }), "{set}");
            let kept = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
            *(if away { &mut self.away } else { &mut self.cookie }) = kept;
        }
        let shown = Shown { status: head.status.as_u16(), headers: head.headers, body };
        if let Some((_, rest)) = shown.text_or_nothing().split_once("name=\"csrf\" value=\"") {
            self.csrf = rest.split('"').next().unwrap().to_owned();
        }
        shown
    }

    pub(crate) async fn get(&mut self, path: &str) -> Shown {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Along a link of another site, or a redirect of one: a strict cookie stays behind.
    pub(crate) async fn arrive(&mut self, path: &str) -> Shown {
        let before = self.cookie.take();
        let request = Request::get(path).header("sec-fetch-site", "cross-site");
        let shown = self.send(request.body(Body::empty()).unwrap()).await;
        self.cookie = self.cookie.take().or(before);
        shown
    }

    /// As a browser sends a form of ours: from here, with the token of the page.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        if self.csrf.is_empty() && self.cookie.is_some() {
            self.get("/console/keys").await;
        }
        let csrf = self.csrf.clone();
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        self.send(form(path).header("sec-fetch-site", "same-origin").body(body(&fields)).unwrap()).await
    }

    /// The same, and then the page that it leads to.
    pub(crate) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let shown = self.post(path, fields).await;
        let to = shown.to().to_owned();
        self.get(&to).await
    }

    pub(crate) async fn sign_in(&mut self, key: &str) -> Shown {
        let shown = self.post("/console/sign-in", &[("key", key)]).await;
        self.csrf.clear();
        shown
    }
}

impl Shown {
    fn text_or_nothing(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }
}

pub(crate) fn form(path: &str) -> http::request::Builder {
    Request::post(path).header("content-type", "application/x-www-form-urlencoded")
}

pub(crate) fn body(fields: &[(&str, &str)]) -> Body {
    let mut written = url::form_urlencoded::Serializer::new(String::new());
    written.extend_pairs(fields);
    Body::from(written.finish())
}
