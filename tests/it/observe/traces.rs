//! A program's `traceparent` leads from its trace to the log line of its call, and never to the platform.

use serde_json::json;

use super::check;
use crate::support::{Setup, platform};

const TASK: &str = "/service/cloud/task";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn a_call_that_names_a_trace_is_found_by_it_in_the_log() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    let mut client = gateway.client();
    let line = format!("traceparent: 00-{TRACE_ID}-00f067aa0ba902b7-01\r\n");
    let answer = client.post_with(TASK, &line, "{}");
    check(&gateway.line_of(&answer), json!({ "status": 200, "trace_id": TRACE_ID }));
    assert!(platform.requests().iter().all(|request| request.headers_named("traceparent").next().is_none()));
}

#[test]
fn what_names_no_trace_is_in_no_log_line() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    let mut client = gateway.client();
    let good = format!("traceparent: 00-{TRACE_ID}-00f067aa0ba902b7-01\r\n");
    for lines in [
        "traceparent: 00-138001380001380013800013800138-00f067aa0ba902b7-01\r\n".to_owned(),
        "traceparent: +86 138 0013 8000\r\n".to_owned(),
        // Of two neither is believed.
        good.repeat(2),
        String::new(),
    ] {
        let answer = client.post_with(TASK, &lines, "{}");
        let line = gateway.line_of(&answer);
        assert_eq!((answer.status, line.get("trace_id")), (200, None), "{lines}");
    }
}
