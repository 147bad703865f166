//! Bounds of a public listener: sizes, deadlines, connections, networks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::setting::{PATH, Setting, assert_acknowledged, ended, platform};
use crate::support::{Client, Gateway, Setup, platform as outside};

/// The head of a callback to the first source.
fn head(more: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nHost: gateway\r\n{more}\r\n")
}

/// `{}` and spaces, so many bytes in all.
fn json(bytes: usize) -> String {
    format!("{{}}{}", " ".repeat(bytes - 2))
}

#[test]
fn a_body_up_to_its_limit_passes_and_one_byte_more_is_413() {
    let gateway = Setting { inbound: "max_body = \"8KiB\"\nmemory = \"1MiB\"".into(), ..Setting::default() }.start();
    assert_acknowledged(&platform(&gateway).post(PATH, json(8192)));
    let chunked = |size: usize| {
        let body = json(size);
        let request = format!("{}{size:x}\r\n{body}\r\n0\r\n\r\n", head("Transfer-Encoding: chunked\r\n"));
        platform(&gateway).send(request).answer()
    };
    assert_acknowledged(&chunked(8192));
    assert_eq!(chunked(8193).status, 413);
    // A declared length is refused before anything of the body is there.
    let declared = platform(&gateway).send(head("Content-Length: 8193\r\n")).answer();
    assert_eq!((declared.status, declared.header("connection")), (413, Some("close")));
    assert_eq!(platform(&gateway).send(head("Content-Length: 999999999999999999\r\n")).answer().status, 413);
    // Asked for before it is sent, it is not invited either.
    let head_of_answer = platform(&gateway).send(head("Expect: 100-continue\r\nContent-Length: 8193\r\n")).head();
    assert_eq!(head_of_answer.map(|answer| answer.status), Some(413));
    let mut waits = platform(&gateway);
    waits.send(head("Expect: 100-continue\r\nContent-Length: 2\r\n"));
    assert_eq!(waits.head().map(|interim| interim.status), Some(100));
    assert_acknowledged(&waits.send("{}").answer());
    assert_eq!((ended(&gateway, "too_large"), ended(&gateway, "stored")), (4.0, 3.0));
    assert_eq!(gateway.metric("memory_in_use_bytes"), 0.0);
}

#[test]
fn a_compressed_body_is_415_and_an_uncompressed_one_is_not() {
    let gateway = Setting::default().start();
    for (coding, status) in [("gzip", 415), ("identity, gzip", 415), ("x", 415), ("identity", 200), ("Identity", 200)] {
        let coding = format!("Content-Encoding: {coding}\r\n");
        assert_eq!(platform(&gateway).post_with(PATH, &coding, "{}").status, status, "{coding}");
    }
    assert_eq!(gateway.metric("callbacks_unopened_total{reason=\"compressed\",source=\"calls\"}"), 3.0);
}

#[test]
fn a_header_over_its_limit_is_431_and_one_that_two_servers_could_read_in_two_ways_is_400() {
    let gateway = Setting { inbound: "max_header = \"1KiB\"".into(), ..Setting::default() }.start();
    let long = format!("X-Long: {}\r\n", "x".repeat(1024));
    assert_eq!(platform(&gateway).post_with(PATH, &long, "{}").status, 431);
    for odd in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: +2\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Host: other\r\nContent-Length: 2\r\n",
        "X : y\r\nContent-Length: 2\r\n",
        " folded\r\nContent-Length: 2\r\n",
    ] {
        let mut client = platform(&gateway);
        let answer = client.send(format!("{}{{}}", head(odd))).answer();
        assert_eq!(answer.status, 400, "{odd}");
        assert!(client.is_closed());
    }
    assert_eq!(gateway.metric("callbacks_total{outcome=\"refused\",source=\"-\"}"), 8.0);
}

