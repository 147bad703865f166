//! A disk of its own for a test: small, full or read-only, and gone with the test.

use std::path::PathBuf;
use std::process::Command;

/// A file system in memory, mounted over a folder. It is gone when dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// With room for so much, as in `12m`. `None` when this user may not mount anything; that is printed.
    pub(crate) fn try_new(folder: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"]).arg(&folder);
        let mounted = mount.output().is_ok_and(|done| done.status.success()).then_some(Self(folder));
        if mounted.is_none() {
            println!("SKIPPED: mounting a tmpfs of its own needs root");
        }
        mounted
    }

    /// From now on it can be read only (`ro`), or written (`rw`).
    pub(crate) fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status();
        assert!(done.expect("mount runs").success(), "remount {how}");
    }

    /// Fills what is left of it.
    pub(crate) fn fill(&self) -> Ballast {
        let path = self.0.join("ballast");
        let mut file = std::fs::File::create(&path).expect("a file");
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        Ballast(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// What fills a disk, until it is dropped.
pub(crate) struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
