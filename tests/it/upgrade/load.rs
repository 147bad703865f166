//! Upgrades under load: no call fails, no callback is lost, no key is carried out twice, no rate is passed.
//!
//! `UPGRADES=20` makes it longer, `PACE=2000` asks for more calls a second, `GATEWAY=target/release/airudder-gateway` is another gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use airudder_gateway::clock;
use airudder_gateway::simulator::{Keep, Options};

use super::{DETAIL, PATH, callback, setup};
use crate::support::rate::assert_never_passed;
use crate::support::receiver::Receiver;
use crate::support::{Answer, Client, Folder, Setup, calls, platform_with};

/// What creates a task.
const TASK: &str = "/service/cloud/task";

/// Calls a second, if the machine keeps up; others by the variable.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn wanted() -> f64 {
    std::env::var("PACE").map_or(500.0, |pace| pace.parse().expect("a number"))
}

/// Who calls: programs with one connection for everything, programs with one for each call, programs with keys, and the
/// platform in both ways.
const KEEPING: usize = 8;
const ANEW: usize = 4;
const KEYED: usize = 4;

/// How many upgrades; more by the variable, for a machine with time.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
pub(super) fn rounds() -> usize {
    std::env::var("UPGRADES").map_or(3, |count| count.parse().expect("a number"))
}

/// Gives everybody his next turn, so many a second.
struct Pace {
    began: clock::Instant,
    wanted: f64,
    next: AtomicUsize,
    stop: AtomicBool,
}

impl Pace {
    fn new() -> Self {
        Self { began: clock::now(), wanted: wanted(), next: AtomicUsize::new(0), stop: AtomicBool::new(false) }
    }

    /// The number of the turn, once it has come; `None`: it is over.
    fn turn(&self) -> Option<usize> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let at = self.began + Duration::from_secs_f64(turn as f64 / self.wanted);
        std::thread::sleep(at.saturating_duration_since(clock::now()));
        (!self.stop.load(Ordering::Relaxed)).then_some(turn)
    }
}

fn get(client: &mut Client) -> Option<Answer> {
    client.send(format!("GET {DETAIL} HTTP/1.1\r\nHost: g\r\n\r\n")).try_answer(false)
}

fn post(client: &mut Client, path: &str, headers: &str, body: &str) -> Option<Answer> {
    let length = body.len();
    let head = "Content-Type: application/json";
    client
        .send(format!("POST {path} HTTP/1.1\r\nHost: g\r\n{head}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"))
        .try_answer(false)
}

