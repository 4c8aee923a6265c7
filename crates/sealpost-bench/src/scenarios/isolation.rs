//! What the others notice of a receiver that hangs: the same load with it and without it, in turn.

use crate::figure::Figure;
use crate::generator::GenerateArgs;
use crate::process::Failure;
use crate::rig::{Rig, publish};
use crate::service::Service;

const NEIGHBOURS: u64 = 9;
/// Events a second: a good part of what this machine does, so that anything shared would show.
const RATE: f64 = 200.0;

/// Nine webhooks that get every event, and a tenth that hangs or is well.
pub(super) async fn webhooks(rig: &mut Rig, name: &str) -> Result<Vec<Figure>, Failure> {
    let mut p99 = [0.0; 2];
    for (place, hangs) in [false, true].into_iter().enumerate() {
        let mut service = Service::start(&rig.setup, name).await?;
        let key = service.key();
        for n in 0..NEIGHBOURS {
            service.webhook(&key, &rig.http(&format!("/h/{n}"))).await?;
        }
        service.webhook(&key, &rig.http("/hang/0")).await?;
        p99[place] = run(rig, &service, &[key], hangs, NEIGHBOURS).await?;
        service.stop().await?;
    }
    Ok(figures(name, p99))
}

/// Ten tenants with a webhook each, the tenth of which hangs or is well.
pub(super) async fn tenants(rig: &mut Rig, name: &str) -> Result<Vec<Figure>, Failure> {
    let mut p99 = [0.0; 2];
    for (place, hangs) in [false, true].into_iter().enumerate() {
        let mut service = Service::start(&rig.setup, name).await?;
        let mut keys = Vec::new();
        for n in 0..=NEIGHBOURS {
            let key = service.tenant(&format!("tenant-{n}")).await?;
            let path = if n == NEIGHBOURS { "/hang/0".to_owned() } else { format!("/h/{n}") };
            service.webhook(&key, &rig.http(&path)).await?;
            keys.push(key);
        }
        p99[place] = run(rig, &service, &keys, hangs, 1).await?;
        service.stop().await?;
    }
    Ok(figures(name, p99))
}

/// The neighbours' p99. One connection a key, or ten for one.
async fn run(
    rig: &mut Rig,
    service: &Service,
    keys: &[String],
    hangs: bool,
    fan: u64,
) -> Result<f64, Failure> {
    let connections = (NEIGHBOURS + 1) * 2;
    let seconds = rig.seconds(5.0, 20.0);
    rig.sink("reset").await?;
    rig.sink(if hangs { "hold" } else { "go" }).await?;
    let rate = if fan == 1 { RATE * 4.0 } else { RATE };
    let args = GenerateArgs { rate: Some(rate), ..publish(&service.address, keys, connections, seconds) };
    let generated = rig.generate(&args).await?;
    if generated.refused > 0 {
        return Err(format!("{} requests were refused", generated.refused).into());
    }
    let share =
        if fan == 1 { generated.accepted * NEIGHBOURS / (NEIGHBOURS + 1) } else { generated.accepted * fan };
    let received = rig.arrivals(share).await?;
    rig.sink("go").await?;
    if received.latency.count + 10 < share {
        return Err(format!("the neighbours got {} of {share}", received.latency.count).into());
    }
    Ok(received.latency.p99)
}

fn figures(name: &str, [alone, beside]: [f64; 2]) -> Vec<Figure> {
    vec![
        Figure::new(format!("{name}: neighbours' p99, all well"), "ms", alone),
        Figure::new(format!("{name}: neighbours' p99, one hangs"), "ms", beside),
        Figure::new(format!("{name}: ratio"), "", beside / alone).at_most(1.10),
    ]
}
