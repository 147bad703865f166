//! Requests that two servers have been known to read in two ways, and the one way in which the gateway reads each.
//!
//! `{path}` is a path that leads somewhere on both listeners, `{body}` nine bytes of JSON that name the case. Behind each
//! request stands another one: see `smuggling`.

use std::fmt::Write as _;

/// The one reading of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Refused with this word, and nothing behind it is read.
    Refused(&'static str),
    /// A POST of `{body}`, which passes with these lines beside those that the gateway writes. What follows is the next.
    Taken(&'static str),
    /// The same, but that the connection ends with it.
    Last(&'static str),
    /// A request without a body, of this method and target, which only the outbound listener serves. What follows is the
    /// next.
    Asked(&'static str),
    /// A method that is refused with 405; it has no body, so what follows is the next.
    Method,
}

use Reading::{Asked, Last, Method, Refused, Taken};

/// The section of RFC 9112, or of RFC 9110 where that is said; what is sent; and its reading.
pub(super) type Case = (&'static str, String, Reading);

const BAD: Reading = Refused("bad_request");
const CUT: Reading = Refused("body_incomplete");
const LARGE: Reading = Refused("header_too_large");
const PLAIN: Reading = Taken("");

/// How a body's length may be written: lines of a POST of `{body}`.
const LENGTHS: &[(&str, &str, Reading)] = &[
    // The plain one, and spellings of it that say the same.
    ("6.2", "Content-Length: 9", PLAIN),
    ("5.1", "content-LENGTH:9", PLAIN),
    ("5.1", "Content-Length: \t9 \t", PLAIN),
    ("9110 8.6", "Content-Length: 000000000000000009", PLAIN),
    // Twice, as a list, and beside Transfer-Encoding: the beginning of all smuggling.
    ("6.3 (5)", "Content-Length: 9\r\nContent-Length: 9", BAD),
    ("6.3 (5)", "Content-Length: 9\r\nContent-Length: 0", BAD),
    ("6.3 (5)", "Content-Length: 0\r\ncontent-length: 9", BAD),
    ("6.3 (5)", "Content-Length: 9, 9", BAD),
    ("6.3 (5)", "Content-Length: 9,", BAD),
    ("6.3 (5)", "Content-Length: 0, 9", BAD),
    ("6.3 (3)", "Content-Length: 9\r\nTransfer-Encoding: chunked", BAD),
    ("6.3 (3)", "Transfer-Encoding: chunked\r\nContent-Length: 9", BAD),
    ("6.3 (3)", "Transfer-Encoding: chunked\r\nContent-Length: 0", BAD),
    ("6.3 (3)", "Content-Length: 0\r\nX: y\r\nTransfer-Encoding: chunked", BAD),
    // Numbers that one reader takes and another does not.
    ("9110 8.6", "Content-Length: +9", BAD),
    ("9110 8.6", "Content-Length: -9", BAD),
    ("9110 8.6", "Content-Length: 0x9", BAD),
    ("9110 8.6", "Content-Length: 9.0", BAD),
    ("9110 8.6", "Content-Length: 9e0", BAD),
    ("9110 8.6", "Content-Length: 1_0", BAD),
    ("9110 8.6", "Content-Length: 9 9", BAD),
    ("9110 8.6", "Content-Length: 9;", BAD),
    ("9110 8.6", "Content-Length: \"9\"", BAD),
    ("9110 8.6", "Content-Length: nine", BAD),
    ("9110 8.6", "Content-Length: \u{ff19}", BAD),
    ("9110 8.6", "Content-Length:", BAD),
    ("9110 8.6", "Content-Length: 0000000000000000009", BAD),
    ("9110 8.6", "Content-Length: 18446744073709551625", BAD),
    ("9110 8.6", "Content-Length: 4294967305000000000000", BAD),
    // Codings that hide the word, or mean another one.
    ("6.1", "Transfer-Encoding : chunked", BAD),
    ("6.1", "Transfer-Encoding:\u{b}chunked", BAD),
    ("6.1", "Transfer-Encoding: \u{c}chunked", BAD),
    ("6.1", "Transfer-Encoding: chunked\u{b}", BAD),
    ("6.1", "Transfer-Encoding: xchunked", BAD),
    ("6.1", "Transfer-Encoding: chunke", BAD),
    ("6.1", "Transfer-Encoding: chunked, identity", BAD),
    ("6.1", "Transfer-Encoding: identity, chunked", BAD),
    ("6.1", "Transfer-Encoding: chunked, chunked", BAD),
    ("6.1", "Transfer-Encoding: , chunked", BAD),
    ("6.1", "Transfer-Encoding: chunked,", BAD),
    ("6.1", "Transfer-Encoding: gzip, chunked", BAD),
    ("6.1", "Transfer-Encoding: chunked; q=0", BAD),
    ("6.1", "Transfer-Encoding: \"chunked\"", BAD),
    ("6.1", "Transfer-Encoding: 'chunked'", BAD),
    ("6.1", "Transfer-Encoding: ch\u{17f}nked", BAD),
    ("6.1", "Transfer-Encoding: identity", BAD),
    ("6.1", "Transfer-Encoding:", BAD),
    ("6.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BAD),
    ("6.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", BAD),
    ("6.1", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked", BAD),
    ("6.1", "Content-Length: 9\r\nTransfer-Encoding: x", BAD),
    ("6.1", "Content-Length: 9\r\ntransfer-encoding: Identity", BAD),
    // Lines that one reader joins, and names that one reader takes for another's.
    ("5.2", "Content-Length: 9\r\n Transfer-Encoding: chunked", BAD),
    ("5.2", "Content-Length: 9\r\n\tX: y", BAD),
    ("5.2", "Transfer-Encoding:\r\n chunked", BAD),
    ("5.2", " Content-Length: 0\r\nContent-Length: 9", BAD),
    ("5.1", "Content-Length : 0\r\nContent-Length: 9", BAD),
    ("5.1", "Content-Length\t: 9", BAD),
    ("5", "Content-Length: 9\r\nTransfer-Encoding\u{1}: chunked", BAD),
    ("5", "Content-Length: 9\r\n\0Transfer-Encoding: chunked", BAD),
    ("5", "Content-Length: 9\r\n: chunked", BAD),
    ("5", "Content-Length: 9\r\nTransfer-Encoding", BAD),
    ("5", "Content-Length: 9\r\nTransfer-Encoding;: chunked", BAD),
    ("5", "Content-Length: 9\r\n\u{a0}Transfer-Encoding: chunked", BAD),
    ("9110 5.1", "Content-Length: 9\r\nContent_Length: 0", PLAIN),
    ("9110 5.1", "Content-Length: 9\r\nTransfer_Encoding: chunked", PLAIN),
    ("9110 5.1", "Content-Length: 9\r\nX-Content-Length: 0", Taken("X-Content-Length: 0\r\n")),
    ("9110 5.1", "Content-Length: 9\r\nContent-Length-: 0", Taken("Content-Length-: 0\r\n")),
    // Line ends that one reader sees and another does not.
    ("2.2", "Content-Length: 9\nTransfer-Encoding: chunked", BAD),
    ("2.2", "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 9", BAD),
    ("2.2", "Content-Length: 9\r\nX: y\r\rTransfer-Encoding: chunked", BAD),
    ("2.2", "X: y\n\r\nContent-Length: 9", BAD),
    ("2.2", "X: y\r\n\nContent-Length: 9", BAD),
    ("9110 5.5", "X: y\0Transfer-Encoding: chunked\r\nContent-Length: 9", BAD),
    // What a hop says of itself moves nothing of the message.
    ("9110 7.6.1", "Connection: Content-Length\r\nContent-Length: 9", PLAIN),
    ("9110 7.6.1", "Connection: keep-alive, Host, Authorization\r\nContent-Length: 9", PLAIN),
    ("9110 7.6.1", "Connection: close\r\nContent-Length: 9", Last("")),
    ("9110 7.6.1", "Proxy-Connection: close\r\nKeep-Alive: max=1\r\nContent-Length: 9", PLAIN),
    ("9110 10.1.4", "TE: chunked, trailers\r\nTrailer: Content-Length\r\nContent-Length: 9", PLAIN),
    (
        "9110 7.8",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 9",
        PLAIN,
    ),
    ("9110 10.1.1", "Expect: 100-continue\r\nContent-Length: 9", PLAIN),
    ("9110 10.1.1", "Expect: 200-ok\r\nContent-Length: 9", PLAIN),
    // One host, and it is nobody's who asks.
    ("3.2", "Host: g\r\nContent-Length: 9", BAD),
    ("3.2", "host: other\r\nContent-Length: 9", BAD),
    ("3.2", "X-Forwarded-Host: other\r\nForwarded: host=other\r\nContent-Length: 9", PLAIN),
];

/// What `Transfer-Encoding: chunked` brings.
const CHUNKS: &[(&str, &str, Reading)] = &[
    ("7.1", "9\r\n{body}\r\n0\r\n\r\n", PLAIN),
    ("7.1", "09\r\n{body}\r\n000\r\n\r\n", PLAIN),
    ("7.1", "0000000000000009\r\n{body}\r\n0\r\n\r\n", PLAIN),
    ("7.1.1", "9;a=b;c=\"d;\"\r\n{body}\r\n0;x\r\n\r\n", PLAIN),
    ("7.1.1", "9 \t; a = b\r\n{body}\r\n0\r\n\r\n", PLAIN),
    ("7.1.2", "9\r\n{body}\r\n0\r\nContent-Length: 0\r\nHost: other\r\n\r\n", PLAIN),
    ("7.1.2", "9\r\n{body}\r\n0\r\nTransfer-Encoding: chunked\r\nAuthorization: x\r\n\r\n", PLAIN),
    // Sizes that one reader takes for less.
    ("7.1", "-9\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "+9\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "0x9\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "9h\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "9 9\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "0_9\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", " 9\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "\r\n9\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", ";a\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "10000000000000009\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "00000000000000009\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "ffffffffffffffff\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "8000000000000009\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "100000009\r\n{body}\r\n0\r\n\r\n", CUT),
    // Line ends of chunks.
    ("7.1", "9\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "9\r{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "9\r\n{body}\n0\r\n\r\n", CUT),
    ("7.1", "9\r\n{body}\r0\r\n\r\n", CUT),
    ("7.1", "9\r\n{body}0\r\n\r\n", CUT),
    ("7.1", "9\r\n{body}XX0\r\n\r\n", CUT),
    ("7.1", "9\r\n{body}\r\n0\n\r\n", CUT),
    ("7.1", "9\r\n{body}\r\n0\r\n\n", CUT),
    ("7.1", "9\r\n{body}\r\n0\r\n\r", CUT),
    ("7.1", "9\r\n{body}\r\n0\r\n", CUT),
    ("7.1", "9\r\n{body}\r\n", CUT),
    ("7.1", "8\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1", "a\r\n{body}\r\n0\r\n\r\n", CUT),
    // Extensions and trailers that one reader ends elsewhere.
    ("7.1.1", "9;a\nb\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1.1", "9;a\rb\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1.1", "9;a\r\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1.1", "9;a\0\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1.1", "9,a\r\n{body}\r\n0\r\n\r\n", CUT),
    ("7.1.2", "9\r\n{body}\r\n0\r\nX: y\n\r\n", CUT),
    ("7.1.2", "9\r\n{body}\r\n0\r\nX: y\rZ\r\n\r\n", CUT),
    ("7.1.2", "9\r\n{body}\r\n0\r\nX: \0\r\n\r\n", CUT),
    ("7.1.2", "9\r\n{body}\r\n0\r\nno colon\r\n\r\n", CUT),
    ("7.1.2", "9\r\n{body}\r\n0\r\n X: y\r\n\r\n", CUT),
    ("7.1.2", "9\r\n{body}\r\n0\r\nX : y\r\n\r\n", CUT),
    ("7.1.2", "9\r\n{body}\r\n0\r\n: y\r\n\r\n", CUT),
];

/// Whole requests: their first lines, their versions, and what is none. `{rest}` is Content-Length, the empty line and
/// `{body}`.
const REQUESTS: &[(&str, &str, Reading)] = &[
    ("2.2", "\r\n\r\nPOST {path} HTTP/1.1\r\nHost: g\r\n{rest}", PLAIN),
    ("2.2", "\nPOST {path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("2.2", "\rPOST {path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("2.2", "\r\n POST {path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("2.2", "POST {path} HTTP/1.1\nHost: g\r\n{rest}", BAD),
    ("2.2", "POST {path} HTTP/1.1\rHost: g\r\n{rest}", BAD),
    ("2.2", "POST {path} HTTP/1.1\r\n X: y\r\nHost: g\r\n{rest}", BAD),
    // Request lines.
    ("3", "POST  {path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3", "POST {path}  HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3", "POST {path} HTTP/1.1 \r\nHost: g\r\n{rest}", BAD),
    ("3", "POST\t{path}\tHTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3", "POST {path} x HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3", "POST {path}\r\nHost: g\r\n{rest}", BAD),
    ("3", "POST HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3", "{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.1", "PO ST {path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.1", "PO\0ST {path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.1", "P\u{d6}ST {path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("4", "HTTP/1.1 200 OK\r\nHost: g\r\n{rest}", BAD),
    // Targets.
    ("3.2.1", "GET /a/../b?c=/d?e HTTP/1.1\r\nHost: g\r\n\r\n", Asked("GET /a/../b?c=/d?e")),
    ("3.2.1", "GET //a/%2e%2e/%00 HTTP/1.1\r\nHost: g\r\n\r\n", Asked("GET //a/%2e%2e/%00")),
    ("3.2.1", "GET /\u{fc} HTTP/1.1\r\nHost: g\r\n\r\n", Asked("GET /\u{fc}")),
    ("3.2.1", "POST {path}#x HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.1", "POST {path}?x#y HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.1", "POST {path}\0 HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.1", "POST {path}\u{1} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.1", "POST {path}\u{7f} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.1", "POST {path}\r HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.1", "POST x{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.1", "POST \\x{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.2", "POST http://g{path} HTTP/1.1\r\nHost: g\r\n{rest}", PLAIN),
    ("3.2.2", "POST HTTP://g:80{path} HTTP/1.1\r\nHost: g:80\r\n{rest}", PLAIN),
    ("3.2.2", "POST http://other{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.2", "POST http://g:80{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.2", "POST http://user@g{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.2", "POST http://g@other{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.2", "POST http://g\\{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.2", "POST https://g{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.2", "POST http:{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.2", "POST http://{path} HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.3", "POST g:80 HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("3.2.3", "CONNECT g:80 HTTP/1.1\r\nHost: g:80\r\n\r\n", Method),
    ("3.2.3", "CONNECT other:80 HTTP/1.1\r\nHost: g:80\r\n\r\n", BAD),
    ("3.2.3", "CONNECT {path} HTTP/1.1\r\nHost: g\r\n\r\n", BAD),
    ("3.2.3", "CONNECT http://g:80/ HTTP/1.1\r\nHost: g:80\r\n\r\n", BAD),
    ("3.2.4", "OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n", BAD),
    ("3.2.4", "POST * HTTP/1.1\r\nHost: g\r\n{rest}", BAD),
    ("9110 9.3.8", "TRACE / HTTP/1.1\r\nHost: g\r\n\r\n", Method),
    // Hosts.
    ("3.2", "POST {path} HTTP/1.1\r\n{rest}", BAD),
    ("3.2", "POST {path} HTTP/1.1\r\nX-Host: g\r\n{rest}", BAD),
    ("3.2", "POST {path} HTTP/1.1\r\nHost: user@g\r\n{rest}", BAD),
    ("3.2", "POST {path} HTTP/1.1\r\nHost: g, h\r\n{rest}", BAD),
    ("3.2", "POST {path} HTTP/1.1\r\nHost: g h\r\n{rest}", BAD),
    ("3.2", "POST {path} HTTP/1.1\r\nHost: g/h\r\n{rest}", BAD),
    ("3.2", "POST {path} HTTP/1.1\r\nHost: g\u{1}\r\n{rest}", BAD),
    ("3.2", "POST {path} HTTP/1.1\r\nHost: \u{fc}\r\n{rest}", BAD),
    ("3.2", "POST {path} HTTP/1.1\r\nHost : g\r\n{rest}", BAD),
    // The platform is told its own host, so none is as good as another.
    ("9110 7.2", "POST {path} HTTP/1.1\r\nHost:\r\n{rest}", PLAIN),
    ("3.2", "POST {path} HTTP/1.0\r\nHost: g\r\nHost: g\r\n{rest}", BAD),
    // Versions.
    ("2.5", "POST {path} HTTP/1.0\r\n{rest}", Last("")),
    ("9.3", "POST {path} HTTP/1.0\r\nConnection: keep-alive\r\n{rest}", PLAIN),
    ("6.1", "POST {path} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{body}\r\n0\r\n\r\n", BAD),
    ("2.3", "GET {path}\r\n", BAD),
    ("2.3", "GET {path}\r\n\r\n", BAD),
    ("2.3", "POST {path} HTTP/0.9\r\nHost: g\r\n{rest}", BAD),
    ("2.3", "POST {path} HTTP/1.2\r\nHost: g\r\n{rest}", BAD),
    ("2.3", "POST {path} HTTP/1.10\r\nHost: g\r\n{rest}", BAD),
    ("2.3", "POST {path} HTTP/01.1\r\nHost: g\r\n{rest}", BAD),
    ("2.3", "POST {path} HTTP/1,1\r\nHost: g\r\n{rest}", BAD),
    ("2.3", "POST {path} http/1.1\r\nHost: g\r\n{rest}", BAD),
    ("2.3", "POST {path} HTTP/2.0\r\nHost: g\r\n{rest}", BAD),
    ("2.3", "POST {path} HTTP/3.0\r\nHost: g\r\n{rest}", BAD),
    ("9113 3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0", BAD),
    ("2.1", "\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\0", BAD),
];

/// Every case.
pub(super) fn corpus() -> Vec<Case> {
    let lengths = LENGTHS.iter().map(|&(rule, lines, reading)| (rule, post(lines, "{body}"), reading));
    // The same in front of what would be a whole body for whoever believes in chunks.
    let refused = LENGTHS.iter().filter(|(_, _, reading)| *reading == BAD);
    let other = refused.map(|&(rule, lines, _)| (rule, post(lines, "9\r\n{body}\r\n0\r\n\r\n"), BAD));
    let chunks = CHUNKS.iter().map(|&(rule, body, reading)| (rule, post("Transfer-Encoding: chunked", body), reading));
    let rest = "Content-Length: 9\r\n\r\n{body}";
    let requests = REQUESTS.iter().map(|&(rule, all, reading)| (rule, all.replace("{rest}", rest), reading));
    let mut many = String::new();
    (0..300).for_each(|field| write!(many, "X-{field}: y\r\n").expect("memory"));
    let long = "x".repeat(80 * 1024);
    let large = [
        ("5.4", post(&format!("{many}Content-Length: 9"), "{body}"), LARGE),
        ("5.4", post(&format!("X: {long}\r\nContent-Length: 9"), "{body}"), LARGE),
        ("5.4", post(&format!("{long}: x\r\nContent-Length: 9"), "{body}"), LARGE),
        ("3", format!("POST {{path}}?{long} HTTP/1.1\r\nHost: g\r\n{rest}"), LARGE),
        ("3", long.clone(), LARGE),
        ("7.1.1", post("Transfer-Encoding: chunked", &format!("9;{long}\r\n{{body}}\r\n0\r\n\r\n")), CUT),
        ("7.1.2", post("Transfer-Encoding: chunked", &format!("9\r\n{{body}}\r\n0\r\nX: {long}\r\n\r\n")), CUT),
        ("7.1.2", post("Transfer-Encoding: chunked", &format!("9\r\n{{body}}\r\n0\r\n{}\r\n", many.repeat(40))), CUT),
    ];
    lengths.chain(other).chain(chunks).chain(requests).chain(large).collect()
}

fn post(lines: &str, body: &str) -> String {
    format!("POST {{path}} HTTP/1.1\r\nHost: g\r\n{lines}\r\n\r\n{body}")
}
