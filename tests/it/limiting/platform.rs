//! When the platform says no, or nothing at all: the account's rate falls and rises, the breaker opens, tries and closes.

use airudder_gateway::simulator::{Fault, FaultKind};

use super::{DETAIL, limited, retry_after};
use crate::support::{Gateway, Refusing, Setup, arrived_at, calls, platform};

const RATE: &str = r#"account_rate{account="main"}"#;
const CUTS: &str = r#"account_rate_cuts_total{account="main"}"#;

/// A call is let in when it is told to go on, and its body comes later.
const SLOW_HEAD: &str =
    "POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n";

#[test]
fn a_429_halves_the_rate_at_once_and_time_brings_it_back() {
    let (platform, gateway) = limited("rate = \"1000/s\", burst = 10, least = \"100/s\"");
    assert_eq!(gateway.metric(RATE), 1000.0);
    let mut client = gateway.client();
    let mut lowest = 1000.0;
    // A second brings back 50, so what is seen of a half may be a little more.
    for (count, most) in [(1, 600.0), (2, 400.0), (3, 300.0), (4, 200.0)] {
        while gateway.metric(CUTS) < f64::from(count) {
            platform.fault(Fault::status(429));
            assert_eq!(client.get(DETAIL).status, 429, "the program reads the platform's answer");
        }
        lowest = gateway.metric(RATE).min(lowest);
        assert!(lowest <= most, "{count}: {lowest}");
    }
    assert!(lowest >= 100.0, "never below the least: {lowest}");
    assert_eq!(gateway.metric(CUTS), 4.0);
    // It rises step by step, also while nobody calls.
    let mut seen = vec![lowest];
    while seen.last().is_some_and(|rate| *rate < 250.0) {
        let before = seen[seen.len() - 1];
        gateway.until(|gateway| gateway.metric(RATE) != before);
        seen.push(gateway.metric(RATE));
    }
    assert!(seen.is_sorted() && seen.len() >= 3, "{seen:?}");
    assert_eq!(client.get(DETAIL).status, 200);
}

#[test]
fn a_503_says_no_as_well_and_an_answer_that_blames_the_call_does_not() {
    let (platform, gateway) = limited("rate = \"1000/s\"");
    let mut client = gateway.client();
    for status in [400, 404, 500, 502] {
        platform.fault(Fault::status(status));
        assert_eq!(client.get(DETAIL).status, status);
    }
    assert_eq!((gateway.metric(RATE), gateway.metric(CUTS)), (1000.0, 0.0));
    platform.fault(Fault::status(503));
    assert_eq!(client.get(DETAIL).status, 503);
    assert_eq!(gateway.metric(CUTS), 1.0);
    assert!(gateway.metric(RATE) < 1000.0);
}

