//! What does it cost a call to take its turn, with a thousand programs?
//!
//! `cargo bench --bench admission`. Each case admits the calls of a thousand programs in turn. What is measured is
//! everything from the question to the freed place, the charge as the request leaves included.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on stops")]

use std::hint::black_box;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use airudder_gateway::clock;
use airudder_gateway::config::{AccountLimit, Config, Frequency, Program, ProgramLimit, Quota};
use airudder_gateway::limit::{AccountLimits, Met, ProgramLimits, Refused};
use airudder_gateway::metrics::Metrics;
use criterion::Criterion;

/// The gateway's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAMS: usize = 1_000;

/// More than one thread can ask for.
const NEVER_USED_UP: Option<Quota> =
    Some(Quota { rate: Frequency { calls: 100_000_000, per: Duration::from_secs(1) }, burst: 100_000_000 });

/// Used up by the first call.
const USED_UP: Option<Quota> = Some(Quota { rate: Frequency { calls: 1, per: Duration::from_secs(3600) }, burst: 1 });

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let free = ProgramLimit::default();
    let limited = ProgramLimit { quota: NEVER_USED_UP, concurrency: Some(1_000), share: 2 };
    for (name, account, program) in [
        ("no limits", None, free),
        ("an account's rate and concurrency", NEVER_USED_UP, free),
        ("an account's and a program's", NEVER_USED_UP, limited),
    ] {
        let limits = Limits::new(account, program);
        criterion.bench_function(name, |bencher| {
            let mut programs = limits.programs.iter().cycle();
            bencher.iter(|| {
                let program = programs.next().expect("a thousand");
                assert!(limits.passes(program), "it is never used up");
            });
        });
    }
    let limits = Limits::new(USED_UP, free);
    assert!(limits.passes(&limits.programs[0]));
    criterion.bench_function("refused, nobody waits", |bencher| {
        let mut programs = limits.programs.iter().cycle();
        bencher.iter(|| assert!(!limits.passes(black_box(programs.next().expect("a thousand")))));
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let inside = runtime.enter();
    let mut waiting: Vec<_> = (0..5 * PROGRAMS).map(|call| Box::pin(limits.waits(call % PROGRAMS))).collect();
    assert!(waiting.iter_mut().all(|call| poll(call.as_mut()).is_pending()));
    criterion.bench_function("refused, five calls of each program wait", |bencher| {
        let mut programs = limits.programs.iter().cycle();
        bencher.iter(|| assert!(!limits.passes(black_box(programs.next().expect("a thousand")))));
    });
    drop((waiting, inside));
    criterion.final_summary();
}

/// One account and a thousand programs.
struct Limits {
    account: AccountLimits,
    programs: Vec<ProgramLimits>,
}

impl Limits {
    fn new(quota: Option<Quota>, program: ProgramLimit) -> Self {
        let text =
            "[outbound]\n[[account]]\nname = \"main\"\napp_key = { env = \"A\" }\napp_secret = { env = \"B\" }\n";
        let mut config = Config::parse(text, Path::new("."), |_| Some("a-secret".into())).expect("a configuration");
        let concurrency = quota.map(|_| 10_000);
        let max_wait = Duration::from_secs(1_000_000_000);
        config.accounts[0].limit = AccountLimit { quota, least: None, max_wait, concurrency };
        let metrics = Metrics::try_new().expect("the series");
        let named = |index| Program {
            name: format!("program-{index}"),
            api_key: None,
            pair: None,
            account: None,
            operations: Vec::new(),
            limit: program,
        };
        let (named, now) = ((0..PROGRAMS).map(named).collect::<Vec<_>>(), clock::now());
        let programs = ProgramLimits::all(&named, &[], now);
        let account = AccountLimits::new(&config.accounts[0], &config.operations, &programs, None, &metrics, now);
        Self { account, programs }
    }

    /// Whether a call passes that does not wait.
    fn passes(&self, program: &ProgramLimits) -> bool {
        let mut met = Met::default();
        let turn = self.account.admit(program, "task.detail", Some(Duration::ZERO), clock::now(), &mut met);
        match poll(pin!(turn)) {
            Poll::Ready(Ok(mut turn)) => turn.leave().is_ok_and(|wait| wait.is_zero()),
            Poll::Ready(Err(Refused::Limited(..))) => false,
            other => panic!("{other:?}"),
        }
    }

    async fn waits(&self, program: usize) -> bool {
        let mut met = Met::default();
        self.account.admit(&self.programs[program], "task.detail", None, clock::now(), &mut met).await.is_ok()
    }
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
