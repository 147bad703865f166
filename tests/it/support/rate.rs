//! What arrived within a window of time: whether a platform ever saw more than the limit of its account.
//! It counts what the platform received and believes nothing that the gateway says.

use std::time::Duration;

use airudder_gateway::simulator::Received;

/// On a machine that does other things as well, a call waits on its way for a moment, and several arrive at once, in seconds.
const BUNCHED: f64 = 0.1;

/// What may be too much of everything, by where a window begins.
const SLACK: f64 = 1.005;

/// The most that arrived within any window of so many seconds.
pub(crate) fn fullest(arrived: &[Received], seconds: f64) -> usize {
    let mut times: Vec<_> = arrived.iter().map(|call| call.at).collect();
    times.sort_unstable();
    let window = Duration::from_secs_f64(seconds);
    let within = |from: usize| times[from..].partition_point(|at| *at < times[from] + window);
    (0..times.len()).map(within).max().unwrap_or(0)
}

/// Whatever the window, up to the whole run: never more than the rate, a second, and once the burst.
#[track_caller]
pub(crate) fn assert_never_passed(arrived: &[Received], rate: usize, burst: usize, lasted: Duration) {
    for window in [1.0, 3.0, lasted.as_secs_f64()] {
        let fullest = fullest(arrived, window);
        let most = (rate as f64 * (window + BUNCHED) + burst as f64) * SLACK;
        assert!(fullest as f64 <= most, "{fullest} within {window} s, at most {most}");
    }
}
