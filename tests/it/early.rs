//! A platform that answers before it has taken the whole body: the program gets that answer, whether the body
//! is held or streams, and whether the platform reads on or closes.

use std::sync::{Arc, Mutex, mpsc};

use airudder_gateway::simulator::{FaultKind, Rest, Simulator};

use crate::support::{Answer, Client, Setup, calls, platform, scripted, wait_until};

/// Beyond it a body of an account without encryption streams.
const HELD: usize = 32 << 20;
const SIZE: usize = 24 << 20;

fn check(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.word(), answer.complete), (413, None, true), "{what}");
    assert_eq!(answer.json()["status"], "the body is too large", "{what}: it is the platform's own answer");
}

/// The next call is answered before its body is read.
fn answer_early(platform: &Simulator, rest: Rest) {
    platform.clear();
    platform.fault(FaultKind::Early { rest });
}

fn send_known(client: &mut Client) {
    client.send(format!("POST /_sim/echo HTTP/1.1\r\nHost: g\r\nContent-Length: {SIZE}\r\n\r\n"));
    client.send(vec![b'x'; SIZE]);
}

fn send_chunked(client: &mut Client) {
    client.send("POST /_sim/echo HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n");
    let piece = "x".repeat(1 << 20);
    for _ in 0..SIZE >> 20 {
        client.send(format!("100000\r\n{piece}\r\n"));
    }
    client.send("0\r\n\r\n");
}

#[test]
fn a_program_gets_the_answer_that_came_before_its_body_was_taken() {
    let platform = platform();
    for (what, sealed, max_body) in
        [("held and sealed", true, HELD), ("held", false, HELD), ("streamed", false, 1 << 20)]
    {
        let outbound = format!("threads = 2\nmax_body = \"{max_body}B\"");
        let gateway = Setup { outbound, sealed, ..Setup::default() }.start(&platform);
        for rest in [Rest::Close, Rest::KeepReading] {
            for (framed, send) in [("known", send_known as fn(&mut Client)), ("chunked", send_chunked)] {
                let what = format!("{what}, {framed}, {rest:?}");
                answer_early(&platform, rest);
                let mut client = gateway.client();
                send(&mut client);
                check(&client.answer(), &what);
                assert_eq!(calls(&platform).len(), 1, "{what}: it was sent once");
                // Nothing is left in a state that harms the next call.
                assert_eq!(gateway.client().get("/service/cloud/robot").status, 200, "{what}");
            }
        }
    }
}

#[test]
fn a_platform_that_answers_and_neither_reads_nor_closes_is_understood() {
    let (keep, kept) = mpsc::channel::<()>();
    let kept = Arc::new(Mutex::new(kept));
    let url = scripted(move |_, line| {
        line.say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 413 No\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nno!");
        // Until the test is over.
        let _ = kept.lock().expect("no panic inside").recv();
    });
    for (max_body, send) in [(HELD, send_known as fn(&mut Client)), (1 << 20, send_known), (1 << 20, send_chunked)] {
        let outbound = format!("threads = 2\nmax_body = \"{max_body}B\"");
        // A write that got stuck for its whole time would look for an answer too.
        let account = "write_timeout = \"1h\"".into();
        let gateway = Setup { outbound, account, ..Setup::unsealed() }.start_at(&url, None);
        let mut client = gateway.client();
        send(&mut client);
        let answer = client.answer();
        assert_eq!((answer.status, &answer.body[..]), (413, &b"no!"[..]), "{}", gateway.printed());
        let _ = keep.send(());
    }
}

#[test]
fn an_answer_in_the_middle_of_an_upload_does_not_wait_for_the_rest_of_it() {
    let platform = platform();
    let gateway = Setup { outbound: "threads = 2\nmax_body = \"64KiB\"".into(), ..Setup::unsealed() }.start(&platform);
    for rest in [Rest::Close, Rest::KeepReading] {
        for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
            answer_early(&platform, rest);
            let mut client = gateway.client();
            client.send(format!("POST /_sim/echo HTTP/1.1\r\nHost: g\r\n{framing}\r\n\r\n"));
            client.send(format!("20000\r\n{}\r\n", "x".repeat(0x20000)));
            let answer = client.answer();
            check(&answer, framing);
            // The rest was never read, so nothing can be found behind it.
            assert_eq!(answer.header("connection"), Some("close"));
            assert!(client.is_closed());
        }
    }
    wait_until(&platform, "no connection with half a request on it is kept", |platform| {
        calls(platform).iter().all(|request| request.status.is_some()) && platform.open_connections() <= 1
    });
}
