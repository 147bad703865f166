//! What is refused, with which sentence, and that no sentence ever shows a secret.

mod sample;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use airudder_gateway::config::{Config, ConfigError, Iv, Scheme};

/// Four lines; what a test adds to the account stands on line 5.
const ACCOUNT: &str = "\
[[account]]
name = \"main\"
app_key = { env = \"APP_KEY\" }
app_secret = { env = \"APP_SECRET\" }
";

/// The environment of these tests. Every secret has the word that no output may contain.
fn env(name: &str) -> Option<OsString> {
    let value = match name {
        "APP_KEY" => "canary-app-key",
        "APP_SECRET" => "canary-app-secret",
        "AES_KEY" => "canary0123456789",
        "AES_KEY_24" => "canary0123456789canary01",
        "AES_KEY_32" => "canary0123456789canary0123456789",
        "SHORT_KEY" => "canary012345678",
        "KEY_A" => "canary-a",
        "KEY_B" => "canary-b",
        "EMPTY_KEY" => "",
        "TWO_LINES" => "canary\ncanary",
        "OUTER_SPACE" => "canary ",
        "ACCENT" => "canaryé",
        _ => return None,
    };
    Some(value.into())
}

/// A directory of its own with a few files that configurations refer to.
fn dir(test: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config").join(test);
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

fn write(dir: &Path, name: &str, mode: u32, content: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::write(&path, content).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/nonexistent"), env)
}

/// The text is refused with exactly this sentence, which is one line and shows no secret.
fn check(bad: &str, sentence: &str) {
    let error = parse(bad).map(|_| ()).expect_err(bad).to_string();
    assert_eq!(error, sentence, "{bad}");
    assert!(!error.contains("canary") && error.lines().count() == 1, "{error}");
}

/// The added lines start on line 2.
fn check_outbound(lines: &str, sentence: &str) {
    check(&format!("[outbound]\n{lines}\n{ACCOUNT}"), sentence);
}

/// The added lines start on line 5.
fn check_account(lines: &str, sentence: &str) {
    check(&format!("{ACCOUNT}{lines}\n[outbound]\n"), sentence);
}

/// The added lines start on line 6.
fn check_more(lines: &str, sentence: &str) {
    check(&format!("{ACCOUNT}[outbound]\n{lines}\n"), sentence);
}

fn account(lines: &str) -> Config {
    parse(&format!("{ACCOUNT}{lines}\n[outbound]\n")).expect(lines)
}

#[test]
fn what_is_not_toml_or_not_known_is_refused_with_its_line() {
    check(
        "[outbound\n",
        "line 1: this is not TOML: unclosed table, expected `]`; correct this line (text needs quotes)",
    );
    check_outbound(
        "listen = 127.0.0.1:8080",
        "line 2: this is not TOML: invalid float; correct this line (text needs quotes)",
    );
}
