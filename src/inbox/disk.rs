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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn the_room_of_the_file_system_is_shown_and_what_cannot_be_asked_is_nothing() {
        let metrics = Metrics::try_new().expect("series");
        let shown = |path: &str| {
            show(Path::new(path), &metrics.callbacks);
            (metrics.callbacks.disk_available.get(), metrics.callbacks.disk_size.get())
        };
        let (available, size) = shown("/inbox.db");
        assert!(0 < size && (0..=size).contains(&available), "{available} of {size}");
        assert_eq!(shown("/nowhere/at/all/inbox.db"), (0, 0));
    }
}
