//! One admitted call, as its handler sees it.

use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::http::HeaderMap;
use sealpost_core::id::{TenantNo, WebhookId, WebhookName};
use sealpost_core::role::Role;
use serde_json::Value;

use super::ApiState;
use super::auth::{Admitted, Host};
use super::body;
use super::budget::Room;
use super::problem::{Location, Problem};
use super::query::Query;
use crate::app::App;
use crate::app::clients::Caller;

pub(super) struct Call {
    pub(super) state: ApiState,
    /// `/core` if the caller wrote it, so that links come back the way they were asked for.
    pub(super) base: &'static str,
    pub(super) host: Host,
    pub(super) by: Admitted,
    pub(super) params: Vec<(String, String)>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    body: Unread,
}

/// A body nobody has read. The lock is never waited for: it makes what can only be moved shareable, so that a call
/// can be lent across an await.
struct Unread(Mutex<Body>);

impl Call {
    #[expect(clippy::too_many_arguments, reason = "a call is made in one place")]
    pub(super) fn new(
        state: ApiState,
        base: &'static str,
        host: Host,
        by: Admitted,
        params: Vec<(String, String)>,
        query: Query,
        headers: HeaderMap,
        body: Body,
    ) -> Self {
        Self { state, base, host, by, params, query, headers, body: Unread(Mutex::new(body)) }
    }

    /// The body, once; empty ever after.
    pub(super) fn take_body(&mut self) -> Body {
        std::mem::take(self.body.0.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn app(&self) -> &App {
        &self.state.app
    }

    /// Whoever called for a tenant; every route has one but the public ones and the operator's.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        match &self.by {
            Admitted::Tenant(caller) => Ok(caller),
            Admitted::Anybody | Admitted::Operator(_) => Err(Problem::Unauthorized),
        }
    }

    /// The operator who called, as the audit log names it.
    pub(super) fn operator(&self) -> Result<&str, Problem> {
        match &self.by {
            Admitted::Operator(who) => Ok(who),
            Admitted::Anybody | Admitted::Tenant(_) => Err(Problem::Unauthorized),
        }
    }

    /// The caller, as the audit log names it.
    pub(super) fn who(&self) -> Result<&str, Problem> {
        Ok(&self.caller()?.who)
    }

    pub(super) fn tenant(&self) -> Result<TenantNo, Problem> {
        Ok(self.caller()?.tenant)
    }

    /// The one webhook whose deliveries the caller may see; `None`: all of the tenant's. A subscriber without a
    /// webhook, which nothing makes, sees nothing.
    pub(super) fn bound_to(&self) -> Result<Option<WebhookId>, Problem> {
        let caller = self.caller()?;
        if caller.roles.has(Role::Subscriber) {
            return caller.webhook.map(Some).ok_or(Problem::Forbidden);
        }
        Ok(None)
    }

    /// A path parameter as it was written, percent-decoded.
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A UUID in the path.
    pub(super) fn id<Id: std::str::FromStr>(&self) -> Result<Id, Problem> {
        self.id_named("id")
    }

    pub(super) fn id_named<Id: std::str::FromStr>(&self, name: &str) -> Result<Id, Problem> {
        let text = self.param(name);
        text.parse().map_err(|_| Problem::invalid(Location::Params, name, "Invalid value", Some(text.into())))
    }

    /// 404 about the id in the path.
    pub(super) fn no_such(&self) -> Problem {
        Problem::no_such("id", self.param("id"))
    }

    /// The webhook in the path of a Sealpost call: its UUID, or its number as the Truvera face prints it.
    pub(super) async fn webhook(&self) -> Result<WebhookId, Problem> {
        let name = self.id()?;
        self.app().webhook_named(self.tenant()?, name).await?.ok_or_else(|| self.no_such())
    }

    /// The webhook in the path of a call that knows webhooks by their number only.
    pub(super) async fn numbered_webhook(&self) -> Result<WebhookId, Problem> {
        let Ok(WebhookName::No(no)) = self.param("id").parse() else { return Err(self.no_such()) };
        self.app().webhook_numbered(self.tenant()?, no).await?.ok_or_else(|| self.no_such())
    }

    /// A webhook named in the query.
    pub(super) async fn webhook_in_query(&self, name: &str) -> Result<Option<WebhookId>, Problem> {
        let Some(text) = self.query.text(name) else { return Ok(None) };
        let refused = |msg: &str| Problem::invalid(Location::Query, name, msg, Some(text.into()));
        let name = text.parse().map_err(|_| refused("Invalid value"))?;
        let found = self.app().webhook_named(self.tenant()?, name).await?;
        found.map(Some).ok_or_else(|| refused("Resource Not Found"))
    }

    /// The JSON body.
    pub(super) async fn json(&mut self) -> Result<Value, Problem> {
        let (body, room) = (self.take_body(), self.room());
        body::json(body, &self.headers, room).await
    }

    /// The JSON body, or nothing.
    pub(super) async fn json_if_any(&mut self) -> Result<Option<Value>, Problem> {
        let (body, room) = (self.take_body(), self.room());
        body::json_if_any(body, &self.headers, room).await
    }

    /// The body as it is.
    pub(super) async fn whole(&mut self, limit: usize) -> Result<body::Whole, Problem> {
        let (body, room) = (self.take_body(), self.room());
        body::read(body, limit, room).await
    }

    /// Refuses a body: this call reads none.
    pub(super) async fn no_body(&mut self) -> Result<(), Problem> {
        let (body, room) = (self.take_body(), self.room());
        body::nothing(body, room).await
    }

    /// Room for one body of the caller's tenant.
    fn room(&self) -> Room {
        self.state.bodies.room(self.tenant().ok())
    }
}
