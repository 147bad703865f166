//! Sealing and opening against the published vectors, whatever the length and however the text is cut, and each fault by name.
//! Without another library: what OpenSSL makes of the same is compared through the front door.

use super::*;
use crate::config::{Iv, Scheme};
use crate::envelope::{Sealed, Signed};
use crate::secret::Secret;

const PIECES: [usize; 9] = [1, 7, 47, 48, 63, 64, 65, 1000, usize::MAX];

fn cipher(scheme: Scheme, key: &str) -> Cipher {
    Cipher::try_new(&scheme, &Secret::new(key)).expect("a key")
}

fn schemes() -> [Scheme; 3] {
    [Scheme::EcbZero, Scheme::CbcPkcs7(Iv::Fixed(*b"0102030405060708")), Scheme::CbcPkcs7(Iv::Prefix)]
}

fn seal(cipher: &Cipher, plain: &[u8], piece: usize) -> Sealed {
    let mut sealer = cipher.sealer(None);
    plain.chunks(piece).for_each(|piece| sealer.push(piece));
    sealer.finish()
}

fn open(cipher: &Cipher, text: &[u8], signed: &[u8], piece: usize) -> Result<Vec<u8>, OpenError> {
    let mut opener = cipher.opener(None);
    text.chunks(piece).try_for_each(|piece| opener.push(piece))?;
    opener.finish(signed)
}

#[test]
fn the_published_vectors_seal_and_open_in_whatever_pieces() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/data/vectors.json")).expect("JSON");
    for (family, has_iv) in [("aes_ecb_zero", false), ("aes_cbc_pkcs7", true)] {
        for vector in vectors[family].as_array().expect("a list") {
            let field = |name: &str| vector[name].as_str().expect("text");
            let scheme = match has_iv {
                true => Scheme::CbcPkcs7(Iv::Fixed(field("iv").as_bytes().try_into().expect("16 bytes"))),
                false => Scheme::EcbZero,
            };
            let cipher = cipher(scheme, field("key"));
            let (plain, text, signed) = (field("plaintext"), field("ciphertext_base64"), field("signed"));
            for piece in PIECES {
                let sealed = seal(&cipher, plain.as_bytes(), piece);
                assert_eq!((&sealed.text[..], sealed.signed.as_str()), (text.as_bytes(), signed), "{family} {piece}");
                let opened = open(&cipher, text.as_bytes(), signed.as_bytes(), piece);
                assert_eq!(opened.as_deref(), Ok(plain.as_bytes()), "{family} {piece}");
            }
            assert_eq!(cipher.seal(plain.as_bytes()).text, text);
            assert_eq!(cipher.open_text(text.as_bytes(), signed.as_bytes()).as_deref(), Ok(plain));
        }
    }
}

/// Longer than a batch, with every rest that a block, a group and a step leave, under each length of a key.
#[test]
fn what_is_sealed_opens_whatever_its_length() {
    for scheme in schemes() {
        for key in ["airudderredduria", "a key of twenty-four byt", "a key of thirty-two bytes, 32 of"] {
            let cipher = cipher(scheme.clone(), key);
            for length in (0..200).chain([BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 17, 5 * BATCH + 191]) {
                let plain: Vec<u8> = (0..length).map(|at| (at % 251 + 1) as u8).collect();
                let whole = cipher.seal(&plain);
                for piece in [1 + length / 3, 48, usize::MAX] {
                    let sealed = seal(&cipher, &plain, piece);
                    assert_eq!(sealed.signed, Signed::of(&plain));
                    assert!(scheme == Scheme::CbcPkcs7(Iv::Prefix) || sealed.text == whole.text, "{length} {piece}");
                    let opened = open(&cipher, &sealed.text, sealed.signed.as_bytes(), piece);
                    assert_eq!(opened.as_ref(), Ok(&plain), "{scheme:?} {length} {piece}");
                    let mut opener = cipher.opener(Some(sealed.text.len()));
                    let room = opener.plain.capacity();
                    assert!(room >= length, "{room} for {length}");
                    opener.push(&sealed.text).expect("base64");
                    assert_eq!(opener.plain.capacity(), room, "one allocation");
                    assert_eq!(opener.finish(sealed.signed.as_bytes()).as_ref(), Ok(&plain));
                }
            }
        }
    }
}

#[test]
fn the_digest_keeps_up_with_the_text() {
    for (scheme, padding) in schemes().into_iter().zip([0, BLOCK, BLOCK]) {
        let cipher = cipher(scheme, "airudderredduria");
        let mut opener = cipher.opener(None);
        for piece in cipher.seal(&[b'p'; 20 * BATCH]).text.chunks(BATCH) {
            opener.push(piece).expect("base64");
            let Opener { hashed, settled, decrypted, ref plain, .. } = opener;
            assert!(hashed <= settled && settled + padding <= decrypted.max(padding), "{hashed} {settled} {decrypted}");
            assert!(hashed.is_multiple_of(HASH_BLOCK) && hashed + 2 * BATCH + STEP >= plain.len());
        }
        assert!(format!("{opener:?}").ends_with(" bytes)"));
    }
}

