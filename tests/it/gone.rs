//! A program that leaves: what was done for it at the platform ends soon, its memory comes back, and the log says so.

use std::io::Read;
use std::net::Shutdown;

use airudder_gateway::simulator::{Fault, FaultKind, Options, Simulator};

use crate::support::{Gateway, Setup, calls, platform, platform_with, wait_until};

const DETAIL: &str = "GET /service/cloud/detail?TaskID=1 HTTP/1.1\r\nHost: g\r\n\r\n";

/// The platform is rid of the call, and the gateway knows why.
fn check_gone(gateway: &Gateway, platform: &Simulator, what: &str) {
    wait_until(platform, what, |platform| platform.open_connections() == 0);
    assert_eq!(
        gateway.log_line(|line| line["operation"] != "-" && !line["outcome"].is_null())["outcome"],
        "client_gone"
    );
    gateway.until(|gateway| gateway.metric("memory_in_use_bytes") == 0.0);
    assert_eq!(gateway.metric("calls_in_flight"), 0.0);
}

#[test]
fn a_program_that_leaves_while_the_platform_hangs_ends_the_call() {
    let platform = platform();
    for (setup, request) in [
        (Setup::default(), DETAIL.to_owned()),
        (Setup::unsealed(), DETAIL.to_owned()),
        (
            Setup::default(),
            format!("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nContent-Length: 60000\r\n\r\n{:60000}", ""),
        ),
    ] {
        let gateway = setup.start(&platform).ready();
        platform.clear();
        platform.fault(Fault::hang());
        let mut client = gateway.client();
        client.send(request);
        wait_until(&platform, "the call waits", |platform| calls(platform).iter().any(|call| call.complete));
        drop(client);
        check_gone(&gateway, &platform, "the connection to the platform closes");
    }
}

#[test]
fn a_program_that_leaves_in_the_middle_of_its_upload_ends_the_call() {
    let platform = platform();
    let gateway = Setup { outbound: "threads = 2\nmax_body = \"64KiB\"".into(), ..Setup::unsealed() }.start(&platform);
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        platform.clear();
        let mut client = gateway.client();
        client.send(format!("POST /_sim/echo HTTP/1.1\r\nHost: g\r\n{framing}\r\n\r\n"));
        client.send(format!("20000\r\n{}\r\n", "x".repeat(0x20000)));
        wait_until(&platform, "a part arrives", |platform| calls(platform).iter().any(|call| call.body_len > 0));
        drop(client);
        wait_until(&platform, "the upload breaks off there too", |platform| {
            platform.open_connections() <= 1
                && calls(platform).iter().all(|call| !call.complete && call.status.is_none())
        });
    }
    gateway.until(|gateway| gateway.metric("memory_in_use_bytes") == 0.0);
}

#[test]
fn a_body_that_never_came_whole_never_reaches_the_platform() {
    let platform = platform();
    for setup in [Setup::default(), Setup::unsealed()] {
        let gateway = setup.start(&platform).ready();
        for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
            let mut client = gateway.client();
            client.send(format!("POST /service/cloud/task HTTP/1.1\r\nHost: g\r\n{framing}\r\n\r\n20\r\nhalf of it"));
            drop(client);
        }
        gateway.until(|gateway| gateway.metric("refusals_total{outcome=\"body_incomplete\"}") == 2.0);
        assert_eq!(gateway.metric("memory_in_use_bytes"), 0.0);
    }
    assert!(calls(&platform).is_empty());
}

#[test]
fn a_program_that_leaves_in_the_middle_of_its_download_ends_the_call() {
    let platform = platform_with(Options { recording_size: 1 << 30, ..Options::default() });
    let gateway = Setup::unsealed().start(&platform).ready();
    let mut client = gateway.client();
    client.send("GET /recordings/a.mp3 HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.head().map(|head| head.status), Some(200));
    client.stream().read_exact(&mut vec![0; 1 << 20]).expect("a part of it");
    drop(client);
    check_gone(&gateway, &platform, "the download stops");
}

#[test]
fn a_program_that_leaves_while_an_answer_is_silent_ends_the_call() {
    let platform = platform();
    // What streams, what is held for its code, and what is held to be opened.
    for (setup, path) in [
        (Setup::unsealed(), "/recordings/a.mp3"),
        (Setup::unsealed(), "/_sim/echo"),
        (Setup::default(), "/_sim/echo?a=b"),
    ] {
        let gateway = setup.start(&platform).ready();
        platform.clear();
        platform.fault(FaultKind::Trickle { ms: 3_600_000 });
        let mut client = gateway.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n"));
        wait_until(&platform, "the answer begins", |platform| calls(platform).iter().any(|call| call.status.is_some()));
        drop(client);
        check_gone(&gateway, &platform, path);
    }
}

#[test]
fn a_program_that_leaves_while_a_login_hangs_ends_its_call_and_not_the_login() {
    let platform = platform();
    platform.fault(Fault::hang().on_auth());
    let gateway = Setup::default().start(&platform);
    wait_until(&platform, "the login waits", |platform| platform.logins() == 1);
    let mut client = gateway.client();
    client.send(DETAIL);
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 1.0);
    drop(client);
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 0.0);
    assert_eq!(gateway.log_line(|line| line["operation"] == "task.detail")["outcome"], "client_gone");
    assert_eq!((platform.open_connections(), platform.logins()), (1, 1));
}

#[test]
fn a_program_that_will_not_send_more_counts_as_gone_only_if_it_cannot_be_answered() {
    let platform = platform();
    let gateway = Setup::default().start(&platform);
    // It said all it had to say and reads on: RFC 9112 section 9.6 lets a server go either way. Here a program that
    // closed its side is gone, because nothing else shows that a program died.
    platform.fault(FaultKind::Hang { ms: Some(500) });
    let mut client = gateway.client();
    client.send(DETAIL);
    wait_until(&platform, "the call waits", |platform| calls(platform).len() == 1);
    client.stream().get_ref().shutdown(Shutdown::Write).expect("shut down");
    assert!(client.try_answer(false).is_none());
    assert_eq!(gateway.log_line(|line| line["operation"] == "task.detail")["outcome"], "client_gone");
}
