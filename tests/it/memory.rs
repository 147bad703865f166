//! The budget for held bodies and answers: who finds no room waits and is then told when to come back, and all of it
//! returns however a call ends.

use airudder_gateway::simulator::{Fault, FaultKind, Rest, Simulator};

use crate::support::{Client, Gateway, Setup, calls, platform, wait_until};

const IN_USE: &str = "memory_in_use_bytes";

/// Half of it is for request bodies: room for two of [`BODY`] sealed, and not for three.
const SMALL: &str = "threads = 2\nmemory = \"2MiB\"\nmax_body = \"400KiB\"\nmax_answer = \"1MiB\"";
const BODY: usize = 350 * 1024;

fn small(more: &str) -> Setup {
    Setup { outbound: format!("{SMALL}\n{more}"), ..Setup::default() }
}

fn post(client: &mut Client, name: &str) {
    let body = format!("{name}{}", "x".repeat(BODY - name.len()));
    client.send(format!("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nContent-Length: {BODY}\r\n\r\n{body}"));
}

/// Two calls that hold their bodies while the platform hangs.
fn two_waiting(gateway: &Gateway, platform: &Simulator) -> [Client; 2] {
    platform.fault(Fault::hang().times(2).on_path("/service/cloud/task"));
    let mut clients = [gateway.client(), gateway.client()];
    for client in &mut clients {
        post(client, "1");
    }
    wait_until(platform, "both hang", |platform| calls(platform).iter().filter(|call| call.complete).count() == 2);
    clients
}

#[test]
fn a_body_without_room_is_refused_and_small_calls_go_on() {
    let platform = platform();
    let gateway = small("memory_wait = \"200ms\"").start(&platform).ready();
    let waiting = two_waiting(&gateway, &platform);
    assert!(gateway.metric(IN_USE) >= 2.0 * BODY as f64);
    assert!(gateway.metric(IN_USE) <= gateway.metric("memory_budget_bytes"));

    let mut third = gateway.client();
    post(&mut third, "3");
    let answer = third.answer();
    assert_eq!((answer.status, answer.word()), (503, Some("busy")));
    assert_eq!((answer.header("retry-after"), answer.json()["sent"].as_str()), (Some("1"), Some("no")));

    // Who waits to be asked for its body is not asked.
    let mut fourth = gateway.client();
    fourth.send(format!(
        "POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: {BODY}\r\n\r\n"
    ));
    assert_eq!(fourth.head().map(|head| head.status), Some(503));

    assert_eq!(gateway.client().get("/service/cloud/robot?a=b").status, 200);
    assert_eq!(gateway.client().post("/service/cloud/list", "{}").status, 200);
    assert_eq!(calls(&platform).len(), 4, "the two that wait, and the two small ones");

    drop(waiting);
    gateway.until(|gateway| gateway.metric(IN_USE) == 0.0);
    let mut fifth = gateway.client();
    post(&mut fifth, "5");
    assert_eq!(fifth.answer().status, 200);
}

#[test]
fn a_body_that_waits_for_room_goes_when_it_comes() {
    let platform = platform();
    let gateway = small("memory_wait = \"1h\"").start(&platform).ready();
    let [first, second] = two_waiting(&gateway, &platform);
    let mut third = gateway.client();
    post(&mut third, "3");
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 3.0);
    assert_eq!(calls(&platform).len(), 2, "it waits here");
    drop(first);
    assert_eq!(third.answer().status, 200);
    let arrived = calls(&platform);
    assert!(arrived.len() == 3 && arrived[2].opened.as_deref().is_some_and(|body| body.starts_with(b"3")));
    drop(second);
    gateway.until(|gateway| gateway.metric(IN_USE) == 0.0);
}

#[test]
fn a_body_in_chunks_gets_memory_as_it_grows_and_keeps_only_what_it_turned_out_to_need() {
    let platform = platform();
    for sealed in [true, false] {
        let gateway = Setup { sealed, ..small("") }.start(&platform).ready();
        platform.clear();
        platform.fault(Fault::hang());
        let mut client = gateway.client();
        client.send("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n");
        // How much is still to come nobody knows: little at first, or whoever sends nothing would hold everything.
        gateway.until(|gateway| (1024.0..=32.0 * 1024.0).contains(&gateway.metric(IN_USE)));
        client.send(format!("4000\r\n{}\r\n", " ".repeat(0x4000)));
        gateway.until(|gateway| gateway.metric(IN_USE) >= 128.0 * 1024.0);
        client.send("0\r\n\r\n");
        gateway.until(|gateway| (16.0 * 1024.0..24.0 * 1024.0).contains(&gateway.metric(IN_USE)));
        drop(client);
        gateway.until(|gateway| gateway.metric(IN_USE) == 0.0);
    }
}

