//! A configuration that cannot be used is refused with what is wrong, and the former one serves on; whoever asks, and
//! however often.

use std::path::Path;
use std::process::Command;

use super::{call, program, reloads, setup, start};
use crate::support::{Client, Gateway, Refusing, Setup, platform};

/// Asks for a reload with these header lines: the status.
fn ask(gateway: &Gateway, method: &str, headers: &str) -> u16 {
    let request = format!("{method} /reload HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: 0\r\n\r\n");
    Client::connect(gateway.admin).send(request).answer().status
}

#[test]
fn an_invalid_configuration_is_refused_with_its_line_and_the_former_one_serves_on() {
    let platform = platform();
    let gateway = start(&setup(&program("a", "KEY_A", "")), &platform);
    let mut client = gateway.client();
    for (wrong, line, part) in [
        ("[[program]]\nname = \"b\"\napi_kye = 1\n", Some("api_kye"), "unknown key \"api_kye\" in [[program]]"),
        (
            "[[program]]\nname = \"b\"\napi_key = { env = \"NOT_THERE\" }\n",
            Some("NOT_THERE"),
            "api_key needs the environment variable NOT_THERE",
        ),
        (
            "[[operation]]\nname = \"task.craete\"\nencryption = \"on\"\n",
            None,
            "[[operation]] \"task.craete\" is not a known operation",
        ),
        ("[[program\n", Some("[[program\n"), ""),
    ] {
        gateway.rewrite(&setup(wrong), &platform.url());
        let written = std::fs::read_to_string(gateway.config()).expect("the file");
        let number = line.map(|line| 1 + written[..written.find(line).expect("it is there")].matches('\n').count());
        let (status, page) = gateway.reload();
        let message = page["message"].as_str().expect("a sentence");
        assert_eq!((status, &page["reloaded"], &page["reason"]), (422, &false.into(), &"invalid".into()), "{page}");
        let file = gateway.config().display().to_string();
        let place = number.map_or(file.clone(), |number| format!("{file}, line {number}"));
        let place = if message.starts_with(&place) {
            place
        } else {
            number.map_or(file.clone(), |number| format!("{file}:{number}"))
        };
        assert!(message.starts_with(&place) && message.contains(part), "{place} {part}: {message}");
        let told = gateway.log_line(|line| {
            line["level"] == "ERROR"
                && line["message"].as_str().is_some_and(|told| told.starts_with(message.trim_end_matches('.')))
        });
        assert!(
            told["message"].as_str().is_some_and(|told| told.ends_with("the former configuration serves on")),
            "{told}"
        );
        assert_eq!(call(&mut client, "X-Gateway-Key: key-a\r\n").status, 200);
        assert_eq!(gateway.metric("config_last_reload_successful"), 0.0);
    }
    assert_eq!((reloads(&gateway, "invalid"), reloads(&gateway, "ok")), (4.0, 0.0));
    assert_eq!(gateway.troubles(), ["reload_refused"]);
    std::fs::remove_file(gateway.config()).expect("removed");
    assert_eq!(gateway.reload().0, 422);
    gateway.reload_as(&setup(&program("b", "KEY_B", "")), &platform.url());
    assert_eq!(call(&mut client, "X-Gateway-Key: key-b\r\n").status, 200);
    assert_eq!((gateway.metric("config_last_reload_successful"), reloads(&gateway, "ok")), (1.0, 1.0));
    assert!(gateway.metric("config_last_reload_success_timestamp_seconds") > 1_700_000_000.0);
}

#[test]
fn what_cannot_change_is_named_and_nothing_of_the_rest_is_taken() {
    let platform = platform();
    let gateway = start(&setup(&program("a", "KEY_A", "")), &platform);
    let base = setup(&program("b", "KEY_B", ""));
    let changed = Setup {
        outbound: base.outbound.replace("threads = 2", "threads = 3\nmemory = \"600MiB\"\nmax_connections = 77"),
        ..base
    };
    gateway.rewrite(&changed, &platform.url());
    let (status, page) = gateway.reload();
    assert_eq!((status, &page["reason"]), (422, &"restart".into()), "{page}");
    let message = page["message"].as_str().expect("a sentence");
    assert!(message.contains("outbound.threads, outbound.memory, outbound.max_connections cannot change"), "{message}");
    assert!(message.contains("restart it"), "{message}");
    let mut client = gateway.client();
    assert_eq!(call(&mut client, "X-Gateway-Key: key-a\r\n").status, 200);
    assert_eq!(call(&mut client, "X-Gateway-Key: key-b\r\n").word(), Some("unknown_program"));
    assert_eq!(reloads(&gateway, "restart"), 1.0);
}

