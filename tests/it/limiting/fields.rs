//! What a program reads of its limits, and what it can say itself.

use airudder_gateway::clock;

use super::{DETAIL, call, limited, limited_with, programs, retry_after};
use crate::support::{Answer, Setup, calls, platform};

fn fields(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (answer.header("ratelimit-policy"), answer.header("ratelimit"))
}

#[test]
fn every_answer_of_a_limited_call_says_what_is_left() {
    let (_platform, gateway) = limited("rate = \"1/h\", burst = 3");
    let mut client = gateway.client();
    let policy = Some("\"account\";q=3;w=10800");
    assert_eq!(fields(&call(&mut client, "")), (policy, Some("\"account\";r=2;t=3600")));
    let answer = client.post("/_sim/echo", "{}");
    assert_eq!((answer.status, fields(&answer)), (200, (policy, Some("\"account\";r=1;t=3600"))));
    // Also an answer of our own, whatever it is about, once a limit was met.
    let answer = client.send("GET /x HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}").answer();
    assert_eq!(answer.word(), Some("body_not_sealable"));
    assert_eq!(fields(&answer), (policy, Some("\"account\";r=0;t=3600")));
    // That one never left, so it costs nothing.
    let answer = client.get("/_sim/status/404");
    assert_eq!((answer.status, fields(&answer)), (404, (policy, Some("\"account\";r=0;t=3600"))));
    let refused = client.get(DETAIL);
    assert_eq!((refused.status, refused.word()), (429, Some("limited")));
    let wait = retry_after(&refused);
    assert!((3590..=3601).contains(&wait), "{wait}");
    assert_eq!(fields(&refused), (policy, Some(format!("\"account\";r=0;t={wait}").as_str())));
    assert_eq!(refused.json()["sent"], "no");
    assert_eq!(gateway.metric(r#"limited_total{account="main",limit="account"}"#), 1.0);
}

#[test]
fn a_gateway_without_limits_says_nothing_of_them() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    let answer = gateway.client().get(DETAIL);
    assert_eq!((answer.status, fields(&answer)), (200, (None, None)));
}

#[test]
fn each_limit_that_a_call_meets_is_told_and_the_first_that_holds_it_refuses() {
    let more = programs(["rate = \"1/m\", burst = 2", "share = 2", "share = 1"])
        + "[[operation]]\nname = \"task.detail\"\nlimit = { rate = \"1/h\", burst = 3 }\n";
    let (platform, gateway) = limited_with("rate = \"1/h\", burst = 5", &more);
    let mut client = gateway.client();
    let answer = call(&mut client, "X-Gateway-Key: key-a\r\n");
    assert_eq!(
        fields(&answer),
        (
            Some("\"program\";q=2;w=120, \"operation\";q=3;w=10800, \"account\";q=5;w=18000"),
            Some("\"program\";r=1;t=60, \"operation\";r=2;t=3600, \"account\";r=4;t=3600")
        )
    );
    assert_eq!(call(&mut client, "X-Gateway-Key: key-a\r\n").status, 200);
    let refused = call(&mut client, "X-Gateway-Key: key-a\r\n");
    assert_eq!((refused.status, refused.header("ratelimit-policy")), (429, Some("\"program\";q=2;w=120")));
    assert!(retry_after(&refused) <= 60);
    let message = refused.json()["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("program's own rate"), "{message}");
    // The other programs have no rate of their own; the operation has one for all.
    assert_eq!(call(&mut client, "X-Gateway-Key: key-b\r\n").status, 200);
    let refused = call(&mut client, "X-Gateway-Key: key-b\r\n");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"operation\";q=3;w=10800"));
    // Another operation has only the account's.
    let other = |client: &mut crate::support::Client| {
        client.send("GET /_sim/echo?a=b HTTP/1.1\r\nHost: g\r\nX-Gateway-Key: key-c\r\n\r\n").answer()
    };
    assert_eq!([other(&mut client).status, other(&mut client).status, other(&mut client).status], [200, 200, 429]);
    assert_eq!(calls(&platform).len(), 5, "what is refused costs nobody anything");
    for limit in ["program", "operation", "account"] {
        assert_eq!(gateway.metric(&format!("limited_total{{account=\"main\",limit=\"{limit}\"}}")), 1.0, "{limit}");
    }
}

#[test]
fn a_deadline_takes_the_place_of_the_longest_wait() {
    let (platform, gateway) = limited("rate = \"2/s\", burst = 1, max_wait = \"0s\"");
    let mut client = gateway.client();
    assert_eq!(call(&mut client, "").status, 200);
    assert_eq!(call(&mut client, "").status, 429, "none waits");
    assert_eq!(call(&mut client, "X-Gateway-Deadline: 100ms\r\n").status, 429, "too short");
    assert_eq!(call(&mut client, "X-Gateway-Deadline: 30s\r\n").status, 200);
    let mut time = String::new();
    clock::write_rfc3339(clock::wall_millis() + 30_000, &mut time).expect("text");
    let answer = call(&mut client, &format!("X-Gateway-Deadline: {time}\r\n"));
    assert_eq!(answer.status, 200);
    let line = gateway.line_of(&answer);
    assert!(line["limit_wait_us"].as_u64().is_some_and(|wait| wait > 100_000), "it waited: {line}");
    assert!(calls(&platform).iter().all(|call| call.header("x-gateway-deadline").is_none()));
}

#[test]
fn a_deadline_that_is_over_or_cannot_be_read_is_refused_with_and_without_limits() {
    let platform = platform();
    let unlimited = Setup::default().start(&platform).ready();
    let (_other, limited) = limited("rate = \"100/s\"");
    for gateway in [&unlimited, &limited] {
        for deadline in ["", "soon", "1", "2020-01-01T00:00:00Z", "2030-01-01", "1s\r\nX-Gateway-Deadline: 1s"] {
            let answer = call(&mut gateway.client(), &format!("X-Gateway-Deadline: {deadline}\r\n"));
            assert_eq!((answer.status, answer.word()), (400, Some("bad_deadline")), "{deadline:?}");
        }
        assert_eq!(call(&mut gateway.client(), "X-Gateway-Deadline: 0s\r\n").status, 200);
    }
}
