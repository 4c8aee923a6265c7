//! One HTTP/2 connection, shared by the requests of one pool key.
//!
//! Several attempts write through one connection, so hyper's tasks drive it. They are on a leash: when the last
//! holder lets go, the tasks end and the socket closes, whatever the peer is doing. Windows, header lists and the
//! number of streams are bounded; the peer's floods are bounded by the `h2` crate.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, Socket};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::error::ProtocolFault;
use crate::gate::{Gate, GateGuard};
use crate::http1::{BodyEnd, BodyReader, Excerpt, Exchange, MAX_HEAD, MAX_HEADERS};
use crate::valve::Valve;
use crate::wire::{Stream, Wire};

/// Requests at once on one connection; a busier key opens another.
const MAX_STREAMS: usize = 64;
/// Until the peer has said how many it takes.
const FIRST_STREAMS: usize = 8;
/// An excerpt fits; nothing larger is wanted.
const STREAM_WINDOW: u32 = 32 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
const MAX_RESET_STREAMS: usize = 32;
const HEADER_TABLE: u32 = 4_096;

pub(crate) struct Http2 {
    sender: http2::SendRequest<GuardedBody>,
    /// A second handle to the socket, to look whether the peer has closed it.
    socket: Socket,
    load: AtomicUsize,
    /// How many streams the peer takes, as last heard.
    streams: Arc<AtomicUsize>,
    idle_since: Mutex<Instant>,
    pub(crate) born: Instant,
    /// Dropped with the last holder, which ends the tasks.
    _leash: watch::Sender<()>,
}

/// One request's place on a connection.
pub(crate) struct Lease {
    connection: Arc<Http2>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.connection.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.connection.load.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Http2 {
    pub(crate) async fn handshake(stream: Stream) -> Result<Arc<Self>, ProtocolFault> {
        let socket = SockRef::from(stream.tcp()).try_clone().map_err(|_| ProtocolFault::Http2)?;
        let (leash, held) = watch::channel(());
        let tasks = Leashed(held);
        let wire = TokioIo::new(Wire::new(stream, Arc::new(Valve::always_open())));
        let (sender, connection) = http2::Builder::new(tasks.clone())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(FIRST_STREAMS)
            .max_header_list_size(MAX_HEAD as u32)
            .header_table_size(HEADER_TABLE)
            .max_concurrent_reset_streams(MAX_RESET_STREAMS)
            .handshake(wire)
            .await
            .map_err(|_| ProtocolFault::Http2)?;
        let streams = Arc::new(AtomicUsize::new(FIRST_STREAMS));
        let heard = streams.clone();
        let mut connection = Box::pin(connection);
        let driver = poll_fn(move |cx| {
            let polled = connection.as_mut().poll(cx);
            heard.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled.map(|_| ())
        });
        hyper::rt::Executor::execute(&tasks, driver);
        let now = Instant::now();
        Ok(Arc::new(Self {
            sender,
            socket,
            load: AtomicUsize::new(0),
            streams,
            idle_since: Mutex::new(now),
            born: now,
            _leash: leash,
        }))
    }

    /// A place for one more request, unless the connection is full or gone.
    pub(crate) fn lease(self: &Arc<Self>) -> Option<Lease> {
        let cap = self.streams.load(Ordering::Relaxed).min(MAX_STREAMS);
        if self.sender.is_closed() {
            return None;
        }
        self.load
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |load| (load < cap).then_some(load + 1))
            .ok()?;
        Some(Lease { connection: self.clone() })
    }

    /// Since when no request has been on it; `None` while one is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let idle = self.load.load(Ordering::Acquire) == 0;
        idle.then(|| *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Looks at the socket itself, then lets the connection's task digest what it found there.
    async fn is_alive(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        match self.socket.peek(&mut byte) {
            Ok(0) => return false,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        !self.sender.is_closed()
    }
}

impl Lease {
    /// Sends one request and waits for the answer's head.
    ///
    /// The gate is asked right before the request is handed over. If the connection dies between the two, the
    /// attempt ends as `Closed`, since the gate must not be asked twice.
    pub(crate) async fn exchange(
        &self,
        request: http::Request<Bytes>,
        gate: &Arc<dyn Gate>,
        deadline: Instant,
    ) -> Exchange {
        let connection = &self.connection;
        if !connection.is_alive().await {
            return Exchange::Unsent(request.into_parts().0.headers);
        }
        let Some(guard) = gate.open() else { return Exchange::GateClosed };
        let request = request.map(|bytes| GuardedBody::new(bytes, guard));
        let mut sender = connection.sender.clone();
        match timeout_at(deadline, sender.try_send_request(request)).await {
            Err(_) => Exchange::TimedOut { begun: true, all_sent: true },
            Ok(Ok(head)) if head.headers().len() > MAX_HEADERS => {
                Exchange::Failed(ProtocolFault::HeadTooLarge)
            }
            Ok(Ok(head)) => Exchange::Head(head),
            Ok(Err(error)) if error.message().is_some() => Exchange::Closed,
            Ok(Err(_)) => Exchange::Failed(ProtocolFault::Http2),
        }
    }

    /// Reads at most `limit` bytes of the body; dropping the rest resets the stream, not the connection.
    pub(crate) async fn read_body(&self, body: Incoming, limit: usize, deadline: Instant) -> Excerpt {
        let mut body = pin!(body);
        let mut reader = BodyReader::new(limit);
        let end = timeout_at(deadline, poll_fn(|cx| reader.poll(body.as_mut(), cx))).await;
        reader.finish(end.unwrap_or(BodyEnd::Late))
    }
}

/// Runs hyper's tasks until they end or the leash is let go.
#[derive(Clone)]
struct Leashed(watch::Receiver<()>);

impl<F> hyper::rt::Executor<F> for Leashed
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut leash = self.0.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = task => {}
                _ = leash.changed() => {}
            }
        });
    }
}

/// A request body that lets go of the gate's guard once the connection has taken the head.
pub(crate) struct GuardedBody {
    bytes: Option<Bytes>,
    guard: Option<GateGuard>,
}

impl GuardedBody {
    fn new(bytes: Bytes, guard: GateGuard) -> Self {
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), guard: Some(guard) }
    }
}

impl Body for GuardedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.guard = None;
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
