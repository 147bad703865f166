//! A request of the platform, and its answer on the wire: all that this room asks of the HTTP session.
//!
//! It decides nothing but how a body is read within its bounds and when a connection has to close.

use std::io;
use std::time::Duration;

use http::{Method, StatusCode};
use pingora_timeout::timeout;

use super::answer::Answer;
use crate::clock::{self, Instant};
use crate::http::drain::Drain;
use crate::http::head;
use crate::http::headers::Twice;
use crate::http::listener::After;
use crate::http::response::ResponseHead;
use crate::http::session::{BodyFault, Session};

/// One request whose header was read.
pub(super) struct Request<'a> {
    head: &'a head::Request,
    session: &'a mut Session,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// As declared, in bytes; 0 when there is none.
    Known(u64),
    /// Chunked.
    Unknown,
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It did not end in time.
    TimedOut,
    /// It ended early or is framed badly.
    Cut,
    /// The peer is gone.
    Gone,
}

impl<'a> Request<'a> {
    pub(super) fn new(head: &'a head::Request, session: &'a mut Session) -> Self {
        Self { head, session }
    }

    /// The header's length in bytes.
    pub(super) fn header_size(&self) -> usize {
        self.head.size()
    }

    pub(super) fn is_post(&self) -> bool {
        *self.head.method() == Method::POST
    }

    /// The path without its query.
    pub(super) fn path(&self) -> &str {
        self.head.path()
    }

    /// The one value of a header.
    ///
    /// # Errors
    /// It stands there twice.
    pub(super) fn only(&self, name: &'a str) -> Result<Option<&[u8]>, Twice> {
        self.head.only(name)
    }

    /// All values of a header, in order.
    pub(super) fn all(&self, name: &'a str) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.head.all(name)
    }

    pub(super) fn length(&self) -> Length {
        match self.head.length() {
            head::Length::None => Length::Known(0),
            head::Length::Known(bytes) => Length::Known(bytes),
            head::Length::Unknown => Length::Unknown,
        }
    }

    /// Gets ready to read the body; a peer that waits to be asked for it is asked.
    pub(super) async fn invite(&mut self, within: Duration) -> Result<(), Unread> {
        self.session.invite(within).await.map_err(|_| Unread::Gone)
    }

    /// The next piece of the body, `None` at its end.
    pub(super) async fn piece(&mut self, deadline: Instant) -> Result<Option<&[u8]>, Unread> {
        // What is left for the whole body is the time for the next piece, so that a trickle does not prolong it.
        let left = deadline.saturating_duration_since(clock::now());
        match timeout(left, self.session.read_body()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(BodyFault::TooSlow(_))) | Err(_) => Err(Unread::TimedOut),
            Ok(Err(BodyFault::Incomplete)) => Err(Unread::Cut),
            Ok(Err(BodyFault::Gone)) => Err(Unread::Gone),
        }
    }

    /// Whether its connection carries no other one after it.
    pub(super) fn is_last(&mut self, drain: &Drain) -> bool {
        self.session.is_last(drain)
    }

    /// Writes the answer. The connection carries another request when nothing of this one is left on it.
    pub(super) async fn answer(self, answer: &Answer, closes: bool) -> After {
        let read = self.session.is_body_done();
        if closes {
            self.session.close_after();
        }
        match (self.write(answer).await, read) {
            (Ok(false) | Err(_), _) => After::Cut,
            (Ok(true), true) => After::Keep,
            (Ok(true), false) => After::Linger,
        }
    }

    /// Whether there was an answer to write.
    async fn write(self, answer: &Answer) -> io::Result<bool> {
        let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut head = ResponseHead::new(status);
        let body = match answer {
            Answer::None => return Ok(false),
            Answer::Fixed(fixed) => {
                head.header(b"Content-Type", b"application/json");
                if let Some(seconds) = fixed.retry_after() {
                    head.header(b"Retry-After", itoa::Buffer::new().format(seconds).as_bytes());
                }
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    head.header(b"Allow", b"POST");
                }
                fixed.body().as_bytes()
            }
            Answer::Relayed(relayed) => {
                if let Some(content_type) = &relayed.content_type {
                    head.header(b"Content-Type", content_type);
                }
                if let Some(signed) = &relayed.signed {
                    head.header(b"Is-Encrypted", b"1").header(b"Signed", signed.as_bytes());
                }
                &relayed.body[..]
            }
        };
        self.session.answer(head, body).await?;
        Ok(true)
    }
}
