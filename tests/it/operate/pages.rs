//! What the pages show, and what they change: as much as was asked for, and nothing that was not meant.

use serde_json::{Value, json};

use super::{BLUE, PATH, Unreachable, ask, call_back, callback, change, count, entries, look, millis};
use crate::support::Client;

#[test]
fn what_was_taken_is_listed_without_its_content() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    call_back(&gateway, PATH, [1]);
    call_back(&gateway, BLUE, [2]);
    let found = entries(&gateway, "");
    let [first, second] = found.as_slice() else { panic!("two entries: {found:?}") };
    assert_eq!(
        (&first["source"], &first["kind"], &first["state"]),
        (&json!("calls"), &json!("call"), &json!("waiting"))
    );
    assert_eq!((&first["repeat"], &first["bytes"]), (&json!(false), &json!(callback("call-1", "task-1").len())));
    assert!(first["id"].as_str().is_some_and(|id| id.starts_with("cb_")));
    assert!(millis(&first["received"]) > 1_700_000_000_000);
    let deliveries = second["deliveries"].as_array().expect("deliveries");
    let mut names: Vec<_> = deliveries.iter().map(|delivery| delivery["receiver"].as_str().expect("a name")).collect();
    names.sort_unstable();
    assert_eq!(names, ["audit", "books"]);
    assert!(deliveries.iter().all(|delivery| delivery["state"] == "waiting" && delivery["settled"] == Value::Null));
    let page = look(&gateway, "/inbox").to_string();
    assert!(!page.contains("call-1") && !page.contains("+6281200000001"), "{page}");
    // HEAD is GET without a body.
    let mut client = Client::connect(gateway.admin);
    let head = client.send("HEAD /inbox HTTP/1.1\r\nHost: localhost\r\n\r\n").answer_to_head();
    assert_eq!(head.status, 200);
    assert_eq!(look(&gateway, "/readyz/inbound"), json!({"ready": true}));
}

#[test]
fn every_filter_finds_what_it_names() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    call_back(&gateway, PATH, 1..=3);
    call_back(&gateway, BLUE, 4..=5);
    let all = entries(&gateway, "");
    assert_eq!(all.len(), 5);
    let third = all[2]["id"].as_str().expect("an id");
    let time = all[2]["received"].as_str().expect("a time");
    for (question, number) in [
        ("source=calls", 3),
        ("source=blue", 2),
        ("source=none", 0),
        ("receiver=books", 5),
        ("receiver=audit", 2),
        ("kind=call", 5),
        ("kind=waba", 0),
        ("state=waiting", 5),
        ("state=dead", 0),
        ("call=call-4", 1),
        ("call=call-9", 0),
        ("task=task-1", 1),
        ("task=call-1", 0),
        (&format!("id={third}"), 1),
        (&format!("after={third}"), 2),
        ("since=1h", 5),
        ("until=1h", 0),
        ("since=2026-01-01&until=9999-01-01", 5),
        (
            &format!("until={time}"),
            all.iter().filter(|entry| millis(&entry["received"]) < millis(&all[2]["received"])).count(),
        ),
        ("source=blue&receiver=audit&state=waiting&kind=call&call=call-5&task=task-5&since=1d", 1),
    ] {
        assert_eq!(entries(&gateway, question).len(), number, "{question}");
    }
    for asked in ["call-4", "task-1"] {
        assert!(!gateway.printed().contains(asked), "what an operator looks for is no business of the log");
    }
    let first = look(&gateway, "/inbox?limit=3");
    assert_eq!((first["entries"].as_array().map(Vec::len), &first["next"]), (Some(3), &json!(third)));
    let rest = look(&gateway, &format!("/inbox?limit=3&after={third}"));
    assert_eq!((rest["entries"].as_array().map(Vec::len), &rest["next"]), (Some(2), &Value::Null));
    for question in ["kind=calls", "state=due", "since=yesterday", "limit=0", "limit=1001", "colour=blue", "call="] {
        let answer = ask(&gateway, "GET", &format!("/inbox?{question}"), "", "");
        assert!(answer.status == 400 && answer.json()["message"].is_string(), "{question}");
    }
}

