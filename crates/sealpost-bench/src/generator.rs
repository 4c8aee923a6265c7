//! The publisher: keep-alive connections that post events, as fast as they are answered or at a fixed rate.
//!
//! One thread. The same program posts straight to the sink for the ceiling, and to the service for everything else.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::mark::{self, Template};
use crate::stats::Quantiles;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// Host and port; of several, separated by commas, each connection has its own
    #[arg(long)]
    pub(crate) to: String,
    #[arg(long)]
    pub(crate) path: String,
    /// Bearer keys, used in turn by the connections
    #[arg(long)]
    pub(crate) key: Vec<String>,
    #[arg(long)]
    pub(crate) connections: u64,
    #[arg(long)]
    pub(crate) seconds: f64,
    /// Stop after this many events
    #[arg(long)]
    pub(crate) events: Option<u64>,
    /// Events in a request; one is sent as an object
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: u64,
    /// Requests a second, all connections together; as fast as possible without it
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Number of the first event
    #[arg(long, default_value_t = 0)]
    pub(crate) first: u64,
}

/// What was sent and answered.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Generated {
    /// Events answered with 2xx.
    pub(crate) accepted: u64,
    /// Requests answered otherwise, or not at all.
    pub(crate) refused: u64,
    pub(crate) started_ns: u64,
    pub(crate) ended_ns: u64,
    pub(crate) cpu_s: f64,
    /// From request to answer.
    pub(crate) answered: Quantiles,
}

struct Shared {
    args: GenerateArgs,
    template: Template,
    next: Cell<u64>,
    accepted: Cell<u64>,
    refused: Cell<u64>,
    spans_us: std::cell::RefCell<Vec<u32>>,
    started: Duration,
    until: Duration,
}

pub(crate) async fn run(args: GenerateArgs) -> Result<(), Box<dyn std::error::Error>> {
    let mut senders = Vec::new();
    for slot in 0..args.connections {
        senders.push(connect(address_of(&args.to, slot)).await?);
    }
    let started = mark::now();
    let shared = Rc::new(Shared {
        template: Template::new(),
        next: Cell::new(args.first),
        accepted: Cell::new(0),
        refused: Cell::new(0),
        spans_us: std::cell::RefCell::default(),
        started,
        until: started + Duration::from_secs_f64(args.seconds),
        args,
    });
    let work = tokio::task::LocalSet::new();
    let slots: Vec<_> = senders
        .into_iter()
        .zip(0..)
        .map(|(sender, slot)| work.spawn_local(publish(Rc::clone(&shared), slot, sender)))
        .collect();
    work.run_until(async {
        for slot in slots {
            slot.await?;
        }
        Ok::<_, tokio::task::JoinError>(())
    })
    .await?;
    let generated = Generated {
        accepted: shared.accepted.get(),
        refused: shared.refused.get(),
        started_ns: shared.started.as_nanos() as u64,
        ended_ns: mark::now().as_nanos() as u64,
        cpu_s: crate::process::own_cpu_s(),
        answered: Quantiles::of(&mut shared.spans_us.borrow_mut()),
    };
    println!("{}", serde_json::to_string(&generated)?);
    Ok(())
}

type Sender = SendRequest<Full<Bytes>>;

fn address_of(to: &str, slot: u64) -> &str {
    let several = to.split(',').count() as u64;
    to.split(',').nth((slot % several) as usize).unwrap_or(to)
}

async fn connect(to: &str) -> Result<Sender, Box<dyn std::error::Error>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its end shows in the next request.
        let _ = connection.await;
    });
    Ok(sender)
}

async fn publish(shared: Rc<Shared>, slot: u64, mut sender: Sender) {
    let args = &shared.args;
    let to = address_of(&args.to, slot);
    let key = (!args.key.is_empty())
        .then(|| format!("Bearer {}", args.key[(slot % args.key.len() as u64) as usize]));
    let mut turn = 0;
    loop {
        if let Some(rate) = args.rate {
            // Each connection has its own places in one even row of requests.
            let place = (turn * args.connections + slot) as f64 / rate;
            turn += 1;
            let at = shared.started + Duration::from_secs_f64(place);
            tokio::time::sleep(at.saturating_sub(mark::now())).await;
        }
        let first = shared.next.get();
        let spent = args.events.is_some_and(|events| first >= args.first + events);
        if spent || mark::now() >= shared.until {
            return;
        }
        shared.next.set(first + args.batch);
        let body = body(&shared, first);
        let sent = mark::now();
        let taken = post(&mut sender, (to, &args.path), key.as_deref(), body).await;
        if taken {
            shared.accepted.set(shared.accepted.get() + args.batch);
            let span = mark::now().saturating_sub(sent).as_micros();
            shared.spans_us.borrow_mut().push(u32::try_from(span).unwrap_or(u32::MAX));
        } else {
            shared.refused.set(shared.refused.get() + 1);
            if sender.is_closed() {
                match connect(to).await {
                    Ok(again) => sender = again,
                    Err(_) => return,
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn body(shared: &Shared, first: u64) -> String {
    let batch = shared.args.batch;
    let mut body = String::with_capacity(shared.template.bytes() * batch as usize + 2);
    if batch == 1 {
        shared.template.write(&mut body, first);
        return body;
    }
    for number in first..first + batch {
        body.push(if number == first { '[' } else { ',' });
        shared.template.write(&mut body, number);
    }
    body.push(']');
    body
}

/// Whether it was answered with 2xx.
async fn post(sender: &mut Sender, (to, path): (&str, &str), key: Option<&str>, body: String) -> bool {
    let mut request = Request::post(path).header(HOST, to).header(CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(AUTHORIZATION, key);
    }
    let Ok(request) = request.body(Full::new(Bytes::from(body))) else { return false };
    if sender.ready().await.is_err() {
        return false;
    }
    match sender.send_request(request).await {
        Ok(answer) => {
            let status: StatusCode = answer.status();
            answer.into_body().collect().await.is_ok() && status.is_success()
        }
        Err(_) => false,
    }
}