fn task(name: &str) -> String {
    format!(r#"{{"TaskName":"{name}","RobotID":"1","Details":[{{"CalleeNumber":"+6281200000001"}}]}}"#)
}

#[track_caller]
fn assert_answered(answer: Option<Answer>, what: &str) -> Answer {
    let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
    assert!(answer.status == 200 && answer.complete, "{what}: {answer:?}");
    answer
}

#[test]
fn upgrades_under_load_fail_no_call_lose_no_callback_and_carry_no_key_out_twice() {
    let latency = (Duration::from_millis(10), Duration::from_millis(60));
    let options = Options {
        keep: Keep::Everything,
        keep_requests: 1_000_000,
        latency: latency.0,
        jitter: latency.1,
        ..Options::default()
    };
    let (platform, books) = (platform_with(options), Receiver::new());
    let gateway = setup(&books.url()).start(&platform).ready();
    let inbound = gateway.inbound.expect("it listens");
    let (pace, answered, acknowledged) = (Pace::new(), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        let (gateway, pace, answered, acknowledged) = (&gateway, &pace, &answered, &acknowledged);
        let turns = move || std::iter::from_fn(move || pace.turn());
        for _ in 0..KEEPING {
            // One connection for all of it: a closed one is no answer.
            scope.spawn(move || {
                let mut client = gateway.client();
                for turn in turns() {
                    let answer = match turn % 2 {
                        0 => get(&mut client),
                        _ => post(&mut client, "/service/cloud/operation", "", r#"{"TaskID":"17"}"#),
                    };
                    assert_answered(answer, "a kept connection");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..ANEW {
            scope.spawn(move || {
                for _ in turns() {
                    let stream = TcpStream::connect(gateway.outbound).expect("nobody is refused");
                    assert_answered(get(&mut Client::on(stream)), "a new connection");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..KEYED {
            scope.spawn(move || {
                let mut client = gateway.client();
                for turn in turns() {
                    let (key, body) = (format!("Idempotency-Key: key-{turn}\r\n"), task(&format!("task-{turn}")));
                    let first = assert_answered(post(&mut client, TASK, &key, &body), "a key");
                    let again = assert_answered(post(&mut client, TASK, &key, &body), "the same key");
                    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:?}");
                    assert_eq!(first.body, again.body);
                    answered.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        for keeps in [true, false] {
            scope.spawn(move || {
                let mut client = Client::connect(inbound);
                for turn in turns() {
                    if !keeps {
                        client = Client::connect(inbound);
                    }
                    assert_answered(post(&mut client, PATH, "", &callback(&format!("call-{turn}"))), "a callback");
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let upgrading = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut longest = Duration::ZERO;
            for _ in 0..rounds() {
                let (calls, callbacks) = (answered.load(Ordering::Relaxed), acknowledged.load(Ordering::Relaxed));
                let begun = clock::now();
                gateway.upgrade();
                longest = longest.max(begun.elapsed());
                gateway.until(|_| {
                    answered.load(Ordering::Relaxed) >= calls + 100
                        && acknowledged.load(Ordering::Relaxed) >= callbacks + 5
                });
            }
            longest
        }));
        // Before anything else, or the others would go on for ever.
        pace.stop.store(true, Ordering::Relaxed);
        longest = upgrading.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let seconds = pace.began.elapsed().as_secs_f64();
    let (answered, acknowledged) = (answered.into_inner(), acknowledged.into_inner());
    println!(
        "{} upgrades, the longest {:.1} s: {answered} calls and {acknowledged} callbacks in {seconds:.1} s, {:.0} a second",
        rounds(),
        longest.as_secs_f64(),
        (answered + acknowledged) as f64 / seconds
    );

    let mut tasks: BTreeMap<_, usize> = BTreeMap::new();
    for call in calls(&platform).iter().filter(|call| call.path == TASK) {
        *tasks.entry(call.opened.clone().expect("it was sealed").to_vec()).or_default() += 1;
    }
    assert!(!tasks.is_empty() && tasks.values().all(|times| *times == 1), "a key was carried out twice");
    books.until(|all| all.len() >= acknowledged);
    let taken: BTreeSet<_> =
        books.deliveries().iter().map(|taken| taken.json()["details"][0]["call_id"].to_string()).collect();
    assert_eq!(taken.len(), acknowledged, "each acknowledged callback was delivered");
    assert_eq!(platform.logins(), 1);
    gateway.stop_serving();
}

/// Whoever calls stops when this goes, also where an assertion failed: the scope waits for them.
pub(super) struct Stopping<'a>(pub(super) &'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Calls per second of the account, and at once.
const RATE: usize = 150;
const BURST: usize = 30;

#[test]
fn two_processes_together_never_pass_the_rate_of_one() {
    let platform = platform_with(Options { keep: Keep::Everything, keep_requests: 100_000, ..Options::default() });
    let setup = Setup {
        account: format!("limit = {{ rate = \"{RATE}/s\", burst = {BURST}, max_wait = \"10m\" }}"),
        folder: Some(Folder::new()),
        ..Setup::default()
    };
    let gateway = setup.start(&platform).ready();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let began = clock::now();
    std::thread::scope(|scope| {
        let (gateway, stop, answered) = (&gateway, &stop, &answered);
        for _ in 0..12 {
            scope.spawn(move || {
                let mut client = gateway.client();
                while !stop.load(Ordering::Relaxed) {
                    assert_answered(get(&mut client), "a call that waits for its turn");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _stopping = Stopping(stop);
        for _ in 0..rounds() {
            let before = answered.load(Ordering::Relaxed);
            gateway.until(|_| answered.load(Ordering::Relaxed) >= before + BURST);
            gateway.upgrade();
        }
    });
    let lasted = began.elapsed();
    let arrived = calls(&platform);
    assert_never_passed(&arrived, RATE, BURST, lasted);
    println!("{} calls in {:.1} s under {} upgrades", arrived.len(), lasted.as_secs_f64(), rounds());
}