#[test]
fn a_storm_of_sighups_stops_nothing_and_the_last_configuration_serves() {
    let platform = platform();
    let gateway = start(&setup(&program("a", "KEY_A", "")), &platform);
    let mut client = gateway.client();
    for round in 0..100 {
        if round % 10 == 0 {
            gateway.rewrite(&setup(&program(&format!("a{round}"), "KEY_A", "")), &platform.url());
        }
        gateway.hang_up();
        assert_eq!(call(&mut client, "X-Gateway-Key: key-a\r\n").status, 200);
    }
    gateway.rewrite(&setup(&program("last", "KEY_A", "")), &platform.url());
    gateway.hang_up();
    gateway.until(|gateway| {
        let answer = call(&mut gateway.client(), "X-Gateway-Key: key-a\r\n");
        gateway.line_of(&answer)["program"] == "last"
    });
    assert_eq!((reloads(&gateway, "invalid"), platform.logins()), (0.0, 1));
    assert!(reloads(&gateway, "ok") >= 2.0);
}

#[test]
fn only_who_may_see_the_inbox_may_ask_and_the_token_changes_with_the_configuration() {
    let with = |admin: &str| Setup { admin: admin.into(), ..setup("") };
    let platform = platform();
    let gateway = start(&with(""), &platform);
    assert_eq!(ask(&gateway, "GET", ""), 405);
    assert_eq!(ask(&gateway, "POST", ""), 415, "a form of a web page could send it");
    assert_eq!(ask(&gateway, "POST", "X-Gateway-Admin: 1\r\n"), 200);
    gateway.rewrite(&with("token = { env = \"ADMIN\" }"), &platform.url());
    assert_eq!(ask(&gateway, "POST", "X-Gateway-Admin: 1\r\n"), 200);
    assert_eq!(ask(&gateway, "POST", "X-Gateway-Admin: 1\r\n"), 401);
    let shown = "X-Gateway-Admin: 1\r\nAuthorization: Bearer the token of an operator\r\n";
    assert_eq!(ask(&gateway, "POST", shown), 200);
}

#[test]
fn the_command_says_how_it_ended() {
    let platform = platform();
    let gateway = start(&Setup { admin: "token = { env = \"ADMIN\" }".into(), ..setup("") }, &platform);
    let copy = gateway.config().with_file_name("copy.toml");
    let run_with = |config: &Path, admin: &str, token: &str| {
        let ran = Command::new(env!("CARGO_BIN_EXE_airudder-gateway"))
            .args(["reload", "--config"])
            .arg(config)
            .args(["--admin", admin])
            .env_clear()
            .env("ADMIN", token)
            .output()
            .expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (ran.status.code(), text(ran.stdout), text(ran.stderr))
    };
    let run = |admin: &str, token: &str| run_with(&gateway.config(), admin, token);
    let (admin, token) = (gateway.admin.to_string(), "the token of an operator");
    let (status, out, err) = run(&admin, token);
    assert_eq!(out, format!("{}: reloaded\n", gateway.config().display()));
    assert_eq!((status, err.as_str()), (Some(0), ""));
    // Another file that leads to the same gateway: what it read is its own.
    std::fs::copy(gateway.config(), &copy).expect("a copy");
    assert_eq!(run_with(&copy, &admin, token).1, out);
    // What is legal but unwise is said.
    gateway.rewrite(
        &Setup { admin: "token = { env = \"ADMIN\" }".into(), account: "read_timeout = \"10s\"".into(), ..setup("") },
        &platform.url(),
    );
    let (status, out, _) = run(&admin, token);
    assert!(status == Some(0) && out.contains("warning: ") && out.contains("read_timeout is under 120 s"), "{out}");
    let (status, _, err) = run(&admin, "another token that is wrong");
    assert_eq!((status, err.lines().count()), (Some(77), 1), "{err}");
    let nobody = Refusing::new().url().replace("http://", "");
    assert_eq!(run(&nobody, token).0, Some(69));
    // The gateway is asked whatever is wrong, so that its log and its series tell of it.
    for (count, (outbound, more, part)) in
        [("thraeds = 2", "", "unknown key \"thraeds\" in [outbound]"), ("", "[[program\n", "this is not TOML")]
            .into_iter()
            .enumerate()
    {
        gateway.rewrite(
            &Setup {
                outbound: format!("threads = 2\n{outbound}"),
                admin: "token = { env = \"ADMIN\" }".into(),
                ..setup(more)
            },
            &platform.url(),
        );
        let (status, out, err) = run(&admin, token);
        assert_eq!((status, out.as_str(), err.lines().count()), (Some(64), "", 1), "{err}");
        assert!(err.contains(part) && err.ends_with(".\n"), "{err}");
        assert_eq!(reloads(&gateway, "invalid"), count as f64 + 1.0, "{err}");
    }
    let (status, _, err) = run(&nobody, token);
    assert!(status == Some(64) && err.contains("this is not TOML"), "nobody else knows: {err}");
}
