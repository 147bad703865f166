//! The metrics move as calls go, in a format that any scraper reads, and nothing a caller sends makes a new series.

use std::path::Path;

use airudder_gateway::clock;
use airudder_gateway::metrics::catalogue;
use airudder_gateway::simulator::{Fault, FaultKind, Simulator};

use super::DETAIL;
use crate::support::{Answer, Exposition, Gateway, Refusing, Setup, platform};

/// A gateway, and its metrics as they were before.
struct Watched {
    platform: Simulator,
    gateway: Gateway,
    before: Exposition,
}

impl Watched {
    fn new() -> Self {
        let platform = platform();
        let gateway = Setup::default().start(&platform).ready();
        let before = gateway.metrics();
        Self { platform, gateway, before }
    }

    fn get(&self, path: &str) -> Answer {
        let answer = self.gateway.client().get(path);
        // What a call counts is counted when its line is written.
        self.gateway.line_of(&answer);
        answer
    }

    /// These series grew by this much since the beginning, or since the last time this was asked.
    #[track_caller]
    fn grew(&mut self, expected: &[(&str, f64)]) {
        let after = self.gateway.metrics();
        for (series, growth) in expected {
            assert_eq!(after.value(series) - self.before.value(series), *growth, "{series}");
        }
        self.before = after;
    }
}

