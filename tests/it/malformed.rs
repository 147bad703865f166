//! What is not HTTP/1.1, or could be read in two ways, is refused with `bad_request`: nothing of it reaches the
//! platform, and nothing can be hidden behind it.

use airudder_gateway::simulator::Simulator;

use crate::support::{Gateway, Setup, calls, platform};

/// Refused, closed, and never at the platform, whatever follows it on the connection.
fn check(gateway: &Gateway, platform: &Simulator, name: &str, request: &[u8]) {
    let mut client = gateway.client();
    client.send(request).send("GET /service/cloud/robot HTTP/1.1\r\nHost: g\r\n\r\n");
    client.finish_sending();
    let answer = client.try_answer(false).unwrap_or_else(|| panic!("{name}: no answer"));
    assert_eq!((answer.status, answer.word()), (400, Some("bad_request")), "{name}");
    assert_eq!(answer.header("connection"), Some("close"), "{name}");
    assert_eq!(answer.json()["sent"], "no", "{name}");
    assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("Detail: ")), "{name}");
    assert!(client.try_answer(false).is_none(), "{name}: nothing behind it is read as a request");
    assert!(calls(platform).is_empty(), "{name}");
}

/// A POST with these header lines and the body `abc`.
fn post(lines: &str) -> String {
    format!("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\n{lines}\r\n\r\nabc")
}

#[test]
fn a_body_whose_length_could_be_read_in_two_ways_is_refused() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    for lines in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 3, 3",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\ncontent-length: 4",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: 3 3",
        "Content-Length: 0x3",
        "Content-Length: 3.0",
        "Content-Length:",
        "Content-Length: three",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        "Content-Length : 3",
        "Content-Length: 3\r\n Transfer-Encoding: chunked",
    ] {
        check(&gateway, &platform, lines, post(lines).as_bytes());
    }
    let old = "POST /service/cloud/task HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    check(&gateway, &platform, "HTTP/1.0 with chunks", old.as_bytes());
}

#[test]
fn a_header_whose_lines_could_be_read_in_two_ways_is_refused() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    for request in [
        "GET /a HTTP/1.1\nHost: g\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\nX: y\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\n\n",
        "GET /a HTTP/1.1\nHost: g\n\n",
        "GET /a HTTP/1.1\rHost: g\r\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX: a\r\n b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX: a\r\n\tb\r\n\r\n",
        "GET /a HTTP/1.1\r\n Host: g\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost : g\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX Y: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\n: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nno colon\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX: a\0b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX: a\x01b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX: a\x7fb\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX: a\rb\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX\0: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX\u{e9}: a\r\n\r\n",
    ] {
        check(&gateway, &platform, &format!("{request:?}"), request.as_bytes());
    }
}

#[test]
fn a_request_for_nobody_in_particular_is_refused() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    for request in [
        "GET /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\nX-Host: g\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nHost: g\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nhost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: user@g\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g, h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g/h\r\n\r\n",
        "GET http://g\\h/a HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET http://g?a HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET http://other/a HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET http://user@g/a HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET http:///a HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET https://g/a HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET ftp://g/a HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET g/a HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET ?a HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET /a?b#c HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET /a?{\"b\":1} HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET /a?b=<c> HTTP/1.1\r\nHost: g\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n",
    ] {
        check(&gateway, &platform, &format!("{request:?}"), request.as_bytes());
    }
}

#[test]
fn a_first_line_that_is_no_request_line_is_refused() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    for line in [
        "GET /a",
        "GET /a HTTP/0.9",
        "GET /a HTTP/1.2",
        "GET /a HTTP/2.0",
        "GET /a HTTP/3",
        "GET /a HTTP/1.1 ",
        "GET /a http/1.1",
        "GET /a HTTP/1.1x",
        "GET  /a HTTP/1.1",
        "GET /a  HTTP/1.1",
        " GET /a HTTP/1.1",
        "GET\t/a\tHTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a\0b HTTP/1.1",
        "GET /a\x01b HTTP/1.1",
        "GET /a\x7fb HTTP/1.1",
        "GET /a\x1b[31m HTTP/1.1",
        "G\0T /a HTTP/1.1",
        "G(T /a HTTP/1.1",
        "/a HTTP/1.1",
        "HTTP/1.1 200 OK",
        "PRI * HTTP/2.0",
    ] {
        let request = format!("{line}\r\nHost: g\r\n\r\n");
        check(&gateway, &platform, &format!("{line:?}"), request.as_bytes());
    }
    check(&gateway, &platform, "not UTF-8", b"GET /a?b=\xff\xfe HTTP/1.1\r\nHost: g\r\n\r\n");
    check(&gateway, &platform, "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    check(&gateway, &platform, "the start of TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n");
}

#[test]
fn what_is_unusual_and_can_be_read_in_one_way_only_passes() {
    let platform = platform();
    let gateway = Setup::unsealed().start(&platform);
    for (request, path) in [
        ("GET http://gateway:80/_sim/echo?a=b HTTP/1.1\r\nHost: gateway:80\r\n\r\n", "/_sim/echo"),
        ("GET HTTP://gateway/_sim/echo HTTP/1.1\r\nHost: gateway\r\n\r\n", "/_sim/echo"),
        ("GET /_sim/echo HTTP/1.1\r\nhOsT:gateway\r\nX-Empty:\r\nX-Bytes: \u{e9}\t\u{4e2d}\r\n\r\n", "/_sim/echo"),
        ("POST /_sim/echo HTTP/1.1\r\nHost: g\r\nContent-Length:  3 \r\n\r\nabc", "/_sim/echo"),
        (
            "POST /_sim/echo HTTP/1.1\r\nHost: g\r\nTransfer-Encoding:\tCHUNKED \r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "/_sim/echo",
        ),
        ("GET /_sim/echo HTTP/1.0\r\n\r\n", "/_sim/echo"),
    ] {
        platform.clear();
        let answer = gateway.client().send(request).answer();
        assert_eq!(
            (answer.status, answer.word()),
            (200, None),
            "{request:?}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        let arrived = calls(&platform).pop().expect("it arrived");
        assert_eq!(arrived.path, path, "{request:?}");
        let host = platform.url().replace("http://", "");
        assert_eq!(arrived.header("host"), Some(host.as_str()), "{request:?}: it is the platform's own");
    }
}
