//! The architecture, kept true by reading the source tree: who may use whom, and what each file owes its reader.
//! It reads lines, not syntax, so a few spellings that would hide a use from it are refused as well.

use std::path::Path;

/// The rooms in reading order. A room uses only those of later lines; rooms of one line never use each other.
const LAYERS: [&[&str]; 8] = [
    &["cli"],
    &["app"],
    &["admin", "delivery", "inbound", "outbound"],
    &["inbox", "limit", "program", "reply", "token"],
    &["envelope", "http"],
    &["log", "trace"],
    &["clock", "config", "metrics"],
    &["secret"],
];

/// The simulator stands apart: it must not agree with the gateway by sharing its flow. Only the command line starts it.
const SIMULATOR_USES: [&str; 4] = ["envelope", "clock", "config", "secret"];

/// What only these rooms may name, and why.
const ONLY_IN: [(&[&str], &[&str], &str); 13] = [
    (&["aes", "cbc", "cipher", "sha2"], &["envelope"], "one place to review how bytes are sealed"),
    (
        &["base64_simd"],
        &["admin", "config", "delivery", "envelope", "program"],
        "sealed bodies are base64 text, and so are the secrets and the signatures of deliveries, gateway tokens, what a \
         browser shows as a password, and the digests that name a page's script",
    ),
    (&["rusqlite"], &["inbox"], "one place to review what is on disk, and when it is synced"),
    (
        &["ring"],
        &["admin", "inbox", "delivery", "program", "http", "simulator"],
        "ciphers at rest, the signatures of deliveries and of gateway tokens, the digests that name a page's script; the \
         others name it as the provider of TLS",
    ),
    (
        &["opentelemetry", "opentelemetry_sdk", "opentelemetry_otlp"],
        &["trace"],
        "one place to review what leaves for a collector",
    ),
    (&["base64"], &["simulator"], "its tokens are base64 text, and it shows bytes as such; nothing is sealed with it"),
    (
        &["hyper", "hyper_util", "http_body_util", "tokio_rustls", "rcgen"],
        &["simulator"],
        "the simulator and the gateway speak HTTP and TLS through different libraries, so they share no bug",
    ),
    (
        &["pingora", "pingora_runtime"],
        &["app", "admin", "delivery", "inbound", "outbound", "token", "http"],
        "the framework is an edge: what decides and what is pure does not know it",
    ),
    (&["std::env"], &["config", "cli"], "the environment is read at the door; the demo asks it where its folder goes"),
    (
        &["std::fs", "tokio::fs"],
        &["config", "cli", "inbox"],
        "files are read at the door; a command writes the ones it is asked for; the inbox has its folder",
    ),
    (&["std::process::Command"], &["app"], "the gateway starts no other program than the next one of its own"),
    (&["tokio::process"], &[], "the gateway starts no other program"),
    (
        &["rustix", "sd_notify"],
        &["app"],
        "one place to review what leaves for another process: descriptors, tokens, what systemd is told",
    ),
];

/// Functions whose name a trait of another crate asks for.
const FOREIGN_NAMES: [&str; 4] = ["get_ssl_digest", "get_timing_digest", "get_proxy_digest", "get_socket_digest"];

/// Rooms that the map describes as a whole, because their files are named after what they do: a subcommand, a table of the
/// configuration; and the simulator, which stands apart.
const DESCRIBED_WHOLE: [&str; 3] = ["cli", "config", "simulator"];

/// The longest file that is still read in one sitting, in lines.
const ONE_SITTING: usize = 450;

/// One file below `src`.
struct Source {
    /// As in `outbound/call.rs`.
    path: String,
    text: String,
    /// The lines that are compiled into the product: no comments, no tests.
    code: String,
}

