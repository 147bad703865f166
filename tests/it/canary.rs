//! Marked secrets, tokens, phone numbers and names go through every path there is, and then all output is searched:
//! what the gateway prints, its pages, and every answer of its own making.

mod calls;
mod marks;
mod starts;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use airudder_gateway::config::Scheme;
use airudder_gateway::secret::Secret;
use airudder_gateway::simulator::{Fault, FaultKind, Options, Page, Rest, Simulator};

use self::calls::Call;
use self::marks::{AES_KEY, API_KEY, APP_KEY, APP_SECRET, Marks, NAME, OWN_TOKEN, PHONE, TENANT_TOKEN};
use crate::support::{Client, Gateway, Refusing, Setup, close_all, platform_with, scripted, scripted_whole};

/// A platform with the marked account.
fn platform(tls: bool) -> Simulator {
    platform_with(Options {
        tls,
        key_pair: (APP_KEY.into(), APP_SECRET.into()),
        cipher: Some((Scheme::EcbZero, Secret::new(AES_KEY))),
        ..Options::default()
    })
}

/// A gateway whose every secret is marked.
fn setup(format: &str) -> Setup {
    let secrets = [
        ("APP_KEY", APP_KEY),
        ("APP_SECRET", APP_SECRET),
        ("AES_KEY", AES_KEY),
        ("API_KEY", API_KEY),
        ("TENANT", TENANT_TOKEN),
    ];
    Setup {
        outbound: "threads = 1\nmax_body = \"4KiB\"\nmax_answer = \"64KiB\"\nmax_header = \"4KiB\"\n".into(),
        account: "login = { burst = 1000, every = \"1ms\" }".into(),
        more: format!(
            "[log]\nformat = \"{format}\"\n[[program]]\nname = \"books\"\napi_key = {{ env = \"API_KEY\" }}\n\
             [[operation]]\nname = \"process.query_read\"\n\
             headers = {{ token = {{ env = \"TENANT\" }}, tenantId = {{ env = \"TENANT\" }} }}\n"
        ),
        env: secrets.map(|(name, value)| (name.into(), value.into())).into(),
        ..Setup::default()
    }
}

/// Everything that a gateway said, to be searched once all marks are known.
struct Heard {
    marks: Marks,
    /// Of the gateway's own making.
    own: Vec<(String, String)>,
    /// The platform's answers, as the gateway passed them on.
    passed: Vec<(String, String)>,
}

impl Heard {
    fn new() -> Self {
        Self { marks: Marks::new(), own: Vec::new(), passed: Vec::new() }
    }

    /// Makes a call, which has to be answered as it says, and keeps the answer.
    #[track_caller]
    fn call(&mut self, gateway: &Gateway, call: &Call) {
        let mut client = gateway.client();
        client.send(&call.bytes);
        let answer = client.try_answer(call.bytes.starts_with(b"HEAD"));
        let answer = answer.unwrap_or_else(|| panic!("an answer to {}: {}", call.name, gateway.printed()));
        assert_eq!(answer.word(), call.word, "{}: {}", call.name, gateway.printed());
        let body = String::from_utf8_lossy(&answer.body);
        let text = format!("{}\n{:?}\n{body}", answer.status_line, answer.headers);
        let kept = if answer.word().is_some() || call.answered_here { &mut self.own } else { &mut self.passed };
        kept.push((format!("the answer to {}", call.name), text));
    }

    /// Looks at every page, asked for with marks as well.
    fn pages(&mut self, gateway: &Gateway) {
        let paths = [
            "/metrics",
            "/livez",
            "/readyz",
            "/readyz/outbound",
            "/readyz/inbound",
            "/nothing",
            "/",
            "/status",
            "/status.json",
            "/inbox",
            "/call",
            "/call.json",
            "/call.json?id=1",
        ];
        for path in paths {
            // As an operator on this machine, who is shown everything there is.
            let answer =
                Client::connect(gateway.admin).send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).answer();
            let body = String::from_utf8_lossy(&answer.body);
            assert!(path != "/status.json" || body.contains("\"failures\":["), "{body}");
            self.own.push((format!("the page {path} of an operator"), format!("{:?}\n{body}", answer.headers)));
            let marked = format!("{path}/{PHONE}?{OWN_TOKEN}");
            let headers = format!("Host: {PHONE}\r\nAuthorization: Token {OWN_TOKEN}\r\nX: {NAME}");
            for request in [
                format!("GET {path} HTTP/1.1\r\n{headers}\r\n\r\n"),
                format!("GET {marked} HTTP/1.1\r\n{headers}\r\n\r\n"),
                format!(
                    "GET {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {PHONE}\r\nAuthorization: Basic {OWN_TOKEN}\r\n\r\n"
                ),
                format!("POST {marked} HTTP/1.1\r\n{headers}\r\nContent-Length: 4\r\n\r\n+628"),
                format!("{PHONE} {marked}\r\n\r\n"),
                format!("GET /{NAME}\0 HTTP/1.1\r\n{headers}\r\n\r\n"),
            ] {
                let answer = Client::connect(gateway.admin).send(&request).answer();
                let body = String::from_utf8_lossy(&answer.body);
                self.own.push((format!("the page {path}"), format!("{:?}\n{body}", answer.headers)));
            }
        }
    }

    /// What went over the wire is known now: ciphertexts, digests, tokens.
    fn learn(&mut self, platform: &Simulator) {
        for token in platform.tokens() {
            self.marks.add_token(&token);
        }
        for request in platform.requests() {
            self.marks.add_plaintext(request.opened.as_deref().unwrap_or_default());
            if request.sealed() {
                self.marks.add_ciphertext(request.query.as_deref().unwrap_or_default());
                self.marks.add_ciphertext(&String::from_utf8_lossy(&request.body));
            }
        }
    }

    /// Stops the gateway and searches everything it said. Its lines have to be there: silence would prove nothing.
    fn search(self, mut gateway: Gateway, at_least: usize) {
        gateway.terminate();
        assert!(gateway.wait().success());
        let printed = gateway.printed_whole();
        assert!(printed.lines().count() >= at_least, "{at_least} lines: {printed}");
        assert!(!printed.contains("panicked") && !printed.contains("a bug:"), "{printed}");
        self.marks.assert_none("what it printed", &printed);
        for (place, text) in &self.own {
            self.marks.assert_none(place, text);
        }
        for (place, text) in &self.passed {
            self.marks.assert_no_secret(place, text);
        }
    }
}

