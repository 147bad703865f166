//! The status: for whoever may operate, as a page and as data, and without anything that a stranger sent.

use serde_json::{Value, json};

use super::{PATH, TOKEN, Unreachable, ask, call_back, look, setup};
use crate::support::{Client, Refusing, Setup, platform};

#[test]
fn the_status_is_guarded_like_the_inbox() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("token = { env = \"ADMIN_TOKEN\" }");
    // The token as the password of any user: "me:a token of operators".
    let basic = "Authorization: Basic bWU6YSB0b2tlbiBvZiBvcGVyYXRvcnM=\r\n";
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for path in ["/", "/status", "/status.json"] {
        for headers in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic bWU6d3Jvbmc=\r\n"] {
            let answer = ask(&gateway, "GET", path, headers, "");
            let challenge = answer.header("www-authenticate").expect("how to show it").to_owned();
            assert_eq!(answer.status, 401, "{path} {headers}");
            // A browser asks a person on a page for people, and never because of what a script asked for.
            assert_eq!(challenge.starts_with("Basic realm="), path != "/status.json", "{path}: {challenge}");
        }
        for headers in [basic, &bearer] {
            assert_eq!(ask(&gateway, "GET", path, headers, "").status, 200, "{path}");
        }
        let answer = ask(&gateway, "POST", path, &format!("{bearer}X-Gateway-Admin: 1\r\n"), "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
    assert_eq!(ask(&gateway, "GET", "/inbox", basic, "").status, 200);
    // What changes something takes a password only from a page of ours.
    let purge = |more: &str| {
        let headers = format!("{basic}X-Gateway-Admin: 1\r\n{more}");
        ask(&gateway, "POST", "/inbox/purge?state=dead", &headers, "").status
    };
    assert_eq!((purge(""), purge("Origin: http://localhost\r\n")), (200, 200));
    assert_eq!((purge("Origin: https://evil.example\r\n"), purge("Sec-Fetch-Site: cross-site\r\n")), (403, 403));

    let nobody = Refusing::new();
    let everywhere = setup([&nobody.url(), &nobody.url()], "").start_changed(&nobody.url(), |text| {
        text.replace("[admin]\nlisten = \"127.0.0.1:0\"", "[admin]\nlisten = \"0.0.0.0:0\"")
    });
    for path in ["/", "/status", "/status.json"] {
        assert_eq!(ask(&everywhere, "GET", path, "", "").status, 404, "{path}");
    }
    assert!(!gateway.printed().contains(TOKEN));
}

#[test]
fn a_page_for_people_lets_nothing_else_in() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    let answer = ask(&gateway, "GET", "/", "", "");
    let policy = answer.header("content-security-policy").expect("a policy");
    for rule in ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(
        (answer.header("content-type"), answer.header("cache-control"), answer.header("x-content-type-options")),
        (Some("text/html; charset=utf-8"), Some("no-store"), Some("nosniff"))
    );
    let mut client = Client::connect(gateway.admin);
    let head = client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer_to_head();
    assert_eq!(head.header("content-length"), Some(answer.body.len().to_string().as_str()));
}

#[test]
fn the_status_says_what_everybody_does_and_what_is_wrong() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    call_back(&gateway, PATH, 1..=3);
    gateway.until(|gateway| look(gateway, "/status.json")["receivers"][1]["waiting"] == 3);
    let status = look(&gateway, "/status.json");
    // Its platform cannot be reached.
    assert_eq!((&status["state"], &status["troubles"][0]["word"]), (&json!("bad"), &json!("no_token")));
    assert_eq!(status["sentence"], "Not healthy: 1 thing does not work.");
    let account = &status["accounts"][0];
    assert_eq!(
        (&account["name"], &account["token_seconds_left"], &account["reason"], &account["breaker"]),
        (&json!("main"), &Value::Null, &json!("unreachable"), &json!("closed"))
    );
    let calls = status["sources"].as_array().expect("sources").iter().find(|source| source["name"] == "calls");
    assert_eq!(calls.map(|calls| &calls["hour"]["taken"]), Some(&json!(3)));
    assert_eq!(status["inbox"]["ready"], true);
    assert_eq!(status["receivers"][1]["name"], "books");
    let words = |status: &Value| -> Vec<String> {
        let failures = status["failures"].as_array().expect("failures");
        failures.iter().map(|of| format!("{} {} {}", of["half"], of["word"], of["name"]).replace('"', "")).collect()
    };
    gateway.until(|gateway| words(&look(gateway, "/status.json")).contains(&"delivery unreachable books".to_owned()));
    assert!(words(&look(&gateway, "/status.json")).contains(&"login unreachable main".to_owned()));
    let plots = status["hour"].as_object().expect("plots");
    assert!(plots.values().filter_map(Value::as_array).all(|points| points.len() == 120));
}

#[test]
fn a_failure_is_told_once_with_its_count_and_nothing_of_the_call() {
    let platform = platform();
    let gateway = Setup::unsealed().start(&platform).ready();
    for _ in 0..3 {
        let call = "GET /secret-path-of-6281377700042?q=1 HTTP/1.1\r\nHost: g\r\nX-Gateway-Account: stranger\r\n\r\n";
        assert_eq!(gateway.client().send(call).answer().word(), Some("unknown_account"));
    }
    gateway.until(|gateway| look(gateway, "/status.json")["failures"][0]["count"] == 3);
    let status = look(&gateway, "/status.json");
    let failure = &status["failures"][0];
    assert_eq!(
        (&failure["half"], &failure["word"], &failure["fault"], &failure["status"]),
        (&json!("call"), &json!("unknown_account"), &json!("program"), &json!(400))
    );
    assert_eq!((&status["state"], &status["sources"], &status["inbox"]), (&json!("good"), &json!([]), &Value::Null));
    let text = status.to_string();
    assert!(!text.contains("6281377700042") && !text.contains("stranger"), "{text}");
}
