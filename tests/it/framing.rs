//! However a body is framed or packed, it passes whole, and the next message is found behind it.

use std::io::Read;

use airudder_gateway::envelope::Signed;
use airudder_gateway::simulator::{Received, Simulator};

use crate::support::{Client, Setup, calls, platform, scripted};

fn last_call(platform: &Simulator) -> Received {
    calls(platform).pop().expect("it arrived")
}

/// The connection is where both sides think it is: one more call on it succeeds.
fn check_reusable(client: &mut Client) {
    assert_eq!(client.get("/service/cloud/robot").status, 200, "the connection can be used again");
}

#[test]
fn a_packed_answer_passes_as_it_is_where_nothing_has_to_be_opened() {
    let platform = platform();
    let gateway = Setup::unsealed().start(&platform);
    let mut client = gateway.client();
    let answer = client.send("GET /_sim/gzip HTTP/1.1\r\nHost: gateway\r\nAccept-Encoding: gzip, br\r\n\r\n").answer();
    assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("gzip")));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).expect("gzip");
    assert!(text.contains("\"path\":\"/_sim/gzip\""), "{text}");
    // Only the coding that can be unpacked here is asked for, so that the code inside can be read: a dead token would
    // have been noticed.
    assert_eq!(last_call(&platform).header("accept-encoding"), Some("gzip"));
    assert_eq!(gateway.log_line(|line| line["operation"] == "other")["platform_code"], 200);
    check_reusable(&mut client);
}

#[test]
fn a_sealed_call_never_asks_for_a_packed_answer_and_opens_one() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    let mut client = gateway.client();
    let answer =
        client.send("GET /_sim/gzip?a=b HTTP/1.1\r\nHost: gateway\r\nAccept-Encoding: gzip, br\r\n\r\n").answer();
    assert_eq!((answer.status, answer.header("content-encoding")), (200, None));
    assert_eq!(answer.json()["data"]["path"], "/_sim/gzip");
    assert_eq!(last_call(&platform).header("accept-encoding"), None);
    check_reusable(&mut client);
}

#[test]
fn answers_without_a_body_have_none() {
    let platform = platform();
    for setup in [Setup::unsealed(), Setup::default()] {
        let gateway = setup.start(&platform);
        let mut client = gateway.client();
        for status in [204, 304] {
            let answer = client.get(&format!("/_sim/status/{status}"));
            assert_eq!((answer.status, answer.word()), (status, None));
            assert_eq!(answer.header("transfer-encoding"), None);
            assert!(matches!(answer.header("content-length"), None | Some("0")), "{:?}", answer.headers);
            check_reusable(&mut client);
        }
        for path in ["/_sim/echo", "/_sim/chunked", "/_sim/close", "/_sim/answer/7000", "/_sim/status/500"] {
            let answer = client.send(format!("HEAD {path} HTTP/1.1\r\nHost: gateway\r\n\r\n")).answer_to_head();
            assert_eq!(answer.word(), None, "{path}");
            assert_eq!(answer.header("transfer-encoding"), None, "{path}");
            if path.ends_with("7000") {
                assert_eq!(answer.header("content-length"), Some("7000"), "what a GET would bring");
            }
            check_reusable(&mut client);
        }
    }
}

#[test]
fn answers_in_chunks_and_to_the_end_of_the_connection_pass_whole() {
    let platform = platform();
    for setup in [Setup::unsealed(), Setup::default()] {
        let gateway = setup.start(&platform);
        let mut client = gateway.client();
        let body = "x".repeat(3000);
        for path in ["/_sim/chunked", "/_sim/close"] {
            let answer = client.post_with(path, &format!("X-Long: {body}\r\n"), &body);
            assert_eq!((answer.status, answer.complete), (200, true), "{path}");
            assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()), "{path}");
            assert_eq!(answer.json()["data"]["path"], path);
            check_reusable(&mut client);
        }
    }
}

#[test]
fn an_answer_without_a_length_streams_in_chunks_and_ends_when_the_platform_ends_it() {
    let size = 300_000;
    let url = scripted(move |_, line| {
        line.say("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n");
        line.say(vec![b'm'; size]);
    });
    let gateway = Setup::unsealed().start_at(&url, None);
    let mut client = gateway.client();
    for _ in 0..2 {
        let answer = client.get("/a.mp3");
        assert_eq!((answer.header("transfer-encoding"), answer.header("content-length")), (Some("chunked"), None));
        assert!(answer.complete && answer.body == vec![b'm'; size], "{} bytes", answer.body.len());
    }
}

#[test]
fn requests_in_chunks_arrive_whole_and_with_a_length() {
    let platform = platform();
    let body = "0123456789".repeat(2000);
    let chunked = |chunk: usize| {
        let mut text = String::new();
        for piece in body.as_bytes().chunks(chunk) {
            text.push_str(&format!(
                "{:X};name=\"va;lue\"\r\n{}\r\n",
                piece.len(),
                std::str::from_utf8(piece).expect("ASCII")
            ));
        }
        text + "0\r\nX-Trailer: dropped\r\n\r\n"
    };
    for (setup, sealed) in [(Setup::unsealed(), false), (Setup::default(), true)] {
        let gateway = setup.start(&platform);
        let mut client = gateway.client();
        for chunk in [7, 1000, 20_000] {
            let head =
                "POST /_sim/echo HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n";
            let answer = client.send(head.to_owned() + &chunked(chunk)).answer();
            assert_eq!(answer.status, 200, "chunks of {chunk}: {}", String::from_utf8_lossy(&answer.body));
            let arrived = last_call(&platform);
            let plain = if sealed { arrived.opened.clone().expect("it was sealed") } else { arrived.body.clone() };
            assert_eq!(Signed::of(&plain).as_str(), Signed::of(body.as_bytes()).as_str(), "chunks of {chunk}");
            assert_eq!(arrived.header("content-length"), Some(arrived.body.len().to_string().as_str()));
            for gone in ["transfer-encoding", "trailer", "x-trailer"] {
                assert_eq!(arrived.header(gone), None);
            }
            check_reusable(&mut client);
        }
    }
}

#[test]
fn an_http_1_0_program_gets_no_chunks_and_its_connection_closes_unless_it_asks() {
    let platform = platform();
    for setup in [Setup::unsealed(), Setup::default()] {
        let gateway = setup.start(&platform);

        let mut once = gateway.client();
        let answer = once.send("GET /service/cloud/detail?TaskID=1 HTTP/1.0\r\n\r\n").answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(answer.json()["data"]["TaskID"], "1");
        assert!(once.is_closed());

        let mut kept = gateway.client();
        for _ in 0..2 {
            let head = "POST /_sim/chunked HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}";
            let answer = kept.send(head).answer();
            assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
            assert_eq!(answer.header("transfer-encoding"), None);
        }
    }
}

#[test]
fn an_http_1_0_program_gets_a_body_without_a_length_up_to_the_end_of_its_connection() {
    let url = scripted(|_, line| {
        line.say("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n");
        line.say(format!("11170\r\n{}\r\n0\r\n\r\n", "m".repeat(70_000)));
    });
    let gateway = Setup::unsealed().start_at(&url, None);
    for asks in ["", "Connection: keep-alive\r\n"] {
        let mut client = gateway.client();
        let answer = client.send(format!("GET /a.mp3 HTTP/1.0\r\n{asks}\r\n")).answer();
        assert_eq!((answer.header("transfer-encoding"), answer.header("content-length")), (None, None));
        assert_eq!(answer.header("connection"), Some("close"), "{asks:?}");
        assert!(answer.body == vec![b'm'; 70_000], "{} bytes", answer.body.len());
    }
}
