//! Floods: more connections, requests and bodies than anybody needs. Memory stays within a bound, and whoever else calls is
//! served, through the same listener and through the others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use airudder_gateway::clock;
use airudder_gateway::simulator::{Keep, Options};
use tokio::io::AsyncWriteExt;

use super::crowd;
use crate::inbound::setting::{PATH, Setting, assert_acknowledged, platform as caller};
use crate::support::gateway::Folder;
use crate::support::identity::write_pair;
use crate::support::{Client, Gateway, PATIENCE, Setup, platform, platform_with};

/// What the process may grow by beside what its configuration allows bodies to take: buffers of connections, and what the
/// allocator keeps.
const AROUND: u64 = 64 << 20;

/// Everybody who is no flood, once.
fn others(gateway: &Gateway) {
    assert_eq!(gateway.client().get("/service/cloud/robot").status, 200);
    assert_eq!(gateway.client().post("/service/cloud/task", "{}").status, 200);
    assert_eq!(gateway.admin_page("/livez").0, 200);
    assert_eq!(gateway.admin_page("/metrics").0, 200);
}

/// Has others call for as long as the flood lasts, 20 times at least, and checks how much the gateway grew by.
fn withstand(gateway: &Gateway, most: u64, others: impl Fn(&Gateway), flood: impl FnOnce(&AtomicUsize) + Send) {
    let (before, rounds) = (gateway.peak_memory(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&rounds));
        // A flood that waits for others ends when there are none any more.
        let _over = Over(&rounds);
        while !flood.is_finished() {
            others(gateway);
            rounds.fetch_add(1, Ordering::AcqRel);
        }
        flood.join().expect("the flood came");
    });
    let grown = gateway.peak_memory() - before;
    println!("{} rounds of others, grew by {} KiB", rounds.load(Ordering::Acquire), grown / 1024);
    assert!(grown < most, "grew by {grown} bytes");
}

/// Tells a flood that the others have failed.
struct Over<'a>(&'a AtomicUsize);

/// So many rounds: there will be no more.
const NO_MORE: usize = usize::MAX / 2;

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(NO_MORE, Ordering::Release);
        }
    }
}

/// Waits until others were served so often since, or will not be any more.
fn until_served(rounds: &AtomicUsize, times: usize) {
    let (begin, deadline) = (rounds.load(Ordering::Acquire), clock::now() + 5 * PATIENCE);
    while rounds.load(Ordering::Acquire) < begin.saturating_add(times).min(NO_MORE) {
        assert!(clock::now() < deadline, "others were not served {times} times");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
#[should_panic(expected = "one of the others")]
fn a_flood_ends_when_the_others_fail() {
    let gateway = Setup::default().start(&platform()).ready();
    let fail = |_: &Gateway| panic!("one of the others");
    withstand(&gateway, AROUND, fail, |rounds| until_served(rounds, 20));
}

/// Runs it so often at the same time.
fn side_by_side<T: Send>(times: usize, run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let run = &run;
        let all: Vec<_> = (0..times).map(|number| scope.spawn(move || run(number))).collect();
        all.into_iter().map(|one| one.join().expect("no panic")).collect()
    })
}

#[test]
fn programs_that_ask_on_and_read_nothing_are_not_answered_on() {
    let simulated = platform_with(Options { keep: Keep::Counters, ..Options::default() });
    let gateway = Setup::unsealed().start(&simulated).ready();
    let ask = "GET /_sim/answer/200000 HTTP/1.1\r\nHost: g\r\n\r\n".repeat(5000);
    withstand(&gateway, AROUND, others, |rounds| {
        let deaf = side_by_side(40, |_| {
            let mut client = gateway.client();
            client.stream().get_ref().set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
            // The gateway reads no more of it while it cannot answer.
            client.send(&ask);
            client
        });
        until_served(rounds, 20);
        drop(deaf);
    });
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 0.0);
}

/// Sends this so often on one connection and reads as many answers, all of which have this status.
fn pipeline(address: SocketAddr, request: &str, times: usize, status: &str) {
    let client = std::net::TcpStream::connect(address).expect("it listens");
    let (mut writer, all) = (client.try_clone().expect("the same connection"), request.repeat(times));
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(all.as_bytes()).expect("all of it is read"));
        let mut reader = BufReader::new(client);
        for number in 0..times {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).expect("an answer") > 0, "{number} answers, and no more");
            }
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
            let mut body = vec![0; length.parse().expect("a number")];
            reader.read_exact(&mut body).expect("a body");
        }
    });
}

