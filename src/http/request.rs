//! The head of a request to the platform, as the bytes that leave.
//!
//! Written once and never changed: a replay sends the same bytes with another last line. Names and values
//! have passed a parser or a constructor that admits no line end; the target is checked here.

use bytes::{BufMut, Bytes, BytesMut};
use http::Method;

/// A head whose last lines (credentials, and the empty one) are still to come.
#[derive(Clone)]
pub(crate) struct RequestHead {
    bytes: Bytes,
    /// Whether the answer to it has no body whatever its header says (RFC 9110 section 9.3.2).
    is_head: bool,
}

/// Writes a [`RequestHead`] line by line.
pub(crate) struct RequestHeadWriter {
    bytes: BytesMut,
    is_head: bool,
}

/// The target holds a space, a control character or nothing at all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadTarget;

impl RequestHeadWriter {
    /// The request line. `query` follows the path after a `?`, as it is.
    ///
    /// # Errors
    /// [`BadTarget`]; such a target could be read as more than one request.
    pub(crate) fn try_new(method: &Method, path: &[u8], query: Option<&[u8]>) -> Result<Self, BadTarget> {
        // All bytes, whatever the first ones say: without an early end the compiler compares many at once.
        let bad = |bytes: &[u8]| bytes.iter().fold(false, |bad, &b| bad | (b <= b' ') | (b == 0x7f));
        if path.is_empty() || bad(path) || query.is_some_and(bad) {
            return Err(BadTarget);
        }
        let mut bytes = BytesMut::with_capacity(512 + path.len() + query.map_or(0, <[u8]>::len));
        bytes.put_slice(method.as_str().as_bytes());
        bytes.put_u8(b' ');
        bytes.put_slice(path);
        if let Some(query) = query {
            bytes.put_u8(b'?');
            bytes.put_slice(query);
        }
        bytes.put_slice(b" HTTP/1.1\r\n");
        Ok(Self { bytes, is_head: *method == Method::HEAD })
    }

    /// One header line.
    pub(crate) fn header(&mut self, name: &[u8], value: &[u8]) -> &mut Self {
        debug_assert!(!name.contains(&b'\n') && !value.contains(&b'\n'));
        self.bytes.put_slice(name);
        self.bytes.put_slice(b": ");
        self.bytes.put_slice(value);
        self.bytes.put_slice(b"\r\n");
        self
    }

    /// `Content-Length`.
    pub(crate) fn content_length(&mut self, length: u64) -> &mut Self {
        self.header(b"Content-Length", itoa::Buffer::new().format(length).as_bytes())
    }

    /// Nothing but the last lines may follow.
    pub(crate) fn finish(self) -> RequestHead {
        RequestHead { bytes: self.bytes.freeze(), is_head: self.is_head }
    }
}

impl RequestHead {
    /// The bytes, without the last lines.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it asks for a head only.
    pub(crate) fn is_head(&self) -> bool {
        self.is_head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_as_it_leaves() {
        let mut head = RequestHeadWriter::try_new(&Method::GET, b"/a", Some(b"q+/=")).expect("a target");
        head.header(b"Host", b"platform").content_length(12);
        assert_eq!(head.finish().as_bytes(), b"GET /a?q+/= HTTP/1.1\r\nHost: platform\r\nContent-Length: 12\r\n");
    }

    #[test]
    fn a_target_that_could_end_the_line_is_refused() {
        for (path, query) in [("", None), ("/a b", None), ("/a\r\nX:", None), ("/a", Some("q\n")), ("/a\x7f", None)] {
            let head = RequestHeadWriter::try_new(&Method::GET, path.as_bytes(), query.map(str::as_bytes));
            assert_eq!(head.err(), Some(BadTarget), "{path:?} {query:?}");
        }
        for byte in 0..=u8::MAX {
            let is_bad = RequestHeadWriter::try_new(&Method::GET, &[b'/', byte], None).is_err();
            assert_eq!(is_bad, matches!(byte, 0..=b' ' | 0x7f), "{byte:#x}");
        }
    }
}
