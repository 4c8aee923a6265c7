//! That a delivery costs the same whatever else there is: webhooks of other types, and years of history.

use std::path::Path;
use std::time::Duration;

use sealpost_core::event_type::EventTypeName;
use sealpost_core::time::Timestamp;
use sealpost_store::sqlite::{OpenOptions, load_history};

use crate::figure::Figure;
use crate::generator::GenerateArgs;
use crate::process::Failure;
use crate::rig::{Rig, publish};
use crate::service::{EVENT_TYPE, Service};
use crate::stats::median;

/// The other webhooks wait for this.
const OTHER_TYPE: &str = "did_create";
/// History ends this long ago, so that nothing of it is new and nothing is due to be forgotten.
const ENDED_AGO: Duration = Duration::from_secs(2 * 86_400);
const MEASURED_S: f64 = 5.0;
/// Events a second while the cost is measured.
const RATE: f64 = 2000.0;

pub(super) async fn webhooks(rig: &mut Rig, name: &str) -> Result<Vec<Figure>, Failure> {
    let mut service = Service::start(&rig.setup, name).await?;
    let key = service.key();
    service.webhook(&key, &rig.http("/h/0")).await?;
    let mut costs = Vec::new();
    let mut registered = 1;
    for wanted in [10, 1_000, 100_000] {
        while registered < wanted {
            let url = format!("https://w{registered}.example.com/hook");
            service.webhook_for(&key, &url, OTHER_TYPE).await?;
            registered += 1;
        }
        costs.push((wanted, cost(rig, &service).await?));
    }
    service.stop().await?;
    Ok(figures(name, "webhooks", &costs))
}

/// Each on a new store, since history ends before anything that was measured began.
pub(super) async fn history(rig: &mut Rig, name: &str) -> Result<Vec<Figure>, Failure> {
    let mut costs = Vec::new();
    for events in [1_000, 100_000, 10_000_000] {
        let mut service = Service::start(&rig.setup, name).await?;
        let key = service.key();
        let webhook = service.webhook(&key, &rig.http("/h/0")).await?;
        let service = service.restart(|store| load(store, &webhook, events)).await?;
        costs.push((events, cost(rig, &service).await?));
        service.stop().await?;
    }
    Ok(figures(name, "events of history", &costs))
}

fn load(store: &Path, webhook: &str, events: u64) -> Result<(), Failure> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let newest = now.tv_sec - ENDED_AGO.as_secs() as i64;
    let event_type = EventTypeName::parse(EVENT_TYPE)?;
    let newest = Timestamp::from_millis(newest * 1000);
    Ok(load_history(OpenOptions::new(store), webhook.parse()?, &event_type, events, newest)?)
}

/// CPU seconds of the service per 1,000 deliveries at a steady load well below its peak: the median of three.
async fn cost(rig: &mut Rig, service: &Service) -> Result<f64, Failure> {
    let mut costs = Vec::new();
    for _ in 0..3 {
        let args = publish(&service.address, &[service.key()], 16, MEASURED_S);
        let load = rig.load(Some(service), GenerateArgs { rate: Some(RATE), ..args }, 1).await?;
        if load.missing > 0 {
            return Err(format!("{} deliveries are missing", load.missing).into());
        }
        costs.push(load.cpu[1]);
    }
    Ok(median(costs))
}

fn figures(name: &str, of: &str, costs: &[(u64, f64)]) -> Vec<Figure> {
    let mut figures: Vec<Figure> = costs
        .iter()
        .map(|(count, cost)| Figure::new(format!("{name}: CPU with {count} {of}"), "s/1000", *cost))
        .collect();
    let (first, last) = (costs.first().map_or(f64::NAN, |c| c.1), costs.last().map_or(f64::NAN, |c| c.1));
    figures.push(Figure::new(format!("{name}: most against fewest"), "", last / first).at_most(1.10));
    figures
}
