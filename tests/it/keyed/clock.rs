//! A wall clock that is set forward, as a wrong time server or a restored machine does it: no key is forgotten by that.
//! `tests/clock/shim.c` is what the gateway sees of it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::{assert_replayed, create, created, keeping, task};
use crate::support::{Folder, Setup, platform};

/// The shim, built once for each run of the tests.
fn shim() -> String {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("clock-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&built);
        let status = cc.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clock/shim.c")).status();
        assert!(status.expect("cc is there: Rust links with it").success(), "the shim does not build");
        built
    });
    built.display().to_string()
}

/// A gateway that keeps keys, and the file that puts its clock ahead while it exists.
fn with_a_clock() -> (Setup, PathBuf, Folder) {
    let folder = Folder::new();
    let ahead = folder.path().join("ahead");
    let env = vec![("LD_PRELOAD".to_owned(), shim()), ("CLOCK_AHEAD".to_owned(), ahead.display().to_string())];
    (Setup { env, ..keeping() }, ahead, folder)
}

#[test]
fn a_clock_that_jumps_forward_for_a_moment_forgets_no_key() {
    let ((setup, ahead, _folder), platform) = (with_a_clock(), platform());
    let gateway = setup.start(&platform).ready();
    let first = create(&gateway, "k", &task("one"));
    assert_eq!(first.status, 200);
    std::fs::write(&ahead, "").expect("the clock is set");
    gateway.log_line(|line| line["message"].as_str().is_some_and(|said| said.starts_with("the wall clock ran ahead")));
    // The writer looks after what is old before it claims a key.
    assert_eq!(create(&gateway, "meanwhile", &task("two")).status, 200);
    assert_replayed(&create(&gateway, "k", &task("one")), &first, "25 hours ahead");
    std::fs::remove_file(&ahead).expect("the clock is set back");
    assert_eq!(create(&gateway, "later", &task("three")).status, 200);
    assert_replayed(&create(&gateway, "k", &task("one")), &first, "set right");
    assert_eq!(created(&platform), 3, "one for each key");
}

#[test]
fn a_clock_that_is_ahead_at_the_next_start_forgets_no_key() {
    let ((setup, ahead, _folder), platform) = (with_a_clock(), platform());
    let mut gateway = setup.start(&platform).ready();
    let first = create(&gateway, "k", &task("one"));
    assert_eq!(first.status, 200);
    gateway.kill();
    std::fs::write(&ahead, "").expect("the clock is set");
    let gateway = setup.start(&platform).ready();
    assert_eq!(create(&gateway, "meanwhile", &task("two")).status, 200);
    assert_replayed(&create(&gateway, "k", &task("one")), &first, "25 hours ahead");
    assert_eq!(created(&platform), 2, "one for each key");
}
