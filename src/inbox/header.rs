//! Whose file it is, by its first bytes: found out before a key is looked for, and without opening anything as a database.
//!
//! What it lets pass may still turn out to be wrong; what it refuses is.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::obstacle::Obstacle;
use super::schema::{APPLICATION_ID, MIGRATIONS, Refused};

/// The header of a database: <https://www.sqlite.org/fileformat2.html#the_database_header>.
const LENGTH: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
const USER_VERSION: usize = 60;
const APPLICATION: usize = 68;

/// Refuses a file that somebody else, or a later gateway, has made. One without a header of a database is damage if it
/// `was_ours`. Nothing there, or a database that was just begun, passes.
///
/// # Errors
/// A mistake, or what the disk says.
pub(super) fn check(path: &Path, was_ours: bool) -> Result<(), Obstacle> {
    let header = read(path).map_err(|error| {
        let kind = error.kind();
        Obstacle::of_files(
            &error,
            format!("the database at inbox.path cannot be read ({kind}): let the gateway read it"),
        )
    })?;
    judge(&header, was_ours)
}

/// The same by the first bytes of a file.
pub(super) fn judge(header: &[u8], was_ours: bool) -> Result<(), Obstacle> {
    if header.is_empty() {
        return Ok(());
    }
    if header.len() < LENGTH || !header.starts_with(MAGIC) {
        return Err(Obstacle::no_database(was_ours));
    }
    let number = |at: usize| header[at..at + 4].iter().fold(0, |number, byte| number << 8 | i32::from(*byte));
    match (number(APPLICATION), number(USER_VERSION)) {
        // What a new one is to be stands in its log at first.
        (0, 0) => Ok(()),
        (APPLICATION_ID, version) if usize::try_from(version).is_ok_and(|version| version <= MIGRATIONS.len()) => {
            Ok(())
        }
        (APPLICATION_ID, version) => Err(Refused::Newer(version).into()),
        _ => Err(Refused::Foreign.into()),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut header = Vec::with_capacity(LENGTH);
    file.take(LENGTH as u64).read_to_end(&mut header)?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::obstacle::Nature;

    fn header(application: i32, version: i32) -> Vec<u8> {
        let mut header = vec![0; LENGTH];
        header[..MAGIC.len()].copy_from_slice(MAGIC);
        header[APPLICATION..APPLICATION + 4].copy_from_slice(&application.to_be_bytes());
        header[USER_VERSION..USER_VERSION + 4].copy_from_slice(&version.to_be_bytes());
        header
    }

    #[test]
    fn a_file_is_ours_by_its_first_bytes_or_refused_with_the_reason() {
        let latest = i32::try_from(MIGRATIONS.len()).expect("few");
        for ours in [Vec::new(), header(0, 0), header(APPLICATION_ID, 1), header(APPLICATION_ID, latest)] {
            assert!(judge(&ours, true).is_ok(), "{ours:?}");
        }
        for (other, said) in [
            (header(APPLICATION_ID, latest + 1), "version"),
            (header(APPLICATION_ID, -1), "version"),
            (header(APPLICATION_ID ^ 1, 1), "not a database of the gateway"),
            (header(0, 1), "not a database of the gateway"),
            (header(APPLICATION_ID, 1)[1..].to_vec(), "not a database"),
            (header(APPLICATION_ID, 1)[..LENGTH - 1].to_vec(), "not a database"),
            ([&header(APPLICATION_ID, 1)[1..], b"longer"].concat(), "not a database"),
        ] {
            let refused = judge(&other, false).expect_err("refused");
            assert!(refused.sentence.contains(said), "{}", refused.sentence);
            assert!(matches!(refused.nature, Nature::Mistake));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_missing() {
        let path = std::env::temp_dir().join(format!("header-{}", std::process::id()));
        assert!(check(&path, true).is_ok(), "there is none");
        std::os::unix::fs::symlink(&path, &path).expect("a name that leads to itself");
        let refused = check(&path, true).expect_err("refused");
        assert!(refused.sentence.contains("cannot be read") && matches!(refused.nature, Nature::Trouble(_)));
        std::fs::remove_file(&path).expect("removed");
    }
}
