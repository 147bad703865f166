//! A request of the platform, and its answer on the wire: all that this room asks of the HTTP session.
//!
//! It decides nothing but how a body is read within its bounds and when a connection has to close.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::v1::server::HttpSession;
use pingora_timeout::timeout;

use super::answer::Answer;
use crate::http::head::{self, Malformed};
use crate::http::headers::{self, Twice};
use crate::http::listener::After;

/// One request whose header was read.
pub(super) struct Request<'a>(&'a mut HttpSession);

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
    /// It is longer than allowed.
    TooLarge,
    /// It did not end in time.
    TimedOut,
    /// It ended early or is framed badly.
    Cut,
    /// The peer is gone.
    Gone,
}

impl<'a> Request<'a> {
    pub(super) fn new(session: &'a mut HttpSession) -> Self {
        Self(session)
    }

    /// The raw header's length in bytes, and whether it can be read in one way only.
    pub(super) fn check(&self) -> (usize, Result<(), Malformed>) {
        let raw = self.0.get_headers_raw_bytes();
        (raw.len(), head::check(&raw))
    }

    pub(super) fn is_post(&self) -> bool {
        self.0.req_header().method == Method::POST
    }

    /// The path without its query; `None` when it is no text.
    pub(super) fn path(&self) -> Option<&str> {
        let target = head::path_and_query(std::str::from_utf8(self.0.req_header().raw_path()).ok()?);
        target.split('?').next()
    }

    /// The one value of a header.
    ///
    /// # Errors
    /// It stands there twice.
    pub(super) fn only(&self, name: &str) -> Result<Option<&[u8]>, Twice> {
        Ok(headers::only(&self.0.req_header().headers, name)?.map(|value| value.as_bytes()))
    }

    /// All values of a header, in order.
    pub(super) fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.req_header().headers.get_all(name).iter().map(|value| value.as_bytes())
    }

    pub(super) fn length(&self) -> Length {
        let headers = &self.0.req_header().headers;
        if headers.contains_key(header::TRANSFER_ENCODING) {
            return Length::Unknown;
        }
        let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Length::Known(declared.unwrap_or(0))
    }

    /// Reads the whole body of at most `most` bytes within a time that begins now.
    pub(super) async fn collect(&mut self, most: usize, within: Duration) -> Result<Bytes, Unread> {
        // The deadline below is for the whole body; the session's own is for one read and would be another.
        self.0.set_read_timeout(Some(within));
        match timeout(within, self.read_body(most)).await {
            Ok(read) => read,
            Err(_) => Err(Unread::TimedOut),
        }
    }

    async fn read_body(&mut self, most: usize) -> Result<Bytes, Unread> {
        let mut body = match self.length() {
            Length::Known(bytes) => BytesMut::with_capacity(usize::try_from(bytes).unwrap_or(most).min(most)),
            Length::Unknown => BytesMut::new(),
        };
        if !self.0.is_body_done() && self.waits_to_be_asked() {
            self.0.set_close_on_response_before_downstream_finish(false);
            self.0.write_continue_response().await.map_err(|_| Unread::Gone)?;
            self.0.set_close_on_response_before_downstream_finish(true);
        }
        loop {
            let piece = self.0.read_body_bytes().await.map_err(|error| match error.etype() {
                pingora::ErrorType::ReadTimedout => Unread::TimedOut,
                pingora::ErrorType::ReadError => Unread::Gone,
                _ => Unread::Cut,
            })?;
            let Some(piece) = piece else { return Ok(body.freeze()) };
            if body.len() + piece.len() > most {
                return Err(Unread::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
    }

    /// Whether the body comes only after `100 Continue` (RFC 9110 section 10.1.1).
    fn waits_to_be_asked(&self) -> bool {
        let request = self.0.req_header();
        request.version == http::Version::HTTP_11
            && request
                .headers
                .get(header::EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    /// Writes the answer. The connection carries another request when nothing of this one is left on it.
    pub(super) async fn answer(self, answer: &Answer, closes: bool) -> After {
        let read = self.0.is_body_done();
        if closes || !read {
            self.0.set_server_keepalive(None);
        }
        match (self.write(answer).await, read) {
            (Ok(false) | Err(_), _) => After::Cut,
            (Ok(true), true) => After::Keep,
            (Ok(true), false) => After::Linger,
        }
    }

    /// Whether there was an answer to write.
    async fn write(self, answer: &Answer) -> pingora::Result<bool> {
        let mut head = ResponseHeader::build(answer.status(), Some(6))?;
        let body = match answer {
            Answer::None => return Ok(false),
            Answer::Fixed(fixed) => {
                head.append_header(header::CONTENT_TYPE, "application/json")?;
                if let Some(seconds) = fixed.retry_after() {
                    head.append_header(header::RETRY_AFTER, seconds)?;
                }
                if answer.status() == 405 {
                    head.append_header(header::ALLOW, "POST")?;
                }
                fixed.body().as_bytes()
            }
            Answer::Relayed(relayed) => {
                if let Some(content_type) = &relayed.content_type {
                    head.append_header(header::CONTENT_TYPE, content_type.as_slice())?;
                }
                if let Some(signed) = &relayed.signed {
                    head.append_header("Is-Encrypted", "1")?;
                    head.append_header("Signed", signed)?;
                }
                &relayed.body[..]
            }
        };
        let bodyless = matches!(answer.status(), 204 | 304);
        if !bodyless {
            head.append_header(header::CONTENT_LENGTH, body.len())?;
        }
        self.0.write_response_header(Box::new(head)).await?;
        if !bodyless && self.0.req_header().method != Method::HEAD {
            self.0.write_body(body).await?;
        }
        self.0.finish_body().await?;
        Ok(true)
    }
}
