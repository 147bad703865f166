//! Heads as bytes: what of them is read, and what is refused because two servers could read it in two ways. They come whole and
//! byte by byte; nothing here knows a connection.

use super::*;

/// Reads a head as it would from a connection, whole and byte by byte.
fn read(raw: &str) -> Result<Request, HeaderFault> {
    let mut request = Request::new();
    let mut end = HeadEnd::default();
    let cut = (0..raw.len()).find_map(|cut| end.find(&raw.as_bytes()[..cut]).transpose());
    let length = HeadEnd::default().find(raw.as_bytes()).transpose();
    match (cut, length) {
        // In pieces it may be refused earlier, and for the first thing that shows.
        (Some(Err(_)), Some(Err(malformed))) => return Err(malformed.into()),
        (Some(Err(_)), _) => {}
        (cut, length) => assert_eq!(cut.or(length), length, "{raw:?}"),
    }
    let length = length.unwrap_or(Ok(raw.len()))?;
    request.parse(&raw.as_bytes()[..length]).map(|()| request)
}

#[test]
fn what_two_servers_could_read_in_two_ways_is_refused() {
    let host = "GET / HTTP/1.1\r\nHost: a\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (start, rest, expected) in [
        ("", "GET / HTTP/1.1\r\n", Malformed::Host),
        (host, "host: b\r\n", Malformed::Host),
        ("", "GET / HTTP/1.1\r\nHost: a@b\r\n", Malformed::Host),
        ("", "GET / HTTP/1.1\r\nHost: a, b\r\n", Malformed::Host),
        ("", "GET / HTTP/1.1\r\nHost: a b\r\n", Malformed::Host),
        ("", "GET / HTTP/1.1\r\nHost: a/b\r\n", Malformed::Host),
        ("", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n", Malformed::Host),
        ("", "GET / HTTP/1.1\nHost: a\r\n", Malformed::BareLineFeed),
        (host, "X: b\n", Malformed::BareLineFeed),
        (host, "\n", Malformed::BareLineFeed),
        (post, "Content-Length: 3, 3\r\n", Malformed::Length),
        (post, "Content-Length: +3\r\n", Malformed::Length),
        (post, "Content-Length:\r\n", Malformed::Length),
        (post, "Content-Length: 3\r\ncontent-length: 3\r\n", Malformed::Length),
        (post, "Content-Length: 9999999999999999999\r\n", Malformed::Length),
        (post, "Transfer-Encoding: gzip, chunked\r\n", Malformed::Encoding),
        (post, "Transfer-Encoding: xchunked\r\n", Malformed::Encoding),
        (post, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Malformed::Encoding),
        ("", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", Malformed::Encoding),
        (post, "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Malformed::LengthAndEncoding),
        (post, "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", Malformed::LengthAndEncoding),
        ("", "OPTIONS * HTTP/1.1\r\nHost: a\r\n", Malformed::Target),
        ("", "GET /a?b#c HTTP/1.1\r\nHost: a\r\n", Malformed::Target),
        ("", "GET http://b/c HTTP/1.1\r\nHost: a\r\n", Malformed::Target),
        (host, "X: a\r\n b\r\n", Malformed::Syntax),
        (host, "X : a\r\n", Malformed::Syntax),
        (host, " X: a\r\n", Malformed::Syntax),
        (host, "X\r\n", Malformed::Syntax),
        (host, ": a\r\n", Malformed::Syntax),
        (host, "X: a\rb\r\n", Malformed::Syntax),
        (host, "X: a\0b\r\n", Malformed::Syntax),
        (host, "X: a\x7fb\r\n", Malformed::Syntax),
        ("", "GET / HTTP/1.1\rHost: a\r\n", Malformed::Syntax),
        ("", "GET / HTTP/1.2\r\nHost: a\r\n", Malformed::Syntax),
        ("", "GET / HTTP/0.9\r\nHost: a\r\n", Malformed::Syntax),
        ("", "GET  / HTTP/1.1\r\nHost: a\r\n", Malformed::Syntax),
        ("", "GET /a b HTTP/1.1\r\nHost: a\r\n", Malformed::Syntax),
        ("", "GET /\t HTTP/1.1\r\nHost: a\r\n", Malformed::Syntax),
        ("", "G@T / HTTP/1.1\r\nHost: a\r\n", Malformed::Syntax),
    ] {
        let raw = format!("{start}{rest}\r\n");
        assert_eq!(read(&raw).err(), Some(HeaderFault::Malformed(expected)), "{raw:?}");
    }
    let fields = |count: usize| format!("{host}{}\r\n", "X: y\r\n".repeat(count - 1));
    assert!(read(&fields(256)).is_ok());
    assert_eq!(read(&fields(257)).err(), Some(HeaderFault::TooLarge));
}

#[test]
fn what_can_be_read_in_one_way_is_read() {
    for (raw, path, query, length, keeps) in [
        ("GET / HTTP/1.1\r\nHost: a", "/", None, Length::None, true),
        ("GET / HTTP/1.0", "/", None, Length::None, false),
        ("GET //a?b=/c?d HTTP/1.0\r\nconnection: Keep-Alive", "//a", Some("b=/c?d"), Length::None, true),
        ("POST /a? HTTP/1.1\r\nhost:a\r\ncontent-length: 12 ", "/a", Some(""), Length::Known(12), true),
        ("POST / HTTP/1.1\r\nHost:\r\nTransfer-Encoding:\tChunked", "/", None, Length::Unknown, true),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00", "/", None, Length::None, true),
        ("GET http://a:80/b?c HTTP/1.1\r\nHost: a:80", "/b", Some("c"), Length::None, true),
        ("GET HTTP://a HTTP/1.0\r\nX: y", "/", None, Length::None, false),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443", "", None, Length::None, true),
        ("GET /?q=\u{e9} HTTP/1.1\r\nHost: a\r\nConnection: x, close", "/", Some("q=\u{e9}"), Length::None, false),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive", "/", None, Length::None, false),
    ] {
        let request = read(&format!("{raw}\r\n\r\nrest")).unwrap_or_else(|fault| panic!("{raw:?}: {fault:?}"));
        assert_eq!((request.path(), request.query(), request.length()), (path, query, length), "{raw:?}");
        assert_eq!((request.keeps_alive, request.size()), (keeps, raw.len() + 4), "{raw:?}");
    }
}

#[test]
fn fields_are_found_by_name_and_kept_as_spelled() {
    let request = read("GET / HTTP/1.1\r\nHost: g\r\nX-a:  1\t\r\nx-A: 2\r\nX-Empty:\r\n\r\n").expect("a request");
    let all: Vec<_> = request.headers().collect();
    assert_eq!(all, [(&b"Host"[..], &b"g"[..]), (b"X-a", b"1"), (b"x-A", b"2"), (b"X-Empty", b"")]);
    assert_eq!(request.header("X-A"), Some(&b"1"[..]));
    assert_eq!(request.header("x"), None);
    assert_eq!((request.only("x-a"), request.only("host")), (Err(Twice), Ok(Some(&b"g"[..]))));
}
