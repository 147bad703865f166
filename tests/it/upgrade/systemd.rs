//! What systemd is told, and that nobody goes on of whom it was not told.
//! A socket plays systemd: what it would do with a word is not seen here.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::ends::begun;
use super::refusals::until_refused;
use super::{DETAIL, setup, waiting};
use crate::support::gateway::built;
use crate::support::receiver::Receiver;
use crate::support::{Folder, Setup, platform, runs};

/// What is in the environment of a process that systemd with this socket started, `of` being its number: none says older ones.
fn env(socket: &Path, of: &str) -> Vec<(String, String)> {
    let socket = socket.to_str().expect("text");
    [("NOTIFY_SOCKET", socket), ("SYSTEMD_EXEC_PID", of)]
        .map(|(name, word)| (name.to_owned(), word.to_owned()))
        .to_vec()
}

#[test]
fn systemd_is_told_what_the_gateway_does_and_who_goes_on() {
    let (platform, folder) = (platform(), Folder::new());
    let socket = folder.path().join("notify");
    let told = UnixDatagram::bind(&socket).expect("a socket");
    told.set_read_timeout(Some(crate::support::PATIENCE)).expect("a timeout");
    let next = || {
        let mut words = [0; 512];
        let length = told.recv(&mut words).expect("it is told");
        String::from_utf8_lossy(&words[..length]).trim_end().replace('\n', " ")
    };
    // As newer ones do it: the process is named to itself.
    let program = folder.path().join("started");
    let script = format!("#!/bin/sh\nexport SYSTEMD_EXEC_PID=$$\nexec '{}' \"$@\"\n", built().display());
    std::fs::write(&program, script).expect("it is written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    // Whoever is told needs no word on the command line.
    let (env, program, folder) = (env(&socket, ""), Some(program), Some(folder.clone()));
    let setup = Setup { env, upgradable: false, program, folder, ..Setup::default() };
    let gateway = setup.start(&platform).ready();
    assert_eq!(next(), "READY=1");
    assert_eq!(gateway.reload().0, 200);
    let reloading = next();
    assert!(reloading.starts_with("RELOADING=1 MONOTONIC_USEC="), "{reloading}");
    assert_eq!(next(), "READY=1");
    let serving = gateway.upgrade();
    assert_eq!(next(), "STATUS=", "whether it hears");
    assert_eq!(next(), format!("MAINPID={serving}"));
    gateway.stop_serving();
    assert_eq!(next(), "STOPPING=1");
}

#[test]
fn where_nobody_hears_who_goes_on_nobody_is_started() {
    let (platform, folder) = (platform(), Folder::new());
    let (missing, left_over) = (folder.path().join("missing"), folder.path().join("left-over"));
    drop(UnixDatagram::bind(&left_over).expect("a socket"));
    for socket in [missing, left_over] {
        let setup = Setup { env: env(&socket, ""), upgradable: false, folder: Some(Folder::new()), ..Setup::default() };
        let gateway = setup.start(&platform).ready();
        gateway.ask_for_upgrade();
        until_refused(&gateway, "NOTIFY_SOCKET is set and nobody hears");
        assert!(!gateway.printed().contains("the next process was started"), "{}", gateway.printed());
        assert_eq!(gateway.client().get(DETAIL).status, 200);
    }
}

#[test]
fn an_empty_name_of_a_socket_is_none() {
    let (platform, folder) = (platform(), Folder::new());
    let setup = Setup { env: env(Path::new(""), ""), folder: Some(folder), ..Setup::default() };
    let gateway = setup.start(&platform).ready();
    assert_ne!(gateway.upgrade(), gateway.pid());
}

#[test]
fn a_socket_that_was_meant_for_the_starter_of_the_gateway_is_none_of_its_own() {
    let (platform, folder) = (platform(), Folder::new());
    let socket = folder.path().join("notify");
    let _told = UnixDatagram::bind(&socket).expect("a socket");
    let setup = Setup { env: env(&socket, "1"), upgradable: false, folder: Some(folder.clone()), ..Setup::default() };
    let gateway = setup.start(&platform).ready();
    gateway.ask_for_upgrade();
    until_refused(&gateway, "--upgradable");
    assert!(!gateway.printed().contains("the next process was started"), "{}", gateway.printed());
}

#[test]
fn a_systemd_that_goes_away_before_it_is_told_leaves_the_old_process_serving() {
    let (books, (url, go), folder) = (Receiver::new(), waiting(), Folder::new());
    let socket = folder.path().join("notify");
    let told = UnixDatagram::bind(&socket).expect("a socket");
    let base = Setup { env: env(&socket, ""), upgradable: false, ..setup(&books.url()) };
    // The call has a key, so the inbox stays where it is until it ends, and nobody is told before.
    let (gateway, mut client, next) = begun(base, &url, "Idempotency-Key: one\r\n");
    drop(told);
    go.send(()).expect("the platform waits");
    assert_eq!(client.answer().status, 200);
    // Until then the next process answers, and is killed while it does.
    gateway.log_line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("the upgrade was refused")));
    until_refused(&gateway, "NOTIFY_SOCKET is set and nobody hears");
    assert!(!runs(next), "nobody would watch it");
    assert_eq!(gateway.client().get(DETAIL).status, 200);
    let repeated = gateway.client().post_with("/service/cloud/slow", "Idempotency-Key: one\r\n", "{}");
    assert_eq!((repeated.status, repeated.header("idempotency-replayed")), (200, Some("true")));
}
