//! Troubles of the machine: its disk, its certificate, the gateway's own process and the one that is to follow it.

use airudder_gateway::clock;

use super::scene::{Drill, SLOW, SMALL, Scene};
use crate::support::Folder;
use crate::support::identity::write_pair;

pub(super) fn little_space_is_left(drill: Drill) {
    let scene = Scene::new();
    let order = scene.folder.path().join(SMALL);
    let share = |scene: &Scene| {
        let page = scene.gateway.metrics();
        page.value("inbox_disk_available_bytes") / page.value("inbox_disk_size_bytes")
    };
    scene.gateway.until(|_| share(&scene) > 0.0);
    let shrink = |scene: &mut Scene| {
        std::fs::write(&order, "").expect("the order is given");
        scene.gateway.until(|_| share(scene) < 0.011);
    };
    let grow = |scene: &mut Scene| {
        std::fs::remove_file(&order).expect("the order is taken back");
        scene.gateway.until(|_| share(scene) > 0.4);
    };
    drill.run(15, scene, shrink, grow);
}

pub(super) fn the_disk_is_slow(drill: Drill) {
    let scene = Scene::new();
    // A commit for the callback, and one for what became of its delivery.
    let delivered = |scene: &Scene, calls: std::ops::Range<u32>| {
        calls.clone().for_each(|call| assert!(scene.call_back(&format!("c-{call}"))));
        let series = r#"inbox_entries{receiver="books",state="delivered"}"#;
        scene.gateway.until(|gateway| gateway.metric(series) == f64::from(calls.end));
    };
    delivered(&scene, 0..1);
    let order = scene.folder.path().join(SLOW);
    let slow = |scene: &mut Scene| {
        std::fs::write(&order, "").expect("the order is given");
        delivered(scene, 1..3);
    };
    let fast = |scene: &mut Scene| {
        std::fs::remove_file(&order).expect("the order is taken back");
        // So many that a commit which had to wait for the processor is less than a tenth.
        delivered(scene, 3..33);
    };
    drill.run(30, scene, slow, fast);
}

pub(super) fn it_is_killed(drill: Drill) {
    let kill = |scene: &mut Scene| {
        scene.gateway.kill();
        scene.runs = false;
    };
    drill.run(5, Scene::new(), kill, Scene::restart);
}

pub(super) fn the_certificate_is_nearly_over(drill: Drill) {
    let (folder, day) = (Folder::new(), 86_400);
    let in_days = |days: u64| clock::wall_millis() / 1000 + days * day;
    write_pair(&folder, in_days(90));
    let tls = "tls = { cert = \"tls.pem\", key = \"tls.key\" }";
    let scene = Scene::within(folder, "", tls);
    let expiry = r#"certificate_expiry_timestamp_seconds{listener="inbound"}"#;
    let show = |scene: &mut Scene, ends: u64| {
        write_pair(&scene.folder, ends);
        scene.gateway.until(|gateway| gateway.metric(expiry) == ends as f64);
    };
    drill.run(15, scene, |scene| show(scene, in_days(13)), |scene| show(scene, in_days(90)));
}

pub(super) fn a_configuration_is_refused(drill: Drill) {
    let (scene, key) = (Scene::new(), "\nlistne = 1\n");
    let file = scene.gateway.config();
    let written = std::fs::read_to_string(&file).expect("the configuration");
    let reload = |scene: &mut Scene, text: String, status: u16| {
        std::fs::write(&file, text).expect("written");
        assert_eq!(scene.gateway.reload().0, status);
    };
    let wrong = written.replace("[outbound]", &format!("[outbound]{key}"));
    drill.run(10, scene, |scene| reload(scene, wrong, 422), |scene| reload(scene, written.clone(), 200));
}

pub(super) fn the_next_process_cannot_serve(drill: Drill) {
    let (scene, refused) = (Scene::new(), r#"upgrades_total{outcome="refused"}"#);
    let file = scene.gateway.config();
    let written = std::fs::read_to_string(&file).expect("the configuration");
    let fail = |scene: &mut Scene| {
        std::fs::write(&file, "no configuration").expect("written");
        scene.gateway.ask_for_upgrade();
        scene.gateway.until(|gateway| gateway.metric(refused) == 1.0);
    };
    let succeed = |scene: &mut Scene| {
        std::fs::write(&file, &written).expect("written");
        scene.gateway.upgrade();
        assert_eq!(scene.gateway.metric(refused), 0.0);
    };
    drill.run(10, scene, fail, succeed);
}

pub(super) fn nothing_happens(drill: Drill) {
    drill.run(5, Scene::new(), |_| {}, |_| {});
}
