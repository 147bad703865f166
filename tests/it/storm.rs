//! Whatever bytes a caller sends, the process stands: no panic, nothing held for ever, and the next call is answered.

use std::io::Read;
use std::time::Duration;

use airudder_gateway::simulator::{Keep, Options};

use crate::support::{Gateway, Random, Setup, platform_with};

/// Requests that are sent, altered, by each of a few callers at the same time.
const CALLERS: u64 = 8;
const REQUESTS: usize = 500;

/// What the random bytes are planted on: every way to frame a request, and what decides where it goes.
const SEEDS: &[&str] = &[
    "GET /service/cloud/detail?TaskID=69f531a01a9df58aa6de2487be610abb&Callee=+6281200000001 HTTP/1.1\r\nHost: g\r\n\r\n",
    "POST /service/cloud/task HTTP/1.1\r\nHost: g\r\nContent-Length: 27\r\n\r\n{\"TaskName\":\"\u{9648}\u{5c0f}\u{660e}!!\"}",
    "POST /_sim/chunked HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n3\r\nyou\r\n0\r\nX: y\r\n\r\n",
    "POST /_sim/close HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nX-Gateway-Account: plain\r\nContent-Length: 3\r\n\r\nabc",
    "HEAD http://g/_sim/gzip?a=%41%zz HTTP/1.1\r\nHost: g\r\nConnection: keep-alive, authorization, x\r\nTE: trailers\r\n\r\n",
    "GET /_sim/answer/100000 HTTP/1.0\r\nConnection: keep-alive\r\nX-Gateway-Account: plain\r\nRange: bytes=1-2\r\n\r\n",
    "POST /service/cloud/auth HTTP/1.1\r\nHost: g\r\nContent-Length: 33\r\n\r\n{\"APPKey\":\"k\",\"APPSecret\":\"s\"}...",
    "POST /service/callcenter/call/predict/%2e%2E/auth/ HTTP/1.1\r\nHost: g\r\nContent-Length: 7\r\n\r\nAPPKey=",
    "GET /recordings/a.mp3 HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "DELETE /api/v1/process/queryTaskQian?{\"a\":[1,2]} HTTP/1.1\r\nHost: g\r\ntoken: t\r\ntenantId: 1\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: g\r\n\r\nGET /b HTTP/1.1\r\nHost: g\r\n\r\nPOST /c HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\n\r\nx",
];

/// Bytes that parsers stumble over.
const SHARP: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"=",
    b"+",
    b"%",
    b"?",
    b"#",
    b"&",
    b"\xff",
    b"\xc3\x28",
    b"0",
    b"ffffffffffffffff",
    b"18446744073709551616",
    b"-1",
    b"chunked",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.1",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"Is-Encrypted: 1\r\n",
    b"X-Gateway-Account: plain\r\n",
    b"Expect: 100-continue\r\n",
];

/// A request with up to eight alterations, or nothing but noise.
fn request(random: &mut Random) -> Vec<u8> {
    if random.below(20) == 0 {
        let length = random.below(3000);
        return random.bytes(length);
    }
    let mut bytes = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..random.below(8) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(12)).min(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let part = bytes[at..end].to_vec();
                let place = random.below(bytes.len() + 1);
                bytes.splice(place..place, part);
            }
            3 if end > at => bytes[at] ^= 1 << random.below(8),
            4 => {
                let part = SHARP[random.below(SHARP.len())].repeat(1 + random.below(3) * random.below(50));
                bytes.splice(at..at, part);
            }
            _ => drop(bytes.splice(at..end, SHARP[random.below(SHARP.len())].iter().copied())),
        }
    }
    bytes
}

/// Sends it in one or several pieces and takes what comes back, for a moment.
fn call(gateway: &Gateway, random: &mut Random) {
    let bytes = request(random);
    let mut client = gateway.client();
    let pieces = 1 + random.below(3) * random.below(2);
    for piece in bytes.chunks(bytes.len() / pieces + 1) {
        client.send(piece);
    }
    let stream = client.stream();
    // Most callers end; some stay, and some only look away.
    match random.below(10) {
        0 => return,
        1 => stream.get_ref().set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout"),
        _ => client.finish_sending(),
    }
    let _ = client.stream().take(1 << 20).read_to_end(&mut Vec::new());
}

#[test]
fn nothing_a_caller_sends_stops_the_process() {
    let platform = platform_with(Options { keep: Keep::Counters, ..Options::default() });
    let second = format!(
        "[[account]]\nname = \"plain\"\nupstream = \"{}\"\napp_key = {{ env = \"APP_KEY\" }}\n\
         app_secret = {{ env = \"APP_SECRET\" }}\nencryption = \"off\"\n",
        platform.url()
    );
    let outbound = "threads = 2\nheader_timeout = \"1s\"\nbody_timeout = \"1s\"\nmax_body = \"256KiB\"";
    let gateway = Setup { outbound: outbound.into(), more: second, ..Setup::default() }.start(&platform).ready();
    let mut random = Random::new();
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            let (gateway, mut random) = (&gateway, Random::from_seed(random.next()));
            scope.spawn(move || (0..REQUESTS).for_each(|_| call(gateway, &mut random)));
        }
    });
    gateway.until(|gateway| gateway.metric("calls_in_flight") == 0.0);
    for account in ["main", "plain"] {
        let answer = gateway.client().post_with("/_sim/echo", &format!("X-Gateway-Account: {account}\r\n"), "{}");
        assert_eq!(answer.status, 200, "{account}");
    }
    gateway.until(|gateway| gateway.metric("memory_in_use_bytes") == 0.0);
    assert_eq!(gateway.metric("refusals_total{outcome=\"internal\"}"), 0.0);
    assert!(!gateway.printed().contains("panicked"), "{}", gateway.printed());
    assert!(gateway.metric("refusals_total{outcome=\"bad_request\"}") > 100.0, "hardly anything was malformed");
    let carried = gateway.metric("answers_total{account=\"main\",code=\"2xx\"}");
    assert!(carried > 10.0, "hardly anything was well-formed");
}
