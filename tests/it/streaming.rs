//! What is not sealed streams, up and down, in memory that does not grow with it.

use std::io::Read;

use airudder_gateway::envelope::Signed;
use airudder_gateway::simulator::{Options, Simulator, recording_bytes};

use crate::support::{Client, Setup, calls, platform_with};

const MIB: u64 = 1024 * 1024;
const RECORDING: &str = "/recordings/69f531a01a9df58aa6de2487be610abb.mp3";

/// How much the gateway's memory may grow while anything streams.
const GROWTH: u64 = 32 * MIB;

/// The same for an upload of unknown length, which is held up to `max_body` (16 MiB) before it streams. The allocator may
/// keep a second block of that size for a while.
const GROWTH_OF_UNKNOWN_LENGTH: u64 = 48 * MIB;

/// A platform whose recordings have this size.
fn recordings_of(size: u64) -> Simulator {
    platform_with(Options { recording_size: size, ..Options::default() })
}

/// Reads `size` bytes of a body and checks that they are the recording's from `start` on.
fn check_recording(client: &mut Client, start: u64, size: u64) {
    let mut piece = vec![0; 256 * 1024];
    let mut at = start;
    while at < start + size {
        let most = piece.len().min((start + size - at) as usize);
        let read = client.stream().read(&mut piece[..most]).expect("more of it");
        assert!(read > 0, "ended at {at}");
        assert!(piece[..read] == recording_bytes(at..at + read as u64)[..], "other bytes after {at}");
        at += read as u64;
    }
}

#[test]
fn a_recording_of_200_mb_passes_in_constant_memory() {
    let size = 200 * MIB;
    let platform = recordings_of(size);
    for setup in [Setup::unsealed(), Setup::default()] {
        let gateway = setup.start(&platform);
        let mut client = gateway.client();
        assert_eq!(client.get("/service/cloud/robot").status, 200);
        let before = gateway.peak_memory();

        let head = client.send(format!("GET {RECORDING} HTTP/1.1\r\nHost: gateway\r\n\r\n")).head().expect("a head");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("audio/mpeg"));
        assert_eq!(head.header("content-length"), Some(size.to_string().as_str()));
        check_recording(&mut client, 0, size);

        let grown = gateway.peak_memory() - before;
        assert!(grown < GROWTH, "grew by {grown} bytes");
        assert_eq!(client.get("/service/cloud/robot").status, 200, "the connection can be used again");
        assert_eq!(gateway.log_line(|line| line["bytes_out"] == size)["outcome"], "answered");
    }
}

#[test]
fn parts_heads_and_validators_of_a_recording_pass() {
    let size = 5_000_000;
    let platform = recordings_of(size);
    let gateway = Setup::unsealed().start(&platform);
    let mut client = gateway.client();
    let mut ask = |method: &str, header: &str| {
        client.send(format!("{method} {RECORDING} HTTP/1.1\r\nHost: gateway\r\n{header}\r\n"));
        if method == "HEAD" { client.answer_to_head() } else { client.answer() }
    };

    let part = ask("GET", "Range: bytes=65520-65599\r\n");
    assert_eq!(part.status, 206);
    assert_eq!(part.header("content-range"), Some("bytes 65520-65599/5000000"));
    assert_eq!(part.body, recording_bytes(65520..65600));

    let end = ask("GET", "Range: bytes=-7\r\n");
    assert_eq!((end.status, end.body), (206, recording_bytes(size - 7..size)));

    let beyond = ask("GET", "Range: bytes=5000000-\r\n");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */5000000")));

    let head = ask("HEAD", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("5000000")));
    assert_eq!(head.header("accept-ranges"), Some("bytes"));
    assert_eq!(head.header("transfer-encoding"), None);

    let tag = head.header("etag").expect("a tag").to_owned();
    let known = ask("GET", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((known.status, known.header("etag")), (304, Some(tag.as_str())));
    assert!(known.body.is_empty());

    let newer = ask("GET", "If-Range: \"older\"\r\nRange: bytes=0-1\r\n");
    assert_eq!((newer.status, newer.body.len()), (200, 5_000_000));
}

/// Sends `size` bytes in pieces, each made by `framed`; returns their digest.
fn upload(client: &mut Client, size: u64, framed: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let (mut at, mut all) = (0, Vec::new());
    while at < size {
        let piece = recording_bytes(at..(at + 200_001).min(size));
        client.send(framed(&piece));
        at += piece.len() as u64;
        all.extend_from_slice(&piece);
    }
    Signed::of(&all).as_str().to_owned()
}

#[test]
fn an_upload_of_100_mb_in_chunks_streams() {
    let size = 100 * MIB;
    let platform = platform_with(Options { keep_body: 128 * MIB as usize, ..Options::default() });
    let gateway = Setup::unsealed().start(&platform);
    let mut client = gateway.client();
    assert_eq!(client.get("/service/cloud/robot").status, 200);
    let before = gateway.peak_memory();

    client.send("POST /_sim/echo HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n");
    let digest =
        upload(&mut client, size, |piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    let answer = client.send("0\r\n\r\n").answer();

    assert_eq!(answer.status, 200, "{}", gateway.printed());
    let body = &answer.json()["data"]["body"];
    assert_eq!((body["length"].as_u64(), body["sha256"].as_str()), (Some(size), Some(digest.as_str())));
    let arrived = calls(&platform).pop().expect("it arrived");
    assert_eq!((arrived.header("transfer-encoding"), arrived.header("content-length")), (Some("chunked"), None));
    let grown = gateway.peak_memory() - before;
    assert!(grown < GROWTH_OF_UNKNOWN_LENGTH, "grew by {grown} bytes");
    assert_eq!(client.get("/service/cloud/robot").status, 200, "the connection can be used again");
}

#[test]
fn an_upload_of_known_length_over_max_body_streams_with_its_length() {
    let size = 60 * MIB;
    let platform = platform_with(Options { keep_body: 128 * MIB as usize, ..Options::default() });
    let setup = Setup { outbound: "threads = 2\nmax_body = \"1MiB\"".into(), ..Setup::unsealed() };
    let gateway = setup.start(&platform);
    let mut client = gateway.client();
    assert_eq!(client.get("/service/cloud/robot").status, 200);
    let before = gateway.peak_memory();

    client.send(format!("POST /_sim/echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: {size}\r\n\r\n"));
    let digest = upload(&mut client, size, <[u8]>::to_vec);
    let answer = client.answer();

    assert_eq!(answer.status, 200, "{}", gateway.printed());
    assert_eq!(answer.json()["data"]["body"]["sha256"].as_str(), Some(digest.as_str()));
    let arrived = calls(&platform).pop().expect("it arrived");
    assert_eq!(arrived.header("content-length"), Some(size.to_string().as_str()));
    assert_eq!(arrived.header("transfer-encoding"), None);
    let grown = gateway.peak_memory() - before;
    assert!(grown < 8 * MIB, "grew by {grown} bytes");
    assert_eq!(client.get("/service/cloud/robot").status, 200, "the connection can be used again");
}
