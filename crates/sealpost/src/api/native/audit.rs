//! `GET /v1/webhooks/audit`: who changed or read what, newest first.

use axum::response::Response;
use sealpost_core::time::Timestamp;
use sealpost_store::history::AuditEntry;
use serde::Serialize;
use serde_json::Value;

use crate::api::call::Call;
use crate::api::problem::Problem;
use crate::api::{answer, cursor};

#[derive(Serialize)]
struct Shown {
    id: String,
    timestamp: Timestamp,
    who: String,
    what: String,
    object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    data: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub(in crate::api) async fn list(call: Call) -> Result<Response, Problem> {
    let page = call.app().store.audit_entries(call.tenant()?, call.query.page()?).await?;
    let next_cursor = cursor::next(&page, |entry| (entry.at, entry.no));
    answer::ok(&List { data: page.rows.into_iter().map(shown).collect(), next_cursor })
}

fn shown(entry: AuditEntry) -> Shown {
    let AuditEntry { no, at, who, what, object, change } = entry;
    Shown { id: no.to_string(), timestamp: at, who, what, object, before: change.before, after: change.after }
}
