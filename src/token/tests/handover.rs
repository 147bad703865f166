//! What goes from one configuration, and from one process, to the next: the token, and how many logins are left.
//! The clock stands still here, too.

use super::*;

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Duration>>>);

impl Observer for Told {
    fn token_taken_over(&self, ends_in: Duration) {
        self.0.lock().expect("what was told").push(ends_in);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_handed_over_serves_as_long_as_it_would_have() {
    let former = cache(RULE, &Platform::good(Duration::ZERO));
    assert!(former.hand_over().is_none(), "there is none yet");
    former.current(clock::now()).await.expect("a token");
    advance(secs(100)).await;
    let handed = former.hand_over().expect("it is held");
    assert_eq!((handed.text.expose_str(), handed.ends_in), (Some("token-1"), secs(900)));
    assert!((660..=740).contains(&handed.refresh_in.as_secs()), "{:?}", handed.refresh_in);

    let (platform, told) = (Platform::good(Duration::ZERO), Told::default());
    let next = Cache::new(RULE, platform.clone(), told.clone());
    next.take_over(&handed);
    assert_eq!(*told.0.lock().expect("what was told"), [secs(900)]);
    assert_eq!(next.held(), Ok(Remaining { generation: 1, life: secs(900) }));
    let again = next.hand_over().expect("it is held");
    assert_eq!((again.refresh_in, again.ends_in), (handed.refresh_in, handed.ends_in));
    advance(secs(899)).await;
    assert_eq!(next.current(clock::now()).await.expect("a token").header_value(), "Token token-1");
    assert_eq!(platform.logins(), 0);
    advance(secs(1)).await;
    assert!(next.hand_over().is_none() && next.held() == Err(Absent::Lapsed), "it has ended");
    assert_eq!(next.current(clock::now()).await.expect("a token").generation(), 2);
    assert_eq!(platform.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_over_is_judged_like_the_answer_to_a_login() {
    let cache = cache(RULE, &Platform::good(Duration::ZERO));
    cache.take_over(&Handed { text: Secret::new("no token"), refresh_in: secs(1), ends_in: secs(2) });
    assert_eq!(cache.held(), Err(Absent::NotAsked));
    cache.take_over(&Handed { text: Secret::new("good"), refresh_in: Duration::MAX, ends_in: Duration::MAX });
    let year = secs(365 * 86_400);
    assert_eq!(cache.held(), Ok(Remaining { generation: 1, life: year }), "no life is longer than a year");
    assert_eq!(cache.hand_over().expect("it is held").refresh_in, year);
}

#[tokio::test(start_paused = true)]
async fn logins_that_were_used_up_stay_so_under_the_next_rule_and_time_that_passed_counts() {
    let platform = Platform::new(Duration::ZERO, |_| Err(DOWN));
    let cache = cache(RULE, &platform);
    let login = async |cache: &Cache<Platform>| {
        cache.current(clock::now()).await.expect_err("it is down").reason == failed(DOWN)
    };
    let mut passed = 0;
    while login(&cache).await {
        passed += 1;
    }
    assert_eq!(passed, RULE.burst);
    advance(secs(9)).await;
    cache.adopt(RULE, platform.clone(), ());
    assert!(!login(&cache).await);
    advance(secs(1)).await;
    assert!(login(&cache).await, "ten seconds have passed, nine of them before the same rule came again");
    assert!(!login(&cache).await);
    cache.adopt(TokenRule { burst: RULE.burst + 2, ..RULE }, platform.clone(), ());
    assert_eq!([login(&cache).await, login(&cache).await, login(&cache).await], [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_known_again_by_any_of_its_handles() {
    let platform = Platform::good(Duration::ZERO);
    let (one, other) = (cache(RULE, &platform), cache(RULE, &platform));
    assert!(one.is(&one.clone()) && !one.is(&other));
}
