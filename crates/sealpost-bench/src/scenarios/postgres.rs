//! Nodes that share a PostgreSQL database: what one and three of them deliver on this machine, and whether a delivery
//! costs the same beside a backlog.

use std::time::Duration;

use crate::figure::Figure;
use crate::generator::GenerateArgs;
use crate::process::Failure;
use crate::rig::{Load, Rig, publish};
use crate::service::Service;

const QUICK_S: f64 = 1.0;
const FULL_S: f64 = 4.0;
const BAR: f64 = 0.07;
const PENDING: u64 = 1_000_000;
/// Events for whoever is well are of another type, so that the dead one does not get them.
const WELLS_TYPE: &str = "OpenIdCredentialIssuedSummary";
const MEASURED_S: f64 = 10.0;
const CALMS_DOWN: Duration = Duration::from_secs(20);
/// Events a second while the cost is measured.
const RATE: f64 = 1000.0;

pub(super) async fn one(rig: &mut Rig, name: &str, raw: f64, nodes: usize) -> Result<Vec<Figure>, Failure> {
    let setup = rig.on_postgres(nodes).await?;
    let mut service = Service::start(&setup, name).await?;
    let key = service.key();
    service.webhook(&key, &rig.http("/h/0")).await?;
    let seconds = rig.seconds(QUICK_S, FULL_S);
    let load = rig.load(Some(&service), publish(&service.address, &[key], 64, seconds), 1).await?;
    let peak = service.peak_rss_mb();
    service.stop().await?;
    let mut figures = vec![
        Figure::new(format!("{name} share of raw"), "", load.rate / raw).at_least(BAR),
        Figure::new(format!("{name} deliveries"), "1/s", load.rate),
        Figure::new(format!("{name} memory of a node"), "MB", peak),
    ];
    figures.extend(costs(name, &load));
    Ok(figures)
}

fn costs(name: &str, load: &Load) -> Vec<Figure> {
    let [_, service, _] = load.cpu;
    vec![
        Figure::new(format!("{name} CPU nodes"), "s/1000", service),
        Figure::new(format!("{name} CPU database"), "s/1000", load.database_cpu),
        Figure::new(format!("{name} latency p50"), "ms", load.received.latency.p50),
        Figure::new(format!("{name} latency p99"), "ms", load.received.latency.p99),
        Figure::new(format!("{name} refused"), "", load.generated.refused as f64).at_most(0.0),
        Figure::new(format!("{name} missing"), "", load.missing as f64).at_most(0.0),
        Figure::new(format!("{name} repeated"), "", load.received.repeated as f64),
    ]
}

/// The same steady load beside a receiver that is dead: before much waits for it, and with a million deliveries waiting.
pub(super) async fn pending(rig: &mut Rig, name: &str) -> Result<Vec<Figure>, Failure> {
    let setup = rig.on_postgres(1).await?;
    let mut service = Service::start(&setup, name).await?;
    let key = service.key();
    rig.sink("hold").await?;
    service.webhook(&key, &rig.http("/hang/0")).await?;
    let well = service.webhook_for(&key, &rig.http("/h/0"), WELLS_TYPE).await?;
    let few = cost(rig, &service).await?;
    // While the backlog is made, the other type would derive from it.
    service.call("DELETE", &format!("/v1/webhooks/{well}"), &key, &serde_json::Value::Null).await?;
    let fill = GenerateArgs {
        batch: 1000,
        events: Some(PENDING),
        ..publish(&service.address, std::slice::from_ref(&key), 2, 600.0)
    };
    let filled = rig.generate(&fill).await?;
    let accepted = filled.accepted as f64 / ((filled.ended_ns - filled.started_ns) as f64 / 1e9);
    service.webhook_for(&key, &rig.http("/h/0"), WELLS_TYPE).await?;
    // The database writes down what it has in memory in its own time.
    tokio::time::sleep(CALMS_DOWN).await;
    let many = cost(rig, &service).await?;
    let memory = service.peak_rss_mb();
    service.stop().await?;
    Ok(vec![
        Figure::new(format!("{name} accepted"), "1/s", accepted),
        Figure::new(format!("{name} memory of the node"), "MB", memory),
        Figure::new(format!("{name} CPU nodes, few"), "s/1000", few.nodes),
        Figure::new(format!("{name} CPU nodes, a million"), "s/1000", many.nodes),
        Figure::new(format!("{name} CPU database, few"), "s/1000", few.database),
        Figure::new(format!("{name} CPU database, a million"), "s/1000", many.database),
        Figure::new(format!("{name} CPU, ratio"), "", many.sum() / few.sum()).at_most(1.10),
        Figure::new(format!("{name} p99, few"), "ms", few.p99),
        Figure::new(format!("{name} p99, a million"), "ms", many.p99),
    ])
}

/// What a delivery costs, in CPU seconds per 1,000, and how long it takes, in ms.
struct Cost {
    nodes: f64,
    database: f64,
    p99: f64,
}

impl Cost {
    fn sum(&self) -> f64 {
        self.nodes + self.database
    }
}

async fn cost(rig: &mut Rig, service: &Service) -> Result<Cost, Failure> {
    let args = publish(&service.address, &[service.key()], 16, MEASURED_S);
    let load = rig.load(Some(service), GenerateArgs { rate: Some(RATE), ..args }, 1).await?;
    if load.missing > 0 {
        return Err(format!("{} deliveries are missing", load.missing).into());
    }
    Ok(Cost { nodes: load.cpu[1], database: load.database_cpu, p99: load.received.latency.p99 })
}
