//! `check` and `run` agree: what `check` passes starts, and what it refuses does not, with the same sentence.

use crate::support::gateway::Finished;
use crate::support::{Setup, platform};

/// What comes after the account of a setup, and what the sentence about it says.
const REFUSED: [(&str, &str); 5] = [
    ("[[operation]]\nname = \"task.craete\"\nencryption = \"off\"\n", "not a known operation"),
    ("[[operation]]\nname = \"auth\"\nencryption = \"off\"\n", "logins are answered by the gateway"),
    ("[[operation]]\nname = \"mine\"\nmethod = \"POST\"\npath = \"/service/cloud/task\"\n", "is known already"),
    ("[[operation]]\nname = \"task.create\"\nmethod = \"POST\"\npath = \"/mine\"\n", "is known already"),
    ("[outbond]\n", "unknown key \"outbond\""),
];

#[test]
fn what_cannot_start_is_refused_by_both_with_one_sentence_and_64() {
    let with = |more: &str| Setup { more: more.into(), ..Setup::default() };
    let key = ("[[operation]]\nname = \"task.create\"\nencryption = \"on\"\n", "has no encryption");
    let no_key = Setup { sealed: false, ..with(key.0) };
    for (setup, says) in REFUSED.map(|(more, says)| (with(more), says)).into_iter().chain([(no_key, key.1)]) {
        let [checked, run] = ["check", "run"].map(|command| Finished::of(command, &setup, |text| text));
        for finished in [&checked, &run] {
            assert_eq!((finished.status, finished.out.as_str()), (Some(64), ""), "{}", setup.more);
            assert!(finished.err.contains(says) && finished.err.lines().count() == 1, "{}", finished.err);
            assert!(finished.err.contains("gateway.toml:"), "it names the file: {}", finished.err);
        }
        // Each had a folder of its own.
        let sentence = |finished: &Finished| finished.err.split("gateway.toml:").nth(1).map(str::to_owned);
        assert_eq!(sentence(&checked), sentence(&run));
    }
}

#[test]
fn what_check_passes_starts() {
    let more = "[[operation]]\nname = \"plan.create\"\nmethod = \"POST\"\npath = \"/service/cloud/plan\"\n\
                [[operation]]\nname = \"task.list\"\nencryption = \"off\"\n";
    let setup = Setup { more: more.into(), ..Setup::default() };
    let checked = Finished::of("check", &setup, |text| text);
    assert_eq!((checked.status, checked.err.as_str()), (Some(0), ""));
    assert!(
        checked.out.contains(": ok (1 account, 0 programs, 2 operations, 0 sources, 0 receivers, 0 warnings)"),
        "{}",
        checked.out
    );

    let platform = platform();
    let gateway = setup.start(&platform);
    let answer = gateway.client().post("/service/cloud/plan", "{}");
    assert_eq!(gateway.line_of(&answer)["operation"], "plan.create");
    let answer = gateway.client().get("/service/cloud/list");
    let line = gateway.line_of(&answer);
    assert_eq!((&line["operation"], &line["sealed"]), (&"task.list".into(), &false.into()));
}

#[test]
fn an_address_that_is_taken_is_said_at_the_start() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let setup = Setup::default();
    let change = |text: String| text.replacen("127.0.0.1:0", &address, 1);
    assert_eq!(Finished::of("check", &setup, change).status, Some(0), "check opens nothing");
    let finished = Finished::of("run", &setup, change);
    assert_eq!((finished.status, finished.err.lines().count()), (Some(64), 1), "{}", finished.err);
    assert!(finished.err.contains(&address) && finished.err.contains("free the port"), "{}", finished.err);
}

#[test]
fn a_missing_file_and_wrong_arguments_are_said_too() {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_airudder-gateway")).args(arguments).output();
        let output = output.expect("the program runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    for command in ["check", "run"] {
        let (status, err) = run(&[command, "--config", "no/such.toml"]);
        assert_eq!(status, Some(64));
        assert!(err.starts_with("no/such.toml: the configuration cannot be read"), "{err}");
    }
    let (status, err) = run(&["chek"]);
    assert!(status.is_some_and(|status| status != 0) && err.contains("check"), "{err}");
}
