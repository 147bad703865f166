//! The envelope: seal what goes to the platform, open what comes from it.
//!
//! Pure functions over bytes, whole or as they arrive. It never reads a header or a configuration
//! file, never sends anything, and no error or `Debug` output of it shows content. The cipher crates are
//! named here and nowhere else. What sealing is *not*: it authenticates nobody. ECB shows equal blocks, and the
//! digest has no key, so TLS stays what protects a call.

mod blocks;
mod open;
mod seal;
mod signed;

use std::fmt;
use std::sync::Arc;

use blocks::{Block, IvSource, Schedule};
pub use open::{Opener, into_text};
pub use seal::{Sealed, Sealer};
pub use signed::Signed;

use crate::config::{Iv, Scheme};
use crate::secret::Secret;

/// Bytes of one AES block.
const BLOCK: usize = 16;

/// The least number of bytes that is whole in AES (3 blocks) and in base64 (16 quanta): text that is cut at
/// multiples of it needs no carry in either.
const GROUP: usize = 48;

/// Base64 characters of a [`GROUP`].
const TEXT_GROUP: usize = GROUP / 3 * 4;

/// Bytes that are encrypted or decrypted at a time: small enough for the first-level cache, and a whole number of
/// groups and of the widest AES batch (64 blocks).
const BATCH: usize = 64 * GROUP;

/// Bytes that are hashed at a time, beside as many that go through base64. SHA-256 is one chain of instructions that
/// wait for each other; in steps this small the processor does the base64 meanwhile (at 1 MiB that saves 5 % of the
/// whole, see benches/README.md). The least common multiple of a group and SHA-256's block of 64 bytes.
const STEP: usize = 4 * GROUP;

/// A prepared key and its scheme. Cheap to clone; `Debug` prints the scheme and nothing of the key.
#[derive(Clone)]
pub struct Cipher(Arc<Inner>);

struct Inner {
    schedule: Schedule,
    mode: Mode,
}

/// The checked form of [`Scheme`], with what each needs at hand.
enum Mode {
    EcbZero,
    CbcFixed(Block),
    CbcPrefix(Box<IvSource>),
}

impl Cipher {
    /// Prepares `key` for `scheme`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Length`] unless the key has 16, 24 or 32 bytes. [`KeyError::NoRandomness`] when IVs are to be
    /// random and the system has no random bytes: it is asked here, once, so that sealing cannot fail.
    pub fn try_new(scheme: &Scheme, key: &Secret) -> Result<Self, KeyError> {
        let schedule = Schedule::try_new(key.expose())?;
        let mode = match scheme {
            Scheme::EcbZero => Mode::EcbZero,
            Scheme::CbcPkcs7(Iv::Fixed(iv)) => Mode::CbcFixed(Block::from(*iv)),
            Scheme::CbcPkcs7(Iv::Prefix) => Mode::CbcPrefix(Box::new(IvSource::try_new()?)),
        };
        Ok(Self(Arc::new(Inner { schedule, mode })))
    }

    /// Seals a whole plaintext.
    pub fn seal(&self, plain: &[u8]) -> Sealed {
        let mut sealer = self.sealer(Some(plain.len()));
        sealer.push(plain);
        sealer.finish()
    }

    /// Seals a plaintext as it arrives. With its length in bytes, the text is allocated once and in its exact
    /// size; a wrong length costs only that. The caller's body limit comes before: the length is believed.
    pub fn sealer(&self, plain_len: Option<usize>) -> Sealer {
        Sealer::new(self.clone(), plain_len)
    }

    /// Opens a whole text. `signed` is the value of the `Signed` header, empty when there was none.
    ///
    /// # Errors
    ///
    /// Those of [`Opener::push`] and [`Opener::finish`].
    pub fn open(&self, text: &[u8], signed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut opener = self.opener(Some(text.len()));
        opener.push(text)?;
        opener.finish(signed)
    }

    /// Opens a whole text whose content has to be UTF-8.
    ///
    /// # Errors
    ///
    /// Those of [`Cipher::open`], and [`OpenError::NotText`].
    pub fn open_text(&self, text: &[u8], signed: &[u8]) -> Result<String, OpenError> {
        into_text(self.open(text, signed)?)
    }

    /// Opens a text as it arrives. With its length in bytes, the plaintext is allocated once; the caller's
    /// limit comes before, as for [`Cipher::sealer`].
    pub fn opener(&self, text_len: Option<usize>) -> Opener {
        Opener::new(self.clone(), text_len)
    }

    fn schedule(&self) -> &Schedule {
        &self.0.schedule
    }

    fn mode(&self) -> &Mode {
        &self.0.mode
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mode() {
            Mode::EcbZero => "Cipher(aes-ecb-zero)",
            Mode::CbcFixed(_) | Mode::CbcPrefix(_) => "Cipher(aes-cbc-pkcs7)",
        })
    }
}

/// The exact length in bytes of the text that [`Cipher::seal`] makes of `plain_len` bytes. Saturates at
/// `usize::MAX`, so that a declared length can be passed on unchecked and compared with a budget.
pub fn sealed_len(scheme: &Scheme, plain_len: usize) -> usize {
    text_len(plain_len, *scheme == Scheme::CbcPkcs7(Iv::Prefix))
}

