//! The subcommands, a file each.

mod check;

use std::path::Path;
use std::process::ExitCode;

/// `airudder-gateway check --config F`.
pub fn check(path: &Path) -> ExitCode {
    check::check(path)
}
