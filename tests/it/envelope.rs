//! The envelope against the published vectors, against OpenSSL, and against bad input.

#![expect(clippy::expect_used, reason = "a helper of a test that cannot go on stops the test")]

use airudder_gateway::config::{Iv, Scheme};
use airudder_gateway::envelope::{Cipher, OpenError, Sealed, Signed, into_text, sealed_len};
use airudder_gateway::secret::Secret;
use openssl::symm::{self, Crypter, Mode};

use crate::support::Random;

const CHUNKS: [usize; 6] = [1, 7, 16, 47, 48, 49];
const KEY: &[u8; 16] = b"airudderredduria";
const FIXED_IV: [u8; 16] = *b"0102030405060708";

#[test]
fn the_vectors_seal_and_open_whole_and_in_pieces() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../data/vectors.json")).expect("vectors.json is JSON");
    let mut count = 0;
    for (family, needs_iv) in [("aes_ecb_zero", false), ("aes_cbc_pkcs7", true)] {
        for vector in vectors[family].as_array().expect("a list of vectors") {
            let field = |name: &str| vector[name].as_str().unwrap_or_else(|| panic!("{family} has no {name}"));
            let scheme = if needs_iv {
                Scheme::CbcPkcs7(Iv::Fixed(field("iv").as_bytes().try_into().expect("an IV of 16 bytes")))
            } else {
                Scheme::EcbZero
            };
            let cipher = Cipher::try_new(&scheme, &Secret::new(field("key"))).expect("a key of the vectors");
            let (plain, text, signed) = (field("plaintext"), field("ciphertext_base64"), field("signed"));

            for chunk in CHUNKS.into_iter().chain([usize::MAX]) {
                let sealed = seal(&cipher, plain.as_bytes(), || chunk);
                assert_eq!(std::str::from_utf8(&sealed.text), Ok(text), "{family}, pieces of {chunk}");
                assert_eq!(sealed.signed.as_str(), signed, "{family}, pieces of {chunk}");
                let opened = open(&cipher, text.as_bytes(), signed.as_bytes(), || chunk);
                assert_eq!(opened.as_deref(), Ok(plain.as_bytes()), "{family}, pieces of {chunk}");
            }
            assert_eq!(cipher.open_text(text.as_bytes(), signed.as_bytes()).as_deref(), Ok(plain));
            assert_eq!(sealed_len(&scheme, plain.len()), text.len());
            assert_eq!(Signed::of(plain.as_bytes()).as_str(), signed);
            count += 1;
        }
    }
    assert_eq!(count, 9, "every vector of the file was tried");
}

/// Random keys, lengths, contents and pieces: what is sealed here is what OpenSSL seals, byte for byte, and what
/// OpenSSL sealed opens here.
#[test]
fn a_hundred_thousand_random_cases_agree_with_openssl() {
    let mut random = Random::new();
    for case in 0..100_000 {
        let key_len = [16, 24, 32][random.below(3)];
        let key = random.bytes(key_len);
        let scheme = random.scheme();
        let cipher = Cipher::try_new(&scheme, &Secret::new(key.clone())).expect("a key of a legal size");
        let longest = if random.below(500) == 0 { 70_000 } else { 600 };
        let plain = random.plain(longest);
        let seed = random.seed;
        let context = |what| format!("{what}: seed {seed:#x}, case {case}, {scheme:?}, {} bytes", plain.len());

        let sealed = seal(&cipher, &plain, random.pieces());
        let (iv, mut bytes) = match &scheme {
            Scheme::EcbZero => (None, Vec::new()),
            Scheme::CbcPkcs7(Iv::Fixed(iv)) => (Some(*iv), Vec::new()),
            Scheme::CbcPkcs7(Iv::Prefix) => {
                let start = std::str::from_utf8(&sealed.text[..24]).expect("base64");
                let start = openssl::base64::decode_block(start).expect("base64");
                (start.first_chunk().copied(), start[..16].to_vec())
            }
        };
        bytes.extend(openssl_encrypt(&key, iv, &plain));
        let text = openssl::base64::encode_block(&bytes);
        let signed = hex(&openssl::sha::sha256(&plain));
        assert_eq!(sealed.text, text.as_bytes(), "{}", context("text"));
        assert_eq!(sealed.signed.as_str(), signed, "{}", context("signature"));
        assert_eq!(text.len(), sealed_len(&scheme, plain.len()), "{}", context("length"));

        let opened = open(&cipher, text.as_bytes(), signed.as_bytes(), random.pieces());
        // Zero padding cannot be told from a plaintext's own zeros at its end: such a plaintext never opens.
        let expected = match (&scheme, plain.last()) {
            (Scheme::EcbZero, Some(0)) => Err(OpenError::Digest),
            _ => Ok(&plain[..]),
        };
        assert_eq!(as_slice(&opened), expected, "{}", context("open"));
    }
}

