//! A service without engine and listener: router, verbs and a store in a fresh folder, on a clock that stands still.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use sealpost::api::{self, ApiState, openapi};
use sealpost::app::lanes::{Caps, Work};
use sealpost::app::openid::Providers;
use sealpost::app::{App, AppConfig};
use sealpost::clock::ManualClock;
use sealpost_core::delivery::{AttemptRecord, State};
use sealpost_core::id::{TenantNo, WebhookId};
use sealpost_core::openid::Provider;
use sealpost_core::outcome::Outcome;
use sealpost_core::quota::{OwnQuota, Quota};
use sealpost_core::role::{Role, Roles};
use sealpost_core::settings::ServerDefaults;
use sealpost_core::target_url::UrlRules;
use sealpost_core::time::Timestamp;
use sealpost_egress::{Documents, Egress, EgressConfig, TxtLookup};
use sealpost_store::queue::{Next, Settlement};
use sealpost_store::sqlite::{OpenOptions, SqliteStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;
use tower::ServiceExt as _;

pub(crate) const START: &str = "2026-01-02T03:04:05.678Z";
pub(crate) const ABSENT: &str = "0190c0de-0000-7000-8000-000000000000";

pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) metrics: Router,
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) tenant: TenantNo,
    pub(crate) admin: String,
    claimed: UnboundedReceiver<Work>,
    folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(None, 0).await
    }

    pub(crate) async fn with(base_domain: Option<&str>, disk_reserve_bytes: u64) -> Self {
        Self::with_txt(base_domain, disk_reserve_bytes, TxtLookup::default()).await
    }

    /// An installation whose tenants have these limits.
    pub(crate) async fn limited(limits: OwnQuota) -> Self {
        let config = AppConfig { quota: Quota::default().of(limits), ..config(None) };
        Self::begin(tempfile::tempdir().unwrap(), 0, TxtLookup::default(), config, clock()).await
    }

    /// An installation that rotates signing keys at this age.
    pub(crate) async fn rotating(every: Option<Duration>) -> Self {
        let config = AppConfig { rotate_every: every, ..config(None) };
        Self::begin(tempfile::tempdir().unwrap(), 0, TxtLookup::default(), config, clock()).await
    }

    /// An installation that keeps analytic events this long.
    pub(crate) async fn analytics(retention: Option<Duration>) -> Self {
        let config = AppConfig { analytics_retention: retention, ..config(None) };
        Self::begin(tempfile::tempdir().unwrap(), 0, TxtLookup::default(), config, clock()).await
    }

    pub(crate) async fn with_txt(base_domain: Option<&str>, disk_reserve_bytes: u64, txt: TxtLookup) -> Self {
        Self::begin(tempfile::tempdir().unwrap(), disk_reserve_bytes, txt, config(base_domain), clock()).await
    }

    /// Takes tokens of these providers too.
    pub(crate) fn with_openid(self, providers: Vec<Provider>, documents: Documents) -> Self {
        self.with_providers(Providers::new(providers, documents))
    }

    pub(crate) fn with_providers(self, providers: Providers) -> Self {
        let app = self.app.clone().with_openid(providers);
        let state = ApiState::new(app.clone(), self.ready.clone());
        Self { router: api::router(state.clone()), metrics: api::metrics_router(state), app, ..self }
    }

    /// The same folder in another process, as far as memory goes.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| ()).await
    }

    /// And with other settings.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut AppConfig)) -> Self {
        let World { folder, app, router, metrics, claimed, clock, .. } = self;
        let mut config = (*app.config).clone();
        change(&mut config);
        drop((app, router, metrics, claimed));
        Self::begin(folder, 0, TxtLookup::default(), config, clock).await
    }

    async fn begin(
        folder: TempDir,
        disk_reserve_bytes: u64,
        txt: TxtLookup,
        config: AppConfig,
        clock: Arc<ManualClock>,
    ) -> Self {
        let options =
            OpenOptions { disk_reserve_bytes, ..OpenOptions::new(folder.path().join("sealpost.db")) };
        let store = Arc::new(SqliteStore::open(options).unwrap());
        let (app, claimed) = App::new(store, clock.clone(), Caps::default(), config);
        let app = app.with_txt(txt);
        let tenant = app.ensure_default_tenant().await.unwrap().no;
        let ready = Arc::new(AtomicBool::new(true));
        let state = ApiState::new(app.clone(), ready.clone());
        let mut world = Self {
            router: api::router(state.clone()),
            metrics: api::metrics_router(state),
            app,
            clock,
            ready,
            tenant,
            admin: String::new(),
            claimed,
            folder,
        };
        world.admin = world.key(Role::Admin, None).await;
        world
    }

    /// A fresh API key of tenant `default`.
    pub(crate) async fn key(&self, roles: impl Into<Roles>, webhook: Option<WebhookId>) -> String {
        let (roles, tenant) = (roles.into(), self.tenant);
        let made =
            self.app.create_client(tenant, &roles.to_string(), roles, webhook, None, "test").await.unwrap();
        made.key.reveal().clone()
    }

    /// A fresh operator's key.
    pub(crate) async fn operator(&self) -> String {
        self.app.create_operator("ops", None, "test").await.unwrap().key.reveal().clone()
    }

    /// So that what is made next is newer.
    pub(crate) fn tick(&self) {
        self.clock.advance(Duration::from_millis(1));
    }

    pub(crate) async fn call(&self, request: Call) -> Answer {
        let Call { method, path, key, body, headers } = request;
        let mut built = Request::builder().method(method.clone()).uri(&path);
        for (name, value) in &headers {
            built = built.header(name, value);
        }
        if let Some(key) = key.unwrap_or_else(|| Some(self.admin.clone())) {
            built = built.header("authorization", format!("Bearer {key}"));
        }
        let response = self.router.clone().oneshot(built.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, body };
        as_documented(&method, &path, &answer);
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(get(path)).await
    }

    /// Registers a webhook through the API and says its id.
    pub(crate) async fn webhook(&self, events: &[&str]) -> String {
        self.tick();
        let answer =
            self.call(post("/v1/webhooks", json!({"events": events, "url": "https://example.com/in"}))).await;
        assert_eq!(answer.status, 201, "{answer}");
        answer.text_of("id")
    }

    /// Registers a webhook on Truvera's face and says what was answered.
    pub(crate) async fn truvera_webhook(&self, events: &[&str]) -> Value {
        self.tick();
        let answer =
            self.call(post("/webhooks", json!({"events": events, "url": "https://example.com/in"}))).await;
        assert_eq!(answer.status, 200, "{answer}");
        answer.json()
    }

    /// Publishes one event and says its id.
    pub(crate) async fn publish(&self, event: Value) -> String {
        self.tick();
        let answer = self.call(post("/v1/webhooks/events", event)).await;
        assert_eq!(answer.status, 202, "{answer}");
        answer.text_of("id")
    }

    /// The id of the only or newest delivery that a query finds.
    pub(crate) async fn newest_delivery(&self, query: &str) -> String {
        let list = self.get(&format!("/v1/webhooks/deliveries?{query}")).await;
        list.json()["data"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Ends the next claimed delivery as the engine would, after one attempt that was answered with `status`.
    pub(crate) async fn settle(&mut self, status: u16, excerpt: Option<&[u8]>, state: State) {
        self.settle_with(Outcome::of_status(status), Some(status), excerpt, state).await;
    }

    /// The same after an attempt of any outcome.
    pub(crate) async fn settle_with(
        &mut self,
        outcome: Outcome,
        status: Option<u16>,
        excerpt: Option<&[u8]>,
        state: State,
    ) {
        self.settle_at(START.parse().unwrap(), outcome, status, excerpt, state).await;
    }

    /// The same after an attempt that began then.
    pub(crate) async fn settle_at(
        &mut self,
        started_at: Timestamp,
        outcome: Outcome,
        status: Option<u16>,
        excerpt: Option<&[u8]>,
        state: State,
    ) {
        let Some(Work::Begin(ready, _permit)) = self.claimed.recv().await else {
            panic!("nothing is to be sent")
        };
        let attempt = AttemptRecord {
            number: ready.ticket.attempt,
            started_at,
            took_ms: 12,
            outcome,
            http_status: status,
            error: status.filter(|status| *status >= 300).map(|status| format!("answered {status}")),
            excerpt: excerpt.map(<[u8]>::to_vec),
        };
        let settlement = Settlement { ticket: ready.ticket, attempt, next: Next::End(state), alert_after: 0 };
        self.app.store.settle(vec![settlement]).await.unwrap();
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(START.parse().unwrap()))
}

fn config(base_domain: Option<&str>) -> AppConfig {
    AppConfig {
        defaults: ServerDefaults::default(),
        url_rules: UrlRules::default(),
        public_url: "https://posts.example".into(),
        base_domain: base_domain.map(Into::into),
        bootstrap_api_key: None,
        quota: Quota::default(),
        analytics_retention: Some(Duration::from_secs(30 * 86_400)),
        publish_ahead: Duration::from_secs(30 * 86_400),
        rotate_every: None,
    }
}

/// What asks this name server and nobody else.
pub(crate) fn txt_lookup(name_server: SocketAddr) -> TxtLookup {
    let config = EgressConfig {
        plain_http_loopback: true,
        native_roots: false,
        nameservers: Some(vec![name_server]),
        ..EgressConfig::default()
    };
    Egress::new(config).unwrap().txt_lookup()
}

/// A request to be made.
pub(crate) struct Call {
    method: Method,
    path: String,
    /// `None`: the administrator's; `Some(None)`: no key at all.
    key: Option<Option<String>>,
    body: Body,
    headers: Vec<(String, String)>,
}

pub(crate) fn call(method: &str, path: &str) -> Call {
    let method = method.parse().unwrap();
    Call { method, path: path.into(), key: None, body: Body::empty(), headers: Vec::new() }
}

pub(crate) fn get(path: &str) -> Call {
    call("GET", path)
}

pub(crate) fn post(path: &str, body: Value) -> Call {
    call("POST", path).json(&body)
}

pub(crate) fn put(path: &str, body: Value) -> Call {
    call("PUT", path).json(&body)
}

pub(crate) fn patch(path: &str, body: Value) -> Call {
    call("PATCH", path).json(&body)
}

pub(crate) fn delete(path: &str) -> Call {
    call("DELETE", path)
}

impl Call {
    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    pub(crate) fn raw(self, content_type: &str, body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..self.header("content-type", content_type) }
    }

    pub(crate) fn bare(self, body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn by(self, key: &str) -> Self {
        Self { key: Some(Some(key.into())), ..self }
    }

    pub(crate) fn by_nobody(self) -> Self {
        Self { key: Some(None), ..self }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self}"))
    }

    pub(crate) fn text_of(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no `{member}`: {self}")).to_owned()
    }

    /// Of a list: the ids, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        let json = self.json();
        let data = json["data"].as_array().unwrap_or_else(|| panic!("no list: {self}"));
        data.iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// `404 {"code":...}`; the content type where it is not JSON.
impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status)?;
        match self.header("content-type") {
            None | Some("application/json") => {}
            Some(other) => write!(f, " [{other}]")?,
        }
        if self.body.is_empty() { Ok(()) } else { write!(f, " {}", self.text()) }
    }
}

