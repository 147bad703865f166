//! Reading an answer of the platform: its head, then its body as it arrives.
//!
//! httparse reads the lines; the framing of RFC 9112 section 6 is decided here. pingora's client session
//! does the same with two header maps, a copy and a 64 KiB buffer for each answer, which is a tenth of a
//! small call. What is malformed or framed in two ways is an error, never a guess.

use std::io;
use std::ops::Range;

use bytes::Buf;
use http::StatusCode;

use super::framing::{BadFraming, Framing, Next};
use super::headers::Lengths;
use super::wire::Wire;

/// Most fields and bytes of an answer's head.
const MAX_FIELDS: usize = 128;
const MAX_HEAD: usize = 256 * 1024;

/// How much one read takes: a head and an answer of 16 KiB, sealed, in one call; or a piece of a long body.
const SMALL_READ: usize = 32 * 1024;
const LARGE_READ: usize = 64 * 1024;

/// An answer whose head was read.
pub(crate) struct Answer {
    wire: Box<Wire>,
    head: Head,
    framing: Framing,
    /// Bytes of the wire's buffer that the last piece consists of.
    given: usize,
    keeps_alive: bool,
}

/// Status line and header fields.
pub(crate) struct Head {
    bytes: Vec<u8>,
    status: StatusCode,
    reason: Range<usize>,
    fields: Vec<(Range<usize>, Range<usize>)>,
    lengths: Lengths,
}

/// Why there is no answer, or not the whole of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendCause {
    /// The platform closed the connection.
    Closed,
    /// Silence for longer than the read timeout, or a write that did not finish.
    Timeout,
    /// What came back is not HTTP/1.x.
    Malformed,
}

impl Answer {
    /// Reads the head of the final answer; interim ones (1xx) are skipped. `bodyless` says that the request
    /// was HEAD; `spent` that the connection must not be used again.
    ///
    /// # Errors
    /// The connection ended, was silent for too long, or brought something that is not an answer.
    pub(crate) async fn read(mut wire: Box<Wire>, bodyless: bool, spent: bool) -> Result<Self, SendCause> {
        loop {
            let Some(head) = Head::parse(wire.ahead())? else {
                if wire.ahead().len() > MAX_HEAD {
                    return Err(SendCause::Malformed);
                }
                fill(&mut wire).await?;
                continue;
            };
            let (head, http11) = head;
            wire.ahead().advance(head.bytes.len());
            match head.status.as_u16() {
                // Nobody asked to switch protocols.
                101 => return Err(SendCause::Malformed),
                100..=199 => continue,
                _ => {}
            }
            let (framing, certain) = head.framing(bodyless, http11)?;
            let keeps_alive = !spent && certain && framing != Framing::UntilClose && head.keeps_alive(http11);
            return Ok(Self { wire, head, framing, given: 0, keeps_alive });
        }
    }

    /// Status and header fields, as the platform sent them.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// How long the body is, before any of it was taken: only where a length is what ends it, whatever else the head
    /// declares.
    pub(crate) fn body_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    /// The next piece of the body, `None` at its end. Never empty.
    ///
    /// # Errors
    /// The body ended early, was not framed as HTTP/1.1 says, or did not come in time.
    pub(crate) async fn piece(&mut self) -> Result<Option<&[u8]>, SendCause> {
        let given = std::mem::take(&mut self.given);
        self.wire.ahead().advance(given);
        loop {
            match self.framing.next(self.wire.ahead())? {
                Next::Data(ready) => {
                    self.given = ready;
                    return Ok(Some(&self.wire.ahead()[..ready]));
                }
                Next::End => return Ok(None),
                Next::More => {}
            }
            match fill(&mut self.wire).await {
                Ok(()) => {}
                Err(SendCause::Closed) if self.framing == Framing::UntilClose => {
                    self.framing = Framing::Done;
                    return Ok(None);
                }
                Err(cause) => return Err(cause),
            }
        }
    }

    /// Whether the whole body was given.
    pub(crate) fn is_done(&self) -> bool {
        self.framing.is_done()
    }

