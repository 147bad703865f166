//! What a call tells the limits of its account: that the platform answered, said no, or was not reached.
//! Time is the test's.

use super::*;

const RULES: &str = "limit = { rate = \"10/s\", burst = 10 }\nbreaker = { failures = 1, open = \"10s\" }\n";

struct Account {
    metrics: Metrics,
    programs: Vec<ProgramLimits>,
    limits: AccountLimits,
}

pub(super) fn parse(rules: &str) -> config::Config {
    let text = format!(
        "[outbound]\n[[account]]\nname = \"main\"\napp_key = {{ env = \"A\" }}\napp_secret = {{ env = \"A\" }}\n{rules}"
    );
    config::Config::parse(&text, std::path::Path::new("."), |_| Some("x".into())).expect("it is good")
}

impl Account {
    fn new(rules: &str) -> Self {
        let (metrics, now) = (Metrics::try_new().expect("series"), clock::now());
        let programs = ProgramLimits::all(&[], &[], now);
        let limits = AccountLimits::new(&parse(rules).accounts[0], &[], &programs, None, &metrics, now);
        Self { metrics, programs, limits }
    }

    fn reload(&mut self, rules: &str) {
        let account = &parse(rules).accounts[0];
        self.limits = AccountLimits::new(account, &[], &self.programs, Some(&self.limits), &self.metrics, clock::now());
    }

    /// A turn that cannot wait.
    async fn admit(&self) -> Result<Turn<'_>, Refused> {
        let met = &mut Met::default();
        self.limits.admit(&self.programs[0], "other", Some(Duration::ZERO), clock::now(), met).await
    }

    async fn refusal(&self) -> Option<Refused> {
        self.admit().await.err()
    }

    /// A turn with which the platform is asked.
    async fn try_now(&self) -> Result<Turn<'_>, Refused> {
        let mut turn = self.admit().await?;
        turn.begin()?;
        Ok(turn)
    }

    fn rate(&self) -> f64 {
        self.metrics.limits.rate.with_label_values(&["main"]).get()
    }

    fn cuts(&self) -> u64 {
        self.limits.series.cuts.get()
    }
}

const fn open(seconds: u64) -> Option<Refused> {
    Some(Refused::Open(Duration::from_secs(seconds)))
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_not_reached_stays_shut_under_the_next_configuration() {
    let mut account = Account::new(RULES);
    account.admit().await.expect("it is shut by nothing").failed(clock::now());
    assert_eq!(account.refusal().await, open(10));
    assert_eq!(account.metrics.limits.breaker.with_label_values(&["main", "open"]).get(), 1, "it is shown at once");
    account.reload(RULES);
    assert_eq!(account.refusal().await, open(10));
    account.reload(&RULES.replace("10s", "20s"));
    assert_eq!(account.refusal().await, open(20), "by the new rule");
    let shown = || account.metrics.limits.breaker.with_label_values(&["main", "open"]).get();
    assert_eq!(shown(), 1);
    account.reload("breaker = \"off\"");
    assert_eq!(account.refusal().await, None);
    // Asked for again, it begins at nothing.
    assert_eq!(account.metrics.limits.breaker.with_label_values(&["main", "open"]).get(), 0, "its series is gone");
}

#[tokio::test(start_paused = true)]
async fn the_call_that_tries_decides_and_one_that_finds_nothing_out_leaves_it_to_the_next() {
    let account = Account::new(RULES);
    account.admit().await.expect("it is shut by nothing").failed(clock::now());
    tokio::time::advance(Duration::from_secs(10)).await;
    let collects = account.admit().await.expect("it has its turn");
    let mut tries = account.try_now().await.expect("one tries, and waits for nobody's body");
    assert_eq!(tries.begin(), Ok(()), "again, if it likes");
    assert_eq!(account.refusal().await, open(1), "the others wait for it");
    let mut collected = collects;
    assert_eq!(collected.begin().err(), open(1));
    drop((tries, collected));
    let mut tries = account.try_now().await.expect("the next one tries");
    tries.failed(clock::now());
    drop(tries);
    assert_eq!(account.refusal().await, open(10));
    tokio::time::advance(Duration::from_secs(10)).await;
    let mut tries = account.try_now().await.expect("one tries");
    tries.answered(500, clock::now(), || None);
    assert_eq!(account.refusal().await, None, "any answer will do");
    drop(tries);
    assert_eq!(account.refusal().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_no_halves_the_rate_once_for_all_that_had_left_and_time_brings_it_back() {
    let account = Account::new(RULES);
    assert_eq!((account.rate(), account.cuts()), (10.0, 0));
    let mut first = account.admit().await.expect("it has its turn");
    let mut second = account.admit().await.expect("it has its turn");
    for turn in [&mut first, &mut second] {
        assert_eq!(turn.leave(), Ok(Duration::ZERO));
    }
    for status in [200, 400, 404, 500, 502] {
        first.answered(status, clock::now(), || None);
    }
    assert_eq!((account.rate(), account.cuts()), (10.0, 0), "none of them says no");
    first.answered(429, clock::now(), || None);
    second.answered(503, clock::now(), || None);
    assert_eq!((account.rate(), account.cuts()), (5.0, 1), "the second had left before");
    tokio::time::advance(Duration::from_secs(1)).await;
    account.limits.recover(clock::now());
    assert_eq!((account.rate(), account.cuts()), (5.5, 1));
    second.answered(503, clock::now(), || Some(Duration::from_secs(7)));
    let Some(Refused::Limited(LimitedBy::Pause, wait)) = account.refusal().await else {
        panic!("it asked for a pause")
    };
    assert_eq!(wait.as_secs_f64().round(), 7.0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_has_left_only_when_its_wait_is_over() {
    let account = Account::new("limit = { rate = \"1/s\", burst = 1, max_wait = \"5s\" }\nbreaker = \"off\"");
    let met = &mut Met::default();
    let patience = Some(Duration::from_secs(5));
    let mut turn = account
        .limits
        .admit(&account.programs[0], "other", patience, clock::now(), met)
        .await
        .expect("it has its turn");
    assert_eq!(turn.leave(), Ok(Duration::ZERO));
    let wait = turn.leave().expect("it can wait");
    assert_eq!(wait.as_secs_f64().round(), 1.0, "a second request of the same call");
    let cut = |turn: &mut Turn<'_>, left| {
        turn.left = left;
        turn.answered(429, clock::now(), || None);
    };
    let left = turn.left;
    cut(&mut turn, clock::now());
    assert_eq!(account.cuts(), 1);
    cut(&mut turn, left);
    assert_eq!(account.cuts(), 2, "what leaves after the first no says something new");
}