fn text_len(plain_len: usize, iv_prefix: bool) -> usize {
    // Both paddings add 1 to 16 bytes, so that an aligned plaintext gets a whole block more.
    let blocks = plain_len / BLOCK + 1 + usize::from(iv_prefix);
    blocks.saturating_mul(BLOCK).div_ceil(3).saturating_mul(4)
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The key has this many bytes; AES takes 16, 24 or 32.
    Length(usize),
    /// The system gave no random bytes to make IVs of.
    NoRandomness,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(f, "the AES key has {len} bytes; use a key of 16, 24 or 32 bytes"),
            Self::NoRandomness => {
                f.write_str("the system gave no random bytes for the IVs; check that getrandom works here")
            }
        }
    }
}

impl std::error::Error for KeyError {}

/// Why a sealed text did not open. Carries no content. A peer may see that a text did not open, never which of
/// these it was (CBC with a telling padding error can be decrypted by asking): `Display` is the same for all,
/// and [`OpenError::reason`] is for metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenError {
    /// No text at all, or its bytes are not a whole number of AES blocks (with the IV, where it is prefixed).
    Length,
    /// Not standard base64 with padding on one line.
    Base64,
    /// The last block does not end in PKCS#7 padding: altered, or another key or scheme.
    Padding,
    /// The plaintext is not the one that was signed, or there was no signature.
    Digest,
    /// The plaintext is not UTF-8, and the caller asked for text.
    NotText,
}

impl OpenError {
    /// Every error, in the order of the checks.
    pub const ALL: [Self; 5] = [Self::Base64, Self::Length, Self::Padding, Self::Digest, Self::NotText];

    /// A stable word for metrics and logs.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Base64 => "base64",
            Self::Padding => "padding",
            Self::Digest => "digest",
            Self::NotText => "not_text",
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sealed text does not open; check the key and the scheme on both sides")
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMES: [Scheme; 3] = [Scheme::EcbZero, Scheme::CbcPkcs7(Iv::Fixed([7; 16])), Scheme::CbcPkcs7(Iv::Prefix)];

    #[test]
    fn a_key_has_16_24_or_32_bytes() {
        for scheme in &SCHEMES {
            for len in 0..=64 {
                let made = Cipher::try_new(scheme, &Secret::new(vec![b'k'; len]));
                match len {
                    16 | 24 | 32 => assert!(made.is_ok(), "{len}"),
                    _ => assert_eq!(made.err(), Some(KeyError::Length(len))),
                }
            }
        }
        let sentence = KeyError::Length(17).to_string();
        assert_eq!(sentence, "the AES key has 17 bytes; use a key of 16, 24 or 32 bytes");
        assert!(KeyError::NoRandomness.to_string().contains("getrandom"));
    }

    #[test]
    fn nothing_printed_shows_the_key_or_the_content() {
        let key = "canary-key-sixte";
        for scheme in &SCHEMES {
            let cipher = Cipher::try_new(scheme, &Secret::new(key)).expect("a key of 16 bytes");
            let mut sealer = cipher.sealer(None);
            sealer.push(b"canary-plain");
            let sealer_printed = format!("{sealer:?}");
            let sealed = sealer.finish();
            let mut opener = cipher.opener(None);
            opener.push(&sealed.text).expect("what was sealed");
            let printed = format!("{cipher:?} {sealer_printed} {sealed:?} {opener:?}");
            let text = std::str::from_utf8(&sealed.text).expect("base64");
            for secret in ["canary", key, text, sealed.signed.as_str()] {
                assert!(!printed.contains(secret), "{printed}");
            }
            assert!(printed.starts_with("Cipher(aes-"), "{printed}");
            for shown in ["Sealer(Cipher", "Sealed(", "bytes)", "Opener(Cipher"] {
                assert!(printed.contains(shown), "{printed}");
            }
            assert_eq!(format!("{:?}", sealed.signed), "Signed(REDACTED)");
        }
    }

    #[test]
    fn a_peer_cannot_tell_the_errors_apart_but_metrics_can() {
        for (i, one) in OpenError::ALL.iter().enumerate() {
            for other in &OpenError::ALL[i + 1..] {
                assert_eq!(one.to_string(), other.to_string());
                assert!(one.to_string().contains("does not open"));
                assert_ne!(one.reason(), other.reason());
            }
        }
    }

    #[test]
    fn a_declared_length_never_overflows() {
        for scheme in &SCHEMES {
            assert!(sealed_len(scheme, usize::MAX) >= usize::MAX / 4 * 3);
            let cipher = Cipher::try_new(scheme, &Secret::new([0; 16])).expect("a key of 16 bytes");
            let mut sealer = cipher.sealer(Some(usize::MAX));
            sealer.push(b"short");
            let sealed = sealer.finish();
            let mut opener = cipher.opener(Some(usize::MAX));
            opener.push(&sealed.text).expect("what was sealed");
            assert_eq!(opener.finish(sealed.signed.as_bytes()).as_deref(), Ok(&b"short"[..]));
        }
    }
}
