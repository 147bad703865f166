//! SIGTERM: no new connections, calls in flight get their answers, and the process ends with status 0.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use airudder_gateway::simulator::{Fault, Keep, Options, recording_bytes};

use crate::support::receiver::Receiver;
use crate::support::{Answer, Client, Gateway, Setup, calls, platform, platform_with, scripted, wait_until};
use crate::upgrade::{self, PATH, callback};

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
fn a_gateway_that_has_only_just_said_that_it_listens_ends_in_good_order_too() {
    let platform = platform();
    for _ in 0..10 {
        // It may be told to stop before anything waits for signals.
        let mut gateway = setup(PATIENT).start(&platform);
        gateway.terminate();
        assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
        assert!(gateway.printed_whole().contains("stopped"));
    }
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

/// Sends this on one connection again and again, until it is closed: how many answers came, and what they answered.
fn until_closed(
    address: std::net::SocketAddr,
    answered: &AtomicUsize,
    request: impl Fn(usize) -> String,
) -> Vec<Answer> {
    let Ok(stream) = TcpStream::connect(address) else { return Vec::new() };
    let mut client = Client::on(stream);
    let mut answers = Vec::new();
    while let Some(answer) = client.send(request(answers.len())).try_answer(false) {
        assert!(answer.status == 200 && answer.complete, "{answer:?}");
        answers.push(answer);
        answered.fetch_add(1, Ordering::Relaxed);
    }
    answers
}

#[test]
fn a_stop_under_load_answers_what_has_begun_and_loses_nothing() {
    let (latency, jitter) = (Duration::from_millis(5), Duration::from_millis(30));
    let options = Options { keep: Keep::Everything, keep_requests: 100_000, latency, jitter, ..Options::default() };
    let (platform, books) = (platform_with(options), Receiver::new());
    let setup = upgrade::setup(&books.url());
    let mut gateway = setup.start(&platform).ready();
    let (outbound, inbound) = (gateway.outbound, gateway.inbound.expect("it listens"));
    let (answered, acknowledged) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let post = |path: &str, headers: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: g\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let (calls_answered, keyed, callbacks) = std::thread::scope(|scope| {
        let (answered, acknowledged, post) = (&answered, &acknowledged, &post);
        let reading: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(move || {
                    until_closed(outbound, answered, |_| {
                        "GET /service/cloud/detail?TaskID=1 HTTP/1.1\r\nHost: g\r\n\r\n".to_owned()
                    })
                })
            })
            .collect();
        let keyed: Vec<_> = (0..4)
            .map(|who| {
                scope.spawn(move || {
                    until_closed(outbound, answered, |turn| {
                        let body = r#"{"TaskName":"one","RobotID":"1"}"#;
                        post("/service/cloud/task", &format!("Idempotency-Key: key-{who}-{turn}\r\n"), body)
                    })
                })
            })
            .collect();
        let callbacks: Vec<_> = (0..2)
            .map(|who| {
                scope.spawn(move || {
                    until_closed(inbound, acknowledged, |turn| post(PATH, "", &callback(&format!("call-{who}-{turn}"))))
                })
            })
            .collect();
        gateway.until(|_| answered.load(Ordering::Relaxed) > 200 && acknowledged.load(Ordering::Relaxed) > 20);
        gateway.terminate();
        let all = |threads: Vec<std::thread::ScopedJoinHandle<'_, Vec<Answer>>>| -> Vec<Vec<Answer>> {
            threads.into_iter().map(|thread| thread.join().expect("no panic inside")).collect()
        };
        (all(reading), all(keyed), all(callbacks))
    });
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    let count = |all: &[Vec<Answer>]| all.iter().map(Vec::len).sum::<usize>();
    let (calls_answered, callbacks) = (count(&calls_answered) + count(&keyed), count(&callbacks));
    assert_eq!(calls(&platform).len(), calls_answered, "whatever reached the platform was answered");

    // What was promised holds after the next start.
    let again = setup.start(&platform).ready();
    let mut client = again.client();
    for (who, answers) in keyed.iter().enumerate() {
        for (turn, first) in answers.iter().enumerate().rev().take(3) {
            let body = r#"{"TaskName":"one","RobotID":"1"}"#;
            let key = format!("Idempotency-Key: key-{who}-{turn}\r\n");
            let repeat = client.send(post("/service/cloud/task", &key, body)).answer();
            assert_eq!((repeat.header("idempotency-replayed"), &repeat.body), (Some("true"), &first.body));
        }
    }
    let taken = |all: &[crate::support::receiver::Delivery]| -> BTreeSet<String> {
        all.iter().map(|taken| taken.json()["details"][0]["call_id"].to_string()).collect()
    };
    books.until(|all| taken(all).len() >= callbacks);
    println!("{calls_answered} calls and {callbacks} callbacks");
}
