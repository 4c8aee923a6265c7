//! The service under measurement: the real binary on a store of its own, and the few calls that set it up.

use std::os::unix::fs::PermissionsExt as _;
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
use crate::process::{Failure, Helper, cpu_s, peak_rss_mb, rss_mb};

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
    pub(crate) place: Place,
}

/// Where a service keeps everything.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a file of its data folder.
    Sqlite,
    /// In an empty schema, which this URL names, used by so many processes.
    Postgres { url: String, nodes: usize },
}

impl Place {
    fn nodes(&self) -> usize {
        match self {
            Self::Sqlite => 1,
            Self::Postgres { nodes, .. } => *nodes,
        }
    }
}

/// One process, or several that share a database.
pub(crate) struct Service {
    nodes: Vec<Helper>,
    setup: Setup,
    folder: PathBuf,
    /// Of all processes, separated by commas; the calls below go to the first.
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
        let (mut nodes, mut addresses, mut start) = (Vec::new(), Vec::new(), Duration::ZERO);
        let started = mark::now();
        for node in 0..setup.place.nodes() {
            let began = mark::now();
            let mut helper = Helper::start(
                command(setup, &folder, node)?
                    .arg("serve")
                    .env("SEALPOST_LISTEN", "127.0.0.1:0")
                    .env("SEALPOST_BOOTSTRAP_API_KEY", ADMIN_KEY)
                    .env("SEALPOST_EGRESS_HTTP", "loopback")
                    .env("SEALPOST_EGRESS_ALLOW", "127.0.0.0/8")
                    .env("SEALPOST_EGRESS_CA", &setup.ca)
                    .env("SEALPOST_LOG", "error"),
            )?;
            let line = helper.line().await?;
            if node == 0 {
                start = mark::now().saturating_sub(began);
            }
            addresses.push(line.strip_prefix(READY).ok_or_else(|| format!("not ready: {line}"))?.to_owned());
            nodes.push(helper);
        }
        let address = addresses.join(",");
        Ok(Self { nodes, setup: setup.clone(), folder, address, start, started, calls: None })
    }

    /// Of its processes, in all.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.nodes.iter().map(|node| cpu_s(node.id())).sum()
    }

    /// The most of any of its processes, in MB.
    pub(crate) fn rss_mb(&self) -> f64 {
        self.nodes.iter().map(|node| rss_mb(node.id())).fold(0.0, f64::max)
    }

    /// The most that any of its processes ever had, in MB.
    pub(crate) fn peak_rss_mb(&self) -> f64 {
        self.nodes.iter().map(|node| peak_rss_mb(node.id())).fold(0.0, f64::max)
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
        stop_all(self.nodes).await?;
        meanwhile(&store)?;
        Self::start_on(&setup, folder).await
    }

    pub(crate) async fn stop(self) -> Result<(), Failure> {
        stop_all(self.nodes).await?;
        Ok(std::fs::remove_dir_all(&self.folder)?)
    }

    /// A tenant of its own and an admin key of it.
    pub(crate) async fn tenant(&self, name: &str) -> Result<String, Failure> {
        self.command(&["tenant", "create", name, "--name", name]).await?;
        let said = self.command(&["client", "create", "--tenant", name, "--role", "admin", "bench"]).await?;
        let word = said.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        Ok(word.into_iter().find(|word| word.starts_with("spk_")).ok_or("no key was shown")?.to_owned())
    }

    fn first_address(&self) -> &str {
        self.address.split(',').next().unwrap_or_default()
    }

    async fn command(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = command(&self.setup, &self.folder, 0)?.args(arguments).output().await?;
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
            .header(HOST, self.first_address())
            .header(AUTHORIZATION, format!("Bearer {key}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) }))?;
        let mut calls = match self.calls.take().filter(|calls| !calls.is_closed()) {
            Some(calls) => calls,
            None => connect(self.first_address()).await?,
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

async fn stop_all(nodes: Vec<Helper>) -> Result<(), Failure> {
    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}

fn command(setup: &Setup, folder: &Path, node: usize) -> Result<Command, Failure> {
    let mut command = Command::new(&setup.binary);
    // Nothing of the caller's own configuration counts.
    command.env_clear();
    match &setup.place {
        Place::Sqlite => {
            std::fs::create_dir_all(folder)?;
            let store = format!("sqlite:{}", folder.join("sealpost.db").display());
            command.current_dir(folder).env("SEALPOST_STORE", store);
        }
        Place::Postgres { url, .. } => {
            let own = folder.join(format!("node-{node}"));
            std::fs::create_dir_all(&own)?;
            command
                .current_dir(own)
                .env("SEALPOST_STORE", url)
                .env("SEALPOST_MASTER_KEY_FILE", master_key(folder)?);
        }
    }
    Ok(command)
}

/// The same for all processes; it protects nothing here.
fn master_key(folder: &Path) -> Result<PathBuf, Failure> {
    let file = folder.join("master.key");
    if !file.exists() {
        std::fs::write(&file, format!("sealpost-master-key-1 {}\n", "5e".repeat(32)))?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}
