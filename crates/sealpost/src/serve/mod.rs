//! The server: puts the rooms together in the order that is safe, says when it is ready, and takes them apart again.
//!
//! Everything that can be refused is refused before the store is opened; the store's lock comes before anything that
//! would disturb another process. Ready means: what an earlier process left is taken up, and the API answers. At the
//! end nothing new begins, what was begun may end within [`limits::DRAIN`], and the store is closed in any case.

pub mod admin_socket;
pub mod caller;
mod first_key;
mod http;
mod patient;
mod tls;

use std::fs::DirBuilder;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sealpost_core::limits;
use sealpost_core::secret::Secret;
use sealpost_egress::{Egress, EgressConfig};
use sealpost_store::postgres::{self, PostgresStore};
use sealpost_store::sqlite::{OpenOptions, SqliteStore};
use sealpost_store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::{self, ApiState};
use crate::app::lanes::{Caps, Work};
use crate::app::openid::Providers;
use crate::app::starts::StartMarks;
use crate::app::{App, AppConfig};
use crate::clock::{Clock as _, SystemClock, boot_id};
use crate::config::{Config, StorePlace};
use crate::console::{self, ConsoleState};
use crate::engine::{Engine, TakenUp};
use admin_socket::AdminSocket;
use http::{Http, HttpOptions};

/// Of the time to drain, what closing the store may take.
const CLOSE: Duration = Duration::from_secs(2);
/// Who listens, in errors.
const API: &str = "the API";
/// Exit code after a second signal: the one a shell shows for a process that a signal ended.
const IMPATIENT: i32 = 143;

/// Why the server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{what} {path} cannot be read: {why}")]
    File { what: &'static str, path: PathBuf, why: String },
    #[error("{what} cannot listen on {address}: {source}")]
    Listen { what: &'static str, address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Egress(#[from] sealpost_egress::ConfigError),
    #[error("{}", about_store(.0))]
    Store(#[from] StoreError),
    #[error("the first admin key cannot be kept in {path}: {why}")]
    FirstKey { path: PathBuf, why: String },
    #[error("the admin socket {path} cannot be made: {source}")]
    AdminSocket { path: PathBuf, source: io::Error },
    #[error("starts cannot be marked in {path}: {source}")]
    Starts { path: PathBuf, source: io::Error },
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

fn about_store(error: &StoreError) -> String {
    match error {
        StoreError::Locked { path } => {
            format!("the data folder {} is in use by another sealpost; stop that one first", path.display())
        }
        other => other.to_string(),
    }
}

/// What the verbs need to know of the settings.
pub fn app_config(config: &Config, public_url: String) -> AppConfig {
    AppConfig {
        defaults: config.defaults.clone(),
        url_rules: config.url_rules(),
        public_url,
        base_domain: config.base_domain.clone(),
        bootstrap_api_key: config.bootstrap_api_key.clone(),
        publish_ahead: config.publish_ahead,
        rotate_every: config.rotate_every,
        quota: config.quota,
        analytics_retention: config.analytics_retention,
    }
}

/// Opens or makes the store, wherever it is.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let key_file = config.master_key_file.clone();
    match &config.store {
        StorePlace::Sqlite(file) => {
            let options = OpenOptions { master_key_file: key_file, ..OpenOptions::new(file) };
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(options)).await;
            Ok(Arc::new(opened.map_err(|error| StoreError::Backend(error.to_string()))??))
        }
        StorePlace::Postgres(url) => {
            let folder = config.data_folder();
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| {
                StoreError::Refused(format!("the data folder {} cannot be made: {error}", folder.display()))
            })?;
            let options = postgres::OpenOptions::new(url.reveal(), key_file);
            Ok(Arc::new(PostgresStore::open(options).await?))
        }
    }
}

/// A server that answers.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    app: App,
    engine: Engine,
    http: Http,
    metrics: Option<Http>,
    admin: AdminSocket,
    ready: Arc<AtomicBool>,
    first_key: Option<Secret<String>>,
}

impl Server {
    pub async fn start(config: &Config) -> Result<Self, ServeError> {
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let outbound = egress(config)?;
        let store = open_store(config).await?;
        // From here on a failure must close the store: what was written is on disk, but a checkpoint is owed.
        match Self::start_on(config, Arc::clone(&store), tls, outbound).await {
            Ok(server) => Ok(server),
            Err(error) => {
                let _the_first_error_counts = store.close().await;
                Err(error)
            }
        }
    }

