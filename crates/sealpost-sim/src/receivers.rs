//! Receivers behind the one door out: each has a mood, and moods change.
//!
//! The contract of egress is kept: the gate is asked once, before the first byte; whatever happens is over within the
//! request's limit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sealpost_core::id::{DeliveryId, EventId};
use sealpost_core::key_ring::KeyRecord;
use sealpost_egress::{
    Answer, ConnectFault, DnsFault, EgressError, Outbound, Phase, ProtocolFault, Request, Sent, TlsFault,
};
use sealpost_signature::{Jwk, Jwks, KeyId, RequestParts, VerifyOptions, VerifyingKey, verify_request};
use tokio::time::Instant;

use crate::ledger::{Reply, Send};
use crate::memory::{Disk, Plant};
use crate::world::World;

pub const RECEIVERS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Well,
    Slow,
    Flapping,
    Status(u16),
    /// 429 or 503 with `Retry-After`.
    AsksToWait(u64),
    Hangs,
    Late,
    NoName,
    NoConnection,
    NoTrust,
    Breaks,
    /// The service itself breaks while it sends.
    Panics,
}

pub const MOODS: [Mood; 14] = [
    Mood::Well,
    Mood::Well,
    Mood::Well,
    Mood::Slow,
    Mood::Flapping,
    Mood::Flapping,
    Mood::Status(500),
    Mood::Status(410),
    Mood::Status(302),
    Mood::AsksToWait(90),
    Mood::Hangs,
    Mood::Late,
    Mood::NoName,
    Mood::NoConnection,
];

#[derive(Debug)]
pub struct Receivers {
    world: Arc<World>,
    disk: Disk,
    moods: Mutex<[Mood; RECEIVERS]>,
    plant: Option<Plant>,
}

/// What becomes of one request, decided before it begins.
struct Fate {
    mood: Mood,
    connect: Duration,
    answer: Duration,
    /// Between the gate's answer and the end of the first write.
    write: bool,
}

impl Receivers {
    pub fn new(world: &Arc<World>, disk: &Disk, moods: [Mood; RECEIVERS], plant: Option<Plant>) -> Self {
        Self { world: Arc::clone(world), disk: disk.clone(), moods: Mutex::new(moods), plant }
    }

    pub fn set(&self, receiver: usize, mood: Mood) {
        self.moods.lock().unwrap_or_else(PoisonError::into_inner)[receiver] = mood;
    }

    pub fn moods(&self) -> [Mood; RECEIVERS] {
        *self.moods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, receiver: usize, limit: Duration) -> Fate {
        let mut mood = self.moods()[receiver];
        let mut inner = self.world.inner();
        let dice = &mut inner.dice;
        if mood == Mood::Flapping {
            mood = dice.of(&[
                Mood::Well,
                Mood::Well,
                Mood::Status(503),
                Mood::Status(429),
                Mood::NoTrust,
                Mood::Breaks,
                Mood::Panics,
                Mood::AsksToWait(5),
                Mood::AsksToWait(700),
            ]);
            if mood == Mood::Panics && !dice.one_in(4) {
                mood = Mood::Status(500);
            }
        }
        let limit_ms = limit.as_millis() as u64;
        let answer = match mood {
            Mood::Slow => dice.between(0, limit_ms),
            Mood::Late => limit_ms + 1,
            _ => dice.spread(20),
        };
        Fate {
            mood,
            connect: Duration::from_millis(if dice.one_in(4) { dice.spread(300) } else { 0 }),
            answer: Duration::from_millis(answer),
            write: dice.one_in(8),
        }
    }

    /// A request's first byte leaves.
    fn begins(&self, request: &Request) -> usize {
        let header =
            |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (hook, url_version) = place(request.target.as_str());
        let token = serde_json::from_slice::<serde_json::Value>(&request.body).ok();
        let token = token.and_then(|body| Some(body.get("token")?.as_str()?.to_owned()));
        let mut inner = self.world.inner();
        let (seq, ms, life) = (inner.next_seq(), inner.ms(), inner.life);
        let attempt = header("x-sealpost-attempt").parse().unwrap_or(0);
        inner.note("send", &[request.target.as_str().as_bytes(), &[attempt], &request.body]);
        let send = Send {
            seq,
            ms,
            life,
            delivery: header("x-sealpost-delivery-id").parse().unwrap_or(DeliveryId::from_bytes([0; 16])),
            attempt,
            event: header("x-sealpost-event-id").parse().unwrap_or(EventId::from_bytes([0; 16])),
            hook,
            url_version,
            token,
            reply: None,
        };
        inner.coverage.count("request");
        inner.ledger.sends.push(send);
        let place = inner.ledger.sends.len() - 1;
        // Each would cost more than the rest of the request.
        let verified = inner.dice.one_in(8);
        drop(inner);
        if verified {
            self.verify(request);
        }
        place
    }

