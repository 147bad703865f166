//! A call of unknown end is never sent again under its key: not now, not after a crash, not by anybody but an operator's word.

use airudder_gateway::simulator::{Fault, FaultKind};

use super::{TASK, assert_ended, assert_refused, assert_replayed, create, created, ended, keeping, scene_with, task};
use crate::support::{Setup, arrived_at, platform, wait_until};

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
    // The token is refused, and then nobody takes the connection: the platform has done nothing.
    let (platform, gateway) = scene_with(keeping(), "");
    platform.fault(Fault::new(FaultKind::Refuse));
    platform.fault(FaultKind::CloseAfter);
    let first = create(&gateway, "k", &task("one"));
    assert_eq!(first.status, 200, "the fresh token opens");
    assert_replayed(&create(&gateway, "k", &task("one")), &first, "afterwards");
    assert_eq!(gateway.metric("keyed_unknown"), 0.0);
}
