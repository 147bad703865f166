//! Keys of calls when the power goes or the disk fails: what has left is known, and what could not be kept has not left.

use airudder_gateway::simulator::{Fault, FaultKind, Simulator};

use super::disk::{read_folder, write_folder};
use super::rounds;
use super::shim::Watched;
use crate::keyed::{TASK, assert_refused, create, created, keeping, task};
use crate::support::{Client, Folder, Gateway, Random, Setup, arrived_at, platform, wait_until};

/// A setup and its folder, and a platform.
fn scene() -> (Setup, Folder, Simulator) {
    let setup = keeping();
    let folder = setup.folder.clone().expect("a folder of its own");
    (setup, folder, platform())
}

fn start(setup: &Setup, folder: &Folder, platform: &Simulator) -> Watched {
    Watched::start_in(folder, false, |env| Setup { env, ..setup.clone() }.start(platform).ready())
}

/// Sends a call under a key and does not wait for its answer.
fn send(gateway: &Gateway, key: &str) -> Client {
    let (mut client, body) = (gateway.client(), task(key));
    let head = format!("POST {TASK} HTTP/1.1\r\nHost: g\r\nIdempotency-Key: {key}\r\n");
    client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    client
}

#[test]
fn what_had_left_when_the_power_went_is_not_sent_again() {
    let (mut random, cuts) = (Random::new(), rounds(6));
    let mut keys = 0;
    for _ in 0..cuts {
        let (setup, folder, platform) = scene();
        let before = read_folder(folder.path());
        let watched = start(&setup, &folder, &platform);
        let answered = random.below(4);
        for number in 0..answered {
            assert_eq!(create(&watched.gateway, &format!("answered-{number}"), &task("one")).status, 200);
        }
        platform.fault(Fault::from(FaultKind::Hold).always());
        let held = 1 + random.below(8);
        let clients: Vec<_> = (0..held).map(|number| send(&watched.gateway, &format!("held-{number}"))).collect();
        // As soon as the platform has a byte of them.
        wait_until(&platform, "they are there", |_| created(&platform) == answered + held);
        let journal = watched.kill();
        drop(clients);
        write_folder(folder.path(), &journal.after_power_cut(&before, &mut random));
        platform.clear_faults();
        platform.release();
        let gateway = setup.start(&platform).ready();
        for number in 0..answered {
            let again = create(&gateway, &format!("answered-{number}"), &task("one"));
            assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
        }
        for number in 0..held {
            let key = format!("held-{number}");
            assert_refused(&create(&gateway, &key, &task(&key)), 502, "outcome_unknown", "unknown", &key);
        }
        assert_eq!(created(&platform), answered + held, "none of them was sent again");
        keys += answered + held;
    }
    println!("{cuts} power cuts, {keys} keys, none sent again");
}

#[test]
fn a_claim_whose_sync_fails_lets_nothing_leave_and_is_free_afterwards() {
    let (setup, folder, platform) = scene();
    let watched = start(&setup, &folder, &platform);
    let (mut refused, mut number) = (0, 0);
    // The sync of something else may be the one that fails.
    while refused < rounds(9).div_ceil(3) {
        number += 1;
        assert!(number < 100, "no sync fails, whatever is asked for");
        let key = format!("key-{number}");
        watched.fail_next_sync();
        let first = create(&watched.gateway, &key, &task(&key));
        if first.status == 503 {
            assert_refused(&first, 503, "keys_unavailable", "no", &key);
            let of_key = arrived_at(&platform, TASK).iter().filter(|call| names(call.opened.as_deref(), &key)).count();
            assert_eq!(of_key, 0, "{key}: nothing left");
            refused += 1;
        }
        watched.gateway.until(|gateway| create(gateway, &key, &task(&key)).status == 200);
        let of_key = arrived_at(&platform, TASK).iter().filter(|call| names(call.opened.as_deref(), &key)).count();
        assert_eq!(of_key, 1, "{key}: it left once");
    }
    watched.gateway.until(|gateway| gateway.metric("keyed_unknown") == 0.0);
}

fn names(body: Option<&[u8]>, name: &str) -> bool {
    let body: Option<serde_json::Value> = body.and_then(|body| serde_json::from_slice(body).ok());
    body.is_some_and(|body| body["TaskName"] == name)
}
