//! The power goes: what was not synced is lost, torn or out of order, and what was acknowledged is there.

use super::disk::{read_folder, write_folder};
use super::load::{Load, a_moment};
use super::rounds;
use super::scene::Scene;
use super::shim::Watched;
use crate::support::Random;

/// Loads a watched gateway, cuts its power, and leaves the folder as the disk then is. The acknowledged calls.
fn cut(scene: &Scene, name: &str, swallow: bool, random: &mut Random) -> Vec<String> {
    let before = read_folder(scene.folder.path());
    let watched = Watched::start(scene, swallow);
    let load = Load::start(watched.gateway.inbound.expect("it listens"), name);
    load.until_acknowledged(random.below(120));
    a_moment(random, 20_000);
    let journal = watched.kill();
    let (acknowledged, refused) = load.stop();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(journal.syncs() == 0, swallow, "the shim sees the syncs");
    write_folder(scene.folder.path(), &journal.after_power_cut(&before, random));
    acknowledged
}

#[test]
fn no_acknowledged_callback_is_lost_when_the_power_goes() {
    let (mut random, cuts) = (Random::new(), rounds(15));
    let (mut scene, mut acknowledged, mut total) = (Scene::new(), Vec::new(), 0);
    for round in 0..cuts {
        // The first start in a folder makes files and names, and is cut as often as any other.
        if random.below(4) == 0 {
            (scene, acknowledged) = (Scene::new(), Vec::new());
        }
        let calls = cut(&scene, &format!("{round}"), false, &mut random);
        total += calls.len();
        acknowledged.extend(calls);
        let when = format!("after power cut {} of {cuts}", round + 1);
        let gateway = scene.start();
        scene.ask(&gateway, &acknowledged, &when);
        scene.receive(&acknowledged, &when);
    }
    println!("{cuts} power cuts, {total} callbacks acknowledged, 0 lost");
    assert!(total > cuts, "there was a load");
}

#[test]
fn a_gateway_that_does_not_sync_is_found_out() {
    let mut random = Random::new();
    let (mut acknowledged, mut lost) = (0, 0);
    for round in 0..6 {
        let scene = Scene::new();
        // Begun in good order, so that it is callbacks that are lost and not the whole database.
        scene.start().kill();
        let calls = cut(&scene, &format!("{round}"), true, &mut random);
        acknowledged += calls.len();
        // An inbox that does not even open has lost all of them.
        let kept = scene.kept().unwrap_or_default();
        lost += calls.iter().filter(|call| !kept.contains(*call)).count();
    }
    println!("without syncs: {acknowledged} callbacks acknowledged, {lost} lost");
    assert!(lost > 0, "cuts that lose nothing of a gateway that never syncs prove nothing of one that does");
}

#[test]
fn nothing_the_gateway_writes_goes_around_the_journal() {
    let scene = Scene::new();
    let before = read_folder(scene.folder.path());
    let mut watched = Watched::start(&scene, false);
    let load = Load::start(watched.gateway.inbound.expect("it listens"), "whole");
    load.until_acknowledged(300);
    load.stop();
    watched.gateway.terminate();
    assert!(watched.gateway.wait().success());
    let journaled = watched.journal().all_of(&before);
    let real = read_folder(scene.folder.path());
    for name in ["data/inbox.db", "data/inbox.db-wal", "data/inbox.db.key"] {
        assert!(real.contains_key(name), "{name} is one of the files");
    }
    // The configuration is written by the test.
    for (name, content) in real.iter().filter(|(name, _)| *name != "gateway.toml") {
        assert!(journaled.get(name) == Some(content), "{name} has bytes that the journal does not know");
    }
}
