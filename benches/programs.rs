//! What does it cost to know who calls? A budget: a microsecond a call, with 1,000 programs.
//!
//! `cargo bench --bench programs`. Everything that is timed is checked first.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on stops")]

use std::hint::black_box;
use std::time::Duration;

use airudder_gateway::clock;
use airudder_gateway::config::{KeyPair, Program, ProgramLimit, TokenRules};
use airudder_gateway::program::{Credential, Pair, Programs};
use airudder_gateway::secret::Secret;
use criterion::Criterion;

/// The gateway's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAMS: usize = 1000;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(20)
        .configure_from_args();
    let configured: Vec<_> = (0..PROGRAMS).map(configured).collect();
    let rules = |key: &str, old: Option<&str>| TokenRules {
        key: Some(Secret::new(key)),
        old_key: old.map(Secret::new),
        life: Duration::from_secs(24 * 60 * 60),
    };
    let all = |rules| Programs::try_new(&configured, &rules, clock::now()).expect("random numbers");
    let programs = all(rules("a key that signs gateway tokens", None));
    let rotating = all(rules("the key that comes next", Some("a key that signs gateway tokens")));

    let pair = Pair::new(Secret::new("app-key-700"), Secret::new("the secret of program 700"));
    let unknown = Pair::new(Secret::new("app-key-xyz"), Secret::new("the secret of program 700"));
    let seconds = || clock::wall_millis() / 1000;
    let token = {
        let proved = programs.log_in(Some(&pair), clock::now()).proved.expect("the right pair");
        programs.issue(&proved, seconds()).expect("a key signs")
    };
    let forged = token.replace(&token[60..], "AAAA");
    for (programs, text, known) in [(&programs, &token, true), (&rotating, &token, true), (&programs, &forged, false)] {
        let found = programs.identify(Credential::Token(text.as_bytes()), seconds);
        assert_eq!(found.ok().map(|program| program.name.as_str()), known.then_some("program-700"));
    }
    assert!(programs.identify(Credential::Key(b"api-key-700"), seconds).is_ok());

    let mut group = criterion.benchmark_group("who calls");
    let mut identify = |name: &str, programs: &Programs, credential: Credential<'_>| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| programs.identify(black_box(credential), seconds).map(|found| found.account).is_ok());
        });
    };
    identify("by a token", &programs, Credential::Token(token.as_bytes()));
    identify("by a token of the former key", &rotating, Credential::Token(token.as_bytes()));
    identify("by a forged token", &programs, Credential::Token(forged.as_bytes()));
    identify("by a key", &programs, Credential::Key(b"api-key-700"));
    identify("by an unknown key", &programs, Credential::Key(b"api-key-xyz"));
    for (name, pair) in [("a login", &pair), ("a login with an unknown key", &unknown)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let proved = programs.log_in(Some(black_box(pair)), clock::now()).proved;
                proved.and_then(|proved| programs.issue(&proved, seconds()))
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

fn configured(index: usize) -> Program {
    Program {
        name: format!("program-{index}"),
        api_key: Some(Secret::new(format!("api-key-{index}"))),
        pair: Some(KeyPair {
            key: Secret::new(format!("app-key-{index}")),
            secret: Secret::new(format!("the secret of program {index}")),
        }),
        account: None,
        operations: Vec::new(),
        limit: ProgramLimit::default(),
    }
}
