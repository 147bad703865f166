//! What happened to a phone call: found by any id, told without anybody's number, as a page, as data and by the command.

use std::process::Command;

use airudder_gateway::simulator::{Fault, FaultKind, Simulator};
use serde_json::{Value, json};

use super::{PATH, TOKEN, ask, callback, look, setup, unwilling};
use crate::support::{Client, Gateway, Refusing, Setup, arrived_at, platform, wait_until};

/// A task is created, and the platform calls back about `call-1` of it; `books` wants nothing. Its id, and the request's.
fn one_call(gateway: &Gateway) -> (String, String) {
    let body = r#"{"TaskName":"canary","Details":[{"Callee":"+6281200000001"}]}"#;
    let created = gateway.client().post_with("/service/cloud/task", "Idempotency-Key: \"order-1\"\r\n", body);
    assert_eq!(created.status, 200);
    let task = created.json()["data"]["TaskID"].as_str().expect("an id").to_owned();
    let request = created.header("x-request-id").expect("an id").to_owned();
    let mut calling = Client::connect(gateway.inbound.expect("callbacks are configured"));
    assert_eq!(calling.post(PATH, callback("call-1", &task)).status, 200);
    // The ledger is written a moment after.
    gateway.until(|gateway| {
        let found = told(gateway, &request);
        found["requests"][0].is_object() && found["callbacks"][0]["state"] == "dead"
    });
    (task, request)
}

fn told(gateway: &Gateway, id: &str) -> Value {
    look(gateway, &format!("/call.json?id={id}"))
}

fn start(platform: &Simulator, receiver: &str) -> Gateway {
    setup([receiver, receiver], "").start(platform).ready()
}