#[test]
fn zeros_inside_a_plaintext_stay_and_zeros_at_its_end_are_padding() {
    let cipher = cipher(Scheme::EcbZero);
    for zeros in [1, 15, 16, 17, 63, 64, 65, 3071, 3072, 3073, 100_000] {
        for before in [0, 1, 16, 64, 100] {
            let mut plain = vec![b'a'; before];
            plain.resize(before + zeros, 0);
            // Padding however long is stripped, so the signature is of what stands before it.
            let text = cipher.seal(&plain).text;
            for chunk in [1000, usize::MAX] {
                let opened = open(&cipher, &text, Signed::of(&plain[..before]).as_bytes(), || chunk);
                assert_eq!(opened.as_deref(), Ok(&plain[..before]), "{before} and {zeros} zeros");
            }
            plain.push(b'z');
            let sealed = cipher.seal(&plain);
            for chunk in [1000, usize::MAX] {
                let opened = open(&cipher, &sealed.text, sealed.signed.as_bytes(), || chunk);
                assert_eq!(opened.as_deref(), Ok(&plain[..]), "{before}, {zeros} zeros and a byte");
            }
        }
    }
}

#[test]
fn a_text_opens_without_the_extra_zero_block_too() {
    let plain = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let bytes = &openssl_encrypt(KEY, None, plain)[..plain.len()];
    let text = openssl::base64::encode_block(bytes);
    let signed = Signed::of(plain);
    assert_eq!(cipher(Scheme::EcbZero).open(text.as_bytes(), signed.as_bytes()).as_deref(), Ok(&plain[..]));
}

#[test]
fn a_prefixed_iv_is_never_used_twice() {
    let cipher = cipher(Scheme::CbcPkcs7(Iv::Prefix));
    let texts: std::collections::HashSet<_> = (0..1000).map(|_| cipher.clone().seal(b"same").text).collect();
    assert_eq!(texts.len(), 1000);
}

#[test]
fn spaces_and_line_ends_around_a_text_are_tolerated_and_nothing_else() {
    for scheme in schemes() {
        let cipher = cipher(scheme);
        for len in [5, 40, 2000] {
            let plain = vec![b'p'; len];
            let Sealed { text, signed } = cipher.seal(&plain);
            let text = std::str::from_utf8(&text).expect("base64");
            let (one, two) = text.split_at(text.len() / 2);
            for (text, tolerated) in [
                (format!("{text}\n"), true),
                (format!("{text}\r\n"), true),
                (format!(" \r\n{text} \n \n"), true),
                (format!("{one}\n{two}"), false),
                (format!("{one} {two}"), false),
                (format!("{text}\n{text}"), false),
                (format!("{text}\t"), false),
                (format!("\u{feff}{text}"), false),
                (format!("\"{text}\""), false),
                (format!("{text}\0"), false),
            ] {
                for chunk in CHUNKS.into_iter().chain([usize::MAX]) {
                    let opened = open(&cipher, text.as_bytes(), signed.as_bytes(), || chunk);
                    let expected = if tolerated { Ok(&plain[..]) } else { Err(OpenError::Base64) };
                    assert_eq!(as_slice(&opened), expected, "{text:?} in pieces of {chunk}");
                }
            }
        }
    }
}

