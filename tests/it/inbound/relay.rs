//! A callback whose answer the platform uses is passed to its receiver while the platform waits, and is never stored.

use std::sync::{Arc, Barrier, Mutex};

use airudder_gateway::inbox::Filter;

use super::setting::{PATH, Setting, call_back, cipher, ended, platform, schemes, sealed, shown, stop_and_ask};
use crate::support::gateway::Folder;
use crate::support::{Gateway, Line, Refusing, scripted_whole};

/// A gateway that relays to what is at `url`; a second source stores, so that there is an inbox.
fn relaying(encryption: &'static str, url: &str, timeout: &str) -> Setting {
    Setting {
        encryption,
        source: format!("mode = \"relay\"\nrelay_timeout = \"{timeout}\"\nreceivers = [\"asked\"]"),
        more: format!(
            "[[source]]\nname = \"stored\"\npath = \"/stored\"\n\
             [[receiver]]\nname = \"asked\"\nurl = \"{url}/decide?how=fast\"\nheaders = {{ X-Pass = {{ env = \"AES_KEY\" }} }}\n"
        ),
        ..Setting::default()
    }
}

/// What a receiver was asked: heads and bodies.
type Asked = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A receiver that keeps what it was asked and says this.
fn receiver(answer: Vec<u8>) -> (String, Asked) {
    let asked = Asked::default();
    let keeps = asked.clone();
    let url = scripted_whole(move |head: &str, line: &mut Line| {
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let body = line.hear(length.parse().expect("a number"));
        keeps.lock().expect("no panic").push((head.to_owned(), body));
        line.say(&answer);
        line.end();
    });
    (url, asked)
}

#[test]
fn the_answer_comes_back_sealed_if_the_callback_was() {
    let said = "{\"decision\":\"call again\",\"name\":\"陈\"}";
    let answer = format!(
        "HTTP/1.1 201 Created\r\nContent-Type: application/vnd.decision+json\r\nX-Secret: inside\r\nContent-Length: {}\r\n\r\n{said}",
        said.len()
    );
    for (encryption, scheme) in schemes() {
        let (url, asked) = receiver(answer.clone().into_bytes());
        let folder = Folder::new();
        let gateway = relaying(encryption, &url, "30s").start_in(&folder);
        let (cipher, mut client) = (cipher(&scheme), platform(&gateway));
        let plain = "{\"ask\":\"what now\"}";
        for is_sealed in [true, false] {
            let callback = if is_sealed { sealed(&cipher, plain) } else { (String::new(), plain.into()) };
            let answer = call_back(&mut client, &callback);
            assert_eq!((answer.status, answer.header("x-secret")), (201, None));
            assert_eq!(answer.header("content-type"), Some("application/vnd.decision+json"));
            assert_eq!(answer.header("is-encrypted"), is_sealed.then_some("1"));
            let body = match answer.header("signed") {
                Some(signed) => cipher.open(&answer.body, signed.as_bytes()).expect("it opens"),
                None => answer.body,
            };
            assert_eq!(body, said.as_bytes());
        }
        let asked = asked.lock().expect("no panic").clone();
        assert_eq!(asked.len(), 2);
        for (head, body) in asked {
            assert!(head.starts_with("POST /decide?how=fast HTTP/1.1\r\n"), "{head}");
            for line in ["Content-Type: application/json", "X-Gateway-Source: calls", "x-pass: airudderredduria"] {
                assert!(head.lines().any(|found| found == line), "{line} in {head}");
            }
            assert!(!head.to_lowercase().contains("signed"), "{head}");
            assert_eq!(body, plain.as_bytes());
        }
        assert_eq!(ended(&gateway, "relayed"), 2.0);
        // What cannot be opened is not passed on.
        assert_eq!(call_back(&mut client, &("Is-Encrypted: 1\r\n".into(), b"x".to_vec())).status, 400);
        stop_and_ask(gateway, &folder, async |inbox| {
            assert!(shown(inbox, Filter::default()).await.is_empty());
        });
    }
}

/// What the platform is told when the receiver at `url` has to be asked.
fn told(gateway: &Gateway) -> (u16, String) {
    let cipher = cipher(&schemes()[0].1);
    let answer = call_back(&mut platform(gateway), &sealed(&cipher, "{}"));
    assert_eq!((answer.header("is-encrypted"), answer.header("x-secret")), (None, None));
    (answer.status, String::from_utf8(answer.body).expect("text"))
}

