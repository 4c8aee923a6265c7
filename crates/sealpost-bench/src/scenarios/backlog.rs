//! A dead receiver with many deliveries pending: memory, the neighbour, the restart, and the drain when it is back.

use std::time::Duration;

use crate::figure::Figure;
use crate::generator::GenerateArgs;
use crate::mark;
use crate::process::Failure;
use crate::rig::{Rig, publish};
use crate::service::Service;

/// Events for the neighbour are of another type, so that the dead one does not get them.
const NEIGHBOURS_TYPE: &str = "OpenIdCredentialIssuedSummary";
const RATE: f64 = 100.0;

pub(super) async fn backlog(
    rig: &mut Rig,
    name: &str,
    raw: f64,
    pending: u64,
) -> Result<Vec<Figure>, Failure> {
    let mut service = Service::start(&rig.setup, name).await?;
    let key = service.key();
    let neighbour = service.webhook_for(&key, &rig.http("/h/0"), NEIGHBOURS_TYPE).await?;
    let alone = neighbours_p99(rig, &service).await?;
    // While the backlog is made, the neighbour's type would derive from it.
    service.call("DELETE", &format!("/v1/webhooks/{neighbour}"), &key, &serde_json::Value::Null).await?;
    service.webhook(&key, &rig.http("/hang/0")).await?;
    rig.sink("hold").await?;
    let fill = GenerateArgs {
        batch: 1000,
        connections: 2,
        events: Some(pending),
        ..publish(&service.address, std::slice::from_ref(&key), 2, 600.0)
    };
    let filled = rig.generate(&fill).await?;
    let accepted = filled.accepted as f64 / ((filled.ended_ns - filled.started_ns) as f64 / 1e9);
    let memory = service.rss_mb();

    let mut service = service.restart(|_| Ok(())).await?;
    let ready = service.start;
    rig.sink("reset").await?;
    let first = first_send(rig, &service).await?;
    service.webhook_for(&key, &rig.http("/h/0"), NEIGHBOURS_TYPE).await?;
    let beside = neighbours_p99(rig, &service).await?;

    rig.sink("reset").await?;
    rig.sink("go").await?;
    // The attempts under way hang until their limit; then the drain is at its pace.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (from, at) = (rig.sink("count").await?.unique, mark::now());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let drained = (rig.sink("count").await?.unique - from) as f64;
    let drain = drained / mark::now().saturating_sub(at).as_secs_f64();
    service.stop().await?;
    let million = pending >= 1_000_000;
    let bar = |figure: Figure, most: f64| if million { figure.at_most(most) } else { figure };
    Ok(vec![
        Figure::new(format!("{name} accepted"), "1/s", accepted),
        bar(Figure::new(format!("{name} memory"), "MB", memory), 150.0),
        bar(Figure::new(format!("{name} ready after a restart"), "s", ready.as_secs_f64()), 2.0),
        bar(Figure::new(format!("{name} first overdue send"), "s", first.as_secs_f64()), 3.0),
        Figure::new(format!("{name} neighbour's p99 alone"), "ms", alone),
        Figure::new(format!("{name} neighbour's p99 beside it"), "ms", beside),
        bar(Figure::new(format!("{name} neighbour's p99, ratio"), "", beside / alone), 1.10),
        Figure::new(format!("{name} drain, share of raw"), "", drain / raw),
    ])
}

/// From the start of the process to the first request of the backlog.
async fn first_send(rig: &mut Rig, service: &Service) -> Result<Duration, Failure> {
    let until = service.started + Duration::from_secs(30);
    while mark::now() < until {
        if rig.sink("count").await?.held > 0 {
            return Ok(mark::now().saturating_sub(service.started));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err("nothing of the backlog was sent within 30 s of the restart".into())
}

async fn neighbours_p99(rig: &mut Rig, service: &Service) -> Result<f64, Failure> {
    let seconds = rig.seconds(3.0, 10.0);
    rig.sink("reset").await?;
    let key = service.key();
    let args = GenerateArgs { rate: Some(RATE), ..publish(&service.address, &[key], 8, seconds) };
    let accepted = rig.generate(&args).await?.accepted;
    let until = mark::now() + Duration::from_secs(20);
    while mark::now() < until {
        let received = rig.sink("report").await?;
        if received.latency.count >= accepted {
            return Ok(received.latency.p99);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("the neighbour did not get its events".into())
}
