//! The corpus on both listeners. Behind each request stands a second one that nobody sent openly: it is read where the first
//! one was read whole by the rule of its row, and nowhere else; and what arrives is canonical, byte for byte.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::ssl::{SslConnector, SslMethod, SslStream};

use super::corpus::{Case, Reading, corpus};
use super::tap::Tap;
use crate::inbound::setting::{PATH, Setting, shown, stop_and_ask};
use crate::support::gateway::Folder;
use crate::support::identity::{NAME, write_pair};
use crate::support::{Gateway, PATIENCE, Setup};

/// Connections at the same time.
const SIDE_BY_SIDE: usize = 8;

/// A final answer, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: u16,
    word: Option<String>,
    closes: bool,
}

/// One way to the gateway.
trait Way: Read + Write {
    /// Says that nothing more comes.
    fn end(&mut self);
}

impl Way for TcpStream {
    fn end(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Way for SslStream<TcpStream> {
    fn end(&mut self) {
        let _ = self.shutdown();
    }
}

/// The next final answer.
fn answer(stream: &mut BufReader<impl Read>) -> Option<Said> {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let value = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let length = value("content-length").map_or(0, |length| length.parse().expect("a length"));
        let read = stream.take(length).read_to_end(&mut Vec::new()).expect("a body");
        assert_eq!(read as u64, length);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        if status >= 200 {
            let closes = value("connection").as_deref() == Some("close");
            return Some(Said { status, word: value("x-gateway-error"), closes });
        }
    }
}

/// The bodies of a case and of what stands behind it.
fn bodies(number: usize) -> (String, String) {
    (format!("{{\"n\":{number}}}"), format!("{{\"smuggled\":{number}}}"))
}

/// Sends a case with the second request behind it, and checks what comes back against these statuses.
fn send(way: impl Way, (rule, request, reading): &Case, number: usize, statuses: &[(u16, Option<&str>)]) {
    let what = || format!("RFC {rule}, {:?}", &request[..request.len().min(300)]);
    let (body, smuggled) = bodies(number);
    let mut all = request.replace("{path}", PATH).replace("{body}", &body);
    all += &format!("POST {PATH}?smuggled HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let mut stream = BufReader::new(way);
    let _ = stream.get_mut().write_all(all.as_bytes());
    let _ = stream.get_mut().flush();
    let refused = matches!(reading, Reading::Refused(_));
    if refused {
        stream.get_mut().end();
    }
    let ends = refused || matches!(reading, Reading::Last(_));
    for &(status, word) in statuses {
        let said = answer(&mut stream).unwrap_or_else(|| panic!("{}: no answer", what()));
        assert_eq!((said.status, said.word.as_deref()), (status, word), "{}", what());
        assert_eq!(said.closes, ends, "{}", what());
    }
    if ends {
        assert_eq!(answer(&mut stream), None, "{}: what follows is no request", what());
    }
}

/// Has each case sent, several at a time.
fn each(cases: &[Case], send: impl Fn(usize, &Case) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let index = cases.iter().position(|known| std::ptr::eq(known, case)).expect("one of them");
                    send(100 + index, case);
                }
            });
        }
    });
}

fn connect(address: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// What a program is told.
fn told(reading: Reading) -> Vec<(u16, Option<&'static str>)> {
    match reading {
        Reading::Refused(word) => vec![(status(word), Some(word))],
        Reading::Taken(_) | Reading::Asked(_) => vec![(200, None), (200, None)],
        Reading::Last(_) => vec![(200, None)],
        Reading::Method => vec![(405, Some("method_refused")), (200, None)],
    }
}

fn status(word: &str) -> u16 {
    if word == "header_too_large" { 431 } else { 400 }
}

/// What leaves for the platform, byte for byte.
fn canonical(host: &str, line: &str, lines: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\n{lines}User-Agent: Airudder\r\n{length}Authorization: Token tapped\r\n\r\n{body}"
    )
}