/// One line for each of many answers.
#[derive(Default)]
pub(crate) struct Said(String);

impl Said {
    pub(crate) fn note(&mut self, what: &str, answer: &Answer) {
        let _ = writeln!(self.0, "{what}: {answer}");
    }

    pub(crate) fn line(&mut self, line: impl std::fmt::Display) {
        let line = line.to_string();
        let _ = writeln!(self.0, "{}", line.trim_end());
    }

    pub(crate) fn is(self, expected: expect_test::Expect) {
        expected.assert_eq(&self.0);
    }
}

pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi::document);

/// Panics if the document does not list such an answer to such a call.
fn as_documented(method: &Method, target: &str, answer: &Answer) {
    let path = target.split('?').next().unwrap();
    let path = path.strip_prefix("/core").filter(|path| has_core(path)).unwrap_or(path);
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let fits = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len() && template.iter().zip(&path).all(|(t, p)| t.starts_with('{') || t == p)
    };
    // The router prefers fixed segments; a template with fewer parameters has more of them.
    let template =
        paths.keys().filter(|template| fits(template)).min_by_key(|template| template.matches('{').count());
    let method = if method == Method::HEAD { Method::GET } else { method.clone() };
    let operation = template.and_then(|template| paths[template].get(method.as_str().to_lowercase()));
    let Some(operation) = operation else {
        let want = if template.is_some() { 405 } else { 404 };
        assert_eq!(answer.status, want, "{method} {target}: {answer}");
        let problem = if is_truvera(path) { "TruveraProblem" } else { "Problem" };
        return holds(&json!({"$ref": format!("#/components/schemas/{problem}")}), answer);
    };
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{method} {target} does not list {answer}");
    let response = match response["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap(),
        None => response,
    };
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        assert!(
            answer.header(name).is_some() || header["required"] != true,
            "{method} {target} lacks {name}: {answer}"
        );
    }
    match response["content"].as_object() {
        None => assert!(answer.body.is_empty(), "{method} {target}: {answer}"),
        Some(content) => {
            let (content_type, content) = content.iter().next().unwrap();
            assert_eq!(
                answer.header("content-type").unwrap_or_default().split(';').next(),
                Some(content_type.as_str())
            );
            if content_type == "application/json" && !answer.body.is_empty() {
                holds(&content["schema"], answer);
            }
        }
    }
}

/// Whether a path is served below `/core` too.
pub(crate) fn has_core(path: &str) -> bool {
    ["/v1/webhooks", "/v1/config/domain", "/v1/events", "/v1/analytics"]
        .iter()
        .any(|base| path.starts_with(base))
}

/// Whether a path is on Truvera's face.
pub(crate) fn is_truvera(path: &str) -> bool {
    path == "/webhooks" || path.starts_with("/webhooks/")
}

fn holds(schema: &Value, answer: &Answer) {
    let mut schema = schema.clone();
    schema["components"] = DOCUMENT["components"].clone();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let value = answer.json();
    let errors: Vec<String> =
        validator.iter_errors(&value).map(|e| format!("{} at {}", e, e.instance_path())).collect();
    assert!(errors.is_empty(), "{answer}\n{}", errors.join("\n"));
}