#[test]
fn a_call_counts_once_everywhere() {
    let mut watched = Watched::new();
    watched.grew(&[
        ("memory_budget_bytes", 0.0),
        (r#"token_refreshes_total{account="main",family="cloud",outcome="ok"}"#, 0.0),
    ]);
    watched.get(DETAIL);
    watched.grew(&[
        (r#"calls_total{account="main",fault="none",program="-"}"#, 1.0),
        (r#"operation_calls_total{fault="none",operation="task.detail"}"#, 1.0),
        (r#"answers_total{account="main",code="2xx"}"#, 1.0),
        (r#"body_codes_total{account="main",outcome="ok"}"#, 1.0),
        ("call_seconds_count", 1.0),
        (r#"phase_seconds_count{phase="seal"}"#, 1.0),
        (r#"phase_seconds_count{phase="platform"}"#, 1.0),
        (r#"phase_seconds_count{phase="deliver"}"#, 1.0),
        (r#"upstream_connections_total{account="main",outcome="new"}"#, 1.0),
        (r#"upstream_connections_total{account="main",outcome="reused"}"#, 0.0),
        ("calls_in_flight", 0.0),
        ("memory_in_use_bytes", 0.0),
    ]);
    assert_eq!(watched.before.value("memory_budget_bytes"), 512.0 * 1024.0 * 1024.0);
    assert_eq!(watched.before.value(&format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
}

#[test]
fn answers_are_counted_by_class_and_by_the_code_in_their_body() {
    let mut watched = Watched::new();
    watched.platform.fault(Fault::code(10_001));
    watched.get(DETAIL);
    watched.get("/_sim/status/404");
    watched.get("/_sim/status/500");
    watched.get("/_sim/status/302");
    watched.get("/recordings/1.mp3");
    watched.grew(&[
        (r#"answers_total{account="main",code="2xx"}"#, 2.0),
        (r#"answers_total{account="main",code="3xx"}"#, 1.0),
        (r#"answers_total{account="main",code="4xx"}"#, 1.0),
        (r#"answers_total{account="main",code="5xx"}"#, 1.0),
        (r#"body_codes_total{account="main",outcome="failing"}"#, 4.0),
        (r#"body_codes_total{account="main",outcome="none"}"#, 1.0),
        (r#"operation_calls_total{fault="platform",operation="task.detail"}"#, 1.0),
        (r#"operation_calls_total{fault="platform",operation="other"}"#, 2.0),
        (r#"operation_calls_total{fault="program",operation="other"}"#, 1.0),
    ]);
}

#[test]
fn a_refused_token_shows_in_replays_logins_and_expiry() {
    let watched = Watched::new();
    let expiry = r#"token_expiry_timestamp_seconds{account="main",family="cloud"}"#;
    let day = watched.before.value(expiry) - clock::wall_millis() as f64 / 1000.0;
    assert!(day > 86_000.0 && day <= 86_401.0, "a token of 24 h ends in {day} s");

    watched.platform.revoke_tokens();
    watched.platform.fault(Fault::hang().on_auth());
    let mut waiting = watched.gateway.client();
    waiting.send(format!("GET {DETAIL} HTTP/1.1\r\nHost: g\r\n\r\n"));
    watched.gateway.until(|gateway| gateway.metric(expiry) == 0.0);
    let replays = r#"replays_total{account="main"}"#;
    watched.gateway.until(|gateway| gateway.metric(replays) == 1.0);
    assert_eq!(watched.gateway.metric("calls_in_flight"), 1.0);
    drop(waiting);
    watched.gateway.until(|gateway| gateway.metric("calls_in_flight") == 0.0);

    let mut watched = Watched::new();
    watched.platform.revoke_tokens();
    watched.get(DETAIL);
    watched.grew(&[
        (replays, 1.0),
        (r#"token_refreshes_total{account="main",family="cloud",outcome="ok"}"#, 1.0),
        (r#"answers_total{account="main",code="4xx"}"#, 1.0),
        (r#"answers_total{account="main",code="2xx"}"#, 1.0),
        ("call_seconds_count", 1.0),
    ]);
    assert!(watched.before.value(expiry) > clock::wall_millis() as f64 / 1000.0 + 86_000.0);
}

#[test]
fn a_login_that_fails_is_counted_by_its_reason() {
    let platform = platform();
    platform.fault(Fault::status(500).on_auth().always());
    let gateway = Setup::default().start(&platform);
    let refreshes =
        |outcome: &str| format!("token_refreshes_total{{account=\"main\",family=\"cloud\",outcome=\"{outcome}\"}}");
    gateway.until(|gateway| gateway.metric(&refreshes("failing")) >= 1.0);
    // The burst is three logins.
    let words: Vec<_> = (0..4).map(|_| gateway.client().get(DETAIL).word().map(str::to_owned)).collect();
    assert!(words.iter().all(|word| word.as_deref() == Some("token_unavailable")), "{words:?}");
    gateway.until(|gateway| gateway.metric(&refreshes("withheld")) >= 1.0);
    assert_eq!(gateway.metric(&refreshes("failing")), 3.0);
}

#[test]
fn connections_are_told_apart_by_how_they_came_about() {
    let mut watched = Watched::new();
    let count = |outcome: &str| format!("upstream_connections_total{{account=\"main\",outcome=\"{outcome}\"}}");
    let (new, reused, replaced, failed) = (count("new"), count("reused"), count("replaced"), count("failed"));
    watched.get(DETAIL);
    watched.grew(&[(&new, 1.0), (&reused, 0.0), (&replaced, 0.0)]);
    watched.get(DETAIL);
    watched.grew(&[(&new, 0.0), (&reused, 1.0), (&replaced, 0.0)]);
    watched.platform.fault(Fault::cut());
    assert_eq!(watched.get(DETAIL).status, 200);
    watched.grew(&[(&new, 1.0), (&reused, 1.0), (&replaced, 1.0), (&failed, 0.0)]);

    let nobody = Refusing::new();
    let gateway = Setup::default().start_at(&nobody.url(), None);
    let answer = gateway.client().get("/api/v1/process/queryTaskQian");
    gateway.line_of(&answer);
    assert_eq!((gateway.metric(&failed), gateway.metric(&new)), (1.0, 0.0));
}

#[test]
fn an_answer_that_cannot_be_opened_is_counted_by_its_reason() {
    let mut watched = Watched::new();
    let reason = |reason: &str| format!("crypto_failures_total{{account=\"main\",reason=\"{reason}\"}}");
    for (fault, word) in [
        (FaultKind::WrongDigest, "digest"),
        (FaultKind::OtherKey, "digest"),
        (FaultKind::NoDigest, "unsigned"),
        (FaultKind::BadBase64, "base64"),
    ] {
        watched.platform.fault(fault);
        watched.get(DETAIL);
        watched.grew(&[(&reason(word), 1.0), (r#"refusals_total{outcome="answer_unreadable"}"#, 1.0)]);
    }
}

#[test]
fn ten_thousand_inventive_callers_make_no_new_series() {
    const CALLS: usize = 10_000;
    const BATCH: usize = 500;
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    // One of each kind that the crowd below will be.
    let kinds = |n: usize| {
        [
            format!("GET /p{n}/{n}?q{n}={n} HTTP/1.1\r\nHost: h{n}\r\nSigned: {n}\r\n\r\n"),
            format!("GET /p{n} HTTP/1.1\r\nHost: h{n}\r\nX-Gateway-Account: a{n}\r\nX-Request-Id: {n}\r\n\r\n"),
            format!("GET /service/cloud/p{n} HTTP/1.1\r\nHost: h{n}\r\nX-H{n}: {n}\r\nIs-Encrypted: {n}\r\n\r\n"),
            format!("M{n} /service/callcenter/call/predict/p{n} HTTP/1.1\r\nHost: h{n}\r\nSigned: {n}\r\n\r\n"),
        ]
    };
    let forwarded = |n: usize| format!("M{n} /p{n} HTTP/1.1\r\nHost: h{n}\r\nX-H{n}: {n}\r\n\r\n");
    let mut client = gateway.client();
    for request in kinds(0).into_iter().chain([forwarded(0), forwarded(0)]) {
        let answer = client.send(request).answer();
        gateway.line_of(&answer);
    }
    let before = gateway.metrics();

    for batch in 0..CALLS / BATCH {
        let requests: Vec<_> = (0..BATCH).map(|n| kinds(1 + batch * BATCH + n)[n % 4].clone()).collect();
        client.send(requests.concat());
        for _ in 0..BATCH {
            assert_eq!(client.answer().status, 400);
        }
        assert_eq!(client.send(forwarded(1 + batch)).answer().status, 404);
    }

    gateway.until(|gateway| gateway.metric("call_seconds_count") >= (CALLS + CALLS / BATCH) as f64);
    let (before, after) = (before.series(), gateway.metrics());
    let new: Vec<_> = after.series().into_iter().filter(|series| !before.contains(series)).collect();
    assert_eq!(new, [""; 0]);
}

/// The reader above is strict, or the tests here would say nothing.
#[test]
fn a_page_that_breaks_the_format_is_noticed() {
    let histogram = |samples: &str| format!("# HELP h x\n# TYPE h histogram\n{samples}");
    let fine = "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    let pages = [
        "# HELP a_total x\n# TYPE a_total counter\na_total 1".to_owned(),
        "a_total 1\n".into(),
        "# HELP a_total x\na_total 1\n".into(),
        "# HELP a x\n# TYPE a counter\na 1\n".into(),
        "# HELP a_total x\n# TYPE a_total counter\na_total 1\na_total 2\n".into(),
        "# HELP a_total x\n# TYPE a_total counter\nb_total 1\n".into(),
        "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"1\\\"} 1\n".into(),
        "# HELP a_total x\n# TYPE a_total counter\na_total{b=1} 1\n".into(),
        "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"1\"c=\"2\"} 1\n".into(),
        "# HELP a_total x\n# TYPE a_total counter\na_total{b-c=\"1\"} 1\n".into(),
        "# HELP a_total x\n# TYPE a_total counter\na_total one\n".into(),
        "# HELP a x\n# TYPE a gauge\na 1\n".repeat(2),
        histogram(&fine.replace("\"1\"} 1", "\"1\"} 3")),
        histogram(&fine.replace("h_count 2", "h_count 3")),
        histogram(&fine.replace("h_sum 3\n", "")),
        histogram(&fine.replace("le=\"1\"", "le=\"one\"")),
        histogram("h_sum 3\nh_count 2\n"),
    ];
    assert_eq!(Exposition::parse(&histogram(fine)).samples.len(), 4);
    for page in pages {
        assert!(std::panic::catch_unwind(|| Exposition::parse(&page)).is_err(), "{page}");
    }
}

#[test]
fn pages_name_series_as_they_are_scraped() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let pages = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let mut wrong = Vec::new();
    for path in pages.chain(["README.md", "SECURITY.md"].map(|name| root.join(name))) {
        let page = std::fs::read_to_string(&path).expect("text");
        for (number, line) in (1..).zip(page.lines()) {
            // Words of one part are words of the language, too.
            let series = catalogue::ALL.iter().map(|series| series.name).filter(|name| name.contains('_'));
            let bare = series
                .filter(|name| [format!("`{name}`"), format!("`{name}{{")].iter().any(|bare| line.contains(bare)));
            wrong.extend(bare.map(|name| format!("{}:{number}: {}{name}", path.display(), catalogue::PREFIX)));
        }
    }
    assert!(wrong.is_empty(), "a rule that is copied from there finds nothing:\n{}", wrong.join("\n"));
}