#[test]
fn a_header_or_a_body_that_trickles_ends_at_its_deadline() {
    let inbound = "header_timeout = \"300ms\"\nbody_timeout = \"300ms\"".into();
    let gateway = Setting { inbound, ..Setting::default() }.start();
    // A byte now and then keeps a header or a body alive for ever where the deadline is for each read.
    let trickle = |begin: String| {
        let mut client = platform(&gateway);
        client.send(begin);
        let mut writer = client.stream().get_ref().try_clone().expect("the same connection");
        let trickling = std::thread::spawn(move || {
            while writer.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let answer = client.answer();
        assert!(client.is_closed());
        drop(client);
        trickling.join().expect("no panic");
        answer
    };
    assert_eq!(trickle(head("Content-Length: 1000000\r\n") + "{").status, 408);
    assert_eq!(ended(&gateway, "timed_out"), 1.0);
    assert_eq!(trickle(format!("POST {PATH} HTTP/1.1\r\nX: ")).status, 408);
    // Nobody waits for one that is cut.
    let mut cut = platform(&gateway);
    cut.send(head("Content-Length: 10\r\n") + "{}").finish_sending();
    assert_eq!(cut.answer().status, 400);
    assert_eq!(ended(&gateway, "cut"), 1.0);
    assert_eq!(ended(&gateway, "stored"), 0.0);
}

/// Whether the gateway talks to this connection.
fn is_served(client: &mut Client) -> bool {
    client.send(format!("{}{{}}", head("Content-Length: 2\r\n"))).try_answer(false).is_some()
}

#[test]
fn one_address_has_so_many_connections_and_a_trusted_proxy_more() {
    let most = "max_connections = 5\nmax_connections_per_address = 2".to_owned();
    let gateway = Setting { inbound: most.clone(), ..Setting::default() }.start();
    let mut held: Vec<_> = (0..2).map(|_| platform(&gateway)).collect();
    assert!(held.iter_mut().all(is_served));
    assert!(!is_served(&mut platform(&gateway)), "the third is closed at once");
    // Another address is not concerned: the whole of 127/8 is this machine.
    let other = from_address("127.0.0.2", &gateway);
    assert!(is_served(&mut Client::on(other)));
    // One that leaves makes room.
    held.pop();
    gateway.until(|gateway| is_served(&mut platform(gateway)));
    drop((held, gateway));

    let gateway = Setting { inbound: most + "\ntrusted_proxies = [\"127.0.0.1\"]", ..Setting::default() }.start();
    let mut held: Vec<_> = (0..5).map(|_| platform(&gateway)).collect();
    assert!(held.iter_mut().all(is_served), "a proxy speaks for many");
    // But not for more than there may be in all: the one that has asked for nothing for longest makes room.
    assert!(is_served(&mut platform(&gateway)));
    assert_eq!(held.iter_mut().map(is_served).filter(|served| !served).count(), 1);
}

/// A connection from this address of the machine.
fn from_address(address: &str, gateway: &Gateway) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(format!("{address}:0").parse().expect("an address")).expect("this machine's");
        let stream = socket.connect(gateway.inbound.expect("callbacks")).await.expect("the gateway listens");
        stream.into_std().expect("a stream")
    });
    stream.set_nonblocking(false).expect("a blocking stream");
    stream
}

#[test]
fn only_allowed_networks_call_and_only_trusted_proxies_speak_for_others() {
    let source = "allow = [\"203.0.113.0/24\", \"127.0.0.2\"]".to_owned();
    let status = |gateway: &Gateway, from: &str, headers: &str| {
        Client::on(from_address(from, gateway)).post_with(PATH, headers, "{}").status
    };
    let forwarded = |value: &str| format!("X-Forwarded-For: {value}\r\n");
    let gateway = Setting { source: source.clone(), ..Setting::default() }.start();
    assert_eq!(status(&gateway, "127.0.0.2", ""), 200);
    assert_eq!(status(&gateway, "127.0.0.1", ""), 404);
    // Nobody is trusted, so what anybody says of others is nothing, in either direction.
    assert_eq!(status(&gateway, "127.0.0.1", &forwarded("203.0.113.9")), 404);
    assert_eq!(status(&gateway, "127.0.0.2", &forwarded("198.51.100.1")), 200);
    drop(gateway);

    let inbound = "trusted_proxies = [\"127.0.0.3\", \"10.0.0.0/8\"]".into();
    let gateway = Setting { inbound, source, ..Setting::default() }.start();
    for (from, value, expected) in [
        ("127.0.0.3", "203.0.113.9", 200),
        ("127.0.0.3", "198.51.100.1, 203.0.113.9", 200),
        ("127.0.0.3", "203.0.113.9, 10.1.2.3", 200),
        ("127.0.0.3", "203.0.113.9, 198.51.100.1", 404),
        ("127.0.0.3", "203.0.113.9, 198.51.100.1, 10.1.2.3", 404),
        ("127.0.0.3", "198.51.100.1", 404),
        ("127.0.0.3", "garbage", 404),
        ("127.0.0.3", "203.0.113.9, garbage", 404),
        ("127.0.0.3", "", 404),
        ("127.0.0.1", "203.0.113.9", 404),
        ("127.0.0.2", "198.51.100.1", 200),
    ] {
        assert_eq!(status(&gateway, from, &forwarded(value)), expected, "{from} {value}");
    }
    assert_eq!(status(&gateway, "127.0.0.3", ""), 404, "the proxy itself is not allowed");
    let twice = forwarded("198.51.100.1") + &forwarded("203.0.113.9");
    assert_eq!(status(&gateway, "127.0.0.3", &twice), 200, "the last line is the nearest");
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let gateway = Setting { inbound: "header_timeout = \"100ms\"".into(), ..Setting::default() }.start();
    let mut silent = platform(&gateway);
    let mut nothing = Vec::new();
    assert_eq!(silent.stream().read_to_end(&mut nothing).ok(), Some(0));
}

