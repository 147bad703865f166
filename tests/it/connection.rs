//! A program's connection: kept wherever the next request can be found on it, closed wherever it cannot, and
//! no answer is ever lost by closing.

use airudder_gateway::simulator::FaultKind;

use crate::support::{Setup, calls, platform, wait_until};

#[test]
fn pipelined_requests_are_answered_in_order() {
    let platform = platform();
    for setup in [Setup::default(), Setup::unsealed()] {
        let gateway = setup.start(&platform);
        let mut client = gateway.client();
        let mut all = String::new();
        for task in 0..20 {
            all.push_str(&match task % 4 {
                0 => format!("GET /service/cloud/detail?TaskID={task} HTTP/1.1\r\nHost: g\r\n\r\n"),
                1 => {
                    let body = format!(r#"{{"TaskID":"{task}"}}"#);
                    let length = body.len();
                    format!(
                        "POST /service/cloud/operation HTTP/1.1\r\nHost: g\r\nContent-Length: {length}\r\n\r\n{body}"
                    )
                }
                2 => {
                    let body = format!(r#"{{"TaskID":"{task}"}}"#);
                    let size = body.len();
                    format!(
                        "POST /service/cloud/operation HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n\
                         {size:x}\r\n{body}\r\n0\r\n\r\n"
                    )
                }
                // Refused ones stand in their place too.
                _ => "POST /a HTTP/1.1\r\nHost: g\r\nX-Gateway-Account: nobody\r\nContent-Length: 3\r\n\r\nabc"
                    .to_owned(),
            });
        }
        client.send(all);
        for task in 0..20 {
            let answer = client.answer();
            if task % 4 == 3 {
                assert_eq!(answer.word(), Some("unknown_account"));
            } else {
                assert_eq!(answer.json()["data"]["TaskID"], task.to_string());
            }
        }
    }
}

#[test]
fn a_request_that_comes_while_another_waits_is_answered_after_it() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    let mut client = gateway.client();
    platform.fault(FaultKind::Hang { ms: Some(200) });
    client.send("GET /service/cloud/detail?TaskID=first HTTP/1.1\r\nHost: g\r\n\r\n");
    wait_until(&platform, "the first one waits", |platform| platform.count("/service/cloud/detail") == 1);
    client.send("GET /service/cloud/detail?TaskID=second HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.answer().json()["data"]["TaskID"], "first");
    assert_eq!(client.answer().json()["data"]["TaskID"], "second");
}

#[test]
fn empty_lines_between_requests_do_no_harm() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    let mut client = gateway.client();
    for _ in 0..2 {
        // RFC 9112 section 2.2: some programs end a body with a line end that does not belong to it.
        let request = "\r\nPOST /service/cloud/operation HTTP/1.1\r\nHost: g\r\nContent-Length: 16\r\n\r\n{\"TaskID\": \"17\"}\r\n";
        assert_eq!(client.send(request).answer().json()["data"]["TaskID"], "17");
    }
}

#[test]
fn a_connection_is_kept_after_a_refusal_whose_body_is_short() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    let mut client = gateway.client();
    let body = "x".repeat(60_000);
    for (headers, word) in [
        ("X-Gateway-Account: nobody\r\n", "unknown_account"),
        ("Is-Encrypted: 1\r\n", "already_sealed"),
        ("Signed: 0123\r\n", "already_sealed"),
    ] {
        let answer = client.post_with("/service/cloud/task", headers, &body);
        assert_eq!((answer.word(), answer.header("connection")), (Some(word), Some("keep-alive")));
    }
    client.send(format!(
        "GET /service/cloud/list?a=b HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.answer().word(), Some("body_not_sealable"));
    client.send("TRACE / HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.answer().word(), Some("method_refused"));
    assert_eq!(client.get("/service/cloud/robot").status, 200);
    assert_eq!(calls(&platform).len(), 1, "only the last one arrived");
}

#[test]
fn a_refusal_arrives_however_much_of_the_body_is_still_being_sent() {
    let platform = platform();
    let gateway = Setup { outbound: "threads = 2\nmax_body = \"64KiB\"".into(), ..Setup::default() }.start(&platform);
    let megabyte = "x".repeat(1 << 20);

    // Declared, so refused before it is read; the program writes it all the same.
    let mut client = gateway.client();
    client.send("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nContent-Length: 20971520\r\n\r\n");
    for _ in 0..20 {
        client.send(&megabyte);
    }
    let answer = client.answer();
    assert_eq!((answer.status, answer.word()), (413, Some("body_too_large")));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.is_closed());

    // Not declared, so refused in the middle.
    let mut client = gateway.client();
    client.send("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..20 {
        client.send(format!("100000\r\n{megabyte}\r\n"));
    }
    let answer = client.answer();
    assert_eq!((answer.status, answer.word()), (413, Some("body_too_large")));
    assert!(client.is_closed());
    assert!(calls(&platform).is_empty());
}

#[test]
fn a_program_that_says_close_is_closed_after_its_answer() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    for request in [
        "GET /service/cloud/robot HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX-Gateway-Account: nobody\r\nConnection: close\r\n\r\n",
    ] {
        let mut client = gateway.client();
        assert_eq!(client.send(request).answer().header("connection"), Some("close"));
        assert!(client.is_closed());
    }
}

#[test]
fn a_silent_connection_is_closed() {
    let platform = platform();
    let outbound = "threads = 2\nheader_timeout = \"200ms\"\nkeepalive_timeout = \"1s\"";
    let gateway = Setup { outbound: outbound.into(), ..Setup::default() }.start(&platform).ready();
    let mut silent = gateway.client();
    let mut idle = gateway.client();
    assert_eq!(idle.get("/service/cloud/robot").status, 200);
    assert!(silent.is_closed() && idle.is_closed());
}

#[test]
fn a_connection_over_the_limit_waits_until_another_closes() {
    let platform = platform();
    let gateway = Setup { outbound: "threads = 2\nmax_connections = 1".into(), ..Setup::default() }.start(&platform);
    platform.fault(FaultKind::Hang { ms: Some(300) });
    let ask = |task| format!("GET /service/cloud/detail?TaskID={task} HTTP/1.1\r\nHost: g\r\n\r\n");
    let mut first = gateway.client();
    first.send(ask("1"));
    wait_until(&platform, "the first one waits", |platform| platform.count("/service/cloud/detail") == 1);
    let mut second = gateway.client();
    second.send(ask("3"));
    assert_eq!(first.answer().status, 200);
    assert_eq!(first.send(ask("2")).answer().status, 200);
    drop(first);
    assert_eq!(second.answer().status, 200);
    let arrived: Vec<_> = calls(&platform).into_iter().map(|call| call.opened.expect("it was sealed")).collect();
    assert_eq!(arrived, ["TaskID=1", "TaskID=2", "TaskID=3"]);
}
