//! One connection of a program, from the side that answers: requests in, one after another, and an answer to each.
//!
//! httparse reads the lines of a head (`head`), bodies end where RFC 9112 says (`framing`), and an answer's head leaves
//! with its body in one write. pingora's session does the same with three header maps, which was a fifth of a small
//! call. It keeps a connection only where the next request can be found on it, and never decides what is answered.

mod date;
pub(crate) mod handing;
mod welcome;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::Buf;
use http::{Method, StatusCode};

use date::Date;
use welcome::{Welcome, while_there_is_room};

use super::framing::{BadFraming, Framing, Next, size_line};
use super::head::{HeadEnd, HeaderFault, Length, Request};
use super::line::Line;
use super::newcomers::Newcomer;
pub(crate) use super::pace::Bound;
use super::pace::{self, Pace};
use super::patience::within;
use super::response::ResponseHead;
use super::wire::{JOINED, Wire};
use crate::clock::Instant;

/// How much one read takes at the start of a request: a head and a short body. After a request that filled it, a
/// head and a body of 16 KiB: programs tend to send what they sent before, and small buffers are cheaper.
const SMALL_READ: usize = 4 * 1024;
const LARGE_READ: usize = 24 * 1024;

/// The most that one read of a body takes, in bytes.
const BODY_READ: usize = 64 * 1024;

/// How long a connection that will close is still read, or a reset could take its last answer away (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// How often it is looked for that a program has gone whose body was not read yet.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The next request's head could not be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRequest {
    /// The connection ended, so that nobody is left to answer.
    Gone,
    /// It has to be refused.
    Fault(HeaderFault),
}

/// Why a request's body could not be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// It came too slowly, and met this bound.
    TooSlow(Bound),
    /// It ended early or was badly framed. The program may still read.
    Incomplete,
    /// The connection broke.
    Gone,
}

/// A connection and where on it we are.
pub(crate) struct Session {
    wire: Wire,
    write_timeout: Duration,
    /// How much the first read of the next request takes, in bytes.
    room: usize,
    /// What of the request's body is still to come.
    body: Framing,
    /// Bytes of the wire's buffer that the last piece of it consists of.
    given: usize,
    pace: Pace,
    welcome: Welcome,
    is_head: bool,
    is_http11: bool,
    waits_to_continue: bool,
    keeps_alive: bool,
    answer: Answering,
    /// Lines of the answer's head that did not leave yet.
    head: Vec<u8>,
    date: Date,
}

/// Where the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answering {
    /// Nothing of it was written.
    Before,
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    UntilClose,
    /// It has no body whatever its head says: to HEAD, or by its status.
    Bodyless,
    /// It left whole.
    Done,
    /// A write failed, or it was not what its head had said.
    Broken,
}

impl Session {
    /// `write_timeout` is for each [`Session::write`].
    pub(super) fn new(line: Line, write_timeout: Duration) -> Self {
        Self {
            wire: Wire::downstream(line),
            write_timeout,
            room: SMALL_READ,
            body: Framing::Done,
            given: 0,
            pace: Pace::new(write_timeout, pace::OF_REQUEST),
            welcome: Welcome::default(),
            is_head: false,
            is_http11: true,
            waits_to_continue: false,
            keeps_alive: false,
            answer: Answering::Before,
            head: Vec::new(),
            date: Date::default(),
        }
    }

    /// The same, as long as it is [`Welcome`]: TLS and silence count as parts of the first head.
    pub(super) fn welcome(self, first_by: Option<Instant>, newcomer: Option<Newcomer>) -> Self {
        Self { welcome: Welcome::new(first_by, newcomer), ..self }
    }

    /// Waits for the first byte of a request; false when the program ended or said nothing for so long.
    pub(super) async fn await_request(&mut self, allowed: Duration) -> bool {
        if !self.wire.ahead().is_empty() {
            // Answered from the buffer one after another, pipelined requests would keep others from their turn.
            tokio::task::consume_budget().await;
            return true;
        }
        self.wire.allow_silence(Some(self.welcome.left_of(allowed)));
        let read = self.welcome.idle(self.wire.fill(self.room)).await;
        matches!(read, Some(Ok(read)) if read > 0)
    }

