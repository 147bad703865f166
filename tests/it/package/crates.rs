//! The crates that we use: all from the one registry, and the look at what is known of them is never passed unseen.

use std::path::Path;
use std::process::Command;

use crate::support::Folder;
use crate::support::tools::of_project;

#[test]
fn every_crate_has_one_origin_and_a_checksum_also_those_of_the_tests() {
    assert_eq!(elsewhere("Cargo.lock"), ["airudder-gateway"]);
    assert_eq!(elsewhere("tests/fuzz/Cargo.lock"), ["airudder-gateway", "airudder-gateway-fuzz"]);
}

/// The crates of a lock file that do not come from crates.io with a checksum.
fn elsewhere(lock: &str) -> Vec<String> {
    let lock = std::fs::read_to_string(of_project(lock)).expect("the lock file");
    let lock: toml::Table = lock.parse().expect("TOML");
    let crates = lock["package"].as_array().expect("a list");
    assert!(crates.len() > 100, "the lock file");
    let of = |one: &toml::Value, key: &str| one.get(key).and_then(|value| value.as_str().map(str::to_owned));
    crates
        .iter()
        .filter(|one| {
            let origin = of(one, "source");
            origin.as_deref() != Some("registry+https://github.com/rust-lang/crates.io-index")
                || of(one, "checksum").is_none_or(|sum| sum.len() != 64)
        })
        .filter_map(|one| of(one, "name"))
        .collect()
}

/// `make advisories` with a database that stands in a folder: whether it passed, and what it printed.
fn advisories(folder: &Path, database: &Path, more: &[&str]) -> (bool, String) {
    let config = std::fs::read_to_string(of_project("deny.toml")).expect("the rules");
    let found =
        format!("[advisories]\ndb-path = {:?}\ndb-urls = [\"https://advisories.test/db\"]", folder.join("copy"));
    let config = config.replace("[advisories]", &found);
    let rules = folder.join("deny.toml");
    std::fs::write(&rules, config).expect("the rules are written");
    let mut make = Command::new("make");
    make.current_dir(of_project("")).arg("advisories").arg(format!("DENY_CONFIG={}", rules.display())).args(more);
    for passed_down in ["MAKEFLAGS", "MAKELEVEL", "UNREACHABLE"] {
        make.env_remove(passed_down);
    }
    // Git is told where that address is, so that nothing is fetched from anywhere.
    make.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_VALUE_0", "https://advisories.test/db");
    make.env("GIT_CONFIG_KEY_0", format!("url.{}.insteadOf", database.display()));
    let done = make.output().expect("make runs");
    let printed = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.success(), printed)
}

/// A database of advisories with one against a crate.
fn database(folder: &Path, against: &str) {
    let entry = folder.join("crates").join(against);
    std::fs::create_dir_all(&entry).expect("a folder");
    let text = format!(
        "```toml\n[advisory]\nid = \"RUSTSEC-2026-9999\"\npackage = \"{against}\"\ndate = \"2026-01-01\"\n\n\
         [versions]\npatched = []\n```\n\n# A made-up fault\n\nNobody has it.\n"
    );
    std::fs::write(entry.join("RUSTSEC-2026-9999.md"), text).expect("an advisory");
    for args in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "."],
        &["-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", "one"],
    ] {
        let done = Command::new("git").arg("-C").arg(folder).args(args).status().expect("git runs");
        assert!(done.success(), "{args:?}");
    }
}

#[test]
fn a_fault_that_is_known_of_a_crate_fails_the_check() {
    for (against, passes, word) in [("bytes", false, "A made-up fault"), ("no-crate-of-ours", true, "advisories ok")] {
        let folder = Folder::new();
        let at = folder.path().join("database");
        database(&at, against);
        let (passed, printed) = advisories(folder.path(), &at, &["UNREACHABLE=told"]);
        assert_eq!(passed, passes, "{printed}");
        assert!(printed.contains(word), "{printed}");
    }
}

#[test]
fn advisories_that_cannot_be_looked_up_are_a_failure_unless_one_asks_to_be_told_only() {
    let folder = Folder::new();
    for (more, passes) in [(&[][..], false), (&["UNREACHABLE=told"], true), (&["UNREACHABLE="], false)] {
        let (passed, printed) = advisories(folder.path(), &folder.path().join("nowhere"), more);
        assert_eq!(passed, passes, "{more:?}: {printed}");
        assert!(printed.contains("advisories: NOT CHECKED"), "{printed}");
    }
}
