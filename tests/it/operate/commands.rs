//! `airudder-gateway inbox`: what an operator types, what he reads, and the exit status.

use serde_json::Value;

use super::{
    BLUE, PATH, TOKEN, Unreachable, call_back, callback, command, command_with, count, entries, setup, unwilling,
};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Client, Refusing};

#[test]
fn the_inbox_is_listed_line_by_line() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    call_back(&gateway, PATH, 1..=2);
    call_back(&gateway, BLUE, [3]);
    let ran = command(&gateway, &["list"]);
    assert_eq!((ran.status, ran.err.as_str(), ran.out.lines().count()), (Some(0), "", 3));
    for (line, entry) in ran.out.lines().zip(entries(&gateway, "")) {
        let text = |field: &str| entry[field].as_str().expect("text").to_owned();
        let expected = format!("{} {} {} call waiting", text("id"), text("received"), text("source"));
        assert!(line.starts_with(&expected) && line.contains(" books=waiting("), "{line}");
        assert!(!line.contains("call-"), "{line}");
    }
    let ran = command(&gateway, &["list", "--source", "blue", "--state", "waiting", "--since", "1h", "--json"]);
    let only: Value = serde_json::from_str(&ran.out).expect("one line of JSON");
    assert_eq!((only["source"].as_str(), ran.status), (Some("blue"), Some(0)));

    let ran = command(&gateway, &["list", "--limit", "2"]);
    assert_eq!(ran.out.lines().count(), 2);
    let after = ran.err.trim().strip_prefix("there may be more: --after ").expect("how to go on");
    assert_eq!(command(&gateway, &["list", "--after", after]).out.lines().count(), 1);
    assert_eq!(command(&gateway, &["list", "--call", "nobody"]).out, "");
}

#[test]
fn more_than_one_answer_is_listed_as_one() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    call_back(&gateway, PATH, 0..1100);
    let ran = command(&gateway, &["list", "--limit", "5000"]);
    let ids: std::collections::HashSet<_> = ran.out.lines().map(|line| line.split(' ').next()).collect();
    assert_eq!((ran.out.lines().count(), ids.len(), ran.err.as_str()), (1100, 1100, ""));
    assert_eq!(command(&gateway, &["list", "--limit", "1050"]).out.lines().count(), 1050);
    // A change in steps says how far it is, line by line where nobody looks at a terminal.
    let ran = command(&gateway, &["purge", "--state", "waiting", "--dry-run"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), "1100 callbacks would be purged\n"));
    assert!(
        ran.err.lines().count() == 1 && ran.err.starts_with("1000 callbacks would be purged so far"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains('\r'));
    let ran = command(&gateway, &["purge", "--state", "waiting", "--json"]);
    assert_eq!(ran.out, "{\"dry_run\":false,\"matched\":1100}\n");
    assert_eq!(count(&gateway, ""), 0);
}

