//! What the log says of an upgrade: each step once, by the process that takes it, with what an operator asks next.

use serde_json::{Value, json};

use super::ends::in_the_middle;
use super::waiting;
use crate::support::receiver::Receiver;

/// Lines about the processes, in the order in which they were printed.
fn steps(printed: &str) -> Vec<Value> {
    let lines = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "app" && line["pid"].is_u64()).collect()
}

#[test]
fn the_log_tells_each_step_of_an_upgrade_once_and_what_went_over_and_what_stayed() {
    let (books, (url, go)) = (Receiver::new(), waiting());
    // Without a key, so the inbox goes over before the call ends, and the call is in no ledger.
    let (mut gateway, mut client, new) = in_the_middle(&url, &books.url(), "");
    let old = gateway.pid();
    let says = |line: &Value, begins: &str| line["message"].as_str().is_some_and(|message| message.starts_with(begins));
    let succeeded = gateway.log_line(|line| says(line, "the upgrade has succeeded"));
    assert_eq!((&succeeded["pid"], &succeeded["to"], &succeeded["calls"]), (&json!(old), &json!(new), &json!(1)));
    go.send(()).expect("the platform waits");
    assert_eq!(client.answer().status, 200);
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    let stopped = gateway.log_line(|line| says(line, "stopped"));
    assert_eq!((&stopped["pid"], &stopped["to"], &stopped["unlisted"]), (&json!(old), &json!(new), &json!(1)));
    let number = |line: &Value, field: &str| line[field].as_u64().expect(field);
    assert!(number(&stopped, "calls") >= 1 && number(&stopped, "took_ms") >= number(&succeeded, "took_ms"));
    assert!(number(&stopped, "connections") > number(&succeeded, "connections"), "the one of the call came last");
    // Each process prints in order; which of the two is first is the pipe's affair.
    let of = |pid: u32| {
        let said = steps(&gateway.printed()).into_iter().filter(|line| line["pid"] == pid);
        said.map(|line| {
            format!("{} {}", line["level"].as_str().expect("a level"), line["message"].as_str().expect("it"))
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(
        of(old),
        [
            "INFO listening",
            "INFO an upgrade begins: the next process was started",
            "INFO the upgrade has succeeded: what is in flight ends here",
            "INFO stopped: the next process is the gateway",
        ]
    );
    assert_eq!(of(new), ["INFO listening", "INFO this process has taken over"]);
    gateway.log_line(|line| line["message"] == "the inbox has come over from the process before this one");
    // Nothing was wrong, so nothing is well again, and nobody is told to try again.
    for word in ["still has the inbox", "takes callbacks again"] {
        assert!(!gateway.printed().contains(word), "{word}: {}", gateway.printed());
    }
}
