//! Reading an answer of the platform: its head, then its body as it arrives.
//!
//! httparse reads the lines; the framing of RFC 9112 section 6 is decided here. pingora's client session
//! does the same with two header maps, a copy and a 64 KiB buffer for each answer, which is a tenth of a
//! small call. What is malformed or framed in two ways is an error, never a guess.

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Buf;
use http::StatusCode;
use memchr::memchr;

use super::framing::{BadFraming, Framing, Next};
use super::headers::Lengths;
use super::pace::{self, Pace};
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
    pace: Pace,
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
    /// Silence for longer than the read timeout, a head that was not whole by then, a body that trickles, or a write that
    /// did not finish.
    Timeout,
    /// What came back is not HTTP/1.x.
    Malformed,
}

impl Answer {
    /// Reads the head of the final answer; interim ones (1xx) are skipped. All of that has `allowed`, and so has each
    /// silence of the body. `bodyless` says that the request was HEAD; `spent` that the connection must not be used again.
    ///
    /// # Errors
    /// The connection ended, the head was not whole in time, or it brought something that is not an answer.
    pub(crate) async fn read(
        mut wire: Box<Wire>,
        allowed: Duration,
        bodyless: bool,
        spent: bool,
    ) -> Result<Self, SendCause> {
        wire.allow_silence(None);
        // Bytes of interim answers, and those of the present one that hold no line end that was not looked at.
        let (mut interim, mut searched) = (0, 0);
        loop {
            let Some((head, http11)) = Head::look(wire.ahead(), &mut searched)? else {
                if interim + wire.ahead().len() > MAX_HEAD {
                    return Err(SendCause::Malformed);
                }
                wire.allow_next(allowed.saturating_sub(wire.waited()));
                fill(&mut wire).await?;
                continue;
            };
            wire.ahead().advance(head.bytes.len());
            match head.status.as_u16() {
                // Nobody asked to switch protocols.
                101 => return Err(SendCause::Malformed),
                100..=199 => {
                    (interim, searched) = (interim + head.bytes.len(), 0);
                    continue;
                }
                _ => {}
            }
            wire.allow_silence(None);
            let (framing, certain) = head.framing(bodyless, http11)?;
            let keeps_alive = !spent && certain && framing != Framing::UntilClose && head.keeps_alive(http11);
            let pace = Pace::new(allowed, pace::OF_ANSWER * allowed);
            return Ok(Self { wire, head, framing, given: 0, pace, keeps_alive });
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
                    self.pace.note(ready);
                    return Ok(Some(&self.wire.ahead()[..ready]));
                }
                Next::End => return Ok(None),
                Next::More => {}
            }
            self.wire.allow_next(self.pace.allowed(self.wire.waited()));
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
    /// As [`Head::parse`], but that bytes which come one by one are not parsed again and again: only a line's end can be the
    /// head's. `searched` of them held none.
    fn look(bytes: &[u8], searched: &mut usize) -> Result<Option<(Self, bool)>, SendCause> {
        // What begins otherwise is no answer, and may never end a line.
        if bytes.first().is_some_and(|&byte| byte != b'H') {
            return Err(SendCause::Malformed);
        }
        let ends = memchr(b'\n', &bytes[*searched..]).is_some();
        *searched = bytes.len();
        if ends { Self::parse(bytes) } else { Ok(None) }
    }

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
mod tests;
