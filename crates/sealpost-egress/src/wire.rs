//! The byte stream under HTTP: TCP or TLS, with a [`Valve`] in it.
//!
//! It also hides two moments from HTTP that HTTP would misread: a connection that died while it lay idle, and a
//! receiver that answers and closes before it has read the whole request.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::valve::Valve;

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// A connection as HTTP sees it.
pub(crate) struct Wire {
    stream: Stream,
    valve: Arc<Valve>,
}

impl Wire {
    pub(crate) fn new(stream: Stream, valve: Arc<Valve>) -> Self {
        Self { stream, valve }
    }

    /// Settles a finished write with the valve.
    ///
    /// A receiver may answer and close before it has read the whole body. Its answer is then in our receive
    /// buffer while our writes fail; so once the request has begun, a write that fails because the peer is gone
    /// is treated as swallowed, and the read side tells what became of it.
    fn written(&self, result: io::Result<usize>, length: usize) -> io::Result<usize> {
        let first = self.valve.begun();
        match result {
            Err(error) if !first && self.hides(&error) => Ok(length),
            other => other,
        }
    }

    fn hides(&self, error: &io::Error) -> bool {
        let peer_is_gone = matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
        );
        peer_is_gone && self.valve.break_off()
    }

    /// Asks the kernel whether an idle connection is still whole. The runtime learns of a close only when it next
    /// looks at its events, which may be after we wrote a request into a dead connection.
    fn probe(&self) -> io::Result<Liveness> {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(self.stream.tcp()).peek(&mut byte) {
            Ok(0) => Ok(Liveness::Ended),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "bytes on an idle connection")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Liveness::Quiet),
            Err(error) => Err(error),
        }
    }
}

enum Liveness {
    Quiet,
    Ended,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.valve.too_many_interim() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too many interim answers")));
        }
        if self.valve.take_probe() {
            match self.probe() {
                Ok(Liveness::Quiet) => {}
                Ok(Liveness::Ended) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.valve.is_broken() {
            return Poll::Ready(Ok(buf.len()));
        }
        self.valve.admit()?;
        let polled = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        };
        polled.map(|result| self.written(result, buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if self.valve.is_broken() {
            return Poll::Ready(Ok(length));
        }
        self.valve.admit()?;
        let polled = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        };
        polled.map(|result| self.written(result, length))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.valve.is_broken() {
            return Poll::Ready(Ok(()));
        }
        let polled = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        match polled {
            Poll::Ready(Err(error)) if self.hides(&error) => Poll::Ready(Ok(())),
            other => {
                if matches!(other, Poll::Ready(Ok(()))) {
                    self.valve.note_flushed();
                }
                other
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
