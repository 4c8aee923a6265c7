//! What a call leaves for the analytic events: its start when it was let in, and its success or failure. A call that
//! ends without an answer, because its caller hung up or it panicked, has failed.

use std::sync::Arc;

use axum::response::Response;
use sealpost_core::analytics::{Operation, Phase, RequestId};
use sealpost_core::id::ClientId;
use serde_json::{Map, Value, json};

use super::answer::Told;
use super::auth::Admitted;
use super::problem::Problem;
use super::query::Query;
use crate::app::App;
use crate::app::analytics::CallEnd;
use crate::app::registry::TenantEntry;

pub(super) struct Recording {
    app: App,
    entry: Arc<TenantEntry>,
    operation: Operation,
    request: RequestId,
    client: Option<ClientId>,
    ended: bool,
}

impl Recording {
    /// `None`: this call is not one that is recorded.
    pub(super) async fn begin(
        app: &App,
        operation: Option<Operation>,
        by: &Admitted,
        data: impl FnOnce() -> Value,
    ) -> Result<Option<Self>, Problem> {
        let (Some(operation), Admitted::Tenant(caller), true) = (operation, by, app.records_calls()) else {
            return Ok(None);
        };
        let recording = Self {
            app: app.clone(),
            entry: app.tenant(caller.tenant).await?,
            operation,
            request: app.new_request_id(),
            client: caller.client,
            ended: false,
        };
        recording.put(Phase::Start, data());
        Ok(Some(recording))
    }

    pub(super) fn end(mut self, answered: &Result<Response, Problem>) {
        self.ended = true;
        match answered {
            Ok(response) => {
                let told = response.extensions().get::<Told>();
                self.put(Phase::Success, told.map_or_else(|| json!({}), |Told(data)| data.clone()));
            }
            Err(problem) => self.fail(problem),
        }
    }

    fn fail(&self, problem: &Problem) {
        let (_, code, message) = problem.facts();
        self.put(Phase::Fail, json!({"error": {"message": message, "type": code}}));
    }

    fn put(&self, phase: Phase, data: Value) {
        let Self { operation, request, client, .. } = *self;
        self.app.record(&self.entry, CallEnd { operation, phase, request, client, data });
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.ended {
            self.fail(&Problem::Internal);
        }
    }
}

/// What a call says about itself before it is carried out: the id it names, and the page it asks for.
pub(super) fn asked(operation: Option<Operation>, id: Option<&str>, query: Option<&Query>) -> Value {
    let mut data = Map::new();
    if let Some(id) = id.and_then(|id| id.parse::<sealpost_core::id::WebhookId>().ok()) {
        data.insert("id".into(), json!(id));
    }
    if operation == Some(Operation::WebhookRetrieveList)
        && let Some(query) = query
    {
        if let Ok(limit) = query.limit() {
            data.insert("limit".into(), limit.into());
        }
        if let Some(cursor) = query.text("cursor").filter(|cursor| super::cursor::is_one(cursor)) {
            data.insert("cursor".into(), cursor.into());
        }
    }
    Value::Object(data)
}
