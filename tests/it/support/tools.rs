//! Prometheus and its tool, and cargo's own ones, which `make setup-test` puts below `target/tools`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// `prometheus` or `promtool`.
pub(crate) fn tool(name: &str) -> Command {
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("usr/bin").join(name);
    let found = if unpacked.exists() { unpacked } else { PathBuf::from(name) };
    let works = Command::new(&found).arg("--version").output().is_ok_and(|done| done.status.success());
    assert!(works, "{name} is missing: run `make setup-test`");
    Command::new(found)
}

/// A program of the project, or `cargo`, that finds cargo's tools.
pub(crate) fn with_cargo_tools(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("bin");
    let mut command = Command::new("sh");
    command.args(["-c", "PATH=\"$0:$PATH\" exec \"$@\""]).arg(own).arg(program).current_dir(of_project(""));
    command
}

/// A file of the project.
pub(crate) fn of_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
