//! The signature of the envelope: SHA-256 over the plaintext, as 64 lowercase hex digits.
//!
//! It has no key, so it proves that a text was opened as it was sealed, not who sealed it. A digest of a short
//! text can be guessed: it counts as personal data and is never printed.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The value of the `Signed` header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signed([u8; 64]);

impl Signed {
    /// Signs a whole plaintext.
    pub fn of(plain: &[u8]) -> Self {
        let mut digest = Digest::new();
        digest.update(plain);
        digest.finish()
    }

    /// 64 lowercase hex digits.
    #[expect(clippy::expect_used, reason = "hex digits are ASCII")]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits")
    }

    /// 64 lowercase hex digits.
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// Whether the value of a received header is this signature. Upper-case hex digits are taken too; anything
    /// else, an empty value included, is not.
    pub fn matches(&self, header: &[u8]) -> bool {
        let Ok(mut digits) = <[u8; 64]>::try_from(header) else { return false };
        digits.make_ascii_lowercase();
        // Looks at every digit whatever it finds, so that the time does not tell how many were right.
        digits.iter().zip(&self.0).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signed(REDACTED)")
    }
}

/// A signature in the making. The `sha2` crate picks the instructions at run time.
pub(super) struct Digest(Sha256);

impl Digest {
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(super) fn update(&mut self, plain: &[u8]) {
        self.0.update(plain);
    }

    pub(super) fn finish(self) -> Signed {
        let mut hex = [0; 64];
        for (digits, byte) in hex.chunks_exact_mut(2).zip(self.0.finalize()) {
            digits[0] = digit(byte >> 4);
            digits[1] = digit(byte & 15);
        }
        Signed(hex)
    }
}

/// Without a table, so that the compiler can do all digits at once.
fn digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_signature_of_nothing_is_known() {
        assert_eq!(Signed::of(b"").as_str(), OF_NOTHING);
    }

    #[test]
    fn a_header_matches_in_either_case_and_in_no_other_way() {
        let signed = Signed::of(b"");
        assert!(signed.matches(OF_NOTHING.as_bytes()));
        assert!(signed.matches(OF_NOTHING.to_uppercase().as_bytes()));
        for other in ["", "e3b0", &OF_NOTHING[1..], &format!("{OF_NOTHING} "), &format!("0{}", &OF_NOTHING[1..])] {
            assert!(!signed.matches(other.as_bytes()), "{other:?}");
        }
        // Setting bit 5 is not lowercasing: it would make these control characters digits.
        let control: Vec<u8> = OF_NOTHING.bytes().map(|b| if b.is_ascii_digit() { b & !0x20 } else { b }).collect();
        assert!(!signed.matches(&control));
        // Two digits that differ in the same bit, which must not make up for each other.
        for (one, other) in [(0, 1), (7, 40), (62, 63)] {
            let mut twice = OF_NOTHING.as_bytes().to_vec();
            twice[one] ^= 1;
            twice[other] ^= 1;
            assert!(!signed.matches(&twice), "{one} and {other}");
        }
    }
}
