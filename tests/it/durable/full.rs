//! The disk is full: nothing is acknowledged that is not kept, and callbacks are taken again when there is space.

use std::time::Duration;

use airudder_gateway::clock;

use super::load::Load;
use super::scene::Scene;
use crate::support::mounted::Mounted;

#[test]
fn a_full_disk_refuses_callbacks_until_there_is_space_again() {
    let scene = Scene::new();
    let Some(_mounted) = Mounted::try_new(scene.data(), "12m") else { return };
    let ballast = scene.data().join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20]).expect("it fits");
    let mut gateway = scene.start();
    let load = Load::start(gateway.inbound.expect("it listens"), "full");
    load.until_refused();
    let before = load.acknowledged();
    assert!(before > 0, "it took some while there was space");
    std::fs::remove_file(&ballast).expect("the ballast is thrown off");
    let freed = clock::now();
    load.until_acknowledged(50);
    let waited = freed.elapsed();
    println!("50 callbacks were acknowledged {waited:?} after space was freed; {before} before the disk was full");
    assert!(waited < Duration::from_secs(60), "{waited:?}");
    let (acknowledged, refused) = load.stop();
    assert!(refused.keys().eq([&503]), "{refused:?}");
    gateway.kill();
    drop(gateway);
    let gateway = scene.start();
    scene.ask(&gateway, &acknowledged, "after the disk was full");
    scene.receive(&acknowledged, "after the disk was full");
}

#[test]
fn a_disk_that_the_log_has_filled_needs_nobody_to_free_space() {
    let scene = Scene::new();
    // Room for what is stored, and not for the log of what is done to it.
    let Some(_mounted) = Mounted::try_new(scene.data(), "6m") else { return };
    let gateway = scene.start();
    let load = Load::start(gateway.inbound.expect("it listens"), "log");
    load.until_acknowledged(60);
    let (acknowledged, _) = load.stop();
    // Each delivery that its receiver refuses is written down, until the disk is full of that.
    gateway.log_line(|line| line["message"] == "the disk of the inbox is full: free space on it");
    scene.receive(&acknowledged, "after the log has filled the disk");
    scene.ask(&gateway, &acknowledged, "after the log has filled the disk");
}
