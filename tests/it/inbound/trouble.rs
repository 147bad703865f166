//! While the inbox cannot take a callback, nothing is acknowledged; calls go out all the same, and it recovers by itself.

use std::net::SocketAddr;

use rusqlite::Connection;

use super::setting::{
    PATH, SAMPLES, Setting, assert_acknowledged, call_back, cipher, ended, platform, schemes, sealed, shown,
    stop_and_ask,
};
use airudder_gateway::inbox::Filter;

use crate::support::gateway::Folder;
use crate::support::{Client, Gateway, Setup, platform as outside};

/// Sends it until it is taken, each time on a connection of its own.
fn until_taken(gateway: &Gateway, callback: &(String, Vec<u8>)) {
    gateway.until(|gateway| {
        let answer = call_back(&mut platform(gateway), callback);
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        answer.status == 200
    });
}

#[test]
fn a_locked_database_is_503_and_nothing_else_stops() {
    let (folder, simulated) = (Folder::new(), outside());
    // None of what cannot be opened, which would be kept behind its answer: perhaps when the lock is gone.
    let setting = Setting { source: "quarantine = 0".into(), ..Setting::default() };
    let setup = Setup { folder: Some(folder.clone()), ..setting.setup() };
    let gateway = setup.start(&simulated).ready();
    let cipher = cipher(&schemes()[0].1);
    let mut client = platform(&gateway);
    let callbacks = SAMPLES.map(|(_, sample)| sealed(&cipher, sample));
    assert_acknowledged(&call_back(&mut client, &callbacks[0]));
    let calm = "callback_time_to_loss_seconds{source=\"calls\"}";
    gateway.until(|gateway| gateway.metric(calm) == 300.0);

    // Somebody else writes to the database for a long time.
    let intruder = Connection::open(folder.path().join("data/inbox.db")).expect("it opens");
    intruder.execute_batch("BEGIN IMMEDIATE").expect("it is locked");
    let answer = call_back(&mut client, &callbacks[1]);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
    assert_ne!(answer.header("connection"), Some("close"), "the connection is kept for the next try");
    // Meanwhile calls go out, and what cannot be opened is told so.
    assert_eq!(gateway.client().get("/service/cloud/robot").status, 200);
    assert_eq!(call_back(&mut platform(&gateway), &("Is-Encrypted: 1\r\n".into(), b"x".to_vec())).status, 400);
    gateway.until(|gateway| gateway.metric(calm) < 300.0 && gateway.metric("inbox_up") == 0.0);
    assert!(gateway.metric(calm) > 200.0);

    intruder.execute_batch("ROLLBACK").expect("it is free");
    drop(intruder);
    until_taken(&gateway, &callbacks[1]);
    assert_acknowledged(&call_back(&mut client, &callbacks[2]));
    assert_eq!(gateway.metric("inbox_up"), 1.0);
    assert!(ended(&gateway, "unavailable") >= 1.0);
    // What was refused and has come again is at risk no more; the other one still is.
    assert!(gateway.metric(calm) < 300.0);
    stop_and_ask(gateway, &folder, async |inbox| {
        assert_eq!(shown(inbox, Filter::default()).await.len(), 3, "what was refused is there once");
    });
}

#[test]
fn a_refused_callback_is_at_risk_until_it_is_taken() {
    let setting = Setting { inbound: "max_body = \"4KiB\"\nmemory = \"1MiB\"".into(), ..Setting::default() };
    let gateway = setting.start();
    let left = |gateway: &Gateway| gateway.metric("callback_time_to_loss_seconds{source=\"calls\"}");
    gateway.until(|gateway| left(gateway) == 300.0);
    let cipher = cipher(&schemes()[0].1);
    let (headers, body) = sealed(&cipher, "{\"call_id\":\"a\"}");
    // Altered on its way: the signature says which one it is.
    let mut altered = body.clone();
    altered[0] ^= 1;
    assert_eq!(call_back(&mut platform(&gateway), &(headers.clone(), altered)).status, 400);
    gateway.until(|gateway| left(gateway) < 300.0);
    assert_acknowledged(&call_back(&mut platform(&gateway), &(headers, body)));
    gateway.until(|gateway| left(gateway) == 300.0);
    // A stranger's request is no callback.
    assert_eq!(platform(&gateway).post("/unknown", "{}").status, 404);
    assert_eq!(call_back(&mut platform(&gateway), &(String::new(), vec![b' '; 5000])).status, 413);
    gateway.until(|gateway| left(gateway) < 300.0);
    assert_eq!(gateway.metric("callbacks_lost_total{source=\"calls\"}"), 0.0);
}