/// What is told, in the order of the words: the platform may call back while the answer is still on its way.
fn kinds(told: &Value) -> Vec<&str> {
    let mut kinds: Vec<_> =
        told["events"].as_array().expect("events").iter().filter_map(|event| event["kind"].as_str()).collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn a_call_is_told_from_its_request_to_its_dead_letter_by_any_id() {
    let (platform, receiver) = (platform(), unwilling());
    let gateway = start(&platform, &receiver.url());
    let (task, request) = one_call(&gateway);
    let entry = told(&gateway, &task)["callbacks"][0]["id"].as_str().expect("an id").to_owned();
    for id in [task.as_str(), &request, "call-1", "order-1", &entry] {
        let found = told(&gateway, id);
        assert_eq!(kinds(&found), ["answer", "callback", "dead", "request"], "{id}: {found}");
        assert_eq!(found["sentence"], "1 request and 1 callback belong to this id.");
        let noted = &found["requests"][0];
        assert_eq!(
            (&noted["request_id"], &noted["operation"], &noted["sent"], &noted["status"], &noted["idempotency_key"]),
            (&json!(request), &json!("task.create"), &json!("yes"), &json!(200), &json!(true))
        );
        assert!(noted["phases"]["platform_us"].as_u64() > Some(0) && noted["took_us"].as_u64() > Some(0));
        assert_eq!(found["callbacks"][0]["said"], json!(["finished, number ending in 01"]));
        let text = found.to_string();
        assert!(!text.contains("6281200000001") && !text.contains("canary") && !text.contains("order-1"), "{text}");
    }
    let nothing = told(&gateway, "nobody");
    assert!(nothing["sentence"].as_str().is_some_and(|said| said.starts_with("Nothing is known of this id")));
    for wrong in ["", "?id=", "?task=1", "?id=1&id=2"] {
        let answer = ask(&gateway, "GET", &format!("/call.json{wrong}"), "", "");
        assert_eq!(answer.status, 400, "{wrong}");
    }
    for asked in ["call-1", "order-1", task.as_str()] {
        assert!(!gateway.printed().contains(asked), "what an operator looks for is no business of the log");
    }
}

#[test]
fn a_call_that_may_have_made_a_phone_ring_says_so_and_one_that_cannot_as_well() {
    let (platform, receiver) = (platform(), unwilling());
    let gateway = start(&platform, &receiver.url());
    let create = |headers: &str| gateway.client().post_with("/service/cloud/task", headers, r#"{"TaskName":"x"}"#);
    platform.fault(Fault::cut().times(2));
    let cut = create("Idempotency-Key: cut\r\n");
    assert_eq!(cut.word(), Some("outcome_unknown"));
    let late = create("X-Gateway-Deadline: never\r\n");
    assert_eq!(late.word(), Some("bad_deadline"));
    let unsaid = |id: &str| told(&gateway, id)["events"][1]["sentence"].as_str().map(str::to_owned).unwrap_or_default();
    let request = cut.header("x-request-id").expect("an id");
    gateway.until(|_| unsaid(request).contains("a phone may ring") && unsaid("cut").contains("a phone may ring"));
    let request = late.header("x-request-id").expect("an id");
    gateway.until(|_| unsaid(request).contains("no phone rings"));
}

/// The only thing that is told, and what it is.
fn only(told: &Value) -> (&str, &str) {
    assert_eq!(told["events"].as_array().map(Vec::len), Some(1), "{told}");
    let event = &told["events"][0];
    (event["kind"].as_str().expect("a kind"), event["sentence"].as_str().expect("a sentence"))
}

#[test]
fn a_call_is_found_by_its_key_however_the_key_was_written() {
    let (platform, receiver) = (platform(), unwilling());
    let gateway = start(&platform, &receiver.url());
    let longest = "k".repeat(255);
    for (header, key) in [("\"a\\\"b\"", "a%22b"), (&format!("\"{longest}\""), &*longest)] {
        let header = format!("Idempotency-Key: {header}\r\n");
        assert_eq!(gateway.client().post_with("/service/cloud/task", &header, r#"{"TaskName":"x"}"#).status, 200);
        gateway.until(|gateway| told(gateway, key)["requests"][0]["idempotency_key"] == true);
    }
}

#[test]
fn a_keyed_call_is_told_while_it_is_under_way_and_after_its_program_broke_off() {
    let (platform, receiver) = (platform(), unwilling());
    let gateway = start(&platform, &receiver.url());
    let mut client = gateway.client();
    // An answer that is not read makes the end of the connection a reset.
    client.send("GET /service/cloud/robot HTTP/1.1\r\nHost: g\r\n\r\n");
    client.stream().get_ref().peek(&mut [0]).expect("an answer");
    platform.fault(FaultKind::Hold);
    let body = r#"{"TaskName":"x"}"#;
    client.send(format!(
        "POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nIdempotency-Key: order-2\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    wait_until(&platform, "it is held", |platform| arrived_at(platform, "/service/cloud/task").len() == 1);
    let found = told(&gateway, "order-2");
    let (kind, sentence) = only(&found);
    assert_eq!((kind, &found["sentence"]), ("waiting", &json!("A call with this idempotency key is under way.")));
    let begins = "A program asked for task.create of account main with this idempotency key. It is under way since 20";
    assert!(sentence.starts_with(begins), "{sentence}");
    drop(client);
    platform.release();
    gateway.until(|gateway| told(gateway, "order-2")["requests"][0].is_object());

    // What its answer named is known although nobody took it; the repeat that tells which task it was sends nothing.
    let again = gateway.client().post_with("/service/cloud/task", "Idempotency-Key: order-2\r\n", body);
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    let task = again.json()["data"]["TaskID"].as_str().expect("an id").to_owned();
    gateway.until(|gateway| told(gateway, &task)["requests"].as_array().is_some_and(|all| all.len() == 2));
    let found = told(&gateway, &task);
    let (first, second) = (&found["requests"][0], &found["requests"][1]);
    assert_eq!((&first["outcome"], &first["from_memory"]), (&json!("client_gone"), &json!(false)));
    assert_eq!((&second["outcome"], &second["from_memory"]), (&json!("answered"), &json!(true)));
    assert!(first["phases"]["key_us"].as_u64() > Some(0), "two syncs at least: {first}");
    let said = found.to_string();
    for part in [
        "The platform answered with status 200, code 200; the program had gone before it had all of that.",
        "It was answered from memory, as the first call with its key was; nothing was sent: status 200",
        ": its key ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_key_whose_call_was_cut_short_by_a_crash_is_known_although_its_request_was_not_noted() {
    let (platform, receiver) = (platform(), unwilling());
    let folder = crate::support::Folder::new();
    let setup = Setup { folder: Some(folder), ..setup([&receiver.url(), &receiver.url()], "") };
    let mut gateway = setup.start(&platform).ready();
    platform.fault(FaultKind::Hold);
    let mut client = gateway.client();
    let head =
        "POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nIdempotency-Key: order-3\r\nContent-Length: 2\r\n\r\n{}";
    client.send(head);
    wait_until(&platform, "it is held", |platform| arrived_at(platform, "/service/cloud/task").len() == 1);
    gateway.kill();
    let again = setup.start(&platform).ready();
    let found = told(&again, "order-3");
    let (kind, sentence) = only(&found);
    assert_eq!(kind, "answer");
    assert!(sentence.contains("a phone may ring") && sentence.contains("keys settle key_"), "{sentence}");
}

#[test]
fn the_ledger_outlives_a_restart_and_a_crash_loses_what_was_not_written_only() {
    let (platform, receiver) = (platform(), unwilling());
    let folder = crate::support::Folder::new();
    let setup = Setup { folder: Some(folder), ..setup([&receiver.url(), &receiver.url()], "") };
    let mut gateway = setup.start(&platform).ready();
    let (task, request) = one_call(&gateway);
    let late = gateway.client().post("/service/cloud/task", r#"{"TaskName":"x"}"#);
    gateway.terminate();
    assert!(gateway.wait().success());
    let again = setup.start(&platform).ready();
    assert_eq!(kinds(&told(&again, &task)), ["answer", "callback", "dead", "request"]);
    assert_eq!(told(&again, &request)["requests"][0]["request_id"], request);
    let last = late.header("x-request-id").expect("an id");
    assert_eq!(kinds(&told(&again, last)), ["answer", "request"], "what was noted before the end is written");
}

#[test]
fn who_may_not_see_the_inbox_may_not_see_a_call() {
    let nobody = Refusing::new();
    let gateway =
        setup([&nobody.url(), &nobody.url()], "token = { env = \"ADMIN_TOKEN\" }").start_at(&nobody.url(), None);
    for (path, asks) in [("/call", true), ("/call?id=x", true), ("/call.json?id=x", false)] {
        let refused = ask(&gateway, "GET", path, "", "");
        let challenge = refused.header("www-authenticate").expect("how to show it");
        assert_eq!((refused.status, challenge.starts_with("Basic")), (401, asks), "{path}");
        let answer = ask(&gateway, "GET", path, &format!("Authorization: Bearer {TOKEN}\r\n"), "");
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(
            ask(&gateway, "POST", path, &format!("Authorization: Bearer {TOKEN}\r\nX-Gateway-Admin: 1\r\n"), "").status,
            405
        );
    }
    let without = Setup::unsealed().start_at(&nobody.url(), None);
    for path in ["/call", "/call.json?id=x"] {
        assert_eq!(ask(&without, "GET", path, "", "").status, 404, "without an inbox there is nothing to tell");
    }
}

#[test]
fn the_command_tells_the_same() {
    let (platform, receiver) = (platform(), unwilling());
    let gateway = start(&platform, &receiver.url());
    let (task, request) = one_call(&gateway);
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_airudder-gateway"))
            .arg("call")
            .args(arguments)
            .arg("--config")
            .arg(gateway.config())
            .args(["--admin", &gateway.admin.to_string()])
            .env_clear()
            .env("ADMIN_TOKEN", TOKEN)
            .output()
            .expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (status, out, _) = run(&[&task]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!((status, lines.len()), (Some(0), 4), "{out}");
    assert!(
        lines[0].contains(&format!(
            " request   A program asked for task.create of account main, with an idempotency key (request {request})."
        )),
        "{out}"
    );
    assert!(out.contains(" dead      A dead letter for books after 1 attempt, the last one: gone."), "{out}");
    let (status, out, _) = run(&["--json", "call-1"]);
    let whole: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((status, kinds(&whole).len()), (Some(0), 4));
    let (status, out, err) = run(&["nobody"]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("Nothing is known of this id"), "{err}");
}
