//! A new process that cannot serve changes nothing: the old one serves on and says why.

use std::process::{Command, Stdio};

use super::{DETAIL, start, upgrades};
use crate::support::{Folder, KEY, Refusing, Setup, platform};

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
    // Who never accepted has not said that it listens.
    assert_eq!(gateway.printed().matches("\"listening\"").count(), 1, "{}", gateway.printed());
    std::fs::write(gateway.config(), good).expect("it is written");
    let serving = gateway.upgrade();
    assert_ne!(serving, gateway.pid());
    gateway.log_line(|line| line["message"] == "listening" && line["pid"] == serving);
    assert_eq!(client.get(DETAIL).status, 200, "and the next try succeeds");
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
    gateway.until(|_| !crate::support::runs(next));
    drop(login);
}

#[test]
fn taking_over_is_for_a_gateway_that_is_asked_to() {
    let (platform, folder) = (platform(), Folder::new());
    drop(Setup { folder: Some(folder.clone()), ..Setup::default() }.start(&platform));
    let output = Command::new(env!("CARGO_BIN_EXE_airudder-gateway"))
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
