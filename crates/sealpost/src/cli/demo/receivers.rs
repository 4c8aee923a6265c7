//! The three receivers of the demo. Each judges what it gets as a stranger would: with the published keys alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use sealpost_signature::Jwks;
use tokio::net::TcpSocket;

use crate::cli::client::Failure;
use crate::cli::listen::receiver::{self, Handler, Receiver};
use crate::cli::listen::tls::Identity;
use crate::cli::verify::check::{Keys, check};
use crate::cli::verify::recorded::Request;
use crate::clock::{Clock as _, SystemClock};

const MAX_AGE_S: u32 = 300;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Part {
    Healthy,
    Flaky,
    Dead,
}

impl Part {
    pub(super) const ALL: [Part; 3] = [Part::Healthy, Part::Flaky, Part::Dead];

    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Healthy => "healthy",
            Part::Flaky => "flaky",
            Part::Dead => "dead",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Part::Healthy => "takes everything",
            Part::Flaky => "answers 503 to the first attempt of every second delivery",
            Part::Dead => "nobody is there",
        }
    }
}

/// What a receiver saw of one delivery.
#[derive(Clone, Debug, Default)]
pub(super) struct Visit {
    pub(super) requests: u32,
    pub(super) verified: u32,
    /// Why a request was not verified, or was not what it should be.
    pub(super) complaints: Vec<String>,
    /// Whether its first attempt was refused on purpose.
    pub(super) refused_once: bool,
    pub(super) last_body: Bytes,
}

/// By delivery id.
pub(super) type Seen = BTreeMap<String, Visit>;

type Notes = Arc<Mutex<Seen>>;

#[derive(Debug)]
pub(super) struct Receivers {
    running: Vec<Receiver>,
    notes: BTreeMap<Part, Notes>,
    ports: BTreeMap<Part, u16>,
    /// Holds the port of the dead one, so that nobody else comes to listen there.
    _nobody: TcpSocket,
}

impl Receivers {
    pub(super) async fn open(
        identity: &Identity,
        keys: Jwks,
        clock: Arc<SystemClock>,
    ) -> Result<Self, Failure> {
        let nobody = TcpSocket::new_v4().map_err(|e| Failure::io("a port for nobody", &e))?;
        nobody
            .bind((std::net::Ipv4Addr::LOCALHOST, 0).into())
            .map_err(|e| Failure::io("a port for nobody", &e))?;
        let dead = nobody.local_addr().map_err(|e| Failure::io("a port for nobody", &e))?.port();
        let keys = Arc::new(Keys { jwks: Some(keys), secrets: Vec::new() });
        let mut this = Self {
            running: Vec::new(),
            notes: BTreeMap::new(),
            ports: BTreeMap::from([(Part::Dead, dead)]),
            _nobody: nobody,
        };
        for part in [Part::Healthy, Part::Flaky] {
            let notes = Notes::default();
            let handler = handler(part, Arc::clone(&notes), Arc::clone(&keys), Arc::clone(&clock));
            let running = receiver::serve(receiver::bind(0).await?, Some(identity.acceptor()?), handler)?;
            this.ports.insert(part, running.address.port());
            this.running.push(running);
            this.notes.insert(part, notes);
        }
        Ok(this)
    }

    pub(super) fn url(&self, part: Part) -> String {
        let port = self.ports.get(&part).copied().unwrap_or_default();
        format!("https://localhost:{port}/{}", part.name())
    }

    pub(super) fn seen(&self, part: Part) -> Seen {
        let notes = self.notes.get(&part);
        notes.map(|notes| notes.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }
}

fn handler(part: Part, notes: Notes, keys: Arc<Keys>, clock: Arc<SystemClock>) -> Handler {
    Arc::new(move |request| {
        let report = check(&request, &keys, clock.wall().seconds(), Some(MAX_AGE_S));
        let complaint = if report.verified { None } else { Some(report.failures()) };
        let mut seen = notes.lock().unwrap_or_else(PoisonError::into_inner);
        take(part, &mut seen, &request, complaint)
    })
}

/// Notes a request and decides its answer. Pure but for the notes.
fn take(part: Part, seen: &mut Seen, request: &Request, complaint: Option<String>) -> StatusCode {
    let delivery = request.header("x-sealpost-delivery-id").unwrap_or_default().to_owned();
    let second = seen.len() % 2 == 1;
    let visit = seen.entry(delivery).or_default();
    let first = visit.requests == 0;
    visit.requests += 1;
    visit.last_body = request.body.clone();
    match complaint {
        None => visit.verified += 1,
        Some(complaint) => visit.complaints.push(complaint),
    }
    let attempt = request.header("x-sealpost-attempt").unwrap_or_default();
    if attempt != visit.requests.to_string() {
        visit.complaints.push(format!("request {} says it is attempt `{attempt}`", visit.requests));
    }
    if part == Part::Flaky && first && second {
        visit.refused_once = true;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::OK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(delivery: &str, attempt: &str) -> Request {
        let headers = [("x-sealpost-delivery-id", delivery), ("x-sealpost-attempt", attempt)];
        Request {
            method: "POST".into(),
            target: "/flaky".into(),
            authority: "localhost".into(),
            scheme: "https",
            headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn the_flaky_one_refuses_the_first_attempt_of_every_second_delivery() {
        let mut seen = Seen::new();
        let mut answer = |d, a| take(Part::Flaky, &mut seen, &request(d, a), None).as_u16();
        let answers = [
            answer("a", "1"),
            answer("b", "1"),
            answer("c", "1"),
            answer("d", "1"),
            answer("b", "2"),
            answer("d", "3"),
        ];
        assert_eq!(answers, [200, 503, 200, 503, 200, 200]);
        assert_eq!(
            seen.get("d").map(|v| v.complaints.clone()).unwrap(),
            ["request 2 says it is attempt `3`"]
        );
        assert_eq!(seen.values().filter(|visit| visit.refused_once).count(), 2);
    }
}
