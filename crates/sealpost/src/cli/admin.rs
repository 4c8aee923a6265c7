//! One admin call, done by whoever holds the store: the running server, or this process if none runs.

use std::sync::Arc;
use std::time::Duration;

use sealpost_store::{Store, StoreError};
use tokio::time::{Instant, sleep};

use super::StoreArgs;
use super::client::{Exit, Failure};
use crate::app::App;
use crate::app::admin::{AdminAnswer, AdminCall, AdminError};
use crate::app::lanes::Caps;
use crate::clock::SystemClock;
use crate::config::{Config, StorePlace};
use crate::serve::{admin_socket, app_config, open_store};

/// A server that is starting, or another command, is waited for.
const HOLDER_WITHIN: Duration = Duration::from_secs(5);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

pub(super) async fn ask(store: &StoreArgs, call: AdminCall) -> Result<AdminAnswer, Failure> {
    ask_with(&store.load()?, call).await
}

pub(super) async fn ask_with(config: &Config, call: AdminCall) -> Result<AdminAnswer, Failure> {
    if let StorePlace::Sqlite(file) = &config.store
        && !file.exists()
    {
        return Err(Failure::new(
            Exit::NotFound,
            format!("there is no store at {}; `sealpost serve` makes it", file.display()),
        ));
    }
    let deadline = Instant::now() + HOLDER_WITHIN;
    loop {
        match open_store(config).await {
            Ok(store) => return alone(config, store, call).await,
            Err(StoreError::Locked { .. }) => {}
            Err(error) => return Err(Failure::failed(error.to_string())),
        }
        let unreachable = match admin_socket::call(&config.admin_socket(), &call).await {
            Ok(answer) => return answer.map_err(failure),
            Err(error) => error,
        };
        // A call that was sent and not answered may have been done; only what never arrived is repeated.
        let not_sent = matches!(
            unreachable.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
        );
        if !not_sent || Instant::now() >= deadline {
            return Err(Failure::new(
                Exit::Unreachable,
                format!(
                    "another process holds {} and does not answer at {}: {unreachable}",
                    config.data_folder().display(),
                    config.admin_socket().display()
                ),
            ));
        }
        sleep(BETWEEN_TRIES).await;
    }
}

async fn alone(config: &Config, store: Arc<dyn Store>, call: AdminCall) -> Result<AdminAnswer, Failure> {
    let clock = Arc::new(SystemClock::start());
    let public_url = config.public_url.clone().unwrap_or_default();
    let (app, _no_engine) =
        App::new(Arc::clone(&store), clock, Caps::default(), app_config(config, public_url));
    let done = app.admin(call, "command line").await;
    let closed = store.close().await;
    let answer = done.map_err(failure)?;
    closed.map_err(|error| Failure::failed(error.to_string()))?;
    Ok(answer)
}

fn failure(error: AdminError) -> Failure {
    let exit = match error {
        AdminError::NotFound(_) => Exit::NotFound,
        AdminError::Refused(_) => Exit::Refused,
        AdminError::Failed(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

/// An answer to another question: our own mistake, told as one.
pub(super) fn unexpected(answer: &AdminAnswer) -> Failure {
    Failure::failed(format!("unexpected answer: {answer:?}"))
}