    /// The connection, if its answer was read whole and another request may follow.
    pub(crate) fn into_reusable(mut self) -> Option<Box<Wire>> {
        let given = self.given;
        self.wire.ahead().advance(given);
        (self.keeps_alive && self.is_done() && self.wire.ahead().is_empty()).then_some(self.wire)
    }
}

/// More bytes from the connection; its end is an error.
async fn fill(wire: &mut Wire) -> Result<(), SendCause> {
    // A read that filled its room is followed by a large one: a long body, not a small answer.
    let room = if wire.filled_room() { LARGE_READ } else { SMALL_READ };
    match wire.fill(room).await {
        Ok(0) => Err(SendCause::Closed),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(SendCause::Timeout),
        Err(_) => Err(SendCause::Closed),
    }
}

impl Head {
    /// A whole head at the start of `bytes`, and whether it says HTTP/1.1; `None` when more has to come.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, bool)>, SendCause> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut fields = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let length =
            match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields)
            {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(_) => return Err(SendCause::Malformed),
            };
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(SendCause::Malformed)?;
        let within = |part: &[u8]| {
            let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
            start..start + part.len()
        };
        let reason = parsed.reason.filter(|reason| !reason.is_empty()).map_or(0..0, |reason| within(reason.as_bytes()));
        let mut lengths = Lengths::default();
        let fields = parsed
            .headers
            .iter()
            .map(|field| {
                lengths.note(field.name.len());
                let value = if field.value.is_empty() { 0..0 } else { within(field.value) };
                (within(field.name.as_bytes()), value)
            })
            .collect();
        let http11 = parsed.version == Some(1);
        Ok(Some((Self { bytes: bytes[..length].to_vec(), status, reason, fields, lengths }, http11)))
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The reason phrase, `None` when there is none.
    pub(crate) fn reason(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes[self.reason.clone()]).ok().filter(|reason| !reason.is_empty())
    }

    /// Name and value of each field, in order, as spelled.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (&self.bytes[name.clone()], &self.bytes[value.clone()]))
    }

    /// The values of all fields of this name, whatever its spelling.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let is = move |known: &Range<usize>| self.bytes[known.clone()].eq_ignore_ascii_case(name.as_bytes());
        let fields = self.lengths.among(&self.fields, name.len()).iter();
        fields.filter(move |(known, _)| is(known)).map(|(_, value)| &self.bytes[value.clone()])
    }

    /// The first value of this name.
    pub(crate) fn find<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The declared length of the body, where there is one.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.find("content-length").and_then(length)
    }

    /// How the body ends (RFC 9112 section 6.3), and whether two servers would agree on it.
    fn framing(&self, bodyless: bool, http11: bool) -> Result<(Framing, bool), SendCause> {
        let mut lengths = self.all("content-length").flat_map(|value| value.split(|&b| b == b','));
        let declared = lengths.next().map(|first| length(first).ok_or(SendCause::Malformed)).transpose()?;
        if lengths.any(|other| length(other) != declared) {
            return Err(SendCause::Malformed);
        }
        let mut encodings = self.all("transfer-encoding");
        let encoding = encodings.next();
        if bodyless || self.status == StatusCode::NOT_MODIFIED {
            return Ok((Framing::Done, true));
        }
        if self.status == StatusCode::NO_CONTENT {
            // One that declares a body all the same may send it, and nobody could tell it from the next answer.
            return Ok((Framing::Done, encoding.is_none() && declared.is_none_or(|length| length == 0)));
        }
        match (encoding, declared) {
            (None, Some(length)) => Ok((Framing::Length(length), true)),
            (None, None) => Ok((Framing::UntilClose, true)),
            (Some(coding), _) if coding.eq_ignore_ascii_case(b"chunked") && encodings.next().is_none() && http11 => {
                Ok((Framing::CHUNKED, declared.is_none()))
            }
            (Some(_), _) => Err(SendCause::Malformed),
        }
    }

    /// Whether the platform keeps the connection (RFC 9112 section 9.3).
    fn keeps_alive(&self, http11: bool) -> bool {
        let says = |word: &str| {
            self.all("connection")
                .flat_map(|value| value.split(|&b| b == b','))
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        };
        !says("close") && (http11 || says("keep-alive"))
    }
}

