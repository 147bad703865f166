//! Chunked bodies pass whole however the network cuts them.

use std::io::Read;
use std::sync::{Arc, Mutex, mpsc};

use crate::support::{Setup, calls, platform, scripted, wait_until};

/// Small enough that an upload streams after its first piece.
const STREAMS: &str = "threads = 2\nmax_body = \"64KiB\"";

#[test]
fn an_upload_cut_inside_a_chunk_size_arrives_whole() {
    let platform = platform();
    let gateway = Setup { outbound: STREAMS.into(), ..Setup::unsealed() }.start(&platform);
    let mut client = gateway.client();
    client.send("POST /_sim/echo HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (piece, arrived) in [("5\r\nhello\r\n1", 5), ("\r\n \r\n5;ext", 6), ("=1\r\nworld\r\n0", 11)] {
        client.send(piece);
        wait_until(&platform, "the piece arrives", |platform| {
            calls(platform).first().is_some_and(|request| request.body_len == arrived)
        });
    }
    let answer = client.send("\r\n\r\n").answer();
    assert_eq!(answer.json()["data"]["body"]["length"], 11);
    let arrived = calls(&platform);
    assert_eq!(arrived.len(), 1, "nothing of the body became another request");
    assert_eq!(&arrived[0].body[..], b"hello world");
}

#[test]
fn an_answer_cut_inside_a_chunk_size_arrives_whole() {
    let (go, gone_on) = mpsc::channel::<()>();
    let gone_on = Arc::new(Mutex::new(gone_on));
    let url = scripted(move |_, line| {
        line.say("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1");
        let gone_on = gone_on.lock().expect("no panic inside");
        for piece in ["\r\n \r\n5", "\r\nworld\r\n0", "\r\n\r\n"] {
            gone_on.recv().expect("the test goes on");
            line.say(piece);
        }
    });
    let gateway = Setup::unsealed().start_at(&url, None);
    let mut client = gateway.client();
    client.send("GET /letters HTTP/1.1\r\nHost: gateway\r\n\r\n");
    let head = client.head().expect("a head");
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    for chunk in ["5\r\nhello\r\n", "1\r\n \r\n", "5\r\nworld\r\n", "0\r\n\r\n"] {
        let mut read = vec![0; chunk.len()];
        client.stream().read_exact(&mut read).expect("a chunk");
        assert_eq!(String::from_utf8_lossy(&read), chunk);
        let _ = go.send(());
    }
}