#[test]
fn zeros_at_the_end_are_padding_however_many() {
    let cipher = cipher(Scheme::EcbZero, "airudderredduria");
    for zeros in [1, 15, 16, 17, 64, BATCH - 1, BATCH, 2 * BATCH, 100_000] {
        for before in [0, 1, 16, 100, BATCH] {
            let mut plain = vec![b'a'; before];
            plain.resize(before + zeros, 0);
            let text = cipher.seal(&plain).text;
            let signed = Signed::of(&plain[..before]);
            plain.push(b'z');
            let sealed = cipher.seal(&plain);
            for piece in [1000, usize::MAX] {
                let opened = open(&cipher, &text, signed.as_bytes(), piece);
                assert_eq!(opened.as_deref(), Ok(&plain[..before]), "{before} and {zeros}");
                let opened = open(&cipher, &sealed.text, sealed.signed.as_bytes(), piece);
                assert_eq!(opened.as_ref(), Ok(&plain), "{before}, {zeros} and a byte");
            }
        }
    }
}

#[test]
fn each_fault_has_its_error_in_whatever_pieces() {
    use OpenError::{Base64, Digest, Length, Padding};
    let [ecb, cbc, prefix] = schemes().map(|scheme| cipher(scheme, "airudderredduria"));
    let plain = b"TaskID=69f531a01a9df58aa6de2487be610abb";
    let signed = Signed::of(plain);
    let text = |cipher: &Cipher| String::from_utf8(cipher.seal(plain).text.to_vec()).expect("base64");
    let (e, c, p) = (text(&ecb), text(&cbc), text(&prefix));
    let b64 = |bytes: &[u8]| BASE64.encode_to_string(bytes);
    // A last block that decrypts to these bytes: the IV makes it so.
    let padded = |block: &[u8; 16]| {
        let key = ecb.schedule();
        let mut sealed = [Block::default()];
        let iv = Block::from(*b"0102030405060708");
        key.encrypt(&mut Chain::Cbc(iv), &[Block::from(*block)], &mut sealed);
        b64(&sealed[0])
    };
    for (cipher, text, expected) in [
        (&ecb, String::new(), Length),
        (&cbc, "\r\n".into(), Length),
        (&prefix, b64(&[1; 16]), Length),
        (&prefix, b64(&[1; 15]), Length),
        (&ecb, b64(&[1; 17]), Length),
        (&cbc, b64(&[1; 65]), Length),
        (&ecb, e[..40].into(), Length),
        (&ecb, e[1..].into(), Base64),
        (&ecb, format!("*{}", &e[1..]), Base64),
        (&ecb, format!("{}\n{}", &e[..32], &e[32..]), Base64),
        (&ecb, format!("{e}\n{e}"), Base64),
        (&ecb, format!("{e}\t"), Base64),
        (&ecb, b64(&[1; 16]).replace('=', ""), Base64),
        (&ecb, format!("{0}{0}", b64(&[1; 16])), Base64),
        (&ecb, format!("{0}{0}", b64(&[1; 1024])), Base64),
        (&ecb, b64(&[1; 16]).replace("Q==", "R=="), Base64),
        (&ecb, b64(&[1; 47]), Base64),
        (&cbc, padded(b"aaaaaaaaaaaaaaa\x00"), Padding),
        (&cbc, padded(b"aaaaaaaaaaaaaaa\x11"), Padding),
        (&cbc, padded(&[17; 16]), Padding),
        (&cbc, padded(b"aaaaaaaaaaaaaa\x01\x02"), Padding),
        (&cbc, padded(b"\x0f\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10"), Padding),
        (&cbc, padded(&[16; 16]), Digest),
        (&cbc, e.clone(), Padding),
        (&ecb, c.clone(), Digest),
        (&prefix, c.clone(), Digest),
        (&prefix, format!("{}{}", if p.starts_with('A') { 'B' } else { 'A' }, &p[1..]), Digest),
    ] {
        for piece in PIECES {
            assert_eq!(open(cipher, text.as_bytes(), signed.as_bytes(), piece), Err(expected), "{text:?} {piece}");
        }
    }
    for tolerated in [format!(" \r\n{e}"), format!("{e}\r\n \n"), format!("\n{e} ")] {
        for piece in PIECES {
            assert_eq!(open(&ecb, tolerated.as_bytes(), signed.as_bytes(), piece).as_deref(), Ok(&plain[..]));
        }
    }
    assert_eq!(ecb.open(e.as_bytes(), b""), Err(Digest));
    let mut opener = ecb.opener(None);
    assert_eq!((opener.push(&[b'*'; 64]), opener.push(e.as_bytes())), (Err(Base64), Err(Base64)));
    assert_eq!(opener.finish(signed.as_bytes()), Err(Base64));
    let sealed = ecb.seal(b"\xff");
    assert_eq!(ecb.open_text(&sealed.text, sealed.signed.as_bytes()), Err(OpenError::NotText));
}
