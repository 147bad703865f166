//! The pages of the admin listener: alive, ready or why not, and nothing else.

use airudder_gateway::simulator::{Fault, FaultKind, Options, Page};
use serde_json::{Value, json};

use super::DETAIL;
use crate::support::{Client, Gateway, Refusing, Setup, platform, platform_with};

fn page(gateway: &Gateway, path: &str) -> (u16, Value) {
    let (status, body) = gateway.admin_page(path);
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("JSON on {path}: {body}")))
}

#[test]
fn a_gateway_that_runs_is_alive_whatever_the_platform_does() {
    let platform = platform();
    platform.fault(Fault::status(500).on_anything().always());
    let gateway = Setup::default().start(&platform);
    assert_eq!(page(&gateway, "/livez"), (200, json!({ "live": true })));
}

#[test]
fn outbound_is_ready_once_a_token_is_held_for_every_account() {
    let (platform, other) = (platform(), platform());
    other.fault(Fault::status(500).on_auth());
    let more = format!(
        "[[account]]\nname = \"other\"\nupstream = \"{}\"\napp_key = {{ env = \"APP_KEY\" }}\n\
         app_secret = {{ env = \"APP_SECRET\" }}\nencryption = \"off\"\n",
        other.url()
    );
    let gateway = Setup { more, ..Setup::default() }.start(&platform);
    gateway.until(|gateway| {
        let (_, body) = page(gateway, "/readyz/outbound");
        body["accounts"]["main"]["ready"] == true && body["accounts"]["other"]["reason"] == "failing"
    });
    let (status, body) = page(&gateway, "/readyz/outbound");
    assert_eq!((status, &body["ready"], &body["accounts"]["other"]["ready"]), (503, &json!(false), &json!(false)));
    assert!(
        body["accounts"]["main"]["token_seconds_left"].as_u64().is_some_and(|left| (86_000..=86_400).contains(&left))
    );

    // A call need not wait for the background's next try.
    let call = "GET /service/cloud/list HTTP/1.1\r\nHost: g\r\nX-Gateway-Account: other\r\n\r\n";
    assert_eq!(gateway.client().send(call).answer().status, 200);
    for path in ["/readyz/outbound", "/readyz"] {
        let (status, body) = page(&gateway, path);
        assert_eq!((status, &body["ready"], &body["accounts"]["other"]["ready"]), (200, &json!(true), &json!(true)));
    }
}

#[test]
fn an_account_without_a_token_says_why() {
    let html = Fault::page(200, Page::Html);
    for (fault, reason) in [
        (Fault::status(500), "failing"),
        (Fault::status(403), "refused"),
        (Fault::code(403), "refused"),
        (Fault::code(10_001), "failing"),
        (Fault::too_many(30), "throttled"),
        (html, "html"),
        (Fault::page(200, Page::Empty), "empty"),
        (Fault::cut(), "cut"),
        (Fault::hang(), "not_asked"),
    ] {
        let platform = platform();
        platform.fault(fault.on_auth().always());
        let gateway = Setup::default().start(&platform);
        is_not_ready(&gateway, reason);
    }
    // Nobody answers in time; and nobody is there.
    let platform = platform();
    platform.fault(Fault::hang().on_auth().always());
    let setup = Setup { account: "read_timeout = \"50ms\"".into(), ..Setup::default() };
    is_not_ready(&setup.start(&platform), "timed_out");
    // Or somebody else.
    let tls = || platform_with(Options { tls: true, ..Options::default() });
    let nobody = Refusing::new();
    is_not_ready(&Setup::default().start_at(&nobody.url(), None), "unreachable");
    let (strange, other) = (tls(), tls());
    is_not_ready(&Setup::default().start_at(&strange.url(), other.ca_pem()), "untrusted");
    let platform = platform_with(Options { key_pair: ("another".into(), "pair".into()), ..Options::default() });
    is_not_ready(&Setup::default().start(&platform), "refused");
}

#[track_caller]
fn is_not_ready(gateway: &Gateway, reason: &str) {
    let expected = json!({ "ready": false, "accounts": { "main": { "ready": false, "reason": reason } } });
    gateway.until(|gateway| page(gateway, "/readyz/outbound") == (503, expected.clone()));
}

#[test]
fn a_token_that_the_platform_took_back_is_missed_until_the_next_one() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    platform.revoke_tokens();
    platform.fault(Fault::new(FaultKind::Hang { ms: None }).on_auth());
    let mut waiting = gateway.client();
    waiting.send(format!("GET {DETAIL} HTTP/1.1\r\nHost: g\r\n\r\n"));
    is_not_ready(&gateway, "token_refused");
}

#[test]
fn a_page_that_is_none_says_which_there_are() {
    let gateway = Setup::default().start(&platform());
    for path in ["/", "/readyz/", "/metrics/x", "/readyz/inbound/x", "/..", "/livez%00"] {
        let (status, body) = page(&gateway, path);
        assert_eq!(status, 404, "{path}");
        assert!(body["message"].as_str().is_some_and(|message| message.contains("/readyz/outbound")), "{path}: {body}");
    }
    assert_eq!(page(&gateway, "/readyz/inbound").0, 404, "no inbound listener is configured");
    assert_eq!(page(&gateway, "/livez?probe=1").0, 200);
}

#[test]
fn pages_are_read_and_nothing_is_written() {
    let gateway = Setup::default().start(&platform());
    let mut client = Client::connect(gateway.admin);
    for path in ["/metrics", "/livez", "/readyz/outbound", "/nothing"] {
        let answer = client.post(path, "{}");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{path}");
        client = Client::connect(gateway.admin);
    }
    let answer = client.send("HEAD /livez HTTP/1.1\r\nHost: g\r\n\r\n").answer_to_head();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("13")));
    let metrics = client.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(metrics.header("cache-control"), Some("no-store"));
    let answer = Client::connect(gateway.admin).send("GET /livez\r\n\r\n").answer();
    assert_eq!(answer.status, 400);
}
