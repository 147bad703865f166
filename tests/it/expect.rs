//! `Expect: 100-continue`: a program that waits before its body is told to go on exactly when the body is wanted.

use crate::support::{Client, Setup, calls, platform};

fn ask(client: &mut Client, path: &str, headers: &str, length: usize) {
    client.send(format!(
        "POST {path} HTTP/1.1\r\nHost: gateway\r\nExpect: 100-continue\r\n{headers}Content-Length: {length}\r\n\r\n"
    ));
}

#[test]
fn a_wanted_body_is_asked_for_and_the_connection_stays() {
    let platform = platform();
    let big = "x".repeat(200_000);
    for setup in [Setup::default(), Setup::unsealed()] {
        let gateway = setup.start(&platform);
        let mut client = gateway.client();
        for body in ["{}", &big] {
            ask(&mut client, "/_sim/echo", "", body.len());
            let interim = client.head().expect("an interim answer");
            assert_eq!((interim.status, interim.headers.len()), (100, 0));
            let answer = client.send(body).answer();
            assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
            let arrived = calls(&platform).pop().expect("it arrived");
            assert_eq!(arrived.header("expect"), None, "it ends here");
            assert!(arrived.complete);
        }
        assert_eq!(client.get("/service/cloud/robot").status, 200, "the connection can be used again");
    }
}

#[test]
fn a_body_that_streams_is_asked_for_too() {
    let platform = platform();
    let gateway = Setup { outbound: "threads = 2\nmax_body = \"64KiB\"".into(), ..Setup::unsealed() }.start(&platform);
    let mut client = gateway.client();
    ask(&mut client, "/_sim/echo", "", 300_000);
    assert_eq!(client.head().map(|head| head.status), Some(100));
    assert_eq!(client.send("x".repeat(300_000)).answer().json()["data"]["body"]["length"], 300_000);
}

#[test]
fn a_login_is_asked_for_too() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    let mut client = gateway.client();
    let body = r#"{"APPKey":"k","APPSecret":"s"}"#;
    ask(&mut client, "/service/cloud/auth", "", body.len());
    assert_eq!(client.head().map(|head| head.status), Some(100));
    assert_eq!(client.send(body).answer().json()["code"], 200);
}

#[test]
fn a_body_that_will_not_be_read_is_refused_at_once() {
    let platform = platform();
    let gateway = Setup { outbound: "threads = 2\nmax_body = \"64KiB\"".into(), ..Setup::default() }.start(&platform);
    for (headers, length, refused) in [
        ("", 70_000, (413, "body_too_large")),
        ("X-Gateway-Account: nobody\r\n", 2, (400, "unknown_account")),
        ("Signed: 00\r\n", 2, (400, "already_sealed")),
    ] {
        let mut client = gateway.client();
        ask(&mut client, "/_sim/echo", headers, length);
        let answer = client.head().expect("an answer");
        assert_eq!((answer.status, answer.word()), (refused.0, Some(refused.1)), "no 100 before it");
        // Whether the body follows is for the program to decide, so the next request cannot be found.
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert!(calls(&platform).is_empty());
}

#[test]
fn who_cannot_wait_is_not_answered_in_the_middle() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);

    // HTTP/1.0 knows no interim answers.
    let request = "POST /_sim/echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(gateway.client().send(request).head().map(|head| head.status), Some(200));

    // Without a body there is nothing to wait for.
    let mut client = gateway.client();
    ask(&mut client, "/_sim/echo", "", 0);
    assert_eq!(client.head().map(|head| head.status), Some(200));

    // A program that did not wait gets its answer too.
    let mut client = gateway.client();
    ask(&mut client, "/_sim/echo", "", 2);
    assert_eq!(client.send("{}").answer().status, 200);
}
