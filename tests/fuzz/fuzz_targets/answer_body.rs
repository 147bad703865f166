//! Whatever the platform answers: a sealed text opens to what was sealed, packed or not and in whatever pieces, within its
//! limit; the code at the top is the one that a whole reading of the JSON finds.
#![no_main]

use std::io::Write as _;
use std::sync::LazyLock;

use airudder_gateway::config::Scheme;
use airudder_gateway::envelope::Cipher;
use airudder_gateway::fuzzing::{code_of, unpack};
use airudder_gateway::secret::Secret;
use airudder_gateway_fuzz::{Input, leaves_nothing};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static CIPHER: LazyLock<Cipher> =
    LazyLock::new(|| Cipher::try_new(&Scheme::EcbZero, &Secret::new("airudderredduria")).expect("a key"));

fn packed(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text).expect("memory");
    packer.finish().expect("memory")
}

/// By reading all of it; `None` also where a field stands twice, of which nobody says which one counts.
fn read_code(body: &[u8]) -> Option<i64> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let code = match value.get("code") {
        None | Some(Value::Null) => return value.get("retcode").and_then(Value::as_i64),
        Some(code) => code,
    };
    code.as_i64().or_else(|| code.as_str()?.parse().ok())
}

fn check_code(body: &[u8]) {
    let found = code_of(body);
    let times = |word: &[u8]| body.windows(word.len()).filter(|window| *window == word).count();
    let escapes = body.contains(&b'\\');
    if let (Some(found), false) = (found, escapes) {
        // What it finds without parsing is what parsing finds, wherever the text is JSON and says it once.
        if serde_json::from_slice::<Value>(body).is_ok() && times(b"\"code\"") + times(b"\"retcode\"") == 1 {
            if let Some(read) = read_code(body) {
                assert_eq!(found, read);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    leaves_nothing(|| {
        let mut input = Input(data);
        let (mode, fragment) = (input.below(4), input.fragment());
        match mode {
            0 => check_code(input.0),
            1 => {
                // Whatever it is, in pieces or whole.
                let (signed, text) = (input.some(), input.0);
                let whole = unpack(&CIPHER, text, signed, usize::MAX, 4096, true);
                assert_eq!(unpack(&CIPHER, text, signed, fragment, 4096, true).is_ok(), whole.is_ok());
                let whole = unpack(&CIPHER, text, signed, usize::MAX, 4096, false);
                assert_eq!(unpack(&CIPHER, text, signed, fragment, 4096, false), whole);
            }
            _ => {
                let mut changes = Input(input.some());
                let plain = input.0;
                if plain.ends_with(&[0]) {
                    return;
                }
                let sealed = CIPHER.seal(plain);
                let signed = sealed.signed.as_bytes();
                let gzip = packed(&sealed.text);
                let most = sealed.text.len().max(gzip.len());
                assert_eq!(unpack(&CIPHER, &gzip, signed, fragment, most, true).as_deref(), Ok(plain));
                assert_eq!(unpack(&CIPHER, &sealed.text, signed, fragment, most, false).as_deref(), Ok(plain));
                let short = sealed.text.len() - 1;
                assert_eq!(unpack(&CIPHER, &gzip, signed, fragment, short, true), Err("too_large"));
                assert_eq!(unpack(&CIPHER, &sealed.text, signed, fragment, short, false), Err("too_large"));
                let mut changed = gzip;
                changes.tamper(&mut changed);
                if let Ok(opened) = unpack(&CIPHER, &changed, signed, fragment, most, true) {
                    assert_eq!(opened, plain);
                }
            }
        }
    });
});
