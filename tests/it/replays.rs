//! Replays: a call whose token was refused goes out once more, whole, and never a third time.

use airudder_gateway::simulator::{Fault, FaultKind, Options, Received, RefusalStyle};

use crate::support::{Answer, Gateway, Setup, arrived_at, platform, platform_with};

const ECHO: &str = "/_sim/echo";
const SIZES: [usize; 3] = [1024, 70 * 1024, 5 * 1024 * 1024];

#[test]
fn bodies_replay_whole_and_byte_for_byte() {
    for (sealed, style) in [
        (true, RefusalStyle::Http401),
        (true, RefusalStyle::Sealed200),
        (false, RefusalStyle::Http401),
        (false, RefusalStyle::Ok200),
    ] {
        let platform = platform_with(Options { refusal: style, ..Options::default() });
        let gateway = unpaced(sealed).start(&platform).ready();
        for size in SIZES {
            for chunked in [false, true] {
                let body = numbers(size);
                platform.clear();
                platform.revoke_tokens();

                let answer = post(&gateway, &body, chunked);

                let what = format!("{size} bytes, sealed {sealed}, {style:?}, chunked {chunked}");
                assert_eq!(answer.status, 200, "{what}: {answer:?}");
                assert_eq!(answer.json()["code"], 200, "{what}");
                let tries = arrived_at(&platform, ECHO);
                assert_eq!(tries.len(), 2, "{what}");
                for one in &tries {
                    assert!(one.complete, "{what}");
                    assert!(plaintext(one) == body, "{what}: it arrived changed");
                }
                assert!(tries[0].body == tries[1].body, "{what}: the same bytes");
                assert_eq!(tries[0].sealed(), sealed, "{what}");
                assert_ne!(tries[0].header("authorization"), tries[1].header("authorization"), "{what}");
            }
        }
    }
}

#[test]
fn a_query_replays_as_it_was_sealed_on_the_connection_that_is_there() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    assert_eq!(gateway.client().get("/_sim/echo?a=b").status, 200);
    platform.revoke_tokens();
    platform.clear();

    assert_eq!(gateway.client().get("/_sim/echo?Callee=%2B6281200000001").status, 200);

    let tries = arrived_at(&platform, ECHO);
    assert_eq!(tries.len(), 2);
    assert_eq!(tries[0].opened.as_deref(), Some(b"Callee=%2B6281200000001".as_slice()));
    assert_eq!(tries[0].query, tries[1].query);
    assert_eq!(tries[0].connection, tries[1].connection, "a refusal is an answer like any other");
}

#[test]
fn a_head_request_replays_too() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    platform.revoke_tokens();
    let mut program = gateway.client();
    let answer = program.send("HEAD /_sim/echo HTTP/1.1\r\nHost: gateway\r\n\r\n").answer_to_head();
    assert_eq!((answer.status, platform.count(ECHO), platform.logins()), (200, 2, 2));
    assert_eq!(program.get(ECHO).status, 200, "and the connection goes on");
}

#[test]
fn a_second_refusal_is_an_answer_and_the_call_arrived_twice_at_most() {
    for sealed in [true, false] {
        let platform = platform();
        let gateway = unpaced(sealed).start(&platform).ready();
        platform.fault(Fault::new(FaultKind::Refuse).times(2));

        let answer = gateway.client().post(ECHO, "{}");

        assert_eq!((answer.status, answer.word()), (502, Some("token_refused")), "{answer:?}");
        assert_eq!((&answer.json()["sent"], &answer.json()["code"]), (&"yes".into(), &502.into()));
        assert_eq!(platform.count(ECHO), 2);
        assert_eq!(gateway.client().post(ECHO, "{}").status, 200, "the next call starts with a fresh token");
        assert_eq!(platform.count(ECHO), 3);
    }
}

#[test]
fn a_replay_that_gets_no_answer_does_not_go_again() {
    let platform = platform();
    let gateway = unpaced(true).start(&platform).ready();
    platform.fault(Fault::new(FaultKind::Refuse));
    platform.fault(Fault::cut());
    let answer = gateway.client().post(ECHO, "{}");
    assert_eq!((answer.status, answer.word()), (502, Some("outcome_unknown")), "{answer:?}");
    assert_eq!(answer.json()["sent"], "unknown");
    assert_eq!(platform.count(ECHO), 2);
}

#[test]
fn a_replay_without_a_token_says_that_the_first_try_arrived() {
    let platform = platform();
    let gateway = unpaced(true).start(&platform).ready();
    platform.fault(Fault::status(500).on_auth().always());
    platform.fault(Fault::new(FaultKind::Refuse));
    let answer = gateway.client().post(ECHO, "{}");
    assert_eq!((answer.status, answer.word()), (502, Some("token_unavailable")), "{answer:?}");
    assert_eq!(answer.json()["sent"], "yes");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(platform.count(ECHO), 1);
}

#[test]
fn a_body_that_streamed_cannot_go_again_and_the_answer_says_so() {
    let platform = platform();
    let small = Setup { outbound: "threads = 2\nmax_body = \"64KiB\"".into(), ..unpaced(false) };
    let gateway = small.start(&platform).ready();
    let body = numbers(1024 * 1024);
    for chunked in [false, true] {
        platform.clear();
        platform.revoke_tokens();
        let answer = post(&gateway, &body, chunked);
        assert_eq!((answer.status, answer.word()), (502, Some("token_refused")), "{answer:?}");
        assert_eq!(answer.json()["sent"], "yes");
        let message = answer.json()["message"].to_string();
        assert!(message.contains("not held"), "{message}");
        assert_eq!(platform.count(ECHO), 1);
        assert_eq!(post(&gateway, &body, chunked).status, 200, "the program's own repetition has a fresh token");
        assert!(arrived_at(&platform, ECHO)[1].body == body);
    }
}

/// Tokens may be refused as often as a test likes.
fn unpaced(sealed: bool) -> Setup {
    Setup { account: "login = { burst = 1000, every = \"10ms\" }".into(), sealed, ..Setup::default() }
}

fn post(gateway: &Gateway, body: &[u8], chunked: bool) -> Answer {
    if !chunked {
        return gateway.client().post(ECHO, body);
    }
    let mut request =
        format!("POST {ECHO} HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    // Sizes that fit no block of anything.
    for piece in body.chunks(9973) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    gateway.client().send(request).answer()
}

/// JSON of this size in which no two places look alike.
fn numbers(size: usize) -> Vec<u8> {
    let mut text = String::from("[");
    for number in 0.. {
        text.push_str(&format!("{number},"));
        if text.len() >= size {
            break;
        }
    }
    text.truncate(size - 1);
    text.push(']');
    text.into_bytes()
}

fn plaintext(request: &Received) -> &[u8] {
    request.opened.as_deref().unwrap_or(&request.body)
}
