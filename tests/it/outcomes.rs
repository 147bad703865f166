//! Outcomes: what a program is told when the platform gives no answer or half of one, and how often its call arrived.

use airudder_gateway::simulator::{Fault, FaultKind, Simulator};

use crate::support::{Answer, Gateway, Setup, arrived_at, close_all, platform, stop, wait_until};

const ECHO: &str = "/_sim/echo";

#[test]
fn a_call_that_may_have_had_an_effect_and_got_no_answer_was_sent_once() {
    for sealed in [true, false] {
        let ((platform, gateway), mut unknown) = (impatient(sealed), 0.0);
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            for silence in [
                FaultKind::CutBeforeAnswer { reset: false },
                FaultKind::CutBeforeAnswer { reset: true },
                FaultKind::Hang { ms: None },
            ] {
                // Silence takes its time; one method shows it.
                if method != "POST" && matches!(silence, FaultKind::Hang { .. }) {
                    continue;
                }
                // On a fresh connection and on a pooled one.
                for _ in 0..2 {
                    platform.clear();
                    platform.fault(silence.clone());
                    let answer = call(&gateway, method, ECHO, r#"{"Callee":"+6281200000001"}"#);
                    assert_refused(&answer, 502, "outcome_unknown", "unknown", &format!("{method} {silence:?}"));
                    assert_eq!(platform.count(ECHO), 1, "{method} {silence:?}");
                    assert!(arrived_at(&platform, ECHO)[0].complete);
                    unknown += 1.0;
                    gateway.line_of(&answer);
                    assert_eq!(gateway.metric("unknown_outcomes_total{account=\"main\"}"), unknown, "and is counted");
                    assert_eq!(call(&gateway, "POST", ECHO, "{}").status, 200, "the next call finds its way");
                }
            }
        }
    }
}

#[test]
fn a_post_that_is_cut_while_it_is_sent_is_not_sent_again() {
    let (platform, gateway) = impatient(true);
    for reset in [false, true] {
        platform.clear();
        platform.fault(FaultKind::CutBeforeBody { reset });
        let answer = call(&gateway, "POST", ECHO, &"x".repeat(8 * 1024 * 1024));
        assert_refused(&answer, 502, "outcome_unknown", "unknown", &format!("reset {reset}"));
        assert_eq!(platform.count(ECHO), 1);
    }
}

#[test]
fn a_get_goes_once_more_and_then_says_that_it_failed() {
    for sealed in [true, false] {
        let (platform, gateway) = impatient(sealed);
        for reset in [false, true] {
            platform.clear();
            platform.fault(FaultKind::CutBeforeAnswer { reset });
            assert_eq!(gateway.client().get("/_sim/echo?a=b").status, 200, "the second try is answered");
            assert_eq!(platform.count(ECHO), 2);

            platform.clear();
            platform.fault(Fault::new(FaultKind::CutBeforeAnswer { reset }).always());
            let answer = gateway.client().get("/_sim/echo?a=b");
            assert_refused(&answer, 502, "upstream_failed", "unknown", "every try was cut");
            assert_eq!(platform.count(ECHO), 2, "twice and no more");
        }
        platform.clear();
        platform.fault(Fault::hang());
        let answer = gateway.client().get("/_sim/echo?a=b");
        assert_refused(&answer, 504, "upstream_timeout", "unknown", "silence");
        gateway.line_of(&answer);
        assert_eq!(gateway.metric("unknown_outcomes_total{account=\"main\"}"), 0.0, "it changes nothing");
        assert_eq!(platform.count(ECHO), 1, "a platform that is slow is not asked twice");
    }
}

#[test]
fn a_head_request_goes_once_more() {
    let (platform, gateway) = impatient(true);
    platform.fault(Fault::cut());
    let mut program = gateway.client();
    let answer = program.send("HEAD /_sim/echo HTTP/1.1\r\nHost: gateway\r\n\r\n").answer_to_head();
    assert_eq!((answer.status, platform.count(ECHO)), (200, 2));
}

#[test]
fn half_an_answer_is_no_answer_and_the_call_is_known_to_have_arrived() {
    for sealed in [true, false] {
        let (platform, gateway) = impatient(sealed);
        for method in ["POST", "GET"] {
            for half in [
                FaultKind::CutMidAnswer { after: 0, reset: false },
                FaultKind::CutMidAnswer { after: 70, reset: false },
                FaultKind::CutMidAnswer { after: 70, reset: true },
                // One byte, and then silence for longer than anybody waits.
                FaultKind::Trickle { ms: 600_000 },
            ] {
                if method != "POST" && matches!(half, FaultKind::Trickle { .. }) {
                    continue;
                }
                platform.clear();
                platform.fault(half.clone());
                let body = if method == "GET" { "" } else { "{}" };
                let answer = call(&gateway, method, ECHO, body);
                assert_refused(&answer, 502, "answer_cut", "yes", &format!("{method} {half:?}"));
                assert_eq!(platform.count(ECHO), 1, "{method} {half:?}");
            }
        }
    }
}