impl Source {
    fn new(path: &str, text: String) -> Self {
        let (code, tests) = text.split_once("\n#[cfg(test)]\nmod tests {\n").unwrap_or((&text, "\n}\n"));
        assert!(tests.find("\n}\n").is_some_and(|end| end + 3 == tests.len()), "src/{path}: tests stand last");
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code = code.lines().filter(is_code).collect::<Vec<_>>().join("\n");
        Self { path: path.to_owned(), text, code }
    }

    /// The module at the top of the tree that it belongs to.
    fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The names that follow `prefix`, such as the `secret` of `crate::secret::Secret`.
    fn names_after(&self, prefix: &str) -> impl Iterator<Item = &str> {
        self.code.match_indices(prefix).map(|(at, found)| {
            let rest = &self.code[at + found.len()..];
            &rest[..rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len())]
        })
    }

    /// How it could use something without this test seeing it. At the top of a room `super` is the crate itself.
    fn spellings_that_hide(&self) -> [&'static str; 4] {
        let is_top = !self.path.contains('/') || self.path.matches('/').count() == 1 && self.path.ends_with("/mod.rs");
        ["use crate::{", "use std::{", "use tokio::{", if is_top { "super::" } else { "super::super" }]
    }

    /// Whether the code names this crate or path: `hyper` in `use hyper::body` and in `hyper::Request`, but not in
    /// `crate::hyper::x` nor in `my_hyper::x`.
    fn uses(&self, path: &str) -> bool {
        self.code.match_indices(path).any(|(at, _)| {
            let (before, after) = (&self.code[..at], &self.code[at + path.len()..]);
            let starts = !before.ends_with(|c: char| is_of_name(c) || c == ':');
            starts
                && (after.starts_with("::")
                    || (before.ends_with("use ") && (after.starts_with(';') || after.starts_with(" as "))))
        })
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn sources() -> Vec<Source> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<Source>) {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(root).expect("below src").to_str().expect("a name");
                found.push(Source::new(name, std::fs::read_to_string(&path).expect("text")));
            }
        }
    }
    let (root, mut found) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), Vec::new());
    walk(&root, &root, &mut found);
    assert!(found.len() > 50, "the source tree");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Nothing of what was found wrong.
fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn a_room_uses_only_what_stands_to_its_right() {
    let layer = |room: &str| LAYERS.iter().position(|rooms| rooms.contains(&room));
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !["lib", "main"].contains(&source.room())) {
        let room = source.room();
        for used in source.names_after("crate::").filter(|used| *used != room) {
            let right = match (room, layer(room), layer(used)) {
                ("simulator", ..) => SIMULATOR_USES.contains(&used),
                ("fuzzing", ..) => layer(used).is_some(),
                ("cli", ..) if used == "simulator" => true,
                (_, Some(here), Some(there)) => there > here,
                _ => false,
            };
            if !right {
                wrong.push(format!("src/{}: {room} may not use {used:?}", source.path));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn the_crate_lists_its_rooms_in_that_order() {
    let sources = sources();
    let find = |path| sources.iter().find(|source| source.path == path).expect("it is there");
    let paragraphs = find("lib.rs").code.trim().split("\n\n");
    let listed: Vec<Vec<_>> = paragraphs
        .map(|lines| lines.lines().filter_map(|line| line.strip_suffix(';')?.rsplit(' ').next()).collect())
        .collect();
    let (rooms, apart) = listed.split_at(LAYERS.len());
    assert_eq!(rooms, LAYERS.map(<[_]>::to_vec));
    assert_eq!(apart, [["simulator"], ["fuzzing"]]);
    let used: Vec<_> = find("main.rs").names_after("airudder_gateway::").collect();
    assert_eq!(used, ["cli"], "main is the door to the command line and nothing else");
}

#[test]
fn what_only_one_room_may_name_is_named_there_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (names, rooms, reason) in ONLY_IN {
            for name in names.iter().filter(|name| !rooms.contains(&source.room()) && source.uses(name)) {
                wrong.push(format!("src/{} names {name}, which belongs to {rooms:?}: {reason}", source.path));
            }
        }
        for hiding in source.spellings_that_hide().iter().filter(|hiding| source.code.contains(**hiding)) {
            wrong.push(format!(
                "src/{} writes `{hiding}`, which hides a use; name crate::room, a line each",
                source.path
            ));
        }
    }
    assert_none(wrong);
}

#[test]
fn every_file_says_what_it_owns_and_is_read_in_one_sitting() {
    let mut wrong = Vec::new();
    for Source { path, text, .. } in sources() {
        if text.lines().take_while(|line| line.starts_with("//!")).count() < 2 {
            wrong.push(format!("src/{path} does not open with two lines of //!: what it owns, what it never does"));
        }
        if text.lines().count() > ONE_SITTING {
            wrong.push(format!("src/{path} has {} lines; no file has more than {ONE_SITTING}", text.lines().count()));
        }
    }
    assert_none(wrong);
}

/// The map of ARCHITECTURE.md: the paths that begin an entry, and the words after each.
fn map() -> Vec<(String, Vec<String>)> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).expect("text");
    let map = page.split("## Codemap\n").nth(1).and_then(|rest| rest.split("```\n").nth(1)).expect("a map");
    let mut entries: Vec<(String, Vec<String>)> = Vec::new();
    for word in map.split_whitespace() {
        match word.strip_prefix("src/").map(|path| path.trim_end_matches(';')) {
            Some(path) => entries.push((path.to_owned(), Vec::new())),
            None => entries.last_mut().expect("it begins with a path").1.push(word.to_owned()),
        }
    }
    entries
}

