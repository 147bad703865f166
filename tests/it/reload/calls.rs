//! What programs notice of another configuration, and what they do not.

use airudder_gateway::clock;
use airudder_gateway::simulator::{FaultKind, Options};

use super::{DETAIL, call, program, setup, start};
use crate::support::{Setup, calls, platform, platform_with, stop, wait_until};

#[test]
fn a_program_that_is_added_may_call_and_one_that_is_removed_may_not() {
    let platform = platform();
    let gateway = start(&setup(&program("a", "KEY_A", "")), &platform);
    let (mut a, mut b) = (gateway.client(), gateway.client());
    assert_eq!(call(&mut a, "X-Gateway-Key: key-a\r\n").status, 200);
    assert_eq!(call(&mut b, "X-Gateway-Key: key-b\r\n").word(), Some("unknown_program"));
    gateway.reload_as(&setup(&program("b", "KEY_B", "")), &platform.url());
    assert_eq!(call(&mut b, "X-Gateway-Key: key-b\r\n").status, 200);
    assert_eq!(call(&mut a, "X-Gateway-Key: key-a\r\n").word(), Some("unknown_program"), "on the same connection");
    assert_eq!(platform.logins(), 1, "the token is the same");
    assert_eq!(calls(&platform).iter().map(|call| call.connection).max(), Some(2), "and so is the connection");
}

#[test]
fn operations_and_their_rights_are_those_of_the_present_configuration() {
    let platform = platform();
    let gateway = start(&setup(&program("a", "KEY_A", "operations = [\"task.create\"]")), &platform);
    let mut client = gateway.client();
    assert_eq!(call(&mut client, "X-Gateway-Key: key-a\r\n").word(), Some("operation_not_allowed"));
    let named = "[[operation]]\nname = \"task.detail\"\nencryption = \"off\"\n";
    let allowed = format!("{named}{}", program("a", "KEY_A", "operations = [\"task.*\"]"));
    gateway.reload_as(&setup(&allowed), &platform.url());
    assert_eq!(call(&mut client, "X-Gateway-Key: key-a\r\n").status, 200);
    assert!(!calls(&platform)[0].sealed(), "as the new rule says");
}

