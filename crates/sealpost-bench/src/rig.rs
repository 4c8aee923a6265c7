//! What every scenario works with: the sink, the way to start services and generators, and one measured load.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::database::Database;
use crate::generator::{GenerateArgs, Generated};
use crate::mark;
use crate::process::{Failure, Helper, cpu_s};
use crate::service::{Place, Service, Setup};
use crate::sink::{Ports, Received};

/// How long deliveries may still come after the last event was accepted.
const DRAINS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) struct Rig {
    pub(crate) setup: Setup,
    pub(crate) ports: Ports,
    pub(crate) quick: bool,
    sink: Helper,
    own: PathBuf,
    /// Started when a scenario first wants it, and gone with the rig.
    database: Option<Database>,
}

/// What came of one load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    pub(crate) generated: Generated,
    pub(crate) received: Received,
    /// First arrivals a second, from the first event sent to the last arrival.
    pub(crate) rate: f64,
    /// CPU seconds of generator, service and sink per 1,000 deliveries.
    pub(crate) cpu: [f64; 3],
    /// The same of the database, if there is one.
    pub(crate) database_cpu: f64,
    /// Deliveries that did not come in time.
    pub(crate) missing: u64,
}

impl Rig {
    pub(crate) async fn start(binary: PathBuf, data: &Path, quick: bool) -> Result<Self, Failure> {
        std::fs::create_dir_all(data)?;
        let data = data.canonicalize()?;
        let binary = binary.canonicalize()?;
        let own = std::env::current_exe()?;
        let (ca, cert, key) = (data.join("ca.pem"), data.join("cert.pem"), data.join("key.pem"));
        identity(&ca, &cert, &key)?;
        let mut sink =
            Helper::start(Command::new(&own).arg("sink").arg("--cert").arg(&cert).arg("--key").arg(&key))?;
        let ports = sink.hear().await?;
        let setup = Setup { binary, ca, data, place: Place::Sqlite };
        Ok(Self { setup, ports, quick, sink, own, database: None })
    }

    /// To start so many nodes on a schema of their own.
    pub(crate) async fn on_postgres(&mut self, nodes: usize) -> Result<Setup, Failure> {
        let database = match self.database.take() {
            Some(database) => database,
            None => Database::start().await?,
        };
        let url = self.database.insert(database).new_schema().await?;
        Ok(Setup { place: Place::Postgres { url, nodes }, ..self.setup.clone() })
    }

    fn database_cpu_s(&self) -> f64 {
        self.database.as_ref().map_or(0.0, Database::cpu_s)
    }

    /// `quick` or the full length of a run.
    pub(crate) fn seconds(&self, quick: f64, full: f64) -> f64 {
        if self.quick { quick } else { full }
    }

    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.ports.http)
    }

    pub(crate) fn https(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.ports.https)
    }

    pub(crate) async fn sink(&mut self, word: &str) -> Result<Received, Failure> {
        self.sink.ask(word).await
    }

    /// Generator straight to the sink, 64 connections: the ceiling of this machine at this moment.
    pub(crate) async fn raw(&mut self, seconds: f64) -> Result<Load, Failure> {
        let to = format!("127.0.0.1:{}", self.ports.http);
        let args = publish(&to, &[], 64, seconds);
        self.load(None, GenerateArgs { path: "/h/raw".into(), ..args }, 1).await
    }

    /// Publishes and waits until each accepted event has come `fan` times, or nothing comes any more.
    pub(crate) async fn load(
        &mut self,
        service: Option<&Service>,
        args: GenerateArgs,
        fan: u64,
    ) -> Result<Load, Failure> {
        self.sink("reset").await?;
        let service_cpu = || service.map_or(0.0, Service::cpu_s);
        let before = (service_cpu(), cpu_s(self.sink.id()), self.database_cpu_s());
        let generated = self.generate(&args).await?;
        let due = generated.accepted * fan;
        let received = self.arrivals(due).await?;
        let per_thousand = |seconds: f64| seconds / received.unique.max(1) as f64 * 1000.0;
        let span = received.last_ns.saturating_sub(generated.started_ns) as f64 / 1e9;
        Ok(Load {
            rate: received.unique as f64 / span,
            cpu: [
                per_thousand(generated.cpu_s),
                per_thousand(service_cpu() - before.0),
                per_thousand(cpu_s(self.sink.id()) - before.1),
            ],
            database_cpu: per_thousand(self.database_cpu_s() - before.2),
            missing: due.saturating_sub(received.unique),
            generated,
            received,
        })
    }

    /// Waits for `due` first arrivals.
    pub(crate) async fn arrivals(&mut self, due: u64) -> Result<Received, Failure> {
        let until = mark::now() + DRAINS_WITHIN;
        while self.sink("count").await?.unique < due && mark::now() < until {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.sink("report").await
    }

    pub(crate) async fn generate(&self, args: &GenerateArgs) -> Result<Generated, Failure> {
        let mut command = Command::new(&self.own);
        command.args(["generate", "--to", &args.to, "--path", &args.path]);
        for key in &args.key {
            command.args(["--key", key]);
        }
        command.args(["--connections", &args.connections.to_string()]);
        command.args(["--seconds", &args.seconds.to_string()]);
        command.args(["--batch", &args.batch.to_string()]);
        command.args(["--first", &args.first.to_string()]);
        if let Some(rate) = args.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if let Some(events) = args.events {
            command.args(["--events", &events.to_string()]);
        }
        Helper::start(&mut command)?.hear().await
    }
}

/// One event a request from each connection, as fast as they are answered.
pub(crate) fn publish(to: &str, keys: &[String], connections: u64, seconds: f64) -> GenerateArgs {
    GenerateArgs {
        to: to.to_owned(),
        path: "/v1/webhooks/events".into(),
        key: keys.to_vec(),
        connections,
        seconds,
        events: None,
        batch: 1,
        rate: None,
        first: 0,
    }
}

/// An authority and a certificate for `localhost` signed by it.
fn identity(ca: &Path, cert: &Path, key: &Path) -> Result<(), Failure> {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.distinguished_name.push(DnType::CommonName, "Sealpost bench");
    let pair = KeyPair::generate()?;
    std::fs::write(ca, authority.self_signed(&pair)?.pem())?;
    let issuer = Issuer::new(authority, pair);
    let pair = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&pair, &issuer)?;
    std::fs::write(cert, server.pem())?;
    Ok(std::fs::write(key, pair.serialize_pem())?)
}
