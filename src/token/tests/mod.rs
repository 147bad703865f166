//! The token's life as stories: a scripted platform and a clock that stands still.
//! No socket is opened and no real time passes.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::{advance, sleep};

use super::*;
use crate::clock;
use crate::config::TokenRule;

mod handover;
mod told;
mod upkeep;

const LIFE: Duration = Duration::from_secs(1000);
const RULE: TokenRule = TokenRule { life: LIFE, burst: 3, every: Duration::from_secs(10) };

/// No pace to speak of, for tests of everything else.
const LOOSE: TokenRule = TokenRule { life: LIFE, burst: 1000, every: Duration::from_millis(1) };

const DOWN: LoginError = LoginError::Failing { status: 500, code: None };

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A platform that answers its n-th login (from 1) as it is told, after a while.
#[derive(Clone)]
struct Platform(Arc<Script>);

struct Script {
    began: Instant,
    asked: Mutex<Vec<Duration>>,
    latency: Duration,
    answer: Box<dyn Fn(usize) -> Result<Secret, LoginError> + Send + Sync>,
}

impl Platform {
    fn new(latency: Duration, answer: impl Fn(usize) -> Result<Secret, LoginError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Script { began: clock::now(), asked: Mutex::default(), latency, answer: Box::new(answer) }))
    }

    /// Gives `token-1`, `token-2`, …
    fn good(latency: Duration) -> Self {
        Self::new(latency, |n| Ok(token(n)))
    }

    fn logins(&self) -> usize {
        self.0.asked.lock().expect("the script").len()
    }

    /// When each login came, since the test began.
    fn asked(&self) -> Vec<Duration> {
        self.0.asked.lock().expect("the script").clone()
    }
}

impl Login for Platform {
    async fn login(&self) -> Result<Secret, LoginError> {
        let n = {
            let mut asked = self.0.asked.lock().expect("the script");
            asked.push(clock::now() - self.0.began);
            asked.len()
        };
        sleep(self.0.latency).await;
        (self.0.answer)(n)
    }
}

fn token(n: usize) -> Secret {
    Secret::new(format!("token-{n}"))
}

fn cache(rule: TokenRule, platform: &Platform) -> Cache<Platform> {
    Cache::new(rule, platform.clone(), ())
}

