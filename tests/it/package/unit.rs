//! The unit of systemd: it fits the program that it starts, and shuts it in without shutting it off.

use std::collections::BTreeSet;
use std::process::Command;

use super::root::told;
use crate::support::tools::of_project;

/// Where it stands in the project.
pub(super) const PATH: &str = "conf/systemd/airudder-gateway.service";

/// Its text.
pub(super) fn text() -> String {
    std::fs::read_to_string(of_project(PATH)).expect("the unit")
}

/// The values of a key, in order.
pub(super) fn values(key: &str) -> Vec<String> {
    let of = |line: &str| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
    text().lines().filter_map(of).collect()
}

/// The command of a key, in words.
pub(super) fn words(key: &str) -> Vec<String> {
    values(key).first().expect(key).split(' ').map(str::to_owned).collect()
}

/// `systemd-analyze`; `None` when this machine has no systemd. That is printed.
fn analyze(args: &[&str]) -> Option<(bool, String)> {
    let done = Command::new("systemd-analyze").args(args).output();
    if done.is_err() {
        println!("SKIPPED: systemd-analyze is not installed");
    }
    done.ok().map(|done| told(&done))
}

#[test]
fn the_unit_leaves_little_to_a_gateway_that_was_taken_over() {
    let unit = of_project(PATH);
    let unit = unit.to_str().expect("text");
    // 0 is shut in wholly, 100 not at all; what is missing for 0 is the network and the files that it is there for.
    let asked = ["security", "--no-pager", "--offline=true", "--threshold=15", unit];
    let Some((well, printed)) = analyze(&asked) else { return };
    assert!(well, "{printed}");
}

#[test]
fn the_unit_agrees_with_the_configuration_and_the_program() {
    let sample = std::fs::read_to_string(of_project("conf/gateway.toml")).expect("the sample");
    let of = |text: &str, unit: &str| text.trim_matches('"').trim_end_matches(unit).parse::<u64>().expect(text);
    let grace = sample.lines().find_map(|line| line.strip_prefix("#grace = ")).expect("a grace");
    let stop = values("TimeoutStopSec");
    assert!(of(&stop[0], "s") > of(grace, "s"), "what ends within its grace is not killed before");
    // Two for each of outbound's connections, one for each of inbound's.
    let most = |at: usize| {
        let found: Vec<_> = sample.lines().filter_map(|line| line.strip_prefix("#max_connections = ")).collect();
        of(found[at], "")
    };
    assert!(of(&values("LimitNOFILE")[0], "") > 2 * most(0) + most(1));
    assert_eq!(values("RestartPreventExitStatus"), ["64"], "that of a configuration that cannot be used");
    let help = Command::new(env!("CARGO_BIN_EXE_airudder-gateway")).arg("--help").output().expect("it runs");
    let (_, help) = told(&help);
    for key in ["ExecStart", "ExecReload"] {
        let words = words(key);
        assert_eq!(words[0], "/usr/bin/airudder-gateway", "{key}");
        assert!(help.contains(&format!("\n  {} ", words[1])), "{key}: {help}");
    }
}

/// The names of system calls that the unit allows; `None` when this machine has no systemd.
fn allowed() -> Option<BTreeSet<String>> {
    let (well, printed) = analyze(&["syscall-filter", "--no-pager"])?;
    assert!(well, "{printed}");
    let mut sets: Vec<(String, Vec<String>)> = Vec::new();
    for line in printed.lines() {
        match (line.strip_prefix("    "), sets.last_mut()) {
            (None, _) if line.starts_with('@') => sets.push((line.to_owned(), Vec::new())),
            (Some(name), Some((_, names))) if !name.starts_with('#') => names.push(name.trim().to_owned()),
            _ => {}
        }
    }
    fn expand(sets: &[(String, Vec<String>)], name: &str, into: &mut BTreeSet<String>) {
        let (_, names) = sets.iter().find(|(set, _)| set == name).unwrap_or_else(|| panic!("a set {name}"));
        for one in names {
            if one.starts_with('@') { expand(sets, one, into) } else { _ = into.insert(one.clone()) }
        }
    }
    let (mut all, mut without) = (BTreeSet::new(), BTreeSet::new());
    for line in values("SystemCallFilter") {
        let (set, names) = line.strip_prefix('~').map_or((&mut all, line.as_str()), |names| (&mut without, names));
        names.split(' ').for_each(|name| expand(&sets, name, set));
    }
    assert!(all.len() > 200 && !without.is_empty(), "{all:?} {without:?}");
    Some(all.difference(&without).cloned().collect())
}

/// Whether a trace of the gateway, from the moment at which it became itself, holds nothing that the unit forbids.
pub(super) fn check_trace(trace: &str) {
    let (_, trace) = trace.split_once("execve(\"/usr/bin/airudder-gateway\"").expect("the gateway was traced");
    let calls = || trace.lines().filter_map(|line| line.split_once(' ').map(|(_, call)| call.trim_start()));
    let name = |call: &str| call.split_once('(').map(|(name, _)| name.to_owned());
    let is_name = |name: &String| name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    let made: BTreeSet<_> = calls().filter_map(name).filter(is_name).collect();
    assert!(made.len() > 30 && made.contains("socket"), "{made:?}");
    if let Some(allowed) = allowed() {
        let refused: Vec<_> = made.difference(&allowed).collect();
        assert!(refused.is_empty(), "SystemCallFilter forbids {refused:?}");
    }
    let families = values("RestrictAddressFamilies");
    let families: Vec<_> = families[0].split(' ').collect();
    for call in calls().filter(|call| call.starts_with("socket(")) {
        let family = call.trim_start_matches("socket(").split(',').next().expect("a family");
        assert!(families.contains(&family), "RestrictAddressFamilies forbids {call}");
    }
    assert_eq!(values("MemoryDenyWriteExecute"), ["yes"]);
    let runs = |call: &&str| call.starts_with("mprotect(") && call.contains("PROT_EXEC");
    assert_eq!(calls().find(|call| runs(call) || call.contains("PROT_WRITE|PROT_EXEC")), None);
}
