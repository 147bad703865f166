//! Receivers over TLS: verified always, with a client certificate where they ask for one.

use std::path::Path;

use super::{Platform, attempts, books, call, setup};
use crate::support::receiver::Receiver;
use crate::support::{Folder, Setup, platform};

/// Writes a client certificate and its key; the certificate is its own authority.
fn write_identity(folder: &Path) -> String {
    let own = rcgen::generate_simple_self_signed(["gateway".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("client.pem"), own.cert.pem()).expect("written");
    std::fs::write(folder.join("client.key"), own.signing_key.serialize_pem()).expect("written");
    own.cert.pem()
}

#[test]
fn a_receiver_that_asks_for_a_certificate_is_shown_one() {
    let folder = Folder::new();
    let receiver = Receiver::asking_for_a_certificate(&write_identity(folder.path()));
    std::fs::write(folder.path().join("books.pem"), receiver.ca_pem()).expect("written");
    let more = "ca = \"books.pem\"\nidentity = { cert = \"client.pem\", key = \"client.key\" }";
    let gateway = Setup { folder: Some(folder), ..setup(&books(receiver.url(), more)) }.start(&platform());
    let mut platform = Platform::of(&gateway);
    for turn in 0..10 {
        platform.call_back(&call(&format!("c-{turn}")));
    }
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == 10);
    assert_eq!(receiver.count(), 10);
}

#[test]
fn without_the_certificate_or_the_trust_nothing_is_delivered() {
    let folder = Folder::new();
    let receiver = Receiver::asking_for_a_certificate(&write_identity(folder.path()));
    std::fs::write(folder.path().join("books.pem"), receiver.ca_pem()).expect("written");
    let untrusted = "identity = { cert = \"client.pem\", key = \"client.key\" }";
    for more in ["ca = \"books.pem\"", untrusted] {
        let gateway = Setup { folder: Some(folder.clone()), ..setup(&books(receiver.url(), more)) }.start(&platform());
        Platform::of(&gateway).call_back(&call("c-1"));
        // A receiver that finds no certificate may say so as late as with its answer.
        gateway.until(|gateway| attempts(gateway, "books", "untrusted") + attempts(gateway, "books", "cut") >= 2);
        assert_eq!(attempts(&gateway, "books", "untrusted") >= 2, more == untrusted);
        assert_eq!(receiver.count(), 0);
    }
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart() {
    let folder = Folder::new();
    let renewed = write_identity(folder.path());
    let pair = |name: &str| std::fs::read(folder.path().join(name)).expect("written");
    let (certificate, key) = (pair("client.pem"), pair("client.key"));
    // The one that it starts with is not the one that the receiver trusts.
    write_identity(folder.path());
    let receiver = Receiver::asking_for_a_certificate(&renewed);
    std::fs::write(folder.path().join("books.pem"), receiver.ca_pem()).expect("written");
    let more = "ca = \"books.pem\"\nidentity = { cert = \"client.pem\", key = \"client.key\" }";
    let gateway = Setup { folder: Some(folder.clone()), ..setup(&books(receiver.url(), more)) }.start(&platform());
    Platform::of(&gateway).call_back(&call("c-1"));
    gateway.until(|gateway| attempts(gateway, "books", "untrusted") + attempts(gateway, "books", "cut") >= 1);
    // For a moment the two files do not belong together.
    std::fs::write(folder.path().join("client.pem"), certificate).expect("written");
    gateway
        .log_line(|line| line["message"].as_str().is_some_and(|text| text.contains("the former certificate is shown")));
    assert_eq!(receiver.count(), 0);
    std::fs::write(folder.path().join("client.key"), key).expect("written");
    receiver.until(|all| all.len() == 1);
}
