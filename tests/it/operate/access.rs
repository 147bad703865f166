//! Who may operate: whoever has the token; without one, this machine. Nobody from a web page.

use super::{PATH, TOKEN, Unreachable, ask, call_back, count, look, setup};
use crate::support::Refusing;

const CHANGES: [&str; 2] = ["/inbox/redrive", "/inbox/purge"];

#[test]
fn a_token_opens_the_pages_and_a_wrong_one_does_not() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("token = { env = \"ADMIN_TOKEN\" }");
    let with = |authorization: &str| format!("Authorization: {authorization}\r\nContent-Type: application/json\r\n");
    let (right, wrong) = (with(&format!("Bearer {TOKEN}")), with("Bearer another token"));
    for (method, path) in [("GET", "/inbox"), ("GET", "/inbox/cb_0000010000000001"), ("POST", "/inbox/redrive")] {
        for headers in ["", &wrong, &with("Basic YTpi"), &right.replace("Bearer ", "")] {
            let answer = ask(&gateway, method, path, headers, r#"{"all":true}"#);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path} {headers}");
            assert!(!String::from_utf8_lossy(&answer.body).contains(TOKEN));
        }
    }
    assert_eq!(ask(&gateway, "GET", "/inbox", &right, "").status, 200);
    assert_eq!(ask(&gateway, "POST", "/inbox/redrive", &right, r#"{"all":true}"#).status, 200);
    // What is no secret asks for nothing.
    for path in ["/metrics", "/livez", "/readyz/inbound"] {
        assert_eq!(ask(&gateway, "GET", path, "", "").status, 200, "{path}");
    }
    assert!(!gateway.printed().contains(TOKEN));
}

#[test]
fn without_a_token_the_pages_are_for_this_machine_only() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    look(&gateway, "/inbox");
    // A web page elsewhere whose name was made to lead here.
    let mut elsewhere = crate::support::Client::connect(gateway.admin);
    let answer = elsewhere.send("GET /inbox HTTP/1.1\r\nHost: evil.example\r\n\r\n").answer();
    assert_eq!(answer.status, 404);
    let unknown = elsewhere.send("GET /nowhere HTTP/1.1\r\nHost: evil.example\r\n\r\n").answer();
    assert_eq!(answer.body, unknown.body, "like any page that does not exist");

    let nobody = Refusing::new();
    let everywhere = setup([&nobody.url(), &nobody.url()], "").start_changed(&nobody.url(), |text| {
        text.replace("[admin]\nlisten = \"127.0.0.1:0\"", "[admin]\nlisten = \"0.0.0.0:0\"")
    });
    for (method, path) in [("GET", "/inbox"), ("POST", "/inbox/purge"), ("GET", "/inbox/cb_0000010000000001")] {
        let answer = ask(&everywhere, method, path, "Content-Type: application/json\r\n", r#"{"all":true}"#);
        assert_eq!((answer.status, answer.body == unknown.body), (404, true), "{path}");
    }
    assert_eq!(ask(&everywhere, "GET", "/livez", "", "").status, 200);
}

#[test]
fn nothing_is_changed_by_what_a_web_page_can_send() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    call_back(&gateway, PATH, 1..=3);
    for path in CHANGES {
        for form in ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"] {
            let path = format!("{path}?state=waiting");
            let answer = ask(&gateway, "POST", &path, &format!("Content-Type: {form}\r\n"), "state=waiting");
            assert_eq!(answer.status, 415, "{path} {form}");
        }
        assert_eq!(ask(&gateway, "POST", &format!("{path}?state=waiting"), "", "").status, 415);
        let answer = ask(&gateway, "GET", &format!("{path}?state=waiting"), "X-Gateway-Admin: 1\r\n", "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    }
    for path in ["/inbox", "/inbox/cb_0000010000000001"] {
        let answer = ask(&gateway, "POST", path, "X-Gateway-Admin: 1\r\n", "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    }
    assert_eq!(count(&gateway, "state=waiting"), 3);
    let meant = ask(&gateway, "POST", "/inbox/purge?state=waiting", "X-Gateway-Admin: 1\r\n", "");
    assert_eq!((meant.status, &meant.json()["matched"]), (200, &3.into()));
}

#[test]
fn a_gateway_without_an_inbox_has_no_such_pages() {
    let nobody = Refusing::new();
    let gateway = crate::support::Setup::unsealed().start_at(&nobody.url(), None);
    for (method, path) in [("GET", "/inbox"), ("POST", "/inbox/purge"), ("GET", "/inboxes"), ("GET", "/readyz/inbound")]
    {
        assert_eq!(ask(&gateway, method, path, "X-Gateway-Admin: 1\r\n", "").status, 404, "{path}");
    }
}
