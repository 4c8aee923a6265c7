//! The console: pages for people at `/console`, made on the server, complete in the binary, usable without JavaScript.
//!
//! [`pages`] lists every page with what it needs. A request is: judge the way it came, find session and visitor, judge host
//! and rights, for a form its origin and token, then let the page ask the same verbs of [`crate::app`] as the API does.
//! Looking changes nothing, and what changes something answers with a redirect; but for the way back from an OpenID
//! provider, which is a look by the protocol.

mod assets;
mod charts;
mod cookie;
mod curl;
mod cursor;
mod figures;
mod form;
mod guard;
mod headers;
mod layout;
mod live;
mod page;
mod pages;
mod parts;
mod places;
mod pretty;
mod reply;
mod session;
mod visit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::header::{ALLOW, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use sealpost_core::secret::Secret;

use crate::app::App;
use crate::app::hosts::Host;
use crate::app::sign_in::Visitor;
use form::Fields;
use page::{Method, Page};
use pages::PAGES;
use places::Places;
use reply::{Refused, Reply, Section, Sheet};
use session::{Open, Sessions};
use visit::{Visit, Way};

const HOME: &str = "/console";
const SIGN_IN: &str = "/console/sign-in";
/// The field of each form that carries the session's token.
const CSRF: &str = "csrf";

/// What every page gets; cheap to clone.
#[derive(Clone, Debug)]
pub struct ConsoleState {
    app: App,
    /// Unset when draining begins: pages that update themselves stop then.
    ready: Arc<AtomicBool>,
    sessions: Arc<Sessions>,
    live: Places,
}

impl ConsoleState {
    pub fn new(app: App, ready: Arc<AtomicBool>) -> Self {
        Self { app, ready, sessions: Arc::default(), live: Places::default() }
    }
}

/// Everything below `/console`.
pub fn router(state: ConsoleState) -> Router {
    let mut paths: BTreeMap<&str, Vec<&'static Page>> = BTreeMap::new();
    for page in &PAGES {
        paths.entry(page.path).or_default().push(page);
    }
    let mut router = Router::new();
    for (path, pages) in paths {
        router = router.route(path, methods(&pages));
    }
    let lost =
        |State(state): State<ConsoleState>, request: Request| async move { lost(state, request).await };
    router.route("/console/", any(lost)).route("/console/{*rest}", any(lost)).with_state(state)
}

type Params = Result<RawPathParams, RawPathParamsRejection>;

fn methods(pages: &[&'static Page]) -> MethodRouter<ConsoleState> {
    let mut methods = MethodRouter::new();
    for page in pages.iter().copied() {
        methods = methods.on(
            page.method.filter(),
            move |State(state): State<ConsoleState>, params: Params, request: Request| {
                answer(state, page, params, request)
            },
        );
    }
    let only_get = pages.iter().all(|page| page.method == Method::Get);
    let only_post = pages.iter().all(|page| page.method == Method::Post);
    let allow = if only_get {
        "GET, HEAD"
    } else if only_post {
        "POST"
    } else {
        "GET, HEAD, POST"
    };
    methods.fallback(move |request: Request| async move {
        let (head, _) = request.into_parts();
        let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        headers::protect(&mut response, Way::of(&head).secure);
        response
    })
}

async fn lost(state: ConsoleState, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let way = Way::of(&head);
    let (session, visitor) = visitor(&state, &head, &way, true).await.unwrap_or_default();
    let visit = visit_of(state, way, session, visitor, &head);
    let mut response = refusal(&visit, &Refused::NotFound).await;
    headers::protect(&mut response, visit.way.secure);
    response
}

async fn answer(state: ConsoleState, page: &'static Page, params: Params, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let way = Way::of(&head);
    let secure = way.secure;
    let mut response = match begin(state.clone(), page, params, &head, way.clone(), body).await {
        Ok(visit) => go(visit, page, &head).await,
        Err(refused) => {
            let (session, visitor) = visitor(&state, &head, &way, false).await.unwrap_or_default();
            refusal(&visit_of(state, way, session, visitor, &head), &refused).await
        }
    };
    headers::protect(&mut response, secure);
    response
}

/// Everything that is judged before the page is asked.
async fn begin(
    state: ConsoleState,
    page: &'static Page,
    params: Params,
    head: &Parts,
    way: Way,
    body: Body,
) -> Result<Visit, Refused> {
    if !guard::is_safe_way(way.secure, way.host.as_deref()) {
        return Err(Refused::Insecure);
    }
    let is_use = !live::wanted(head);
    let (session, visitor) = visitor(&state, head, &way, is_use).await?;
    page.needs.judge(visitor.as_ref())?;
    // As the API does: after the credential, before the body. What is for anybody is nobody's.
    if page.needs != page::Needs::Nothing
        && let Some(tenant) = visitor.as_ref().and_then(|visitor| visitor.tenant)
        && let Some(wait) = state.app.count_request(tenant).await?
    {
        return Err(Refused::TooFast(wait));
    }
    let mut visit = visit_of(state, way, session, visitor, head);
    let params = params.map_err(|_| Refused::NotFound)?;
    visit.params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if page.method == Method::Post {
        if !guard::is_from_here(&head.headers, visit.way.host.as_deref(), visit.way.secure) {
            return Err(Refused::Foreign);
        }
        visit.form = Fields::read(&head.headers, body).await?;
        let of_session = visit.csrf().is_some_and(|csrf| session::is_of(csrf, visit.form.text(CSRF)));
        if page.needs != page::Needs::Nothing && !of_session {
            return Err(Refused::Foreign);
        }
    }
    Ok(visit)
}

async fn go(visit: Visit, page: &'static Page, head: &Parts) -> Response {
    if page.method == Method::Get && live::wanted(head) {
        return live::stream(visit, page, head).await;
    }
    // In a task of its own: somebody who closes the page must not stop a change between the store and the memory of it.
    let asked = tokio::spawn((page.handler)(visit.clone())).await;
    let replied = asked.unwrap_or_else(|_| {
        // What panicked has said so itself.
        tracing::error!(path = page.path, "a page ended without an answer");
        Err(Refused::Internal)
    });
    match replied {
        Ok(Reply::Sheet(sheet)) => sheet_response(&visit, sheet, head).await,
        Ok(Reply::See(path, notices)) => {
            if let Some(session) = &visit.session
                && !notices.is_empty()
            {
                visit.state.sessions.leave(session.key, path.split('?').next().unwrap_or_default(), notices);
            }
            see_other(&path)
        }
        Ok(Reply::Raw(response)) => response,
        Err(refused) => refusal(&visit, &refused).await,
    }
}

fn visit_of(
    state: ConsoleState,
    way: Way,
    session: Option<Open>,
    visitor: Option<Visitor>,
    head: &Parts,
) -> Visit {
    let away = cookie::away(&head.headers, way.secure).map(|token| Secret::new(token.to_owned()));
    Visit {
        state,
        way,
        session,
        visitor,
        away,
        is_look: matches!(head.method, http::Method::GET | http::Method::HEAD),
        path: head.uri.path().to_owned(),
        params: Vec::new(),
        query: Fields::parse(head.uri.query().unwrap_or_default().as_bytes()),
        form: Fields::default(),
    }
}

/// The session a request brings and whom it stands for now. One whose credential is gone, or is another tenant's than the
/// host's, is none.
async fn visitor(
    state: &ConsoleState,
    head: &Parts,
    way: &Way,
    is_use: bool,
) -> Result<(Option<Open>, Option<Visitor>), Refused> {
    let Some(token) = cookie::token(&head.headers, way.secure) else { return Ok((None, None)) };
    let now = state.app.clock.now();
    let Some(session) = state.sessions.open(token, now, is_use) else { return Ok((None, None)) };
    let Some(visitor) = state.app.visitor(&session.credential).await? else {
        state.sessions.end(session.key);
        return Ok((None, None));
    };
    if !agrees(&state.app, &way.tenant(&state.app), &visitor).await? {
        return Ok((None, None));
    }
    Ok((Some(session), Some(visitor)))
}

/// Whether a visitor belongs to the tenant that the host names, if it names one.
async fn agrees(app: &App, host: &Host, visitor: &Visitor) -> Result<bool, Refused> {
    let Some(tenant) = visitor.tenant else { return Ok(true) };
    Ok(match host {
        Host::Any | Host::Elsewhere => true,
        Host::Custom(named) => *named == tenant,
        Host::Tenant(label) => app.tenant(tenant).await?.tenant.subdomain.as_str() == label,
    })
}

async fn sheet_response(visit: &Visit, sheet: Sheet, head: &Parts) -> Response {
    // A look ahead, which shows nobody anything, takes nothing out of the slot.
    let notices = match &visit.session {
        Some(session) if head.method == http::Method::GET => {
            visit.state.sessions.take(session.key, &visit.path)
        }
        _ => Vec::new(),
    };
    let Sheet { status, cookies, .. } = &sheet;
    let mut response = match layout::document(visit, &sheet, &notices).await {
        Ok(page) => (*status, Html(page.into_string())).into_response(),
        Err(refused) => refused.status().into_response(),
    };
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
    response
}

async fn refusal(visit: &Visit, refused: &Refused) -> Response {
    if matches!(refused, Refused::SignIn) {
        // Back to what was looked at; what was to be done is a form, and has no page of its own.
        let path = if visit.is_look && visit.path != HOME { visit.path.as_str() } else { "" };
        return see_other(&form::link(SIGN_IN, &[("to", path)]));
    }
    let (heading, sentence) = refused.words();
    let sheet =
        Sheet { status: refused.status(), ..Sheet::new(Section::None, heading, layout::apology(sentence)) };
    let mut response = match layout::document(visit, &sheet, &[]).await {
        Ok(page) => (sheet.status, Html(page.into_string())).into_response(),
        Err(_) => refused.status().into_response(),
    };
    response.headers_mut().extend(refused.header());
    response
}

fn see_other(path: &str) -> Response {
    match HeaderValue::from_str(path) {
        Ok(path) => (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Sends the browser on with another cookie.
fn see_other_with(path: &str, cookie: Option<HeaderValue>) -> Result<Reply, Refused> {
    let mut response = see_other(path);
    response.headers_mut().insert(SET_COOKIE, cookie.ok_or(Refused::Internal)?);
    Ok(Reply::Raw(response))
}
