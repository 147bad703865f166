//! What was certainly not carried out frees its key: the same key then sends.

use airudder_gateway::simulator::{Fault, FaultKind};

use super::{
    TASK, assert_ended, assert_refused, assert_replayed, create, created, ended, keeping, post, scene, scene_with, task,
};
use crate::support::{Refusing, Setup, platform, wait_until};

#[test]
fn a_platform_that_is_busy_frees_the_key() {
    let (platform, gateway) = scene();
    platform.fault(Fault::too_many(1));
    let busy = create(&gateway, "k", &task("one"));
    assert_eq!((busy.status, busy.word()), (429, None), "its own 429");
    let first = create(&gateway, "k", &task("one"));
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    assert_replayed(&create(&gateway, "k", &task("one")), &first, "afterwards");
    assert_ended(&gateway, "freed", 1.0);
    assert_eq!(created(&platform), 2);
    // The key was free for another body, too.
    platform.fault(Fault::too_many(1));
    assert_eq!(create(&gateway, "free", &task("one")).status, 429);
    assert_eq!(create(&gateway, "free", &task("two")).status, 200);
}

#[test]
fn a_token_that_is_refused_is_replaced_under_the_same_claim_and_refused_again_frees_the_key() {
    let (platform, gateway) = scene();
    platform.revoke_tokens();
    let first = create(&gateway, "k", &task("one"));
    assert_eq!((first.status, created(&platform)), (200, 2), "with a fresh token");
    assert_replayed(&create(&gateway, "k", &task("one")), &first, "afterwards");
    platform.fault(Fault::new(FaultKind::Refuse).times(2));
    let refused = create(&gateway, "other", &task("two"));
    assert_refused(&refused, 502, "token_refused", "yes", "both tokens");
    assert_eq!(gateway.metric("keyed_unknown"), 0.0);
    gateway.until(|gateway| {
        let answer = create(gateway, "other", &task("two"));
        assert_eq!(answer.header("idempotency-replayed"), None);
        answer.status == 200
    });
}

#[test]
fn no_connection_and_no_token_free_the_key() {
    let (setup, platform) = (keeping(), platform());
    let refusing = Refusing::new();
    let mut gateway = setup.start_at(&refusing.url(), None);
    let answer = create(&gateway, "k", &task("one"));
    assert_eq!(answer.json()["sent"], "no", "{answer:?}");
    gateway.kill();
    // With a token, and then nobody there.
    let gateway = setup.start(&platform).ready();
    let first = create(&gateway, "k", &task("one"));
    assert_eq!((first.status, created(&platform)), (200, 1));
    crate::support::stop(&platform);
    for _ in 0..2 {
        let answer = create(&gateway, "later", &task("two"));
        assert_refused(&answer, 502, "upstream_unreachable", "no", "nobody is there");
    }
    assert_ended(&gateway, "freed", 2.0);
    assert_eq!(gateway.metric("keyed_unknown"), 0.0);
}

#[test]
fn a_call_that_waits_for_its_turn_and_leaves_has_claimed_nothing() {
    let (platform, gateway) = scene_with(keeping(), "limit = { concurrency = 1, max_wait = \"60s\" }");
    platform.fault(FaultKind::Hold);
    let mut holder = gateway.client();
    holder.send(format!("POST {TASK} HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{{}}"));
    wait_until(&platform, "it is held", |_| created(&platform) == 1);
    let waiting = gateway.client();
    let mut waiting = waiting;
    let body = task("one");
    let length = body.len();
    waiting.send(format!(
        "POST {TASK} HTTP/1.1\r\nHost: g\r\nIdempotency-Key: k\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    gateway.until(|gateway| gateway.metric("waiting_calls{account=\"main\"}") == 1.0);
    drop(waiting);
    gateway.until(|gateway| ended(gateway, "freed") == 1.0);
    platform.release();
    assert_eq!(holder.answer().status, 200);
    assert_eq!(create(&gateway, "k", &task("another")).status, 200, "the key is free, for any body");
}

#[test]
fn a_body_that_cannot_be_held_whole_is_not_sent_under_a_key() {
    let outbound = "threads = 2\nmax_body = \"128KiB\"".to_owned();
    let (platform, gateway) = scene_with(Setup { outbound, sealed: false, ..keeping() }, "");
    let body = "x".repeat(200_000);
    let answer = post(&mut gateway.client(), "k", "", &body);
    assert_refused(&answer, 413, "body_too_large", "no", "declared");
    let mut client = gateway.client();
    client.send(format!(
        "POST {TASK} HTTP/1.1\r\nHost: g\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    ));
    assert_refused(&client.answer(), 413, "body_too_large", "no", "chunked");
    assert_eq!(created(&platform), 0);
    assert_eq!(gateway.client().post(TASK, &body).status, 200, "without a key it streams");
}
