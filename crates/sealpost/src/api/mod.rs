//! The HTTP face: [`routes`] lists every call on one page, and the router, the role check, the answer to a wrong
//! method and the OpenAPI document are all made from that list, so that they cannot disagree.
//!
//! A call is: find the route, judge host, credential and role, judge the query, then let the route's handler read the
//! body and ask a verb of [`crate::app`]. Nothing here imports the engine or the command line.

mod answer;
mod auth;
mod body;
mod budget;
mod call;
mod cursor;
mod face;
mod fields;
mod management;
mod mattr;
mod native;
mod oauth;
pub mod openapi;
mod operations;
mod problem;
mod query;
mod recording;
mod route;
mod routes;
mod truvera;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::MethodRouter;
use futures_util::FutureExt as _;
use sealpost_store::inbox::AcceptedEvent;

use crate::app::App;
use axum::body::Body;
use axum::http::HeaderMap;
use budget::BodyBudget;
use call::Call;
use face::Face;
use problem::Problem;
use query::Query;
use recording::Recording;
use route::{Method, Route, Takes};
use routes::ROUTES;

const WEBHOOKS: &str = "/v1/webhooks";
const DOMAIN: &str = "/v1/config/domain";
const ANALYTICS: [&str; 2] = ["/v1/events", "/v1/analytics"];
/// Older MATTR clients call `/core/v1/webhooks...`; it is the same resource.
const BASES: [&str; 2] = ["", "/core"];

/// What every call gets; cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    pub app: App,
    /// Answered by `/readyz`: set when the engine runs, unset when draining begins.
    pub ready: Arc<AtomicBool>,
    bodies: BodyBudget,
    /// Events stored since start, for metrics.
    accepted: Arc<AtomicU64>,
}

impl ApiState {
    pub fn new(app: App, ready: Arc<AtomicBool>) -> Self {
        Self { app, ready, bodies: BodyBudget::default(), accepted: Arc::default() }
    }

    fn count_accepted(&self, events: &[AcceptedEvent]) {
        let new = events.iter().filter(|event| !event.repeated).count();
        self.accepted.fetch_add(new as u64, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// Every route of the table, both spellings where there are two; everything else is 404 or 405 in the JSON shape.
pub fn router(state: ApiState) -> Router {
    let mut paths: BTreeMap<&str, Vec<&'static Route>> = BTreeMap::new();
    for route in &ROUTES {
        paths.entry(route.path).or_default().push(route);
    }
    let mut router = Router::new();
    for (path, routes) in paths {
        for base in bases(path) {
            router = router.route(&format!("{base}{path}"), methods(base, Face::of(path), &routes));
        }
    }
    router.fallback(|uri: Uri| async move { Face::no_route(uri.path()) }).with_state(state)
}

/// `GET /metrics` without a credential, for a listener of its own that only the operator reaches.
pub fn metrics_router(state: ApiState) -> Router {
    let metrics = |State(state): State<ApiState>| async move { operations::metrics_text(&state).await };
    Router::new()
        .route("/metrics", axum::routing::get(metrics))
        .fallback(|| async { Problem::not_found() })
        .with_state(state)
}

fn bases(path: &str) -> &'static [&'static str] {
    let mattr = [WEBHOOKS, DOMAIN].iter().chain(&ANALYTICS).any(|below| path.starts_with(below));
    if mattr { &BASES } else { &BASES[..1] }
}

fn methods(base: &'static str, face: Face, routes: &[&'static Route]) -> MethodRouter<ApiState> {
    let mut methods = MethodRouter::new();
    let mut allow: Vec<&str> = Vec::new();
    for route in routes.iter().copied() {
        allow.extend(route.method.allows());
        methods = methods.on(
            route.method.filter(),
            move |State(state): State<ApiState>, params: Params, request: Request| async move {
                let answered = answer(state, base, route, params, request).await;
                answered.unwrap_or_else(|problem| face.refuse(problem))
            },
        );
    }
    let allow = allow.join(", ");
    methods.fallback(move || {
        let allow = allow.clone();
        async move { face.refuse(Problem::MethodNotAllowed { allow }) }
    })
}

type Params = Result<RawPathParams, RawPathParamsRejection>;

async fn answer(
    state: ApiState,
    base: &'static str,
    route: &'static Route,
    params: Params,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let host = auth::Host::of(&head, state.app.config.base_domain.as_deref(), &state.app.domains);
    let by = auth::admit(&state.app, route, &head.headers, &host).await?;
    if let auth::Admitted::Tenant(caller) = &by
        && let Some(wait) = state.app.count_request(caller.tenant).await?
    {
        return Err(Problem::TooFast(wait));
    }
    let params: Result<Vec<_>, _> = match &params {
        Ok(params) => Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
        Err(_) => Err(Problem::Refused("the path is not UTF-8".into())),
    };
    let query = Query::parse(head.uri.query().unwrap_or_default(), route.query);
    let asked = || {
        let ids = params.as_ref().ok().and_then(|params| params.first());
        recording::asked(route.records, ids.map(|(_, id)| id.as_str()), query.as_ref().ok())
    };
    let recording = Recording::begin(&state.app, route.records, &by, asked).await?;
    let credentialed = by != auth::Admitted::Anybody;
    let call = judged(state, base, route, host, by, params, query, head.headers, body).await;
    let work = carried_out(route, call, recording);
    let answered = match route.takes {
        // Publishing begins a task itself where it must not stop; before that, it may.
        Takes::Events => AssertUnwindSafe(work).catch_unwind().await.ok(),
        // In a task of its own: a caller who hangs up must not stop a change between the store and the memory of it.
        _ => tokio::spawn(work).await.ok(),
    };
    let Some(answered) = answered else {
        // What panicked has said so itself.
        tracing::error!(operation = route.operation, "a call ended without an answer");
        return Err(Problem::Internal);
    };
    let mut response = answered?;
    if credentialed {
        answer::not_to_be_stored(&mut response);
    }
    Ok(response)
}

/// The call as its handler gets it, if it is one.
#[expect(clippy::too_many_arguments, reason = "a call is made in one place")]
async fn judged(
    state: ApiState,
    base: &'static str,
    route: &'static Route,
    host: auth::Host,
    by: auth::Admitted,
    params: Result<Vec<(String, String)>, Problem>,
    query: Result<Query, Problem>,
    headers: HeaderMap,
    body: Body,
) -> Result<Call, Problem> {
    let (params, query) = (params?, query?);
    let reads = route.method != Method::Get;
    if reads {
        body::not_encoded(&headers)?;
    }
    let mut call = Call::new(state, base, host, by, params, query, headers, body);
    if reads && matches!(route.takes, Takes::Nothing) {
        call.no_body().await?;
    }
    Ok(call)
}

/// How it ends is recorded where it ends: whoever asked may have hung up by then.
async fn carried_out(
    route: &'static Route,
    call: Result<Call, Problem>,
    recording: Option<Recording>,
) -> Result<Response, Problem> {
    let answered = match call {
        Ok(call) => (route.handler)(call).await,
        Err(problem) => Err(problem),
    };
    if let Some(recording) = recording {
        recording.end(&answered);
    }
    answered
}
