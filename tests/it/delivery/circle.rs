//! The whole circle: sealed by the platform, opened, stored, delivered, signed.

use airudder_gateway::clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use super::{Platform, books, call, setup};
use crate::support::platform;
use crate::support::receiver::{Delivery, Receiver, Reply};

/// The signature that a receiver with this secret computes itself.
fn expected(delivery: &Delivery, secret: &[u8]) -> String {
    let key = PKey::hmac(secret).expect("a key");
    let mut signer = Signer::new(MessageDigest::sha256(), &key).expect("a signer");
    let timestamp = delivery.header("webhook-timestamp").expect("a time");
    for part in [delivery.id().as_bytes(), b".", timestamp.as_bytes(), b".", &delivery.body] {
        signer.update(part).expect("hashed");
    }
    format!("v1,{}", STANDARD.encode(signer.sign_to_vec().expect("signed")))
}

#[test]
fn a_sealed_callback_arrives_opened_signed_and_described() {
    let (platform, receiver) = (platform(), Receiver::new());
    let mut setup = setup(&books(
        receiver.url(),
        "secret = { env = \"BOOKS\" }\nheaders = { Authorization = { env = \"BEARER\" } }",
    ));
    let secret: Vec<u8> = (0..32).collect();
    setup.env.push(("BOOKS".into(), format!("whsec_{}", STANDARD.encode(&secret))));
    setup.env.push(("BEARER".into(), "Bearer books-token".into()));
    let gateway = setup.start(&platform);
    let body = include_str!("../../data/callbacks/call-finished.json");
    Platform::of(&gateway).call_back_sealed(body);
    let delivery = receiver.until(|all| !all.is_empty()).remove(0);
    assert_eq!(delivery.request_line, "POST /hooks?of=calls HTTP/1.1");
    assert_eq!(String::from_utf8_lossy(&delivery.body), body, "byte for byte as it was sealed");
    assert_eq!(delivery.header("webhook-signature"), Some(expected(&delivery, &secret).as_str()));
    let sent: u64 = delivery.header("webhook-timestamp").expect("a time").parse().expect("seconds");
    assert!(clock::wall_millis() / 1000 - sent < 3600, "seconds, and of now: {sent}");
    assert!(delivery.id().starts_with("cb_"));
    for (name, value) in [
        ("host", receiver.url().trim_start_matches("http://")),
        ("content-type", "application/json"),
        ("user-agent", concat!("airudder-gateway/", env!("CARGO_PKG_VERSION"))),
        ("authorization", "Bearer books-token"),
        ("x-gateway-source", "calls"),
        ("x-gateway-kind", "call"),
        ("x-gateway-attempt", "1"),
    ] {
        assert_eq!(delivery.header(name), Some(value), "{name}");
    }
    assert_eq!(delivery.header("x-gateway-redrive"), None);
    // One line tells it, and neither of them knows what was in it.
    let line = gateway.log_line(|line| line["message"] == "attempt");
    assert_eq!((line["receiver"].as_str(), line["source"].as_str()), (Some("books"), Some("calls")));
    assert_eq!((line["outcome"].as_str(), line["status"].as_u64()), (Some("delivered"), Some(200)));
    assert_eq!(line["entry"], delivery.id());
    for told in ["6281200000001", "c0ffee5b9e7d4a1fa2b3c4d5e6f70812", "books-token"] {
        assert!(!gateway.printed().contains(told), "{told}");
    }
}

#[test]
fn while_a_secret_is_rotated_both_sign() {
    let (platform, receiver) = (platform(), Receiver::new());
    let mut setup = setup(&books(receiver.url(), "secret = { env = \"NEW\" }\nold_secret = { env = \"OLD\" }"));
    let (new, old) = ("the new secret of the books, long enough", "the former secret of the books, long enough");
    setup.env.extend([("NEW".to_owned(), new.to_owned()), ("OLD".to_owned(), old.to_owned())]);
    let gateway = setup.start(&platform);
    Platform::of(&gateway).call_back(&call("c-1"));
    let delivery = receiver.until(|all| !all.is_empty()).remove(0);
    let both = format!("{} {}", expected(&delivery, new.as_bytes()), expected(&delivery, old.as_bytes()));
    assert_eq!(delivery.header("webhook-signature"), Some(both.as_str()));
}

#[test]
fn each_attempt_is_signed_anew_under_the_same_id() {
    let platform = platform();
    let receiver = Receiver::answering(|delivery| Reply::Status(if delivery.attempt() < 4 { 500 } else { 204 }));
    let mut setup = setup(&books(receiver.url(), "secret = { env = \"BOOKS\" }"));
    let secret = "a secret of the books that is long enough";
    setup.env.push(("BOOKS".into(), secret.into()));
    let gateway = setup.start(&platform);
    Platform::of(&gateway).call_back(&call("c-1"));
    let deliveries = receiver.until(|all| all.len() == 4);
    for (at, delivery) in deliveries.iter().enumerate() {
        assert_eq!(delivery.id(), deliveries[0].id());
        assert_eq!(delivery.attempt() as usize, at + 1);
        assert_eq!(delivery.header("webhook-signature"), Some(expected(delivery, secret.as_bytes()).as_str()));
    }
}
