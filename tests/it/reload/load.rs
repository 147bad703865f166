//! A hundred reloads while programs call: nothing fails, nothing is asked for anew, and the platform sees its limit.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use airudder_gateway::clock;
use airudder_gateway::simulator::{Keep, Options};

use super::{call, program, setup, start};
use crate::support::rate::assert_never_passed;
use crate::support::{Setup, calls, platform_with};

/// Calls per second of the account, and at once.
const RATE: usize = 200;
const BURST: usize = 20;

/// Callers of each of two programs, each with one connection.
const CALLERS: usize = 8;

/// Everything changes but the account's own limit and key pair.
fn written(round: usize) -> Setup {
    let shares = format!("limit = {{ share = {} }}", 1 + round % 7);
    let (first, second) = (program("a", "KEY_A", &shares), program("b", "KEY_B", ""));
    let programs = if round.is_multiple_of(2) { [first, second] } else { [second, first] }.concat();
    let extra = program(&format!("extra-{round}"), "KEY_C", "operations = [\"task.*\"]");
    let operation = format!("[[operation]]\nname = \"task.stop\"\nlimit = {{ rate = \"{}/s\" }}\n", 1 + round % 5);
    let wrong = if round % 10 == 9 { "[[program]]\nname = \"a\"\n" } else { "" };
    Setup {
        // The client of the platform is another one in every third.
        account: format!(
            "read_timeout = \"{}s\"\nbreaker = {{ failures = {} }}\n\
             limit = {{ rate = \"{RATE}/s\", burst = {BURST}, max_wait = \"10m\" }}",
            140 + round / 3,
            3 + round % 3
        ),
        ..setup(&format!("{extra}{programs}{operation}{wrong}"))
    }
}

#[test]
fn a_hundred_reloads_under_load_fail_no_call_refill_no_limit_and_ask_for_no_token() {
    let platform = platform_with(Options { keep: Keep::Everything, keep_requests: 100_000, ..Options::default() });
    let gateway = start(&written(0), &platform);
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let began = clock::now();
    std::thread::scope(|scope| {
        let (gateway, stop, answered) = (&gateway, &stop, &answered);
        for key in ["a", "b"] {
            for _ in 0..CALLERS {
                scope.spawn(move || {
                    // One connection for all of it: a closed one is no answer.
                    let mut client = gateway.client();
                    while !stop.load(Ordering::Relaxed) {
                        let answer = call(&mut client, &format!("X-Gateway-Key: key-{key}\r\n"));
                        assert_eq!((answer.status, answer.word()), (200, None));
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        for round in 1..=100 {
            gateway.rewrite(&written(round), &platform.url());
            let (status, page) = gateway.reload();
            let expected = if round % 10 == 9 { 422 } else { 200 };
            if status != expected {
                stop.store(true, Ordering::Relaxed);
                panic!("{round}: {page}");
            }
            // Calls under each of them.
            let before = answered.load(Ordering::Relaxed);
            gateway.until(|_| answered.load(Ordering::Relaxed) >= before + 5);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let lasted = began.elapsed();
    assert_eq!((super::reloads(&gateway, "ok"), super::reloads(&gateway, "invalid")), (90.0, 10.0));
    assert_eq!(platform.logins(), 1, "the token is the one of the start");
    let arrived = calls(&platform);
    assert_eq!(arrived.len(), answered.load(Ordering::Relaxed));
    // A bucket that each reload filled would let ninety bursts more through.
    assert_never_passed(&arrived, RATE, BURST, lasted);
    let (count, seconds) = (arrived.len(), lasted.as_secs_f64());
    println!("{count} calls in {seconds:.1} s under 100 reloads, {} connections", platform.connections());
}