#[test]
fn ten_thousand_small_requests_on_a_connection_keep_nobody_from_his_turn() {
    let simulated = platform();
    let gateway = Setting::default().setup().start(&simulated).ready();
    let refused = "GET /a HTTP/1.1\r\nHost: g\r\nX-Gateway-Account: nobody\r\n\r\n";
    let served = |gateway: &Gateway| {
        others(gateway);
        assert_acknowledged(&caller(gateway).post(PATH, "{}"));
    };
    withstand(&gateway, AROUND, served, |_| {
        side_by_side(4, |number| match number % 2 {
            0 => pipeline(gateway.outbound, refused, 10_000, "400"),
            _ => pipeline(gateway.inbound.expect("callbacks"), "GET / HTTP/1.1\r\nHost: g\r\n\r\n", 10_000, "405"),
        });
    });
    assert_eq!(gateway.metric("refusals_total{outcome=\"unknown_account\"}"), 20_000.0);
}

#[test]
fn many_large_bodies_at_once_take_what_memory_is_configured_and_no_more() {
    const BODY: usize = 8 << 20;
    let simulated = platform_with(Options { keep: Keep::Counters, ..Options::default() });
    let outbound = "threads = 2\nmemory = \"64MiB\"\nmax_body = \"8MiB\"\nmax_answer = \"8MiB\"\nmemory_wait = \"1s\"";
    let gateway = Setup { outbound: outbound.into(), ..Setup::unsealed() }.start(&simulated).ready();
    // What needs no memory does not wait for it.
    let small = |gateway: &Gateway| {
        assert_eq!(gateway.client().get("/service/cloud/robot").status, 200);
        assert_eq!(gateway.admin_page("/livez").0, 200);
    };
    withstand(&gateway, (64 << 20) + AROUND, small, |_| {
        let body = vec![b'x'; BODY];
        let statuses = side_by_side(48, |number| {
            let mut client = gateway.client();
            if number % 2 == 0 {
                let length = format!("POST /_sim/echo HTTP/1.1\r\nHost: g\r\nContent-Length: {BODY}\r\n\r\n");
                client.send(length).send(&body);
            } else {
                let (begin, end) = (format!("{:x}\r\n", BODY - (1 << 17)), "\r\n0\r\n\r\n");
                client.send("POST /_sim/echo HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n");
                client.send(begin).send(&body[1 << 17..]).send(end);
            }
            client.answer().status
        });
        assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
        assert!(statuses.contains(&200), "{statuses:?}");
    });
    gateway.until(|gateway| gateway.metric("memory_in_use_bytes") == 0.0);
    assert_eq!(gateway.client().post("/_sim/echo", "{}").status, 200);
}

#[test]
fn more_programs_than_there_may_be_wait_and_are_served() {
    let simulated = platform();
    let outbound = "threads = 2\nmax_connections = 32\nheader_timeout = \"1s\"";
    let gateway = Setup { outbound: outbound.into(), ..Setup::default() }.start(&simulated).ready();
    let silent: Vec<_> = (0..128).map(|_| gateway.client()).collect();
    let statuses = side_by_side(16, |_| gateway.client().get("/service/cloud/robot").status);
    assert_eq!(statuses, [200; 16]);
    assert_eq!(gateway.admin_page("/livez").0, 200);
    drop(silent);
}

/// Connects so often from each of these addresses, says `begins`, and leaves at once.
fn rush(to: SocketAddr, hosts: std::ops::Range<u8>, times: usize, begins: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for host in hosts {
            let begins = begins.to_owned();
            all.spawn(async move {
                for _ in 0..times {
                    if let Some(mut stream) = crowd::connect(to, Ipv4Addr::new(127, 2, 1, host)).await {
                        let _ = stream.write_all(begins.as_bytes()).await;
                    }
                }
            });
        }
        all.join_all().await;
    });
}