#[test]
fn a_program_s_request_reaches_the_platform_in_one_form_or_not_at_all() {
    let (tap, cases) = (Tap::start(), corpus());
    let gateway = Setup::unsealed().start_at(&tap.url(), None).ready();
    each(&cases, |number, case| send(connect(gateway.outbound), case, number, &told(case.2)));

    let mut expected = Vec::new();
    for (number, (_, _, reading)) in (100..).zip(&cases) {
        let (body, smuggled) = bodies(number);
        let first = match reading {
            Reading::Refused(_) => continue,
            Reading::Method => None,
            Reading::Taken(lines) | Reading::Last(lines) => {
                Some(canonical(tap.host(), &format!("POST {PATH}"), lines, &body))
            }
            Reading::Asked(line) => Some(canonical(tap.host(), line, "", "")),
        };
        expected.extend(first);
        if !matches!(reading, Reading::Last(_)) {
            expected.push(canonical(tap.host(), &format!("POST {PATH}?smuggled"), "", &smuggled));
        }
    }
    let mut heard = tap.heard();
    heard.sort();
    expected.sort();
    assert_eq!(heard, expected);
    assert!(expected.len() > 40 && cases.len() > 200, "{} cases", cases.len());
    assert!(!gateway.printed().contains("smuggled"), "what strangers write is not in the log");
}

/// What the platform is told by the listener of callbacks, which takes nothing but POST.
fn told_of_callback(reading: Reading) -> Vec<(u16, Option<&'static str>)> {
    match reading {
        Reading::Refused(word) => vec![(status(word), None)],
        Reading::Taken(_) => vec![(200, None), (200, None)],
        Reading::Last(_) => vec![(200, None)],
        Reading::Asked(_) | Reading::Method => vec![(405, None), (200, None)],
    }
}

/// Has all cases sent to the listener of callbacks, and finds what was stored of them and nothing else.
fn check_callbacks<W: Way>(setting: &Setting, folder: &Folder, connect: impl Fn(&Gateway) -> W + Sync) {
    let cases = corpus();
    let gateway = setting.start_in(folder);
    each(&cases, |number, case| send(connect(&gateway), case, number, &told_of_callback(case.2)));

    let mut expected = BTreeSet::new();
    for (number, (_, _, reading)) in (100..).zip(&cases) {
        let (body, smuggled) = bodies(number);
        if matches!(reading, Reading::Taken(_) | Reading::Last(_)) {
            expected.insert(body);
        }
        if !matches!(reading, Reading::Refused(_) | Reading::Last(_)) {
            expected.insert(smuggled);
        }
    }
    let stored = stop_and_ask(gateway, folder, async |inbox| shown(inbox, Default::default()).await);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let bodies: Vec<_> = stored.iter().map(|shown| text(shown.body.as_deref().expect("a body"))).collect();
    assert_eq!(bodies.len(), expected.len());
    assert_eq!(bodies.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn a_callback_is_stored_as_it_was_read_or_not_at_all() {
    let plain = Setting { inbound: "max_connections_per_address = 4096".into(), ..Setting::default() };
    check_callbacks(&plain, &Folder::new(), |gateway| connect(gateway.inbound.expect("callbacks")));
}

#[test]
fn a_callback_over_tls_is_stored_as_it_was_read_or_not_at_all() {
    let folder = Folder::new();
    let certificate = write_pair(&folder, 32_472_057_600);
    let tls = "tls = { cert = \"tls.pem\", key = \"tls.key\" }\nmax_connections_per_address = 4096";
    let mut connector = SslConnector::builder(SslMethod::tls()).expect("OpenSSL");
    let certificate = openssl::x509::X509::from_pem(certificate.as_bytes()).expect("a certificate");
    connector.cert_store_mut().add_cert(certificate).expect("trusted");
    let connector = connector.build();
    check_callbacks(&Setting { inbound: tls.into(), ..Setting::default() }, &folder, |gateway| {
        connector.connect(NAME, connect(gateway.inbound.expect("callbacks"))).expect("TLS")
    });
}
