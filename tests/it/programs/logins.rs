//! Logging in: with which pair, in which shape, and what a wrong one learns.

use super::{
    BOOKS, CALLS, LOGIN, PREDICT_LOGIN, PREDICT_TASK, TASK, call, check_arrived, check_refused, form, json, log_in,
    setup, token_of,
};
use crate::support::{Answer, platform};

#[test]
fn a_program_logs_in_as_json_and_as_a_form_and_calls() {
    let platform = platform();
    let gateway = setup().start(&platform).ready();
    let mut client = gateway.client();
    let mut calls = 0;
    for (name, pair) in [("books", BOOKS), ("calls", CALLS)] {
        for (path, code) in [(LOGIN, 200), (PREDICT_LOGIN, 0)] {
            for (kind, body) in [
                ("application/json", json(pair)),
                ("application/x-www-form-urlencoded", form(pair)),
                // Some clients say one thing and send the other.
                ("application/json", form(pair)),
                ("text/plain", json(pair)),
            ] {
                let request = format!(
                    "POST {path} HTTP/1.1\r\nHost: g\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let answer = client.send(request).answer();
                assert_eq!(answer.json()["code"], code, "{body}");
                let line = gateway.line_of(&answer);
                assert_eq!((&line["program"], &line["account"]), (&name.into(), &"main".into()), "{line}");
                let token = token_of(&answer);
                assert_eq!(token.len(), 64, "as the platform's own");
                // Whichever family gave it.
                let answer = call(&mut client, &format!("Token {token}"));
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_eq!(gateway.line_of(&answer)["program"], name);
                let header = format!("Authorization: Token {token}\r\n");
                assert_eq!(client.post_with(PREDICT_TASK, &header, "{}").status, 200);
                calls += 1;
            }
        }
    }
    check_arrived(&platform, TASK, calls);
    check_arrived(&platform, PREDICT_TASK, calls);
    assert_eq!(platform.count(LOGIN) + platform.count(PREDICT_LOGIN), 2, "no login of a program arrived");
}

#[test]
fn a_wrong_pair_learns_nothing() {
    let platform = platform();
    let real = ("demo-key", "demo-secret");
    let wrong = [
        json((BOOKS.0, "wrong")),
        json((BOOKS.0, CALLS.1)),
        json((CALLS.0, BOOKS.1)),
        json(("unknown", "wrong")),
        json(("unknown", BOOKS.1)),
        json((BOOKS.1, BOOKS.0)),
        json((BOOKS.0, "")),
        json(("", "")),
        json(real),
        form((BOOKS.0, "wrong")),
        form(("unknown", "wrong")),
        format!("{{\"APPKey\":\"{}\"}}", BOOKS.0),
        "{}".into(),
        String::new(),
        "[1".into(),
    ];
    let shape = |answer: &Answer| {
        let mut body = answer.json();
        let id = body["request_id"].take();
        assert_eq!(answer.header("x-request-id"), id.as_str());
        let named = |name: &str| !["x-request-id", "date"].contains(&name.to_ascii_lowercase().as_str());
        let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| named(name)).cloned().collect();
        (answer.status_line.clone(), headers, body.to_string())
    };
    // Each family has one answer for all of them.
    for path in [LOGIN, PREDICT_LOGIN] {
        let mut answers = Vec::new();
        // So few at one gateway that no answer waits.
        for bodies in wrong.chunks(5) {
            let gateway = setup().start(&platform);
            for body in bodies {
                let answer = gateway.client().post(path, body);
                check_refused(&answer, 401, "login_refused");
                answers.push(answer);
            }
        }
        assert_eq!(answers[0].header("www-authenticate"), Some("Token"));
        for (answer, body) in answers.iter().zip(&wrong) {
            assert_eq!(shape(answer), shape(&answers[0]), "{body}");
        }
    }
    assert_eq!(platform.requests().len(), platform.count(LOGIN), "only the gateways' own logins");
    assert!(platform.count(LOGIN) <= 6);
}

#[test]
fn failures_slow_whoever_is_wrong_and_nobody_else() {
    let gateway = setup().start(&platform()).ready();
    let waited = |answer: &Answer| gateway.line_of(answer)["limit_wait_us"].as_u64().expect("a time");
    let fail = |key: &str| gateway.client().post(LOGIN, json((key, "wrong")));
    for _ in 0..5 {
        assert_eq!(waited(&fail(BOOKS.0)), 0);
    }
    // A sleep is never shorter than it was asked to be.
    assert!(waited(&fail(BOOKS.0)) >= 100_000);
    assert!(waited(&fail("unknown")) >= 100_000, "a key that nobody has waits like one that somebody has");
    let right = gateway.client().post(LOGIN, json(BOOKS));
    assert!(waited(&right) >= 100_000, "its own program waits");
    token_of(&right);
    let other = gateway.client().post(LOGIN, json(CALLS));
    assert_eq!(waited(&other), 0, "others do not");
    token_of(&other);
    assert_eq!(gateway.line_of(&fail(CALLS.0))["program"], "calls", "the operator sees whose pair is wrong");
}

#[test]
fn a_program_that_leaves_while_it_waits_is_not_answered() {
    let gateway = setup().start(&platform()).ready();
    for _ in 0..12 {
        let mut client = gateway.client();
        client.send(format!("POST {LOGIN} HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{{}}"));
        drop(client);
    }
    gateway.log_line(|line| line["outcome"] == "client_gone" && line["operation"] == "auth");
    log_in(&gateway, CALLS);
}

#[test]
fn a_program_without_a_pair_is_known_by_its_key_and_may_log_in_for_the_form_of_it() {
    let platform = platform();
    let gateway = setup().start(&platform).ready();
    let mut client = gateway.client();
    let key = "X-Gateway-Key: the key of a program without a login\r\n";
    let placeholder = token_of(&client.post_with(LOGIN, key, json(("any", "pair"))));
    let both = format!("{key}Authorization: Token {placeholder}\r\n");
    for headers in [key, &both] {
        let answer = client.post_with(TASK, headers, "{}");
        assert_eq!((answer.status, &gateway.line_of(&answer)["program"]), (200, &"old".into()), "{headers}");
    }
    check_refused(&call(&mut client, &format!("Token {placeholder}")), 401, "token_invalid");
    check_refused(&client.post_with(LOGIN, "X-Gateway-Key: wrong\r\n", json(BOOKS)), 401, "unknown_program");
    let twice = format!("{key}{key}");
    check_refused(&client.post_with(LOGIN, &twice, json(BOOKS)), 401, "unknown_program");
    check_arrived(&platform, TASK, 2);
}

#[test]
fn a_login_is_bounded() {
    let gateway = setup().start(&platform()).ready();
    let long = json((BOOKS.0, &"x".repeat(64 * 1024)));
    check_refused(&gateway.client().post(LOGIN, &long), 413, "body_too_large");
    let chunked = format!(
        "POST {LOGIN} HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    check_refused(&gateway.client().send(chunked).answer(), 413, "body_too_large");
    let chunked = |body: String| {
        format!(
            "POST {LOGIN} HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
    };
    token_of(&gateway.client().send(chunked(json(BOOKS))).answer());
}
