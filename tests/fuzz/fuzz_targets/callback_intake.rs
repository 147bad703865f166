//! Whatever is called back: in whatever pieces, the same becomes of it; only a body that opens, as its source asks for it, to
//! JSON ever gets to the inbox; and whether a receiver takes it is what the JSON says.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::LazyLock;

use airudder_gateway::config::{Config, Iv, Scheme, When};
use airudder_gateway::envelope::{Cipher, OpenError};
use airudder_gateway::fuzzing::{Intake, condition_holds};
use airudder_gateway::secret::Secret;
use airudder_gateway_fuzz::{Input, block_on, leaves_timers};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

const CONFIG: &str = r#"
[outbound]
listen = "127.0.0.1:0"
[inbound]
listen = "127.0.0.1:0"
trusted_proxies = ["10.0.0.0/8"]
[inbox]
path = "inbox.db"
key = { env = "INBOX_KEY" }
[[account]]
name = "main"
app_key = { env = "APP_KEY" }
app_secret = { env = "APP_SECRET" }
encryption = { scheme = "aes-ecb-zero", key = { env = "AES_KEY" } }
[[account]]
name = "other"
app_key = { env = "APP_KEY" }
app_secret = { env = "APP_SECRET" }
encryption = { scheme = "aes-cbc-pkcs7", iv = "prefix", key = { env = "AES_KEY" } }
[[receiver]]
name = "all"
url = "http://127.0.0.1:9/"
[[receiver]]
name = "some"
url = "http://127.0.0.1:9/"
when = { pointer = "/details/0/result", equals = "unanswered" }
[[source]]
name = "required"
path = "/callbacks/required-7f1c9a2e5d8b4c60"
account = "main"
encryption = "required"
receivers = ["all", "some"]
[[source]]
name = "auto"
path = "/callbacks/auto-7f1c9a2e5d8b4c60"
account = "other"
encryption = "auto"
receivers = ["some"]
[[source]]
name = "off"
path = "/callbacks/off-7f1c9a2e5d8b4c60"
account = "main"
encryption = "off"
receivers = ["all"]
allow = ["10.0.0.0/8", "203.0.113.0/24"]
"#;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

static INTAKE: LazyLock<Intake> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("gateway-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let env = |name: &str| {
        let value = if name == "AES_KEY" { "airudderredduria" } else { "thirty-two bytes and some more of it" };
        Some(value.into())
    };
    let config = Config::parse(CONFIG, Path::new(&folder), env).expect("a configuration");
    let intake = Intake::try_new(&config).expect("an intake");
    // The inbox is closed: nobody opens its file again.
    let _ = std::fs::remove_dir_all(&folder);
    intake
});

static CIPHERS: LazyLock<[Cipher; 2]> = LazyLock::new(|| {
    [Scheme::EcbZero, Scheme::CbcPkcs7(Iv::Prefix)]
        .map(|scheme| Cipher::try_new(&scheme, &Secret::new("airudderredduria")).expect("a key"))
});

const WHOLE: usize = usize::MAX >> 1;

/// Bytes as they came.
fn any_bytes(sent: &[u8], fragment: usize) {
    let (taken, end) = block_on(INTAKE.take(sent, WHOLE, PEER));
    assert_eq!(block_on(INTAKE.take(sent, fragment, PEER)), (taken.clone(), end));
    for taken in taken {
        // The inbox is closed, so nothing is acknowledged, whatever was sent.
        assert!((400..=503).contains(&taken.status), "{taken:?}");
        assert_eq!(taken.status == 503, taken.reason == "closed", "{taken:?}");
        assert_eq!(taken.kind.is_some(), taken.reason == "closed", "{taken:?}");
    }
}

/// Why this text would not be stored; `closed`: it would.
fn judged(plain: &[u8]) -> &'static str {
    let Ok(text) = str::from_utf8(plain) else { return OpenError::NotText.reason() };
    if serde_json::from_str::<IgnoredAny>(text).is_ok() { "closed" } else { "not_json" }
}

