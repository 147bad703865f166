//! TLS of the public listener: the certificate's files are read again when they change, and a broken pair changes nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use openssl::ssl::{SslConnector, SslMethod, SslStream};

use super::setting::{PATH, Setting, assert_acknowledged, platform};
use crate::support::gateway::Folder;
use crate::support::identity::{NAME, write_pair};
use crate::support::{Client, Gateway};

/// When the certificate that is shown ends, as the metrics say.
const EXPIRY: &str = "certificate_expiry_timestamp_seconds{listener=\"inbound\"}";

/// The last day of 2998, in seconds since 1970.
const ENDS: u64 = 32_472_057_600;

/// A connection that trusts this certificate only; `None` when another one is shown.
fn connect(gateway: &Gateway, certificate: &str) -> Option<SslStream<TcpStream>> {
    let mut connector = SslConnector::builder(SslMethod::tls()).expect("OpenSSL");
    let certificate = openssl::x509::X509::from_pem(certificate.as_bytes()).expect("a certificate");
    connector.cert_store_mut().add_cert(certificate).expect("trusted");
    let stream = TcpStream::connect(gateway.inbound.expect("callbacks")).expect("the gateway listens");
    connector.build().connect(NAME, stream).ok()
}

/// Sends a callback, and reads the answer that it expects.
fn call_back(stream: &mut SslStream<TcpStream>) {
    let request = format!("POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).expect("sent");
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(b"\r\n\r\n{}") {
        stream.read_exact(&mut byte).expect("an answer");
        read.push(byte[0]);
    }
    assert!(read.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&read));
}

#[test]
fn the_certificate_is_replaced_without_a_restart_and_a_broken_one_is_not_taken() {
    let folder = Folder::new();
    let first = write_pair(&folder, ENDS);
    let tls = "header_timeout = \"400ms\"\ntls = { cert = \"tls.pem\", key = \"tls.key\" }";
    let gateway = Setting { inbound: tls.into(), ..Setting::default() }.start_in(&folder);
    let mut old = connect(&gateway, &first).expect("the first certificate");
    call_back(&mut old);

    assert_eq!(gateway.metric(EXPIRY), ENDS as f64);
    let second = write_pair(&folder, ENDS + 1);
    gateway.until(|gateway| connect(gateway, &second).is_some());
    gateway.until(|gateway| gateway.metric(EXPIRY) == (ENDS + 1) as f64);
    assert!(connect(&gateway, &first).is_none(), "the former one is shown no more");

    for (file, broken) in
        [("tls.key", ""), ("tls.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        std::fs::write(folder.path().join(file), broken).expect("written");
        gateway.log_line(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "WARN" && message.starts_with("inbound.tls") && message.contains(file)
        });
        call_back(&mut connect(&gateway, &second).expect("the second is shown on"));
    }
    let third = write_pair(&folder, ENDS + 1);
    gateway.until(|gateway| connect(gateway, &third).is_some());

    // Who says nothing, or does not speak TLS, is not waited for.
    let mut silent = TcpStream::connect(gateway.inbound.expect("callbacks")).expect("a connection");
    assert_eq!(silent.read_to_end(&mut Vec::new()).ok(), Some(0));
    let mut plain = Client::connect(gateway.inbound.expect("callbacks"));
    plain.send(format!("POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{{}}"));
    assert!(plain.try_answer(false).is_none());
}

#[test]
fn a_listener_without_tls_speaks_plain_http() {
    let gateway = Setting::default().start();
    assert_acknowledged(&platform(&gateway).post(PATH, "{}"));
}
