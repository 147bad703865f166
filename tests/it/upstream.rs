//! The way to the platform: TLS that verifies or nothing at all.

use std::net::TcpListener;
use std::thread;

use airudder_gateway::simulator::{Options, Simulator, recording_bytes};

use crate::support::{Answer, Gateway, Refusing, Setup, arrived_at, close_all, platform_with, stop};

const ECHO: &str = "/_sim/echo";
/// It needs no token, so that the way itself is what fails.
const QUERY_READ: &str = "/api/v1/process/queryTaskQian";

#[test]
fn calls_go_over_tls_that_verifies() {
    let platform = tls(|_| {});
    let gateway = Setup::default().start(&platform).ready();
    platform.clear();
    let mut program = gateway.client();
    for size in [2, 1024, 70 * 1024, 5 * 1024 * 1024] {
        let body = format!("[{}]", "7".repeat(size - 2));
        let answer = program.post(ECHO, &body);
        assert_eq!(answer.status, 200, "{size}: {answer:?}");
        let arrived = arrived_at(&platform, ECHO).pop().expect("it arrived");
        assert!(arrived.sealed() && arrived.opened.as_deref() == Some(body.as_bytes()), "{size}");
        let answer = program.get(&format!("/_sim/answer/{}?a=b", size.max(44)));
        assert_eq!((answer.status, answer.body.len()), (200, size.max(44)));
    }
    let recording = program.get("/recordings/0f1e2d3c.mp3");
    assert!(recording.body == recording_bytes(0..48 * 1024));
    assert_eq!(platform.connections(), 1, "one connection, used again");

    platform.revoke_tokens();
    assert_eq!(program.post(ECHO, "{}").status, 200, "replayed");
    for _ in 0..20 {
        assert!(close_all(&platform) > 0);
        platform.clear();
        let answer = program.post(ECHO, "{}");
        assert_eq!((answer.status, platform.count(ECHO)), (200, 1), "replaced: {answer:?}");
    }
}

#[test]
fn a_name_is_verified_as_well_as_an_address() {
    let platform = tls(|options| options.tls_names = vec!["localhost".into()]);
    let at = |host: &str| format!("https://{host}:{}", platform.address().port());
    let by_name = Setup::default().start_at(&at("localhost"), platform.ca_pem()).ready();
    assert_eq!(by_name.client().post(ECHO, "{}").status, 200);
    let before = platform.requests().len();
    let by_address = Setup::default().start_at(&at("127.0.0.1"), platform.ca_pem());
    assert_untrusted(&by_address, "an address that the certificate does not name");
    assert_eq!(platform.requests().len(), before);
}

#[test]
fn nothing_is_sent_to_a_platform_that_does_not_verify() {
    let (one, other) = (tls(|_| {}), tls(|_| {}));
    let named = tls(|options| options.tls_names = vec!["platform.example".into()]);
    for (what, platform, ca) in [
        ("another authority", &one, other.ca_pem()),
        ("an authority that the system does not know", &one, None),
        ("another name", &named, named.ca_pem()),
    ] {
        let gateway = Setup::default().start_at(&platform.url(), ca);
        assert_untrusted(&gateway, what);
        let (status, page) = gateway.admin_page("/readyz/outbound");
        assert_eq!((status, page.contains("untrusted")), (503, true), "{what}: {page}");
        assert!(platform.requests().is_empty(), "{what}: {:?}", platform.requests());
    }
}

#[test]
fn a_platform_that_no_longer_verifies_gets_nothing_though_a_token_is_held() {
    let platform = tls(|_| {});
    let gateway = Setup::default().start(&platform).ready();
    assert_eq!(gateway.client().post(ECHO, "{}").status, 200);
    let address = platform.address();
    stop(&platform);
    let impostor = tls(|options| options.listen = address);
    assert_untrusted(&gateway, "another authority at the same address");
    assert!(impostor.connections() > 0);
    assert!(impostor.requests().is_empty());
}

#[test]
fn a_handshake_that_breaks_off_says_nothing_of_trust() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    let gateway = Setup::default().start_at(&url, tls(|_| {}).ca_pem());
    let answer = gateway.client().post(QUERY_READ, "{}");
    assert_refused(&answer, "upstream_unreachable", "a platform that closes at once");
    let answer = gateway.client().post(ECHO, "{}");
    assert_refused(&answer, "token_unavailable", "its login too");
}

#[test]
fn nobody_listens_there() {
    let refusing = Refusing::new();
    let gateway = Setup::default().start_at(&refusing.url(), None);
    // A fifth one would open the breaker.
    for _ in 0..4 {
        assert_refused(&gateway.client().post(QUERY_READ, "{}"), "upstream_unreachable", "refused");
        assert_refused(&gateway.client().post(ECHO, "{}"), "token_unavailable", "no login either");
    }
    let (status, page) = gateway.admin_page("/readyz/outbound");
    assert_eq!((status, page.contains("unreachable")), (503, true), "{page}");
}

fn tls(change: impl FnOnce(&mut Options)) -> Simulator {
    let mut options = Options { tls: true, ..Options::default() };
    change(&mut options);
    platform_with(options)
}

/// More calls than logins may follow each other, with a token and without, all get the same word.
#[track_caller]
fn assert_untrusted(gateway: &Gateway, what: &str) {
    for _ in 0..5 {
        assert_refused(&gateway.client().post(ECHO, r#"{"Callee":"+6281200000001"}"#), "upstream_untrusted", what);
        assert_refused(&gateway.client().get("/_sim/echo?a=b"), "upstream_untrusted", what);
        let own = "token: of-the-program\r\ntenantId: tenant-7\r\n";
        assert_refused(&gateway.client().post_with(QUERY_READ, own, "{}"), "upstream_untrusted", what);
    }
}

#[track_caller]
fn assert_refused(answer: &Answer, word: &str, what: &str) {
    assert_eq!((answer.status, answer.word()), (502, Some(word)), "{what}: {answer:?}");
    assert_eq!(answer.json()["sent"], "no", "{what}");
}