#[test]
fn a_pair_that_changes_ends_its_tokens_and_no_others() {
    let pair = |name: &str, key: &str, secret: &str| {
        format!("[[program]]\nname = \"{name}\"\nkey = {{ env = \"{key}\" }}\nsecret = {{ env = \"{secret}\" }}\n")
    };
    let with =
        |a_secret: &str| setup(&format!("{}{}", pair("a", "KEY_A", a_secret), pair("b", "KEY_B", "OTHER_SECRET")));
    let platform = platform();
    let gateway = start(&with("OTHER_KEY"), &platform);
    let log_in = |key: &str, secret: &str| {
        let body = format!(r#"{{"APPKey":"{key}","APPSecret":"{secret}"}}"#);
        let answer = gateway.client().post("/service/cloud/auth", body);
        answer.json()["data"]["token"].as_str().map(|token| format!("Authorization: Token {token}\r\n"))
    };
    let (a, b) = (log_in("key-a", "other-app-key").expect("a"), log_in("key-b", "other-app-secret").expect("b"));
    let mut client = gateway.client();
    assert_eq!((call(&mut client, &a).status, call(&mut client, &b).status), (200, 200));
    gateway.reload_as(&with("OTHER_AES"), &platform.url());
    assert_eq!(call(&mut client, &a).word(), Some("token_invalid"));
    assert_eq!(call(&mut client, &b).status, 200);
    assert!(log_in("key-a", "other-app-key").is_none());
    let fresh = log_in("key-a", "another-aes-key!").expect("the new pair");
    assert_eq!(call(&mut client, &fresh).status, 200);
    gateway.reload_as(&setup(&pair("b", "KEY_B", "OTHER_SECRET")), &platform.url());
    assert_eq!((call(&mut client, &fresh).word(), call(&mut client, &b).status), (Some("token_invalid"), 200));
}

#[test]
fn failed_logins_are_not_forgotten() {
    let with = |more: &str| {
        setup(&format!(
            "[[program]]\nname = \"a\"\nkey = {{ env = \"KEY_A\" }}\nsecret = {{ env = \"OTHER_SECRET\" }}\n{more}"
        ))
    };
    let platform = platform();
    let gateway = start(&with(""), &platform);
    let wait = |secret: &str| {
        let body = format!(r#"{{"APPKey":"key-a","APPSecret":"{secret}"}}"#);
        let answer = gateway.client().post("/service/cloud/auth", body);
        (answer.status, gateway.line_of(&answer)["limit_wait_us"].as_u64().expect("microseconds"))
    };
    (0..7).for_each(|_| assert_eq!(wait("wrong").0, 401));
    gateway.reload_as(&with(&program("b", "KEY_B", "")), &platform.url());
    let (status, waited) = wait("other-app-secret");
    assert!(status == 200 && waited >= 100_000, "{status} {waited}");
}

#[test]
fn an_account_is_added_used_and_removed() {
    let (platform, other) = (
        platform(),
        platform_with(Options { key_pair: ("other-app-key".into(), "other-app-secret".into()), ..Options::default() }),
    );
    let gateway = start(&setup(""), &platform);
    let mut client = gateway.client();
    assert_eq!(call(&mut client, "X-Gateway-Account: second\r\n").word(), Some("unknown_account"));
    let second = format!(
        "[[account]]\nname = \"second\"\nupstream = \"{}\"\napp_key = {{ env = \"OTHER_KEY\" }}\n\
         app_secret = {{ env = \"OTHER_SECRET\" }}\nencryption = \"off\"\n",
        other.url()
    );
    gateway.reload_as(&setup(&second), &platform.url());
    // Its token is fetched at once, without a call.
    gateway.until(|gateway| gateway.admin_page("/readyz/outbound").0 == 200);
    assert_eq!((platform.logins(), other.logins()), (1, 1));
    assert_eq!(call(&mut client, "X-Gateway-Account: second\r\n").status, 200);
    assert_eq!((calls(&platform).len(), calls(&other).len(), other.logins()), (0, 1, 1));
    gateway.reload_as(&setup(""), &platform.url());
    assert_eq!(call(&mut client, "X-Gateway-Account: second\r\n").word(), Some("unknown_account"));
    assert_eq!(call(&mut client, "").status, 200);
}

#[test]
fn an_account_that_moves_gets_a_token_of_its_new_platform_and_calls_in_flight_end_at_the_former_one() {
    let (former, next) = (platform(), platform());
    let gateway = start(&setup(""), &former);
    former.fault(FaultKind::Hold);
    let mut held = gateway.client();
    held.send(format!("GET {DETAIL} HTTP/1.1\r\nHost: g\r\n\r\n"));
    wait_until(&former, "the call", |former| former.count("/service/cloud/detail") == 1);
    gateway.reload_as(&setup(""), &next.url());
    assert_eq!(call(&mut gateway.client(), "").status, 200);
    assert_eq!((calls(&next).len(), next.logins()), (1, 1));
    former.release();
    assert_eq!(held.answer().status, 200);
    assert_eq!((calls(&former).len(), former.logins()), (1, 1));
    let seen = calls(&next)[0].header("authorization").map(str::to_owned);
    assert!(
        former.tokens().iter().all(|token| seen != Some(format!("Token {token}"))),
        "no token of the other platform"
    );
}

#[test]
fn a_secret_that_is_wrong_stops_no_call_while_the_former_token_lives() {
    let (platform, other) = (
        platform(),
        platform_with(Options { key_pair: ("other-app-key".into(), "other-app-secret".into()), ..Options::default() }),
    );
    let with = |secret: &str| {
        setup(&format!(
            "[[account]]\nname = \"second\"\nupstream = \"{}\"\napp_key = {{ env = \"OTHER_KEY\" }}\n\
             app_secret = {{ env = \"{secret}\" }}\nencryption = \"off\"\n",
            other.url()
        ))
    };
    let gateway = start(&with("OTHER_SECRET"), &platform);
    let mut client = gateway.client();
    let mut status = || call(&mut client, "X-Gateway-Account: second\r\n").status;
    assert_eq!((status(), other.logins()), (200, 1));
    gateway.reload_as(&with("KEY_C"), &platform.url());
    let failed = "token_refreshes_total{account=\"second\",family=\"cloud\",outcome=\"refused\"}";
    gateway.until(|gateway| gateway.metric(failed) >= 1.0);
    assert_eq!(status(), 200, "with the former token");
    gateway.reload_as(&with("OTHER_SECRET"), &platform.url());
    let good = "token_refreshes_total{account=\"second\",family=\"cloud\",outcome=\"ok\"}";
    gateway.until(|gateway| gateway.metric(good) >= 2.0);
    assert_eq!(status(), 200, "with a new one, at once");
}

#[test]
fn another_key_seals_the_calls_that_follow() {
    let platform = platform();
    let gateway = start(&setup(""), &platform);
    let mut client = gateway.client();
    assert_eq!(call(&mut client, "").status, 200);
    let with = |key: &str| Setup {
        sealed: false,
        account: format!("encryption = {{ scheme = \"aes-ecb-zero\", key = {{ env = \"{key}\" }} }}"),
        ..setup("")
    };
    gateway.reload_as(&with("OTHER_AES"), &platform.url());
    call(&mut client, "");
    let opened = |index: usize| calls(&platform)[index].opened.is_some();
    assert!(opened(0) && !opened(1), "the platform has the former key");
    gateway.reload_as(&with("AES_KEY"), &platform.url());
    assert_eq!(call(&mut client, "").status, 200);
    assert!(opened(2));
}

#[test]
fn a_rate_that_changes_keeps_what_is_used_up() {
    let limited = |limit: &str| Setup { account: format!("limit = {{ {limit}, max_wait = \"0s\" }}"), ..setup("") };
    let platform = platform();
    let gateway = start(&limited("rate = \"1/h\", burst = 5"), &platform);
    let mut client = gateway.client();
    let mut passed = |calls: usize| (0..calls).filter(|_| call(&mut client, "").status == 200).count();
    assert_eq!(passed(3), 3);
    for (limit, expected) in [
        ("rate = \"1/h\", burst = 5", 2),
        ("rate = \"2/h\", burst = 5", 0),
        ("rate = \"2/h\", burst = 7", 2),
        ("rate = \"1/h\", burst = 4", 0),
        // A burst that was allowed is no debt: of the smaller one before, all was used up, and no more.
        ("rate = \"1/h\", burst = 8", 4),
    ] {
        gateway.reload_as(&limited(limit), &platform.url());
        assert_eq!(passed(4), expected, "{limit}");
    }
    gateway.reload_as(&setup(""), &platform.url());
    assert_eq!(passed(20), 20, "no limit at all");
    assert_eq!(gateway.metric("account_rate{account=\"main\"}"), 0.0);
}

#[test]
fn who_waits_for_his_turn_is_served_at_the_new_rate() {
    let limited = |limit: &str| Setup { account: format!("limit = {{ {limit}, max_wait = \"10m\" }}"), ..setup("") };
    let platform = platform();
    let gateway = start(&limited("rate = \"6/m\", burst = 1"), &platform);
    assert_eq!(call(&mut gateway.client(), "").status, 200);
    let mut waiting: Vec<_> = (0..10).map(|_| gateway.client()).collect();
    for client in &mut waiting {
        client.send(format!("GET {DETAIL} HTTP/1.1\r\nHost: g\r\n\r\n"));
    }
    gateway.until(|gateway| gateway.metric("waiting_calls{account=\"main\"}") == 10.0);
    let began = clock::now();
    gateway.reload_as(&limited("rate = \"100/s\", burst = 1"), &platform.url());
    assert!(waiting.iter_mut().all(|client| client.answer().status == 200));
    // Ten seconds each at the former rate.
    assert!(began.elapsed().as_secs() < 90);
}

#[test]
fn an_open_breaker_stays_open() {
    let with = |more: &str| Setup {
        account: format!("breaker = {{ failures = 2, open = \"1h\" }}\n{more}"),
        ..Setup::unsealed()
    };
    let platform = platform();
    let (url, gateway) = (platform.url(), with("").start(&platform).ready());
    stop(&platform);
    let mut client = gateway.client();
    let status = |client: &mut crate::support::Client| call(client, "").word().map(str::to_owned);
    while status(&mut client).as_deref() != Some("breaker_open") {}
    gateway.reload_as(&with("read_timeout = \"140s\""), &url);
    assert_eq!(status(&mut client).as_deref(), Some("breaker_open"));
    assert_eq!(gateway.metric("breaker_state{account=\"main\",state=\"open\"}"), 1.0);
    gateway.reload_as(&Setup { account: "breaker = \"off\"".into(), ..Setup::unsealed() }, &url);
    assert_ne!(status(&mut client).as_deref(), Some("breaker_open"));
    assert!(!gateway.metrics().series().iter().any(|series| series.contains("breaker_state")));
}

#[test]
fn deadlines_of_the_listener_hold_for_connections_that_follow() {
    let with =
        |timeout: &str| Setup { outbound: format!("threads = 2\nkeepalive_timeout = \"{timeout}\""), ..setup("") };
    let platform = platform();
    let gateway = start(&with("1h"), &platform);
    let mut former = gateway.client();
    assert_eq!(call(&mut former, "").status, 200);
    gateway.reload_as(&with("50ms"), &platform.url());
    let mut next = gateway.client();
    assert_eq!(call(&mut next, "").status, 200);
    assert!(next.is_closed());
    assert_eq!(call(&mut former, "").status, 200, "it is kept");
}