#[test]
fn one_callback_is_shown_as_it_was_received() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("");
    let mut platform = Client::connect(gateway.inbound.expect("callbacks are configured"));
    // What a terminal would obey: C1 and DEL may stand in JSON as they are.
    let written = "{\"call_id\": \"call-1\", \"b\":1.50, \"a\":\"\u{9b}2J\u{7f}é\"}";
    assert_eq!(platform.post(PATH, written).status, 200);
    let id = entries(&gateway, "")[0]["id"].as_str().expect("an id").to_owned();
    let ran = command(&gateway, &["show", &id]);
    let (line, body) = ran.out.split_once('\n').expect("two lines");
    assert!(line.starts_with(&id), "{line}");
    assert_eq!(body, "{\"call_id\": \"call-1\", \"b\":1.50, \"a\":\"\\u009b2J\\u007fé\"}\n");
    let whole: Value = serde_json::from_str(&command(&gateway, &["show", &id, "--json"]).out).expect("JSON");
    assert_eq!((&whole["id"], &whole["callback"]["a"]), (&id.into(), &"\u{9b}2J\u{7f}é".into()));

    let ran = command(&gateway, &["show", "cb_0000010000ffffff"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{}", ran.err);
    for nonsense in ["call-1", "../metrics", "cb_", "a b"] {
        let ran = command(&gateway, &["show", nonsense]);
        assert_eq!(
            (ran.status, ran.out.as_str(), ran.err.lines().count()),
            (Some(64), "", 1),
            "{nonsense}: {}",
            ran.err
        );
    }
}

#[test]
fn dead_letters_are_redriven_and_purged_by_hand() {
    let books = unwilling();
    let gateway = setup([&books.url(), &Receiver::new().url()], "token = { env = \"ADMIN_TOKEN\" }")
        .start_at(&Refusing::new().url(), None);
    call_back(&gateway, PATH, 1..=3);
    books.until(|got| got.len() == 3);
    let dead = |arguments: &[&str]| command(&gateway, &[&["list", "--state", "dead"], arguments].concat()).out;
    gateway.until(|_| dead(&[]).lines().count() == 3);
    assert!(dead(&["--call", "call-2"]).contains(" books=dead(1, gone)"), "{}", dead(&[]));

    let ran = command(&gateway, &["redrive", "--receiver", "books", "--dry-run"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), "3 deliveries would be redriven\n"));
    assert_eq!((dead(&[]).lines().count(), books.count()), (3, 3));
    books.answer(|_| Reply::Status(200));
    let ran = command(&gateway, &["redrive", "--call", "call-2", "--rate", "10/s"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (Some(0), "1 delivery redriven\n", ""));
    let got = books.until(|got| got.len() == 4);
    assert_eq!(got[3].body, callback("call-2", "task-2").as_bytes());
    gateway.until(|_| command(&gateway, &["list", "--state", "delivered"]).out.lines().count() == 1);

    let ran = command(&gateway, &["purge", "--state", "dead"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), "2 callbacks purged\n"));
    assert_eq!(command(&gateway, &["list"]).out.lines().count(), 1);
}

#[test]
fn what_cannot_be_done_is_one_sentence_and_a_status() {
    let receivers = Unreachable::new();
    let mut gateway = receivers.start("token = { env = \"ADMIN_TOKEN\" }");
    call_back(&gateway, PATH, [1]);
    let refused = |arguments: &[&str], status: i32, says: &str| {
        let ran = command(&gateway, arguments);
        assert_eq!((ran.status, ran.out.as_str(), ran.err.lines().count()), (Some(status), "", 1), "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
    };
    for what in ["redrive", "purge"] {
        refused(&[what], 64, "--all");
        refused(&[what, "--dry-run"], 64, "--all");
        refused(&[what, "--state", "gone"], 64, "state is one of waiting, delivered, dead, quarantined, corrupt");
    }
    refused(&["list", "--kind", "calls"], 64, "kind is one of call,");
    refused(&["list", "--since", "yesterday"], 64, "since is a time");
    refused(&["list", "--after", "x"], 64, "after is not the id of an entry");
    let ran = command(&gateway, &["purge", "--all"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), "0 callbacks purged\n"), "what waits stays");
    for wrong in
        [&["redrive", "--all", "--rate", "10"][..], &["list", "--colour", "blue"], &["purge", "--rate", "1/s"], &[]]
    {
        assert!(command(&gateway, wrong).status.is_some_and(|status| status != 0), "{wrong:?}");
    }
    let ran = command_with(&gateway, "another token of somebody", &["list"]);
    assert_eq!(ran.status, Some(77));
    assert!(ran.err.contains("refuses the token") && !ran.err.contains("another token"), "{}", ran.err);
    assert!(!ran.err.contains(TOKEN));

    gateway.kill();
    let ran = command(&gateway, &["list"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.lines().count()), (Some(69), "", 1));
    assert!(ran.err.contains("no gateway answers on") && ran.err.contains("start it"), "{}", ran.err);

    let nothing = crate::support::Setup::unsealed().start_at(&Refusing::new().url(), None);
    let ran = command(&nothing, &["list"]);
    assert_eq!((ran.status, ran.err.lines().count()), (Some(69), 1));
    assert!(ran.err.contains("shows no inbox"), "{}", ran.err);
}

