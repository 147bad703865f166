//! One log line for each call, whatever becomes of it, with the right value in every field.

#[cfg(feature = "otlp")]
mod export;
mod metrics;
mod pages;
mod traces;

use airudder_gateway::simulator::{Fault, FaultKind, Page};
use serde_json::{Value, json};

use crate::support::{Gateway, Setup, platform, scripted};

const DETAIL: &str = "/service/cloud/detail?TaskID=1";

/// Every field that a call's line always has; `platform_code` comes beside them where one was read, `trace_id` where a
/// trace was named.
const FIELDS: [&str; 27] = [
    "time",
    "level",
    "target",
    "request_id",
    "program",
    "account",
    "operation",
    "method",
    "status",
    "outcome",
    "fault",
    "sent",
    "sealed",
    "replayed",
    "reason",
    "bytes_in",
    "bytes_out",
    "limit_wait_us",
    "token_us",
    "seal_us",
    "connect_us",
    "platform_us",
    "open_us",
    "deliver_us",
    "total_us",
    "platform_code",
    "trace_id",
];

/// The line has these values, and nothing beside the known fields.
#[track_caller]
fn check(line: &Value, expected: Value) {
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&line[field], value, "{field} of {line}");
    }
    let fields = line.as_object().expect("an object");
    assert!(fields.keys().all(|field| FIELDS.contains(&field.as_str())), "{line}");
    assert!(FIELDS[..25].iter().all(|field| fields.contains_key(*field)), "{line}");
    let phases: u64 = FIELDS[17..24].iter().map(|phase| line[*phase].as_u64().expect("microseconds")).sum();
    assert!(phases <= line["total_us"].as_u64().expect("microseconds"), "phases follow each other: {line}");
}

#[test]
fn a_call_that_went_well_says_who_called_what_and_how_it_went() {
    let platform = platform();
    let more = "[[account]]\nname = \"second\"\nupstream = \"UPSTREAM\"\napp_key = { env = \"APP_KEY\" }\n\
                app_secret = { env = \"APP_SECRET\" }\nencryption = \"off\"\n\
                [[program]]\nname = \"books\"\napi_key = { env = \"BOOKS_KEY\" }\n";
    let gateway = Setup {
        more: more.replace("UPSTREAM", &platform.url()),
        env: vec![("BOOKS_KEY".into(), "books-key".into())],
        ..Setup::default()
    }
    .start(&platform)
    .ready();
    platform.fault(FaultKind::Hang { ms: Some(30) });
    let body = r#"{"TaskName":"陈小明"}"#;

    let mut client = gateway.client();
    let answer = client.post_with("/service/cloud/task", "X-Gateway-Key: books-key\r\n", body);
    let line = gateway.line_of(&answer);
    let well = json!({
        "level": "INFO", "target": "call", "program": "books", "account": "main", "operation": "task.create",
        "method": "POST", "status": 200, "outcome": "answered", "fault": "none", "sent": "yes", "platform_code": 200,
        "sealed": true, "replayed": false, "reason": "-", "bytes_in": body.len(), "bytes_out": answer.body.len(),
    });
    check(&line, well);
    assert!(line["platform_us"].as_u64() >= Some(30_000), "the platform's time is its own: {line}");
    let time = line["time"].as_str().expect("a time");
    assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{time}");

    let second = "X-Gateway-Key: books-key\r\nX-Gateway-Account: second\r\n";
    let answer = client.post_with("/service/cloud/no/such", second, "{}");
    let expected = json!({
        "program": "books", "account": "second", "operation": "other", "status": 404, "outcome": "answered",
        "fault": "program", "platform_code": 404, "sealed": false, "bytes_in": 2, "bytes_out": answer.body.len(),
    });
    check(&gateway.line_of(&answer), expected);

    let recording = client
        .send("GET /recordings/1.mp3 HTTP/1.1\r\nHost: g\r\nX-Gateway-Key: books-key\r\nX-Gateway-Account: second\r\n\r\n")
        .answer();
    let line = gateway.line_of(&recording);
    check(&line, json!({ "status": 200, "fault": "none", "bytes_in": 0, "bytes_out": 48 * 1024 }));
    assert_eq!(line.get("platform_code"), None, "a recording has no code: {line}");
}

#[test]
fn a_failing_answer_blames_by_its_status_and_then_by_its_code() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    for (fault, status, code, whose) in [
        (Fault::code(10_001), 200, Some(10_001), "platform"),
        (Fault::code(500), 200, Some(500), "platform"),
        (Fault::code(400), 200, Some(400), "program"),
        (Fault::code(0), 200, Some(0), "none"),
        (Fault::status(500), 500, Some(500), "platform"),
        (Fault::status(404), 404, Some(404), "program"),
        (Fault::page(503, Page::Html), 503, None, "platform"),
        (Fault::page(404, Page::Html), 404, None, "program"),
        (Fault::page(200, Page::Html), 200, None, "none"),
    ] {
        platform.fault(fault);
        let answer = gateway.client().get(DETAIL);
        let line = gateway.line_of(&answer);
        check(&line, json!({ "status": status, "fault": whose, "outcome": "answered", "sent": "yes" }));
        assert_eq!(line.get("platform_code").and_then(Value::as_i64), code, "{line}");
    }
}

