//! SIGTERM: no new connections, calls in flight get their answers, and the process ends with status 0.

use std::io::Read;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};

use airudder_gateway::simulator::{Fault, Options, recording_bytes};

use crate::support::{Gateway, Setup, calls, platform, platform_with, scripted, wait_until};

/// So long that no test could wait for its end.
const PATIENT: &str = "threads = 2\ngrace = \"1h\"";

fn setup(outbound: &str) -> Setup {
    Setup { outbound: outbound.into(), ..Setup::default() }
}

/// Sends SIGTERM and waits until nobody can connect any more.
fn close_listeners(gateway: &Gateway) {
    gateway.terminate();
    for address in [gateway.outbound, gateway.admin] {
        gateway.until(|_| TcpStream::connect(address).is_err());
    }
}

#[test]
fn an_idle_gateway_ends_at_once_whoever_is_connected() {
    let platform = platform();
    let mut gateway = setup(PATIENT).start(&platform).ready();
    let (mut idle, mut silent) = (gateway.client(), gateway.client());
    assert_eq!(idle.get("/service/cloud/robot").status, 200);
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    assert!(idle.is_closed() && silent.is_closed());
    assert!(gateway.printed_whole().contains("stopped"));
}

#[test]
fn a_call_in_flight_gets_its_answer_and_its_connection_closes() {
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let url = scripted(move |_, line| {
        waits.lock().expect("no panic inside").recv().expect("the test goes on");
        line.say("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"code\":200}");
    });
    let mut gateway = setup(PATIENT).start_at(&url, None).ready();
    let mut client = gateway.client();
    client.send("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}");
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 1.0);
    // Another one right behind it comes too late.
    client.send("GET /service/cloud/robot HTTP/1.1\r\nHost: g\r\n\r\n");
    close_listeners(&gateway);
    go.send(()).expect("the platform waits");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(answer.json()["code"], 200);
    assert!(client.try_answer(false).is_none());
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
}

#[test]
fn a_call_that_fails_while_the_gateway_drains_is_told_so_and_closed() {
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let url = scripted(move |_, _| waits.lock().expect("no panic inside").recv().expect("the test goes on"));
    let mut gateway = setup(PATIENT).start_at(&url, None).ready();
    let mut client = gateway.client();
    client.send("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}");
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 1.0);
    close_listeners(&gateway);
    go.send(()).expect("the platform waits");
    let answer = client.answer();
    assert_eq!((answer.word(), answer.header("connection")), (Some("outcome_unknown"), Some("close")));
    assert!(client.is_closed());
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
}

#[test]
fn a_download_in_flight_comes_to_its_end() {
    let size = 30_000_000;
    let platform = platform_with(Options { recording_size: size, ..Options::default() });
    let mut gateway = setup(PATIENT).start(&platform).ready();
    let mut client = gateway.client();
    client.send("GET /recordings/a.mp3 HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.head().map(|head| head.status), Some(200));
    close_listeners(&gateway);
    let mut body = Vec::new();
    client.stream().take(size).read_to_end(&mut body).expect("all of it");
    assert!(body == recording_bytes(0..size), "{} bytes", body.len());
    assert!(client.is_closed());
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
}

#[test]
fn a_call_that_does_not_end_is_cut_when_the_grace_ends_or_at_the_second_signal() {
    for (grace, signals) in [("threads = 2\ngrace = \"300ms\"", 1), (PATIENT, 2)] {
        let platform = platform();
        let mut gateway = setup(grace).start(&platform).ready();
        platform.fault(Fault::hang());
        let mut client = gateway.client();
        client.send("GET /service/cloud/detail?TaskID=1 HTTP/1.1\r\nHost: g\r\n\r\n");
        wait_until(&platform, "the call waits", |platform| calls(platform).len() == 1);
        gateway.terminate();
        gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("draining")));
        if signals == 2 {
            gateway.terminate();
        }
        assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
        assert!(client.try_answer(false).is_none());
        let printed = gateway.printed_whole();
        assert_eq!(printed.contains("they are cut"), signals == 1, "{printed}");
    }
}
