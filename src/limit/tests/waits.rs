//! What a call waits for at one gate after the other, and as it leaves.
//! Time is the test's.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_a_call_waited_for_its_turn_it_does_not_wait_again_to_leave() {
    let config = calls::parse("limit = { rate = \"15/m\", burst = 1 }");
    let (metrics, start) = (Metrics::try_new().expect("series"), clock::now());
    let own = ProgramLimits::all(&programs(&["a"]), &[], start);
    let limits = AccountLimits::new(&config.accounts[0], &[], &own, None, &metrics, start);
    let second = Duration::from_secs(1);
    let mut met = Met::default();
    let mut one = limits.admit(&own[0], "other", None, start, &mut met).await.expect("at once");
    assert_eq!(one.leave(), Ok(Duration::ZERO));
    // Its turn comes after four seconds; the first one leaves again then, and comes before it.
    let mut other = limits.admit(&own[0], "other", Some(5 * second), start, &mut met).await.expect("in time");
    assert!(one.leave().is_ok());
    let waited = (clock::now() - start).as_secs_f64().round();
    assert_eq!(waited, 4.0);
    let Err(Refused::Limited(LimitedBy::Account, wait)) = other.leave() else { panic!("it waits four more") };
    assert_eq!(wait.as_secs_f64().round(), 4.0);
}

#[tokio::test(start_paused = true)]
async fn who_waited_at_one_gate_and_is_refused_at_the_next_is_told_the_time_from_there() {
    let config = calls::parse("limit = { rate = \"6/m\", burst = 1 }");
    let (metrics, now) = (Metrics::try_new().expect("series"), clock::now());
    let mut written = programs(&["a", "b"]);
    let rate = Frequency { calls: 1, per: Duration::from_secs(4) };
    written[1].limit.quota = Some(Quota { rate, burst: 1 });
    let own = ProgramLimits::all(&written, &[], now);
    let limits = AccountLimits::new(&config.accounts[0], &[], &own, None, &metrics, now);
    let patience = Some(Duration::from_secs(5));
    let first = limits.admit(&own[1], "other", patience, now, &mut Met::default()).await;
    assert!(first.is_ok_and(|mut turn| turn.leave() == Ok(Duration::ZERO)));
    // It waits four seconds at its own gate, and the account's opens ten seconds after the first one.
    let second = limits.admit(&own[1], "other", patience, now, &mut Met::default()).await;
    let Err(Refused::Limited(LimitedBy::Account, wait)) = second else { panic!("{second:?}") };
    assert_eq!((clock::now() - now).as_secs_f64().round(), 4.0);
    assert_eq!(wait.as_secs_f64().round(), 6.0);
}
