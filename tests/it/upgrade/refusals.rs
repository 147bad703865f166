//! A new process that cannot serve changes nothing: the old one serves on and says why.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::{DETAIL, start, upgrades};
use crate::support::gateway::built;
use crate::support::{Folder, Gateway, KEY, Refusing, Setup, platform, runs};

#[test]
fn a_new_process_that_cannot_use_its_configuration_or_log_in_is_refused_and_the_old_one_serves_on() {
    let platform = platform();
    let gateway = start("", &platform);
    let mut client = gateway.client();
    assert_eq!(client.get(DETAIL).status, 200);
    let good = std::fs::read_to_string(gateway.config()).expect("it is there");
    let nobody = Refusing::new();
    let elsewhere = good.replace(&platform.url(), &nobody.url());
    for (round, text, why) in [
        (1.0, "no configuration".to_owned(), "exit status: 64"),
        (2.0, good.replace("name = \"main\"", "name = \"main\"\nlimits = 1"), "exit status: 64"),
        // Its token is of no use at another platform, and this one does not answer.
        (3.0, elsewhere, "exit status: 0"),
    ] {
        std::fs::write(gateway.config(), text).expect("it is written");
        gateway.ask_for_upgrade();
        gateway.until(|gateway| upgrades(gateway, "refused") == round);
        let refused = |line: &serde_json::Value| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("the upgrade was refused") && text.contains(why))
        };
        gateway.log_line(refused);
        assert_eq!((client.get(DETAIL).status, gateway.client().get(DETAIL).status), (200, 200), "{why}");
    }
    assert_eq!((gateway.serving(), platform.logins()), (gateway.pid(), 1));
    assert_eq!(gateway.troubles(), ["upgrade_refused"]);
    let told = |level: &str, begins: &str| {
        gateway.printed().matches(&format!("\"level\":\"{level}\",\"target\":\"app\",\"message\":\"{begins}")).count()
    };
    assert_eq!((told("INFO", "an upgrade begins"), told("ERROR", "the upgrade was refused")), (3, 3));
    assert_eq!(told("INFO", "the upgrade has succeeded"), 0);
    // Who never accepted has not said that it listens.
    assert_eq!(gateway.printed().matches("\"listening\"").count(), 1, "{}", gateway.printed());
    std::fs::write(gateway.config(), good).expect("it is written");
    let serving = gateway.upgrade();
    assert_ne!(serving, gateway.pid());
    gateway.log_line(|line| line["message"] == "listening" && line["pid"] == serving);
    assert_eq!(client.get(DETAIL).status, 200, "and the next try succeeds");
    assert!(gateway.troubles().is_empty(), "{:?}", gateway.troubles());
}

/// Waits for the refusal of an upgrade, which says why with these words.
pub(super) fn until_refused(gateway: &Gateway, why: &str) {
    gateway.until(|gateway| upgrades(gateway, "refused") == 1.0);
    gateway.log_line(|line| {
        let text = line["message"].as_str().unwrap_or_default();
        text.starts_with("the upgrade was refused") && text.contains(why)
    });
    assert_eq!(gateway.serving(), gateway.pid());
}

#[test]
fn without_a_word_from_its_starter_a_gateway_starts_nobody() {
    let platform = platform();
    // A service manager above this test would be told.
    let env = vec![("NOTIFY_SOCKET".to_owned(), String::new())];
    let setup = Setup { env, upgradable: false, folder: Some(Folder::new()), ..Setup::default() };
    let gateway = setup.start(&platform).ready();
    gateway.ask_for_upgrade();
    until_refused(&gateway, "--upgradable");
    assert!(!gateway.printed().contains("the next process was started"), "{}", gateway.printed());
    assert_eq!(gateway.client().get(DETAIL).status, 200);
}

