//! One connection, on which a message's head and body leave in one write.
//!
//! A small call spends most of its time in system calls, so whoever writes hands over head and body together, and
//! whoever reads takes as much as there is. It counts what was handed to the connection below, which is the proof that
//! a request never left, keeps what was read and not yet taken, and notices an answer that arrives while a request is
//! stuck. It knows nothing of HTTP but where an interim answer ends.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::line::Line;
use super::patience::{Patience, within};

/// How much of an early answer is kept while the request is still being written; the rest stays with the kernel.
const AHEAD_LIMIT: usize = 1024;

/// A message of up to so many bytes leaves as one buffer, into which its parts are copied: the kernel asks more for a list of
/// parts than these bytes cost. Larger ones leave as they lie.
pub(super) const JOINED: usize = 4 * 1024;

/// The most room for reading that is kept for the next message, in bytes.
const KEPT_ROOM: usize = 32 * 1024;

/// A stream, with what was read ahead.
pub(crate) struct Wire {
    inner: Line,
    written: u64,
    /// Whether this is the asking side, where an answer may arrive while a write is stuck.
    asks: bool,
    ahead: BytesMut,
    /// How long a read may be silent; `None`: somebody else watches.
    allowed: Option<Duration>,
    /// Whether somebody will ask how long it was silent.
    is_counted: bool,
    patience: Patience,
    filled_room: bool,
}

impl Wire {
    /// For the answering side.
    pub(crate) fn downstream(inner: Line) -> Self {
        Self {
            inner,
            written: 0,
            asks: false,
            ahead: BytesMut::new(),
            allowed: None,
            is_counted: false,
            patience: Patience::default(),
            filled_room: false,
        }
    }

    /// The connection and what was read ahead, for another process.
    pub(super) fn into_parts(self) -> (Line, BytesMut) {
        (self.inner, self.ahead)
    }

    /// What it runs over.
    pub(super) fn line(&self) -> &Line {
        &self.inner
    }

    /// For the asking side.
    pub(crate) fn upstream(inner: Line) -> Self {
        Self { asks: true, ..Self::downstream(inner) }
    }

    /// Bytes handed to the connection below since this wire was made or restarted. Zero proves that nothing left.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// What arrived and was not taken yet.
    pub(crate) fn ahead(&mut self) -> &mut BytesMut {
        &mut self.ahead
    }

    /// Waits for up to about `room` more bytes and puts them behind those of [`Wire::ahead`]. `Ok(0)` is the end.
    pub(crate) async fn fill(&mut self, room: usize) -> io::Result<usize> {
        let mut limit = 0;
        let taken = poll_fn(|cx| {
            let Self { inner, ahead, patience, allowed, is_counted, asks, .. } = self;
            ahead.reserve(room);
            limit = ahead.capacity() - ahead.len();
            let read = pin!(inner.read_buf(ahead)).poll(cx);
            if read.is_pending() && ahead.is_empty() && !*asks {
                // Ten thousand programs that say nothing keep no room for what they might say.
                *ahead = BytesMut::new();
            }
            match (*allowed, &read) {
                (None, _) => read,
                (Some(allowed), Poll::Pending) => {
                    ready!(patience.poll_over(cx, allowed));
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
                (Some(_), Poll::Ready(_)) => {
                    if *is_counted {
                        patience.heard()
                    } else {
                        patience.over()
                    }
                    read
                }
            }
        })
        .await?;
        self.filled_room = taken == limit;
        Ok(taken)
    }

    /// Whether the last read took all the room it had, so that there may be more.
    pub(crate) fn filled_room(&self) -> bool {
        self.filled_room
    }

    /// Whether nothing was heard of the peer: neither bytes nor its end. The runtime learns of either only when it looks
    /// again, so the kernel is asked too; true where there is no kernel to ask.
    pub(crate) fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        let read = Pin::new(&mut self.inner).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        read.is_pending()
            && matches!(recv(self.inner.descriptor(), &mut [0], peek), Err(Errno::EAGAIN | Errno::ENOTSOCK))
    }

    /// From now on a read that is silent for longer fails with [`io::ErrorKind::TimedOut`]; with `None` none does.
    pub(crate) fn allow_silence(&mut self, allowed: Option<Duration>) {
        (self.allowed, self.is_counted) = (allowed, false);
        self.patience.forget();
    }

    /// The same for the next read, as a part of what is waited for: see [`Wire::waited`].
    pub(super) fn allow_next(&mut self, allowed: Duration) {
        (self.allowed, self.is_counted) = (Some(allowed), true);
    }