#[test]
fn malformed_input_is_an_error_of_its_kind() {
    use OpenError::{Base64, Digest, Length, Padding};
    let ecb = cipher(Scheme::EcbZero);
    let cbc = cipher(Scheme::CbcPkcs7(Iv::Fixed(FIXED_IV)));
    let prefix = cipher(Scheme::CbcPkcs7(Iv::Prefix));
    let plain = b"TaskID=69f531a01a9df58aa6de2487be610abb";
    let signed = Signed::of(plain);
    let text = |cipher: &Cipher| String::from_utf8(cipher.seal(plain).text.to_vec()).expect("base64");
    let (e, c, p) = (text(&ecb), text(&cbc), text(&prefix));
    let b64 = |bytes: &[u8]| openssl::base64::encode_block(bytes);
    // A last block that decrypts to these bytes.
    let padded = |block: &[u8; 16]| b64(&openssl_blocks(symm::Cipher::aes_128_cbc(), KEY, Some(FIXED_IV), block));

    for (name, cipher, text, expected) in [
        ("nothing", &ecb, String::new(), Length),
        ("nothing, CBC", &cbc, String::new(), Length),
        ("nothing, prefixed IV", &prefix, String::new(), Length),
        ("only a line end", &ecb, "\r\n".into(), Length),
        ("only an IV", &prefix, b64(&[1; 16]), Length),
        ("a part of an IV", &prefix, b64(&[1; 15]), Length),
        ("a byte", &ecb, b64(&[1]), Length),
        ("15 bytes", &cbc, b64(&[1; 15]), Length),
        ("17 bytes", &ecb, b64(&[1; 17]), Length),
        ("65 bytes", &cbc, b64(&[1; 65]), Length),
        ("a letter too few", &ecb, e[1..].into(), Base64),
        ("cut in the middle of a quantum", &ecb, e[..30].into(), Base64),
        ("cut in the middle of a block", &ecb, e[..40].into(), Length),
        ("cut after a block", &ecb, b64(&openssl_encrypt(KEY, None, plain)[..32]), Digest),
        ("not of the alphabet", &ecb, format!("*{}", &e[1..]), Base64),
        ("the alphabet of URLs", &ecb, e.replace(['+', '/'], "-"), Base64),
        ("not ASCII", &cbc, format!("é{}", &c[2..]), Base64),
        ("a line end inside", &ecb, format!("{}\n{}", &e[..32], &e[32..]), Base64),
        ("no padding characters", &ecb, b64(&[1; 16]).replace('=', ""), Base64),
        ("too many padding characters", &ecb, format!("{e}===="), Base64),
        ("three padding characters", &ecb, "A===".into(), Base64),
        ("only padding characters", &ecb, "====".into(), Base64),
        ("padding characters inside", &ecb, format!("{}=={}", &e[..30], &e[32..]), Base64),
        ("two texts in one", &ecb, format!("{0}{0}", b64(&[1; 16])), Base64),
        ("two long texts in one", &ecb, format!("{0}{0}", b64(&[1; 1024])), Base64),
        ("bits after the end", &ecb, b64(&[1; 16]).replace("Q==", "R=="), Base64),
        ("ends with padding at 64 characters", &ecb, b64(&[1; 47]), Base64),
        ("PKCS#7 of zero", &cbc, padded(b"aaaaaaaaaaaaaaa\x00"), Padding),
        ("PKCS#7 of 17", &cbc, padded(b"aaaaaaaaaaaaaaa\x11"), Padding),
        ("PKCS#7 of 17, in the whole block", &cbc, padded(&[17; 16]), Padding),
        ("PKCS#7 of 255", &cbc, padded(b"aaaaaaaaaaaaaaa\xff"), Padding),
        ("PKCS#7 that disagrees", &cbc, padded(b"aaaaaaaaaaaaaa\x01\x02"), Padding),
        (
            "PKCS#7 that disagrees at its start",
            &cbc,
            padded(b"\x0f\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10"),
            Padding,
        ),
        ("PKCS#7 that is right, of another text", &cbc, padded(&[16; 16]), Digest),
        ("CBC cut after a block", &cbc, b64(&openssl_encrypt(KEY, Some(FIXED_IV), plain)[..32]), Padding),
        ("CBC opened as ECB", &ecb, c.clone(), Digest),
        ("ECB opened as CBC", &cbc, e.clone(), Padding),
        ("a fixed IV opened as prefixed", &prefix, c.clone(), Digest),
        ("a block altered", &ecb, format!("A{}", &e[1..]), Digest),
        ("the IV altered", &prefix, format!("{}{}", if p.starts_with('A') { 'B' } else { 'A' }, &p[1..]), Digest),
    ] {
        for chunk in CHUNKS.into_iter().chain([usize::MAX]) {
            let opened = open(cipher, text.as_bytes(), signed.as_bytes(), || chunk);
            assert_eq!(opened, Err(expected), "{name}, in pieces of {chunk}");
        }
    }
}

