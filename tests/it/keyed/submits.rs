//! Many programs that repeat until they know, a platform that fails in every way, and a gateway that is killed: for one key the
//! platform carries out at most one call, and each key ends with its own answer or with `outcome_unknown`.
//!
//! `SUBMITS=10000` makes it longer.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use airudder_gateway::simulator::{Fault, FaultKind, Options, Simulator};
use serde_json::Value;

use super::{TASK, keeping, task};
use crate::support::{Answer, Client, Gateway, Random, Setup, platform_with};

/// Programs at the same time.
const PROGRAMS: usize = 12;

/// Words after which a program sends the same call again, as the documentation says.
const AGAIN: [&str; 9] = [
    "busy",
    "limited",
    "breaker_open",
    "keys_unavailable",
    "upgrading",
    "idempotency_key_in_use",
    "token_unavailable",
    "token_refused",
    "upstream_unreachable",
];

/// The platform's silence is short, and nothing holds up logins: what is looked for needs no waiting.
const ACCOUNT: &str = "read_timeout = \"1s\"\nbreaker = \"off\"\nlogin = { burst = 100, every = \"1ms\" }";

/// What a key ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// The id of its task.
    Created(String),
    /// The platform's refusal.
    Failed(u16),
    /// Nobody knows.
    Unknown,
}

/// What all programs share.
struct Scene {
    platform: Simulator,
    address: Mutex<SocketAddr>,
    next: AtomicUsize,
    done: AtomicUsize,
    tries: AtomicUsize,
}

fn name(number: usize) -> String {
    format!("submit-{number}")
}

