//! One connection, on which a message's head and body leave in one write.
//!
//! pingora's sessions write a head and then the body: two system calls where one does, and a small call
//! spends most of its time in them. On the answering side a [`Wire`] keeps a head back until its body or a
//! flush comes. On the asking side it counts what was handed to the connection below, which is the proof
//! that a request never left, keeps what was read and not yet taken, and notices an answer that arrives
//! while a write is stuck.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::patience::Patience;

/// The largest write that is kept back to leave with the next one: a head, not a body.
const HOLD_LIMIT: usize = 8 * 1024;

/// How much one read takes: a head and an answer of 16 KiB, sealed, in one call; or a piece of a long body.
const SMALL_READ: usize = 32 * 1024;
const LARGE_READ: usize = 64 * 1024;

/// How much of an early answer is kept while the request is still being written; the rest stays with the kernel.
const AHEAD_LIMIT: usize = 1024;

/// A stream that holds a head back until its body is written.
pub(crate) struct Wire {
    inner: Stream,
    held: BytesMut,
    /// Whether the next small write may be held: true at the start of each message.
    at_start: bool,
    written: u64,
    /// Whether this is the asking side, where an answer may arrive while a write is stuck.
    asks: bool,
    ahead: BytesMut,
    /// How long a read may be silent; `None`: somebody else watches.
    allowed: Option<Duration>,
    patience: Patience,
    filled_room: bool,
}

impl Wire {
    /// For the answering side: a head is held until the body or a flush.
    pub(crate) fn downstream(inner: Stream) -> Self {
        Self {
            inner,
            held: BytesMut::new(),
            at_start: true,
            written: 0,
            asks: false,
            ahead: BytesMut::new(),
            allowed: None,
            patience: Patience::default(),
            filled_room: false,
        }
    }

    /// For the asking side, which writes head and body together itself: nothing is held.
    pub(crate) fn upstream(inner: Stream) -> Self {
        Self { asks: true, ..Self::downstream(inner) }
    }

    /// Bytes handed to the connection below since this wire was made. Zero proves that nothing left.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// What arrived and was not taken yet. Asking side only.
    pub(crate) fn ahead(&mut self) -> &mut BytesMut {
        &mut self.ahead
    }

    /// Waits for more bytes and puts them behind those of [`Wire::ahead`]. `Ok(0)` is the end.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        // A read that filled its room is followed by a large one: a long body, not a small answer.
        let room = if self.filled_room { LARGE_READ } else { SMALL_READ };
        let before = self.ahead.len();
        self.ahead.reserve(room);
        let limit = self.ahead.capacity() - before;
        let taken = poll_fn(|cx| {
            let Self { inner, ahead, patience, allowed, .. } = self;
            let read = pin!(inner.read_buf(ahead)).poll(cx);
            match (*allowed, &read) {
                (None, _) => read,
                (Some(allowed), Poll::Pending) => {
                    ready!(patience.poll_over(cx, allowed));
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
                (Some(_), Poll::Ready(_)) => {
                    patience.heard();
                    read
                }
            }
        })
        .await?;
        self.filled_room = taken == limit;
        Ok(taken)
    }

    /// Whether the kernel has nothing to tell of the connection, neither bytes nor an end. The runtime that reads it
    /// learns of either only later. True where there is no kernel to ask.
    pub(crate) fn is_silent(&self) -> bool {
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        matches!(recv(self.inner.id() as RawFd, &mut [0], peek), Err(Errno::EAGAIN | Errno::ENOTSOCK))
    }

    /// From now on a read that is silent for longer fails with [`io::ErrorKind::TimedOut`].
    pub(crate) fn allow_silence(&mut self, allowed: Duration) {
        self.allowed = Some(allowed);
    }

    /// Makes it ready for the next request on the same connection.
    pub(crate) fn restart(&mut self) {
        self.written = 0;
        self.at_start = true;
        self.allowed = None;
        self.patience.heard();
        if self.ahead.capacity() > SMALL_READ {
            self.ahead = BytesMut::new();
        }
    }

