//! Callbacks under another configuration: sources and receivers come, change and go, and nothing that was stored is lost.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use super::{setup, start};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Client, Folder, Gateway, Refusing, Setup, platform};

const PATH: &str = "/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05";
const OTHER: &str = "/callbacks/9f2c6e1ab04d4c7dbd0a31f7c8e97d05";

/// Sources as (name, path, receiver), receivers as (name, url).
fn taking(sources: &[(&str, &str, &str)], receivers: &[(&str, &str)], more: &str) -> Setup {
    let mut text = "[inbound]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n[inbox]\n".to_owned();
    for (name, path, receiver) in sources {
        text += &format!("[[source]]\nname = \"{name}\"\npath = \"{path}\"\nreceivers = [\"{receiver}\"]\n");
    }
    for (name, url) in receivers {
        text += &format!("[[receiver]]\nname = \"{name}\"\nurl = \"{url}/hook\"\nretry = [\"50ms\"]\n{more}\n");
    }
    setup(&text)
}

fn call_back(gateway: &Gateway, path: &str, call: &str) -> u16 {
    let body = format!(r#"{{"task_id":"task","status":"finished","details":[{{"call_id":"{call}"}}]}}"#);
    Client::connect(gateway.inbound.expect("it listens")).post(path, body).status
}

/// The calls that a receiver was told of.
fn told(receiver: &Receiver) -> Vec<String> {
    let call = |json: serde_json::Value| json["details"][0]["call_id"].as_str().expect("a call").to_owned();
    receiver.deliveries().iter().map(|delivery| call(delivery.json())).collect()
}

#[test]
fn a_source_and_a_receiver_that_are_added_take_callbacks_and_deliveries() {
    let (platform, books, ledger) = (platform(), Receiver::new(), Receiver::new());
    let (own, added) = (("calls", PATH, "books"), ("more", OTHER, "ledger"));
    let (to_books, to_ledger) = (("books", &*books.url()), ("ledger", &*ledger.url()));
    let gateway = start(&taking(&[own], &[to_books], ""), &platform);
    assert_eq!((call_back(&gateway, PATH, "one"), call_back(&gateway, OTHER, "none")), (200, 404));
    books.until(|got| got.len() == 1);
    gateway.reload_as(&taking(&[own, added], &[to_ledger, to_books], ""), &platform.url());
    assert_eq!((call_back(&gateway, OTHER, "two"), call_back(&gateway, PATH, "three")), (200, 200));
    ledger.until(|got| got.len() == 1);
    books.until(|got| got.len() == 2);
    gateway.reload_as(&taking(&[added], &[to_ledger], ""), &platform.url());
    assert_eq!((call_back(&gateway, PATH, "none"), call_back(&gateway, OTHER, "four")), (404, 200));
    ledger.until(|got| got.len() == 2);
    assert_eq!((told(&books), told(&ledger)), (vec!["one".into(), "three".into()], vec!["two".into(), "four".into()]));
    assert_eq!(books.connections(), 1, "its lane was not touched");
}

#[test]
fn what_waits_is_delivered_to_where_its_receiver_is_now() {
    let (platform, receiver, nobody) = (platform(), Receiver::new(), Refusing::new());
    let source = [("calls", PATH, "books")];
    let gateway = start(&taking(&source, &[("books", &nobody.url())], ""), &platform);
    (0..5).for_each(|call| assert_eq!(call_back(&gateway, PATH, &call.to_string()), 200));
    gateway
        .until(|gateway| gateway.metric("delivery_attempts_total{outcome=\"unreachable\",receiver=\"books\"}") > 6.0);
    gateway.reload_as(&taking(&source, &[("books", &receiver.url())], ""), &platform.url());
    receiver.until(|got| got.len() == 5);
}

#[test]
fn a_delivery_under_way_ends_before_its_receiver_is_asked_in_another_way() {
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let receiver = Receiver::answering(move |_| {
        waits.lock().expect("no panic inside").recv().expect("the test goes on");
        Reply::Status(200)
    });
    let platform = platform();
    let (source, to) = ([("calls", PATH, "books")], [("books", &*receiver.url())]);
    let gateway = start(&taking(&source, &to, "concurrency = 1"), &platform);
    (0..3).for_each(|call| assert_eq!(call_back(&gateway, PATH, &call.to_string()), 200));
    gateway.until(|_| receiver.connections() == 1);
    for signed in ["SHORT", "OTHER_AES", "TOKEN_KEY"] {
        let more = format!("concurrency = 1\nsecret = {{ env = \"{signed}\" }}");
        gateway.reload_as(&taking(&source, &to, &more), &platform.url());
    }
    (0..3).for_each(|_| go.send(()).expect("the receiver waits"));
    let deliveries = receiver.until(|got| got.len() == 3);
    gateway.until(|gateway| gateway.metric("inbox_entries{receiver=\"books\",state=\"delivered\"}") == 3.0);
    let signed: Vec<_> = deliveries.iter().map(|delivery| delivery.header("webhook-signature").is_some()).collect();
    assert_eq!((signed, receiver.most_under_way()), (vec![false, true, true], 1));
    assert!(deliveries.iter().all(|delivery| delivery.attempt() == 1), "each once");
}

#[test]
fn what_waits_for_a_receiver_that_is_gone_stays_and_is_told() {
    let (platform, receiver, nobody) = (platform(), Receiver::new(), Refusing::new());
    let both = [("calls", PATH, "books"), ("more", OTHER, "ledger")];
    let gateway = start(&taking(&both, &[("books", &nobody.url()), ("ledger", &receiver.url())], ""), &platform);
    (0..2).for_each(|call| assert_eq!(call_back(&gateway, PATH, &call.to_string()), 200));
    gateway.reload_as(&taking(&both[1..], &[("ledger", &receiver.url())], ""), &platform.url());
    let line =
        gateway.log_line(|line| line["message"].as_str().is_some_and(|told| told.contains("that is not configured")));
    assert_eq!((&line["receiver"], &line["deliveries"]), (&"books".into(), &2.into()));
    gateway.until(|gateway| gateway.metric("inbox_entries{receiver=\"books\",state=\"waiting\"}") == 2.0);
    gateway.reload_as(&taking(&both, &[("books", &receiver.url()), ("ledger", &receiver.url())], ""), &platform.url());
    receiver.until(|got| got.len() == 2);
}

#[test]
fn an_identity_of_the_listener_is_replaced_and_the_inbox_is_not() {
    let folder = Folder::new();
    let pair = |name: &str| {
        let made = rcgen::generate_simple_self_signed([format!("{name}.example")]).expect("a certificate");
        std::fs::write(folder.path().join(format!("{name}.key")), made.signing_key.serialize_pem()).expect("written");
        std::fs::write(folder.path().join(format!("{name}.pem")), made.cert.pem()).expect("written");
        made.cert.der().to_vec()
    };
    let certificates = ["first", "second"].map(pair);
    let with = |name: &str| {
        let base = taking(&[("calls", PATH, "books")], &[("books", "http://127.0.0.1:9")], "");
        let tls = format!("[inbound]\ntls = {{ cert = \"{name}.pem\", key = \"{name}.key\" }}");
        Setup { more: base.more.replace("[inbound]", &tls), folder: Some(folder.clone()), ..base }
    };
    let platform = platform();
    let gateway = start(&with("first"), &platform);
    let shown = || {
        let mut connector = openssl::ssl::SslConnector::builder(openssl::ssl::SslMethod::tls()).expect("OpenSSL");
        connector.set_verify(openssl::ssl::SslVerifyMode::NONE);
        let stream = std::net::TcpStream::connect(gateway.inbound.expect("callbacks")).expect("it listens");
        let stream = connector.build().connect("any.example", stream).expect("a handshake");
        stream.ssl().peer_certificate().expect("a certificate").to_der().expect("DER")
    };
    assert!(shown() == certificates[0]);
    gateway.reload_as(&with("second"), &platform.url());
    assert!(shown() == certificates[1]);
    gateway.rewrite(&with("third"), &platform.url());
    assert_eq!(gateway.reload().0, 422);
    assert!(shown() == certificates[1]);
    let moved = with("first");
    gateway.rewrite(
        &Setup { more: moved.more.replace("[inbox]", "[inbox]\npath = \"other.db\""), ..moved },
        &platform.url(),
    );
    let (status, page) = gateway.reload();
    let message = page["message"].as_str().expect("a sentence");
    assert!(status == 422 && message.contains("inbox.path, inbox.key cannot change"), "{message}");
    assert!(shown() == certificates[1], "nothing of it is taken");
    assert!(!folder.path().join("other.db").exists());
}

#[test]
fn a_log_line_has_the_shape_that_is_configured_now() {
    let with = |format: &str| setup(&format!("[log]\nformat = \"{format}\"\n"));
    let platform = platform();
    let gateway = start(&with("json"), &platform);
    gateway.reload_as(&with("human"), &platform.url());
    gateway.until(|gateway| {
        gateway.printed().lines().any(|line| !line.starts_with('{') && line.contains("another configuration serves"))
    });
}