/// The same in both formats of the log.
fn in_both_formats(story: impl Fn(&str)) {
    for format in ["json", "human"] {
        story(format);
    }
}

#[test]
fn calls_of_every_kind_leak_nothing() {
    in_both_formats(|format| {
        let platform = platform(false);
        // The login travels sealed here, so that its ciphertext and its digest can be looked for too.
        let sealed = "\nencryption = { scheme = \"aes-ecb-zero\", key = { env = \"AES_KEY\" }, seal_login = true }";
        let mut setup = Setup { sealed: false, ..setup(format) };
        setup.account += sealed;
        let gateway = setup.start(&platform).ready();
        let mut heard = Heard::new();
        let calls: Vec<_> = calls::forwarded().into_iter().chain(calls::refused()).collect();
        for call in &calls {
            heard.call(&gateway, call);
        }
        heard.pages(&gateway);
        heard.learn(&platform);
        assert!(platform.requests().iter().any(|request| request.opened.as_deref() == Some(PHONE.as_bytes())));
        heard.search(gateway, calls.len());
    });
}

#[test]
fn faults_of_the_platform_leak_nothing() {
    let kind = Fault::new;
    let faults = || {
        vec![
            (Fault::status(500), None, None),
            (Fault::page(502, Page::Html), None, None),
            (Fault::page(200, Page::Empty), None, None),
            (Fault::too_many(7), None, None),
            (Fault::code(10_001), None, None),
            (kind(FaultKind::Refuse), None, None),
            (kind(FaultKind::Refuse).times(2), Some("token_refused"), Some("token_refused")),
            (kind(FaultKind::CutBeforeBody { reset: true }).times(2), Some("upstream_failed"), Some("outcome_unknown")),
            (Fault::cut().times(2), Some("upstream_failed"), Some("outcome_unknown")),
            (kind(FaultKind::CutMidAnswer { after: 20, reset: true }), Some("answer_cut"), Some("answer_cut")),
            (kind(FaultKind::CloseAfter), None, None),
            (kind(FaultKind::Unsealed), None, None),
            (kind(FaultKind::OtherKey), Some("answer_unreadable"), Some("answer_unreadable")),
            (kind(FaultKind::WrongDigest), Some("answer_unreadable"), Some("answer_unreadable")),
            (kind(FaultKind::NoDigest), Some("answer_unreadable"), Some("answer_unreadable")),
            (kind(FaultKind::BadBase64), Some("answer_unreadable"), Some("answer_unreadable")),
            (kind(FaultKind::Early { rest: Rest::KeepReading }), None, None),
            (kind(FaultKind::Trickle { ms: 1 }), None, None),
            (kind(FaultKind::Endless), Some("answer_too_large"), Some("answer_too_large")),
            (kind(FaultKind::Redirect { location: "/elsewhere".into() }), None, None),
        ]
    };
    in_both_formats(|format| {
        let platform = platform(false);
        let gateway = setup(format).start(&platform).ready();
        let mut heard = Heard::new();
        for (fault, of_get, of_post) in faults() {
            for call in [calls::marked_get(of_get), calls::marked_post(of_post)] {
                platform.clear_faults();
                platform.fault(fault.clone());
                heard.call(&gateway, &call);
                // The next one finds no connection that is about to close, and no login is cut after a refused token.
                gateway.has_token();
                close_all(&platform);
            }
        }
        heard.pages(&gateway);
        heard.learn(&platform);
        heard.search(gateway, 2 * faults().len());
    });
}