    /// As a receiver does that knows the keys published now.
    fn verify(&self, request: &Request) {
        let keys: Vec<Jwk> = {
            let state = self.disk.state();
            let published = state.tenants.values().flat_map(|row| &row.keys);
            let jwk = |key: &KeyRecord| {
                Some(Jwk::new(VerifyingKey::from_bytes(&key.public).ok()?, KeyId::new(key.kid.clone()).ok()?))
            };
            published.filter_map(jwk).collect()
        };
        let headers: Vec<(&str, &str)> = request
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let parts = RequestParts {
            method: request.method.as_str(),
            request_target: request.target.as_str(),
            authority: &request.host,
            scheme: "https",
            headers: &headers,
        };
        // The wall clock may have been set between signing and sending.
        let most = 3600;
        let now = self.world.wall().millis() / 1000;
        let options = VerifyOptions { max_age_s: Some(most), max_skew_s: most, ..VerifyOptions::at(now) };
        let verified = match Jwks::new(keys) {
            Ok(keys) => {
                verify_request(&parts, &request.body, &keys, &options).map(drop).map_err(|e| e.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let mut inner = self.world.inner();
        match verified {
            Ok(()) => inner.coverage.count("signature verified"),
            Err(what) => inner.wrong(format!("a receiver cannot verify a request: {what}")),
        }
    }

    fn replies(&self, place: usize, reply: Reply) {
        let mut inner = self.world.inner();
        let ms = inner.ms();
        inner.note("reply", &[format!("{reply:?}").as_bytes()]);
        inner.ledger.sends[place].reply = Some((ms, reply));
        inner.coverage.count(match reply {
            Reply::Status { status: 200..300, .. } => "answered 2xx",
            Reply::Status { status: 300..400, .. } => "answered 3xx",
            Reply::Status { status: 400..500, .. } => "answered 4xx",
            Reply::Status { .. } => "answered 5xx",
            Reply::TimedOut => "timed out",
            Reply::Broke => "protocol",
            Reply::Panicked => "panic in an attempt",
        });
        if matches!(reply, Reply::Status { wait_s: Some(_), .. }) {
            inner.coverage.count("asked to wait");
        }
    }

    fn never_began(&self, request: &Request, what: &'static str, error: EgressError) -> EgressError {
        let header =
            |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let (Ok(delivery), Ok(attempt)) =
            (header("x-sealpost-delivery-id").parse(), header("x-sealpost-attempt").parse())
        {
            self.world.inner().ledger.unsent.insert((delivery, attempt), what);
        }
        self.world.count(what);
        error
    }
}

/// `/h7/v2`: the hook and the version of its URL.
fn place(target: &str) -> (u32, u32) {
    let mut parts = target.trim_start_matches('/').split('/');
    let mut number =
        |mark: char| parts.next().and_then(|part| part.strip_prefix(mark)?.parse().ok()).unwrap_or(0);
    (number('h'), number('v'))
}

#[async_trait]
impl Outbound for Receivers {
    async fn send(&self, request: Request) -> Result<Answer, EgressError> {
        let began = Instant::now();
        let receiver =
            request.host.trim_start_matches('r').split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let Fate { mood, connect, answer, write } = self.fate(receiver, request.timeout);
        let host = Arc::clone(&request.host);
        self.world.pass("crash before a gate").await;
        if self.plant == Some(Plant::EndlessRequest) && mood == Mood::Hangs {
            std::future::pending::<()>().await;
        }
        if !connect.is_zero() {
            tokio::time::sleep(connect.min(request.timeout)).await;
        }
        match mood {
            Mood::NoName => {
                let error = EgressError::Dns { host, fault: DnsFault::NoSuchName };
                return Err(self.never_began(&request, "dns", error));
            }
            Mood::NoConnection => {
                let error = EgressError::Connect { host, fault: ConnectFault::Refused };
                return Err(self.never_began(&request, "connect", error));
            }
            Mood::NoTrust => {
                let error = EgressError::Tls { host, fault: TlsFault::UnknownIssuer };
                return Err(self.never_began(&request, "tls", error));
            }
            _ => {}
        }
        self.world.pass("crash before a gate").await;
        let guard = request.gate.open();
        if guard.is_none() && self.plant != Some(Plant::NoGate) {
            self.world.count("gate closed");
            return Err(EgressError::GateClosed);
        }
        let send = self.begins(&request);
        if write {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(guard);
        self.world.pass("crash after a gate").await;
        let left = request.timeout.saturating_sub(began.elapsed());
        if mood == Mood::Panics {
            self.replies(send, Reply::Panicked);
            std::panic::resume_unwind(Box::new("a broken invariant, on purpose"));
        }
        if mood == Mood::Hangs || answer > left {
            tokio::time::sleep(left).await;
            self.world.pass("crash after a gate").await;
            self.world.count(if mood == Mood::Hangs { "hung" } else { "answered too late" });
            self.replies(send, Reply::TimedOut);
            if self.plant == Some(Plant::LateAnswer) && mood != Mood::Hangs {
                return Ok(Answer::status(200));
            }
            return Err(EgressError::Timeout { host, phase: Phase::Answer, sent: Sent::MaybeSent });
        }
        tokio::time::sleep(answer).await;
        self.world.pass("crash after a gate").await;
        let (status, wait_s) = match mood {
            Mood::Status(status) => (status, None),
            Mood::AsksToWait(seconds) => (if seconds > 60 { 503 } else { 429 }, Some(seconds)),
            Mood::Breaks => {
                self.replies(send, Reply::Broke);
                return Err(EgressError::Protocol {
                    host,
                    fault: ProtocolFault::NoAnswer,
                    sent: Sent::MaybeSent,
                });
            }
            _ => (200, None),
        };
        self.replies(send, Reply::Status { status, wait_s });
        Ok(Answer {
            retry_after: wait_s.map(|seconds| seconds.to_string()),
            excerpt: Bytes::from_static(b"what the receiver said"),
            took: began.elapsed(),
            ..Answer::status(status)
        })
    }
}
