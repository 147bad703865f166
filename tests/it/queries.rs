//! What becomes of a query: a phone number's `+` survives, everything else is kept byte for byte, and a sealed
//! one travels as bare base64.

use airudder_gateway::config::Scheme;
use airudder_gateway::envelope::{Cipher, Signed};
use airudder_gateway::secret::Secret;
use airudder_gateway::simulator::{Received, Simulator};

use crate::support::{Client, KEY, Setup, calls, platform};

const PATH: &str = "/_sim/echo";

fn outbound(lines: &str) -> String {
    format!("threads = 2\n{lines}")
}

/// A setup whose encryption table has these further keys.
fn sealing(more: &str) -> Setup {
    let encryption = format!("encryption = {{ scheme = \"aes-ecb-zero\", key = {{ env = \"AES_KEY\" }}, {more} }}");
    Setup { account: encryption, sealed: false, ..Setup::default() }
}

/// Sends a request and returns how it arrived.
fn sent(platform: &Simulator, client: &mut Client, request: impl AsRef<[u8]>) -> Received {
    platform.clear();
    let answer = client.send(request).answer();
    assert_eq!((answer.status, answer.word()), (200, None), "{}", String::from_utf8_lossy(&answer.body));
    let mut arrived = calls(platform);
    assert_eq!(arrived.len(), 1);
    arrived.remove(0)
}

fn get(query: &str) -> String {
    format!("GET {PATH}?{query} HTTP/1.1\r\nHost: g\r\n\r\n")
}

/// What the program sends as its query, and what the platform has to read. Kept in pairs so that a reader sees both.
const QUERIES: &[(&str, &str)] = &[
    ("TaskID=1&Callee=+6281200000001", "TaskID=1&Callee=%2B6281200000001"),
    ("Callee=+6281200000001&TaskID=1", "Callee=%2B6281200000001&TaskID=1"),
    ("to=+6281200000001,+6281200000002", "to=%2B6281200000001,%2B6281200000002"),
    ("to=%5B%22+6281200000001%22%5D", "to=%5B%22%2B6281200000001%22%5D"),
    ("Callee=%2B6281200000001", "Callee=%2B6281200000001"),
    ("Callee=%2b6281200000001", "Callee=%2b6281200000001"),
    // A `+` that stands for a space, or in a date or its zone, is none of a phone number.
    ("start=2023-09-01+00:00:00&end=2023-09-02+23:59:59", "start=2023-09-01+00:00:00&end=2023-09-02+23:59:59"),
    ("start=2023-09-01T00:00:00+08:00", "start=2023-09-01T00:00:00+08:00"),
    ("zone=+08:00", "zone=+08:00"),
    ("name=John+Smith+12345678", "name=John+Smith+12345678"),
    ("sum=1+1", "sum=1+1"),
    ("sum=+1", "sum=+1"),
    ("a+62812000000=b", "a+62812000000=b"),
    // Order, escapes in either case, doubled and empty fields, and raw UTF-8 are not ours to change.
    ("b=2&a=1&b=3&&c&=&d=", "b=2&a=1&b=3&&c&=&d="),
    ("name=%E9%99%88%e5%b0%8f%E6%98%8E&raw=陈小明", "name=%E9%99%88%e5%b0%8f%E6%98%8E&raw=陈小明"),
    ("q=%00%zz%&r=%2&s=a%2Bb%20c", "q=%00%zz%&r=%2&s=a%2Bb%20c"),
    ("list={'a':[1,2]}|`^\\~!$*();@/:?x", "list={'a':[1,2]}|`^\\~!$*();@/:?x"),
    ("?", "?"),
];

#[test]
fn a_query_arrives_as_it_was_sent_but_for_a_phone_numbers_plus() {
    let platform = platform();
    for sealed in [false, true] {
        let gateway = Setup { sealed, ..Setup::default() }.start(&platform);
        let mut client = gateway.client();
        for (query, expected) in QUERIES {
            let arrived = sent(&platform, &mut client, get(query));
            let read = if sealed { arrived.opened.as_deref() } else { arrived.query.as_deref().map(str::as_bytes) };
            let read = read.map(String::from_utf8_lossy);
            assert_eq!(read.as_deref(), Some(*expected), "{query}, sealed: {sealed}");
        }
    }
}

#[test]
fn a_plus_is_left_alone_where_the_setting_says_so() {
    let platform = platform();
    for sealed in [false, true] {
        let setup = Setup { outbound: outbound("repair_plus = false"), sealed, ..Setup::default() };
        let arrived = sent(&platform, &mut setup.start(&platform).client(), get("Callee=+6281200000001"));
        let read = if sealed { arrived.opened.as_deref() } else { arrived.query.as_deref().map(str::as_bytes) };
        assert_eq!(read, Some(&b"Callee=+6281200000001"[..]));
    }
}

