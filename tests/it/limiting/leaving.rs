//! The last moment before a call leaves: the connection it leaves over, and the time after which its program does not want it
//! made.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use airudder_gateway::clock;
use airudder_gateway::simulator::Fault;

use super::{DETAIL, limited};
use crate::keyed::{TASK, keeping, task};
use crate::support::{Client, Gateway, Setup, arrived_at, calls, close_all, platform, scripted};

const ECHO: &str = "/_sim/echo";

/// Sends the head of a POST and waits until its body is wanted: then it has had its turn.
fn begin(gateway: &Gateway, headers: &str) -> Client {
    let mut client = gateway.client();
    client.send(format!(
        "POST {ECHO} HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\n{headers}Transfer-Encoding: chunked\r\n\r\n"
    ));
    assert_eq!(client.head().map(|head| head.status), Some(100));
    client
}

/// A body of that many bytes, as a chunk.
fn chunk(length: usize) -> String {
    format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length))
}

/// A time so far from now, as the header writes it.
fn time_in(millis: u64) -> String {
    let mut time = String::new();
    clock::write_rfc3339(clock::wall_millis() + millis, &mut time).expect("text");
    time
}

#[test]
fn a_connection_that_ends_while_a_call_waits_to_leave_is_replaced_and_the_call_is_charged_once() {
    // One body is held and one streams.
    for length in [2, 200_000] {
        let platform = platform();
        let account = "limit = { rate = \"1/h\", burst = 3, least = \"1/h\", max_wait = \"60s\" }".into();
        let outbound = "threads = 2\nmax_body = \"64KiB\"".into();
        let gateway = Setup { account, outbound, ..Setup::unsealed() }.start(&platform).ready();
        let mut late = begin(&gateway, "");
        // Meanwhile the platform asks for a pause.
        platform.fault(Fault::too_many(3));
        assert_eq!(gateway.client().get(DETAIL).status, 429);
        let of =
            |outcome| gateway.metric(&format!("upstream_connections_total{{account=\"main\",outcome=\"{outcome}\"}}"));
        let connections = || of("new") + of("reused");
        let before = connections();
        late.send(chunk(length));
        // It has its connection, and waits for the end of the pause.
        gateway.until(|_| connections() > before);
        close_all(&platform);
        let answer = late.answer();
        assert_eq!(answer.status, 200, "{length}: {answer:?}");
        assert_eq!(arrived_at(&platform, ECHO).len(), 1, "{length}");
        assert_eq!([gateway.client().get(DETAIL).status, gateway.client().get(DETAIL).status], [200, 429], "{length}");
    }
}

#[test]
fn a_call_whose_time_is_over_does_not_leave_and_a_wait_says_nothing_of_its_body() {
    let (platform, gateway) = limited("rate = \"1000/s\"");
    let over = clock::wall_millis() + 3_000;
    let mut late = begin(&gateway, &format!("X-Gateway-Deadline: {}\r\n", time_in(3_000)));
    let mut slow = begin(&gateway, "X-Gateway-Deadline: 3s\r\n");
    while clock::wall_millis() <= over + 100 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let answer = late.send(chunk(2)).answer();
    assert_eq!((answer.status, answer.word(), answer.header("retry-after")), (429, Some("limited"), Some("1")));
    assert_eq!(answer.json()["sent"], "no");
    let message = answer.json()["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("the time in its X-Gateway-Deadline was over before it could leave"), "{message}");
    assert_eq!(gateway.metric(r#"limited_total{account="main",limit="deadline"}"#), 1.0);
    assert!(calls(&platform).is_empty());
    assert_eq!(slow.send(chunk(2)).answer().status, 200);
}

#[test]
fn what_a_call_waited_for_its_key_it_does_not_wait_again_for_its_turn() {
    for is_time in [false, true] {
        let (go, waits) = mpsc::channel::<()>();
        let (waits, arrived) = (Arc::new(Mutex::new(waits)), Arc::new(AtomicUsize::new(0)));
        let counted = arrived.clone();
        let url = scripted(move |_, line| {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                let _ = waits.lock().expect("no panic inside").recv();
                line.say("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            } else {
                line.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{\"code\":200}");
            }
            line.end();
        });
        let setup = Setup { account: "limit = { rate = \"1000/s\" }".into(), sealed: false, ..keeping() };
        let gateway = setup.start_at(&url, None).ready();
        let send = |headers: &str| {
            let (mut client, body) = (gateway.client(), task("one"));
            client.send(format!(
                "POST {TASK} HTTP/1.1\r\nHost: g\r\nIdempotency-Key: k\r\n{headers}Content-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            client
        };
        let mut first = send("");
        gateway.until(|_| arrived.load(Ordering::SeqCst) == 1);
        let sent = clock::now();
        let deadline = if is_time { time_in(3_000) } else { "3s".to_owned() };
        let mut second = send(&format!("X-Gateway-Deadline: {deadline}\r\n"));
        gateway.until(|gateway| gateway.metric("calls_in_flight") == 2.0);
        // Two of the three seconds go by at the key; it is free then, and the platform's pause takes two more.
        std::thread::sleep(Duration::from_secs(2).saturating_sub(clock::now() - sent));
        go.send(()).expect("it waits");
        assert_eq!(first.answer().status, 429);
        let answer = second.answer();
        // Where the machine stood still, the key was not free in time.
        assert!([Some("limited"), Some("idempotency_key_in_use")].contains(&answer.word()), "{deadline}: {answer:?}");
        assert_eq!(arrived.load(Ordering::SeqCst), 1, "{deadline}: it is not made after its time");
    }
}
