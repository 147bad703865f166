//! A callback joins the trace of the call that it comes of: its receivers are given the `traceparent` of that call's program.

use super::{Platform, books, setup};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Folder, Setup, platform};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn about(task: &str, call: &str) -> String {
    format!(
        r#"{{"task_id":"{task}","details":[{{"callee":"+6281200000001","result":"finished","call_id":"{call}"}}]}}"#
    )
}

#[test]
fn a_callback_is_delivered_in_the_trace_of_the_call_that_made_its_task() {
    let (platform, receiver) = (platform(), Receiver::new());
    let gateway = setup(&books(receiver.url(), "")).start(&platform).ready();
    let mut client = gateway.client();
    let mut create = |headers: &str| {
        let answer = client.post_with("/service/cloud/task", headers, r#"{"TaskName":"a"}"#);
        // What a call made is noted when it has ended, before its line and after its answer.
        gateway.line_of(&answer);
        answer.json()["data"]["TaskID"].as_str().expect("a task").to_owned()
    };
    let traced = create(&format!("traceparent: {PARENT}\r\n"));
    let plain = create("");
    Platform::of(&gateway).call_back(&about(&traced, "one")).call_back(&about(&plain, "two"));
    let deliveries = receiver.until(|all| all.len() == 2);
    for delivery in deliveries {
        let is_traced = delivery.json()["task_id"] == traced.as_str();
        assert_eq!(delivery.header("traceparent"), is_traced.then_some(PARENT));
    }
    let line = gateway.log_line(|line| line["message"] == "attempt" && line.get("trace_id").is_some());
    assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(platform.requests().iter().all(|request| request.headers_named("traceparent").next().is_none()));
}

#[test]
fn what_waits_keeps_its_trace_over_a_crash() {
    let (platform, receiver) = (platform(), Receiver::answering(|_| Reply::Status(500)));
    let setup = Setup { folder: Some(Folder::new()), ..setup(&books(receiver.url(), "")) };
    let mut gateway = setup.start(&platform).ready();
    let mut client = gateway.client();
    let answer = client.post_with("/service/cloud/task", &format!("traceparent: {PARENT}\r\n"), r#"{"TaskName":"a"}"#);
    gateway.line_of(&answer);
    let task = answer.json()["data"]["TaskID"].as_str().expect("a task").to_owned();
    Platform::of(&gateway).call_back(&about(&task, "one"));
    gateway.kill();
    let before = receiver.count();
    let _again = setup.start(&platform);
    let deliveries = receiver.until(|all| all.len() > before);
    assert!(deliveries.iter().all(|delivery| delivery.header("traceparent") == Some(PARENT)));
}