#[test]
fn a_recording_that_ends_early_does_not_look_whole() {
    let (platform, gateway) = impatient(true);
    for reset in [false, true] {
        platform.fault(FaultKind::CutMidAnswer { after: 10_000, reset });
        let mut program = gateway.client();
        let answer = program.get("/recordings/0f1e2d3c.mp3");
        assert_eq!(answer.status, 200);
        assert!(!answer.complete, "its length says that more was to come");
        assert!(program.is_closed());
        let line = gateway.log_line(|line| line["outcome"] == "cut_off");
        assert_eq!((&line["fault"], &line["sent"]), (&"platform".into(), &"yes".into()));
    }
}

#[test]
fn a_connection_that_the_platform_closed_is_replaced_and_no_call_notices() {
    for sealed in [true, false] {
        let (platform, gateway) = impatient(sealed);
        for round in 0..30 {
            for method in ["GET", "POST"] {
                assert_eq!(call(&gateway, "GET", "/service/cloud/robot", "").status, 200, "one is in the pool");
                assert!(close_all(&platform) > 0);
                platform.clear();
                let body = if method == "GET" { "" } else { "{}" };
                let answer = call(&gateway, method, ECHO, body);
                assert_eq!(answer.status, 200, "{method}, round {round}: {answer:?}\n{}", gateway.printed());
                assert_eq!((platform.count(ECHO), platform.connections()), (1, 1), "{method}, round {round}");
            }
        }
    }
}

#[test]
fn a_platform_that_closes_after_each_answer_is_called_without_an_error() {
    let (platform, gateway) = impatient(true);
    platform.clear();
    platform.fault(Fault::new(FaultKind::CloseAfter).always());
    for round in 1..=20 {
        for method in ["GET", "POST"] {
            let body = if method == "GET" { "" } else { "{}" };
            let answer = call(&gateway, method, ECHO, body);
            assert_eq!(answer.status, 200, "{method}, round {round}: {answer:?}");
            wait_until(&platform, "it closed", |platform| platform.open_connections() == 0);
        }
        assert_eq!((platform.count(ECHO), platform.connections()), (2 * round, 2 * round));
    }
}

#[test]
fn an_answer_that_is_not_http_is_unreadable() {
    let (platform, gateway) = impatient(true);
    for text in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ] {
        for method in ["POST", "GET"] {
            platform.clear();
            platform.fault(FaultKind::Raw { text: text.into() });
            let body = if method == "GET" { "" } else { "{}" };
            let answer = call(&gateway, method, ECHO, body);
            assert_refused(&answer, 502, "answer_unreadable", "yes", &format!("{method} {text:?}"));
            assert_eq!(platform.count(ECHO), 1, "{method} {text:?}");
        }
    }
}

#[test]
fn interim_answers_are_not_the_answer() {
    let (platform, gateway) = impatient(false);
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"code\":200}";
    platform.fault(FaultKind::Raw { text: text.into() });
    let answer = call(&gateway, "POST", ECHO, "{}");
    assert_eq!((answer.status, answer.json()["code"].as_i64(), answer.header("link")), (200, Some(200), None));
}

#[test]
fn a_platform_that_is_gone_is_unreachable_and_nothing_was_sent() {
    let (platform, gateway) = impatient(true);
    assert_eq!(call(&gateway, "POST", ECHO, "{}").status, 200, "a connection is in the pool");
    stop(&platform);
    for method in ["POST", "GET"] {
        let body = if method == "GET" { "" } else { "{}" };
        let answer = call(&gateway, method, ECHO, body);
        assert_refused(&answer, 502, "upstream_unreachable", "no", method);
    }
    assert_eq!(platform.count(ECHO), 1);
}

/// A platform, and a gateway that waits for it a second and no longer. Logins may be repeated at once.
fn impatient(sealed: bool) -> (Simulator, Gateway) {
    let platform = platform();
    let account = "read_timeout = \"1s\"\nlogin = { burst = 1000, every = \"10ms\" }".into();
    let gateway = Setup { account, sealed, ..Setup::default() }.start(&platform).ready();
    (platform, gateway)
}

fn call(gateway: &Gateway, method: &str, path: &str, body: &str) -> Answer {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    gateway.client().send(format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\n{length}\r\n{body}")).answer()
}

fn assert_refused(answer: &Answer, status: u16, word: &str, sent: &str, what: &str) {
    assert_eq!((answer.status, answer.word()), (status, Some(word)), "{what}: {answer:?}");
    assert_eq!(answer.json()["sent"], sent, "{what}");
    assert_eq!(answer.json()["code"], status, "{what}");
}
