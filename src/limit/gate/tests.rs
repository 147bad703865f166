//! Who passes, who waits and who is told to come again, while the clock stands still.
//! Nothing here knows a call, and nothing waits for the time of a clock on the wall.

use super::*;

fn gate(calls: u32, burst: u32, concurrency: Option<u32>) -> Gate {
    let quota = Some(Quota { rate: Frequency { calls, per: Duration::from_secs(1) }, burst });
    let rules = GateRules { name: "account", quota, least: None, concurrency, shares: vec![1, 1] };
    Gate::new(rules, None, clock::now())
}

fn gauge() -> IntGauge {
    IntGauge::new("waiting", "waiting").expect("a gauge")
}

/// Enters with so much patience; the place has left.
fn entering(
    gate: &Gate,
    waiting: &IntGauge,
    patience: u64,
) -> tokio::task::JoinHandle<Result<(Place, Instant), NotNow>> {
    let (gate, waiting) = (gate.clone(), waiting.clone());
    tokio::spawn(async move {
        let mut now = clock::now();
        let mut place = gate.enter(0, now + Duration::from_millis(patience), &mut now, &waiting).await?;
        place.spend();
        Ok((place, clock::now()))
    })
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_pass_one_by_one_at_the_rate() {
    let (gate, waiting, start) = (gate(10, 1, None), gauge(), clock::now());
    let calls: Vec<_> = (0..5).map(|_| entering(&gate, &waiting, 1_000)).collect();
    for (index, call) in calls.into_iter().enumerate() {
        let (_, at) = call.await.expect("no panic").expect("in time");
        let at = (at - start).as_millis() as usize;
        assert!((index * 100).saturating_sub(11) <= at && at <= index * 100 + 2, "{index}: {at}");
    }
    assert_eq!(waiting.get(), 0);
    assert!(!gate.shared.lock().is_driven);
}

#[tokio::test(start_paused = true)]
async fn one_who_cannot_be_served_in_time_never_waits() {
    let (gate, waiting, start) = (gate(10, 1, None), gauge(), clock::now());
    let calls: Vec<_> = (0..20).map(|_| entering(&gate, &waiting, 450)).collect();
    let (mut served, mut refused) = (0, 0);
    for call in calls {
        match call.await.expect("no panic") {
            Ok(_) => served += 1,
            Err(not_now) => {
                refused += 1;
                assert!(not_now.held == Held::Rate && not_now.wait > Duration::from_millis(450), "{not_now:?}");
            }
        }
    }
    assert_eq!((served, refused), (5, 15));
    assert!(clock::now() - start < Duration::from_millis(450));
}

#[tokio::test(start_paused = true)]
async fn one_who_goes_away_frees_its_place_in_the_queue_and_behind_the_gate() {
    let (gate, waiting) = (gate(10, 1, Some(1)), gauge());
    let (first, _) = entering(&gate, &waiting, 0).await.expect("no panic").expect("a place");
    let calls: Vec<_> = (0..3).map(|_| entering(&gate, &waiting, 10_000)).collect();
    tokio::task::yield_now().await;
    assert_eq!(waiting.get(), 3);
    calls[0].abort();
    calls[1].abort();
    tokio::task::yield_now().await;
    assert_eq!(waiting.get(), 1);
    let gone = [1, 2].map(|ticket| gate.shared.lock().turns.remove(0, ticket).is_none());
    assert_eq!(gone, [true, true], "they are in the queue no more");
    drop(first);
    let last = calls.into_iter().next_back().expect("three");
    assert!(last.await.expect("no panic").is_ok());
    assert_eq!(waiting.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_keeps_his_place_under_other_rules_and_is_served_by_them() {
    let (former, waiting, start) = (gate(1, 1, None), gauge(), clock::now());
    let first = entering(&former, &waiting, 0).await.expect("no panic");
    assert!(first.is_ok());
    let calls: Vec<_> = (0..5).map(|_| entering(&former, &waiting, 10_000)).collect();
    tokio::task::yield_now().await;
    let quota = Some(Quota { rate: Frequency { calls: 100, per: Duration::from_secs(1) }, burst: 1 });
    let rules = GateRules { name: "account", quota, least: None, concurrency: None, shares: vec![1] };
    let gate = Gate::succeed(Some(&former), rules, None, clock::now());
    for call in calls {
        assert!(call.await.expect("no panic").is_ok());
    }
    let took = (clock::now() - start).as_millis();
    assert!((39..60).contains(&took), "at the new rate, and none at once: {took}");
    assert_eq!(waiting.get(), 0);
    assert!(entering(&gate, &waiting, 0).await.expect("no panic").is_err(), "it is the same gate");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_not_free_in_time_is_refused_at_the_deadline() {
    let (gate, waiting, start) = (gate(1000, 10, Some(1)), gauge(), clock::now());
    let first = entering(&gate, &waiting, 0).await.expect("no panic").expect("a place");
    let second = entering(&gate, &waiting, 300).await.expect("no panic").expect_err("no place");
    assert_eq!((second.held, clock::now() - start), (Held::Concurrency, Duration::from_millis(300)));
    drop(first);
    assert!(entering(&gate, &waiting, 0).await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_while_its_caller_goes_is_given_back() {
    let (gate, waiting) = (gate(10, 1, Some(1)), gauge());
    let first = entering(&gate, &waiting, 0).await.expect("no panic").expect("a place");
    let gone = entering(&gate, &waiting, 10_000);
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_millis(200)).await;
    // The place is given, and nobody is there to take it.
    drop(first);
    gone.abort();
    assert!(gone.await.is_err());
    assert!(entering(&gate, &waiting, 0).await.expect("no panic").is_ok());
}
