//! One answer for every body that cannot be opened, whatever is wrong with it, and nothing left behind but a count.

use std::collections::BTreeMap;

use airudder_gateway::config::Scheme;
use airudder_gateway::envelope::{Cipher, Sealed, Signed};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::setting::{
    PATH, SAMPLES, Setting, assert_acknowledged, call_back, cipher, ended, platform, schemes, sealed,
};
use crate::support::{Answer, Gateway};

/// Header lines, body, and the reason that operators read.
type Variant = (String, Vec<u8>, &'static str);

/// What is wrong with these is known, so the count of each reason is too.
fn variants(cipher: &Cipher, scheme: &Scheme) -> Vec<Variant> {
    let plain = br#"{"call_id":"c0ffee5b9e7d4a1fa2b3c4d5e6f70812","details":[]}"#;
    let Sealed { text, signed } = cipher.seal(plain);
    let text = text.to_vec();
    let marked = |signed: &str| format!("Is-Encrypted: 1\r\nSigned: {signed}\r\n");
    let good = marked(signed.as_str());
    let mut all: Vec<Variant> = Vec::new();

    // Not base64: another character at each place, text that is cut, other alphabets, a line in the middle.
    for at in 0..text.len() {
        let mut broken = text.clone();
        broken[at] = b"*_-\n \0"[at % 6];
        all.push((good.clone(), broken, "base64"));
    }
    for cut in 1..4 {
        all.push((good.clone(), text[..text.len() - cut].to_vec(), "base64"));
    }
    let bytes = STANDARD.decode(&text).expect("base64");
    let lines = text.chunks(76).collect::<Vec<_>>().join(&b"\r\n"[..]);
    all.push((good.clone(), lines, "base64"));
    let odd = URL_SAFE.encode([0xfb; 48]);
    all.push((good.clone(), odd.into_bytes(), "base64"));

    // Not whole blocks, or nothing at all.
    for bytes in [&bytes[..bytes.len() - 1], &bytes[..15], &bytes[..1], b""] {
        all.push((good.clone(), STANDARD.encode(bytes).into_bytes(), "length"));
    }

    // Altered: each byte of the ciphertext. With CBC the last block's padding breaks, or the digest does.
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        all.push((good.clone(), STANDARD.encode(altered).into_bytes(), "altered"));
    }
    // A digest of something else at each digit, of another length, of another case than hexadecimal, or none.
    for at in 0..64 {
        let mut digits = signed.as_bytes().to_vec();
        digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
        all.push((marked(std::str::from_utf8(&digits).expect("digits")), text.clone(), "digest"));
    }
    for other in [&signed.as_str()[1..], "0", &format!("{}0", signed.as_str()), Signed::of(b"").as_str(), "x y"] {
        all.push((marked(other), text.clone(), "digest"));
    }
    all.push(("Is-Encrypted: 1\r\n".into(), text.clone(), "unsigned"));
    all.push((format!("{good}{good}"), text.clone(), "ambiguous"));
    all.push((format!("{good}Is-Encrypted: 0\r\n"), text.clone(), "ambiguous"));

    // Sealed and signed as it should be, and no JSON.
    let zeros = if *scheme == Scheme::EcbZero { "" } else { "{}\0" };
    for plain in ["", " ", "{", "{}{}", "{'a':1}", "text", "\u{feff}{}", "{\"a\":01}", "[1,]", zeros] {
        let (headers, body) = sealed(cipher, plain);
        all.push((headers, body, "not_json"));
    }
    for plain in [&b"{\"a\":\"\xff\"}"[..], b"\x80", b"{\"a\":\"\xed\xa0\x80\"}"] {
        let (headers, body) = sealed(cipher, plain);
        all.push((headers, body, "not_text"));
    }

    // Not sealed where it has to be.
    for headers in ["", "Is-Encrypted: 0\r\n", "Is-Encrypted: true\r\n"] {
        all.push((headers.into(), plain.to_vec(), "plain"));
        all.push((headers.into(), text.clone(), "plain"));
    }
    all
}

/// The bytes of an answer, but for the date.
fn bytes_of(answer: &Answer) -> (String, Vec<(String, String)>, Vec<u8>) {
    let dated = |(name, _): &&(String, String)| !name.eq_ignore_ascii_case("date");
    (answer.status_line.clone(), answer.headers.iter().filter(dated).cloned().collect(), answer.body.clone())
}

#[test]
fn every_body_that_cannot_be_opened_gets_the_same_bytes() {
    let mut first = None;
    for (encryption, scheme) in schemes() {
        let source = "encryption = \"required\"\nquarantine = 0".to_owned();
        let gateway = Setting { encryption, source, ..Setting::default() }.start();
        let cipher = cipher(&scheme);
        let variants = variants(&cipher, &scheme);
        assert!(variants.len() > 250, "{}", variants.len());
        let mut client = platform(&gateway);
        let mut expected = BTreeMap::new();
        for (headers, body, reason) in &variants {
            let answer = client.post_with(PATH, headers, body);
            let bytes = bytes_of(&answer);
            assert_eq!(bytes, *first.get_or_insert_with(|| bytes.clone()), "{reason} {scheme:?}");
            *expected.entry(*reason).or_insert(0.0) += 1.0;
        }
        assert_eq!(first.as_ref().expect("answers").0, "HTTP/1.1 400 Bad Request");
        assert_eq!(ended(&gateway, "unopened"), variants.len() as f64);
        reasons_add_up(&gateway, expected);
        // The same connection takes a good one after all of them.
        assert_acknowledged(&call_back(&mut client, &sealed(&cipher, SAMPLES[0].1)));
    }
}

