//! The connection below HTTP: its bytes as they came, whether it is idle, and how it ends.
//!
//! A service can ask for an end that no HTTP library would offer (after half an answer, with a reset). It never
//! reads or writes HTTP itself.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use super::lock::lock;

/// Bytes of a header that are remembered as they came; more than the HTTP library accepts.
const MAX_TAP: usize = 512 * 1024;

/// What a service can ask of the connection it serves.
pub(super) enum Order {
    /// Close as soon as nothing is under way.
    CloseIdle,
    /// Write these bytes past HTTP, then end.
    End(Bytes, End),
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As a server that has said everything: TLS close, then FIN.
    Proper,
    /// The peer sees the stream stop: no TLS close.
    Cut,
    /// The peer sees a reset.
    Reset,
}

impl End {
    pub(super) fn cut(reset: bool) -> Self {
        if reset { Self::Reset } else { Self::Cut }
    }
}

/// One connection, as others see it.
pub(super) struct Line {
    /// From 1, in the order of acceptance.
    pub(super) number: u64,
    busy: AtomicBool,
    gone: AtomicBool,
    order: Mutex<Option<Order>>,
    ordered: Notify,
    tap: Option<Mutex<Tap>>,
}

impl Line {
    /// Asks the connection's task for something. An end that was ordered stays ordered.
    pub(super) fn order(&self, order: Order) {
        let mut waiting = lock(&self.order);
        if !matches!(*waiting, Some(Order::End(..))) {
            *waiting = Some(order);
        }
        self.ordered.notify_one();
    }

    /// Waits for the next order.
    pub(super) async fn next_order(&self) -> Order {
        loop {
            self.ordered.notified().await;
            if let Some(order) = lock(&self.order).take() {
                return order;
            }
        }
    }

    /// Marks the connection as busy until the guard is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.store(true, Ordering::SeqCst);
        Busy(self.clone())
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// The header fields as they came, if the bytes that came last start with this request line.
    pub(super) fn take_header_fields(&self, request_line: &str) -> Option<Vec<(String, String)>> {
        let mut tap = lock(self.tap.as_ref()?);
        tap.open = false;
        fields_of(&std::mem::take(&mut tap.bytes), request_line)
    }
}

/// Says that a request is under way.
pub(super) struct Busy(Arc<Line>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::SeqCst);
    }
}

/// What was read since the last write: on a connection without pipelining that is the current header, and some body.
struct Tap {
    open: bool,
    bytes: Vec<u8>,
}

fn fields_of(bytes: &[u8], request_line: &str) -> Option<Vec<(String, String)>> {
    let rest = bytes.strip_prefix(request_line.as_bytes())?;
    let end = rest.windows(4).position(|window| window == b"\r\n\r\n")?;
    let header = String::from_utf8_lossy(&rest[..end]);
    header
        .split("\r\n")
        .skip(1)
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
        .collect()
}

/// All connections of a simulator.
#[derive(Default)]
pub(super) struct Lines {
    open: Mutex<BTreeMap<u64, Arc<Line>>>,
    last: AtomicUsize,
    accepted: AtomicUsize,
}

impl Lines {
    /// A new connection; `tapped` keeps its header bytes.
    pub(super) fn add(&self, tapped: bool) -> Arc<Line> {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        let line = Arc::new(Line {
            number: self.last.fetch_add(1, Ordering::SeqCst) as u64 + 1,
            busy: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            order: Mutex::new(None),
            ordered: Notify::new(),
            tap: tapped.then(|| Mutex::new(Tap { open: true, bytes: Vec::new() })),
        });
        lock(&self.open).insert(line.number, line.clone());
        line
    }

    pub(super) fn remove(&self, line: &Line) {
        line.gone.store(true, Ordering::SeqCst);
        lock(&self.open).remove(&line.number);
    }

    /// Tells every connection without a request under way to close, and returns them.
    pub(super) fn close_idle(&self) -> Vec<Arc<Line>> {
        let idle: Vec<_> =
            lock(&self.open).values().filter(|line| !line.busy.load(Ordering::SeqCst)).cloned().collect();
        for line in &idle {
            line.order(Order::CloseIdle);
        }
        idle
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn open(&self) -> usize {
        lock(&self.open).len()
    }

    pub(super) fn clear_accepted(&self) {
        self.accepted.store(0, Ordering::SeqCst);
    }
}

/// The bytes of a connection, with TLS taken off.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream whose line can be tapped.
pub(super) struct Wire {
    stream: Stream,
    line: Arc<Line>,
}

impl Wire {
    pub(super) fn new(stream: Stream, line: Arc<Line>) -> Self {
        Self { stream, line }
    }

    /// Writes the last words and ends. An error means that the peer ended first.
    pub(super) async fn end(mut self, last_words: &[u8], end: End) -> io::Result<()> {
        self.write_all(last_words).await?;
        self.flush().await?;
        match end {
            End::Proper => self.shutdown().await,
            End::Cut => Ok(()),
            End::Reset => match &self.stream {
                Stream::Plain(tcp) => tcp.set_zero_linger(),
                Stream::Tls(tls) => tls.get_ref().0.set_zero_linger(),
            },
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        })?;
        if let Some(tap) = &self.line.tap {
            let mut tap = lock(tap);
            let new = &buf.filled()[before..];
            if tap.open && tap.bytes.len() + new.len() <= MAX_TAP {
                tap.bytes.extend_from_slice(new);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(tap) = &self.line.tap {
            let mut tap = lock(tap);
            tap.open = true;
            tap.bytes.clear();
        }
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_keep_their_spelling_order_and_number() {
        let bytes = b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-Odd:  v \r\nx-odd:w\r\nEmpty:\r\n\r\nbody: of it";
        let fields = fields_of(bytes, "GET /a?b HTTP/1.").expect("the line is that of the request");
        let expected = [("Host", "h"), ("X-Odd", "v"), ("x-odd", "w"), ("Empty", "")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(fields_of(bytes, "GET /b HTTP/1."), None, "bytes of another request");
        assert_eq!(fields_of(&bytes[..30], "GET /a?b HTTP/1."), None, "half a header");
    }
}