#[test]
fn a_wrong_signature_or_key_does_not_open() {
    for scheme in schemes() {
        let right = cipher(scheme.clone());
        let Sealed { text, signed } = right.seal(b"{\"callee\":\"+62\"}");
        let other = Signed::of(b"another text");
        for header in ["", "0", other.as_str(), &signed.as_str()[..63], &format!("{}0", signed.as_str())] {
            assert_eq!(right.open(&text, header.as_bytes()), Err(OpenError::Digest), "{scheme:?} {header:?}");
        }
        assert!(right.open(&text, signed.as_str().to_uppercase().as_bytes()).is_ok(), "{scheme:?}");
        let wrong = Cipher::try_new(&scheme, &Secret::new(*b"airudderredduriA")).expect("a key of 16 bytes");
        let opened = wrong.open(&text, signed.as_bytes());
        assert!(matches!(opened, Err(OpenError::Digest | OpenError::Padding)), "{scheme:?} {opened:?}");
    }
}

#[test]
fn text_is_utf_8_only_where_it_is_asked_for() {
    for scheme in schemes() {
        let cipher = cipher(scheme);
        let Sealed { text, signed } = cipher.seal(b"\xff\xfe not text");
        assert_eq!(cipher.open(&text, signed.as_bytes()).as_deref(), Ok(&b"\xff\xfe not text"[..]));
        assert_eq!(cipher.open_text(&text, signed.as_bytes()), Err(OpenError::NotText));
        let name = "陈小明";
        let Sealed { text, signed } = cipher.seal(name.as_bytes());
        assert_eq!(cipher.open_text(&text, signed.as_bytes()).as_deref(), Ok(name));
    }
    assert_eq!(into_text(vec![0xc3]), Err(OpenError::NotText));
}

#[test]
fn a_failed_opener_stays_failed() {
    let cipher = cipher(Scheme::EcbZero);
    let Sealed { text, signed } = cipher.seal(b"plain");
    let mut opener = cipher.opener(None);
    assert_eq!(opener.push(&[b'*'; 64]), Err(OpenError::Base64));
    assert_eq!(opener.push(&text), Err(OpenError::Base64));
    assert_eq!(opener.finish(signed.as_bytes()), Err(OpenError::Base64));
}

