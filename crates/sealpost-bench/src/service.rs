//! The service under measurement: the real binary on a store of its own, and the few calls that set it up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::mark;
use crate::process::{Failure, Helper};

const ADMIN_KEY: &str = "bench-bench-bench-bench-bench-bench-bench";
const READY: &str = "sealpost listening on http://";
pub(crate) const EVENT_TYPE: &str = "OpenIdCredentialIssued";

/// How a service is started.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) binary: PathBuf,
    pub(crate) ca: PathBuf,
    /// Its data folder is made anew below this.
    pub(crate) data: PathBuf,
}

pub(crate) struct Service {
    helper: Helper,
    setup: Setup,
    folder: PathBuf,
    pub(crate) address: String,
    /// From the start of the process to its readiness.
    pub(crate) start: Duration,
    /// When the process was started, on the shared clock.
    pub(crate) started: Duration,
    calls: Option<SendRequest<Full<Bytes>>>,
}

impl Service {
    /// On a new store.
    pub(crate) async fn start(setup: &Setup, name: &str) -> Result<Self, Failure> {
        let folder = setup.data.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        Self::start_on(setup, folder).await
    }

    async fn start_on(setup: &Setup, folder: PathBuf) -> Result<Self, Failure> {
        std::fs::create_dir_all(&folder)?;
        let started = mark::now();
        let mut helper = Helper::start(
            command(setup, &folder)
                .arg("serve")
                .env("SEALPOST_LISTEN", "127.0.0.1:0")
                .env("SEALPOST_BOOTSTRAP_API_KEY", ADMIN_KEY)
                .env("SEALPOST_EGRESS_HTTP", "loopback")
                .env("SEALPOST_EGRESS_ALLOW", "127.0.0.0/8")
                .env("SEALPOST_EGRESS_CA", &setup.ca)
                .env("SEALPOST_LOG", "error"),
        )?;
        let line = helper.line().await?;
        let start = mark::now().saturating_sub(started);
        let address = line.strip_prefix(READY).ok_or_else(|| format!("not ready: {line}"))?.to_owned();
        Ok(Self { helper, setup: setup.clone(), folder, address, start, started, calls: None })
    }

    pub(crate) fn id(&self) -> u32 {
        self.helper.id()
    }

    pub(crate) fn key(&self) -> String {
        ADMIN_KEY.to_owned()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("sealpost.db")
    }

    /// Stops it, lets `meanwhile` work on the closed store, and starts it again on the same store.
    pub(crate) async fn restart(
        self,
        meanwhile: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let (setup, folder, store) = (self.setup.clone(), self.folder.clone(), self.store());
        self.helper.stop().await?;
        meanwhile(&store)?;
        Self::start_on(&setup, folder).await
    }

    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.helper.stop().await?;
        Ok(std::fs::remove_dir_all(&self.folder)?)
    }

    /// A tenant of its own and an admin key of it.
    pub(crate) async fn tenant(&self, name: &str) -> Result<String, Failure> {
        self.command(&["tenant", "create", name, "--name", name]).await?;
        let said = self.command(&["client", "create", "--tenant", name, "--role", "admin", "bench"]).await?;
        let word = said.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        Ok(word.into_iter().find(|word| word.starts_with("spk_")).ok_or("no key was shown")?.to_owned())
    }

    async fn command(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = command(&self.setup, &self.folder).args(arguments).output().await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Registers a webhook for the benchmark's events; its id.
    pub(crate) async fn webhook(&mut self, key: &str, url: &str) -> Result<String, Failure> {
        self.webhook_for(key, url, EVENT_TYPE).await
    }

    pub(crate) async fn webhook_for(
        &mut self,
        key: &str,
        url: &str,
        event_type: &str,
    ) -> Result<String, Failure> {
        let made =
            self.call("POST", "/v1/webhooks", key, &json!({"events": [event_type], "url": url})).await?;
        Ok(made["id"].as_str().ok_or("a webhook without an id")?.to_owned())
    }

    /// One call; anything but 2xx is a failure.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .header(AUTHORIZATION, format!("Bearer {key}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) }))?;
        let mut calls = match self.calls.take().filter(|calls| !calls.is_closed()) {
            Some(calls) => calls,
            None => connect(&self.address).await?,
        };
        calls.ready().await?;
        let answer = calls.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        self.calls = Some(calls);
        if !status.is_success() {
            return Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? })
    }
}

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its end shows in the next call.
        let _ = connection.await;
    });
    Ok(sender)
}

fn command(setup: &Setup, folder: &Path) -> Command {
    let mut command = Command::new(&setup.binary);
    // Nothing of the caller's own configuration counts.
    command
        .current_dir(folder)
        .env_clear()
        .env("SEALPOST_STORE", format!("sqlite:{}", folder.join("sealpost.db").display()));
    command
}
