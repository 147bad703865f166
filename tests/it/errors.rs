//! Every answer that the gateway writes itself, produced once through the front door, as the table in
//! docs/errors.md says. A word without a producer fails the test, and so does one without a row.

use std::collections::BTreeSet;

use airudder_gateway::simulator::{Fault, FaultKind, Options};

use crate::support::{Answer, Gateway, Refusing, Setup, platform, platform_with};

/// A row of the table.
struct Row {
    word: &'static str,
    status: u16,
    sent: &'static str,
    /// Whether the remedy speaks of `Retry-After`, so that the answer has to name a time.
    names_time: bool,
}

fn rows() -> Vec<Row> {
    let page = include_str!("../../docs/errors.md");
    let row = |line: &'static str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, word, status, sent, _, remedy, _] = cells[..] else { panic!("five columns: {line}") };
        let names_time = remedy.contains("`Retry-After`");
        Row { word: word.trim_matches('`'), status: status.parse().expect("a status"), sent, names_time }
    };
    page.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[test]
fn every_word_of_the_table_is_answered_as_the_table_says() {
    let rows = rows();
    assert!(rows.len() > 20, "the table was read");
    for row in rows.iter().filter(|row| row.word != "internal") {
        let (gateway, answer) = produce(row.word);
        let word = row.word;
        let body = answer.json();
        assert_eq!(answer.word(), Some(word), "{body}\n{}", gateway.printed());
        let keys: BTreeSet<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["code", "status", "message", "data", "sent", "request_id"]), "{word}");
        assert_eq!((answer.status, &body["code"]), (row.status, &row.status.into()), "{word}");
        assert_eq!((&body["status"], &body["sent"], &body["data"]), (&word.into(), &row.sent.into(), &().into()));
        assert!(body["message"].as_str().is_some_and(|message| message.ends_with('.')), "{word}");
        let id = body["request_id"].as_str().expect("an id");
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{word}: {id}");
        assert_eq!(answer.header("x-request-id"), Some(id), "{word}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{word}");
        let wait = answer.header("retry-after").map(|wait| wait.parse::<u32>().expect("whole seconds"));
        assert_eq!(wait.is_some_and(|wait| wait > 0), row.names_time, "{word}: {wait:?}");

        let line = gateway.log_line(|line| line["request_id"] == id);
        assert_eq!((&line["outcome"], &line["status"]), (&word.into(), &row.status.into()), "{line}");
        assert_eq!(line["sent"], row.sent, "{line}");
        assert_eq!(gateway.metric(&format!("refusals_total{{outcome=\"{word}\"}}")), 1.0, "{word}");
    }
}

