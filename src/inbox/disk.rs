//! How much may still be written to the file system of the inbox.
//!
//! It only asks, about once a second and never for a scrape, and decides nothing.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::key;
use crate::metrics::Callbacks;

/// Shows what the file system of this database says. What cannot be asked is shown as unknown.
pub(super) fn show(path: &Path, callbacks: &Callbacks) {
    let (available, size) = match statvfs(key::directory(path)) {
        // Blocks are counted in fragments; what is kept for the superuser is not available.
        Ok(found) => {
            let fragment = found.fragment_size();
            (found.blocks_available().saturating_mul(fragment), found.blocks().saturating_mul(fragment))
        }
        Err(_) => (0, 0),
    };
    callbacks.disk_available.set(i64::try_from(available).unwrap_or(i64::MAX));
    callbacks.disk_size.set(i64::try_from(size).unwrap_or(i64::MAX));
}
