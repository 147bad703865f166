//! What a receiver's answer means for the callback.

use std::time::Duration;

use airudder_gateway::clock;

use super::{Platform, attempts, books, call, dead, setup};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Gateway, Refusing, Setup, platform};

/// A gateway whose receiver answers like this, and one callback. The receiver comes first, because it outlives the gateway.
fn one_callback(receiver: &Receiver, more: &str) -> Gateway {
    let gateway = setup(&books(receiver.url(), more)).start(&platform());
    Platform::of(&gateway).call_back(&call("c-1"));
    gateway
}

#[test]
fn a_refusal_is_tried_again_until_it_is_taken() {
    for status in [300, 400, 401, 404, 409, 422, 500, 502, 504] {
        let receiver =
            Receiver::answering(move |delivery| Reply::Status(if delivery.attempt() < 3 { status } else { 201 }));
        let gateway = one_callback(&receiver, "");
        gateway.until(|gateway| attempts(gateway, "books", "delivered") == 1);
        let word = if status == 300 { "redirected" } else { "refused" };
        assert_eq!(attempts(&gateway, "books", word), 2, "{status}");
        assert_eq!(receiver.count(), 3, "{status}");
    }
}

#[test]
fn gone_buries_at_once_and_so_does_a_configured_status() {
    for (status, reason) in [(410, "gone"), (422, "buried")] {
        let receiver = Receiver::answering(move |_| Reply::Status(status));
        let gateway = one_callback(&receiver, "bury = [400, 422]");
        gateway.until(|gateway| dead(gateway, "books", reason) == 1);
        // One that came later is taken, and nothing comes between.
        receiver.answer(|_| Reply::Status(200));
        Platform::of(&gateway).call_back(&call("c-2"));
        gateway.until(|gateway| attempts(gateway, "books", "delivered") == 1);
        assert_eq!(receiver.count(), 2, "{status}");
        assert_eq!(attempts(&gateway, "books", reason), 1, "{status}");
    }
}

#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    let receiver = Receiver::answering(|delivery| match delivery.attempt() {
        1 => Reply::With(503, "Retry-After: 2\r\n".into()),
        2 => Reply::With(429, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n".into()),
        _ => Reply::Status(200),
    });
    let begun = clock::now();
    let gateway = one_callback(&receiver, "");
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == 1);
    assert_eq!(attempts(&gateway, "books", "throttled"), 2);
    // Its schedule says 50 ms. Two seconds were asked for, and a past date means the shortest wait, a second.
    assert!(clock::now() - begun >= Duration::from_millis(2990));
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::new();
    let location = format!("Location: {}/elsewhere\r\n", elsewhere.url());
    let receiver = Receiver::answering(move |delivery| match delivery.attempt() {
        1 => Reply::With(307, location.clone()),
        _ => Reply::Status(200),
    });
    let gateway = one_callback(&receiver, "");
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == 1);
    assert_eq!(attempts(&gateway, "books", "redirected"), 1);
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_receiver_that_says_nothing_costs_its_timeout_and_no_more() {
    let receiver = Receiver::answering(|delivery| match delivery.attempt() {
        1 => Reply::Hang,
        2 => Reply::Cut,
        _ => Reply::Status(200),
    });
    let gateway = one_callback(&receiver, "timeout = \"200ms\"");
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == 1);
    assert_eq!(attempts(&gateway, "books", "timed_out"), 1);
    assert_eq!(attempts(&gateway, "books", "cut"), 1);
}

#[test]
fn a_status_counts_whatever_becomes_of_its_body() {
    for reply in [Reply::Endless, Reply::Stalls] {
        let receiver = Receiver::answering(move |_| reply.clone());
        let gateway = one_callback(&receiver, "timeout = \"1h\"\nconcurrency = 1");
        gateway.until(|gateway| attempts(gateway, "books", "delivered") == 1);
        // Its connection is not used again.
        receiver.answer(|_| Reply::Status(200));
        Platform::of(&gateway).call_back(&call("c-2"));
        gateway.until(|gateway| attempts(gateway, "books", "delivered") == 2);
        assert_eq!((receiver.count(), receiver.connections()), (2, 2));
    }
}

#[test]
fn connections_are_used_again_and_one_that_closed_is_replaced_in_the_same_attempt() {
    let receiver = Receiver::new();
    let gateway = one_callback(&receiver, "concurrency = 1");
    for turn in 2..=20 {
        gateway.until(|gateway| attempts(gateway, "books", "delivered") == turn - 1);
        Platform::of(&gateway).call_back(&call(&format!("c-{turn}")));
    }
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == 20);
    assert_eq!(receiver.connections(), 1);
    // It takes the next one off the kept connection without an answer, as a server that closes idle connections may.
    let cut = std::sync::atomic::AtomicBool::new(false);
    receiver.answer(move |_| match cut.swap(true, std::sync::atomic::Ordering::Relaxed) {
        false => Reply::Cut,
        true => Reply::Status(200),
    });
    Platform::of(&gateway).call_back(&call("c-21"));
    gateway.until(|gateway| attempts(gateway, "books", "delivered") == 21);
    assert_eq!(attempts(&gateway, "books", "cut"), 0);
    assert_eq!(receiver.connections(), 2);
}

#[test]
fn a_receiver_that_nobody_reaches_is_tried_until_its_time_is_over() {
    let refusing = Refusing::new();
    let to = books(refusing.url(), "retry = [\"100ms\"]");
    let base = setup(&to);
    let setup = Setup { more: base.more.replace("[inbox]\n", "[inbox]\nretain = \"1s\"\n"), ..base };
    let gateway = setup.start(&platform());
    Platform::of(&gateway).call_back(&call("c-1"));
    gateway.until(|gateway| dead(gateway, "books", "expired") == 1);
    assert!(attempts(&gateway, "books", "unreachable") >= 2);
    assert_eq!(attempts(&gateway, "books", "delivered"), 0);
}