#[test]
fn a_refusal_says_how_far_the_call_was_understood() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    for (request, expected) in [
        (
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            json!({ "outcome": "bad_request", "status": 400, "account": "-", "operation": "-", "method": "GET" }),
        ),
        (
            "\0\r\n\r\n".to_owned(),
            json!({ "outcome": "bad_request", "status": 400, "account": "-", "operation": "-", "method": "-" }),
        ),
        (
            "POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nX-Gateway-Account: nobody\r\nContent-Length: 0\r\n\r\n"
                .into(),
            json!({ "outcome": "unknown_account", "account": "-", "operation": "task.create", "method": "POST" }),
        ),
        (
            "GET /service/cloud/task HTTP/1.1\r\nHost: g\r\nSigned: x\r\n\r\n".into(),
            json!({ "outcome": "already_sealed", "account": "main", "operation": "task.create", "method": "GET" }),
        ),
    ] {
        let answer = gateway.client().send(request).answer();
        let line = gateway.line_of(&answer);
        check(&line, expected);
        check(&line, json!({ "fault": "program", "sent": "no", "bytes_in": 0, "platform_us": 0, "program": "-" }));
        assert_eq!(line.get("platform_code"), None, "{line}");
    }
    assert_eq!(platform.count("/service/cloud/task"), 0);
}

#[test]
fn an_answer_that_cannot_be_opened_has_its_reason_in_the_log_and_nowhere_else() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    for (fault, reason) in [
        (FaultKind::WrongDigest, "digest"),
        (FaultKind::OtherKey, "digest"),
        (FaultKind::NoDigest, "unsigned"),
        (FaultKind::BadBase64, "base64"),
    ] {
        platform.fault(fault);
        let answer = gateway.client().get(DETAIL);
        let expected = json!({ "outcome": "answer_unreadable", "reason": reason, "sent": "yes", "fault": "platform" });
        check(&gateway.line_of(&answer), expected);
        assert!(!String::from_utf8_lossy(&answer.body).contains(reason), "{reason}");
    }
}

#[test]
fn a_replay_is_one_line_that_says_so() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    platform.revoke_tokens();
    platform.fault(Fault::new(FaultKind::Hang { ms: Some(20) }).on_auth());

    let answer = gateway.client().post("/service/cloud/task", "{}");

    let line = gateway.line_of(&answer);
    check(
        &line,
        json!({ "status": 200, "replayed": true, "platform_code": 200, "bytes_in": 2, "outcome": "answered" }),
    );
    assert!(line["token_us"].as_u64() >= Some(20_000), "the wait for the login is there: {line}");
    let id = answer.header("x-request-id").expect("an id");
    assert_eq!(gateway.printed().matches(id).count(), 1, "one line for one call");
    for event in ["token refused by the platform", "token refreshed"] {
        check_has(&gateway, event);
    }
}

#[track_caller]
fn check_has(gateway: &Gateway, event: &str) {
    let line = gateway.log_line(|line| line["message"] == event);
    assert_eq!((&line["account"], &line["family"]), (&json!("main"), &json!("cloud")), "{line}");
}

#[test]
fn a_program_that_went_away_leaves_a_line_that_says_so() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    platform.fault(Fault::hang());
    let mut client = gateway.client();
    client.send(format!("GET {DETAIL} HTTP/1.1\r\nHost: g\r\n\r\n"));
    gateway.until(|_| platform.count("/service/cloud/detail") == 1);
    drop(client);

    let line = gateway.log_line(|line| line["outcome"] == "client_gone");
    check(
        &line,
        json!({ "status": 0, "fault": "program", "sent": "unknown", "operation": "task.detail", "bytes_out": 0 }),
    );

    // It is noticed too while a login that hangs is waited for.
    platform.revoke_tokens();
    platform.fault(Fault::hang().on_auth());
    let mut client = gateway.client();
    client.send("GET /service/cloud/list HTTP/1.1\r\nHost: g\r\n\r\n");
    gateway.until(|_| platform.logins() == 2);
    drop(client);
    let line = gateway.log_line(|line| line["outcome"] == "client_gone" && line["operation"] == "task.list");
    check(&line, json!({ "status": 0, "sent": "yes", "platform_code": 401, "replayed": true }));
}

#[test]
fn an_answer_that_breaks_off_while_it_streams_leaves_a_line_that_says_so() {
    let platform = platform();
    let gateway = Setup::unsealed().start(&platform);
    platform.fault(FaultKind::CutMidAnswer { after: 1000, reset: false });
    let answer = gateway.client().get("/recordings/1.mp3");
    assert!(!answer.complete);
    check(
        &gateway.line_of(&answer),
        json!({ "outcome": "cut_off", "status": 200, "fault": "platform", "sent": "yes" }),
    );
}

#[test]
fn a_login_is_a_call_that_goes_nowhere() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    let body = r#"{"APPKey":"k","APPSecret":"s"}"#;
    let answer = gateway.client().post("/service/cloud/auth", body);
    let expected = json!({
        "operation": "auth", "status": 200, "sent": "no", "outcome": "answered", "fault": "none",
        "bytes_in": body.len(), "bytes_out": answer.body.len(),
    });
    check(&gateway.line_of(&answer), expected);
    assert_eq!(platform.logins(), 1, "only the gateway's own");
}

#[test]
fn the_request_id_of_an_answer_is_the_gateways_whatever_the_platform_sends() {
    let theirs = "HTTP/1.1 200 OK\r\nX-Request-Id: a\r\nx-request-id: b\r\nContent-Length: 2\r\n\r\n{}";
    let gateway = Setup::default().start_at(&scripted(move |_, line| line.say(theirs)), None);
    let answer = gateway.client().get("/api/v1/process/queryTaskQian");
    assert_eq!(answer.status, 200);
    let ids: Vec<_> = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-request-id")).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    check(&gateway.line_of(&answer), json!({ "status": 200, "operation": "process.query_read" }));
}