/// One decimal number.
fn length(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl From<BadFraming> for SendCause {
    fn from(_: BadFraming) -> Self {
        Self::Malformed
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::http::line::Line;

    /// Status, body, and whether the connection can be used again; in fragments of every size.
    async fn check(sent: &str, bodyless: bool, expected: Result<(u16, &str, bool), SendCause>) {
        for fragment in [1, 2, 3, 7, sent.len().max(1)] {
            let (near, mut far) = tokio::io::duplex(fragment);
            let bytes = sent.as_bytes().to_vec();
            let platform = async move {
                let _ = far.write_all(&bytes).await;
            };
            let program = async {
                let mut answer =
                    Answer::read(Box::new(Wire::upstream(Line::Other(Box::new(near)))), bodyless, false).await?;
                let mut body = Vec::new();
                while let Some(piece) = answer.piece().await? {
                    assert!(!piece.is_empty());
                    body.extend_from_slice(piece);
                }
                let status = answer.head().status().as_u16();
                Ok((status, String::from_utf8(body).expect("text"), answer.into_reusable().is_some()))
            };
            let ((), read) = tokio::join!(platform, program);
            let expected = expected.map(|(status, body, reusable)| (status, body.to_owned(), reusable));
            assert_eq!(read, expected, "{sent:?} in fragments of {fragment}");
        }
    }

    #[tokio::test]
    async fn a_body_ends_where_its_framing_says() {
        let ok = "HTTP/1.1 200 OK\r\n";
        for (rest, body, reusable) in [
            ("Content-Length: 5\r\n\r\nhello", "hello", true),
            ("content-length: 0\r\n\r\n", "", true),
            ("Content-Length: 5, 5\r\n\r\nhello", "hello", true),
            ("Content-Length: 5\r\nConnection: close\r\n\r\nhello", "hello", false),
            ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", true),
            ("Transfer-Encoding: Chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: x\r\n\r\n", "hello", true),
            ("Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", false),
            ("\r\nhello", "hello", false),
        ] {
            check(&format!("{ok}{rest}"), false, Ok((200, body, reusable))).await;
        }
        check("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, Ok((200, "hi", false))).await;
        check("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", false, Ok((200, "hi", true)))
            .await;
    }

    #[tokio::test]
    async fn some_answers_have_no_body_whatever_they_declare() {
        check("HTTP/1.1 204 No Content\r\n\r\n", false, Ok((204, "", true))).await;
        check("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", false, Ok((204, "", false))).await;
        check("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, Ok((304, "", true))).await;
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, Ok((200, "", true))).await;
    }

    #[tokio::test]
    async fn a_connection_that_says_more_than_it_announced_is_not_used_again() {
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi, and more").await.expect("sent");
        let mut answer =
            Answer::read(Box::new(Wire::upstream(Line::Other(Box::new(near)))), false, false).await.expect("an answer");
        assert_eq!(answer.piece().await, Ok(Some(&b"hi"[..])));
        assert_eq!(answer.piece().await, Ok(None));
        assert!(answer.into_reusable().is_none());
    }

    #[tokio::test]
    async fn interim_answers_are_skipped() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        check(&format!("{interim}HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx"), false, Ok((201, "x", true)))
            .await;
    }

    #[tokio::test]
    async fn what_ends_early_or_can_be_read_in_two_ways_is_an_error() {
        for (sent, cause) in [
            ("", SendCause::Closed),
            ("HTTP/1.1 200 OK\r\nContent-Le", SendCause::Closed),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", SendCause::Closed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", SendCause::Closed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", SendCause::Closed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", SendCause::Malformed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", SendCause::Malformed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n\r\n\r\n", SendCause::Malformed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", SendCause::Malformed),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", SendCause::Malformed),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", SendCause::Malformed),
            ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", SendCause::Malformed),
            ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", SendCause::Malformed),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", SendCause::Malformed),
            ("SSH-2.0-OpenSSH\r\n", SendCause::Malformed),
        ] {
            check(sent, false, Err(cause)).await;
        }
    }
}
