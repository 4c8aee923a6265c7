//! The receiver: counts what comes, tells repeats from first arrivals, and measures how old each event is.
//!
//! One thread, HTTP/1.1 with and without TLS. It answers 204 at once, except below `/hang`, where it holds every
//! answer back until it is told to go on. It is steered by words on standard input, each answered by a JSON line.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::mark;
use crate::stats::Quantiles;

#[derive(Debug, clap::Args)]
pub(crate) struct SinkArgs {
    /// Certificate chain (PEM)
    #[arg(long)]
    cert: PathBuf,
    /// Its key (PEM)
    #[arg(long)]
    key: PathBuf,
}

/// Where the sink listens; its first line.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) https: u16,
}

/// What came since the last `reset`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Received {
    /// First arrivals: an event at a path.
    pub(crate) unique: u64,
    pub(crate) repeated: u64,
    /// Requests below `/hang`, answered or not.
    pub(crate) held: u64,
    /// When the first and the last first arrival came, nanoseconds of the shared clock.
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    /// Age at arrival of those outside `/hang`.
    pub(crate) latency: Quantiles,
}

#[derive(Default)]
struct Sink {
    received: RefCell<Received>,
    ages_us: RefCell<Vec<u32>>,
    seen: RefCell<HashMap<String, Vec<u64>>>,
    holding: Cell<bool>,
    go_on: Notify,
}

impl Sink {
    fn count(&self, path: &str, body: &[u8]) {
        let held = path.starts_with("/hang");
        let mut received = self.received.borrow_mut();
        received.held += u64::from(held);
        let Some((number, age)) = mark::read(body) else { return };
        let mut seen = self.seen.borrow_mut();
        if !seen.contains_key(path) {
            seen.insert(path.to_owned(), Vec::new());
        }
        let Some(words) = seen.get_mut(path) else { return };
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        if words[word] & bit != 0 {
            received.repeated += 1;
            return;
        }
        words[word] |= bit;
        let now = mark::now().as_nanos() as u64;
        received.unique += 1;
        if received.first_ns == 0 {
            received.first_ns = now;
        }
        received.last_ns = now;
        if !held {
            self.ages_us.borrow_mut().push(u32::try_from(age.as_micros()).unwrap_or(u32::MAX));
        }
    }

    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Empty<Bytes>>, hyper::Error> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        self.count(&path, &body);
        while path.starts_with("/hang") && self.holding.get() {
            self.go_on.notified().await;
        }
        let mut response = Response::new(Empty::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// Carries out one word. `None`: it is none of ours.
    fn obey(&self, word: &str) -> Option<Received> {
        match word.trim() {
            "reset" => {
                self.received.take();
                self.ages_us.take();
                self.seen.take();
            }
            "hold" => self.holding.set(true),
            "go" => {
                self.holding.set(false);
                self.go_on.notify_waiters();
            }
            "count" => return Some(self.received.borrow().clone()),
            "report" => {
                let latency = Quantiles::of(&mut self.ages_us.borrow().clone());
                return Some(Received { latency, ..self.received.borrow().clone() });
            }
            _ => return None,
        }
        Some(Received::default())
    }
}

pub(crate) async fn run(args: SinkArgs) -> Result<(), Box<dyn std::error::Error>> {
    let sink = Rc::new(Sink::default());
    let tls = acceptor(&args)?;
    let (http, https) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    say(&Ports { http: http.local_addr()?.port(), https: https.local_addr()?.port() })?;
    let work = tokio::task::LocalSet::new();
    work.spawn_local(accept(http, Rc::clone(&sink), None));
    work.spawn_local(accept(https, Rc::clone(&sink), Some(tls)));
    let steering = async {
        let mut words = BufReader::new(tokio::io::stdin()).lines();
        while let Some(word) = words.next_line().await? {
            say(&sink.obey(&word))?;
        }
        Ok(())
    };
    // The end of standard input is the end of the run.
    work.run_until(steering).await
}

fn say(value: &impl Serialize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(value)?)?;
    out.flush()
}

fn acceptor(args: &SinkArgs) -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
    let chain = CertificateDer::pem_file_iter(&args.cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&args.key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, sink: Rc<Sink>, tls: Option<TlsAcceptor>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (sink, tls) = (Rc::clone(&sink), tls.clone());
        tokio::task::spawn_local(async move {
            match tls {
                None => serve(stream, sink).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, sink).await;
                    }
                }
            }
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static>(stream: S, sink: Rc<Sink>) {
    let service = service_fn(move |request| {
        let sink = Rc::clone(&sink);
        async move {
            // A sender that broke off gets no answer; that is all there is to it.
            let answered = sink.answer(request).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|_| Response::new(Empty::new())))
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
