//! A platform that is slow and one that never ends: time runs for each silence, not for the whole answer.

use std::io::Read;

use airudder_gateway::simulator::FaultKind;

use crate::support::{Setup, platform, wait_until};

/// Short, so that the whole takes longer than any one silence may.
const HASTY: &str = "read_timeout = \"1s\"";

#[test]
fn an_answer_that_begins_late_but_in_time_passes() {
    let platform = platform();
    for setup in [Setup::default(), Setup::unsealed()] {
        let gateway = setup.start(&platform);
        platform.fault(FaultKind::Hang { ms: Some(1500) });
        let answer = gateway.client().get("/service/cloud/detail?TaskID=1");
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (200, Some(200)));
    }
}

/// Asks for 60 bytes that come one by one.
fn check_trickle(setup: Setup, path: &str) {
    let platform = platform();
    let gateway = Setup { account: HASTY.into(), ..setup }.start(&platform);
    platform.fault(FaultKind::Trickle { ms: 30 });
    let mut client = gateway.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: g\r\nRange: bytes=0-59\r\n\r\n"));
    let answer = client.answer();
    assert!(matches!(answer.status, 200 | 206) && answer.word().is_none(), "{path}: {answer:?}");
    assert_eq!((answer.complete, answer.body.len()), (true, 60), "{path}");
    let line = gateway.log_line(|line| line["method"] == "GET");
    let took = line["total_us"].as_u64().expect("a time");
    assert!(took > 1_000_000, "{path}: only {took} µs, so this test shows nothing");
}

#[test]
fn an_answer_that_trickles_passes_though_all_of_it_takes_longer_than_a_silence_may() {
    std::thread::scope(|scope| {
        for (setup, path) in [
            (Setup::default(), "/_sim/answer/60?a=b"),
            (Setup::unsealed(), "/_sim/answer/60"),
            (Setup::unsealed(), "/recordings/a.mp3"),
        ] {
            scope.spawn(move || check_trickle(setup, path));
        }
    });
}

#[test]
fn an_endless_answer_streams_without_growing_and_ends_when_the_program_leaves() {
    let platform = platform();
    let gateway = Setup::unsealed().start(&platform).ready();
    platform.fault(FaultKind::Endless);
    let mut client = gateway.client();
    client.send("GET /_sim/echo HTTP/1.1\r\nHost: g\r\n\r\n");
    let head = client.head().expect("a head");
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    let before = gateway.peak_memory();
    let (mut piece, mut read) = (vec![0; 1 << 20], 0);
    while read < 100 << 20 {
        read += client.stream().read(&mut piece).expect("more of it");
    }
    let grown = gateway.peak_memory() - before;
    assert!(grown < 32 << 20, "grew by {grown} bytes");
    drop(client);
    wait_until(&platform, "the answer stops", |platform| platform.open_connections() == 0);
    let line = gateway.log_line(|line| line["operation"] == "other");
    assert_eq!(line["outcome"], "client_gone");
    assert_eq!(gateway.metric("calls_in_flight"), 0.0);
}

#[test]
fn an_endless_sealed_answer_ends_at_max_answer() {
    let platform = platform();
    let gateway = Setup { outbound: "threads = 2\nmax_answer = \"1MiB\"".into(), ..Setup::default() }.start(&platform);
    platform.fault(FaultKind::Endless);
    let answer = gateway.client().get("/_sim/echo?a=b");
    assert_eq!((answer.status, answer.word()), (502, Some("answer_too_large")));
    assert_eq!(answer.json()["sent"], "yes");
    wait_until(&platform, "the answer stops", |platform| platform.open_connections() == 0);
}