    /// Reads the head of the next request. `allowed` is for all of it, `limit` bytes may wait for its end.
    pub(super) async fn read_request(
        &mut self,
        request: &mut Request,
        limit: usize,
        allowed: Duration,
    ) -> Result<(), NoRequest> {
        request.clear();
        self.wire.allow_silence(None);
        self.body = Framing::Done;
        (self.is_head, self.is_http11, self.waits_to_continue) = (false, true, false);
        (self.keeps_alive, self.answer) = (false, Answering::Before);
        self.room = if self.wire.ahead().len() >= SMALL_READ { LARGE_READ } else { SMALL_READ };

        let (left, mut newcomer) = (self.welcome.left_of(allowed), self.welcome.begin());
        let mut end = HeadEnd::default();
        let length = match self.find_end(&mut end)? {
            Some(length) => length,
            None => match while_there_is_room(newcomer.as_mut(), within(left, self.await_end(&mut end, limit))).await {
                Some(Ok(length)) => length?,
                Some(Err(_)) => return Err(HeaderFault::TooSlow.into()),
                None => return Err(NoRequest::Gone),
            },
        };
        let parsed = request.parse(&self.wire.ahead()[..length]);
        self.wire.ahead().advance(length);
        parsed?;
        (self.is_head, self.is_http11) = (*request.method() == Method::HEAD, request.is_http11);
        self.keeps_alive = request.keeps_alive;
        self.waits_to_continue = request.is_expecting_continue();
        self.body = match request.length() {
            Length::None => Framing::Done,
            Length::Known(bytes) => Framing::Length(bytes),
            Length::Unknown => Framing::CHUNKED,
        };
        // Until whoever reads the body says how long it may be silent.
        self.pace = Pace::new(allowed, pace::OF_REQUEST);
        Ok(())
    }

    /// Empty lines before a head belong to a body that is over (RFC 9112 section 2.2).
    fn find_end(&mut self, end: &mut HeadEnd) -> Result<Option<usize>, NoRequest> {
        while self.wire.ahead().starts_with(b"\r\n") {
            self.wire.ahead().advance(2);
            *end = HeadEnd::default();
        }
        Ok(end.find(self.wire.ahead()).map_err(HeaderFault::from)?)
    }

    async fn await_end(&mut self, end: &mut HeadEnd, limit: usize) -> Result<usize, NoRequest> {
        loop {
            if self.wire.ahead().len() > limit {
                return Err(HeaderFault::TooLarge.into());
            }
            match self.wire.fill(SMALL_READ).await {
                Ok(read) if read > 0 => {}
                _ => return Err(NoRequest::Gone),
            }
            if let Some(length) = self.find_end(end)? {
                return Ok(length);
            }
        }
    }

