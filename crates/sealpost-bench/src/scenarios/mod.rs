//! What is measured: one file a question, each answering with figures. Every scenario has a service of its own on a
//! new store, so that none inherits another's history.

mod backlog;
mod flat;
mod isolation;
mod latency;
mod postgres;
mod rest;
mod throughput;

use crate::figure::Figure;
use crate::process::Failure;
use crate::rig::Rig;

/// A name and what it measures. `quick`: also in a quick run.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) quick: bool,
    /// Measured once, not in every round: it takes minutes.
    pub(crate) once: bool,
}

const fn scenario(name: &'static str, about: &'static str, quick: bool, once: bool) -> Scenario {
    Scenario { name, about, quick, once }
}

pub(crate) const ALL: [Scenario; 20] = [
    scenario("one-1", "one webhook, 1 publisher, one event a request", true, false),
    scenario("one-16", "the same with 16 publishers", true, false),
    scenario("one-64", "the same with 64 publishers", true, false),
    scenario("one-256", "the same with 256 publishers", true, false),
    scenario("tls-64", "64 publishers, delivered over TLS 1.3", true, false),
    scenario("batch-100", "8 publishers, 100 events a request", true, false),
    scenario("fan-10", "10 webhooks for each event", true, false),
    scenario("fan-100", "100 webhooks for each event", true, false),
    scenario("latency-20", "from publishing to receipt at 20 events a second", true, false),
    scenario("latency-half", "the same at half of the rate of one-64", true, false),
    scenario("hanging-webhooks", "nine webhooks beside one that hangs", false, false),
    scenario("hanging-tenants", "nine tenants beside one whose receiver hangs", false, false),
    scenario("rest", "start-up time and memory when idle", true, false),
    scenario("backlog-100k", "100,000 deliveries pending for a dead receiver", false, true),
    scenario("backlog-1m", "1,000,000 deliveries pending for a dead receiver", false, true),
    scenario("webhooks", "cost of a delivery with 10 to 100,000 webhooks registered", false, true),
    scenario("history", "cost of a delivery with 1,000 to 10,000,000 events of history", false, true),
    scenario("postgres-1", "one webhook, 64 publishers, one node on PostgreSQL", false, false),
    scenario("postgres-3", "the same with three nodes", false, false),
    scenario("postgres-pending", "cost of a delivery on PostgreSQL with 0 to 1,000,000 pending", false, true),
];

/// Measures one scenario. `raw` is the ceiling: posts a second from the generator straight to the sink.
pub(crate) async fn measure(rig: &mut Rig, name: &str, raw: f64) -> Result<Vec<Figure>, Failure> {
    match name {
        "one-1" => throughput::one(rig, name, raw, 1).await,
        "one-16" => throughput::one(rig, name, raw, 16).await,
        "one-64" => throughput::one(rig, name, raw, 64).await,
        "one-256" => throughput::one(rig, name, raw, 256).await,
        "tls-64" => throughput::tls(rig, name, raw).await,
        "batch-100" => throughput::batch(rig, name, raw).await,
        "fan-10" => throughput::fan(rig, name, raw, 10).await,
        "fan-100" => throughput::fan(rig, name, raw, 100).await,
        "latency-20" => latency::slow(rig, name).await,
        "latency-half" => latency::half(rig, name).await,
        "hanging-webhooks" => isolation::webhooks(rig, name).await,
        "hanging-tenants" => isolation::tenants(rig, name).await,
        "rest" => rest::rest(rig, name).await,
        "backlog-100k" => backlog::backlog(rig, name, raw, 100_000).await,
        "backlog-1m" => backlog::backlog(rig, name, raw, 1_000_000).await,
        "webhooks" => flat::webhooks(rig, name).await,
        "history" => flat::history(rig, name).await,
        "postgres-1" => postgres::one(rig, name, raw, 1).await,
        "postgres-3" => postgres::one(rig, name, raw, 3).await,
        "postgres-pending" => postgres::pending(rig, name).await,
        other => Err(format!("there is no scenario {other}").into()),
    }
}
