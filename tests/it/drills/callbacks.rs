//! Troubles of callbacks: they are refused, do not come, cannot be opened, kept or delivered.

use std::time::Duration;

use airudder_gateway::config::Scheme;
use airudder_gateway::envelope::Cipher;
use airudder_gateway::secret::Secret;
use rusqlite::Connection;

use super::scene::{Drill, PATH, Scene};
use crate::support::KEY;
use crate::support::receiver::Reply;

const LEFT: &str = r#"callback_time_to_loss_seconds{source="calls"}"#;
const LAST: &str = r#"callback_last_accepted_timestamp_seconds{source="calls"}"#;
const OLDEST: &str = r#"inbox_oldest_age_seconds{receiver="books",state="waiting"}"#;

pub(super) fn one_is_altered(drill: Drill) {
    let cipher = Cipher::try_new(&Scheme::EcbZero, &Secret::new(KEY)).expect("a key");
    let sealed = cipher.seal(br#"{"call_id":"c-1"}"#);
    let headers = format!("Is-Encrypted: 1\r\nSigned: {}\r\n", sealed.signed.as_str());
    let mut altered = sealed.text.to_vec();
    altered[0] ^= 1;
    let alter = |scene: &mut Scene| {
        assert_eq!(scene.calling_back().post_with(PATH, &headers, &altered).status, 400);
        // It counts down.
        scene.gateway.until(|gateway| gateway.metric(LEFT) < 300.0);
        let first = scene.gateway.metric(LEFT);
        scene.gateway.until(|gateway| gateway.metric(LEFT) < first);
    };
    let repeat = |scene: &mut Scene| {
        assert_eq!(scene.calling_back().post_with(PATH, &headers, &sealed.text).status, 200);
        scene.gateway.until(|gateway| gateway.metric(LEFT) == 300.0);
    };
    drill.run(4, Scene::new(), alter, repeat);
}

pub(super) fn none_come(drill: Drill) {
    let scene = Scene::new();
    assert!(scene.call_back("c-1"));
    let silence = |scene: &mut Scene| drop(scene.call(5));
    let again = |scene: &mut Scene| {
        let before = scene.gateway.metric(LAST);
        scene.gateway.until(|gateway| {
            assert!(scene.call_back("c-2"));
            gateway.metric(LAST) > before
        });
    };
    drill.run(90, scene, silence, again);
}

pub(super) fn somebody_probes(drill: Drill) {
    let probe = |scene: &mut Scene| {
        for n in 0..10 {
            let garbage = format!("probe {n}");
            assert_eq!(scene.calling_back().post_with(PATH, "Is-Encrypted: 1\r\n", garbage.as_bytes()).status, 400);
        }
    };
    drill.run(5, Scene::new(), probe, |scene| assert!(scene.call_back("c-1")));
}

pub(super) fn the_database_is_locked(drill: Drill) {
    let scene = Scene::new();
    let intruder = Connection::open(scene.folder.path().join("inbox.db")).expect("it opens");
    let lock = |scene: &mut Scene| {
        intruder.execute_batch("BEGIN IMMEDIATE").expect("it is locked");
        assert!(!scene.call_back("c-1"));
        scene.gateway.until(|gateway| gateway.metric("inbox_up") == 0.0);
    };
    let free = |scene: &mut Scene| {
        intruder.execute_batch("ROLLBACK").expect("it is free");
        scene.gateway.until(|gateway| gateway.metric("inbox_up") == 1.0 && scene.call_back("c-1"));
        scene.gateway.until(|gateway| gateway.metric(LEFT) == 300.0);
    };
    drill.run(5, scene, lock, free);
}

pub(super) fn the_receiver_refuses(drill: Drill) {
    let refuse = |scene: &mut Scene| {
        scene.receiver.answer(|_| Reply::Status(500));
        assert!(scene.call_back("c-1"));
        scene.gateway.until(|gateway| gateway.metric(OLDEST) >= 1.0);
    };
    let take = |scene: &mut Scene| {
        scene.receiver.answer(|_| Reply::Status(200));
        scene.gateway.until(|gateway| gateway.metric(OLDEST) == 0.0);
    };
    drill.run(30, Scene::new(), refuse, take);
}

pub(super) fn the_receiver_is_gone(drill: Drill) {
    let dead = r#"dead_letters_total{reason="gone",receiver="books"}"#;
    let refuse = |scene: &mut Scene| {
        scene.receiver.answer(|_| Reply::Status(410));
        assert!(scene.call_back("c-1"));
        scene.gateway.until(|gateway| gateway.metric(dead) == 1.0);
    };
    let take = |scene: &mut Scene| {
        scene.receiver.answer(|_| Reply::Status(200));
        assert!(scene.call_back("c-2"));
        scene.receiver.until_within(Duration::from_secs(60), |deliveries| deliveries.len() == 2);
    };
    drill.run(5, Scene::new(), refuse, take);
}
