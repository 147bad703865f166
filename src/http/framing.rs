//! Where a body ends: by its length, by its chunks, or with the connection (RFC 9112 sections 6 and 7).
//!
//! It takes what stands between pieces of data out of a buffer and says how much data is at its start. Whatever two
//! readers could take for two things is an error: a line that ends in LF alone, a control character in a chunk's
//! extension, anything but a line end behind a chunk. It never reads, and never decides which framing a message has.

use std::io::Write;

use bytes::{Buf, BytesMut};
use memchr::memchr;

/// Longest line of a chunk's size with its extensions, in bytes.
const SIZE_LINE: usize = 8 * 1024;

/// Most bytes between the last chunk and the end of the trailers, which are dropped.
const TRAILERS: usize = 64 * 1024;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are to come.
    Length(u64),
    /// In chunks.
    Chunked(Chunk),
    /// Everything until the connection closes.
    UntilClose,
    /// The body was read.
    Done,
}

/// What of a chunk comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    Size,
    /// So many bytes of it.
    Data(u64),
    LineEnd,
    /// Lines behind the last chunk, of so many bytes at most.
    Trailers(usize),
}

/// What a buffer begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// So many bytes of the body, at least one. They count as taken.
    Data(usize),
    /// Nothing that can be used yet.
    More,
    /// The end of the body.
    End,
}

/// The body is not framed as HTTP/1.1 says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadFraming;

impl Framing {
    /// In chunks, from the first one on.
    pub(super) const CHUNKED: Self = Self::Chunked(Chunk::Size);

    /// Whether nothing of the body is left to be read.
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::Length(0))
    }

    /// What `ahead` begins with. Lines between chunks are taken out of it; data is left there.
    ///
    /// # Errors
    /// [`BadFraming`]; the end of this message cannot be found any more.
    pub(super) fn next(&mut self, ahead: &mut BytesMut) -> Result<Next, BadFraming> {
        loop {
            match self {
                Self::Done | Self::Length(0) => {
                    *self = Self::Done;
                    return Ok(Next::End);
                }
                Self::UntilClose if ahead.is_empty() => return Ok(Next::More),
                Self::UntilClose => return Ok(Next::Data(ahead.len())),
                Self::Length(left) => return Ok(take(left, ahead.len())),
                Self::Chunked(Chunk::Data(left)) => {
                    let next = take(left, ahead.len());
                    if *left == 0 {
                        *self = Self::Chunked(Chunk::LineEnd);
                    }
                    return Ok(next);
                }
                Self::Chunked(Chunk::LineEnd) => match &ahead[..] {
                    [b'\r', b'\n', ..] => {
                        ahead.advance(2);
                        *self = Self::CHUNKED;
                    }
                    [] | [b'\r'] => return Ok(Next::More),
                    _ => return Err(BadFraming),
                },
                Self::Chunked(Chunk::Size) => {
                    let Some((line, end)) = line(ahead, SIZE_LINE)? else { return Ok(Next::More) };
                    let size = size(line)?;
                    ahead.advance(end);
                    *self = Self::Chunked(if size == 0 { Chunk::Trailers(TRAILERS) } else { Chunk::Data(size) });
                }
                Self::Chunked(Chunk::Trailers(left)) => {
                    let Some((line, end)) = line(ahead, *left)? else { return Ok(Next::More) };
                    if line.is_empty() {
                        *self = Self::Done;
                    } else if is_field(line) {
                        *left -= end;
                    } else {
                        return Err(BadFraming);
                    }
                    ahead.advance(end);
                }
            }
        }
    }
}

fn take(left: &mut u64, buffered: usize) -> Next {
    let ready = usize::try_from(*left).unwrap_or(usize::MAX).min(buffered);
    *left -= ready as u64;
    if ready == 0 { Next::More } else { Next::Data(ready) }
}

/// The first line without its line end, and where the next one begins; `None` when it is not whole yet.
fn line(ahead: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, BadFraming> {
    let within = &ahead[..ahead.len().min(limit)];
    let Some(at) = memchr(b'\n', within) else {
        return if within.len() == limit { Err(BadFraming) } else { Ok(None) };
    };
    let line = within[..at].strip_suffix(b"\r").ok_or(BadFraming)?;
    if line.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(BadFraming);
    }
    Ok(Some((line, at + 1)))
}

/// Whether it may be a trailer: a name of RFC 9110 section 5.6.2 and a colon. Without them it may be where somebody else sees
/// the next message begin.
fn is_field(line: &[u8]) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    memchr(b':', line).is_some_and(|colon| colon > 0 && line[..colon].iter().all(is_of_name))
}