    /// Gets ready to read the body: each wait for it may be as long as `allowed` and all of them as [`Pace`] says, and a
    /// program that waits to be told to send it (RFC 9110 section 10.1.1) is told.
    ///
    /// # Errors
    /// The program is gone.
    pub(crate) async fn invite(&mut self, allowed: Duration) -> io::Result<()> {
        if self.is_body_done() {
            return Ok(());
        }
        self.wire.allow_silence(None);
        self.pace = Pace::new(allowed, pace::OF_REQUEST);
        if std::mem::take(&mut self.waits_to_continue) {
            self.send(&mut [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")]).await?;
        }
        Ok(())
    }

    /// The next piece of the request's body, `None` at its end. Never empty. Giving up this wait loses nothing.
    ///
    /// # Errors
    /// Why there will be no more of it.
    pub(crate) async fn read_body(&mut self) -> Result<Option<&[u8]>, BodyFault> {
        self.take_given();
        loop {
            match self.body.next(self.wire.ahead()) {
                Ok(Next::Data(ready)) => {
                    self.given = ready;
                    self.pace.note(ready);
                    return Ok(Some(&self.wire.ahead()[..ready]));
                }
                Ok(Next::End) => return Ok(None),
                Ok(Next::More) => {}
                Err(BadFraming) => return Err(BodyFault::Incomplete),
            }
            let room = match self.body {
                Framing::Length(left) => usize::try_from(left).unwrap_or(BODY_READ).clamp(SMALL_READ, BODY_READ),
                _ if self.wire.filled_room() => BODY_READ,
                _ => LARGE_READ,
            };
            self.wire.allow_next(self.pace.allowed(self.wire.waited()));
            match self.wire.fill(room).await {
                Ok(0) => return Err(BodyFault::Incomplete),
                Ok(_) => {}
                Err(late) if late.kind() == io::ErrorKind::TimedOut => return Err(BodyFault::TooSlow(self.pace.bound)),
                Err(_) => return Err(BodyFault::Gone),
            }
        }
    }

    fn take_given(&mut self) {
        let given = std::mem::take(&mut self.given);
        self.wire.ahead().advance(given);
    }

    /// Whether nothing of the request's body is left to be read.
    pub(crate) fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    /// Reads what is left of a body that nobody wants, if it has at most `most` bytes and comes within `allowed`. Whether
    /// nothing is left, so that another request can be found behind it.
    pub(crate) async fn discard_body(&mut self, most: u64, allowed: Duration) -> bool {
        match self.body {
            _ if self.is_body_done() => return true,
            // Whether the body of a program that waits comes at all is for the program to decide.
            Framing::Length(left) if left <= most && !self.waits_to_continue => {}
            _ => return false,
        }
        let read = async {
            loop {
                match self.read_body().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        };
        within(allowed, read).await.unwrap_or(false)
    }

    /// Ends when the program is gone, which cannot be seen before its body was read. What it sends meanwhile is kept: it
    /// is the next request.
    pub(crate) async fn gone(&mut self) {
        if !self.is_body_done() {
            return std::future::pending().await;
        }
        self.take_given();
        poll_fn(|cx| self.wire.poll_ended(cx)).await;
    }

    /// The same while the body may not have been read yet: the end that stands behind it is looked for now and then.
    pub(crate) async fn left(&mut self) {
        while !self.is_body_done() {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.wire.is_closed_by_peer() {
                return;
            }
        }
        self.gone().await;
    }

    /// Whether the head of a final answer was begun, so that another one would stand inside it.
    pub(crate) fn has_answered(&self) -> bool {
        self.answer != Answering::Before
    }

    /// The connection closes after this answer, and the answer says so.
    pub(crate) fn close_after(&mut self) {
        self.keeps_alive = false;
    }

    /// Answers at once with all of it.
    ///
    /// # Errors
    /// The program is gone, or takes too long.
    pub(crate) async fn answer(&mut self, head: ResponseHead, body: &[u8]) -> io::Result<()> {
        self.begin(head, Some(body.len() as u64));
        self.write(body).await?;
        self.finish().await
    }

    /// Begins an answer whose body has `length` bytes, or as many as come. Nothing leaves before [`Session::write`] or
    /// [`Session::finish`]. An answer without a body may still say how long it would be.
    pub(crate) fn begin(&mut self, head: ResponseHead, length: Option<u64>) {
        let status = head.status();
        self.head = head.into_bytes();
        self.answer = match length {
            _ if self.is_head => Answering::Bodyless,
            _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => Answering::Bodyless,
            Some(length) => Answering::Length(length),
            None if self.is_http11 => Answering::Chunked,
            None => Answering::UntilClose,
        };
        // What is left of the request cannot be told from the next one.
        self.keeps_alive &= self.is_body_done() && self.answer != Answering::UntilClose;
        let head = &mut self.head;
        if let Some(length) = length.filter(|_| status != StatusCode::NO_CONTENT) {
            head.extend_from_slice(b"Content-Length: ");
            head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            head.extend_from_slice(b"\r\n");
        } else if self.answer == Answering::Chunked {
            head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        head.extend_from_slice(b"Date: ");
        head.extend_from_slice(self.date.now());
        head.extend_from_slice(match self.keeps_alive {
            true => b"\r\nConnection: keep-alive\r\n\r\n",
            false => b"\r\nConnection: close\r\n\r\n",
        });
    }

    /// Writes a piece of the answer's body, and its head before the first one. An empty piece says nothing.
    ///
    /// # Errors
    /// The program is gone or takes too long, or this is more than the head had said.
    pub(crate) async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        if piece.is_empty() || self.answer == Answering::Bodyless {
            return Ok(());
        }
        let mut head = std::mem::take(&mut self.head);
        let mut size = [0; 18];
        let size = match &mut self.answer {
            Answering::Length(left) if piece.len() as u64 <= *left => {
                *left -= piece.len() as u64;
                &[][..]
            }
            Answering::UntilClose => &[],
            Answering::Chunked => size_line(&mut size, piece.len()),
            _ => return Err(self.broken()),
        };
        let end: &[u8] = if size.is_empty() { b"" } else { b"\r\n" };
        if !head.is_empty() && head.len() + piece.len() <= JOINED {
            for part in [size, piece, end] {
                head.extend_from_slice(part);
            }
            return self.send(&mut [IoSlice::new(&head)]).await;
        }
        self.send(&mut [&head, size, piece, end].map(IoSlice::new)).await
    }

    /// Ends the answer. Whatever did not leave yet leaves now.
    ///
    /// # Errors
    /// As [`Session::write`], or this is less than the head had said.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        let end: &[u8] = match self.answer {
            Answering::Length(0) | Answering::UntilClose | Answering::Bodyless => b"",
            Answering::Chunked => b"0\r\n\r\n",
            _ => return Err(self.broken()),
        };
        let head = std::mem::take(&mut self.head);
        if !head.is_empty() || !end.is_empty() {
            self.send(&mut [&head, end].map(IoSlice::new)).await?;
        }
        self.answer = Answering::Done;
        Ok(())
    }

    fn broken(&mut self) -> io::Error {
        self.answer = Answering::Broken;
        io::ErrorKind::InvalidInput.into()
    }

    async fn send(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let Self { wire, write_timeout, .. } = self;
        IoSlice::advance_slices(&mut slices, 0);
        let all = async {
            while !slices.is_empty() {
                wire.write_some(&mut slices).await?;
            }
            wire.flush().await
        };
        let sent = within(*write_timeout, all).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if sent.is_err() {
            self.answer = Answering::Broken;
            self.keeps_alive = false;
        }
        sent
    }

    /// Gets ready for the next request; false when there can be none.
    pub(super) fn next(&mut self) -> bool {
        let next = self.keeps_alive && self.answer == Answering::Done && self.is_body_done();
        if next {
            self.take_given();
            self.wire.restart();
        }
        next
    }

    /// Closes so that the last answer arrives.
    pub(super) async fn linger(self) {
        self.wire.linger(LINGER).await;
    }
}

impl From<HeaderFault> for NoRequest {
    fn from(fault: HeaderFault) -> Self {
        Self::Fault(fault)
    }
}

#[cfg(test)]
mod tests;
