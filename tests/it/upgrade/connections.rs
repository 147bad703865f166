//! What becomes of connections: idle ones go on in the new process, one with a call in flight after its answer, and what was
//! sent of a request already goes with it.

use std::net::TcpStream;

use super::{DETAIL, callback, setup, start, upgrades, waiting};
use crate::support::receiver::Receiver;
use crate::support::{Client, Folder, Setup, calls, platform};

#[test]
fn an_idle_connection_is_served_by_the_new_process_and_nobody_logs_in_again() {
    let platform = platform();
    let mut gateway = start("grace = \"1h\"", &platform);
    let (mut used, mut fresh, mut admin) = (gateway.client(), gateway.client(), Client::connect(gateway.admin));
    assert_eq!(used.get(DETAIL).status, 200);
    assert_eq!(admin.get("/livez").status, 200);
    let first = gateway.pid();
    for round in 1..=3 {
        let serving = gateway.upgrade();
        assert_ne!(serving, first);
        for client in [&mut used, &mut fresh, &mut gateway.client()] {
            assert_eq!(client.get(DETAIL).status, 200, "{round}");
        }
        assert_eq!(admin.get("/livez").status, 200, "{round}");
        assert_eq!((upgrades(&gateway, "ok"), upgrades(&gateway, "refused")), (1.0, 0.0));
    }
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    assert_eq!((calls(&platform).len(), platform.logins()), (10, 1), "the token went over, too");
    gateway.stop_serving();
    assert!(used.is_closed() && TcpStream::connect(gateway.outbound).is_err());
}

#[test]
fn a_call_in_flight_is_answered_by_the_old_process_and_its_connection_goes_on() {
    let (url, go) = waiting();
    let outbound = "threads = 2\ngrace = \"1h\"".into();
    let setup = Setup { outbound, folder: Some(Folder::new()), ..Setup::unsealed() };
    let mut gateway = setup.start_at(&url, None).ready();
    let mut client = gateway.client();
    client.send("GET /service/cloud/slow HTTP/1.1\r\nHost: g\r\n\r\n");
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 1.0);
    gateway.ask_for_upgrade();
    gateway.until(|gateway| upgrades(gateway, "ok") == 1.0);
    // New calls do not wait for it.
    assert_eq!(gateway.client().get(DETAIL).status, 200);
    // Right behind the one in flight: half a request, which goes with the connection.
    client.send("GET /service/cloud/list HTTP/1.1\r\nHo");
    go.send(()).expect("the platform waits");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    assert_eq!(client.send("st: g\r\n\r\n").answer().status, 200);
}

#[test]
fn half_a_head_and_pipelined_requests_go_with_the_connection() {
    let platform = platform();
    let mut gateway = start("grace = \"1h\"", &platform);
    let (mut half, mut many) = (gateway.client(), gateway.client());
    half.send("\r\nGET /service/cloud/detail?TaskID=7 HTTP/1.1\r\nHost: g\r\nX-Half");
    let one = "GET /service/cloud/detail?TaskID=8 HTTP/1.1\r\nHost: g\r\n\r\n";
    many.send(one.repeat(40));
    gateway.upgrade();
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    assert_eq!(half.send(": 1\r\n\r\n").answer().json()["data"]["TaskID"], "7");
    for _ in 0..40 {
        assert_eq!(many.answer().json()["data"]["TaskID"], "8");
    }
}

#[test]
fn the_platform_s_connection_goes_on_too_and_what_it_brings_is_delivered() {
    let (platform, books) = (platform(), Receiver::new());
    let gateway = setup(&books.url()).start(&platform).ready();
    let mut client = Client::connect(gateway.inbound.expect("it listens"));
    for round in 0..4 {
        let answer = client.post(super::PATH, callback(&format!("call-{round}")));
        assert_eq!(answer.status, 200, "{round}");
        gateway.upgrade();
    }
    let fresh = Client::connect(gateway.inbound.expect("it listens")).post(super::PATH, callback("call-4"));
    assert_eq!(fresh.status, 200);
    books.until(|all| all.len() >= 5);
    assert_eq!(books.count(), 5, "each once, because nothing was cut");
}
