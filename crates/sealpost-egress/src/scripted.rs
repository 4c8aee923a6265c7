//! Egress without a network: answers from a script, and a record of what was asked.
//!
//! For tests of whoever sends through [`Outbound`]. It keeps the contract that callers rely on: the gate is asked once,
//! a refused request is not recorded as sent, and an answer later than the request's limit is a timeout.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::error::{EgressError, Phase, Sent};
use crate::request::{Answer, Outbound, PoolScope, Request, Scheme};

/// What the script says to one request, and after how long.
#[derive(Clone, Debug)]
pub struct Reply {
    pub after: Duration,
    pub result: Result<Answer, EgressError>,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Ok(Answer::status(status)).into()
    }

    /// Longer than any limit: the request times out.
    pub fn never() -> Self {
        Self { after: Duration::MAX, ..Self::status(200) }
    }

    pub fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }
}

impl From<Result<Answer, EgressError>> for Reply {
    fn from(result: Result<Answer, EgressError>) -> Self {
        Self { after: Duration::ZERO, result }
    }
}

impl From<u16> for Reply {
    fn from(status: u16) -> Self {
        Self::status(status)
    }
}

/// A request that passed its gate.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub pool: PoolScope,
    pub method: Method,
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub timeout: Duration,
}

type Script = Box<dyn FnMut(&Request) -> Reply + Send>;

/// Answers by a script and records every request.
pub struct Scripted {
    script: Mutex<Script>,
    recorded: Mutex<Vec<Recorded>>,
    refused: Mutex<usize>,
}

impl Scripted {
    /// Asks `script` for each request, in the order of their gates.
    pub fn by(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self { script: Mutex::new(Box::new(script)), recorded: Mutex::default(), refused: Mutex::default() }
    }

    /// One reply per request; the last one repeats. An empty list answers 200 for ever.
    pub fn answering<R: Into<Reply>>(replies: impl IntoIterator<Item = R>) -> Self {
        let mut replies: VecDeque<Reply> = replies.into_iter().map(Into::into).collect();
        Self::by(move |_| match replies.len() {
            0 => Reply::status(200),
            1 => replies.front().cloned().unwrap_or_else(|| Reply::status(200)),
            _ => replies.pop_front().unwrap_or_else(|| Reply::status(200)),
        })
    }

    /// All requests that passed their gates so far.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.recorded).clone()
    }

    /// How many requests their gates refused.
    pub fn refused(&self) -> usize {
        *lock(&self.refused)
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").field("requests", &lock(&self.recorded).len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Outbound for Scripted {
    async fn send(&self, request: Request) -> Result<Answer, EgressError> {
        let Some(guard) = request.gate.open() else {
            *lock(&self.refused) += 1;
            return Err(EgressError::GateClosed);
        };
        lock(&self.recorded).push(record(&request));
        drop(guard);
        let reply = (lock(&self.script))(&request);
        if reply.after > request.timeout {
            tokio::time::sleep(request.timeout).await;
            return Err(EgressError::Timeout {
                host: request.host,
                phase: Phase::Answer,
                sent: Sent::MaybeSent,
            });
        }
        if !reply.after.is_zero() {
            tokio::time::sleep(reply.after).await;
        }
        reply.result.map(|answer| Answer { took: reply.after, ..answer })
    }
}

fn record(request: &Request) -> Recorded {
    Recorded {
        pool: request.pool,
        method: request.method.clone(),
        scheme: request.scheme,
        host: request.host.to_string(),
        port: request.port,
        target: request.target.to_string(),
        headers: request.headers.clone(),
        body: request.body.clone(),
        timeout: request.timeout,
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
