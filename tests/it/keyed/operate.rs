//! Operators: which keys there are, what is remembered for them, and settling a call whose end nobody knows.

use std::process::Command;

use airudder_gateway::simulator::{FaultKind, Simulator};
use serde_json::{Value, json};

use super::{assert_ended, assert_refused, assert_replayed, create, created, keeping, scene, scene_with, task};
use crate::support::{Answer, Client, Gateway, Setup};

/// A page of the admin listener, as somebody on this machine asks for it.
fn page(gateway: &Gateway, method: &str, path: &str, body: &str) -> Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Client::connect(gateway.admin).send(request).answer()
}

fn listed(gateway: &Gateway, query: &str) -> Vec<Value> {
    let answer = page(gateway, "GET", &format!("/keys?{query}"), "");
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()["keys"].as_array().expect("keys").clone()
}

/// `airudder-gateway keys …`: its status, its output and its errors.
fn command(gateway: &Gateway, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_airudder-gateway"));
    command.arg("keys").args(args).arg("--config").arg(gateway.config());
    let output = command.args(["--admin", &gateway.admin.to_string()]).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// One call whose end nobody knows, and its id.
fn unknown(platform: &Simulator, gateway: &Gateway, key: &str) -> String {
    platform.fault(FaultKind::CutBeforeAnswer { reset: false });
    assert_refused(&create(gateway, key, &task("one")), 502, "outcome_unknown", "unknown", key);
    listed(gateway, &format!("key={key}"))[0]["id"].as_str().expect("an id").to_owned()
}

/// A gateway that answers with this word, for the table of all words.
pub(crate) fn already_sent() -> (Gateway, Answer) {
    let (platform, gateway) = scene();
    let id = unknown(&platform, &gateway, "k");
    assert_eq!(command(&gateway, &["settle", &id, "--as", "sent"]).0, Some(0));
    let answer = create(&gateway, "k", &task("one"));
    (gateway, answer)
}

#[test]
fn what_an_operator_found_not_sent_is_sent_by_the_next_repeat() {
    let (platform, gateway) = scene();
    let id = unknown(&platform, &gateway, "order-4711");
    let (status, out, _) = command(&gateway, &["settle", &id, "--as", "not-sent"]);
    assert_eq!((status, out), (Some(0), format!("{id} settled as not_sent\n")));
    let line = gateway.log_line(|line| line["message"] == "key settled by an operator");
    assert_eq!((&line["key"], &line["verdict"]), (&json!(id), &json!("not_sent")));
    let first = create(&gateway, "order-4711", &task("one"));
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    assert_replayed(&create(&gateway, "order-4711", &task("one")), &first, "afterwards");
    assert_eq!((created(&platform), gateway.metric("keyed_unknown")), (2, 0.0));
    assert!(!gateway.printed().contains("order-4711"), "a key is in no log line");
}

#[test]
fn what_an_operator_found_sent_is_never_sent_again() {
    let setup = keeping();
    let (platform, mut gateway) = scene_with(setup.clone(), "");
    let id = unknown(&platform, &gateway, "k");
    assert_eq!(page(&gateway, "POST", "/keys/settle", &json!({"id": id, "as": "sent"}).to_string()).status, 200);
    for _ in 0..2 {
        assert_refused(&create(&gateway, "k", &task("one")), 409, "already_sent", "yes", "settled");
        gateway.kill();
        gateway = setup.start(&platform).ready();
    }
    let again = page(&gateway, "POST", "/keys/settle", &json!({"id": id, "as": "not_sent"}).to_string());
    assert_eq!(again.status, 409, "it is settled");
    assert_eq!(listed(&gateway, "state=settled")[0]["by_operator"], true);
    assert_eq!(created(&platform), 1);
}

#[test]
fn an_answer_that_an_operator_gives_is_the_answer_of_the_key() {
    let (platform, gateway) = scene();
    let id = unknown(&platform, &gateway, "k");
    let file = gateway.config().with_file_name("answer.json");
    let given = r#"{"code":200,"status":"OK","data":{"TaskID":"12345678901234567890123","TaskName":"one"}}"#;
    std::fs::write(&file, given).expect("written");
    let path = file.to_str().expect("text");
    let (status, _, errors) = command(&gateway, &["settle", &id, "--as", "not-sent", "--answer", path]);
    assert_eq!(status, Some(64), "{errors}");
    assert_eq!(command(&gateway, &["settle", &id, "--as", "sent", "--answer", path]).0, Some(0));
    for _ in 0..2 {
        let answer = create(&gateway, "k", &task("one"));
        assert_eq!((answer.status, answer.header("idempotency-replayed")), (200, Some("true")));
        assert_eq!(answer.body, given.as_bytes(), "as it was written");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let (_, out, _) = command(&gateway, &["show", &id]);
    assert!(out.contains("answered(200) by an operator") && out.contains(given), "{out}");
    assert_eq!(created(&platform), 1);
}

#[test]
fn an_operator_may_give_as_long_an_answer_as_is_remembered() {
    let (platform, gateway) = scene();
    let id = unknown(&platform, &gateway, "k");
    let file = gateway.config().with_file_name("answer.json");
    let settle = |length: usize| {
        let given = json!({"code": 200, "data": "x".repeat(length)}).to_string();
        std::fs::write(&file, &given).expect("written");
        let path = file.to_str().expect("text");
        (command(&gateway, &["settle", &id, "--as", "sent", "--answer", path]), given)
    };
    // Over what is read, and over what is kept.
    for length in [1 << 20, 262_144] {
        let ((status, _, errors), _) = settle(length);
        assert!(status != Some(0) && errors.contains("256 KiB") && errors.contains("without"), "{errors}");
    }
    assert_eq!(listed(&gateway, "state=unknown").len(), 1, "nothing is settled");
    let ((status, _, errors), given) = settle(200_000);
    assert_eq!(status, Some(0), "{errors}");
    assert_eq!(create(&gateway, "k", &task("one")).body, given.as_bytes());
    assert_eq!(created(&platform), 1);
}

#[test]
fn keys_are_found_by_what_is_known_of_them() {
    let (platform, gateway) = scene();
    let first = create(&gateway, "a", &task("one"));
    let id = unknown(&platform, &gateway, "b");
    for (query, count) in [
        ("", 2),
        ("state=answered", 1),
        ("state=unknown", 1),
        ("state=sending", 0),
        ("key=a", 1),
        ("key=%22a%22", 0),
        ("program=-&account=main&operation=task.create", 2),
        ("account=other", 0),
        ("since=1h", 2),
        ("until=1h", 0),
        ("limit=1", 1),
        (&format!("after={id}"), 0),
    ] {
        assert_eq!(listed(&gateway, query).len(), count, "{query}");
    }
    let (status, out, _) = command(&gateway, &["list", "--state", "unknown", "--program", "-"]);
    assert_eq!((status, out.lines().count()), (Some(0), 1), "{out}");
    assert!(out.starts_with(&id) && out.ends_with(" - main task.create unknown\n"), "{out}");
    let (_, out, _) = command(&gateway, &["list", "--json", "--key", "a"]);
    let shown: Value = serde_json::from_str(&out).expect("JSON");
    let (_, out, _) = command(&gateway, &["show", "--json", shown["id"].as_str().expect("an id")]);
    let shown: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(shown["answer"], first.json());
    assert_ended(&gateway, "unknown", 1.0);
}

#[test]
fn what_is_wrong_with_a_question_is_said_without_showing_it() {
    let (_platform, gateway) = scene();
    for query in ["state=canary", "since=canary", "limit=0", "canary=1", "key=", "after=canary", "key=a&key=b"] {
        let answer = page(&gateway, "GET", &format!("/keys?{query}"), "");
        assert_eq!(answer.status, 400, "{query}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("canary"), "{answer:?}");
    }
    for body in ["", "{}", r#"{"id":"key_0000010000000000","as":"maybe"}"#, r#"{"id":"canary","as":"sent"}"#] {
        let answer = page(&gateway, "POST", "/keys/settle", body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("canary"), "{answer:?}");
    }
    let nobody = r#"{"id":"key_0000010000000000","as":"sent"}"#;
    assert_eq!(page(&gateway, "POST", "/keys/settle", nobody).status, 404);
    assert_eq!(page(&gateway, "GET", "/keys/key_0000010000000000", "").status, 404);
    assert_eq!(page(&gateway, "GET", "/keys/settle", "").status, 405);
    assert_eq!(page(&gateway, "POST", "/keys", "{}").status, 405);
    assert_eq!(command(&gateway, &["show", "key_0000010000000000"]).0, Some(1));
    assert_eq!(command(&gateway, &["show", "nonsense"]).0, Some(64));
    assert_eq!(command(&gateway, &["settle", "key_0000010000000000", "--as", "sent"]).0, Some(1));
}

#[test]
fn keys_are_for_operators() {
    let setup = Setup {
        admin: "token = { env = \"ADMIN_TOKEN\" }".to_owned(),
        env: vec![("ADMIN_TOKEN".to_owned(), "a token of operators".to_owned())],
        ..keeping()
    };
    let (_platform, gateway) = scene_with(setup, "");
    assert_eq!(page(&gateway, "GET", "/keys", "").status, 401);
    assert_eq!(page(&gateway, "POST", "/keys/settle", "{}").status, 401);
    let (_platform, gateway) = scene();
    let form =
        "POST /keys/settle HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(Client::connect(gateway.admin).send(form).answer().status, 415, "a web page's form changes nothing");
    let (_platform, gateway) = scene_with(Setup::default(), "");
    assert_eq!(page(&gateway, "GET", "/keys", "").status, 404, "there is no inbox");
    assert_eq!(command(&gateway, &["list"]).0, Some(69));
}
