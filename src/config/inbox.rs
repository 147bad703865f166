//! `[inbox]`: where callbacks are kept, for how long, and under which key.
//!
//! Owns the size of keys at rest. It makes no file and opens no database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bounds::{positive, size};
use super::error::Fault;
use super::file;
use super::inbound::{Inbox, InboxKey};
use super::reference::Surroundings;
use super::table::Given;
use crate::secret::Secret;

/// Where the database is unless the file says otherwise.
const PATH: &str = "data/inbox.db";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Fewest bytes of a key at rest: as many as the cipher's own key has (AES-256).
const LEAST_KEY: usize = 32;

/// Checks the store; what is unwise goes to the warnings.
pub(super) fn inbox(given: Option<&Given<file::Inbox>>, around: &mut Surroundings<'_>) -> Result<Inbox, Fault> {
    const MIB: usize = 1 << 20;
    const GIB: usize = 1 << 30;
    let nothing = file::Inbox::default();
    let written = given.map_or(&nothing, |given| &given.value);
    let path = match &written.path {
        Some(given) => file_path(given, around.dir)?,
        None => around.dir.join(PATH),
    };
    let retain = positive(written.retain.as_ref(), 14 * DAY)?;
    if let Some(given) = written.retain.as_ref().filter(|_| retain < DAY) {
        around.warnings.push(given.fault(
            "is under 24h; a receiver that is down for longer finds its callbacks among the dead letters, so write more",
        ));
    }
    let keep_answers = positive(written.keep_answers.as_ref(), DAY)?;
    if let Some(given) = written.keep_answers.as_ref().filter(|_| keep_answers < DAY) {
        around.warnings.push(given.fault(
            "is under 24h; a program that repeats a key later than this makes a second call, so write more than the longest \
             time after which one repeats",
        ));
    }
    let key = match (&written.key, &written.key_file) {
        (Some(key), None) => InboxKey::Given(key_at_rest(key, around)?),
        (None, Some(given)) => InboxKey::File(file_path(given, around.dir)?),
        (None, None) => {
            let mut beside = path.clone().into_os_string();
            beside.push(".key");
            InboxKey::File(beside.into())
        }
        (Some(_), Some(file)) => return Err(file.fault("stands beside key, and there is one key; remove one of them")),
    };
    if let (InboxKey::File(file), Some(given)) = (&key, &written.key_file)
        && *file == path
    {
        return Err(given.fault("is the database itself; name another file"));
    }
    if let (InboxKey::File(file), Some(given)) = (&key, &written.key_file) {
        around.warn_of_readers(given, file);
    }
    let old_keys = match &written.old_keys {
        Some(given) => given.value.iter().map(|key| key_at_rest(key, around)).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let max_bytes = size(written.max_bytes.as_ref(), 16 * MIB..=usize::MAX, 10 * GIB)?;
    let ledger = written.ledger.as_ref().map_or(7 * DAY, |given| given.value);
    // At most an eighth of the whole, so that callbacks have theirs.
    let ledger_max_bytes =
        size(written.ledger_max_bytes.as_ref(), MIB..=max_bytes / 8, (256 * MIB).min(max_bytes / 8))?;
    let (max_bytes, ledger_max_bytes) = (max_bytes as u64, ledger_max_bytes as u64);
    Ok(Inbox { path, retain, keep_answers, max_bytes, ledger, ledger_max_bytes, key, old_keys })
}

/// A file, which need not be there yet.
fn file_path(given: &Given<String>, dir: &Path) -> Result<PathBuf, Fault> {
    let path = dir.join(&given.value);
    if given.value.is_empty() || given.value.ends_with('/') || path.is_dir() {
        return Err(given.fault("must be a file, not a directory; name a file in it"));
    }
    Ok(path)
}

fn key_at_rest(given: &Given<file::Reference>, around: &mut Surroundings<'_>) -> Result<Secret, Fault> {
    let key = around.secret(given)?;
    if key.len() >= LEAST_KEY {
        return Ok(key);
    }
    Err(given.fault(format!(
        "has {} bytes, but a key at rest has {LEAST_KEY} or more; make one, such as with openssl rand -hex 32",
        key.len()
    )))
}
