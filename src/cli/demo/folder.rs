//! The files of the demo: those that `conf/demo.toml` names, and the inbox. Removed with it.
//! Nothing is kept: a second demo knows nothing of the first.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder that only its owner can read.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> io::Result<Self> {
        let number = getrandom::u64().map_err(io::Error::other)?;
        let folder = Path::new("/tmp").join(format!("airudder-gateway-demo-{number:016x}"));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, content: &str) -> io::Result<()> {
        let path: &Path = &self.0.join(name);
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
