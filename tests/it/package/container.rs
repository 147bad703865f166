//! The Dockerfile, by reading: no machine of ours can run it. What it copies is there and is enough to build from, what it runs
//! exists, and nothing else of this folder can get into it.

use std::path::{Path, PathBuf};

use super::root::told;
use crate::support::Folder;
use crate::support::tools::{of_project, with_cargo_tools};

/// Its instructions: the word, and what follows, over all its lines.
fn instructions() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(of_project("Dockerfile")).expect("the Dockerfile");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let whole = lines.join("\n").replace("\\\n", " ");
    let of = |line: &str| line.split_once(' ').map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()));
    whole.lines().filter_map(of).collect()
}

fn all(word: &str) -> Vec<String> {
    instructions().into_iter().filter(|(found, _)| found == word).map(|(_, rest)| rest).collect()
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("a folder") {
            let path = entry.expect("an entry").path();
            copy(&path, &to.join(path.file_name().expect("a name")));
        }
    } else {
        std::fs::copy(from, to).expect("a copy");
    }
}

#[test]
fn what_is_copied_is_enough_to_build_from_and_is_let_through() {
    let ignored = std::fs::read_to_string(of_project(".dockerignore")).expect("the rules");
    let mut rules = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(rules.next(), Some("*"), "nothing goes but what is named");
    let let_through: Vec<_> = rules.filter_map(|line| line.strip_prefix('!')).collect();
    let (mut copied, folder) = (Vec::new(), Folder::new());
    for line in all("COPY").iter().filter(|line| !line.starts_with("--from=")) {
        let mut words: Vec<_> = line.split(' ').collect();
        let to = words.pop().expect("a target");
        for from in words {
            assert!(let_through.contains(&from), "{from} is not let through");
            copied.push(from.to_owned());
            if !to.starts_with('/') {
                let name = Path::new(from).file_name().expect("a name");
                let to = folder.path().join(to).join(if to.ends_with('/') { name } else { "".as_ref() });
                std::fs::create_dir_all(to.parent().expect("a folder")).expect("it is made");
                copy(&of_project(from), &to);
            }
        }
    }
    copied.sort();
    assert_eq!(copied, {
        let mut all = let_through;
        all.sort_unstable();
        all
    });
    // Cargo reads the whole manifest, targets included, and finds their files.
    let mut cargo = with_cargo_tools("cargo");
    cargo.current_dir(folder.path()).args(["metadata", "--locked", "--offline", "--no-deps", "--format-version=1"]);
    let (well, printed) = told(&cargo.output().expect("cargo"));
    assert!(well && printed.contains("\"name\":\"airudder-gateway\""), "{printed}");
    // Nothing that the sources take in stands outside of them.
    let mut left: Vec<PathBuf> = vec![folder.path().join("src")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let built = text.split("#[cfg(test)]").next().expect("a part");
        for (at, found) in ["include_str!(\"", "include_bytes!(\""].iter().flat_map(|taken| built.match_indices(taken))
        {
            let name = built[at + found.len()..].split('"').next().expect("a name");
            assert!(path.with_file_name(name).exists(), "{} takes in {name}", path.display());
        }
    }
}

#[test]
fn it_runs_the_gateway_as_nobody_in_particular_and_can_be_stopped() {
    let users: Vec<_> = instructions().iter().map(|(word, _)| word.clone()).collect();
    let at = |word: &str| users.iter().rposition(|found| found == word).unwrap_or_else(|| panic!("no {word}"));
    assert!(at("USER") > at("FROM") && at("USER") < at("ENTRYPOINT"));
    assert_eq!(all("USER"), ["airudder-gateway"]);
    assert_eq!(all("STOPSIGNAL"), ["SIGTERM"]);
    let json = |word: &str| serde_json::from_str::<Vec<String>>(&all(word).concat()).expect("the form without a shell");
    let program = json("ENTRYPOINT");
    assert!(all("COPY").iter().any(|line| line.ends_with(&format!("/release/airudder-gateway {}", program[0]))));
    let config = &json("CMD")[2];
    assert!(all("COPY").iter().any(|line| line.ends_with(config)), "{config}");
    // The image's compiler is the one that the crate asks for.
    let manifest = std::fs::read_to_string(of_project("Cargo.toml")).expect("the manifest");
    let version = all("FROM")[0].split([':', '-']).nth(1).expect("a version").to_owned();
    assert!(manifest.contains(&format!("rust-version = \"{version}\"")), "{version}");
    let secrets = ["ENV", "ARG"].map(all).concat();
    assert!(secrets.is_empty(), "{secrets:?}");
}
