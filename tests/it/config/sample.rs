//! The sample configuration and the operators' page name every key there is, and what they show is true.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use airudder_gateway::config::{Config, Threads};

use super::{ACCOUNT, dir, env, write};

const SAMPLE: &str = include_str!("../../../conf/gateway.toml");
const PAGE: &str = include_str!("../../../docs/configuration.md");

/// Every section with the text that an unknown key is put into.
const SECTIONS: [(&str, &str); 20] = [
    ("the file", "zzz = 1"),
    ("[outbound]", "[outbound]\nzzz = 1"),
    ("[inbound]", "[inbound]\nzzz = 1"),
    ("tls", "[inbound]\ntls = { zzz = 1 }"),
    ("[admin]", "[admin]\nzzz = 1"),
    ("[log]", "[log]\nzzz = 1"),
    ("[[account]]", "[[account]]\nzzz = 1"),
    ("encryption", "[[account]]\nencryption = { zzz = 1 }"),
    ("login", "[[account]]\nlogin = { zzz = 1 }"),
    ("limit of [[account]]", "[[account]]\nlimit = { zzz = 1 }"),
    ("breaker", "[[account]]\nbreaker = { zzz = 1 }"),
    ("[[program]]", "[[program]]\nzzz = 1"),
    ("limit of [[program]]", "[[program]]\nlimit = { zzz = 1 }"),
    ("[[operation]]", "[[operation]]\nzzz = 1"),
    ("limit of [[operation]]", "[[operation]]\nlimit = { zzz = 1 }"),
    ("[[source]]", "[[source]]\nzzz = 1"),
    ("[[receiver]]", "[[receiver]]\nzzz = 1"),
    ("identity", "[[receiver]]\nidentity = { zzz = 1 }"),
    ("when", "[[receiver]]\nwhen = { zzz = 1 }"),
    ("[inbox]", "[inbox]\nzzz = 1"),
];

/// The keys that the gateway itself lists when it meets an unknown one.
fn known_keys(title: &str, probe: &str) -> Vec<String> {
    let error = Config::parse(probe, Path::new("."), env).expect_err(probe).to_string();
    let (_, keys) = error.split_once(&format!("unknown key \"zzz\" in {title}; known keys are ")).expect(&error);
    keys.split(", ").map(str::to_owned).collect()
}

/// A section of the sample: its header, and its keys in order with the values shown for them.
struct Shown {
    header: &'static str,
    keys: Vec<(&'static str, Vec<Value>)>,
}

struct Value {
    written: &'static str,
    active: bool,
}

/// A line is a setting when it begins, after a `#` without a space, with a key or a header.
fn shown() -> Vec<Shown> {
    let mut sections: Vec<Shown> = Vec::new();
    for line in SAMPLE.lines() {
        let active = !line.starts_with('#');
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            sections.push(Shown { header: line, keys: Vec::new() });
        } else if let Some((key, written)) =
            line.split_once(" = ").filter(|_| line.starts_with(|c: char| c.is_ascii_lowercase()))
        {
            let keys = &mut sections.last_mut().expect("a section before the first key").keys;
            let value = Value { written, active };
            match keys.iter_mut().find(|(earlier, _)| *earlier == key) {
                Some((_, values)) => values.push(value),
                None => keys.push((key, vec![value])),
            }
        }
    }
    sections
}

/// The sample with every key active, each with its `choice`th value or its last. Of the two places of the inbox key, which
/// exclude each other, it has the first one in the first choice and the second one in the others.
pub(super) fn uncommented(choice: usize) -> String {
    let mut text = String::new();
    for section in shown() {
        text += &format!("{}\n", section.header);
        let absent = if choice == 0 { "key_file" } else { "key" };
        for (key, values) in section.keys {
            if section.header == "[inbox]" && key == absent {
                continue;
            }
            text += &format!("{key} = {}\n", values[choice.min(values.len() - 1)].written);
        }
    }
    text
}

fn sample_env(name: &str) -> Option<std::ffi::OsString> {
    let long = "a value that is long enough for every key";
    let value = if name.contains("AES") { "0123456789abcdef" } else { long };
    Some(value.into())
}

