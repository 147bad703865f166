//! What a gateway token opens, how it may be written, and what ends it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{
    BOOKS, CALLS, LOGIN, PREDICT_TASK, TASK, TOKEN_KEY, call, check_arrived, check_refused, json, log_in, setup,
    token_of,
};
use crate::support::{Answer, Gateway, Setup, platform};

/// What a call with this token is answered: 200, or the word of the refusal.
fn outcome(gateway: &Gateway, token: &str) -> String {
    let answer = call(&mut gateway.client(), &format!("Token {token}"));
    answer.word().map_or_else(|| answer.status.to_string(), str::to_owned)
}

#[test]
fn a_token_is_read_however_clients_write_it() {
    let platform = platform();
    let gateway = setup().start(&platform).ready();
    let token = log_in(&gateway, CALLS);
    let mut client = gateway.client();
    let spellings = ["Token ", "Bearer ", "", "token ", "BEARER  ", "Token \t"];
    for spelling in spellings {
        let answer = call(&mut client, &format!("{spelling}{token}"));
        assert_eq!(answer.status, 200, "{spelling:?}");
        assert_eq!(gateway.line_of(&answer)["program"], "calls");
    }
    check_arrived(&platform, TASK, spellings.len());
    for (nothing, word) in [("", "unknown_program"), ("Basic YTpi", "unknown_program"), ("Token", "token_invalid")] {
        check_refused(&call(&mut client, nothing), 401, word);
    }
    check_refused(&client.get("/service/cloud/list"), 401, "unknown_program");
    // Two of them could name two programs.
    let twice = format!("Authorization: Token {token}\r\nAuthorization: Token {token}\r\n");
    check_refused(&client.post_with(TASK, &twice, "{}"), 401, "unknown_program");
    check_arrived(&platform, TASK, spellings.len());
}

#[test]
fn what_was_not_given_here_opens_nothing() {
    let platform = platform();
    let gateway = setup().start(&platform).ready();
    let token = log_in(&gateway, CALLS);
    let bytes = STANDARD.decode(&token).expect("base64");
    let mut client = gateway.client();
    for bit in 0..8 * bytes.len() {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let answer = call(&mut client, &format!("Token {}", STANDARD.encode(forged)));
        assert_eq!((answer.status, answer.word()), (401, Some("token_invalid")), "bit {bit}");
    }
    let real = platform.tokens().remove(0);
    for forged in [&real, &token[1..], &format!("{token}="), "x", "%00", CALLS.0, CALLS.1, TOKEN_KEY, &"A".repeat(4096)]
    {
        check_refused(&call(&mut client, &format!("Token {forged}")), 401, "token_invalid");
    }
    check_arrived(&platform, TASK, 0);
    assert_eq!(outcome(&gateway, &token), "200");
}

#[test]
fn the_call_centre_says_it_as_its_clients_expect() {
    let gateway = setup().start(&platform()).ready();
    let check = |gateway: &Gateway, headers: &str, code: u16, word: &str| {
        let answer = gateway.client().post_with(PREDICT_TASK, headers, "{}");
        let body = answer.json();
        assert_eq!((answer.status, answer.word(), &body["code"]), (401, Some(word), &code.into()), "{headers} {body}");
        assert_eq!((&body["status"], &body["sent"]), (&word.into(), &"no".into()));
    };
    check(&gateway, "", 10810, "unknown_program");
    check(&gateway, "X-Gateway-Key: wrong\r\n", 10810, "unknown_program");
    check(&gateway, "Authorization: Token wrong\r\n", 10812, "token_invalid");
    let (token, gateway) = expired();
    check(&gateway, &format!("Authorization: Token {token}\r\n"), 10813, "token_expired");
}

/// A token whose time is over, and a gateway that knows it.
fn expired() -> (String, Gateway) {
    let mut setup = setup();
    setup.outbound += "\ntoken_life = \"1s\"";
    let gateway = setup.start(&platform());
    let token = log_in(&gateway, CALLS);
    gateway.until(|gateway| outcome(gateway, &token) == "token_expired");
    (token, gateway)
}

#[test]
fn a_token_ends_and_the_next_login_gives_another() {
    let (token, gateway) = expired();
    check_refused(&call(&mut gateway.client(), &format!("Token {token}")), 401, "token_expired");
    assert_ne!(log_in(&gateway, CALLS), token);
    // The end stands in the token: a longer life of later ones does not bring it back.
    let platform = platform();
    let longer = setup().start(&platform).ready();
    assert_eq!(outcome(&longer, &token), "token_expired");
    assert_eq!(outcome(&longer, &log_in(&longer, CALLS)), "200");
}