    async fn start_on(
        config: &Config,
        store: Arc<dyn Store>,
        tls: Option<tokio_rustls::TlsAcceptor>,
        outbound: Arc<Egress>,
    ) -> Result<Self, ServeError> {
        // Bound early, so that a taken port changes nothing; accepted from only when everything is ready.
        let listener = listen(API, config.listen).await?;
        let metrics_listener = match config.metrics_listen {
            None => None,
            Some(address) => Some(listen("the metrics listener (SEALPOST_METRICS_LISTEN)", address).await?),
        };
        let address = listener.local_addr().map_err(|source| ServeError::Listen {
            what: API,
            address: config.listen,
            source,
        })?;
        let public_url =
            config.public_url.clone().unwrap_or_else(|| format!("{}://{address}", config.scheme()));

        let clock = Arc::new(SystemClock::start());
        // Before anybody is given a time: it never falls afterwards.
        let asked = clock.boot();
        if let Some(standing) = store.standing().await? {
            clock.follow(standing.now, asked);
        }
        let (app, work) = App::new(store, clock, Caps::default(), app_config(config, public_url));
        // A claim of another node has its mark nowhere here: all that is left behind counts as begun.
        let starts = match &config.store {
            StorePlace::Postgres(_) => StartMarks::none(),
            StorePlace::Sqlite(_) => StartMarks::open(config.data_folder(), &boot_id())
                .map_err(|source| ServeError::Starts { path: config.data_folder().to_owned(), source })?,
        };
        let providers = Providers::new(config.openid.clone(), outbound.documents())
            .with_exchange(outbound.code_exchange());
        let app = app.with_starts(starts).with_txt(outbound.txt_lookup()).with_openid(providers);
        let tenant = app.ensure_default_tenant().await?;
        app.load_domains().await?;
        let first_key = match config.bootstrap_api_key {
            Some(_) => None,
            None => first_key::ensure(&app, tenant.no, &config.admin_key_file()).await?,
        };
        let admin = AdminSocket::listen(&config.admin_socket(), app.clone())
            .map_err(|source| ServeError::AdminSocket { path: config.admin_socket(), source })?;
        let engine = Self::engine(&app, work, outbound).await?;

        let ready = Arc::new(AtomicBool::new(true));
        let state = ApiState::new(app.clone(), Arc::clone(&ready));
        let console = console::router(ConsoleState::new(app.clone(), Arc::clone(&ready)));
        let metrics = metrics_listener.map(|listener| {
            Http::serve(listener, api::metrics_router(state.clone()), HttpOptions::default())
        });
        let options = HttpOptions { tls, trusted_proxies: config.trusted_proxies.clone() };
        let http = Http::serve(listener, api::router(state).merge(console), options);
        Ok(Self { address, scheme: config.scheme(), app, engine, http, metrics, admin, ready, first_key })
    }

    async fn engine(
        app: &App,
        work: tokio::sync::mpsc::UnboundedReceiver<Work>,
        outbound: Arc<Egress>,
    ) -> Result<Engine, ServeError> {
        let (engine, found) = Engine::start(app.clone(), work, outbound).await?;
        if found != TakenUp::default() {
            tracing::info!(
                orphans = found.orphans,
                handed_back = found.handed_back,
                lanes = found.lanes,
                "took up what an earlier process left"
            );
        }
        Ok(engine)
    }

    /// Where it really listens, also when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub fn app(&self) -> &App {
        &self.app
    }

    /// The admin key made for a new store, once.
    pub fn first_key(&self) -> Option<&Secret<String>> {
        self.first_key.as_ref()
    }

    /// Ends well: everything begun has ended and is stored. `false`: some sends were still under way at the limit;
    /// the next start takes them up as outcome unknown.
    pub async fn stop(self) -> Result<bool, StoreError> {
        self.ready.store(false, Ordering::Relaxed);
        self.admin.stop();
        let limit = limits::DRAIN - CLOSE;
        let metrics = async {
            match self.metrics {
                Some(metrics) => metrics.stop(limit).await,
                None => true,
            }
        };
        let (answered, drained, _) = tokio::join!(self.http.stop(limit), self.engine.drain(limit), metrics);
        let close = async {
            if let Err(error) = self.app.store_recorded().await {
                tracing::warn!(%error, "the last analytic events were not stored");
            }
            self.app.store.close().await
        };
        match tokio::time::timeout(CLOSE, close).await {
            Ok(closed) => closed?,
            // Everything answered is on disk; only the last checkpoint was not made, and the next start makes it.
            Err(_) => tracing::warn!("the store did not finish its checkpoint in time"),
        }
        Ok(answered && drained)
    }
}

/// `sealpost serve`: until a signal ends it.
pub async fn run(config: &Config) -> Result<(), ServeError> {
    // Before anything is opened: a signal during the start must find a process that ends in order.
    let mut signals = Signals::listen()?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let server = tokio::select! {
        server = Server::start(config) => server?,
        () = signals.recv() => return Ok(()),
    };
    show_first_key(&server, config);
    // A reader that went away must not stop the server.
    let _ = writeln!(io::stdout().lock(), "sealpost listening on {}", server.url());
    tracing::info!(address = %server.address(), "ready");

    signals.recv().await;
    tracing::info!("draining");
    let stopped = tokio::select! {
        stopped = server.stop() => stopped?,
        () = signals.recv() => std::process::exit(IMPATIENT),
    };
    match stopped {
        true => tracing::info!("stopped"),
        false => tracing::warn!("stopped while requests were under way; the next start takes them up"),
    }
    Ok(())
}

/// On a terminal only: what standard output is redirected to is kept by somebody.
fn show_first_key(server: &Server, config: &Config) {
    let Some(key) = server.first_key() else { return };
    let path = config.admin_key_file();
    tracing::info!(path = %path.display(), "made the first admin key");
    let text = format!("first admin key: {}\n", key.reveal());
    let _ = if io::stderr().is_terminal() {
        io::stderr().lock().write_all(text.as_bytes())
    } else if io::stdout().is_terminal() {
        io::stdout().lock().write_all(text.as_bytes())
    } else {
        Ok(())
    };
}

/// The door out, as the settings want it.
pub fn egress(config: &Config) -> Result<Arc<Egress>, ServeError> {
    let extra_ca_pem = match &config.egress.ca {
        None => None,
        Some(path) => Some(std::fs::read(path).map_err(|error| ServeError::File {
            what: "the file of trust anchors",
            path: path.clone(),
            why: error.to_string(),
        })?),
    };
    let door = EgressConfig {
        allow: config.egress.allow.clone(),
        plain_http_loopback: config.egress.plain_http_loopback,
        extra_ca_pem,
        nameservers: config.egress.dns_servers.clone(),
        ..EgressConfig::default()
    };
    Ok(Arc::new(Egress::new(door)?))
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { what, address, source })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, ServeError> {
        let listen = |kind| signal(kind).map_err(ServeError::Signals);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