fn request(number: usize) -> String {
    let body = task(&name(number));
    format!(
        "POST {TASK} HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nIdempotency-Key: key-{number}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Scene {
    /// A connection with the call on it; `None` while there is no gateway.
    fn send(&self, number: usize) -> Option<Client> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let address = *self.address.lock().expect("no panic inside");
        let mut client = Client::on(TcpStream::connect(address).ok()?);
        client.send(request(number));
        Some(client)
    }

    /// Something goes wrong for whoever calls next, perhaps.
    fn disturb(&self, random: &mut Random) {
        let reset = random.below(2) == 0;
        let fault = match random.below(100) {
            0..4 => FaultKind::CutBeforeBody { reset },
            4..7 => FaultKind::CutBeforeAnswer { reset },
            7..10 => FaultKind::CutMidAnswer { after: random.below(40), reset },
            10..12 => FaultKind::Hang { ms: None },
            12..18 => return self.platform.fault(Fault::too_many(1)),
            18..24 => FaultKind::Refuse,
            24..28 => FaultKind::CloseAfter,
            28..30 => return self.platform.fault(Fault::status(500)),
            30..32 => FaultKind::WrongDigest,
            32..33 => return self.platform.revoke_tokens(),
            _ => return,
        };
        self.platform.fault(fault);
    }

    /// One thing to be done, until it is known what became of it.
    fn submit(&self, number: usize, random: &mut Random) -> End {
        self.disturb(random);
        loop {
            let sent = self.send(number);
            match random.below(20) {
                // It leaves at once, and comes again.
                0 => continue,
                // It is impatient, and asks twice at the same time.
                1 => drop(self.send(number).and_then(|mut client| client.try_answer(false))),
                _ => {}
            }
            let answer = sent.and_then(|mut client| client.try_answer(false)).filter(|answer| answer.complete);
            if let Some(end) = answer.and_then(|answer| end(&answer, &name(number))) {
                return end;
            }
            std::thread::yield_now();
        }
    }

    /// A program: one thing after the other.
    fn work(&self, submits: usize) -> Vec<(usize, End)> {
        let (mut ends, mut random) = (Vec::new(), Random::new());
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= submits {
                return ends;
            }
            ends.push((number, self.submit(number, &mut random)));
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What an answer says of a key; `None`: it is to be sent again.
fn end(answer: &Answer, name: &str) -> Option<End> {
    match answer.word() {
        Some(word) if AGAIN.contains(&word) => None,
        Some("outcome_unknown") => Some(End::Unknown),
        // Half an answer arrived; what the key stands at, the next one says.
        Some("answer_cut" | "answer_unreadable") => None,
        Some(word) => panic!("{name}: {word}: {:?}", answer.json()),
        None if answer.status == 429 => None,
        None if answer.status == 200 => {
            let data = &answer.json()["data"];
            assert_eq!(data["TaskName"], name, "the platform's answer to another call");
            Some(End::Created(data["TaskID"].as_str().expect("an id").to_owned()))
        }
        None => Some(End::Failed(answer.status)),
    }
}

/// How many calls of each name the platform carried out, or may have: whole, and neither its token nor its pace was refused.
fn carried_out(platform: &Simulator) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in platform.requests() {
        if request.path == TASK && request.complete && !matches!(request.status, Some(401 | 429)) {
            let body: Value = serde_json::from_slice(&request.body).expect("it was not sealed");
            *counts.entry(body["TaskName"].as_str().expect("a name").to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Keys in all.
fn submits() -> usize {
    #[expect(clippy::disallowed_methods, reason = "how long to go on is told here")]
    match std::env::var("SUBMITS") {
        Ok(many) => many.parse().expect("SUBMITS is a number"),
        Err(_) => 200,
    }
}

#[test]
fn the_platform_carries_out_at_most_one_call_for_one_key() {
    let submits = submits();
    let kills = 3.max(submits / 500);
    let kept = submits * 5 + 1000;
    let platform = platform_with(Options { keep_requests: kept, ..Options::default() });
    let setup = Setup { sealed: false, account: ACCOUNT.into(), ..keeping() };
    let mut gateway = setup.start(&platform).ready();
    let scene = Scene {
        platform: platform.clone(),
        address: Mutex::new(gateway.outbound),
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        tries: AtomicUsize::new(0),
    };
    let mut restarts = 0;
    let ends: BTreeMap<usize, End> = std::thread::scope(|scope| {
        let programs: Vec<_> = (0..PROGRAMS).map(|_| scope.spawn(|| scene.work(submits))).collect();
        for kill in 1..=kills {
            let due = submits * kill / (kills + 1);
            while scene.done.load(Ordering::Relaxed) < due && programs.iter().any(|program| !program.is_finished()) {
                std::thread::yield_now();
            }
            gateway.kill();
            gateway = setup.start(&platform);
            *scene.address.lock().expect("no panic inside") = gateway.outbound;
            restarts += 1;
        }
        programs.into_iter().flat_map(|program| program.join().expect("a program's own assertions")).collect()
    });
    assert_eq!(ends.len(), submits);

    assert!(platform.requests().len() < kept, "none was forgotten");
    let carried_out = carried_out(&platform);
    let twice: Vec<_> = carried_out.iter().filter(|(_, count)| **count > 1).collect();
    let count = |is: fn(&End) -> bool| ends.values().filter(|end| is(end)).count();
    let created = count(|end| matches!(end, End::Created(_)));
    let failed = count(|end| matches!(end, End::Failed(_)));
    println!(
        "{submits} keys, {} calls of programs, {restarts} kills: {created} created, {failed} refused by the platform, {} \
         unknown; carried out {} keys, {} of them more than once",
        scene.tries.load(Ordering::Relaxed),
        count(|end| *end == End::Unknown),
        carried_out.len(),
        twice.len()
    );
    assert!(twice.is_empty(), "carried out more than once: {twice:?}");
    assert!(created > submits / 2, "faults were the exception");
    for (number, end) in &ends {
        // Whoever has an answer has that of the only call of its key.
        assert!(*end == End::Unknown || carried_out.contains_key(&name(*number)), "{number}: {end:?} without a call");
    }

    // Whatever it ended with, it stays so: for the same gateway, and for the next one.
    platform.clear_faults();
    let before = platform.count(TASK);
    for (number, first) in ends.iter().step_by(submits.div_ceil(500)) {
        check_again(&gateway, *number, first);
    }
    let stored = gateway.metric("keyed_unknown");
    assert!(stored >= count(|end| *end == End::Unknown) as f64, "{stored} unknown keys are shown");
    assert_eq!(platform.count(TASK), before, "none of them was sent again");
}

fn check_again(gateway: &Gateway, number: usize, first: &End) {
    let answer = gateway.client().send(request(number)).answer();
    let again = end(&answer, &name(number)).unwrap_or_else(|| panic!("{number}: {answer:?}"));
    assert_eq!(again, *first, "{number}");
    assert_eq!(answer.header("idempotency-replayed").is_some(), again != End::Unknown, "{number}: {answer:?}");
}