    /// Ready when the peer of an asking side has answered, or ended, before it has taken the whole request. What it
    /// said is kept for the reader. Interim answers (1xx) are not waited for.
    pub(crate) fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.asks && self.ahead.len() < AHEAD_LIMIT {
            let mut bytes = [0; AHEAD_LIMIT];
            let mut buf = ReadBuf::new(&mut bytes[self.ahead.len()..]);
            if ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
            self.ahead.extend_from_slice(buf.filled());
            if begins_final_answer(&self.ahead) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// A write is stuck: look whether that is because the peer has already answered. Its end is for the write to find.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match self.poll_early(cx) {
            Poll::Ready(()) if !self.ahead.is_empty() => {
                Poll::Ready(io::Error::other("answered before the request was taken"))
            }
            _ => Poll::Pending,
        }
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let Poll::Ready(taken) = Pin::new(&mut self.inner).poll_write(cx, &self.held)? else {
                return self.poll_stuck(cx).map(Err);
            };
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += taken as u64;
            self.held.advance(taken);
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether something follows the interim answers that these bytes may begin with.
fn begins_final_answer(mut said: &[u8]) -> bool {
    const INTERIM: &[u8] = b"HTTP/1.1 1";
    while let Some(rest) = said.strip_prefix(INTERIM) {
        let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
        said = &rest[end + 4..];
    }
    // Fewer bytes than a status line's beginning tell nothing yet.
    !INTERIM.starts_with(said)
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.at_start && !this.asks && buf.len() <= HOLD_LIMIT {
            this.at_start = false;
            this.held.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        this.at_start = false;
        loop {
            if this.held.is_empty() {
                let Poll::Ready(taken) = Pin::new(&mut this.inner).poll_write(cx, buf)? else {
                    return this.poll_stuck(cx).map(Err);
                };
                this.written += taken as u64;
                return Poll::Ready(Ok(taken));
            }
            let slices = [IoSlice::new(&this.held), IoSlice::new(buf)];
            let Poll::Ready(taken) = Pin::new(&mut this.inner).poll_write_vectored(cx, &slices)? else {
                return this.poll_stuck(cx).map(Err);
            };
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.written += taken as u64;
            let of_held = taken.min(this.held.len());
            this.held.advance(of_held);
            if taken > of_held {
                return Poll::Ready(Ok(taken - of_held));
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_held(cx))?;
        let Poll::Ready(taken) = Pin::new(&mut this.inner).poll_write_vectored(cx, slices)? else {
            return this.poll_stuck(cx).map(Err);
        };
        this.written += taken as u64;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_held(cx))?;
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.at_start = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("held", &self.held.len()).field("written", &self.written).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Wire {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }
}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for Wire {}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_head_waits_for_its_body_and_nothing_is_counted_before_it_leaves() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut wire = Wire::downstream(Box::new(near));
        wire.write_all(b"head ").await.expect("held");
        assert_eq!(wire.written(), 0);
        wire.write_all(b"body").await.expect("written");
        wire.flush().await.expect("flushed");
        assert_eq!(wire.written(), 9);
        let mut read = [0; 9];
        far.read_exact(&mut read).await.expect("arrives");
        assert_eq!(&read, b"head body");
    }

    #[tokio::test]
    async fn an_answer_that_comes_while_the_body_is_stuck_ends_the_writing_and_can_be_read() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut wire = Wire::upstream(Box::new(near));
        far.write_all(b"HTTP/1.1 413 Too large").await.expect("sent");
        wire.write_all(&[b'b'; 9000]).await.expect_err("the peer has answered");
        assert_eq!(wire.ahead(), &b"HTTP/1.1 413 Too large"[..]);
    }

    #[test]
    fn interim_answers_are_told_from_the_final_one() {
        for (said, is_final) in [
            ("", false),
            ("HTTP/1.", false),
            ("HTTP/1.1 2", true),
            ("HTTP/1.1 100 Continue\r\n", false),
            ("HTTP/1.1 100 Continue\r\n\r\n", false),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 ", false),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413", true),
            ("HTTP/1.0 1", true),
            ("SSH-2.0", true),
        ] {
            assert_eq!(begins_final_answer(said.as_bytes()), is_final, "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_head_without_a_body_leaves_with_its_flush() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut wire = Wire::downstream(Box::new(near));
        wire.write_all(b"head").await.expect("held");
        wire.flush().await.expect("flushed");
        let mut read = [0; 4];
        far.read_exact(&mut read).await.expect("arrives");
        assert_eq!(&read, b"head");
    }

    #[tokio::test]
    async fn a_peer_that_takes_little_at_a_time_still_gets_every_byte_once() {
        let (near, mut far) = tokio::io::duplex(3);
        let mut wire = Wire::downstream(Box::new(near));
        let body = vec![b'b'; 20_000];
        let writer = async {
            wire.write_all(b"0123456789").await.expect("held");
            wire.write_all(&body).await.expect("written");
            wire.flush().await.expect("flushed");
            wire.written()
        };
        let reader = async {
            let mut all = vec![0; 20_010];
            far.read_exact(&mut all).await.expect("arrives");
            all
        };
        let (written, all) = tokio::join!(writer, reader);
        assert_eq!(written, 20_010);
        assert_eq!(&all[..10], b"0123456789");
        assert!(all[10..].iter().all(|&b| b == b'b'));
    }
}
