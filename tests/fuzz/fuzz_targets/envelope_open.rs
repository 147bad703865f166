//! Whatever is opened: whole and in pieces it comes to the same; what opens is what was signed; what was sealed opens.
#![no_main]

use std::sync::LazyLock;

use airudder_gateway::config::{Iv, Scheme};
use airudder_gateway::envelope::{Cipher, OpenError, Signed, sealed_len};
use airudder_gateway::secret::Secret;
use airudder_gateway_fuzz::{Input, leaves_nothing};
use libfuzzer_sys::fuzz_target;

static CIPHERS: LazyLock<Vec<(Scheme, Cipher)>> = LazyLock::new(|| {
    let schemes = [Scheme::EcbZero, Scheme::CbcPkcs7(Iv::Fixed([7; 16])), Scheme::CbcPkcs7(Iv::Prefix)];
    let keys = ["airudderredduria", "a key of twenty-four byt", "a key of thirty-two bytes, 32 of"];
    let all = schemes.iter().flat_map(|scheme| keys.map(|key| (scheme.clone(), key)));
    all.map(|(scheme, key)| {
        let cipher = Cipher::try_new(&scheme, &Secret::new(key)).expect("a key");
        (scheme, cipher)
    })
    .collect()
});

fn in_pieces(cipher: &Cipher, text: &[u8], signed: &[u8], fragment: usize, told: bool) -> Result<Vec<u8>, OpenError> {
    let mut opener = cipher.opener(told.then_some(text.len()));
    for piece in text.chunks(fragment) {
        opener.push(piece)?;
    }
    opener.finish(signed)
}

/// A text as it came.
fn any_text(cipher: &Cipher, fragment: usize, told: bool, mut input: Input<'_>) {
    let signed = input.some();
    let text = input.0;
    let opened = cipher.open(text, signed);
    assert_eq!(in_pieces(cipher, text, signed, fragment, told), opened);
    if let Ok(plain) = &opened {
        assert!(Signed::of(plain).matches(signed));
    }
    let as_text = cipher.open_text(text, signed);
    match opened {
        Err(error) => assert_eq!(as_text, Err(error)),
        Ok(plain) => assert_eq!(as_text, String::from_utf8(plain).map_err(|_| OpenError::NotText)),
    }
}

/// What was sealed, and perhaps changed on the way.
fn sealed_text(scheme: &Scheme, cipher: &Cipher, fragment: usize, told: bool, mut input: Input<'_>) {
    let mut changes = Input(input.some());
    let plain = input.0;
    let sealed = cipher.seal(plain);
    assert_eq!(sealed.text.len(), sealed_len(scheme, plain.len()));
    assert_eq!(sealed.signed, Signed::of(plain));
    let mut sealer = cipher.sealer(told.then_some(plain.len()));
    plain.chunks(fragment).for_each(|piece| sealer.push(piece));
    let again = sealer.finish();
    assert_eq!(again.signed, sealed.signed);
    if *scheme != Scheme::CbcPkcs7(Iv::Prefix) {
        assert_eq!(again.text, sealed.text);
    }
    // Zeros at the end cannot be told from padding, so what was signed is not what is left.
    let expected = match scheme {
        Scheme::EcbZero if plain.ends_with(&[0]) => Err(OpenError::Digest),
        _ => Ok(plain.to_vec()),
    };
    for text in [&sealed.text, &again.text] {
        assert_eq!(cipher.open(text, sealed.signed.as_bytes()), expected);
        assert_eq!(in_pieces(cipher, text, sealed.signed.as_bytes(), fragment, told), expected);
    }
    assert!(cipher.open(&sealed.text, b"").is_err());

    let (mut text, mut signed) = (sealed.text.to_vec(), sealed.signed.as_bytes().to_vec());
    changes.tamper(&mut text);
    changes.tamper(&mut signed);
    let opened = cipher.open(&text, &signed);
    assert_eq!(in_pieces(cipher, &text, &signed, fragment, told), opened);
    if let Ok(opened) = opened {
        assert!(Signed::of(&opened).matches(&signed));
        // Nobody finds a second text of one digest.
        if signed.eq_ignore_ascii_case(sealed.signed.as_bytes()) {
            assert_eq!(opened, plain);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    leaves_nothing(|| {
        let mut input = Input(data);
        let (scheme, cipher) = &CIPHERS[input.below(CIPHERS.len())];
        let (fragment, how) = (input.fragment(), input.byte());
        match how & 1 {
            0 => any_text(cipher, fragment, how & 2 == 0, input),
            _ => sealed_text(scheme, cipher, fragment, how & 2 == 0, input),
        }
    });
});
