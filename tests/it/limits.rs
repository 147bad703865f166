//! Sizes, numbers and times that a request may have: what is just within passes, what is over gets its own word.

use airudder_gateway::simulator::Simulator;

use crate::support::{Client, Gateway, Setup, calls, platform};

fn setup(outbound: &str) -> Setup {
    Setup { outbound: format!("threads = 2\n{outbound}"), ..Setup::default() }
}

fn check_refused(client: &mut Client, status: u16, word: &str, what: &str) {
    let answer = client.try_answer(false).unwrap_or_else(|| panic!("{what:?}: no answer"));
    assert_eq!((answer.status, answer.word()), (status, Some(word)), "{what:?}");
    assert_eq!(answer.json()["sent"], "no", "{what:?}");
}

/// A GET whose header has exactly this many bytes.
fn header_of(bytes: usize) -> String {
    let rest = "GET /_sim/echo?a=b HTTP/1.1\r\nHost: g\r\nX-Pad: \r\n\r\n".len();
    format!("GET /_sim/echo?a=b HTTP/1.1\r\nHost: g\r\nX-Pad: {}\r\n\r\n", "p".repeat(bytes - rest))
}

#[test]
fn a_header_up_to_its_limit_passes_and_one_byte_more_is_431() {
    let platform = platform();
    for (limit, bytes) in [("1KiB", 1024), ("32KiB", 32 * 1024), ("1MiB", 500_000)] {
        let gateway = setup(&format!("max_header = \"{limit}\"")).start(&platform);
        let mut client = gateway.client();
        // What the simulator itself reads ends near 400 KiB.
        if bytes < 100_000 {
            assert_eq!(client.send(header_of(bytes)).answer().status, 200, "{limit}");
            check_refused(client.send(header_of(bytes + 1)), 431, "header_too_large", limit);
            assert_eq!(client.get("/service/cloud/robot").status, 200, "{limit}: the connection can be used again");
        }
        // Beyond what any header may have it is refused before its end; the program may still be writing.
        for endless in
            [format!("GET /{}", "a".repeat(3 << 20)), format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(3 << 20))]
        {
            let mut client = gateway.client();
            check_refused(client.send(endless), 431, "header_too_large", limit);
            assert!(client.is_closed(), "{limit}");
        }
    }
}

#[test]
fn a_header_of_256_fields_passes_and_one_more_is_431() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    let fields = |count: usize| {
        let more: String = (1..count).map(|field| format!("X-{field}: v\r\n")).collect();
        format!("GET /_sim/status/200?a=b HTTP/1.1\r\nHost: g\r\n{more}\r\n")
    };
    // What the simulator itself reads ends at 100 fields, and the gateway adds some of its own.
    assert_eq!(gateway.client().send(fields(90)).answer().status, 200);
    assert_ne!(gateway.client().send(fields(256)).answer().word(), Some("header_too_large"));
    for count in [257, 1000, 5000] {
        check_refused(gateway.client().send(fields(count)), 431, "header_too_large", &format!("{count} fields"));
    }
}

#[test]
fn a_sealed_body_up_to_its_limit_passes_and_one_byte_more_is_413() {
    let platform = platform();
    let gateway = setup("max_body = \"100KiB\"").start(&platform);
    let limit = 100 * 1024;
    let mut client = gateway.client();
    for declared in [true, false] {
        for bytes in [limit, limit + 1] {
            platform.clear();
            let body = "x".repeat(bytes);
            client = gateway.client();
            if declared {
                client.send(format!("POST /_sim/echo HTTP/1.1\r\nHost: g\r\nContent-Length: {bytes}\r\n\r\n{body}"));
            } else {
                client.send("POST /_sim/echo HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n");
                client.send(format!("{bytes:x}\r\n{body}\r\n0\r\n\r\n"));
            }
            if bytes == limit {
                assert_eq!(client.answer().status, 200);
                assert_eq!(calls(&platform)[0].opened.as_deref(), Some(body.as_bytes()));
            } else {
                check_refused(&mut client, 413, "body_too_large", "one byte more");
                assert!(calls(&platform).is_empty());
            }
        }
    }
    drop(client);
    // A length that no machine can hold is a number like any other.
    let huge = "POST /_sim/echo HTTP/1.1\r\nHost: g\r\nContent-Length: 999999999999999999\r\n\r\n";
    check_refused(gateway.client().send(huge), 413, "body_too_large", "huge");
}

#[test]
fn a_header_that_trickles_ends_at_its_deadline() {
    let platform = platform();
    let gateway = setup("header_timeout = \"300ms\"").start(&platform).ready();
    for begun in ["G", "GET /service/cloud/robot HTTP/1.1\r\n", "GET /service/cloud/robot HTTP/1.1\r\nHost: g\r\nX: "] {
        let mut client = gateway.client();
        client.send(begun);
        // A byte comes well within any silence that would be allowed, until the answer is there.
        let mut writer = client.stream().get_ref().try_clone().expect("the same connection");
        let (answered, not_yet) = std::sync::mpsc::channel::<()>();
        let trickle = std::thread::spawn(move || {
            use std::io::Write;
            while not_yet.recv_timeout(std::time::Duration::from_millis(20)).is_err() {
                let _ = writer.write_all(b"a");
            }
        });
        check_refused(&mut client, 408, "header_timeout", begun);
        answered.send(()).expect("it still runs");
        trickle.join().expect("no panic");
        assert!(client.is_closed(), "{begun:?}");
    }
    assert!(calls(&platform).is_empty());
}

