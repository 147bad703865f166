//! The README's first screen: the demo, which runs on the sample `conf/demo.toml`.
//! It is started as a newcomer starts it, and never given a port or a file.

use std::process::Command;

#[test]
fn the_demo_shows_four_calls_and_a_callback_and_ends_well() {
    let done = Command::new(env!("CARGO_BIN_EXE_airudder-gateway")).arg("demo").output().expect("the demo runs");
    let shown = String::from_utf8(done.stdout).expect("text");
    assert!(done.status.success(), "{shown}\n{}", String::from_utf8_lossy(&done.stderr));
    for part in [
        // The platform's published vector, as the README shows it.
        "qbj8cnqKnqR66qDS49ib9ymU1mpMCyp8Dm0gS1VvmnEqTxPGSBzruAU1sapP+cye",
        "6956d7af4c89b89f19f9ae0a8be4bcf12abe7c6ed893691733f3480ad3f3aabc",
        "4. download it",
        "program received 200 (2097152 bytes)",
        "airudder_gateway_call_seconds_count 4",
        "Is-Encrypted: 1  Signed: ",
        "and only then acknowledged",
        "webhook-signature: v1,",
        "+6281200000001",
        r#"airudder_gateway_callbacks_total{outcome="stored",source="calls"} 1"#,
        r#"airudder_gateway_delivery_attempts_total{outcome="refused",receiver="books"} 1"#,
        r#"airudder_gateway_delivery_attempts_total{outcome="delivered",receiver="books"} 1"#,
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let at = |part: &str| shown.find(part).unwrap_or_else(|| panic!("{part} is not in\n{shown}"));
    // Refused at first, delivered then.
    assert!(at("receiver refuses: attempt 1 of cb_") < at("receiver takes: attempt 2 of cb_"));
    assert!(at("platform sends: ") < at("receiver refuses: "));
    for secret in ["demo-secret", "a-secret-of-the-demo"] {
        assert!(!shown.contains(secret));
    }
}