#[test]
fn callbacks_are_taken_while_the_login_fails() {
    let refusing = scripted_login_refused();
    let gateway = Setting::default().setup().start_at(&refusing, None);
    gateway.log_line(|line| line["message"].as_str().is_some_and(|message| message.starts_with("login failed")));
    assert_acknowledged(&platform(&gateway).post(PATH, "{}"));
    let answer = Client::connect(gateway.outbound as SocketAddr).get("/service/cloud/robot");
    assert_eq!(answer.word(), Some("token_unavailable"));
}

fn scripted_login_refused() -> String {
    crate::support::scripted_whole(|_, line| {
        line.say("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        line.end();
    })
}

#[test]
fn a_folder_that_is_gone_is_503_until_it_is_back() {
    let folder = Folder::new();
    let gateway = Setting::default().start_in(&folder);
    let plain = |text: &str| (String::new(), text.as_bytes().to_vec());
    assert_acknowledged(&call_back(&mut platform(&gateway), &plain("{\"call_id\":\"before\"}")));
    // Somebody moves it away: the open file could be written and synced still, and nobody would find it.
    let (data, away) = (folder.path().join("data"), folder.path().join("away"));
    std::fs::rename(&data, &away).expect("moved");
    for _ in 0..3 {
        assert_eq!(call_back(&mut platform(&gateway), &plain("{\"call_id\":\"without\"}")).status, 503);
    }
    // An empty folder in its place is not it.
    std::fs::create_dir(&data).expect("made");
    assert_eq!(call_back(&mut platform(&gateway), &plain("{\"call_id\":\"without\"}")).status, 503);
    gateway.log_line(|line| {
        line["message"].as_str().is_some_and(|message| message.contains("not the one that was opened"))
    });
    assert!(!data.join("inbox.db").exists(), "and none is made there");
    std::fs::remove_dir_all(&data).expect("removed");
    std::fs::rename(&away, &data).expect("moved back");
    until_taken(&gateway, &plain("{\"call_id\":\"after\"}"));
    until_taken(&gateway, &plain("{\"call_id\":\"without\"}"));
    stop_and_ask(gateway, &folder, async |inbox| {
        for call in ["before", "without", "after"] {
            let filter = Filter { call: Some(call.into()), ..Filter::default() };
            assert_eq!(shown(inbox, filter).await.len(), 1, "{call}");
        }
    });
}

#[test]
fn what_waits_for_a_receiver_that_was_renamed_is_told_at_the_start() {
    let folder = Folder::new();
    let with = |name: &str| Setting {
        source: format!("receivers = [\"{name}\"]"),
        more: format!("[[receiver]]\nname = \"{name}\"\nurl = \"{}\"\n", crate::support::Refusing::new().url()),
        ..Setting::default()
    };
    let gateway = with("former").start_in(&folder);
    assert_acknowledged(&platform(&gateway).post(PATH, "{}"));
    stop_and_ask(gateway, &folder, async |_| {});
    let gateway = with("latter").start_in(&folder);
    let line = gateway.log_line(|line| line["receiver"] == "former");
    assert_eq!((&line["level"], &line["deliveries"]), (&"WARN".into(), &1.into()), "{line}");
}

#[test]
fn an_inbox_that_its_bound_has_filled_is_told_once_with_what_to_do() {
    let receiver = format!("[[receiver]]\nname = \"down\"\nurl = \"{}\"\n", crate::support::Refusing::new().url());
    let more = format!("max_bytes = \"16MiB\"\n{receiver}");
    let gateway = Setting { source: "receivers = [\"down\"]".into(), more, ..Setting::default() }.start();
    let mut client = platform(&gateway);
    let mut call_back = |number: usize| client.post(PATH, format!("{{\"n\":{number}}}{}", " ".repeat(100_000))).status;
    let stored = (0..400).take_while(|number| call_back(*number) == 200).count();
    assert!((100..170).contains(&stored), "{stored} callbacks of 100 kB are kept in 16 MiB");
    for number in 1000..1010 {
        assert_eq!(call_back(number), 503, "what waits makes no room");
    }
    let is_told =
        |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.contains("inbox.max_bytes"));
    assert_eq!(gateway.log_line(is_told)["level"], "ERROR");
    let (status, page) = gateway.admin_page("/readyz/inbound");
    assert!(status == 503 && page.contains("inbox.max_bytes"), "{page}");
    assert_eq!(gateway.printed().matches("inbox.max_bytes").count(), 1, "once");
}
