//! Logins: the platform's real ones, and those that programs make, which are answered here.

use airudder_gateway::simulator::{Fault, FaultKind, Page};

use crate::support::{Setup, arrived_at, platform, wait_until};

const TASK: &str = "/service/cloud/task";
const LOGIN: &str = "/service/cloud/auth";
const PREDICT_LOGIN: &str = "/service/callcenter/call/predict/auth";

#[test]
fn whatever_a_login_fails_with_the_program_is_told_to_wait_and_nothing_else_leaves() {
    for (reason, fault) in [
        ("failing", Fault::status(500)),
        ("failing", Fault::code(500)),
        ("refused", Fault::status(401)),
        ("refused", Fault::code(403)),
        ("html", Fault::page(200, Page::Html)),
        ("empty", Fault::page(200, Page::Empty)),
        ("cut", Fault::cut()),
        ("cut", Fault::new(FaultKind::CutMidAnswer { after: 10, reset: true })),
        ("cut", Fault::new(FaultKind::Raw { text: "no HTTP\r\n\r\n".into() })),
        ("failing", Fault::new(FaultKind::Redirect { location: "https://platform.example/".into() })),
        ("timed_out", Fault::hang()),
    ] {
        let platform = platform();
        platform.fault(fault.clone().on_auth().always());
        let gateway = unpaced().start(&platform);

        let answer = gateway.client().post(TASK, r#"{"TaskName":"never sent"}"#);

        assert_eq!((answer.status, answer.word()), (502, Some("token_unavailable")), "{fault:?}: {answer:?}");
        assert_eq!(answer.json()["sent"], "no", "{fault:?}");
        let wait: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{fault:?}: {wait}");
        let line =
            gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("login failed")));
        assert_eq!(line["reason"], reason, "{fault:?}: {line}");
        assert!(platform.requests().iter().all(|request| request.path == LOGIN), "{fault:?}");

        platform.clear_faults();
        // The first may still join a login that the fault struck.
        let recovered = (0..2).any(|_| gateway.client().post(TASK, "{}").status == 200);
        assert!(recovered, "{fault:?}: it recovers without a restart");
    }
}

#[test]
fn a_platform_that_asks_for_patience_gets_it() {
    let platform = platform();
    platform.fault(Fault::too_many(40).on_auth());
    let gateway = unpaced().start(&platform);
    wait_until(&platform, "the login was throttled", |platform| platform.logins() == 1);
    for _ in 0..10 {
        let answer = gateway.client().post(TASK, "{}");
        assert_eq!((answer.word(), answer.json()["sent"].as_str()), (Some("token_unavailable"), Some("no")));
        let wait: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((1..=40).contains(&wait), "{wait}");
    }
    assert_eq!((platform.logins(), platform.requests().len()), (1, 1));
}

#[test]
fn a_wrong_key_pair_sends_nothing_but_logins() {
    let platform = platform();
    let setup = Setup { env: vec![("APP_SECRET".into(), "not-the-secret".into())], ..Setup::default() };
    let gateway = setup.start(&platform);
    let answers: Vec<_> = (0..10).map(|_| gateway.client().post(TASK, "{}")).collect();
    for answer in answers {
        assert_eq!((answer.word(), answer.json()["sent"].as_str()), (Some("token_unavailable"), Some("no")));
    }
    assert_eq!(platform.requests().len(), platform.logins());
    assert!(platform.logins() <= 3, "the burst holds for refused logins too");
    let (status, page) = gateway.admin_page("/readyz/outbound");
    assert_eq!(status, 503);
    assert!(page.contains("refused"), "{page}");
}

#[test]
fn a_programs_login_is_answered_here_however_it_is_written() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    let mut program = gateway.client();
    let json = r#"{"APPKey":"demo-key","APPSecret":"demo-secret"}"#;
    let mut tokens = vec![];
    for path in [
        LOGIN,
        "/service/cloud/auth/",
        "/service/cloud/auth?a=b",
        "//service//cloud//auth",
        "/service/./cloud/auth",
        "/service/cloud/task/../auth",
        "/service/cloud/%61uth",
        "/service/cloud%2fauth",
        "/service%2Fcloud/%2e/auth",
        "http://gateway/service/cloud/auth",
    ] {
        for (kind, body) in [
            ("application/json", json),
            ("application/x-www-form-urlencoded", "APPKey=demo-key&APPSecret=demo-secret"),
            ("application/json", ""),
        ] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let answer = program.send(request).answer();
            assert_eq!((answer.status, &answer.json()["code"]), (200, &200.into()), "{path} {body}");
            assert_eq!(answer.json()["status"], "OK");
            tokens.push(answer.json()["data"]["token"].as_str().expect("a token").to_owned());
        }
    }
    for path in [PREDICT_LOGIN, "/service/callcenter/call/predict//auth"] {
        let answer = program.post(path, json);
        assert_eq!((answer.status, &answer.json()["code"]), (200, &0.into()), "{path}");
        tokens.push(answer.json()["body"]["token"].as_str().expect("a token").to_owned());
    }
    let answer = program.get(LOGIN);
    tokens.push(answer.json()["data"]["token"].as_str().expect("a token").to_owned());
    let head = program.send(format!("HEAD {LOGIN} HTTP/1.1\r\nHost: gateway\r\n\r\n")).answer_to_head();
    assert_eq!(head.status, 200);

    let asked = r#"{"TaskName":"with what the login gave"}"#;
    let answer = program.post_with(TASK, &format!("Authorization: Token {}\r\n", tokens[0]), asked);
    assert_eq!(answer.status, 200, "{answer:?}");
    let arrived: Vec<_> = platform.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(arrived, [LOGIN, TASK], "the gateway's own login and the call");
    let real = platform.tokens();
    assert_eq!(arrived_at(&platform, TASK)[0].header("authorization"), Some(format!("Token {}", real[0]).as_str()));
    for token in tokens {
        assert_eq!(token.len(), 64, "as the platform's own");
        assert!(!real.contains(&token), "the real token reaches no program");
    }
}

#[test]
fn a_client_that_waits_for_100_continue_can_log_in() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    let mut program = gateway.client();
    program
        .send(format!("POST {LOGIN} HTTP/1.1\r\nHost: gateway\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    assert_eq!(program.head().map(|interim| interim.status), Some(100));
    assert_eq!(program.send("{}").answer().status, 200);
}

#[test]
fn a_login_that_is_no_login_is_refused_and_not_forwarded() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    let answer = gateway.client().post(LOGIN, "x".repeat(64 * 1024 + 1));
    assert_eq!((answer.status, answer.word()), (413, Some("body_too_large")));
    let answer = gateway.client().post_with(LOGIN, "Is-Encrypted: 1\r\nSigned: 00\r\n", "x");
    assert_eq!((answer.status, answer.word()), (400, Some("already_sealed")));
    assert_eq!(platform.requests().len(), 1);
}

/// Failing logins are tried again at once, and silence is short.
fn unpaced() -> Setup {
    let account = "login = { burst = 1000, every = \"10ms\" }\nread_timeout = \"1s\"";
    Setup { account: account.into(), ..Setup::default() }
}
