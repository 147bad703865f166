//! What one process used up of the limits, the next one owes: under the same names, and nobody else.
//! Time stands still.

use super::*;

const RULES: &str = "[outbound]\n[[account]]\nname = \"main\"\napp_key = { env = \"A\" }\napp_secret = { env = \"A\" }\n\
                     limit = { rate = \"1/h\", burst = 3 }\n\
                     [[operation]]\nname = \"task.create\"\nlimit = { rate = \"1/h\", burst = 1 }\n";

struct Process {
    programs: Vec<ProgramLimits>,
    account: AccountLimits,
    now: Instant,
}

impl Process {
    fn new(names: &[&str], now: Instant) -> Self {
        let config = config::Config::parse(RULES, std::path::Path::new("."), |_| Some("x".into())).expect("it is good");
        let metrics = Metrics::try_new().expect("series");
        let programs = ProgramLimits::all(&programs(names), &[], now);
        let account = AccountLimits::new(&config.accounts[0], &config.operations, &programs, None, &metrics, now);
        Self { programs, account, now }
    }

    /// Sends a call, or says what refuses it and what the program reads about its limits.
    async fn call(&self, program: &str, operation: &str) -> Result<(), (LimitedBy, String)> {
        let own = self.programs.iter().find(|own| own.name == program).expect("it is there");
        let mut met = Met::default();
        let turn = self.account.admit(own, operation, Some(Duration::ZERO), self.now, &mut met).await;
        match turn {
            Ok(mut turn) => {
                assert_eq!(turn.leave(), Ok(Duration::ZERO));
                Ok(())
            }
            Err(Refused::Limited(by, _)) => Err((by, met.texts().expect("it met one").1.clone())),
            Err(open @ Refused::Open(_)) => panic!("{open:?}"),
        }
    }

    async fn refusal(&self, program: &str, operation: &str) -> Option<LimitedBy> {
        self.call(program, operation).await.err().map(|(by, _)| by)
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_process_used_up_the_next_one_owes_under_the_same_names() {
    let now = clock::now();
    let former = Process::new(&["a", "b"], now);
    assert_eq!(former.call("a", "task.create").await, Ok(()));
    assert_eq!(former.call("a", "other").await, Ok(()));
    let spent = (ProgramLimits::spent(&former.programs, now), former.account.spent("main", now));
    // As it travels.
    let text = serde_json::to_string(&spent).expect("text");
    let (by_program, by_account): (Vec<SpentBy>, Vec<SpentBy>) = serde_json::from_str(&text).expect("read");

    let next = Process::new(&["new", "b", "a"], now);
    ProgramLimits::owe(&next.programs, &by_program, now);
    next.account.owe("main", &by_account, now);
    assert_eq!(next.refusal("a", "other").await, Some(LimitedBy::Program));
    assert_eq!(next.refusal("b", "task.create").await, Some(LimitedBy::Operation));
    assert_eq!(next.refusal("b", "other").await, None, "the account has one left");
    assert_eq!(next.refusal("new", "other").await, Some(LimitedBy::Account));

    let other = Process::new(&["c"], now);
    ProgramLimits::owe(&other.programs, &by_program, now);
    other.account.owe("another", &by_account, now);
    assert_eq!(other.call("c", "task.create").await, Ok(()), "of nobody who used anything");
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_reads_that_nothing_is_left() {
    let process = Process::new(&["a"], clock::now());
    for _ in 0..2 {
        assert_eq!(process.call("a", "other").await, Ok(()));
    }
    let (by, read) = process.call("a", "other").await.expect_err("its two calls are used up");
    assert_eq!(by, LimitedBy::Program);
    assert!(read.starts_with("\"program\";r=0;t="), "{read}");
}
