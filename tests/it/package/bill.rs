//! The bill of materials: what a crate of the default build is, is listed; what is not, is not.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::root::told;
use crate::support::tools::{of_project, with_cargo_tools};

/// Makes the bill and the notices, once.
pub(super) fn make() {
    static MADE: LazyLock<()> = LazyLock::new(|| {
        let (well, printed) = told(&with_cargo_tools(of_project("packaging/sbom")).output().expect("it runs"));
        assert!(well, "{printed}");
    });
    *MADE
}

#[test]
fn the_bill_lists_every_crate_of_the_build_and_no_other() {
    make();
    let text = std::fs::read_to_string(of_project("target/airudder-gateway.cdx.json")).expect("a bill");
    let bill: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(bill["metadata"]["component"]["name"], "airudder-gateway");
    let components = bill["components"].as_array().expect("a list");
    let name = |one: &serde_json::Value| {
        format!("{} {}", one["name"].as_str().expect("a name"), one["version"].as_str().expect("a version"))
    };
    let listed: BTreeSet<_> = components.iter().map(name).collect();
    let mut cargo = with_cargo_tools("cargo");
    let (_, tree) =
        told(&cargo.args(["tree", "--locked", "--edges=normal,build", "--prefix=none"]).output().expect("cargo"));
    let built: BTreeSet<_> = tree
        .lines()
        .filter_map(|line| line.split(" (").next()?.split_once(" v"))
        .filter(|(name, _)| *name != "airudder-gateway")
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    assert!(built.iter().any(|one| one.starts_with("ring ")), "{built:?}");
    assert_eq!(listed, built);
    // Each by the checksum of the lock file, under a licence.
    let lock = std::fs::read_to_string(of_project("Cargo.lock")).expect("the lock file");
    for one in components {
        let sum = one["hashes"][0]["content"].as_str().expect("a checksum");
        assert!(lock.contains(sum) && !one["licenses"][0].is_null(), "{one}");
    }
    // Nothing of the machine that it was made on.
    assert!(!text.contains(of_project("").to_str().expect("text").trim_end_matches('/')));
    let notices = std::fs::read_to_string(of_project("target/third-party-licenses.txt")).expect("notices");
    for one in &built {
        assert!(notices.contains(&format!("\n{one} (")), "no notice of {one}");
    }
}
