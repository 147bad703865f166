//! What a connection runs over: bare TCP towards programs, or a stream of pingora's, which may be TLS.
//!
//! pingora's own TCP stream measures how long each read waits, which is two looks at the clock for every request that
//! nobody asks for. It passes bytes on and knows nothing of them.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A connection's bytes.
pub(crate) enum Line {
    /// TCP and nothing around it.
    Tcp(TcpStream),
    /// Anything else.
    Other(Stream),
}

impl Line {
    /// The kernel's number of it; something negative where there is none.
    pub(super) fn descriptor(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Other(stream) => stream.id() as RawFd,
        }
    }

    /// The connection itself, for another process. Only plain TCP can go on there: what TLS agreed on stays here.
    pub(super) fn into_tcp(self) -> Option<std::net::TcpStream> {
        match self {
            Self::Tcp(stream) => stream.into_std().ok(),
            Self::Other(_) => None,
        }
    }

    /// Whether it is plain TCP.
    pub(super) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Whether the peer has closed its side, perhaps behind bytes that nobody has read yet. Only plain TCP can tell.
    pub(super) fn is_closed_by_peer(&self) -> bool {
        let Self::Tcp(stream) = self else { return false };
        let ready = pin!(stream.ready(Interest::READABLE)).poll(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }
}

/// Calls a method of whichever stream it is.
macro_rules! pass {
    ($line:expr, $stream:ident => $call:expr) => {
        match $line.get_mut() {
            Line::Tcp($stream) => $call,
            Line::Other($stream) => $call,
        }
    };
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        pass!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        pass!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pass!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pass!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pass!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