#[test]
fn pauses_and_programs_that_leave_leak_nothing() {
    in_both_formats(|format| {
        let platform = platform(false);
        let mut setup = setup(format);
        setup.outbound += "header_timeout = \"150ms\"\nbody_timeout = \"150ms\"\ngrace = \"100ms\"\n";
        setup.account += "\nread_timeout = \"150ms\"";
        let gateway = setup.start(&platform).ready();
        let mut heard = Heard::new();
        heard.call(&gateway, &Call::refused("a header that pauses", "header_timeout", &format!("GET /{PHONE}?{NAME}")));
        let head = calls::head("POST", "/service/cloud/task", "Content-Length: 99\r\n\r\n");
        let pausing = format!("{head}{{\"Callee\":\"{PHONE}\"");
        heard.call(&gateway, &Call::refused("a body that pauses", "body_timeout", &pausing));
        platform.fault(Fault::hang());
        heard.call(&gateway, &calls::marked_get(Some("upstream_timeout")));
        platform.fault(Fault::hang());
        heard.call(&gateway, &calls::marked_post(Some("outcome_unknown")));
        // One that leaves, and one that is there when the gateway stops.
        platform.fault(FaultKind::Hang { ms: Some(100) });
        let mut leaving = gateway.client();
        leaving.send(&calls::marked_get(None).bytes);
        drop(leaving);
        gateway.until(|gateway| gateway.printed().contains("client_gone"));
        heard.pages(&gateway);
        let mut staying = gateway.client();
        let arrived = platform.count("/service/cloud/task");
        platform.fault(Fault::hang());
        staying.send(&calls::marked_post(None).bytes);
        gateway.until(|_| platform.count("/service/cloud/task") > arrived);
        heard.learn(&platform);
        heard.search(gateway, 5);
    });
}

#[test]
fn logins_that_fail_leak_nothing() {
    in_both_formats(|format| {
        let answers = calls::nasty_answers(&format!(r#"{{"data":{{"token":"{OWN_TOKEN}\n"}},"code":200}}"#));
        let rounds = 2 * answers.len();
        let given = Arc::new(AtomicUsize::new(0));
        let gateway = setup(format).start_at(&scripted_whole(calls::in_turn(answers, given.clone())), None);
        let mut heard = Heard::new();
        for _ in 0..rounds {
            heard.call(&gateway, &calls::marked_get(Some("token_unavailable")));
            heard.pages(&gateway);
        }
        assert!(given.load(Ordering::SeqCst) >= rounds / 2, "every answer was given");
        heard.search(gateway, rounds);
    });
}

#[test]
fn answers_that_are_no_http_leak_nothing() {
    in_both_formats(|format| {
        let answers = calls::nasty_answers("{}");
        let rounds = answers.len();
        let given = Arc::new(AtomicUsize::new(0));
        let gateway = setup(format).start_at(&scripted(calls::in_turn(answers, given)), None);
        let mut heard = Heard::new();
        for _ in 0..rounds {
            let mut client = gateway.client();
            client.send(calls::head("GET", "/api/v1/process/queryTaskQian", "") + "\r\n");
            // Some of these answers are the platform's, as odd as they are; only what is ours is searched.
            if let Some(answer) = client.try_answer(false).filter(|answer| answer.word().is_some()) {
                let text = format!("{:?}{}", answer.headers, String::from_utf8_lossy(&answer.body));
                heard.own.push(("the answer".into(), text));
            }
        }
        assert!(!heard.own.is_empty());
        heard.pages(&gateway);
        heard.search(gateway, rounds);
    });
}

#[test]
fn a_platform_that_cannot_be_reached_or_trusted_leaks_nothing() {
    in_both_formats(|format| {
        let nobody = Refusing::new();
        let strange = platform(true);
        let other = platform(true);
        for (gateway, of_login, word) in [
            (setup(format).start_at(&nobody.url(), None), "token_unavailable", "upstream_unreachable"),
            (setup(format).start_at(&strange.url(), other.ca_pem()), "upstream_untrusted", "upstream_untrusted"),
        ] {
            let mut heard = Heard::new();
            heard.call(&gateway, &calls::marked_get(Some(of_login)));
            let bytes = calls::head("GET", &format!("/api/v1/process/queryTaskQian?{PHONE}"), "") + "\r\n";
            heard.call(&gateway, &Call::refused("a call without a login", word, &bytes));
            heard.pages(&gateway);
            heard.search(gateway, 3);
        }
    });
}

/// So that the search above cannot pass because it looks at nothing: a mark in a name of the configuration is found.
#[test]
fn the_search_finds_what_is_there() {
    let platform = platform(false);
    let mut setup = setup("json");
    setup.more = setup.more.replace("\"books\"", "\"6281377700042\"");
    let gateway = setup.start(&platform).ready();
    let mut heard = Heard::new();
    heard.call(&gateway, &calls::marked_get(None));
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| heard.search(gateway, 1)));
    assert!(found.is_err());
}