#[test]
fn a_new_process_that_says_ready_and_answers_nothing_more_is_ended() {
    let (platform, folder) = (platform(), Folder::new());
    let program = folder.path().join("gateway");
    std::os::unix::fs::symlink(built(), &program).expect("a link");
    let setup = Setup { program: Some(program.clone()), folder: Some(folder.clone()), ..Setup::default() };
    let gateway = setup.start(&platform).ready();
    let mut client = gateway.client();
    assert_eq!(client.get(DETAIL).status, 200);
    let stuck = folder.path().join("stuck");
    std::fs::write(&stuck, "#!/bin/sh\nprintf '{\"kind\":\"ready\"}\\n' >&0\nkill -STOP $$\n").expect("it is written");
    std::fs::set_permissions(&stuck, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    std::fs::rename(&stuck, &program).expect("it takes the place");
    gateway.ask_for_upgrade();
    let next = gateway.next_process(0);
    until_refused(&gateway, "did not answer");
    assert!(!runs(next), "it would take connections from nobody knows when on");
    assert_eq!((client.get(DETAIL).status, gateway.client().get(DETAIL).status), (200, 200));
}

#[test]
fn an_account_that_could_not_log_in_before_forbids_no_upgrade() {
    let (platform, nobody) = (platform(), Refusing::new());
    let more = format!(
        "[[account]]\nname = \"other\"\nupstream = \"{}\"\napp_key = {{ env = \"APP_KEY\" }}\n\
         app_secret = {{ env = \"APP_SECRET\" }}\nencryption = \"off\"\n",
        nobody.url()
    );
    let gateway = Setup { more, folder: Some(Folder::new()), ..Setup::default() }.start(&platform);
    gateway.until(|gateway| gateway.client().get(DETAIL).status == 200);
    assert_ne!(gateway.upgrade(), gateway.pid());
    assert_eq!((gateway.client().get(DETAIL).status, platform.logins()), (200, 1));
}

#[test]
fn a_stop_while_the_next_process_is_not_ready_stops_both() {
    // It never answers a login, so the new process, which has no token for this key, is never ready.
    let platform = platform();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut gateway = start("", &platform);
    let good = std::fs::read_to_string(gateway.config()).expect("it is there");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    std::fs::write(gateway.config(), good.replace(&platform.url(), &url)).expect("it is written");
    gateway.ask_for_upgrade();
    let next = gateway.next_process(0);
    let login = silent.accept().expect("it logs in");
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    gateway.until(|_| !runs(next));
    assert!(!gateway.printed().contains("the upgrade was refused"), "it waited for the login: {}", gateway.printed());
    drop(login);
}

#[test]
fn taking_over_is_for_a_gateway_that_is_asked_to() {
    let (platform, folder) = (platform(), Folder::new());
    drop(Setup { folder: Some(folder.clone()), ..Setup::default() }.start(&platform));
    let output = Command::new(built())
        .args(["run", "--take-over", "--config"])
        .arg(folder.path().join("gateway.toml"))
        .envs([("APP_KEY", "a"), ("APP_SECRET", "b"), ("AES_KEY", KEY)])
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(64), 1), "{said}");
    assert!(said.contains("--take-over is for a running gateway"), "{said}");
}

#[test]
fn a_listener_that_is_to_have_another_address_of_its_port_needs_a_restart() {
    let platform = platform();
    let gateway = start("", &platform);
    let good = std::fs::read_to_string(gateway.config()).expect("it is there");
    let everywhere = format!("listen = \"0.0.0.0:{}\"", gateway.outbound.port());
    std::fs::write(gateway.config(), good.replacen("listen = \"127.0.0.1:0\"", &everywhere, 1)).expect("it is written");
    gateway.ask_for_upgrade();
    gateway.until(|gateway| upgrades(gateway, "refused") == 1.0);
    assert!(gateway.printed().contains("cannot be bound (Address already in use"), "{}", gateway.printed());
    assert_eq!((gateway.serving(), gateway.client().get(DETAIL).status), (gateway.pid(), 200));
}