/// A whole callback, sealed or not, perhaps changed on the way, with markers that fit or do not.
fn callback(mut input: Input<'_>, fragment: usize) {
    let (source, marker, signature) = (input.below(3), input.below(5), input.below(5));
    let seals = input.byte() & 1 == 1;
    let mut changes = Input(input.some());
    let (cipher, plain) = (&CIPHERS[source % 2], input.0);
    let sealed = cipher.seal(plain);
    let mut body = if seals { sealed.text.to_vec() } else { plain.to_vec() };
    changes.tamper(&mut body);
    let signed = sealed.signed.as_str();
    let path = ["/callbacks/required", "/callbacks/auto", "/callbacks/off"][source];
    let mut head = format!("POST {path}-7f1c9a2e5d8b4c60 HTTP/1.1\r\nHost: g\r\nX-Forwarded-For: 203.0.113.9\r\n");
    head += [
        "",
        "Is-Encrypted: 1\r\n",
        "is-encrypted:  1 \r\n",
        "Is-Encrypted: 0\r\n",
        "Is-Encrypted: 1\r\nIs-Encrypted: 1\r\n",
    ][marker];
    let shown = match signature {
        0 => String::new(),
        1 => format!("Signed: {signed}\r\n"),
        2 => format!("signed: {}\r\n", signed.to_ascii_uppercase()),
        3 => format!("Signed: {}\r\n", signed.replace('0', "1")),
        _ => format!("Signed: {signed}\r\nSigned: {signed}\r\n"),
    };
    head += &shown;
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    let mut sent = head.into_bytes();
    sent.extend_from_slice(&body);

    let marks = match (marker, signature) {
        (4, _) | (_, 4) => None,
        (1 | 2, _) => Some(true),
        _ => Some(false),
    };
    let value = match signature {
        0 | 4 => String::new(),
        1 => signed.to_owned(),
        2 => signed.to_ascii_uppercase(),
        _ => signed.replace('0', "1"),
    };
    let expected = match (source, marks) {
        (2, _) => judged(&body),
        (_, None) => "ambiguous",
        (0, Some(false)) => "plain",
        (_, Some(false)) => judged(&body),
        (_, Some(true)) => match cipher.open(&body, value.as_bytes()) {
            Ok(plain) => judged(&plain),
            Err(OpenError::Digest) if signature == 0 => "unsigned",
            Err(error) => error.reason(),
        },
    };
    let (taken, _) = block_on(INTAKE.take(&sent, fragment, PEER));
    let [taken] = taken.as_slice() else { panic!("{taken:?}") };
    assert_eq!(taken.reason, expected);
    assert_eq!(taken.status, if expected == "closed" { 503 } else { 400 });
    assert_eq!(taken.outcome, if expected == "closed" { "unavailable" } else { "unopened" });
    assert_eq!(taken.source, ["required", "auto", "off"][source]);
}

fn are_equal(found: &Value, asked: &Value) -> bool {
    match (found, asked) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are_equal(a, b)),
        (a, b) => a == b,
    }
}

/// Whether a condition holds is what a whole reading of the JSON says.
fn condition(mut input: Input<'_>) {
    let equals = [json!(null), json!(true), json!(1), json!(1.0), json!(-2), json!("a"), json!([1, "a"]), json!([])]
        [input.below(8)]
    .clone();
    let Ok(pointer) = str::from_utf8(input.some()) else { return };
    // As the configuration takes it.
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return;
    }
    // Nothing else is ever asked: a body that is no JSON is refused before.
    let Ok(text) = str::from_utf8(input.0) else { return };
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return;
    }
    let holds = condition_holds(&When { pointer: pointer.to_owned(), equals: equals.clone() }, text);
    // What is too deep to be built in memory may still be walked.
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let found = value.pointer(pointer);
        assert_eq!(holds, found.is_some_and(|found| are_equal(found, &equals)), "{pointer} {equals} {text}");
    }
}

fuzz_target!(|data: &[u8]| {
    leaves_timers(|| {
        let mut input = Input(data);
        let (mode, fragment) = (input.below(4), input.fragment());
        match mode {
            0 => any_bytes(input.0, fragment),
            3 => condition(input),
            _ => callback(input, fragment),
        }
    });
});
