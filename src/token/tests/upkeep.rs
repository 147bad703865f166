//! The background's part of the stories: refreshes, back-off, pace, and tokens nobody uses.
//! What a call sees of a token is in the file above.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// Starts the upkeep; it ends when the sender is dropped.
fn keep_fresh(cache: &Cache<Platform>) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    (stop, tokio::spawn(cache.clone().keep_fresh(stopped)))
}

#[tokio::test(start_paused = true)]
async fn the_upkeep_respects_the_pace() {
    let platform = Platform::good(Duration::ZERO);
    let cache = cache(RULE, &platform);
    let (_stop, _) = keep_fresh(&cache);
    for _ in 0..1000 {
        sleep(Duration::from_millis(100)).await;
        if let Ok(held) = cache.held() {
            cache.refused(held.generation).await;
        }
    }
    // 100 s: a burst of 3, then one in 10 s.
    assert!((12..=13).contains(&platform.logins()), "{:?}", platform.asked());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_refreshed_at_four_fifths_of_its_life() {
    let platform = Platform::good(secs(1));
    let cache = cache(RULE, &platform);
    let (_stop, _) = keep_fresh(&cache);
    sleep(5 * LIFE).await;
    let asked = platform.asked();
    assert_eq!(asked[0], Duration::ZERO);
    assert!((5..=7).contains(&asked.len()), "{asked:?}");
    for pair in asked.windows(2) {
        let after = pair[1] - pair[0];
        assert!(after >= secs(760) && after <= secs(841), "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_take_the_old_token_while_it_is_refreshed() {
    let platform = Platform::good(secs(20));
    let cache = cache(RULE, &platform);
    let (_stop, _) = keep_fresh(&cache);
    while platform.logins() < 2 {
        sleep(secs(1)).await;
    }
    let asked = clock::now();
    assert_eq!(cache.current(clock::now()).await.expect("the old one").generation(), 1);
    assert_eq!(clock::now(), asked);
    sleep(secs(20)).await;
    assert_eq!(cache.current(clock::now()).await.expect("the new one").generation(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_old_token_serves_until_its_true_end() {
    let platform = Platform::new(Duration::ZERO, |n| if n == 1 { Ok(token(1)) } else { Err(DOWN) });
    let cache = cache(RULE, &platform);
    let (_stop, _) = keep_fresh(&cache);
    cache.current(clock::now()).await.expect("a token");
    sleep(LIFE - Duration::from_millis(1)).await;
    assert!(platform.logins() > 3, "the refresh was tried: {:?}", platform.asked());
    assert_eq!(cache.current(clock::now()).await.expect("it is alive").generation(), 1);
    assert_eq!(cache.held().expect("it is alive").life, Duration::from_millis(1));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(cache.held(), Err(Absent::Failing(DOWN)));
    assert_eq!(cache.current(clock::now()).await.expect_err("it is dead").reason, failed(DOWN));
}

#[tokio::test(start_paused = true)]
async fn the_upkeep_backs_off_while_the_platform_is_down() {
    let platform = Platform::new(Duration::ZERO, |n| if n < 10 { Err(DOWN) } else { Ok(token(n)) });
    let cache = cache(LOOSE, &platform);
    let (_stop, _) = keep_fresh(&cache);
    while cache.held().is_err() {
        sleep(secs(1)).await;
    }
    let asked = platform.asked();
    let waits = asked.windows(2).map(|pair| pair[1] - pair[0]);
    for (wait, step) in waits.zip([2, 4, 8, 16, 32, 60, 60, 60, 60]) {
        // Tokio's timers count in milliseconds and round up.
        assert!(wait >= secs(step) * 3 / 4 && wait <= secs(step) + Duration::from_millis(1), "{step}: {asked:?}");
    }
    assert_eq!(asked.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_success_ends_the_back_off() {
    let platform = Platform::new(Duration::ZERO, |n| if n % 5 == 0 { Ok(token(n)) } else { Err(DOWN) });
    let cache = cache(LOOSE, &platform);
    let (_stop, _) = keep_fresh(&cache);
    for round in 1..=3 {
        while cache.held().is_err() {
            sleep(secs(1)).await;
        }
        cache.refused(round).await;
        sleep(Duration::from_millis(1)).await;
    }
    let asked = platform.asked();
    for first in [0, 5, 10] {
        let wait = asked[first + 1] - asked[first];
        assert!(wait <= secs(2) + Duration::from_millis(1), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_succeeds_ends_the_back_off_of_the_upkeep() {
    let platform = Platform::new(Duration::ZERO, |n| if n < 5 { Err(DOWN) } else { Ok(token(n)) });
    let cache = cache(LOOSE, &platform);
    let (_stop, _) = keep_fresh(&cache);
    while cache.current(clock::now()).await.is_err() {}
    cache.refused(1).await;
    sleep(Duration::from_millis(5)).await;
    assert_eq!(cache.held().map(|held| held.generation), Ok(2), "{:?}", platform.asked());
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_binds_calls_and_upkeep_for_a_minute_at_most() {
    let throttled = LoginError::Throttled { retry_after: Some(secs(3600)) };
    let platform = Platform::new(Duration::ZERO, move |n| if n == 1 { Err(throttled) } else { Ok(token(n)) });
    let cache = cache(LOOSE, &platform);
    let (_stop, _) = keep_fresh(&cache);
    let first = cache.current(clock::now()).await.expect_err("throttled");
    assert_eq!(first, Unavailable { reason: failed(throttled), retry_after: secs(60) });
    sleep(secs(20)).await;
    let second = cache.current(clock::now()).await.expect_err("throttled");
    assert_eq!(second, Unavailable { reason: Reason::Throttled, retry_after: secs(40) });
    assert_eq!(platform.logins(), 1);
    sleep(secs(40)).await;
    assert_eq!(cache.current(clock::now()).await.expect("a token").generation(), 1);
    assert_eq!(platform.asked(), [Duration::ZERO, secs(60)]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_without_a_call() {
    let platform = Platform::good(secs(1));
    let cache = cache(RULE, &platform);
    let (_stop, _) = keep_fresh(&cache);
    sleep(secs(2)).await;
    cache.refused(1).await;
    sleep(secs(2)).await;
    assert_eq!(cache.held().map(|held| held.generation), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_token_kept_while_used_waits_for_its_first_use_and_lapses_after_its_last() {
    let platform = Platform::good(Duration::ZERO);
    let cache = cache(RULE, &platform);
    let (_stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(cache.clone().keep_fresh_while_used(stopped));
    sleep(2 * LIFE).await;
    assert_eq!((platform.logins(), cache.held()), (0, Err(Absent::NotAsked)));

    cache.current(clock::now()).await.expect("fetched at its first use");
    sleep(secs(850)).await;
    assert_eq!(cache.held().map(|held| held.generation), Ok(2), "used, so it was refreshed");

    sleep(secs(850)).await;
    assert_eq!(cache.held().map(|held| held.generation), Ok(2), "not used since, so it was not");
    cache.current(clock::now()).await.expect("a token");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(cache.held().map(|held| held.generation), Ok(3), "a use past the time of refresh refreshes at once");

    sleep(2 * LIFE).await;
    assert_eq!((platform.logins(), cache.held()), (3, Err(Absent::Lapsed)), "unused for a whole life");
    assert_eq!(cache.current(clock::now()).await.expect("fetched again").generation(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_upkeep_stops_when_it_is_told_to() {
    let platform = Platform::good(secs(1));
    let cache = cache(RULE, &platform);
    let (stop, upkeep) = keep_fresh(&cache);
    yield_now().await;
    drop(stop);
    upkeep.await.expect("it returned");
    sleep(2 * LIFE).await;
    assert_eq!(platform.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_life_of_any_length_is_served() {
    for life in [Duration::MAX, Duration::from_secs(u64::MAX)] {
        let cache = cache(TokenRule { life, ..RULE }, &Platform::good(Duration::ZERO));
        let (_stop, _) = keep_fresh(&cache);
        cache.current(clock::now()).await.expect("a token");
        assert!(cache.held().expect("alive").life >= secs(364 * 86_400));
    }
}

#[tokio::test(start_paused = true)]
async fn another_secret_is_used_at_once_and_the_former_token_serves_until_it_succeeds() {
    let (former, wrong) = (Platform::good(secs(1)), Platform::new(secs(1), |_| Err(DOWN)));
    let cache = cache(LOOSE, &former);
    let (_stop, _) = keep_fresh(&cache);
    assert_eq!(cache.current(clock::now()).await.expect("a token").generation(), 1);
    cache.renew(LOOSE, wrong.clone(), ());
    sleep(secs(10)).await;
    assert!(wrong.logins() > 1, "again and again, with a back-off: {:?}", wrong.asked());
    assert_eq!(cache.current(clock::now()).await.expect("the former one").generation(), 1);
    let right = Platform::new(secs(1), |n| Ok(token(100 + n)));
    cache.renew(LOOSE, right.clone(), ());
    // One with the wrong secret may be on its way.
    sleep(secs(2)).await;
    assert_eq!((right.logins(), cache.current(clock::now()).await.expect("a token").generation()), (1, 2));
    sleep(secs(100)).await;
    assert_eq!(right.logins(), 1, "once");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_began_with_the_former_secret_is_not_the_last() {
    let (former, next) = (Platform::good(secs(5)), Platform::good(secs(1)));
    let cache = cache(LOOSE, &former);
    let (_stop, _) = keep_fresh(&cache);
    sleep(secs(1)).await;
    cache.renew(LOOSE, next.clone(), ());
    sleep(secs(10)).await;
    assert_eq!((former.logins(), next.logins()), (1, 1));
    assert_eq!(cache.current(clock::now()).await.expect("a token").generation(), 2);
}