/// Whatever is done to a text, opening it gives the plaintext or an error, the same one in one piece and in many.
#[test]
fn a_hundred_thousand_mutations_never_panic() {
    let mut random = Random::new();
    let mut refused = 0;
    for case in 0..100_000 {
        let cipher = cipher(random.scheme());
        let plain = random.plain(300);
        let Sealed { text, signed } = cipher.seal(&plain);
        let (mut text, mut signed) = (text.to_vec(), signed.as_bytes().to_vec());
        for _ in 0..=random.below(3) {
            let at = random.below(text.len() + 1);
            match random.below(8) {
                0 => text.truncate(at),
                1 => drop(text.drain(at..(at + random.below(20)).min(text.len()))),
                2 => text.insert(at, b"=\n +/A*\0\xff"[random.below(9)]),
                3 => text.splice(at..at, random.bytes(64)).for_each(drop),
                4 => text.extend_from_within(at..),
                5 => signed[random.below(64)] ^= 1 << random.below(8),
                _ if at < text.len() => text[at] ^= 1 << random.below(8),
                _ => {}
            }
        }
        let whole = cipher.open(&text, &signed);
        let pieces = open(&cipher, &text, &signed, random.pieces());
        assert_eq!(whole, pieces, "seed {:#x}, case {case}", random.seed);
        match whole {
            Ok(opened) => assert_eq!(opened, plain, "seed {:#x}, case {case}", random.seed),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 50_000, "the mutations hit something: {refused}");
}

fn schemes() -> [Scheme; 3] {
    [Scheme::EcbZero, Scheme::CbcPkcs7(Iv::Fixed(FIXED_IV)), Scheme::CbcPkcs7(Iv::Prefix)]
}

fn cipher(scheme: Scheme) -> Cipher {
    Cipher::try_new(&scheme, &Secret::new(*KEY)).expect("a key of 16 bytes")
}

/// Seals in pieces of the lengths that `next` gives, without saying how long the whole will be.
fn seal(cipher: &Cipher, mut plain: &[u8], mut next: impl FnMut() -> usize) -> Sealed {
    let mut sealer = cipher.sealer(None);
    while !plain.is_empty() {
        let (piece, rest) = plain.split_at(next().min(plain.len()));
        sealer.push(piece);
        plain = rest;
    }
    sealer.finish()
}

/// Opens in pieces, as [`seal`].
fn open(
    cipher: &Cipher,
    mut text: &[u8],
    signed: &[u8],
    mut next: impl FnMut() -> usize,
) -> Result<Vec<u8>, OpenError> {
    let mut opener = cipher.opener(None);
    while !text.is_empty() {
        let (piece, rest) = text.split_at(next().min(text.len()));
        opener.push(piece)?;
        text = rest;
    }
    opener.finish(signed)
}

/// The scheme as OpenSSL does it: zero padding and ECB without an IV, PKCS#7 and CBC with one.
fn openssl_encrypt(key: &[u8], iv: Option<[u8; 16]>, plain: &[u8]) -> Vec<u8> {
    let mut padded = plain.to_vec();
    let padding = 16 - plain.len() % 16;
    padded.resize(plain.len() + padding, if iv.is_some() { padding as u8 } else { 0 });
    openssl_blocks(openssl_cipher(key, iv), key, iv, &padded)
}

fn openssl_cipher(key: &[u8], iv: Option<[u8; 16]>) -> symm::Cipher {
    match (key.len(), iv.is_some()) {
        (16, false) => symm::Cipher::aes_128_ecb(),
        (24, false) => symm::Cipher::aes_192_ecb(),
        (_, false) => symm::Cipher::aes_256_ecb(),
        (16, true) => symm::Cipher::aes_128_cbc(),
        (24, true) => symm::Cipher::aes_192_cbc(),
        (_, true) => symm::Cipher::aes_256_cbc(),
    }
}

/// Encrypts whole blocks, without OpenSSL's own padding.
fn openssl_blocks(cipher: symm::Cipher, key: &[u8], iv: Option<[u8; 16]>, input: &[u8]) -> Vec<u8> {
    let mut crypter =
        Crypter::new(cipher, Mode::Encrypt, key, iv.as_ref().map(<[u8; 16]>::as_slice)).expect("a crypter");
    crypter.pad(false);
    let mut output = vec![0; input.len() + 16];
    let mut len = crypter.update(input, &mut output).expect("whole blocks");
    len += crypter.finalize(&mut output[len..]).expect("whole blocks");
    output.truncate(len);
    output
}

fn as_slice(opened: &Result<Vec<u8>, OpenError>) -> Result<&[u8], OpenError> {
    opened.as_deref().map_err(|error| *error)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Random {
    fn scheme(&mut self) -> Scheme {
        match self.below(3) {
            0 => Scheme::EcbZero,
            1 => Scheme::CbcPkcs7(Iv::Fixed(self.bytes(16).try_into().expect("16 bytes"))),
            _ => Scheme::CbcPkcs7(Iv::Prefix),
        }
    }

    /// Up to `longest` bytes; one time in four with a run of zeros, which is where zero padding could go wrong.
    fn plain(&mut self, longest: usize) -> Vec<u8> {
        let len = self.below(longest + 1);
        let mut plain = self.bytes(len);
        if self.below(4) == 0 {
            let start = self.below(len + 1);
            let end = (start + self.below(len + 1)).min(len);
            plain[start..end].fill(0);
        }
        plain
    }

    /// The lengths of the pieces in which a body arrives.
    fn pieces(&mut self) -> impl FnMut() -> usize + use<> {
        let mut random = Self::from_seed(self.next());
        let longest = [1, 50, 500, 5000, usize::MAX >> 1][random.below(5)];
        move || 1 + random.below(longest)
    }
}
