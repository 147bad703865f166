//! Gateway tokens: what a program that logged in shows with every call.
//!
//! A token is signed, not stored, so it holds on every replica and after a restart. What is signed includes a digest of
//! the program's key pair, so changing or removing the pair ends its tokens. It reads no clock and logs nothing.

use base64_simd::{Out, STANDARD};
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use ring::hmac;

use crate::secret::Secret;

/// Characters of a token: as many as the platform's own have, so that whatever stores those has room for these.
pub const LENGTH: usize = 64;

/// The layout that this file writes, in the first byte.
const VERSION: u8 = 1;
/// Bytes that say when it ends, in seconds since 1970.
const END: usize = 5;
/// Bytes that say whose it is: enough that no two names ever share one.
const TAG: usize = 10;
/// Bytes that are signed as they stand, together with the digest of the pair.
const HEAD: usize = 1 + END + TAG;
const BYTES: usize = HEAD + SHA256_OUTPUT_LEN;

/// The latest end that a token can say, in seconds since 1970.
const LATEST: u64 = (1 << (8 * END)) - 1;

/// Which program a token names. No secret: it is a digest of the name that stands in every log line.
pub(super) type Tag = [u8; TAG];

/// What a program's tokens are made of.
pub(super) struct Holder {
    pub(super) tag: Tag,
    /// Never leaves: it is signed, and whoever checks a token makes it again.
    pair: [u8; SHA256_OUTPUT_LEN],
}

impl Holder {
    /// Of the program of this name, as long as it has this pair.
    pub(super) fn new(name: &str, key: &Secret, secret: &Secret) -> Self {
        let mut tag = [0; TAG];
        tag.copy_from_slice(&digest(b"airudder-gateway program", &[name.as_bytes()])[..TAG]);
        let pair = digest(b"airudder-gateway pair", &[name.as_bytes(), key.expose(), secret.expose()]);
        Self { tag, pair }
    }
}

/// A digest for one purpose. Each part comes after its length, so that no two lists of parts read alike.
fn digest(purpose: &[u8], parts: &[&[u8]]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = Context::new(&SHA256);
    for part in [purpose].iter().chain(parts) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; SHA256_OUTPUT_LEN];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// A text that has the form of a token. Nothing of it is proved yet.
pub(super) struct Shown([u8; BYTES]);

impl Shown {
    /// `None`: no token of this gateway, whatever its keys are.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; BYTES];
        if text.len() != LENGTH {
            return None;
        }
        let decoded = STANDARD.decode(text, Out::from_slice(&mut bytes)).ok()?.len();
        (decoded == BYTES && bytes[0] == VERSION).then_some(Self(bytes))
    }

    /// Whose it says it is.
    pub(super) fn tag(&self) -> Tag {
        let mut tag = [0; TAG];
        tag.copy_from_slice(&self.0[1 + END..HEAD]);
        tag
    }

    /// When it says it ends, in seconds since 1970.
    fn ends(&self) -> u64 {
        self.0[1..=END].iter().fold(0, |end, byte| end << 8 | u64::from(*byte))
    }
}

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not signed here for this program and its present pair.
    Invalid,
    /// It was good, and its time is over.
    Expired,
}

/// The keys that sign tokens.
pub(super) struct Signer {
    key: hmac::Key,
    /// The former key: it still proves what it signed.
    old: Option<hmac::Key>,
}

impl Signer {
    pub(super) fn new(key: &Secret, old: Option<&Secret>) -> Self {
        let key_of = |secret: &Secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        Self { key: key_of(key), old: old.map(key_of) }
    }

    /// A token that ends at `ends`, in seconds since 1970.
    pub(super) fn issue(&self, holder: &Holder, ends: u64) -> String {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1..=END].copy_from_slice(&ends.min(LATEST).to_be_bytes()[8 - END..]);
        bytes[1 + END..HEAD].copy_from_slice(&holder.tag);
        let signature = hmac::sign(&self.key, &signed(&bytes, holder));
        bytes[HEAD..].copy_from_slice(signature.as_ref());
        STANDARD.encode_to_string(bytes)
    }

    /// Whether this holder was given this token, and it is not over at `now`, in seconds since 1970. An end is believed
    /// only after the signature. The signature is compared in constant time.
    pub(super) fn check(&self, shown: &Shown, holder: &Holder, now: u64) -> Result<(), Fault> {
        let message = signed(&shown.0, holder);
        let proves = |key| hmac::verify(key, &message, &shown.0[HEAD..]).is_ok();
        if !proves(&self.key) && !self.old.as_ref().is_some_and(proves) {
            return Err(Fault::Invalid);
        }
        if now < shown.ends() { Ok(()) } else { Err(Fault::Expired) }
    }
}

