//! Whatever method a program uses passes, sealed where the account seals; only the two that speak to a
//! proxy itself are refused.

use airudder_gateway::simulator::{Received, Simulator};

use crate::support::{Gateway, Setup, calls, platform};

const QUERY: &str = "TaskID=69f531a01a9df58aa6de2487be610abb";
const BODY: &str = r#"{"TaskName":"陈小明"}"#;

/// Sends one request and returns what arrived for it.
fn sent(gateway: &Gateway, platform: &Simulator, method: &str, body: &str) -> Received {
    platform.clear();
    let path = "/_sim/echo";
    let head = format!(
        "{method} {path}?{QUERY} HTTP/1.1\r\nHost: gateway\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut client = gateway.client();
    client.send(head + body);
    let answer = if method == "HEAD" { client.answer_to_head() } else { client.answer() };
    assert_eq!((answer.status, answer.word()), (200, None), "{method}: {}", gateway.printed());
    if method != "HEAD" {
        assert_eq!(answer.json()["data"]["method"], method);
    }
    let mut arrived = calls(platform);
    assert_eq!(arrived.len(), 1, "{method}");
    let arrived = arrived.remove(0);
    assert_eq!(arrived.method, method);
    arrived
}

#[test]
fn every_method_passes_unsealed_with_its_query_and_its_body() {
    let platform = platform();
    let gateway = Setup::unsealed().start(&platform);
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for body in ["", BODY] {
            let arrived = sent(&gateway, &platform, method, body);
            assert_eq!(arrived.query.as_deref(), Some(QUERY), "{method}");
            assert_eq!(arrived.body, body.as_bytes(), "{method}");
            assert_eq!(arrived.header("is-encrypted"), None, "{method}");
            assert_eq!(arrived.header("content-type"), Some("text/plain"), "{method}");
        }
    }
}

#[test]
fn every_method_passes_sealed_by_its_body_or_else_by_its_query() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let arrived = sent(&gateway, &platform, method, "");
        assert_eq!(arrived.opened.as_deref(), Some(QUERY.as_bytes()), "{method}");
        assert_ne!(arrived.query.as_deref(), Some(QUERY), "{method}");
        assert!(arrived.sealed() && arrived.body.is_empty(), "{method}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let arrived = sent(&gateway, &platform, method, BODY);
        assert_eq!(arrived.opened.as_deref(), Some(BODY.as_bytes()), "{method}");
        assert_ne!(arrived.body, BODY.as_bytes(), "{method}");
        assert_eq!(arrived.query.as_deref(), Some(QUERY), "{method}: a body is sealed, and the query goes as it is");
        assert_eq!(arrived.header("content-type"), Some("application/json"), "{method}");
    }
}

#[test]
fn connect_and_trace_are_refused_and_never_arrive() {
    let platform = platform();
    let gateway = Setup::unsealed().start(&platform);
    for request in [
        "CONNECT gateway:443 HTTP/1.1\r\nHost: gateway:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: gateway\r\n\r\n",
        "TRACE /service/cloud/detail?TaskID=1 HTTP/1.1\r\nHost: gateway\r\n\r\n",
    ] {
        let answer = gateway.client().send(request).answer();
        assert_eq!((answer.status, answer.word()), (405, Some("method_refused")), "{request:?}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        assert_eq!(answer.json()["sent"], "no");
    }
    assert!(calls(&platform).is_empty());
}
