//! Slow clients: thousands that say a byte now and then, in every part of a connection. With the deadlines as they are by
//! default each is gone within fifteen of its bytes, and whoever is not slow is served all the while.

use std::sync::atomic::{AtomicBool, Ordering};

use super::crowd::{Manner, affordable, crowd, trusting};
use crate::inbound::setting::{PATH, Setting, assert_acknowledged, platform as caller};
use crate::support::gateway::Folder;
use crate::support::identity::write_pair;
use crate::support::{Client, Gateway, platform};

/// What a connection may cost while somebody is slow on it, in bytes of memory: the program as it is built for tests.
const EACH: u64 = 96 * 1024;

fn manner(name: &'static str, begins: String, goes_on: &'static [&'static [u8]]) -> Manner {
    Manner { name, begins, goes_on: Some(goes_on), tls: None }
}

/// Every way to be slow with a request.
fn requests() -> Vec<Manner> {
    let post = |lines: &str| format!("POST {PATH} HTTP/1.1\r\nHost: g\r\n{lines}\r\n\r\n");
    vec![
        Manner { name: "silent", begins: String::new(), goes_on: None, tls: None },
        Manner { name: "silent in a header", begins: "GET /".into(), goes_on: None, tls: None },
        manner("the request line", String::new(), &[b"G", b"E", b"T", b" ", b"/", b"a"]),
        // Silence is a part of the first head's time.
        manner(
            "the request line after a silence",
            String::new(),
            &[b"", b"", b"", b"", b"", b"", b"G", b"E", b"T", b" "],
        ),
        manner("empty lines", String::new(), &[b"\r\n"]),
        manner("header fields", format!("GET {PATH} HTTP/1.1\r\n"), &[b"X: y\r\n"]),
        manner("a header field", format!("GET {PATH} HTTP/1.1\r\nHost: g\r\nX: "), &[b"y"]),
        Manner { name: "silent before a body", begins: post("Content-Length: 1000"), goes_on: None, tls: None },
        manner("a body", post("Content-Length: 1000"), &[b"x"]),
        manner("chunks", post("Transfer-Encoding: chunked"), &[b"1\r\nx\r\n"]),
        manner("a chunk", post("Transfer-Encoding: chunked") + "ff\r\n", &[b"x"]),
        manner("a chunk's size", post("Transfer-Encoding: chunked"), &[b"0"]),
        manner("an extension", post("Transfer-Encoding: chunked") + "1;", &[b"x"]),
        manner("trailers", post("Transfer-Encoding: chunked") + "1\r\nx\r\n0\r\n", &[b"X: y\r\n"]),
        manner("a body that was asked for", post("Expect: 100-continue\r\nContent-Length: 1000"), &[b"x"]),
    ]
}

/// Has the crowd come, and others call meanwhile: programs, the platform and operators. Each of them is served, and in the
/// end nobody of the crowd is there.
fn check(gateway: &Gateway, served: impl Fn(&Gateway) + Sync, crowd: impl FnOnce() -> Vec<&'static str> + Send) {
    let before = gateway.peak_memory();
    let over = AtomicBool::new(false);
    let stayed = std::thread::scope(|scope| {
        let crowd = scope.spawn(|| {
            let stayed = crowd();
            over.store(true, Ordering::Release);
            stayed
        });
        let mut rounds = 0;
        while !over.load(Ordering::Acquire) && !crowd.is_finished() {
            served(gateway);
            assert_eq!(gateway.admin_page("/livez").0, 200);
            rounds += 1;
        }
        assert!(rounds > 10, "nobody else called");
        println!("{rounds} rounds of others");
        crowd.join().expect("no panic")
    });
    let manners = stayed.iter().collect::<std::collections::BTreeSet<_>>();
    assert!(stayed.is_empty(), "{} stayed, slow with {manners:?}", stayed.len());
    println!("grew by {} KiB", (gateway.peak_memory() - before) / 1024);
}

fn program_calls(gateway: &Gateway) {
    assert_eq!(gateway.client().get("/service/cloud/robot").status, 200);
    assert_eq!(gateway.client().post("/service/cloud/task", "{}").status, 200);
}

#[test]
fn slow_programs_are_gone_and_others_are_served_meanwhile() {
    let count = affordable(5000);
    let simulated = platform();
    let gateway = Setting::default().setup().start(&simulated).ready();
    let before = gateway.peak_memory();
    check(&gateway, program_calls, || crowd(gateway.outbound, count, count, &requests()));
    let grown = gateway.peak_memory() - before;
    assert!(grown < (32 << 20) + count as u64 * EACH, "grew by {grown} bytes");
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 0.0 && gateway.metric("memory_in_use_bytes") == 0.0);
    assert!(gateway.metric("refusals_total{outcome=\"body_timeout\"}") > 0.0);
    assert!(gateway.metric("refusals_total{outcome=\"header_timeout\"}") > 0.0);
}

/// All that one address may have, from sixteen of them: nearly as many as there may be by default.
fn slow_strangers(gateway: &Gateway, count: usize, manners: &[Manner]) {
    let (address, before) = (gateway.inbound.expect("callbacks"), gateway.peak_memory());
    let served = |gateway: &Gateway| {
        program_calls(gateway);
        if manners.iter().all(|manner| manner.tls.is_none()) {
            assert_acknowledged(&caller(gateway).post(PATH, "{}"));
        }
    };
    check(gateway, served, || crowd(address, count, 250, manners));
    let grown = gateway.peak_memory() - before;
    assert!(grown < (32 << 20) + count as u64 * EACH, "grew by {grown} bytes");
}

#[test]
fn slow_strangers_are_gone_and_callbacks_are_taken_meanwhile() {
    let count = affordable(4000);
    let simulated = platform();
    let gateway = Setting::default().setup().start(&simulated).ready();
    slow_strangers(&gateway, count, &requests());
    assert_acknowledged(&caller(&gateway).post(PATH, "{}"));
}

#[test]
fn strangers_who_are_slow_with_tls_are_gone() {
    let count = affordable(2000);
    let (simulated, folder) = (platform(), Folder::new());
    let config = trusting(&write_pair(&folder, 32_472_057_600));
    let tls = "tls = { cert = \"tls.pem\", key = \"tls.key\" }";
    let setup = Setting { inbound: tls.into(), ..Setting::default() }.setup();
    let gateway = crate::support::Setup { folder: Some(folder), ..setup }.start(&simulated).ready();
    // The beginning of a ClientHello, piece by piece; then a record that announces more than it brings.
    let hello: &[&[u8]] = &[b"\x16", b"\x03", b"\x01", b"\x02", b"\x00", b"\x01", b"\x00", b"\x01", b"\xfc", b"\x03"];
    let mut manners = vec![
        Manner { name: "silent", begins: String::new(), goes_on: None, tls: None },
        manner("a handshake", String::new(), hello),
        manner("a handshake without end", "\x16\x03\x01\x3f\x7f\x01".into(), &[b"\x00"]),
    ];
    let through = requests().into_iter().map(|manner| Manner { tls: Some(config.clone()), ..manner });
    manners.extend(through);
    slow_strangers(&gateway, count, &manners);
    let mut healthy = Client::connect(gateway.outbound);
    assert_eq!(healthy.get("/service/cloud/robot").status, 200);
}