#[test]
fn one_callback_is_shown_whole() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    // As it was received: the order of its fields, its spaces, its numbers.
    let written = "{\"task_id\": \"task-1\",\n \"call_id\":\"call-1\", \"a\":1.50, \"z\":\"é\\u00e9\", \"a\":12345678901234567890123}";
    let mut platform = Client::connect(gateway.inbound.expect("callbacks are configured"));
    assert_eq!(platform.post(PATH, written).status, 200);
    // And one that cannot be opened.
    let sealed = "Is-Encrypted: 1\r\nSigned: 00\r\n";
    assert_eq!(platform.post_with(PATH, sealed, "not base64!").status, 400);
    gateway.until(|gateway| count(gateway, "state=quarantined") == 1);

    let id = entries(&gateway, "state=waiting")[0]["id"].as_str().expect("an id").to_owned();
    let answer = ask(&gateway, "GET", &format!("/inbox/{id}"), "", "");
    let text = String::from_utf8(answer.body.clone()).expect("text");
    assert!(text.ends_with(&format!(",\"callback\":{written}}}")), "{text}");
    assert_eq!(
        (answer.header("cache-control"), answer.header("content-type")),
        (Some("no-store"), Some("application/json"))
    );
    let shown = answer.json();
    assert_eq!((&shown["id"], &shown["source"], &shown["callback"]["z"]), (&json!(id), &json!("calls"), &json!("éé")));
    assert_eq!(shown["deliveries"][0]["receiver"], "books");

    let kept = &entries(&gateway, "state=quarantined")[0];
    let shown = look(&gateway, &format!("/inbox/{}", kept["id"].as_str().expect("an id")));
    assert_eq!((&shown["callback"], &shown["body"]), (&Value::Null, &json!("not base64!")));
    assert!(shown["reason"].is_string() && shown["deliveries"] == json!([]));

    for (path, status) in [
        ("/inbox/cb_0000010000ffffff", 404),
        ("/inbox/cb_1", 404),
        ("/inbox/", 404),
        ("/inbox/a/b", 404),
        ("/inboxes", 404),
    ] {
        assert_eq!(ask(&gateway, "GET", path, "", "").status, status, "{path}");
    }
}

#[test]
fn a_change_needs_to_name_what_it_means() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    call_back(&gateway, PATH, 1..=3);
    for path in ["/inbox/redrive", "/inbox/purge"] {
        for question in ["", "{}", r#"{"limit":5}"#, r#"{"dry_run":true}"#, r#"{"source":null}"#] {
            let answer = ask(&gateway, "POST", path, "Content-Type: application/json\r\n", question);
            assert_eq!(answer.status, 400, "{path} {question}");
        }
        for question in ["[]", "1", "{", r#"{"source":["calls"]}"#, r#"{"source":{"a":1}}"#, r#"{"sources":"calls"}"#] {
            let answer = ask(&gateway, "POST", path, "Content-Type: application/json\r\n", question);
            assert_eq!(answer.status, 400, "{path} {question}");
        }
        let large = format!("{{\"source\":\"{}\"}}", "x".repeat(70_000));
        assert_eq!(ask(&gateway, "POST", path, "Content-Type: application/json\r\n", &large).status, 400, "{path}");
    }
    assert_eq!(count(&gateway, "state=waiting"), 3);
}

#[test]
fn what_waits_is_purged_only_when_it_is_named() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    call_back(&gateway, PATH, 1..=5);
    for question in
        [json!({"all": true}), json!({"source": "calls"}), json!({"call": "call-1"}), json!({"since": "1d"})]
    {
        let purged = change(&gateway, "/inbox/purge", &question);
        assert_eq!((&purged["matched"], count(&gateway, "")), (&json!(0), 5), "{question}");
    }
    let dry = change(&gateway, "/inbox/purge", &json!({"state": "waiting", "dry_run": true}));
    assert_eq!((dry, count(&gateway, "")), (json!({"matched": 5, "dry_run": true, "next": null}), 5));
    let one = change(&gateway, "/inbox/purge", &json!({"state": "waiting", "call": "call-2"}));
    assert_eq!((&one["matched"], count(&gateway, "call=call-2"), count(&gateway, "")), (&json!(1), 0, 4));
    // In steps, each from where the last one ended.
    let step = change(&gateway, "/inbox/purge", &json!({"state": "waiting", "limit": 3}));
    assert_eq!((&step["matched"], count(&gateway, "")), (&json!(3), 1));
    let step = change(&gateway, "/inbox/purge", &json!({"state": "waiting", "limit": 3, "after": step["next"]}));
    assert_eq!((&step["matched"], &step["next"], count(&gateway, "")), (&json!(1), &Value::Null, 0));
}