#[test]
fn the_map_names_every_file_or_its_folder_and_nothing_that_is_gone() {
    let (map, sources) = (map(), sources());
    let says = |room: &str, name: &str| {
        let is_name = |word: &String| word.trim_matches(|c: char| !is_of_name(c) && c != '/') == name;
        map.iter().any(|(path, words)| path == room && words.iter().any(is_name))
    };
    let mut wrong = Vec::new();
    for Source { path, .. } in &sources {
        let named = match path.split('/').collect::<Vec<_>>()[..] {
            [_] => map.iter().any(|(entry, _)| entry == path),
            [room, ..] if DESCRIBED_WHOLE.contains(&room) => map.iter().any(|(entry, _)| *entry == format!("{room}/")),
            [_, "mod.rs" | "fuzzing.rs"] | [_, "tests", ..] => true,
            [room, file] => says(&format!("{room}/"), file.trim_end_matches(".rs")),
            // The tests of one file stand in a folder of its name.
            [room, folder, ..] => {
                let room = format!("{room}/");
                let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
                says(&room, &format!("{folder}/")) || is_test && says(&room, folder)
            }
            _ => false,
        };
        if !named {
            wrong.push(format!(
                "src/{path} stands nowhere in the map of ARCHITECTURE.md: name it in the entry of its room"
            ));
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let gone = map.iter().filter(|(path, _)| !path.contains('<') && !src.join(path).exists());
    wrong.extend(gone.map(|(path, _)| format!("ARCHITECTURE.md: there is no src/{path} any more")));
    assert_none(wrong);
}

#[test]
fn names_are_nouns_of_the_domain_and_verbs_that_say_something() {
    let mut wrong = Vec::new();
    for source in sources() {
        for room in source.path.trim_end_matches(".rs").split('/') {
            if ["util", "utils", "helper", "helpers", "common", "manager", "misc"].contains(&room) {
                wrong.push(format!("src/{}: {room} names no thing of the domain", source.path));
            }
        }
        for name in source.names_after("fn ") {
            let verb = ["handle_", "process_", "do_", "manage_", "get_"].iter().find(|verb| name.starts_with(**verb));
            if let Some(verb) = verb.filter(|_| !FOREIGN_NAMES.contains(&name)) {
                wrong.push(format!("src/{}: fn {name}: `{verb}` says nothing; find, check, apply …", source.path));
            }
        }
    }
    assert_none(wrong);
}