/// `1a`, `1a;name=value`: up to 16 hexadecimal digits, and an extension that nobody needs.
fn size(line: &[u8]) -> Result<u64, BadFraming> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    let rest = rest.trim_ascii_start();
    if digits == 0 || digits > 16 || !(rest.is_empty() || rest.starts_with(b";")) {
        return Err(BadFraming);
    }
    let digit = |byte: u8| u64::from(char::from(byte).to_digit(16).unwrap_or(0));
    Ok(size.iter().fold(0, |size, &byte| size << 4 | digit(byte)))
}

/// The line before a chunk of so many bytes: `1a` and a line end.
pub(super) fn size_line(line: &mut [u8; 18], number: usize) -> &[u8] {
    let mut rest = &mut line[..];
    // 16 digits and a line end always fit.
    let _ = write!(rest, "{number:x}\r\n");
    let left = rest.len();
    &line[..18 - left]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of these chunks and what stands behind it, however the bytes are cut; `None` when they are refused.
    fn check(sent: &[u8], expected: Option<(&str, &str)>) {
        for fragment in [1, 2, 3, 7, sent.len().max(1)] {
            let (mut framing, mut ahead, mut body) = (Framing::CHUNKED, BytesMut::new(), Vec::new());
            let mut pieces = sent.chunks(fragment);
            let read = loop {
                match framing.next(&mut ahead) {
                    Ok(Next::Data(taken)) => body.extend_from_slice(&ahead.split_to(taken)),
                    Ok(Next::End) => break true,
                    Ok(Next::More) => match pieces.next() {
                        Some(piece) => ahead.extend_from_slice(piece),
                        None => break false,
                    },
                    Err(BadFraming) => break false,
                }
            };
            let rest: Vec<u8> = ahead.iter().chain(pieces.flatten()).copied().collect();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let got = read.then(|| (text(&body), text(&rest)));
            let expected = expected.map(|(body, rest)| (body.to_owned(), rest.to_owned()));
            assert_eq!(got, expected, "{:?} in fragments of {fragment}", text(&sent[..sent.len().min(40)]));
        }
    }

    #[test]
    fn chunks_end_where_they_say() {
        for (sent, body, rest) in [
            ("0\r\n\r\n", "", ""),
            ("5\r\nhello\r\n0\r\n\r\nGET", "hello", "GET"),
            ("2;x=\"y;z\"\r\nhe\r\n03 \r\nllo\r\n000\r\nTrailer: x\r\nB: y\r\n\r\n", "hello", ""),
            ("A\r\n0123456789\r\nb ;x\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a", ""),
            ("0000000000000001\r\nx\r\n0\r\n\r\n", "x", ""),
        ] {
            check(sent.as_bytes(), Some((body, rest)));
        }
    }

    #[test]
    fn what_two_readers_could_take_for_two_things_is_refused() {
        let long = "x".repeat(SIZE_LINE);
        let trailers = format!("0\r\n{}", "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(TRAILERS / 32));
        for sent in [
            "x\r\n",
            "\r\n",
            ";x\r\n",
            " 3\r\nabc\r\n",
            "+3\r\nabc\r\n",
            "-3\r\nabc\r\n",
            "0x3\r\nabc\r\n",
            "3,\r\nabc\r\n",
            "3 3\r\nabc\r\n",
            "3_0\r\nabc\r\n",
            "3\nabc\r\n0\r\n\r\n",
            "3;a\nabc\r\n0\r\n\r\n",
            "3;a\r\r\nabc\r\n0\r\n\r\n",
            "3;a\0\r\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc0\r\n\r\n",
            "3\r\nabc\r0\r\n\r\n",
            "00000000000000003\r\nabc\r\n0\r\n\r\n",
            &format!("3;{long}\r\nabc\r\n0\r\n\r\n"),
            "0\r\nX: y\n\r\n",
            "0\r\n\n",
            "0\r\nX: \0\r\n\r\n",
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            "0\r\n X: y\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\n: y\r\n\r\n",
            &format!("{trailers}\r\n"),
        ] {
            check(sent.as_bytes(), None);
        }
    }

    #[test]
    fn a_length_is_counted_down_and_what_follows_is_left() {
        let (mut framing, mut ahead) = (Framing::Length(5), BytesMut::from("hel"));
        assert_eq!(framing.next(&mut ahead), Ok(Next::Data(3)));
        ahead.clear();
        assert_eq!(framing.next(&mut ahead), Ok(Next::More));
        ahead.extend_from_slice(b"lo, and more");
        assert_eq!(framing.next(&mut ahead), Ok(Next::Data(2)));
        assert!(framing.is_done());
        assert_eq!(framing.next(&mut ahead), Ok(Next::End));
    }
}
