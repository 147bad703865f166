//! Certificate authorities that are trusted in the place of the system's: a file, and what it held when it was read.
//!
//! Two are the same when both are, so that a file that was written anew is noticed. It parses nothing.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A checked PEM file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    path: PathBuf,
    /// Under a key of this process, so it says nothing elsewhere.
    digest: u64,
}

impl Authorities {
    pub(super) fn new(path: PathBuf, pem: &[u8]) -> Self {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self { path, digest: HASHER.hash_one(pem) }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_written_anew_is_another_one() {
        let of = |path: &str, pem: &str| Authorities::new(path.into(), pem.as_bytes());
        assert_eq!(of("a", "one"), of("a", "one"));
        assert_ne!(of("a", "one"), of("a", "two"));
        assert_ne!(of("a", "one"), of("b", "one"));
    }
}
