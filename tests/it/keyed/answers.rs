//! The same key again: the same answer, and nothing more at the platform.

use airudder_gateway::simulator::{Fault, FaultKind, Page};

use super::{
    TASK, assert_ended, assert_refused, assert_replayed, create, created, ended, keeping, post, scene, scene_with, task,
};
use crate::support::{Setup, arrived_at, platform, stop};

#[test]
fn the_same_call_again_gets_the_answer_of_the_first_and_is_not_sent() {
    for setup in [keeping(), Setup { sealed: false, ..keeping() }] {
        let (platform, gateway) = scene_with(setup, "");
        let first = create(&gateway, "order-4711", &task("one"));
        assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
        assert_eq!(first.json()["data"]["TaskName"], "one");
        for _ in 0..3 {
            assert_replayed(&create(&gateway, "order-4711", &task("one")), &first, "again");
        }
        assert_replayed(&create(&gateway, "\"order-4711\"", &task("one")), &first, "in quotes");
        assert_eq!(created(&platform), 1);
        let arrived = &arrived_at(&platform, TASK)[0];
        assert_eq!(arrived.header("idempotency-key"), None, "the platform learns nothing of it");
        let other = create(&gateway, "order-4712", &task("one"));
        assert_ne!(other.json()["data"]["TaskID"], first.json()["data"]["TaskID"]);
        assert_ended(&gateway, "first", 2.0);
        assert_ended(&gateway, "replayed", 4.0);
        assert_eq!(created(&platform), 2);
        gateway.until(|gateway| gateway.metric("keyed_remembered") == 2.0);
        assert_eq!(gateway.line_of(&other)["key"], "first");
        assert!(!gateway.printed().contains("order-471"), "a key is in no log line");
    }
}

#[test]
fn an_answer_outlives_the_gateway_and_needs_no_platform() {
    let (setup, platform) = (keeping(), platform());
    let mut gateway = setup.start(&platform).ready();
    let first = create(&gateway, "k", &task("one"));
    gateway.kill();
    let url = platform.url();
    stop(&platform);
    let gateway = Setup { account: "breaker = { failures = 1, open = \"60s\" }".into(), ..setup }.start_at(&url, None);
    let new = create(&gateway, "new", &task("two"));
    assert_eq!((new.status, new.json()["sent"].as_str()), (502, Some("no")), "there is no platform and no token");
    assert_replayed(&create(&gateway, "k", &task("one")), &first, "after a crash");
}

#[test]
fn a_remembered_answer_takes_no_turn() {
    let (platform, gateway) = scene_with(keeping(), "limit = { rate = \"1/h\", max_wait = \"0s\" }");
    let first = create(&gateway, "k", &task("one"));
    assert_eq!(first.status, 200);
    assert_eq!(create(&gateway, "other", &task("two")).word(), Some("limited"), "the rate is used up");
    for _ in 0..5 {
        let again = create(&gateway, "k", &task("one"));
        assert_replayed(&again, &first, "beyond the rate");
        assert_eq!(again.header("ratelimit"), None, "it met no limit");
    }
    assert_eq!(created(&platform), 1);
}

#[test]
fn a_key_belongs_to_one_body() {
    let (platform, gateway) = scene();
    let first = create(&gateway, "k", &task("one"));
    for body in [task("two"), String::new(), format!("{} ", task("one"))] {
        let answer = create(&gateway, "k", &body);
        assert_refused(&answer, 422, "idempotency_key_reused", "no", &body);
    }
    assert_replayed(&create(&gateway, "k", &task("one")), &first, "the first body");
    assert_ended(&gateway, "other_body", 3.0);
    assert_eq!(created(&platform), 1);
}

#[test]
fn a_key_belongs_to_its_program_its_account_its_path_and_its_query() {
    let programs = "[[program]]\nname = \"a\"\napi_key = { env = \"A\" }\n\
                    [[program]]\nname = \"b\"\napi_key = { env = \"B\" }\n\
                    [[account]]\nname = \"second\"\nupstream = \"UPSTREAM\"\nencryption = \"off\"\n\
                    app_key = { env = \"APP_KEY\" }\napp_secret = { env = \"APP_SECRET\" }\n";
    let (platform, setup) = (platform(), keeping());
    let env = [("A", "key-of-program-a"), ("B", "key-of-program-b")];
    let gateway = Setup {
        more: setup.more.clone() + &programs.replace("UPSTREAM", &platform.url()),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..setup
    }
    .start(&platform)
    .ready();
    let a = "X-Gateway-Key: key-of-program-a\r\n";
    let b = "X-Gateway-Key: key-of-program-b\r\n";
    let second = "X-Gateway-Key: key-of-program-a\r\nX-Gateway-Account: second\r\n";
    let places = [
        (TASK, a),
        (TASK, b),
        (TASK, second),
        ("/service/cloud/v2/task", a),
        ("/service/cloud/task?", a),
        ("/service/cloud/task?a=b", a),
    ];
    for again in [false, true] {
        for (path, headers) in places {
            let headers = format!("Idempotency-Key: k\r\n{headers}");
            let answer = gateway.client().post_with(path, &headers, task("one"));
            assert_eq!(answer.status, 200, "{path} {headers}");
            assert_eq!(answer.header("idempotency-replayed").is_some(), again, "{path} {headers}");
        }
    }
    assert_eq!(platform.count(TASK) + platform.count("/service/cloud/v2/task"), places.len());
}