    /// How long was waited in the reads that [`Wire::allow_next`] allowed since [`Wire::allow_silence`].
    pub(super) fn waited(&self) -> Duration {
        self.patience.waited()
    }

    /// Makes it ready for the next message on the same connection. What was read ahead stays.
    pub(crate) fn restart(&mut self) {
        self.written = 0;
        self.allow_silence(None);
        if self.ahead.is_empty() && self.ahead.capacity() > KEPT_ROOM {
            self.ahead = BytesMut::new();
        }
    }

    /// Whether the peer has closed its side, perhaps behind bytes that nobody has read yet.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        self.inner.is_closed_by_peer()
    }

    /// Ready when the peer that was asked nothing has ended the connection. What it said instead is kept, up to a bound;
    /// beyond that nobody looks.
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < AHEAD_LIMIT {
            // Small, because it is looked at often and says something seldom.
            let mut bytes = [0; 64];
            let mut buf = ReadBuf::new(&mut bytes);
            if ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
            self.ahead.extend_from_slice(buf.filled());
        }
        Poll::Pending
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

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // One buffer costs the kernel less than a list of one.
        let written = match slices {
            [one] => Pin::new(&mut self.inner).poll_write(cx, one)?,
            many => Pin::new(&mut self.inner).poll_write_vectored(cx, many)?,
        };
        let Poll::Ready(taken) = written else { return self.poll_stuck(cx).map(Err) };
        self.written += taken as u64;
        Poll::Ready(Ok(taken))
    }

    /// Writes some of it, at least a byte. Somebody else watches how long that takes.
    ///
    /// # Errors
    /// What the connection says.
    pub(crate) async fn write_some(&mut self, slices: &mut &mut [IoSlice<'_>]) -> io::Result<()> {
        match poll_fn(|cx| self.poll_write(cx, slices)).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            taken => {
                IoSlice::advance_slices(slices, taken);
                Ok(())
            }
        }
    }

    /// Sees to it that what was written leaves.
    ///
    /// # Errors
    /// What the connection says.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().await
    }

    /// Says that nothing more comes, and reads on until the peer has ended too or `allowed` is over, so that what was
    /// written last arrives before a reset could take it away (RFC 9112 section 9.6).
    pub(crate) async fn linger(mut self, allowed: Duration) {
        let rest = async {
            let _ = self.inner.shutdown().await;
            self.ahead.clear();
            while matches!(self.inner.read_buf(&mut self.ahead).await, Ok(read) if read > 0) {
                self.ahead.clear();
            }
        };
        let _ = within(allowed, rest).await;
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

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("ahead", &self.ahead.len()).field("written", &self.written).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn write(wire: &mut Wire, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            wire.write_some(&mut left).await?;
        }
        wire.flush().await
    }

    #[tokio::test]
    async fn what_left_is_counted() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut wire = Wire::downstream(Line::Other(Box::new(near)));
        assert_eq!(wire.written(), 0);
        write(&mut wire, &[b"head ", b"body"]).await.expect("written");
        assert_eq!(wire.written(), 9);
        let mut read = [0; 9];
        far.read_exact(&mut read).await.expect("arrives");
        assert_eq!(&read, b"head body");
    }

    #[tokio::test]
    async fn an_answer_that_comes_while_the_body_is_stuck_ends_the_writing_and_can_be_read() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut wire = Wire::upstream(Line::Other(Box::new(near)));
        far.write_all(b"HTTP/1.1 413 Too large").await.expect("sent");
        write(&mut wire, &[&[b'b'; 9000]]).await.expect_err("the peer has answered");
        assert_eq!(wire.ahead(), &b"HTTP/1.1 413 Too large"[..]);
    }

    #[tokio::test]
    async fn what_a_peer_says_while_nobody_asks_is_kept_and_its_end_is_noticed() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut wire = Wire::downstream(Line::Other(Box::new(near)));
        far.write_all(b"GET ").await.expect("sent");
        let mut context = Context::from_waker(Waker::noop());
        assert!(wire.poll_ended(&mut context).is_pending());
        assert_eq!(wire.ahead(), &b"GET "[..]);
        drop(far);
        assert!(wire.poll_ended(&mut context).is_ready());
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
    async fn a_peer_that_takes_little_at_a_time_still_gets_every_byte_once() {
        let (near, mut far) = tokio::io::duplex(3);
        let mut wire = Wire::downstream(Line::Other(Box::new(near)));
        let body = vec![b'b'; 20_000];
        let writer = async {
            write(&mut wire, &[b"0123456789", &body]).await.expect("written");
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
