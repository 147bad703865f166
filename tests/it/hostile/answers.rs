//! Answers that never end, trickle, lie about their length or come by the hundred, from the platform and from receivers. Each
//! ends a call in bounded time and memory with the word of docs/errors.md, and a POST is never sent again.
//!
//! Told elsewhere: answers that do not open, are enormous or endless (`answers`, `slow`), that come before the request was
//! taken (`early`), that end early or are none (`outcomes`), memory that returns (`memory`), and receivers that hang, cut, or
//! have a body without end (`delivery::answers`, `inbound::relay`).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::inbound::setting::{PATH, Setting, assert_acknowledged, ended, platform as caller};
use crate::support::{Answer, Gateway, Line, Setup, scripted, scripted_whole};

/// What is said at once, what is said again and again, and how long after each other.
type Saying = (&'static str, &'static str, Duration);

/// So slow that each silence is short enough, and so seldom that it would take for ever.
const SLOWLY: Duration = Duration::from_millis(150);

const AT_ONCE: Duration = Duration::ZERO;

/// Heads without end.
const HEADS: &[(Saying, &str)] = &[
    (("HTTP/1.1 200 OK\r\nX: ", "y", SLOWLY), "outcome_unknown"),
    (("HTTP/1.1 200 OK\r\n", "X: y\r\n", SLOWLY), "outcome_unknown"),
    (("HTTP/1.1 2", "0", SLOWLY), "outcome_unknown"),
    (("", "HTTP/1.1 100 Continue\r\n\r\n", SLOWLY), "outcome_unknown"),
    (("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", AT_ONCE), "answer_unreadable"),
    (("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nX: ", "y", AT_ONCE), "answer_unreadable"),
    (("HTTP/1.1 200 OK\r\n", "X: y\r\n", AT_ONCE), "answer_unreadable"),
    (("HTTP/1.1 200 OK\r\nX: ", "y", AT_ONCE), "answer_unreadable"),
    (("HTTP/1.1 200 ", "OK", AT_ONCE), "answer_unreadable"),
    (("", "\r\n", AT_ONCE), "answer_unreadable"),
    (("", "x", AT_ONCE), "answer_unreadable"),
];

/// Heads that say two things of their bodies, or nothing that can be.
const LENGTHS: &[&str] = &[
    "Content-Length: -1",
    "Content-Length: 1, 2",
    "Content-Length: 2\r\nContent-Length: 3",
    "Content-Length: two",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
];

/// Bodies of a JSON answer that never come whole; the first is what says how they end.
const BODIES: &[(&str, &str, &str, Duration)] = &[
    ("Content-Length: 1000", "", "x", SLOWLY),
    ("Transfer-Encoding: chunked", "", "1\r\nx\r\n", SLOWLY),
    ("Transfer-Encoding: chunked", "3e8\r\n", "x", SLOWLY),
    ("Transfer-Encoding: chunked", "", "0", SLOWLY),
    ("Transfer-Encoding: chunked", "1;x=", "y", SLOWLY),
    ("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n", "X: y\r\n", SLOWLY),
    ("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\nX: ", "y", SLOWLY),
    ("X: y", "", "x", SLOWLY),
    ("Transfer-Encoding: chunked", "", "0", AT_ONCE),
    ("Transfer-Encoding: chunked", "1;x=", "y", AT_ONCE),
    ("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n", "X: y\r\n", AT_ONCE),
    ("Transfer-Encoding: chunked", "11111111111111111\r\n", "x", AT_ONCE),
    ("Transfer-Encoding: chunked", "-2\r\n{}\r\n0\r\n\r\n", "", AT_ONCE),
    ("Transfer-Encoding: chunked", "2\n{}\r\n0\r\n\r\n", "", AT_ONCE),
    ("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\nGET / HTTP/1.1\r\n\r\n", "", AT_ONCE),
];

/// Says it until nobody listens any more.
fn say(line: &mut Line, (begins, again, every): Saying) {
    line.say(begins);
    let piece = if every.is_zero() { again.repeat(500) } else { again.to_owned() };
    while !piece.is_empty() && line.says(&piece) {
        std::thread::sleep(every);
    }
    line.end();
}

/// An account that waits for a second and no longer, whose calls have nothing to do with each other.
fn impatient(sealed: bool) -> Setup {
    let account = "read_timeout = \"1s\"\nbreaker = \"off\"".into();
    Setup { account, sealed, ..Setup::default() }
}

/// How often each path was asked for.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<HashMap<String, usize>>>);

impl Counts {
    fn note(&self, head: &str) {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        *self.0.lock().expect("no panic inside").entry(path).or_default() += 1;
    }

    fn of(&self, path: &str) -> usize {
        self.0.lock().expect("no panic inside").get(path).copied().unwrap_or_default()
    }
}

