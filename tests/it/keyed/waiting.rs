//! Two calls with one key at once: the second waits for the first.

use airudder_gateway::simulator::{Fault, FaultKind, Simulator};

use super::{TASK, assert_ended, assert_refused, assert_replayed, created, keeping, scene, scene_with, task};
use crate::support::{Client, Gateway, Setup, wait_until};

/// Sends a call and does not wait for its answer.
fn send(gateway: &Gateway, headers: &str, body: &str) -> Client {
    let mut client = gateway.client();
    client.send(format!(
        "POST {TASK} HTTP/1.1\r\nHost: g\r\nIdempotency-Key: k\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    client
}

/// One that is held at the platform, and how many others wait for it.
fn held(platform: &Simulator, gateway: &Gateway, others: usize) -> (Client, Vec<Client>) {
    platform.fault(FaultKind::Hold);
    let first = send(gateway, "", &task("one"));
    wait_until(platform, "the first is held", |_| created(platform) == 1);
    let others = (0..others).map(|_| send(gateway, "X-Gateway-Deadline: 60s\r\n", &task("one"))).collect();
    (first, others)
}

fn in_flight(gateway: &Gateway, calls: usize) {
    gateway.until(|gateway| gateway.metric("calls_in_flight") == calls as f64);
}

#[test]
fn calls_with_the_same_key_wait_for_the_first_and_get_its_answer() {
    let (platform, gateway) = scene();
    let (mut first, mut others) = held(&platform, &gateway, 5);
    in_flight(&gateway, 6);
    platform.release();
    let answer = first.answer();
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (200, None));
    for other in &mut others {
        assert_replayed(&other.answer(), &answer, "waited");
    }
    assert_ended(&gateway, "waited", 5.0);
    assert_eq!(created(&platform), 1);
}

#[test]
fn when_the_first_frees_the_key_one_of_those_that_wait_goes_on() {
    let (platform, gateway) = scene();
    let (mut first, mut others) = held(&platform, &gateway, 3);
    in_flight(&gateway, 4);
    // The first one's token is refused twice, so its key is free.
    platform.fault(Fault::too_many(1));
    platform.revoke_tokens();
    platform.release();
    let answer = first.answer();
    let mut answers: Vec<_> = others.iter_mut().map(Client::answer).collect();
    answers.push(answer);
    let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_some()).count();
    let ids: std::collections::BTreeSet<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.json()["data"]["TaskID"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "one task was created: {answers:?}");
    assert!(replayed >= 2, "{answers:?}");
}

#[test]
fn one_that_cannot_wait_so_long_is_told() {
    let (platform, gateway) = scene();
    let (mut first, _) = held(&platform, &gateway, 0);
    let late = send(&gateway, "X-Gateway-Deadline: 50ms\r\n", &task("one")).answer();
    assert_refused(&late, 409, "idempotency_key_in_use", "unknown", "its own deadline");
    assert!(late.header("retry-after").is_some());
    platform.release();
    assert_eq!(first.answer().status, 200);
    assert_ended(&gateway, "in_use", 1.0);
    assert_eq!(created(&platform), 1);

    let outbound = "threads = 2\nbody_timeout = \"100ms\"".to_owned();
    let (platform, gateway) = scene_with(Setup { outbound, ..keeping() }, "");
    let (mut first, _) = held(&platform, &gateway, 0);
    let late = send(&gateway, "", &task("one")).answer();
    assert_refused(&late, 409, "idempotency_key_in_use", "unknown", "without a deadline");
    platform.release();
    assert_eq!(first.answer().status, 200);
}

#[test]
fn one_whose_program_leaves_stops_waiting() {
    let (platform, gateway) = scene();
    let (mut first, others) = held(&platform, &gateway, 2);
    in_flight(&gateway, 3);
    drop(others);
    in_flight(&gateway, 1);
    platform.release();
    assert_eq!(first.answer().status, 200);
    assert_eq!(created(&platform), 1);
}
