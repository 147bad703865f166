//! Troubles of calls: they fail, nobody answers them, the platform refuses tokens, rate or key.

use airudder_gateway::simulator::{Fault, FaultKind};

use super::scene::{Drill, ECHO, Scene};
use crate::support::Client;

pub(super) fn all_fail(drill: Drill) {
    let scene = Scene::new();
    scene.call(20);
    let fail = |scene: &mut Scene| {
        scene.platform.fault(Fault::status(500).times(10));
        scene.call(10);
    };
    drill.run(15, scene, fail, |scene| assert!(scene.call(20).iter().all(|answer| answer.status == 200)));
}

pub(super) fn one_in_a_hundred_fails(drill: Drill) {
    let scene = Scene::new();
    scene.call(20);
    let fail = |scene: &mut Scene| {
        scene.platform.fault(Fault::code(10_001));
        assert_eq!(scene.call(100).len(), 100);
    };
    drill.run(120, scene, fail, |scene| drop(scene.call(20)));
}

pub(super) fn no_login_succeeds(drill: Drill) {
    let fail = |scene: &mut Scene| {
        scene.platform.fault(Fault::status(500).on_auth().always());
        scene.platform.revoke_tokens();
        let answers = scene.call(1);
        assert_eq!(answers[0].word(), Some("token_unavailable"));
    };
    let heal = |scene: &mut Scene| {
        scene.platform.clear_faults();
        let expiry = r#"token_expiry_timestamp_seconds{account="main",family="cloud"}"#;
        scene.gateway.until(|gateway| gateway.metric(expiry) > 0.0);
    };
    drill.run(30, Scene::new(), fail, heal);
}

pub(super) fn no_answer_comes(drill: Drill) {
    let fail = |scene: &mut Scene| {
        scene.platform.fault(Fault::cut());
        assert_eq!(scene.act().word(), Some("outcome_unknown"));
    };
    drill.run(10, Scene::new(), fail, |scene| assert_eq!(scene.act().status, 200));
}

pub(super) fn nobody_settles_a_key(drill: Drill) {
    let fail = |scene: &mut Scene| {
        scene.platform.fault(Fault::cut());
        let answer = scene.gateway.client().post_with(ECHO, "Idempotency-Key: order-1\r\n", "{}");
        assert_eq!(answer.word(), Some("outcome_unknown"));
        scene.gateway.until(|gateway| gateway.metric("keyed_unknown") == 1.0);
    };
    let settle = |scene: &mut Scene| {
        let ask = |request: String| Client::connect(scene.gateway.admin).send(request).answer();
        let listed = ask("GET /keys?state=unknown HTTP/1.1\r\nHost: localhost\r\n\r\n".into());
        let body = format!(r#"{{"id":{},"as":"sent"}}"#, listed.json()["keys"][0]["id"]);
        let settled = ask(format!(
            "POST /keys/settle HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(settled.status, 200, "{body}");
        scene.gateway.until(|gateway| gateway.metric("keyed_unknown") == 0.0);
    };
    drill.run(60, Scene::new(), fail, settle);
}

pub(super) fn answers_are_sealed_with_another_key(drill: Drill) {
    let fail = |scene: &mut Scene| {
        scene.platform.fault(FaultKind::OtherKey);
        assert_eq!(scene.call(1)[0].word(), Some("answer_unreadable"));
    };
    drill.run(10, Scene::new(), fail, |scene| assert_eq!(scene.call(1)[0].status, 200));
}

pub(super) fn the_platform_says_no(drill: Drill) {
    let fail = |scene: &mut Scene| {
        scene.platform.fault(Fault::status(429));
        assert_eq!(scene.call(1)[0].status, 429);
    };
    let scene = Scene::with("limit = { rate = \"1000/s\" }", "");
    drill.run(30, scene, fail, |scene| assert_eq!(scene.call(1)[0].status, 200));
}

pub(super) fn the_platform_is_silent(drill: Drill) {
    let open = r#"breaker_state{account="main",state="open"}"#;
    let fail = |scene: &mut Scene| {
        scene.platform.fault(Fault::hang());
        scene.call(1);
        assert_eq!(scene.gateway.metric(open), 1.0);
    };
    // The first call after a second tries, and finds the platform.
    let heal =
        |scene: &mut Scene| scene.gateway.until(|gateway| gateway.client().get("/service/cloud/robot").status == 200);
    let account = "read_timeout = \"100ms\"\nbreaker = { failures = 1, open = \"1s\" }";
    drill.run(10, Scene::with(account, ""), fail, heal);
}