#[test]
fn a_sealed_query_is_bare_base64_on_the_wire() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    let mut client = gateway.client();
    let (mut plus, mut slash, mut equals) = (0, 0, 0);
    for task in 0..40 {
        let plain = format!("TaskID={task}");
        let arrived = sent(&platform, &mut client, get(&plain));
        let wire = arrived.query.clone().expect("a query");
        let cipher = Cipher::try_new(&Scheme::EcbZero, &Secret::new(KEY));
        let sealed = cipher.expect("a key").seal(plain.as_bytes());
        assert_eq!(wire.as_bytes(), &sealed.text[..], "no name, no escapes");
        assert_eq!(arrived.header("signed"), Some(sealed.signed.as_str()));
        assert_eq!(arrived.header("is-encrypted"), Some("1"));
        plus += wire.matches('+').count();
        slash += wire.matches('/').count();
        equals += wire.matches('=').count();
    }
    assert!(plus > 0 && slash > 0 && equals > 0, "each of them was seen on the wire");
}

#[test]
fn a_get_without_a_query_is_sent_as_the_setting_says() {
    let platform = platform();
    let nothing = Signed::of(b"");
    // A sealed nothing is a whole block of padding, which is 24 letters of base64.
    for (setting, signed, letters) in [
        ("empty_query = \"plain\"", None, 0),
        ("empty_query = \"mark\"", Some(nothing.as_str()), 0),
        ("empty_query = \"seal\"", Some(nothing.as_str()), 24),
    ] {
        let gateway = sealing(setting).start(&platform);
        let mut client = gateway.client();
        for target in [PATH.to_owned(), format!("{PATH}?")] {
            let arrived = sent(&platform, &mut client, format!("GET {target} HTTP/1.1\r\nHost: g\r\n\r\n"));
            assert_eq!(arrived.header("signed"), signed, "{setting}");
            assert_eq!(arrived.header("is-encrypted"), signed.map(|_| "1"), "{setting}");
            assert_eq!(arrived.query.as_deref().unwrap_or_default().len(), letters, "{setting}: {:?}", arrived.query);
            assert_eq!(arrived.opened.as_deref(), signed.map(|_| &b""[..]), "{setting}");
        }
    }
}

#[test]
fn a_post_seals_its_body_and_else_its_query() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    let mut client = gateway.client();

    let both = "POST /_sim/echo?TaskID=1&Callee=+6281200000001 HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}";
    let arrived = sent(&platform, &mut client, both);
    assert_eq!(arrived.query.as_deref(), Some("TaskID=1&Callee=%2B6281200000001"), "repaired, and not sealed");
    assert_eq!(arrived.opened.as_deref(), Some(&b"{}"[..]));

    // One public client sends its GETs so.
    for framing in ["", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"] {
        let end = if framing.contains("chunked") { "0\r\n\r\n" } else { "" };
        let request =
            format!("POST /_sim/echo?TaskID=1&Callee=+6281200000001 HTTP/1.1\r\nHost: g\r\n{framing}\r\n{end}");
        let arrived = sent(&platform, &mut client, request);
        assert_eq!(arrived.opened.as_deref(), Some(&b"TaskID=1&Callee=%2B6281200000001"[..]), "{framing:?}");
        assert!(arrived.body.is_empty() && arrived.query != Some("TaskID=1".into()));
        assert_eq!(arrived.header("content-length"), Some("0"), "{framing:?}");
    }

    // With neither there is nothing to seal.
    let arrived = sent(&platform, &mut client, "POST /_sim/echo HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!((arrived.header("is-encrypted"), arrived.opened.as_ref()), (None, None));
}

#[test]
fn a_sealed_body_has_the_media_type_of_the_setting() {
    let platform = platform();
    let post = "POST /_sim/echo HTTP/1.1\r\nHost: g\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}";
    for (setting, expected) in [
        ("empty_query = \"plain\"", "application/json"),
        ("content_type = \"text/plain; charset=utf-8\"", "text/plain; charset=utf-8"),
    ] {
        let arrived = sent(&platform, &mut sealing(setting).start(&platform).client(), post);
        assert_eq!(arrived.headers_named("content-type").collect::<Vec<_>>(), [expected]);
    }
    let arrived = sent(&platform, &mut Setup::unsealed().start(&platform).client(), post);
    assert_eq!(arrived.header("content-type"), Some("application/json; charset=utf-8"), "unsealed it is the program's");
}

#[test]
fn an_operation_can_be_left_unsealed() {
    let platform = platform();
    let more = "[[operation]]\nname = \"probe\"\nmethod = \"POST\"\npath = \"/_sim/echo\"\nencryption = \"off\"\n";
    let gateway = Setup { more: more.into(), ..Setup::default() }.start(&platform);
    let mut client = gateway.client();
    let post = "POST /_sim/echo?a=+6281200000001 HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}";
    let arrived = sent(&platform, &mut client, post);
    assert_eq!((arrived.sealed(), &arrived.body[..]), (false, &b"{}"[..]));
    assert_eq!(arrived.query.as_deref(), Some("a=%2B6281200000001"));
    // Another method of the same path is another operation.
    assert!(sent(&platform, &mut client, get("a=b")).sealed());
}