#[test]
fn the_platform_s_retry_after_is_kept_and_at_most_a_minute() {
    for (asked, told) in [(20, 15..=20), (86_400, 55..=60)] {
        let (platform, gateway) = limited("rate = \"1000/s\", max_wait = \"5s\"");
        platform.fault(Fault::too_many(asked));
        let passed = gateway.client().get(DETAIL);
        assert_eq!((passed.status, passed.word()), (429, None), "the program reads the platform's answer");
        let answer = gateway.client().get(DETAIL);
        assert_eq!((answer.status, answer.word()), (429, Some("limited")));
        let wait = retry_after(&answer);
        assert!(told.contains(&wait), "{asked}: {wait}");
        let message = answer.json()["message"].as_str().expect("a message").to_owned();
        assert!(message.contains("the platform asked for a pause"), "{message}");
        assert_eq!(calls(&platform).len(), 1, "nothing left in the meantime");
        assert_eq!(gateway.metric(r#"limited_total{account="main",limit="pause"}"#), 1.0);
    }
    let (platform, gateway) = limited("rate = \"1000/s\", max_wait = \"60s\"");
    platform.fault(Fault::too_many(1));
    let first = gateway.client().get(DETAIL);
    let second = gateway.client().get(DETAIL);
    assert_eq!((first.status, second.status), (429, 200), "a short one is waited for");
    let waited = gateway.line_of(&second)["limit_wait_us"].as_u64();
    assert!(waited.is_some_and(|waited| waited > 500_000), "{waited:?}");
}

#[test]
fn a_call_that_must_not_leave_gives_its_connection_back() {
    let (platform, gateway) = limited("rate = \"1000/s\", max_wait = \"100ms\"");
    let (mut client, mut slow) = (gateway.client(), gateway.client());
    assert_eq!(client.get(DETAIL).status, 200);
    assert!(slow.send(SLOW_HEAD).head().is_some_and(|head| head.status == 100));
    platform.fault(Fault::too_many(3));
    assert_eq!(client.get(DETAIL).status, 429);
    let made = || gateway.metric(r#"upstream_connections_total{account="main",outcome="new"}"#);
    let before = made();
    slow.send(" ".repeat(998)).send("{}");
    assert_eq!(slow.answer().word(), Some("limited"), "the platform asked for a pause while its body came");
    while client.get(DETAIL).status == 429 {}
    assert_eq!(made(), before);
}

/// An operation whose credentials are the program's own, so that no login comes before it.
const WITHOUT_TOKEN: &str = "/api/v1/process/queryTaskQian";

/// The state that the breaker shows; exactly one is.
fn state(gateway: &Gateway) -> &'static str {
    let is = |state: &&&str| gateway.metric(&format!("breaker_state{{account=\"main\",state=\"{state}\"}}")) == 1.0;
    ["closed", "open", "probing"].iter().find(is).expect("a state")
}

#[test]
fn after_failures_in_a_row_nothing_is_sent_until_one_call_finds_the_platform_again() {
    let platform = platform();
    // As long as the call that tries may be held below.
    let account = "read_timeout = \"500ms\"\nbreaker = { failures = 3, open = \"1s\" }".into();
    let gateway = Setup { account, ..Setup::default() }.start(&platform).ready();
    let mut client = gateway.client();
    // Two failures and an answer: not in a row.
    let fails = |client: &mut crate::support::Client| {
        platform.fault(Fault::hang());
        assert_eq!(client.get(DETAIL).word(), Some("upstream_timeout"));
    };
    (0..2).for_each(|_| fails(&mut client));
    platform.fault(Fault::status(500));
    assert_eq!(client.get(DETAIL).status, 500);
    assert_eq!(state(&gateway), "closed");
    (0..3).for_each(|_| fails(&mut client));
    let arrived = arrived_at(&platform, "/service/cloud/detail").len();
    let answer = client.get(DETAIL);
    assert_eq!((answer.status, answer.word(), retry_after(&answer)), (503, Some("breaker_open"), 1));
    assert_eq!(answer.json()["sent"], "no");
    assert_eq!(arrived_at(&platform, "/service/cloud/detail").len(), arrived, "nothing was sent");
    assert_eq!(state(&gateway), "open");

    // The first one after the pause tries, and the others are still told to wait.
    platform.fault(FaultKind::Hold);
    std::thread::scope(|scope| {
        let tries = scope.spawn(|| {
            let mut words = Vec::new();
            loop {
                let answer = gateway.client().get(DETAIL);
                if answer.status == 200 {
                    return words;
                }
                words.push(answer.word().expect("our own").to_owned());
            }
        });
        gateway.until(|gateway| state(gateway) == "probing");
        assert_eq!(client.get(DETAIL).word(), Some("breaker_open"));
        assert_eq!(arrived_at(&platform, "/service/cloud/detail").len(), arrived + 1, "one call tries");
        platform.release();
        assert!(tries.join().expect("no panic").iter().all(|word| word == "breaker_open"));
    });
    assert_eq!(state(&gateway), "closed");
    assert_eq!(client.get(DETAIL).status, 200);
}

#[test]
fn a_body_that_comes_slowly_keeps_nobody_from_trying() {
    let platform = platform();
    let account = "read_timeout = \"100ms\"\nbreaker = { failures = 1, open = \"1s\" }".into();
    let gateway = Setup { account, ..Setup::default() }.start(&platform).ready();
    platform.fault(Fault::hang());
    let mut client = gateway.client();
    assert_eq!(client.get(DETAIL).word(), Some("upstream_timeout"));
    // The first that is let in after the pause sends its body slowly.
    let mut slow = loop {
        let mut slow = gateway.client();
        if slow.send(SLOW_HEAD).head().is_some_and(|head| head.status == 100) {
            break slow;
        }
    };
    slow.send("{");
    assert_eq!(client.get(DETAIL).status, 200, "the platform is there");
    assert_eq!(state(&gateway), "closed");
    slow.send(" ".repeat(998)).send("}");
    assert_eq!(slow.answer().status, 200);
}

#[test]
fn a_call_that_tries_and_fails_keeps_it_open() {
    let nobody = Refusing::new();
    let setup = Setup { account: "breaker = { failures = 1, open = \"1s\" }".into(), ..Setup::default() };
    let gateway = setup.start_at(&nobody.url(), None);
    // Each try is a connection that fails; in between nothing is tried.
    let failed = r#"upstream_connections_total{account="main",outcome="failed"}"#;
    let word = || gateway.client().get(WITHOUT_TOKEN).word().map(str::to_owned);
    for tries in 1..=3 {
        while word().as_deref() == Some("breaker_open") {}
        assert_eq!(gateway.metric(failed), f64::from(tries));
        assert_eq!(word().as_deref(), Some("breaker_open"));
    }
}

#[test]
fn connections_that_are_refused_open_it_and_off_means_off() {
    let nobody = Refusing::new();
    let call = |gateway: &Gateway| gateway.client().get(WITHOUT_TOKEN).word().map(str::to_owned);
    let words = |breaker: &str| {
        let gateway =
            Setup { account: format!("breaker = {breaker}"), ..Setup::default() }.start_at(&nobody.url(), None);
        (0..7).map(|_| call(&gateway).expect("a word")).collect::<Vec<_>>()
    };
    let unreachable = |count: usize| vec!["upstream_unreachable".to_owned(); count];
    let mut opened = unreachable(5);
    opened.extend(vec!["breaker_open".to_owned(); 2]);
    assert_eq!(words("{}"), opened);
    assert_eq!(words("\"off\""), unreachable(7));
}
