//! A service with nothing to do: how fast it is there, and how much memory it takes.

use std::time::Duration;

use crate::figure::Figure;
use crate::process::Failure;
use crate::rig::Rig;
use crate::service::Service;

pub(super) async fn rest(rig: &mut Rig, name: &str) -> Result<Vec<Figure>, Failure> {
    let first = Service::start(&rig.setup, name).await?;
    let empty = first.start;
    let again = first.restart(|_| Ok(())).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let figures = vec![
        Figure::new("start on a new store", "s", empty.as_secs_f64()),
        Figure::new("start", "s", again.start.as_secs_f64()).at_most(0.1),
        Figure::new("memory, idle", "MB", again.rss_mb()).at_most(30.0),
    ];
    again.stop().await?;
    Ok(figures)
}
