//! SIGKILL in the middle of requests: what was acknowledged is kept, and what came several times is kept once.

use super::load::{Load, a_moment, callback, post_once, request};
use super::rounds;
use super::scene::Scene;
use crate::support::Random;

#[test]
fn no_acknowledged_callback_is_lost_when_the_gateway_is_killed() {
    let (mut random, rounds) = (Random::new(), rounds(20));
    let (mut scene, mut acknowledged, mut total) = (Scene::new(), Vec::new(), 0);
    for round in 0..rounds {
        // The first start in a folder is killed as often as any other.
        if random.below(4) == 0 {
            (scene, acknowledged) = (Scene::new(), Vec::new());
        }
        let mut gateway = scene.start();
        if random.below(2) == 0 {
            // Some are delivered already when it is killed, and some are being delivered.
            scene.receive(&[], "before the kill");
        }
        let load = Load::start(gateway.inbound.expect("it listens"), &format!("{round}"));
        load.until_acknowledged(random.below(200));
        a_moment(&mut random, 20_000);
        gateway.kill();
        let (calls, refused) = load.stop();
        assert!(refused.is_empty(), "{refused:?}");
        total += calls.len();
        acknowledged.extend(calls);
        let when = format!("after kill {} of {rounds}", round + 1);
        let gateway = scene.start();
        scene.ask(&gateway, &acknowledged, &when);
        scene.receive(&acknowledged, &when);
    }
    println!("{rounds} kills, {total} callbacks acknowledged, 0 lost");
    assert!(total > rounds, "there was a load");
}

#[test]
fn a_callback_that_comes_six_times_is_kept_once_also_across_a_crash() {
    let (scene, mut random) = (Scene::new(), Random::new());
    for round in 0..rounds(20).div_ceil(5) {
        // Copies before the crash, and after it: one to six in all.
        let sent: Vec<(String, Vec<u8>, usize, usize)> = (0..12)
            .map(|number| {
                let call = format!("{round}-{number}");
                let all = number % 6 + 1;
                let before = 1 + random.below(all);
                let request = request(&callback(&call, random.below(3000)), number % 2 == 0);
                (call, request, before, all - before)
            })
            .collect();
        let mut gateway = scene.start();
        let inbound = gateway.inbound.expect("it listens");
        std::thread::scope(|scope| {
            let copies: Vec<_> = sent
                .iter()
                .flat_map(|(_, request, before, _)| (0..*before).map(move |_| request))
                .map(|request| scope.spawn(move || post_once(inbound, request)))
                .collect();
            a_moment(&mut random, 30_000);
            gateway.kill();
            drop(copies);
        });
        let gateway = scene.start();
        let inbound = gateway.inbound.expect("it listens");
        for (call, request, _, after) in &sent {
            let statuses: Vec<_> = std::thread::scope(|scope| {
                let copies: Vec<_> = (0..*after).map(|_| scope.spawn(move || post_once(inbound, request))).collect();
                copies.into_iter().map(|copy| copy.join().expect("no panic inside")).collect()
            });
            assert!(statuses.iter().all(|status| *status == Some(200)), "{call}: {statuses:?}");
        }
        let repeated: Vec<_> = sent.iter().filter(|(.., after)| *after > 0).map(|(call, ..)| call.clone()).collect();
        scene.ask(&gateway, &repeated, &format!("round {round}"));
        scene.receive(&repeated, &format!("round {round}"));
    }
}