/// Posts to each path of `0..cases` at the same time, at a platform that says there what `saying` has. Each POST arrives once.
fn each(setup: &Setup, cases: usize, saying: fn(usize) -> (String, Saying), check: impl Fn(usize, &Answer) + Sync) {
    let counts = Counts::default();
    let url = {
        let counts = counts.clone();
        scripted(move |head, line| {
            counts.note(head);
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
            line.hear(length.parse().expect("a number"));
            let case = head.split(' ').nth(1).and_then(|path| path[1..].parse().ok()).expect("a number");
            let (begins, saying) = saying(case);
            line.say(begins);
            say(line, saying);
        })
    };
    let gateway = setup.start_at(&url, None).ready();
    let before = gateway.peak_memory();
    std::thread::scope(|scope| {
        for case in 0..cases {
            let (gateway, check, counts) = (&gateway, &check, &counts);
            scope.spawn(move || {
                let path = format!("/{case}");
                let answer = gateway.client().post(&path, "{}");
                check(case, &answer);
                assert_eq!(counts.of(&path), 1, "{case}: a phone would have rung twice");
            });
        }
    });
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 0.0 && gateway.metric("memory_in_use_bytes") == 0.0);
    let grown = gateway.peak_memory() - before;
    assert!(grown < 48 << 20, "grew by {grown} bytes");
}

#[track_caller]
fn assert_word(answer: &Answer, word: &str, what: &dyn std::fmt::Debug) {
    let sent = if word == "outcome_unknown" { "unknown" } else { "yes" };
    assert_eq!((answer.status, answer.word()), (502, Some(word)), "{what:?}: {answer:?}");
    assert_eq!(answer.json()["sent"], sent, "{what:?}");
}

#[test]
fn a_head_without_end_is_no_answer() {
    let saying = |case: usize| (String::new(), HEADS[case].0);
    each(&impatient(false), HEADS.len(), saying, |case, answer| assert_word(answer, HEADS[case].1, &HEADS[case]));
}

#[test]
fn a_get_without_a_head_in_time_is_a_timeout() {
    let url = scripted(|_, line| say(line, HEADS[0].0));
    let answer = impatient(false).start_at(&url, None).ready().client().get("/a");
    assert_eq!((answer.status, answer.word()), (504, Some("upstream_timeout")));
    assert_eq!(answer.json()["sent"], "unknown");
}

#[test]
fn a_head_that_says_two_things_of_its_body_is_unreadable() {
    let saying = |case: usize| (format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n{{}}", LENGTHS[case]), ("", "", AT_ONCE));
    each(&impatient(false), LENGTHS.len(), saying, |case, answer| {
        assert_word(answer, "answer_unreadable", &LENGTHS[case]);
    });
}

#[test]
fn a_body_that_never_comes_whole_is_cut() {
    let saying = |case: usize| {
        let (framing, begins, again, every) = BODIES[case];
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
        (format!("{head}\r\n{framing}\r\n\r\n"), (begins, again, every))
    };
    each(&impatient(false), BODIES.len(), saying, |case, answer| assert_word(answer, "answer_cut", &BODIES[case]));
}

#[test]
fn a_sealed_body_that_never_comes_whole_is_cut_and_its_memory_returns() {
    let saying = |case: usize| {
        let (framing, begins, again, every) = BODIES[case];
        let head = "HTTP/1.1 200 OK\r\nIs-Encrypted: 1\r\nSigned: 00";
        (format!("{head}\r\n{framing}\r\n\r\n"), (begins, again, every))
    };
    each(&impatient(true), BODIES.len(), saying, |case, answer| {
        // Some of it was no base64 before it was late.
        let word = answer.word().expect("a word");
        assert!(["answer_cut", "answer_unreadable"].contains(&word), "{:?}: {answer:?}", BODIES[case]);
        assert_word(answer, word, &BODIES[case]);
    });
}

#[test]
fn a_recording_that_trickles_ends_and_does_not_look_whole() {
    let url = scripted(|_, line| {
        line.say("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 100000\r\n\r\n");
        say(line, ("", "m", SLOWLY));
    });
    let gateway = impatient(false).start_at(&url, None).ready();
    let answer = gateway.client().get("/a.mp3");
    assert_eq!((answer.status, answer.word(), answer.complete), (200, None, false));
    assert!(!answer.body.is_empty() && answer.body.len() < 1000, "{} bytes", answer.body.len());
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 0.0);
}