fn parse(text: &str, test: &str) -> Config {
    let dir = dir(test);
    let own = rcgen::generate_simple_self_signed(["platform.test".to_owned()]).expect("a certificate");
    for name in ["platform-ca.pem", "receivers-ca.pem", "inbound.pem", "gateway.pem"] {
        write(&dir, name, 0o644, own.cert.pem());
    }
    for name in ["inbound.key", "gateway.key"] {
        write(&dir, name, 0o600, own.signing_key.serialize_pem());
    }
    Config::parse(text, &dir, sample_env).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn the_sample_is_accepted_as_it_is_without_a_warning() {
    let config = parse(SAMPLE, "sample");
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(config.accounts.len(), 1);
    assert!(config.accounts[0].encryption.is_some() && config.programs.is_empty() && config.operations.is_empty());
    assert!(config.inbound.is_none() && config.inbox.is_none() && config.admin.token.is_none());
}

#[test]
fn every_value_that_the_sample_shows_is_accepted() {
    let most = shown().iter().flat_map(|section| &section.keys).map(|(_, values)| values.len()).max();
    for choice in 0..most.expect("keys") {
        // `encryption = "on"` of an operation needs the account's, so "off" there meets "off" here.
        let text = uncommented(choice);
        let text = if text.contains("\nencryption = \"off\"\nconnect") {
            text.replace("encryption = \"on\"", "encryption = \"off\"")
        } else {
            text
        };
        parse(&text, "every-value");
    }
}

#[test]
fn what_the_sample_shows_as_default_is_the_default() {
    let shown = parse(&uncommented(1), "defaults");
    let plain = Config::parse(&format!("[outbound]\n{ACCOUNT}"), Path::new("."), env).expect("the least there is");
    let sealed = parse(SAMPLE, "defaults");
    let print = |config: &Config| {
        let mut outbound = config.outbound.clone();
        outbound.threads = Threads::Given(1);
        // Examples, not defaults.
        (outbound.tokens.key, outbound.tokens.old_key) = (None, None);
        let account = &config.accounts[0];
        let admin = config.admin.listen;
        format!("{outbound:?} {admin} {:?} {:?} {:?}", account.upstream, account.timeouts, account.token)
    };
    assert_eq!(print(&shown), print(&plain));
    let first = parse(&uncommented(0), "defaults");
    assert_eq!(first.accounts[0].breaker, plain.accounts[0].breaker);
    assert_eq!(first.accounts[0].limit.max_wait, plain.accounts[0].limit.max_wait);
    let least = |config: &Config| config.accounts[0].limit.least.expect("with a rate");
    let rated = format!("{ACCOUNT}limit = {{ rate = \"50/s\" }}\n[outbound]\n");
    let rated = Config::parse(&rated, Path::new("."), env).expect("a rate");
    assert_eq!(least(&first).per_second(), least(&rated).per_second());
    assert_eq!(first.programs[0].limit.share, 1);
    // The least there is of callbacks, in the same folder, where default paths start.
    let least = "[inbound]\n[[source]]\nname = \"calls\"\npath = \"/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05\"\n\
                 receivers = [\"books\"]\n[[receiver]]\nname = \"books\"\nurl = \"https://books.internal/hooks/calls\"\n";
    let least = parse(&format!("{SAMPLE}{least}"), "defaults");
    let mut examples = shown.clone();
    let inbound = examples.inbound.as_mut().expect("a listener");
    assert!(inbound.tls.take().is_some() && !std::mem::take(&mut inbound.trusted_proxies).is_empty());
    inbound.threads = least.inbound.as_ref().expect("a listener").threads;
    let (source, receiver) = (&mut examples.sources[0], &mut examples.receivers[0]);
    source.allow.clear();
    receiver.ca = None;
    receiver.identity = None;
    receiver.secrets.clear();
    receiver.headers.clear();
    receiver.bury.clear();
    receiver.when = None;
    examples.inbox.as_mut().expect("an inbox").old_keys.clear();
    let print = |config: &Config| {
        let Config { inbound, sources, receivers, inbox, .. } = config;
        format!("{inbound:#?} {sources:#?} {receivers:#?} {inbox:#?}")
    };
    let written = parse(&uncommented(0), "defaults").sources[0].encryption;
    examples.sources[0].encryption = written;
    assert_eq!(print(&examples), print(&least));
    assert_eq!(format!("{:?}", shown.accounts[0].encryption), format!("{:?}", sealed.accounts[0].encryption));
    assert_eq!(parse(&uncommented(0), "defaults").log.format, plain.log.format);
}

#[test]
fn the_sample_shows_every_known_key_and_no_other() {
    let shown: BTreeMap<_, Vec<_>> = shown()
        .into_iter()
        .map(|section| (section.header, section.keys.into_iter().map(|(key, _)| key.to_owned()).collect()))
        .collect();
    for (title, probe) in SECTIONS {
        let known = known_keys(title, probe);
        match shown.get(title) {
            Some(keys) => assert_eq!(*keys, known, "{title}"),
            None if title == "the file" => {
                let headers = shown.keys().map(|header| header.trim_matches(['[', ']']));
                let mut known = known;
                known.sort();
                let mut headers: Vec<_> = headers.collect();
                headers.sort_unstable();
                assert_eq!(headers, known);
            }
            None => {
                // `limit of [[account]]` is shown in that section, others under a name that no other section has.
                let (key, section) = title.split_once(" of ").unwrap_or((title, ""));
                let is_header = |line: &&str| line.trim_start_matches('#').starts_with('[');
                let of_section = SAMPLE.lines().skip_while(|line| line.trim_start_matches('#') != section).skip(1);
                let lines: Vec<_> = match section {
                    "" => SAMPLE.lines().collect(),
                    _ => of_section.take_while(|line| !is_header(line)).collect(),
                };
                let line =
                    lines.iter().filter(|line| line.contains(&format!("{key} = {{"))).copied().collect::<String>();
                for key in known {
                    assert!(line.contains(&format!(" {key} = ")), "{key} of {title} is not in the sample");
                }
            }
        }
    }
}

#[test]
fn the_page_has_every_known_key_and_the_defaults_of_the_sample() {
    let sample = shown();
    for (title, probe) in SECTIONS.into_iter().filter(|(title, _)| *title != "the file") {
        let (_, section) = PAGE.split_once(&format!("# {title}\n")).expect(title);
        let section = section.split("\n#").next().expect("a section");
        let rows: Vec<Vec<&str>> = section
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let keys: Vec<_> = rows.iter().map(|row| row[1].trim_matches('`')).collect();
        assert_eq!(keys, known_keys(title, probe), "{title}");
        for (key, values) in sample.iter().filter(|shown| shown.header == title).flat_map(|shown| &shown.keys) {
            let default = rows[keys.iter().position(|known| known == key).expect(key)][2];
            let is_literal = default.starts_with('`') && default.ends_with('`');
            if is_literal && (!values[0].active || *key == "listen") {
                assert_eq!(default.trim_matches('`'), values[0].written, "{key} of {title}");
            }
        }
    }
}

/// Status, standard output and standard error of `airudder-gateway check --config F`, run where the project stands.
fn check_command(path: &Path, aes_key: &str) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_airudder-gateway"))
        .args(["check".as_ref(), "--config".as_ref(), path.as_os_str()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .envs([("AIRUDDER_APP_KEY", "canary"), ("AIRUDDER_APP_SECRET", "canary"), ("AIRUDDER_AES_KEY", aes_key)])
        .output()
        .expect("the gateway's program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_check_command_says_what_the_page_says() {
    let path = Path::new("conf/gateway.toml");
    let (_, shown) = PAGE.split_once("$ airudder-gateway check --config conf/gateway.toml\n").expect("an example");
    let (shown, _) = shown.split_once("```").expect("the example's end");
    assert_eq!(check_command(path, "canary0123456789"), (Some(0), shown.to_owned(), String::new()));
    let (status, out, err) = check_command(path, "canary");
    assert_eq!((status, out.as_str(), err.lines().count()), (Some(64), "", 1));
    assert!(err.starts_with("conf/gateway.toml:") && err.contains(": key has 6 bytes"), "{err}");
    assert!(!err.contains("canary"), "{err}");
}

/// The blocks of TOML that stand on a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().expect("a block")).collect()
}

#[test]
fn the_examples_of_the_pages_are_accepted_without_a_warning() {
    let readme = blocks(include_str!("../../../README.md"));
    let [outbound, inbound] = readme.as_slice() else { panic!("two examples in the README") };
    let page = blocks(include_str!("../../../docs/callbacks.md"));
    let [callbacks] = page.as_slice() else { panic!("one example on the page of callbacks") };
    for more in ["", inbound, callbacks] {
        assert_eq!(parse(&format!("{outbound}\n{more}"), "pages").warnings, [""; 0], "{more}");
    }
}

#[test]
fn the_configuration_of_the_demo_passes_check_without_a_warning() {
    let dir = dir("demo");
    let authority = rcgen::generate_simple_self_signed(["demo.test".to_owned()]).expect("a certificate").cert.pem();
    for (name, mode, content) in [
        ("demo.toml", 0o644, include_str!("../../../conf/demo.toml")),
        ("ca.pem", 0o644, &authority),
        ("app_key", 0o600, "sample"),
        ("app_secret", 0o600, "sample"),
        ("aes_key", 0o600, "0123456789abcdef"),
        ("hook_secret", 0o600, "a-secret-of-the-demo-and-of-nobody-else"),
    ] {
        write(&dir, name, mode, content);
    }
    let mut check = Command::new(env!("CARGO_BIN_EXE_airudder-gateway"));
    let checked = check.args(["check", "--config", "demo.toml"]).current_dir(&dir).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(checked.stdout), text(checked.stderr));
    assert_eq!((checked.status.code(), err.as_str()), (Some(0), ""));
    assert!(out.ends_with("ok (1 account, 0 programs, 0 operations, 1 source, 1 receiver, 0 warnings)\n"), "{out}");
}
