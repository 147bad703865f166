//! A call of unknown end is never sent again under its key: not now, not after a crash, not by anybody but an operator's word.

use airudder_gateway::simulator::{FaultKind, Page};

use super::{TASK, assert_ended, assert_refused, assert_replayed, create, created, ended, keeping, scene_with, task};
use crate::support::{Setup, arrived_at, platform, scripted_times, wait_until};

#[test]
fn a_call_whose_end_nobody_knows_is_not_sent_again() {
    for fault in [
        FaultKind::CutBeforeBody { reset: false },
        FaultKind::CutBeforeAnswer { reset: false },
        FaultKind::CutBeforeAnswer { reset: true },
        FaultKind::CutMidAnswer { after: 20, reset: false },
        FaultKind::Hang { ms: None },
        FaultKind::Raw { text: "nonsense\r\n\r\n".to_owned() },
        FaultKind::WrongDigest,
        FaultKind::OtherKey,
    ] {
        let setup = keeping();
        let (platform, mut gateway) = scene_with(setup.clone(), "read_timeout = \"300ms\"");
        platform.fault(fault.clone());
        let first = create(&gateway, "k", &task("one"));
        assert_eq!(first.status, 502, "{fault:?}: {first:?}");
        assert_ne!(first.json()["sent"], "no", "{fault:?}");
        for _ in 0..2 {
            let again = create(&gateway, "k", &task("one"));
            assert_refused(&again, 502, "outcome_unknown", "unknown", &format!("{fault:?}"));
            assert!(again.json()["message"].as_str().expect("text").contains("keys settle"), "{again:?}");
        }
        assert_eq!(created(&platform), 1, "{fault:?}");
        assert_ended(&gateway, "unknown", 1.0);
        assert_ended(&gateway, "still_unknown", 2.0);
        gateway.until(|gateway| gateway.metric("keyed_unknown") == 1.0);
        gateway.kill();
        let gateway = setup.start(&platform).ready();
        let again = create(&gateway, "k", &task("one"));
        assert_refused(&again, 502, "outcome_unknown", "unknown", "after a restart");
        gateway.until(|gateway| gateway.metric("keyed_unknown") == 1.0);
        assert_eq!(created(&platform), 1, "{fault:?}");
    }
}

#[test]
fn a_crash_while_a_call_is_under_way_leaves_its_key_unknown() {
    let (setup, platform) = (keeping(), platform());
    let mut gateway = setup.start(&platform).ready();
    platform.fault(FaultKind::Hold);
    let body = task("one");
    let mut client = gateway.client();
    client.send(format!(
        "POST {TASK} HTTP/1.1\r\nHost: g\r\nIdempotency-Key: k\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    wait_until(&platform, "it is there", |_| arrived_at(&platform, TASK).iter().any(|call| call.complete));
    gateway.kill();
    platform.release();
    let gateway = setup.start(&platform).ready();
    gateway.until(|gateway| gateway.metric("keyed_unknown") == 1.0);
    // Somebody has to act, and the page says so.
    assert_eq!(gateway.troubles(), ["keys_unsettled"]);
    let again = create(&gateway, "k", &task("one"));
    assert_refused(&again, 502, "outcome_unknown", "unknown", "after the crash");
    assert_eq!(created(&platform), 1);
}

#[test]
fn a_program_that_leaves_does_not_end_its_call() {
    for sealed in [true, false] {
        let (platform, gateway) = scene_with(Setup { sealed, ..keeping() }, "");
        platform.fault(FaultKind::Hold);
        let body = task("one");
        let mut client = gateway.client();
        client.send(format!(
            "POST {TASK} HTTP/1.1\r\nHost: g\r\nIdempotency-Key: k\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        wait_until(&platform, "it is there", |_| arrived_at(&platform, TASK).iter().any(|call| call.complete));
        drop(client);
        platform.release();
        gateway.until(|gateway| ended(gateway, "first") == 1.0);
        let again = create(&gateway, "k", &body);
        assert_eq!(again.json()["data"]["TaskName"], "one");
        assert_replayed(&again, &create(&gateway, "k", &body), "what nobody has read");
        assert_eq!((again.header("idempotency-replayed"), created(&platform)), (Some("true"), 1));
    }
}

#[test]
fn a_call_that_failed_before_a_byte_left_on_its_second_try_is_not_unknown() {
    // A token; it is refused; another token; and then nobody takes the connection: the platform has done nothing.
    let url = scripted_times(3, |head, line| {
        let (status, body) = match head.contains("/auth ") {
            true => ("200 OK", r#"{"data":{"token":"scripted"},"status":"OK","code":200}"#),
            false => ("401 Unauthorized", r#"{"status":"ERROR","code":401}"#),
        };
        let length = body.len();
        line.say(format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"));
        line.end();
    });
    let gateway = Setup { sealed: false, ..keeping() }.start_at(&url, None);
    let first = create(&gateway, "k", &task("one"));
    assert_eq!((first.status, first.word()), (502, Some("upstream_unreachable")), "{first:?}");
    let line = gateway.log_line(|line| line["outcome"] == "upstream_unreachable");
    assert_eq!((&line["replayed"], &line["key"]), (&true.into(), &"freed".into()), "{line}");
    // It is free, for any body.
    let again = create(&gateway, "k", &task("another"));
    assert_eq!((again.status, again.word()), (502, Some("upstream_unreachable")), "{again:?}");
    assert_ended(&gateway, "freed", 2.0);
    assert_eq!(gateway.metric("keyed_unknown"), 0.0);
}

#[test]
fn a_repeat_is_no_new_failure_of_the_platform() {
    let (platform, gateway) = scene_with(keeping(), "");
    let failed = r#"calls_total{account="main",fault="platform",program="-"}"#;
    platform.fault(FaultKind::CutBeforeAnswer { reset: false });
    assert_eq!(create(&gateway, "unknown", &task("one")).status, 502);
    platform.fault(FaultKind::Status { code: 500, page: Page::Json, retry_after: None, sealed: true });
    assert_eq!(create(&gateway, "broken", &task("one")).status, 500);
    for _ in 0..3 {
        assert_eq!(create(&gateway, "unknown", &task("one")).word(), Some("outcome_unknown"));
        assert_eq!(create(&gateway, "broken", &task("one")).header("idempotency-replayed"), Some("true"));
    }
    assert_ended(&gateway, "still_unknown", 3.0);
    assert_ended(&gateway, "replayed", 3.0);
    gateway.until(|gateway| gateway.metric(&failed.replace("platform", "none")) == 6.0);
    assert_eq!(gateway.metric(failed), 2.0, "the first of each");
    for key in ["still_unknown", "replayed"] {
        assert_eq!(gateway.log_line(|line| line["key"] == key)["fault"], "none");
    }
}
