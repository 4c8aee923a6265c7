//! For the machines around the service: is it alive, is it ready, what does it count, what can it do.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;

use super::ApiState;
use super::answer;
use super::call::Call;
use super::openapi;
use super::problem::Problem;

/// The process answers; says nothing about the store.
pub(super) async fn livez(_call: Call) -> Result<Response, Problem> {
    answer::ok(&json!({ "status": "live" }))
}

/// Whether events are taken and delivered.
pub(super) async fn readyz(call: Call) -> Result<Response, Problem> {
    if call.state.is_ready() {
        answer::ok(&json!({ "status": "ready" }))
    } else {
        Err(Problem::Unavailable { message: "The service is starting or stopping", retry_after_s: 1 })
    }
}

pub(super) async fn openapi(_call: Call) -> Result<Response, Problem> {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi::document().to_string().into());
    Ok(([(CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response())
}

/// Behind an operator's credential; without one on a listener of its own, see [`super::metrics_router`].
pub(super) async fn metrics(call: Call) -> Result<Response, Problem> {
    metrics_text(&call.state).await
}

/// Prometheus text. Nothing is labelled by webhook, URL or subject.
pub(super) async fn metrics_text(state: &ApiState) -> Result<Response, Problem> {
    let app = &state.app;
    let stats = app.store.stats().await?;
    let accepted = state.accepted.load(Ordering::Relaxed);
    let mut text = String::new();
    let free = stats
        .free_disk_bytes
        .map(|bytes| ("store_free_disk_bytes", "gauge", "Free space on the store's disk.", bytes));
    for (name, kind, about, value) in [
        ("events_accepted_total", "counter", "Events that were new and stored.", accepted),
        ("store_accepts_total", "counter", "Accepting requests that were stored.", stats.accepts),
        (
            "analytics_dropped_total",
            "counter",
            "Analytic events of calls that were not kept, because the store was held up.",
            app.recorded.dropped(),
        ),
        (
            "deliveries_in_flight",
            "gauge",
            "Requests being made to receivers now.",
            app.lanes.in_flight().into(),
        ),
        ("store_commits_total", "counter", "Transactions brought to stable storage.", stats.commits),
        ("store_claims_total", "counter", "Deliveries claimed from disk.", stats.claims),
        ("store_settles_total", "counter", "Attempts whose outcome was stored.", stats.settles),
        (
            "store_delivery_writes_total",
            "counter",
            "Statements that wrote a delivery.",
            stats.delivery_writes,
        ),
        ("store_wal_bytes", "gauge", "Size of the write-ahead log.", stats.wal_bytes),
        ("store_file_bytes", "gauge", "Size of the database file.", stats.file_bytes),
    ]
    .into_iter()
    .chain(free)
    {
        let _ = writeln!(
            text,
            "# HELP sealpost_{name} {about}\n# TYPE sealpost_{name} {kind}\nsealpost_{name} {value}"
        );
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