#[test]
fn what_is_no_key_is_refused_and_on_other_methods_none_is_looked_for() {
    let (platform, gateway) = scene();
    for headers in [
        "Idempotency-Key:\r\n",
        "Idempotency-Key: \"\"\r\n",
        "Idempotency-Key: \"open\r\n",
        "Idempotency-Key: a\tb\r\n",
        "Idempotency-Key: a\r\nIdempotency-Key: a\r\n",
        &format!("Idempotency-Key: {}\r\n", "k".repeat(256)),
    ] {
        let answer = gateway.client().post_with(TASK, headers, task("one"));
        assert_refused(&answer, 400, "bad_idempotency_key", "no", headers);
    }
    assert_eq!(created(&platform), 0);
    for _ in 0..2 {
        let get = "GET /service/cloud/list HTTP/1.1\r\nHost: g\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n";
        let answer = gateway.client().send(get).answer();
        assert_eq!((answer.status, answer.header("idempotency-replayed")), (200, None));
    }
    let arrived = arrived_at(&platform, "/service/cloud/list");
    assert_eq!((arrived.len(), arrived[0].header("idempotency-key")), (2, None));
    assert_eq!(create(&gateway, &"k".repeat(255), &task("one")).status, 200, "the longest one");
}

#[test]
fn an_operation_may_require_a_key() {
    let setup = keeping();
    let more = setup.more.clone() + "[[operation]]\nname = \"task.create\"\nidempotency = \"required\"\n";
    let (platform, gateway) = scene_with(Setup { more, ..setup }, "");
    let answer = gateway.client().post(TASK, task("one"));
    assert_refused(&answer, 400, "idempotency_key_missing", "no", "without");
    assert_eq!(create(&gateway, "k", &task("one")).status, 200);
    assert_eq!(gateway.client().post("/service/cloud/operation", r#"{"TaskID":"1"}"#).status, 200, "another operation");
    assert_eq!(created(&platform), 1);
}

#[test]
fn whatever_else_the_platform_says_is_its_answer_to_this_key() {
    for fault in [
        Fault::page(500, Page::Html),
        Fault::status(503),
        Fault::status(404),
        Fault::code(400),
        Fault::new(FaultKind::Status { code: 500, page: Page::Json, retry_after: None, sealed: true }),
        Fault::new(FaultKind::Redirect { location: "/elsewhere".to_owned() }),
        Fault::page(204, Page::Empty),
    ] {
        let (platform, gateway) = scene();
        platform.fault(fault.clone());
        let first = create(&gateway, "k", &task("one"));
        assert_eq!(first.header("x-gateway-error"), None, "{fault:?}: it is the platform's");
        let again = create(&gateway, "k", &task("one"));
        assert_replayed(&again, &first, &format!("{fault:?}"));
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(created(&platform), 1, "{fault:?}");
    }
}

#[test]
fn a_mark_of_the_platform_is_not_taken_for_ours() {
    let url = crate::support::scripted(|_, line| {
        line.say("HTTP/1.1 200 OK\r\nIdempotency-Replayed: true\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}");
        line.end();
    });
    let gateway = Setup { sealed: false, ..keeping() }.start_at(&url, None);
    assert_eq!(create(&gateway, "k", "{}").header("idempotency-replayed"), None);
    assert_eq!(create(&gateway, "k", "{}").header("idempotency-replayed"), Some("true"));
}

#[test]
fn an_answer_that_streams_is_remembered_whole_and_one_that_is_too_large_is_known() {
    for (length, framed, is_kept) in
        [(100_000, true, true), (100_000, false, true), (300_000, true, false), (300_000, false, false)]
    {
        let url = crate::support::scripted(move |_, line| {
            let body = "x".repeat(length);
            let framing = if framed { format!("Content-Length: {length}\r\n") } else { String::new() };
            line.say(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{framing}Connection: close\r\n\r\n{body}"
            ));
            line.end();
        });
        let gateway = Setup { sealed: false, ..keeping() }.start_at(&url, None);
        let first = create(&gateway, "k", "{}");
        assert_eq!((first.status, first.body.len(), first.complete), (200, length, true));
        let again = create(&gateway, "k", "{}");
        if is_kept {
            assert_replayed(&again, &first, "it streamed");
        } else {
            assert_refused(&again, 409, "answer_not_kept", "yes", "it was too large");
            assert_ended(&gateway, "not_kept", 1.0);
            assert_ended(&gateway, "gone", 1.0);
        }
    }
}

#[test]
fn answers_are_forgotten_after_their_time() {
    let (platform, gateway) = scene_with(
        Setup { more: "[inbox]\npath = \"data/inbox.db\"\nkeep_answers = \"1ms\"\n".into(), ..keeping() },
        "",
    );
    let first = create(&gateway, "k", &task("one"));
    gateway.until(|gateway| gateway.metric("keyed_remembered") == 0.0 && ended(gateway, "first") == 1.0);
    let later = post(&mut gateway.client(), "k", "", &task("one"));
    assert_eq!(later.header("idempotency-replayed"), None);
    assert_ne!(later.json()["data"]["TaskID"], first.json()["data"]["TaskID"]);
    assert_eq!(created(&platform), 2);
}
