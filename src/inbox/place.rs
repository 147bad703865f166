//! Whether the database is still where it was opened.
//!
//! An open file can be written, and synced, long after its name is gone: moved away, deleted, or hidden by another disk
//! mounted over its directory. What is acknowledged then would not be found at the next start. It opens nothing.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that has the database's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Another file has the name now, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Displaced;

impl Place {
    /// The one that has it now.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    /// Whether it still is that one. A system call, which is little beside a commit.
    pub(super) fn check(&self) -> Result<(), Displaced> {
        match Self::of(&self.path) {
            Ok(found) if found == *self => Ok(()),
            _ => Err(Displaced),
        }
    }

    /// What to do about [`Displaced`].
    pub(super) const SENTENCE: &str = "the database at inbox.path is not the one that was opened: bring it back, mount its disk again, or \
         start the gateway anew";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_again_until_its_name_is_anothers() {
        let folder = std::env::temp_dir().join(format!("place-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (path, away) = (folder.join("a"), folder.join("b"));
        fs::write(&path, "").expect("written");
        let place = Place::of(&path).expect("it is there");
        fs::write(&path, "more").expect("written");
        assert_eq!(place.check(), Ok(()));
        fs::rename(&path, &away).expect("moved");
        assert_eq!(place.check(), Err(Displaced));
        fs::write(&path, "").expect("written");
        assert_eq!(place.check(), Err(Displaced), "another file of the same name");
        fs::rename(&away, &path).expect("moved back");
        assert_eq!(place.check(), Ok(()));
        fs::remove_dir_all(&folder).expect("removed");
    }
}