#[test]
fn asking_again_ends_no_token() {
    let platform = platform();
    let gateway = setup().start(&platform).ready();
    let (first, second) = (log_in(&gateway, CALLS), log_in(&gateway, CALLS));
    assert_eq!((outcome(&gateway, &first), outcome(&gateway, &second)), ("200".into(), "200".into()));
}

#[test]
fn a_token_holds_after_a_restart_and_on_every_replica() {
    let platform = platform();
    let mut gateway = setup().start(&platform).ready();
    let token = log_in(&gateway, BOOKS);
    let replica = setup().start(&platform).ready();
    assert_eq!(outcome(&replica, &token), "200");
    gateway.kill();
    assert_eq!(outcome(&setup().start(&platform).ready(), &token), "200");
}

#[test]
fn a_signing_key_is_changed_without_a_login() {
    let platform = platform();
    let rotating = || {
        let mut setup = setup().with_env("TOKEN_KEY", "the new key that signs gateway tokens");
        setup.outbound += "\nold_token_key = { env = \"OLD_TOKEN_KEY\" }";
        setup.with_env("OLD_TOKEN_KEY", TOKEN_KEY)
    };
    let before = setup().start(&platform).ready();
    let old = log_in(&before, CALLS);
    let during = rotating().start(&platform).ready();
    assert_eq!(outcome(&during, &old), "200", "what the former key signed still counts");
    let new = log_in(&during, CALLS);
    assert_eq!(outcome(&before, &new), "token_invalid", "the former key signs nothing any more");
    let after = setup().with_env("TOKEN_KEY", "the new key that signs gateway tokens").start(&platform).ready();
    assert_eq!((outcome(&after, &old), outcome(&after, &new)), ("token_invalid".into(), "200".into()));
}

#[test]
fn a_changed_or_removed_pair_ends_its_tokens() {
    let platform = platform();
    let (books, calls) = {
        let gateway = setup().start(&platform).ready();
        (log_in(&gateway, BOOKS), log_in(&gateway, CALLS))
    };
    let without = Setup { more: setup().more.replace("name = \"calls\"", "name = \"renamed\""), ..setup() };
    for changed in [
        setup().with_env("CALLS_SECRET", "another secret of calls"),
        setup().with_env("CALLS_KEY", "another-key"),
        without,
    ] {
        let gateway = changed.start(&platform).ready();
        assert_eq!((outcome(&gateway, &calls), outcome(&gateway, &books)), ("token_invalid".into(), "200".into()));
    }
}

#[test]
fn no_answer_and_no_line_holds_a_pair_a_key_or_a_token() {
    let platform = platform();
    let mut gateway = setup().start(&platform).ready();
    let mut answers: Vec<Answer> = Vec::new();
    let mut client = gateway.client();
    let login = client.post(LOGIN, json(BOOKS));
    let token = token_of(&login);
    for authorization in [format!("Token {token}"), format!("Token x{token}"), token.clone(), format!("Basic {token}")]
    {
        answers.push(call(&mut client, &authorization));
        answers.push(client.post_with(PREDICT_TASK, &format!("Authorization: {authorization}\r\n"), "{}"));
        answers.push(client.post_with(
            "/service/cloud/cancelphonecall",
            &format!("Authorization: {authorization}\r\n"),
            "{}",
        ));
    }
    for body in [json((BOOKS.0, CALLS.1)), json((CALLS.1, BOOKS.0)), json(BOOKS) + "x"] {
        answers.push(client.post(LOGIN, body));
    }
    let page = gateway.admin_page("/metrics").1;
    gateway.terminate();
    assert!(gateway.wait().success());
    let mut said = gateway.printed_whole() + &page;
    assert!(said.lines().count() > answers.len(), "{said}");
    for answer in answers {
        said += &format!("{:?}{}", answer.headers, String::from_utf8_lossy(&answer.body));
    }
    let mut marks = vec![BOOKS.0, CALLS.0, CALLS.1, "books app", TOKEN_KEY, &token];
    // The platform's own reach no program, not even with the login that went well.
    said += &String::from_utf8_lossy(&login.body).replace(&token, "");
    let real = platform.tokens();
    marks.extend(real.iter().map(String::as_str).chain(["demo-key", "demo-secret"]));
    for mark in marks {
        assert!(!said.contains(mark), "{mark} in {said}");
    }
}