/// What is signed: everything in front of the signature, and what the pair adds. It fits into one block of SHA-256.
fn signed(bytes: &[u8; BYTES], holder: &Holder) -> [u8; HEAD + SHA256_OUTPUT_LEN] {
    let mut message = [0; HEAD + SHA256_OUTPUT_LEN];
    message[..HEAD].copy_from_slice(&bytes[..HEAD]);
    message[HEAD..].copy_from_slice(&holder.pair);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_OF_TEST: u64 = 1_800_000_000;

    fn signer(key: &str) -> Signer {
        Signer::new(&Secret::new(key), None)
    }

    fn holder(name: &str, key: &str, secret: &str) -> Holder {
        Holder::new(name, &Secret::new(key), &Secret::new(secret))
    }

    fn check(signer: &Signer, token: &str, holder: &Holder, now: u64) -> Result<(), Fault> {
        signer.check(&Shown::parse(token.as_bytes()).ok_or(Fault::Invalid)?, holder, now)
    }

    #[test]
    fn a_token_opens_until_its_end() {
        let (signer, books) = (signer("k"), holder("books", "key", "secret"));
        let token = signer.issue(&books, END_OF_TEST);
        assert_eq!(token.len(), LENGTH);
        assert_eq!(Shown::parse(token.as_bytes()).map(|shown| shown.tag()), Some(books.tag));
        for (now, expected) in [
            (0, Ok(())),
            (END_OF_TEST - 1, Ok(())),
            (END_OF_TEST, Err(Fault::Expired)),
            (u64::MAX, Err(Fault::Expired)),
        ] {
            assert_eq!(check(&signer, &token, &books, now), expected, "{now}");
        }
        let endless = signer.issue(&books, u64::MAX);
        assert_eq!(check(&signer, &endless, &books, LATEST - 1), Ok(()));
    }

    #[test]
    fn a_token_with_one_bit_flipped_opens_nothing() {
        let (signer, books) = (signer("k"), holder("books", "key", "secret"));
        let token = STANDARD.decode_to_vec(signer.issue(&books, END_OF_TEST)).expect("base64");
        for bit in 0..8 * BYTES {
            let mut forged = token.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = STANDARD.encode_to_string(forged);
            // Over or not: an end that is not signed is not believed.
            for now in [0, END_OF_TEST] {
                assert_eq!(check(&signer, &forged, &books, now), Err(Fault::Invalid), "bit {bit} at {now}");
            }
        }
    }

    #[test]
    fn a_token_is_of_one_program_one_pair_and_one_key() {
        let (signer, books) = (signer("k"), holder("books", "key", "secret"));
        let token = signer.issue(&books, END_OF_TEST);
        for other in [
            holder("calls", "key", "secret"),
            holder("books", "key2", "secret"),
            holder("books", "key", "secret2"),
            holder("books", "keysecret", ""),
            holder("books", "", "keysecret"),
            holder("bookskey", "", "secret"),
        ] {
            assert_eq!(check(&signer, &token, &other, 0), Err(Fault::Invalid));
        }
        assert_eq!(check(&self::signer("k2"), &token, &books, 0), Err(Fault::Invalid));
    }

    #[test]
    fn the_former_key_proves_and_never_signs() {
        let (old, books) = (signer("old"), holder("books", "key", "secret"));
        let rotating = Signer::new(&Secret::new("new"), Some(&Secret::new("old")));
        assert_eq!(check(&rotating, &old.issue(&books, END_OF_TEST), &books, 0), Ok(()));
        let fresh = rotating.issue(&books, END_OF_TEST);
        assert_eq!(check(&rotating, &fresh, &books, 0), Ok(()));
        assert_eq!(check(&old, &fresh, &books, 0), Err(Fault::Invalid));
        assert_eq!(check(&signer("new"), &fresh, &books, 0), Ok(()));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let token = signer("k").issue(&holder("books", "key", "secret"), END_OF_TEST);
        let url_safe = token.replace('+', "-").replace('/', "_");
        for text in [
            "",
            "AQ==",
            &token[1..],
            &format!("{token}A"),
            &format!("{}=", &token[1..]),
            &format!("{} ", &token[1..]),
            &format!("é{}", &token[2..]),
            &"A".repeat(64),
            &"A".repeat(100_000),
        ] {
            assert!(Shown::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(Shown::parse(url_safe.as_bytes()).is_some(), url_safe == token);
    }
}
