//! The inbox key: given by the configuration, or in a key file that is made once, before the database.
//!
//! It never makes a key beside a database that exists: what was sealed would be lost for ever.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::obstacle::Obstacle;
use crate::config::InboxKey;
use crate::secret::Secret;

/// Fewest bytes of a key.
const LEAST: usize = 32;

/// Finds the key, or makes its file when there is no database yet.
///
/// # Errors
/// Why there is none, and what to do.
pub(super) fn find(key: &InboxKey, database_exists: bool) -> Result<Secret, Obstacle> {
    if let Some(found) = look(key, database_exists)? {
        return Ok(found);
    }
    let InboxKey::File(path) = key else { return Err(Obstacle::mistake("there is no inbox key: configure one")) };
    create(path).map_err(|error| {
        let (shown, kind) = (path.display(), error.kind());
        let sentence =
            format!("the inbox key file {shown} cannot be made ({kind}): let the gateway write its directory");
        Obstacle::of_files(&error, sentence)
    })
}

/// The key; `None` when its file is to be made, as there is no database yet.
///
/// # Errors
/// Why there is none, and what to do.
pub(super) fn look(key: &InboxKey, database_exists: bool) -> Result<Option<Secret>, Obstacle> {
    let path = match key {
        InboxKey::Given(secret) => return Ok(Some(secret.clone())),
        InboxKey::File(path) => path,
    };
    let shown = path.display();
    match fs::read(path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            let key = text.trim_ascii();
            if key.len() < LEAST {
                return Err(Obstacle::mistake(format!(
                    "the inbox key file {shown} holds fewer than {LEAST} bytes: restore it from a backup"
                )));
            }
            Ok(Some(Secret::new(key)))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let kind = error.kind();
            Err(Obstacle::trouble(format!(
                "the inbox key file {shown} cannot be read ({kind}): let the gateway read it"
            )))
        }
        Err(_) if database_exists => Err(Obstacle::mistake(format!(
            "the inbox key file {shown} is missing and the database is encrypted with it: restore it from a backup, or \
             move the database away to begin an empty one"
        ))),
        Err(_) => Ok(None),
    }
}

/// Makes the key file, whole or not at all: it is on disk with its directory before this returns.
fn create(path: &Path) -> io::Result<Secret> {
    let mut bytes = Zeroizing::new([0_u8; LEAST]);
    getrandom::fill(bytes.as_mut_slice()).map_err(io::Error::other)?;
    let mut text = Zeroizing::new(String::with_capacity(2 * LEAST + 1));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    let draft = path.with_extension("key-draft");
    // Left over from a start that was cut: the lock file says that nobody else is here.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    // A link, because a rename would replace a file that somebody else has just put there.
    fs::hard_link(&draft, path)?;
    fs::remove_file(&draft)?;
    sync_directory(path)?;
    Ok(Secret::new(text.as_bytes()))
}

/// Makes the names in the directory of `path` survive a loss of power.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(directory(path))?.sync_all()
}

/// Makes a directory with those above it. Each name is on disk before this returns: a database that is synced in a
/// directory whose own name is not would vanish with it.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = self::directory(directory);
    make_directory(above)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::File::open(above)?.sync_all()
}

/// The directory of a file.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::obstacle::Nature;

    /// A folder of its own, removed at the end.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("made");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_key_file_holds_32_bytes_or_is_refused_with_what_to_do() {
        let folder = Folder::new("inbox-key-look");
        let path = folder.0.join("inbox.key");
        let key = InboxKey::File(path.clone());
        assert!(look(&key, false).is_ok_and(|found| found.is_none()), "it is to be made");
        for (text, fits) in
            [("x".repeat(LEAST - 1), false), ("x".repeat(LEAST), true), (format!(" {}\n", "x".repeat(LEAST + 1)), true)]
        {
            fs::write(&path, &text).expect("written");
            match look(&key, true) {
                Ok(found) => assert!(fits && found.expect("a key").expose() == text.trim().as_bytes()),
                Err(refused) => assert!(!fits && refused.sentence.contains("restore it from a backup")),
            }
        }
        fs::remove_file(&path).expect("removed");
        // What cannot be read is not taken for missing: a new key would be made in its place.
        fs::create_dir(&path).expect("made");
        let refused = look(&key, false).map(drop).expect_err("refused");
        assert!(matches!(refused.nature, Nature::Trouble(_)) && refused.sentence.contains("cannot be read"));
    }

    #[test]
    fn a_key_that_is_made_is_random_in_every_digit_and_read_back() {
        let folder = Folder::new("inbox-key-made");
        let key = InboxKey::File(folder.0.join("inbox.key"));
        let made = find(&key, false).expect("made");
        assert_eq!(find(&key, true).expect("read").expose(), made.expose());
        let digits = made.expose();
        assert!(digits.len() == 2 * LEAST && digits.iter().all(u8::is_ascii_hexdigit));
        // Of 32 random digits fewer than six different ones come once in a thousand million years of starts.
        for first in [0, 1] {
            let different: std::collections::HashSet<_> = digits.iter().skip(first).step_by(2).collect();
            assert!(different.len() > 5, "{different:?}");
        }
    }

    #[test]
    fn a_directory_is_made_with_those_above_it_or_it_is_told_why_not() {
        let folder = Folder::new("inbox-key-directory");
        let deep = folder.0.join("one/two/three");
        for _ in 0..2 {
            make_directory(&deep).expect("made, or there");
            assert!(deep.is_dir());
        }
        assert!(make_directory(&folder.0.join("x".repeat(300))).is_err(), "no name is so long");
        assert!(sync_directory(&deep.join("file")).is_ok());
        assert!(sync_directory(&deep.join("four/file")).is_err(), "what is not there is not synced");
    }
}