/// Brings a gateway to answer with this word.
fn produce(word: &str) -> (Gateway, Answer) {
    let with = |outbound: &str| Setup { outbound: format!("threads = 1\n{outbound}"), ..Setup::default() };
    match word {
        "bad_request" => raw(Setup::default(), "GET / HTTP/1.1\r\n\r\n"),
        "already_sealed" => raw(Setup::default(), "GET /x HTTP/1.1\r\nHost: g\r\nIs-Encrypted: 1\r\n\r\n"),
        "body_not_sealable" => raw(Setup::default(), "GET /x HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}"),
        "body_incomplete" => {
            raw(Setup::default(), "POST /x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        }
        "unknown_account" => raw(Setup::default(), "GET /x HTTP/1.1\r\nHost: g\r\nX-Gateway-Account: nobody\r\n\r\n"),
        "bad_deadline" => raw(Setup::default(), "GET /x HTTP/1.1\r\nHost: g\r\nX-Gateway-Deadline: soon\r\n\r\n"),
        "limited" => {
            let platform = platform();
            let setup = Setup { account: "limit = { rate = \"1/h\" }".into(), ..Setup::default() };
            let gateway = setup.start(&platform).ready();
            assert_eq!(gateway.client().get("/service/cloud/detail?TaskID=1").status, 200);
            let answer = gateway.client().get("/service/cloud/detail?TaskID=1");
            (gateway, answer)
        }
        "breaker_open" => {
            let nobody = Refusing::new();
            let setup = Setup { account: "breaker = { failures = 1 }".into(), ..Setup::default() };
            let gateway = setup.start_at(&nobody.url(), None);
            assert_eq!(gateway.client().get(WITHOUT_TOKEN).word(), Some("upstream_unreachable"));
            let answer = gateway.client().get(WITHOUT_TOKEN);
            (gateway, answer)
        }
        "unknown_program" => raw(programs(""), "GET /x HTTP/1.1\r\nHost: g\r\nX-Gateway-Key: another\r\n\r\n"),
        "token_invalid" => raw(programs(""), "GET /x HTTP/1.1\r\nHost: g\r\nAuthorization: Token x\r\n\r\n"),
        "token_expired" => {
            let platform = platform();
            let gateway = programs("token_life = \"1s\"").start(&platform);
            let answer = gateway.client().post("/service/cloud/auth", r#"{"APPKey":"k","APPSecret":"s"}"#);
            let token = answer.json()["data"]["token"].as_str().expect("a token").to_owned();
            let ask = || {
                gateway.client().post_with("/service/sms/message/v2/send", &format!("Authorization: {token}\r\n"), "")
            };
            // Until then it is refused with another word. Then another gateway counts it once.
            gateway.until(|_| ask().word() == Some("token_expired"));
            let gateway = programs("").start(&platform);
            let answer = gateway.client().post_with("/x", &format!("Authorization: {token}\r\n"), "");
            (gateway, answer)
        }
        "login_refused" => {
            raw(programs(""), "POST /service/cloud/auth HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}")
        }
        "operation_not_allowed" => raw(programs(""), "GET /x HTTP/1.1\r\nHost: g\r\nX-Gateway-Key: a-key\r\n\r\n"),
        "method_refused" => raw(Setup::default(), "TRACE / HTTP/1.1\r\nHost: g\r\n\r\n"),
        "header_timeout" => raw(with("header_timeout = \"100ms\""), "GET / HT"),
        "body_timeout" => {
            raw(with("body_timeout = \"100ms\""), "POST /x HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\n\r\n{")
        }
        "body_too_large" => {
            let long = format!("POST /x HTTP/1.1\r\nHost: g\r\nContent-Length: 1025\r\n\r\n{}", "x".repeat(1025));
            raw(with("max_body = \"1KiB\""), &long)
        }
        "header_too_large" => {
            let long = format!("GET /x HTTP/1.1\r\nHost: g\r\nX: {}\r\n\r\n", "x".repeat(1024));
            raw(with("max_header = \"1KiB\""), &long)
        }
        "token_unavailable" => faulty(Fault::status(500).on_auth().always(), "GET"),
        "token_refused" => faulty(Fault::new(FaultKind::Refuse).times(2), "GET"),
        "upstream_failed" => faulty(Fault::cut().times(2), "GET"),
        "outcome_unknown" => faulty(Fault::cut(), "POST"),
        "answer_unreadable" => faulty(FaultKind::OtherKey.into(), "GET"),
        "answer_cut" => faulty(FaultKind::CutMidAnswer { after: 10, reset: false }.into(), "GET"),
        "answer_too_large" => {
            raw(with("max_answer = \"4KiB\""), "GET /_sim/answer/8192?seal HTTP/1.1\r\nHost: g\r\n\r\n")
        }
        "upstream_unreachable" => {
            let nobody = Refusing::new();
            let gateway = Setup::default().start_at(&nobody.url(), None);
            let answer = gateway.client().get(WITHOUT_TOKEN);
            (gateway, answer)
        }
        "upstream_untrusted" => {
            let start = || platform_with(Options { tls: true, ..Options::default() });
            let (platform, other) = (start(), start());
            let gateway = Setup::default().start_at(&platform.url(), other.ca_pem());
            let answer = gateway.client().get(WITHOUT_TOKEN);
            assert_eq!(platform.requests().len(), 0, "nothing was sent");
            (gateway, answer)
        }
        "upstream_timeout" => {
            let platform = platform();
            platform.fault(Fault::hang().on_path(WITHOUT_TOKEN));
            let setup = Setup { account: "read_timeout = \"100ms\"".into(), ..Setup::default() };
            let gateway = setup.start(&platform);
            let answer = gateway.client().get(WITHOUT_TOKEN);
            (gateway, answer)
        }
        "busy" => {
            let platform = platform();
            let gateway =
                with("memory = \"1MiB\"\nmemory_wait = \"0s\"\nmax_body = \"256KiB\"\nmax_answer = \"256KiB\"")
                    .start(&platform);
            let head = "POST /x HTTP/1.1\r\nHost: g\r\nContent-Length: 262144\r\n\r\n";
            let mut slow = gateway.client();
            slow.send(head);
            gateway.until(|gateway| gateway.metric("memory_in_use_bytes") > 0.0);
            let answer = gateway.client().send(head).answer();
            (gateway, answer)
        }
        _ => crate::keyed::produce(word),
    }
}

/// A program that logs in, or shows its key, and may create tasks only.
fn programs(outbound: &str) -> Setup {
    let env = [("BOOKS_KEY", "a-key"), ("K", "k"), ("S", "s"), ("TOKEN_KEY", "what signs gateway tokens in this test")];
    Setup {
        outbound: format!("threads = 1\ntoken_key = {{ env = \"TOKEN_KEY\" }}\n{outbound}"),
        more: "[[program]]\nname = \"books\"\nkey = { env = \"K\" }\nsecret = { env = \"S\" }\n\
               api_key = { env = \"BOOKS_KEY\" }\noperations = [\"task.create\"]\n"
            .into(),
        env: env.map(|(name, value)| (name.into(), value.into())).into(),
        ..Setup::default()
    }
}

/// An operation whose credentials are the program's own, so that no login comes before it.
const WITHOUT_TOKEN: &str = "/api/v1/process/queryTaskQian";

/// The answer to exactly these bytes, with a platform that is well.
fn raw(setup: Setup, bytes: &str) -> (Gateway, Answer) {
    let platform = platform();
    let gateway = setup.start(&platform);
    let answer = gateway.client().send(bytes).answer();
    (gateway, answer)
}

/// The answer to a sealed call when this happens at the platform.
fn faulty(fault: Fault, method: &str) -> (Gateway, Answer) {
    let platform = platform();
    platform.fault(fault);
    let gateway = Setup::default().start(&platform);
    let path = "/service/cloud/detail?TaskID=1";
    let answer = match method {
        "POST" => gateway.client().post(path, "{}"),
        _ => gateway.client().get(path),
    };
    (gateway, answer)
}
