//! A configuration that means another database or another key: the gateway does not start, and says what to do.

use std::path::Path;

use rusqlite::Connection;

use super::setting::{Setting, assert_acknowledged, call_back, platform};
use crate::support::gateway::{Finished, Folder};
use crate::support::{Refusing, Setup};

const KEYS: [&str; 2] = ["0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"];

/// A setup whose inbox is `inbox.db` of this folder, with further lines of `[inbox]`.
fn setup(folder: &Folder, lines: &str) -> Setup {
    let path = folder.path().join("inbox.db");
    let more = format!("path = \"{}\"\n{lines}", path.display());
    let env = KEYS.iter().zip(["ONE", "TWO"]).map(|(key, name)| (name.to_owned(), (*key).to_owned()));
    Setup { env: env.collect(), ..Setting { more, ..Setting::default() }.setup() }
}

/// An inbox that holds a callback.
fn fill(setup: &Setup) {
    let mut gateway = setup.start_at(&Refusing::new().url(), None);
    assert_acknowledged(&call_back(&mut platform(&gateway), &(String::new(), b"{}".to_vec())));
    gateway.terminate();
    assert!(gateway.wait().success(), "{}", gateway.printed());
}

#[track_caller]
fn assert_refused(setup: &Setup, says: &str) {
    // `check` first, because it must not change what it looks at.
    for command in ["check", "run"] {
        let finished = Finished::of(command, setup, |text| text);
        assert_eq!((finished.status, finished.err.lines().count()), (Some(64), 1), "{command}: {}", finished.err);
        assert!(finished.err.contains("[inbox] ") && finished.err.contains(says), "{command}: {}", finished.err);
    }
}

#[test]
fn check_passes_what_starts_and_makes_no_file_also_beside_a_running_gateway() {
    let folder = Folder::new();
    let ours = setup(&folder, "key = { env = \"ONE\" }\n");
    let passes = |setup: &Setup| assert_eq!(Finished::of("check", setup, |text| text).status, Some(0));
    passes(&ours);
    assert!(!folder.path().join("inbox.db").exists() && !folder.path().join("inbox.db.lock").exists());
    let gateway = ours.start_at(&Refusing::new().url(), None);
    assert_acknowledged(&call_back(&mut platform(&gateway), &(String::new(), b"{}".to_vec())));
    passes(&ours);
    let other = Finished::of("check", &setup(&folder, "key = { env = \"TWO\" }\n"), |text| text);
    assert!(other.status == Some(64) && other.err.contains("inbox.old_keys"), "{}", other.err);
    assert_acknowledged(&call_back(&mut platform(&gateway), &(String::new(), b"{}".to_vec())));
    drop(gateway);
    // What it cannot be blamed for is no mistake: a disk that lost its header.
    let path = folder.path().join("inbox.db");
    let length = std::fs::metadata(&path).expect("a database").len();
    std::fs::write(&path, vec![0; length as usize]).expect("damaged");
    passes(&ours);
}

fn change(folder: &Path, sql: &str) {
    Connection::open(folder.join("inbox.db")).expect("a database").execute_batch(sql).expect("changed");
}

#[test]
fn a_file_that_is_somebody_elses_is_refused() {
    let folder = Folder::new();
    let ours = setup(&folder, "");
    std::fs::write(folder.path().join("inbox.db"), "Dear aunt, ".repeat(100)).expect("written");
    assert_refused(&ours, "is not a database: choose another path");
    std::fs::remove_file(folder.path().join("inbox.db")).expect("removed");
    change(folder.path(), "CREATE TABLE recipes (name TEXT); PRAGMA application_id = 7");
    assert_refused(&ours, "is not a database of the gateway");
    assert!(!folder.path().join("inbox.db.key").exists(), "no key is made for it");
}

#[test]
fn a_database_of_a_later_gateway_is_refused() {
    let folder = Folder::new();
    let ours = setup(&folder, "");
    fill(&ours);
    change(folder.path(), "PRAGMA user_version = 99");
    assert_refused(&ours, "has version 99, which a later gateway made");
}

#[test]
fn a_key_that_does_not_open_it_is_refused() {
    let folder = Folder::new();
    let with = |lines: &str| setup(&folder, lines);
    fill(&with("key = { env = \"ONE\" }\n"));
    assert_refused(&with("key = { env = \"TWO\" }\n"), "inbox.old_keys");
    fill(&with("key = { env = \"TWO\" }\nold_keys = [{ env = \"ONE\" }]\n"));
}

#[test]
fn a_key_file_that_is_short_or_missing_is_refused() {
    let folder = Folder::new();
    let ours = setup(&folder, "");
    fill(&ours);
    let key = folder.path().join("inbox.db.key");
    std::fs::write(&key, "short").expect("written");
    assert_refused(&ours, "holds fewer than 32 bytes");
    std::fs::remove_file(&key).expect("removed");
    assert_refused(&ours, "is missing and the database is encrypted with it");
}
