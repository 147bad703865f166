//! Tokens: a refused one costs one login and nobody a call, whatever way the platform refuses it.

use std::process::Command;

use airudder_gateway::simulator::{Fault, FaultKind, Options, RefusalStyle};

use crate::support::{Client, Setup, arrived_at, platform, platform_with, wait_until};

const TASK: &str = "/service/cloud/task";
const CLOUD_LOGIN: &str = "/service/cloud/auth";
const PREDICT: &str = "/service/callcenter/call/predict/createtask";
const PREDICT_LOGIN: &str = "/service/callcenter/call/predict/auth";

#[test]
fn a_token_revoked_under_2000_calls_costs_one_login_and_no_call_notices() {
    for style in [RefusalStyle::Http401, RefusalStyle::Ok200, RefusalStyle::Sealed200, RefusalStyle::Sealed401] {
        revoke_under(2000, style);
    }
}

fn revoke_under(calls: usize, style: RefusalStyle) {
    allow_open_files(3 * calls as u64);
    let platform = platform_with(Options { refusal: style, ..Options::default() });
    let gateway = Setup::default().start(&platform).ready();
    platform.fault(Fault::new(FaultKind::Hold).times(calls as u32));
    let mut programs: Vec<Client> = (0..calls)
        .map(|call| {
            let mut program = gateway.client();
            program.send(post(&format!(r#"{{"TaskName":"{call}"}}"#)));
            program
        })
        .collect();
    wait_until(&platform, "all calls are in flight", |platform| platform.count(TASK) == calls);

    platform.revoke_tokens();
    platform.release();

    for (call, program) in programs.iter_mut().enumerate() {
        let answer = program.answer();
        assert_eq!(answer.status, 200, "{style:?}, call {call}: {answer:?}");
        assert_eq!(answer.json()["data"]["TaskName"], call.to_string(), "{style:?}: each gets its own answer");
    }
    assert_eq!(platform.logins(), 2, "{style:?}: the one at the start and one more");
    assert_eq!(platform.count(TASK), 2 * calls, "{style:?}: each was replayed once");
    assert_eq!(gateway.metric(r#"replays_total{account="main"}"#), calls as f64, "{style:?}");
    let refreshed = r#"token_refreshes_total{account="main",family="cloud",outcome="ok"}"#;
    assert_eq!(gateway.metric(refreshed), 2.0, "{style:?}");
}

#[test]
fn a_refusal_that_comes_late_does_not_kill_the_fresh_token() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    platform.fault(Fault::new(FaultKind::Hold).on_path("/_sim/echo/late"));
    let mut late = gateway.client();
    late.send("GET /_sim/echo/late HTTP/1.1\r\nHost: gateway\r\n\r\n");
    wait_until(&platform, "it arrived", |platform| platform.count("/_sim/echo/late") == 1);
    platform.revoke_tokens();
    assert_eq!(gateway.client().post(TASK, "{}").status, 200);
    assert_eq!(platform.logins(), 2);

    platform.release();

    assert_eq!(late.answer().status, 200);
    assert_eq!(gateway.client().post(TASK, "{}").status, 200);
    assert_eq!(platform.logins(), 2, "the late refusal named a token that was replaced already");
    assert_eq!(platform.count("/_sim/echo/late"), 2);
    assert_eq!(platform.count(TASK), 3);
}

#[test]
fn the_call_centres_token_is_fetched_at_its_first_use() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    assert_eq!(gateway.client().post(TASK, "{}").status, 200);
    assert_eq!((platform.count(CLOUD_LOGIN), platform.count(PREDICT_LOGIN)), (1, 0), "nobody used it");

    for _ in 0..2 {
        let answer = gateway.client().post(PREDICT, r#"{"taskName":"one"}"#);
        assert_eq!(answer.json()["code"], 0, "{answer:?}");
    }

    assert_eq!((platform.count(CLOUD_LOGIN), platform.count(PREDICT_LOGIN)), (1, 1));
    let shown = |path: &str| arrived_at(&platform, path)[0].header("authorization").map(str::to_owned);
    assert_ne!(shown(TASK), shown(PREDICT), "each family has its own token");
}

#[test]
fn each_token_error_of_the_call_centre_is_one_login_and_one_replay() {
    let platform = platform();
    let gateway = patient().start(&platform).ready();
    assert_eq!(gateway.client().post(PREDICT, "{}").json()["code"], 0);
    for code in [10810, 10811, 10812, 10813] {
        platform.clear();
        platform.fault(Fault::code(code));
        let answer = gateway.client().post(PREDICT, r#"{"taskName":"once more"}"#);
        assert_eq!(answer.json()["code"], 0, "{code}: {answer:?}");
        assert_eq!((platform.count(PREDICT_LOGIN), platform.count(CLOUD_LOGIN)), (1, 0), "{code}");
        let tries = arrived_at(&platform, PREDICT);
        assert_eq!(tries.len(), 2, "{code}");
        assert_eq!(tries[0].opened, tries[1].opened, "{code}");
        assert_ne!(tries[0].header("authorization"), tries[1].header("authorization"), "{code}");
    }
    for code in [10809, 10814, 500] {
        platform.clear();
        platform.fault(Fault::code(code));
        assert_eq!(gateway.client().post(PREDICT, "{}").json()["code"], code, "not a token error: passed on");
        assert_eq!((platform.logins(), platform.count(PREDICT)), (0, 1), "{code}");
    }
}

#[test]
fn a_platform_that_refuses_every_token_is_asked_for_the_burst_of_logins_and_no_more() {
    let platform = platform();
    let setup = Setup { account: "login = { burst = 3, every = \"1h\" }".into(), ..Setup::default() };
    let gateway = setup.start(&platform).ready();
    platform.fault(Fault::new(FaultKind::Refuse).always());

    let mut answers: Vec<_> = (0..20).map(|_| gateway.client().post(TASK, "{}")).collect();

    let first = answers.remove(0);
    assert_eq!((first.status, first.word()), (502, Some("token_refused")), "{first:?}");
    let last = answers.pop().expect("many");
    assert_eq!((last.status, last.word()), (502, Some("token_unavailable")), "{last:?}");
    assert_eq!(last.json()["sent"], "no");
    let wait: u64 = last.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=3600).contains(&wait), "{wait}");
    assert_eq!(platform.logins(), 3);
    assert_eq!(platform.count(TASK), 3, "each token was tried once");
}

#[test]
fn the_old_token_serves_while_its_refresh_fails() {
    let platform = platform();
    let setup = Setup {
        account: "token_life = \"10s\"\nlogin = { burst = 1000, every = \"10ms\" }".into(),
        ..Setup::default()
    };
    let gateway = setup.start(&platform).ready();
    platform.fault(Fault::status(500).on_auth().always());
    // At four fifths of its life.
    wait_until(&platform, "the refresh", |platform| platform.logins() == 2);

    let answer = gateway.client().post(TASK, "{}");

    assert_eq!(answer.status, 200, "{answer:?}");
    let shown = arrived_at(&platform, TASK)[0].header("authorization").map(str::to_owned);
    assert_eq!(platform.tokens().len(), 1);
    assert_eq!(shown, Some(format!("Token {}", platform.tokens()[0])));
    platform.clear_faults();
    wait_until(&platform, "a fresh token", |platform| platform.tokens().len() == 2);
    assert_eq!(gateway.client().post(TASK, "{}").status, 200, "and it recovers by itself");
}

#[test]
fn a_token_goes_to_its_own_accounts_platform_only() {
    let (one, other) = (platform(), platform());
    let second = format!(
        "[[account]]\nname = \"other\"\nupstream = \"{}\"\nencryption = \"off\"\n\
         app_key = {{ env = \"APP_KEY\" }}\napp_secret = {{ env = \"APP_SECRET\" }}\n",
        other.url()
    );
    let gateway = Setup { more: second, ..Setup::default() }.start(&one).ready();
    assert_eq!(gateway.client().post_with(TASK, "X-Gateway-Account: other\r\n", "{}").status, 200);
    assert_eq!(gateway.client().post(TASK, "{}").status, 200);
    for (here, there) in [(&one, &other), (&other, &one)] {
        assert_eq!(here.count(TASK), 1);
        for request in here.requests() {
            let shown = request.header("authorization").unwrap_or_default();
            assert!(there.tokens().iter().all(|foreign| !shown.contains(foreign)), "{}", request.path);
        }
    }
}

/// An account whose logins are not paced.
fn patient() -> Setup {
    Setup { account: "login = { burst = 1000, every = \"10ms\" }".into(), ..Setup::default() }
}

fn post(body: &str) -> String {
    format!("POST {TASK} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Lets this process, and what it starts, open that many files; many systems begin with 1,024.
fn allow_open_files(count: u64) {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux says what it allows");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let mut numbers = line.split_whitespace().skip(3).map(|word| word.parse().unwrap_or(u64::MAX));
    let (soft, hard) = (numbers.next().expect("soft"), numbers.next().expect("hard"));
    if soft >= count {
        return;
    }
    assert!(hard >= count, "this test needs {count} open files and may have {hard}; raise the hard limit (ulimit -Hn)");
    let raised = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string(), &format!("--nofile={count}:{hard}")])
        .status()
        .expect("prlimit runs");
    assert!(raised.success(), "the soft limit of open files could not be raised to {count}");
}
