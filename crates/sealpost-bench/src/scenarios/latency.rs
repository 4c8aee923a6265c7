//! How long an event takes from the publisher to the receiver, when little is going on and at half of the peak.

use crate::figure::Figure;
use crate::generator::GenerateArgs;
use crate::process::Failure;
use crate::rig::{Rig, publish};
use crate::service::Service;

/// An fsync beyond 0.1 ms is the disk's and comes on top of the bar.
const FSYNC_FREE_MS: f64 = 0.1;

pub(super) async fn slow(rig: &mut Rig, name: &str) -> Result<Vec<Figure>, Failure> {
    let fsync = fsync_ms(rig).await?;
    let seconds = rig.seconds(5.0, 20.0);
    let (p50, p99) = at_rate(rig, name, 20.0, 4, seconds).await?;
    let beyond = (fsync - FSYNC_FREE_MS).max(0.0);
    Ok(vec![
        Figure::new(format!("{name} p50"), "ms", p50).at_most(0.6 + beyond),
        Figure::new(format!("{name} p99"), "ms", p99).at_most(3.0),
        Figure::new("one fsync of the disk, 20 a second, median", "ms", fsync),
    ])
}

pub(super) async fn half(rig: &mut Rig, name: &str) -> Result<Vec<Figure>, Failure> {
    let seconds = rig.seconds(1.0, 4.0);
    let mut service = Service::start(&rig.setup, name).await?;
    let key = service.key();
    service.webhook(&key, &rig.http("/h/0")).await?;
    let peak = rig.load(Some(&service), publish(&service.address, &[key], 64, seconds), 1).await?.rate;
    service.stop().await?;
    let (p50, p99) = at_rate(rig, name, peak / 2.0, 64, seconds).await?;
    Ok(vec![
        Figure::new(format!("{name} p50"), "ms", p50),
        Figure::new(format!("{name} p99"), "ms", p99).at_most(15.0),
    ])
}

async fn at_rate(
    rig: &mut Rig,
    name: &str,
    rate: f64,
    connections: u64,
    seconds: f64,
) -> Result<(f64, f64), Failure> {
    let mut service = Service::start(&rig.setup, name).await?;
    let key = service.key();
    service.webhook(&key, &rig.http("/h/0")).await?;
    // The first delivery opens the connection and fills the caches; it is nobody's latency.
    let warm = publish(&service.address, &[service.key()], 1, 0.2);
    rig.load(Some(&service), GenerateArgs { rate: Some(20.0), ..warm }, 1).await?;
    let args = publish(&service.address, &[key], connections, seconds);
    let load = rig.load(Some(&service), GenerateArgs { rate: Some(rate), ..args }, 1).await?;
    service.stop().await?;
    Ok((load.received.latency.p50, load.received.latency.p99))
}

/// A page appended and made durable, as the store's log does it, and as rarely: a machine that has been idle for a
/// moment takes longer. The median of many.
async fn fsync_ms(rig: &Rig) -> Result<f64, Failure> {
    use std::io::Write as _;
    let path = rig.setup.data.join("fsync");
    let mut file = std::fs::File::create(&path)?;
    let mut spans = Vec::new();
    for _ in 0..41 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let began = crate::mark::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        spans.push(crate::mark::now().saturating_sub(began).as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(path)?;
    Ok(crate::stats::median(spans))
}
