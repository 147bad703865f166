//! More calls than an account may send: the platform never sees more than the limit, each program gets its share, and
//! who cannot be served is told so without waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airudder_gateway::clock;

use super::{call, limited_with, programs};
use crate::support::rate::fullest;
use crate::support::{Gateway, calls};

/// Calls per second, and at once. Four times as many have to be asked for, on a machine that does much else, too.
const RATE: usize = 50;
const BURST: usize = 10;

/// Callers of each program, and how long one that was refused stays away: together eighteen times as many calls as turns, if
/// the machine keeps up.
const CALLERS: usize = 16;
const AWAY: Duration = Duration::from_millis(50);

/// What became of the calls of one program.
#[derive(Debug, Default)]
struct Served {
    answered: usize,
    refused: usize,
    /// Refused after it had waited: what nobody could know when it came.
    late: usize,
    /// What those took that did not wait, from their first byte to their last, in microseconds.
    at_once: Vec<u64>,
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut times = self.at_once.clone();
        times.sort_unstable();
        let at = |part: usize| times.get((times.len() * part / 1000).min(times.len().saturating_sub(1))).unwrap_or(&0);
        let Self { answered, refused, late, at_once } = self;
        let (half, nearly_all, at_once) = (at(500), at(999), at_once.len());
        write!(
            f,
            "{answered} answered, {refused} refused: {at_once} without a wait, in {half} µs (median) and {nearly_all} µs \
             (99.9 %); {late} after more than 100 ms"
        )
    }
}

/// Ten seconds beside other tests; another number by the environment, as `make test-crash` gives it, which means that nothing
/// else runs: the bounds are exact then.
#[expect(clippy::disallowed_methods, reason = "how long a story is told is asked at the door, like the gateway's own")]
fn duration() -> (Duration, bool) {
    let seconds = std::env::var("OVERLOAD_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    (Duration::from_secs(seconds.unwrap_or(10)), seconds.is_some())
}

/// How long calls may be on their way where other tests run, too: then so many more of them arrive at once, in seconds.
const BUNCHED: f64 = 0.25;

/// Calls until it is told to stop.
fn caller(gateway: &Gateway, key: &str, stop: &AtomicBool) {
    let mut client = gateway.client();
    while !stop.load(Ordering::Relaxed) {
        let answer = call(&mut client, &format!("X-Gateway-Key: key-{key}\r\n"));
        match (answer.status, answer.word()) {
            (200, None) => {}
            (429, Some("limited")) => std::thread::sleep(AWAY),
            other => panic!("{other:?}"),
        }
    }
}

/// What the log says of the calls of a program.
fn served(lines: &[serde_json::Value], program: &str) -> Served {
    let mut served = Served::default();
    for line in lines.iter().filter(|line| line["program"] == program) {
        match line["outcome"].as_str() {
            Some("answered") => served.answered += 1,
            _ => {
                served.refused += 1;
                let took = line["total_us"].as_u64();
                match line["limit_wait_us"].as_u64() {
                    Some(0) => served.at_once.extend(took),
                    Some(..=100_000) => {}
                    _ => served.late += 1,
                }
            }
        }
    }
    served
}

#[test]
fn three_programs_share_an_overloaded_account_and_the_platform_sees_its_limit() {
    let more = programs(["share = 1", "share = 1", "share = 2"]);
    let limit = format!("rate = \"{RATE}/s\", burst = {BURST}, max_wait = \"200ms\"");
    let (platform, gateway) = limited_with(&limit, &more);
    let (stop, (lasting, alone)) = (AtomicBool::new(false), duration());
    let started = clock::now();
    std::thread::scope(|scope| {
        let (gateway, stop) = (&gateway, &stop);
        for key in ["a", "b", "c"] {
            (0..CALLERS).for_each(|_| drop(scope.spawn(move || caller(gateway, key, stop))));
        }
        std::thread::sleep(lasting);
        stop.store(true, Ordering::Relaxed);
    });
    let seconds = (clock::now() - started).as_secs_f64();
    let arrived = calls(&platform);
    // Each call that left was answered, and no other was: a line each.
    gateway.until(|gateway| gateway.printed().matches("\"outcome\":\"answered\"").count() == arrived.len());
    let lines: Vec<serde_json::Value> =
        gateway.printed().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let served = ["a", "b", "c"].map(|program| served(&lines, program));
    println!("{seconds:.1} s, {} in the fullest second", fullest(&arrived, 1.0));
    served.iter().for_each(|served| println!("{served}"));

    // Whatever was asked, no second saw more than the rate and the burst, give or take half a percent; where other tests run,
    // too, and calls may bunch on their way, a quarter of the rate more.
    let bunched = if alone { 0.0 } else { RATE as f64 * BUNCHED };
    let most = (RATE + BURST) as f64 * 1.005 + bunched;
    assert!(fullest(&arrived, 1.0) as f64 <= most, "{} of {most}", fullest(&arrived, 1.0));
    let answered: usize = served.iter().map(|served| served.answered).sum();
    assert_eq!(answered, arrived.len());
    let turns = RATE as f64 * seconds;
    assert!(answered as f64 <= (turns + BURST as f64) * 1.005, "{answered} of {turns}");
    let asked: usize = served.iter().map(|served| served.answered + served.refused).sum();
    assert!(asked as f64 > 4.0 * turns, "an overload: {asked} of {turns}");
    // And none of it was wasted: each program had at least nine tenths of its share, of all turns where nothing else takes
    // the machine's time.
    let turns = if alone { turns } else { answered as f64 };
    for (served, share) in served.iter().zip([0.25, 0.25, 0.5]) {
        assert!(served.answered as f64 >= turns * share * 0.9, "{served} of {:.0}", turns * share);
        assert!(served.late * 20 <= served.refused, "told at once: {served}");
    }
    gateway.until(|gateway| gateway.metric(r#"waiting_calls{account="main"}"#) == 0.0);
}
