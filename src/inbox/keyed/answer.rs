//! An answer as it is kept for the repeats of its call: its head as the program read it, and its body, opened.
//!
//! What belongs to one repeat alone (the request id, the limits it met, how the connection goes on) is not in it.

use bytes::Bytes;

/// Bytes before the lines of a head: the version of this form, the status, and how long the lines are.
const BEFORE: usize = 1 + 2 + 4;

/// The only form so far. Never change it: answers of before an update are read by it.
const FORM: u8 = 1;

/// The longest answer that is remembered, in bytes, its head included: answers to what creates something are some hundred
/// bytes, and a list of a thousand rejected numbers still fits.
const MOST: usize = 256 * 1024;

/// A whole answer.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Its status.
    pub status: u16,
    /// Status line and header lines, each with its end.
    pub lines: Bytes,
    /// Its body.
    pub body: Bytes,
}

impl KeptAnswer {
    /// How long a body may be beside a head of so many bytes.
    pub const fn room(lines: usize) -> usize {
        MOST.saturating_sub(BEFORE + lines)
    }

    /// The most that is kept of one answer, in bytes.
    pub(super) const fn most() -> usize {
        MOST
    }

    /// As it is sealed.
    pub(in crate::inbox) fn write(&self) -> Vec<u8> {
        let Self { status, lines, body } = self;
        let mut text = Vec::with_capacity(BEFORE + lines.len() + body.len());
        text.push(FORM);
        text.extend_from_slice(&status.to_be_bytes());
        // More than fits into four bytes is read from nobody.
        text.extend_from_slice(&u32::try_from(lines.len()).unwrap_or(u32::MAX).to_be_bytes());
        text.extend_from_slice(lines);
        text.extend_from_slice(body);
        text
    }

    /// As it was opened; `None` when it is none.
    pub(in crate::inbox) fn read(text: &Bytes) -> Option<Self> {
        let ([FORM, status @ ..], rest) = text.split_first_chunk::<3>()? else { return None };
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= rest.len())?;
        let (lines, body) = (text.slice(BEFORE..BEFORE + length), text.slice(BEFORE + length..));
        Some(Self { status: u16::from_be_bytes(*status), lines, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written_and_nothing_else_is() {
        let of = |lines: &'static [u8], body: &'static [u8]| KeptAnswer {
            status: 201,
            lines: Bytes::from_static(lines),
            body: Bytes::from_static(body),
        };
        for answer in [of(b"HTTP/1.1 201 Created\r\nA: b\r\n", b"{}"), of(b"", b"")] {
            assert!(KeptAnswer::read(&answer.write().into()) == Some(answer));
        }
        let written = of(b"HTTP/1.1 201 Created\r\n", b"").write();
        for spoilt in [&written[..0], &written[..6], &written[..20], &[&[2], &written[1..]].concat()] {
            assert!(KeptAnswer::read(&Bytes::copy_from_slice(spoilt)).is_none(), "{spoilt:?}");
        }
    }

    #[test]
    fn an_answer_that_has_room_is_as_long_as_one_may_be() {
        let lines = Bytes::from_static(&[b'-'; 1000]);
        let room = KeptAnswer::room(lines.len());
        assert!(room > 200 * 1024, "a list of a thousand rejected numbers fits: {room}");
        let longest = KeptAnswer { status: 200, lines, body: vec![0; room].into() };
        assert_eq!(longest.write().len(), KeptAnswer::most());
        assert_eq!(KeptAnswer::room(KeptAnswer::most()), 0);
    }
}
