//! The head of an answer to a program, as the bytes that leave.
//!
//! Written once, line by line. What says how the body ends, and whether the connection stays, is added by the session
//! that sends it. Names and values come from a parser or a constructor that admits no line end.

use http::StatusCode;

/// Room for the head of a usual answer, in bytes.
const USUAL: usize = 512;

/// A head without its last lines.
pub(crate) struct ResponseHead {
    status: StatusCode,
    bytes: Vec<u8>,
}

impl ResponseHead {
    /// The status line.
    pub(crate) fn new(status: StatusCode) -> Self {
        Self::with_reason(status, status.canonical_reason().unwrap_or_default())
    }

    /// The status line with a reason of its own.
    pub(crate) fn with_reason(status: StatusCode, reason: &str) -> Self {
        let mut head = Self { status, bytes: Vec::with_capacity(USUAL) };
        for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
            head.bytes.extend_from_slice(part.as_bytes());
        }
        head
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// One header line. Not for `Connection`, `Content-Length`, `Transfer-Encoding` and `Date`: those are the session's.
    pub(crate) fn header(&mut self, name: &[u8], value: &[u8]) -> &mut Self {
        debug_assert!(!name.contains(&b'\n') && !value.contains(&b'\n'));
        for part in [name, b": ", value, b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
        self
    }

    /// The lines so far, to be kept.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.bytes
    }

    /// The head of these lines, which were once [`ResponseHead::lines`].
    pub(crate) fn of_lines(status: StatusCode, lines: &[u8]) -> Self {
        Self { status, bytes: lines.to_vec() }
    }

    /// The lines so far.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_as_it_leaves() {
        let mut head = ResponseHead::new(StatusCode::NOT_FOUND);
        head.header(b"X-A", b"1").header(b"x-b", b"");
        assert_eq!(head.into_bytes(), b"HTTP/1.1 404 Not Found\r\nX-A: 1\r\nx-b: \r\n");
        let own = ResponseHead::with_reason(StatusCode::OK, "");
        assert_eq!((own.status(), own.into_bytes()), (StatusCode::OK, b"HTTP/1.1 200 \r\n".to_vec()));
    }
}
