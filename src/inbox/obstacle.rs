//! What stands in the way of an open inbox: one sentence that says what to do, and whether waiting may help.
//!
//! It decides which is which and touches nothing itself.

use std::io;

use rusqlite::ErrorCode;

use super::entry::Unavailable;
use super::schema::Refused;
use super::shared::code;

/// Why the inbox is not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) nature: Nature,
    pub(super) sentence: String,
}

/// What can be hoped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// The configuration means another database or another key. It stays so until somebody changes the one or the other.
    Mistake,
    /// A disk, a lock, rights or damage: it may pass while the gateway runs.
    Trouble(Unavailable),
}

impl Obstacle {
    /// The configuration is wrong.
    pub(super) fn mistake(sentence: impl Into<String>) -> Self {
        Self { nature: Nature::Mistake, sentence: sentence.into() }
    }

    /// It may pass.
    pub(super) fn trouble(sentence: impl Into<String>) -> Self {
        Self { nature: Nature::Trouble(Unavailable::Failed), sentence: sentence.into() }
    }

    /// Nothing is wrong: it is the other process's for a while.
    pub(super) fn elsewhere() -> Self {
        let why = Unavailable::Elsewhere;
        Self { nature: Nature::Trouble(why), sentence: why.to_string() }
    }

    /// What the file system says: `sentence`, which ends with what to do.
    pub(super) fn of_files(error: &io::Error, sentence: String) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::full(),
            _ => Self::trouble(sentence),
        }
    }

    /// The file at inbox.path has no header of a database: it is somebody else's, unless it `was_ours`. Then it is damage.
    pub(super) fn no_database(was_ours: bool) -> Self {
        if was_ours {
            return Self::corrupt();
        }
        Self::mistake("the file at inbox.path is not a database: choose another path, or restore it from a backup")
    }

    /// What a caller of the inbox is told meanwhile.
    pub(super) fn unavailable(&self) -> Unavailable {
        match self.nature {
            Nature::Mistake => Unavailable::Failed,
            Nature::Trouble(why) => why,
        }
    }

    fn corrupt() -> Self {
        Self::trouble(
            "the database at inbox.path is corrupt: stop the programs that send an Idempotency-Key, for keys of the \
             last inbox.keep_answers that are not in it send again; then move it away with its -wal and -shm files, \
             and restore it from a backup or begin an empty one",
        )
    }

    fn full() -> Self {
        Self {
            nature: Nature::Trouble(Unavailable::Full),
            sentence: "the disk of inbox.path is full: free space on it".to_owned(),
        }
    }
}

impl From<Refused> for Obstacle {
    fn from(refused: Refused) -> Self {
        let error = match refused {
            Refused::Foreign => {
                return Self::mistake("the file at inbox.path is not a database of the gateway: choose another path");
            }
            Refused::Newer(version) => {
                return Self::mistake(format!(
                    "the database at inbox.path has version {version}, which a later gateway made: start that one, or \
                     move the database away"
                ));
            }
            Refused::Sqlite(error) => error,
        };
        match error.sqlite_error_code() {
            // Its header was one when it was looked at.
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::corrupt(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::trouble("the database at inbox.path is locked by another program: end that one")
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::trouble(
                "the database at inbox.path cannot be opened for writing: let the gateway write it and its directory",
            ),
            Some(ErrorCode::DiskFull) => Self::full(),
            _ => Self::trouble(format!(
                "the database at inbox.path cannot be used (code {} of SQLite): look at its disk and its rights",
                code(&error)
            )),
        }
    }
}

impl From<rusqlite::Error> for Obstacle {
    fn from(error: rusqlite::Error) -> Self {
        Refused::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn each_code_of_sqlite_becomes_a_sentence_that_says_what_to_do() {
        for (code, why, said) in [
            (ffi::SQLITE_NOTADB, Unavailable::Failed, "is corrupt"),
            (ffi::SQLITE_CORRUPT, Unavailable::Failed, "is corrupt"),
            (ffi::SQLITE_BUSY, Unavailable::Failed, "locked by another program"),
            (ffi::SQLITE_LOCKED, Unavailable::Failed, "locked by another program"),
            (ffi::SQLITE_CANTOPEN, Unavailable::Failed, "let the gateway write it"),
            (ffi::SQLITE_READONLY, Unavailable::Failed, "let the gateway write it"),
            (ffi::SQLITE_PERM, Unavailable::Failed, "let the gateway write it"),
            (ffi::SQLITE_FULL, Unavailable::Full, "free space"),
            (ffi::SQLITE_IOERR, Unavailable::Failed, "(code 10 of SQLite)"),
        ] {
            let obstacle = Obstacle::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert!(obstacle.sentence.contains(said), "{code}: {}", obstacle.sentence);
            assert_eq!((obstacle.nature, obstacle.unavailable()), (Nature::Trouble(why), why), "{code}: it may pass");
        }
        let other = Obstacle::from(rusqlite::Error::InvalidQuery);
        assert!(other.sentence.contains("(code -1 of SQLite)"), "no code of SQLite's own: {}", other.sentence);
    }

    #[test]
    fn a_disk_without_space_is_told_from_a_file_that_cannot_be_used() {
        let of = |kind: io::ErrorKind| Obstacle::of_files(&kind.into(), "as it was said".to_owned());
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert_eq!(of(full).unavailable(), Unavailable::Full);
        }
        let other = of(io::ErrorKind::PermissionDenied);
        assert_eq!((other.unavailable(), other.sentence.as_str()), (Unavailable::Failed, "as it was said"));
        assert_eq!(Obstacle::elsewhere().unavailable(), Unavailable::Elsewhere);
        assert_eq!(Obstacle::mistake("so").nature, Nature::Mistake);
        assert_eq!(Obstacle::mistake("so").unavailable(), Unavailable::Failed);
        assert_eq!(Obstacle::no_database(true).nature, Nature::Trouble(Unavailable::Failed), "damage may be mended");
        assert_eq!(Obstacle::no_database(false).nature, Nature::Mistake);
    }
}
