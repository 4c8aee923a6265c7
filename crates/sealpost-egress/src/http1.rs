//! One HTTP/1 connection, driven by the attempt that uses it.
//!
//! There is no driver task: hyper's connection lives in this value and is polled together with the answer. So
//! dropping the value closes the socket at once, and no byte can leave after an attempt has ended. An
//! idle connection is polled by nobody; it is probed when it is taken up again.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use crate::error::ProtocolFault;
use crate::gate::Gate;
use crate::valve::{Progress, Valve};
use crate::wire::{Stream, Wire};

/// The answer's status line and headers.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
pub(crate) const MAX_HEADERS: usize = 64;
/// A success is known at its head; its body is only read so that the connection can be kept, and not for long.
pub(crate) const SUCCESS_BODY_LIMIT: Duration = Duration::from_millis(100);

type Connection = http1::Connection<TokioIo<Wire>, Full<Bytes>>;

pub(crate) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Gone once the connection has ended.
    connection: Option<Connection>,
    valve: Arc<Valve>,
    pub(crate) born: Instant,
}

/// How handing over a request ended.
#[derive(Debug)]
pub(crate) enum Exchange {
    Head(Response<Incoming>),
    /// The connection had ended before; nothing was written and the gate was not asked.
    /// Here are its headers for another connection.
    Unsent(HeaderMap),
    /// The connection ended before the request began, too late to try another.
    Closed,
    GateClosed,
    Failed(ProtocolFault),
    /// The deadline passed. `begun`: the gate had opened; `all_sent`: the whole request had been written.
    TimedOut {
        begun: bool,
        all_sent: bool,
    },
}

/// What could be read of an answer's body.
#[derive(Debug)]
pub(crate) struct Excerpt {
    pub(crate) bytes: Bytes,
    pub(crate) end: BodyEnd,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BodyEnd {
    /// All of it was read.
    Clean,
    /// It is longer than the limit.
    TooLong,
    /// It broke off.
    Broken,
    /// Its time ran out.
    Late,
}

impl Http1 {
    pub(crate) async fn handshake(stream: Stream) -> Result<Self, hyper::Error> {
        let valve = Arc::new(Valve::default());
        let wire = TokioIo::new(Wire::new(stream, valve.clone()));
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_header_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(wire)
            .await?;
        Ok(Self { sender, connection: Some(connection), valve, born: Instant::now() })
    }

    /// Sends one request and waits for the answer's head. `reused` probes the socket before the first write.
    pub(crate) async fn exchange(
        &mut self,
        mut request: http::Request<Full<Bytes>>,
        gate: Arc<dyn Gate>,
        reused: bool,
        deadline: Instant,
    ) -> Exchange {
        let valve = self.valve.clone();
        hyper::ext::on_informational(&mut request, move |_| valve.count_interim());
        self.valve.arm(gate, reused);
        let mut answer = pin!(self.sender.try_send_request(request));
        let driven = poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        });
        let Ok(result) = timeout_at(deadline, driven).await else {
            let begun = self.valve.progress() == Progress::Begun;
            return Exchange::TimedOut { begun, all_sent: begun && self.valve.all_sent() };
        };
        let mut error = match result {
            Ok(head) if head.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Exchange::Failed(ProtocolFault::SwitchedProtocols);
            }
            Ok(head) => return Exchange::Head(head),
            Err(error) => error,
        };
        match (self.valve.progress(), error.take_message()) {
            (Progress::Refused, _) => Exchange::GateClosed,
            (Progress::Untouched, Some(request)) => Exchange::Unsent(request.into_parts().0.headers),
            (Progress::Untouched, None) => Exchange::Closed,
            (Progress::Begun, _) if self.valve.too_many_interim() => {
                Exchange::Failed(ProtocolFault::TooManyInterim)
            }
            (Progress::Begun, _) => Exchange::Failed(ProtocolFault::of(error.error())),
        }
    }

    /// Reads at most `limit` bytes of the body until `deadline`.
    pub(crate) async fn read_body(&mut self, body: Incoming, limit: usize, deadline: Instant) -> Excerpt {
        if body.is_end_stream() {
            return Excerpt { bytes: Bytes::new(), end: BodyEnd::Clean };
        }
        let mut body = pin!(body);
        let mut reader = BodyReader::new(limit);
        let end = timeout_at(
            deadline,
            poll_fn(|cx| {
                if let Poll::Ready(end) = reader.poll(body.as_mut(), cx) {
                    return Poll::Ready(end);
                }
                // Asking the body for more has told the connection to read; let it.
                self.drive(cx);
                reader.poll(body.as_mut(), cx)
            }),
        )
        .await;
        reader.finish(end.unwrap_or(BodyEnd::Late))
    }

    /// Whether the connection may serve another request after this clean answer.
    pub(crate) async fn may_be_reused(&mut self) -> bool {
        let alive = poll_fn(|cx| Poll::Ready(self.drive(cx))).await;
        let reusable = alive && self.sender.is_ready() && !self.valve.is_broken();
        self.valve.shut();
        reusable
    }

    /// Polls the connection once; false if it has ended.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        if Pin::new(connection).poll(cx).is_pending() {
            return true;
        }
        // Dropping it hands back a request that it never took up.
        self.connection = None;
        false
    }
}

/// Whether the head leaves no doubt where the answer ends.
pub(crate) fn is_unambiguous(head: &http::response::Parts) -> bool {
    head.version == Version::HTTP_11
        && !(head.headers.contains_key(TRANSFER_ENCODING) && head.headers.contains_key(CONTENT_LENGTH))
}

/// Collects body frames up to a limit.
pub(crate) struct BodyReader {
    bytes: BytesMut,
    limit: usize,
}

impl BodyReader {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: BytesMut::new(), limit }
    }

    pub(crate) fn poll(&mut self, mut body: Pin<&mut Incoming>, cx: &mut Context<'_>) -> Poll<BodyEnd> {
        loop {
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(BodyEnd::Clean),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(BodyEnd::Broken),
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let room = self.limit.saturating_sub(self.bytes.len());
                    if data.len() > room {
                        self.bytes.extend_from_slice(&data.slice(..room));
                        return Poll::Ready(BodyEnd::TooLong);
                    }
                    self.bytes.extend_from_slice(&data);
                }
            }
        }
    }

    pub(crate) fn finish(self, end: BodyEnd) -> Excerpt {
        Excerpt { bytes: self.bytes.freeze(), end }
    }
}
