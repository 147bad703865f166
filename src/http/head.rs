//! The checks a request header has to pass before anything acts on it.
//!
//! pingora's parser refuses most of what is malformed; what it lets through and two servers could read
//! in two ways is refused here, on the raw bytes (RFC 9112 sections 2.2, 3.2 and 6.1 to 6.3). It never
//! repairs anything.

use memchr::memchr;

/// Why a request header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A line ends in LF without CR (RFC 9112 section 2.2 lets a server accept it; proxies that do differ).
    BareLineFeed,
    /// `Content-Length` beside `Transfer-Encoding`: the classic way to smuggle a request.
    LengthAndEncoding,
    /// `Content-Length` that is a list, signed or given twice.
    Length,
    /// A `Transfer-Encoding` other than exactly `chunked`.
    Encoding,
    /// HTTP/1.1 without exactly one `Host` (RFC 9112 section 3.2).
    Host,
    /// A target that is neither a path nor an absolute form of one.
    Target,
    /// Anything the parser itself refused.
    Syntax,
}

impl Malformed {
    /// What is wrong and what to send instead.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a header line ends in a bare LF; end each with CR LF",
            Self::LengthAndEncoding => "Content-Length and Transfer-Encoding exclude each other; send one",
            Self::Length => "Content-Length has to be one decimal number, given once",
            Self::Encoding => "the only Transfer-Encoding understood is chunked",
            Self::Host => "HTTP/1.1 asks for exactly one Host header",
            Self::Target => {
                "the request target has to be a path that starts with a slash, without a fragment, in UTF-8"
            }
            Self::Syntax => "the request header is not HTTP/1.1",
        }
    }
}

/// Checks the raw bytes of a request header, request line and final empty line included.
pub(crate) fn check(raw: &[u8]) -> Result<(), Malformed> {
    let (mut length, mut encoding, mut host) = (0, 0, 0);
    let mut lines = Lines(raw);
    let request_line = lines.next().ok_or(Malformed::Syntax)??;
    check_target(request_line)?;
    for line in lines {
        let line = line?;
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => host += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                length += 1;
                // 18 digits always fit 64 bits; a longer number is no body anybody sends.
                if length > 1 || value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
                    return Err(Malformed::Length);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                encoding += 1;
                if encoding > 1 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed::Encoding);
                }
            }
            _ => {}
        }
    }
    if length > 0 && encoding > 0 {
        return Err(Malformed::LengthAndEncoding);
    }
    if host > 1 || (host == 0 && request_line.ends_with(b"HTTP/1.1")) {
        return Err(Malformed::Host);
    }
    Ok(())
}

/// The path and query of a checked target: of the absolute form (RFC 9112 section 3.2.2) what stands after the
/// authority, so that nothing acts on one spelling and forwards another.
pub(crate) fn path_and_query(target: &str) -> &str {
    if target.starts_with('/') {
        return target;
    }
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// Checks the first line, without its LF, for what is no request line of HTTP/1.x: other than two spaces, or a
/// control character. Bytes above ASCII pass; some programs leave them so in a query.
pub(crate) fn check_request_line(line: &[u8]) -> Result<(), Malformed> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let spaces = line.iter().filter(|&&byte| byte == b' ').count();
    if spaces != 2 || line.iter().any(u8::is_ascii_control) {
        return Err(Malformed::Syntax);
    }
    Ok(())
}

/// `METHOD /path HTTP/1.x`: only the origin form and the absolute form reach a platform behind a gateway.
fn check_target(request_line: &[u8]) -> Result<(), Malformed> {
    let target = request_line.split(|&b| b == b' ').nth(1).ok_or(Malformed::Syntax)?;
    let path = target.split(|&b| b == b'?').next().unwrap_or(target);
    let absolute = target.len() > 7 && target[..7].eq_ignore_ascii_case(b"http://");
    // A query right after the authority has no path that it belongs to.
    let without_path = absolute && path.len() < target.len() && !path[7..].contains(&b'/');
    // pingora would drop a fragment, and what was meant by it.
    if !(target.starts_with(b"/") || absolute) || target.contains(&b'#') || without_path {
        return Err(Malformed::Target);
    }
    Ok(())
}

/// Lines without their CR LF, up to the empty one; a line that ends in LF alone is an error.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr(b'\n', self.0)?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 1..];
        match line.split_last() {
            Some((b'\r', [])) => None,
            Some((b'\r', line)) => Some(Ok(line)),
            _ => {
                self.0 = &[];
                Some(Err(Malformed::BareLineFeed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_three_words() {
        for (line, ok) in [
            ("GET / HTTP/1.1\r", true),
            ("GET /?q=\u{e9} HTTP/1.1", true),
            ("GET /", false),
            ("GET  / HTTP/1.1", false),
            ("GET /a b HTTP/1.1", false),
            ("GET /\0 HTTP/1.1", false),
            ("GET /\t HTTP/1.1", false),
            ("GET /\u{7f} HTTP/1.1", false),
            ("GET /\r HTTP/1.1\r", false),
            ("", false),
        ] {
            assert_eq!(check_request_line(line.as_bytes()).is_ok(), ok, "{line:?}");
        }
    }

    #[test]
    fn what_two_servers_could_read_in_two_ways_is_refused() {
        for (raw, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(())),
            ("GET / HTTP/1.0\r\n\r\n", Ok(())),
            ("POST /a?b HTTP/1.1\r\nhost:a\r\ncontent-length: 12\r\n\r\n", Ok(())),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Ok(())),
            ("GET http://gateway/a HTTP/1.1\r\nHost: gateway\r\n\r\n", Ok(())),
            ("GET / HTTP/1.1\r\n\r\n", Err(Malformed::Host)),
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", Err(Malformed::Host)),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Err(Malformed::BareLineFeed)),
            ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", Err(Malformed::BareLineFeed)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", Err(Malformed::BareLineFeed)),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", Err(Malformed::Length)),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", Err(Malformed::Length)),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", Err(Malformed::Length)),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", Err(Malformed::Length)),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Err(Malformed::Encoding)),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", Err(Malformed::Encoding)),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
                Err(Malformed::LengthAndEncoding),
            ),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Err(Malformed::Target)),
            ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Err(Malformed::Target)),
            ("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", Err(Malformed::Target)),
            ("GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", Err(Malformed::Target)),
            ("GET http://gateway?a/b HTTP/1.1\r\nHost: gateway\r\n\r\n", Err(Malformed::Target)),
        ] {
            assert_eq!(check(raw.as_bytes()), expected, "{raw:?}");
        }
    }

    #[test]
    fn a_target_is_read_from_its_path_on() {
        for (target, expected) in [
            ("/a?b=/c", "/a?b=/c"),
            ("//a", "//a"),
            ("http://gateway/a?b", "/a?b"),
            ("HTTP://gateway:8080//a", "//a"),
            ("http://gateway", "/"),
            ("http://gateway/", "/"),
        ] {
            assert_eq!(path_and_query(target), expected, "{target}");
        }
    }
}