fn failed(error: LoginError) -> Reason {
    Reason::Login(error)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_wait_for_one_login() {
    let platform = Platform::good(secs(1));
    let cache = cache(RULE, &platform);
    let mut callers = JoinSet::new();
    for _ in 0..10_000 {
        let cache = cache.clone();
        callers.spawn(async move { cache.current(clock::now()).await });
    }
    let tokens = callers.join_all().await;
    assert!(tokens.iter().all(|token| token.as_ref().is_ok_and(|token| token.generation() == 1)));
    assert_eq!((tokens.len(), platform.logins()), (10_000, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_login_fails_all_who_waited_for_it() {
    let platform = Platform::new(secs(1), |_| Err(LoginError::Html));
    let cache = cache(LOOSE, &platform);
    let mut callers = JoinSet::new();
    for _ in 0..1000 {
        let cache = cache.clone();
        callers.spawn(async move { cache.current(clock::now()).await });
    }
    for result in callers.join_all().await {
        let unavailable = result.expect_err("the login failed");
        assert_eq!(unavailable.reason, failed(LoginError::Html));
        assert!(unavailable.retry_after > secs(1) && unavailable.retry_after <= secs(2));
    }
    assert_eq!(platform.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_held_token_is_given_without_waiting() {
    let cache = cache(RULE, &Platform::good(secs(1)));
    cache.current(clock::now()).await.expect("a token");
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(token)) = pin!(cache.current(clock::now())).poll(&mut context) else { panic!("it waited") };
    assert_eq!(token.header_value(), "Token token-1");
    assert!(token.header_value().is_sensitive());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_thousand_refusals_of_one_generation_lead_to_one_login() {
    for _ in 0..20 {
        let platform = Platform::good(Duration::ZERO);
        let cache = cache(RULE, &platform);
        cache.current(clock::now()).await.expect("a token");
        let mut callers = JoinSet::new();
        for _ in 0..2000 {
            let cache = cache.clone();
            callers.spawn(async move {
                let first = cache.current(clock::now()).await.expect("a token").generation();
                if first == 1 {
                    yield_now().await;
                    cache.refused(1).await;
                }
                cache.current(clock::now()).await.expect("a token").generation()
            });
        }
        assert_eq!(callers.join_all().await, vec![2; 2000]);
        assert_eq!(platform.logins(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_missed_the_landing_by_a_moment_starts_no_login() {
    let cache = cache(RULE, &Platform::good(secs(1)));
    cache.current(clock::now()).await.expect("a token");
    assert!(matches!(cache.shared.board(), cache::Boarded::Held(_)));
}

#[tokio::test(start_paused = true)]
async fn a_late_refusal_of_an_old_generation_changes_nothing() {
    let platform = Platform::good(secs(1));
    let cache = cache(RULE, &platform);
    let old = cache.current(clock::now()).await.expect("a token");
    cache.refused(old.generation()).await;
    assert_eq!(cache.held(), Err(Absent::Refused));
    let fresh = cache.current(clock::now()).await.expect("a token");
    cache.refused(old.generation()).await;
    cache.refused(fresh.generation() + 1).await;
    assert_eq!(cache.current(clock::now()).await.expect("a token").generation(), fresh.generation());
    assert_eq!(platform.logins(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_refuses_every_token_is_not_stormed() {
    let platform = Platform::good(secs(1));
    let cache = cache(RULE, &platform);
    for _ in 0..3 {
        let token = cache.current(clock::now()).await.expect("within the burst");
        cache.refused(token.generation()).await;
    }
    // The first login was sent 3 s ago; the burst is whole again 10 s after it.
    for _ in 0..500 {
        let refused = cache.current(clock::now()).await.expect_err("beyond the pace");
        assert_eq!(refused, Unavailable { reason: Reason::Paced, retry_after: secs(7) });
    }
    sleep(Duration::from_millis(6_999)).await;
    assert_eq!(cache.current(clock::now()).await.expect_err("too early").retry_after, Duration::from_millis(1));
    sleep(Duration::from_millis(1)).await;
    cache.current(clock::now()).await.expect("the wait it named was the exact one");
    assert_eq!(platform.logins(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_life_counts_from_the_moment_the_login_was_sent() {
    let cache = cache(RULE, &Platform::good(secs(30)));
    cache.current(clock::now()).await.expect("a token");
    assert_eq!(cache.held(), Ok(Remaining { generation: 1, life: LIFE - secs(30) }));
    advance(LIFE - secs(30)).await;
    assert_eq!(cache.held(), Err(Absent::Lapsed));
    assert_eq!(cache.current(clock::now()).await.expect("a fresh one").generation(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_arrives_after_its_end_is_none() {
    let cache = cache(TokenRule { life: secs(20), ..RULE }, &Platform::good(secs(20)));
    assert_eq!(cache.current(clock::now()).await.expect_err("too late").reason, failed(LoginError::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_call_may_ask_during_the_back_off_as_the_pace_allows() {
    let platform = Platform::new(Duration::ZERO, |n| if n < 5 { Err(DOWN) } else { Ok(token(n)) });
    let cache = cache(RULE, &platform);
    for _ in 0..3 {
        assert_eq!(cache.current(clock::now()).await.expect_err("down").reason, failed(DOWN));
    }
    for _ in 0..100 {
        let withheld = cache.current(clock::now()).await.expect_err("the pace is used up");
        assert_eq!(withheld, Unavailable { reason: Reason::Paced, retry_after: secs(10) });
    }
    assert_eq!(platform.logins(), 3);
    sleep(secs(10)).await;
    assert_eq!(cache.current(clock::now()).await.expect_err("down").reason, failed(DOWN));
    sleep(secs(10)).await;
    cache.current(clock::now()).await.expect("it is back");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_takes_no_login_with_it() {
    let platform = Platform::good(secs(5));
    let cache = cache(RULE, &platform);
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.current(clock::now()).await }
    });
    sleep(secs(1)).await;
    assert_eq!(platform.logins(), 1);
    first.abort();
    assert!(first.await.expect_err("it was aborted").is_cancelled());
    let second = cache.current(clock::now()).await.expect("the login went on");
    assert_eq!((second.generation(), platform.logins()), (1, 1));
    assert_eq!(clock::now() - platform.0.began, secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_login_lands_even_if_nobody_waits() {
    let platform = Platform::good(secs(5));
    let cache = cache(RULE, &platform);
    assert!(tokio::time::timeout(secs(1), cache.current(clock::now())).await.is_err());
    sleep(secs(5)).await;
    assert_eq!(cache.held().map(|held| held.generation), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_hangs_is_given_up() {
    let platform = Platform::good(secs(100_000));
    let cache = cache(RULE, &platform);
    assert_eq!(cache.current(clock::now()).await.expect_err("it hangs").reason, failed(LoginError::TimedOut));
    assert_eq!(clock::now() - platform.0.began, LOGIN_TIME);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_panics_leaves_nobody_waiting() {
    let platform = Platform::new(secs(1), |n| if n == 1 { panic!("as the test wants it") } else { Ok(token(n)) });
    let cache = cache(RULE, &platform);
    assert_eq!(cache.current(clock::now()).await.expect_err("it panicked").reason, failed(LoginError::Abandoned));
    cache.current(clock::now()).await.expect("the next one is free to go");
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let (first, second) = (runtime(), runtime());
    let platform = first.block_on(async { Platform::good(secs(5)) });
    let cache = cache(RULE, &platform);
    let boarded = first.block_on(async { tokio::time::timeout(secs(1), cache.current(clock::now())).await });
    assert!(boarded.is_err() && platform.logins() == 1, "the flight belongs to the first runtime");
    let waiting = second.spawn({
        let cache = cache.clone();
        async move { cache.current(clock::now()).await }
    });
    second.block_on(yield_now());
    drop(first);
    let outcome = second.block_on(waiting).expect("no panic");
    assert_eq!(outcome.expect_err("its login is gone").reason, failed(LoginError::Abandoned));
    second.block_on(cache.current(clock::now())).expect("the next one is free to go");
}

#[tokio::test(start_paused = true)]
async fn the_observer_is_told() {
    #[derive(Default, Clone)]
    struct Told(Arc<Mutex<Vec<String>>>);
    impl Told {
        fn note(&self, line: String) {
            self.0.lock().expect("the notes").push(line);
        }
    }
    impl Observer for Told {
        fn login_ended(&self, outcome: Result<u64, LoginError>, took: Duration) {
            self.note(format!("ended {:?} {took:?}", outcome.map_err(LoginError::reason)));
        }
        fn login_withheld(&self, unavailable: &Unavailable) {
            self.note(format!("withheld {}", unavailable.reason.reason()));
        }
        fn token_refused(&self, generation: u64) {
            self.note(format!("refused {generation}"));
        }
    }
    let told = Told::default();
    let platform = Platform::new(secs(2), |n| if n == 1 { Err(LoginError::Empty) } else { Ok(token(n)) });
    let cache = Cache::new(TokenRule { burst: 2, ..RULE }, platform, told.clone());
    let _ = cache.current(clock::now()).await;
    let _ = cache.current(clock::now()).await;
    cache.refused(1).await;
    cache.refused(1).await;
    let _ = cache.current(clock::now()).await;
    let expected = ["ended Err(\"empty\") 2s", "ended Ok(1) 2s", "refused 1", "withheld paced"];
    assert_eq!(*told.0.lock().expect("the notes"), expected);
}

#[tokio::test(start_paused = true)]
async fn nothing_printed_shows_a_token() {
    let platform = Platform::good(Duration::ZERO);
    let cache = cache(RULE, &platform);
    let token = cache.current(clock::now()).await.expect("a token");
    let printed = format!("{token:?} {token:#?} {:?} {:?}", token.header_value(), cache.held());
    assert!(!printed.contains("token-1"), "{printed}");
    assert!(printed.starts_with("Token { generation: 1, .. }"), "{printed}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_does_not_fit_a_header_fails_the_login() {
    let cache = cache(RULE, &Platform::new(Duration::ZERO, |_| Ok(Secret::new("a\r\nb"))));
    assert_eq!(cache.current(clock::now()).await.expect_err("bad").reason, failed(LoginError::BadToken));
}

#[tokio::test(start_paused = true)]
async fn the_token_that_is_held_outlives_another_way_to_log_in() {
    let (former, platform) = (Platform::good(secs(1)), Platform::new(secs(1), |n| Ok(token(100 + n))));
    let cache = cache(LOOSE, &former);
    let held = cache.current(clock::now()).await.expect("a token");
    cache.adopt(TokenRule { life: LIFE / 2, ..LOOSE }, platform.clone(), ());
    assert_eq!(cache.current(clock::now()).await.expect("a token").generation(), held.generation());
    assert_eq!((former.logins(), platform.logins()), (1, 0));
    cache.refused(held.generation()).await;
    let next = cache.current(clock::now()).await.expect("a token");
    assert_eq!((next.header_value().as_bytes(), next.generation()), (&b"Token token-101"[..], 2));
    assert!(cache.held().expect("it is held").life <= LIFE / 2, "it lives as the new rule says");
}

#[tokio::test(start_paused = true)]
async fn a_retired_cache_serves_those_who_have_it_and_tells_nobody() {
    struct Told(Arc<Mutex<usize>>);
    impl Observer for Told {
        fn login_ended(&self, _: Result<u64, LoginError>, _: Duration) {
            *self.0.lock().expect("no panic") += 1;
        }
    }
    let told = Arc::new(Mutex::new(0));
    let cache = Cache::new(LOOSE, Platform::good(secs(1)), Told(told.clone()));
    cache.current(clock::now()).await.expect("a token");
    cache.retire();
    cache.refused(1).await;
    assert_eq!(cache.current(clock::now()).await.expect("a token").generation(), 2);
    assert_eq!(*told.lock().expect("no panic"), 1);
}