#[test]
fn a_receiver_that_is_down_late_or_odd_is_a_fixed_answer() {
    let encryption = schemes()[0].0;
    let mut failed = Vec::new();
    let nobody = Refusing::new();
    failed.push(told(&relaying(encryption, &nobody.url(), "30s").start()));
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n{}", "x".repeat(1_048_577));
    let cut = "HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: 5\r\n\r\nx";
    let zipped = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx";
    for odd in [long.as_str(), cut, zipped, "SSH-2.0\r\n\r\n", ""] {
        let (url, _) = receiver(odd.as_bytes().to_vec());
        let gateway = relaying(encryption, &url, "30s").start();
        failed.push(told(&gateway));
        assert_eq!(ended(&gateway, "relay_failed"), 1.0);
    }
    assert_eq!(failed[0].0, 502);
    assert!(failed.iter().all(|told| *told == failed[0]), "{failed:?}");
    // One that is late: it was asked, and says nothing until the gateway leaves.
    let late = scripted_whole(|_, line| {
        line.hear(usize::MAX);
    });
    let gateway = relaying(encryption, &late, "200ms").start();
    assert_eq!(told(&gateway).0, 504);
    let left = |gateway: &Gateway| gateway.metric("callback_time_to_loss_seconds{source=\"calls\"}");
    gateway.until(|gateway| (1.0..300.0).contains(&left(gateway)));
}

#[test]
fn an_answer_of_a_mebibyte_or_of_nothing_comes_whole() {
    let encryption = schemes()[0].0;
    let (most, none) = ("x".repeat(1 << 20), String::new());
    for (head, body) in [
        (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{most}", most.len()), &most),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), &none),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), &none),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".into(), &none),
    ] {
        let (url, _) = receiver(head.clone().into_bytes());
        let gateway = relaying(encryption, &url, "30s").start();
        let cipher = cipher(&schemes()[0].1);
        let answer = platform(&gateway).post(PATH, "{}");
        assert_eq!((&answer.body[..], answer.complete), (body.as_bytes(), true));
        let (headers, sealed) = sealed(&cipher, "{}");
        let answer = platform(&gateway).post_with(PATH, &headers, sealed);
        match answer.header("signed") {
            Some(signed) => assert_eq!(cipher.open(&answer.body, signed.as_bytes()).as_deref(), Ok(body.as_bytes())),
            None => assert_eq!(answer.status, 204),
        }
    }
}

#[test]
fn only_a_relayed_200_ends_what_is_at_risk() {
    let answers = Arc::new(Mutex::new(vec![200, 503]));
    let url = scripted_whole(move |_, line| {
        let status = answers.lock().expect("no panic").pop().expect("asked twice");
        line.say(format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n"));
        line.end();
    });
    let gateway = relaying(schemes()[0].0, &url, "30s").start();
    let left = |gateway: &Gateway| gateway.metric("callback_time_to_loss_seconds{source=\"calls\"}");
    gateway.until(|gateway| left(gateway) == 300.0);
    assert_eq!(platform(&gateway).post(PATH, "{}").status, 503);
    gateway.until(|gateway| left(gateway) < 300.0);
    assert_eq!(platform(&gateway).post(PATH, "{}").status, 200);
    gateway.until(|gateway| left(gateway) == 300.0);
    assert_eq!(ended(&gateway, "relayed"), 2.0);
}

#[test]
fn relays_that_wait_for_their_receiver_hold_no_memory_for_its_answer() {
    const TOGETHER: usize = 8;
    // It answers nobody until all were asked.
    let all = Arc::new(Barrier::new(TOGETHER));
    let url = scripted_whole(move |_, line| {
        all.wait();
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        line.end();
    });
    // Half of it is for answers, and less than one of the largest.
    let inbound = "max_body = \"4KiB\"\nmemory = \"1MiB\"".into();
    let gateway = Setting { inbound, ..relaying(schemes()[0].0, &url, "30s") }.start();
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> =
            (0..TOGETHER).map(|_| scope.spawn(|| platform(&gateway).post(PATH, "{}").status)).collect();
        asking.into_iter().map(|asking| asking.join().expect("no panic")).collect()
    });
    assert_eq!(statuses, [200; TOGETHER]);
    assert_eq!(gateway.metric("memory_in_use_bytes"), 0.0);
}