/// The upload stops after its beginning: silent, or ended.
fn check_half(gateway: &Gateway, platform: &Simulator, framing: &str, ends: bool) {
    let mut client = gateway.client();
    client.send(format!("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\n{framing}\r\n\r\n10\r\nhalf"));
    if ends {
        client.finish_sending();
    }
    let (status, word) = if ends { (400, "body_incomplete") } else { (408, "body_timeout") };
    check_refused(&mut client, status, word, framing);
    assert!(client.is_closed(), "{framing}");
    assert!(calls(platform).is_empty(), "{framing}");
}

#[test]
fn a_body_that_pauses_or_ends_early_is_told_so() {
    let platform = platform();
    for sealed in [true, false] {
        let gateway = Setup { sealed, ..setup("body_timeout = \"300ms\"") }.start(&platform).ready();
        for framing in ["Content-Length: 100", "Content-Length: 1000000", "Transfer-Encoding: chunked"] {
            for ends in [false, true] {
                check_half(&gateway, &platform, framing, ends);
            }
        }
    }
}

#[test]
fn a_body_that_is_not_waited_for_any_longer_is_told_which_bound_it_met() {
    let platform = platform();
    for (rules, bound) in [
        ("body_timeout = \"300ms\"", "it paused for longer than outbound.body_timeout"),
        (
            "body_timeout = \"30s\"",
            "longer than 8 s and a second for each KiB that came, whatever outbound.body_timeout says",
        ),
    ] {
        let gateway = setup(rules).start(&platform).ready();
        let mut client = gateway.client();
        client.send("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n\r\nhalf");
        let answer = client.answer();
        assert_eq!((answer.status, answer.word()), (408, Some("body_timeout")), "{rules}");
        let said = String::from_utf8_lossy(&answer.body);
        assert!(said.contains(bound), "{rules}: {said}");
    }
}

#[test]
fn a_body_that_pauses_or_ends_after_a_part_of_it_left_may_have_arrived() {
    let platform = platform();
    let outbound = "threads = 2\nbody_timeout = \"300ms\"\nmax_body = \"64KiB\"".into();
    let gateway = Setup { outbound, ..Setup::unsealed() }.start(&platform).ready();
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        for ends in [false, true] {
            let mut client = gateway.client();
            client.send(format!("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\n{framing}\r\n\r\n"));
            client.send(format!("20000\r\n{}\r\n", "x".repeat(0x20000)));
            if ends {
                client.finish_sending();
            }
            let answer = client.answer();
            let expected = if ends { (400, Some("body_incomplete")) } else { (408, Some("body_timeout")) };
            assert_eq!((answer.status, answer.word()), expected, "{framing}");
            assert_eq!(answer.json()["sent"], "unknown", "{framing}");
            assert!(client.is_closed(), "{framing}");
        }
    }
    assert!(calls(&platform).iter().all(|call| !call.complete), "and the platform did not take it for whole");
}

#[test]
fn a_body_in_bad_chunks_is_incomplete() {
    let platform = platform();
    for sealed in [true, false] {
        let gateway = Setup { sealed, ..Setup::default() }.start(&platform).ready();
        let long = "x".repeat(100_000);
        for chunks in [
            "x\r\nabc\r\n0\r\n\r\n",
            "-3\r\nabc\r\n0\r\n\r\n",
            "+3\r\nabc\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "3\nabc\r\n0\r\n\r\n",
            "3;a\nabc\r\n0\r\n\r\n",
            "3;a\0\r\nabc\r\n0\r\n\r\n",
            "3 3\r\nabc\r\n0\r\n\r\n",
            " 3\r\nabc\r\n0\r\n\r\n",
            "3\r\nabc\r0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc0\r\n\r\n",
            "ffffffffffffffff\r\nabc",
            "fffffffffffffffff\r\nabc",
            "00000000000000003\r\nabc\r\n0\r\n\r\n",
            &format!("3;{long}\r\nabc\r\n0\r\n\r\n"),
            &format!("0\r\nX: {long}\r\n\r\n"),
            "0\r\nX: y\n\r\n",
            "0\r\nX: \0\r\n\r\n",
            "0\r\n\n",
        ] {
            let mut client = gateway.client();
            client.send("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n");
            client.send(chunks);
            client.finish_sending();
            let what = &chunks[..chunks.len().min(40)];
            check_refused(&mut client, 400, "body_incomplete", what);
            assert!(client.is_closed(), "{what:?}");
        }
    }
    assert!(calls(&platform).is_empty());
}
