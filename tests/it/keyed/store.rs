//! Keys need their store: without it nothing is sent, and what is on disk tells nobody a key, a body or an answer.

use super::{TASK, assert_ended, assert_refused, create, created, ended, keeping, scene_with, task};
use crate::support::{Setup, platform, wait_until};

#[test]
fn without_a_store_a_call_with_a_key_is_not_sent() {
    let (platform, gateway) = scene_with(Setup::default(), "");
    let answer = create(&gateway, "k", &task("one"));
    assert_refused(&answer, 503, "keys_unavailable", "no", "there is no [inbox]");
    assert_eq!(answer.header("retry-after"), Some("60"), "an operator has to add one");
    assert!(answer.json()["message"].as_str().expect("text").contains("[inbox]"));
    assert_ended(&gateway, "unavailable", 1.0);
    assert_eq!(created(&platform), 0);
    assert_eq!(gateway.client().post(TASK, task("one")).status, 200, "without a key it goes");
}

#[test]
fn a_store_without_room_for_the_answer_lets_nothing_leave() {
    // Room is taken for the largest answer with each call under way: 16 MiB hold some sixty.
    let more = "[inbox]\npath = \"data/inbox.db\"\nmax_bytes = \"16MiB\"\n".to_owned();
    let (platform, gateway) = scene_with(Setup { more, ..keeping() }, "");
    platform.fault(airudder_gateway::simulator::Fault::from(airudder_gateway::simulator::FaultKind::Hold).always());
    let (mut held, mut refused) = (Vec::new(), None);
    for number in 0..80 {
        let body = task("one");
        let mut client = gateway.client();
        client.send(format!(
            "POST {TASK} HTTP/1.1\r\nHost: g\r\nIdempotency-Key: k{number}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        gateway.until(|gateway| created(&platform) > number || ended(gateway, "unavailable") > 0.0);
        if created(&platform) <= number {
            refused = Some(client);
            break;
        }
        held.push(client);
    }
    let answer = refused.expect("one finds no room").answer();
    assert_refused(&answer, 503, "keys_unavailable", "no", "no room");
    assert!(held.len() > 40, "{} were under way", held.len());
    platform.clear_faults();
    platform.release();
    for client in &mut held {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(create(&gateway, "later", &task("one")).status, 200, "small answers left most of it");
}

#[test]
fn a_store_that_is_gone_lets_nothing_leave() {
    let (setup, platform) = (keeping(), platform());
    let gateway = setup.start(&platform).ready();
    assert_eq!(create(&gateway, "k", &task("one")).status, 200);
    let data = setup.folder.as_ref().expect("a folder").path().join("data");
    std::fs::rename(&data, data.with_extension("away")).expect("moved");
    for key in ["new", "newer"] {
        let answer = create(&gateway, key, &task("two"));
        assert_refused(&answer, 503, "keys_unavailable", "no", key);
    }
    assert_eq!(created(&platform), 1);
    std::fs::rename(data.with_extension("away"), &data).expect("back");
    gateway.until(|gateway| create(gateway, "new", &task("two")).status == 200);
    wait_until(&platform, "it was sent once", |_| created(&platform) == 2);
}

#[test]
fn nothing_of_a_call_is_plain_on_disk() {
    let (setup, platform) = (keeping(), platform());
    let mut gateway = setup.start(&platform).ready();
    let answer = create(&gateway, "key-7d1f", &task("name-93ac"));
    let id = answer.json()["data"]["TaskID"].as_str().expect("an id").to_owned();
    let data = setup.folder.as_ref().expect("a folder").path().join("data");
    for round in ["in the log", "in the database"] {
        let mut found = false;
        for file in std::fs::read_dir(&data).expect("a folder") {
            let bytes = std::fs::read(file.expect("a file").path()).expect("bytes");
            let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            for plain in ["key-7d1f", "name-93ac", "6281200000001", id.as_str()] {
                assert!(!has(plain), "{plain} {round}");
            }
            found |= has("task.create");
        }
        assert!(found, "the operation's name is plain, so the search itself works {round}");
        if round == "in the log" {
            gateway.terminate();
            gateway.wait();
        }
    }
}
