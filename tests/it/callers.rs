//! Who may call, and for which account.

use airudder_gateway::simulator::{Options, Simulator};

use crate::support::{Answer, Client, Setup, calls, platform, platform_with};

const ASK: &str = "GET /service/cloud/detail?TaskID=1 HTTP/1.1\r\nHost: g\r\n";

fn ask(client: &mut Client, headers: &str) -> Answer {
    client.send(format!("{ASK}{headers}\r\n")).answer()
}

fn check_refused(client: &mut Client, headers: &str, status: u16, word: &str) {
    let answer = ask(client, headers);
    assert_eq!((answer.status, answer.word()), (status, Some(word)), "{headers:?}");
    assert_eq!(answer.json()["sent"], "no", "{headers:?}");
}

/// A second account at a platform of its own.
fn second(platform: &Simulator) -> String {
    format!(
        "[[account]]\nname = \"second\"\nupstream = \"{}\"\napp_key = {{ env = \"SECOND_KEY\" }}\n\
         app_secret = {{ env = \"SECOND_SECRET\" }}\nencryption = \"off\"\n",
        platform.url()
    )
}

const PROGRAMS: &str = "[[program]]\nname = \"books\"\napi_key = { env = \"BOOKS\" }\naccount = \"second\"\n\
                        [[program]]\nname = \"calls\"\napi_key = { env = \"CALLS\" }\n";

fn env() -> Vec<(String, String)> {
    [("SECOND_KEY", "key-2"), ("SECOND_SECRET", "secret-2"), ("BOOKS", "books-key"), ("CALLS", "calls-key")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn second_platform() -> Simulator {
    platform_with(Options { key_pair: ("key-2".into(), "secret-2".into()), ..Options::default() })
}

#[test]
fn without_programs_anybody_calls_for_the_first_account_or_the_one_that_is_named() {
    let (first, other) = (platform(), second_platform());
    let gateway = Setup { more: second(&other), env: env(), ..Setup::default() }.start(&first);
    let mut client = gateway.client();
    for (headers, sealed) in [
        ("", true),
        ("X-Gateway-Account: main\r\n", true),
        ("X-Gateway-Account: second\r\n", false),
        ("X-Gateway-Key: whatever\r\n", true),
    ] {
        first.clear();
        other.clear();
        assert_eq!(ask(&mut client, headers).status, 200, "{headers:?}");
        let (arrived, elsewhere) = if sealed { (calls(&first), calls(&other)) } else { (calls(&other), calls(&first)) };
        assert_eq!((arrived.len(), elsewhere.len()), (1, 0), "{headers:?}");
        assert_eq!(arrived[0].sealed(), sealed, "{headers:?}: as its own account says");
        assert!(arrived[0].headers.iter().all(|(name, _)| !name.to_ascii_lowercase().starts_with("x-gateway-")));
    }
    first.clear();
    other.clear();
    for headers in ["nobody", "MAIN", "main ,", "", "main, second", "\u{e9}"] {
        check_refused(&mut client, &format!("X-Gateway-Account: {headers}\r\n"), 400, "unknown_account");
    }
    // Two names could be read in two ways.
    check_refused(&mut client, "X-Gateway-Account: main\r\nX-Gateway-Account: second\r\n", 400, "unknown_account");
    assert!(calls(&first).is_empty() && calls(&other).is_empty());
}

#[test]
fn with_programs_a_key_is_needed_and_it_picks_the_account() {
    let (first, other) = (platform(), second_platform());
    let more = second(&other) + PROGRAMS;
    let gateway = Setup { more, env: env(), ..Setup::default() }.start(&first);
    let mut client = gateway.client();
    for headers in [
        "",
        "X-Gateway-Key:\r\n",
        "X-Gateway-Key: books-ke\r\n",
        "X-Gateway-Key: books-keyy\r\n",
        "X-Gateway-Key: BOOKS-KEY\r\n",
        "X-Gateway-Key: books\r\n",
        "X-Gateway-Key: books-key, calls-key\r\n",
        "X-Gateway-Key: wrong\r\nX-Gateway-Key: books-key\r\n",
        "X-Gateway-Key: books-key\r\nX-Gateway-Key: calls-key\r\n",
        "X-Gateway-Account: second\r\n",
        "Authorization: Basic books-key\r\n",
    ] {
        check_refused(&mut client, headers, 401, "unknown_program");
    }
    check_refused(&mut client, "Authorization: Token books-key\r\n", 401, "token_invalid");
    assert!(calls(&first).is_empty() && calls(&other).is_empty());

    for (headers, program, account) in [
        ("X-Gateway-Key: books-key\r\n", "books", "second"),
        // It is bound to its account, whatever it names.
        ("X-Gateway-Key: books-key\r\nX-Gateway-Account: main\r\n", "books", "second"),
        ("X-Gateway-Key: calls-key\r\n", "calls", "main"),
        ("X-Gateway-Key: calls-key\r\nX-Gateway-Account: second\r\n", "calls", "second"),
    ] {
        first.clear();
        other.clear();
        let answer = ask(&mut client, headers);
        assert_eq!(answer.status, 200, "{headers:?}");
        let (at_first, at_other) = (calls(&first).len(), calls(&other).len());
        assert_eq!((at_first, at_other), if account == "main" { (1, 0) } else { (0, 1) }, "{headers:?}");
        let id = answer.header("x-request-id").expect("an id").to_owned();
        let line = gateway.log_line(|line| line["request_id"] == id.as_str());
        assert_eq!((line["program"].as_str(), line["account"].as_str()), (Some(program), Some(account)), "{headers:?}");
    }
}

#[test]
fn what_is_sealed_already_or_cannot_be_sealed_is_refused() {
    let platform = platform();
    for sealed in [true, false] {
        let gateway = Setup { sealed, ..Setup::default() }.start(&platform).ready();
        let mut client = gateway.client();
        for headers in
            ["Is-Encrypted: 1\r\n", "is-encrypted: 0\r\n", "Signed:\r\n", "SIGNED: 00\r\nIs-Encrypted: 1\r\n"]
        {
            check_refused(&mut client, headers, 400, "already_sealed");
        }
    }
    let gateway = Setup::default().start(&platform).ready();
    for method in ["GET", "HEAD"] {
        for body in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
            let mut client = gateway.client();
            client.send(format!("{method} /service/cloud/detail?TaskID=1 HTTP/1.1\r\nHost: g\r\n{body}"));
            let answer = if method == "HEAD" { client.answer_to_head() } else { client.answer() };
            assert_eq!((answer.status, answer.word()), (400, Some("body_not_sealable")), "{method} {body:?}");
        }
    }
    assert!(calls(&platform).is_empty());

    // An empty body is none.
    let mut client = gateway.client();
    client
        .send("GET /service/cloud/detail?TaskID=1 HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}