/// What was altered is bad padding or a bad digest, as chance has it.
#[track_caller]
fn reasons_add_up(gateway: &Gateway, mut expected: BTreeMap<&str, f64>) {
    let metrics = gateway.metrics();
    let count =
        |reason: &str| metrics.value(&format!("callbacks_unopened_total{{reason=\"{reason}\",source=\"calls\"}}"));
    let altered = expected.remove("altered").expect("there are some");
    let digest = expected.remove("digest").expect("there are some");
    // A zero byte that was padding and is none, or text that became zeros, may leave no text that could be signed.
    assert_eq!(count("padding") + count("digest"), altered + digest, "{expected:?}");
    for (reason, times) in expected {
        assert_eq!(count(reason), times, "{reason}");
    }
}

#[test]
fn the_header_decides_where_the_source_leaves_it_to_it() {
    let gateway = Setting::default().start();
    let (cipher, mut client) = (cipher(&schemes()[0].1), platform(&gateway));
    let plain = |text: &str| (String::new(), text.as_bytes().to_vec());
    assert_acknowledged(&call_back(&mut client, &plain("{}")));
    assert_acknowledged(&call_back(&mut client, &("Is-Encrypted: 0\r\n".into(), b"[]".to_vec())));
    assert_acknowledged(&call_back(&mut client, &sealed(&cipher, "1")));
    for (headers, body) in [sealed(&cipher, "{}"), plain("{}")].map(|(headers, body)| {
        // Sealed without the mark, and marked without a seal.
        if headers.is_empty() { ("Is-Encrypted: 1\r\n".to_owned(), body) } else { (String::new(), body) }
    }) {
        assert_eq!(call_back(&mut client, &(headers, body)).status, 400);
    }
    assert_eq!((ended(&gateway, "stored"), ended(&gateway, "unopened")), (3.0, 2.0));
}

#[test]
fn a_source_without_encryption_ignores_the_header() {
    let gateway = Setting { source: "encryption = \"off\"".into(), ..Setting::default() }.start();
    let (cipher, mut client) = (cipher(&schemes()[0].1), platform(&gateway));
    assert_acknowledged(&call_back(&mut client, &("Is-Encrypted: 1\r\nSigned: 0\r\n".into(), b"{}".to_vec())));
    assert_eq!(call_back(&mut client, &sealed(&cipher, "{}")).status, 400);
}

#[test]
fn a_sealed_callback_of_an_account_without_a_key_cannot_be_opened() {
    let gateway = Setting { encryption: "\"off\"", ..Setting::default() }.start();
    let (cipher, mut client) = (cipher(&schemes()[0].1), platform(&gateway));
    assert_eq!(call_back(&mut client, &sealed(&cipher, "{}")).status, 400);
    assert_eq!(gateway.metric("callbacks_unopened_total{reason=\"no_key\",source=\"calls\"}"), 1.0);
    assert_acknowledged(&call_back(&mut client, &(String::new(), b"{}".to_vec())));
}

#[test]
fn a_stranger_learns_nothing_about_paths() {
    let setting = Setting {
        more: "[[source]]\nname = \"far\"\npath = \"/far\"\nreceivers = []\nallow = [\"192.0.2.0/24\"]".into(),
        ..Setting::default()
    };
    let gateway = setting.start();
    let mut client = platform(&gateway);
    let unknown = client.post("/unknown", "{}");
    assert_eq!(unknown.status, 404);
    for path in ["/far", "/", "/callbacks", &PATH[..PATH.len() - 1], &format!("{PATH}/"), "//far", "/far?x=1"] {
        assert_eq!(bytes_of(&platform(&gateway).post(path, "{}")), bytes_of(&unknown), "{path}");
    }
    // Another method is refused before the path is looked at.
    let mut refused = Vec::new();
    for path in [PATH, "/far", "/unknown"] {
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "post"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\n\r\n");
            refused.push(bytes_of(&platform(&gateway).send(request).answer()));
        }
    }
    assert_eq!(refused[0].0, "HTTP/1.1 405 Method Not Allowed");
    assert!(refused.iter().all(|answer| *answer == refused[0]));
    let head = platform(&gateway).send(format!("HEAD {PATH} HTTP/1.1\r\nHost: gateway\r\n\r\n")).answer_to_head();
    assert_eq!((head.status, head.header("allow")), (405, Some("POST")));
    // A query is no part of a path.
    assert_acknowledged(&platform(&gateway).post(&format!("{PATH}?from=platform"), "{}"));
    assert_eq!(gateway.metric("callbacks_total{outcome=\"refused\",source=\"-\"}"), 27.0);
}