#[test]
fn with_an_address_no_configuration_is_needed() {
    let receivers = Unreachable::new();
    let gateway = receivers.start("token = { env = \"ADMIN_TOKEN\" }");
    call_back(&gateway, PATH, 1..=2);
    let folder = crate::support::Folder::new();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
        name.to_owned()
    };
    // In a folder without a gateway.toml.
    let run = |command: &str, variable: Option<&str>, token_file: Option<String>| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_airudder-gateway"));
        program.args([command, "list", "--admin", &format!("http://{}", gateway.admin)]);
        program.args(token_file.iter().flat_map(|file| ["--token-file", file]));
        program.current_dir(folder.path()).env_clear();
        program.envs(variable.map(|token| ("AIRUDDER_ADMIN_TOKEN", token)));
        let output = program.output().expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout).lines().count(), text(output.stderr))
    };
    assert_eq!(run("inbox", Some(TOKEN), None), (Some(0), 2, String::new()));
    assert_eq!(run("inbox", None, Some(file("right", &format!("{TOKEN}\n")))), (Some(0), 2, String::new()));
    assert_eq!(run("inbox", Some("another token"), Some(file("right", TOKEN))).0, Some(0), "the file goes first");
    assert_eq!(run("keys", Some(TOKEN), None), (Some(0), 0, String::new()));
    for (variable, token_file, status, says) in [
        (None, None, 77, "asks for a token, and there is none in AIRUDDER_ADMIN_TOKEN"),
        (Some("another token"), None, 77, "refuses the token of AIRUDDER_ADMIN_TOKEN"),
        (Some(TOKEN), Some(file("wrong", "another token")), 77, "refuses the token of wrong"),
        (
            Some(TOKEN),
            Some("none".to_owned()),
            64,
            "--token-file names a file that cannot be read: there is no such file",
        ),
        (Some(""), None, 64, "AIRUDDER_ADMIN_TOKEN is empty"),
    ] {
        let (ended, lines, err) = run("inbox", variable, token_file);
        assert_eq!((ended, lines, err.lines().count()), (Some(status), 0, 1), "{err}");
        assert!(err.contains(says) && !err.contains("another token") && !err.contains(TOKEN), "{err}");
    }
}

#[test]
fn only_the_admin_section_is_needed() {
    let run = |text: &str| {
        let folder = crate::support::Folder::new();
        let config = folder.path().join("gateway.toml");
        std::fs::write(&config, text).expect("a configuration");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_airudder-gateway"))
            .args(["inbox", "list", "--config"])
            .arg(&config)
            .env_clear()
            .output()
            .expect("the program runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    // The other end takes connections and says nothing that a gateway would.
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address");
    let says = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = other.accept().expect("a connection");
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
    });
    let (status, err) = run(&format!(
        "[outbound]\n[[account]]\nname = \"main\"\napp_key = {{ env = \"NOT_SET\" }}\n[admin]\nlisten = \"{address}\"\n"
    ));
    says.join().expect("no panic");
    assert_eq!(status, Some(69), "{err}");
    assert!(err.starts_with(&format!("no gateway answers on {address}")), "{err}");
    let (status, err) = run("[admin]\ntoken = { env = \"NOT_SET\" }\n");
    assert_eq!(status, Some(64));
    assert!(err.contains("gateway.toml:2: token needs the environment variable NOT_SET"), "{err}");
    let (status, err) = run("[admin]\nlisten = \"127.0.0.1:0\"\n");
    assert_eq!(status, Some(64));
    assert!(err.contains("name it with --admin"), "{err}");
    let (status, err) = run("[admin]\nport = 1\n");
    assert!(status == Some(64) && err.contains("unknown key \"port\" in [admin]"), "{err}");
}
