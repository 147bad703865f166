//! Callbacks over TLS across an upgrade. What TLS agreed on stays in the process that agreed on it, so such a connection is
//! ended there: after an answer that says so, or as TLS ends one. The platform connects anew and is never refused.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use openssl::ssl::{SslConnector, SslMethod, SslStream};

use super::{PATH, callback, setup, upgrades};
use crate::support::identity::{NAME, write_pair};
use crate::support::receiver::Receiver;
use crate::support::{Folder, Gateway, PATIENCE, Setup, platform};

/// Connections that the platform keeps.
const KEPT: usize = 6;

/// The last day of 2998, in seconds since 1970.
const ENDS: u64 = 32_472_057_600;

/// The platform's side: where it connects, and what it trusts.
struct Caller {
    to: SocketAddr,
    connector: SslConnector,
}

impl Caller {
    /// A gateway that takes callbacks over TLS and brings them there, and a platform that trusts it.
    fn and_gateway(books: &Receiver) -> (Gateway, Self) {
        let (folder, base) = (Folder::new(), setup(&books.url()));
        let certificate = write_pair(&folder, ENDS);
        let tls = "[inbound]\ntls = { cert = \"tls.pem\", key = \"tls.key\" }\n";
        let setup = Setup { more: base.more.replacen("[inbound]\n", tls, 1), folder: Some(folder), ..base };
        let gateway = setup.start(&platform()).ready();
        let mut connector = SslConnector::builder(SslMethod::tls()).expect("OpenSSL");
        let certificate = openssl::x509::X509::from_pem(certificate.as_bytes()).expect("a certificate");
        connector.cert_store_mut().add_cert(certificate).expect("trusted");
        let to = gateway.inbound.expect("callbacks");
        (gateway, Self { to, connector: connector.build() })
    }

    /// A new connection, which nobody refuses.
    fn connect(&self) -> SslStream<TcpStream> {
        let stream = TcpStream::connect(self.to).expect("nobody is refused");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        self.connector.connect(NAME, stream).expect("a handshake")
    }
}

/// The head of a callback's request, and its body.
fn request(id: &str) -> (String, String) {
    let body = callback(id);
    (format!("POST {PATH} HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n", body.len()), body)
}

/// The head of the answer; `None` when the connection was ended before it, as TLS ends one.
fn answer(stream: &mut SslStream<TcpStream>) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        // An end without the word for it, which could be an attacker's, is an error.
        if stream.read(&mut byte).expect("an answer, or an end in good order") == 0 {
            assert!(head.is_empty(), "an answer was cut: {}", String::from_utf8_lossy(&head));
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    stream.read_exact(&mut vec![0; length.parse().expect("a number")]).expect("a body");
    Some(head)
}

/// Whether it was ended in good order.
fn is_ended(stream: &mut SslStream<TcpStream>) -> bool {
    stream.read(&mut [0]).is_ok_and(|read| read == 0)
}

#[test]
fn a_callback_under_way_over_tls_is_acknowledged_and_its_connection_ends_in_good_order() {
    let books = Receiver::new();
    let (mut gateway, caller) = Caller::and_gateway(&books);
    let (mut idle, mut busy) = (caller.connect(), caller.connect());
    let (head, body) = request("before");
    idle.write_all((head + &body).as_bytes()).expect("sent");
    assert!(answer(&mut idle).is_some_and(|head| head.starts_with("HTTP/1.1 200 ")));
    let (head, body) = request("under way");
    let (begin, end) = body.split_at(20);
    busy.write_all((head + begin).as_bytes()).expect("sent");
    // Until it is read: it takes memory.
    gateway.until(|gateway| gateway.metric("memory_in_use_bytes") > 0.0);
    gateway.ask_for_upgrade();
    gateway.until(|gateway| upgrades(gateway, "ok") == 1.0);
    assert!(is_ended(&mut idle), "it is told that nothing more comes");
    busy.write_all(end.as_bytes()).expect("sent");
    let answered = answer(&mut busy).expect("what was begun is not cut");
    assert!(answered.starts_with("HTTP/1.1 200 ") && answered.contains("Connection: close"), "{answered}");
    assert!(is_ended(&mut busy));
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    books.until(|all| all.len() == 2);
}

#[test]
fn callbacks_over_kept_tls_are_acknowledged_or_repeated_and_nobody_is_refused() {
    let books = Receiver::new();
    let (gateway, caller) = Caller::and_gateway(&books);
    let (stop, acknowledged, repeated) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (caller, stop, acknowledged, repeated) = (&caller, &stop, &acknowledged, &repeated);
        for number in 0..KEPT {
            scope.spawn(move || {
                let (mut stream, mut next) = (caller.connect(), 0);
                while !stop.load(Ordering::Relaxed) {
                    let id = format!("call-{number}-{next}");
                    let (head, body) = request(&id);
                    let _ = stream.write_all((head + &body).as_bytes());
                    let answered = answer(&mut stream);
                    if answered.as_ref().is_some_and(|head| head.starts_with("HTTP/1.1 200 ")) {
                        acknowledged.lock().expect("no panic inside").insert(id);
                        next += 1;
                    } else {
                        repeated.fetch_add(1, Ordering::Relaxed);
                    }
                    if answered.is_none_or(|head| head.contains("Connection: close")) {
                        stream = caller.connect();
                    }
                }
            });
        }
        let _stopping = super::load::Stopping(stop);
        for _ in 0..super::load::rounds() {
            let before = acknowledged.lock().expect("no panic inside").len();
            gateway.until(|_| acknowledged.lock().expect("no panic inside").len() >= before + 10 * KEPT);
            gateway.upgrade();
        }
    });
    let (acknowledged, repeated) = (acknowledged.into_inner().expect("no panic inside"), repeated.into_inner());
    let taken = || -> BTreeSet<String> {
        let id = |body: serde_json::Value| body["details"][0]["call_id"].as_str().expect("an id").to_owned();
        books.deliveries().iter().map(|taken| id(taken.json())).collect()
    };
    gateway.until(|_| acknowledged.is_subset(&taken()));
    println!("{} callbacks over TLS under {} upgrades, {repeated} repeated", acknowledged.len(), super::load::rounds());
}