#[test]
fn an_answer_keeps_its_room_until_its_program_has_read_it() {
    let platform = platform();
    let (size, outbound) = (24 << 20, "threads = 2\nmax_answer = \"40MiB\"\nmemory = \"128MiB\"\nmemory_wait = \"0s\"");
    let gateway = Setup { outbound: outbound.into(), ..Setup::default() }.start(&platform).ready();
    let ask = format!("GET /_sim/answer/{size}?a=b HTTP/1.1\r\nHost: g\r\n\r\n");
    let mut slow = gateway.client();
    slow.send(&ask);
    // Opened, it needs a quarter less than sealed.
    gateway.until(|gateway| gateway.metric(IN_USE) == f64::from(size));

    // The other half of the memory has no room for two, and this call was carried out.
    let mut slower = gateway.client();
    slower.send(&ask);
    gateway.until(|gateway| gateway.metric(IN_USE) == 2.0 * f64::from(size));
    let answer = gateway.client().send(&ask).answer();
    assert_eq!((answer.status, answer.word()), (502, Some("answer_too_large")));
    assert_eq!(answer.json()["sent"], "yes");

    assert_eq!(slow.answer().body.len(), 24 << 20);
    drop(slower);
    gateway.until(|gateway| gateway.metric(IN_USE) == 0.0);
}

#[test]
fn memory_returns_however_a_call_ends() {
    let platform = platform();
    let outbound = "body_timeout = \"200ms\"";
    for sealed in [true, false] {
        let account = "read_timeout = \"300ms\"".into();
        let gateway = Setup { sealed, account, ..small(outbound) }.start(&platform).ready();
        for fault in [
            None,
            Some(Fault::status(500)),
            Some(Fault::code(400)),
            Some(FaultKind::Refuse.into()),
            Some(Fault::new(FaultKind::Refuse).times(2)),
            Some(Fault::hang()),
            Some(Fault::cut()),
            Some(FaultKind::CutBeforeAnswer { reset: true }.into()),
            Some(FaultKind::CutBeforeBody { reset: false }.into()),
            Some(FaultKind::CutMidAnswer { after: 10, reset: false }.into()),
            Some(FaultKind::OtherKey.into()),
            Some(FaultKind::WrongDigest.into()),
            Some(FaultKind::Early { rest: Rest::Close }.into()),
            Some(FaultKind::Early { rest: Rest::KeepReading }.into()),
            Some(FaultKind::Endless.into()),
        ] {
            let what = format!("{fault:?}, sealed: {sealed}");
            let endless = fault == Some(FaultKind::Endless.into());
            platform.clear();
            platform.fault(fault.unwrap_or(Fault::status(200)));
            let mut client = gateway.client();
            post(&mut client, "1");
            if endless && !sealed {
                assert!(client.head().is_some(), "{what}");
            } else {
                assert!(client.try_answer(false).is_some(), "{what}");
            }
            drop(client);
            gateway.until(|gateway| gateway.metric("calls_in_flight") == 0.0);
            assert_eq!(gateway.metric(IN_USE), 0.0, "{what}");
        }
        platform.clear();
        for (framing, body) in [
            ("Content-Length: 358400", "half"),
            ("Content-Length: 358400\r\nX-Gateway-Account: nobody", "half"),
            ("Content-Length: 999999999", ""),
            ("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
            ("Transfer-Encoding: chunked", "x"),
            ("Transfer-Encoding: chunked\r\nSigned: 00", "4\r\nhalf\r\n"),
        ] {
            for ends in [true, false] {
                let mut client = gateway.client();
                client.send(format!("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\n{framing}\r\n\r\n{body}"));
                if ends {
                    drop(client);
                } else {
                    assert!(client.try_answer(false).is_some(), "{framing}");
                }
                // It may not have begun yet; what does not return would be missed by the next one.
                gateway.until(|gateway| gateway.metric("calls_in_flight") == 0.0 && gateway.metric(IN_USE) == 0.0);
            }
        }
    }
}
