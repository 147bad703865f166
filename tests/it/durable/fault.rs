//! A sync fails: nothing is acknowledged by it, the inbox comes back without a restart, and nothing is lost by it, even if
//! the power goes afterwards.

use super::disk::{read_folder, write_folder};
use super::load::Load;
use super::rounds;
use super::scene::Scene;
use super::shim::Watched;
use crate::support::Random;

#[test]
fn a_sync_that_fails_loses_nothing_and_needs_no_restart() {
    let mut random = Random::new();
    let (mut scene, mut acknowledged, mut total) = (Scene::new(), Vec::new(), 0);
    let rounds = rounds(15).div_ceil(3);
    for round in 0..rounds {
        if random.below(4) == 0 {
            (scene, acknowledged) = (Scene::new(), Vec::new());
        }
        let before = read_folder(scene.folder.path());
        let watched = Watched::start(&scene, false);
        let load = Load::start(watched.gateway.inbound.expect("it listens"), &format!("{round}"));
        load.until_acknowledged(random.below(60));
        watched.fail_next_sync();
        load.until_refused();
        assert!(watched.has_failed(), "it is the failed sync that they were refused for");
        // A while longer, in which the disk is written on.
        load.until_acknowledged(1 + random.below(100));
        assert_eq!(watched.gateway.metric("inbox_up"), 1.0);
        let journal = watched.kill();
        let (calls, refused) = load.stop();
        assert!(refused.keys().eq([&503]), "{refused:?}");
        total += calls.len();
        acknowledged.extend(calls);
        write_folder(scene.folder.path(), &journal.after_power_cut(&before, &mut random));
        let when = format!("after failed sync {} of {rounds}", round + 1);
        let gateway = scene.start();
        scene.ask(&gateway, &acknowledged, &when);
        scene.receive(&acknowledged, &when);
    }
    println!("{rounds} failed syncs, each with a power cut, {total} callbacks acknowledged, 0 lost");
}
