//! How many events a second are accepted and delivered, as a share of the raw rate, and what that costs in CPU.

use crate::figure::Figure;
use crate::generator::GenerateArgs;
use crate::process::Failure;
use crate::rig::{Load, Rig, publish};
use crate::service::Service;

const QUICK_S: f64 = 1.0;
const FULL_S: f64 = 4.0;
/// CPU seconds of the service per 1,000 deliveries.
const CPU_BAR: f64 = 0.18;
const LOADED_MB_BAR: f64 = 100.0;

pub(super) async fn one(
    rig: &mut Rig,
    name: &str,
    raw: f64,
    publishers: u64,
) -> Result<Vec<Figure>, Failure> {
    let url = rig.http("/h/0");
    let bar = (publishers == 64).then_some(0.12);
    run(rig, name, raw, bar, &[url], |args| GenerateArgs { connections: publishers, ..args }).await
}

pub(super) async fn tls(rig: &mut Rig, name: &str, raw: f64) -> Result<Vec<Figure>, Failure> {
    let url = rig.https("/h/0");
    run(rig, name, raw, Some(0.10), &[url], |args| args).await
}

pub(super) async fn batch(rig: &mut Rig, name: &str, raw: f64) -> Result<Vec<Figure>, Failure> {
    let url = rig.http("/h/0");
    run(rig, name, raw, Some(0.20), &[url], |args| GenerateArgs { connections: 8, batch: 100, ..args }).await
}

pub(super) async fn fan(rig: &mut Rig, name: &str, raw: f64, webhooks: u64) -> Result<Vec<Figure>, Failure> {
    let urls: Vec<String> = (0..webhooks).map(|n| rig.http(&format!("/h/{n}"))).collect();
    let connections = if webhooks > 10 { 4 } else { 16 };
    run(rig, name, raw, Some(0.25), &urls, |args| GenerateArgs { connections, ..args }).await
}

async fn run(
    rig: &mut Rig,
    name: &str,
    raw: f64,
    bar: Option<f64>,
    urls: &[String],
    shape: impl FnOnce(GenerateArgs) -> GenerateArgs,
) -> Result<Vec<Figure>, Failure> {
    let mut service = Service::start(&rig.setup, name).await?;
    let key = service.key();
    for url in urls {
        service.webhook(&key, url).await?;
    }
    let seconds = rig.seconds(QUICK_S, FULL_S);
    let args = shape(publish(&service.address, &[key], 64, seconds));
    let load = rig.load(Some(&service), args, urls.len() as u64).await?;
    let peak = service.peak_rss_mb();
    service.stop().await?;
    let share = Figure::new(format!("{name} share of raw"), "", load.rate / raw);
    let share = match bar {
        Some(bar) => share.at_least(bar),
        None => share,
    };
    let mut figures = vec![share, Figure::new(format!("{name} deliveries"), "1/s", load.rate)];
    figures.extend(costs(name, &load));
    figures.push(Figure::new(format!("{name} memory, loaded"), "MB", peak).at_most(LOADED_MB_BAR));
    Ok(figures)
}

/// What a load cost, and whether all of it arrived.
pub(super) fn costs(name: &str, load: &Load) -> Vec<Figure> {
    let [generator, service, sink] = load.cpu;
    vec![
        Figure::new(format!("{name} CPU service"), "s/1000", service).at_most(CPU_BAR),
        Figure::new(format!("{name} CPU generator"), "s/1000", generator),
        Figure::new(format!("{name} CPU sink"), "s/1000", sink),
        Figure::new(format!("{name} latency p50"), "ms", load.received.latency.p50),
        Figure::new(format!("{name} latency p99"), "ms", load.received.latency.p99),
        Figure::new(format!("{name} refused"), "", load.generated.refused as f64).at_most(0.0),
        Figure::new(format!("{name} missing"), "", load.missing as f64).at_most(0.0),
        Figure::new(format!("{name} repeated"), "", load.received.repeated as f64),
    ]
}
