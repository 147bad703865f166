//! Calls that wait: in order, within their time, and only as long as somebody waits for them.

use airudder_gateway::simulator::{Fault, FaultKind};

use super::{call, limited, limited_with, programs, send};
use crate::support::{Client, Gateway, Setup, arrived_at, calls, platform, wait_until};

const WAITING: &str = r#"waiting_calls{account="main"}"#;

fn waits(gateway: &Gateway, calls: f64) {
    gateway.until(|gateway| gateway.metric(WAITING) == calls);
}

/// Sends calls one after the other, each when the one before it waits.
fn queue(gateway: &Gateway, headers: &[&str]) -> Vec<Client> {
    let queued = |(index, headers): (usize, &&str)| {
        let mut client = gateway.client();
        send(&mut client, headers);
        waits(gateway, (index + 1) as f64);
        client
    };
    headers.iter().enumerate().map(queued).collect()
}

#[test]
fn calls_of_one_program_are_served_in_the_order_in_which_they_came() {
    let (platform, gateway) = limited("concurrency = 1, max_wait = \"60s\"");
    platform.fault(FaultKind::Hold);
    let mut first = gateway.client();
    send(&mut first, "");
    wait_until(&platform, "the first is there", |platform| calls(platform).len() == 1);
    let marks = ["X-Mark: 1\r\n", "X-Mark: 2\r\n", "X-Mark: 3\r\n", "X-Mark: 4\r\n"];
    let mut clients = queue(&gateway, &marks);
    platform.release();
    assert_eq!(first.answer().status, 200);
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    let order: Vec<_> = calls(&platform).iter().filter_map(|call| call.header("x-mark").map(str::to_owned)).collect();
    assert_eq!(order, ["1", "2", "3", "4"]);
    assert_eq!(gateway.metric(WAITING), 0.0);
}

#[test]
fn a_program_that_asks_more_often_does_not_keep_another_one_waiting() {
    let more = programs(["share = 1", "share = 1", "share = 2"]);
    let (platform, gateway) = limited_with("concurrency = 1, max_wait = \"60s\"", &more);
    platform.fault(FaultKind::Hold);
    let mut first = gateway.client();
    send(&mut first, "X-Gateway-Key: key-a\r\n");
    wait_until(&platform, "the first is there", |platform| calls(platform).len() == 1);
    // Six of one program wait; then come two of another and three of a third with twice the share.
    let (a, b, c) = (
        "X-Gateway-Key: key-a\r\nX-Mark: a\r\n",
        "X-Gateway-Key: key-b\r\nX-Mark: b\r\n",
        "X-Gateway-Key: key-c\r\nX-Mark: c\r\n",
    );
    let mut clients = queue(&gateway, &[a, a, a, a, a, a, b, b, c, c, c]);
    platform.release();
    assert_eq!(first.answer().status, 200);
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    let order: String = calls(&platform).iter().filter_map(|call| call.header("x-mark").map(str::to_owned)).collect();
    assert_eq!(order, "abccabcaaaa");
}

#[test]
fn a_program_that_leaves_frees_its_place_in_the_queue() {
    let (platform, gateway) = limited("concurrency = 1, max_wait = \"60s\"");
    platform.fault(FaultKind::Hold);
    let mut first = gateway.client();
    send(&mut first, "");
    wait_until(&platform, "the first is there", |platform| calls(platform).len() == 1);
    let mut clients = queue(&gateway, &["X-Mark: 1\r\n", "X-Mark: 2\r\n", "X-Mark: 3\r\n"]);
    clients.remove(1);
    waits(&gateway, 2.0);
    let gone = gateway.log_line(|line| line["outcome"] == "client_gone");
    assert_eq!((&gone["sent"], &gone["account"]), (&"no".into(), &"main".into()));
    clients.remove(0);
    waits(&gateway, 1.0);
    platform.release();
    assert_eq!((first.answer().status, clients[0].answer().status), (200, 200));
    let order: Vec<_> = calls(&platform).iter().filter_map(|call| call.header("x-mark").map(str::to_owned)).collect();
    assert_eq!(order, ["3"]);
}

#[test]
fn a_program_that_leaves_before_its_body_was_read_frees_its_place_too() {
    let (platform, gateway) = limited("concurrency = 1, max_wait = \"60s\"");
    platform.fault(FaultKind::Hold);
    let mut first = gateway.client();
    send(&mut first, "");
    wait_until(&platform, "the first is there", |platform| calls(platform).len() == 1);
    for (declared, sent) in [(2, 2), (100_000, 100_000), (100_000, 10), (2, 0)] {
        let mut client = gateway.client();
        client.send(format!("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nContent-Length: {declared}\r\n\r\n"));
        client.send("x".repeat(sent));
        waits(&gateway, 1.0);
        drop(client);
        waits(&gateway, 0.0);
    }
    platform.release();
    assert_eq!(first.answer().status, 200);
    assert_eq!(calls(&platform).len(), 1);
}

#[test]
fn a_place_that_does_not_come_free_in_time_is_refused_at_the_deadline() {
    let (platform, gateway) = limited("concurrency = 1, max_wait = \"60s\"");
    platform.fault(FaultKind::Hold);
    let mut first = gateway.client();
    send(&mut first, "");
    wait_until(&platform, "the first is there", |platform| calls(platform).len() == 1);
    let answer = call(&mut gateway.client(), "X-Gateway-Deadline: 200ms\r\n");
    assert_eq!((answer.status, answer.word(), answer.header("retry-after")), (429, Some("limited"), Some("1")));
    let line = gateway.line_of(&answer);
    assert_eq!(line["outcome"], "limited");
    assert_eq!(gateway.metric(r#"limited_total{account="main",limit="concurrency"}"#), 1.0);
    platform.release();
    assert_eq!(first.answer().status, 200);
    assert_eq!(calls(&platform).len(), 1);
}

#[test]
fn a_program_has_its_own_number_of_calls_at_the_same_time() {
    let more = programs(["concurrency = 1", "share = 1", "share = 1"]);
    let (platform, gateway) = limited_with("concurrency = 9", &more);
    platform.fault(FaultKind::Hold);
    let mut first = gateway.client();
    send(&mut first, "X-Gateway-Key: key-a\r\n");
    wait_until(&platform, "the first is there", |platform| calls(platform).len() == 1);
    assert_eq!(call(&mut gateway.client(), "X-Gateway-Key: key-a\r\nX-Gateway-Deadline: 0s\r\n").status, 429);
    assert_eq!(call(&mut gateway.client(), "X-Gateway-Key: key-b\r\nX-Gateway-Deadline: 0s\r\n").status, 200);
    platform.release();
    assert_eq!(first.answer().status, 200);
    // On the same connection: the next call is read when the one before is over.
    assert_eq!(call(&mut first, "X-Gateway-Key: key-a\r\nX-Gateway-Deadline: 0s\r\n").status, 200);
}

#[test]
fn what_leaves_again_is_charged_again() {
    let platform = platform();
    let account = "limit = { rate = \"1/h\", burst = 3 }".into();
    let gateway = Setup { account, ..Setup::default() }.start(&platform).ready();
    platform.fault(Fault::new(FaultKind::Refuse));
    let mut client = gateway.client();
    assert_eq!(call(&mut client, "").status, 200);
    assert_eq!(arrived_at(&platform, "/service/cloud/detail").len(), 2, "it was replayed with a fresh token");
    assert_eq!(call(&mut client, "").status, 200);
    assert_eq!(call(&mut client, "").status, 429);
    assert_eq!(arrived_at(&platform, "/service/cloud/detail").len(), 3);
}