#[test]
fn what_follows_an_answer_is_nobody_s() {
    let second = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{\"code\":1}";
    for first in [
        "Content-Length: 12\r\n\r\n{\"code\":200}",
        "Transfer-Encoding: chunked\r\n\r\nc\r\n{\"code\":200}\r\n0\r\n\r\n",
        // Framed in two ways: by its chunks, and on a connection that nobody uses again.
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nc\r\n{\"code\":200}\r\n0\r\n\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{first}{second}");
        let url = scripted(move |_, line| {
            line.say(&answer);
            line.end();
        });
        let gateway = Setup::unsealed().start_at(&url, None).ready();
        let mut client = gateway.client();
        for _ in 0..3 {
            assert_eq!(client.get("/a").json()["code"], 200, "{first}");
        }
    }
}

/// A platform that answers as soon as somebody connects, after a first connection that logs in.
fn hasty() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (url, heard) = (format!("http://{}", listener.local_addr().expect("an address")), Arc::default());
    let kept: Arc<Mutex<Vec<String>>> = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, kept): (TcpStream, _) = (stream.expect("a connection"), kept.clone());
            std::thread::spawn(move || {
                let token = r#"{"data":{"token":"hasty"},"status":"OK","code":200}"#;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
                let _ = stream.write_all(format!("{head} {}\r\n\r\n{token}", token.len()).as_bytes());
                let mut all = String::new();
                let _ = stream.read_to_string(&mut all);
                kept.lock().expect("no panic inside").push(all);
            });
        }
    });
    (url, heard)
}

#[test]
fn an_answer_that_was_there_before_its_request_is_taken_once() {
    let (url, heard) = hasty();
    let gateway = Setup::unsealed().start_at(&url, None).ready();
    let answer = gateway.client().post("/a", "{}");
    assert_eq!((answer.status, answer.word()), (200, None));
    gateway.until(|_| heard.lock().expect("no panic").iter().any(|request| request.starts_with("POST /a ")));
    let posts = heard.lock().expect("no panic").iter().filter(|request| request.starts_with("POST /a ")).count();
    assert_eq!(posts, 1);
}

/// A gateway whose callbacks go to a receiver at this address.
fn receiving(source: &str, url: &str, more: &str) -> Gateway {
    let receiver = format!("[[receiver]]\nname = \"odd\"\nurl = \"{url}\"\n{more}\n");
    Setting { source: format!("{source}\nreceivers = [\"odd\"]"), more: receiver, ..Setting::default() }.start()
}

#[test]
fn a_receiver_that_is_asked_and_never_comes_to_an_end_is_late_or_failed() {
    let bodies = BODIES.iter().map(|&(framing, begins, again, every)| {
        (format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"), (begins, again, every))
    });
    let all: Arc<Vec<_>> = Arc::new(HEADS.iter().map(|&(saying, _)| (String::new(), saying)).chain(bodies).collect());
    let counts = Counts::default();
    let url = scripted_whole({
        let (all, counts) = (all.clone(), counts.clone());
        move |head, line| {
            counts.note(head);
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
            let body: serde_json::Value =
                serde_json::from_slice(&line.hear(length.parse().expect("a number"))).expect("JSON");
            let (begins, saying) = &all[body["case"].as_u64().expect("a case") as usize];
            line.say(begins);
            say(line, *saying);
        }
    });
    let gateway = receiving("mode = \"relay\"\nrelay_timeout = \"1s\"", &format!("{url}/decide"), "");
    let before = gateway.peak_memory();
    std::thread::scope(|scope| {
        for case in 0..all.len() {
            let (gateway, all) = (&gateway, &all);
            scope.spawn(move || {
                let answer = caller(gateway).post(PATH, format!("{{\"case\":{case}}}"));
                assert!(matches!(answer.status, 502 | 504), "{:?}: {answer:?}", all[case]);
            });
        }
    });
    assert_eq!(counts.of("/decide"), all.len(), "each was asked once");
    assert_eq!(ended(&gateway, "relay_failed"), all.len() as f64);
    let grown = gateway.peak_memory() - before;
    assert!(grown < 48 << 20, "grew by {grown} bytes");
}

#[test]
fn a_receiver_whose_heads_never_end_is_tried_again_and_then_has_its_callbacks() {
    let url = scripted_whole(|head, line| {
        let value =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.parse().ok());
        let body = line.hear(value("Content-Length: ").expect("a length"));
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        if value("X-Gateway-Attempt: ") == Some(1) {
            return say(line, HEADS[body["case"].as_u64().expect("a case") as usize].0);
        }
        line.say("HTTP/1.1 204 No Content\r\n\r\n");
        line.end();
    });
    let gateway = receiving("", &format!("{url}/take"), "timeout = \"1s\"\nretry = [\"10ms\"]");
    let attempts = |gateway: &Gateway, outcome: &str| {
        gateway.metric(&format!("delivery_attempts_total{{outcome=\"{outcome}\",receiver=\"odd\"}}"))
    };
    // One after the other, because a receiver that fails several times in a row is down for a while.
    for case in 0..HEADS.len() {
        assert_acknowledged(&caller(&gateway).post(PATH, format!("{{\"case\":{case}}}")));
        gateway.until(|gateway| attempts(gateway, "delivered") == 1.0 + case as f64);
    }
    let late = HEADS.iter().filter(|(_, word)| *word == "outcome_unknown").count();
    assert_eq!(attempts(&gateway, "timed_out"), late as f64);
    assert_eq!(attempts(&gateway, "cut"), (HEADS.len() - late) as f64);
}
