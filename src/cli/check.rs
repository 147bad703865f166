//! `airudder-gateway check --config F`: would the gateway start with this file?
//!
//! Reads what the gateway would read, secrets and the inbox's key included, and opens no connection and no listener.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::app;
use crate::config::{Config, ConfigError};

/// `EX_USAGE` of sysexits.h: the command was right, what it was given was not.
const EX_USAGE: u8 = 64;

/// Prints one line and the warnings on standard output and returns 0, or one sentence on standard error and 64.
pub(crate) fn check(path: &Path) -> ExitCode {
    ExitCode::from(report(path, Config::load(path), &mut io::stdout(), &mut io::stderr()))
}

/// The exit status. A closed pipe does not change it: the status is the answer, the text explains it.
fn report(path: &Path, loaded: Result<Config, ConfigError>, out: &mut impl Write, err: &mut impl Write) -> u8 {
    let usable = loaded.map_err(|error| error.to_string()).and_then(|config| {
        let checked = app::check(&config).and_then(|_| app::check_inbox(&config));
        checked.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(config)
    });
    match usable {
        Ok(config) => {
            let counts = [
                counted(config.accounts.len(), "account"),
                counted(config.programs.len(), "program"),
                counted(config.operations.len(), "operation"),
                counted(config.sources.len(), "source"),
                counted(config.receivers.len(), "receiver"),
                counted(config.warnings.len(), "warning"),
            ];
            let _ = writeln!(out, "{}: ok ({})", path.display(), counts.join(", "));
            for warning in &config.warnings {
                let _ = writeln!(out, "warning: {warning}");
            }
            0
        }
        Err(error) => {
            let _ = writeln!(err, "{error}");
            EX_USAGE
        }
    }
}

/// `1 account`, `2 accounts`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    /// Status, standard output and standard error for a text.
    fn checked(text: &str) -> (u8, String, String) {
        let env = |_: &str| Some(OsString::from("airudderredduria"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let loaded = Config::parse(text, Path::new("."), env);
        let status = report(Path::new("gateway.toml"), loaded, &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (status, text(out), text(err))
    }

    const GOOD: &str = r#"
        [outbound]
        [[account]]
        name = "main"
        app_key = { env = "A" }
        app_secret = { env = "B" }
    "#;

    #[test]
    fn a_good_file_is_counted_and_its_warnings_follow() {
        let (status, out, err) = checked(GOOD);
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(
            lines[0],
            "gateway.toml: ok (1 account, 0 programs, 0 operations, 0 sources, 0 receivers, 1 warning)"
        );
        assert!(lines[1].starts_with("warning: line 3: account \"main\" sends its calls unsealed"), "{out}");
        assert_eq!((status, lines.len(), err.as_str()), (0, 2, ""));
    }

    #[test]
    fn a_bad_file_is_one_sentence_on_standard_error_and_64() {
        let (status, out, err) = checked("[outbound]\nlistne = 1");
        assert_eq!((status, out.as_str(), err.lines().count()), (64, "", 1));
        assert!(err.starts_with("line 2: unknown key \"listne\" in [outbound]"), "{err}");
    }

    #[test]
    fn what_only_the_assembly_can_know_is_checked_too() {
        let (status, out, err) = checked(&format!("{GOOD}[[operation]]\nname = \"task.craete\"\n"));
        assert_eq!((status, out.as_str(), err.lines().count()), (64, "", 1));
        assert!(err.starts_with("gateway.toml: [[operation]] \"task.craete\" is not a known operation"), "{err}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let path = Path::new("no/such.toml");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(report(path, Config::load(path), &mut out, &mut err), 64);
        assert!(String::from_utf8_lossy(&err).starts_with("no/such.toml: the configuration cannot be read"));
    }
}