#[test]
fn a_callback_without_memory_is_503_until_there_is_some() {
    let inbound = "max_body = \"512KiB\"\nmemory = \"1MiB\"".into();
    let gateway = Setting { inbound, ..Setting::default() }.start();
    let chunked = |size: usize| {
        let body = json(size);
        let request = format!("{}{size:x}\r\n{body}\r\n0\r\n\r\n", head("Transfer-Encoding: chunked\r\n"));
        platform(&gateway).send(request).answer()
    };
    // One that grows takes what it needs, and gives it back.
    for _ in 0..3 {
        assert_acknowledged(&chunked(512 * 1024));
    }
    assert_eq!(gateway.metric("memory_in_use_bytes"), 0.0);
    // Somebody announces all there is and does not send it.
    let mut hoards = platform(&gateway);
    hoards.send(head("Content-Length: 524288\r\n"));
    gateway.until(|gateway| gateway.metric("memory_in_use_bytes") > 0.0);
    let answer = platform(&gateway).post(PATH, "{}");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
    assert_acknowledged(&hoards.send(json(524_288)).answer());
    assert_acknowledged(&platform(&gateway).post(PATH, "{}"));
    assert_eq!(ended(&gateway, "unavailable"), 1.0);
}

#[test]
fn strangers_are_counted_and_do_not_write_the_log() {
    const ASKED: u64 = 500;
    let gateway = Setting::default().start();
    let mut stranger = platform(&gateway);
    for _ in 0..ASKED {
        assert_eq!(stranger.get("/unknown").status, 405);
    }
    assert_eq!(gateway.metric("callbacks_total{outcome=\"refused\",source=\"-\"}"), ASKED as f64);
    // What a line does not tell the next one does.
    let counts = |gateway: &Gateway| -> Vec<u64> {
        let printed = gateway.printed();
        let lines = printed.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line["target"] == "callback").filter_map(|line| line["count"].as_u64()).collect()
    };
    gateway.until(|gateway| counts(gateway).iter().sum::<u64>() == ASKED);
    assert!(counts(&gateway).len() < ASKED as usize / 10, "{:?}", counts(&gateway));
}

#[test]
fn strangers_leave_the_file_descriptors_that_calls_need() {
    let simulated = outside();
    let inbound = "max_connections_per_address = 4096\nheader_timeout = \"60s\"".into();
    let setup = Setup { open_files: Some(256), ..Setting { inbound, ..Setting::default() }.setup() };
    let gateway = setup.start(&simulated).ready();
    let mut silent: Vec<_> = (0..400).map(|_| platform(&gateway)).collect();
    // The gateway has seen all of them: the last one was too much.
    assert!(silent.last_mut().expect("it is there").is_closed());
    assert_eq!(gateway.client().get("/service/cloud/robot").status, 200);
    gateway
        .log_line(|line| line["message"].as_str().is_some_and(|message| message.starts_with("256 files may be open")));
}
