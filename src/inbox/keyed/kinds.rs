//! What a key is bound to, where it stands, and how a call under it ended. Types only.
//!
//! None of them holds a key as it was sent, and none prints a tag.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::answer::KeptAnswer;
use crate::inbox::vault::Tag;

/// What a key is bound to. The same key elsewhere is another one.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Name of the program.
    pub program: &'a str,
    /// Name of the account.
    pub account: &'a str,
    /// Name of the operation, for operators; it follows from method and path.
    pub operation: &'a str,
    /// As sent.
    pub method: &'a str,
    /// As sent.
    pub path: &'a str,
    /// As sent.
    pub query: Option<&'a str>,
    /// The key itself.
    pub key: &'a [u8],
}

/// What stands for a key and its scope.
pub struct Key {
    /// Under each key at rest; the present one first.
    pub(super) tags: Vec<Tag>,
    /// Of the key without its scope, so that an operator finds it.
    pub(super) alone: Tag,
    pub(super) program: Arc<str>,
    pub(super) account: Arc<str>,
    pub(super) operation: Arc<str>,
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Its call may be on its way.
    Sending,
    /// Its call may have been carried out, and nobody knows.
    Unknown,
    /// The platform's answer is remembered.
    Answered,
    /// The platform answered, with more than is remembered.
    NotKept,
    /// An operator said that it was carried out, and gave no answer.
    Settled,
}

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Sending, Self::Unknown, Self::Answered, Self::NotKept, Self::Settled];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Unknown => "unknown",
            Self::Answered => "answered",
            Self::NotKept => "not_kept",
            Self::Settled => "settled",
        }
    }

    /// The state of a stable word.
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// How the database writes it. Never renumber these: indexes of the schema name them.
    pub(super) const fn row(self) -> i64 {
        match self {
            Self::Sending => 0,
            Self::Unknown => 1,
            Self::Answered => 2,
            Self::NotKept => 3,
            Self::Settled => 4,
        }
    }

    /// As the database wrote it. What is not understood is not sent again.
    pub(super) fn of_row(row: i64) -> Self {
        Self::ALL.into_iter().find(|state| state.row() == row).unwrap_or(Self::Unknown)
    }
}

/// A key that was used.
#[derive(Clone, Copy)]
pub struct Known {
    /// Names it to operators.
    pub id: KeyId,
    /// Where it stands.
    pub state: KeyState,
    /// How long its answer is, in bytes.
    pub bytes: usize,
    /// Of the body that it was used with.
    pub(super) body: Tag,
    /// Which key at rest made the tags.
    pub(super) by: usize,
}

/// How a claimed call ended.
pub enum End {
    /// The platform did not carry it out, for certain: the key is free again.
    Free,
    /// Nobody knows.
    Unknown,
    /// The platform answered, with more than is remembered.
    NotKept {
        /// Of the answer.
        status: u16,
    },
    /// The platform answered this.
    Answered(KeptAnswer),
}

/// What an operator says of a call of unknown end.
pub enum Verdict {
    /// It was not carried out: the key is free again.
    NotSent,
    /// It was.
    Sent,
    /// It was, and this is its answer.
    Answered(KeptAnswer),
}

/// What an operator asks for; all that is given has to fit. It may hold a key, so it cannot be printed.
#[derive(Clone, Default)]
pub struct KeyFilter {
    /// Where it stands.
    pub state: Option<KeyState>,
    /// Name of a program.
    pub program: Option<String>,
    /// Name of an account.
    pub account: Option<String>,
    /// Name of an operation.
    pub operation: Option<String>,
    /// Used at this time or later: milliseconds since 1970-01-01 UTC.
    pub since_ms: Option<u64>,
    /// Used before this time.
    pub until_ms: Option<u64>,
    /// The key itself.
    pub key: Option<String>,
    /// This one.
    pub id: Option<KeyId>,
}

/// A used key as operators see it.
#[derive(Debug, Clone)]
pub struct ListedKey {
    /// Names it.
    pub id: KeyId,
    /// Name of the program.
    pub program: String,
    /// Name of the account.
    pub account: String,
    /// Name of the operation.
    pub operation: String,
    /// Where it stands.
    pub state: KeyState,
    /// When its call was about to leave: milliseconds since 1970-01-01 UTC.
    pub claimed_ms: u64,
    /// When its end was known.
    pub ended_ms: Option<u64>,
    /// Of the answer, where there was one.
    pub status: Option<u16>,
    /// Length of the remembered answer in bytes.
    pub bytes: u64,
    /// An operator settled it.
    pub by_operator: bool,
}

/// Names a used key to operators: `key_` and 16 hexadecimal digits. It tells nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub(super) i64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key_{:016x}", self.0)
    }
}

/// A text that is no [`KeyId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAKeyId;

impl fmt::Display for NotAKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the id of a key: it is written as key_ and 16 hexadecimal digits")
    }
}

impl std::error::Error for NotAKeyId {}

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let digits = text.strip_prefix("key_").ok_or(NotAKeyId)?;
        let lower = digits.len() == 16 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        i64::from_str_radix(digits, 16).ok().filter(|_| lower).map(Self).ok_or(NotAKeyId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_own_word_and_number() {
        for state in KeyState::ALL {
            assert_eq!(KeyState::find(state.as_str()), Some(state));
            assert_eq!(KeyState::of_row(state.row()), state);
        }
        assert_eq!(KeyState::of_row(99), KeyState::Unknown);
    }

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is() {
        let id = KeyId(0x0000_0300_0000_004d);
        assert_eq!(id.to_string(), "key_000003000000004d");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "key_", "key_4d", "cb_000003000000004d", "key_000003000000004D", "key_ffffffffffffffff"] {
            assert_eq!(wrong.parse::<KeyId>(), Err(NotAKeyId), "{wrong}");
        }
        assert!(NotAKeyId.to_string().contains("key_"));
    }
}