#[test]
fn strangers_who_connect_and_leave_cost_the_others_nothing() {
    let simulated = platform();
    let gateway = Setting::default().setup().start(&simulated).ready();
    let (address, count) = (gateway.inbound.expect("callbacks"), crowd::affordable(10_000) / 20);
    let served = |gateway: &Gateway| {
        others(gateway);
        assert_acknowledged(&caller(gateway).post(PATH, "{}"));
    };
    withstand(&gateway, AROUND, served, |rounds| {
        for begins in ["", "POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: g\r\n\r\n", "\x16\x03\x01\x02\0\x01"] {
            rush(address, 1..21, count / 4, begins);
        }
        until_served(rounds, 5);
    });
}

#[test]
fn half_open_tls_takes_one_address_s_share_and_no_more() {
    let (simulated, folder) = (platform(), Folder::new());
    let config = crowd::trusting(&write_pair(&folder, 32_472_057_600));
    let tls = "tls = { cert = \"tls.pem\", key = \"tls.key\" }\nmax_connections_per_address = 64";
    let setup = Setting { inbound: tls.into(), ..Setting::default() }.setup();
    let gateway = Setup { folder: Some(folder), ..setup }.start(&simulated).ready();
    let address = gateway.inbound.expect("callbacks");
    let served = |gateway: &Gateway| {
        others(gateway);
        assert!(crowd::shakes_hands(address, &config), "the platform is another address");
    };
    withstand(&gateway, AROUND, served, |rounds| {
        let half_open: Vec<_> =
            (0..8).flat_map(|host| crowd::begin(address, 10 + host, 128, b"\x16\x03\x01\x02\0\x01")).collect();
        until_served(rounds, 20);
        let closed = half_open.iter().filter(|stream| crowd::is_closed(stream)).count();
        assert!(closed >= 8 * 64, "{closed} of those beyond the share were closed");
        drop(half_open);
        // A handshake costs more than a connection; the others have threads of their own.
        rush(address, 1..9, 500, "\x16\x03\x01\x02\0\x01");
        until_served(rounds, 5);
    });
    let mut healthy = Client::connect(gateway.outbound);
    assert_eq!(healthy.get("/service/cloud/robot").status, 200);
}

/// Fills all places from more addresses than one, has callbacks come while more strangers do, and finds that each of the
/// callbacks was let in.
fn check_full(tls: &str, folder: Folder, callback: impl Fn(SocketAddr, &mut dyn FnMut()), begins: &'static [u8]) {
    let full =
        "max_connections = 64\nmax_connections_per_address = 16\nheader_timeout = \"60s\"\nkeepalive_timeout = \"60s\"";
    let setup = Setting { inbound: format!("{full}\n{tls}"), ..Setting::default() }.setup();
    let gateway = Setup { folder: Some(folder), ..setup }.start(&platform());
    let address = gateway.inbound.expect("callbacks");
    let strangers: Vec<_> = (0..8).flat_map(|host| crowd::begin(address, 40 + host, 16, begins)).collect();
    // Half of them had to go.
    gateway.until(|_| strangers.iter().filter(|stream| crowd::is_closed(stream)).count() >= 64);
    for turn in 0..20 {
        let mut more = Vec::new();
        callback(address, &mut || more = crowd::begin(address, 60 + turn % 8, 8, begins));
        assert_eq!(more.len(), 8);
    }
}

#[test]
fn a_listener_that_is_full_of_silence_lets_in_whoever_says_what_he_wants() {
    let take = |address, strangers_come: &mut dyn FnMut()| {
        let mut client = Client::connect(address);
        // They are newer, so it is older ones who have to go.
        strangers_come();
        assert_acknowledged(&client.post(PATH, "{}"));
    };
    check_full("", Folder::new(), take, b"");
    check_full("", Folder::new(), take, b"POST / HTTP/1.1\r\nX: ");
    // Asked for something once, and silent since.
    check_full("", Folder::new(), take, b"GET / HTTP/1.1\r\nHost: g\r\n\r\n");
}

#[test]
fn a_listener_that_is_full_of_half_open_tls_lets_in_whoever_goes_on() {
    let folder = Folder::new();
    let config = crowd::trusting(&write_pair(&folder, 32_472_057_600));
    let tls = "tls = { cert = \"tls.pem\", key = \"tls.key\" }";
    let shake = |address, strangers_come: &mut dyn FnMut()| {
        strangers_come();
        assert!(crowd::shakes_hands(address, &config));
    };
    check_full(tls, folder, shake, b"\x16\x03\x01\x02\0\x01");
}
